//! Device twins: what a device should be, what it says it is, and what people call it.
//!
//! A *twin* is three sections, each a document of its own: *desired* is written by people and
//! programs, *reported* by the device alone, *tags* by people for people. In JSON a section is an
//! object; in its document it is the flat map of its leaves, so `{"net": {"ip": 1}}` is the value 1
//! at the path `net/ip`, an array is one value, and an empty object is nothing. Everything about a
//! section follows from that map: its JSON, who wrote each path, and, of two of them, the
//! difference.
//!
//! A change is a [`Patch`] (RFC 7396) under a [`Condition`] on the [`Version`] it was made for. It
//! is judged, written and answered in one transaction of the store's writer. A device with a clock
//! of its own for its cells reports them as they are ([`Twins::join`]). Whoever follows twins
//! ([`Feed`]) reads what changed behind a place from the store, so nothing is missed, however slow
//! they are.

mod difference;
mod feed;
mod join;
mod patch;
mod section;
mod shown;
mod version;
mod write;

#[cfg(test)]
pub(crate) mod tests;

pub use difference::{Difference, differences};
pub use feed::{Feed, Followed, TwinChange};
pub use patch::{Patch, Wrong};
pub use section::Section;
pub use shown::{Leaf, Shown, json, nest};
pub use version::{Condition, Version};
pub use write::{PatchError, Patched};

use crate::api::Nodes;
use holdfast_core::state::{Author, Policy, Role};
use holdfast_core::{Device, NodeId};
use holdfast_sync::Fault;
use holdfast_sync::docs::exchange::Steward;
use holdfast_sync::docs::{Clock, Contents, DocumentName, Documents, Hash, Page, Writer};
use holdfast_sync::net::Library;
use holdfast_sync::store::{ReadRecords, Snapshot, Store, WriteTx};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Says whether a node knows a device beside its twin.
pub type Known = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// What the twins of a service are made of.
pub struct Options {
    /// The store.
    pub store: Store,
    /// The documents in it, and whoever decides about them.
    pub library: Library,
    /// What the node is as a writer.
    pub role: Role,
    /// What nodes are called.
    pub nodes: Arc<dyn Nodes>,
    /// Which devices are known.
    pub known: Known,
    /// How a device becomes known, for whoever asks for one that is not.
    pub how_known: &'static str,
    /// Ends what follows changes.
    pub stop: CancellationToken,
}

/// The twins of a service; cheap to clone, part of its state.
#[derive(Clone)]
pub struct Twins(Arc<Inner>);

struct Inner {
    store: Store,
    documents: Arc<Documents>,
    steward: Arc<dyn Steward>,
    clock: Clock,
    role: Role,
    nodes: Arc<dyn Nodes>,
    known: Known,
    how_known: &'static str,
    stop: CancellationToken,
    /// A document is loaded as a whole to tell its past, which may take 16 MiB: one at a time.
    looking_back: Semaphore,
}

/// A section as it was at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Its version.
    pub version: Version,
    /// What it shows.
    pub shown: Shown,
}

/// A twin as it was at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Twin {
    /// What the device should be.
    pub desired: Part,
    /// What it says it is.
    pub reported: Part,
    /// What people call it.
    pub tags: Part,
}

impl Twin {
    /// One of its sections.
    #[must_use]
    pub const fn part(&self, section: Section) -> &Part {
        match section {
            Section::Desired => &self.desired,
            Section::Reported => &self.reported,
            Section::Tags => &self.tags,
        }
    }
}

impl Twins {
    /// The twins in a store.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn load(options: Options) -> Result<Self, Fault> {
        let Options { store, library, role, nodes, known, how_known, stop } = options;
        let Library { documents, steward, .. } = library;
        let clock = store.read_blocking(|view: &Snapshot<'_>| Clock::load(view))?;
        let looking_back = Semaphore::new(1);
        Ok(Self(Arc::new(Inner {
            store,
            documents,
            steward,
            clock,
            role,
            nodes,
            known,
            how_known,
            stop,
            looking_back,
        })))
    }

    /// The store that they lie in.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// What this node is as a writer.
    #[must_use]
    pub fn role(&self) -> Role {
        self.0.role
    }

    /// How cells of a document that have not seen each other are resolved: bytes of a [`Policy`].
    #[must_use]
    pub fn policy(&self, name: &DocumentName) -> Arc<[u8]> {
        self.0.steward.policy(name)
    }

    /// The documents, twins and others.
    #[must_use]
    pub fn documents(&self) -> &Documents {
        &self.0.documents
    }

    /// Who decides about documents.
    #[must_use]
    pub fn steward(&self) -> &dyn Steward {
        self.0.steward.as_ref()
    }

