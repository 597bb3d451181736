//! How fast a client may publish: a bucket that holds the messages of one second.
//!
//! It is kept as one time (the generic cell rate algorithm of ITU-T I.371): that at which all
//! messages so far would have been due, had they come evenly. A client that is ahead of it by the
//! bucket is not listened to for a while; nothing is refused or lost.

/// Microseconds that a client may be ahead: a burst is as much as a second brings.
const BURST_US: u64 = 1_000_000;

/// The pace of one client.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Microseconds between two messages; 0 where there is no limit.
    every_us: u64,
    due_us: u64,
}

impl Pace {
    /// One of so many messages a second; 0 for any number.
    #[must_use]
    pub fn new(per_s: u32) -> Self {
        let every_us = 1_000_000_u64.checked_div(u64::from(per_s)).map_or(0, |every| every.max(1));
        Self { every_us, due_us: 0 }
    }

    /// A message came.
    pub fn spend(&mut self, now_ms: u64) {
        if self.every_us > 0 {
            self.due_us = self.due_us.max(now_ms * 1_000) + self.every_us;
        }
    }

    /// Until when no other may come, in steady milliseconds; nothing when one may now.
    #[must_use]
    pub fn resumes_at(&self, now_ms: u64) -> Option<u64> {
        let at_ms = self.due_us.saturating_sub(BURST_US).div_ceil(1_000);
        (at_ms > now_ms).then_some(at_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_burst_for_a_second_and_then_has_its_rate() {
        let mut pace = Pace::new(100);
        let mut now_ms = 5_000;
        let mut taken = 0;
        while pace.resumes_at(now_ms).is_none() {
            pace.spend(now_ms);
            taken += 1;
        }
        assert_eq!(taken, 101, "a second's worth and the one that fills the bucket");
        let (from_ms, mut more) = (now_ms, 0);
        while now_ms < from_ms + 10_000 {
            match pace.resumes_at(now_ms) {
                Some(at) => now_ms = at,
                None => {
                    pace.spend(now_ms);
                    more += 1;
                }
            }
        }
        assert!((990..=1_001).contains(&more), "{more} in ten seconds");
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        let mut pace = Pace::new(0);
        for _ in 0..1_000_000 {
            pace.spend(1);
        }
        assert_eq!(pace.resumes_at(1), None);
    }
}
