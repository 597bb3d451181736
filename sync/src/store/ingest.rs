//! Readings on their way in: series names kept once, items admitted once, one body per commit.
//!
//! The door hands over a batch of *items* (messages), each of one or more readings. An item that
//! carries the device's (boot, sequence) is admitted once; the ranges already seen are committed
//! together with the readings. All admitted readings of a group go into one canonical body.

use super::commits::CommitFilter;
use crate::Fault;
use holdfast_core::codec::Sink;
use holdfast_core::limits::{COMMIT_MAX_BYTES, COMMIT_MAX_ENTRIES};
use holdfast_core::log::readings::{self, Row};
use holdfast_core::log::trace::SpanContext;
use holdfast_core::reading::{DeviceSeq, Finite, Text};
use holdfast_core::{Quality, Reject, SeriesKey, Timestamp, Value};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

/// A series name, kept once per process.
#[derive(Debug, PartialEq, Eq)]
pub struct Series {
    text: Box<str>,
    device_end: u32,
    metric_end: u32,
    /// A number without gaps, for tables by series in this process.
    pub slot: u32,
}

impl Series {
    /// The three parts of the name.
    #[must_use]
    pub fn key(&self) -> SeriesKey<'_> {
        SeriesKey::new(self.device(), self.metric(), self.unit()).expect("checked when interned")
    }

    /// The device's part of the name.
    #[must_use]
    pub fn device(&self) -> &str {
        &self.text[..self.device_end as usize]
    }

    fn metric(&self) -> &str {
        &self.text[self.device_end as usize + 1..self.metric_end as usize]
    }

    fn unit(&self) -> &str {
        &self.text[self.metric_end as usize + 1..]
    }
}

/// All series names seen, each once; bounded, since names come from outside.
#[derive(Debug)]
pub struct Interner {
    names: RwLock<HashMap<Box<str>, Arc<Series>>>,
    max: usize,
}

impl Interner {
    /// Keeps at most `max` names.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { names: RwLock::new(HashMap::new()), max }
    }

    /// The one copy of `key`.
    ///
    /// # Errors
    /// [`Reject::Full`] when it is new and there is no room for it.
    pub fn intern(&self, key: &SeriesKey<'_>) -> Result<Arc<Series>, Reject> {
        // No part can contain a control character, so NUL keeps the parts apart.
        let (device, metric, unit) = (key.device.as_str(), key.metric.as_str(), key.unit.as_str());
        let mut joined = String::with_capacity(device.len() + metric.len() + unit.len() + 2);
        for part in [device, "\0", metric, "\0", unit] {
            joined.push_str(part);
        }
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = names.get(joined.as_str()) {
            return Ok(Arc::clone(series));
        }
        drop(names);
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = names.get(joined.as_str()) {
            return Ok(Arc::clone(series));
        }
        if names.len() >= self.max {
            return Err(Reject::Full);
        }
        let series = Arc::new(Series {
            device_end: device.len() as u32,
            metric_end: (device.len() + 1 + metric.len()) as u32,
            slot: names.len() as u32,
            text: joined.as_str().into(),
        });
        names.insert(joined.into(), Arc::clone(&series));
        Ok(series)
    }

    /// How many names are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether no name is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A value that owns its text.
#[derive(Clone, Debug, PartialEq)]
pub enum OwnedValue {
    /// A finite double.
    Float(Finite),
    /// A signed integer.
    Int(i64),
    /// A switch.
    Bool(bool),
    /// A text of at most 256 bytes.
    Text(Box<str>),
}

impl OwnedValue {
    /// The value, borrowed.
    #[must_use]
    pub fn get(&self) -> Value<'_> {
        match self {
            Self::Float(number) => Value::Float(*number),
            Self::Int(int) => Value::Int(*int),
            Self::Bool(on) => Value::Bool(*on),
            Self::Text(text) => Value::Text(Text::new(text).expect("checked when made")),
        }
    }
}

impl From<Value<'_>> for OwnedValue {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Float(number) => Self::Float(number),
            Value::Int(int) => Self::Int(int),
            Value::Bool(on) => Self::Bool(on),
            Value::Text(text) => Self::Text(text.as_str().into()),
        }
    }
}

/// A reading that waits for its commit.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Its series.
    pub series: Arc<Series>,
    /// The device's time.
    pub time: Option<Timestamp>,
    /// Its value.
    pub value: OwnedValue,
    /// How far to trust it.
    pub quality: Quality,
}

