//! What devices send, turned into items of readings. Pure: bytes in, items or errors out.
//!
//! A request has *items* (messages), an item has readings that are admitted together or not at
//! all. A wrong item is an [`ItemError`] beside its good neighbours; only a body whose items cannot
//! be told apart is a [`BodyError`]. Strings are borrowed from the body wherever they have no
//! escapes, and all readings of a request lie in one vector. Whether a device's clock is believable
//! is judged later, by the receive time.

pub mod json;
pub mod line;
pub mod media;
pub(crate) mod scanner;
pub mod senml;
pub mod shape;

use holdfast_core::reading::{DeviceSeq, Finite, Text};
use holdfast_core::{Quality, Reject, Timestamp, Value};
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// Items in one request: bounds its answer, which names each of them.
pub const ITEMS_MAX: usize = 10_000;
/// Readings in one item: bounds what is admitted together.
pub const ITEM_READINGS_MAX: usize = 1_000;

/// The code of an item whose text does not follow the format.
pub const SYNTAX: &str = "syntax";
/// The code of a member that no item has.
pub const UNKNOWN_MEMBER: &str = "unknown-member";
/// The code of a member, tag, field or metric that comes twice in an item.
pub const DUPLICATE_MEMBER: &str = "duplicate-member";
/// The code of a member that is needed and absent.
pub const MISSING_MEMBER: &str = "missing-member";
/// The code of members that exclude each other.
pub const CONFLICTING_MEMBERS: &str = "conflicting-members";
/// The code of a member of the wrong type.
pub const WRONG_TYPE: &str = "wrong-type";
/// The code of a value that is no number, switch or text.
pub const INVALID_VALUE: &str = "invalid-value";
/// The code of a quality that is none of the known words.
pub const INVALID_QUALITY: &str = "invalid-quality";
/// The code of a SenML name that breaks the rules for names.
pub const INVALID_NAME: &str = "invalid-name";
/// The code of an item with more than [`ITEM_READINGS_MAX`] readings.
pub const TOO_MANY_READINGS: &str = "too-many-readings";

/// A value as decoded.
#[derive(Clone, Debug, PartialEq)]
pub enum DecodedValue<'a> {
    /// A finite double.
    Float(Finite),
    /// A signed integer.
    Int(i64),
    /// A switch.
    Bool(bool),
    /// A text of at most 256 bytes.
    Text(Cow<'a, str>),
}

impl<'a> DecodedValue<'a> {
    pub(crate) fn text(text: Cow<'a, str>) -> Result<Self, Reject> {
        Text::new(&text)?;
        Ok(Self::Text(text))
    }

    /// The value, borrowed.
    #[must_use]
    pub fn get(&self) -> Value<'_> {
        match self {
            Self::Float(number) => Value::Float(*number),
            Self::Int(int) => Value::Int(*int),
            Self::Bool(on) => Value::Bool(*on),
            Self::Text(text) => Value::Text(Text::new(text).expect("checked when decoded")),
        }
    }
}

/// A reading as decoded; its names are valid, its device is the item's.
#[derive(Clone, Debug, PartialEq)]
pub struct DecodedReading<'a> {
    /// What was measured.
    pub metric: Cow<'a, str>,
    /// In which unit; empty when the device says none.
    pub unit: Cow<'a, str>,
    /// When, if the device says so.
    pub time: Option<Timestamp>,
    /// What came out.
    pub value: DecodedValue<'a>,
    /// What the device says about it.
    pub quality: Quality,
}

/// Where an item is in its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It is the whole body.
    Body,
    /// An element of an array, from 0.
    Element(usize),
    /// A line, from 1.
    Line(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body => Ok(()),
            Self::Element(index) => write!(f, "/{index}"),
            Self::Line(number) => write!(f, "line {number}"),
        }
    }
}

/// A message whose readings are admitted together or not at all.
#[derive(Clone, Debug, PartialEq)]
pub struct DecodedItem<'a> {
    /// Where it is.
    pub place: Place,
    /// The device it names, if it does; valid.
    pub device: Option<Cow<'a, str>>,
    /// The device's own name for the message.
    pub source: Option<DeviceSeq>,
    /// Where its readings lie in [`Decoded::readings`]; empty for a SenML record that only says
    /// what holds for those behind it.
    pub readings: Range<usize>,
}

