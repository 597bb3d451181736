//! Samples of one boot, in a row: how a device hands on what it has measured.
//!
//! Each has its sequence number, counted from 1 at each start of the device, so that (boot,
//! sequence) names it for ever: one that comes twice is stored once. A series is written out where
//! it is met first, later it is a number. The clock of the message says what its times are: a
//! device that knows what time it is writes times, one that does not writes ages, and of what it
//! measured in an earlier start without ever knowing the time it writes none.

use crate::codec::{Reader, Sink, Window};
use crate::limits::{METRIC_MAX_BYTES, UNIT_MAX_BYTES};
use crate::log::{put_value, read_value};
use crate::{Metric, Quality, Reject, Seq, Unit, Value};

/// Series in one message.
pub const SERIES_MAX: usize = 32;
/// What a device says about a value of its own.
const SAID: u8 = Quality::UNCERTAIN.0 | Quality::BAD.0;

/// What the times of a message are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Clock {
    /// Milliseconds since 1970.
    Unix = 0,
    /// Milliseconds before the message was made.
    Age = 1,
    /// There are none.
    Unknown = 2,
}

impl Clock {
    /// Reads the number under which it is written.
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Unix),
            1 => Some(Self::Age),
            2 => Some(Self::Unknown),
            _ => None,
        }
    }
}

/// One sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample<'a> {
    /// Its number among those of its boot, from 1.
    pub sequence: Seq,
    /// When it was taken, by the clock of its message; 0 where that says nothing.
    pub time: i64,
    /// What was measured.
    pub metric: Metric<'a>,
    /// In which unit.
    pub unit: Unit<'a>,
    /// What came out.
    pub value: Value<'a>,
    /// [`Quality::UNCERTAIN`] and [`Quality::BAD`] only.
    pub quality: Quality,
}

/// Writes samples one behind the other.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut [u8],
    len: usize,
    clock: Clock,
    series: heapless::Vec<(u32, u32), SERIES_MAX>,
    last: (Seq, i64),
}

impl<'a> Writer<'a> {
    /// Begins with the samples of `boot`.
    ///
    /// # Errors
    /// [`Reject::Full`] when `out` has no room for as much as the head.
    pub fn new(out: &'a mut [u8], boot: u64, clock: Clock) -> Result<Self, Reject> {
        let room = out.len();
        let mut window = Window::new(out);
        window.put_uint(boot)?;
        window.put_u8(clock as u8)?;
        let len = room - window.room();
        Ok(Self { out, len, clock, series: heapless::Vec::new(), last: (0, 0) })
    }

    /// Appends a sample. Its sequence number is greater than that of the one before.
    ///
    /// # Errors
    /// [`Reject::Full`] when there is no room for it, [`Reject::Sequence`] when it is out of order;
    /// all before it is as it was.
    pub fn push(&mut self, sample: &Sample<'_>) -> Result<(), Reject> {
        let step = sample.sequence.checked_sub(self.last.0).filter(|step| *step > 0);
        let step = step.ok_or(Reject::Sequence)?;
        let known = self.place(sample);
        let number = known.unwrap_or(self.series.len());
        let said = sample.quality.0 & SAID;
        let room = self.out.len() - self.len;
        let mut window = Window::new(&mut self.out[self.len..]);
        window.put_uint(step)?;
        window.put_uint((number as u64) << 1 | u64::from(said != 0))?;
        let mut named = None;
        if known.is_none() {
            if self.series.is_full() {
                return Err(Reject::Full);
            }
            named = Some((self.len + room - window.room()) as u32);
            window.put_bytes(sample.metric.as_str().as_bytes())?;
            window.put_bytes(sample.unit.as_str().as_bytes())?;
        }
        let named = named.map(|start| (start, (self.len + room - window.room()) as u32));
        if said != 0 {
            window.put_u8(said)?;
        }
        if self.clock != Clock::Unknown {
            window.put_int(sample.time.wrapping_sub(self.last.1))?;
        }
        put_value(&mut window, &sample.value)?;
        self.len += room - window.room();
        self.last = (sample.sequence, sample.time);
        if let Some(named) = named {
            self.series.push(named).map_err(|_| Reject::Full)?;
        }
        Ok(())
    }

    /// The number of a sample's series, if it was met before.
    fn place(&self, sample: &Sample<'_>) -> Option<usize> {
        self.series.iter().position(|&(start, end)| {
            let mut reader = Reader::new(&self.out[start as usize..end as usize]);
            reader.bytes(METRIC_MAX_BYTES) == Ok(sample.metric.as_str().as_bytes())
                && reader.bytes(UNIT_MAX_BYTES) == Ok(sample.unit.as_str().as_bytes())
        })
    }

    /// The payload as it stands.
    #[must_use]
    pub fn finish(self) -> &'a [u8] {
        &self.out[..self.len]
    }
}

/// The samples of a message, read one behind the other.
#[derive(Clone, Debug)]
pub struct Samples<'a> {
    /// In which start of the device they were taken.
    pub boot: u64,
    /// What their times are.
    pub clock: Clock,
    reader: Reader<'a>,
    series: heapless::Vec<(Metric<'a>, Unit<'a>), SERIES_MAX>,
    last: (Seq, i64),
    is_over: bool,
}

impl<'a> Samples<'a> {
    /// Begins to read a payload.
    ///
    /// # Errors
    /// What is wrong with its head.
    pub fn read(payload: &'a [u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(payload);
        let boot = reader.uint()?;
        let clock = Clock::from_u8(reader.u8()?).ok_or(Reject::Malformed)?;
        let series = heapless::Vec::new();
        Ok(Self { boot, clock, reader, series, last: (0, 0), is_over: false })
    }

    fn sample(&mut self) -> Result<Sample<'a>, Reject> {
        let reader = &mut self.reader;
        let step = reader.uint()?;
        let sequence = self.last.0.checked_add(step).filter(|_| step > 0);
        let sequence = sequence.ok_or(Reject::Sequence)?;
        let head = reader.uint()?;
        let number = usize::try_from(head >> 1).map_err(|_| Reject::Malformed)?;
        if number == self.series.len() {
            let metric = Metric::new(reader.str(METRIC_MAX_BYTES)?)?;
            let unit = Unit::new(reader.str(UNIT_MAX_BYTES)?)?;
            self.series.push((metric, unit)).map_err(|_| Reject::Full)?;
        }
        let &(metric, unit) = self.series.get(number).ok_or(Reject::Malformed)?;
        let said = if head & 1 == 1 { reader.u8()? } else { 0 };
        if said & !SAID != 0 || (said == 0) != (head & 1 == 0) {
            return Err(Reject::Malformed);
        }
        let time = match self.clock {
            Clock::Unknown => 0,
            Clock::Unix | Clock::Age => self.last.1.wrapping_add(reader.int()?),
        };
        let value = read_value(reader)?;
        self.last = (sequence, time);
        Ok(Sample { sequence, time, metric, unit, value, quality: Quality(said) })
    }
}

impl<'a> Iterator for Samples<'a> {
    type Item = Result<Sample<'a>, Reject>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over || self.reader.rest().is_empty() {
            return None;
        }
        let sample = self.sample();
        self.is_over = sample.is_err();
        Some(sample)
    }
}
