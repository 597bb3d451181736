//! The canonical body of a commit of rollups: window summaries of the origin's series.
//!
//! Rows follow a dictionary as in [`super::readings`]. A row repeats a window when late readings
//! revised it; the later revision stands. Format 2 added how the values are spread: the sum of
//! squares and the sketch. A window whose values are all equal needs no sketch, and one that goes
//! on from a summary of format 1 has neither.

use super::series::{FirstUse, SeriesIter, put_series};
use super::value::{put_number, read_number};
use super::{put_head, read_head};
use crate::codec::{Reader, Sink};
use crate::rollup::{Revision, Sample, Summary, Window};
use crate::sketch::Sketch;
use crate::{Reject, SeriesKey, Timestamp};
use core::borrow::Borrow;

/// The newest format of these bodies.
pub const FORMAT: u8 = 2;
/// The format of rows without [`Summary::squares`] and sketch.
const PLAIN: u8 = 1;
/// In the place of the sum of squares: it is not known.
const UNKNOWN: u8 = 255;

/// One summary of a body; the series is a place in the body's dictionary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Place in the dictionary.
    pub series: u32,
    /// Which stretch of time.
    pub window: Window,
    /// What it came to.
    pub summary: Summary,
}

/// Writes a body of a format. `series` must list each series once, in the order of first use by
/// `rows`.
///
/// # Errors
/// [`Reject::Full`] when the sink has no room, [`Reject::NonFinite`] for a summary that is not
/// finite, [`Reject::Version`] for a format that there is not.
pub fn encode<S: Borrow<Sketch>>(
    out: &mut impl Sink,
    format: u8,
    received: Timestamp,
    series: &[SeriesKey<'_>],
    rows: impl Iterator<Item = (Row, Option<S>)>,
) -> Result<(), Reject> {
    if !(PLAIN..=FORMAT).contains(&format) {
        return Err(Reject::Version);
    }
    put_head(out, format, received)?;
    put_series(out, series)?;
    rows.into_iter().try_for_each(|(row, sketch)| {
        out.put_uint(u64::from(row.series))?;
        put_summary(out, &row.window, &row.summary)?;
        if format == PLAIN {
            return Ok(());
        }
        put_spread(out, row.summary.squares, sketch.as_ref().map(Borrow::borrow))
    })
}

/// Writes a window and its summary but for [`Summary::squares`], as a row of a body and as a stored
/// record has it.
///
/// # Errors
/// As [`encode`].
pub fn put_summary(out: &mut impl Sink, window: &Window, summary: &Summary) -> Result<(), Reject> {
    out.put_uint(u64::from(window.width_s))?;
    out.put_int(window.start_s)?;
    out.put_uint(summary.revision.boot)?;
    out.put_uint(summary.revision.seq)?;
    out.put_uint(summary.count)?;
    for number in [summary.sum, summary.min, summary.max] {
        put_number(out, number)?;
    }
    for sample in [summary.first, summary.last] {
        out.put_int(sample.time.0)?;
        put_number(out, sample.value)?;
    }
    Ok(())
}

/// Reads what [`put_summary`] wrote.
///
/// # Errors
/// What is wrong with it.
pub fn read_summary(reader: &mut Reader<'_>) -> Result<(Window, Summary), Reject> {
    let width_s = u32::try_from(reader.uint()?).map_err(|_| Reject::Malformed)?;
    let window = Window { width_s, start_s: reader.int()? };
    let revision = Revision { boot: reader.uint()?, seq: reader.uint()? };
    let count = reader.uint()?;
    let (sum, min, max) = (read_number(reader)?, read_number(reader)?, read_number(reader)?);
    let first = read_sample(reader)?;
    let last = read_sample(reader)?;
    let sensible = width_s > 0
        && count > 0
        && min <= max
        && first.time <= last.time
        && window.start_s.checked_add(i64::from(width_s)).is_some();
    if !sensible {
        return Err(Reject::Malformed);
    }
    Ok((window, Summary { count, sum, squares: None, min, max, first, last, revision }))
}

/// Writes how the values are spread: what follows the summary from format 2 on.
///
/// # Errors
/// As [`encode`].
pub fn put_spread(
    out: &mut impl Sink,
    squares: Option<f64>,
    sketch: Option<&Sketch>,
) -> Result<(), Reject> {
    match squares {
        Some(squares) => put_number(out, squares)?,
        None => out.put_u8(UNKNOWN)?,
    }
    match sketch {
        Some(sketch) => sketch.encode(out),
        None => out.put_uint(0),
    }
}

/// Reads what [`put_spread`] wrote, for the summary before it.
///
/// # Errors
/// What is wrong with it.
pub fn read_spread(
    reader: &mut Reader<'_>,
    summary: &mut Summary,
) -> Result<Option<Sketch>, Reject> {
    summary.squares = if reader.rest().first() == Some(&UNKNOWN) {
        reader.u8()?;
        None
    } else {
        Some(read_number(reader)?)
    };
    let sketch = Sketch::decode(reader)?;
    let fits = |sketch: &Sketch| {
        summary.min < summary.max && sketch.fits(summary.count, summary.min, summary.max)
    };
    let sensible =
        summary.squares.is_none_or(|squares| squares >= 0.0) && sketch.as_ref().is_none_or(fits);
    if sensible { Ok(sketch) } else { Err(Reject::Malformed) }
}

fn read_sample(reader: &mut Reader<'_>) -> Result<Sample, Reject> {
    Ok(Sample { time: Timestamp(reader.int()?), value: read_number(reader)? })
}

/// A body being read.
#[derive(Clone, Debug)]
pub struct Body<'a> {
    format: u8,
    received: Timestamp,
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
        let (format, received) = read_head(&mut reader, FORMAT)?;
        let series = SeriesIter::new(&mut reader)?;
        Ok(Self { format, received, series, rows: reader })
    }

    /// The format in which it is written.
    #[must_use]
    pub const fn format(&self) -> u8 {
        self.format
    }

    /// When the origin wrote these summaries.
    #[must_use]
    pub const fn received(&self) -> Timestamp {
        self.received
    }

    /// The dictionary.
    #[must_use]
    pub fn series(&self) -> SeriesIter<'a> {
        self.series.clone()
    }

    /// The summaries, in log order. An error ends them.
    #[must_use]
    pub fn rows(&self) -> Rows<'a> {
        Rows { format: self.format, reader: self.rows, first_use: FirstUse::new(&self.series) }
    }
}

