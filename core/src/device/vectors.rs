//! The golden vectors of `docs/formats/device.md`, checked by host and microcontroller alike.

mod firmware;
mod flows;
mod state;

pub use firmware::{FIRMWARE_FETCHING, FIRMWARE_MADE, FIRMWARE_WANTED_NONE, FIRMWARE_WANTED_TWO};
pub use flows::{FETCH_MANIFEST, HELD_TWO, PIECE_FOUR, STEPPED_EIGHT, STEPS_TWO, WANTED_ONE};
pub use state::{
    ASK_NOTHING, COMMAND_OPEN, COMMANDS_OPEN, DESIRED_LARGE, DESIRED_SAME, DESIRED_WHOLE,
    JOINED_STALE, REPLIED_OPEN, REPLY_DONE, REPLY_FAILED, REPLY_NOTHING, REPORTED_TWO,
};

use super::gateway::{Time, Watermark};
use super::health::{Counter, Health, Reason};
use super::samples::{Clock, Sample, Samples, Writer};
use super::{Envelopes, HEALTH, MESSAGE_MAX_BYTES, SAMPLES, TIME, WATERMARK, put};
use crate::{Metric, Quality, Reject, Unit, Value};

/// Three samples of boot 4 with times.
pub const SAMPLES_UNIX: &[u8] = &[
    0x01, 0x01, 0x00, 0x27, 0x04, 0x00, 0x09, 0x00, 0x05, 0x6c, 0x65, 0x76, 0x65, 0x6c, 0x01, 0x6d,
    0x80, 0xc0, 0xe2, 0x85, 0xe3, 0x68, 0x07, 0xce, 0x03, 0x01, 0x02, 0x04, 0x70, 0x75, 0x6d, 0x70,
    0x00, 0x00, 0x03, 0x02, 0x01, 0x01, 0xd0, 0x0f, 0x07, 0xd0, 0x03, 0x90, 0x4a, 0x63, 0x4b,
];
/// One sample of boot 5, 1.5 s old, of a device that does not know the time.
pub const SAMPLES_AGE: &[u8] = &[
    0x01, 0x01, 0x00, 0x0b, 0x05, 0x01, 0x01, 0x00, 0x01, 0x6e, 0x00, 0xb8, 0x17, 0x01, 0x0d, 0xaa,
    0xb5, 0xd7, 0x39,
];
/// One sample of boot 3 of which nobody will know when it was taken.
pub const SAMPLES_UNKNOWN: &[u8] = &[
    0x01, 0x01, 0x00, 0x09, 0x03, 0x02, 0x07, 0x00, 0x01, 0x6e, 0x00, 0x01, 0x0d, 0xe8, 0x19, 0x6e,
    0x8a,
];
/// Boot 4, up for 90 s, by watchdog, firmware 0.1.0, 7 dropped and 300 waiting.
pub const HEALTH_FOUR: &[u8] = &[
    0x01, 0x02, 0x00, 0x11, 0x04, 0x90, 0xbf, 0x05, 0x03, 0x05, 0x30, 0x2e, 0x31, 0x2e, 0x30, 0x02,
    0x01, 0x07, 0x04, 0xac, 0x02, 0x4e, 0x3a, 0xb0, 0x69,
];
/// Boot 4 up to 12, and a trusted time.
pub const DOWN: &[u8] = &[
    0x01, 0x40, 0x00, 0x02, 0x04, 0x0c, 0x0e, 0x77, 0x33, 0x4c, 0x01, 0x41, 0x00, 0x07, 0x80, 0xc0,
    0xe2, 0x85, 0xe3, 0x68, 0x01, 0x9b, 0x92, 0x5e, 0xb1,
];

/// 1,800,000,000,000 ms since 1970.
const AT: i64 = 1_800_000_000_000;

