//! One copy of the history: what `export` of a node says it holds.
//!
//! The digest of a copy is a sum over the hashes of its lines. It does not depend on the order of
//! the lines, which is that of arrival and differs between a gateway and its hub, and it takes no
//! memory, so that it can be taken of millions of readings.

use std::fmt;
use std::io;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::process::{Edge, Hub};
use crate::waterworks::Value;

/// Number and sum of the hashed lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Digest {
    /// How many lines.
    pub lines: u64,
    sum: u128,
}

impl Digest {
    /// Takes a line.
    pub fn take(&mut self, line: &str) {
        let hash = blake3::hash(line.as_bytes());
        let half = hash.as_bytes().first_chunk::<16>().expect("a hash has 32 bytes");
        self.sum = self.sum.wrapping_add(u128::from_le_bytes(*half));
        self.lines += 1;
    }

    /// The digest of the lines of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { lines: self.lines + other.lines, sum: self.sum.wrapping_add(other.sum) }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x} over {} readings", self.sum, self.lines)
    }
}

/// A series of one node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series {
    /// The id of the node that received it.
    pub node: String,
    /// The device.
    pub device: String,
    /// The metric.
    pub metric: String,
    /// The unit, empty if none was said.
    pub unit: String,
}

/// A reading as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Its series.
    pub series: Series,
    /// When it was measured, nanoseconds since 1970.
    pub time_ns: i128,
    /// What was measured.
    pub value: Value,
    /// The device's boot and sequence.
    pub source: (u32, u64),
    /// Start of the node and entry in its log since then.
    pub log: (u64, u64),
}

#[derive(Deserialize)]
struct Line<'a> {
    node: &'a str,
    device: &'a str,
    metric: &'a str,
    unit: &'a str,
    time: &'a str,
    #[serde(borrow)]
    value: &'a RawValue,
    boot: Option<u32>,
    seq: Option<u64>,
    log: (u64, u64),
}

impl Stored {
    /// Reads a line of `export`.
    ///
    /// # Errors
    /// When it is none, or a reading without the device's own boot and sequence.
    pub fn parse(line: &str) -> Result<Self, String> {
        let bad = |what: &str| format!("an exported line has {what}: {line}");
        let read: Line<'_> = serde_json::from_str(line).map_err(|e| bad(&e.to_string()))?;
        let time: jiff::Timestamp = read.time.parse().map_err(|_| bad("no time"))?;
        let value = match read.value.get() {
            "true" => Value::Switch(true),
            "false" => Value::Switch(false),
            // The standard library's parser is exact; that of the JSON library may be off by a bit.
            number => Value::Number(number.parse().map_err(|_| bad("a strange value"))?),
        };
        Ok(Self {
            series: Series {
                node: read.node.to_owned(),
                device: read.device.to_owned(),
                metric: read.metric.to_owned(),
                unit: read.unit.to_owned(),
            },
            time_ns: time.as_nanosecond(),
            value,
            source: read.boot.zip(read.seq).ok_or_else(|| bad("no boot or sequence"))?,
            log: read.log,
        })
    }
}

/// All readings of a node's store.
#[derive(Debug, Clone, Default)]
pub struct Copy {
    /// The readings in the order in which they were stored there.
    pub stored: Vec<Stored>,
    /// The digest of all lines.
    pub digest: Digest,
}

impl Copy {
    /// What a gateway holds.
    ///
    /// # Errors
    /// When it cannot be exported, or a line cannot be read.
    pub fn of_edge(edge: &Edge) -> io::Result<Self> {
        Self::read(|each| edge.export(each))
    }

    /// What the hub holds.
    ///
    /// # Errors
    /// As [`Copy::of_edge`].
    pub fn of_hub(hub: &Hub) -> io::Result<Self> {
        Self::read(|each| hub.export(each))
    }

    fn read(export: impl FnOnce(&mut dyn FnMut(&str)) -> io::Result<()>) -> io::Result<Self> {
        let mut copy = Self::default();
        let mut wrong = None;
        export(&mut |line| {
            copy.digest.take(line);
            match Stored::parse(line) {
                Ok(stored) => copy.stored.push(stored),
                Err(error) => wrong = Some(error),
            }
        })?;
        wrong.map_or(Ok(copy), |error| Err(io::Error::other(error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_sees_a_changed_and_a_doubled_line_but_no_order() {
        let of = |lines: &[&str]| {
            let mut digest = Digest::default();
            lines.iter().for_each(|line| digest.take(line));
            digest
        };
        assert_eq!(of(&["a", "b"]), of(&["b", "a"]));
        assert_eq!(of(&["a", "b"]), of(&["a"]).and(of(&["b"])));
        assert_ne!(of(&["a", "b"]), of(&["a", "c"]));
        assert_ne!(of(&["a", "a", "b"]), of(&["a", "b", "b"]));
    }

    #[test]
    fn an_exported_line_reads_back() {
        let line = r#"{"boot":1,"device":"d1","log":[2,3],"metric":"level","node":"ab",
            "quality":[],"received":"2026-11-20T18:08:00.904Z","seq":2,
            "time":"1970-01-01T00:00:01.5Z","unit":"m","value":2.25}"#;
        let stored = Stored::parse(line).unwrap();
        assert_eq!((stored.time_ns, stored.value), (1_500_000_000, Value::Number(2.25)));
        assert_eq!((stored.source, stored.log), ((1, 2), (2, 3)));
        assert!(Stored::parse("{}").unwrap_err().contains("missing field"));
    }
}
