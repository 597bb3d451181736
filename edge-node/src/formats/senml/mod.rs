//! SenML (RFC 8428): packs of records, where base fields apply from their record on.
//!
//! A record is one item. Its name, base name and own name together, is split at its last `/` or
//! `:` into device and metric; a name that ends there names the metric `value`, one without either
//! leaves the device to the token. `json` and `cbor` read the two representations field by field,
//! and the records they feed are resolved here. A wrong record concerns itself only, a wrong base
//! field the whole pack: nothing behind it can be understood.

mod cbor;
mod json;

use super::json::number_value;
use super::{
    BodyError, BodyFault, CONFLICTING_MEMBERS, DUPLICATE_MEMBER, Decoded, DecodedReading,
    DecodedValue, INVALID_NAME, INVALID_VALUE, ItemFault, ItemHead, MISSING_MEMBER, UNKNOWN_MEMBER,
    WRONG_TYPE,
};
use holdfast_core::reading::{Device, Finite};
use holdfast_core::{Metric, Quality, Reject, Timestamp, Unit};
use std::borrow::Cow;

pub use cbor::CborPack;
pub use json::JsonPack;

/// The version of RFC 8428; a pack of a later one is not to be used.
const VERSION: u64 = 10;
/// From here on a time counts from 1970, below from now.
const ABSOLUTE_FROM: f64 = 268_435_456.0;
/// What a name names that ends with its separator.
const WHOLE_DEVICE: &str = "value";

/// Decodes a pack in JSON.
///
/// # Errors
/// [`BodyError`] when it is no array in JSON, a base field is wrong, or it has too many records.
pub fn decode_json(body: &[u8], received: Timestamp) -> Result<Decoded<'_>, BodyError> {
    let mut pack = JsonPack::new(body)?;
    decode(body, |decoded| pack.next(decoded, received))
}

/// Decodes a pack in CBOR.
///
/// # Errors
/// [`BodyError`] when it is no array in CBOR, a base field is wrong, or it has too many records.
pub fn decode_cbor(body: &[u8], received: Timestamp) -> Result<Decoded<'_>, BodyError> {
    let mut pack = CborPack::new(body)?;
    decode(body, |decoded| pack.next(decoded, received))
}

fn decode<'a>(
    body: &'a [u8],
    mut next: impl FnMut(&mut Decoded<'a>) -> Result<bool, BodyError>,
) -> Result<Decoded<'a>, BodyError> {
    let mut decoded = Decoded::for_body(body.len(), DEVICE_IN);
    while next(&mut decoded)? {}
    Ok(decoded)
}

/// Where a record names its device.
pub const DEVICE_IN: &str = "a name with `/` or `:`, such as `tank-1/level`";

/// The fields of RFC 8428.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Version,
    BaseName,
    BaseTime,
    BaseUnit,
    BaseValue,
    BaseSum,
    Name,
    Unit,
    Value,
    Text,
    Switch,
    Sum,
    Time,
    UpdateTime,
    Data,
}

/// Label in JSON and in CBOR of each field.
const LABELS: [(Field, &str, i128); 15] = [
    (Field::Version, "bver", -1),
    (Field::BaseName, "bn", -2),
    (Field::BaseTime, "bt", -3),
    (Field::BaseUnit, "bu", -4),
    (Field::BaseValue, "bv", -5),
    (Field::BaseSum, "bs", -6),
    (Field::Name, "n", 0),
    (Field::Unit, "u", 1),
    (Field::Value, "v", 2),
    (Field::Text, "vs", 3),
    (Field::Switch, "vb", 4),
    (Field::Sum, "s", 5),
    (Field::Time, "t", 6),
    (Field::UpdateTime, "ut", 7),
    (Field::Data, "vd", 8),
];

impl Field {
    fn named(label: &str) -> Option<Self> {
        LABELS.iter().find(|known| known.1 == label).map(|known| known.0)
    }

    fn numbered(label: i128) -> Option<Self> {
        LABELS.iter().find(|known| known.2 == label).map(|known| known.0)
    }

    const fn label(self) -> &'static str {
        LABELS[self as usize].1
    }

    const fn is_base(self) -> bool {
        (self as usize) < Self::Name as usize
    }
}

/// Whether `name` is a label in JSON.
pub(crate) fn is_label(name: &str) -> bool {
    Field::named(name).is_some()
}

