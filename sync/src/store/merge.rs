//! Which segments of a chain are put together: neighbours that fill one, or many tiny ones.
//!
//! Asking for one series costs about as much for a segment as for its entries, so segments should
//! be full; and what is encoded again and again wears out a disk, so each entry should be encoded
//! few times. Neighbours are put together once they fill a segment, which then is done. Until then
//! only tiny ones are, many at a time: an entry is encoded when it is sealed, when it leaves the
//! tiny ones, and when its segment is filled. How fast entries come changes nothing about it.

use holdfast_core::Seq;
use holdfast_core::limits::COMMIT_MAX_BYTES;
use std::ops::Range;

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
}

impl Extent {
    /// Whether it is done: with another of its kind it would be too large.
    pub const fn done(&self, full: u64) -> bool {
        self.entries >= full / 2 || self.bytes >= COMMIT_MAX_BYTES / 2
    }

    const fn fits(&self, next: &Self, full: u64) -> bool {
        self.entries + next.entries <= full && self.bytes + next.bytes <= COMMIT_MAX_BYTES
    }

    const fn with(self, next: &Self) -> Self {
        let (entries, bytes) = (self.entries + next.entries, self.bytes + next.bytes);
        Self { first: self.first, entries, bytes }
    }
}

/// Which of these to put together, if any: segments of a chain that are not done, ascending, where
/// a full one has `full` entries.
pub(super) fn choose(all: &[Extent], full: u64) -> Option<Range<usize>> {
    let mut from = 0;
    let runs = all.chunk_by(|one, next| one.first + one.entries == next.first);
    runs.filter_map(|run| {
        let at = from;
        from += run.len();
        let within = filling(run, full).map(|count| 0..count).or_else(|| many_tiny(run))?;
        Some(at + within.start..at + within.end)
    })
    .next()
}

/// How many from the beginning of a run fill a segment: with the next it would be too large, or it
/// is nearly full.
fn filling(run: &[Extent], full: u64) -> Option<usize> {
    let mut sum = Extent::default();
    for (count, next) in run.iter().enumerate() {
        if count > 1 && (sum.entries >= full / 8 * 7 || !sum.fits(next, full)) {
            return Some(count);
        }
        sum = sum.with(next);
    }
    (run.len() > 1 && sum.entries >= full / 8 * 7).then_some(run.len())
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

    const FULL: u64 = 1 << 18;

    /// A chain whose entries are sealed in these steps, put together whenever there is something;
    /// for each segment its extent and how often its entries were encoded at most.
    fn settle(steps: &[u64], bytes_each: usize) -> Vec<(Extent, u32)> {
        let mut chain: Vec<(Extent, u32)> = Vec::new();
        let mut first = 1;
        for entries in steps {
            let bytes = *entries as usize * bytes_each;
            chain.push((Extent { first, entries: *entries, bytes }, 1));
            first += entries;
            loop {
                let open: Vec<_> = (0..chain.len()).filter(|i| !chain[*i].0.done(FULL)).collect();
                let extents: Vec<_> = open.iter().map(|i| chain[*i].0).collect();
                let Some(chosen) = choose(&extents, FULL) else { break };
                assert!(chosen.len() > 1, "one alone stays as it is");
                let range = open[chosen.start]..open[chosen.end - 1] + 1;
                assert_eq!(range.len(), chosen.len(), "neighbours");
                let whole = chain[range.clone()].iter().fold(Extent::default(), |sum, (one, _)| {
                    let first = if sum.entries == 0 { one.first } else { sum.first };
                    Extent { first, ..sum.with(one) }
                });
                assert!(whole.entries <= FULL && whole.bytes <= COMMIT_MAX_BYTES);
                let times = chain[range.clone()].iter().map(|(_, times)| times + 1).max();
                chain.splice(range, [(whole, times.unwrap())]);
            }
        }
        chain
    }

    proptest! {
        /// The query of a day took 41, 74 or 115 ms, depending on how fast the day had been posted:
        /// sealed in the steps of a fast or of a slow one, it lay in segments of three quarters of
        /// what they could have had, or of much less.
        #[test]
        fn segments_are_full_and_entries_encoded_few_times_however_they_come(
            steps in prop::collection::vec(8_192u64..70_000, 1..120),
            slow in any::<bool>(),
        ) {
            let step = |n: &u64| if slow { 8_192 + n % 500 } else { *n };
            let steps: Vec<_> = steps.iter().map(step).collect();
            let chain = settle(&steps, 1);
            let entries: u64 = steps.iter().sum();
            let done = chain.iter().filter(|(one, _)| one.done(FULL)).count() as u64;
            prop_assert!(done <= entries / (FULL / 4 * 3) + 1, "{done} of {entries}");
            prop_assert!(chain.len() as u64 - done <= 16, "{} at the end", chain.len());
            prop_assert!(chain.iter().all(|(_, times)| *times <= 4));
        }

        #[test]
        fn small_steps_and_large_entries_settle_too(
            steps in prop::collection::vec(1u64..9_000, 1..400),
            bytes_each in 1usize..60,
        ) {
            let chain = settle(&steps, bytes_each);
            prop_assert!(chain.iter().all(|(_, times)| *times <= 16));
            let entries: u64 = steps.iter().sum();
            let bytes = entries as usize * bytes_each;
            let least = entries / (FULL / 2) + (bytes / (COMMIT_MAX_BYTES / 2)) as u64;
            prop_assert!(chain.len() as u64 <= least + 8 * 8, "{} of {entries}", chain.len());
        }
    }

    #[test]
    fn what_is_not_beside_each_other_stays_apart() {
        let at = |first| Extent { first, entries: 100_000, bytes: 100_000 };
        assert_eq!(choose(&[at(1), at(200_000), at(400_000)], FULL), None);
        assert_eq!(choose(&[at(1), at(200_001), at(300_001), at(400_001)], FULL), Some(1..3));
    }
}
