//! Changes of twins, one after the other, from a place in the sequence of document changes on.
//!
//! Each follower reads the store at its own pace and is woken by commits, so none is missed and
//! none is kept for anybody. A document stands in the sequence once, at its latest change: who was
//! away gets one event for it, which tells the paths that changed meanwhile, or the whole section
//! where that is not remembered any more. A place is one of this node and this store.

use super::shown::nest;
use super::{Part, Section, Shown, Twins};
use holdfast_core::state::Path;
use holdfast_sync::Fault;
use holdfast_sync::docs::{DocumentName, Documents};
use holdfast_sync::store::Snapshot;
use serde::Serialize;
use serde_json::{Map, Value as Json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use tokio::sync::watch;

/// Documents that are looked up at a time.
const BATCH: usize = 64;

/// Which twins are followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// Those of devices whose ids begin so.
    Prefix(String),
    /// A device's own, without its tags.
    Own(String),
    /// What is desired of any device.
    Desired,
    /// The tags of any device.
    Tags,
}

impl Followed {
    fn names(&self, device: &str, section: Section) -> bool {
        match self {
            Self::Prefix(prefix) => device.starts_with(prefix.as_str()),
            Self::Own(own) => device == own && section != Section::Tags,
            Self::Desired => section == Section::Desired,
            Self::Tags => section == Section::Tags,
        }
    }
}

/// A change of a section, as the event `twin` carries it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TwinChange {
    /// Its place in the sequence, which is the event's id.
    #[serde(skip)]
    pub place: u64,
    /// The device.
    pub device: String,
    /// The section's name.
    pub section: &'static str,
    /// Its version now.
    pub version: String,
    /// Whether `patch` is all that the section shows, rather than what changed.
    pub whole: bool,
    /// What changed, as a merge patch (RFC 7396).
    pub patch: Map<String, Json>,
}

/// The changes behind a place.
pub struct Feed {
    twins: Twins,
    followed: Arc<Followed>,
    after: u64,
    ready: VecDeque<TwinChange>,
    changes: watch::Receiver<u64>,
}

impl Twins {
    /// Follows changes behind place `after`, or from now on.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn follow(&self, followed: Followed, after: Option<u64>) -> Result<Feed, Fault> {
        let changes = self.store().watch_documents();
        let last = self.store().read(|view: &Snapshot<'_>| Documents::last_place(view)).await?;
        // A place that was never given belongs to another store.
        let after = after.map_or(last, |after| if after > last { 0 } else { after });
        let (twins, followed) = (self.clone(), Arc::new(followed));
        Ok(Feed { twins, followed, after, ready: VecDeque::new(), changes })
    }
}

impl Feed {
    /// The place that was come to.
    #[must_use]
    pub const fn place(&self) -> u64 {
        self.after
    }

    /// Tells all behind `place` again, where it had come farther.
    pub(crate) fn go_back(&mut self, place: u64) {
        if place < self.after {
            self.after = place;
            self.ready.clear();
        }
    }

    /// The next change; nothing once the node stops.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn next(&mut self) -> Result<Option<TwinChange>, Fault> {
        loop {
            if let Some(change) = self.ready.pop_front() {
                return Ok(Some(change));
            }
            if !self.look().await? && !self.wait().await {
                return Ok(None);
            }
        }
    }

    /// The next change, if there is one already.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn next_there(&mut self) -> Result<Option<TwinChange>, Fault> {
        while self.ready.is_empty() && self.look().await? {}
        Ok(self.ready.pop_front())
    }

    /// Waits for a change of a document; `false` once the node stops.
    async fn wait(&mut self) -> bool {
        tokio::select! {
            changed = self.changes.changed() => changed.is_ok(),
            () = self.twins.0.stop.cancelled() => false,
        }
    }

    /// Reads the next changes; whether there are any, of twins that are followed or not.
    async fn look(&mut self) -> Result<bool, Fault> {
        let (twins, followed, after) = (self.twins.clone(), Arc::clone(&self.followed), self.after);
        let look = move |view: &Snapshot<'_>| {
            let found = Documents::changed_since(view, after, BATCH)?;
            let mut told = VecDeque::new();
            for (place, name) in &found {
                let meant = Section::of(name).filter(|(d, section)| followed.names(d, *section));
                if let Some((device, section)) = meant {
                    told.push_back(twins.change(view, (*place, name), (device, section), after)?);
                }
            }
            Ok((found.last().map(|(place, _)| *place), told))
        };
        let (last, told) = self.twins.store().read(look).await?;
        self.ready = told;
        self.after = last.unwrap_or(self.after);
        Ok(last.is_some())
    }
}

impl Twins {
    /// What the changes of a section behind place `after` came to.
    fn change(
        &self,
        view: &Snapshot<'_>,
        (place, name): (u64, &DocumentName),
        (device, section): (&str, Section),
        after: u64,
    ) -> Result<TwinChange, Fault> {
        let Part { version, shown } = self.part_in(view, name)?;
        let touched = self.0.documents.touched_since(name, after);
        Ok(TwinChange {
            place,
            device: device.to_owned(),
            section: section.name(),
            version: version.to_string(),
            whole: touched.is_none(),
            patch: touched.map_or_else(|| shown.object(), |keys| changed(&shown, &keys)),
        })
    }
}

/// What a section shows now where keys of it were touched. A write of a path hides, or lets be seen
/// again, what stands above and below it, so all that it meets is told.
fn changed(shown: &Shown, keys: &BTreeSet<String>) -> Map<String, Json> {
    let mut paths: BTreeMap<&str, Json> = BTreeMap::new();
    for key in keys {
        // A part of a counter or a set stands under its author as well.
        let text = key.split('#').next().unwrap_or(key);
        let Ok(touched) = Path::new(text) else { continue };
        let meets = |path: &str| Path::new(path).is_ok_and(|path| path.meets(touched));
        let met: Vec<_> = shown.iter().filter(|(path, _)| meets(path)).collect();
        if met.is_empty() {
            paths.insert(text, Json::Null);
        }
        paths.extend(met.into_iter().map(|(path, leaf)| (path, leaf.value.clone())));
    }
    nest(paths.into_iter())
}