/// A field's content in either representation.
#[derive(Clone, Debug, PartialEq)]
enum Scalar<'a> {
    Number(Result<DecodedValue<'static>, Reject>),
    Bool(bool),
    Text(Cow<'a, str>),
    /// Anything else, as a noun.
    Other(&'static str),
}

impl Scalar<'_> {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Number(_) => "a number",
            Self::Bool(_) => "a boolean",
            Self::Text(_) => "a text",
            Self::Other(kind) => kind,
        }
    }
}

/// What holds from a record on until it is said anew.
#[derive(Debug, Default)]
struct Base<'a> {
    name: Cow<'a, str>,
    unit: Cow<'a, str>,
    time: f64,
    value: Option<f64>,
    sum: Option<f64>,
    version: Option<u64>,
}

impl<'a> Base<'a> {
    /// Takes a base field up; what is wrong with it is wrong with the pack.
    fn set(&mut self, field: Field, scalar: Scalar<'a>) -> Result<(), ItemFault> {
        match field {
            Field::BaseName => self.name = text(field, scalar)?,
            Field::BaseUnit => {
                self.unit = text(field, scalar)?;
                Unit::new(&self.unit).map_err(|reject| reject_at(reject, field))?;
            }
            Field::BaseTime => self.time = number(field, scalar)?,
            Field::BaseValue => self.value = Some(number(field, scalar)?),
            Field::BaseSum => self.sum = Some(number(field, scalar)?),
            _ => self.version(number(field, scalar)?)?,
        }
        Ok(())
    }

    fn version(&mut self, version: f64) -> Result<(), ItemFault> {
        let whole = version as u64;
        let fault = |detail: String| Err(fault_at(INVALID_VALUE, detail, Field::Version));
        if whole as f64 != version || !(1..=VERSION).contains(&whole) {
            return fault(format!("versions 1 to {VERSION} are read, this is {version}"));
        }
        if self.version.is_some_and(|said| said != whole) {
            return fault("all records of a pack have the same version".to_owned());
        }
        self.version = Some(whole);
        Ok(())
    }
}

/// One record while its fields come in. The first fault stays.
#[derive(Debug, Default)]
struct Record<'a> {
    seen: u16,
    name: Cow<'a, str>,
    unit: Option<Cow<'a, str>>,
    value: Option<DecodedValue<'a>>,
    sum: Option<f64>,
    time: f64,
    fault: Option<ItemFault>,
}

impl<'a> Record<'a> {
    fn fail(&mut self, fault: ItemFault) {
        self.fault.get_or_insert(fault);
    }

    const fn has(&self, field: Field) -> bool {
        self.seen >> field as u16 & 1 == 1
    }

    fn has_only_base_fields(&self) -> bool {
        self.seen >> Field::Name as u16 == 0
    }

    /// A field that RFC 8428 does not have: passed over unless it says that it must not be.
    fn unknown(&mut self, label: &str) {
        if label.ends_with('_') {
            let label: String = label.chars().take(40).collect();
            let detail = format!("`{label}` has to be understood and is not known here");
            self.fail(ItemFault {
                path: pointer(&label),
                ..ItemFault::new(UNKNOWN_MEMBER, detail)
            });
        }
    }

    /// Takes a field up; an error is one of the pack.
    fn field(
        &mut self,
        base: &mut Base<'a>,
        field: Field,
        scalar: Scalar<'a>,
    ) -> Result<(), ItemFault> {
        if self.has(field) {
            let detail = format!("`{}` comes twice", field.label());
            let fault = fault_at(DUPLICATE_MEMBER, detail, field);
            if field.is_base() {
                return Err(fault);
            }
            self.fail(fault);
            return Ok(());
        }
        self.seen |= 1 << field as u16;
        if field.is_base() {
            return base.set(field, scalar);
        }
        if let Err(fault) = self.regular(field, scalar) {
            self.fail(fault);
        }
        Ok(())
    }

