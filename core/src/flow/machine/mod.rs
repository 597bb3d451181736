//! The step machine: an input and the memory of a run become the next memory of that run.
//!
//! [`start`] begins a run, [`step`] takes one input and goes on until every fiber waits. Both are
//! pure: time and entropy are in the [`Moment`], effects are not done but *stand* in the memory
//! ([`super::view::pending`]) until their result comes in as an input. So whoever runs it writes
//! the memory down after a step, then does what stands there, and after a crash finds it standing
//! there still.
//!
//! In one step each fiber has one *turn*: from where it is to the next operation that waits. A
//! refused input changes nothing.

mod fibers;
mod inputs;
mod turn;

use super::error::Code;
use super::field::{Default, Field, Fields};
use super::image::{Image, Slot, Type};
use super::memory::{Fiber, MemoryMut, NEVER, NO_FIBER, State};
use super::op::Op;
use core::fmt;

/// No timer is shorter, or a loop around one would keep a processor busy.
pub const TIMER_MIN_MS: i64 = 10;

/// A value from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given<'a> {
    /// A number, as the type of its register has it.
    Number(i64),
    /// A text.
    Text(&'a str),
}

/// When a step is made, and by what chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Unix milliseconds.
    pub now_ms: i64,
    /// 64 random bits.
    pub entropy: u64,
}

/// What became of an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// It was done; this is what its answer has, in the order in which the effect asks for it.
    Done(&'a [Option<Given<'a>>]),
    /// It was not done; with [`Code::DOUBT`], nobody knows.
    Failed(Code),
}

/// What somebody decides about a fiber that is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution<'a> {
    /// It tries again where it failed, under the same key.
    Retry,
    /// It goes on behind that; not behind a failure that the workflow itself wants, where there is
    /// nothing, nor behind a value that could not be computed, which would be missing.
    Skip,
    /// A register gets another value; the fiber stays parked.
    Set(Slot, Given<'a>),
    /// The run fails, and what it did is undone.
    Compensate,
}

/// What a run can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// Time has passed.
    Tick,
    /// An effect is over.
    Result {
        /// Which.
        serial: u32,
        /// And how.
        outcome: Outcome<'a>,
    },
    /// A signal came.
    Signal {
        /// Which.
        signal: u8,
        /// What it brings, in the order in which the image lists it.
        values: &'a [Option<Given<'a>>],
    },
    /// Somebody decides.
    Resolve {
        /// About which fiber.
        fiber: u8,
        /// And how.
        how: Resolution<'a>,
    },
    /// Somebody ends it. What it did is undone; where that is parked, it ends as it is.
    Cancel,
}

/// Why an input was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The memory does not belong to the image.
    Foreign,
    /// The run is over.
    Over,
    /// Nothing waits for it: an effect that was given up, a fiber that is not parked.
    Unasked,
    /// There is no such signal, register or way on.
    Unknown,
    /// The field of this number has no value, or one that does not fit its register.
    Field(u8),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Foreign => "what it knows belongs to another image",
            Self::Over => "the run is over",
            Self::Unasked => "nothing of it waits for that",
            Self::Unknown => "that leads nowhere there: there is nothing behind it to go on with",
            Self::Field(number) => {
                return write!(f, "its value number {} is missing or does not fit", *number + 1);
            }
        })
    }
}

