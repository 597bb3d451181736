//! Which sequences are held: a bounded set of inclusive ranges.
//!
//! A frontier and the memory of seen device sequences are the same thing: sorted, disjoint ranges
//! that never touch. Sets join by union, which is commutative, associative and idempotent; a
//! change that would need more than `N` ranges is refused whole and leaves the set as it was.

use crate::codec::{Reader, Sink};
use crate::{Reject, Seq};

/// An inclusive range of sequences; `from <= to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// The first sequence.
    pub from: Seq,
    /// The last sequence.
    pub to: Seq,
}

impl Range {
    /// The range of `from` to `to`, both included; `None` when it would be empty or start at 0.
    #[must_use]
    pub const fn new(from: Seq, to: Seq) -> Option<Self> {
        if from == 0 || from > to { None } else { Some(Self { from, to }) }
    }

    /// How many sequences it has.
    #[must_use]
    pub const fn count(self) -> u64 {
        (self.to - self.from).saturating_add(1)
    }
}

/// At most `N` ranges of sequences.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet<const N: usize> {
    ranges: heapless::Vec<Range, N>,
}

impl<const N: usize> RangeSet<N> {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self { ranges: heapless::Vec::new() }
    }

    /// The ranges, ascending.
    #[must_use]
    pub fn as_slice(&self) -> &[Range] {
        &self.ranges
    }

    /// The greatest sequence held, 0 when empty.
    #[must_use]
    pub fn max(&self) -> Seq {
        self.ranges.last().map_or(0, |range| range.to)
    }

    /// How many sequences are held.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.ranges.iter().fold(0, |sum: u64, range| sum.saturating_add(range.count()))
    }

    /// Whether `seq` is held.
    #[must_use]
    pub fn contains(&self, seq: Seq) -> bool {
        let at = self.ranges.partition_point(|range| range.to < seq);
        self.ranges.get(at).is_some_and(|range| range.from <= seq)
    }

    /// Whether all of `range` is held.
    #[must_use]
    pub fn covers(&self, range: Range) -> bool {
        let at = self.ranges.partition_point(|held| held.to < range.from);
        self.ranges.get(at).is_some_and(|held| held.from <= range.from && range.to <= held.to)
    }

    /// Adds one sequence; `Ok(false)` when it was held already.
    ///
    /// # Errors
    /// [`Reject::Full`] when a new range has no room, [`Reject::Sequence`] for 0.
    pub fn insert(&mut self, seq: Seq) -> Result<bool, Reject> {
        let range = Range::new(seq, seq).ok_or(Reject::Sequence)?;
        if self.contains(seq) {
            return Ok(false);
        }
        self.add(range).map(|()| true)
    }

    /// Adds all of `range`.
    ///
    /// # Errors
    /// [`Reject::Full`] when it would need one range too many; the set is then unchanged.
    pub fn add(&mut self, range: Range) -> Result<(), Reject> {
        // Ranges that touch the new one, neighbours at distance one included, melt into it.
        let start = self.ranges.partition_point(|held| held.to < range.from.saturating_sub(1));
        let end = self.ranges.partition_point(|held| held.from <= range.to.saturating_add(1));
        if start == end {
            return self.ranges.insert(start, range).map_err(|_| Reject::Full);
        }
        let from = self.ranges[start].from.min(range.from);
        let to = self.ranges[end - 1].to.max(range.to);
        self.ranges[start] = Range { from, to };
        let tail = self.ranges.len() - end;
        for i in 0..tail {
            self.ranges[start + 1 + i] = self.ranges[end + i];
        }
        self.ranges.truncate(start + 1 + tail);
        Ok(())
    }

    /// Adds all ranges of `other`.
    ///
    /// # Errors
    /// [`Reject::Full`] when the union has too many ranges; the set is then unchanged.
    pub fn union<const M: usize>(&mut self, other: &RangeSet<M>) -> Result<(), Reject> {
        let mut joined = self.clone();
        for range in &other.ranges {
            joined.add(*range)?;
        }
        *self = joined;
        Ok(())
    }

    /// The parts of `within` that are not held, ascending.
    pub fn missing(&self, within: Range) -> impl Iterator<Item = Range> + '_ {
        let mut next = Some(within.from);
        let first = self.ranges.partition_point(|held| held.to < within.from);
        let bound = Range { from: u64::MAX, to: u64::MAX };
        self.ranges[first..].iter().copied().chain(core::iter::once(bound)).filter_map(
            move |held| {
                let from = next?;
                next = held.to.checked_add(1).filter(|&from| from <= within.to);
                let last = if held == bound && !self.contains(u64::MAX) {
                    within.to
                } else {
                    held.from.checked_sub(1)?.min(within.to)
                };
                Range::new(from, last)
            },
        )
    }

    /// Appends the set: number of ranges, then for each the distance from the one before and
    /// the length less one.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room.
    pub fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        out.put_uint(self.ranges.len() as u64)?;
        let mut end = 0;
        for range in &self.ranges {
            out.put_uint(range.from - end)?;
            out.put_uint(range.to - range.from)?;
            end = range.to;
        }
        Ok(())
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`Reject::Full`] for more than `N` ranges, [`Reject::Malformed`] for ranges that are not
    /// sorted and apart, [`Reject::Truncated`] at the end.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Reject> {
        let mut set = Self::new();
        let mut end = 0u64;
        for i in 0..reader.uint()? {
            let distance = reader.uint()?;
            let from = end.checked_add(distance).ok_or(Reject::Malformed)?;
            let to = from.checked_add(reader.uint()?).ok_or(Reject::Malformed)?;
            if distance < if i == 0 { 1 } else { 2 } {
                return Err(Reject::Malformed);
            }
            set.ranges.push(Range { from, to }).map_err(|_| Reject::Full)?;
            end = to;
        }
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    type Set = RangeSet<64>;

    fn range(from: u64, to: u64) -> Range {
        Range::new(from, to).unwrap()
    }

    fn set_of(ranges: &[(u64, u64)]) -> Set {
        let mut set = Set::new();
        for &(from, len) in ranges {
            set.add(range(from, from + len)).unwrap();
        }
        set
    }

    fn model(set: &Set) -> BTreeSet<u64> {
        set.as_slice().iter().flat_map(|r| r.from..=r.to).collect()
    }

    #[test]
    fn neighbours_melt() {
        let mut set = set_of(&[(1, 2), (7, 0)]);
        set.add(range(4, 6)).unwrap();
        assert_eq!(set.as_slice(), &[range(1, 7)]);
    }

    #[test]
    fn a_full_set_refuses_and_is_unchanged_but_still_melts() {
        let mut set = RangeSet::<2>::new();
        set.insert(1).unwrap();
        set.insert(5).unwrap();
        let before = set.clone();
        assert_eq!(set.insert(3), Err(Reject::Full));
        assert_eq!(set, before);
        assert_eq!(set.insert(2), Ok(true));
        assert_eq!(set.insert(2), Ok(false));
        assert_eq!(set.insert(0), Err(Reject::Sequence));
    }

    #[test]
    fn the_ends_of_the_number_line_hold() {
        let mut set = Set::new();
        set.insert(u64::MAX).unwrap();
        set.insert(1).unwrap();
        let all = range(1, u64::MAX);
        assert_eq!(set.missing(all).collect::<Vec<_>>(), [range(2, u64::MAX - 1)]);
        set.add(all).unwrap();
        assert!(set.covers(all));
        assert_eq!(set.missing(all).count(), 0);
    }

    #[test]
    fn golden_vector() {
        let mut out = Vec::new();
        set_of(&[(1, 299), (302, 0)]).encode(&mut out).unwrap();
        assert_eq!(out, [2, 1, 0xab, 0x02, 2, 0]);
    }

    prop_compose! {
        fn small()(ranges in prop::collection::vec((1u64..150, 0u64..12), 0..12)) -> Set {
            set_of(&ranges)
        }
    }

    proptest! {
        #[test]
        fn it_holds_what_a_plain_set_holds(
            ranges in prop::collection::vec((1u64..150, 0u64..12), 0..12),
        ) {
            let set = set_of(&ranges);
            let plain: BTreeSet<u64> = ranges.iter().flat_map(|&(f, l)| f..=f + l).collect();
            prop_assert_eq!(model(&set), plain.clone());
            prop_assert_eq!(set.count(), plain.len() as u64);
            prop_assert_eq!(set.max(), plain.last().copied().unwrap_or(0));
            for seq in 1..170 {
                prop_assert_eq!(set.contains(seq), plain.contains(&seq));
            }
            for pair in set.as_slice().windows(2) {
                prop_assert!(pair[0].to + 1 < pair[1].from);
            }
        }

        #[test]
        fn missing_is_the_complement(set in small(), from in 1u64..170, len in 0u64..60) {
            let within = range(from, from + len);
            let missing: BTreeSet<u64> = set.missing(within).flat_map(|r| r.from..=r.to).collect();
            let all = from..=from + len;
            let expected: BTreeSet<u64> = all.filter(|s| !set.contains(*s)).collect();
            prop_assert_eq!(set.covers(within), expected.is_empty());
            prop_assert_eq!(missing, expected);
        }

        #[test]
        fn union_is_commutative_associative_idempotent(a in small(), b in small(), c in small()) {
            let join = |x: &Set, y: &Set| { let mut z = x.clone(); z.union(y).unwrap(); z };
            prop_assert_eq!(join(&a, &b), join(&b, &a));
            prop_assert_eq!(join(&join(&a, &b), &c), join(&a, &join(&b, &c)));
            prop_assert_eq!(join(&a, &a), a.clone());
            prop_assert_eq!(model(&join(&a, &b)), &model(&a) | &model(&b));
        }

        #[test]
        fn encoding_reads_back(set in small()) {
            let mut out = Vec::new();
            set.encode(&mut out).unwrap();
            let mut reader = Reader::new(&out);
            prop_assert_eq!(Set::decode(&mut reader), Ok(set));
            prop_assert_eq!(reader.finish(), Ok(()));
        }

        #[test]
        fn decoded_bytes_are_always_a_valid_set(
            bytes in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            if let Ok(set) = Set::decode(&mut Reader::new(&bytes)) {
                let mut again = Set::new();
                for r in set.as_slice() { again.add(*r).unwrap(); }
                prop_assert_eq!(again, set);
            }
        }
    }
}
