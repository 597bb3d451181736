//! What readings and rollups share: rows taken apart by series, and fields that some rows lack.

use super::column::{ColumnNo, ColumnReader, Columns};
use super::{Plan, SegmentError, limits, order};
use holdfast_core::codec::{Reader, Sink};
use holdfast_core::limits::{DEVICE_MAX_BYTES, METRIC_MAX_BYTES, UNIT_MAX_BYTES};
use holdfast_core::number::{Decimal, ratio};
use holdfast_core::reading::Finite;
use holdfast_core::time::Scale;
use holdfast_core::{Reject, SeriesKey, Timestamp};
use std::collections::HashMap;
use std::hash::Hash;

/// Instead of places: the numbers are doubles.
const DOUBLES: u8 = 255;

const NONE: u8 = 0;
const ALL: u8 = 1;
const SOME: u8 = 2;

/// A series of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesSpan<'a> {
    /// Its name.
    pub key: SeriesKey<'a>,
    /// How many entries it has.
    pub rows: usize,
    /// The least effective time, in Unix milliseconds rounded down.
    pub from_ms: i64,
    /// The greatest.
    pub to_ms: i64,
}

/// Rows by series, and the order in which the series take turns.
pub(super) struct Split<K, T> {
    pub series: Vec<(K, T)>,
    order: Vec<u32>,
    places: HashMap<K, u32>,
}

impl<K: Copy + Eq + Hash, T: Default> Split<K, T> {
    pub fn new() -> Self {
        Self { series: Vec::new(), order: Vec::new(), places: HashMap::new() }
    }

    /// The rows of `key`, of which one more follows.
    pub fn next(&mut self, key: K) -> &mut T {
        let place = *self.places.entry(key).or_insert_with(|| {
            self.series.push((key, T::default()));
            self.series.len() as u32 - 1
        });
        self.order.push(place);
        &mut self.series[place as usize].1
    }

    /// Writes the order and how many series there are.
    pub fn put_order(&self, columns: &mut Columns, out: &mut Vec<u8>) -> Result<(), Reject> {
        let (hits, misses) = order::encode(&self.order, self.series.len());
        columns.ints(&hits).put(out)?;
        columns.ints(&misses).put(out)?;
        out.put_uint(self.series.len() as u64)
    }
}

/// Reads what [`Split::put_order`] wrote.
pub(super) struct Order {
    hits: ColumnNo,
    misses: ColumnNo,
    pub series: usize,
}

impl Order {
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, SegmentError> {
        let (hits, misses) = (ColumnNo::read(reader)?, ColumnNo::read(reader)?);
        let series = reader.uint()?;
        // Each has at least ten bytes of the directory.
        if series > reader.rest().len() as u64 / 10 || series > limits::ENTRIES as u64 {
            return Err(Reject::Malformed.into());
        }
        Ok(Self { hits, misses, series: series as usize })
    }

    /// The series of each row.
    pub fn rows(&self, columns: &ColumnReader<'_>, count: usize) -> Result<Vec<u32>, SegmentError> {
        let (hits, misses) = (columns.all_ints(self.hits)?, columns.all_ints(self.misses)?);
        order::decode(&hits, &misses, count, self.series)
    }
}

/// Reads the order and what stands for each series, which is the whole content.
pub(super) fn places<'a, P>(
    mut content: Reader<'a>,
    read: impl Fn(&mut Reader<'a>) -> Result<P, Reject>,
) -> Result<(Order, Vec<P>), SegmentError> {
    let order = Order::read(&mut content)?;
    let places: Result<Vec<_>, _> = (0..order.series).map(|_| read(&mut content)).collect();
    content.finish()?;
    Ok((order, places?))
}

