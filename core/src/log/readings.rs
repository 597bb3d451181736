//! The canonical body of a commit of readings.
//!
//! A head with the receive time, the coarsest time unit in which all device times are whole and the
//! dictionary of series; then one row per reading, times and device sequences as differences from
//! the row before. The body is a function of its content, so it can be re-made from any encoding.

use super::series::{FirstUse, SeriesIter, put_series};
use super::{FORMAT, put_head, read_head, value};
use crate::codec::{Reader, Sink};
use crate::reading::{DeviceSeq, effective_time};
use crate::time::Scale;
use crate::{Quality, Reject, SeriesKey, Timestamp, Value};

const HAS_TIME: u8 = 0x10;
const HAS_QUALITY: u8 = 0x20;
const HAS_SOURCE: u8 = 0x40;
const RESERVED: u8 = 0x80;

/// One reading of a body; the series is a place in the body's dictionary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row<'a> {
    /// Place in the dictionary.
    pub series: u32,
    /// The device's time, if it gave one.
    pub time: Option<Timestamp>,
    /// The value.
    pub value: Value<'a>,
    /// How far to trust it.
    pub quality: Quality,
    /// The device's own name for the message.
    pub source: Option<DeviceSeq>,
}

impl Row<'_> {
    /// The time under which the reading is filed.
    #[must_use]
    pub const fn effective_time(&self, received: Timestamp) -> Timestamp {
        effective_time(self.time, self.quality, received)
    }
}

/// Differences are taken from here, row by row.
struct Previous {
    time: i64,
    source: DeviceSeq,
}

impl Previous {
    const fn start(received: Timestamp, scale: Scale) -> Self {
        let time = received.millis().saturating_mul(1_000_000) / scale.nanos();
        Self { time, source: DeviceSeq { boot: 0, seq: 0 } }
    }
}

/// The coarsest unit in which all of `times` are whole.
#[must_use]
pub fn scale_of(times: impl Iterator<Item = Timestamp>) -> Scale {
    times.fold(Scale::Second, Scale::refine)
}

/// Writes a body. `series` must list each series once, in the order of first use by `rows`.
///
/// # Errors
/// [`Reject::Full`] when the sink has no room.
pub fn encode<'a>(
    out: &mut impl Sink,
    received: Timestamp,
    series: &[SeriesKey<'_>],
    rows: impl Iterator<Item = Row<'a>> + Clone,
) -> Result<(), Reject> {
    let scale = scale_of(rows.clone().filter_map(|row| row.time));
    put_head(out, FORMAT, received)?;
    out.put_u8(scale as u8)?;
    put_series(out, series)?;
    let mut previous = Previous::start(received, scale);
    for row in rows {
        put_row(out, &row, scale, &mut previous)?;
    }
    Ok(())
}

fn put_row(
    out: &mut impl Sink,
    row: &Row<'_>,
    scale: Scale,
    previous: &mut Previous,
) -> Result<(), Reject> {
    let (kind, decimal) = value::kind(&row.value);
    let mut tag = kind;
    tag |= if row.time.is_some() { HAS_TIME } else { 0 };
    tag |= if row.quality == Quality::GOOD { 0 } else { HAS_QUALITY };
    tag |= if row.source.is_some() { HAS_SOURCE } else { 0 };
    out.put_uint(u64::from(row.series))?;
    out.put_u8(tag)?;
    if row.quality != Quality::GOOD {
        out.put_u8(row.quality.0)?;
    }
    if let Some(time) = row.time {
        let units = time.0 / scale.nanos();
        out.put_int(units.wrapping_sub(previous.time))?;
        previous.time = units;
    }
    if let Some(source) = row.source {
        out.put_int(source.boot.wrapping_sub(previous.source.boot) as i64)?;
        out.put_int(source.seq.wrapping_sub(previous.source.seq) as i64)?;
        previous.source = source;
    }
    value::put(out, &row.value, decimal)
}

/// A body being read.
#[derive(Clone, Debug)]
pub struct Body<'a> {
    received: Timestamp,
    scale: Scale,
    series: SeriesIter<'a>,
    rows: Reader<'a>,
}

impl<'a> Body<'a> {
    /// Reads the head and the dictionary.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new(body: &'a [u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(body);
        let (_, received) = read_head(&mut reader, FORMAT)?;
        let scale = Scale::from_u8(reader.u8()?).ok_or(Reject::Malformed)?;
        let series = SeriesIter::new(&mut reader)?;
        Ok(Self { received, scale, series, rows: reader })
    }

    /// When the origin received these readings.
    #[must_use]
    pub const fn received(&self) -> Timestamp {
        self.received
    }

    /// The dictionary.
    #[must_use]
    pub fn series(&self) -> SeriesIter<'a> {
        self.series.clone()
    }

    /// The readings, in log order. An error ends them.
    #[must_use]
    pub fn rows(&self) -> Rows<'a> {
        Rows {
            reader: self.rows,
            scale: self.scale,
            coarsest: Scale::Second,
            previous_time: Previous::start(self.received, self.scale).time,
            previous_source: DeviceSeq::default(),
            first_use: FirstUse::new(&self.series),
        }
    }
}