    fn regular(&mut self, field: Field, scalar: Scalar<'a>) -> Result<(), ItemFault> {
        match (field, scalar) {
            (Field::Name, scalar) => self.name = text(field, scalar)?,
            (Field::Unit, scalar) => {
                let unit = self.unit.insert(text(field, scalar)?);
                Unit::new(unit).map_err(|reject| reject_at(reject, field))?;
            }
            (Field::Sum, scalar) => self.sum = Some(number(field, scalar)?),
            (Field::Time, scalar) => self.time = number(field, scalar)?,
            // How soon the next one is to come is no reading; only its form is checked.
            (Field::UpdateTime, scalar) => drop(number(field, scalar)?),
            (Field::Value, Scalar::Number(value)) => {
                self.value = Some(value.map_err(|reject| reject_at(reject, field))?);
            }
            (Field::Switch, Scalar::Bool(on)) => self.value = Some(DecodedValue::Bool(on)),
            (Field::Text, scalar @ Scalar::Text(_)) => {
                let value = DecodedValue::text(text(field, scalar)?);
                self.value = Some(value.map_err(|reject| reject_at(reject, field))?);
            }
            (Field::Data, _) => {
                let detail = "binary values are not kept: send what is in it as `v`, `vb` or `vs`";
                return Err(fault_at(INVALID_VALUE, detail, field));
            }
            (Field::Switch, scalar) => return Err(wrong_type(field, "a boolean", &scalar)),
            (Field::Text, scalar) => return Err(wrong_type(field, "a text", &scalar)),
            (field, scalar) => return Err(wrong_type(field, "a number", &scalar)),
        }
        Ok(())
    }

    /// Applies the base fields and adds the readings of the record; none if it has base fields
    /// only.
    fn resolve(
        mut self,
        base: &Base<'a>,
        decoded: &mut Decoded<'a>,
        received: Timestamp,
    ) -> Result<ItemHead<'a>, ItemFault> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        if self.has_only_base_fields() {
            return Ok((None, None));
        }
        let (value, sum) = self.values(base)?;
        let (time, quality) = self.time(base, received)?;
        let (device, metric) = split(join(&base.name, self.name))?;
        let unit = self.unit.unwrap_or_else(|| base.unit.clone());
        let named = |reject: Reject| reject_at(reject, Field::Name);
        if let Some(sum) = sum {
            let metric: Cow<'a, str> = format!("{metric}.sum").into();
            Metric::new(&metric).map_err(named)?;
            // An integral over time: what is summed up, times seconds.
            let unit: Cow<'a, str> =
                if unit.is_empty() { unit.clone() } else { format!("{unit}.s").into() };
            Unit::new(&unit).map_err(|reject| reject_at(reject, Field::Unit))?;
            let value = DecodedValue::Float(sum);
            decoded.readings.push(DecodedReading { metric, unit, time, value, quality });
        }
        if let Some(value) = value {
            Metric::new(&metric).map_err(named)?;
            decoded.readings.push(DecodedReading { metric, unit, time, value, quality });
        }
        Ok((device, None))
    }

    /// The value and the sum; one of them at least.
    fn values(
        &mut self,
        base: &Base<'_>,
    ) -> Result<(Option<DecodedValue<'a>>, Option<Finite>), ItemFault> {
        let kinds = [Field::Value, Field::Text, Field::Switch, Field::Data];
        let mut said = kinds.iter().filter(|field| self.has(**field));
        if let (Some(_), Some(second)) = (said.next(), said.next()) {
            let detail = "a record has one of `v`, `vs`, `vb`, `vd`";
            return Err(fault_at(CONFLICTING_MEMBERS, detail, *second));
        }
        let invalid = |field| move |reject| reject_at(reject, field);
        let value = match (self.value.take(), base.value) {
            (Some(value), Some(base)) => match measured(&value) {
                Some(own) => {
                    let sum = Finite::new(base + own).map_err(invalid(Field::Value))?;
                    Some(DecodedValue::Float(sum))
                }
                None => Some(value),
            },
            (None, Some(base)) if self.sum.is_none() => {
                Some(DecodedValue::Float(Finite::new(base).map_err(invalid(Field::BaseValue))?))
            }
            (value, _) => value,
        };
        let is_number = value.as_ref().is_none_or(|value| measured(value).is_some());
        let sum = match (self.sum, base.sum) {
            (None, None) => None,
            (None, Some(_)) if !is_number => None,
            (own, base) => Some(own.unwrap_or(0.0) + base.unwrap_or(0.0)),
        };
        let sum = sum.map(Finite::new).transpose().map_err(invalid(Field::Sum))?;
        if value.is_none() && sum.is_none() {
            let detail = "a record has a value, `v`, `vs` or `vb`, or a sum, `s`";
            return Err(ItemFault::new(MISSING_MEMBER, detail));
        }
        Ok((value, sum))
    }

    fn time(
        &self,
        base: &Base<'_>,
        received: Timestamp,
    ) -> Result<(Option<Timestamp>, Quality), ItemFault> {
        let seconds = base.time + self.time;
        // A double holds microseconds of this century, and no digit more that means anything.
        let micros = (seconds * 1e6).round();
        let nanos = (micros as i64).checked_mul(1_000);
        let (nanos, quality) = if seconds >= ABSOLUTE_FROM {
            (nanos, Quality::GOOD)
        } else if seconds == 0.0 {
            return Ok((None, Quality::GOOD));
        } else {
            (nanos.and_then(|ns| received.0.checked_add(ns)), Quality::ANCHORED)
        };
        let time = nanos.ok_or_else(|| reject_at(Reject::Time, Field::Time))?;
        Ok((Some(Timestamp(time)), quality))
    }
}

