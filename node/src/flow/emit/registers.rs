//! Which register holds what, and which are free again.
//!
//! A variable has its register for as long as the run goes on: an undoing may read it at the very
//! end. What is only computed with is given back. Branches that run beside each other share no
//! such register, while what ran before or comes behind may have the same.

use holdfast_core::flow::verify::{NUMBERS_MAX, TEXTS_MAX};
use holdfast_core::flow::{Reg, Slot, Type};

/// A register with its type; a text has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Register {
    pub(super) slot: Slot,
    pub(super) of: Option<Type>,
}

#[derive(Debug, Default)]
pub(super) struct Registers {
    types: Vec<Type>,
    texts: u8,
    /// Given back, the last one to be taken first.
    free: Vec<Register>,
    /// Taken to compute with, in order, by whoever.
    taken: Vec<Register>,
}

impl Registers {
    /// A register that nothing else will have; `None` when there is no more.
    pub(super) fn keep(&mut self, of: Option<Type>) -> Option<Register> {
        let slot = match of {
            Some(of) => {
                let reg = Reg::try_from(self.types.len()).ok().filter(|reg| *reg < NUMBERS_MAX)?;
                self.types.push(of);
                Slot::Number(reg)
            }
            None => {
                let reg = Some(self.texts).filter(|reg| *reg < TEXTS_MAX)?;
                self.texts += 1;
                Slot::Text(reg)
            }
        };
        Some(Register { slot, of })
    }

    /// A register to compute with, until it is given back.
    pub(super) fn take(&mut self, of: Option<Type>) -> Option<Register> {
        let found = self.free.iter().rposition(|register| register.of == of);
        let register = match found {
            Some(at) => self.free.remove(at),
            None => self.keep(of)?,
        };
        self.taken.push(register);
        Some(register)
    }

    pub(super) fn give(&mut self, register: Register) {
        self.free.push(register);
    }

    /// Branches begin that run beside each other.
    pub(super) fn fork(&self) -> Fork {
        Fork { free: self.free.clone(), used: Vec::new(), begun: self.taken.len() }
    }

    /// The next of the branches begins: it has what none of the others takes.
    pub(super) fn next_branch(&mut self, fork: &mut Fork) {
        fork.used.extend_from_slice(&self.taken[fork.begun..]);
        fork.begun = self.taken.len();
        self.free.clone_from(&fork.free);
        self.free.retain(|register| !fork.used.contains(register));
    }

    /// The branches are over, and what they took is free.
    pub(super) fn join(&mut self, mut fork: Fork) {
        fork.used.extend_from_slice(&self.taken[fork.begun..]);
        for register in fork.used {
            if !fork.free.contains(&register) {
                fork.free.push(register);
            }
        }
        self.free = fork.free;
    }

    pub(super) fn types(&self) -> &[Type] {
        &self.types
    }

    pub(super) const fn texts(&self) -> u8 {
        self.texts
    }
}

/// Branches of one place.
#[derive(Debug)]
pub(super) struct Fork {
    /// What was free before.
    free: Vec<Register>,
    /// What the branches so far took.
    used: Vec<Register>,
    begun: usize,
}
