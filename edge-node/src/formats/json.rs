//! JSON and NDJSON: objects of one reading, or of several that share time and device.
//!
//! `{"device","metric","value"}` is one reading, `{"device","values":{metric: value}}` several;
//! both may carry `time` or `age_ms`, `quality`, and `boot` with `seq`. Names are strict: a typo is
//! an error that says which names there are, not a reading quietly lost.

use super::scanner::{Json, Number, Scanner, Syntax, position};
use super::{
    BodyError, BodyFault, CONFLICTING_MEMBERS, DUPLICATE_MEMBER, Decoded, DecodedReading,
    DecodedValue, INVALID_QUALITY, INVALID_VALUE, ITEM_READINGS_MAX, ItemFault, ItemHead,
    MISSING_MEMBER, Place, SYNTAX, TOO_MANY_READINGS, UNKNOWN_MEMBER, WRONG_TYPE,
};
use holdfast_core::reading::{Device, DeviceSeq, Finite};
use holdfast_core::{Metric, Quality, Reject, Timestamp, Unit};
use holdfast_node::time_text;
use std::borrow::Cow;

/// Up to here a double holds every integer.
const EXACT_MAX: u64 = 1 << 53;

/// Where an item names its device.
const DEVICE_IN: &str = "the member `device`";

/// Decodes one object or an array of them.
///
/// # Errors
/// [`BodyError`] when the text is not JSON, neither object nor array, or has too many items.
pub fn decode(body: &[u8], received: Timestamp) -> Result<Decoded<'_>, BodyError> {
    let text = str::from_utf8(body).map_err(|e| malformed(body, e.valid_up_to(), "UTF-8"))?;
    let syntax = |syntax: Syntax| malformed(body, syntax.at, syntax.expected);
    let mut scanner = Scanner::new(text);
    let mut decoded = Decoded::for_body(body.len(), DEVICE_IN);
    match scanner.peek() {
        Some(b'{') => {
            decode_item(&mut scanner, &mut decoded, received, Place::Body).map_err(syntax)?;
        }
        Some(b'[') => {
            scanner.open_array().map_err(syntax)?;
            let mut index = 0;
            while scanner.next_element(index == 0).map_err(syntax)? {
                decoded.check_room()?;
                let place = Place::Element(index);
                decode_item(&mut scanner, &mut decoded, received, place).map_err(syntax)?;
                index += 1;
            }
        }
        _ => return Err(malformed(body, 0, "an object or an array")),
    }
    scanner.end().map_err(syntax)?;
    Ok(decoded)
}

/// A body that stops being JSON at byte `at`.
pub(super) fn malformed(body: &[u8], at: usize, expected: &str) -> BodyError {
    let (line, column) = position(body, at);
    BodyError {
        fault: BodyFault::Malformed,
        detail: format!("not JSON at line {line}, column {column}: expected {expected}"),
        at: format!("line {line}, column {column}"),
    }
}

/// Decodes one object per line; a line that is no JSON concerns itself only.
///
/// # Errors
/// [`BodyError`] when there are too many items.
pub fn decode_lines(body: &[u8], received: Timestamp) -> Result<Decoded<'_>, BodyError> {
    let mut decoded = Decoded::for_body(body.len(), DEVICE_IN);
    for (number, line) in body.split(|&b| b == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        decoded.check_room()?;
        let place = Place::Line(number + 1);
        let (items, readings) = (decoded.items.len(), decoded.readings.len());
        let syntax = match str::from_utf8(line) {
            Ok(text) => {
                let mut scanner = Scanner::new(text);
                let item = decode_item(&mut scanner, &mut decoded, received, place);
                item.and_then(|()| scanner.end()).err()
            }
            Err(error) => Some(Syntax { at: error.valid_up_to(), expected: "UTF-8" }),
        };
        if let Some(Syntax { at: byte, expected }) = syntax {
            decoded.items.truncate(items);
            let (_, column) = position(line, byte);
            let detail = format!("not JSON at column {column}: expected {expected}");
            decoded.close(readings, Err(ItemFault::new(SYNTAX, detail)), place);
        }
    }
    Ok(decoded)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Member {
    Device,
    Metric,
    Value,
    Values,
    Time,
    AgeMs,
    Unit,
    Units,
    Quality,
    Boot,
    Seq,
}