/// The rows of a body.
#[derive(Debug)]
pub struct Rows<'a> {
    reader: Reader<'a>,
    scale: Scale,
    coarsest: Scale,
    previous_time: i64,
    previous_source: DeviceSeq,
    first_use: FirstUse,
}

impl<'a> Rows<'a> {
    fn read(&mut self) -> Result<Row<'a>, Reject> {
        let reader = &mut self.reader;
        let series = self.first_use.see(reader.uint()?)?;
        let tag = reader.u8()?;
        if tag & RESERVED != 0 {
            return Err(Reject::Malformed);
        }
        let quality = match tag & HAS_QUALITY {
            0 => Quality::GOOD,
            _ => match reader.u8()? {
                0 => return Err(Reject::Malformed),
                flags => Quality(flags),
            },
        };
        let time = match tag & HAS_TIME {
            0 => None,
            _ => {
                self.previous_time = self.previous_time.wrapping_add(reader.int()?);
                let nanos = self.previous_time.checked_mul(self.scale.nanos());
                let time = Timestamp(nanos.ok_or(Reject::Time)?);
                self.coarsest = self.coarsest.refine(time);
                Some(time)
            }
        };
        let source = match tag & HAS_SOURCE {
            0 => None,
            _ => {
                let last = &mut self.previous_source;
                last.boot = last.boot.wrapping_add(reader.int()? as u64);
                last.seq = last.seq.wrapping_add(reader.int()? as u64);
                Some(*last)
            }
        };
        let value = value::read(reader, tag & 0x0f)?;
        Ok(Row { series, time, value, quality, source })
    }
}

impl<'a> Iterator for Rows<'a> {
    type Item = Result<Row<'a>, Reject>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.rest().is_empty() {
            return None;
        }
        let row = self.read();
        if row.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(row)
    }
}

