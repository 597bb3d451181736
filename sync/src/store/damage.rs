//! A flag on disk that the store found itself damaged, so that the next start repairs it.
//!
//! The running process goes on with what can still be read; a repair rewrites the database and so
//! needs it closed.

use crate::Fault;
use std::path::Path;

const NAME: &str = "damaged";

/// Leaves the flag, unless it is there; what was met first is the likelier cause. On a disk that
/// takes no more writes the next start or `verify` has to find the damage by itself.
pub(super) fn flag(dir: &Path, fault: &Fault) {
    if dir.join(NAME).exists() {
        return;
    }
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
