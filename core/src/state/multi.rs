//! A register that keeps all values nobody has chosen between (multi-value register).
//!
//! A write replaces the values its author has seen. Writes that have not seen each other stay side
//! by side until somebody writes anew, having seen them. There is room for `N` values; what would
//! need more is refused whole, and fits once one of the writers has chosen.

use super::version::{Dot, VersionVector};
use super::{Lattice, Reject};

/// At most `N` values side by side, written by at most `A` authors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultiValue<I, T, const N: usize, const A: usize> {
    seen: VersionVector<I, A>,
    /// Sorted by dot, so that equal registers are equal.
    values: heapless::Vec<(Dot<I>, T), N>,
}

impl<I, T, const N: usize, const A: usize> Default for MultiValue<I, T, N, A> {
    fn default() -> Self {
        Self { seen: VersionVector::default(), values: heapless::Vec::new() }
    }
}

impl<I: Ord + Clone, T: Clone + Ord, const N: usize, const A: usize> MultiValue<I, T, N, A> {
    const HAS_ROOM: () = assert!(N > 0, "a register holds at least one value");

    /// A register that nobody has written.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes `value` in place of all that is here.
    ///
    /// # Errors
    /// [`Reject::Full`] for one author too many; the register is then unchanged.
    pub fn set(&mut self, id: &I, value: T) -> Result<Dot<I>, Reject> {
        let () = Self::HAS_ROOM;
        let dot = self.seen.advance(id)?;
        self.values.clear();
        let pushed = self.values.push((dot.clone(), value));
        debug_assert!(pushed.is_ok(), "an empty register has room");
        Ok(dot)
    }

    /// The values, in the order of their dots; more than one is a conflict.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &T> {
        self.values.iter().map(|(_, value)| value)
    }

    /// What the register has seen.
    #[must_use]
    pub const fn seen(&self) -> &VersionVector<I, A> {
        &self.seen
    }
}

impl<I: Ord + Clone, T: Clone + Ord, const N: usize, const A: usize> Lattice
    for MultiValue<I, T, N, A>
{
    fn join(&mut self, other: &Self) -> Result<bool, Reject> {
        let mut values = heapless::Vec::<(Dot<I>, T), N>::new();
        let kept = self.values.iter().filter_map(|(dot, value)| {
            match other.values.iter().find(|(held, _)| held == dot) {
                // A store restored from a copy may use a dot twice: then the greater value stays.
                Some((_, held)) => Some((dot, value.max(held))),
                None if other.seen.contains(dot) => None,
                None => Some((dot, value)),
            }
        });
        let news = other.values.iter().filter(|(dot, _)| !self.seen.contains(dot));
        for (dot, value) in kept.chain(news.map(|(dot, value)| (dot, value))) {
            let at = values.partition_point(|(held, _)| held < dot);
            values.insert(at, (dot.clone(), value.clone())).map_err(|_| Reject::Full)?;
        }
        let changed = self.seen.join(&other.seen)? || values != self.values;
        self.values = values;
        Ok(changed)
    }
}
