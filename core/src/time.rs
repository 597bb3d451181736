//! Points in time: nanoseconds since 1970-01-01T00:00:00Z in a signed 64-bit integer.
//!
//! That reaches from 1677 to 2262, keeps what line protocol can say, and is one machine word. No
//! function here reads a clock.

/// Nanoseconds since the Unix epoch, UTC, leap seconds ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// From whole milliseconds; `None` outside 1677 to 2262.
    #[must_use]
    pub const fn from_millis(ms: i64) -> Option<Self> {
        match ms.checked_mul(1_000_000) {
            Some(ns) => Some(Self(ns)),
            None => None,
        }
    }

    /// Whole milliseconds, rounded down.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Whole seconds, rounded down.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000_000)
    }

    /// This time moved by `ns`, stopping at the ends of the range.
    #[must_use]
    pub const fn saturating_add(self, ns: i64) -> Self {
        Self(self.0.saturating_add(ns))
    }

    /// Nanoseconds from `earlier` to here, stopping at the ends of the range.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The coarsest unit in which a set of times is whole; smaller numbers make shorter varints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Scale {
    /// 1 ns.
    Nano = 0,
    /// 1,000 ns.
    Micro = 1,
    /// 1,000,000 ns.
    Milli = 2,
    /// 1,000,000,000 ns.
    Second = 3,
}

impl Scale {
    /// Nanoseconds of one unit.
    #[must_use]
    pub const fn nanos(self) -> i64 {
        match self {
            Self::Nano => 1,
            Self::Micro => 1_000,
            Self::Milli => 1_000_000,
            Self::Second => 1_000_000_000,
        }
    }

    /// Reads the number under which a scale is stored.
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Nano),
            1 => Some(Self::Micro),
            2 => Some(Self::Milli),
            3 => Some(Self::Second),
            _ => None,
        }
    }

    /// This scale, or the finest one below it in which `time` is whole.
    #[must_use]
    pub const fn refine(self, time: Timestamp) -> Self {
        let mut scale = self;
        while time.0 % scale.nanos() != 0 {
            scale = match scale {
                Self::Second => Self::Milli,
                Self::Milli => Self::Micro,
                Self::Micro | Self::Nano => Self::Nano,
            };
        }
        scale
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refine_finds_the_coarsest_whole_unit() {
        assert_eq!(Scale::Second.refine(Timestamp(5_000_000_000)), Scale::Second);
        assert_eq!(Scale::Second.refine(Timestamp(-5_001_000_000)), Scale::Milli);
        assert_eq!(Scale::Second.refine(Timestamp(5_000_001_000)), Scale::Micro);
        assert_eq!(Scale::Second.refine(Timestamp(1)), Scale::Nano);
        assert_eq!(Scale::Micro.refine(Timestamp(0)), Scale::Micro);
    }

    #[test]
    fn milliseconds_round_down_before_the_epoch_too() {
        assert_eq!(Timestamp(-1).millis(), -1);
        assert_eq!(Timestamp(1_999_999).millis(), 1);
        assert_eq!(Timestamp::from_millis(i64::MAX), None);
    }
}
