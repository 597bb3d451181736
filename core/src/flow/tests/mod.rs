//! The machine and the verifier, on images written by hand.

mod golden;
mod machine;
mod mutations;
mod rejections;
mod undoing;

use super::about::{About, Overlap, Placement};
use super::draft::Draft;
use super::effect::{Argument, Head, IDEMPOTENT, Kind, Piece, encode};
use super::image::Retry;
use super::memory::{Memory, bytes_of};
use super::verify::{Place, Tier, verify};
use super::view::{self, Pending, Wait};
use super::*;
use std::vec::Vec;

pub(super) const ABOUT: About<'static> = About {
    id: "pump-guard",
    version: "1",
    title: "Pump guard",
    placement: Placement::Any,
    concurrent: 1,
    overlap: Overlap::Queue,
    priority: 5,
};

/// An image that was verified, with a run of it.
pub(super) struct Bench {
    pub(super) bytes: Vec<u8>,
    pub(super) memory: Vec<u8>,
    pub(super) now_ms: i64,
}

impl Bench {
    /// Begins a run at the time 1,000.
    pub(super) fn start(draft: &Draft) -> Self {
        Self::start_with(draft, &[])
    }

    pub(super) fn start_with(draft: &Draft, values: &[Option<Given<'_>>]) -> Self {
        let bytes = draft.encode().unwrap();
        let mut places = std::vec![Place::NOWHERE; draft.ops.len()];
        let image = verify(&bytes, &Tier::NODE, &mut places).unwrap();
        let mut memory = std::vec![0xee; bytes_of(image.sizes)];
        start(&image, &mut memory, values, Moment { now_ms: 1_000, entropy: 7 }).unwrap();
        let mut bench = Self { bytes, memory, now_ms: 1_000 };
        bench.settle();
        bench
    }

    pub(super) fn image(&self) -> Image<'_> {
        Image::parse(&self.bytes).unwrap()
    }

    pub(super) fn memory(&self) -> Memory<'_> {
        Memory::new(&self.memory, self.image().sizes).unwrap()
    }

    pub(super) fn put(&mut self, input: Input<'_>) -> Result<(), Refusal> {
        let image = Image::parse(&self.bytes).unwrap();
        let moment = Moment { now_ms: self.now_ms, entropy: 7 };
        let before = self.memory.clone();
        let more = step(&image, &mut self.memory, &input, moment);
        if more.is_err() {
            assert_eq!(self.memory, before, "a refused input changes nothing");
        }
        view::check(&image, &self.memory).unwrap();
        if more? {
            self.settle();
        }
        Ok(())
    }

    /// Ticks until nothing is left to do at once.
    fn settle(&mut self) {
        while view::next_deadline(self.memory()) == i64::MIN {
            self.put(Input::Tick).unwrap();
        }
    }

    pub(super) fn at(&mut self, now_ms: i64) {
        self.now_ms = now_ms;
        self.put(Input::Tick).unwrap();
    }

    /// The effects asked for: number in the run, which, attempt.
    pub(super) fn asked(&self) -> Vec<(u32, u16, u8)> {
        let all = view::pending(&self.image(), self.memory());
        all.map(|Pending { serial, effect, attempt, .. }| (serial, effect, attempt)).collect()
    }

    pub(super) fn done(&mut self, serial: u32) {
        self.put(Input::Result { serial, outcome: Outcome::Done(&[]) }).unwrap();
    }

    pub(super) fn failed(&mut self, serial: u32, error: Code) {
        self.put(Input::Result { serial, outcome: Outcome::Failed(error) }).unwrap();
    }

    pub(super) fn waits(&self) -> Vec<Wait> {
        view::waits(&self.image(), self.memory()).map(|waiting| waiting.wait).collect()
    }

    pub(super) fn phase(&self) -> Phase {
        self.memory().phase().unwrap()
    }
}

/// Adds an effect without answers: an output of the device, called `name`.
pub(super) fn actuate(draft: &mut Draft, name: &str, retries: &[Retry]) -> u16 {
    effect(draft, name, IDEMPOTENT, 0, retries)
}

pub(super) fn effect(
    draft: &mut Draft,
    name: &str,
    flags: u8,
    timeout_ms: u64,
    retries: &[Retry],
) -> u16 {
    let first = draft.retries.len() as u16;
    draft.retries.extend_from_slice(retries);
    let head =
        Head { kind: Kind::Actuate, flags, timeout_ms, retries: (first, retries.len() as u16) };
    let arguments: [(Argument, &[Piece<'_>]); 2] =
        [(Argument::Value, &[Piece::Literal("1")]), (Argument::Name, &[Piece::Literal(name)])];
    let mut bytes = Vec::new();
    encode(&mut bytes, &head, &arguments, &[]).unwrap();
    draft.effects.push(bytes);
    (draft.effects.len() - 1) as u16
}

/// Three attempts, a second apart, whatever the error.
pub(super) const THRICE: Retry =
    Retry { error: Code::NONE, attempts: 3, jitter: 0, first_ms: 1_000, cap_ms: 60_000, rate: 512 };
