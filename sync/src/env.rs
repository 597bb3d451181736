//! Where time and entropy come from: the one place that asks the operating system.
//!
//! Everything else takes an [`Env`], so a simulation can put its own clock and a seed in its place.

use holdfast_core::Timestamp;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A source of wall time, of time that only goes forward, and of entropy.
pub trait Source: Send + Sync {
    /// Wall time, as wrong as the machine's clock is.
    fn now(&self) -> Timestamp;
    /// Milliseconds since some moment before the start; never runs back.
    fn monotonic_ms(&self) -> u64;
    /// The same in microseconds, as finely as the source knows it: to measure, not to schedule.
    fn monotonic_us(&self) -> u64 {
        self.monotonic_ms().saturating_mul(1_000)
    }
    /// 64 random bits.
    fn entropy(&self) -> u64;
    /// Random bytes fit for keys.
    fn fill(&self, out: &mut [u8]);
}

/// A shared [`Source`].
pub type Env = Arc<dyn Source>;

/// The machine's own clock and entropy.
#[derive(Debug)]
pub struct System {
    start: Instant,
}

impl System {
    /// The machine's own clock and entropy, ready to share.
    #[must_use]
    pub fn env() -> Env {
        Arc::new(Self { start: Instant::now() })
    }
}

impl Source for System {
    fn now(&self) -> Timestamp {
        let nanos = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => {
                i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos)
            }
        };
        Timestamp(nanos)
    }

    fn monotonic_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn entropy(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill(&self, out: &mut [u8]) {
        getrandom::fill(out).expect("the operating system has entropy");
    }
}