/// One message: its readings are admitted together or not at all.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its readings, in the batch's drafts.
    pub drafts: Range<usize>,
    /// The device's own name for the message, for de-duplication.
    pub source: Option<DeviceSeq>,
}

/// What makes a repeated request recognisable.
#[derive(Clone, Debug)]
pub struct Idempotency {
    /// Token and key, as the door joins them.
    pub key: Vec<u8>,
    /// The hash of the request's body.
    pub body: [u8; 32],
}

/// Items that came in one request.
#[derive(Clone, Debug, Default)]
pub struct IngestBatch {
    /// The messages.
    pub items: Vec<Item>,
    /// Their readings.
    pub drafts: Vec<Draft>,
    /// Set when the request is to be answered once.
    pub idempotency: Option<Idempotency>,
    /// The span that brought it, when it is to be traced.
    pub trace: Option<SpanContext>,
}

impl IngestBatch {
    /// Puts the items of `other` behind its own; what holds for a whole request stays behind.
    pub fn append(&mut self, other: Self) {
        let offset = self.drafts.len();
        self.items.extend(other.items.into_iter().map(|item| Item {
            drafts: item.drafts.start + offset..item.drafts.end + offset,
            ..item
        }));
        self.drafts.extend(other.drafts);
    }
}

/// What became of one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ItemOutcome {
    /// Its readings are stored.
    Accepted = 0,
    /// It was stored before.
    Duplicate = 1,
    /// The memory of the device's sequences is full: it was not stored.
    SequencesFull = 2,
}

/// What became of a batch, item by item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// One for each item, in order.
    pub items: Vec<ItemOutcome>,
    /// Whether this is the answer given to an earlier request with the same key.
    pub replayed: bool,
}

impl Outcome {
    pub(super) fn encode(&self, body: &[u8; 32]) -> Vec<u8> {
        let mut out = body.to_vec();
        // Runs, because almost all items of a batch share one outcome.
        for run in self.items.chunk_by(PartialEq::eq) {
            let head = (run.len() as u64) << 2 | run[0] as u64;
            out.put_uint(head).expect("a growing buffer is never full");
        }
        out
    }

    pub(super) fn decode(value: &[u8]) -> Result<([u8; 32], Self), Fault> {
        let read = || -> Result<_, Reject> {
            let mut reader = holdfast_core::codec::Reader::new(value);
            let body = reader.array()?;
            let mut items = Vec::new();
            while !reader.rest().is_empty() {
                let head = reader.uint()?;
                let outcome = match head & 3 {
                    0 => ItemOutcome::Accepted,
                    1 => ItemOutcome::Duplicate,
                    2 => ItemOutcome::SequencesFull,
                    _ => return Err(Reject::Malformed),
                };
                let len = items.len() + usize::try_from(head >> 2).unwrap_or(usize::MAX);
                if len > COMMIT_MAX_BYTES {
                    return Err(Reject::Malformed);
                }
                items.resize(len, outcome);
            }
            Ok((body, Self { items, replayed: true }))
        };
        read().map_err(|reject| Fault::damaged("idempotency record", reject.code()))
    }
}

/// A body ready to be appended.
#[derive(Debug)]
pub(super) struct Body {
    pub bytes: Vec<u8>,
    pub count: u32,
    pub filter: CommitFilter,
}

/// A reading with its message's name, as bodies want it.
pub(super) type Admitted<'a> = (&'a Draft, Option<DeviceSeq>);

