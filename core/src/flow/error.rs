//! What can go wrong in a run: a closed set with stable numbers, and names that a definition makes.
//!
//! An error is a number, so that it fits into the memory of a run. Numbers below 256 belong to the
//! machine; from 256 on they count the names of errors that the image brings.

use core::fmt;

/// The number of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u16);

/// The first number of an error that is named by the definition.
pub const NAMED: u16 = 256;

impl Code {
    /// No error.
    pub const NONE: Self = Self(0);
    /// A number does not fit its register.
    pub const OVERFLOW: Self = Self(1);
    /// A division by zero.
    pub const DIVISION: Self = Self(2);
    /// A text is longer than a register.
    pub const TEXT: Self = Self(3);
    /// There is no such element of a list.
    pub const RANGE: Self = Self(4);
    /// What was asked for is not there.
    pub const MISSING: Self = Self(5);
    /// It took longer than it may.
    pub const TIMEOUT: Self = Self(6);
    /// A timer was noticed later than it may be.
    pub const LATE: Self = Self(7);
    /// Somebody ended it.
    pub const CANCELLED: Self = Self(8);
    /// The other side said no.
    pub const REFUSED: Self = Self(9);
    /// The other side was not reached.
    pub const UNREACHABLE: Self = Self(10);
    /// The other side tried and failed.
    pub const FAILED: Self = Self(11);
    /// What was to be sent is not valid.
    pub const INVALID: Self = Self(12);
    /// It may have been done or not, and must not be done twice.
    pub const DOUBT: Self = Self(13);
    /// This node cannot do it.
    pub const INCAPABLE: Self = Self(14);
    /// The other side has no room or too much to do.
    pub const BUSY: Self = Self(15);
    /// It does more in one step, or keeps more, than it may.
    pub const EXHAUSTED: Self = Self(16);

    /// The errors of the machine, with their names.
    pub const BUILT_IN: [(Self, &str); 16] = [
        (Self::OVERFLOW, "overflow"),
        (Self::DIVISION, "division-by-zero"),
        (Self::TEXT, "text-too-long"),
        (Self::RANGE, "out-of-range"),
        (Self::MISSING, "missing"),
        (Self::TIMEOUT, "timeout"),
        (Self::LATE, "late"),
        (Self::CANCELLED, "cancelled"),
        (Self::REFUSED, "refused"),
        (Self::UNREACHABLE, "unreachable"),
        (Self::FAILED, "failed"),
        (Self::INVALID, "invalid"),
        (Self::DOUBT, "in-doubt"),
        (Self::INCAPABLE, "incapable"),
        (Self::BUSY, "busy"),
        (Self::EXHAUSTED, "exhausted"),
    ];

    /// Whether there is such an error: one of the machine's, or one of `named` names.
    #[must_use]
    pub const fn is_known(self, named: u16) -> bool {
        match self.0.checked_sub(NAMED) {
            Some(index) => index < named,
            None => self.0 != 0 && self.0 as usize <= Self::BUILT_IN.len(),
        }
    }

    /// Whether a rule for `wanted` is for this one: one for [`Self::NONE`] is for all but
    /// [`Self::DOUBT`], which only somebody who names it can be meant to judge.
    #[must_use]
    pub fn is_one_of(self, wanted: Self) -> bool {
        self == wanted || (wanted == Self::NONE && self != Self::DOUBT)
    }

    /// The name of one of the machine's.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        Self::BUILT_IN.iter().find(|(code, _)| *code == self).map(|(_, name)| *name)
    }

    /// One of the machine's by its name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::BUILT_IN.iter().find(|(_, known)| *known == name).map(|(code, _)| *code)
    }

    /// The error with the `index`-th of the image's names.
    #[must_use]
    pub const fn own(index: u16) -> Self {
        Self(NAMED.saturating_add(index))
    }

    /// Which of the image's names it has.
    #[must_use]
    pub const fn named(self) -> Option<u16> {
        self.0.checked_sub(NAMED)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "error {}", self.0),
        }
    }
}