fn join<'a>(base: &Cow<'a, str>, own: Cow<'a, str>) -> Cow<'a, str> {
    match (base.is_empty(), own.is_empty()) {
        (true, _) => own,
        (false, true) => base.clone(),
        (false, false) => Cow::Owned(format!("{base}{own}")),
    }
}

type DeviceAndMetric<'a> = (Option<Cow<'a, str>>, Cow<'a, str>);

/// Checks a name by the RFC's rules and splits it.
fn split(name: Cow<'_, str>) -> Result<DeviceAndMetric<'_>, ItemFault> {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"-:./_".contains(&b);
    let starts_well = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if !starts_well || !name.bytes().all(is_allowed) {
        let shown: String = name.chars().take(64).collect();
        let detail = format!(
            "the name is `{shown}`: a name has characters of A-Z a-z 0-9 - : . / _ and begins \
             with a letter or digit"
        );
        return Err(fault_at(INVALID_NAME, detail, Field::Name));
    }
    let Some(at) = name.rfind(['/', ':']) else { return Ok((None, name)) };
    let (device, metric) = match name {
        Cow::Borrowed(name) => (Cow::Borrowed(&name[..at]), Cow::Borrowed(&name[at + 1..])),
        Cow::Owned(name) => (name[..at].to_owned().into(), name[at + 1..].to_owned().into()),
    };
    Device::new(&device).map_err(|reject| reject_at(reject, Field::Name))?;
    let metric = if metric.is_empty() { Cow::Borrowed(WHOLE_DEVICE) } else { metric };
    Ok((Some(device), metric))
}

/// The number that a value is; a switch counts as one elsewhere, but nothing is added to it.
fn measured(value: &DecodedValue<'_>) -> Option<f64> {
    match value {
        DecodedValue::Float(number) => Some(number.get()),
        DecodedValue::Int(int) => Some(*int as f64),
        DecodedValue::Bool(_) | DecodedValue::Text(_) => None,
    }
}

/// A label as a step of a JSON pointer.
fn pointer(label: &str) -> String {
    format!("/{}", label.replace('~', "~0").replace('/', "~1"))
}

fn fault_at(code: &'static str, detail: impl Into<Cow<'static, str>>, field: Field) -> ItemFault {
    ItemFault { path: pointer(field.label()), ..ItemFault::new(code, detail) }
}

fn reject_at(reject: Reject, field: Field) -> ItemFault {
    fault_at(reject.code(), reject.to_string(), field)
}

fn wrong_type(field: Field, expected: &str, got: &Scalar<'_>) -> ItemFault {
    let detail = format!("`{}` is {expected}, this is {}", field.label(), got.kind());
    fault_at(WRONG_TYPE, detail, field)
}

fn text<'a>(field: Field, scalar: Scalar<'a>) -> Result<Cow<'a, str>, ItemFault> {
    match scalar {
        Scalar::Text(text) => Ok(text),
        other => Err(wrong_type(field, "a text", &other)),
    }
}

fn number(field: Field, scalar: Scalar<'_>) -> Result<f64, ItemFault> {
    let Scalar::Number(value) = scalar else { return Err(wrong_type(field, "a number", &scalar)) };
    let value = value.map_err(|reject| reject_at(reject, field))?;
    measured(&value).ok_or_else(|| reject_at(Reject::NonFinite, field))
}

/// A wrong base field: nothing of the pack is stored.
fn pack_error(index: usize, fault: ItemFault) -> BodyError {
    let ItemFault { detail, path, .. } = fault;
    let detail = format!("a base field is wrong, so nothing behind it can be understood: {detail}");
    BodyError { fault: BodyFault::Malformed, detail, at: format!("/{index}{path}") }
}

fn no_record(kind: &str) -> ItemFault {
    ItemFault::new(WRONG_TYPE, format!("a record is an object, this is {kind}"))
}

#[cfg(test)]
mod tests;
