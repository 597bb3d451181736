//! Tumbling windows: what a stretch of one series comes to.
//!
//! A summary takes readings one by one, in log order, so its floating-point sums are a function of
//! the log and the same wherever they are recomputed. Late readings revise a window; the revision
//! is the place in the log of the last reading included, and of two summaries of one window from
//! one origin the later revision stands. Summaries of windows that lie side by side merge into that
//! of the wider one, which is what sliding windows and local days are made of. Window boundaries
//! are arguments: core knows no time zones.

use crate::{Seq, Timestamp};

/// A window of a series: half-open, `start <= t < end`, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// Its nominal width in seconds; a local day is 86,400 even when it has 23 hours.
    pub width_s: u32,
    /// Its first second, Unix time.
    pub start_s: i64,
}

impl Window {
    /// The window of `width_s` seconds, aligned to the epoch, that holds `time`.
    #[must_use]
    pub const fn tumbling(width_s: u32, time: Timestamp) -> Self {
        let width_s = if width_s == 0 { 1 } else { width_s };
        let width = width_s as i64;
        Self { width_s, start_s: time.seconds().div_euclid(width) * width }
    }

    /// The first second after a window of nominal length.
    #[must_use]
    pub const fn end_s(self) -> i64 {
        self.start_s + self.width_s as i64
    }
}

/// A place in the reading log of an origin: the boot that wrote it, the sequence in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision {
    /// Boot count of the incarnation.
    pub boot: u64,
    /// Sequence in that incarnation's reading stream.
    pub seq: Seq,
}

/// A value with its time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// When.
    pub time: Timestamp,
    /// What, finite.
    pub value: f64,
}

/// What a window comes to. There is no empty summary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// How many readings.
    pub count: u64,
    /// Their sum, added in log order.
    pub sum: f64,
    /// The sum of their squared deviations from the mean, in log order as well (Welford, "Note on a
    /// Method for Calculating Corrected Sums of Squares and Products", Technometrics 1962). A
    /// summary of the log's format 1 does not know it.
    pub squares: Option<f64>,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// The earliest by time; of equal times the first in the log.
    pub first: Sample,
    /// The latest by time; of equal times the last in the log.
    pub last: Sample,
    /// How far in the log it goes.
    pub revision: Revision,
}

impl Summary {
    /// The summary of one reading.
    #[must_use]
    pub const fn of(sample: Sample, revision: Revision) -> Self {
        let value = sample.value;
        Self {
            count: 1,
            sum: value,
            squares: Some(0.0),
            min: value,
            max: value,
            first: sample,
            last: sample,
            revision,
        }
    }

    /// Takes the next reading of the log. One that is not after the revision is already in and
    /// changes nothing, so the log may be read again after a crash.
    pub fn push(&mut self, sample: Sample, revision: Revision) {
        if revision > self.revision {
            self.take(sample, revision);
        }
    }

    /// Takes a reading that is known not to be in.
    pub fn take(&mut self, sample: Sample, revision: Revision) {
        let before = self.mean();
        self.count = self.count.saturating_add(1);
        self.sum = clamp(self.sum + sample.value);
        let deviations = (sample.value - before) * (sample.value - self.mean());
        self.squares = self.squares.map(|squares| up_to_the_end(squares + deviations));
        self.min = self.min.min(sample.value);
        self.max = self.max.max(sample.value);
        if sample.time < self.first.time {
            self.first = sample;
        }
        if sample.time >= self.last.time {
            self.last = sample;
        }
        self.revision = self.revision.max(revision);
    }

    /// The arithmetic mean.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }

    /// The variance of the readings taken as a sample of what was measured: with `count - 1`. One
    /// reading has none.
    #[must_use]
    pub fn variance(&self) -> Option<f64> {
        let degrees = self.count.checked_sub(1).filter(|degrees| *degrees > 0)?;
        self.squares.map(|squares| squares / degrees as f64)
    }

    /// The summary of this stretch and a later one, which have no reading in common.
    #[must_use]
    pub fn merge(&self, after: &Self) -> Self {
        let (n, m) = (self.count as f64, after.count as f64);
        let apart = after.mean() - self.mean();
        // Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample
        // Variances", 1979.
        let between = apart * apart * (n / (n + m)) * m;
        let squares = self.squares.zip(after.squares);
        Self {
            count: self.count.saturating_add(after.count),
            sum: clamp(self.sum + after.sum),
            squares: squares.map(|(a, b)| up_to_the_end(a + b + between)),
            min: self.min.min(after.min),
            max: self.max.max(after.max),
            first: if after.first.time < self.first.time { after.first } else { self.first },
            last: if after.last.time >= self.last.time { after.last } else { self.last },
            revision: self.revision.max(after.revision),
        }
    }

    /// Of two summaries of the same window and origin, the one that goes further; if both go
    /// equally far, the one with more readings, for which some had come back late.
    #[must_use]
    pub fn later(self, other: Self) -> Self {
        let further = (other.revision, other.count) > (self.revision, self.count);
        if further { other } else { self }
    }
}

/// Sums of finite values stay finite: at the end of the range they stop, as the formats promise.
const fn clamp(sum: f64) -> f64 {
    sum.clamp(f64::MIN, f64::MAX)
}

