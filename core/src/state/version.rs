//! What of each author has been seen: version vectors and the dots in them.
//!
//! A dot names one write: an author and a number that counts its writes from 1. A version vector
//! holds for each author the greatest number seen; an author that is absent stands at 0.

use super::packed::Packed;
use super::{Lattice, Reject};
use crate::Seq;

/// One write of one author.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot<I> {
    /// The author, or its process start where numbers do not continue across one.
    pub id: I,
    /// The how-manieth write, from 1.
    pub seq: Seq,
}

/// How two version vectors stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Causality {
    /// Both have seen the same.
    Equal,
    /// The other has seen all of this one and more.
    Before,
    /// This one has seen all of the other and more.
    After,
    /// Each has seen something that the other has not.
    Concurrent,
}

/// The greatest number seen of each of at most `N` authors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionVector<I, const N: usize>(Packed<I, Seq, N>);

impl<I, const N: usize> Default for VersionVector<I, N> {
    fn default() -> Self {
        Self(Packed::default())
    }
}

impl<I: Ord + Clone, const N: usize> VersionVector<I, N> {
    /// The vector that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The greatest number seen of `id`, 0 if none.
    #[must_use]
    pub fn get(&self, id: &I) -> Seq {
        self.0.get(id).copied().unwrap_or_default()
    }

    /// Whether the write that `dot` names has been seen.
    #[must_use]
    pub fn contains(&self, dot: &Dot<I>) -> bool {
        dot.seq <= self.get(&dot.id)
    }

    /// Names the next write of `id`, which counts as seen.
    ///
    /// # Errors
    /// [`Reject::Full`] for one author too many; the vector is then unchanged.
    pub fn advance(&mut self, id: &I) -> Result<Dot<I>, Reject> {
        let seq = self.get(id).checked_add(1).ok_or(Reject::Full)?;
        self.0.join_part(id, &seq)?;
        Ok(Dot { id: id.clone(), seq })
    }

    /// Sees everything of `dot.id` up to `dot`; whether that changed anything.
    ///
    /// # Errors
    /// [`Reject::Full`] for one author too many; the vector is then unchanged.
    pub fn see(&mut self, dot: &Dot<I>) -> Result<bool, Reject> {
        if dot.seq == 0 { Ok(false) } else { self.0.join_part(&dot.id, &dot.seq) }
    }

    /// How this vector stands to `other`.
    #[must_use]
    pub fn compare<const M: usize>(&self, other: &VersionVector<I, M>) -> Causality {
        let ahead = self.seen().iter().any(|(id, seq)| *seq > other.get(id));
        let behind = other.seen().iter().any(|(id, seq)| *seq > self.get(id));
        match (ahead, behind) {
            (false, false) => Causality::Equal,
            (false, true) => Causality::Before,
            (true, false) => Causality::After,
            (true, true) => Causality::Concurrent,
        }
    }

    /// The authors with the greatest numbers seen, ascending; no number is 0.
    #[must_use]
    pub fn seen(&self) -> &[(I, Seq)] {
        self.0.as_slice()
    }
}

impl<I: Ord + Clone, const N: usize> Lattice for VersionVector<I, N> {
    fn join(&mut self, other: &Self) -> Result<bool, Reject> {
        self.0.join(&other.0)
    }
}
