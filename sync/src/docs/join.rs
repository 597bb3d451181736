//! Cells that a device has written itself, with its own stamps.
//!
//! A device may be at one gateway today and at another tomorrow, and their clocks need not agree;
//! so what it reports is not written anew here, under this node's clock, but joined as it is: under
//! a path the greatest cell stays, as in the device's own map. Wherever the device was, all
//! documents then come to what it said last. A cell that does not stay, because something later
//! that says something else is there, is told: the device has lost its clock with its flash, and
//! has to stamp above what is here.

use super::contents::{Contents, Size};
use super::documents::{Documents, Written};
use super::limits::{CHANGE_OPERATIONS, HARD_BYTES, KEYS_MAX, LIVE_KEYS};
use super::{DocumentName, Refusal};
use crate::store::{Records as Store, WriteError};
use holdfast_core::hlc::Stamp;
use holdfast_core::state::{Cell, Path, Records, Role};
use std::collections::BTreeMap;

/// What became of cells that were joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The change that they made.
    pub written: Written,
    /// Whether one was passed over, or is not seen, because of something later that says something
    /// else.
    pub is_stale: bool,
    /// The greatest stamp in the document.
    pub above: Stamp,
}

impl Documents {
    /// Joins cells of the device whose document this is; `clock` is when, by this node.
    ///
    /// # Errors
    /// [`WriteError::Document`] for a cell that is not the device's, or when the document does not
    /// take them, [`Fault::Damaged`](crate::Fault::Damaged) when it cannot be opened, or a database
    /// fault.
    pub fn join<R: Store>(
        &self,
        tx: &mut R,
        name: &DocumentName,
        clock: Stamp,
        cells: Records<'_>,
    ) -> Result<Joined, WriteError> {
        let author = name.device_author().filter(|_| self.is_edge()).ok_or(Refusal::Author)?;
        let mut all = cells;
        if all.any(|(_, cell)| (cell.author, cell.role) != (author, Role::Device)) {
            return Err(Refusal::Author.into());
        }
        let mut contents = Contents::read(tx, name)?;
        let before = contents.size();
        let mut puts = BTreeMap::new();
        let mut is_stale = false;
        for (path, cell) in cells {
            let greatest = contents.at(path).into_iter().max();
            if greatest.is_some_and(|greatest| greatest >= cell) {
                is_stale |= greatest.is_some_and(|greatest| greatest.content != cell.content);
                continue;
            }
            is_stale |= cell.is_live() && is_hidden(&contents, path, &cell);
            let mut bytes = Vec::new();
            cell.encode(&mut bytes).map_err(Refusal::Cell)?;
            contents.replace(path.as_str().to_owned(), bytes.clone());
            puts.insert(path.as_str().to_owned(), bytes);
        }
        check(&contents.size(), &before, puts.len())?;
        let above = contents.parsed().map(|(_, cell)| cell.stamp).max().unwrap_or_default();
        let puts: Vec<_> = puts.into_iter().collect();
        let written = self.commit(tx, name, clock, &puts)?;
        Ok(Joined { written, is_stale, above })
    }
}

/// Whether something later stands above or below a path, in whose place the cell is not seen.
fn is_hidden(contents: &Contents, path: Path<'_>, cell: &Cell<'_>) -> bool {
    contents.parsed().any(|(key, other)| {
        key.path != path && key.path.meets(path) && other.is_live() && other.stamp > cell.stamp
    })
}

/// Refuses what would make the document grow beyond its bounds, those of whom it is sent to too.
fn check(size: &Size, before: &Size, puts: usize) -> Result<(), Refusal> {
    if size.bytes > HARD_BYTES.max(before.bytes) {
        return Err(Refusal::Full);
    }
    if size.live > LIVE_KEYS.max(before.live) {
        return Err(Refusal::Keys);
    }
    if size.keys > KEYS_MAX.max(before.keys) || puts > CHANGE_OPERATIONS {
        return Err(Refusal::Count);
    }
    Ok(())
}
