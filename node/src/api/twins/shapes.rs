//! How twins stand in JSON.

use crate::time_text::Time;
use crate::twins::{Difference, Leaf, Part, Section, Twin, Twins, Version, differences, json};
use data_encoding::HEXLOWER;
use holdfast_core::state::{Cell, Content, Key, Value as CellValue};
use holdfast_core::{NodeId, Timestamp};
use holdfast_sync::docs::{Page, PastChange, PastPut};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// A time that a writer's clock said.
pub(in crate::api) fn time(ms: u64) -> Time {
    let ns = i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    Time(Timestamp(ns))
}

/// A device's twin.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Twin")]
pub(super) struct TwinShape {
    /// The device.
    device: String,
    /// What it should be.
    desired: PartShape,
    /// What it says it is.
    reported: PartShape,
    /// What people call it; not told to the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<PartShape>,
    /// Where it does not report what is desired.
    differences: Vec<DifferenceShape>,
}

impl TwinShape {
    /// With metadata where `writers`, the nodes that may have written it, are given.
    pub(super) fn of(
        twins: &Twins,
        device: &str,
        twin: &Twin,
        writers: Option<&BTreeSet<NodeId>>,
        with_tags: bool,
    ) -> Self {
        let part = |part: &Part| PartShape {
            version: part.version.to_string(),
            values: part.shown.object(),
            metadata: writers.map(|writers| {
                let told = |leaf: &Leaf| LeafShape {
                    at: time(leaf.stamp.millis()),
                    author: twins.author_name(device, (leaf.author, leaf.role), writers),
                    role: leaf.role.name(),
                };
                let leaves = part.shown.iter();
                leaves.map(|(path, leaf)| (path.to_owned(), told(leaf))).collect()
            }),
        };
        Self {
            device: device.to_owned(),
            desired: part(&twin.desired),
            reported: part(&twin.reported),
            tags: with_tags.then(|| part(&twin.tags)),
            differences: differences_of(twin),
        }
    }
}

/// A section of a twin.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "TwinSection")]
struct PartShape {
    /// Its version, which is its `ETag` without the quotes.
    version: String,
    /// What it shows.
    values: Map<String, Value>,
    /// By path (names split by `/`), when that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<BTreeMap<String, LeafShape>>,
}

/// Who wrote a value, and when.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "TwinMetadata")]
struct LeafShape {
    /// When, by the writer's clock.
    at: Time,
    /// A node's name or a device.
    author: String,
    /// `hub`, `edge` or `device`.
    role: &'static str,
}

/// A path where desired and reported differ.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "TwinDifference")]
struct DifferenceShape {
    /// The path: names split by `/`.
    path: String,
    /// What the device should have there.
    desired: Value,
    /// What it says it has; left out when it says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    reported: Option<Value>,
}

fn differences_of(twin: &Twin) -> Vec<DifferenceShape> {
    let found = differences(&twin.desired.shown, &twin.reported.shown).into_iter();
    let shape =
        |Difference { path, desired, reported }| DifferenceShape { path, desired, reported };
    found.map(shape).collect()
}

/// What is desired of a device and not reported by it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "TwinDifferences")]
pub(super) struct DifferenceList {
    /// The device.
    device: String,
    /// Whether it reports all that is desired.
    in_sync: bool,
    /// The version of what is desired.
    desired: String,
    /// The version of what is reported.
    reported: String,
    /// Where the two differ.
    differences: Vec<DifferenceShape>,
}

impl DifferenceList {
    pub(super) fn of(device: String, twin: &Twin) -> Self {
        let differences = differences_of(twin);
        Self {
            device,
            in_sync: differences.is_empty(),
            desired: twin.desired.version.to_string(),
            reported: twin.reported.version.to_string(),
            differences,
        }
    }
}

/// Devices that have a twin.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TwinList {
    pub(super) twins: Vec<TwinLine>,
    /// Whether there are more behind them.
    pub(super) more: bool,
}

/// A device and the versions of its sections; null where nothing was ever written.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TwinLine {
    /// The device.
    device: String,
    desired: Option<String>,
    reported: Option<String>,
    tags: Option<String>,
    /// At how many paths it does not report what is desired.
    differences: usize,
}

impl From<(String, Twin)> for TwinLine {
    fn from((device, twin): (String, Twin)) -> Self {
        let nothing = Version::of(&[]);
        let version = |section: Section| {
            let version = twin.part(section).version;
            (version != nothing).then(|| version.to_string())
        };
        Self {
            desired: version(Section::Desired),
            reported: version(Section::Reported),
            tags: version(Section::Tags),
            differences: differences(&twin.desired.shown, &twin.reported.shown).len(),
            device,
        }
    }
}

/// The changes of a section, the newest first.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "TwinHistory")]
pub(super) struct PastList {
    /// The device.
    device: String,
    /// The section.
    section: &'static str,
    changes: Vec<PastShape>,
    /// Whether there are older ones.
    more: bool,
}

/// A change of a section.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "TwinChange")]
struct PastShape {
    /// Its hash, for `before`.
    change: String,
    /// When, by the clock of the node that made it.
    at: Time,
    /// The node that made it.
    node: String,
    /// What it put.
    paths: Vec<PutShape>,
}

/// What a change put at a path.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "TwinPut")]
struct PutShape {
    /// The path.
    path: String,
    /// What had been there; null for nothing.
    from: Value,
    /// What is there since; null for nothing.
    to: Value,
    /// Whose word it is: a node or a device.
    author: String,
    /// `hub`, `edge` or `device`.
    role: &'static str,
}

impl PastList {
    pub(super) fn of(twins: &Twins, device: String, section: Section, page: &Page) -> Self {
        let writers = page.changes.iter().map(|change| change.node).collect();
        let changes = page.changes.iter();
        let changes = changes.map(|change| past(twins, &device, &writers, change)).collect();
        Self { device, section: section.name(), changes, more: page.more }
    }
}

fn past(twins: &Twins, device: &str, writers: &BTreeSet<NodeId>, change: &PastChange) -> PastShape {
    let paths = change.puts.iter().filter_map(|put| {
        let PastPut { key, before, after } = put;
        let (key, cell) = (Key::parse(key).ok()?, Cell::from_bytes(after).ok()?);
        let before = before.iter().filter_map(|cell| Cell::from_bytes(cell).ok());
        Some(PutShape {
            path: key.path.as_str().to_owned(),
            from: before.max().map_or(Value::Null, |cell| content(&cell)),
            to: content(&cell),
            author: twins.author_name(device, (cell.author, cell.role), writers),
            role: cell.role.name(),
        })
    });
    PastShape {
        change: HEXLOWER.encode(&change.hash),
        at: time(u64::try_from(change.time_ms).unwrap_or(0)),
        node: twins.node_name(&change.node),
        paths: paths.collect(),
    }
}

/// What a cell says: a value, an author's part of a counter as its sum, of a set as its elements.
fn content(cell: &Cell<'_>) -> Value {
    let present = |(value, length): (CellValue<'_>, u16)| (length % 2 == 1).then(|| json(value));
    match cell.content {
        Content::Tombstone => Value::Null,
        Content::Value(value) => json(value),
        Content::Counter(tally) => {
            let sum = i128::from(tally.plus) - i128::from(tally.minus);
            Value::from(sum.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
        }
        Content::Set(elements) => elements.iter().filter_map(present).collect(),
    }
}
