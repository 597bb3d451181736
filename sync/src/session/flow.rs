//! How much may be on its way: enough to fill the link for a second, never so much that new entries
//! wait behind a queue.
//!
//! The limit follows the rate at which the peer acknowledges. On a thin link only a few kilobytes
//! are under way, so that a new alert overtakes a month of backlog; on a fast one the pipe is kept
//! full.

use super::frame::FRAME_MAX_BYTES;
use std::collections::VecDeque;

const MIN_BYTES: u64 = 8 << 10;
const MAX_BYTES: u64 = 8 << 20;
/// Before the first measure: eight seconds of the thinnest link we promise to be useful on.
const START_BYTES: u64 = 16 << 10;
const PIECE_MIN_BYTES: u64 = 1 << 10;

/// Bytes that left together.
#[derive(Debug)]
struct Burst {
    /// Bytes sent up to its end.
    end: u64,
    /// Bytes acknowledged when it left.
    acked: u64,
    at_ms: u64,
}

#[derive(Debug)]
pub(super) struct Flow {
    sent: u64,
    acked: u64,
    limit: u64,
    bursts: VecDeque<Burst>,
}

impl Flow {
    pub(super) const fn new() -> Self {
        Self { sent: 0, acked: 0, limit: START_BYTES, bursts: VecDeque::new() }
    }

    /// Bytes sent and not yet acknowledged.
    pub(super) const fn under_way(&self) -> u64 {
        self.sent - self.acked
    }

    /// Bytes sent since the start.
    pub(super) const fn total(&self) -> u64 {
        self.sent
    }

    /// How many bytes may be added now.
    pub(super) const fn room(&self) -> u64 {
        self.limit.saturating_sub(self.under_way())
    }

    /// The size of a frame: on a thin link small, so that whole frames, which are what shows the
    /// peer to be alive, keep arriving.
    pub(super) fn piece(&self) -> usize {
        (self.limit / 4).clamp(PIECE_MIN_BYTES, FRAME_MAX_BYTES as u64) as usize
    }

    pub(super) fn sent(&mut self, bytes: u64, now_ms: u64) {
        self.sent += bytes;
        self.bursts.push_back(Burst { end: self.sent, acked: self.acked, at_ms: now_ms });
    }

    /// Takes an acknowledgement; `false` when it claims more than was sent.
    ///
    /// The rate is what was acknowledged between the leaving of a burst and its acknowledgement.
    /// Acknowledgements that were held up and come all at once do not look like a fast link so.
    pub(super) fn acked(&mut self, consumed: u64, now_ms: u64) -> bool {
        if consumed < self.acked || consumed > self.sent {
            return false;
        }
        self.acked = consumed;
        let done = self.bursts.partition_point(|burst| burst.end <= consumed);
        if let Some(burst) = self.bursts.drain(..done).next_back() {
            let elapsed = now_ms.saturating_sub(burst.at_ms).max(1);
            let per_second = (consumed - burst.acked).saturating_mul(1000) / elapsed;
            self.limit = (MIN_BYTES + per_second).clamp(MIN_BYTES, MAX_BYTES);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends at `rate` bytes a second and returns the limit that settles.
    fn settle(rate: u64) -> u64 {
        let mut flow = Flow::new();
        let (mut now, mut acked) = (0, 0);
        for _ in 0..200 {
            let room = flow.room();
            flow.sent(room, now);
            let under_way = flow.under_way();
            now += (under_way * 1000 / rate).max(20);
            acked += under_way;
            assert!(flow.acked(acked, now));
        }
        flow.limit
    }

    #[test]
    fn a_thin_link_holds_seconds_not_minutes() {
        let limit = settle(2_000);
        assert!(limit <= 8 * 2_000, "{limit} bytes under way at 2 kB/s");
    }

    #[test]
    fn a_fast_link_is_filled() {
        assert!(settle(50_000_000) >= 1 << 20);
    }

    /// The rate was taken between acknowledgements: two that came together after a pause of the
    /// link made 2 kB/s look like megabytes, and the next burst blocked the link for minutes.
    #[test]
    fn acknowledgements_that_come_together_do_not_look_like_a_fast_link() {
        let mut flow = Flow::new();
        flow.sent(8_000, 0);
        flow.sent(8_000, 100);
        assert!(flow.acked(8_000, 8_000));
        assert!(flow.acked(16_000, 8_001));
        assert!(flow.limit <= MIN_BYTES + 2_100, "{}", flow.limit);
    }

    #[test]
    fn an_acknowledgement_of_more_than_was_sent_is_noticed() {
        let mut flow = Flow::new();
        flow.sent(10, 0);
        assert!(!flow.acked(11, 5));
        assert!(flow.acked(10, 5));
        assert!(!flow.acked(9, 5));
    }
}
