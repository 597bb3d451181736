//! The next message of samples: the oldest that are in flash, of one boot, with the best times that
//! are known for them.
//!
//! Of a boot whose anchor is known they have times; of this one, before the gateway has said what
//! time it is, ages; of an earlier one that never heard it, nothing.

use crate::record::Record;
use crate::samples::Look;
use crate::sensors::Sensor;
use holdfast_core::device::samples::{Clock, Sample, Writer};
use holdfast_core::{Metric, Reject, Unit};

/// What a device knows of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// The boot it is in.
    pub boot: u64,
    /// Milliseconds of it that have passed.
    pub uptime_ms: u64,
    /// When the boot of the samples was.
    pub anchor: Option<i64>,
}

impl Times {
    /// What can be said of when something was in `boot`.
    #[must_use]
    pub const fn clock(&self, boot: u64) -> Clock {
        match self.anchor {
            Some(_) => Clock::Unix,
            None if boot == self.boot => Clock::Age,
            None => Clock::Unknown,
        }
    }

    /// When that was, by such a clock, of what happened at `uptime_ms`.
    #[must_use]
    pub fn of(&self, clock: Clock, uptime_ms: u64) -> i64 {
        let age = self.uptime_ms.saturating_sub(uptime_ms);
        match (clock, self.anchor) {
            (Clock::Unix, Some(anchor)) => anchor.saturating_add_unsigned(uptime_ms),
            (Clock::Age, _) => i64::try_from(age).unwrap_or(i64::MAX),
            _ => 0,
        }
    }
}

/// A message in the making.
pub struct Batch<'a> {
    writer: Writer<'a>,
    table: &'a [Sensor],
    times: Times,
    boot: u64,
    clock: Clock,
    count: u32,
    last: u64,
    has_more: bool,
}

impl<'a> Batch<'a> {
    /// One for the samples of `boot`.
    ///
    /// # Errors
    /// [`Reject::Full`] when `out` has no room for a head.
    pub fn new(
        out: &'a mut [u8],
        table: &'a [Sensor],
        boot: u64,
        times: Times,
    ) -> Result<Self, Reject> {
        let clock = times.clock(boot);
        let writer = Writer::new(out, boot, clock)?;
        Ok(Self { writer, table, times, boot, clock, count: 0, last: 0, has_more: false })
    }

    /// Takes a sample, if it is of this boot and there is room.
    pub fn take(&mut self, record: &Record<'_>) -> Look {
        if record.boot != self.boot {
            // A device that lost its power often has many boots with few samples each.
            self.has_more = true;
            return Look::Enough;
        }
        match self.put(record) {
            Ok(()) => {
                self.count += 1;
                self.last = record.sequence;
                Look::On
            }
            Err(Reject::Full) => {
                self.has_more = true;
                Look::Enough
            }
            // What no format can say is passed over; the watermark of what follows frees it.
            Err(_) => Look::On,
        }
    }

    fn put(&mut self, record: &Record<'_>) -> Result<(), Reject> {
        let sensor = self.table.iter().find(|sensor| sensor.number == record.sensor);
        let mut name = heapless::String::<12>::new();
        let (metric, unit) = match sensor {
            Some(sensor) => (sensor.metric, sensor.unit),
            None => (unnamed(record.sensor, &mut name)?, ""),
        };
        let time = self.times.of(self.clock, record.uptime_ms);
        self.writer.push(&Sample {
            sequence: record.sequence,
            time,
            metric: Metric::new(metric)?,
            unit: Unit::new(unit)?,
            value: record.value,
            quality: record.quality,
        })
    }

    /// The payload, if anything is in it: with the number of its last sample, and whether more
    /// would have followed.
    #[must_use]
    pub fn finish(self) -> Option<Made<'a>> {
        let (last, has_more) = (self.last, self.has_more);
        let payload = self.writer.finish();
        (self.count > 0).then_some(Made { payload, last, has_more })
    }
}

/// A message of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made<'a> {
    /// What goes into the envelope.
    pub payload: &'a [u8],
    /// The number of its last sample.
    pub last: u64,
    /// Whether more are there than it brings.
    pub has_more: bool,
}

/// The name of a sensor that this firmware does not have any more.
fn unnamed(number: u8, name: &mut heapless::String<12>) -> Result<&str, Reject> {
    use core::fmt::Write;
    write!(name, "sensor-{number}").map_err(|_| Reject::Full)?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_core::device::samples::Samples;
    use holdfast_core::{Quality, Value};
    use std::string::{String, ToString};
    use std::vec::Vec;

    const TABLE: &[Sensor] = &[Sensor { number: 3, metric: "level", unit: "m", every_ms: 1_000 }];

    fn record(boot: u64, sequence: u64, uptime_ms: u64, sensor: u8) -> Record<'static> {
        let (quality, value) = (Quality::GOOD, Value::Int(7));
        Record { boot, sequence, uptime_ms, sensor, quality, value }
    }

    fn told(anchor: Option<i64>, boot: u64, records: &[Record<'_>]) -> (Clock, Vec<(i64, String)>) {
        let mut out = [0; 256];
        let times = Times { boot: 5, uptime_ms: 60_000, anchor };
        let mut batch = Batch::new(&mut out, TABLE, boot, times).unwrap();
        for record in records {
            if batch.take(record) == Look::Enough {
                break;
            }
        }
        let samples = Samples::read(batch.finish().unwrap().payload).unwrap();
        let clock = samples.clock;
        let each = samples.map(Result::unwrap);
        (clock, each.map(|sample| (sample.time, sample.metric.to_string())).collect())
    }

    #[test]
    fn samples_have_the_best_time_that_is_known() {
        let now = [record(5, 1, 10_000, 3), record(5, 2, 20_000, 3)];
        let level = |time| (time, "level".to_string());
        let known = told(Some(1_800_000_000_000), 5, &now);
        assert_eq!(known, (Clock::Unix, [1_800_000_010_000, 1_800_000_020_000].map(level).into()));
        assert_eq!(told(None, 5, &now), (Clock::Age, [50_000, 40_000].map(level).into()));
        let before = [record(4, 1, 10_000, 3), record(5, 1, 10_000, 3)];
        assert_eq!(told(None, 4, &before), (Clock::Unknown, [0].map(level).into()));
    }

    #[test]
    fn a_sensor_that_this_firmware_does_not_know_keeps_its_number() {
        let told = told(None, 5, &[record(5, 1, 0, 9)]);
        assert_eq!(told.1, [(60_000, "sensor-9".to_string())]);
    }

    #[test]
    fn a_message_that_ends_with_its_boot_says_that_more_are_there() {
        let mut out = [0; 256];
        let times = Times { boot: 5, uptime_ms: 0, anchor: None };
        for (next, has_more) in [(4, false), (5, true)] {
            let mut batch = Batch::new(&mut out, TABLE, 4, times).unwrap();
            assert_eq!(batch.take(&record(4, 1, 0, 3)), Look::On);
            let look = batch.take(&record(next, 2, 0, 3));
            assert_eq!(look == Look::Enough, has_more);
            assert_eq!(batch.finish().unwrap().has_more, has_more);
        }
    }

    #[test]
    fn a_full_message_says_that_more_are_there() {
        let mut out = [0; 40];
        let times = Times { boot: 5, uptime_ms: 0, anchor: None };
        let mut batch = Batch::new(&mut out, TABLE, 5, times).unwrap();
        let taken = (1..100).take_while(|n| batch.take(&record(5, *n, 0, 3)) == Look::On).count();
        let made = batch.finish().unwrap();
        assert!(made.has_more);
        assert_eq!(made.last, taken as u64);
    }
}