/// Sums of squares may leave the range on the way, even as the difference of two infinities.
const fn up_to_the_end(squares: f64) -> f64 {
    if squares.is_finite() { squares.max(0.0) } else { f64::MAX }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn fold(samples: &[(i64, f64)]) -> Option<Summary> {
        let mut all = samples.iter().enumerate().map(|(i, &(time, value))| {
            (Sample { time: Timestamp(time), value }, Revision { boot: 1, seq: i as u64 + 1 })
        });
        let (sample, revision) = all.next()?;
        let mut summary = Summary::of(sample, revision);
        all.for_each(|(sample, revision)| summary.push(sample, revision));
        Some(summary)
    }

    #[test]
    fn windows_tile_the_line_before_the_epoch_too() {
        let at = |s: i64| Window::tumbling(60, Timestamp(s * 1_000_000_000));
        assert_eq!(at(59).start_s, 0);
        assert_eq!(at(60).start_s, 60);
        assert_eq!(at(-1).start_s, -60);
        assert_eq!(at(-1).end_s(), 0);
    }

    #[test]
    fn sums_stop_at_the_end_of_the_range() {
        let summary = fold(&[(0, f64::MAX), (1, f64::MAX)]).unwrap();
        assert_eq!(summary.sum, f64::MAX);
        let apart = fold(&[(0, f64::MAX), (1, f64::MIN), (2, f64::MAX)]).unwrap();
        assert_eq!(apart.squares, Some(f64::MAX));
        assert_eq!(apart.merge(&summary).squares, Some(f64::MAX));
    }

    #[test]
    fn one_reading_has_no_variance() {
        assert_eq!(fold(&[(0, 3.0)]).unwrap().variance(), None);
        assert_eq!(fold(&[(0, 3.0), (1, 5.0)]).unwrap().variance(), Some(2.0));
    }

    #[test]
    fn late_data_revises_first_but_not_last() {
        let summary = fold(&[(10, 1.0), (20, 2.0), (5, 3.0)]).unwrap();
        assert_eq!((summary.first.value, summary.last.value), (3.0, 2.0));
        assert_eq!(summary.revision, Revision { boot: 1, seq: 3 });
        assert_eq!(summary.mean(), 2.0);
    }

    proptest! {
        #[test]
        fn it_is_what_the_formulas_say(
            samples in prop::collection::vec((0i64..100, -1e6f64..1e6), 1..40),
        ) {
            let summary = fold(&samples).unwrap();
            let values: Vec<f64> = samples.iter().map(|s| s.1).collect();
            prop_assert_eq!(summary.count, values.len() as u64);
            let sum = values[1..].iter().fold(values[0], |a, b| a + b);
            prop_assert_eq!(summary.sum.to_bits(), sum.to_bits());
            prop_assert_eq!(summary.min, values.iter().copied().fold(f64::MAX, f64::min));
            prop_assert_eq!(summary.max, values.iter().copied().fold(f64::MIN, f64::max));
            prop_assert_eq!(summary.first.time.0, samples.iter().map(|s| s.0).min().unwrap());
            prop_assert_eq!(summary.last.time.0, samples.iter().map(|s| s.0).max().unwrap());
        }

        #[test]
        fn the_variance_is_what_two_passes_say_also_of_merged_windows(
            samples in prop::collection::vec((0i64..100, -1e6f64..1e6), 2..60),
            cut in 1usize..59,
        ) {
            let (left, right) = samples.split_at(cut.min(samples.len() - 1));
            let merged = fold(left).unwrap().merge(&fold(right).unwrap());
            let n = samples.len() as f64;
            let mean = samples.iter().map(|s| s.1).sum::<f64>() / n;
            let squares = samples.iter().map(|s| (s.1 - mean) * (s.1 - mean)).sum::<f64>();
            for summary in [fold(&samples).unwrap(), merged] {
                let variance = summary.variance().unwrap();
                prop_assert!((variance - squares / (n - 1.0)).abs() <= 1e-9 * (1.0 + variance));
            }
        }

        #[test]
        fn a_merged_window_is_the_window_of_both(
            samples in prop::collection::vec((0i64..100, -1e6f64..1e6), 2..60),
            cut in 1usize..59,
        ) {
            let (left, right) = samples.split_at(cut.min(samples.len() - 1));
            let (merged, whole) =
                (fold(left).unwrap().merge(&fold(right).unwrap()), fold(&samples).unwrap());
            prop_assert_eq!(merged.count, whole.count);
            prop_assert_eq!((merged.min, merged.max), (whole.min, whole.max));
            prop_assert_eq!((merged.first, merged.last), (whole.first, whole.last));
            prop_assert!((merged.sum - whole.sum).abs() <= 1e-9 * (1.0 + 1e6 * 60.0));
        }

        #[test]
        fn reading_the_log_again_changes_nothing(
            samples in prop::collection::vec((0i64..100, -1e6f64..1e6), 1..20),
            from in 0usize..20,
        ) {
            let once = fold(&samples).unwrap();
            let mut twice = once;
            for (i, &(time, value)) in samples.iter().enumerate().skip(from) {
                let revision = Revision { boot: 1, seq: i as u64 + 1 };
                twice.push(Sample { time: Timestamp(time), value }, revision);
            }
            prop_assert_eq!(once, twice);
        }

        #[test]
        fn the_later_revision_stands_in_any_order(a in 1u64..50, b in 1u64..50) {
            let of = |seq| {
                let sample = Sample { time: Timestamp(0), value: seq as f64 };
                Summary::of(sample, Revision { boot: 1, seq })
            };
            prop_assert_eq!(of(a).later(of(b)), of(b).later(of(a)));
            prop_assert_eq!(of(a).later(of(a)), of(a));
        }
    }
}
