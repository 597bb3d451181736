//! How values stand in JSON.

use super::{Data, Nodes};
use crate::pipeline::{Last, Live, SeriesInfo};
use crate::query::Found;
use crate::time_text::Time;
use holdfast_core::Quality;
use holdfast_core::Timestamp;
use holdfast_core::rollup::{Sample, Summary, Window};
use holdfast_sync::store::{OwnedValue, Usage};
use serde_json::{Map, Value, json};

/// A measured value.
#[must_use]
pub fn value_json(value: &OwnedValue) -> Value {
    match value {
        OwnedValue::Float(number) => json!(number.get()),
        OwnedValue::Int(int) => json!(int),
        OwnedValue::Bool(on) => json!(on),
        OwnedValue::Text(text) => json!(text),
    }
}

/// How full a store is.
#[must_use]
pub fn usage_json(usage: &Usage) -> Value {
    json!({
        "used_bytes": usage.used_bytes,
        "quota_bytes": usage.quota_bytes,
        "growth_per_day": usage.growth_per_day,
        "days_left": usage.days_left(),
        "refusing": usage.refusing,
        "shed_acknowledged": usage.shed_acknowledged,
        "shed_unacknowledged": usage.shed_unacknowledged,
    })
}

/// How far a pipeline is.
#[must_use]
pub fn progress_json(data: &Data) -> Value {
    let progress = *data.progress.borrow();
    let head = data.store.watch().borrow().pos;
    json!({
        "cursor": progress.cursor,
        "head": head,
        "lag": head.saturating_sub(progress.cursor),
        "unreadable": progress.unreadable,
    })
}

fn quality(quality: Quality) -> Value {
    quality.words().collect::<Vec<_>>().into()
}

/// The name of a series with its node's.
pub(super) fn series(nodes: &dyn Nodes, info: &SeriesInfo) -> Map<String, Value> {
    let mut out = Map::new();
    out.insert("node".into(), nodes.name(&info.origin).into());
    out.insert("device".into(), (*info.device).into());
    out.insert("metric".into(), (*info.metric).into());
    out.insert("unit".into(), (*info.unit).into());
    out
}

pub(super) fn last(last: &Last) -> Value {
    json!({
        "time": Time(last.time),
        "received": Time(last.received),
        "value": value_json(&last.value),
        "quality": quality(last.quality),
    })
}

pub(super) fn reading(found: &Found) -> Value {
    json!({
        "time": Time(found.time),
        "device_time": found.device_time.map(Time),
        "received": Time(found.received),
        "value": value_json(&found.value),
        "quality": quality(found.quality),
        "boot": found.source.map(|source| source.boot),
        "seq": found.source.map(|source| source.seq),
    })
}

fn seconds(seconds: i64) -> Time {
    Time(Timestamp(seconds.saturating_mul(1_000_000_000)))
}

fn sample(sample: &Sample) -> Value {
    json!({ "time": Time(sample.time), "value": sample.value })
}

pub(super) fn window((window, summary): &(Window, Summary)) -> Value {
    json!({
        "start": seconds(window.start_s),
        "end": seconds(window.end_s()),
        "count": summary.count,
        "sum": summary.sum,
        "mean": summary.mean(),
        "min": summary.min,
        "max": summary.max,
        "first": sample(&summary.first),
        "last": sample(&summary.last),
        "revision": { "boot": summary.revision.boot, "seq": summary.revision.seq },
    })
}

/// What the event `readings` carries: the newest value of each series that changed.
#[must_use]
pub fn live_json(nodes: &dyn Nodes, live: &[Live]) -> Value {
    let each = live.iter().map(|live| {
        let mut out = series(nodes, &live.series);
        out.insert("last".into(), last(&live.last));
        Value::Object(out)
    });
    each.collect::<Vec<_>>().into()
}
