//! A hybrid logical clock: wall time that never runs back, with a counter for equal milliseconds.
//!
//! A stamp is 48 bits of milliseconds (top bit 0) and 16 bits of counter in one integer, so
//! stamps compare as integers. A stamp from far ahead never drags the clock along; a write that has
//! seen it exceeds it all the same ([`Stamp::over`]). Source: Kulkarni
//! and others, "Logical Physical Clocks", 2014; the drift bound is ours.

use crate::limits::{CLOCK_MAX_MS, HLC_MAX_AHEAD_MS};

/// The greatest millisecond part: 47 bits, the year 6429.
pub const MAX_MILLIS: u64 = (1 << 47) - 1;

/// A stamp: milliseconds since 1970 in the upper 48 bits, a counter in the lower 16.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(pub u64);

impl Stamp {
    /// A stamp of its parts; milliseconds are capped at [`MAX_MILLIS`].
    #[must_use]
    pub const fn new(ms: u64, counter: u16) -> Self {
        let ms = if ms > MAX_MILLIS { MAX_MILLIS } else { ms };
        Self(ms << 16 | counter as u64)
    }

    /// The millisecond part.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0 >> 16
    }

    /// The counter part.
    #[must_use]
    pub const fn counter(self) -> u16 {
        self.0 as u16
    }

    /// The next greater stamp; on counter overflow the millisecond part advances.
    #[must_use]
    pub const fn next(self) -> Self {
        const MAX: u64 = MAX_MILLIS << 16 | 0xffff;
        if self.0 >= MAX { Self(MAX) } else { Self(self.0 + 1) }
    }

    /// The stamp of a write: this one of the local clock, or the next after the greatest of what
    /// the write replaces. Whatever the clocks say, what has seen another is greater.
    #[must_use]
    pub fn over(self, replaced: impl IntoIterator<Item = Self>) -> Self {
        replaced.into_iter().fold(self, |stamp, seen| stamp.max(seen.next()))
    }
}

/// The clock: the last stamp given out or believed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hlc {
    last: Stamp,
}

impl Hlc {
    /// Continues above `high_water`, the mark reserved on disk before the last stop.
    #[must_use]
    pub const fn resume(high_water: Stamp) -> Self {
        Self { last: high_water }
    }

    /// The last stamp given out or believed.
    #[must_use]
    pub const fn last(&self) -> Stamp {
        self.last
    }

    /// A stamp greater than every one before, close to the wall clock `now_ms` as far as
    /// [`CLOCK_MAX_MS`].
    pub fn tick(&mut self, now_ms: u64) -> Stamp {
        let wall = Stamp::new(now_ms.min(CLOCK_MAX_MS), 0);
        self.last = if wall > self.last { wall } else { self.last.next() };
        self.last
    }

    /// Takes note of a stamp seen elsewhere. One that is too far ahead of `now_ms` is left alone
    /// and answered with `false`; what carries it is still accepted.
    pub fn observe(&mut self, seen: Stamp, now_ms: u64) -> bool {
        let believable = seen.millis() <= now_ms.saturating_add(HLC_MAX_AHEAD_MS);
        if believable && seen > self.last {
            self.last = seen;
        }
        believable
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_counter_overflows_into_the_milliseconds() {
        let mut clock = Hlc::resume(Stamp::new(7, u16::MAX));
        assert_eq!(clock.tick(7), Stamp::new(8, 0));
    }

    #[test]
    fn the_last_stamp_of_all_is_kept() {
        let end = Stamp::new(u64::MAX, u16::MAX);
        assert_eq!(end.next(), end);
        assert_eq!(end.0 >> 63, 0, "the top bit stays 0");
    }

    /// A clock at the end of the range used to stamp 65,536 writes and then the same stamp for
    /// ever: what replaced such a write was no greater than it.
    #[test]
    fn a_clock_at_the_end_of_time_leaves_room_for_a_greater_stamp() {
        let last = Hlc::default().tick(u64::MAX);
        let repaired = Stamp::new(1_700_000_000_000, 0).over([last]);
        assert!(repaired > last);
        assert_eq!(repaired.over((0..100_000).map(|n| Stamp(last.0 + n))), Stamp(last.0 + 100_000));
    }

    proptest! {
        #[test]
        fn a_write_exceeds_all_it_replaces_and_never_its_own_clock_needlessly(
            local in 0u64..1 << 62, replaced in prop::collection::vec(0u64..1 << 62, 0..6),
        ) {
            let stamp = Stamp(local).over(replaced.iter().copied().map(Stamp));
            prop_assert!(stamp >= Stamp(local));
            prop_assert!(replaced.iter().all(|&seen| stamp > Stamp(seen)));
            let greatest = replaced.iter().copied().max().map_or(0, |seen| seen + 1);
            prop_assert_eq!(stamp.0, local.max(greatest));
        }

        #[test]
        fn stamps_grow_whatever_the_wall_clock_does(
            walls in prop::collection::vec(0u64..1 << 47, 1..50),
        ) {
            let mut clock = Hlc::default();
            let mut before = clock.last();
            for wall in walls {
                let stamp = clock.tick(wall);
                prop_assert!(stamp > before);
                before = stamp;
            }
        }

        #[test]
        fn a_stamp_far_ahead_never_drags_the_clock(
            now in 1u64..1 << 40, ahead in 60_001u64..1 << 40,
        ) {
            let mut clock = Hlc::default();
            clock.tick(now);
            prop_assert!(!clock.observe(Stamp::new(now + ahead, 3), now));
            prop_assert!(clock.tick(now).millis() <= now + 1);
        }

        #[test]
        fn a_believed_stamp_is_exceeded_by_the_next_tick(
            now in 1u64..1 << 40, ahead in 0u64..60_000,
        ) {
            let mut clock = Hlc::default();
            let seen = Stamp::new(now + ahead, 9);
            prop_assert!(clock.observe(seen, now));
            prop_assert!(clock.tick(now) > seen);
        }
    }
}
