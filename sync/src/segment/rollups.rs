//! Rollups as columns: per series the windows, the revisions and each figure of the summaries.

use super::column::{ColumnNo, ColumnReader, Columns};
use super::series::{
    Numbers, Order, SeriesSpan, Split, Times, deal, places, put_numbers, put_span, put_times,
    read_span, whole,
};
use super::{Commit, Plan, SegmentError};
use holdfast_core::codec::Reader;
use holdfast_core::log::rollups::{Body, Row, check, encode as encode_body};
use holdfast_core::rollup::{Revision, Sample, Summary, Window};
use holdfast_core::{Reject, SeriesKey, Timestamp};

/// The integers of a row, in their order: width, start, boot, sequence, count.
const INTS: usize = 5;
/// The numbers of a row: sum, min, max, and the values of the first and the last sample.
const NUMBERS: usize = 5;

#[derive(Default)]
struct Fields {
    ints: [Vec<i64>; INTS],
    numbers: [Vec<f64>; NUMBERS],
    times: [Vec<Timestamp>; 2],
}

impl Fields {
    fn push(&mut self, row: &Row) {
        let (window, summary) = (row.window, row.summary);
        let Revision { boot, seq } = summary.revision;
        let ints = [
            i64::from(window.width_s),
            window.start_s,
            boot as i64,
            seq as i64,
            summary.count as i64,
        ];
        let (first, last) = (summary.first, summary.last);
        let numbers = [summary.sum, summary.min, summary.max, first.value, last.value];
        self.ints.iter_mut().zip(ints).for_each(|(column, int)| column.push(int));
        self.numbers.iter_mut().zip(numbers).for_each(|(column, number)| column.push(number));
        self.times.iter_mut().zip([first.time, last.time]).for_each(|(all, time)| all.push(time));
    }

    fn span<'a>(&self, key: SeriesKey<'a>) -> SeriesSpan<'a> {
        let times = self.times.iter().flatten().map(|time| time.millis());
        let (from, to) = (times.clone().min(), times.max());
        let rows = self.ints[0].len();
        SeriesSpan { key, rows, from_ms: from.unwrap_or(0), to_ms: to.unwrap_or(0) }
    }

    fn put(&self, columns: &mut Columns, out: &mut Vec<u8>) -> Result<(), Reject> {
        self.ints.iter().try_for_each(|column| columns.ints(column).put(out))?;
        self.numbers.iter().try_for_each(|column| put_numbers(column, columns, out))?;
        self.times.iter().try_for_each(|column| put_times(column, columns, out))
    }
}

/// Writes the content of the commits and returns when each was received, in milliseconds.
pub(super) fn encode(
    commits: &[Commit],
    columns: &mut Columns,
    out: &mut Vec<u8>,
) -> Result<Vec<i64>, SegmentError> {
    let mut split: Split<SeriesKey<'_>, Fields> = Split::new();
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
            split.next(keys[row.series as usize]).push(&row);
        }
    }
    split.put_order(columns, out)?;
    for (key, fields) in &split.series {
        put_span(out, &fields.span(*key))?;
        fields.put(columns, out)?;
    }
    Ok(received)
}

struct Place<'a> {
    span: SeriesSpan<'a>,
    ints: [ColumnNo; INTS],
    numbers: [Numbers; NUMBERS],
    times: [Times; 2],
}

/// An array whose every part is read in turn.
fn each<T, const N: usize>(mut read: impl FnMut() -> Result<T, Reject>) -> Result<[T; N], Reject> {
    let all: Result<Vec<T>, Reject> = (0..N).map(|_| read()).collect();
    all?.try_into().map_err(|_| Reject::Malformed)
}

impl<'a> Place<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Reject> {
        Ok(Self {
            span: read_span(reader)?,
            ints: each(|| ColumnNo::read(reader))?,
            numbers: each(|| Numbers::read(reader))?,
            times: each(|| Times::read(reader))?,
        })
    }

    fn unpack(&self, columns: &ColumnReader<'_>) -> Result<Vec<Row>, SegmentError> {
        let rows = self.span.rows;
        let ints: Result<Vec<_>, _> = self.ints.iter().map(|no| columns.ints(*no, rows)).collect();
        let numbers: Result<Vec<_>, _> =
            self.numbers.iter().map(|n| n.get(columns, rows)).collect();
        let times: Result<Vec<_>, _> = self.times.iter().map(|t| t.get(columns, rows)).collect();
        let (ints, numbers, times) = (ints?, numbers?, times?);
        let row = |at: usize| -> Result<Row, SegmentError> {
            let number = |of: usize| numbers[of][at];
            let width_s = u32::try_from(ints[0][at]).map_err(|_| Reject::Malformed)?;
            Ok(Row {
                series: 0,
                window: Window { width_s, start_s: ints[1][at] },
                summary: Summary {
                    revision: Revision { boot: ints[2][at] as u64, seq: ints[3][at] as u64 },
                    count: ints[4][at] as u64,
                    sum: number(0),
                    min: number(1),
                    max: number(2),
                    first: Sample { time: times[0][at], value: number(3) },
                    last: Sample { time: times[1][at], value: number(4) },
                },
            })
        };
        (0..rows).map(row).collect()
    }
}

/// The series, by first use.
pub(super) fn series(content: Reader<'_>) -> Result<Vec<SeriesSpan<'_>>, SegmentError> {
    Ok(places(content, Place::read)?.1.iter().map(|place| place.span).collect())
}

/// Hands every row of a series to `each`, in log order.
pub(super) fn each_row(
    columns: &ColumnReader<'_>,
    mut content: Reader<'_>,
    key: &SeriesKey<'_>,
    each: impl FnMut(&Row),
) -> Result<(), SegmentError> {
    let order = Order::read(&mut content)?;
    for _ in 0..order.series {
        let place = Place::read(&mut content)?;
        if place.span.key == *key {
            place.unpack(columns)?.iter().for_each(each);
            return Ok(());
        }
    }
    Ok(())
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
    let unpacked: Result<Vec<_>, _> = places.iter().map(|place| place.unpack(columns)).collect();
    let unpacked = unpacked?;
    let mut cursors: Vec<_> = unpacked.iter().map(|rows| rows.iter()).collect();
    let next = |at: usize, series| {
        let row = cursors[at].next().ok_or(Reject::Malformed)?;
        Ok(Row { series, ..*row })
    };
    deal(&turns, &spans, plan, next, |received, count, keys, rows| {
        let mut body = Vec::new();
        encode_body(&mut body, received, keys, rows.into_iter())?;
        made(count, body)
    })
}