/// Begins a run and makes its first step. `values` are those of the image's inputs, in their order.
///
/// # Errors
/// [`Refusal`]; the memory is not to be used then.
pub fn start(
    image: &Image<'_>,
    memory: &mut [u8],
    values: &[Option<Given<'_>>],
    moment: Moment,
) -> Result<bool, Refusal> {
    let mut machine = Machine::new(image, memory, moment)?;
    check_fields(image, image.inputs(), values)?;
    let deadline = match image.lasts_s {
        0 => NEVER,
        lasts_s => moment.now_ms.saturating_add(i64::from(lasts_s) * 1_000),
    };
    machine.memory.clear(image.tag(), deadline);
    machine.put_fields(image.inputs(), values);
    let root = Fiber { state: State::Ready, parent: NO_FIBER, deadline: NEVER, ..Fiber::FREE };
    machine.memory.set_fiber(0, &root);
    Ok(machine.advance())
}

/// Takes an input and goes on until every fiber waits or has had its turn. `true` where there is
/// more to do at once: another [`Input::Tick`] does it.
///
/// # Errors
/// [`Refusal`]; the memory is as it was.
pub fn step(
    image: &Image<'_>,
    memory: &mut [u8],
    input: &Input<'_>,
    moment: Moment,
) -> Result<bool, Refusal> {
    let mut machine = Machine::new(image, memory, moment)?;
    let phase = machine.memory.view().phase().filter(|_| machine.is_at_home());
    if phase.ok_or(Refusal::Foreign)?.is_over() {
        return Err(Refusal::Over);
    }
    match *input {
        Input::Tick => machine.tick(),
        Input::Result { serial, outcome } => machine.result(serial, outcome)?,
        Input::Signal { signal, values } => machine.signal(signal, values)?,
        Input::Resolve { fiber, how } => machine.resolve(fiber, how)?,
        Input::Cancel => machine.cancel(),
    }
    Ok(machine.advance())
}

/// The clock of the node was set by so much: what waits for a length of time goes on waiting as
/// long; what waits for a point in time does not care.
///
/// # Errors
/// [`Refusal::Foreign`]
pub fn clock_set(image: &Image<'_>, memory: &mut [u8], by_ms: i64) -> Result<(), Refusal> {
    let mut machine = Machine::new(image, memory, Moment { now_ms: 0, entropy: 0 })?;
    if !machine.is_at_home() {
        return Err(Refusal::Foreign);
    }
    let moved = |deadline: i64| match deadline {
        NEVER => NEVER,
        deadline => deadline.saturating_add(by_ms),
    };
    let deadline = moved(machine.memory.view().deadline());
    machine.memory.set_deadline(deadline);
    for index in 0..image.sizes.fibers {
        let Some(mut fiber) = machine.fiber(index) else { continue };
        if !matches!(image.op(fiber.pc), Some(Op::Until { .. })) {
            fiber.deadline = moved(fiber.deadline);
            machine.memory.set_fiber(index, &fiber);
        }
    }
    Ok(())
}

struct Machine<'i, 'm> {
    image: &'i Image<'i>,
    memory: MemoryMut<'m>,
    moment: Moment,
}

impl<'i, 'm> Machine<'i, 'm> {
    fn new(image: &'i Image<'i>, memory: &'m mut [u8], moment: Moment) -> Result<Self, Refusal> {
        let memory = MemoryMut::new(memory, image.sizes).ok_or(Refusal::Foreign)?;
        Ok(Self { image, memory, moment })
    }

    fn is_at_home(&self) -> bool {
        let view = self.memory.view();
        view.format() == super::memory::FORMAT && view.tag() == self.image.tag()
    }

    fn fiber(&self, index: u8) -> Option<Fiber> {
        self.memory.view().fiber(index).filter(|fiber| fiber.state != State::Free)
    }

    fn after(&self, ms: i64) -> i64 {
        self.moment.now_ms.saturating_add(ms)
    }

    pub(super) fn set(&mut self, slot: Slot, value: Given<'_>) -> Result<(), Refusal> {
        if !fits(self.image, slot, value) {
            return Err(Refusal::Unknown);
        }
        match (slot, value) {
            (Slot::Number(reg), Given::Number(number)) => self.memory.set_number(reg, number),
            (Slot::Text(reg), Given::Text(text)) => {
                let _checked = self.memory.set_text(reg, &[text]);
            }
            _ => return Err(Refusal::Unknown),
        }
        Ok(())
    }

    /// Writes values that were checked.
    pub(super) fn put_fields(&mut self, fields: Fields<'_>, values: &[Option<Given<'_>>]) {
        for (index, field) in fields.enumerate() {
            let value = values.get(index).copied().flatten().or(default_of(&field));
            if let Some(value) = value {
                let _checked = self.set(field.slot, value);
            }
        }
    }

    pub(super) fn put_defaults(&mut self, fields: Fields<'_>) {
        self.put_fields(fields, &[]);
    }
}

/// Whether a value is of the type of a register and fits into it.
fn fits(image: &Image<'_>, slot: Slot, value: Given<'_>) -> bool {
    match (slot, value) {
        (Slot::Number(reg), Given::Number(number)) => match image.type_of(reg) {
            Some(Type::Bool) => matches!(number, 0 | 1),
            of => of.is_some(),
        },
        (Slot::Text(reg), Given::Text(text)) => {
            reg < image.sizes.texts && text.len() <= super::TEXT_MAX_BYTES
        }
        _ => false,
    }
}

fn check_fields(
    image: &Image<'_>,
    fields: Fields<'_>,
    values: &[Option<Given<'_>>],
) -> Result<(), Refusal> {
    for (index, field) in fields.enumerate() {
        let value = values.get(index).copied().flatten().or(default_of(&field));
        if !value.is_some_and(|value| fits(image, field.slot, value)) {
            return Err(Refusal::Field(u8::try_from(index).unwrap_or(u8::MAX)));
        }
    }
    Ok(())
}

fn default_of<'a>(field: &Field<'a>) -> Option<Given<'a>> {
    field.default.map(|default| match default {
        Default::Number(number) => Given::Number(number),
        Default::Text(text) => Given::Text(text),
    })
}
