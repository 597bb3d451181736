//! The memory of one run: plain bytes at fixed places, which are the record of the run as well.
//!
//! A run is its memory. What is on disk or in flash is the same bytes, so writing a checkpoint is
//! copying them and recovery is reading the last intact copy; there is nothing to replay. How many
//! bytes follows from the [`Sizes`] that the image states. Words are little-endian everywhere.
//! Byte-exact page: `docs/formats/flow.md`.

use super::TEXT_MAX_BYTES;
use super::error::Code;
use super::image::Sizes;
use super::op::{Pc, Reg};

/// The format written today.
pub const FORMAT: u8 = 1;
/// Bytes that every run has.
pub const HEAD_BYTES: usize = 28;
/// Bytes of a fiber.
pub const FIBER_BYTES: usize = 20;
/// Bytes of a text register.
pub const TEXT_BYTES: usize = 1 + TEXT_MAX_BYTES;
/// There is no such time: it is never reached.
pub const NEVER: i64 = i64::MAX;
/// The parent of the first fiber.
pub const NO_FIBER: u8 = 0xff;

const PHASE: usize = 1;
const UNDOS: usize = 2;
const CAUSE: usize = 4;
const PLACE: usize = 6;
const SERIAL: usize = 8;
const SIGNALS: usize = 12;
const TAG: usize = 16;
const DEADLINE: usize = 20;

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Under way.
    Running = 1,
    /// It failed or was cancelled, and what it did is being undone.
    Undoing = 2,
    /// Over, and well.
    Succeeded = 3,
    /// Over, with an error.
    Failed = 4,
    /// Over, because somebody ended it.
    Cancelled = 5,
}

impl Phase {
    /// Reads the number under which a phase is stored.
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Running),
            2 => Some(Self::Undoing),
            3 => Some(Self::Succeeded),
            4 => Some(Self::Failed),
            5 => Some(Self::Cancelled),
            _ => None,
        }
    }

    /// Whether nothing more comes of it.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// What a fiber does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// There is none.
    #[default]
    Free = 0,
    /// It goes on with the next step.
    Ready = 1,
    /// An effect was asked for, and its result is awaited.
    Doing = 2,
    /// An effect failed and is asked for again later.
    Retrying = 3,
    /// It waits for a time.
    Sleeping = 4,
    /// It waits for a signal.
    Listening = 5,
    /// It waits for its branches.
    Joining = 6,
    /// It failed, nothing takes the error, and somebody has to say what is to become of it.
    Parked = 7,
}

impl State {
    const ALL: [Self; 8] = [
        Self::Free,
        Self::Ready,
        Self::Doing,
        Self::Retrying,
        Self::Sleeping,
        Self::Listening,
        Self::Joining,
        Self::Parked,
    ];
}

/// One line of a run: the first, or a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fiber {
    /// The operation at which it waits, or which it does next.
    pub pc: Pc,
    /// What it does.
    pub state: State,
    /// The fiber that began it; [`NO_FIBER`] for the first.
    pub parent: u8,
    /// The number of its effect in this run.
    pub serial: u32,
    /// Until when it waits, Unix milliseconds; [`NEVER`] without end.
    pub deadline: i64,
    /// The attempt of its effect, from 1.
    pub attempt: u8,
    /// The error that was caught last, or for which it is parked.
    pub error: Code,
}

impl Fiber {
    pub(super) const FREE: Self = Self {
        pc: 0,
        state: State::Free,
        parent: 0,
        serial: 0,
        deadline: 0,
        attempt: 0,
        error: Code::NONE,
    };

    fn decode(bytes: &[u8; FIBER_BYTES]) -> Option<Self> {
        let [p0, p1, state, parent, s0, s1, s2, s3, rest @ ..] = *bytes;
        let [d @ .., attempt, zero, e0, e1] = rest;
        let state = State::ALL.get(usize::from(state)).copied().filter(|_| zero == 0)?;
        Some(Self {
            pc: u16::from_le_bytes([p0, p1]),
            state,
            parent,
            serial: u32::from_le_bytes([s0, s1, s2, s3]),
            deadline: i64::from_le_bytes(d),
            attempt,
            error: Code(u16::from_le_bytes([e0, e1])),
        })
    }

    fn encode(&self) -> [u8; FIBER_BYTES] {
        let mut out = [0; FIBER_BYTES];
        out[..2].copy_from_slice(&self.pc.to_le_bytes());
        out[2] = self.state as u8;
        out[3] = self.parent;
        out[4..8].copy_from_slice(&self.serial.to_le_bytes());
        out[8..16].copy_from_slice(&self.deadline.to_le_bytes());
        out[16] = self.attempt;
        out[18..].copy_from_slice(&self.error.0.to_le_bytes());
        out
    }
}

