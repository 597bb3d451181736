//! How long to wait before the next attempt: exponential growth with full jitter.
//!
//! The delay is drawn evenly from zero to `min(cap, base * 2^attempt)`, which spreads a fleet that
//! lost one hub over the whole interval (Brooker, "Exponential Backoff And Jitter", AWS 2015).
//! There is no last attempt. Entropy is an argument.

/// A growing delay; one per thing that is retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    base_ms: u64,
    cap_ms: u64,
    attempt: u32,
}

impl Backoff {
    /// Starts at `base_ms` and never waits longer than `cap_ms`.
    #[must_use]
    pub const fn new(base_ms: u64, cap_ms: u64) -> Self {
        let base_ms = if base_ms == 0 { 1 } else { base_ms };
        let cap_ms = if cap_ms < base_ms { base_ms } else { cap_ms };
        Self { base_ms, cap_ms, attempt: 0 }
    }

    /// The longest delay the next attempt can draw.
    #[must_use]
    pub fn ceiling_ms(&self) -> u64 {
        let factor = 1u64.checked_shl(self.attempt).unwrap_or(u64::MAX);
        self.base_ms.saturating_mul(factor).min(self.cap_ms)
    }

    /// Draws the next delay in milliseconds from 64 random bits.
    pub fn next_ms(&mut self, entropy: u64) -> u64 {
        let ceiling = self.ceiling_ms();
        self.attempt = self.attempt.saturating_add(1);
        // The high half of a 128-bit product is an even draw from 0..=ceiling.
        ((u128::from(entropy) * (u128::from(ceiling) + 1)) >> 64) as u64
    }

    /// How many delays were drawn since the last success.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempt
    }

    /// Starts over after a success.
    pub const fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_ceiling_doubles_up_to_the_cap_and_stays_there() {
        let mut backoff = Backoff::new(1_000, 300_000);
        let mut seen = std::vec::Vec::new();
        for _ in 0..200 {
            seen.push(backoff.ceiling_ms());
            backoff.next_ms(0);
        }
        assert_eq!(&seen[..4], &[1_000, 2_000, 4_000, 8_000]);
        assert!(seen[10..].iter().all(|&ms| ms == 300_000));
        backoff.reset();
        assert_eq!(backoff.ceiling_ms(), 1_000);
    }

    proptest! {
        #[test]
        fn a_delay_lies_between_zero_and_the_ceiling(
            base in 0u64..10_000,
            cap in 0u64..1_000_000,
            draws in prop::collection::vec(any::<u64>(), 1..80),
        ) {
            let mut backoff = Backoff::new(base, cap);
            for entropy in draws {
                let ceiling = backoff.ceiling_ms();
                prop_assert!(backoff.next_ms(entropy) <= ceiling);
            }
        }

        #[test]
        fn both_ends_are_reached(base in 1u64..10_000) {
            prop_assert_eq!(Backoff::new(base, base).next_ms(0), 0);
            prop_assert_eq!(Backoff::new(base, base).next_ms(u64::MAX), base);
        }
    }
}
