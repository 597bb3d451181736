//! Values of the reference: wide whole numbers with a kind, and texts.
//!
//! Nothing here knows how a register looks. Each operation is done in 128 bits, as the guide
//! (`docs/workflows.md`) says it, and only then it is looked whether what came out fits.

use crate::flow::definition::Constant;
use crate::flow::expression::Binary;
use crate::flow::expression::typed::Kind;
use holdfast_core::flow::Given;
use std::cmp::Ordering;
use std::rc::Rc;

/// An error by its name.
pub(super) type Error = Rc<str>;

/// Millionths of one.
const ONE: i128 = 1_000_000;
/// Bytes of a text.
const TEXT_BYTES: usize = 64;

/// A value with its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Any but a text: units, millionths, 0 or 1, milliseconds.
    Number(Kind, i128),
    Text(String),
}

impl Value {
    pub(super) const fn truth(truth: bool) -> Self {
        Self::Number(Kind::Bool, truth as i128)
    }

    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Number(kind, _) => *kind,
            Self::Text(_) => Kind::Text,
        }
    }

    pub(super) const fn number(&self) -> i128 {
        match self {
            Self::Number(_, number) => *number,
            Self::Text(_) => 0,
        }
    }

    /// What is there before anything was: nothing.
    pub(super) const fn nothing(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text(String::new()),
            kind => Self::Number(kind, 0),
        }
    }

    /// What comes from outside, if it is of the kind.
    pub(super) fn given(kind: Kind, given: Given<'_>) -> Option<Self> {
        match (kind, given) {
            (Kind::Text, Given::Text(text)) => {
                (text.len() <= TEXT_BYTES).then(|| Self::Text(text.to_owned()))
            }
            (Kind::Text, _) | (_, Given::Text(_)) => None,
            (Kind::Bool, Given::Number(number)) if number != 0 && number != 1 => None,
            (kind, Given::Number(number)) => Some(Self::Number(kind, number.into())),
        }
    }

    /// What stands in the definition.
    pub(super) fn constant(kind: Kind, constant: &Constant) -> Self {
        match constant {
            Constant::Number(number) => Self::Number(kind, (*number).into()),
            Constant::Text(text) => Self::Text(text.clone()),
        }
    }

    /// As people write it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(Kind::Bool, number) => (*number != 0).to_string(),
            Self::Number(Kind::Decimal, number) => {
                let (sign, size) = (if *number < 0 { "-" } else { "" }, number.abs());
                let text = format!("{sign}{}.{:06}", size / ONE, size % ONE);
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            }
            Self::Number(_, number) => number.to_string(),
        }
    }

    /// As it stands inside of a text of JSON.
    pub(super) fn escaped(&self) -> String {
        let mut out = String::new();
        for c in self.shown().chars() {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
                c => out.push(c),
            }
        }
        out
    }

    /// As a value of JSON.
    pub(super) fn json(&self) -> String {
        match self {
            Self::Text(_) => format!("\"{}\"", self.escaped()),
            Self::Number(..) => self.shown(),
        }
    }
}

fn error<T>(name: &str) -> Result<T, Error> {
    Err(name.into())
}

/// A number of 64 bits.
fn fit(kind: Kind, number: i128) -> Result<Value, Error> {
    match i64::try_from(number) {
        Ok(_) => Ok(Value::Number(kind, number)),
        Err(_) => error("overflow"),
    }
}

/// `over` by `under`, to the nearest, halves away from zero.
fn nearest(over: i128, under: i128) -> i128 {
    let (a, b) = (over.unsigned_abs(), under.unsigned_abs());
    let rounded = (2 * a + b) / (2 * b);
    let rounded = i128::try_from(rounded).expect("less than twice as much");
    if (over < 0) == (under < 0) { rounded } else { -rounded }
}

/// The kind that two values have in common: an int becomes a decimal beside one.
pub(super) const fn alike(a: Kind, b: Kind) -> Kind {
    match (a, b) {
        (Kind::Int, Kind::Decimal) => Kind::Decimal,
        (a, _) => a,
    }
}

