//! Which segments of a chain are put together: neighbours that fill one, or many tiny ones.
//!
//! Asking for one series costs about as much for a segment as for its entries, so segments should
//! be full; and what is encoded again and again wears out a disk, so each entry should be encoded
//! few times. Neighbours are put together once they fill a segment, which then is done. Until then
//! only tiny ones are, many at a time: an entry is encoded when it is sealed, when it leaves the
//! tiny ones, and when its segment is filled. How fast entries come changes nothing about it.

use crate::segment::limits::ENTRIES;
use holdfast_core::Seq;
use holdfast_core::limits::COMMIT_MAX_BYTES;
use std::ops::Range;

/// Entries of a full segment of few series.
pub(super) const FULL: u64 = 65_536;
/// The same where a segment of that size would have few entries of each series: reading one of
/// them costs about as much for a segment as for its entries.
pub(super) const WIDE: u64 = ENTRIES as u64;
/// Entries of a series that a segment should have.
const OF_SERIES: u64 = 256;

/// Tiny segments that are put together even when that does not fill one.
const MANY: usize = 8;
/// Below this many entries a segment is tiny.
const TINY: u64 = 32_768;

/// A segment, or the bounds of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extent {
    pub first: Seq,
    pub entries: u64,
    pub bytes: usize,
    /// How many entries it has when it is full.
    pub full: u64,
}

/// How many entries a full segment has, by the bytes of the filter of one: about as many as ten
/// bits for each series are.
pub(super) fn full(filter_bytes: u64) -> u64 {
    // A power of two, so that segments of full runs of commits fill it.
    (filter_bytes * 8 / 10 * OF_SERIES).next_power_of_two().clamp(FULL, WIDE)
}

impl Extent {
    /// Whether it is done: with another of its kind it would be too large.
    const fn done(&self) -> bool {
        self.entries >= self.full / 2 || self.bytes >= COMMIT_MAX_BYTES / 2
    }

    const fn nearly_full(&self) -> bool {
        self.entries >= self.full / 8 * 7
    }

    const fn fits(&self) -> bool {
        self.entries <= self.full && self.bytes <= COMMIT_MAX_BYTES
    }

    fn with(self, next: &Self) -> Self {
        let (entries, bytes) = (self.entries + next.entries, self.bytes + next.bytes);
        Self { first: self.first, entries, bytes, full: self.full.max(next.full) }
    }

    const fn precedes(&self, next: &Self) -> bool {
        self.first + self.entries == next.first
    }
}

/// Takes away the segments that are done; `all` are those of a chain, ascending. One is as large as
/// its neighbours may be: it may have few series where they have many.
pub(super) fn keep_open(all: &mut Vec<Extent>) {
    let own = all.clone();
    for (one, next) in (0..own.len()).zip(1..own.len()) {
        if own[one].precedes(&own[next]) {
            let full = own[one].full.max(own[next].full);
            all[one].full = all[one].full.max(full);
            all[next].full = full;
        }
    }
    all.retain(|one| !one.done());
}

/// Which of these to put together, if any: segments of a chain that are not done, ascending.
pub(super) fn choose(all: &[Extent]) -> Option<Range<usize>> {
    let mut from = 0;
    let runs = all.chunk_by(Extent::precedes);
    runs.filter_map(|run| {
        let at = from;
        from += run.len();
        let within = filling(run).map(|count| 0..count).or_else(|| many_tiny(run))?;
        Some(at + within.start..at + within.end)
    })
    .next()
}

/// How many from the beginning of a run fill a segment: with the next it would be too large, or it
/// is nearly full.
fn filling(run: &[Extent]) -> Option<usize> {
    let mut sum = *run.first()?;
    for (count, next) in run.iter().enumerate().skip(1) {
        if count > 1 && (sum.nearly_full() || !sum.with(next).fits()) {
            return Some(count);
        }
        sum = sum.with(next);
    }
    (run.len() > 1 && sum.nearly_full()).then_some(run.len())
}

