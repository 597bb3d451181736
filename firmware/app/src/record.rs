//! A sample as it lies in flash until the gateway has it.
//!
//! Its time is milliseconds since the start in which it was taken: what the clock says may be
//! wrong, or nothing at all, but how long ago that was is always known. When the gateway tells what
//! time it is, every sample of that start has a time at once ([`crate::memory::Memory::anchor`]).
//! The series is a number of the sensor, which firmware never gives to another. Byte-exact page:
//! `docs/formats/device-flash.md`.

use holdfast_core::codec::{Reader, Sink};
use holdfast_core::log::{put_value, read_value};
use holdfast_core::{Quality, Reject, Value};

/// The format written today.
const FORMAT: u8 = 1;
/// Bytes of a sample in flash, at most: a text of 48 bytes is the longest value kept.
pub const RECORD_MAX_BYTES: usize = 84;

/// A sample in flash.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Record<'a> {
    /// In which start of the device it was taken.
    pub boot: u64,
    /// Its number in that start, from 1.
    pub sequence: u64,
    /// Milliseconds of that start when it was taken.
    pub uptime_ms: u64,
    /// The sensor.
    pub sensor: u8,
    /// What the device says about the value.
    pub quality: Quality,
    /// What came out.
    pub value: Value<'a>,
}

impl<'a> Record<'a> {
    /// Its name among all samples of the device.
    #[must_use]
    pub const fn name(&self) -> (u64, u64) {
        (self.boot, self.sequence)
    }

    /// Appends it.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room, which only a long text can cause.
    pub fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        out.put(&[FORMAT, self.sensor, self.quality.0])?;
        out.put_uint(self.boot)?;
        out.put_uint(self.sequence)?;
        out.put_uint(self.uptime_ms)?;
        put_value(out, &self.value)
    }

    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(bytes);
        let [format, sensor, quality] = reader.array()?;
        if format != FORMAT {
            return Err(Reject::Version);
        }
        let (boot, sequence, uptime_ms) = (reader.uint()?, reader.uint()?, reader.uint()?);
        let value = read_value(&mut reader)?;
        reader.finish()?;
        Ok(Self { boot, sequence, uptime_ms, sensor, quality: Quality(quality), value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// The vectors of `docs/formats/device-flash.md`.
    const GOLDEN: &[u8] = b"\x01\x03\x00\x04\x09\x90\xbf\x05\x07\xce\x03";

    fn record() -> Record<'static> {
        Record {
            boot: 4,
            sequence: 9,
            uptime_ms: 90_000,
            sensor: 3,
            quality: Quality::GOOD,
            value: Value::float(2.31).unwrap(),
        }
    }

    #[test]
    fn golden_vector() {
        let mut out = Vec::<u8>::new();
        let mut fixed = heapless::Vec::<u8, RECORD_MAX_BYTES>::new();
        record().encode(&mut fixed).unwrap();
        out.extend_from_slice(&fixed);
        assert_eq!(out, GOLDEN);
        assert_eq!(Record::decode(GOLDEN), Ok(record()));
    }

    #[test]
    fn every_shorter_prefix_and_every_other_format_is_refused() {
        for len in 0..GOLDEN.len() {
            assert!(Record::decode(&GOLDEN[..len]).is_err(), "{len}");
        }
        let mut other = GOLDEN.to_vec();
        other[0] = 2;
        assert_eq!(Record::decode(&other), Err(Reject::Version));
    }
}
