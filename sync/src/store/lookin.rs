//! Looking into a data directory without opening its store, running or not.

use super::snapshot::{Snapshot, open_reader};
use super::{DATABASE, schema};
use crate::Fault;
use std::path::Path;

/// Reads from the store in `dir`. Nothing is written and no lock is taken.
///
/// # Errors
/// What `look` returned, or a fault of the store; one that is not there is [`Fault::File`].
pub fn look_into<T, E: From<Fault>>(
    dir: &Path,
    look: impl FnOnce(&Snapshot<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let path = dir.join(DATABASE);
    if let Err(source) = std::fs::metadata(&path) {
        return Err(Fault::file(&path, source).into());
    }
    let connection = open_reader(&path, "FULL")?;
    connection.execute_batch("BEGIN").map_err(schema::fault)?;
    look(&Snapshot { connection: &connection })
}
