//! One process per data directory: an advisory lock on a file in it.

use crate::Fault;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

/// Held as long as the store is open; the operating system lets go when the process ends.
#[derive(Debug)]
pub(super) struct DirLock {
    _file: File,
}

impl DirLock {
    pub(super) fn acquire(dir: &Path) -> Result<Self, Fault> {
        let path = dir.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|source| Fault::file(&path, source))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Fault::InUse(dir.to_owned())),
            Err(TryLockError::Error(source)) => Err(Fault::file(&path, source)),
        }
    }
}
