//! Kept windows laid side by side, so that each reading is in one of them.
//!
//! The widest windows that fit into all that is asked for come first. Where one is missing, because
//! its rollup is not written yet or it is past the horizon of a node that lost it, narrower ones
//! that divide it fill its place.

use super::windows::Stretch;
use crate::pipeline::{ByWidth, Rolled};
use std::collections::BTreeMap;

/// Whether windows of a width fit into all stretches.
pub(super) fn fits(width_s: u32, stretches: &[Stretch]) -> bool {
    let mut bounds = stretches.iter().flat_map(|at| [at.start_s, at.end_s]);
    width_s > 0 && bounds.all(|bound| bound.rem_euclid(i64::from(width_s)) == 0)
}

/// Windows that do not overlap.
pub(super) struct Tiles {
    /// By their start: where they end, and what they come to.
    tiles: BTreeMap<i64, (i64, Rolled)>,
}

impl Tiles {
    /// Lays out what fits into `stretches`.
    pub(super) fn new(kept: ByWidth, stretches: &[Stretch]) -> Self {
        let (mut tiles, mut laid): (BTreeMap<_, _>, Vec<i64>) = (BTreeMap::new(), Vec::new());
        // The widest first.
        for (width_s, windows) in kept.into_iter().rev() {
            let width = i64::from(width_s);
            if !fits(width_s, stretches) || laid.iter().any(|wider| wider % width != 0) {
                continue;
            }
            for (start, rolled) in windows {
                let is_free = laid.iter().all(|wider| {
                    let holder = tiles.get(&(start.div_euclid(*wider) * wider));
                    holder.is_none_or(|(end, _): &(i64, Rolled)| *end <= start)
                });
                if is_free {
                    tiles.insert(start, (start + width, rolled));
                }
            }
            laid.push(width);
        }
        Self { tiles }
    }

    /// What a stretch comes to; `None` without readings.
    pub(super) fn cover(&self, stretch: Stretch) -> Option<Rolled> {
        let mut within = self.tiles.range(stretch.start_s..stretch.end_s).map(|(_, tile)| &tile.1);
        let mut out = within.next()?.clone();
        within.for_each(|tile| out.merge(tile));
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_core::Timestamp;
    use holdfast_core::rollup::{Revision, Sample};

    /// A window of so many readings.
    fn of(start_s: i64, count: u64) -> (i64, Rolled) {
        let sample = Sample { time: Timestamp(start_s * 1_000_000_000), value: 1.0 };
        let mut rolled = Rolled::of(sample, Revision { boot: 1, seq: 1 });
        (1..count).for_each(|n| rolled.take(sample, Revision { boot: 1, seq: n + 1 }));
        (start_s, rolled)
    }

    fn count(kept: &[(u32, &[(i64, u64)])], start_s: i64, end_s: i64) -> Option<u64> {
        let windows = |all: &[(i64, u64)]| all.iter().map(|(at, n)| of(*at, *n)).collect();
        let kept = kept.iter().map(|(width, all)| (*width, windows(all))).collect();
        let stretch = Stretch { start_s, end_s };
        Tiles::new(kept, &[stretch]).cover(stretch).map(|rolled| rolled.summary.count)
    }

    #[test]
    fn narrower_windows_stand_only_where_a_wider_one_is_missing() {
        let kept: &[(u32, &[(i64, u64)])] =
            &[(60, &[(0, 1), (60, 1), (120, 5), (180, 7)]), (120, &[(0, 3)])];
        assert_eq!(count(kept, 0, 240), Some(3 + 5 + 7));
        // The wider one does not fit.
        assert_eq!(count(kept, 60, 180), Some(1 + 5));
        assert_eq!(count(kept, 240, 360), None);
    }

    #[test]
    fn widths_that_do_not_divide_each_other_are_not_mixed() {
        let kept: &[(u32, &[(i64, u64)])] = &[(40, &[(0, 1), (40, 1)]), (60, &[(60, 9)])];
        assert_eq!(count(kept, 0, 120), Some(9));
    }
}