/// Deals the rows of all series out to the bodies, in log order. `next` gives the next row of the
/// series at a place, for its number in the body's dictionary.
pub(super) fn deal<R>(
    turns: &[u32],
    spans: &[SeriesSpan<'_>],
    plan: &Plan<'_>,
    mut next: impl FnMut(usize, u32) -> Result<R, Reject>,
    mut body: impl FnMut(Timestamp, u32, &[SeriesKey<'_>], Vec<R>) -> Result<(), SegmentError>,
) -> Result<(), SegmentError> {
    let mut turns = turns.iter();
    // In which body each series was dealt last, and its number there.
    let mut standing = vec![(usize::MAX, 0); spans.len()];
    for (number, (count, received)) in plan.counts.iter().zip(plan.received).enumerate() {
        let (mut keys, mut rows) = (Vec::new(), Vec::with_capacity(*count as usize));
        for turn in turns.by_ref().take(*count as usize) {
            let at = *turn as usize;
            if standing[at].0 != number {
                standing[at] = (number, keys.len() as u32);
                keys.push(spans[at].key);
            }
            rows.push(next(at, standing[at].1)?);
        }
        let received = Timestamp::from_millis(*received).ok_or(Reject::Time)?;
        body(received, *count, &keys, rows)?;
    }
    Ok(())
}

/// The spans of all series, which together have as many rows as the segment has entries.
pub(super) fn whole<'a>(
    spans: impl Iterator<Item = SeriesSpan<'a>>,
    plan: &Plan<'_>,
) -> Result<Vec<SeriesSpan<'a>>, SegmentError> {
    let spans: Vec<_> = spans.collect();
    let rows: usize = spans.iter().map(|span| span.rows).sum();
    if rows == plan.entries { Ok(spans) } else { Err(Reject::Malformed.into()) }
}

pub(super) fn put_span(out: &mut Vec<u8>, span: &SeriesSpan<'_>) -> Result<(), Reject> {
    out.put_bytes(span.key.device.as_str().as_bytes())?;
    out.put_bytes(span.key.metric.as_str().as_bytes())?;
    out.put_bytes(span.key.unit.as_str().as_bytes())?;
    out.put_uint(span.rows as u64)?;
    out.put_int(span.from_ms)?;
    out.put_int(span.to_ms)
}

pub(super) fn read_span<'a>(reader: &mut Reader<'a>) -> Result<SeriesSpan<'a>, Reject> {
    let key = SeriesKey::new(
        reader.str(DEVICE_MAX_BYTES)?,
        reader.str(METRIC_MAX_BYTES)?,
        reader.str(UNIT_MAX_BYTES)?,
    )?;
    read_span_of(reader, key)
}

/// The name of a series as it stands in a directory.
pub(super) fn name(key: &SeriesKey<'_>) -> Result<Vec<u8>, Reject> {
    let mut out = Vec::new();
    for text in [key.device.as_str(), key.metric.as_str(), key.unit.as_str()] {
        out.put_bytes(text.as_bytes())?;
    }
    Ok(out)
}

/// Reads a name and says whether it is `name`. Who looks for one series has no use for the names
/// of the others, so these are not checked.
pub(super) fn is_named(reader: &mut Reader<'_>, name: &[u8]) -> Result<bool, Reject> {
    if reader.rest().starts_with(name) {
        reader.take(name.len())?;
        return Ok(true);
    }
    for max in [DEVICE_MAX_BYTES, METRIC_MAX_BYTES, UNIT_MAX_BYTES] {
        reader.bytes(max)?;
    }
    Ok(false)
}

/// What stands behind the name.
pub(super) fn read_span_of<'a>(
    reader: &mut Reader<'_>,
    key: SeriesKey<'a>,
) -> Result<SeriesSpan<'a>, Reject> {
    let rows = reader.uint()?;
    if rows == 0 || rows > limits::ENTRIES as u64 {
        return Err(Reject::Malformed);
    }
    let (from_ms, to_ms) = (reader.int()?, reader.int()?);
    Ok(SeriesSpan { key, rows: rows as usize, from_ms, to_ms })
}

