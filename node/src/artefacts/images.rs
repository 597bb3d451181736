//! Which firmware a device is to have.
//!
//! Images are artefacts of a kind of their own, whose name is the board that they are for. Of those
//! that a site uses, a device is offered one that is here whole, for nothing else could be handed
//! out, that its board has room for, and whose tags it has; of several the one that was made last,
//! by the publisher's clock, as no version says which of two is newer.

use super::{Sites, assigned};
use crate::runs::is_tagged;
use crate::twins::{Section, Shown, Twins};
use holdfast_core::artefact::ArtefactId;
use holdfast_core::device::firmware::KIND;
use holdfast_sync::Fault;
use holdfast_sync::artefact::shelf;
use holdfast_sync::store::Snapshot;

/// The place of a device for its next image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// The board.
    pub board: String,
    /// Bytes that an image may have.
    pub room: u64,
}

/// The images that sites have for their devices; clones are the same.
#[derive(Clone)]
pub struct Images {
    twins: Twins,
    sites: Sites,
}

/// How far the images that sites use are here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Here {
    /// Those that are here whole.
    pub whole: Vec<ArtefactId>,
    /// Whether there may be others, of which something is still to come.
    pub lacks: bool,
}

impl Images {
    /// Those of `sites`.
    #[must_use]
    pub const fn new(twins: Twins, sites: Sites) -> Self {
        Self { twins, sites }
    }

    /// The image that a device is to have; none: it stays with what it runs.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn offer(&self, device: &str, slot: &Slot) -> Result<Option<ArtefactId>, Fault> {
        let Some(tags) = Section::Tags.document(device) else { return Ok(None) };
        let (twins, sites, slot) = (self.twins.clone(), (self.sites)(), slot.clone());
        let look =
            move |view: &Snapshot<'_>| offer(view, &sites, &slot, &twins.shown(view, &tags)?);
        self.twins.store().read(look).await
    }

    /// How far they are here.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn here(&self) -> Result<Here, Fault> {
        let sites = (self.sites)();
        self.twins.store().read(move |view: &Snapshot<'_>| here(view, &sites)).await
    }
}

fn offer(
    view: &Snapshot<'_>,
    sites: &[String],
    slot: &Slot,
    tags: &Shown,
) -> Result<Option<ArtefactId>, Fault> {
    let mut last = None;
    for site in sites {
        for one in assigned(view, site)? {
            if !one.only.iter().all(|(name, value)| is_tagged(tags, name, value)) {
                continue;
            }
            let Some(stored) = shelf::find(view, &one.id)? else { continue };
            let content = stored.manifest()?.content;
            let is_for_it = content.kind == KIND && content.name == slot.board;
            if is_for_it && stored.is_whole() && stored.size <= slot.room {
                // Two that were made in one second are told apart by every gateway alike.
                last = last.max(Some((content.made_s, one.id)));
            }
        }
    }
    Ok(last.map(|(_, id)| id))
}

fn here(view: &Snapshot<'_>, sites: &[String]) -> Result<Here, Fault> {
    let mut out = Here::default();
    for site in sites {
        for one in assigned(view, site)? {
            match shelf::find(view, &one.id)? {
                // Of which kind it is stands in its manifest.
                None => out.lacks = true,
                Some(stored) if stored.manifest()?.content.kind != KIND => {}
                Some(stored) if stored.is_whole() => out.whole.push(one.id),
                Some(_) => out.lacks = true,
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