/// The kind of what a sign makes of two values.
pub(super) fn made_of(sign: Binary, a: Kind, b: Kind) -> Kind {
    let computes = [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::Rem];
    if !computes.contains(&sign) {
        return Kind::Bool;
    }
    match (sign, a, b) {
        (Binary::Sub, Kind::Time, Kind::Time) => Kind::Duration,
        (Binary::Add | Binary::Sub, Kind::Time, _) | (Binary::Add, _, Kind::Time) => Kind::Time,
        (_, Kind::Duration, _) | (_, _, Kind::Duration) => Kind::Duration,
        _ => alike(a, b),
    }
}

/// The same value as another kind.
pub(super) fn coerced(value: Value, kind: Kind) -> Result<Value, Error> {
    match value {
        Value::Number(Kind::Int, number) if kind == Kind::Decimal => fit(kind, number * ONE),
        value => Ok(value),
    }
}

/// What a sign makes of two values that have a kind in common, if the sign wants that.
pub(super) fn binary(sign: Binary, a: &Value, b: &Value) -> Result<Value, Error> {
    let order = match (a, b) {
        (Value::Text(a), Value::Text(b)) if sign == Binary::Add => {
            return if a.len() + b.len() > TEXT_BYTES {
                error("text-too-long")
            } else {
                Ok(Value::Text(format!("{a}{b}")))
            };
        }
        (Value::Text(a), Value::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
        (a, b) => a.number().cmp(&b.number()),
    };
    let kind = made_of(sign, a.kind(), b.kind());
    let (x, y) = (a.number(), b.number());
    if matches!(sign, Binary::Div | Binary::Rem) && y == 0 {
        return error("division-by-zero");
    }
    match sign {
        Binary::Add => fit(kind, x + y),
        Binary::Sub => fit(kind, x - y),
        Binary::Mul if kind == Kind::Decimal => fit(kind, nearest(x * y, ONE)),
        Binary::Div if kind == Kind::Decimal => fit(kind, nearest(x * ONE, y)),
        Binary::Mul => fit(kind, x * y),
        Binary::Div => fit(kind, x / y),
        Binary::Rem => fit(kind, x % y),
        Binary::Eq => Ok(Value::truth(order == Ordering::Equal)),
        Binary::Ne => Ok(Value::truth(order != Ordering::Equal)),
        Binary::Lt => Ok(Value::truth(order == Ordering::Less)),
        Binary::Le => Ok(Value::truth(order != Ordering::Greater)),
        Binary::Gt => Ok(Value::truth(order == Ordering::Greater)),
        Binary::Ge => Ok(Value::truth(order != Ordering::Less)),
        // Whether the second one is looked at is for whoever computes them.
        Binary::And | Binary::Or => Ok(b.clone()),
    }
}

pub(super) fn negative(value: &Value) -> Result<Value, Error> {
    fit(value.kind(), -value.number())
}

/// A function of one value.
pub(super) fn function(name: &str, value: &Value) -> Result<Value, Error> {
    let number = value.number();
    match name {
        "int" => fit(Kind::Int, number / ONE),
        "round" => fit(Kind::Int, nearest(number, ONE)),
        "decimal" => coerced(value.clone(), Kind::Decimal),
        "text" => Ok(Value::Text(value.shown())),
        "abs" => fit(value.kind(), number.abs()),
        "size" => fit(Kind::Int, value.shown().len() as i128),
        name => panic!("no function `{name}`"),
    }
}

/// The lesser or the greater.
pub(super) fn extreme(name: &str, a: &Value, b: &Value) -> Value {
    let first = if name == "min" { a.number() <= b.number() } else { a.number() >= b.number() };
    if first { a.clone() } else { b.clone() }
}

/// Whether one text is in the other.
pub(super) fn found(method: &str, text: &Value, part: &Value) -> Value {
    let (text, part) = (text.shown(), part.shown());
    Value::truth(match method {
        "startsWith" => text.starts_with(&part),
        "endsWith" => text.ends_with(&part),
        _ => text.contains(&part),
    })
}
