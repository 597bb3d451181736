//! Readings as columns: per series the times, the quality, the names of messages and the values.

use super::column::{ColumnNo, ColumnReader, Columns};
use super::series::{
    Numbers, Order, Part, SeriesSpan, Split, Times, deal, is_named, name, places, put_numbers,
    put_part, put_span, put_times, read_span, read_span_of, whole,
};
use super::{Commit, Plan, SegmentError};
use holdfast_core::codec::{Reader, Sink};
use holdfast_core::log::readings::{Body, Row, check, encode as encode_body};
use holdfast_core::log::{put_value, read_value};
use holdfast_core::reading::{DeviceSeq, Text};
use holdfast_core::{Quality, Reject, SeriesKey, Timestamp, Value};

const NUMBERS: u8 = 0;
const INTS: u8 = 1;
const BOOLS: u8 = 2;
const TEXTS: u8 = 3;
const MIXED: u8 = 4;

/// The rows of one series, field by field; fields that a row may lack have fewer.
#[derive(Default)]
struct Fields<'a> {
    has_time: Vec<bool>,
    times: Vec<Timestamp>,
    quality: Vec<i64>,
    has_source: Vec<bool>,
    boots: Vec<i64>,
    seqs: Vec<i64>,
    values: Vec<Value<'a>>,
    span: Option<(i64, i64)>,
}

impl<'a> Fields<'a> {
    fn push(&mut self, row: &Row<'a>, received: Timestamp) {
        self.has_time.push(row.time.is_some());
        self.times.extend(row.time);
        self.quality.push(i64::from(row.quality.0));
        self.has_source.push(row.source.is_some());
        if let Some(source) = row.source {
            self.boots.push(source.boot as i64);
            self.seqs.push(source.seq as i64);
        }
        self.values.push(row.value);
        let ms = row.effective_time(received).millis();
        let (from, to) = self.span.unwrap_or((ms, ms));
        self.span = Some((from.min(ms), to.max(ms)));
    }

    fn put(&self, columns: &mut Columns, out: &mut Vec<u8>) -> Result<(), Reject> {
        if put_part(&self.has_time, columns, out)? {
            put_times(&self.times, columns, out)?;
        }
        columns.ints(&self.quality).put(out)?;
        if put_part(&self.has_source, columns, out)? {
            columns.ints(&self.boots).put(out)?;
            columns.ints(&self.seqs).put(out)?;
        }
        put_values(&self.values, columns, out)
    }
}

fn kind(value: &Value<'_>) -> u8 {
    match value {
        Value::Float(_) => NUMBERS,
        Value::Int(_) => INTS,
        Value::Bool(_) => BOOLS,
        Value::Text(_) => TEXTS,
    }
}

fn put_values(
    values: &[Value<'_>],
    columns: &mut Columns,
    out: &mut Vec<u8>,
) -> Result<(), Reject> {
    let first = values.first().map_or(MIXED, kind);
    let one = if values.iter().all(|value| kind(value) == first) { first } else { MIXED };
    out.put_u8(one)?;
    match one {
        NUMBERS => {
            let numbers: Vec<_> = values.iter().filter_map(Value::number).collect();
            put_numbers(&numbers, columns, out)
        }
        INTS | BOOLS => {
            let int = |value: &Value<'_>| match value {
                Value::Int(int) => *int,
                other => i64::from(*other == Value::Bool(true)),
            };
            columns.ints(&values.iter().map(int).collect::<Vec<_>>()).put(out)
        }
        _ => {
            let mut bytes = Vec::new();
            for value in values {
                match value {
                    Value::Text(text) if one == TEXTS => {
                        bytes.put_bytes(text.as_str().as_bytes())?;
                    }
                    value => put_value(&mut bytes, value)?,
                }
            }
            columns.bytes(&bytes).put(out)
        }
    }
}

/// Writes the content of the commits and returns when each was received, in milliseconds.
pub(super) fn encode(
    commits: &[Commit],
    columns: &mut Columns,
    out: &mut Vec<u8>,
) -> Result<Vec<i64>, SegmentError> {
    let mut split: Split<SeriesKey<'_>, Fields<'_>> = Split::new();
    let mut received = Vec::with_capacity(commits.len());
    for commit in commits {
        if check(&commit.body)? != u64::from(commit.count) {
            return Err(Reject::Malformed.into());
        }
        let body = Body::new(&commit.body)?;
        received.push(body.received().millis());
        let keys: Vec<_> = body.series().collect();
        for row in body.rows() {
            let row = row?;
            split.next(keys[row.series as usize]).push(&row, body.received());
        }
    }
    split.put_order(columns, out)?;
    for (key, fields) in &split.series {
        let (from_ms, to_ms) = fields.span.unwrap_or_default();
        let rows = fields.values.len();
        put_span(out, &SeriesSpan { key: *key, rows, from_ms, to_ms })?;
        fields.put(columns, out)?;
    }
    Ok(received)
}

