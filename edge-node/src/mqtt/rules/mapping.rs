//! A mapping: how the messages of things that know nothing of us become readings.
//!
//! It has filters for the topics that it takes, and a template for the device. Of an object it
//! takes the members that it names, and if it flattens also all others that are numbers or
//! switches, each called by its path. A payload that is a plain value is called by the topic.
//! Values that say "none" are left out, and so is what cannot be a reading and was not asked for
//! by name: things send much that is none. A message makes one item, so its readings are stored
//! together or not at all.

mod shape;
mod template;
mod value;
mod walk;

pub(super) use shape::Shape;
pub(super) use template::{Part, Template};
pub(super) use value::Scale;
pub use value::TimeFormat;
pub(super) use walk::{DEPTH_MAX, PATH_MAX};

use super::readings::one_item;
use super::{MALFORMED, PayloadError, plain};
use crate::formats::scanner::{Json, Syntax, position};
use crate::formats::{
    DUPLICATE_MEMBER, Decoded, DecodedReading, DecodedValue, ITEM_READINGS_MAX, MISSING_MEMBER,
    SYNTAX, TOO_MANY_READINGS, WRONG_TYPE,
};
use crate::mqtt::topic::{Filter, Topic};
use holdfast_core::limits::{DEVICE_MAX_BYTES, METRIC_MAX_BYTES};
use holdfast_core::reading::Device;
use holdfast_core::{Metric, Quality, Reject, Timestamp, Unit};
use std::borrow::Cow;
use value::Unfit;
use walk::{Walk, names};

/// How messages of some topics become readings. Valid by construction.
#[derive(Debug)]
pub struct Mapping {
    pub(super) name: Box<str>,
    pub(super) topics: Vec<Shape>,
    pub(super) except: Vec<Filter>,
    /// What the text of the first `+` begins with.
    pub(super) begins: Box<str>,
    pub(super) device: Template,
    /// What a plain value is called, and what stands before the names of an object's members.
    pub(super) metric: Template,
    /// The object that is flattened, as a JSON pointer.
    pub(super) root: Box<str>,
    /// All pointers that are named anywhere below, sorted.
    pub(super) wanted: Vec<Box<str>>,
    pub(super) when: Option<When>,
    pub(super) time: Option<Time>,
    pub(super) fields: Vec<Field>,
    pub(super) flatten: bool,
    pub(super) texts: bool,
    pub(super) lowercase: bool,
    /// Sorted.
    pub(super) skip: Vec<Box<str>>,
    /// By name, sorted.
    pub(super) units: Vec<(Box<str>, UnitOf)>,
    /// Numbers that mean that there is no value.
    pub(super) none: Vec<f64>,
}

/// What a payload has to say in order to be taken.
#[derive(Debug)]
pub(super) struct When {
    pub(super) path: Box<str>,
    pub(super) is: Vec<Box<str>>,
}

/// Where a payload says its time.
#[derive(Debug)]
pub(super) struct Time {
    pub(super) path: Box<str>,
    pub(super) formats: Vec<TimeFormat>,
    /// Whether the receipt stands in for a time that cannot be read.
    pub(super) or_receipt: bool,
}

/// A member that is taken by its path.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) path: Box<str>,
    pub(super) metric: Box<str>,
    pub(super) unit: Option<UnitOf>,
    pub(super) scale: Option<Scale>,
}

/// What says the unit.
#[derive(Clone, Debug)]
pub(super) enum UnitOf {
    /// The mapping.
    Said(Box<str>),
    /// A text of the payload.
    At(Box<str>),
}

/// The named members of a payload.
struct Members<'r, 'a> {
    wanted: &'r [Box<str>],
    values: Vec<Option<Json<'a>>>,
}

impl<'r, 'a> Members<'r, 'a> {
    fn new(wanted: &'r [Box<str>]) -> Self {
        Self { wanted, values: vec![None; wanted.len()] }
    }

    fn place(&mut self, path: &str) -> Option<&mut Option<Json<'a>>> {
        let at = self.wanted.binary_search_by(|wanted| (**wanted).cmp(path)).ok()?;
        Some(&mut self.values[at])
    }

    fn get(&self, path: &str) -> Option<&Json<'a>> {
        let at = self.wanted.binary_search_by(|wanted| (**wanted).cmp(path)).ok()?;
        self.values[at].as_ref()
    }

    /// The text or digits at a path.
    fn text(&self, path: &str) -> Option<&str> {
        match self.get(path)? {
            Json::Text(text) => Some(text),
            Json::Number(number) => Some(number.text),
            _ => None,
        }
    }
}

