//! SenML packs: read as a whole, handed over in portions.

use super::{PACK_MAX, Portion, ReadError, Sink};
use crate::formats::senml::{CborPack, DEVICE_IN, JsonPack};
use crate::formats::{BodyError, Decoded};
use holdfast_core::Timestamp;
use std::io::{BufRead, Read};

fn whole(input: impl BufRead) -> Result<Vec<u8>, ReadError> {
    let mut pack = Vec::new();
    input.take(PACK_MAX + 1).read_to_end(&mut pack)?;
    if pack.len() as u64 > PACK_MAX {
        let most = PACK_MAX >> 20;
        let text = format!("a pack has at most {most} MiB, since it is read as a whole: split it");
        return Err(ReadError::Format(text));
    }
    Ok(pack)
}

/// Reads a pack in JSON.
pub(super) fn read_json(
    input: impl BufRead,
    now: Timestamp,
    sink: &mut Sink<'_>,
) -> Result<(), ReadError> {
    let body = whole(input)?;
    let mut pack = JsonPack::new(&body).map_err(format)?;
    hand_over(|decoded| pack.next(decoded, now), sink)
}

/// Reads a pack in CBOR.
pub(super) fn read_cbor(
    input: impl BufRead,
    now: Timestamp,
    sink: &mut Sink<'_>,
) -> Result<(), ReadError> {
    let body = whole(input)?;
    let mut pack = CborPack::new(&body).map_err(format)?;
    hand_over(|decoded| pack.next(decoded, now), sink)
}

fn hand_over<'a>(
    mut next: impl FnMut(&mut Decoded<'a>) -> Result<bool, BodyError>,
    sink: &mut Sink<'_>,
) -> Result<(), ReadError> {
    loop {
        let mut decoded = Decoded { device_in: DEVICE_IN, ..Decoded::default() };
        let mut goes_on = Ok(true);
        while matches!(goes_on, Ok(true)) && decoded.items.len() < super::PORTION {
            goes_on = next(&mut decoded);
        }
        let mut portion = Portion::default();
        portion.add(&decoded, |place| place);
        let wants_more = sink(portion).is_continue();
        if !goes_on.map_err(format)? || !wants_more {
            return Ok(());
        }
    }
}

fn format(error: BodyError) -> ReadError {
    ReadError::Format(format!("{} ({})", error.detail, error.at))
}
