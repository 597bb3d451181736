//! What a measurement is: a series, a time, a value and how far to trust it.
//!
//! All parts are valid by construction: once a [`Device`] or a [`Finite`] exists, nothing behind it
//! has to check again. Text is borrowed, so a reading costs no allocation anywhere.

use crate::limits::{
    DEVICE_AHEAD_MAX_NS, DEVICE_BEHIND_MAX_NS, DEVICE_MAX_BYTES, METRIC_MAX_BYTES, TEXT_MAX_BYTES,
    UNIT_MAX_BYTES,
};
use crate::{Reject, Seq, Timestamp};
use core::fmt;

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $reject:ident, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name<'a>(&'a str);

        impl<'a> $name<'a> {
            /// Checks `text`.
            ///
            /// # Errors
            #[doc = concat!("[`Reject::", stringify!($reject), "`] when it is not valid.")]
            pub fn new(text: &'a str) -> Result<Self, Reject> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(text)) } else { Err(Reject::$reject) }
            }

            /// The text.
            #[must_use]
            pub const fn as_str(self) -> &'a str {
                self.0
            }
        }

        impl fmt::Display for $name<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0)
            }
        }
    };
}

fn printable(text: &str, max: usize) -> bool {
    text.len() <= max && !text.chars().any(char::is_control)
}

name_type!(
    /// A device id: 1 to 64 characters of `A-Z a-z 0-9 . _ : -`.
    Device, Device, |text| {
        (1..=DEVICE_MAX_BYTES).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b))
    }
);
name_type!(
    /// A metric: 1 to 128 bytes of printable text.
    Metric, Metric, |text| !text.is_empty() && printable(text, METRIC_MAX_BYTES)
);
name_type!(
    /// A unit, a UCUM code where one is known; empty when the device says none.
    Unit, Unit, |text| printable(text, UNIT_MAX_BYTES)
);

/// What is measured, where, in which unit. Fields are kept apart, so `("a-b", "c")` and
/// `("a", "b-c")` are never the same series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesKey<'a> {
    /// The device that measures.
    pub device: Device<'a>,
    /// The measured quantity.
    pub metric: Metric<'a>,
    /// The unit of the values.
    pub unit: Unit<'a>,
}

impl<'a> SeriesKey<'a> {
    /// Checks the three parts.
    ///
    /// # Errors
    /// The first part that is not valid.
    pub fn new(device: &'a str, metric: &'a str, unit: &'a str) -> Result<Self, Reject> {
        Ok(Self {
            device: Device::new(device)?,
            metric: Metric::new(metric)?,
            unit: Unit::new(unit)?,
        })
    }
}

/// A double that is neither NaN nor infinite.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Finite(f64);

impl Finite {
    /// Checks `value`.
    ///
    /// # Errors
    /// [`Reject::NonFinite`] for NaN and the infinities.
    pub const fn new(value: f64) -> Result<Self, Reject> {
        if value.is_finite() { Ok(Self(value)) } else { Err(Reject::NonFinite) }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

/// A text value of at most 256 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    /// Checks the length.
    ///
    /// # Errors
    /// [`Reject::Text`] above 256 bytes.
    pub const fn new(text: &'a str) -> Result<Self, Reject> {
        if text.len() <= TEXT_MAX_BYTES { Ok(Self(text)) } else { Err(Reject::Text) }
    }

    /// The text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

/// A measured value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// A finite double.
    Float(Finite),
    /// A signed integer that a double may not hold exactly.
    Int(i64),
    /// A switch.
    Bool(bool),
    /// A short text, such as a state.
    Text(Text<'a>),
}

impl Value<'_> {
    /// A finite double as a value.
    ///
    /// # Errors
    /// [`Reject::NonFinite`] for NaN and the infinities.
    pub const fn float(value: f64) -> Result<Value<'static>, Reject> {
        match Finite::new(value) {
            Ok(finite) => Ok(Value::Float(finite)),
            Err(reject) => Err(reject),
        }
    }

    /// The value as a number for windows and charts: a switch is 0 or 1, a text has none.
    #[must_use]
    pub const fn number(&self) -> Option<f64> {
        match self {
            Self::Float(finite) => Some(finite.get()),
            Self::Int(int) => Some(*int as f64),
            Self::Bool(on) => Some(if *on { 1.0 } else { 0.0 }),
            Self::Text(_) => None,
        }
    }
}

/// How far a reading is to be trusted, as flags; 0 is a good reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Quality(pub u8);

impl Quality {
    /// Nothing is known against it.
    pub const GOOD: Self = Self(0);
    /// The device itself calls the value uncertain.
    pub const UNCERTAIN: Self = Self(1);
    /// The device itself calls the value bad.
    pub const BAD: Self = Self(2);
    /// The device's time is not believable; the receive time stands in for it.
    pub const DEVICE_CLOCK: Self = Self(4);
    /// The time was worked out from an age or an uptime.
    pub const ANCHORED: Self = Self(8);
    /// The receiving node knew its own clock to be wrong.
    pub const NODE_CLOCK: Self = Self(16);
    /// It came again without a name or a time, and may be stored twice.
    pub const MAYBE_REPEATED: Self = Self(32);

