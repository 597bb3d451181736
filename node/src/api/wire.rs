//! How values stand in JSON: one type for each shape, from which its schema is derived, too.

use super::{Data, Nodes};
use crate::pipeline::{Last, Live, Quantile, Rolled, SeriesInfo};
use crate::query::{Found, Stretch};
use crate::time_text::Time;
use holdfast_core::rollup::Sample;
use holdfast_core::{Quality, Timestamp};
use holdfast_sync::store::{OwnedValue, Store};
use schemars::JsonSchema;
use serde::Serialize;

/// A measured value.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "Value")]
pub enum ValueShape {
    /// A number.
    Float(f64),
    /// A whole number beyond 2^53.
    Int(i64),
    /// On or off.
    Bool(bool),
    /// A text.
    Text(String),
}

impl From<&OwnedValue> for ValueShape {
    fn from(value: &OwnedValue) -> Self {
        match value {
            OwnedValue::Float(number) => Self::Float(number.get()),
            OwnedValue::Int(int) => Self::Int(*int),
            OwnedValue::Bool(on) => Self::Bool(*on),
            OwnedValue::Text(text) => Self::Text(text.to_string()),
        }
    }
}

/// As of when an answer is.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct AsOf {
    /// The node's time.
    pub time: Time,
    /// The position of the newest commit.
    pub head: u64,
    /// How far the pipeline has read.
    pub read_to: u64,
    /// The commits between the two.
    pub lag: u64,
}

/// How full a store is.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Usage")]
pub struct UsageShape {
    /// Bytes in use.
    pub used_bytes: u64,
    /// Bytes that may be in use.
    pub quota_bytes: u64,
    /// Bytes by which it grows in a day, once that is known.
    pub growth_per_day: Option<u64>,
    /// For how many days there is room at that rate.
    pub days_left: Option<f64>,
    /// Whether new readings are refused for want of room.
    pub refusing: bool,
    /// Entries removed since the start that the hub had.
    pub shed_acknowledged: u64,
    /// Entries removed since the start that nobody else had.
    pub shed_unacknowledged: u64,
    /// When the last scrub was finished, which reads all that is stored.
    pub scrubbed: Option<Time>,
    /// Damages that it and the one under way have found.
    pub scrub_findings: u64,
}

impl From<&Store> for UsageShape {
    fn from(store: &Store) -> Self {
        let (usage, scrub) = (store.usage(), store.scrubbed());
        Self {
            scrubbed: scrub.finished.map(Time),
            scrub_findings: scrub.findings,
            used_bytes: usage.used_bytes,
            quota_bytes: usage.quota_bytes,
            growth_per_day: usage.growth_per_day,
            days_left: usage.days_left(),
            refusing: usage.refusing,
            shed_acknowledged: usage.shed_acknowledged,
            shed_unacknowledged: usage.shed_unacknowledged,
        }
    }
}

/// How far a pipeline is.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Progress")]
pub struct ProgressShape {
    /// How far it has read.
    pub cursor: u64,
    /// The position of the newest commit.
    pub head: u64,
    /// The commits between the two.
    pub lag: u64,
    /// Commits that it could not read and passed over.
    pub unreadable: u64,
}

impl From<&Data> for ProgressShape {
    fn from(data: &Data) -> Self {
        let progress = *data.progress.borrow();
        let head = data.store.watch().borrow().pos;
        let lag = head.saturating_sub(progress.cursor);
        Self { cursor: progress.cursor, head, lag, unreadable: progress.unreadable }
    }
}

fn words(quality: Quality) -> Vec<&'static str> {
    quality.words().collect()
}

/// The name of a series with its node's.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SeriesName {
    /// The node that took it in.
    pub node: String,
    /// The device.
    pub device: String,
    /// What is measured.
    pub metric: String,
    /// In which unit; may be empty.
    pub unit: String,
}

impl SeriesName {
    pub(super) fn of(nodes: &dyn Nodes, info: &SeriesInfo) -> Self {
        Self {
            node: nodes.name(&info.origin),
            device: info.device.to_string(),
            metric: info.metric.to_string(),
            unit: info.unit.to_string(),
        }
    }
}

/// The newest reading of a series.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct LastReading {
    /// The time under which it is filed.
    pub time: Time,
    /// When the node received it.
    pub received: Time,
    /// What was measured.
    pub value: ValueShape,
    /// What is to be known of it; empty when it is good.
    pub quality: Vec<&'static str>,
}

impl From<&Last> for LastReading {
    fn from(last: &Last) -> Self {
        Self {
            time: Time(last.time),
            received: Time(last.received),
            value: (&last.value).into(),
            quality: words(last.quality),
        }
    }
}

