//! Clock and entropy, as this crate takes them: functions handed in by whoever starts the process.

use holdfast_core::Timestamp;
use holdfast_sync::env::Env;
use std::fmt;
use std::sync::Arc;

/// Fills a buffer with random bytes.
pub type Fill = dyn Fn(&mut [u8]) + Send + Sync;

/// Where time and random bytes come from.
#[derive(Clone)]
pub struct Sources {
    /// Wall time, as wrong as the machine's clock is.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Milliseconds that never run back.
    pub monotonic_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Random bytes fit for keys.
    pub fill: Arc<Fill>,
}

impl Sources {
    /// The clock and entropy of a node's environment.
    #[must_use]
    pub fn of(env: &Env) -> Self {
        let (wall, steady, random) = (Arc::clone(env), Arc::clone(env), Arc::clone(env));
        Self {
            now: Arc::new(move || wall.now()),
            monotonic_ms: Arc::new(move || steady.monotonic_ms()),
            fill: Arc::new(move |out| random.fill(out)),
        }
    }

    /// 64 random bits.
    #[must_use]
    pub fn entropy(&self) -> u64 {
        let mut bytes = [0; 8];
        (self.fill)(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sources")
    }
}

/// Sources that a test sets: the clocks by hand, the bytes counting up.
#[cfg(test)]
pub(crate) mod by_hand {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[derive(Clone, Default)]
    pub(crate) struct Hand {
        pub(crate) ms: Arc<AtomicU64>,
        drawn: Arc<AtomicU64>,
    }

    impl Hand {
        pub(crate) fn pass_ms(&self, ms: u64) {
            self.ms.fetch_add(ms, Ordering::SeqCst);
        }

        pub(crate) fn sources(&self) -> Sources {
            let (wall, steady, drawn) =
                (Arc::clone(&self.ms), Arc::clone(&self.ms), Arc::clone(&self.drawn));
            Sources {
                now: Arc::new(move || Timestamp(wall.load(Ordering::SeqCst) as i64 * 1_000_000)),
                monotonic_ms: Arc::new(move || steady.load(Ordering::SeqCst)),
                fill: Arc::new(move |out| {
                    let number = drawn.fetch_add(1, Ordering::SeqCst).to_le_bytes();
                    out.iter_mut().zip(number.iter().cycle()).for_each(|(o, n)| *o = *n);
                }),
            }
        }
    }
}