/// Reads a body to its end and says how many rows it has; anything not canonical is refused.
///
/// # Errors
/// What is wrong with it.
pub fn check(body: &[u8]) -> Result<u64, Reject> {
    let body = Body::new(body)?;
    let mut rows = body.rows();
    let mut count = 0;
    for row in &mut rows {
        row?;
        count += 1;
    }
    if rows.first_use.all_used() && rows.coarsest == body.scale {
        Ok(count)
    } else {
        Err(Reject::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::Text;
    use proptest::prelude::*;
    use std::string::String;
    use std::vec::Vec;

    const NOW: Timestamp = Timestamp(1_800_000_000_123_000_000);

    fn key<'a>(device: &'a str, metric: &'a str, unit: &'a str) -> SeriesKey<'a> {
        SeriesKey::new(device, metric, unit).unwrap()
    }

    fn row(series: u32, time: Option<i64>, value: Value<'_>) -> Row<'_> {
        let time = time.map(Timestamp);
        Row { series, time, value, quality: Quality::GOOD, source: None }
    }

    fn body(series: &[SeriesKey<'_>], rows: &[Row<'_>]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, NOW, series, rows.iter().copied()).unwrap();
        out
    }

    /// The vector of `docs/formats/log.md`: two readings of one pump.
    #[test]
    fn golden_vector() {
        let mut second = row(1, None, Value::Bool(true));
        second.quality = Quality::UNCERTAIN;
        second.source = Some(DeviceSeq { boot: 4, seq: 9 });
        let first = row(0, Some(NOW.0), Value::float(21.5).unwrap());
        let bytes = body(&[key("p1", "t", "Cel"), key("p1", "on", "")], &[first, second]);
        let hex: String = bytes.iter().map(|b| std::format!("{b:02x}")).collect();
        assert_eq!(hex, GOLDEN);
    }

    const GOLDEN: &str =
        concat!("01f6c1e285e368020202703101740343656c027031026f6e00001600ae030163", "010812");

    #[test]
    fn a_live_reading_in_a_batch_of_ten_takes_few_bytes() {
        let keys: Vec<_> = ["level", "flow"].iter().map(|m| key("ps-017", m, "m")).collect();
        let rows: Vec<_> = (0..10)
            .map(|i| {
                let value = Value::float(f64::from(1000 + i) / 100.0).unwrap();
                row(i as u32 % 2, Some(NOW.0 + i64::from(i) * 1_000_000), value)
            })
            .collect();
        let dictionary = 2 + keys.iter().map(|k| 9 + k.metric.as_str().len()).sum::<usize>();
        assert!(body(&keys, &rows).len() - dictionary <= 10 * 6 + 12);
    }

    #[test]
    fn what_is_not_canonical_is_refused() {
        let a = key("a", "m", "");
        let b = key("b", "m", "");
        let one = Value::float(1.0).unwrap();
        assert_eq!(check(&body(&[a], &[row(0, None, one)])), Ok(1));
        assert!(check(&body(&[a, b], &[row(0, None, one)])).is_err(), "unused series");
        assert!(check(&body(&[a], &[row(1, None, one)])).is_err(), "unknown series");
        assert!(check(&body(&[a, b], &[row(1, None, one), row(0, None, one)])).is_err(), "order");
        let mut raw = body(&[a], &[row(0, None, one)]);
        raw.truncate(raw.len() - 2);
        raw.push(0);
        raw.extend(1.0f64.to_bits().to_le_bytes());
        assert_eq!(check(&raw), Err(Reject::Malformed), "a raw double with a short form");
        let mut nan = body(&[a], &[row(0, None, one)]);
        nan.truncate(nan.len() - 2);
        nan.push(0);
        nan.extend(f64::NAN.to_bits().to_le_bytes());
        assert_eq!(check(&nan), Err(Reject::NonFinite));
    }

    fn any_value() -> impl Strategy<Value = (u8, f64, i64, String)> {
        (0u8..5, any::<f64>(), any::<i64>(), "[ -~]{0,20}")
    }

    type Raw = ((u8, f64, i64, String), Option<i64>, u8, Option<(u64, u64)>);

    fn any_raw() -> impl Strategy<Value = Raw> {
        let source = prop::option::of((any::<u64>(), any::<u64>()));
        (any_value(), prop::option::of(any::<i64>()), 0u8..32, source)
    }

    fn to_value(raw: &(u8, f64, i64, String)) -> Value<'_> {
        match raw.0 {
            0 if raw.1.is_finite() => Value::float(raw.1).unwrap(),
            1 => Value::Int(raw.2),
            2 => Value::Bool(raw.2 & 1 == 1),
            3 => Value::Text(Text::new(&raw.3).unwrap()),
            _ => Value::float((raw.2 % 100_000) as f64 / 100.0).unwrap(),
        }
    }

    proptest! {
        #[test]
        fn rows_read_back_and_the_body_is_canonical(
            raws in prop::collection::vec(any_raw(), 1..30),
            unit in 0usize..4,
        ) {
            let scale = [1, 1_000, 1_000_000, 1_000_000_000][unit];
            let a = key("a", "m", "");
            let b = key("b", "m", "");
            let numbered = raws.iter().enumerate();
            let rows: Vec<_> = numbered.map(|(i, (value, time, quality, source))| Row {
                series: u32::from(i > 0 && i % 2 == 1),
                time: time.map(|t| Timestamp(t / scale * scale)),
                value: to_value(value),
                quality: Quality(*quality),
                source: source.map(|(boot, seq)| DeviceSeq { boot, seq }),
            }).collect();
            let keys = if rows.len() > 1 { &[a, b][..] } else { &[a][..] };
            let bytes = body(keys, &rows);
            prop_assert_eq!(check(&bytes), Ok(rows.len() as u64));
            let read = Body::new(&bytes).unwrap();
            prop_assert_eq!(read.received(), NOW);
            prop_assert_eq!(read.series().collect::<Vec<_>>(), keys);
            prop_assert_eq!(read.rows().collect::<Result<Vec<_>, _>>().unwrap(), rows);
        }

        #[test]
        fn accepted_bytes_are_re_made_bit_by_bit(
            bytes in prop::collection::vec(any::<u8>(), 0..60),
            seed in prop::collection::vec(any::<(u8, u8)>(), 0..3),
        ) {
            let mut mutated = body(&[key("a", "m", ""), key("b", "m", "")], &[
                row(0, Some(5), Value::float(0.5).unwrap()), row(1, Some(9_000), Value::Int(4)),
            ]);
            for (at, with) in seed { let i = at as usize % mutated.len(); mutated[i] = with; }
            for bytes in [bytes, mutated] {
                if check(&bytes).is_ok() {
                    let read = Body::new(&bytes).unwrap();
                    let keys: Vec<_> = read.series().collect();
                    let rows: Vec<_> = read.rows().map(Result::unwrap).collect();
                    let mut again = Vec::new();
                    encode(&mut again, read.received(), &keys, rows.into_iter()).unwrap();
                    prop_assert_eq!(again, bytes);
                }
            }
        }
    }
}
