//! The cells of a document, and what they show under a policy.
//!
//! Read from the store's records without opening the document. What is shown is a pure function of
//! the cells and the policy, so replicas that hold the same cells show the same bytes.

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

    /// Bytes of keys and cells, keys, and keys with a live cell.
    pub(super) fn measure(&self) -> (u64, u64, u64) {
        let sizes = self.cells.iter().map(|(key, cells)| measure(key, cells));
        sizes.fold((0, 0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1, sum.2 + one.2))
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

/// Bytes of a key and its cells, 1 for the key, and 1 if a cell is live.
pub(super) fn measure(key: &str, cells: &[Vec<u8>]) -> (u64, u64, u64) {
    if cells.is_empty() {
        return (0, 0, 0);
    }
    let bytes = key.len() + cells.iter().map(Vec::len).sum::<usize>();
    let live = cells.iter().any(|cell| Cell::from_bytes(cell).is_ok_and(|cell| cell.is_live()));
    (bytes as u64, 1, u64::from(live))
}
