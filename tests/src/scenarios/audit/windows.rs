//! Rollups, computed anew from raw readings in the order of the log, by nothing but the formulas.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::copy::{Series, Stored};
use crate::client::Client;
use crate::waterworks::Value;

/// A window: series, width and start in seconds.
pub type Key = (Series, u32, i64);

/// What a window comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    count: u64,
    sum: f64,
    least: f64,
    greatest: f64,
    first: (i128, f64),
    last: (i128, f64),
    revision: (u64, u64),
}

/// All windows of the readings, which must be in the order of the log.
pub fn recompute<'a>(
    log: impl Iterator<Item = &'a Stored>,
    widths_s: &[u32],
) -> BTreeMap<Key, Summary> {
    let mut windows: BTreeMap<Key, Summary> = BTreeMap::new();
    for stored in log {
        let value = match stored.value {
            Value::Number(number) => number,
            Value::Switch(on) => f64::from(u8::from(on)),
        };
        let seconds = i64::try_from(stored.time_ns.div_euclid(1_000_000_000));
        let seconds = seconds.expect("exported times lie within four digits of a year");
        for width_s in widths_s {
            let width = i64::from(*width_s);
            let key = (stored.series.clone(), *width_s, seconds.div_euclid(width) * width);
            let at = (stored.time_ns, value);
            let single = || Summary {
                count: 0,
                sum: 0.0,
                least: value,
                greatest: value,
                first: at,
                last: at,
                revision: stored.log,
            };
            let window = windows.entry(key).or_insert_with(single);
            window.sum = if window.count == 0 { value } else { window.sum + value };
            window.count += 1;
            window.least = window.least.min(value);
            window.greatest = window.greatest.max(value);
            if at.0 < window.first.0 {
                window.first = at;
            }
            if at.0 >= window.last.0 {
                window.last = at;
            }
            window.revision = stored.log;
        }
    }
    windows
}

#[derive(Deserialize)]
struct Answer {
    nodes: Vec<OfNode>,
}

#[derive(Deserialize)]
struct OfNode {
    windows: Vec<Shown>,
}

#[derive(Deserialize)]
struct Shown {
    start: String,
    count: u64,
    sum: Box<RawValue>,
    min: Box<RawValue>,
    max: Box<RawValue>,
    first: Sample,
    last: Sample,
    revision: Revision,
}

#[derive(Deserialize)]
struct Sample {
    time: String,
    value: Box<RawValue>,
}

#[derive(Deserialize)]
struct Revision {
    boot: u64,
    seq: u64,
}

fn time_ns(text: &str) -> i128 {
    text.parse::<jiff::Timestamp>().expect("a time is RFC 3339").as_nanosecond()
}

fn number(text: &RawValue) -> f64 {
    text.get().parse().expect("a sum or value is a number")
}

impl Shown {
    fn summary(&self) -> Summary {
        let sample = |s: &Sample| (time_ns(&s.time), number(&s.value));
        Summary {
            count: self.count,
            sum: number(&self.sum),
            least: number(&self.min),
            greatest: number(&self.max),
            first: sample(&self.first),
            last: sample(&self.last),
            revision: (self.revision.boot, self.revision.seq),
        }
    }
}

/// The windows of one series and width that a node shows.
///
/// # Panics
/// When the node answers with something else.
pub async fn shown(client: &mut Client, series: &Series, width_s: u32) -> BTreeMap<Key, Summary> {
    let Series { node, device, metric, unit } = series;
    let path = format!(
        "/v1/rollups?node={node}&device={device}&metric={metric}&unit={unit}&width={width_s}s\
         &from=1970-01-01T00:00:00Z&to=2100-01-01T00:00:00Z&limit=100000"
    );
    let answer = client.get(&path).await.expect("the node answers");
    assert!(answer.status.is_success(), "{path}: {}", answer.text());
    let answer: Answer = serde_json::from_slice(&answer.body).expect("rollups have their form");
    let windows = answer.nodes.iter().flat_map(|node| &node.windows).map(|window| {
        let start_s = time_ns(&window.start).div_euclid(1_000_000_000);
        let start_s = i64::try_from(start_s).expect("a time has four digits of a year");
        ((series.clone(), width_s, start_s), window.summary())
    });
    windows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_runs_in_the_order_of_the_log() {
        let series = Series {
            node: "ab".into(),
            device: "d1".into(),
            metric: "level".into(),
            unit: String::new(),
        };
        let stored = |entry: u64, second: i128, value: f64| Stored {
            series: series.clone(),
            time_ns: second * 1_000_000_000,
            value: Value::Number(value),
            source: (1, entry),
            log: (1, entry),
        };
        let log = [stored(1, 61, 0.1), stored(2, 59, 0.2), stored(3, 60, 0.3), stored(4, 62, 0.2)];
        let windows = recompute(log.iter(), &[60]);
        let late = windows[&(series.clone(), 60, 60)];
        assert_eq!(late.sum.to_bits(), (0.1 + 0.3 + 0.2f64).to_bits());
        assert_eq!((late.count, late.least, late.greatest), (3, 0.1, 0.3));
        assert_eq!((late.first.1, late.last.1, late.revision), (0.3, 0.2, (1, 4)));
        assert_eq!(windows[&(series, 60, 0)].count, 1);
    }
}
