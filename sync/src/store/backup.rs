//! The copy of a database for a backup: one moment of it, as one file, while the node writes on.
//!
//! The reader's transaction holds the moment; the writer goes on in its write-ahead log, which
//! cannot be emptied until the copy is done. The copy is synced and needs no log beside it.

use super::schema::{self, fault};
use super::snapshot::open_reader;
use super::{DATABASE, Mark};
use crate::Fault;
use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use std::path::Path;

/// Pages between two reports of progress: 4 MiB.
const STEP_PAGES: i32 = 1024;

/// Copies the database of the data directory `dir`, running or not, into the new directory `to`:
/// first the mark, which so is never ahead of the copy. `progress` is told pages done and in all.
/// Gives the version of its tables.
///
/// # Errors
/// [`Fault::Full`], [`Fault::File`] or one of the database; what was written is then of no use.
pub fn copy_database(
    dir: &Path,
    to: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<u32, Fault> {
    if let Some(mark) = Mark::read(dir)? {
        mark.write(to)?;
    }
    let path = dir.join(DATABASE);
    if let Err(source) = std::fs::metadata(&path) {
        return Err(Fault::file(&path, source));
    }
    let source = open_reader(&path, "FULL")?;
    source.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema").map_err(fault)?;
    let path = to.join(DATABASE);
    let mut copy = Connection::open(&path).map_err(fault)?;
    // It is synced as a whole when it is complete.
    copy.execute_batch("PRAGMA synchronous=OFF").map_err(fault)?;
    {
        let backup = Backup::new(&source, &mut copy).map_err(fault)?;
        loop {
            let step = backup.step(STEP_PAGES).map_err(fault)?;
            let at = backup.progress();
            let total = at.pagecount.max(0) as u64;
            progress(total - at.remaining.max(0) as u64, total);
            match step {
                StepResult::Done => break,
                StepResult::More => {}
                // The moment is held already: nobody can lock this reader out.
                _ => return Err(Fault::Database("the database is locked".to_owned())),
            }
        }
    }
    // The log goes into the file.
    let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
    copy.query_row(sql, [], |_| Ok(())).map_err(fault)?;
    let version = schema::pragma(&copy, "user_version")?;
    copy.close().map_err(|(_, error)| fault(error))?;
    for synced in [path.as_path(), to] {
        let file = std::fs::File::open(synced);
        file.and_then(|file| file.sync_all()).map_err(|source| Fault::file(synced, source))?;
    }
    Ok(version)
}
