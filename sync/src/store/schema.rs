//! The database's tables and settings.

use super::record::{Table, unseal};
use crate::Fault;
use rusqlite::{Connection, params};
use std::time::Duration;

/// The version of the tables. A program refuses a store that is newer than it.
pub const VERSION: u32 = 1;
/// The record with the release that opened the store last.
pub(super) const META_PROGRAM: &[u8] = b"program";
/// Marks the file as ours ("Hfst").
pub(super) const APPLICATION_ID: i32 = 0x4866_7374;
/// How long a connection waits for another that writes.
pub(super) const BUSY: Duration = Duration::from_secs(10);
/// Bytes of a database page; what SQLite recommends for flash and disks alike.
pub(super) const PAGE_BYTES: u64 = 4096;

/// The value of `auto_vacuum` in new stores, INCREMENTAL: beside its pages the file has a map of
/// which page follows which. By it a reader finds the directory at the end of a segment without
/// reading the pages before it; nothing is moved by itself. Older stores have none (0) and are
/// read all the same.
const PAGE_MAP: i64 = 2;

const TABLES: &str = "
CREATE TABLE commits (
  pos INTEGER PRIMARY KEY,
  chain INTEGER NOT NULL,
  first INTEGER NOT NULL,
  count INTEGER NOT NULL,
  sealed INTEGER NOT NULL,
  t_min INTEGER NOT NULL,
  t_max INTEGER NOT NULL,
  filter BLOB NOT NULL,
  link BLOB NOT NULL,
  signature BLOB,
  body BLOB NOT NULL
) STRICT;
CREATE INDEX commits_by_chain ON commits (chain, first, count);
CREATE INDEX commits_unsealed ON commits (chain, first, count) WHERE sealed = 0;
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
    connection.busy_timeout(BUSY).map_err(fault)?;
    // The writer has more than the sixteen that are kept otherwise.
    connection.set_prepared_statement_cache_capacity(64);
    connection
        .execute_batch(&format!(
            "PRAGMA synchronous={synchronous}; PRAGMA temp_store=MEMORY;
             PRAGMA cache_size=-2048; PRAGMA cell_size_check=ON; PRAGMA trusted_schema=OFF;
             PRAGMA journal_size_limit=8388608; PRAGMA wal_autocheckpoint=2000;"
        ))
        .map_err(fault)
}

/// Makes the tables in a new file, or checks the version of an old one.
///
/// A version that raises the number also changes the text of the tables, if only by a comment: that
/// is how a newer store is told from a damaged number.
pub(super) fn prepare(connection: &Connection) -> Result<(), Fault> {
    let found: u32 = pragma(connection, "user_version").map_err(of_the_header)?;
    let application: i32 = pragma(connection, "application_id").map_err(of_the_header)?;
    let objects = objects(connection).map_err(of_the_header)?;
    if found == 0 && application == 0 && objects.is_empty() {
        let sql = format!(
            "PRAGMA page_size={PAGE_BYTES}; PRAGMA auto_vacuum={PAGE_MAP}; PRAGMA journal_mode=WAL;
             BEGIN IMMEDIATE; {TABLES}
             PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={VERSION}; COMMIT;"
        );
        return connection.execute_batch(&sql).map_err(fault);
    }
    if application != APPLICATION_ID {
        return Err(Fault::damaged("database header", "it is not a Holdfast store"));
    }
    let ours = matches(connection)?;
    if found > VERSION && !ours {
        return Err(Fault::Newer { found, known: VERSION, program: program(connection) });
    }
    if found != VERSION || !ours {
        let what = format!("the tables are not those of version {found}");
        return Err(Fault::damaged("database schema", what));
    }
    let mode: String = pragma(connection, "journal_mode")?;
    if mode != "wal" {
        connection.execute_batch("PRAGMA journal_mode=WAL;").map_err(fault)?;
    }
    Ok(())
}

/// The release that opened the store last. Every version of the store keeps this record readable:
/// it is what an older program has to say.
fn program(connection: &Connection) -> String {
    let sql = "SELECT value FROM records WHERE tab=?1 AND key=?2";
    let key = params![Table::Meta as u8, META_PROGRAM];
    let sealed = connection.query_row(sql, key, |row| row.get::<_, Vec<u8>>(0)).ok();
    let value = sealed.and_then(|sealed| unseal(Table::Meta as u8, META_PROGRAM, sealed).ok());
    let text = value.and_then(|value| String::from_utf8(value).ok());
    text.unwrap_or_else(|| "unknown".to_owned())
}

/// What the schema says of a table or an index: its type, name, table, first page and text.
type Object = (String, String, String, i64, Option<String>);

fn objects(connection: &Connection) -> Result<Vec<Object>, Fault> {
    let sql = "SELECT type, name, tbl_name, rootpage, sql FROM sqlite_schema ORDER BY rowid";
    let mut statement = connection.prepare(sql).map_err(fault)?;
    let rows = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))
        .map_err(fault)?;
    rows.collect::<Result<_, _>>().map_err(fault)
}

/// The schema as a new store has it, with a map of pages or without: that moves its first pages.
fn made_objects(page_map: i64) -> Result<Vec<Object>, Fault> {
    let fresh = Connection::open_in_memory().map_err(fault)?;
    fresh.execute_batch(&format!("PRAGMA auto_vacuum={page_map}; {TABLES}")).map_err(fault)?;
    objects(&fresh)
}

/// Whether the tables are exactly those that this program makes.
pub(super) fn matches(connection: &Connection) -> Result<bool, Fault> {
    let page_map = pragma(connection, "auto_vacuum").map_err(of_the_header)?;
    Ok(objects(connection)? == made_objects(page_map)?)
}

/// Our own questions about the header are always right, so an error about them is the header's.
fn of_the_header(fault: Fault) -> Fault {
    match fault {
        Fault::Database(text) if !text.contains("locked") && !text.contains("disk I/O") => {
            Fault::damaged("database header", text)
        }
        other => other,
    }
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
            // Without a further cause it is the file's header that forbids to write.
            Code::ReadOnly if cause.extended_code == 8 => {
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