    /// This node as the writer of what `tx` stores.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn writer(&self, tx: &mut WriteTx<'_>) -> Result<Writer, Fault> {
        let author = Author::node(&self.0.store.node());
        Ok(Writer { author, role: self.0.role, clock: self.0.clock.tick(tx)? })
    }

    /// Reads a section.
    /// What a section shows, within a transaction.
    ///
    /// # Errors
    /// A fault of the store.
    pub(crate) fn shown(
        &self,
        records: &(impl ReadRecords + ?Sized),
        name: &DocumentName,
    ) -> Result<Shown, Fault> {
        Ok(self.part_in(records, name)?.shown)
    }

    fn part_in(
        &self,
        records: &(impl ReadRecords + ?Sized),
        name: &DocumentName,
    ) -> Result<Part, Fault> {
        let status = Documents::status(records, name)?;
        let heads = status.map(|status| status.heads).unwrap_or_default();
        let bytes = self.policy(name);
        let policy = Policy::from_bytes(&bytes).unwrap_or(Policy::LWW);
        let shown = Shown::of(name, &Contents::read(records, name)?, &policy);
        Ok(Part { version: Version::of(&heads), shown })
    }

    fn twin_in(&self, view: &Snapshot<'_>, device: &str) -> Result<Twin, Fault> {
        let read = |section: Section| match section.document(device) {
            Some(name) => self.part_in(view, &name),
            None => Ok(Part { version: Version::of(&[]), shown: Shown::default() }),
        };
        let (desired, reported) = (read(Section::Desired)?, read(Section::Reported)?);
        Ok(Twin { desired, reported, tags: read(Section::Tags)? })
    }

    /// Whether the node knows a device: by its twin, or otherwise.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn knows(&self, device: &str) -> Result<bool, Fault> {
        let names: Vec<_> = Section::ALL.iter().filter_map(|s| s.document(device)).collect();
        if names.is_empty() {
            return Ok(false);
        }
        let is_written = move |view: &Snapshot<'_>| {
            let written = names.iter().map(|name| Documents::status(view, name));
            Ok(written.collect::<Result<Vec<_>, _>>()?.iter().any(Option::is_some))
        };
        Ok(self.0.store.read(is_written).await? || (self.0.known)(device))
    }

    /// How a device becomes known here.
    #[must_use]
    pub fn how_known(&self) -> &'static str {
        self.0.how_known
    }

    /// The twin of a device. Of one without any it is empty.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn read(&self, device: &str) -> Result<Twin, Fault> {
        let (this, device) = (self.clone(), device.to_owned());
        let look = move |view: &Snapshot<'_>| this.twin_in(view, &device);
        self.0.store.read(look).await
    }

    /// A section. Of one that was never written it is empty.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn part(&self, name: DocumentName) -> Result<Part, Fault> {
        let this = self.clone();
        self.0.store.read(move |view: &Snapshot<'_>| this.part_in(view, &name)).await
    }

    /// The nodes that wrote sections of a device's twin.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn writers(&self, device: &str) -> Result<BTreeSet<NodeId>, Fault> {
        let names: Vec<_> = Section::ALL.iter().filter_map(|s| s.document(device)).collect();
        let look = move |view: &Snapshot<'_>| {
            let each = names.iter().map(|name| Documents::writers(view, name));
            Ok(each.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
        };
        self.0.store.read(look).await
    }

    /// The twins of at most `limit` devices whose ids begin with `prefix`, behind `after`.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Twin)>, Fault> {
        let (this, prefix) = (self.clone(), prefix.to_owned());
        let after = after.map(str::to_owned);
        let look = move |view: &Snapshot<'_>| {
            let devices = Documents::devices(view, &prefix, after.as_deref(), limit)?;
            let each = devices.into_iter().map(|device| {
                let twin = this.twin_in(view, &device)?;
                Ok((device, twin))
            });
            each.collect()
        };
        self.0.store.read(look).await
    }

    /// At most `limit` changes of a section, the newest first, or those older than `before`;
    /// nothing when that is no change of it.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn history(
        &self,
        name: DocumentName,
        before: Option<Hash>,
        limit: usize,
    ) -> Result<Option<Page>, Fault> {
        let _alone = self.0.looking_back.acquire().await.map_err(|_| Fault::Stopping)?;
        let look = move |view: &Snapshot<'_>| Documents::history(view, &name, before, limit);
        self.0.store.read(look).await
    }

    /// What a node is called.
    #[must_use]
    pub fn node_name(&self, node: &NodeId) -> String {
        self.0.nodes.name(node)
    }

    /// What the author of a cell in a document of `device` is called; `writers` are nodes that it
    /// may be.
    #[must_use]
    pub fn author_name(
        &self,
        device: &str,
        (author, role): (Author, Role),
        writers: &BTreeSet<NodeId>,
    ) -> String {
        let is_device = Device::new(device).is_ok_and(|device| Author::device(device) == author);
        if role == Role::Device && is_device {
            return device.to_owned();
        }
        let here = self.0.store.node();
        let mut nodes = writers.iter().chain([&here]);
        match nodes.find(|node| Author::node(node) == author) {
            Some(_) if role == Role::Hub => role.name().to_owned(),
            Some(node) => self.node_name(node),
            None => author.to_string(),
        }
    }
}
