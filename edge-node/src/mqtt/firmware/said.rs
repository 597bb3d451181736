//! What a device has said, as far as its answer depends on it.

use super::letters::{Letters, envelope};
use holdfast_core::device;
use holdfast_core::device::command::{CommandId, Named};
use holdfast_core::device::desired::Version;
use holdfast_core::device::flows::{Fetch, Stepped};
use holdfast_core::device::gateway::{Time, Watermark};
use holdfast_core::device::reported::Joined;
use holdfast_node::artefacts::Slot;

/// What a message of a device calls for in return.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Up to where its samples go.
    pub watermark: Option<Watermark>,
    /// Whether it said how it is.
    pub is_health: bool,
    /// The version of the desired section that it holds, where it asks for that.
    pub ask: Option<Version>,
    /// What became of what it reported.
    pub joined: Vec<Joined>,
    /// The commands that it has answered.
    pub replied: Vec<CommandId>,
    /// The greatest number of the steps of its runs.
    pub stepped: Option<u64>,
    /// Whether it said which workflows it has, and so is to be told which it is to have.
    pub holds_flows: bool,
    /// Where its next image of firmware goes, where it said so, and so is to be told which.
    pub slot: Option<Slot>,
    /// The pieces of artefacts that it asks for.
    pub fetches: Vec<Fetch>,
}

impl Said {
    /// Whether it asks for anything that is to be looked up.
    #[must_use]
    pub fn asks(&self) -> bool {
        let is_to_have = self.holds_flows || self.slot.is_some();
        self.ask.is_some() || is_to_have || !self.fetches.is_empty()
    }

    /// Puts what can be told at once into `letters`, with what time it is; nothing where it calls
    /// for nothing.
    pub fn answer(&self, time: Time, letters: &mut Letters) {
        if *self == Self::default() {
            return;
        }
        let watermark = self
            .watermark
            .and_then(|watermark| envelope(device::WATERMARK, |out| watermark.encode(out)));
        let time = envelope(device::TIME, |out| time.encode(out));
        let joined =
            self.joined.iter().map(|joined| envelope(device::JOINED, |out| joined.encode(out)));
        let replied = self
            .replied
            .iter()
            .map(|id| envelope(device::REPLIED, |out| Named { id: *id }.encode(out)));
        let stepped = self
            .stepped
            .map(|number| envelope(device::STEPPED, |out| Stepped { number }.encode(out)));
        let all = [watermark, time].into_iter().chain(joined).chain(replied).chain(stepped);
        all.flatten().for_each(|envelope| letters.push(&envelope));
    }
}
