//! One value of which the last write stays (LWW register).
//!
//! A write takes a stamp above that of the value it replaces, so a writer that has seen the value
//! always beats it. Of two that have not seen each other the greater stamp stays, then the greater
//! author.

use super::author::Author;
use super::{Lattice, Reject};
use crate::hlc::Stamp;

/// A value with its last write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Register<T> {
    stamp: Stamp,
    author: Author,
    value: T,
}

impl<T> Register<T> {
    /// The value as it is before anybody wrote it: every write beats it.
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self { stamp: Stamp(0), author: Author([0; 8]), value }
    }

    /// Writes `value` with the stamp `local` of the writer's clock; answers with the write's own.
    pub fn set(&mut self, value: T, local: Stamp, author: Author) -> Stamp {
        self.stamp = local.over([self.stamp]);
        self.author = author;
        self.value = value;
        self.stamp
    }

    /// The value.
    #[must_use]
    pub const fn get(&self) -> &T {
        &self.value
    }

    /// When the value was written.
    #[must_use]
    pub const fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Who wrote it.
    #[must_use]
    pub const fn author(&self) -> Author {
        self.author
    }
}

impl<T: Ord + Clone> Lattice for Register<T> {
    fn join(&mut self, other: &Self) -> Result<bool, Reject> {
        let newer = other > self;
        if newer {
            self.clone_from(other);
        }
        Ok(newer)
    }
}