/// Where in the memory what stands.
#[derive(Clone, Copy, Debug)]
struct Layout {
    sizes: Sizes,
    numbers: usize,
    counters: usize,
    undos: usize,
    texts: usize,
    end: usize,
}

impl Layout {
    const fn of(sizes: Sizes) -> Self {
        let numbers = HEAD_BYTES + sizes.fibers as usize * FIBER_BYTES;
        let counters = numbers + sizes.numbers as usize * 8;
        let undos = counters + sizes.counters as usize * 2;
        let texts = undos + sizes.undos as usize * 2;
        let end = texts + sizes.texts as usize * TEXT_BYTES;
        Self { sizes, numbers, counters, undos, texts, end }
    }
}

/// How many bytes a run takes.
#[must_use]
pub const fn bytes_of(sizes: Sizes) -> usize {
    Layout::of(sizes).end
}

/// The memory of a run, to be read.
///
/// What is asked for outside of it is zero or empty: an image that was verified never does.
#[derive(Clone, Copy, Debug)]
pub struct Memory<'m> {
    bytes: &'m [u8],
    layout: Layout,
}

impl<'m> Memory<'m> {
    /// The memory of a run of an image with these sizes; `None` when it has another length.
    #[must_use]
    pub fn new(bytes: &'m [u8], sizes: Sizes) -> Option<Self> {
        let layout = Layout::of(sizes);
        (bytes.len() == layout.end).then_some(Self { bytes, layout })
    }

    fn word<const N: usize>(&self, at: usize) -> [u8; N] {
        let word = self.bytes.get(at..).and_then(|rest| rest.first_chunk::<N>());
        word.copied().unwrap_or([0; N])
    }

    /// The first byte.
    #[must_use]
    pub fn format(&self) -> u8 {
        self.word::<1>(0)[0]
    }

    /// How far the run is; `None` for a number that is none.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        Phase::from_u8(self.word::<1>(PHASE)[0])
    }

    /// Why it fails, failed or was cancelled.
    #[must_use]
    pub fn cause(&self) -> Code {
        Code(u16::from_le_bytes(self.word(CAUSE)))
    }

    /// Where that happened.
    #[must_use]
    pub fn place(&self) -> Pc {
        u16::from_le_bytes(self.word(PLACE))
    }

    /// How many effects it has asked for.
    #[must_use]
    pub fn serial(&self) -> u32 {
        u32::from_le_bytes(self.word(SERIAL))
    }

    /// The signals that came and were not waited for, a bit each.
    #[must_use]
    pub fn signals(&self) -> u32 {
        u32::from_le_bytes(self.word(SIGNALS))
    }

    /// By which it knows its image.
    #[must_use]
    pub fn tag(&self) -> u32 {
        u32::from_le_bytes(self.word(TAG))
    }

    /// Until when it may go on, Unix milliseconds; [`NEVER`] for ever.
    #[must_use]
    pub fn deadline(&self) -> i64 {
        i64::from_le_bytes(self.word(DEADLINE))
    }

    /// How much is to be undone.
    #[must_use]
    pub fn undo_count(&self) -> u8 {
        self.word::<1>(UNDOS)[0]
    }

    /// What begins at the `index`-th of the places that undo something.
    #[must_use]
    pub fn undo(&self, index: u8) -> Pc {
        if index >= self.layout.sizes.undos {
            return 0;
        }
        u16::from_le_bytes(self.word(self.layout.undos + usize::from(index) * 2))
    }

    /// How many fibers it can have.
    #[must_use]
    pub const fn fiber_count(&self) -> u8 {
        self.layout.sizes.fibers
    }

    /// A fiber; `None` for bytes that are none.
    #[must_use]
    pub fn fiber(&self, index: u8) -> Option<Fiber> {
        if index >= self.layout.sizes.fibers {
            return None;
        }
        let at = HEAD_BYTES + usize::from(index) * FIBER_BYTES;
        Fiber::decode(self.bytes.get(at..)?.first_chunk()?)
    }

    /// The fibers that there are, with their numbers.
    pub fn fibers(self) -> impl Iterator<Item = (u8, Fiber)> + 'm {
        let all = (0..self.layout.sizes.fibers)
            .filter_map(move |index| Some((index, self.fiber(index)?)));
        all.filter(|(_, fiber)| fiber.state != State::Free)
    }

    /// A number register.
    #[must_use]
    pub fn number(&self, reg: Reg) -> i64 {
        if reg >= self.layout.sizes.numbers {
            return 0;
        }
        i64::from_le_bytes(self.word(self.layout.numbers + usize::from(reg) * 8))
    }

    /// A loop's counter.
    #[must_use]
    pub fn counter(&self, counter: u8) -> u16 {
        if counter >= self.layout.sizes.counters {
            return 0;
        }
        u16::from_le_bytes(self.word(self.layout.counters + usize::from(counter) * 2))
    }

    /// A text register.
    #[must_use]
    pub fn text(&self, reg: Reg) -> &'m str {
        self.try_text(reg).unwrap_or_default()
    }

    /// A text register; `None` for bytes that are no text.
    #[must_use]
    pub fn try_text(&self, reg: Reg) -> Option<&'m str> {
        if reg >= self.layout.sizes.texts {
            return None;
        }
        let at = self.layout.texts + usize::from(reg) * TEXT_BYTES;
        let (len, rest) = self.bytes.get(at..at + TEXT_BYTES)?.split_first()?;
        core::str::from_utf8(rest.get(..usize::from(*len))?).ok()
    }
}

