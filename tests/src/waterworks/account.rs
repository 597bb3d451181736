//! The account of what devices were told: the measure of every promise about loss and doubles.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use super::item::{Item, Key, Value};

/// An item the gateway acknowledged.
#[derive(Debug, Clone, PartialEq)]
pub struct Acknowledged {
    /// The item.
    pub item: Item,
    /// What was noted when the acknowledgement came, such as the length of a power-cut journal.
    pub note: u64,
}

/// A series: device, metric, unit.
pub type SeriesKey = (Arc<str>, &'static str, Option<&'static str>);

/// One point of a series: time, then (boot, sequence), then the value.
pub type Point = (i64, u32, u64, Value);

/// What became of every item that was posted.
#[derive(Debug, Clone, Default)]
pub struct Account {
    acknowledged: BTreeMap<Key, Acknowledged>,
    refused: BTreeMap<Key, String>,
    in_doubt: BTreeMap<Key, Item>,
    posted: Vec<Key>,
    /// Posts that were repeated because no acknowledgement came.
    pub retries: u64,
    /// Items that the gateway recognised as posted before.
    pub duplicates: u64,
}

impl Account {
    /// The item is about to be posted: until there is an answer nobody knows.
    pub fn post(&mut self, item: &Item) {
        self.in_doubt.insert(item.key.clone(), item.clone());
        self.posted.push(item.key.clone());
    }

    /// The item was acknowledged.
    pub fn acknowledge(&mut self, item: &Item, note: u64) {
        self.in_doubt.remove(&item.key);
        let (key, item) = (item.key.clone(), item.clone());
        self.acknowledged.insert(key, Acknowledged { item, note });
    }

    /// The item was refused for the reason `code`.
    pub fn refuse(&mut self, key: &Key, code: &str) {
        self.in_doubt.remove(key);
        self.refused.insert(key.clone(), code.to_owned());
    }

    /// Items that must be on the hub exactly once.
    #[must_use]
    pub fn acknowledged(&self) -> &BTreeMap<Key, Acknowledged> {
        &self.acknowledged
    }

    /// Items that must not be there, with the reason.
    #[must_use]
    pub fn refused(&self) -> &BTreeMap<Key, String> {
        &self.refused
    }

    /// Items that may be there once or not at all: posted, and never answered.
    #[must_use]
    pub fn in_doubt(&self) -> &BTreeMap<Key, Item> {
        &self.in_doubt
    }

    /// Every item in the order in which it was first posted; of one device that is the order in
    /// which it has to be stored.
    #[must_use]
    pub fn posted(&self) -> &[Key] {
        &self.posted
    }

    /// The acknowledged points of every series in the order of time.
    #[must_use]
    pub fn series(&self) -> BTreeMap<SeriesKey, Vec<Point>> {
        let mut series: BTreeMap<SeriesKey, Vec<Point>> = BTreeMap::new();
        for Acknowledged { item, .. } in self.acknowledged.values() {
            for reading in &item.readings {
                let key = (Arc::clone(&item.key.device), reading.metric, reading.unit);
                let point = (item.time_ms, item.key.boot, item.key.seq, reading.value);
                series.entry(key).or_default().push(point);
            }
        }
        for points in series.values_mut() {
            points.sort_by_key(|(time, boot, seq, _)| (*time, *boot, *seq));
        }
        series
    }

    /// Number of acknowledged readings.
    #[must_use]
    pub fn readings(&self) -> u64 {
        self.acknowledged.values().map(|a| a.item.readings.len() as u64).sum()
    }

    /// Writes the acknowledged items as lines of JSON, in the form in which they are posted.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn write_ndjson(&self, mut out: impl Write) -> io::Result<()> {
        let mut line = String::new();
        for Acknowledged { item, .. } in self.acknowledged.values() {
            line.clear();
            item.write_json(&mut line);
            line.push('\n');
            out.write_all(line.as_bytes())?;
        }
        Ok(())
    }
}
