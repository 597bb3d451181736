//! Times as people and programs write them: RFC 3339 in UTC.
//!
//! Out goes `2026-11-20T16:38:00.123Z` with 0, 3, 6 or 9 digits of a second, as few as lose
//! nothing. In comes any offset; JSON may also say whole milliseconds since 1970 as a number.

use holdfast_core::{Reject, Timestamp};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// Reads an RFC 3339 text; the offset is required.
///
/// # Errors
/// [`Reject::Time`] when it is no such text, or outside the years 1678 to 2262.
pub fn parse(text: &str) -> Result<Timestamp, Reject> {
    let instant: jiff::Timestamp = text.parse().map_err(|_| Reject::Time)?;
    i64::try_from(instant.as_nanosecond()).map(Timestamp).map_err(|_| Reject::Time)
}

/// Writes `time` in UTC.
#[must_use]
pub fn format(time: Timestamp) -> String {
    Time(time).to_string()
}

/// A time as it appears in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Timestamp);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instant = jiff::Timestamp::from_nanosecond(i128::from(self.0.0))
            .expect("64 bits of nanoseconds lie within the years that jiff knows");
        match self.0.0 {
            ns if ns % 1_000_000_000 == 0 => write!(f, "{instant:.0}"),
            ns if ns % 1_000_000 == 0 => write!(f, "{instant:.3}"),
            ns if ns % 1_000 == 0 => write!(f, "{instant:.6}"),
            _ => write!(f, "{instant:.9}"),
        }
    }
}

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let text = json_schema!({
            "type": "string",
            "format": "date-time",
            "description": "RFC 3339; in UTC where we write it.",
        });
        if generator.contract().is_serialize() {
            return text;
        }
        let millis = json_schema!({
            "type": "integer",
            "description": "Milliseconds since 1970.",
        });
        json_schema!({ "oneOf": [text, millis] })
    }

    // Read and written it has two shapes, so it has no one name.
    fn inline_schema() -> bool {
        true
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TimeVisitor)
    }
}

struct TimeVisitor;

impl Visitor<'_> for TimeVisitor {
    type Value = Time;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an RFC 3339 time or whole Unix milliseconds")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Time, E> {
        parse(text).map(Time).map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
    }

    fn visit_i64<E: de::Error>(self, ms: i64) -> Result<Time, E> {
        let time = Timestamp::from_millis(ms).map(Time);
        time.ok_or_else(|| E::invalid_value(de::Unexpected::Signed(ms), &self))
    }

    fn visit_u64<E: de::Error>(self, ms: u64) -> Result<Time, E> {
        let time = i64::try_from(ms).ok().and_then(Timestamp::from_millis).map(Time);
        time.ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(ms), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn as_few_digits_as_lose_nothing() {
        let base = parse("2026-11-20T16:38:00Z").unwrap();
        assert_eq!(format(base), "2026-11-20T16:38:00Z");
        assert_eq!(format(base.saturating_add(120_000_000)), "2026-11-20T16:38:00.120Z");
        assert_eq!(format(base.saturating_add(1_000)), "2026-11-20T16:38:00.000001Z");
        assert_eq!(format(base.saturating_add(1)), "2026-11-20T16:38:00.000000001Z");
        assert_eq!(format(Timestamp(-1_000_000)), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn offsets_are_read_and_required() {
        assert_eq!(parse("2026-11-20T18:38:00+02:00"), parse("2026-11-20T16:38:00Z"));
        for bad in ["", "2026-11-20", "2026-11-20T18:38:00", "1500-01-01T00:00:00Z", "soon"] {
            assert_eq!(parse(bad), Err(Reject::Time), "{bad}");
        }
    }

    #[test]
    fn json_takes_text_and_milliseconds() {
        let text: Time = serde_json::from_str("\"1970-01-01T00:00:01.5Z\"").unwrap();
        let number: Time = serde_json::from_str("1500").unwrap();
        assert_eq!(text, number);
        assert_eq!(serde_json::to_string(&text).unwrap(), "\"1970-01-01T00:00:01.500Z\"");
        for bad in ["1.5", "true", "\"x\"", "99999999999999999", "18446744073709551615"] {
            let error = serde_json::from_str::<Time>(bad).unwrap_err().to_string();
            assert!(error.contains("RFC 3339 time or whole Unix milliseconds"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn every_time_reads_back(ns in any::<i64>()) {
            prop_assert_eq!(parse(&format(Timestamp(ns))), Ok(Timestamp(ns)));
        }
    }
}
