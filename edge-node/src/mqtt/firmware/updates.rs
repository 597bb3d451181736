//! The firmware of a device: which it is to have, and how its update stands, as people see it.

use super::flows::SHORT;
use super::letters::envelope;
use holdfast_core::artefact::ArtefactId;
use holdfast_core::device;
use holdfast_core::device::firmware::{Firmware, KIND, Update, Wanted};
use holdfast_core::device::reported::RESERVED;
use holdfast_node::artefacts::Slot;
use holdfast_node::twins::Shown;
use holdfast_sync::Fault;
use holdfast_sync::artefact::shelf;
use holdfast_sync::store::Snapshot;
use serde_json::{Value as Json, json};

/// The envelope with the image that a device is to have; zeros: it stays with what it runs.
#[must_use]
pub fn wanted(image: Option<ArtefactId>) -> Option<Vec<u8>> {
    envelope(device::FIRMWARE_WANTED, |out| Wanted(image).encode(out))
}

/// What a device says of its firmware, as it is kept while the message is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Says {
    /// Where its next image goes.
    pub slot: Slot,
    /// The update that it is at, or was at last.
    pub update: Option<Update>,
}

impl From<Firmware<'_>> for Says {
    fn from(firmware: Firmware<'_>) -> Self {
        let Firmware { board, room, runs: _, update } = firmware;
        Self { slot: Slot { board: board.to_owned(), room }, update }
    }
}

impl Says {
    /// The version of the update, as its publisher says; not known where nothing of it is here.
    ///
    /// # Errors
    /// A database fault, or damage.
    pub fn version(&self, view: &Snapshot<'_>) -> Result<Option<String>, Fault> {
        let Some(update) = &self.update else { return Ok(None) };
        let Some(stored) = shelf::find(view, &update.id)? else { return Ok(None) };
        let content = stored.manifest()?.content;
        Ok((content.kind == KIND).then(|| content.version.to_owned()))
    }

    /// What is to stand in what a device reports, as a patch; `shown` stands there now.
    #[must_use]
    pub fn patch(&self, version: Option<String>, shown: &Shown) -> Json {
        let update = self.update.map_or(Json::Null, |update| {
            let mut artefact = update.id.to_string();
            artefact.truncate(SHORT);
            // An artefact keeps its version when it is no more here.
            let at = |path: &str| shown.at(&format!("{RESERVED}/update/{path}"));
            let is_same = at("artefact").is_some_and(|leaf| leaf.value == *artefact);
            let known = || at("version").filter(|_| is_same).map(|leaf| leaf.value.clone());
            let version = version.map(Json::from).or_else(known).unwrap_or_default();
            json!({
                "version": version,
                "progress": update.progress.words(),
                "artefact": artefact,
            })
        });
        json!({ RESERVED: { "board": self.slot.board, "update": update } })
    }
}
