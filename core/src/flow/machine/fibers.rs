//! How fibers wait, go on and fail, and how a run ends.

use super::Machine;
use crate::flow::error::Code;
use crate::flow::image::PARKS;
use crate::flow::memory::{Fiber, NEVER, NO_FIBER, Phase, State};
use crate::flow::op::{Op, Pc};

impl Machine<'_, '_> {
    /// The operation at which a fiber waits is done.
    pub(super) fn go_on(&mut self, index: u8, mut fiber: Fiber) {
        fiber.pc = fiber.pc.saturating_add(1);
        fiber.state = State::Ready;
        fiber.deadline = NEVER;
        fiber.attempt = 0;
        self.memory.set_fiber(index, &fiber);
    }

    /// The effect at which a fiber stands is to be done, under the number that it has.
    pub(super) fn ask(&mut self, index: u8, mut fiber: Fiber) {
        let timeout_ms = match self.image.op(fiber.pc) {
            Some(Op::Do { effect }) => self.image.effect(effect).map_or(0, |it| it.timeout_ms),
            _ => 0,
        };
        fiber.state = State::Doing;
        fiber.deadline = match timeout_ms {
            0 => NEVER,
            timeout_ms => self.after(i64::try_from(timeout_ms).unwrap_or(i64::MAX)),
        };
        self.memory.set_fiber(index, &fiber);
    }

    pub(super) fn effect_failed(&mut self, index: u8, mut fiber: Fiber, error: Code) {
        let Some(Op::Do { effect }) = self.image.op(fiber.pc) else { return };
        let Some(effect) = self.image.effect(effect) else { return };
        // What may have happened and must not happen twice is for somebody to decide.
        let is_open = error == Code::TIMEOUT && !effect.is_idempotent();
        let error = if is_open { Code::DOUBT } else { error };
        let mut rules = (0..effect.retry_count)
            .filter_map(|nth| self.image.retry(effect.retry_first.checked_add(nth)?));
        let rule = rules.find(|rule| rule.takes(error));
        match rule.filter(|rule| fiber.attempt < rule.attempts) {
            Some(rule) => {
                let entropy = mixed(self.moment.entropy, fiber.serial);
                let delay = rule.delay_ms(fiber.attempt, entropy);
                fiber.state = State::Retrying;
                fiber.error = error;
                fiber.deadline = self.after(i64::try_from(delay).unwrap_or(i64::MAX));
                self.memory.set_fiber(index, &fiber);
            }
            None => self.raise(index, error),
        }
    }

    /// An error at a fiber: it goes on where the nearest handler leads, of its own or of the fiber
    /// that began it; where there is none, the run fails or the fiber is parked.
    pub(super) fn raise(&mut self, index: u8, error: Code) {
        let mut at = index;
        while let Some(mut fiber) = self.fiber(at) {
            if let Some(handler) = self.image.handlers().find(|it| it.takes(fiber.pc, error)) {
                self.end_branches(at);
                fiber.pc = handler.to;
                fiber.state = State::Ready;
                fiber.deadline = NEVER;
                fiber.attempt = 0;
                fiber.error = error;
                return self.memory.set_fiber(at, &fiber);
            }
            at = fiber.parent;
        }
        let Some(mut fiber) = self.fiber(index) else { return };
        let undoing = self.memory.view().phase() == Some(Phase::Undoing);
        let parks = self.image.flags & PARKS != 0 || error == Code::DOUBT;
        if undoing || parks {
            fiber.state = State::Parked;
            fiber.error = error;
            fiber.deadline = NEVER;
            return self.memory.set_fiber(index, &fiber);
        }
        self.fail(error, fiber.pc);
    }

    /// Ends all branches that began at a fiber.
    pub(super) fn end_branches(&mut self, at: u8) {
        let mut ended = 1u32.unbounded_shl(at.into());
        // A branch of a branch can have the lower number, so it may take several rounds.
        loop {
            let before = ended;
            for index in 0..self.image.sizes.fibers {
                let Some(fiber) = self.fiber(index) else { continue };
                let parent = 1u32.unbounded_shl(fiber.parent.into());
                if ended & parent != 0 {
                    ended |= 1u32.unbounded_shl(index.into());
                    self.memory.set_fiber(index, &Fiber::FREE);
                }
            }
            if ended == before {
                return;
            }
        }
    }

    /// The run fails: all fibers end, and what was done is undone.
    pub(super) fn fail(&mut self, cause: Code, place: Pc) {
        self.memory.set_cause(cause, place);
        self.memory.set_signals(0);
        for index in 0..self.image.sizes.fibers {
            self.memory.set_fiber(index, &Fiber::FREE);
        }
        self.memory.set_phase(Phase::Undoing);
        self.undo_next();
    }

    pub(super) fn undo_next(&mut self) {
        let Some(index) = self.memory.view().undo_count().checked_sub(1) else {
            return self.finish_undoing();
        };
        let pc = self.memory.view().undo(index);
        self.memory.set_undo_count(index);
        let state = State::Ready;
        let root = Fiber { pc, state, parent: NO_FIBER, deadline: NEVER, ..Fiber::FREE };
        self.memory.set_fiber(0, &root);
    }

    pub(super) fn finish_undoing(&mut self) {
        let cancelled = self.memory.view().cause() == Code::CANCELLED;
        self.finish(if cancelled { Phase::Cancelled } else { Phase::Failed });
    }

    pub(super) fn finish(&mut self, phase: Phase) {
        for index in 0..self.image.sizes.fibers {
            self.memory.set_fiber(index, &Fiber::FREE);
        }
        self.memory.set_undo_count(0);
        self.memory.set_phase(phase);
    }
}

/// Random bits of a fiber's own, so that those that fail together do not come back together.
const fn mixed(entropy: u64, serial: u32) -> u64 {
    // The finalizer of SplitMix64 (Steele, Lea and Flood, 2014).
    let mut z = entropy.wrapping_add((serial as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
