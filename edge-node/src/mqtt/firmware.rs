//! What devices with our firmware send: samples that become readings, and word of themselves; and
//! what they are told in return.
//!
//! All of it is pure: a payload goes in, items of readings come out as from any other format, and a
//! [`Said`], which is what the answer is made of once the message is on disk. A device frees its
//! flash by that answer, so it is never made before. `docs/formats/device.md` has every byte.

use super::packet::{Publish, PublishProperties, QoS, Topic};
use super::rules::PayloadError;
use crate::formats::{Decoded, DecodedItem, DecodedReading, DecodedValue, Place};
use bytes::Bytes;
use holdfast_core::device::gateway::{Time, Watermark};
use holdfast_core::device::health::{Counter, Health};
use holdfast_core::device::samples::{Clock, Sample, Samples};
use holdfast_core::device::{self, Envelopes};
use holdfast_core::reading::{Device, DeviceSeq};
use holdfast_core::{Quality, Reject, Timestamp, Value};
use serde_json::json;

/// Nanoseconds of a millisecond.
const MS: i64 = 1_000_000;

/// What a message of a device calls for in return.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Up to where its samples go.
    pub watermark: Option<Watermark>,
    /// Whether it said how it is.
    pub is_health: bool,
}

impl Said {
    /// What a payload says; of one that cannot be read whatever stands before the damage.
    #[must_use]
    pub fn of(payload: &[u8]) -> Self {
        let mut said = Self::default();
        for envelope in Envelopes::new(payload).map_while(Result::ok) {
            match envelope.kind {
                device::HEALTH => said.is_health = true,
                device::SAMPLES => {
                    let Ok(samples) = Samples::read(envelope.payload) else { break };
                    let boot = samples.boot;
                    if let Some(last) = samples.map_while(Result::ok).last() {
                        said.watermark = Some(Watermark { boot, sequence: last.sequence });
                    }
                }
                _ => {}
            }
        }
        said
    }

    /// The message to the device, with what time it is; none where it calls for nothing.
    #[must_use]
    pub fn answer(&self, device: &str, time: Time) -> Option<Publish> {
        if *self == Self::default() {
            return None;
        }
        let topic = Topic::try_from(format!("devices/{device}/watermark").as_str()).ok()?;
        let mut payload = Vec::new();
        if let Some(watermark) = self.watermark {
            append(&mut payload, device::WATERMARK, |out| watermark.encode(out));
        }
        append(&mut payload, device::TIME, |out| time.encode(out));
        Some(Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic,
            packet_id: None,
            payload: Bytes::from(payload),
            properties: PublishProperties::default(),
        })
    }
}

fn append(out: &mut Vec<u8>, kind: u8, encode: impl FnOnce(&mut Vec<u8>) -> Result<(), Reject>) {
    let mut payload = Vec::new();
    let put = encode(&mut payload);
    let envelope = holdfast_core::envelope::Envelope { kind, flags: 0, payload: &payload };
    put.and_then(|()| envelope.encode(out)).expect("a vector has room for a few bytes");
}

/// Whether a message on this topic is one of our firmware.
#[must_use]
pub fn is_envelope(topic: &Topic) -> bool {
    let below = topic.as_str().strip_prefix("devices/").and_then(|rest| rest.split_once('/'));
    below.is_some_and(|(_, kind)| kind == "envelope")
}

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
///
/// # Errors
/// Where it does not follow the format.
pub fn reported(payload: &[u8]) -> Result<Option<serde_json::Value>, PayloadError> {
    let mut found = None;
    for (number, envelope) in Envelopes::new(payload).enumerate() {
        let at = |reject: Reject| PayloadError::from(reject).at(format!("envelope {number}"));
        let envelope = envelope.map_err(at)?;
        if envelope.kind == device::HEALTH {
            found = Some(of_health(&Health::decode(envelope.payload).map_err(at)?));
        }
    }
    Ok(found)
}

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
