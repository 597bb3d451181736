//! The scenarios: what a fleet must hold, run against the real binaries.
//!
//! Each campaign is one function of a [`Scale`]: the test command runs it small with a fixed seed,
//! the soak at full size. It prints how often each fault really struck; one that never struck fails
//! it.

pub mod bad_input;
pub mod clocks;
pub mod demo;
pub mod full;
mod hands;
pub mod rot;

/// How large a campaign is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// The seed of all its draws.
    pub seed: u64,
    /// A twentieth of the full number, or less where a floor is higher; 1 is the full number.
    pub part: u64,
}

impl Scale {
    /// The size of the test command.
    #[must_use]
    pub const fn test(seed: u64) -> Self {
        Self { seed, part: 20 }
    }

    /// The size of the soak.
    #[must_use]
    pub const fn soak(seed: u64) -> Self {
        Self { seed, part: 1 }
    }

    /// How many of `full` to do, at least `floor`.
    #[must_use]
    pub const fn of(self, full: u64, floor: u64) -> u64 {
        let part = full.div_ceil(self.part);
        if part < floor { floor } else { part }
    }
}
