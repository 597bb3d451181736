//! Entries as requests: lines of JSON, and a key by which a repeated request is recognised.
//!
//! The key of a batch follows from its body and the key before it, so it names content and place:
//! the same file read again gives the same keys, however often it was interrupted, and equal
//! stretches of one file have different ones.

use super::Entry;
use crate::formats::{DecodedReading, DecodedValue, ITEMS_MAX, Place};
use holdfast_core::Quality;
use holdfast_node::time_text::Time;
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::fmt;

/// Entries of a request, far below what one may have: an interruption costs little, and a slow
/// node answers in time.
const BATCH_ENTRIES: usize = 1_000;
/// Bytes of a request from which on no entry is added.
const BATCH_BYTES: usize = 128 << 10;

const _: () = assert!(BATCH_ENTRIES <= ITEMS_MAX);

/// The key of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Default for Key {
    fn default() -> Self {
        Self(*blake3::hash(b"holdfast file 1").as_bytes())
    }
}

impl Key {
    /// The key of `body` behind this one.
    #[must_use]
    pub fn then(self, body: &[u8]) -> Self {
        let mut hash = blake3::Hasher::new();
        hash.update(&self.0);
        hash.update(body);
        Self(*hash.finalize().as_bytes())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("file-")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A request to be posted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Lines of JSON.
    pub body: Vec<u8>,
    /// Where each item is in the file.
    pub places: Vec<Place>,
    /// Its key.
    pub key: Key,
}

impl Batch {
    fn push(&mut self, entry: &Entry, device: Option<&str>) {
        let line = Line { entry, device: entry.device.as_deref().or(device) };
        serde_json::to_writer(&mut self.body, &line).expect("a vector takes all");
        self.body.push(b'\n');
        self.places.push(entry.place);
    }

    const fn is_full(&self) -> bool {
        self.places.len() >= BATCH_ENTRIES || self.body.len() >= BATCH_BYTES
    }
}

/// Gathers entries into batches.
#[derive(Debug, Default)]
pub struct Batcher {
    device: Option<String>,
    batch: Batch,
    last: Key,
}

impl Batcher {
    /// A batcher that names `device` where an entry names none.
    #[must_use]
    pub fn new(device: Option<String>) -> Self {
        Self { device, ..Self::default() }
    }

    /// Adds an entry, and gives a batch when one is full.
    pub fn push(&mut self, entry: &Entry) -> Option<Batch> {
        self.batch.push(entry, self.device.as_deref());
        if self.batch.is_full() { self.take() } else { None }
    }

    /// The batch so far, if there is anything in it.
    pub fn take(&mut self) -> Option<Batch> {
        let mut batch = std::mem::take(&mut self.batch);
        if batch.places.is_empty() {
            return None;
        }
        self.last = self.last.then(&batch.body);
        batch.key = self.last;
        Some(batch)
    }
}

/// An entry as a line of JSON.
struct Line<'a> {
    entry: &'a Entry,
    device: Option<&'a str>,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let readings = &self.entry.readings;
        let mut map = serializer.serialize_map(None)?;
        if let Some(device) = self.device {
            map.serialize_entry("device", device)?;
        }
        if let Some(time) = self.entry.time() {
            map.serialize_entry("time", &Time(time))?;
        }
        let quality = readings.first().map_or(Quality::GOOD, |reading| reading.quality);
        if quality.has(Quality::BAD) {
            map.serialize_entry("quality", "bad")?;
        } else if quality.has(Quality::UNCERTAIN) {
            map.serialize_entry("quality", "uncertain")?;
        }
        if let Some(source) = self.entry.source {
            map.serialize_entry("boot", &source.boot)?;
            map.serialize_entry("seq", &source.seq)?;
        }
        map.serialize_entry("values", &Values(readings))?;
        map.end()
    }
}

struct Values<'a>(&'a [DecodedReading<'static>]);

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|reading| (&reading.metric, Measured(reading))))
    }
}

struct Measured<'a>(&'a DecodedReading<'static>);

impl Serialize for Measured<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match &self.0.value {
            DecodedValue::Float(number) => map.serialize_entry("value", &number.get())?,
            DecodedValue::Int(int) => map.serialize_entry("value", int)?,
            DecodedValue::Bool(on) => map.serialize_entry("value", on)?,
            DecodedValue::Text(text) => map.serialize_entry("value", text)?,
        }
        if !self.0.unit.is_empty() {
            map.serialize_entry("unit", &self.0.unit)?;
        }
        map.end()
    }
}
