//! A document as a microcontroller holds it: paths with one cell each, sorted and packed in bytes.
//!
//! Under a path the greatest cell stays (LWW map). The bytes are the record a device keeps in
//! flash and sends whole for repair: for each path its text and its cell, both behind their length.
//! Parts of counters and sets have types of their own and no place here.
//!
//! A write replaces all that its path meets: the cell at it, and the live cells above and below it,
//! which become tombstones, so nothing that its writer has seen comes back when it is deleted in
//! turn. Room is counted before anything is changed.

use super::author::Author;
use super::cell::{CELL_MAX_BYTES, Cell, Content};
use super::path::Path;
use super::role::Role;
use super::value::Value;
use super::{Lattice, Reject};
use crate::codec::{Count, Reader, Sink, Window};
use crate::hlc::Stamp;
use crate::limits::PATH_MAX_BYTES;
use core::ops::Range;

/// Who writes, and when by its own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writer {
    /// A new stamp of the writer's clock.
    pub local: Stamp,
    /// The writer.
    pub author: Author,
    /// What it is.
    pub role: Role,
}

impl Writer {
    const fn cell(self, stamp: Stamp, content: Content<'_>) -> Cell<'_> {
        Cell { stamp, author: self.author, role: self.role, content }
    }
}

/// A map of paths to cells in at most `BYTES` bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LwwMap<const BYTES: usize> {
    bytes: heapless::Vec<u8, BYTES>,
}

impl<const BYTES: usize> LwwMap<BYTES> {
    /// The empty map.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: heapless::Vec::new() }
    }

    /// Reads the bytes of a map.
    ///
    /// # Errors
    /// [`Reject::Full`] when they are more than `BYTES`, else what is wrong with them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Reject> {
        Records::read(bytes)?;
        let bytes = heapless::Vec::from_slice(bytes).map_err(|_| Reject::Full)?;
        Ok(Self { bytes })
    }

    /// The bytes of the map; equal maps are equal bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The paths with their cells, tombstones included, in the order of paths.
    #[must_use]
    pub fn iter(&self) -> Records<'_> {
        Records { rest: Reader::new(&self.bytes) }
    }

    /// The cell at `path`.
    #[must_use]
    pub fn get(&self, path: Path<'_>) -> Option<Cell<'_>> {
        self.iter().find(|(held, _)| *held == path).map(|(_, cell)| cell)
    }

    /// Writes `value` at `path`; answers with the stamp of the write, which every cell that it
    /// changed carries.
    ///
    /// # Errors
    /// [`Reject::Full`] when there is no room; the map is then unchanged.
    pub fn put(
        &mut self,
        path: Path<'_>,
        value: Value<'_>,
        writer: Writer,
    ) -> Result<Stamp, Reject> {
        let met = || self.iter().filter(|(held, _)| held.meets(path));
        let stamp = writer.local.over(met().map(|(_, cell)| cell.stamp));
        let new = writer.cell(stamp, Content::Value(value));
        let tombstone = writer.cell(stamp, Content::Tombstone);

        let buried = met().filter(|(held, old)| *held != path && old.is_live());
        let freed: usize =
            buried.map(|(held, old)| record_len(held, &old) - record_len(held, &tombstone)).sum();
        let old = self.get(path).map_or(0, |old| record_len(path, &old));
        if self.bytes.len() - old - freed + record_len(path, &new) > BYTES {
            return Err(Reject::Full);
        }
        self.bury(&tombstone, |held| held != path && held.meets(path));
        self.place(path, &new);
        Ok(stamp)
    }

    /// Deletes what is live at `path` and below it; answers with the stamp of the write, which
    /// every cell that it changed carries, or with `None` when nothing was live. It always fits: a
    /// tombstone is never longer than what it replaces.
    pub fn delete(&mut self, path: Path<'_>, writer: Writer) -> Option<Stamp> {
        let meant = |held: Path<'_>| held == path || held.is_below(path);
        let live = || self.iter().filter(|(held, cell)| meant(*held) && cell.is_live());
        live().next()?;
        let stamp = writer.local.over(live().map(|(_, cell)| cell.stamp));
        self.bury(&writer.cell(stamp, Content::Tombstone), meant);
        Some(stamp)
    }

    /// Joins one cell of another copy; whether it stays.
    ///
    /// # Errors
    /// [`Reject::Full`] when there is no room; the map is then unchanged. [`Reject::Malformed`]
    /// for a part of a counter or a set.
    pub fn join_cell(&mut self, path: Path<'_>, cell: &Cell<'_>) -> Result<bool, Reject> {
        if !is_plain(cell) {
            return Err(Reject::Malformed);
        }
        let growth = self.growth(path, cell);
        if growth.is_some_and(|growth| self.bytes.len().saturating_add_signed(growth) > BYTES) {
            return Err(Reject::Full);
        }
        if growth.is_some() {
            self.place(path, cell);
        }
        Ok(growth.is_some())
    }

    /// Removes the tombstone of that stamp at `path`, once every copy has it; whether it was there.
    pub fn forget(&mut self, path: Path<'_>, stamp: Stamp) -> bool {
        let is_there = self.get(path).is_some_and(|cell| !cell.is_live() && cell.stamp == stamp);
        is_there && self.resize(self.find(path), 0).is_some()
    }

    /// By how many bytes the map would grow if `cell` took its place; `None` if it does not stay.
    fn growth(&self, path: Path<'_>, cell: &Cell<'_>) -> Option<isize> {
        let old = self.get(path);
        let stays = old.is_none_or(|old| old < *cell);
        let old = old.map_or(0, |old| record_len(path, &old));
        stays.then(|| record_len(path, cell) as isize - old as isize)
    }

    /// Where the record of `path` lies; an empty range where it would.
    fn find(&self, path: Path<'_>) -> Range<usize> {
        let mut records = self.iter();
        let mut start = 0;
        while let Some((held, _)) = records.next().filter(|(held, _)| *held <= path) {
            let end = self.bytes.len() - records.rest.rest().len();
            if held == path {
                return start..end;
            }
            start = end;
        }
        start..start
    }

    /// Puts `tombstone` in the place of every live cell at a path that is `meant`.
    fn bury(&mut self, tombstone: &Cell<'_>, meant: impl Fn(Path<'_>) -> bool) {
        let mut len = Count::default();
        put_cell(&mut len, tombstone);
        let mut from = 0;
        while let Some(cell) = self.next_live(from, &meant) {
            from = cell.start + len.bytes();
            if let Some(room) = self.resize(cell, len.bytes()) {
                put_cell(&mut Window::new(room), tombstone);
            }
        }
    }

    /// Where the first live cell from `from` on lies whose path is `meant`.
    fn next_live(&self, from: usize, meant: impl Fn(Path<'_>) -> bool) -> Option<Range<usize>> {
        let mut records = Records { rest: Reader::new(&self.bytes[from..]) };
        loop {
            let start = self.bytes.len() - records.rest.rest().len();
            let (path, cell) = records.next()?;
            if cell.is_live() && meant(path) {
                let mut name = Count::default();
                put_path(&mut name, path);
                return Some(start + name.bytes()..self.bytes.len() - records.rest.rest().len());
            }
        }
    }

    /// Puts a record in the place of the one of its path. The room was counted before.
    fn place(&mut self, path: Path<'_>, cell: &Cell<'_>) {
        let room = self.resize(self.find(path), record_len(path, cell));
        debug_assert!(room.is_some(), "room is counted before a record is placed");
        if let Some(room) = room {
            let mut window = Window::new(room);
            put_path(&mut window, path);
            put_cell(&mut window, cell);
        }
    }

    /// Makes the bytes at `at` `len` bytes long and answers with them; `None` without room.
    fn resize(&mut self, at: Range<usize>, len: usize) -> Option<&mut [u8]> {
        let old_len = self.bytes.len();
        let new_len = old_len - at.len() + len;
        let end = at.start + len;
        if new_len > old_len {
            self.bytes.resize(new_len, 0).ok()?;
        }
        self.bytes.copy_within(at.end..old_len, end);
        self.bytes.truncate(new_len);
        self.bytes.get_mut(at.start..end)
    }
}