/// Tiny ones beside each other, none larger than all others together: that bounds how often an
/// entry is among them.
fn many_tiny(run: &[Extent]) -> Option<Range<usize>> {
    let tiny = |extent: &&Extent| extent.entries < TINY;
    (0..run.len()).find_map(|from| {
        let (mut sum, mut largest) = (0, 0);
        for (count, next) in run[from..].iter().take_while(tiny).enumerate() {
            (sum, largest) = (sum + next.entries, largest.max(next.entries));
            if count + 1 >= MANY && largest * 2 <= sum {
                return Some(from..from + count + 1);
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A segment of many series.
    fn wide(first: Seq, entries: u64, bytes: usize) -> Extent {
        Extent { first, entries, bytes, full: WIDE }
    }

    /// A chain whose entries are sealed in these steps, put together whenever there is something,
    /// or only when all is sealed; for each segment its extent and how often its entries were
    /// encoded at most.
    fn settle(steps: &[Extent], at_once: bool) -> Vec<(Extent, u32)> {
        let mut chain: Vec<(Extent, u32)> = Vec::new();
        for (at, step) in steps.iter().enumerate() {
            chain.push((*step, 1));
            while at_once || at + 1 == steps.len() {
                let mut open: Vec<_> = chain.iter().map(|(one, _)| *one).collect();
                keep_open(&mut open);
                let Some(chosen) = choose(&open) else { break };
                assert!(chosen.len() > 1, "one alone stays as it is");
                let first = open[chosen.start].first;
                let from = chain.iter().position(|(one, _)| one.first == first).unwrap();
                let range = from..from + chosen.len();
                let all = &chain[range.clone()];
                assert!(all.windows(2).all(|two| two[0].0.precedes(&two[1].0)), "neighbours");
                let whole = all[1..].iter().fold(all[0].0, |sum, (one, _)| sum.with(one));
                assert!(whole.entries <= WIDE && whole.bytes <= COMMIT_MAX_BYTES);
                let times = all.iter().map(|(_, times)| times + 1).max();
                chain.splice(range, [(whole, times.unwrap())]);
            }
        }
        chain
    }

    /// Steps of so many entries each, one behind the other.
    fn steps(entries: &[u64], bytes_each: usize) -> Vec<Extent> {
        let mut first = 1;
        let step = |entries: &u64| {
            let at = first;
            first += entries;
            wide(at, *entries, *entries as usize * bytes_each)
        };
        entries.iter().map(step).collect()
    }

    proptest! {
        /// The query of a day took 41, 74 or 115 ms, depending on how fast the day had been posted:
        /// posted slowly it lay in segments of three quarters of what they may have, posted fast in
        /// ones of a quarter.
        #[test]
        fn segments_are_full_and_entries_encoded_few_times_however_they_come(
            each in prop::collection::vec(8_192u64..70_000, 1..120),
            slow in any::<bool>(),
            at_once in any::<bool>(),
        ) {
            let step = |n: &u64| if slow { 8_192 + n % 500 } else { *n };
            let each: Vec<_> = each.iter().map(step).collect();
            let chain = settle(&steps(&each, 1), at_once);
            let entries: u64 = each.iter().sum();
            let done = chain.iter().filter(|(one, _)| one.done()).count() as u64;
            prop_assert!(done <= entries / (WIDE / 4 * 3) + 1, "{done} of {entries}");
            prop_assert!(chain.len() as u64 - done <= 16, "{} at the end", chain.len());
            prop_assert!(chain.iter().all(|(_, times)| *times <= 4));
        }

        #[test]
        fn small_steps_and_large_entries_settle_too(
            each in prop::collection::vec(1u64..9_000, 1..400),
            bytes_each in 1usize..60,
        ) {
            let chain = settle(&steps(&each, bytes_each), true);
            prop_assert!(chain.iter().all(|(_, times)| *times <= 16));
            let entries: u64 = each.iter().sum();
            let bytes = entries as usize * bytes_each;
            let least = entries / (WIDE / 2) + (bytes / (COMMIT_MAX_BYTES / 2)) as u64;
            prop_assert!(chain.len() as u64 <= least + 8 * 8, "{} of {entries}", chain.len());
        }

        /// Segments with few series among those with many do not keep these apart.
        #[test]
        fn a_few_narrow_segments_change_little(narrow in prop::collection::vec(any::<bool>(), 80)) {
            let mut all = steps(&[65_000; 80], 1);
            for (one, narrow) in all.iter_mut().zip(&narrow) {
                one.full = if *narrow { FULL } else { WIDE };
            }
            let wide = narrow.iter().filter(|narrow| !**narrow).count();
            let chain = settle(&all, false);
            prop_assert!(chain.len() <= 80 - wide / 2, "{} of {wide} wide ones", chain.len());
        }
    }

    #[test]
    fn what_is_not_beside_each_other_stays_apart() {
        let at = |first| wide(first, 100_000, 100_000);
        assert_eq!(choose(&[at(1), at(200_000), at(400_000)]), None);
        assert_eq!(choose(&[at(1), at(200_001), at(300_001), at(400_001)]), Some(1..3));
    }

    #[test]
    fn a_full_segment_is_larger_where_it_has_more_series() {
        let of = |series: usize| (series * 10).div_ceil(8).next_power_of_two().max(8) as u64;
        let all: Vec<_> = [1, 200, 250, 400, 1_000, 3_000].map(|series| full(of(series))).into();
        assert_eq!(all, [FULL, FULL, 2 * FULL, 2 * FULL, WIDE, WIDE]);
        assert_eq!(full(0), FULL, "events");
    }
}