/// A flattened member whose unit may be said behind it.
struct Flat<'a> {
    metric: String,
    value: DecodedValue<'a>,
    unit: Option<&'a UnitOf>,
}

impl Mapping {
    /// What it is called; without a name of its own, by its first topic.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What of a payload it takes, for a sentence.
    #[must_use]
    pub fn takes_what(&self) -> String {
        let mut words: Vec<String> =
            self.fields.iter().map(|field| format!("`{}`", field.path)).collect();
        if self.flatten {
            let texts =
                if self.texts { "numbers, switches and texts" } else { "numbers and switches" };
            words.push(match &*self.root {
                "" => format!("all {texts} of an object"),
                root => format!("all {texts} below `{root}` of an object"),
            });
        }
        if !self.metric.is_empty() {
            words.push("a plain value".to_owned());
        }
        if let Some(when) = &self.when {
            words.push(format!("each only when `{}` is {}", when.path, when.is.join(" or ")));
        }
        words.join(", ")
    }

    /// Whether it takes a topic.
    #[must_use]
    pub(super) fn takes(&self, topic: &Topic) -> bool {
        let Some(shape) = self.shape(topic) else { return false };
        let begins = self.begins.is_empty()
            || shape.level(topic.as_str(), 1).is_some_and(|level| level.starts_with(&*self.begins));
        begins && !self.except.iter().any(|filter| filter.matches(topic))
    }

    fn shape(&self, topic: &Topic) -> Option<&Shape> {
        self.topics.iter().find(|shape| shape.matches(topic))
    }

