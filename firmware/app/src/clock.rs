//! What time it is, as far as a device without a clock of its own can know.
//!
//! It counts milliseconds since its start, and is told the time by its gateway. From the two it
//! works out when the start was, its *anchor*; before the first word of a gateway that believes its
//! own clock there is none, and samples are handed on with their ages. A later word moves the
//! anchor only when the two disagree by more than what a message may take.

/// A difference that is no disagreement: how long a message may have been on its way.
const TOLERANCE_MS: u64 = 2_000;

/// When this start was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    anchor: Option<i64>,
}

impl Clock {
    /// Takes the gateway's word; the new anchor if it moves.
    pub fn set(&mut self, unix_ms: i64, uptime_ms: u64) -> Option<i64> {
        let anchor = unix_ms.checked_sub(i64::try_from(uptime_ms).ok()?)?;
        if self.anchor.is_some_and(|was| was.abs_diff(anchor) <= TOLERANCE_MS) {
            return None;
        }
        self.anchor = Some(anchor);
        self.anchor
    }

    /// When this start was, in milliseconds since 1970.
    #[must_use]
    pub const fn anchor(&self) -> Option<i64> {
        self.anchor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_knows_nothing_until_it_is_told_and_does_not_follow_jitter() {
        let mut clock = Clock::default();
        assert_eq!(clock.anchor(), None);
        assert_eq!(clock.set(1_800_000_010_000, 10_000), Some(1_800_000_000_000));
        assert_eq!(clock.set(1_800_000_020_900, 20_000), None);
        assert_eq!(clock.anchor(), Some(1_800_000_000_000));
        assert_eq!(clock.set(1_800_000_123_000, 30_000), Some(1_800_000_093_000));
    }

    #[test]
    fn a_time_that_cannot_be_moves_nothing() {
        let mut clock = Clock::default();
        assert_eq!(clock.set(i64::MIN, 1), None);
        assert_eq!(clock.set(0, u64::MAX), None);
        assert_eq!(clock.anchor(), None);
    }
}
