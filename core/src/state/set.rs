//! A set to which elements are added and from which they are removed at once (causal-length set).
//!
//! Each element has a causal length: odd while it is present, even once it is gone. Merging takes
//! the greater one. A removed element keeps its place with two bytes of length, and that is all
//! that is ever remembered of it; where nothing is removed this is a grow-only set.

use super::packed::Packed;
use super::{Lattice, Reject};

/// A set of at most `N` elements, the removed ones included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CausalSet<T, const N: usize>(Packed<T, u16, N>);

impl<T, const N: usize> Default for CausalSet<T, N> {
    fn default() -> Self {
        Self(Packed::default())
    }
}

impl<T: Ord + Clone, const N: usize> CausalSet<T, N> {
    /// The empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `element`; answers with its new causal length, which is the delta to send, or with
    /// `None` when it was present.
    ///
    /// # Errors
    /// [`Reject::Full`] for one element too many; the set is then unchanged.
    pub fn insert(&mut self, element: &T) -> Result<Option<u16>, Reject> {
        if self.contains(element) { Ok(None) } else { self.turn(element).map(Some) }
    }

    /// Removes `element`; answers with its new causal length, or with `None` when it was not there.
    ///
    /// # Errors
    /// [`Reject::Full`] when it was added and removed so often that its length is exhausted: it
    /// stays. The set is then unchanged.
    pub fn remove(&mut self, element: &T) -> Result<Option<u16>, Reject> {
        if self.contains(element) { self.turn(element).map(Some) } else { Ok(None) }
    }

    fn turn(&mut self, element: &T) -> Result<u16, Reject> {
        let length = self.length(element).checked_add(1).ok_or(Reject::Full)?;
        self.0.join_part(element, &length)?;
        Ok(length)
    }

    /// Whether `element` is present.
    #[must_use]
    pub fn contains(&self, element: &T) -> bool {
        is_present(self.length(element))
    }

    /// The causal length of `element`; 0 if it was never added.
    #[must_use]
    pub fn length(&self, element: &T) -> u16 {
        self.0.get(element).copied().unwrap_or_default()
    }

    /// Joins the causal length of one element; whether that changed anything.
    ///
    /// # Errors
    /// [`Reject::Full`] for one element too many; the set is then unchanged.
    pub fn join_length(&mut self, element: &T, length: u16) -> Result<bool, Reject> {
        if length == 0 { Ok(false) } else { self.0.join_part(element, &length) }
    }

    /// The present elements, ascending.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.lengths().iter().filter(|(_, length)| is_present(*length)).map(|(element, _)| element)
    }

    /// All elements with their causal lengths, ascending, as a cell takes them.
    #[must_use]
    pub fn lengths(&self) -> &[(T, u16)] {
        self.0.as_slice()
    }
}

/// Whether an element of this causal length is in the set.
pub(super) const fn is_present(length: u16) -> bool {
    length % 2 == 1
}

impl<T: Ord + Clone, const N: usize> Lattice for CausalSet<T, N> {
    fn join(&mut self, other: &Self) -> Result<bool, Reject> {
        self.0.join(&other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Elements, Value};
    use super::*;
    use crate::codec::Reader;
    use std::vec::Vec;

    #[test]
    fn a_set_of_a_device_goes_through_a_cell_unchanged() {
        let mut set = CausalSet::<u32, 4>::new();
        for element in [9, 3, 3] {
            set.insert(&element).unwrap();
        }
        set.remove(&9).unwrap();
        let mut bytes = Vec::new();
        let items = set.lengths().iter().map(|(element, length)| (Value::from(*element), *length));
        Elements::encode(items, &mut bytes).unwrap();
        let mut other = CausalSet::<u32, 4>::new();
        for (value, length) in Elements::read(&mut Reader::new(&bytes)).unwrap().iter() {
            let Value::Int(element) = value else { panic!("{value:?} is no number") };
            other.join_length(&u32::try_from(element).unwrap(), length).unwrap();
        }
        assert_eq!(other, set);
        assert_eq!(other.iter().collect::<Vec<_>>(), [&3]);
    }
}
