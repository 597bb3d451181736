//! What can stand at a path: a switch, a number, a text, or an array as a whole.
//!
//! Everything a twin holds has to come through JSON unharmed, so there is what JSON has and no
//! more: no raw bytes, and no null, which in a merge patch (RFC 7396) means that the path is
//! deleted. An object is the paths of its leaves; an empty one is nothing.

use super::array::Array;
use crate::Reject;
use crate::codec::{Reader, Sink};
use crate::limits::CELL_VALUE_MAX_BYTES;
use crate::number::{Decimal, MAX_PLACES};
use crate::reading::Finite;
use core::cmp::Ordering;

/// A text of at most 4096 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    /// Checks the length.
    ///
    /// # Errors
    /// [`Reject::Long`] above 4096 bytes.
    pub const fn new(text: &'a str) -> Result<Self, Reject> {
        if text.len() <= CELL_VALUE_MAX_BYTES { Ok(Self(text)) } else { Err(Reject::Long) }
    }

    /// The text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

/// A value. Values have one total order: switches, then numbers by size, then texts, then arrays.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// A switch.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// A finite double.
    Float(Finite),
    /// A text.
    Text(Text<'a>),
    /// An array, as its JSON text.
    Array(Array<'a>),
}

pub(super) const RAW: u8 = 0;
const INT: u8 = 1;
const FALSE: u8 = 2;
const TRUE: u8 = 3;
const TEXT: u8 = 4;
const DECIMAL: u8 = 5;
const LAST_DECIMAL: u8 = DECIMAL + MAX_PLACES;
pub(super) const ARRAY: u8 = LAST_DECIMAL + 1;

impl<'a> Value<'a> {
    /// A finite double as a value.
    ///
    /// # Errors
    /// [`Reject::NonFinite`] for NaN and the infinities.
    pub const fn float(value: f64) -> Result<Self, Reject> {
        match Finite::new(value) {
            Ok(finite) => Ok(Self::Float(finite)),
            Err(reject) => Err(reject),
        }
    }

    /// A text as a value.
    ///
    /// # Errors
    /// [`Reject::Long`] above 4096 bytes.
    pub const fn text(text: &'a str) -> Result<Self, Reject> {
        match Text::new(text) {
            Ok(text) => Ok(Self::Text(text)),
            Err(reject) => Err(reject),
        }
    }

    /// An array as a value.
    ///
    /// # Errors
    /// As [`Array::new`].
    pub fn array(json: &'a str) -> Result<Self, Reject> {
        Array::new(json).map(Self::Array)
    }

    /// Which is greater as people see it: `5` and `5.0` are equal.
    #[must_use]
    pub fn weigh(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            // Both are finite, so they compare.
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
            (Self::Int(a), Self::Float(b)) => weigh_int(*a, b.get()),
            (Self::Float(a), Self::Int(b)) => weigh_int(*b, a.get()).reverse(),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Array(a), Self::Array(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::Bool(_) => 0,
            Self::Int(_) | Self::Float(_) => 1,
            Self::Text(_) => 2,
            Self::Array(_) => 3,
        }
    }

    /// The number under which the value's form is stored, 0 to 15.
    pub(super) fn kind(&self) -> u8 {
        match self {
            Self::Float(number) => match Decimal::of(number.get()) {
                Some(decimal) => DECIMAL + decimal.places(),
                None => RAW,
            },
            Self::Int(_) => INT,
            Self::Bool(false) => FALSE,
            Self::Bool(true) => TRUE,
            Self::Text(_) => TEXT,
            Self::Array(_) => ARRAY,
        }
    }

    /// Appends what follows the kind.
    pub(super) fn put(&self, out: &mut impl Sink) -> Result<(), Reject> {
        match self {
            Self::Float(number) => match Decimal::of(number.get()) {
                Some(decimal) => out.put_int(decimal.mantissa()),
                None => out.put(&number.get().to_bits().to_le_bytes()),
            },
            Self::Int(int) => out.put_int(*int),
            Self::Bool(_) => Ok(()),
            Self::Text(text) => out.put_bytes(text.as_str().as_bytes()),
            Self::Array(array) => out.put_bytes(array.as_str().as_bytes()),
        }
    }

    /// Reads what follows `kind`.
    pub(super) fn read(reader: &mut Reader<'a>, kind: u8) -> Result<Self, Reject> {
        match kind {
            RAW => {
                let number = f64::from_bits(u64::from_le_bytes(reader.array()?));
                // A value has one encoding, so what has a short form must come in it.
                if Decimal::of(number).is_some() {
                    return Err(Reject::Malformed);
                }
                Self::float(number)
            }
            INT => Ok(Self::Int(reader.int()?)),
            FALSE => Ok(Self::Bool(false)),
            TRUE => Ok(Self::Bool(true)),
            TEXT => Self::text(reader.str(CELL_VALUE_MAX_BYTES)?),
            DECIMAL..=LAST_DECIMAL => {
                let parts = Decimal::from_parts(reader.int()?, kind - DECIMAL);
                Self::float(parts.ok_or(Reject::Malformed)?.value())
            }
            ARRAY => Self::array(reader.str(CELL_VALUE_MAX_BYTES)?),
            _ => Err(Reject::Version),
        }
    }
}

/// Compares exactly: beyond 2^53 an integer is not always a double.
fn weigh_int(int: i64, float: f64) -> Ordering {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if float >= BEYOND {
        return Ordering::Less;
    }
    if float < -BEYOND {
        return Ordering::Greater;
    }
    let whole = float as i64;
    let part = float - whole as f64;
    int.cmp(&whole).then(0.0f64.partial_cmp(&part).unwrap_or(Ordering::Equal))
}

impl Ord for Value<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.weigh(other).then_with(|| match (self, other) {
            // What weighs the same is still not the same bytes: 5 and 5.0, 0.0 and -0.0.
            (Self::Float(a), Self::Float(b)) => a.get().total_cmp(&b.get()),
            (Self::Int(_), Self::Float(_)) => Ordering::Less,
            (Self::Float(_), Self::Int(_)) => Ordering::Greater,
            _ => Ordering::Equal,
        })
    }
}

