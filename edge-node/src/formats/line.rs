//! InfluxDB line protocol: `measurement,tag=value field=value,field=value timestamp`.
//!
//! A line is one item, each field a reading. The device is the tag `device`, else `host`; the unit
//! the tag `unit`. The metric is the measurement where the field is `value`, else
//! `measurement.field`; further tags follow, sorted, as `{tag=value,...}`. A wrong line concerns
//! itself only: decoding goes on behind its first newline.

use super::{
    BodyError, DUPLICATE_MEMBER, Decoded, DecodedReading, DecodedValue, INVALID_VALUE,
    ITEM_READINGS_MAX, ItemFault, ItemHead, MISSING_MEMBER, Place, SYNTAX, TOO_MANY_READINGS,
};
use holdfast_core::reading::{Device, Finite};
use holdfast_core::{Metric, Quality, Reject, Timestamp, Unit};
use std::borrow::Cow;

/// Bytes of a quoted value before its end is given up: far above what a text value may have, and
/// a missing quote then costs no scan of the whole body.
const QUOTED_MAX_BYTES: usize = 4_096;

/// The fault of a line whose quoted value does not end within the text.
pub(crate) const UNCLOSED: &str = "a quoted value does not end";

/// Where a line names its device.
const DEVICE_IN: &str = "the tag `device` or `host`";

/// The unit of the timestamps of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Nanoseconds.
    #[default]
    Nanos,
    /// Microseconds.
    Micros,
    /// Milliseconds.
    Millis,
    /// Seconds.
    Seconds,
    /// Minutes, of version 1 only.
    Minutes,
    /// Hours, of version 1 only.
    Hours,
}

impl Precision {
    /// The texts that [`Precision::named`] knows, for a sentence.
    pub const NAMES: &str = "ns, us, ms, s, m, h";

    /// Reads the `precision` parameter of version 1 or 2.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "n" | "ns" => Self::Nanos,
            "u" | "us" | "µ" | "µs" => Self::Micros,
            "ms" => Self::Millis,
            "s" => Self::Seconds,
            "m" => Self::Minutes,
            "h" => Self::Hours,
            _ => return None,
        })
    }

    const fn nanos(self) -> i64 {
        match self {
            Self::Nanos => 1,
            Self::Micros => 1_000,
            Self::Millis => 1_000_000,
            Self::Seconds => 1_000_000_000,
            Self::Minutes => 60 * 1_000_000_000,
            Self::Hours => 3_600 * 1_000_000_000,
        }
    }
}

/// Decodes a body of lines.
///
/// # Errors
/// [`BodyError`] when there are too many lines.
pub fn decode(body: &[u8], precision: Precision) -> Result<Decoded<'_>, BodyError> {
    let mut lines = Lines {
        decoded: Decoded::for_body(body.len(), DEVICE_IN),
        number: 1,
        precision,
        tags: Vec::new(),
    };
    let mut rest = body;
    loop {
        let error = match str::from_utf8(rest) {
            Ok(text) => {
                lines.chunk(text)?;
                return Ok(lines.decoded);
            }
            Err(error) => error.valid_up_to(),
        };
        let start = rest[..error].iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
        let end = rest[error..].iter().position(|&b| b == b'\n').map(|at| error + at + 1);
        lines.chunk(str::from_utf8(&rest[..start]).expect("valid up to the error"))?;
        lines.decoded.check_room()?;
        let first = lines.decoded.readings.len();
        lines.close(first, Err(ItemFault::new(SYNTAX, "the line is not UTF-8")));
        lines.number += 1;
        match end {
            Some(end) => rest = &rest[end..],
            None => return Ok(lines.decoded),
        }
    }
}

type Tag<'a> = (Cow<'a, str>, Cow<'a, str>);

/// What the readings of a line are named by, beside their fields.
struct Names<'a> {
    measurement: Cow<'a, str>,
    unit: Cow<'a, str>,
    suffix: String,
}

impl<'a> Names<'a> {
    fn metric(&self, field: &str) -> Cow<'a, str> {
        let Self { measurement, suffix, .. } = self;
        if field == "value" && suffix.is_empty() {
            return measurement.clone();
        }
        let mut out = String::with_capacity(measurement.len() + 1 + field.len() + suffix.len());
        out.push_str(measurement);
        if field != "value" {
            out.push('.');
            out.push_str(field);
        }
        out.push_str(suffix);
        Cow::Owned(out)
    }
}

struct Lines<'a> {
    decoded: Decoded<'a>,
    /// The present line, from 1.
    number: usize,
    precision: Precision,
    /// The tags of the present line; kept to reuse its memory.
    tags: Vec<Tag<'a>>,
}

impl<'a> Lines<'a> {
    fn close(&mut self, first: usize, parsed: Result<ItemHead<'a>, ItemFault>) {
        self.decoded.close(first, parsed, Place::Line(self.number));
    }

