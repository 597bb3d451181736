//! What devices with our firmware send: samples that become readings, word of themselves, what came
//! of commands; and what they are told in return.
//!
//! A message is read as a whole before anything of it is done ([`Heard`]), and a device frees its
//! flash by its answer ([`Said`]), so that is never made before the message is on disk. Samples
//! come out as items of readings, as from any other format. What a device should be, what it is to
//! do and which workflows and firmware it is to have is told by the [`Downlink`]: [`section`] has
//! the first, [`order`] the second, [`flows`] and [`updates`] the others, as a device reads it; the
//! [`pieces`] of what it is to have it asks for one by one, and [`letters`] puts envelopes into
//! messages. `docs/formats/device.md` has every byte.

mod boots;
mod downlink;
mod flows;
mod heard;
mod letters;
mod order;
mod pieces;
mod said;
mod section;
mod updates;

pub use boots::Start;
pub use downlink::{Attached, Downlink};
pub use flows::{change, standing};
pub use heard::Heard;
pub use order::reply;
pub use said::Said;
pub use updates::Says;

use super::rules::PayloadError;
use crate::formats::{Decoded, DecodedItem, DecodedReading, DecodedValue, Place};
use holdfast_core::device::health::{Counter, Health};
use holdfast_core::device::samples::{Clock, Sample, Samples};
use holdfast_core::device::{self, Envelopes};
use holdfast_core::reading::{Device, DeviceSeq};
use holdfast_core::{Quality, Reject, Timestamp, Value};
use serde_json::json;

/// Nanoseconds of a millisecond.
const MS: i64 = 1_000_000;

/// The samples of a message as items, one each.
///
/// # Errors
/// Where the message does not follow the format; then nothing of it is taken.
pub fn decode<'a>(
    device: Device<'a>,
    payload: &'a [u8],
    received: Timestamp,
) -> Result<Decoded<'a>, PayloadError> {
    let mut decoded = Decoded { device_in: "the topic", ..Decoded::default() };
    for (number, envelope) in Envelopes::new(payload).enumerate() {
        let at = |reject: Reject| PayloadError::from(reject).at(format!("envelope {number}"));
        let envelope = envelope.map_err(at)?;
        if envelope.kind != device::SAMPLES {
            continue;
        }
        let samples = Samples::read(envelope.payload).map_err(at)?;
        let (boot, clock) = (samples.boot, samples.clock);
        for (place, sample) in samples.enumerate() {
            let sample = sample.map_err(|reject| {
                PayloadError::from(reject).at(format!("envelope {number}, sample {place}"))
            })?;
            let first = decoded.readings.len();
            decoded.readings.push(reading(&sample, clock, received));
            decoded.items.push(Ok(DecodedItem {
                place: Place::Element(decoded.items.len()),
                device: Some(device.as_str().into()),
                source: Some(DeviceSeq { boot, seq: sample.sequence }),
                readings: first..first + 1,
            }));
        }
    }
    Ok(decoded)
}

fn reading<'a>(sample: &Sample<'a>, clock: Clock, received: Timestamp) -> DecodedReading<'a> {
    let (time, worked_out) = match clock {
        Clock::Unix => (Timestamp::from_millis(sample.time), Quality::GOOD),
        Clock::Age => {
            let time = received.saturating_add(sample.time.saturating_mul(MS).saturating_neg());
            (Some(time), Quality::ANCHORED)
        }
        Clock::Unknown => (None, Quality::DEVICE_CLOCK),
    };
    // A time that no calendar has is no time.
    let worked_out = if time.is_none() { Quality::DEVICE_CLOCK } else { worked_out };
    let value = match sample.value {
        Value::Float(number) => DecodedValue::Float(number),
        Value::Int(int) => DecodedValue::Int(int),
        Value::Bool(on) => DecodedValue::Bool(on),
        Value::Text(text) => DecodedValue::Text(text.as_str().into()),
    };
    DecodedReading {
        metric: sample.metric.as_str().into(),
        unit: sample.unit.as_str().into(),
        time,
        value,
        quality: sample.quality.with(worked_out),
    }
}

/// What a device says of itself, as a patch of what it reports: what changes seldom, for each
/// change is kept.
fn of_health(health: &Health<'_>) -> serde_json::Value {
    let mut says = json!({
        "boot": health.boot,
        "reason": health.reason.word(),
        "firmware": health.firmware,
    });
    let lasting = health.counters.iter().filter(|(counter, _)| *counter != Counter::WAITING);
    for (counter, value) in lasting {
        if let Some(word) = counter.word() {
            says[word] = json!(value);
        }
    }
    json!({ "device": says })
}

#[cfg(test)]
mod tests;
