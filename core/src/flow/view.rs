//! What a run asks for and waits for, read from its memory.
//!
//! Nothing is handed over by a step: what is to be done *stands* in the memory, and whoever runs it
//! looks here, after a step and after a crash alike.

use super::error::Code;
use super::image::Image;
use super::memory::{FORMAT, Fiber, Memory, NEVER, NO_FIBER, Phase, State};
use super::op::{Op, Pc};
use crate::Reject;

/// An effect that is to be done, or under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Its number in the run: with the run's id the key under which it is done once.
    pub serial: u32,
    /// Which effect of the image.
    pub effect: u16,
    /// The attempt, from 1.
    pub attempt: u8,
    /// By when it has to be over, Unix milliseconds; [`NEVER`] for as long as it takes.
    pub deadline: i64,
    /// Where it stands.
    pub pc: Pc,
}

/// Why a fiber does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// For an effect.
    Effect(Pending),
    /// For the time at which a failed effect is tried again.
    Retry {
        /// The effect, with the attempt that failed.
        of: Pending,
        /// Why it failed.
        error: Code,
    },
    /// For a time.
    Timer,
    /// For a signal.
    Signal(u8),
    /// For its branches.
    Branches,
    /// For somebody who says what is to become of an error.
    Decision(Code),
    /// For nothing: it goes on with the next step.
    Nothing,
}

/// A fiber and what it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The fiber.
    pub fiber: u8,
    /// The fiber that began it.
    pub parent: Option<u8>,
    /// Where it stands.
    pub pc: Pc,
    /// What for.
    pub wait: Wait,
    /// Until when at most, Unix milliseconds; [`NEVER`] without end.
    pub until: i64,
}

/// What every fiber of a run waits for.
pub fn waits<'m>(image: &Image<'_>, memory: Memory<'m>) -> impl Iterator<Item = Waiting> + 'm {
    let image_effect = |pc| match image.op(pc) {
        Some(Op::Do { effect }) => Some(effect),
        _ => None,
    };
    let signal = |pc| match image.op(pc) {
        Some(Op::Listen { signal, .. }) => Some(signal),
        _ => None,
    };
    // Looked up beforehand, so that the image need not live as long as the memory.
    let mut found = heapless::Vec::<Waiting, 32>::new();
    for (index, fiber) in memory.fibers() {
        let pending = |effect| pending_of(&fiber, effect);
        let wait = match fiber.state {
            State::Doing => image_effect(fiber.pc).map(|effect| Wait::Effect(pending(effect))),
            State::Retrying => image_effect(fiber.pc)
                .map(|effect| Wait::Retry { of: pending(effect), error: fiber.error }),
            State::Sleeping => Some(Wait::Timer),
            State::Listening => signal(fiber.pc).map(Wait::Signal),
            State::Joining => Some(Wait::Branches),
            State::Parked => Some(Wait::Decision(fiber.error)),
            State::Ready => Some(Wait::Nothing),
            State::Free => None,
        };
        let Some(wait) = wait else { continue };
        let parent = (fiber.parent != NO_FIBER).then_some(fiber.parent);
        let waiting = Waiting { fiber: index, parent, pc: fiber.pc, wait, until: fiber.deadline };
        // There are no more fibers than places.
        let _ = found.push(waiting);
    }
    found.into_iter()
}

/// The effects that are to be done, or under way.
pub fn pending<'m>(image: &Image<'_>, memory: Memory<'m>) -> impl Iterator<Item = Pending> + 'm {
    waits(image, memory).filter_map(|waiting| match waiting.wait {
        Wait::Effect(pending) => Some(pending),
        _ => None,
    })
}

const fn pending_of(fiber: &Fiber, effect: u16) -> Pending {
    Pending {
        serial: fiber.serial,
        effect,
        attempt: fiber.attempt,
        deadline: fiber.deadline,
        pc: fiber.pc,
    }
}

/// When the run has to be told that time has passed; [`NEVER`] where only something else moves it.
#[must_use]
pub fn next_deadline(memory: Memory<'_>) -> i64 {
    let own = match memory.phase() {
        Some(Phase::Running) => memory.deadline(),
        _ => NEVER,
    };
    memory.fibers().fold(own, |least, (_, fiber)| match fiber.state {
        State::Ready => i64::MIN,
        _ => least.min(fiber.deadline),
    })
}

/// Checks memory that comes from a disk or from flash: that it is that of a run of this image.
///
/// # Errors
/// [`Reject::Version`] for another format, [`Reject::Malformed`] for what no run of it can be.
pub fn check(image: &Image<'_>, bytes: &[u8]) -> Result<Phase, Reject> {
    let memory = Memory::new(bytes, image.sizes).ok_or(Reject::Malformed)?;
    if memory.format() != FORMAT {
        return Err(Reject::Version);
    }
    let phase = memory.phase().ok_or(Reject::Malformed)?;
    let sound = memory.tag() == image.tag()
        && memory.undo_count() <= image.sizes.undos
        && (0..memory.undo_count()).all(|index| memory.undo(index) < image.counts.ops)
        && (0..image.sizes.texts).all(|reg| memory.try_text(reg).is_some())
        && (0..image.sizes.fibers).all(|index| is_fiber_sound(image, memory, index));
    let lives = memory.fiber(0).is_some_and(|root| root.state != State::Free);
    if sound && lives != phase.is_over() { Ok(phase) } else { Err(Reject::Malformed) }
}

fn is_fiber_sound(image: &Image<'_>, memory: Memory<'_>, index: u8) -> bool {
    let Some(fiber) = memory.fiber(index) else { return false };
    let Some(op) = image.op(fiber.pc) else { return false };
    let waits_there = match fiber.state {
        State::Free => return true,
        State::Ready | State::Parked => true,
        State::Doing | State::Retrying => matches!(op, Op::Do { .. }),
        State::Sleeping => matches!(op, Op::Sleep { .. } | Op::Until { .. }),
        State::Listening => matches!(op, Op::Listen { .. }),
        State::Joining => matches!(op, Op::Join),
    };
    waits_there && leads_to_root(memory, index, fiber)
}

/// Whether the fibers that began one another lead to the first.
fn leads_to_root(memory: Memory<'_>, index: u8, fiber: Fiber) -> bool {
    let (mut at, mut parent) = (index, fiber.parent);
    for _ in 0..memory.fiber_count() {
        if at == 0 {
            return parent == NO_FIBER;
        }
        let above = memory.fiber(parent).filter(|fiber| fiber.state != State::Free);
        let Some(above) = above else { return false };
        (at, parent) = (parent, above.parent);
    }
    false
}
