//! A flag on disk that the store found itself damaged, so that the next start repairs it.
//!
//! The running process goes on with what can still be read; a repair rewrites the database and so
//! needs it closed.

use crate::Fault;
use std::path::Path;

const NAME: &str = "damaged";

/// Leaves the flag; on a disk that takes no more writes the next start finds the damage by itself.
pub(super) fn flag(dir: &Path, fault: &Fault) {
    tracing::error!(%fault, "the store is damaged: it will be repaired at the next start");
    if let Err(error) = super::mark::write_whole(&dir.join(NAME), fault.to_string().as_bytes()) {
        tracing::warn!(%error, "the damage could not be noted on disk");
    }
}

/// What was noted, if anything.
pub(super) fn flagged(dir: &Path) -> Option<String> {
    let text = std::fs::read(dir.join(NAME)).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

/// Takes the flag away after a repair.
pub(super) fn clear(dir: &Path) -> Result<(), Fault> {
    let path = dir.join(NAME);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Fault::file(&path, error))
        }
        _ => Ok(()),
    }
}