impl PartialOrd for Value<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Value<'_> {}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u32> for Value<'_> {
    fn from(value: u32) -> Self {
        Self::Int(i64::from(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn integers_and_doubles_compare_exactly() {
        let int = Value::Int;
        let float = |value| Value::float(value).unwrap();
        let two53 = 9_007_199_254_740_992;
        assert_eq!(int(5).weigh(&float(5.0)), Ordering::Equal);
        assert_ne!(int(5), float(5.0));
        assert_eq!(int(5).weigh(&float(5.5)), Ordering::Less);
        assert_eq!(int(-5).weigh(&float(-5.5)), Ordering::Greater);
        assert_eq!(int(two53 + 1).weigh(&float(two53 as f64)), Ordering::Greater);
        assert_eq!(int(i64::MAX).weigh(&float(i64::MAX as f64)), Ordering::Less);
        assert_eq!(int(i64::MIN).weigh(&float(i64::MIN as f64)), Ordering::Equal);
        assert_eq!(int(i64::MIN).weigh(&float(-1e19)), Ordering::Greater);
        assert_eq!(float(0.0).weigh(&float(-0.0)), Ordering::Equal);
        assert!(float(0.0) > float(-0.0));
    }

    #[test]
    fn a_number_that_has_a_short_form_must_come_in_it() {
        let raw = 21.5f64.to_bits().to_le_bytes();
        assert_eq!(Value::read(&mut Reader::new(&raw), RAW), Err(Reject::Malformed));
        let raw = f64::NAN.to_bits().to_le_bytes();
        assert_eq!(Value::read(&mut Reader::new(&raw), RAW), Err(Reject::NonFinite));
    }

    fn number() -> impl Strategy<Value = Value<'static>> {
        let near = -4i64..4;
        prop_oneof![
            near.clone().prop_map(Value::Int),
            any::<i64>().prop_map(Value::Int),
            near.prop_map(|halves| Value::float(halves as f64 / 2.0).unwrap()),
            any::<i64>().prop_map(|int| Value::float(int as f64).unwrap()),
            any::<f64>().prop_filter_map("finite", |float| Value::float(float).ok()),
        ]
    }

    proptest! {
        #[test]
        fn numbers_have_one_total_order(a in number(), b in number(), c in number()) {
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert_eq!(a.weigh(&b), b.weigh(&a).reverse());
            if a <= b && b <= c {
                prop_assert!(a <= c);
            }
            if a.weigh(&b).is_le() && b.weigh(&c).is_le() {
                prop_assert!(a.weigh(&c).is_le());
            }
        }
    }
}