/// What is wanted of the rows of a series beside value, quality and effective time. To know when
/// each was received, the turns of all series have to be gone through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// When it was received; without, any time is given where the effective one does not need it.
    pub received: bool,
    /// The device's own name for the message.
    pub source: bool,
}

/// Where the fields of a series stand.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    span: SeriesSpan<'a>,
    timed: Part,
    times: Option<Times>,
    quality: ColumnNo,
    sourced: Part,
    sources: Option<(ColumnNo, ColumnNo)>,
    values: Values,
}

#[derive(Clone, Copy)]
enum Values {
    Numbers(Numbers),
    Ints(ColumnNo),
    Bools(ColumnNo),
    Texts(ColumnNo),
    Mixed(ColumnNo),
}

impl<'a> Place<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Reject> {
        let span = read_span(reader)?;
        Self::read_fields(reader, span)
    }

    /// What stands behind the span.
    fn read_fields(reader: &mut Reader<'_>, span: SeriesSpan<'a>) -> Result<Self, Reject> {
        let timed = Part::read(reader)?;
        let times = if timed.any() { Some(Times::read(reader)?) } else { None };
        let quality = ColumnNo::read(reader)?;
        let sourced = Part::read(reader)?;
        let sources = if sourced.any() {
            Some((ColumnNo::read(reader)?, ColumnNo::read(reader)?))
        } else {
            None
        };
        let values = match reader.u8()? {
            NUMBERS => Values::Numbers(Numbers::read(reader)?),
            INTS => Values::Ints(ColumnNo::read(reader)?),
            BOOLS => Values::Bools(ColumnNo::read(reader)?),
            TEXTS => Values::Texts(ColumnNo::read(reader)?),
            MIXED => Values::Mixed(ColumnNo::read(reader)?),
            _ => return Err(Reject::Malformed),
        };
        Ok(Self { span, timed, times, quality, sourced, sources, values })
    }

    /// How many rows it has.
    pub const fn rows(&self) -> usize {
        self.span.rows
    }

    pub fn unpack(
        &self,
        columns: &ColumnReader<'_>,
        with_source: bool,
    ) -> Result<Unpacked, SegmentError> {
        let rows = self.span.rows;
        let count = |has: &[bool]| has.iter().filter(|has| **has).count();
        let has_time = self.timed.has(columns, rows)?;
        let times = match self.times {
            Some(times) => times.get(columns, count(&has_time))?,
            None => Vec::new(),
        };
        let quality = columns.ints(self.quality, rows)?.iter().map(|q| u8::try_from(*q)).collect();
        let quality: Result<Vec<u8>, _> = quality;
        let sourced = if with_source { self.sourced } else { Part::None };
        let has_source = sourced.has(columns, rows)?;
        let (boots, seqs) = match self.sources.filter(|_| with_source) {
            Some((boots, seqs)) => {
                let count = count(&has_source);
                (columns.ints(boots, count)?, columns.ints(seqs, count)?)
            }
            None => (Vec::new(), Vec::new()),
        };
        let values = match self.values {
            Values::Numbers(numbers) => Column::Numbers(numbers.get(columns, rows)?),
            Values::Ints(no) => Column::Ints(columns.ints(no, rows)?),
            Values::Bools(no) => Column::Bools(columns.ints(no, rows)?),
            Values::Texts(no) => Column::Bytes { mixed: false, bytes: columns.bytes(no)? },
            Values::Mixed(no) => Column::Bytes { mixed: true, bytes: columns.bytes(no)? },
        };
        let quality = quality.map_err(|_| Reject::Malformed)?;
        Ok(Unpacked { has_time, times, quality, has_source, boots, seqs, values })
    }
}

/// The columns of a series in memory.
pub(super) struct Unpacked {
    has_time: Vec<bool>,
    times: Vec<Timestamp>,
    quality: Vec<u8>,
    has_source: Vec<bool>,
    boots: Vec<i64>,
    seqs: Vec<i64>,
    values: Column,
}

impl Unpacked {
    /// Whether a row is filed under the time it was received.
    pub fn rests_on_receipt(&self) -> bool {
        let distrusted = |quality: &u8| Quality(*quality).has(Quality::DEVICE_CLOCK);
        !self.has_time.iter().all(|has| *has) || self.quality.iter().any(distrusted)
    }

