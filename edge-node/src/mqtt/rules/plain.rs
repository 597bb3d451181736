//! A plain value: what a thing publishes that knows no JSON.
//!
//! Decided in this order, without the white space around it: a text in quotes is the text; digits
//! are a number; `true`, `on`, `false` and `off` in any case are a switch; anything else is a text.
//! What is meant as a number and is none (NaN, the infinities), `null`, and the beginning of an
//! object or a list are refused: as a text they would spoil the series.

use super::PayloadError;
use crate::formats::json::number_value;
use crate::formats::scanner::{Json, Number, Scanner, Syntax};
use crate::formats::{DecodedValue, INVALID_VALUE, SYNTAX, WRONG_TYPE};
use holdfast_core::Reject;

/// Reads a payload that is one value.
pub(super) fn value(payload: &[u8]) -> Result<DecodedValue<'_>, PayloadError> {
    let text = str::from_utf8(payload).map_err(|error| {
        PayloadError::new(SYNTAX, "not UTF-8: expected a number, a switch or a text")
            .at(format!("byte {}", error.valid_up_to()))
    })?;
    let text = text.trim_ascii();
    match text.as_bytes().first() {
        None => {
            return Err(PayloadError::new(
                INVALID_VALUE,
                "empty: expected a number, a switch or a text",
            ));
        }
        Some(b'{' | b'[') => {
            let detail = "an object or a list: expected a number, a switch or a text here; objects \
                          go to the topic that ends with `readings`";
            return Err(PayloadError::new(WRONG_TYPE, detail));
        }
        Some(b'"') => return quoted(text),
        Some(_) => {}
    }
    if let Some(number) = number(text) {
        return Ok(number_value(number)?);
    }
    if let Some(on) = switch(text) {
        return Ok(DecodedValue::Bool(on));
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if ["nan", "inf", "infinity"].iter().any(|word| unsigned.eq_ignore_ascii_case(word)) {
        return Err(Reject::NonFinite.into());
    }
    if text.eq_ignore_ascii_case("null") {
        let detail = "`null` is no value: expected a number, a switch or a text";
        return Err(PayloadError::new(INVALID_VALUE, detail));
    }
    Ok(DecodedValue::text(text.into())?)
}

fn quoted(text: &str) -> Result<DecodedValue<'_>, PayloadError> {
    let mut scanner = Scanner::new(text);
    let read = scanner.value().and_then(|json| scanner.end().map(|()| json));
    match read {
        Ok(Json::Text(text)) => Ok(DecodedValue::text(text)?),
        Ok(_) => unreachable!("it begins with a quote"),
        Err(Syntax { at, expected }) => {
            let detail = format!("not a JSON text: expected {expected}");
            Err(PayloadError::new(SYNTAX, detail).at(format!("byte {at}")))
        }
    }
}

/// A number in decimal, if all of `text` is one: `21`, `-0.5`, `+3`, `.5`, `1e3`.
pub(super) fn number(text: &str) -> Option<Number<'_>> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    // Without this the words for NaN and the infinities would be numbers.
    if !unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return None;
    }
    let integral = unsigned.bytes().all(|byte| byte.is_ascii_digit());
    (integral || text.parse::<f64>().is_ok()).then_some(Number { text, integral })
}

/// Whether `text` is one of the words for a switch, and which way it is.
pub(super) fn switch(text: &str) -> Option<bool> {
    let is = |word: &str| text.eq_ignore_ascii_case(word);
    if is("on") || is("true") {
        return Some(true);
    }
    (is("off") || is("false")).then_some(false)
}