    /// Turns a message into at most one item.
    pub(super) fn decode<'a>(
        &'a self,
        topic: &'a Topic,
        payload: &'a [u8],
    ) -> Result<Decoded<'a>, PayloadError> {
        let text = str::from_utf8(payload).map_err(|error| {
            let detail = "not UTF-8: expected a JSON object or a plain value";
            PayloadError::new(SYNTAX, detail).at(format!("byte {}", error.valid_up_to()))
        })?;
        let Some(shape) = self.shape(topic) else { return Ok(Decoded::default()) };
        let place = (shape, topic.as_str());
        match text.trim_ascii_start().as_bytes().first() {
            None => Ok(Decoded::default()),
            Some(b'{') => self.object(place, text),
            Some(b'[') => {
                let detail = "a list: expected a JSON object or a plain value";
                Err(PayloadError::new(WRONG_TYPE, detail))
            }
            Some(_) => self.plain(place, payload),
        }
    }

    fn plain<'a>(
        &'a self,
        place: (&Shape, &str),
        payload: &'a [u8],
    ) -> Result<Decoded<'a>, PayloadError> {
        let field = self.fields.iter().find(|field| field.path.is_empty());
        if field.is_none() && self.metric.is_empty() {
            let detail = "a plain value: expected a JSON object; a mapping takes plain values when \
                          it has a `metric`";
            return Err(PayloadError::new(WRONG_TYPE, detail));
        }
        let value = plain::value(payload)?;
        let unasked = field.is_none() && !self.texts && matches!(value, DecodedValue::Text(_));
        if unasked || self.says_none(&value) {
            return Ok(Decoded::default());
        }
        let members = Members::new(&[]);
        let (metric, unit, value) = match field {
            Some(field) => {
                let value =
                    value::scaled(value, field.scale).map_err(|unfit| unfit_at(unfit, ""))?;
                let unit = self.unit_of(field, &value);
                (Cow::Borrowed(&*field.metric), unit, value)
            }
            None => {
                let parts = self.prefix(place);
                let metric = parts.join(".");
                Metric::new(&metric).map_err(|reject| wrong_name("metric", &metric, reject))?;
                (Cow::Owned(metric), self.unit(&parts, &value), value)
            }
        };
        let device = self.device(place, &members)?;
        let unit = unit.map_or(Cow::Borrowed(""), |unit| unit_text(unit, &members));
        let quality = Quality::GOOD;
        Ok(one_item(device, vec![DecodedReading { metric, unit, time: None, value, quality }]))
    }

    fn object<'a>(
        &'a self,
        place: (&Shape, &str),
        text: &'a str,
    ) -> Result<Decoded<'a>, PayloadError> {
        let syntax = |Syntax { at, expected }: Syntax| {
            let (line, column) = position(text.as_bytes(), at);
            let detail = format!("not JSON at line {line}, column {column}: expected {expected}");
            PayloadError::new(MALFORMED, detail).at(format!("line {line}, column {column}"))
        };
        let mut members = Members::new(&self.wanted);
        let mut flat = Vec::new();
        let prefix = self.prefix(place);
        let mut walk = Walk::new(text, &self.skip).map_err(syntax)?;
        while let Some(json) = walk.next().map_err(syntax)? {
            match members.place(walk.path()) {
                Some(Some(_)) => {
                    let error = PayloadError::new(DUPLICATE_MEMBER, "it comes twice");
                    return Err(error.at(walk.path()));
                }
                Some(slot) => *slot = Some(json),
                None if self.flatten => flat.extend(self.flat(&prefix, walk.path(), json)),
                None => {}
            }
            if flat.len() > ITEM_READINGS_MAX {
                let detail = format!("a message has at most {ITEM_READINGS_MAX} readings");
                return Err(PayloadError::new(TOO_MANY_READINGS, detail).at(walk.path()));
            }
        }
        if self.when.as_ref().is_some_and(|when| !when.holds(&members)) {
            return Ok(Decoded::default());
        }
        let time = self.time(&members)?;
        let mut readings = self.fields(&members, time)?;
        readings.extend(flat.into_iter().map(|flat| DecodedReading {
            metric: flat.metric.into(),
            unit: flat.unit.map_or(Cow::Borrowed(""), |unit| unit_text(unit, &members)),
            time,
            value: flat.value,
            quality: Quality::GOOD,
        }));
        if readings.is_empty() {
            return Ok(Decoded::default());
        }
        let decoded = one_item(self.device(place, &members)?, readings);
        match decoded.repeated_metric(0) {
            Some(metric) => {
                let detail = format!("two members become the metric `{metric}`");
                Err(PayloadError::new(DUPLICATE_MEMBER, detail))
            }
            None => Ok(decoded),
        }
    }

    /// The members that are taken by name; those that are not there are not missed, for things
    /// often send only what has changed.
    fn fields<'a>(
        &'a self,
        members: &Members<'_, 'a>,
        time: Option<Timestamp>,
    ) -> Result<Vec<DecodedReading<'a>>, PayloadError> {
        let mut readings = Vec::with_capacity(self.fields.len());
        for field in &self.fields {
            let Some(json) = members.get(&field.path) else { continue };
            let wrong = |unfit| unfit_at(unfit, &field.path);
            let Some(value) = value::of(json.clone()).map_err(wrong)? else { continue };
            if self.says_none(&value) {
                continue;
            }
            let unit = self.unit_of(field, &value);
            readings.push(DecodedReading {
                metric: Cow::Borrowed(&*field.metric),
                unit: unit.map_or(Cow::Borrowed(""), |unit| unit_text(unit, members)),
                time,
                value: value::scaled(value, field.scale).map_err(wrong)?,
                quality: Quality::GOOD,
            });
        }
        Ok(readings)
    }

    /// A member that was not named, if it can be a reading.
    fn flat<'a>(&'a self, prefix: &[String], path: &str, json: Json<'a>) -> Option<Flat<'a>> {
        let below = path.strip_prefix(&*self.root).filter(|below| below.starts_with('/'))?;
        let value = value::of(json).ok().flatten()?;
        if matches!(value, DecodedValue::Text(_)) && !self.texts || self.says_none(&value) {
            return None;
        }
        let mut parts = prefix.to_vec();
        parts.extend(names(below).map(|name| self.cased(name)));
        let metric = parts.join(".");
        Metric::new(&metric).ok()?;
        let unit = self.unit(&parts, &value);
        Some(Flat { metric, value, unit })
    }

    fn cased(&self, mut name: String) -> String {
        if self.lowercase {
            name.make_ascii_lowercase();
        }
        name
    }

    fn says_none(&self, value: &DecodedValue<'_>) -> bool {
        matches!(value, DecodedValue::Float(number) if self.none.contains(&number.get()))
    }

    /// The parts of the name that the topic gives.
    fn prefix(&self, (shape, topic): (&Shape, &str)) -> Vec<String> {
        let mut raw = String::new();
        for part in self.metric.parts() {
            let text = match part {
                Part::Said(text) => text,
                Part::Level(number) => shape.level(topic, *number).unwrap_or_default(),
                Part::Rest => shape.rest(topic).unwrap_or_default(),
                Part::At(_) => unreachable!("refused when the mapping was made"),
            };
            // One more than fits, so that what is too long is seen to be.
            raw.extend(text.chars().take(METRIC_MAX_BYTES + 1).map(printable));
        }
        let parts = raw.split('/').filter(|part| !part.is_empty());
        parts.map(|part| self.cased(part.to_owned())).collect()
    }

    fn device<'a>(
        &self,
        (shape, topic): (&Shape, &str),
        members: &Members<'_, '_>,
    ) -> Result<Cow<'a, str>, PayloadError> {
        let mut device = String::new();
        for part in self.device.parts() {
            let text = match part {
                Part::Said(text) => text,
                Part::Level(number) => shape.level(topic, *number).unwrap_or_default(),
                Part::Rest => shape.rest(topic).unwrap_or_default(),
                Part::At(path) => members.text(path).ok_or_else(|| {
                    let detail = "missing: expected a text that names the device";
                    PayloadError::new(MISSING_MEMBER, detail).at(&**path)
                })?,
            };
            device.extend(text.chars().take(DEVICE_MAX_BYTES + 1).map(of_device));
        }
        match Device::new(&device) {
            Ok(_) => Ok(device.into()),
            Err(reject) => Err(wrong_name("device", &device, reject)),
        }
    }

    fn time(&self, members: &Members<'_, '_>) -> Result<Option<Timestamp>, PayloadError> {
        let Some(time) = &self.time else { return Ok(None) };
        let json = match members.get(&time.path) {
            None | Some(Json::Null) => return Ok(None),
            Some(json) => json,
        };
        let read = time.formats.iter().find_map(|format| format.read(json));
        if read.is_some() || time.or_receipt {
            return Ok(read);
        }
        let expected: Vec<&str> = time.formats.iter().map(|format| format.words()).collect();
        let detail = format!("no time between 1678 and 2262: expected {}", expected.join(" or "));
        Err(PayloadError::new(Reject::Time.code(), detail).at(&*time.path))
    }

    fn unit_of<'a>(&'a self, field: &'a Field, value: &DecodedValue<'_>) -> Option<&'a UnitOf> {
        let by_name = || {
            let parts: Vec<String> = field.metric.split('.').map(str::to_owned).collect();
            self.unit(&parts, value)
        };
        field.unit.as_ref().or_else(by_name)
    }

    /// The unit of a name by its last two parts, else by its last; numbers are no parts of a name.
    /// Only numbers have one: Tasmota's `POWER` is a switch, its `ENERGY.Power` is in watts.
    fn unit(&self, parts: &[String], value: &DecodedValue<'_>) -> Option<&UnitOf> {
        if !matches!(value, DecodedValue::Float(_) | DecodedValue::Int(_)) {
            return None;
        }
        let find = |name: &str| {
            let at = self.units.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
            Some(&self.units[at].1)
        };
        let is_number = |part: &&String| part.bytes().all(|byte| byte.is_ascii_digit());
        let mut told = parts.iter().rev().filter(|part| !is_number(part));
        let last = told.next()?;
        let both = told.next().and_then(|before| find(&format!("{before}.{last}")));
        both.or_else(|| find(last))
    }
}

