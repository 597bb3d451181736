//! A flow image: the compiled form of a workflow, read in place.
//!
//! Tables of fixed width come first (types of registers, operations, numbers, handlers, retries),
//! so that a microcontroller runs an image straight from its flash; what is read seldom follows as
//! *parts* of any length behind one directory. [`Image::parse`] finds the tables and trusts nothing
//! else; whether the whole makes sense is for [`super::verify`]. Byte-exact page:
//! `docs/formats/flow.md`.

use super::effect::Effect;
use super::error::Code;
use super::field::Fields;
use super::op::{OP_BYTES, Op, Pc, Reg};
use crate::Reject;
use crate::codec::Reader;

/// The format written today.
pub const FORMAT: u8 = 1;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 32;
/// Bytes of a handler.
pub const HANDLER_BYTES: usize = 8;
/// Bytes of a rule for repeating.
pub const RETRY_BYTES: usize = 16;
/// Bytes of the longest image.
pub const IMAGE_MAX_BYTES: usize = 65_535;
/// What nobody catches waits for an operator instead of ending the run.
pub const PARKS: u8 = 0x01;

/// What a number register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Type {
    /// A signed integer of 64 bits; times and lengths of time are such, in milliseconds.
    Int = 1,
    /// A number of six decimal places, as so many millionths.
    Decimal = 2,
    /// 0 or 1.
    Bool = 3,
}

impl Type {
    /// Reads the number under which a type is stored.
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Int),
            2 => Some(Self::Decimal),
            3 => Some(Self::Bool),
            _ => None,
        }
    }

    /// The word for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Decimal => "decimal",
            Self::Bool => "bool",
        }
    }
}

/// A register of either kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// Of numbers.
    Number(Reg),
    /// Of texts.
    Text(Reg),
}

/// How much of everything a run needs, and how long one step of it can take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Registers of numbers.
    pub numbers: u8,
    /// Registers of texts.
    pub texts: u8,
    /// Branches at once, the first included.
    pub fibers: u8,
    /// What can be undone at once.
    pub undos: u8,
    /// Loops.
    pub counters: u8,
    /// Signals that it can wait for.
    pub signals: u8,
    /// Operations of one step at most.
    pub fuel: u32,
}

/// Where an error leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handler {
    /// The first operation that it covers.
    pub from: Pc,
    /// The last one.
    pub last: Pc,
    /// Where it goes on.
    pub to: Pc,
    /// Which error; [`Code::NONE`] for any but [`Code::DOUBT`].
    pub error: Code,
}

impl Handler {
    /// Whether it covers an error there.
    #[must_use]
    pub fn takes(&self, pc: Pc, error: Code) -> bool {
        (self.from..=self.last).contains(&pc) && error.is_one_of(self.error)
    }

    /// As it stands in an image.
    #[must_use]
    pub fn encode(&self) -> [u8; HANDLER_BYTES] {
        let words = [self.from, self.last, self.to, self.error.0].map(u16::to_le_bytes);
        let mut out = [0; HANDLER_BYTES];
        for (place, byte) in out.iter_mut().zip(words.as_flattened()) {
            *place = *byte;
        }
        out
    }
}

/// How often and when an effect is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// After which error; [`Code::NONE`] for any but [`Code::DOUBT`].
    pub error: Code,
    /// How often it is done in all.
    pub attempts: u8,
    /// By how many hundredths a delay is shortened at most, by chance.
    pub jitter: u8,
    /// Before the second attempt, milliseconds.
    pub first_ms: u32,
    /// The longest delay, milliseconds.
    pub cap_ms: u32,
    /// How much longer each delay is than the one before, in 256ths; at least 256.
    pub rate: u16,
}

impl Retry {
    /// Whether it is for this error.
    #[must_use]
    pub fn takes(&self, error: Code) -> bool {
        error.is_one_of(self.error)
    }

