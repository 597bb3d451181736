//! What the store takes up on disk, by what it is for.

use super::{BALLAST, DATABASE, Store, wal};
use std::path::Path;

/// Bytes on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Pages of the database with something in them.
    pub used: u64,
    /// Pages of the database that are free to be used again.
    pub free: u64,
    /// The write-ahead log.
    pub wal: u64,
    /// The file that is given up when the disk is full.
    pub ballast: u64,
}

impl Store {
    /// What the store takes up now; a file that cannot be looked at counts as none.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |meta| meta.len());
        let database = self.dir().join(DATABASE);
        let used = self.usage().used_bytes;
        // Pages that are in the write-ahead log alone are counted as used, too.
        let free = bytes(&database).saturating_sub(used);
        let ballast = bytes(&self.dir().join(BALLAST));
        Sizes { used, free, wal: bytes(&wal::path_of(&database)), ballast }
    }
}
