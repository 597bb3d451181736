//! Failed sign-ins per source: a token bucket each, in bounded memory.

use std::collections::HashMap;
use std::net::IpAddr;

/// Failures in a row before a source has to wait.
const BURST: u64 = 5;
/// One more failure is allowed after this long.
const REFILL_MS: u64 = 10_000;
/// Sources remembered; beyond that the one that failed longest ago is forgotten.
const SOURCES_MAX: usize = 4_096;

/// Who fails, as a number.
pub(super) type Source = u128;

/// When each source will have its whole burst again.
#[derive(Debug, Default)]
pub(super) struct Limiter(HashMap<Source, u64>);

/// An address; an IPv6 customer has a /64, so that is one source.
pub(super) fn address(address: IpAddr) -> Source {
    match address.to_canonical() {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6) >> 64 << 64,
    }
}

impl Limiter {
    /// Whether `source` may try; if not, after how many seconds.
    pub(super) fn check(&self, source: Source, now_ms: u64) -> Result<(), u64> {
        let full_ms = self.0.get(&source).copied().unwrap_or(0);
        let wait_ms = full_ms.saturating_sub(now_ms + (BURST - 1) * REFILL_MS);
        if wait_ms == 0 { Ok(()) } else { Err(wait_ms.div_ceil(1_000)) }
    }

    /// Notes a failure.
    pub(super) fn fail(&mut self, source: Source, now_ms: u64) {
        if self.0.len() >= SOURCES_MAX {
            self.0.retain(|_, full_ms| *full_ms > now_ms);
        }
        if self.0.len() >= SOURCES_MAX
            && let Some(earliest) = self.0.iter().min_by_key(|(_, full_ms)| **full_ms)
        {
            let earliest = *earliest.0;
            self.0.remove(&earliest);
        }
        let full_ms = self.0.entry(source).or_default();
        *full_ms = (*full_ms).max(now_ms) + REFILL_MS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_one_per_refill() {
        let [one, other] = ["10.0.0.1", "10.0.0.2"].map(|text| address(text.parse().unwrap()));
        let mut limiter = Limiter::default();
        for _ in 0..BURST {
            assert_eq!(limiter.check(one, 0), Ok(()));
            limiter.fail(one, 0);
        }
        assert_eq!(limiter.check(one, 0), Err(10));
        assert_eq!(limiter.check(one, 9_500), Err(1));
        assert_eq!(limiter.check(other, 0), Ok(()));
        assert_eq!(limiter.check(one, 10_000), Ok(()));
        limiter.fail(one, 10_000);
        assert_eq!(limiter.check(one, 10_000), Err(10));
    }

    #[test]
    fn sources_are_bounded_and_an_ipv6_network_is_one() {
        let mut limiter = Limiter::default();
        for n in 0..10_000u32 {
            limiter.fail(address(IpAddr::from(n.to_be_bytes())), 0);
        }
        assert_eq!(limiter.0.len(), SOURCES_MAX);
        let (a, b): (IpAddr, IpAddr) =
            ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
        assert_eq!(address(a), address(b));
        let mapped = address("::ffff:10.0.0.1".parse().unwrap());
        assert_eq!(mapped, address("10.0.0.1".parse().unwrap()));
    }
}
