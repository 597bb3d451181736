//! The canonical body of a commit of rollups: window summaries of the origin's series.
//!
//! Rows follow a dictionary as in [`super::readings`]. A row repeats a window when late readings
//! revised it; the later revision stands.

use super::series::{FirstUse, SeriesIter, put_series};
use super::value::{put_number, read_number};
use super::{put_head, read_head};
use crate::codec::{Reader, Sink};
use crate::rollup::{Revision, Sample, Summary, Window};
use crate::{Reject, SeriesKey, Timestamp};

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

/// Writes a body. `series` must list each series once, in the order of first use by `rows`.
///
/// # Errors
/// [`Reject::Full`] when the sink has no room, [`Reject::NonFinite`] for a summary that is not
/// finite.
pub fn encode(
    out: &mut impl Sink,
    received: Timestamp,
    series: &[SeriesKey<'_>],
    rows: impl Iterator<Item = Row>,
) -> Result<(), Reject> {
    put_head(out, received)?;
    put_series(out, series)?;
    rows.into_iter().try_for_each(|row| {
        out.put_uint(u64::from(row.series))?;
        put_summary(out, &row.window, &row.summary)
    })
}

/// Writes a window and its summary, as a row of a body and as a stored record has it.
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
    Ok((window, Summary { count, sum, min, max, first, last, revision }))
}

fn read_sample(reader: &mut Reader<'_>) -> Result<Sample, Reject> {
    Ok(Sample { time: Timestamp(reader.int()?), value: read_number(reader)? })
}

/// A body being read.
#[derive(Clone, Debug)]
pub struct Body<'a> {
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
        let received = read_head(&mut reader)?;
        let series = SeriesIter::new(&mut reader)?;
        Ok(Self { received, series, rows: reader })
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
        Rows { reader: self.rows, first_use: FirstUse::new(&self.series) }
    }
}

/// The rows of a body.
#[derive(Debug)]
pub struct Rows<'a> {
    reader: Reader<'a>,
    first_use: FirstUse,
}

impl Rows<'_> {
    fn read(&mut self) -> Result<Row, Reject> {
        let series = self.first_use.see(self.reader.uint()?)?;
        let (window, summary) = read_summary(&mut self.reader)?;
        Ok(Row { series, window, summary })
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<Row, Reject>;

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

    fn body(rows: &[Row]) -> Vec<u8> {
        let key = SeriesKey::new("p1", "t", "Cel").unwrap();
        let mut out = Vec::new();
        encode(&mut out, Timestamp(1_000_000), &[key], rows.iter().copied()).unwrap();
        out
    }

    /// The vector of `docs/formats/log.md`: one minute with two readings.
    #[test]
    fn golden_vector() {
        let row = Row {
            series: 0,
            window: Window { width_s: 60, start_s: 0 },
            summary: summary(&[1.5, 2.25]),
        };
        let hex: String = body(&[row]).iter().map(|b| std::format!("{b:02x}")).collect();
        assert_eq!(hex, GOLDEN);
    }

    const GOLDEN: &str =
        concat!("01020102703101740343656c003c0002020207ee05061e07c20300061e80a8d6", "b90707c203");

    proptest! {
        #[test]
        fn rows_read_back(
            values in prop::collection::vec(-1e9f64..1e9, 1..6),
            start in -1000i64..1000,
            n in 1usize..5,
        ) {
            let rows: Vec<_> = (0..n as i64).map(|i| Row {
                series: 0,
                window: Window { width_s: 60, start_s: (start + i) * 60 },
                summary: summary(&values),
            }).collect();
            let bytes = body(&rows);
            prop_assert_eq!(check(&bytes), Ok(n as u64));
            let read = Body::new(&bytes).unwrap();
            prop_assert_eq!(read.rows().collect::<Result<Vec<_>, _>>().unwrap(), rows);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = check(&bytes);
        }
    }
}
