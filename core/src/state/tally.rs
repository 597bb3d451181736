//! What one author has counted: how much up and how much down.
//!
//! Both only grow, so of two states of one author's tally the greater of each part is the later
//! one, in whatever order they come. A counter is the sum over its authors.

use super::Lattice;
use crate::Reject;
use crate::codec::{Reader, Sink};

/// The increments and decrements of one author.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tally {
    /// The sum of all increments.
    pub plus: u64,
    /// The sum of all decrements.
    pub minus: u64,
}

impl Tally {
    /// This tally after another `by`.
    ///
    /// # Errors
    /// [`Reject::Full`] when a part would exceed 64 bits.
    pub fn counted(self, by: i64) -> Result<Self, Reject> {
        let more = |part: u64| part.checked_add(by.unsigned_abs()).ok_or(Reject::Full);
        if by >= 0 {
            Ok(Self { plus: more(self.plus)?, ..self })
        } else {
            Ok(Self { minus: more(self.minus)?, ..self })
        }
    }

    /// Increments less decrements.
    #[must_use]
    pub fn net(self) -> i128 {
        i128::from(self.plus) - i128::from(self.minus)
    }

    pub(super) fn put(self, out: &mut impl Sink) -> Result<(), Reject> {
        out.put_uint(self.plus)?;
        out.put_uint(self.minus)
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Reject> {
        Ok(Self { plus: reader.uint()?, minus: reader.uint()? })
    }
}

impl Lattice for Tally {
    fn join(&mut self, other: &Self) -> Result<bool, Reject> {
        let joined = Self { plus: self.plus.max(other.plus), minus: self.minus.max(other.minus) };
        Ok(core::mem::replace(self, joined) != joined)
    }
}

/// The sum of `tallies` as a number that JSON and a reading can hold; it stops at the ends.
pub(super) fn sum(tallies: impl Iterator<Item = Tally>) -> i64 {
    let total = tallies.fold(0i128, |total, tally| total.saturating_add(tally.net()));
    total.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_counts_both_ways_and_refuses_to_wrap() {
        let tally = Tally::default().counted(5).unwrap().counted(-7).unwrap();
        assert_eq!(tally, Tally { plus: 5, minus: 7 });
        assert_eq!(tally.net(), -2);
        let full = Tally { plus: u64::MAX, minus: 0 };
        assert_eq!(full.counted(1), Err(Reject::Full));
        assert_eq!(full.counted(0), Ok(full));
        assert_eq!(Tally::default().counted(i64::MIN).unwrap().minus, 1 << 63);
    }

    #[test]
    fn a_sum_stops_at_the_ends() {
        let full = Tally { plus: u64::MAX, minus: 0 };
        assert_eq!(sum([full, full].into_iter()), i64::MAX);
        assert_eq!(sum([Tally { plus: 1, minus: u64::MAX }].into_iter()), i64::MIN);
        assert_eq!(sum([full, Tally { plus: 0, minus: u64::MAX }].into_iter()), 0);
    }
}