impl Member {
    const NAMES: &str =
        "device, metric, value, values, time, age_ms, unit, units, quality, boot, seq";

    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "device" => Self::Device,
            "metric" => Self::Metric,
            "value" => Self::Value,
            "values" => Self::Values,
            "time" => Self::Time,
            "age_ms" => Self::AgeMs,
            "unit" => Self::Unit,
            "units" => Self::Units,
            "quality" => Self::Quality,
            "boot" => Self::Boot,
            "seq" => Self::Seq,
            _ => return None,
        })
    }
}

/// What an object has said so far. The first fault stays; the rest of the object is still scanned,
/// since the next item begins where this one ends.
#[derive(Default)]
struct Item<'a> {
    seen: u16,
    device: Option<Cow<'a, str>>,
    metric: Option<Cow<'a, str>>,
    value: Option<DecodedValue<'a>>,
    unit: Option<Cow<'a, str>>,
    units: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    time: Option<Timestamp>,
    age_ms: Option<u64>,
    quality: Quality,
    boot: Option<u64>,
    seq: Option<u64>,
    fault: Option<ItemFault>,
}

/// Both parts of a member of `values`, where they are there and valid.
type ValueAndUnit<'a> = (Option<DecodedValue<'a>>, Option<Cow<'a, str>>);

fn decode_item<'a>(
    scanner: &mut Scanner<'a>,
    decoded: &mut Decoded<'a>,
    received: Timestamp,
    place: Place,
) -> Result<(), Syntax> {
    let first = decoded.readings.len();
    let mut item = Item::default();
    if scanner.peek() == Some(b'{') {
        scanner.open_object()?;
        let mut is_first = true;
        while let Some(name) = scanner.next_key(is_first)? {
            item.member(scanner, &mut decoded.readings, &name)?;
            is_first = false;
        }
    } else {
        let kind = scanner.value()?.kind();
        item.fail(WRONG_TYPE, format!("an item is an object, this is {kind}"), &[]);
    }
    let parsed = item.finish(decoded, first, received);
    decoded.close(first, parsed, place);
    Ok(())
}

impl<'a> Item<'a> {
    fn fail(&mut self, code: &'static str, detail: impl Into<Cow<'static, str>>, path: &[&str]) {
        self.fault.get_or_insert_with(|| {
            let pointer = path.iter().map(|part| part.replace('~', "~0").replace('/', "~1"));
            let path = pointer.fold(String::new(), |path, part| path + "/" + &part);
            ItemFault { code, detail: detail.into(), path }
        });
    }

    fn reject(&mut self, reject: Reject, path: &[&str]) {
        self.fail(reject.code(), reject.to_string(), path);
    }

    fn wrong_type(&mut self, expected: &str, got: &Json<'_>, path: &[&str]) {
        self.fail(WRONG_TYPE, format!("expected {expected}, got {}", got.kind()), path);
    }

    fn has(&self, member: Member) -> bool {
        self.seen >> member as u16 & 1 == 1
    }