/// A reading.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Reading")]
pub struct ReadingShape {
    /// The time under which it is filed.
    pub time: Time,
    /// The time that the device said.
    pub device_time: Option<Time>,
    /// When the node received it.
    pub received: Time,
    /// What was measured.
    pub value: ValueShape,
    /// What is to be known of it; empty when it is good.
    pub quality: Vec<&'static str>,
    /// The start of the device, if it said so.
    pub boot: Option<u64>,
    /// The number of the device's message, if it said so.
    pub seq: Option<u64>,
}

impl From<&Found> for ReadingShape {
    fn from(found: &Found) -> Self {
        Self {
            time: Time(found.time),
            device_time: found.device_time.map(Time),
            received: Time(found.received),
            value: (&found.value).into(),
            quality: words(found.quality),
            boot: found.source.map(|source| source.boot),
            seq: found.source.map(|source| source.seq),
        }
    }
}

fn seconds(seconds: i64) -> Time {
    Time(Timestamp(seconds.saturating_mul(1_000_000_000)))
}

fn finite(number: f64) -> Option<f64> {
    Some(number).filter(|number| number.is_finite())
}

/// A reading of a window.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Sample")]
pub struct SampleShape {
    /// Its time.
    pub time: Time,
    /// Its value.
    pub value: f64,
}

impl From<&Sample> for SampleShape {
    fn from(sample: &Sample) -> Self {
        Self { time: Time(sample.time), value: sample.value }
    }
}

/// Which summary of a window it is; a greater one takes the place of a lesser.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Revision")]
pub struct RevisionShape {
    /// The start of the node.
    pub boot: u64,
    /// The number within it.
    pub seq: u64,
}

/// A window's summary.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Window")]
pub struct WindowShape {
    /// Where it begins.
    pub start: Time,
    /// Where it ends; this moment is not in it.
    pub end: Time,
    /// How many readings there are.
    pub count: u64,
    /// Their sum, if it is not too large for a 64-bit float.
    pub sum: Option<f64>,
    /// Their mean, likewise.
    pub mean: Option<f64>,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// The greatest less the least, if it is not too large for a 64-bit float.
    pub spread: Option<f64>,
    /// The variance, as that of a sample: with `count - 1`. None of one reading, nor where the
    /// gateway did not keep it yet.
    pub variance: Option<f64>,
    /// The standard deviation: its square root.
    pub stddev: Option<f64>,
    /// The first.
    pub first: SampleShape,
    /// The last.
    pub last: SampleShape,
    /// The quantiles asked for, in their order; empty where the gateway did not keep them yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub quantiles: Vec<QuantileShape>,
    /// Which summary of the window it is; of one made of several, the newest of theirs.
    pub revision: RevisionShape,
}

/// A quantile of a window.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Quantile")]
pub struct QuantileShape {
    /// Which: 0.5 is the median.
    pub q: f64,
    /// The value that this part of the readings do not exceed.
    pub value: f64,
    /// By how much the value may be off, either way.
    pub error: f64,
}

impl WindowShape {
    /// A window with some of its quantiles.
    #[must_use]
    pub fn of(at: Stretch, rolled: &Rolled, quantiles: &[f64]) -> Self {
        let summary = &rolled.summary;
        let quantiles = quantiles.iter().filter_map(|q| {
            let Quantile { value, error } = rolled.quantile(*q)?;
            Some(QuantileShape { q: *q, value, error })
        });
        Self {
            start: seconds(at.start_s),
            end: seconds(at.end_s),
            count: summary.count,
            sum: finite(summary.sum),
            mean: finite(summary.mean()),
            min: summary.min,
            max: summary.max,
            spread: finite(summary.max - summary.min),
            variance: summary.variance().and_then(finite),
            stddev: summary.variance().map(f64::sqrt).and_then(finite),
            first: (&summary.first).into(),
            last: (&summary.last).into(),
            quantiles: quantiles.collect(),
            revision: RevisionShape { boot: summary.revision.boot, seq: summary.revision.seq },
        }
    }
}

/// The newest value of a series that changed, as the event `readings` lists it.
#[derive(Clone, Debug, Serialize)]
pub struct LiveShape {
    #[serde(flatten)]
    name: SeriesName,
    last: LastReading,
}

/// What the event `readings` carries: the newest value of each series that changed.
#[must_use]
pub fn live_shapes(nodes: &dyn Nodes, live: &[Live]) -> Vec<LiveShape> {
    let each = live.iter().map(|live| LiveShape {
        name: SeriesName::of(nodes, &live.series),
        last: (&live.last).into(),
    });
    each.collect()
}
