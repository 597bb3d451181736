//! Lines as `export` writes them: an item of its own shape, which says more than devices may.
//!
//! Node, receipt and place in the log belong to the node that first received the reading; the one
//! that imports it gives it its own.

use super::{Entry, Refusal};
use crate::formats::{DecodedReading, DecodedValue, Place};
use holdfast_core::reading::{Device, DeviceSeq, Finite, Text};
use holdfast_core::{Metric, Quality, Reject, Timestamp, Unit};
use holdfast_node::time_text::Time;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Line {
    device: String,
    metric: String,
    unit: String,
    time: Time,
    value: Value,
    quality: Vec<String>,
    boot: Option<u64>,
    seq: Option<u64>,
    #[serde(rename = "log")]
    _log: (u64, u64),
}

/// Reads an exported line; `None` when it is not one.
pub(super) fn line(text: &[u8], place: Place) -> Option<Result<Entry, Refusal>> {
    let line: Line = serde_json::from_slice(text).ok()?;
    let refuse = |reject: Reject| Refusal::new(place, "", reject.to_string());
    Some(entry(line, place).map_err(refuse))
}

fn entry(line: Line, place: Place) -> Result<Entry, Reject> {
    Device::new(&line.device)?;
    let value = match line.value {
        Value::Bool(on) => DecodedValue::Bool(on),
        Value::String(text) => DecodedValue::Text(Text::new(&text)?.as_str().to_owned().into()),
        Value::Number(number) => match number.as_i64() {
            Some(int) => DecodedValue::Int(int),
            None => {
                let number = number.as_f64().ok_or(Reject::NonFinite)?;
                DecodedValue::Float(Finite::new(number)?)
            }
        },
        _ => return Err(Reject::Malformed),
    };
    let source = line.boot.zip(line.seq).map(|(boot, seq)| DeviceSeq { boot, seq });
    let time = Some(line.time.0);
    let quality = quality(line.quality.iter().map(String::as_str));
    let reading = reading((line.metric, line.unit), time, value, quality)?;
    Ok(Entry { place, device: Some(line.device), source, readings: vec![reading] })
}

/// What the device said; the other words are a node's judgement, which is made anew.
pub(super) fn quality<'a>(words: impl Iterator<Item = &'a str>) -> Quality {
    words.fold(Quality::GOOD, |quality, word| match word {
        "uncertain" => quality.with(Quality::UNCERTAIN),
        "bad" => quality.with(Quality::BAD),
        _ => quality,
    })
}

/// A reading with names that are checked.
pub(super) fn reading(
    (metric, unit): (String, String),
    time: Option<Timestamp>,
    value: DecodedValue<'static>,
    quality: Quality,
) -> Result<DecodedReading<'static>, Reject> {
    Metric::new(&metric)?;
    Unit::new(&unit)?;
    Ok(DecodedReading { metric: metric.into(), unit: unit.into(), time, value, quality })
}