    /// Hands every row to `each`, in log order, with when it was received, in milliseconds.
    pub fn each(
        &self,
        received: impl Iterator<Item = i64>,
        mut each: impl FnMut(Timestamp, &Row<'_>),
    ) -> Result<(), SegmentError> {
        let mut cursor = Cursor::new(self);
        for received in received {
            let received = Timestamp::from_millis(received).ok_or(Reject::Time)?;
            each(received, &cursor.next()?);
        }
        Ok(())
    }
}

enum Column {
    Numbers(Vec<f64>),
    Ints(Vec<i64>),
    Bools(Vec<i64>),
    Bytes { mixed: bool, bytes: Vec<u8> },
}

/// Walks through the rows of a series.
struct Cursor<'u> {
    fields: &'u Unpacked,
    row: usize,
    time: usize,
    source: usize,
    bytes: Reader<'u>,
}

impl<'u> Cursor<'u> {
    fn new(fields: &'u Unpacked) -> Self {
        let bytes = match &fields.values {
            Column::Bytes { bytes, .. } => Reader::new(bytes),
            _ => Reader::new(&[]),
        };
        Self { fields, row: 0, time: 0, source: 0, bytes }
    }

    /// The next row; its series is left for the caller to say.
    fn next(&mut self) -> Result<Row<'u>, Reject> {
        let (fields, row) = (self.fields, self.row);
        let quality = *fields.quality.get(row).ok_or(Reject::Malformed)?;
        self.row += 1;
        let mut time = None;
        if fields.has_time[row] {
            time = Some(fields.times[self.time]);
            self.time += 1;
        }
        let mut source = None;
        if fields.has_source[row] {
            let (boot, seq) = (fields.boots[self.source], fields.seqs[self.source]);
            source = Some(DeviceSeq { boot: boot as u64, seq: seq as u64 });
            self.source += 1;
        }
        let value = match &fields.values {
            Column::Numbers(numbers) => Value::float(numbers[row])?,
            Column::Ints(ints) => Value::Int(ints[row]),
            Column::Bools(bools) => Value::Bool(bools[row] == 1),
            Column::Bytes { mixed: true, .. } => read_value(&mut self.bytes)?,
            Column::Bytes { mixed: false, .. } => {
                Value::Text(Text::new(self.bytes.str(holdfast_core::limits::TEXT_MAX_BYTES)?)?)
            }
        };
        Ok(Row { series: 0, time, value, quality: Quality(quality), source })
    }
}

/// The series, by first use.
pub(super) fn series(content: Reader<'_>) -> Result<Vec<SeriesSpan<'_>>, SegmentError> {
    Ok(places(content, Place::read)?.1.iter().map(|place| place.span).collect())
}

/// Makes the bodies anew, in log order.
pub(super) fn decode(
    columns: &ColumnReader<'_>,
    content: Reader<'_>,
    plan: &Plan<'_>,
    made: &mut impl FnMut(u32, Vec<u8>) -> Result<(), SegmentError>,
) -> Result<(), SegmentError> {
    let (order, places) = places(content, Place::read)?;
    let spans = whole(places.iter().map(|place| place.span), plan)?;
    let turns = order.rows(columns, plan.entries)?;
    let unpacked: Result<Vec<_>, _> =
        places.iter().map(|place| place.unpack(columns, true)).collect();
    let unpacked = unpacked?;
    let mut cursors: Vec<_> = unpacked.iter().map(Cursor::new).collect();
    let next = |at: usize, series| Ok(Row { series, ..cursors[at].next()? });
    deal(&turns, &spans, plan, next, |received, count, keys, rows| {
        let mut body = Vec::with_capacity(32 + rows.len() * 12);
        encode_body(&mut body, received, keys, rows.into_iter())?;
        made(count, body)
    })
}

/// Where a series stands, and the order of all; `None` when it has no row.
pub(super) fn find<'a>(
    mut content: Reader<'a>,
    key: &SeriesKey<'a>,
) -> Result<Option<(usize, Order, Place<'a>)>, SegmentError> {
    let (order, name) = (Order::read(&mut content)?, name(key)?);
    for at in 0..order.series {
        let named = is_named(&mut content, &name)?;
        let span = read_span_of(&mut content, *key)?;
        let place = Place::read_fields(&mut content, span)?;
        if named {
            return Ok(Some((at, order, place)));
        }
    }
    Ok(None)
}

/// When each row of the series at place `at` was received.
pub(super) fn received_of(at: usize, rows: &[u32], plan: &Plan<'_>) -> Vec<i64> {
    let mut out = Vec::new();
    let mut rows = rows.iter();
    for (count, received) in plan.counts.iter().zip(plan.received) {
        let own = rows.by_ref().take(*count as usize).filter(|row| **row as usize == at);
        out.extend(own.map(|_| *received));
    }
    out
}