    /// Decodes whole lines of valid text.
    fn chunk(&mut self, text: &'a str) -> Result<(), BodyError> {
        let mut at = 0;
        while at < text.len() {
            let physical_end = text[at..].find('\n').map_or(text.len(), |end| at + end + 1);
            let line = text[at..physical_end].trim_ascii();
            let mut next = physical_end;
            if !line.is_empty() && !line.starts_with('#') {
                self.decoded.check_room()?;
                let first = self.decoded.readings.len();
                let mut cursor = Cursor { text, at };
                let parsed = self.line(&mut cursor, first);
                if parsed.is_ok() {
                    next = next.max((cursor.at + 1).min(text.len()));
                }
                self.close(first, parsed);
            }
            // A quoted value may have had newlines of its own.
            self.number += text[at..next].bytes().filter(|&b| b == b'\n').count();
            at = next;
        }
        Ok(())
    }

    fn line(&mut self, cursor: &mut Cursor<'a>, first: usize) -> Result<ItemHead<'a>, ItemFault> {
        cursor.spaces();
        let measurement = cursor.name(b", ", b", ");
        if measurement.is_empty() {
            return syntax("the measurement is missing");
        }
        self.tags.clear();
        while cursor.take(b',') {
            let tag = cursor.tag()?;
            self.tags.push(tag);
        }
        if !cursor.spaces() {
            return syntax(
                "the fields are missing: a space and `field=value` must follow the tags",
            );
        }
        self.tags.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        if let Some(pair) = self.tags.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            let detail = format!("the tag `{}` comes twice", pair[0].0);
            return Err(ItemFault::new(DUPLICATE_MEMBER, detail));
        }
        let device = self.take_tag("device").or_else(|| self.take_tag("host"));
        if let Some(device) = &device {
            Device::new(device)?;
        }
        let unit = self.take_tag("unit").unwrap_or_default();
        Unit::new(&unit)?;
        let names = Names { measurement, unit, suffix: suffix(&self.tags) };
        self.fields(cursor, first, &names)?;
        let time = self.timestamp(cursor)?;
        if let Some(metric) = self.decoded.repeated_metric(first) {
            let detail = format!("`{metric}` comes twice");
            return Err(ItemFault::new(DUPLICATE_MEMBER, detail));
        }
        for reading in &mut self.decoded.readings[first..] {
            reading.time = time;
        }
        Ok((device, None))
    }

    fn take_tag(&mut self, key: &str) -> Option<Cow<'a, str>> {
        let at = self.tags.iter().position(|tag| tag.0 == key)?;
        Some(self.tags.remove(at).1)
    }

    fn fields(
        &mut self,
        cursor: &mut Cursor<'a>,
        first: usize,
        names: &Names<'a>,
    ) -> Result<(), ItemFault> {
        loop {
            let field = cursor.name(b",= ", b",= ");
            if field.is_empty() || !cursor.take(b'=') {
                return syntax("a field is written `field=value`");
            }
            let value = cursor.value(&field)?;
            if self.decoded.readings.len() - first == ITEM_READINGS_MAX {
                let detail = format!("a line has at most {ITEM_READINGS_MAX} fields");
                return Err(ItemFault::new(TOO_MANY_READINGS, detail));
            }
            let metric = names.metric(&field);
            Metric::new(&metric)?;
            let (unit, quality) = (names.unit.clone(), Quality::GOOD);
            self.decoded.readings.push(DecodedReading { metric, unit, time: None, value, quality });
            if !cursor.take(b',') {
                return Ok(());
            }
        }
    }

    fn timestamp(&self, cursor: &mut Cursor<'a>) -> Result<Option<Timestamp>, ItemFault> {
        if !cursor.spaces() && !cursor.is_at_end() {
            return syntax("a `,` with a field, a space with a timestamp, or the end must follow");
        }
        if cursor.is_at_end() {
            return Ok(None);
        }
        let text = cursor.name(b" ", b"");
        cursor.spaces();
        if !cursor.is_at_end() {
            return syntax("the line must end after the timestamp");
        }
        let time = text.parse::<i64>().ok().and_then(|t| t.checked_mul(self.precision.nanos()));
        time.map(|ns| Some(Timestamp(ns))).ok_or_else(|| {
            let detail =
                format!("the timestamp `{text}` is no integer between the years 1678 and 2262");
            ItemFault::new(Reject::Time.code(), detail)
        })
    }
}

fn syntax<T>(detail: &'static str) -> Result<T, ItemFault> {
    Err(ItemFault::new(SYNTAX, detail))
}

