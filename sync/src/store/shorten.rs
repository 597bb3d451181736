//! Keeping the write-ahead log short.
//!
//! SQLite begins it anew when all of it is in the database and nobody reads from it any more. While
//! readers take turns without a pause that moment never comes, and it grows with everything that is
//! written: a disk fills up, and the next start has to go through all of it before the node serves.
//! Beyond a bound the writer therefore waits for those who read, for a moment; who comes then reads
//! from the database.

use super::schema::{BUSY, fault};
use super::{DATABASE, wal};
use crate::Fault;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes of the log from which on the writer waits: a start goes through that many in a tenth of a
/// second, also on a slow disk in less than one.
const LONG: u64 = 32 << 20;
/// How long it waits at most. Devices wait as long for their answers.
const WAIT: Duration = Duration::from_millis(200);
/// How long it leaves the log alone after it has waited in vain.
const REST_MS: u64 = 1_000;

/// The log of a store.
pub(super) struct Log {
    path: PathBuf,
    tried_ms: u64,
}

impl Log {
    pub(super) fn of(dir: &Path) -> Self {
        Self { path: wal::path_of(&dir.join(DATABASE)), tried_ms: 0 }
    }

    /// Has the log begin anew if it is long, unless somebody reads from it for longer.
    pub(super) fn shorten(&mut self, connection: &Connection, now_ms: u64) -> Result<(), Fault> {
        let resting = self.tried_ms > 0 && now_ms.saturating_sub(self.tried_ms) < REST_MS;
        if resting || std::fs::metadata(&self.path).map_or(0, |meta| meta.len()) < LONG {
            return Ok(());
        }
        connection.busy_timeout(WAIT).map_err(fault)?;
        let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
        let busy = connection.query_row(sql, [], |row| row.get::<_, bool>(0)).map_err(fault);
        connection.busy_timeout(BUSY).map_err(fault)?;
        self.tried_ms = now_ms;
        if !busy? {
            self.tried_ms = 0;
        }
        Ok(())
    }
}
