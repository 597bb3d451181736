//! Down-sampling that keeps what a chart must not lose: first, least, greatest and last of each
//! column.
//!
//! Four points for each column of pixels draw the same line as all points do (Jugel and others,
//! "M4: A Visualization-Oriented Time Series Data Aggregation", VLDB 2014). Points may come in any
//! order.

use super::Span;
use holdfast_core::Timestamp;

/// A point of a chart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When.
    pub time: Timestamp,
    /// What.
    pub value: f64,
}

#[derive(Clone, Copy, Debug)]
struct Column {
    first: Point,
    least: Point,
    greatest: Point,
    last: Point,
}

/// Takes points and keeps at most four for each column.
#[derive(Debug)]
pub struct Downsampler {
    span: Span,
    columns: Vec<Option<Column>>,
}

impl Downsampler {
    /// Makes at most `points` of a span, at least four.
    #[must_use]
    pub fn new(span: Span, points: usize) -> Self {
        Self { span, columns: vec![None; (points / 4).max(1)] }
    }

    /// Takes a point; one outside the span is left out.
    pub fn push(&mut self, point: Point) {
        let width = i128::from(self.span.to.0) - i128::from(self.span.from.0) + 1;
        let offset = i128::from(point.time.0) - i128::from(self.span.from.0);
        if offset < 0 || offset >= width {
            return;
        }
        let at = (offset * self.columns.len() as i128 / width) as usize;
        match &mut self.columns[at] {
            None => {
                self.columns[at] =
                    Some(Column { first: point, least: point, greatest: point, last: point });
            }
            Some(column) => {
                if point.time < column.first.time {
                    column.first = point;
                }
                if point.time >= column.last.time {
                    column.last = point;
                }
                if point.value < column.least.value {
                    column.least = point;
                }
                if point.value > column.greatest.value {
                    column.greatest = point;
                }
            }
        }
    }

    /// The points kept, by time.
    #[must_use]
    pub fn finish(self) -> Vec<Point> {
        let mut out = Vec::with_capacity(self.columns.len() * 4);
        for column in self.columns.into_iter().flatten() {
            let mut four = [column.first, column.least, column.greatest, column.last];
            four.sort_by_key(|point| point.time);
            for point in four {
                if out.last() != Some(&point) {
                    out.push(point);
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SPAN: Span = Span { from: Timestamp(0), to: Timestamp(999) };

    proptest! {
        #[test]
        fn extremes_ends_and_the_bound_are_kept(
            values in prop::collection::vec((0i64..1000, -100f64..100.0), 1..300),
            points in 4usize..60,
        ) {
            let mut sampler = Downsampler::new(SPAN, points);
            for (time, value) in &values {
                sampler.push(Point { time: Timestamp(*time), value: *value });
            }
            let kept = sampler.finish();
            prop_assert!(kept.len() <= points.max(4));
            prop_assert!(kept.is_sorted_by_key(|point| point.time));
            let ends = |times: &mut dyn Iterator<Item = i64>| {
                let all: Vec<i64> = times.collect();
                (all.iter().min().copied(), all.iter().max().copied())
            };
            let all = ends(&mut values.iter().map(|(time, _)| *time));
            prop_assert_eq!(ends(&mut kept.iter().map(|point| point.time.0)), all);
            let greatest = values.iter().map(|(_, v)| *v).fold(f64::MIN, f64::max);
            let least = values.iter().map(|(_, v)| *v).fold(f64::MAX, f64::min);
            prop_assert!(kept.iter().any(|point| point.value == greatest));
            prop_assert!(kept.iter().any(|point| point.value == least));
        }
    }

    #[test]
    fn a_span_of_all_time_does_not_overflow() {
        let span = Span { from: Timestamp(i64::MIN), to: Timestamp(i64::MAX) };
        let mut sampler = Downsampler::new(span, 400);
        for time in [i64::MIN, 0, i64::MAX] {
            sampler.push(Point { time: Timestamp(time), value: 1.0 });
        }
        assert_eq!(sampler.finish().len(), 3);
    }
}
