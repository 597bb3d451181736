//! Turns: a fiber does its operations until one waits.

use super::{Machine, TIMER_MIN_MS};
use crate::flow::compute::{Around, compute};
use crate::flow::error::Code;
use crate::flow::memory::{Fiber, NEVER, Phase, State};
use crate::flow::op::{Op, Pc};

/// How a turn goes on behind an operation.
enum Flow {
    /// With the next one.
    Next,
    /// There.
    To(Pc),
    /// Not at all: the fiber waits or is over.
    Stop,
}

impl Machine<'_, '_> {
    pub(super) fn advance(&mut self) -> bool {
        for index in 0..self.image.sizes.fibers {
            if self.fiber(index).is_some_and(|fiber| fiber.state == State::Ready) {
                self.turn(index);
            }
        }
        self.memory.view().fibers().any(|(_, fiber)| fiber.state == State::Ready)
    }

    /// One turn of a fiber.
    fn turn(&mut self, index: u8) {
        for _ in 0..self.image.sizes.fuel {
            let Some(mut fiber) = self.fiber(index) else { return };
            if fiber.state != State::Ready {
                return;
            }
            let Some(op) = self.image.op(fiber.pc) else {
                return self.raise(index, Code::INVALID);
            };
            match self.act(index, &mut fiber, op) {
                Ok(Flow::Next) => fiber.pc = fiber.pc.saturating_add(1),
                Ok(Flow::To(pc)) => fiber.pc = pc,
                Ok(Flow::Stop) => return,
                Err(error) => {
                    self.raise(index, error);
                    continue;
                }
            }
            self.memory.set_fiber(index, &fiber);
        }
        // An error at the last operation that a turn may take has ended it, too.
        if self.fiber(index).is_some_and(|fiber| fiber.state == State::Ready) {
            self.raise(index, Code::EXHAUSTED);
        }
    }

    fn act(&mut self, index: u8, fiber: &mut Fiber, op: Op) -> Result<Flow, Code> {
        let view = self.memory.view();
        Ok(match op {
            Op::Jump { to } => Flow::To(to),
            Op::JumpIf { a, to } if view.number(a) != 0 => Flow::To(to),
            Op::JumpIfNot { a, to } if view.number(a) == 0 => Flow::To(to),
            Op::JumpIf { .. } | Op::JumpIfNot { .. } => Flow::Next,
            Op::Fork { to, .. } => self.fork(index, to)?,
            Op::Join => self.join(index, fiber),
            Op::End => self.end(index, fiber.parent),
            Op::Succeed => {
                self.finish(Phase::Succeeded);
                Flow::Stop
            }
            Op::Fail { error } => return Err(error),
            Op::Rethrow if fiber.error == Code::NONE => return Err(Code::FAILED),
            Op::Rethrow => return Err(fiber.error),
            Op::Guard { to } => {
                let count = view.undo_count();
                if count >= self.image.sizes.undos {
                    return Err(Code::EXHAUSTED);
                }
                self.memory.set_undo(count, to);
                self.memory.set_undo_count(count + 1);
                Flow::Next
            }
            Op::Undone => {
                self.undo_next();
                Flow::Stop
            }
            Op::Loop { counter } => {
                self.memory.set_counter(counter, 0);
                Flow::Next
            }
            Op::Again { counter, to, limit } => {
                let count = view.counter(counter);
                if count < limit {
                    self.memory.set_counter(counter, count + 1);
                    Flow::To(to)
                } else {
                    Flow::Next
                }
            }
            Op::Do { .. } => {
                fiber.serial = view.serial().wrapping_add(1);
                fiber.attempt = 1;
                self.memory.set_serial(fiber.serial);
                self.ask(index, *fiber);
                Flow::Stop
            }
            Op::Sleep { a, .. } => self.sleep(index, fiber, self.after(view.number(a))),
            Op::Until { a, .. } => self.sleep(index, fiber, view.number(a)),
            Op::Listen { signal, within } => self.listen(index, fiber, signal, within),
            value => {
                let around = Around { now_ms: self.moment.now_ms, caught: fiber.error };
                compute(self.image, &mut self.memory, value, around)?;
                Flow::Next
            }
        })
    }

    fn fork(&mut self, index: u8, to: Pc) -> Result<Flow, Code> {
        let view = self.memory.view();
        let is_free = |it: &u8| view.fiber(*it).is_some_and(|fiber| fiber.state == State::Free);
        let free = (0..self.image.sizes.fibers).find(is_free).ok_or(Code::EXHAUSTED)?;
        let (state, parent) = (State::Ready, index);
        let branch = Fiber { pc: to, state, parent, deadline: NEVER, ..Fiber::FREE };
        self.memory.set_fiber(free, &branch);
        Ok(Flow::Next)
    }

    fn has_branches(&self, index: u8) -> bool {
        self.memory.view().fibers().any(|(_, fiber)| fiber.parent == index)
    }

    fn join(&mut self, index: u8, fiber: &mut Fiber) -> Flow {
        if !self.has_branches(index) {
            return Flow::Next;
        }
        fiber.state = State::Joining;
        self.memory.set_fiber(index, fiber);
        Flow::Stop
    }

    fn end(&mut self, index: u8, parent: u8) -> Flow {
        self.end_branches(index);
        self.memory.set_fiber(index, &Fiber::FREE);
        if let Some(waiting) = self.fiber(parent).filter(|it| it.state == State::Joining)
            && !self.has_branches(parent)
        {
            self.go_on(parent, waiting);
        }
        Flow::Stop
    }

    fn sleep(&mut self, index: u8, fiber: &mut Fiber, until: i64) -> Flow {
        fiber.state = State::Sleeping;
        fiber.deadline = until.max(self.after(TIMER_MIN_MS));
        self.memory.set_fiber(index, fiber);
        Flow::Stop
    }

    fn listen(&mut self, index: u8, fiber: &mut Fiber, signal: u8, within: Option<u8>) -> Flow {
        let (view, bit) = (self.memory.view(), 1u32.unbounded_shl(signal.into()));
        if view.signals() & bit != 0 {
            let signals = view.signals() & !bit;
            self.memory.set_signals(signals);
            self.go_on(index, *fiber);
            return Flow::Stop;
        }
        fiber.state = State::Listening;
        fiber.deadline = match within {
            Some(reg) => self.after(view.number(reg).max(TIMER_MIN_MS)),
            None => NEVER,
        };
        self.memory.set_fiber(index, fiber);
        Flow::Stop
    }
}
