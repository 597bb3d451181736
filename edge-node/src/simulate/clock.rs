//! Time and chance of a simulation: a clock that stands until somebody sets it on, and numbers that
//! are the same in every run.

use holdfast_core::Timestamp;
use holdfast_sync::env::Source;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Steps between two numbers before they are mixed: the golden ratio, as SplitMix64 has it.
const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;

/// The clock of a simulation.
#[derive(Debug)]
pub struct Clock {
    now_ns: AtomicI64,
    began_ns: i64,
    drawn: AtomicU64,
}

impl Clock {
    /// One that stands at `now`.
    #[must_use]
    pub const fn at(now: Timestamp) -> Self {
        let now_ns = AtomicI64::new(now.0);
        Self { now_ns, began_ns: now.0, drawn: AtomicU64::new(0) }
    }

    /// Sets it on; it never goes back.
    pub fn set_on(&self, to: Timestamp) {
        self.now_ns.fetch_max(to.0, Ordering::SeqCst);
    }

    /// Whole milliseconds of the time that it shows.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.now().millis()
    }
}

impl Source for Clock {
    fn now(&self) -> Timestamp {
        Timestamp(self.now_ns.load(Ordering::SeqCst))
    }

    fn monotonic_ms(&self) -> u64 {
        // By whole milliseconds of the wall clock, or the two would seem to part.
        let began_ms = Timestamp(self.began_ns).millis();
        self.now_ms().saturating_sub(began_ms).unsigned_abs()
    }

    fn entropy(&self) -> u64 {
        let mut mixed = self.drawn.fetch_add(STRIDE, Ordering::SeqCst).wrapping_add(STRIDE);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn fill(&self, out: &mut [u8]) {
        for part in out.chunks_mut(8) {
            part.copy_from_slice(&self.entropy().to_le_bytes()[..part.len()]);
        }
    }
}