/// Why one item was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemError {
    /// The item's number in the request, from 0.
    pub index: usize,
    /// Where the item is.
    pub place: Place,
    /// The stable code: one of this module or of [`Reject`].
    pub code: &'static str,
    /// What was found and what was expected.
    pub detail: Cow<'static, str>,
    /// Where in the request: the place of the item, and a JSON pointer within it.
    pub at: String,
}

impl ItemError {
    /// An error in what is at `path` of an item, as a JSON pointer.
    #[must_use]
    pub fn new(
        index: usize,
        place: Place,
        path: &str,
        code: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { index, place, code, detail: detail.into(), at: format!("{place}{path}") }
    }
}

/// What became of one item.
pub type ItemResult<'a> = Result<DecodedItem<'a>, ItemError>;

/// A decoded request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decoded<'a> {
    /// The items, in the order of the request.
    pub items: Vec<ItemResult<'a>>,
    /// The readings of all good items.
    pub readings: Vec<DecodedReading<'a>>,
    /// Where items of this format name their device, for a sentence.
    pub device_in: &'static str,
}

impl<'a> Decoded<'a> {
    /// Makes room for what a body of this length usually has.
    fn for_body(length: usize, device_in: &'static str) -> Self {
        let guess = (length / 48).min(ITEMS_MAX);
        let (items, readings) = (Vec::with_capacity(guess), Vec::with_capacity(guess));
        Self { items, readings, device_in }
    }

    /// The readings of an item of this request.
    #[must_use]
    pub fn readings_of(&self, item: &DecodedItem<'a>) -> &[DecodedReading<'a>] {
        &self.readings[item.readings.clone()]
    }

    /// The errors, in the order of the request.
    pub fn errors(&self) -> impl Iterator<Item = &ItemError> {
        self.items.iter().filter_map(|item| item.as_ref().err())
    }

    fn check_room(&self) -> Result<(), BodyError> {
        if self.items.len() < ITEMS_MAX {
            return Ok(());
        }
        Err(BodyError {
            fault: BodyFault::TooManyItems,
            detail: format!("a request has at most {ITEMS_MAX} items"),
            at: format!("item {ITEMS_MAX}"),
        })
    }

    /// Closes the item whose readings start at `first`: kept whole, or not at all.
    fn close(&mut self, first: usize, parsed: Result<ItemHead<'a>, ItemFault>, place: Place) {
        let item = match parsed {
            Ok((device, source)) => {
                Ok(DecodedItem { place, device, source, readings: first..self.readings.len() })
            }
            Err(fault) => {
                self.readings.truncate(first);
                let ItemFault { code, detail, path } = fault;
                Err(ItemError::new(self.items.len(), place, &path, code, detail))
            }
        };
        self.items.push(item);
    }

    /// The name that two readings from `first` on share, if any do.
    pub(crate) fn repeated_metric(&self, first: usize) -> Option<&str> {
        let readings = &self.readings[first..];
        // Almost all items have a handful of readings; then comparing all pairs beats sorting.
        if readings.len() <= 8 {
            return readings.iter().enumerate().find_map(|(i, reading)| {
                readings[..i].iter().any(|r| r.metric == reading.metric).then_some(&*reading.metric)
            });
        }
        let mut names: Vec<&str> = readings.iter().map(|r| &*r.metric).collect();
        names.sort_unstable();
        names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
    }
}

/// What an item says about all its readings: its device and the device's name for it.
type ItemHead<'a> = (Option<Cow<'a, str>>, Option<DeviceSeq>);

/// An item's error before its place is known.
#[derive(Debug)]
struct ItemFault {
    code: &'static str,
    detail: Cow<'static, str>,
    /// Where within the item, as a JSON pointer; empty for the item itself.
    path: String,
}

impl ItemFault {
    fn new(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), path: String::new() }
    }
}

impl From<Reject> for ItemFault {
    fn from(reject: Reject) -> Self {
        Self::new(reject.code(), reject.to_string())
    }
}

/// What is wrong with a body as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFault {
    /// It does not follow the format.
    Malformed,
    /// It has more than [`ITEMS_MAX`] items.
    TooManyItems,
}

/// Why nothing of a body was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyError {
    /// Which kind of error.
    pub fault: BodyFault,
    /// What was found and what was expected.
    pub detail: String,
    /// Where.
    pub at: String,
}
