//! The cells of a document, and what they show under a policy.
//!
//! Read from the store's records without opening the document. What is shown is a pure function of
//! the cells and the policy, so replicas that hold the same cells show the same bytes.

use super::change::Change;
use super::{DocumentName, records};
use crate::Fault;
use crate::store::ReadRecords;
use holdfast_core::hlc::Stamp;
use holdfast_core::state::{
    Author, Cell, Concurrent, Key, Path, Policy, Resolved, View, ViewDigest, digest,
};
use std::collections::BTreeMap;

/// The cells of a document by key; those at one key have not seen each other, the greatest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    cells: BTreeMap<String, Vec<Vec<u8>>>,
}

impl Contents {
    /// Reads the cells of a document; of one that was never written there are none.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    pub fn read(records: &(impl ReadRecords + ?Sized), name: &DocumentName) -> Result<Self, Fault> {
        let out = Self { cells: records::cells(records, name)?.into_iter().collect() };
        let whole = |(key, cells): (&String, &Vec<Vec<u8>>)| {
            Key::parse(key).is_ok() && cells.iter().all(|cell| Cell::from_bytes(cell).is_ok())
        };
        if out.cells.iter().all(whole) {
            Ok(out)
        } else {
            Err(Fault::damaged(format!("document {name}"), "a cell of it cannot be read"))
        }
    }

    /// Those of a document that has this change only, whose cells have been checked.
    pub(super) fn of_first(change: &Change) -> Self {
        let cells = change.cells().map(|(key, cell)| (key.to_owned(), vec![cell.to_vec()]));
        Self { cells: cells.collect() }
    }

    /// The keys with the bytes of their cells.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[Vec<u8>])> {
        self.cells.iter().map(|(key, cells)| (key.as_str(), cells.as_slice()))
    }

    /// Whether there are no cells.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// The cells at `path`, parts of all authors included.
    #[must_use]
    pub fn at(&self, path: Path<'_>) -> Vec<Cell<'_>> {
        self.parsed().filter(|(key, _)| key.path == path).map(|(_, cell)| cell).collect()
    }

    /// Every cell with its key.
    pub(super) fn parsed(&self) -> impl Iterator<Item = (Key<'_>, Cell<'_>)> {
        self.cells.iter().flat_map(|(key, cells)| {
            let key = Key::parse(key).expect("checked when the contents were read");
            cells.iter().map(move |cell| {
                (key, Cell::from_bytes(cell).expect("checked when the contents were read"))
            })
        })
    }

    /// The stamps of all cells that a write at `path` meets.
    pub(super) fn met(&self, path: Path<'_>) -> Vec<Stamp> {
        let met = self.parsed().filter(|(key, _)| key.path.meets(path));
        met.map(|(_, cell)| cell.stamp).collect()
    }

    /// Puts a cell in the place of whatever was at `key`.
    pub(super) fn replace(&mut self, key: String, cell: Vec<u8>) {
        self.cells.insert(key, vec![cell]);
    }

    /// How large it is.
    pub(super) fn size(&self) -> Size {
        let sizes = self.cells.iter().map(|(key, cells)| Size::of(key, cells));
        sizes.fold(Size::default(), Size::plus)
    }

    /// Hands what each path shows under `policy` to `look`, in the order of paths, hidden and
    /// deleted ones included.
    pub fn view<T>(
        &self,
        name: &DocumentName,
        policy: &Policy<'_>,
        look: impl FnOnce(&mut dyn Iterator<Item = Resolved<'_, '_, '_>>) -> T,
    ) -> T {
        let mut paths: Vec<(Path<'_>, Vec<Cell<'_>>)> = Vec::new();
        let mut all: Vec<_> = self.parsed().collect();
        all.sort_by_key(|(key, _)| key.path);
        for (key, cell) in all {
            match paths.last_mut().filter(|(path, _)| *path == key.path) {
                Some((_, cells)) => cells.push(cell),
                None => paths.push((key.path, vec![cell])),
            }
        }
        let sorted: Vec<_> = paths
            .iter_mut()
            .map(|(path, cells)| (*path, Concurrent::sort(cells.as_mut_slice())))
            .collect();
        let document = name.path();
        let rule = |path: Path<'_>| policy.rule(document, path);
        look(&mut View::new(sorted.iter().copied(), rule))
    }

    /// The digest of what the document shows under `policy`.
    #[must_use]
    pub fn digest(&self, name: &DocumentName, policy: &Policy<'_>) -> ViewDigest {
        self.view(name, policy, |view| digest(name.path(), policy.id(), view))
    }

    /// The parts of `author` at `path`.
    pub(super) fn parts(&self, path: Path<'_>, author: Author) -> Vec<Cell<'_>> {
        let own = |(key, _): &(Key<'_>, Cell<'_>)| key.path == path && key.author == Some(author);
        self.parsed().filter(own).map(|(_, cell)| cell).collect()
    }
}

/// How large a document is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Bytes of its keys and cells.
    pub bytes: u64,
    /// Its keys, the deleted ones included.
    pub keys: u64,
    /// Keys with a live cell.
    pub live: u64,
    /// Keys with cells that have not seen each other.
    pub contested: u64,
}

impl Size {
    /// What the cells at one key make up.
    pub(super) fn of(key: &str, cells: &[Vec<u8>]) -> Self {
        if cells.is_empty() {
            return Self::default();
        }
        let is_live = |cell: &Vec<u8>| Cell::from_bytes(cell).is_ok_and(|cell| cell.is_live());
        Self {
            bytes: (key.len() + cells.iter().map(Vec::len).sum::<usize>()) as u64,
            keys: 1,
            live: u64::from(cells.iter().any(is_live)),
            contested: u64::from(cells.len() > 1),
        }
    }

    pub(super) const fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes + other.bytes,
            keys: self.keys + other.keys,
            live: self.live + other.live,
            contested: self.contested + other.contested,
        }
    }

    pub(super) const fn less(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(other.bytes),
            keys: self.keys.saturating_sub(other.keys),
            live: self.live.saturating_sub(other.live),
            contested: self.contested.saturating_sub(other.contested),
        }
    }
}
