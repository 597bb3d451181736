//! The database's tables and settings.

use crate::Fault;
use rusqlite::Connection;

/// The version of the tables. A program refuses a store that is newer than it.
pub(super) const VERSION: u32 = 1;
/// Marks the file as ours ("Hfst").
const APPLICATION_ID: i32 = 0x4866_7374;
/// Bytes of a database page; what SQLite recommends for flash and disks alike.
pub(super) const PAGE_BYTES: u64 = 4096;

const TABLES: &str = "
CREATE TABLE commits (
  pos INTEGER PRIMARY KEY,
  chain INTEGER NOT NULL,
  first INTEGER NOT NULL,
  count INTEGER NOT NULL,
  t_min INTEGER NOT NULL,
  t_max INTEGER NOT NULL,
  filter BLOB NOT NULL,
  link BLOB NOT NULL,
  signature BLOB,
  body BLOB NOT NULL
) STRICT;
CREATE INDEX commits_by_chain ON commits (chain, first, count);
CREATE INDEX commits_by_time ON commits (chain, t_max, t_min);
CREATE TABLE records (
  tab INTEGER NOT NULL,
  key BLOB NOT NULL,
  value BLOB NOT NULL,
  PRIMARY KEY (tab, key)
) STRICT, WITHOUT ROWID;
";

/// Settings of every connection. Durability is not a setting: it is FULL.
pub(super) fn configure(connection: &Connection, synchronous: &str) -> Result<(), Fault> {
    connection
        .execute_batch(&format!(
            "PRAGMA busy_timeout=10000; PRAGMA synchronous={synchronous}; PRAGMA temp_store=MEMORY;
             PRAGMA cache_size=-2048; PRAGMA cell_size_check=ON; PRAGMA trusted_schema=OFF;
             PRAGMA journal_size_limit=8388608; PRAGMA wal_autocheckpoint=2000;"
        ))
        .map_err(fault)
}

/// Makes the tables in a new file, or checks the version of an old one.
pub(super) fn prepare(connection: &Connection) -> Result<(), Fault> {
    let found: u32 = pragma(connection, "user_version")?;
    if found > VERSION {
        return Err(Fault::Newer { found, known: VERSION });
    }
    let application: i32 = pragma(connection, "application_id")?;
    if found == 0 && application == 0 {
        let sql = format!(
            "PRAGMA page_size={PAGE_BYTES}; PRAGMA journal_mode=WAL; BEGIN IMMEDIATE; {TABLES}
             PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={VERSION}; COMMIT;"
        );
        return connection.execute_batch(&sql).map_err(fault);
    }
    if application != APPLICATION_ID {
        return Err(Fault::damaged("database header", "it is not a Holdfast store"));
    }
    let mode: String = pragma(connection, "journal_mode")?;
    if mode != "wal" {
        connection.execute_batch("PRAGMA journal_mode=WAL;").map_err(fault)?;
    }
    Ok(())
}

pub(super) fn pragma<T: rusqlite::types::FromSql>(
    connection: &Connection,
    name: &str,
) -> Result<T, Fault> {
    connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0)).map_err(fault)
}

/// What a database error means to us.
pub(super) fn fault(error: rusqlite::Error) -> Fault {
    use rusqlite::ErrorCode as Code;
    match &error {
        rusqlite::Error::SqliteFailure(cause, _) => match cause.code {
            Code::DiskFull => Fault::Full(error.to_string()),
            Code::DatabaseCorrupt | Code::NotADatabase => {
                Fault::damaged(super::DATABASE, error.to_string())
            }
            // A short write that leaves no room is reported as an I/O error by some filesystems.
            Code::SystemIoFailure if cause.extended_code == 778 => Fault::Full(error.to_string()),
            _ => Fault::Database(error.to_string()),
        },
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::IntegralValueOutOfRange(..) => {
            Fault::damaged(super::DATABASE, error.to_string())
        }
        _ => Fault::Database(error.to_string()),
    }
}
