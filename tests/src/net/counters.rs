//! What really happened on a link, counted where it happened.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts of one direction since the proxy started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that came in.
    pub received: u64,
    /// Packets that went out, duplicates included.
    pub delivered: u64,
    /// Payload bytes that went out.
    pub bytes: u64,
    /// Packets lost by chance.
    pub lost: u64,
    /// Packets dropped because the link was cut.
    pub cut: u64,
    /// Packets dropped because the queue of the rate limit was full.
    pub overflowed: u64,
    /// Packets delivered a second time.
    pub duplicated: u64,
    /// Packets delivered after one that had come in later.
    pub reordered: u64,
    /// Packets that were held for any time by delay, jitter, rate or reordering.
    pub delayed: u64,
}

impl Counts {
    /// Every packet that came in and never went out.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.lost + self.cut + self.overflowed
    }
}

/// Both directions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkCounts {
    /// From the client to the target.
    pub up: Counts,
    /// From the target to the client.
    pub down: Counts,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub received: AtomicU64,
    pub delivered: AtomicU64,
    pub bytes: AtomicU64,
    pub lost: AtomicU64,
    pub cut: AtomicU64,
    pub overflowed: AtomicU64,
    pub duplicated: AtomicU64,
    pub reordered: AtomicU64,
    pub delayed: AtomicU64,
}

impl Counters {
    pub fn read(&self) -> Counts {
        Counts {
            received: self.received.load(Relaxed),
            delivered: self.delivered.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            lost: self.lost.load(Relaxed),
            cut: self.cut.load(Relaxed),
            overflowed: self.overflowed.load(Relaxed),
            duplicated: self.duplicated.load(Relaxed),
            reordered: self.reordered.load(Relaxed),
            delayed: self.delayed.load(Relaxed),
        }
    }
}

pub(super) fn bump(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
