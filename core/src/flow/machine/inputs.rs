//! What each input does to a run, before its fibers go on.

use super::{Given, Machine, Outcome, Refusal, Resolution, TIMER_MIN_MS, check_fields};
use crate::flow::error::Code;
use crate::flow::memory::{Fiber, Phase, State};
use crate::flow::op::{Late, Op};
use crate::flow::signal;

impl Machine<'_, '_> {
    pub(super) fn tick(&mut self) {
        let now = self.moment.now_ms;
        if self.memory.view().phase() == Some(Phase::Running)
            && self.memory.view().deadline() <= now
        {
            let place = self.fiber(0).map_or(0, |root| root.pc);
            return self.fail(Code::TIMEOUT, place);
        }
        for index in 0..self.image.sizes.fibers {
            if let Some(fiber) = self.fiber(index).filter(|fiber| fiber.deadline <= now) {
                self.due(index, fiber);
            }
        }
    }

    /// The time has come that a fiber waits for.
    pub(super) fn due(&mut self, index: u8, mut fiber: Fiber) {
        match fiber.state {
            State::Sleeping => {
                let (late, tolerance_s, length) = match self.image.op(fiber.pc) {
                    Some(Op::Sleep { a, late, tolerance_s }) => (late, tolerance_s, Some(a)),
                    Some(Op::Until { late, tolerance_s, .. }) => (late, tolerance_s, None),
                    _ => (Late::Fire, 0, None),
                };
                let over_ms = self.moment.now_ms.saturating_sub(fiber.deadline);
                match (over_ms > i64::from(tolerance_s) * 1_000, late, length) {
                    (false, ..) | (_, Late::Fire, _) => self.go_on(index, fiber),
                    (true, Late::Restart, Some(a)) => {
                        let length = self.memory.view().number(a);
                        fiber.deadline = self.after(length.max(TIMER_MIN_MS));
                        self.memory.set_fiber(index, &fiber);
                    }
                    (true, ..) => self.raise(index, Code::LATE),
                }
            }
            State::Listening => self.raise(index, Code::TIMEOUT),
            State::Doing => self.effect_failed(index, fiber, Code::TIMEOUT),
            State::Retrying => {
                fiber.attempt = fiber.attempt.saturating_add(1);
                self.ask(index, fiber);
            }
            State::Free | State::Ready | State::Joining | State::Parked => {}
        }
    }

    pub(super) fn result(&mut self, serial: u32, outcome: Outcome<'_>) -> Result<(), Refusal> {
        let asks = |fiber: &Fiber| {
            matches!(fiber.state, State::Doing | State::Retrying) && fiber.serial == serial
        };
        let found = self.memory.view().fibers().find(|(_, fiber)| asks(fiber));
        let (index, fiber) = found.ok_or(Refusal::Unasked)?;
        let Some(Op::Do { effect }) = self.image.op(fiber.pc) else {
            return Err(Refusal::Foreign);
        };
        let effect = self.image.effect(effect).ok_or(Refusal::Foreign)?;
        match outcome {
            // Of an attempt that was given up, it is known already.
            Outcome::Failed(_) if fiber.state == State::Retrying => return Err(Refusal::Unasked),
            Outcome::Failed(error) => self.effect_failed(index, fiber, error),
            Outcome::Done(values) => match check_fields(self.image, effect.answers, values) {
                Ok(()) => {
                    self.put_fields(effect.answers, values);
                    self.go_on(index, fiber);
                }
                Err(_) => self.raise(index, Code::MISSING),
            },
        }
        Ok(())
    }

    pub(super) fn signal(
        &mut self,
        signal: u8,
        values: &[Option<Given<'_>>],
    ) -> Result<(), Refusal> {
        let known = signal::signal(self.image, signal).ok_or(Refusal::Unknown)?;
        check_fields(self.image, known.values, values)?;
        self.put_fields(known.values, values);
        let waits = |fiber: &Fiber| match self.image.op(fiber.pc) {
            Some(Op::Listen { signal: wanted, .. }) => {
                fiber.state == State::Listening && wanted == signal
            }
            _ => false,
        };
        let found = self.memory.view().fibers().find(|(_, fiber)| waits(fiber));
        match found {
            Some((index, fiber)) => self.go_on(index, fiber),
            None => {
                let signals = self.memory.view().signals() | 1u32.unbounded_shl(signal.into());
                self.memory.set_signals(signals);
            }
        }
        Ok(())
    }

    pub(super) fn resolve(&mut self, index: u8, how: Resolution<'_>) -> Result<(), Refusal> {
        let parked = self.fiber(index).filter(|fiber| fiber.state == State::Parked);
        let mut fiber = parked.ok_or(Refusal::Unasked)?;
        let op = self.image.op(fiber.pc).ok_or(Refusal::Foreign)?;
        match how {
            Resolution::Retry => {
                if let Op::Do { .. } = op {
                    fiber.attempt = 1;
                    self.ask(index, fiber);
                } else {
                    fiber.state = State::Ready;
                    self.memory.set_fiber(index, &fiber);
                }
            }
            Resolution::Skip => {
                // Behind what leads nowhere is something else's code, and behind a value that
                // there is not it would be read.
                let effect = match op {
                    Op::Do { effect } => self.image.effect(effect),
                    _ => None,
                };
                if !op.blocks() || effect.is_some_and(|effect| effect.kind.is_question()) {
                    return Err(Refusal::Unknown);
                }
                if let Some(effect) = effect {
                    self.put_defaults(effect.answers);
                }
                self.go_on(index, fiber);
            }
            Resolution::Set(slot, value) => self.set(slot, value)?,
            Resolution::Compensate if self.memory.view().phase() == Some(Phase::Running) => {
                self.fail(fiber.error, fiber.pc);
            }
            Resolution::Compensate => return Err(Refusal::Unknown),
        }
        Ok(())
    }

    pub(super) fn cancel(&mut self) {
        let root = self.fiber(0);
        match self.memory.view().phase() {
            Some(Phase::Running) => self.fail(Code::CANCELLED, root.map_or(0, |root| root.pc)),
            Some(Phase::Undoing) if root.is_some_and(|root| root.state == State::Parked) => {
                self.memory.set_undo_count(0);
                self.finish_undoing();
            }
            _ => {}
        }
    }
}
