//! A counter that several authors count up and down at once (PN-counter).
//!
//! Each author has a tally of its own and nobody writes another's; the counter is their sum.

use super::author::Author;
use super::packed::Packed;
use super::tally::{Tally, sum};
use super::{Lattice, Reject};

/// A counter of at most `N` authors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counter<const N: usize>(Packed<Author, Tally, N>);

impl<const N: usize> Counter<N> {
    /// A counter that nobody has counted.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts by `by` for `author`; answers with its tally, which is the delta to send.
    ///
    /// # Errors
    /// [`Reject::Full`] for one author too many, or when the tally would exceed 64 bits; the
    /// counter is then unchanged.
    pub fn add(&mut self, author: Author, by: i64) -> Result<Tally, Reject> {
        let tally = self.tally(author).counted(by)?;
        self.0.join_part(&author, &tally)?;
        Ok(tally)
    }

    /// The tally of `author`.
    #[must_use]
    pub fn tally(&self, author: Author) -> Tally {
        self.0.get(&author).copied().unwrap_or_default()
    }

    /// Joins the tally of one author; whether that changed anything.
    ///
    /// # Errors
    /// [`Reject::Full`] for one author too many; the counter is then unchanged.
    pub fn join_tally(&mut self, author: Author, tally: Tally) -> Result<bool, Reject> {
        self.0.join_part(&author, &tally)
    }

    /// The sum over all authors; it stops at the ends of its range.
    #[must_use]
    pub fn total(&self) -> i64 {
        sum(self.0.as_slice().iter().map(|(_, tally)| *tally))
    }

    /// The authors with their tallies, ascending.
    #[must_use]
    pub fn tallies(&self) -> &[(Author, Tally)] {
        self.0.as_slice()
    }
}

impl<const N: usize> Lattice for Counter<N> {
    fn join(&mut self, other: &Self) -> Result<bool, Reject> {
        self.0.join(&other.0)
    }
}
