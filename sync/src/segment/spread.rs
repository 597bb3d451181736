//! How the values of windows are spread, as columns: sums of squares and the buckets of sketches.

use super::column::{ColumnNo, ColumnReader, Columns};
use super::series::{Numbers, Part, put_numbers, put_part};
use super::{SegmentError, limits};
use holdfast_core::Reject;
use holdfast_core::codec::Reader;
use holdfast_core::sketch::{BUCKETS, Sketch};

/// What the rows of a series know.
#[derive(Default)]
pub(super) struct Spread {
    known: Vec<bool>,
    squares: Vec<f64>,
    /// How many buckets each row has.
    buckets: Vec<i64>,
    exponents: Vec<i64>,
    firsts: Vec<i64>,
    gaps: Vec<i64>,
    counts: Vec<i64>,
}

impl Spread {
    pub fn push(&mut self, squares: Option<f64>, sketch: Option<&Sketch>) {
        self.known.push(squares.is_some());
        self.squares.extend(squares);
        self.buckets.push(sketch.map_or(0, |sketch| sketch.buckets().count()) as i64);
        let Some(sketch) = sketch else { return };
        self.exponents.push(i64::from(sketch.exponent()));
        let mut next = None;
        for (number, count) in sketch.buckets() {
            match next {
                None => self.firsts.push(i64::from(number)),
                Some(next) => self.gaps.push(i64::from(number - next)),
            }
            self.counts.push((count - 1) as i64);
            next = Some(number + 1);
        }
    }

    pub fn put(&self, columns: &mut Columns, out: &mut Vec<u8>) -> Result<(), Reject> {
        if self.counts.len() > limits::ENTRIES {
            return Err(Reject::Full);
        }
        if put_part(&self.known, columns, out)? {
            put_numbers(&self.squares, columns, out)?;
        }
        let all = [&self.buckets, &self.exponents, &self.firsts, &self.gaps, &self.counts];
        all.iter().try_for_each(|column| columns.ints(column).put(out))
    }
}

/// Where what the rows of a series know stands.
pub(super) struct Place {
    known: Part,
    squares: Option<Numbers>,
    columns: [ColumnNo; 5],
}

impl Place {
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Reject> {
        let known = Part::read(reader)?;
        let squares = known.any().then(|| Numbers::read(reader)).transpose()?;
        let mut no = || ColumnNo::read(reader);
        Ok(Self { known, squares, columns: [no()?, no()?, no()?, no()?, no()?] })
    }

    pub fn unpack(
        &self,
        columns: &ColumnReader<'_>,
        rows: usize,
    ) -> Result<Sketches, SegmentError> {
        let known = self.known.has(columns, rows)?;
        let knowing = known.iter().filter(|known| **known).count();
        let squares = self.squares.map(|numbers| numbers.get(columns, knowing));
        let buckets = columns.ints(self.columns[0], rows)?;
        let with = buckets.iter().filter(|buckets| **buckets > 0).count();
        if buckets.iter().any(|buckets| !(0..=BUCKETS as i64).contains(buckets)) {
            return Err(Reject::Malformed.into());
        }
        let sum = buckets.iter().sum::<i64>() as usize;
        let ints = |no: usize, count| columns.ints(self.columns[no], count).map(Vec::into_iter);
        Ok(Sketches {
            known: known.into_iter(),
            squares: squares.transpose()?.unwrap_or_default().into_iter(),
            exponents: ints(1, with)?,
            firsts: ints(2, with)?,
            gaps: ints(3, sum - with)?,
            counts: ints(4, sum)?,
            buckets: buckets.into_iter(),
        })
    }
}

type Ints = std::vec::IntoIter<i64>;

/// What the rows of a series know, one after the other.
pub(super) struct Sketches {
    known: std::vec::IntoIter<bool>,
    squares: std::vec::IntoIter<f64>,
    buckets: Ints,
    exponents: Ints,
    firsts: Ints,
    gaps: Ints,
    counts: Ints,
}

impl Sketches {
    /// The squares and the sketch of the next row.
    pub fn next(&mut self) -> Result<(Option<f64>, Option<Sketch>), Reject> {
        let known = self.known.next() == Some(true);
        let squares = if known { self.squares.next() } else { None };
        let buckets = self.buckets.next().unwrap_or(0);
        if buckets == 0 {
            return Ok((squares, None));
        }
        let exponent = self.exponents.next().ok_or(Reject::Malformed)?;
        let mut next = None;
        let read = (0..buckets).map(|_| {
            let number = match next {
                None => self.firsts.next(),
                Some(next) => self.gaps.next().and_then(|gap| gap.checked_add(next)),
            };
            let number: i64 = number.ok_or(Reject::Malformed)?;
            next = number.checked_add(1);
            let count = self.counts.next().ok_or(Reject::Malformed)? as u64;
            Ok((number, count.checked_add(1).ok_or(Reject::Malformed)?))
        });
        Sketch::from_parts(exponent, read).map(|sketch| (squares, Some(sketch)))
    }
}
