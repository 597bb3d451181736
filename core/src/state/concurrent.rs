//! The cells of one path that have not seen each other, in one order.
//!
//! A document hands them out in whatever order its engine keeps, and the same cell may come twice.
//! Sorted and without repeats they are a set, and whatever is worked out from it is the same on
//! every replica.

use super::cell::Cell;

/// Concurrent cells, the greatest first, none twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrent<'c, 'a>(Held<'c, 'a>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held<'c, 'a> {
    /// The common case, and the only one of a device.
    One(Cell<'a>),
    Many(&'c [Cell<'a>]),
}

impl<'c, 'a> Concurrent<'c, 'a> {
    /// A cell that is alone.
    #[must_use]
    pub const fn one(cell: Cell<'a>) -> Self {
        Self(Held::One(cell))
    }

    /// Sorts `cells` in place and leaves out repeats.
    #[must_use]
    pub fn sort(cells: &'c mut [Cell<'a>]) -> Self {
        cells.sort_unstable_by(|a, b| b.cmp(a));
        let mut kept = 0;
        for at in 0..cells.len() {
            if kept == 0 || cells[at] != cells[kept - 1] {
                cells[kept] = cells[at];
                kept += 1;
            }
        }
        Self(Held::Many(&cells[..kept]))
    }

    /// The cells, the greatest first.
    #[must_use]
    pub const fn as_slice(&self) -> &[Cell<'a>] {
        match &self.0 {
            Held::One(cell) => core::slice::from_ref(cell),
            Held::Many(cells) => cells,
        }
    }
}

impl<'a> From<Cell<'a>> for Concurrent<'_, 'a> {
    fn from(cell: Cell<'a>) -> Self {
        Self::one(cell)
    }
}