    /// Whether all flags of `other` are set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The flags of both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The words for the flags set, in the order of their bits.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        const WORDS: [&str; 6] =
            ["uncertain", "bad", "device-clock", "anchored", "node-clock", "maybe-repeated"];
        WORDS.into_iter().enumerate().filter(move |(bit, _)| self.0 >> bit & 1 == 1).map(|(_, w)| w)
    }
}

/// Judges a device's clock by the time of receipt: too far ahead or behind is not believable.
#[must_use]
pub const fn judge_device_time(device: Timestamp, received: Timestamp) -> Quality {
    let ahead = device.saturating_since(received);
    if ahead > DEVICE_AHEAD_MAX_NS || ahead < -DEVICE_BEHIND_MAX_NS {
        Quality::DEVICE_CLOCK
    } else {
        Quality::GOOD
    }
}

/// The device's own name for a message: its start and a sequence within it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceSeq {
    /// Counts or names the start of the device.
    pub boot: u64,
    /// The message within that start, from 1.
    pub seq: Seq,
}

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading<'a> {
    /// What was measured.
    pub series: SeriesKey<'a>,
    /// When, by the device's own clock, if it has one.
    pub time: Option<Timestamp>,
    /// What came out.
    pub value: Value<'a>,
    /// How far to trust it.
    pub quality: Quality,
    /// The device's own name for the message that brought it.
    pub source: Option<DeviceSeq>,
}

/// The time under which a reading is filed: the device's where it is believable, else the
/// receipt's.
#[must_use]
pub const fn effective_time(
    device: Option<Timestamp>,
    quality: Quality,
    received: Timestamp,
) -> Timestamp {
    match device {
        Some(time) if !quality.has(Quality::DEVICE_CLOCK) => time,
        _ => received,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::String;
    use std::vec::Vec;

    #[test]
    fn names_have_their_limits() {
        assert!(Device::new("ps-017.A_b:9").is_ok());
        assert_eq!(Device::new(""), Err(Reject::Device));
        assert_eq!(Device::new("a b"), Err(Reject::Device));
        assert_eq!(Device::new("ä"), Err(Reject::Device));
        assert!(Device::new(&"x".repeat(64)).is_ok());
        assert_eq!(Device::new(&"x".repeat(65)), Err(Reject::Device));
        assert!(Metric::new("tank level {zone=1}").is_ok());
        assert_eq!(Metric::new("a\nb"), Err(Reject::Metric));
        assert_eq!(Metric::new(""), Err(Reject::Metric));
        assert!(Unit::new("").is_ok());
        assert_eq!(Unit::new(&"m".repeat(33)), Err(Reject::Unit));
        assert!(Text::new(&"x".repeat(256)).is_ok());
        assert_eq!(Text::new(&"x".repeat(257)), Err(Reject::Text));
    }

    #[test]
    fn only_finite_numbers_are_values() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(Value::float(bad), Err(Reject::NonFinite));
        }
        assert_eq!(Value::Bool(true).number(), Some(1.0));
    }

    #[test]
    fn clocks_are_judged_by_the_receipt() {
        let now = Timestamp(1_800_000_000_000_000_000);
        let year = 365 * 86_400 * 1_000_000_000;
        for (offset, quality) in [
            (0, Quality::GOOD),
            (-30 * 86_400 * 1_000_000_000, Quality::GOOD),
            (DEVICE_AHEAD_MAX_NS, Quality::GOOD),
            (DEVICE_AHEAD_MAX_NS + 1, Quality::DEVICE_CLOCK),
            (-10 * year, Quality::DEVICE_CLOCK),
            (10 * year, Quality::DEVICE_CLOCK),
        ] {
            assert_eq!(judge_device_time(now.saturating_add(offset), now), quality, "{offset}");
        }
        assert_eq!(judge_device_time(Timestamp(i64::MIN), now), Quality::DEVICE_CLOCK);
        assert_eq!(effective_time(Some(Timestamp(1)), Quality::DEVICE_CLOCK, now), now);
        assert_eq!(effective_time(Some(Timestamp(1)), Quality::GOOD, now), Timestamp(1));
        assert_eq!(effective_time(None, Quality::GOOD, now), now);
    }

    #[test]
    fn quality_says_its_flags_in_words() {
        let both = Quality::BAD.with(Quality::NODE_CLOCK);
        assert_eq!(both.words().collect::<Vec<_>>(), ["bad", "node-clock"]);
        assert_eq!(Quality::GOOD.words().count(), 0);
    }

    proptest! {
        #[test]
        fn series_keys_are_equal_only_part_by_part(
            a in "[a-c-]{1,4}",
            b in "[a-c-]{1,4}",
            c in "[a-c-]{1,4}",
            d in "[a-c-]{1,4}",
        ) {
            let one = SeriesKey::new(&a, &b, "").unwrap();
            let two = SeriesKey::new(&c, &d, "").unwrap();
            prop_assert_eq!(one == two, a == c && b == d);
        }

        #[test]
        fn any_text_is_judged_without_panic(text in any::<String>()) {
            let _ = (Device::new(&text), Metric::new(&text), Unit::new(&text), Text::new(&text));
        }
    }
}
