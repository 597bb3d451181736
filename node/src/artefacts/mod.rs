//! Which artefacts a site uses.
//!
//! The document `site/<site>` refers to them: `artefacts/<name>` is a text with the id of one, and
//! behind it, each as `name=value`, tags that a device must have for it. So what a site uses is
//! state like any other, and what its gateways fetch and keep follows from it alone: they hold what
//! is referred to, and drop what is not. [`SiteChanges`] tells when that may have changed, and
//! [`Images`] which firmware a device is to have by it.

mod follow;
mod images;

pub use follow::SiteChanges;
pub use images::{Here, Images, Slot};

use crate::runs::record::{ONLY_MAX, TAG_MAX_BYTES};
use holdfast_core::artefact::ArtefactId;
use holdfast_core::state::{Path, Policy, Shown, Value};
use holdfast_sync::Fault;
use holdfast_sync::docs::{Contents, DocumentName};
use holdfast_sync::store::ReadRecords;
use std::sync::Arc;

/// The sites whose artefacts are for this node.
pub type Sites = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// Where the references are in a site's document.
const FOLDER: &str = "artefacts/";

/// A reference of a site to an artefact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// What the site calls it.
    pub name: String,
    /// Which one.
    pub id: ArtefactId,
    /// Tags that a device must have for it, names and values.
    pub only: Vec<(String, String)>,
}

impl Assigned {
    /// Reads the text of a reference.
    #[must_use]
    pub fn read(name: &str, text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let id = ArtefactId::from_hex(words.next()?)?;
        let tag = |word: &str| {
            let (name, value) = word.split_once('=')?;
            let is_short = |text: &str| (1..=TAG_MAX_BYTES).contains(&text.len());
            (is_short(name) && is_short(value)).then(|| (name.to_owned(), value.to_owned()))
        };
        let only = words.map(tag).collect::<Option<Vec<_>>>()?;
        (only.len() <= ONLY_MAX).then(|| Self { name: name.to_owned(), id, only })
    }

    /// The text of the reference.
    #[must_use]
    pub fn text(&self) -> String {
        let tags = self.only.iter().map(|(name, value)| format!(" {name}={value}"));
        std::iter::once(self.id.to_string()).chain(tags).collect()
    }
}

/// What a site refers to, by name. A text that is no reference is passed over, everywhere alike.
///
/// # Errors
/// A database fault, or [`Fault::Damaged`].
pub fn assigned(records: &(impl ReadRecords + ?Sized), site: &str) -> Result<Vec<Assigned>, Fault> {
    let Ok(document) = DocumentName::new(&format!("site/{site}")) else { return Ok(Vec::new()) };
    let contents = Contents::read(records, &document)?;
    Ok(contents.view(&document, &Policy::LWW, |view| {
        let reference = |path: Path<'_>, shown: Shown<'_>| {
            let name = path.as_str().strip_prefix(FOLDER)?;
            let Shown::Value(Value::Text(text)) = shown else { return None };
            Assigned::read(name, text.as_str())
        };
        let live = view.filter(|resolved| !resolved.is_hidden);
        live.filter_map(|resolved| reference(resolved.path, resolved.outcome.shown())).collect()
    }))
}

/// The ids that a site refers to, each once.
///
/// # Errors
/// As [`assigned`].
pub fn ids(records: &(impl ReadRecords + ?Sized), site: &str) -> Result<Vec<ArtefactId>, Fault> {
    let mut ids: Vec<_> = assigned(records, site)?.into_iter().map(|one| one.id).collect();
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}