type Bytes = heapless::Vec<u8, MESSAGE_MAX_BYTES>;
type Row = (u64, i64, &'static str, &'static str, Value<'static>, Quality);

/// A vector with its boot, its clock and what it holds.
type Golden = (&'static [u8], u64, Clock, heapless::Vec<Row, 3>);

/// The vectors of samples.
fn rows() -> Result<[Golden; 3], Reject> {
    let good = Quality::GOOD;
    let unix = [
        (9, AT, "level", "m", Value::float(2.31)?, good),
        (10, AT, "pump", "", Value::Bool(true), good),
        (12, AT + 1_000, "level", "m", Value::float(2.32)?, Quality::UNCERTAIN),
    ];
    let age = [(1, 1_500, "n", "", Value::Int(-7), good)];
    let unknown = [(7, 0, "n", "", Value::Int(-7), good)];
    let rows = |rows: &[Row]| heapless::Vec::from_slice(rows).map_err(|_| Reject::Full);
    Ok([
        (SAMPLES_UNIX, 4, Clock::Unix, rows(&unix)?),
        (SAMPLES_AGE, 5, Clock::Age, rows(&age)?),
        (SAMPLES_UNKNOWN, 3, Clock::Unknown, rows(&unknown)?),
    ])
}

/// Writes and reads all vectors; how many came out as they should.
///
/// # Errors
/// The number of the first that did not, and what was wrong: [`Reject::Checksum`] for other bytes.
pub fn check() -> Result<usize, (usize, Reject)> {
    let all = rows().map_err(|wrong| (0, wrong))?;
    for (number, (golden, boot, clock, rows)) in all.iter().enumerate() {
        samples(golden, *boot, *clock, rows).map_err(|wrong| (number, wrong))?;
    }
    health().map_err(|wrong| (all.len(), wrong))?;
    down().map_err(|wrong| (all.len() + 1, wrong))?;
    let before = all.len() + 2;
    let more = state::check().map_err(|(number, wrong)| (before + number, wrong))?;
    let before = before + more;
    let more = flows::check().map_err(|(number, wrong)| (before + number, wrong))?;
    let before = before + more;
    let more = firmware::check().map_err(|(number, wrong)| (before + number, wrong))?;
    Ok(before + more)
}

fn same(left: &[u8], right: &[u8]) -> Result<(), Reject> {
    if left == right { Ok(()) } else { Err(Reject::Checksum) }
}

/// Whether an envelope of `kind` with what `encode` writes is `golden`.
fn written(
    golden: &[u8],
    kind: u8,
    encode: impl FnOnce(&mut Bytes) -> Result<(), Reject>,
) -> Result<(), Reject> {
    let (mut out, mut scratch) = ([0; MESSAGE_MAX_BYTES], Bytes::new());
    encode(&mut scratch)?;
    let len = put(&mut out, kind, &scratch)?;
    same(&out[..len], golden)
}

fn equal<T: PartialEq>(read: Result<T, Reject>, expected: &T) -> Result<(), Reject> {
    if read? == *expected { Ok(()) } else { Err(Reject::Malformed) }
}

fn payload(message: &[u8], of: u8) -> Result<&[u8], Reject> {
    let envelope = Envelopes::new(message).next().ok_or(Reject::Truncated)??;
    if envelope.kind == of { Ok(envelope.payload) } else { Err(Reject::Malformed) }
}

fn samples(golden: &[u8], boot: u64, clock: Clock, rows: &[Row]) -> Result<(), Reject> {
    let (mut out, mut scratch) = ([0; MESSAGE_MAX_BYTES], [0; MESSAGE_MAX_BYTES]);
    let mut writer = Writer::new(&mut scratch, boot, clock)?;
    for &(sequence, time, metric, unit, value, quality) in rows {
        let (metric, unit) = (Metric::new(metric)?, Unit::new(unit)?);
        writer.push(&Sample { sequence, time, metric, unit, value, quality })?;
    }
    let len = put(&mut out, SAMPLES, writer.finish())?;
    same(&out[..len], golden)?;
    let read = Samples::read(payload(golden, SAMPLES)?)?;
    if (read.boot, read.clock) != (boot, clock) {
        return Err(Reject::Malformed);
    }
    let mut found = 0;
    for (sample, row) in read.zip(rows) {
        let sample = sample?;
        let Sample { sequence, time, metric, unit, value, quality } = sample;
        if (sequence, time, metric.as_str(), unit.as_str(), value, quality) != *row {
            return Err(Reject::Malformed);
        }
        found += 1;
    }
    if found == rows.len() { Ok(()) } else { Err(Reject::Truncated) }
}

fn health() -> Result<(), Reject> {
    let counters = [(Counter::DROPPED, 7), (Counter::WAITING, 300)];
    let health = Health {
        boot: 4,
        uptime_ms: 90_000,
        reason: Reason::WATCHDOG,
        firmware: "0.1.0",
        counters: heapless::Vec::from_slice(&counters).map_err(|_| Reject::Full)?,
    };
    let (mut out, mut scratch) = ([0; 64], heapless::Vec::<u8, 64>::new());
    health.encode(&mut scratch)?;
    let len = put(&mut out, HEALTH, &scratch)?;
    same(&out[..len], HEALTH_FOUR)?;
    let read = Health::decode(payload(HEALTH_FOUR, HEALTH)?)?;
    if read == health { Ok(()) } else { Err(Reject::Malformed) }
}

fn down() -> Result<(), Reject> {
    let watermark = Watermark { boot: 4, sequence: 12 };
    let time = Time { unix_ms: AT, is_trusted: true };
    let (mut one, mut two) = (heapless::Vec::<u8, 20>::new(), heapless::Vec::<u8, 20>::new());
    watermark.encode(&mut one)?;
    time.encode(&mut two)?;
    let mut out = [0; 64];
    let first = put(&mut out, WATERMARK, &one)?;
    let len = first + put(&mut out[first..], TIME, &two)?;
    same(&out[..len], DOWN)?;
    let mut envelopes = Envelopes::new(DOWN);
    let (one, two) = (envelopes.next(), envelopes.next());
    let (Some(Ok(one)), Some(Ok(two)), None) = (one, two, envelopes.next()) else {
        return Err(Reject::Truncated);
    };
    let read = (Watermark::decode(one.payload)?, Time::decode(two.payload)?);
    let is_same = read == (watermark, time) && (one.kind, two.kind) == (WATERMARK, TIME);
    if is_same { Ok(()) } else { Err(Reject::Malformed) }
}
