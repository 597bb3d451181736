//! Time and entropy of a simulated machine: the hand moves the clock, a seed throws the dice.

use crate::rng::Rng;
use holdfast_core::Timestamp;
use holdfast_sync::env::Source;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

/// One start of the machine.
#[derive(Debug)]
pub struct Hand {
    began_ms: i64,
    wall_ms: AtomicI64,
    rng: Mutex<Rng>,
}

impl Hand {
    /// A machine that starts at a time, in Unix milliseconds.
    #[must_use]
    pub fn new(began_ms: i64, rng: Rng) -> Self {
        Self { began_ms, wall_ms: AtomicI64::new(began_ms), rng: Mutex::new(rng) }
    }

    /// Sets the clock, forward.
    pub fn set(&self, wall_ms: i64) {
        self.wall_ms.store(wall_ms, Ordering::SeqCst);
    }

    fn draw(&self) -> u64 {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).next_u64()
    }
}

impl Source for Hand {
    fn now(&self) -> Timestamp {
        let wall_ms = self.wall_ms.load(Ordering::SeqCst);
        Timestamp::from_millis(wall_ms).expect("a year from 2027 on is a time")
    }

    fn monotonic_ms(&self) -> u64 {
        (self.wall_ms.load(Ordering::SeqCst) - self.began_ms) as u64
    }

    fn entropy(&self) -> u64 {
        self.draw()
    }

    fn fill(&self, out: &mut [u8]) {
        out.fill_with(|| self.draw() as u8);
    }
}
