//! The payloads of `devices/ID/readings`: every format that HTTP takes.
//!
//! A content type says which. Without one, which is always so in version 3.1.1, a first byte of
//! 0x80 to 0x9F begins an array of CBOR (no UTF-8 begins so), and an array whose first object
//! begins with a label of SenML is a pack; no label is the name of a member of ours.

use super::{OTHER_DEVICE, PayloadError, UNSUPPORTED_CONTENT_TYPE, plain};
use crate::formats::line::{self, Precision};
use crate::formats::media::{Format, negotiate};
use crate::formats::{Decoded, DecodedItem, DecodedReading, Place, json, senml};
use holdfast_core::reading::Device;
use holdfast_core::{Metric, Quality, Timestamp};
use std::borrow::Cow;

/// In the order in which a refusal names them.
const ACCEPTED: [Format; 5] =
    [Format::Json, Format::Ndjson, Format::SenmlJson, Format::SenmlCbor, Format::Line];
/// The tag that says of CBOR that it is CBOR; no UTF-8 begins so.
const CBOR_ITSELF: &[u8] = b"\xd9\xd9\xf7";

/// Decodes readings of `device`.
pub(super) fn decode<'a>(
    device: Device<'a>,
    payload: &'a [u8],
    content_type: Option<&str>,
    received: Timestamp,
) -> Result<Decoded<'a>, PayloadError> {
    let format = match content_type {
        Some(_) => negotiate(content_type, &ACCEPTED)
            .map_err(|error| PayloadError::new(UNSUPPORTED_CONTENT_TYPE, error.to_string()))?,
        None => guess(payload),
    };
    let mut decoded = match format {
        Format::Json => json::decode(payload, received),
        Format::Ndjson => json::decode_lines(payload, received),
        Format::Line => line::decode(payload, Precision::default()),
        Format::SenmlJson => senml::decode_json(payload, received),
        Format::SenmlCbor => senml::decode_cbor(payload, received),
    }?;
    give(&mut decoded, device)?;
    if decoded.readings.is_empty()
        && let Some(error) = decoded.errors().next()
    {
        return Err(error.into());
    }
    Ok(decoded)
}

/// Decodes one value of `metric` of `device`.
pub(super) fn decode_plain<'a>(
    device: Device<'a>,
    metric: Metric<'a>,
    payload: &'a [u8],
) -> Result<Decoded<'a>, PayloadError> {
    let reading = DecodedReading {
        metric: metric.as_str().into(),
        unit: "".into(),
        time: None,
        value: plain::value(payload)?,
        quality: Quality::GOOD,
    };
    Ok(one_item(device.as_str().into(), vec![reading]))
}

/// Readings of one device that are admitted together or not at all.
pub(super) fn one_item<'a>(device: Cow<'a, str>, readings: Vec<DecodedReading<'a>>) -> Decoded<'a> {
    let item = DecodedItem {
        place: Place::Body,
        device: Some(device),
        source: None,
        readings: 0..readings.len(),
    };
    Decoded { items: vec![Ok(item)], readings, device_in: "the topic" }
}

/// Makes `device` the device of all items that name none; one that names another is in the wrong
/// place, and so is the whole payload.
fn give<'a>(decoded: &mut Decoded<'a>, device: Device<'a>) -> Result<(), PayloadError> {
    for item in decoded.items.iter_mut().filter_map(|item| item.as_mut().ok()) {
        match &item.device {
            None => item.device = Some(device.as_str().into()),
            Some(named) if named == device.as_str() => {}
            Some(named) => {
                let detail =
                    format!("device `{named}` in the payload, expected `{device}` as in the topic");
                let error = PayloadError::new(OTHER_DEVICE, detail);
                return Err(error.at(format!("{}/device", item.place)));
            }
        }
    }
    Ok(())
}

fn guess(payload: &[u8]) -> Format {
    match payload.first() {
        Some(0x80..=0x9f) => Format::SenmlCbor,
        Some(_) if payload.starts_with(CBOR_ITSELF) => Format::SenmlCbor,
        _ if first_member(payload).is_some_and(senml::is_label) => Format::SenmlJson,
        _ => Format::Json,
    }
}

/// The name that the first object of an array begins with, as long as it has no escapes.
fn first_member(payload: &[u8]) -> Option<&str> {
    let rest = payload.trim_ascii_start().strip_prefix(b"[")?;
    let rest = rest.trim_ascii_start().strip_prefix(b"{")?;
    let rest = rest.trim_ascii_start().strip_prefix(b"\"")?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    str::from_utf8(&rest[..end]).ok()
}