    /// The delay behind attempt number `attempt`, from 1, drawn from 64 random bits.
    #[must_use]
    pub fn delay_ms(&self, attempt: u8, entropy: u64) -> u64 {
        let mut delay = u64::from(self.first_ms);
        for _ in 1..attempt {
            delay = (delay * u64::from(self.rate) / 256).min(u64::from(self.cap_ms));
        }
        delay = delay.min(u64::from(self.cap_ms));
        let play = delay * u64::from(self.jitter.min(100)) / 100;
        // The high half of a 128-bit product is an even draw from 0..=play.
        delay - ((u128::from(entropy) * (u128::from(play) + 1)) >> 64) as u64
    }

    /// As it stands in an image.
    #[must_use]
    pub fn encode(&self) -> [u8; RETRY_BYTES] {
        let mut out = [0; RETRY_BYTES];
        out[..2].copy_from_slice(&self.error.0.to_le_bytes());
        out[2] = self.attempts;
        out[3] = self.jitter;
        out[4..8].copy_from_slice(&self.first_ms.to_le_bytes());
        out[8..12].copy_from_slice(&self.cap_ms.to_le_bytes());
        out[12..14].copy_from_slice(&self.rate.to_le_bytes());
        out
    }
}

/// The parts of an image that are there once, in the order in which they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Part {
    /// What the workflow is called and how it is to be run.
    About = 0,
    /// What a run is given.
    Inputs = 1,
    /// What a run leaves.
    Outputs = 2,
    /// The signals that it waits for.
    Signals = 3,
    /// Places at which a run can change to another version.
    Labels = 4,
    /// What registers are called in the source.
    Names = 5,
    /// Where operations come from in the source.
    Lines = 6,
}

/// How many there are.
pub const PARTS: usize = 7;

/// How many entries each table has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Operations.
    pub ops: u16,
    /// Numbers.
    pub constants: u16,
    /// Texts.
    pub texts: u16,
    /// Names of errors.
    pub errors: u16,
    /// Handlers.
    pub handlers: u16,
    /// Rules for repeating.
    pub retries: u16,
    /// Effects.
    pub effects: u16,
    /// Triggers.
    pub triggers: u16,
}

/// An image, read in place.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    /// What a run needs.
    pub sizes: Sizes,
    /// How many entries its tables have.
    pub counts: Counts,
    /// [`PARKS`], or nothing.
    pub flags: u8,
    /// For how many seconds a run may go on; 0 for ever.
    pub lasts_s: u32,
    types: &'a [u8],
    ops: &'a [u8],
    constants: &'a [u8],
    handlers: &'a [u8],
    retries: &'a [u8],
    directory: &'a [u8],
    parts: &'a [u8],
    tag: u32,
}