impl When {
    fn holds(&self, members: &Members<'_, '_>) -> bool {
        members.text(&self.path).is_some_and(|text| self.is.iter().any(|is| **is == *text))
    }
}

/// The unit in force; one that the payload says and that cannot be is none.
fn unit_text<'a>(unit: &'a UnitOf, members: &Members<'_, '_>) -> Cow<'a, str> {
    match unit {
        UnitOf::Said(unit) => Cow::Borrowed(&**unit),
        UnitOf::At(path) => {
            let said = members.text(path).map(value::ucum).unwrap_or_default();
            if Unit::new(said).is_ok() { Cow::Owned(said.to_owned()) } else { Cow::Borrowed("") }
        }
    }
}

/// What an id of a device has instead of a character that it may not have.
fn of_device(character: char) -> char {
    let allowed = character.is_ascii_alphanumeric() || "._:-".contains(character);
    if allowed { character } else { '_' }
}

/// What a metric has instead of a character that it may not have.
fn printable(character: char) -> char {
    if character.is_control() { '_' } else { character }
}

fn wrong_name(what: &str, name: &str, reject: Reject) -> PayloadError {
    PayloadError::new(reject.code(), format!("`{name}` would be the {what}: {reject}"))
}

fn unfit_at(unfit: Unfit, path: &str) -> PayloadError {
    let error = match unfit {
        Unfit::Kind(expected, got) => {
            PayloadError::new(WRONG_TYPE, format!("expected {expected}, got {got}"))
        }
        Unfit::Reject(reject) => reject.into(),
    };
    error.at(path)
}