impl<const BYTES: usize> Lattice for LwwMap<BYTES> {
    fn join(&mut self, other: &Self) -> Result<bool, Reject> {
        let growth: isize = other.iter().filter_map(|(path, cell)| self.growth(path, &cell)).sum();
        if self.bytes.len().saturating_add_signed(growth) > BYTES {
            return Err(Reject::Full);
        }
        // What shrinks goes first: the end fits, and so does every step towards it.
        let mut changed = false;
        for shrinks in [true, false] {
            for (path, cell) in other.iter() {
                let growth = self.growth(path, &cell);
                if growth.is_some_and(|growth| (growth <= 0) == shrinks) {
                    self.place(path, &cell);
                    changed = true;
                }
            }
        }
        Ok(changed)
    }
}

/// Iterates over the records of an [`LwwMap`], or over some of them on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Records<'a> {
    rest: Reader<'a>,
}

impl<'a> Records<'a> {
    /// Those in `bytes`: ascending by path, none twice, values and tombstones only.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(bytes);
        let mut last = None;
        while !reader.rest().is_empty() {
            let (path, cell) = read_record(&mut reader)?;
            if last.is_some_and(|last| last >= path) || !is_plain(&cell) {
                return Err(Reject::Malformed);
            }
            last = Some(path);
        }
        Ok(Self { rest: Reader::new(bytes) })
    }

    /// The bytes of those that were not iterated over yet.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.rest.rest()
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = (Path<'a>, Cell<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        // Of the bytes of a map only their end cannot be read.
        read_record(&mut self.rest).ok()
    }
}

/// Appends a record: a path and its cell, both behind their length.
///
/// # Errors
/// [`Reject::Full`] when the sink has no room; what was already put into it is then to be thrown
/// away.
pub fn put_record(out: &mut impl Sink, path: Path<'_>, cell: &Cell<'_>) -> Result<(), Reject> {
    out.put_bytes(path.as_str().as_bytes())?;
    out.put_uint(cell.encoded_len() as u64)?;
    cell.encode(out)
}

fn is_plain(cell: &Cell<'_>) -> bool {
    matches!(cell.content, Content::Value(_) | Content::Tombstone)
}

fn read_record<'a>(reader: &mut Reader<'a>) -> Result<(Path<'a>, Cell<'a>), Reject> {
    let path = Path::new(reader.str(PATH_MAX_BYTES)?)?;
    let cell = Cell::from_bytes(reader.bytes(CELL_MAX_BYTES)?)?;
    Ok((path, cell))
}

fn record_len(path: Path<'_>, cell: &Cell<'_>) -> usize {
    let mut count = Count::default();
    put_path(&mut count, path);
    put_cell(&mut count, cell);
    count.bytes()
}

/// Puts a path behind its length, where room was counted for it.
fn put_path(out: &mut impl Sink, path: Path<'_>) {
    let put = out.put_bytes(path.as_str().as_bytes());
    debug_assert!(put.is_ok(), "room is counted before a path is put");
}

/// Puts a cell behind its length, where room was counted for it.
fn put_cell(out: &mut impl Sink, cell: &Cell<'_>) {
    let put = out.put_uint(cell.encoded_len() as u64).and_then(|()| cell.encode(out));
    debug_assert!(put.is_ok(), "room is counted before a cell is put");
}

#[cfg(test)]
mod tests;