/// `{tag=value,...}`. What separates is escaped, so different tags are never the same text.
fn suffix(tags: &[Tag<'_>]) -> String {
    let mut out = String::new();
    for (key, value) in tags {
        out.push(if out.is_empty() { '{' } else { ',' });
        for (part, end) in [(key, "="), (value, "")] {
            for c in part.chars() {
                if matches!(c, ',' | '=' | '{' | '}' | '\\') {
                    out.push('\\');
                }
                out.push(c);
            }
            out.push_str(end);
        }
    }
    if !out.is_empty() {
        out.push('}');
    }
    out
}

/// A position in the text; a line ends at `\n`, `\r` or the end of the text.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied().filter(|b| !matches!(b, b'\n' | b'\r'))
    }

    /// The end of the line; a `\r` must have its `\n`.
    fn is_at_end(&self) -> bool {
        let rest = &self.text[self.at..];
        rest.is_empty() || rest.starts_with('\n') || rest == "\r" || rest.starts_with("\r\n")
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_there = self.byte() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    /// Passes over spaces; says whether there were any.
    fn spaces(&mut self) -> bool {
        let start = self.at;
        while let Some(b' ' | b'\t') = self.byte() {
            self.at += 1;
        }
        self.at > start
    }

    /// Text up to one of `stops`. A backslash before one of `escapable` takes its meaning away;
    /// any other backslash is itself.
    fn name(&mut self, stops: &[u8], escapable: &[u8]) -> Cow<'a, str> {
        let start = self.at;
        let mut owned: Option<String> = None;
        let mut plain = start;
        while let Some(byte) = self.byte() {
            if byte == b'\\' {
                let next = self.text.as_bytes().get(self.at + 1);
                if next.is_some_and(|next| escapable.contains(next)) {
                    let out = owned.get_or_insert_default();
                    out.push_str(&self.text[plain..self.at]);
                    plain = self.at + 1;
                    self.at += 1;
                }
            } else if stops.contains(&byte) {
                break;
            }
            self.at += 1;
        }
        let rest = &self.text[plain..self.at];
        match owned {
            None => Cow::Borrowed(rest),
            Some(out) => Cow::Owned(out + rest),
        }
    }

    fn tag(&mut self) -> Result<Tag<'a>, ItemFault> {
        let key = self.name(b",= ", b",= ");
        if key.is_empty() || !self.take(b'=') {
            return syntax("a tag is written `tag=value`");
        }
        let value = self.name(b",= ", b",= ");
        if value.is_empty() || self.byte() == Some(b'=') {
            return syntax("a tag has one value that is not empty");
        }
        Ok((key, value))
    }

    fn value(&mut self, field: &str) -> Result<DecodedValue<'a>, ItemFault> {
        if self.take(b'"') {
            return self.quoted();
        }
        let text = self.name(b", ", b"");
        let value = match text.as_bytes() {
            b"t" | b"T" | b"true" | b"True" | b"TRUE" => Ok(DecodedValue::Bool(true)),
            b"f" | b"F" | b"false" | b"False" | b"FALSE" => Ok(DecodedValue::Bool(false)),
            [digits @ .., b'i' | b'u'] if is_integer(digits) => {
                text[..digits.len()].parse().map(DecodedValue::Int).map_err(|_| Reject::NonFinite)
            }
            digits if is_decimal(digits) => match text.parse::<f64>() {
                Ok(number) => Finite::new(number).map(DecodedValue::Float),
                Err(_) => return Err(no_value(field, &text)),
            },
            _ => return Err(no_value(field, &text)),
        };
        value.map_err(|reject| {
            let detail =
                format!("the field `{field}` is `{text}`: a number must be finite and fit 64 bits");
            ItemFault::new(reject.code(), detail)
        })
    }

    fn quoted(&mut self) -> Result<DecodedValue<'a>, ItemFault> {
        let start = self.at;
        let mut owned: Option<String> = None;
        let mut plain = start;
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') if matches!(bytes.get(self.at + 1), Some(b'"' | b'\\')) => {
                    let out = owned.get_or_insert_default();
                    out.push_str(&self.text[plain..self.at]);
                    plain = self.at + 1;
                    self.at += 2;
                }
                Some(_) => self.at += 1,
                None => return syntax(UNCLOSED),
            }
            if self.at - start > QUOTED_MAX_BYTES {
                return Err(Reject::Text.into());
            }
        }
        let rest = &self.text[plain..self.at];
        self.at += 1;
        Ok(DecodedValue::text(owned.map_or(Cow::Borrowed(rest), |out| Cow::Owned(out + rest)))?)
    }
}

fn is_integer(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// Keeps `inf`, `nan` and the like from being read as numbers.
fn is_decimal(text: &[u8]) -> bool {
    text.iter().all(|b| b.is_ascii_digit() || b"+-.eE".contains(b))
        && text.iter().any(u8::is_ascii_digit)
}

fn no_value(field: &str, text: &str) -> ItemFault {
    let shown: String = text.chars().take(40).collect();
    let code = if text.is_empty() { MISSING_MEMBER } else { INVALID_VALUE };
    let detail = format!(
        "the field `{field}` is `{shown}`: expected a number, an integer with `i` or `u`, \
         a boolean or a text in double quotes"
    );
    ItemFault::new(code, detail)
}

#[cfg(test)]
mod tests;