/// Makes as few bodies of `admitted` as the limits of a commit allow.
pub(super) fn bodies(
    admitted: &[Admitted<'_>],
    received: Timestamp,
    places: &mut Places,
) -> Vec<Body> {
    let mut out = Vec::new();
    let mut rest = admitted;
    while !rest.is_empty() {
        let take = fitting(rest);
        let (head, tail) = rest.split_at(take);
        out.push(body(head, received, places));
        rest = tail;
    }
    out
}

/// How many readings surely fit into one body, by the longest encoding each can have.
fn fitting(admitted: &[Admitted<'_>]) -> usize {
    const ROW_MAX: usize = 64;
    let mut bytes = 64;
    for (i, (draft, _)) in admitted.iter().enumerate() {
        bytes += ROW_MAX + draft.series.text.len();
        if let OwnedValue::Text(text) = &draft.value {
            bytes += text.len();
        }
        if i as u32 >= COMMIT_MAX_ENTRIES || bytes > COMMIT_MAX_BYTES {
            return i.max(1);
        }
    }
    admitted.len()
}

/// Where each series stands in the dictionary being made; kept to be used again.
#[derive(Debug, Default)]
pub(super) struct Places {
    by_slot: Vec<(u32, u32)>,
    round: u32,
}

impl Places {
    fn place(&mut self, slot: u32, next: usize) -> (u32, bool) {
        let slot = slot as usize;
        if slot >= self.by_slot.len() {
            self.by_slot.resize(slot + 1, (0, 0));
        }
        let (round, place) = self.by_slot[slot];
        if round == self.round {
            return (place, false);
        }
        self.by_slot[slot] = (self.round, next as u32);
        (next as u32, true)
    }
}

fn body(admitted: &[Admitted<'_>], received: Timestamp, places: &mut Places) -> Body {
    places.round += 1;
    let mut series = Vec::new();
    let mut rows = Vec::with_capacity(admitted.len());
    // The head keeps milliseconds; what is compared with it must be cut the same way.
    let received = Timestamp(received.0 - received.0.rem_euclid(1_000_000));
    for (draft, source) in admitted {
        let (place, new) = places.place(draft.series.slot, series.len());
        if new {
            series.push(draft.series.key());
        }
        let value = draft.value.get();
        let (time, quality) = (draft.time, draft.quality);
        rows.push(Row { series: place, time, value, quality, source: *source });
    }
    let filter = CommitFilter::of(&series, rows.iter().map(|row| row.effective_time(received)));
    let mut bytes = Vec::with_capacity(64 + rows.len() * 12);
    readings::encode(&mut bytes, received, &series, rows.into_iter())
        .expect("a growing buffer is never full");
    Body { bytes, count: admitted.len() as u32, filter }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(interner: &Interner, metric: &str, value: f64) -> Draft {
        let key = SeriesKey::new("d", metric, "m").unwrap();
        Draft {
            series: interner.intern(&key).unwrap(),
            time: None,
            value: OwnedValue::Float(Finite::new(value).unwrap()),
            quality: Quality::GOOD,
        }
    }

    #[test]
    fn a_name_is_kept_once_and_names_are_bounded() {
        let interner = Interner::new(2);
        let a = SeriesKey::new("a", "m", "").unwrap();
        let one = interner.intern(&a).unwrap();
        assert!(Arc::ptr_eq(&one, &interner.intern(&a).unwrap()));
        assert_eq!(one.key(), a);
        let b = SeriesKey::new("a", "m", "K").unwrap();
        assert_eq!(interner.intern(&b).unwrap().slot, 1);
        let c = SeriesKey::new("c", "m", "").unwrap();
        assert_eq!(interner.intern(&c), Err(Reject::Full));
        assert_eq!(interner.len(), 2);
    }

    #[test]
    fn bodies_are_canonical_and_keep_the_order() {
        let interner = Interner::new(10);
        let drafts: Vec<_> =
            (0..40_000).map(|i| draft(&interner, ["x", "y"][i % 2], i as f64)).collect();
        let admitted: Vec<_> = drafts.iter().map(|d| (d, None)).collect();
        let bodies = bodies(&admitted, Timestamp(1_234_567), &mut Places::default());
        assert!(bodies.len() > 2, "the limits of a commit cut");
        let mut seen = 0.0;
        for body in &bodies {
            assert_eq!(readings::check(&body.bytes), Ok(u64::from(body.count)));
            for row in readings::Body::new(&body.bytes).unwrap().rows() {
                assert_eq!(row.unwrap().value.number(), Some(seen));
                seen += 1.0;
            }
        }
        assert_eq!(seen, 40_000.0);
    }

    #[test]
    fn outcomes_read_back() {
        use ItemOutcome::{Accepted, Duplicate, SequencesFull};
        let items = vec![Accepted, Accepted, Duplicate, SequencesFull, Accepted];
        let outcome = Outcome { items, replayed: false };
        let (body, read) = Outcome::decode(&outcome.encode(&[5; 32])).unwrap();
        assert_eq!((body, read.items, read.replayed), ([5; 32], outcome.items, true));
    }
}