    fn member(
        &mut self,
        scanner: &mut Scanner<'a>,
        readings: &mut Vec<DecodedReading<'a>>,
        name: &str,
    ) -> Result<(), Syntax> {
        let Some(member) = Member::named(name) else {
            let known = Member::NAMES;
            let detail = format!("`{name}` is not a member of an item; there are {known}");
            self.fail(UNKNOWN_MEMBER, detail, &[name]);
            return scanner.skip();
        };
        if self.has(member) {
            self.fail(DUPLICATE_MEMBER, format!("`{name}` comes twice"), &[name]);
            return scanner.skip();
        }
        self.seen |= 1 << member as u16;
        match member {
            Member::Values => return self.values(scanner, readings),
            Member::Units => return self.units(scanner),
            _ => {}
        }
        let json = scanner.value()?;
        let path = &[name];
        match member {
            Member::Device => self.device = self.name(json, path, |t| Device::new(t).err()),
            Member::Metric => self.metric = self.name(json, path, |t| Metric::new(t).err()),
            Member::Unit => self.unit = self.name(json, path, |t| Unit::new(t).err()),
            Member::Value => self.value = self.value(json, path),
            Member::Time => self.time(&json),
            Member::AgeMs => self.age_ms = self.integer(&json, name, Reject::Time),
            Member::Quality => self.quality(&json),
            Member::Boot => self.boot = self.integer(&json, name, Reject::Sequence),
            Member::Seq => self.seq(&json),
            Member::Values | Member::Units => unreachable!("read above"),
        }
        Ok(())
    }

