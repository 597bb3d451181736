//! Which artefacts a site uses.
//!
//! The document `site/<site>` refers to them: `artefacts/<name>` is a text with the id of one. So
//! what a site uses is state like any other, and what its gateways fetch and keep follows from it
//! alone: they hold what is referred to, and drop what is not.

use holdfast_core::artefact::ArtefactId;
use holdfast_core::state::{Path, Policy, Shown, Value};
use holdfast_sync::Fault;
use holdfast_sync::docs::{Contents, DocumentName};
use holdfast_sync::store::ReadRecords;

/// Where the references are in a site's document.
const FOLDER: &str = "artefacts/";

/// A reference of a site to an artefact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// What the site calls it.
    pub name: String,
    /// Which one.
    pub id: ArtefactId,
}

/// What a site refers to, by name. A text that is no id is passed over, everywhere alike.
///
/// # Errors
/// A database fault, or [`Fault::Damaged`].
pub fn assigned(records: &(impl ReadRecords + ?Sized), site: &str) -> Result<Vec<Assigned>, Fault> {
    let Ok(document) = DocumentName::new(&format!("site/{site}")) else { return Ok(Vec::new()) };
    let contents = Contents::read(records, &document)?;
    Ok(contents.view(&document, &Policy::LWW, |view| {
        let reference = |path: Path<'_>, shown: Shown<'_>| {
            let name = path.as_str().strip_prefix(FOLDER)?.to_owned();
            let Shown::Value(Value::Text(text)) = shown else { return None };
            Some(Assigned { name, id: ArtefactId::from_hex(text.as_str())? })
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
