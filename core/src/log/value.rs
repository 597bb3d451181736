//! How a value stands in a body: a kind in four bits and the bytes that follow.
//!
//! Every value has exactly one encoding: a double that has a short decimal form is never written
//! raw, so a body can be re-made from its rows.

use crate::codec::{Reader, Sink};
use crate::limits::TEXT_MAX_BYTES;
use crate::number::{Decimal, MAX_PLACES};
use crate::reading::Text;
use crate::{Reject, Value};

const RAW: u8 = 0;
const INT: u8 = 1;
const FALSE: u8 = 2;
const TRUE: u8 = 3;
const TEXT: u8 = 4;
const DECIMAL: u8 = 5;

/// The kind of `value`, 0 to 14, and its short form if it is a number with one.
pub(super) fn kind(value: &Value<'_>) -> (u8, Option<Decimal>) {
    match value {
        Value::Float(number) => match Decimal::of(number.get()) {
            Some(decimal) => (DECIMAL + decimal.places(), Some(decimal)),
            None => (RAW, None),
        },
        Value::Int(_) => (INT, None),
        Value::Bool(false) => (FALSE, None),
        Value::Bool(true) => (TRUE, None),
        Value::Text(_) => (TEXT, None),
    }
}

pub(super) fn put(
    out: &mut impl Sink,
    value: &Value<'_>,
    decimal: Option<Decimal>,
) -> Result<(), Reject> {
    match (value, decimal) {
        (Value::Float(_), Some(decimal)) => out.put_int(decimal.mantissa()),
        (Value::Float(number), None) => out.put(&number.get().to_bits().to_le_bytes()),
        (Value::Int(int), _) => out.put_int(*int),
        (Value::Bool(_), _) => Ok(()),
        (Value::Text(text), _) => out.put_bytes(text.as_str().as_bytes()),
    }
}

pub(super) fn read<'a>(reader: &mut Reader<'a>, kind: u8) -> Result<Value<'a>, Reject> {
    const LAST: u8 = DECIMAL + MAX_PLACES;
    match kind {
        RAW => {
            let number = f64::from_bits(u64::from_le_bytes(reader.array()?));
            if Decimal::of(number).is_some() {
                return Err(Reject::Malformed);
            }
            Value::float(number)
        }
        INT => Ok(Value::Int(reader.int()?)),
        FALSE => Ok(Value::Bool(false)),
        TRUE => Ok(Value::Bool(true)),
        TEXT => Ok(Value::Text(Text::new(reader.str(TEXT_MAX_BYTES)?)?)),
        DECIMAL..=LAST => {
            let places = kind - DECIMAL;
            let decimal = Decimal::from_parts(reader.int()?, places).ok_or(Reject::Malformed)?;
            Value::float(decimal.value())
        }
        _ => Err(Reject::Malformed),
    }
}

/// Writes a value with its kind in a byte of its own, as segments keep values of several kinds.
///
/// # Errors
/// [`Reject::Full`] when the sink has no room.
pub fn put_value(out: &mut impl Sink, value: &Value<'_>) -> Result<(), Reject> {
    let (kind, decimal) = kind(value);
    out.put_u8(kind)?;
    put(out, value, decimal)
}

/// Reads what [`put_value`] wrote.
///
/// # Errors
/// What is wrong with it.
pub fn read_value<'a>(reader: &mut Reader<'a>) -> Result<Value<'a>, Reject> {
    let kind = reader.u8()?;
    read(reader, kind)
}

/// A finite double with its kind in a byte of its own.
pub(super) fn put_number(out: &mut impl Sink, number: f64) -> Result<(), Reject> {
    put_value(out, &Value::float(number)?)
}

pub(super) fn read_number(reader: &mut Reader<'_>) -> Result<f64, Reject> {
    match reader.u8()? {
        INT..=TEXT => Err(Reject::Malformed),
        kind => read(reader, kind)?.number().ok_or(Reject::Malformed),
    }
}