    fn name(
        &mut self,
        json: Json<'a>,
        path: &[&str],
        reject: impl FnOnce(&str) -> Option<Reject>,
    ) -> Option<Cow<'a, str>> {
        let Json::Text(text) = json else {
            self.wrong_type("a text", &json, path);
            return None;
        };
        match reject(&text) {
            None => Some(text),
            Some(reject) => {
                self.reject(reject, path);
                None
            }
        }
    }

    fn value(&mut self, json: Json<'a>, path: &[&str]) -> Option<DecodedValue<'a>> {
        let value = match json {
            Json::Number(number) => number_value(number),
            Json::Bool(on) => Ok(DecodedValue::Bool(on)),
            Json::Text(text) => DecodedValue::text(text),
            Json::Null | Json::Object | Json::Array => {
                let kind = json.kind();
                let detail = format!("a value is a number, a boolean or a text, this is {kind}");
                self.fail(INVALID_VALUE, detail, path);
                return None;
            }
        };
        value.map_err(|reject| self.reject(reject, path)).ok()
    }

    fn time(&mut self, json: &Json<'_>) {
        let time = match json {
            Json::Text(text) => time_text::parse(text).ok(),
            Json::Number(number) if number.integral => {
                number.text.parse().ok().and_then(Timestamp::from_millis)
            }
            _ => None,
        };
        self.time = time;
        if time.is_none() {
            let detail = "a time is an RFC 3339 text with offset or whole Unix milliseconds, \
                          between the years 1678 and 2262";
            self.fail(Reject::Time.code(), detail, &["time"]);
        }
    }

    fn integer(&mut self, json: &Json<'_>, name: &str, reject: Reject) -> Option<u64> {
        if let Json::Number(Number { text, integral: true }) = json
            && let Ok(number) = text.parse()
        {
            return Some(number);
        }
        let detail = format!("`{name}` is an integer from 0 to 2^64-1");
        self.fail(reject.code(), detail, &[name]);
        None
    }

    fn seq(&mut self, json: &Json<'_>) {
        self.seq = self.integer(json, "seq", Reject::Sequence);
        if self.seq == Some(0) {
            self.reject(Reject::Sequence, &["seq"]);
        }
    }

    fn quality(&mut self, json: &Json<'_>) {
        self.quality = match json {
            Json::Text(text) if text == "good" => Quality::GOOD,
            Json::Text(text) if text == "uncertain" => Quality::UNCERTAIN,
            Json::Text(text) if text == "bad" => Quality::BAD,
            _ => {
                let detail = "a quality is \"good\", \"uncertain\" or \"bad\"";
                return self.fail(INVALID_QUALITY, detail, &["quality"]);
            }
        };
    }

    fn values(
        &mut self,
        scanner: &mut Scanner<'a>,
        readings: &mut Vec<DecodedReading<'a>>,
    ) -> Result<(), Syntax> {
        if scanner.peek() != Some(b'{') {
            let json = scanner.value()?;
            self.wrong_type("an object of metrics", &json, &["values"]);
            return Ok(());
        }
        scanner.open_object()?;
        let mut count = 0;
        while let Some(metric) = scanner.next_key(count == 0)? {
            count += 1;
            let path = ["values", &*metric];
            if let Err(reject) = Metric::new(&metric) {
                self.reject(reject, &path);
            }
            if count > ITEM_READINGS_MAX {
                let detail = format!("an item has at most {ITEM_READINGS_MAX} readings");
                self.fail(TOO_MANY_READINGS, detail, &["values"]);
            }
            let (value, unit) = if scanner.peek() == Some(b'{') {
                self.valued(scanner, &metric)?
            } else {
                (self.value(scanner.value()?, &path), None)
            };
            if let (Some(value), None) = (value, &self.fault) {
                let unit = unit.unwrap_or_default();
                let quality = Quality::GOOD;
                readings.push(DecodedReading { metric, unit, time: None, value, quality });
            }
        }
        if count == 0 {
            self.fail(MISSING_MEMBER, "`values` has no metric", &["values"]);
        }
        Ok(())
    }

    /// `{"value": v, "unit": u}` within `values`.
    fn valued(
        &mut self,
        scanner: &mut Scanner<'a>,
        metric: &str,
    ) -> Result<ValueAndUnit<'a>, Syntax> {
        scanner.open_object()?;
        let (mut value, mut unit) = (None, None);
        let (mut has_value, mut has_unit, mut is_first) = (false, false, true);
        while let Some(name) = scanner.next_key(is_first)? {
            is_first = false;
            let path = ["values", metric, &*name];
            match &*name {
                "value" if !has_value => {
                    has_value = true;
                    value = self.value(scanner.value()?, &path);
                }
                "unit" if !has_unit => {
                    has_unit = true;
                    unit = self.name(scanner.value()?, &path, |t| Unit::new(t).err());
                }
                "value" | "unit" => {
                    self.fail(DUPLICATE_MEMBER, format!("`{name}` comes twice"), &path);
                    scanner.skip()?;
                }
                _ => {
                    let detail =
                        format!("`{name}` is not a member of a value; there are value, unit");
                    self.fail(UNKNOWN_MEMBER, detail, &path);
                    scanner.skip()?;
                }
            }
        }
        if !has_value {
            self.fail(MISSING_MEMBER, "`value` is missing", &["values", metric]);
        }
        Ok((value, unit))
    }

    fn units(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Syntax> {
        if scanner.peek() != Some(b'{') {
            let json = scanner.value()?;
            self.wrong_type("an object of units by metric", &json, &["units"]);
            return Ok(());
        }
        scanner.open_object()?;
        let mut count = 0;
        while let Some(metric) = scanner.next_key(count == 0)? {
            count += 1;
            let path = ["units", &*metric];
            let unit = self.name(scanner.value()?, &path, |t| Unit::new(t).err());
            if let (Some(unit), true) = (unit, count <= ITEM_READINGS_MAX) {
                self.units.push((metric, unit));
            }
        }
        if count > ITEM_READINGS_MAX {
            let detail = format!("an item has at most {ITEM_READINGS_MAX} readings");
            self.fail(TOO_MANY_READINGS, detail, &["units"]);
        }
        Ok(())
    }

    /// Judges the object as a whole and completes its readings.
    fn finish(
        mut self,
        decoded: &mut Decoded<'a>,
        first: usize,
        received: Timestamp,
    ) -> Result<ItemHead<'a>, ItemFault> {
        self.check_members();
        if self.has(Member::Values) {
            if let (Some(metric), None) = (decoded.repeated_metric(first), &self.fault) {
                let (metric, detail) = (metric.to_owned(), format!("`{metric}` comes twice"));
                self.fail(DUPLICATE_MEMBER, detail, &["values", &metric]);
            }
            self.apply_units(&mut decoded.readings[first..]);
        } else if let (Some(metric), Some(value)) = (self.metric.take(), self.value.take()) {
            let unit = self.unit.take().unwrap_or_default();
            let quality = Quality::GOOD;
            decoded.readings.push(DecodedReading { metric, unit, time: None, value, quality });
        }
        let (mut time, mut quality) = (self.time, self.quality);
        if let Some(age_ms) = self.age_ms {
            let age = i64::try_from(age_ms).ok().and_then(|ms| ms.checked_mul(1_000_000));
            time = age.and_then(|ns| received.0.checked_sub(ns)).map(Timestamp);
            quality = quality.with(Quality::ANCHORED);
            if time.is_none() {
                self.reject(Reject::Time, &["age_ms"]);
            }
        }
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        for reading in &mut decoded.readings[first..] {
            (reading.time, reading.quality) = (time, quality);
        }
        let source = self.boot.zip(self.seq).map(|(boot, seq)| DeviceSeq { boot, seq });
        Ok((self.device, source))
    }

    fn check_members(&mut self) {
        let several = self.has(Member::Values);
        let excluded: &[(Member, &str)] = if several {
            &[(Member::Metric, "metric"), (Member::Value, "value"), (Member::Unit, "unit")]
        } else {
            &[(Member::Units, "units")]
        };
        for &(member, name) in excluded {
            if self.has(member) {
                let detail = "an item has `metric`, `value` and `unit`, or `values` and `units`";
                self.fail(CONFLICTING_MEMBERS, detail, &[name]);
            }
        }
        if self.has(Member::Time) && self.has(Member::AgeMs) {
            let detail = "an item has `time` or `age_ms`, not both";
            self.fail(CONFLICTING_MEMBERS, detail, &["age_ms"]);
        }
        for (member, name, needed) in [
            (Member::Metric, "metric", !several),
            (Member::Value, "value", !several),
            (Member::Boot, "boot", self.has(Member::Seq)),
            (Member::Seq, "seq", self.has(Member::Boot)),
        ] {
            if needed && !self.has(member) {
                self.fail(MISSING_MEMBER, format!("`{name}` is missing"), &[]);
            }
        }
    }

    /// Gives each reading its unit from `units`; every name there must be one of `values`.
    fn apply_units(&mut self, readings: &mut [DecodedReading<'a>]) {
        if self.fault.is_some() || self.units.is_empty() {
            return;
        }
        let mut units = std::mem::take(&mut self.units);
        units.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        if let Some(pair) = units.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            let metric = &pair[0].0;
            let detail = format!("`{metric}` comes twice");
            return self.fail(DUPLICATE_MEMBER, detail, &["units", metric]);
        }
        let mut used = vec![false; units.len()];
        for reading in readings {
            let Ok(found) = units.binary_search_by(|unit| unit.0.cmp(&reading.metric)) else {
                continue;
            };
            used[found] = true;
            if reading.unit.is_empty() {
                reading.unit = units[found].1.clone();
            } else if reading.unit != units[found].1 {
                let detail = "`values` and `units` say different units";
                self.fail(CONFLICTING_MEMBERS, detail, &["units", &reading.metric]);
            }
        }
        if let Some(unused) = used.iter().position(|used| !used) {
            let metric = &units[unused].0;
            let detail = format!("`{metric}` is not one of `values`");
            self.fail(UNKNOWN_MEMBER, detail, &["units", metric]);
        }
    }
}

/// A number is a double, unless it is an integer that only 64 bits hold.
pub(crate) fn number_value(number: Number<'_>) -> Result<DecodedValue<'static>, Reject> {
    if number.integral {
        return integer_value(number.text.parse().map_err(|_| Reject::NonFinite)?);
    }
    let float: f64 = number.text.parse().map_err(|_| Reject::NonFinite)?;
    Finite::new(float).map(DecodedValue::Float)
}

/// An integer as a double, or as itself where a double does not hold it.
pub(crate) fn integer_value(number: i128) -> Result<DecodedValue<'static>, Reject> {
    let int = i64::try_from(number).map_err(|_| Reject::NonFinite)?;
    if int.unsigned_abs() > EXACT_MAX {
        return Ok(DecodedValue::Int(int));
    }
    Finite::new(int as f64).map(DecodedValue::Float)
}

#[cfg(test)]
mod tests;
