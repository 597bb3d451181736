//! How fast the store grows, as an operator plans with it: over the last day, or what is known of
//! it. A burst (an import, a backlog that comes in) then counts for what it is of a day, and the
//! first hour after a start says nothing, because it may be nothing but a burst.

use std::collections::VecDeque;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// How far marks are apart; a day of them is 144.
const MARK_MS: u64 = HOUR_MS / 6;

/// The marks of the last day, and the rate they give.
#[derive(Debug, Default)]
pub(super) struct Growth {
    /// Steady milliseconds and bytes in use then, the oldest first.
    marks: VecDeque<(u64, u64)>,
    /// Bytes a day, once an hour is known.
    pub per_day: Option<u64>,
}

impl Growth {
    /// Takes what is in use at a steady time in milliseconds.
    pub(super) fn note(&mut self, now: u64, used: u64) {
        let last = self.marks.back().map(|(at, _)| *at);
        if last.is_none_or(|at| now.saturating_sub(at) >= MARK_MS) {
            self.marks.push_back((now, used));
        }
        // The first mark is a day old or the first of this start.
        while self.marks.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= DAY_MS) {
            self.marks.pop_front();
        }
        let Some((since, before)) = self.marks.front().copied() else { return };
        let elapsed = now.saturating_sub(since);
        if elapsed >= HOUR_MS {
            let grown = u128::from(used.saturating_sub(before));
            self.per_day = Some((grown * u128::from(DAY_MS) / u128::from(elapsed)) as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1_000_000;

    /// Bytes a day after so many minutes, looked at every minute.
    fn after(minutes: u64, used: impl Fn(u64) -> u64) -> Option<u64> {
        let mut growth = Growth::default();
        (0..=minutes).for_each(|minute| growth.note(minute * 60_000, used(minute)));
        growth.per_day
    }

    // A backlog of some minutes was taken for the rate of the day: "days left: 0", and an alert.
    #[test]
    fn a_burst_after_the_start_is_not_taken_for_the_rate() {
        let burst = |minute: u64| minute.min(5) * 100 * MB;
        assert_eq!(after(59, burst), None);
        assert_eq!(after(60, burst), Some(500 * MB * 24));
        assert_eq!(after(12 * 60, burst), Some(500 * MB * 2));
        assert_eq!(after(3 * 24 * 60, burst), Some(0), "it was days ago");
    }

    #[test]
    fn a_steady_rate_is_known_after_an_hour_and_stays() {
        for minutes in [60, 61, 600, 1_500, 10_000] {
            assert_eq!(after(minutes, |minute| minute * MB), Some(1_440 * MB), "{minutes} min");
        }
    }

    #[test]
    fn the_marks_are_bounded_and_a_store_that_shrinks_does_not_grow() {
        let mut growth = Growth::default();
        for minute in 0..100_000 {
            growth.note(minute * 60_000, 200_000 - minute);
            assert!(growth.marks.len() <= 146, "{}", growth.marks.len());
        }
        assert_eq!(growth.per_day, Some(0));
    }
}