/// Says which rows have a field: all, none, or those with a 1 in a column.
pub(super) fn put_part(
    has: &[bool],
    columns: &mut Columns,
    out: &mut Vec<u8>,
) -> Result<bool, Reject> {
    let with = has.iter().filter(|has| **has).count();
    if with == 0 || with == has.len() {
        out.put_u8(if with == 0 { NONE } else { ALL })?;
    } else {
        out.put_u8(SOME)?;
        columns.ints(&has.iter().map(|has| i64::from(*has)).collect::<Vec<_>>()).put(out)?;
    }
    Ok(with > 0)
}

/// Which of `rows` rows have a field.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    None,
    All,
    Some(ColumnNo),
}

impl Part {
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Reject> {
        match reader.u8()? {
            NONE => Ok(Self::None),
            ALL => Ok(Self::All),
            SOME => Ok(Self::Some(ColumnNo::read(reader)?)),
            _ => Err(Reject::Malformed),
        }
    }

    pub const fn any(self) -> bool {
        !matches!(self, Self::None)
    }

    pub fn has(self, columns: &ColumnReader<'_>, rows: usize) -> Result<Vec<bool>, SegmentError> {
        Ok(match self {
            Self::None => vec![false; rows],
            Self::All => vec![true; rows],
            Self::Some(no) => columns.ints(no, rows)?.iter().map(|has| *has == 1).collect(),
        })
    }
}

/// Writes times as integers of the coarsest unit in which all are whole.
pub(super) fn put_times(
    times: &[Timestamp],
    columns: &mut Columns,
    out: &mut Vec<u8>,
) -> Result<(), Reject> {
    let scale = holdfast_core::log::readings::scale_of(times.iter().copied());
    out.put_u8(scale as u8)?;
    columns.ints(&times.iter().map(|time| time.0 / scale.nanos()).collect::<Vec<_>>()).put(out)
}

/// Where times stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    scale: Scale,
    no: ColumnNo,
}

impl Times {
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Reject> {
        let scale = Scale::from_u8(reader.u8()?).ok_or(Reject::Malformed)?;
        Ok(Self { scale, no: ColumnNo::read(reader)? })
    }

    pub fn get(
        self,
        columns: &ColumnReader<'_>,
        count: usize,
    ) -> Result<Vec<Timestamp>, SegmentError> {
        let times = columns.ints(self.no, count)?;
        let nanos = times.iter().map(|time| time.checked_mul(self.scale.nanos()).map(Timestamp));
        Ok(nanos.collect::<Option<_>>().ok_or(Reject::Time)?)
    }
}

/// Writes doubles, as integers when all are short decimals.
pub(super) fn put_numbers(
    numbers: &[f64],
    columns: &mut Columns,
    out: &mut Vec<u8>,
) -> Result<(), Reject> {
    let short: Option<Vec<_>> = numbers.iter().map(|number| Decimal::of(*number)).collect();
    let places = |short: &[Decimal]| short.iter().map(|d| d.places()).max().unwrap_or(0);
    let digits = short.and_then(|short| {
        let places = places(&short);
        let digits: Option<Vec<_>> = short.iter().map(|decimal| decimal.at(places)).collect();
        Some((places, digits?))
    });
    match digits {
        Some((places, digits)) => {
            out.put_u8(places)?;
            columns.ints(&digits).put(out)
        }
        None => {
            out.put_u8(DOUBLES)?;
            columns.doubles(numbers).put(out)
        }
    }
}

/// Where doubles stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    places: u8,
    no: ColumnNo,
}

impl Numbers {
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Reject> {
        Ok(Self { places: reader.u8()?, no: ColumnNo::read(reader)? })
    }

    pub fn get(self, columns: &ColumnReader<'_>, count: usize) -> Result<Vec<f64>, SegmentError> {
        let numbers: Option<Vec<f64>> = if self.places == DOUBLES {
            let numbers = columns.doubles(self.no, count)?;
            numbers.into_iter().map(|n| Finite::new(n).ok().map(Finite::get)).collect()
        } else {
            columns.ints(self.no, count)?.iter().map(|n| ratio(*n, self.places)).collect()
        };
        Ok(numbers.ok_or(Reject::NonFinite)?)
    }
}
