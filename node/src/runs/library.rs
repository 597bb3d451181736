//! The workflows that are installed on this node, by id and version, ready to be run.

use super::record::Installed;
use holdfast_core::Reject;
use holdfast_core::flow::about::{About, Placement};
use holdfast_core::flow::effect::{Argument, Kind, Piece};
use holdfast_core::flow::image::Part;
use holdfast_core::flow::signal::{Source, signal};
use holdfast_core::flow::verify::Place;
use holdfast_core::flow::{Image, Rejection, Tier, verify};
use holdfast_sync::Fault;
use holdfast_sync::store::{ReadRecords, Table};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// Workflows and versions of a node.
pub const INSTALLED_MAX: usize = 1_000;

/// A version of a workflow.
pub struct Flow {
    /// By which it is known.
    pub id: String,
    /// Which version.
    pub version: String,
    /// As it is kept.
    pub installed: Installed,
    tag: u32,
    has_conditions: bool,
    /// Up to which place of the sequence of document changes nothing begins runs of it.
    since: OnceLock<u64>,
}

impl Flow {
    /// Verifies an image for this node.
    ///
    /// # Errors
    /// [`Rejection`]
    pub fn accept(installed: Installed, tier: &Tier) -> Result<Self, Rejection> {
        let mut places = vec![Place::NOWHERE; usize::from(tier.ops)];
        let image = verify(&installed.image, tier, &mut places)?;
        let about = about(&image);
        let (id, version, tag) = (about.id.to_owned(), about.version.to_owned(), image.tag());
        let (has_conditions, since) = (has_conditions(&image), OnceLock::new());
        Ok(Self { id, version, installed, tag, has_conditions, since })
    }

    /// One that was accepted before it was kept.
    fn reopen(installed: Installed) -> Result<Self, Reject> {
        let image = Image::parse(&installed.image)?;
        let about = About::read(image.part(Part::About))?;
        let (id, version, tag) = (about.id.to_owned(), about.version.to_owned(), image.tag());
        let (has_conditions, since) = (has_conditions(&image), OnceLock::new());
        Ok(Self { id, version, installed, tag, has_conditions, since })
    }

    /// Its image.
    #[must_use]
    pub fn image(&self) -> Image<'_> {
        Image::reopen(&self.installed.image, self.tag).expect("it was read when it was accepted")
    }

    /// What it is called and how it is to be run.
    #[must_use]
    pub fn about(&self) -> About<'_> {
        about(&self.image())
    }

    /// The same, with new runs or without.
    #[must_use]
    pub fn enabled(&self, is_enabled: bool) -> Self {
        let installed = Installed { is_enabled, ..self.installed.clone() };
        let (id, version) = (self.id.clone(), self.version.clone());
        let (tag, has_conditions, since) = (self.tag, self.has_conditions, OnceLock::new());
        Self { id, version, installed, tag, has_conditions, since }
    }

    /// It was installed or enabled in the transaction before which the last change of a document
    /// had this place.
    pub(super) fn installed_at(&self, place: u64) {
        let _ = self.since.set(place);
    }

    /// The place of the last change of a document that came before it, where it came since the node
    /// was started.
    pub(super) fn since(&self) -> Option<u64> {
        self.since.get().copied()
    }

    /// The same, that no site uses any more.
    #[must_use]
    pub fn given_up(&self) -> Self {
        let mut out = self.enabled(false);
        if let Some(origin) = &mut out.installed.origin {
            origin.is_given_up = true;
        }
        out
    }

    /// Whether a run of it may begin: a new one, or one that has waited for room.
    #[must_use]
    pub fn may_begin(&self, has_waited: bool) -> bool {
        let is_given_up = || self.installed.origin.as_ref().is_some_and(|o| o.is_given_up);
        self.installed.is_enabled || (has_waited && is_given_up())
    }

    /// Tags that its site says a device must have for what is found of it to begin a run.
    #[must_use]
    pub fn only(&self) -> &[(String, String)] {
        self.installed.origin.as_ref().map_or(&[], |origin| &origin.only)
    }

    /// Whether devices run it.
    #[must_use]
    pub fn is_for_devices(&self) -> bool {
        self.about().placement == Placement::Device
    }

    /// Whether its runs wait for conditions over readings.
    #[must_use]
    pub const fn has_conditions(&self) -> bool {
        self.has_conditions
    }
}

impl Flow {
    /// Whom it tells, as far as its definition says so by name.
    pub(super) fn targets(&self) -> impl Iterator<Item = String> {
        let image = self.image();
        let effects = (0..).map_while(|number| image.effect(number));
        let told = effects.filter(|effect| effect.kind == Kind::Notify).filter_map(|effect| {
            let (_, target) = effect.arguments().find(|(of, _)| *of == Argument::Target)?;
            let pieces = target.map(|piece| match piece {
                Piece::Literal(text) => Some(text),
                _ => None,
            });
            pieces.collect::<Option<String>>()
        });
        told.collect::<Vec<_>>().into_iter()
    }
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flow({} {})", self.id, self.version)
    }
}

fn has_conditions(image: &Image<'_>) -> bool {
    let mut signals = (0..image.sizes.signals).filter_map(|number| signal(image, number));
    signals.any(|signal| signal.source != Source::Outside)
}

fn about<'a>(image: &Image<'a>) -> About<'a> {
    About::read(image.part(Part::About)).expect("the verifier has read it")
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Library {
    flows: BTreeMap<(String, String), Arc<Flow>>,
}

impl Library {
    /// Those of a store.
    ///
    /// # Errors
    /// A database fault, or damage.
    pub fn load(view: &impl ReadRecords) -> Result<Self, Fault> {
        let mut library = Self::default();
        for (_, value) in view.scan(Table::Workflow, &[])? {
            let damaged = |reject: Reject| Fault::damaged("workflow", reject.code());
            let installed = Installed::decode(&value).map_err(damaged)?;
            library.put(Arc::new(Flow::reopen(installed).map_err(damaged)?));
        }
        Ok(library)
    }

    /// Adds a version, or puts it in the place of the same.
    pub fn put(&mut self, flow: Arc<Flow>) {
        self.flows.insert((flow.id.clone(), flow.version.clone()), flow);
    }

    /// Takes a version away.
    pub fn remove(&mut self, id: &str, version: &str) {
        self.flows.remove(&(id.to_owned(), version.to_owned()));
    }

    /// A version.
    #[must_use]
    pub fn get(&self, id: &str, version: &str) -> Option<&Arc<Flow>> {
        self.flows.get(&(id.to_owned(), version.to_owned()))
    }

    /// The version that was installed last of those of which new runs may begin.
    #[must_use]
    pub fn newest(&self, id: &str) -> Option<&Arc<Flow>> {
        let enabled = self.versions(id).filter(|flow| flow.installed.is_enabled);
        enabled.max_by_key(|flow| flow.installed.added_ms)
    }

    /// The one for devices whose image has this tag.
    #[must_use]
    pub fn on_device(&self, tag: u32) -> Option<&Arc<Flow>> {
        self.all().find(|flow| flow.tag == tag && flow.is_for_devices())
    }

    /// The workflows, each once.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        let mut before = None;
        self.flows.keys().filter_map(move |(id, _)| {
            (before.replace(id.as_str()) != Some(id.as_str())).then_some(id.as_str())
        })
    }

    /// All versions of a workflow.
    pub fn versions(&self, id: &str) -> impl Iterator<Item = &Arc<Flow>> {
        self.flows.values().filter(move |flow| flow.id == id)
    }

    /// All of them, by id and version.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Flow>> {
        self.flows.values()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }
}
