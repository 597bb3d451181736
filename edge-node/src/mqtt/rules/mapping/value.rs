//! What the values of a payload mean: numbers with a factor, times in their formats, units.

use super::super::plain::{number, switch};
use crate::formats::DecodedValue;
use crate::formats::json::number_value;
use crate::formats::scanner::Json;
use holdfast_core::reading::Finite;
use holdfast_core::{Reject, Timestamp};
use holdfast_node::time_text;
use serde::{Deserialize, Serialize};

/// Nanoseconds of a second.
const SECOND_NS: i128 = 1_000_000_000;

/// A factor. What is a tenth is divided by ten: 0.1 times 3 is not 0.3, but 3 by 10 is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::mqtt::rules) enum Scale {
    Times(f64),
    Over(f64),
}

impl Scale {
    /// The way of applying `factor` that rounds least.
    pub(in crate::mqtt::rules) fn new(factor: f64) -> Self {
        let over = (1.0 / factor).round();
        if factor.abs() < 1.0 && 1.0 / over == factor {
            Self::Over(over)
        } else {
            Self::Times(factor)
        }
    }

    fn apply(self, number: f64) -> Result<Finite, Reject> {
        Finite::new(match self {
            Self::Times(factor) => number * factor,
            Self::Over(divisor) => number / divisor,
        })
    }
}

/// Why a value cannot be a reading.
pub(super) enum Unfit {
    /// It is of the wrong kind: what was expected, and what it is.
    Kind(&'static str, &'static str),
    /// It breaks a rule for values.
    Reject(Reject),
}

impl From<Reject> for Unfit {
    fn from(reject: Reject) -> Self {
        Self::Reject(reject)
    }
}

/// The value of a member; words for a switch are one. `None` for `null`, which says that there is
/// no value now.
pub(super) fn of(json: Json<'_>) -> Result<Option<DecodedValue<'_>>, Unfit> {
    Ok(Some(match json {
        Json::Null => return Ok(None),
        Json::Number(number) => number_value(number)?,
        Json::Bool(on) => DecodedValue::Bool(on),
        Json::Text(text) => match switch(&text) {
            Some(on) => DecodedValue::Bool(on),
            None => DecodedValue::text(text)?,
        },
        Json::Object | Json::Array => return Err(Unfit::Kind("a plain value", json.kind())),
    }))
}

/// `value` times the factor. What has a factor is a number, also where it is sent as a text.
pub(super) fn scaled(
    value: DecodedValue<'_>,
    scale: Option<Scale>,
) -> Result<DecodedValue<'_>, Unfit> {
    let Some(scale) = scale else { return Ok(value) };
    let plain = match value {
        DecodedValue::Float(float) => float.get(),
        DecodedValue::Int(int) => int as f64,
        DecodedValue::Bool(_) => return Err(Unfit::Kind("a number", "a switch")),
        DecodedValue::Text(text) => {
            let text = text.trim();
            let parsed = number(text).and_then(|number| number.text.parse().ok());
            parsed.ok_or(Unfit::Kind("a number", "a text"))?
        }
    };
    Ok(DecodedValue::Float(scale.apply(plain)?))
}

/// How a payload writes its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeFormat {
    /// A text of RFC 3339, with an offset.
    Rfc3339,
    /// Seconds since 1970, with or without a fraction.
    UnixS,
    /// Milliseconds since 1970.
    UnixMs,
}

impl TimeFormat {
    /// The time that `json` is in this format.
    pub(super) fn read(self, json: &Json<'_>) -> Option<Timestamp> {
        let text = match json {
            Json::Number(number) => number.text,
            Json::Text(text) => text,
            _ => return None,
        };
        match self {
            Self::Rfc3339 => time_text::parse(text).ok(),
            Self::UnixS => since_1970(text, SECOND_NS),
            Self::UnixMs => since_1970(text, SECOND_NS / 1_000),
        }
    }

    /// What it is, for a sentence.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Rfc3339 => "an RFC 3339 text with offset",
            Self::UnixS => "seconds since 1970",
            Self::UnixMs => "milliseconds since 1970",
        }
    }
}

/// Digits and a fraction, exactly: a double has no room for both. Below a nanosecond is dropped.
fn since_1970(text: &str, unit_ns: i128) -> Option<Timestamp> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !are_digits(whole) || !are_digits(fraction) {
        return None;
    }
    let mut ns = whole.parse::<i128>().ok()?.checked_mul(unit_ns)?;
    let mut place = unit_ns;
    for digit in fraction.bytes() {
        place /= 10;
        if place == 0 {
            break;
        }
        ns = ns.checked_add(place * i128::from(digit - b'0'))?;
    }
    i64::try_from(sign * ns).ok().map(Timestamp)
}

/// The UCUM code of a unit as things write it, where it is one of those that differ.
pub(super) fn ucum(unit: &str) -> &str {
    match unit {
        "C" | "°C" => "Cel",
        "F" | "°F" => "[degF]",
        "mmHg" => "mm[Hg]",
        "inHg" => "[in_i'Hg]",
        _ => unit,
    }
}