/// The rows of a body.
#[derive(Debug)]
pub struct Rows<'a> {
    format: u8,
    reader: Reader<'a>,
    first_use: FirstUse,
}

impl Rows<'_> {
    fn read(&mut self) -> Result<(Row, Option<Sketch>), Reject> {
        let series = self.first_use.see(self.reader.uint()?)?;
        let (window, mut summary) = read_summary(&mut self.reader)?;
        let sketch = match self.format {
            PLAIN => None,
            _ => read_spread(&mut self.reader, &mut summary)?,
        };
        Ok((Row { series, window, summary }, sketch))
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<(Row, Option<Sketch>), Reject>;

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

/// Reads a body to its end and says how many rows it has.
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
    if rows.first_use.all_used() { Ok(count) } else { Err(Reject::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::String;
    use std::vec::Vec;

    fn summary(values: &[f64]) -> Summary {
        let sample =
            |i: usize| Sample { time: Timestamp(i as i64 * 1_000_000_000), value: values[i] };
        let revision = |i: usize| Revision { boot: 2, seq: i as u64 + 1 };
        let mut out = Summary::of(sample(0), revision(0));
        (1..values.len()).for_each(|i| out.push(sample(i), revision(i)));
        out
    }

    fn sketch(values: &[f64]) -> Option<Sketch> {
        let mut sketch = Sketch::of(values[0], 1);
        values[1..].iter().for_each(|value| sketch.push(*value));
        values.iter().any(|value| *value != values[0]).then_some(sketch)
    }

    fn body(format: u8, rows: &[(Row, Option<Sketch>)]) -> Vec<u8> {
        let key = SeriesKey::new("p1", "t", "Cel").unwrap();
        let mut out = Vec::new();
        let rows = rows.iter().cloned();
        encode(&mut out, format, Timestamp(1_000_000), &[key], rows).unwrap();
        out
    }

    /// The vectors of `docs/formats/log.md`: one minute with two readings.
    #[test]
    fn golden_vectors() {
        let values = [1.5, 2.25];
        let window = Window { width_s: 60, start_s: 0 };
        let row = Row { series: 0, window, summary: summary(&values) };
        let hex = |format| {
            let body = body(format, &[(row, sketch(&values))]);
            body.iter().map(|byte| std::format!("{byte:02x}")).collect::<String>()
        };
        assert_eq!(hex(1), std::format!("01{GOLDEN}"));
        assert_eq!(hex(2), std::format!("02{GOLDEN}{SPREAD}"));
    }

    const GOLDEN: &str =
        concat!("020102703101740343656c003c0002020207ee05061e07c20300061e80a8d6", "b90707c203");
    const SPREAD: &str = "0abab703022580806000ffff1700";

    #[test]
    fn a_sketch_that_is_of_other_values_is_refused() {
        let window = Window { width_s: 60, start_s: 0 };
        let row = Row { series: 0, window, summary: summary(&[1.5, 2.25]) };
        for wrong in [&[1.5, 2.5][..], &[1.5, 2.25, 2.25], &[1.0, 2.25]] {
            assert_eq!(check(&body(2, &[(row, sketch(wrong))])), Err(Reject::Malformed));
        }
    }

    proptest! {
        #[test]
        fn rows_read_back(
            values in prop::collection::vec(-1e9f64..1e9, 1..90),
            start in -1000i64..1000,
            n in 1usize..5,
            known in any::<bool>(),
        ) {
            let mut of_window = summary(&values);
            of_window.squares = of_window.squares.filter(|_| known);
            let sketch = sketch(&values).filter(|_| known);
            let rows: Vec<_> = (0..n as i64).map(|i| (Row {
                series: 0,
                window: Window { width_s: 60, start_s: (start + i) * 60 },
                summary: of_window,
            }, sketch.clone())).collect();
            for format in [1, 2] {
                let bytes = body(format, &rows);
                prop_assert_eq!(check(&bytes), Ok(n as u64));
                let read = Body::new(&bytes).unwrap();
                prop_assert_eq!(read.format(), format);
                let read = read.rows().collect::<Result<Vec<_>, _>>().unwrap();
                let plain = |(row, _): &(Row, Option<Sketch>)| {
                    (Row { summary: Summary { squares: None, ..row.summary }, ..*row }, None)
                };
                let wanted: Vec<_> =
                    if format == 2 { rows.clone() } else { rows.iter().map(plain).collect() };
                prop_assert_eq!(read, wanted);
            }
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = check(&bytes);
        }
    }
}
