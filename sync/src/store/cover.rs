//! Ranges without a bound on their number, for looking a whole store over.

use holdfast_core::Seq;
use holdfast_core::ranges::Range;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Sorted ranges that never touch: first sequence -> last sequence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cover {
    ranges: BTreeMap<Seq, Seq>,
}

impl Cover {
    /// Adds a range; `false` when some of it was there before.
    pub(super) fn add(&mut self, range: Range) -> bool {
        let (mut from, mut to) = (range.from, range.to);
        let mut apart = true;
        while let Some((&f, &t)) = self.ranges.range(..=to.saturating_add(1)).next_back() {
            if t.saturating_add(1) < from {
                break;
            }
            apart = apart && (t < range.from || f > range.to);
            from = from.min(f);
            to = to.max(t);
            self.ranges.remove(&f);
        }
        self.ranges.insert(from, to);
        apart
    }

    /// The ranges, ascending.
    pub(super) fn ranges(&self) -> impl DoubleEndedIterator<Item = Range> + '_ {
        self.ranges.iter().map(|(&from, &to)| Range { from, to })
    }

    /// The greatest sequence, 0 when empty.
    pub(super) fn max(&self) -> Seq {
        self.ranges.last_key_value().map_or(0, |(_, &to)| to)
    }

    /// What of `other` is not here, ascending.
    pub(super) fn lacks(&self, other: &[Range]) -> Vec<Range> {
        let mut out = Vec::new();
        for wanted in other {
            let mut from = wanted.from;
            let before = self.ranges.range(..=from).next_back();
            let inside = self.ranges.range((Bound::Excluded(from), Bound::Included(wanted.to)));
            for (&f, &t) in before.into_iter().chain(inside) {
                if t < from {
                    continue;
                }
                out.extend(Range::new(from, f.saturating_sub(1)));
                from = t.saturating_add(1);
            }
            out.extend(Range::new(from, wanted.to));
        }
        out
    }
}

impl Extend<Range> for Cover {
    fn extend<I: IntoIterator<Item = Range>>(&mut self, ranges: I) {
        for range in ranges {
            self.add(range);
        }
    }
}

impl FromIterator<Range> for Cover {
    fn from_iter<I: IntoIterator<Item = Range>>(ranges: I) -> Self {
        let mut out = Self::default();
        out.extend(ranges);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn model(ranges: impl Iterator<Item = Range>) -> BTreeSet<Seq> {
        ranges.flat_map(|r| r.from..=r.to).collect()
    }

    proptest! {
        #[test]
        fn it_holds_and_lacks_what_a_plain_set_does(
            held in prop::collection::vec((1u64..60, 0u64..8), 0..20),
            wanted in prop::collection::vec((1u64..60, 0u64..8), 0..6),
        ) {
            let range = |&(from, len): &(u64, u64)| Range { from, to: from + len };
            let mut cover = Cover::default();
            let mut plain = BTreeSet::new();
            for range in held.iter().map(range) {
                let apart = (range.from..=range.to).all(|seq| !plain.contains(&seq));
                prop_assert_eq!(cover.add(range), apart);
                plain.extend(range.from..=range.to);
            }
            prop_assert_eq!(model(cover.ranges()), plain.clone());
            prop_assert_eq!(cover.max(), plain.last().copied().unwrap_or(0));
            let ranges: Vec<_> = cover.ranges().collect();
            prop_assert!(ranges.windows(2).all(|pair| pair[0].to + 1 < pair[1].from));
            let wanted: Cover = wanted.iter().map(range).collect();
            let wanted: Vec<_> = wanted.ranges().collect();
            let lacking = model(wanted.iter().copied()).difference(&plain).copied().collect();
            prop_assert_eq!(model(cover.lacks(&wanted).into_iter()), lacking);
        }
    }
}
