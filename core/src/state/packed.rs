//! Sorted pairs in a packed array: what counters, sets and version vectors are made of.
//!
//! Each key has a part that only grows in its own small lattice, so the whole is one, too. A key
//! that is absent has the least part. Room is counted before anything is changed.

use super::Lattice;
use crate::Reject;

/// At most `N` keys with their parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packed<K, P, const N: usize>(heapless::Vec<(K, P), N>);

impl<K, P, const N: usize> Default for Packed<K, P, N> {
    fn default() -> Self {
        Self(heapless::Vec::new())
    }
}

impl<K: Ord + Clone, P: Lattice + Clone, const N: usize> Packed<K, P, N> {
    pub(super) fn as_slice(&self) -> &[(K, P)] {
        &self.0
    }

    fn find(&self, key: &K) -> Result<usize, usize> {
        self.0.binary_search_by(|(held, _)| held.cmp(key))
    }

    pub(super) fn get(&self, key: &K) -> Option<&P> {
        self.find(key).ok().map(|at| &self.0[at].1)
    }

    /// Joins `part` into that of `key`; whether that changed anything.
    pub(super) fn join_part(&mut self, key: &K, part: &P) -> Result<bool, Reject> {
        match self.find(key) {
            Ok(at) => self.0[at].1.join(part),
            Err(at) => {
                let pair = (key.clone(), part.clone());
                self.0.insert(at, pair).map_err(|_| Reject::Full).map(|()| true)
            }
        }
    }
}

impl<K: Ord + Clone, P: Lattice + Clone, const N: usize> Lattice for Packed<K, P, N> {
    fn join(&mut self, other: &Self) -> Result<bool, Reject> {
        let new = other.0.iter().filter(|(key, _)| self.find(key).is_err()).count();
        if self.0.len() + new > N {
            return Err(Reject::Full);
        }
        let mut changed = false;
        for (key, part) in &other.0 {
            changed |= self.join_part(key, part)?;
        }
        Ok(changed)
    }
}

impl Lattice for u16 {
    fn join(&mut self, other: &Self) -> Result<bool, Reject> {
        let joined = (*self).max(*other);
        Ok(core::mem::replace(self, joined) != joined)
    }
}

impl Lattice for u64 {
    fn join(&mut self, other: &Self) -> Result<bool, Reject> {
        let joined = (*self).max(*other);
        Ok(core::mem::replace(self, joined) != joined)
    }
}
