//! Rollups as columns: per series the windows, the revisions and each figure of the summaries.
//!
//! Where the bodies have them (format 2) there follow the sums of squares and the sketches, whose
//! buckets stand one behind the other, row after row.

use super::column::{ColumnNo, ColumnReader, Columns};
use super::directory::{PLAIN, SPREAD};
use super::series::{
    Numbers, Order, SeriesSpan, Split, Times, deal, places, put_numbers, put_span, put_times,
    read_span, whole,
};
use super::spread::{Place as SpreadPlace, Sketches, Spread};
use super::{Commit, Plan, SegmentError};
use holdfast_core::codec::Reader;
use holdfast_core::log::rollups::{Body, Row, check, encode as encode_body};
use holdfast_core::rollup::{Revision, Sample, Summary, Window};
use holdfast_core::sketch::Sketch;
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
    spread: Spread,
}

impl Fields {
    fn push(&mut self, row: &Row, sketch: Option<&Sketch>) {
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
        self.spread.push(summary.squares, sketch);
    }

    fn span<'a>(&self, key: SeriesKey<'a>) -> SeriesSpan<'a> {
        let times = self.times.iter().flatten().map(|time| time.millis());
        let (from, to) = (times.clone().min(), times.max());
        let rows = self.ints[0].len();
        SeriesSpan { key, rows, from_ms: from.unwrap_or(0), to_ms: to.unwrap_or(0) }
    }

    fn put(&self, format: u8, columns: &mut Columns, out: &mut Vec<u8>) -> Result<(), Reject> {
        self.ints.iter().try_for_each(|column| columns.ints(column).put(out))?;
        self.numbers.iter().try_for_each(|column| put_numbers(column, columns, out))?;
        self.times.iter().try_for_each(|column| put_times(column, columns, out))?;
        if format == PLAIN { Ok(()) } else { self.spread.put(columns, out) }
    }
}

/// Writes the content of the commits and returns the format of the segment and when each was
/// received, in milliseconds.
pub(super) fn encode(
    commits: &[Commit],
    columns: &mut Columns,
    out: &mut Vec<u8>,
) -> Result<(u8, Vec<i64>), SegmentError> {
    let mut split: Split<SeriesKey<'_>, Fields> = Split::new();
    let (mut format, mut received) = (None, Vec::with_capacity(commits.len()));
    for commit in commits {
        if check(&commit.body)? != u64::from(commit.count) {
            return Err(Reject::Malformed.into());
        }
        let body = Body::new(&commit.body)?;
        // A start of a node is of one release, and so its chain of one format.
        if *format.get_or_insert(body.format()) != body.format() {
            return Err(Reject::Version.into());
        }
        received.push(body.received().millis());
        let keys: Vec<_> = body.series().collect();
        for row in body.rows() {
            let (row, sketch) = row?;
            split.next(keys[row.series as usize]).push(&row, sketch.as_ref());
        }
    }
    let format = if format == Some(PLAIN) { PLAIN } else { SPREAD };
    split.put_order(columns, out)?;
    for (key, fields) in &split.series {
        put_span(out, &fields.span(*key))?;
        fields.put(format, columns, out)?;
    }
    Ok((format, received))
}

struct Place<'a> {
    span: SeriesSpan<'a>,
    ints: [ColumnNo; INTS],
    numbers: [Numbers; NUMBERS],
    times: [Times; 2],
    spread: Option<SpreadPlace>,
}

/// An array whose every part is read in turn.
fn each<T, const N: usize>(mut read: impl FnMut() -> Result<T, Reject>) -> Result<[T; N], Reject> {
    let all: Result<Vec<T>, Reject> = (0..N).map(|_| read()).collect();
    all?.try_into().map_err(|_| Reject::Malformed)
}

/// The rows of a series, one after the other.
struct Rows {
    rows: std::vec::IntoIter<Row>,
    sketches: Option<Sketches>,
}

impl Rows {
    fn next(&mut self) -> Result<Option<(Row, Option<Sketch>)>, Reject> {
        let Some(mut row) = self.rows.next() else { return Ok(None) };
        let sketch = match &mut self.sketches {
            None => None,
            Some(sketches) => {
                let sketch;
                (row.summary.squares, sketch) = sketches.next()?;
                sketch
            }
        };
        Ok(Some((row, sketch)))
    }
}

impl<'a> Place<'a> {
    fn read(format: u8, reader: &mut Reader<'a>) -> Result<Self, Reject> {
        let mut place = Self {
            span: read_span(reader)?,
            ints: each(|| ColumnNo::read(reader))?,
            numbers: each(|| Numbers::read(reader))?,
            times: each(|| Times::read(reader))?,
            spread: None,
        };
        if format == SPREAD {
            place.spread = Some(SpreadPlace::read(reader)?);
        }
        Ok(place)
    }

    fn unpack(&self, columns: &ColumnReader<'_>) -> Result<Rows, SegmentError> {
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
                    squares: None,
                    min: number(1),
                    max: number(2),
                    first: Sample { time: times[0][at], value: number(3) },
                    last: Sample { time: times[1][at], value: number(4) },
                },
            })
        };
        let unpacked: Result<Vec<_>, _> = (0..rows).map(row).collect();
        let sketches = self.spread.as_ref().map(|spread| spread.unpack(columns, rows));
        Ok(Rows { rows: unpacked?.into_iter(), sketches: sketches.transpose()? })
    }
}

/// The content of a segment of rollups.
pub(super) struct Content<'s, 'a> {
    pub format: u8,
    pub columns: &'s ColumnReader<'a>,
}

impl Content<'_, '_> {
    /// The series, by first use.
    pub fn series<'c>(&self, content: Reader<'c>) -> Result<Vec<SeriesSpan<'c>>, SegmentError> {
        let (_, places) = places(content, |reader| Place::read(self.format, reader))?;
        Ok(places.iter().map(|place| place.span).collect())
    }

    /// Hands every row of a series to `each`, in log order.
    pub fn each_row(
        &self,
        mut content: Reader<'_>,
        key: &SeriesKey<'_>,
        mut each: impl FnMut(Row, Option<Sketch>),
    ) -> Result<(), SegmentError> {
        let order = Order::read(&mut content)?;
        for _ in 0..order.series {
            let place = Place::read(self.format, &mut content)?;
            if place.span.key == *key {
                let mut rows = place.unpack(self.columns)?;
                while let Some((row, sketch)) = rows.next()? {
                    each(row, sketch);
                }
                return Ok(());
            }
        }
        Ok(())
    }

    /// Makes the bodies anew, in log order.
    pub fn decode(
        &self,
        content: Reader<'_>,
        plan: &Plan<'_>,
        made: &mut impl FnMut(u32, Vec<u8>) -> Result<(), SegmentError>,
    ) -> Result<(), SegmentError> {
        let (order, places) = places(content, |reader| Place::read(self.format, reader))?;
        let spans = whole(places.iter().map(|place| place.span), plan)?;
        let turns = order.rows(self.columns, plan.entries)?;
        let unpacked = places.iter().map(|place| place.unpack(self.columns));
        let mut unpacked = unpacked.collect::<Result<Vec<_>, _>>()?;
        let next = |at: usize, series| {
            let (row, sketch) = unpacked[at].next()?.ok_or(Reject::Malformed)?;
            Ok((Row { series, ..row }, sketch.map(Box::new)))
        };
        deal(&turns, &spans, plan, next, |received, count, keys, rows| {
            let mut body = Vec::new();
            let rows = rows.into_iter();
            encode_body(&mut body, self.format, received, keys, rows)?;
            made(count, body)
        })
    }
}