/// The memory of a run, to be changed.
///
/// What is written outside of it is not written: an image that was verified never does.
#[derive(Debug)]
pub struct MemoryMut<'m> {
    bytes: &'m mut [u8],
    layout: Layout,
}

impl<'m> MemoryMut<'m> {
    /// As [`Memory::new`].
    #[must_use]
    pub fn new(bytes: &'m mut [u8], sizes: Sizes) -> Option<Self> {
        let layout = Layout::of(sizes);
        (bytes.len() == layout.end).then_some(Self { bytes, layout })
    }

    /// The same, to be read.
    #[must_use]
    pub const fn view(&self) -> Memory<'_> {
        Memory { bytes: &*self.bytes, layout: self.layout }
    }

    fn put(&mut self, at: usize, word: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at + word.len()) {
            place.copy_from_slice(word);
        }
    }

    /// Forgets everything and begins.
    pub(super) fn clear(&mut self, tag: u32, deadline: i64) {
        self.bytes.fill(0);
        self.put(0, &[FORMAT]);
        self.put(TAG, &tag.to_le_bytes());
        self.set_deadline(deadline);
        self.set_phase(Phase::Running);
    }

    pub(super) fn set_phase(&mut self, phase: Phase) {
        self.put(PHASE, &[phase as u8]);
    }

    pub(super) fn set_cause(&mut self, cause: Code, place: Pc) {
        self.put(CAUSE, &cause.0.to_le_bytes());
        self.put(PLACE, &place.to_le_bytes());
    }

    pub(super) fn set_serial(&mut self, serial: u32) {
        self.put(SERIAL, &serial.to_le_bytes());
    }

    pub(super) fn set_signals(&mut self, signals: u32) {
        self.put(SIGNALS, &signals.to_le_bytes());
    }

    pub(super) fn set_deadline(&mut self, deadline: i64) {
        self.put(DEADLINE, &deadline.to_le_bytes());
    }

    pub(super) fn set_undo_count(&mut self, count: u8) {
        self.put(UNDOS, &[count]);
    }

    pub(super) fn set_undo(&mut self, index: u8, to: Pc) {
        if index < self.layout.sizes.undos {
            self.put(self.layout.undos + usize::from(index) * 2, &to.to_le_bytes());
        }
    }

    pub(super) fn set_fiber(&mut self, index: u8, fiber: &Fiber) {
        if index < self.layout.sizes.fibers {
            self.put(HEAD_BYTES + usize::from(index) * FIBER_BYTES, &fiber.encode());
        }
    }

    pub(super) fn set_number(&mut self, reg: Reg, number: i64) {
        if reg < self.layout.sizes.numbers {
            self.put(self.layout.numbers + usize::from(reg) * 8, &number.to_le_bytes());
        }
    }

    pub(super) fn set_counter(&mut self, counter: u8, count: u16) {
        if counter < self.layout.sizes.counters {
            self.put(self.layout.counters + usize::from(counter) * 2, &count.to_le_bytes());
        }
    }

    /// Writes `parts`, one behind the other; `false` where they are too long for a register, which
    /// is as it was then.
    #[must_use]
    pub(super) fn set_text(&mut self, reg: Reg, parts: &[&str]) -> bool {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if len > TEXT_MAX_BYTES || reg >= self.layout.sizes.texts {
            return false;
        }
        // Behind the text stand zeros: what was there before must not tell two runs apart.
        let mut register = [0; TEXT_BYTES];
        register[0] = len as u8;
        let mut at = 1;
        for part in parts {
            register[at..at + part.len()].copy_from_slice(part.as_bytes());
            at += part.len();
        }
        self.put(self.layout.texts + usize::from(reg) * TEXT_BYTES, &register);
        true
    }
}