impl<'a> Image<'a> {
    /// Finds the tables of an image. Nothing that they say is checked.
    ///
    /// # Errors
    /// [`Reject::Long`] above [`IMAGE_MAX_BYTES`], [`Reject::Version`] for another format, else
    /// what is wrong with the bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Reject> {
        if bytes.len() > IMAGE_MAX_BYTES {
            return Err(Reject::Long);
        }
        Self::reopen(bytes, crate::envelope::checksum(bytes))
    }

    /// As [`Self::parse`], of bytes whose [`Self::tag`] is known from before.
    ///
    /// # Errors
    /// As there.
    pub fn reopen(bytes: &'a [u8], tag: u32) -> Result<Self, Reject> {
        let mut reader = Reader::new(bytes);
        let [format, flags, numbers, texts, fibers, undos, counters, signals] = reader.array()?;
        if format != FORMAT {
            return Err(Reject::Version);
        }
        let mut word = || reader.array().map(u16::from_le_bytes);
        let counts = Counts {
            ops: word()?,
            constants: word()?,
            texts: word()?,
            errors: word()?,
            handlers: word()?,
            retries: word()?,
            effects: word()?,
            triggers: word()?,
        };
        let lasts_s = u32::from_le_bytes(reader.array()?);
        let fuel = u32::from_le_bytes(reader.array()?);
        let sizes = Sizes { numbers, texts, fibers, undos, counters, signals, fuel };
        let mut table = |entries: usize, width: usize| reader.take(entries * width);
        let image = Self {
            sizes,
            counts,
            flags,
            lasts_s,
            types: table(usize::from(numbers), 1)?,
            ops: table(usize::from(counts.ops), OP_BYTES)?,
            constants: table(usize::from(counts.constants), 8)?,
            handlers: table(usize::from(counts.handlers), HANDLER_BYTES)?,
            retries: table(usize::from(counts.retries), RETRY_BYTES)?,
            directory: table(counts.parts(), 2)?,
            parts: reader.rest(),
            tag,
        };
        image.check_directory()?;
        Ok(image)
    }

    /// Each part ends where the directory says, the last one with the image.
    fn check_directory(&self) -> Result<(), Reject> {
        let mut before = 0;
        for index in 0..self.counts.parts() {
            let end = self.part_end(index).ok_or(Reject::Malformed)?;
            if end < before {
                return Err(Reject::Malformed);
            }
            before = end;
        }
        if before == self.parts.len() { Ok(()) } else { Err(Reject::Malformed) }
    }

    fn part_end(&self, index: usize) -> Option<usize> {
        row::<2>(self.directory, index).map(|end| usize::from(u16::from_le_bytes(end)))
    }

    fn part_at(&self, index: usize) -> Option<&'a [u8]> {
        let start = match index.checked_sub(1) {
            Some(before) => self.part_end(before)?,
            None => 0,
        };
        self.parts.get(start..self.part_end(index)?)
    }

    /// By which a run knows its image: CRC-32 of all its bytes.
    #[must_use]
    pub const fn tag(&self) -> u32 {
        self.tag
    }

    /// One of the parts that are there once.
    #[must_use]
    pub fn part(&self, part: Part) -> &'a [u8] {
        self.part_at(part as usize).unwrap_or_default()
    }

    /// An operation.
    #[must_use]
    pub fn op(&self, pc: Pc) -> Option<Op> {
        Op::decode(row(self.ops, usize::from(pc))?)
    }

    /// What a number register holds.
    #[must_use]
    pub fn type_of(&self, reg: Reg) -> Option<Type> {
        Type::from_u8(*self.types.get(usize::from(reg))?)
    }

    /// A number of the image.
    #[must_use]
    pub fn constant(&self, index: u16) -> Option<i64> {
        row(self.constants, usize::from(index)).map(i64::from_le_bytes)
    }

    /// A text of the image.
    #[must_use]
    pub fn text(&self, index: u16) -> Option<&'a str> {
        let known = index < self.counts.texts;
        self.str_at(known.then_some(PARTS + usize::from(index))?)
    }

    /// The name of an error, of the machine's or of its own.
    #[must_use]
    pub fn error_name(&self, error: Code) -> Option<&'a str> {
        let Some(index) = error.named() else { return error.name() };
        let known = index < self.counts.errors;
        let first = PARTS + usize::from(self.counts.texts);
        self.str_at(known.then_some(first + usize::from(index))?)
    }

    /// One of its own errors by its name, or one of the machine's.
    #[must_use]
    pub fn error_by_name(&self, name: &str) -> Option<Code> {
        Code::by_name(name).or_else(|| {
            let mut own = (0..self.counts.errors).map(Code::own);
            own.find(|code| self.error_name(*code) == Some(name))
        })
    }

    fn str_at(&self, index: usize) -> Option<&'a str> {
        core::str::from_utf8(self.part_at(index)?).ok()
    }

    /// A handler.
    #[must_use]
    pub fn handler(&self, index: u16) -> Option<Handler> {
        let words = row::<HANDLER_BYTES>(self.handlers, usize::from(index))?;
        let word = |at: usize| u16::from_le_bytes([words[at], words[at + 1]]);
        Some(Handler { from: word(0), last: word(2), to: word(4), error: Code(word(6)) })
    }

    /// The handlers, in the order in which they are asked.
    pub fn handlers(&self) -> impl Iterator<Item = Handler> + use<'a> {
        let this = *self;
        (0..this.counts.handlers).map_while(move |index| this.handler(index))
    }

    /// A rule for repeating.
    #[must_use]
    pub fn retry(&self, index: u16) -> Option<Retry> {
        let bytes = row::<RETRY_BYTES>(self.retries, usize::from(index))?;
        let mut reader = Reader::new(&bytes);
        let error = Code(u16::from_le_bytes(reader.array().ok()?));
        let [attempts, jitter] = reader.array().ok()?;
        let first_ms = u32::from_le_bytes(reader.array().ok()?);
        let cap_ms = u32::from_le_bytes(reader.array().ok()?);
        let rate = u16::from_le_bytes(reader.array().ok()?);
        let retry = Retry { error, attempts, jitter, first_ms, cap_ms, rate };
        (reader.array() == Ok([0, 0])).then_some(retry)
    }

    /// An effect.
    #[must_use]
    pub fn effect(&self, index: u16) -> Option<Effect<'a>> {
        Effect::read(self.effect_part(index)?).ok()
    }

    /// The bytes of an effect.
    #[must_use]
    pub fn effect_part(&self, index: u16) -> Option<&'a [u8]> {
        let first = PARTS + usize::from(self.counts.texts) + usize::from(self.counts.errors);
        let known = index < self.counts.effects;
        self.part_at(known.then_some(first + usize::from(index))?)
    }

    /// The bytes of a trigger.
    #[must_use]
    pub fn trigger_part(&self, index: u16) -> Option<&'a [u8]> {
        let before = [self.counts.texts, self.counts.errors, self.counts.effects];
        let first = PARTS + before.into_iter().map(usize::from).sum::<usize>();
        let known = index < self.counts.triggers;
        self.part_at(known.then_some(first + usize::from(index))?)
    }

    /// What a run is given.
    #[must_use]
    pub fn inputs(&self) -> Fields<'a> {
        Fields::new(self.part(Part::Inputs))
    }

    /// What a run leaves.
    #[must_use]
    pub fn outputs(&self) -> Fields<'a> {
        Fields::new(self.part(Part::Outputs))
    }

    /// The names of places at which a run can change to another version.
    pub fn labels(&self) -> impl Iterator<Item = (Pc, &'a str)> + use<'a> {
        let mut reader = Reader::new(self.part(Part::Labels));
        core::iter::from_fn(move || {
            let pc = Pc::try_from(reader.uint().ok()?).ok()?;
            Some((pc, reader.str(super::NAME_MAX_BYTES).ok()?))
        })
    }

    /// What registers and counters are called in the source.
    pub fn names(&self) -> impl Iterator<Item = (Named, &'a str)> + use<'a> {
        let mut reader = Reader::new(self.part(Part::Names));
        core::iter::from_fn(move || {
            let [kind, number] = reader.array().ok()?;
            Some((Named::new(kind, number)?, reader.str(super::NAME_MAX_BYTES).ok()?))
        })
    }

    /// The place in the source that an operation comes from: line and column, from 1.
    #[must_use]
    pub fn line_of(&self, pc: Pc) -> Option<(u32, u32)> {
        let mut reader = Reader::new(self.part(Part::Lines));
        let (mut at, mut found) = (0u64, None);
        while !reader.rest().is_empty() {
            at = at.checked_add(reader.uint().ok()?)?;
            if at > u64::from(pc) {
                break;
            }
            let line = u32::try_from(reader.uint().ok()?).ok()?;
            found = Some((line, u32::try_from(reader.uint().ok()?).ok()?));
        }
        found
    }
}

/// What has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// A register.
    Slot(Slot),
    /// A loop's counter.
    Counter(u8),
}

impl Named {
    const fn new(kind: u8, number: u8) -> Option<Self> {
        match kind {
            0 => Some(Self::Slot(Slot::Number(number))),
            1 => Some(Self::Slot(Slot::Text(number))),
            2 => Some(Self::Counter(number)),
            _ => None,
        }
    }
}

impl Counts {
    /// How many parts there are, and so how long the directory is.
    #[must_use]
    pub const fn parts(&self) -> usize {
        PARTS
            + self.texts as usize
            + self.errors as usize
            + self.effects as usize
            + self.triggers as usize
    }
}

fn row<const N: usize>(table: &[u8], index: usize) -> Option<[u8; N]> {
    table.get(index * N..)?.first_chunk::<N>().copied()
}
