//! What a window comes to: its summary, and the sketch of how its values are spread.
//!
//! While all values are equal the summary says everything, and there is no sketch: most series of
//! states and counters never need one.

use holdfast_core::Reject;
use holdfast_core::codec::Reader;
use holdfast_core::log::rollups::{Row, put_spread, put_summary, read_spread, read_summary};
use holdfast_core::rollup::{Revision, Sample, Summary, Window};
use holdfast_core::sketch::Sketch;
use holdfast_sync::Fault;

/// A summary and its sketch.
#[derive(Clone, Debug, PartialEq)]
pub struct Rolled {
    /// The figures.
    pub summary: Summary,
    /// How the values are spread; `None` while they are equal, or when it is not known.
    pub sketch: Option<Box<Sketch>>,
}

/// A quantile of a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantile {
    /// The value.
    pub value: f64,
    /// By how much it may be off, either way.
    pub error: f64,
}

impl Rolled {
    /// What one reading comes to.
    #[must_use]
    pub const fn of(sample: Sample, revision: Revision) -> Self {
        Self { summary: Summary::of(sample, revision), sketch: None }
    }

    /// Takes a reading that is known not to be in.
    pub fn take(&mut self, sample: Sample, revision: Revision) {
        self.spread(sample.value, 1);
        self.summary.take(sample, revision);
    }

    /// Takes the readings of a later stretch, none of which is in.
    pub fn merge(&mut self, after: &Self) {
        match &after.sketch {
            Some(other) => {
                if self.is_flat() {
                    self.sketch = Some(self.flat());
                }
                if let Some(sketch) = &mut self.sketch {
                    sketch.merge(other);
                }
            }
            None if after.is_flat() => self.spread(after.summary.min, after.summary.count),
            None => self.sketch = None,
        }
        self.summary = self.summary.merge(&after.summary);
    }

    /// Of two of the same window and origin, the one that stands.
    #[must_use]
    pub fn later(self, other: Self) -> Self {
        if self.summary.later(other.summary) == self.summary { self } else { other }
    }

    /// The value that `q` of all readings do not exceed, between 0 and 1; `None` when it is not
    /// known.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<Quantile> {
        let Summary { min, max, .. } = self.summary;
        match &self.sketch {
            Some(sketch) => {
                let value = sketch.quantile(q).clamp(min, max);
                Some(Quantile { value, error: sketch.error() })
            }
            None => self.is_flat().then_some(Quantile { value: min, error: 0.0 }),
        }
    }

    fn is_flat(&self) -> bool {
        self.summary.min == self.summary.max
    }

    /// Counts values in, before the summary does.
    fn spread(&mut self, value: f64, count: u64) {
        if self.is_flat() && value != self.summary.min {
            self.sketch = Some(self.flat());
        }
        match &mut self.sketch {
            Some(sketch) if count == 1 => sketch.push(value),
            Some(sketch) => sketch.merge(&Sketch::of(value, count)),
            None => {}
        }
    }

    /// The sketch that equal values do without.
    fn flat(&self) -> Box<Sketch> {
        Box::new(Sketch::of(self.summary.min, self.summary.count))
    }

    /// The record of a window.
    pub(super) fn encode(&self, window: &Window) -> Vec<u8> {
        let mut out = Vec::with_capacity(96);
        put_summary(&mut out, window, &self.summary)
            .and_then(|()| put_spread(&mut out, self.summary.squares, self.sketch.as_deref()))
            .expect("summaries are finite, buffers grow");
        out
    }
}

impl From<(Row, Option<Sketch>)> for Rolled {
    fn from((row, sketch): (Row, Option<Sketch>)) -> Self {
        Self { summary: row.summary, sketch: sketch.map(Box::new) }
    }
}

/// Reads a record of [`Table::Window`](holdfast_sync::store::Table::Window). One that was written
/// before sketches were ends with the summary.
///
/// # Errors
/// [`Fault::Damaged`].
pub fn decode_window(value: &[u8]) -> Result<(Window, Rolled), Fault> {
    let mut reader = Reader::new(value);
    let mut read = || -> Result<(Window, Rolled), Reject> {
        let (window, mut summary) = read_summary(&mut reader)?;
        let mut sketch = None;
        if !reader.rest().is_empty() {
            sketch = read_spread(&mut reader, &mut summary)?.map(Box::new);
        }
        reader.finish()?;
        Ok((window, Rolled { summary, sketch }))
    };
    read().map_err(|reject| Fault::damaged("window record", reject.code()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_core::Timestamp;

    fn rolled(values: &[f64]) -> Rolled {
        let at = |i: usize| Sample { time: Timestamp(i as i64), value: values[i] };
        let revision = |i: usize| Revision { boot: 1, seq: i as u64 + 1 };
        let mut out = Rolled::of(at(0), revision(0));
        (1..values.len()).for_each(|i| out.take(at(i), revision(i)));
        out
    }

    #[test]
    fn equal_values_need_no_sketch_and_others_get_the_same_however_they_come() {
        assert_eq!(rolled(&[4.0; 9]).sketch, None);
        let values = [4.0, 4.0, 4.0, 5.0, 4.0, 6.0, 6.0, 6.0];
        let whole = rolled(&values).sketch;
        assert!(whole.is_some());
        for cut in 1..values.len() {
            let mut merged = rolled(&values[..cut]);
            merged.merge(&rolled(&values[cut..]));
            assert_eq!(merged.sketch, whole, "{cut}");
        }
    }

    #[test]
    fn what_is_not_known_of_a_part_is_not_known_of_the_whole() {
        let mut old = rolled(&[1.0, 2.0]);
        old.sketch = None;
        assert_eq!(old.quantile(0.5), None);
        for (mut left, right) in [(old.clone(), rolled(&[3.0, 4.0])), (rolled(&[3.0, 4.0]), old)] {
            left.merge(&right);
            assert_eq!(left.quantile(0.5), None);
        }
    }

    #[test]
    fn a_record_reads_back_and_so_does_one_from_before_sketches() {
        let window = Window { width_s: 60, start_s: 0 };
        for values in [&[1.5][..], &[1.5, 2.25, 2.25], &[3.0; 4]] {
            let rolled = rolled(values);
            assert_eq!(decode_window(&rolled.encode(&window)).unwrap(), (window, rolled.clone()));
            let mut old = Vec::new();
            put_summary(&mut old, &window, &rolled.summary).unwrap();
            let summary = Summary { squares: None, ..rolled.summary };
            assert_eq!(decode_window(&old).unwrap(), (window, Rolled { summary, sketch: None }));
        }
        assert!(decode_window(&rolled(&[1.0]).encode(&window)[..12]).is_err());
    }
}
