//! How long a certificate is good: told before it is too late, since a browser and a device that
//! checks it turn away on that day.

use holdfast_core::Timestamp;

/// From how long before its end a certificate is warned of: renewal is due then everywhere, and
/// somebody can still drive to the site.
const WARN_NS: i64 = 14 * DAY_NS;
const DAY_NS: i64 = 86_400 * 1_000_000_000;

/// Until when a certificate, in DER, is good.
pub(super) fn of(certificate: &[u8]) -> Option<Timestamp> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let seconds = certificate.validity().not_after.timestamp();
    Some(Timestamp(seconds.saturating_mul(1_000_000_000)))
}

/// Warns once a day of a certificate whose end is near.
#[derive(Debug, Default)]
pub(super) struct Warner {
    told: Option<Timestamp>,
}

impl Warner {
    /// Whole days that are left, when it is time to warn; negative once it is over.
    pub(super) fn due(&mut self, now: Timestamp, ends: Timestamp) -> Option<i64> {
        let left = ends.0.saturating_sub(now.0);
        // A clock that was set back does not keep it quiet.
        let is_told = |told: Timestamp| (0..DAY_NS).contains(&now.0.saturating_sub(told.0));
        if left > WARN_NS || self.told.is_some_and(is_told) {
            return None;
        }
        self.told = Some(now);
        Some(left.div_euclid(DAY_NS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_certificate_is_read() {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2030, 1, 2);
        let made = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        assert_eq!(of(made.der()), crate::time_text::parse("2030-01-02T00:00:00Z").ok());
        assert_eq!(of(b"no certificate"), None);
    }

    #[test]
    fn an_end_that_is_near_is_told_once_a_day_and_a_far_one_never() {
        let (mut warner, end) = (Warner::default(), Timestamp(100 * DAY_NS));
        let mut due = |day: i64, more: i64| warner.due(Timestamp(day * DAY_NS + more), end);
        assert_eq!(due(85, 0), None);
        assert_eq!(due(86, 0), Some(14));
        assert_eq!(due(86, 20_000_000_000), None);
        assert_eq!(due(87, 0), Some(13));
        assert_eq!(due(86, 0), Some(14), "the clock was set back");
        assert_eq!(due(101, 1), Some(-2));
    }
}
