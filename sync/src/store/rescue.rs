//! Reading a database that may be damaged: whatever can be reached, from every side.
//!
//! A damaged page ends a scan, so rows are read forward until it, backward until it, and those in
//! between by point look-ups. A scan that does not go strictly forward has followed a damaged
//! pointer and ends there, too. Nothing here judges what a row says.

use super::chains::ChainNo;
use super::schema::{self, fault};
use super::snapshot::{CommitFilter, StoredCommit};
use crate::Fault;
use holdfast_core::log::Link;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row};
use std::path::Path;

/// How far behind the last position reached look-ups go when nothing says where the table ends.
const BLIND_LOOKUPS: i64 = 100_000;
const COLUMNS: &str = "pos, chain, first, count, link, signature, body, t_min, t_max, filter";

/// Opens the database for reading only, however much of it is damaged.
pub(super) fn open(path: &Path) -> Result<Connection, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(fault)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(fault)?;
    schema::configure(&connection, "FULL")?;
    // With a writable schema SQLite also opens a file that is shorter than its header says. A page
    // with one bad cell may still hold good ones.
    let lenient = "PRAGMA writable_schema=ON; PRAGMA cell_size_check=OFF;";
    connection.execute_batch(lenient).map_err(fault)?;
    Ok(connection)
}

/// A row of the log as it was read.
#[derive(Debug)]
pub(super) struct CommitRow {
    pub commit: StoredCommit,
    pub filter: CommitFilter,
}

impl CommitRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let commit = StoredCommit {
            pos: row.get::<_, i64>(0)? as u64,
            chain: ChainNo(row.get(1)?),
            first: row.get::<_, i64>(2)? as u64,
            count: row.get(3)?,
            link: Link(row.get(4)?),
            signature: row.get(5)?,
            body: row.get(6)?,
        };
        let filter = CommitFilter { t_min: row.get(7)?, t_max: row.get(8)?, series: row.get(9)? };
        let plausible = commit.first > 0
            && commit.count > 0
            && commit.first.checked_add(u64::from(commit.count)).is_some();
        if plausible { Ok(Self { commit, filter }) } else { Err(rusqlite::Error::InvalidQuery) }
    }
}

/// A record as it was read, with its seal.
#[derive(Debug)]
pub(super) struct RawRecord {
    pub table: u8,
    pub key: Vec<u8>,
    pub sealed: Vec<u8>,
}

impl RawRecord {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { table: row.get(0)?, key: row.get(1)?, sealed: row.get(2)? })
    }
}

/// What happened to a scan beside the rows it gave.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// What the database said where it could not go on.
    pub errors: Vec<String>,
    /// Positions of rows that are there and make no sense.
    pub unreadable: Vec<u64>,
}

impl Trouble {
    fn note(&mut self, error: &rusqlite::Error) {
        let text = error.to_string();
        if !self.errors.contains(&text) {
            self.errors.push(text);
        }
    }

    pub(super) const fn none(&self) -> bool {
        self.errors.is_empty() && self.unreadable.is_empty()
    }
}

/// Hands every commit that can be read to `each`, nearly in the order of positions.
pub(super) fn commits(
    connection: &Connection,
    mut each: impl FnMut(CommitRow) -> Result<(), Fault>,
) -> Result<Trouble, Fault> {
    let mut trouble = Trouble::default();
    let up = format!("SELECT {COLUMNS} FROM commits ORDER BY pos");
    let (low, ended) = sweep(connection, &up, i64::MIN, 1, &mut trouble, &mut each)?;
    if ended {
        return Ok(trouble);
    }
    let down = format!("SELECT {COLUMNS} FROM commits ORDER BY pos DESC");
    let (high, _) = sweep(connection, &down, low, -1, &mut trouble, &mut each)?;
    let low = low.max(0);
    let high = if high == i64::MAX { last_indexed(connection, low) } else { high };
    let one = format!("SELECT {COLUMNS} FROM commits WHERE pos=?1");
    let Ok(mut statement) = connection.prepare(&one) else { return Ok(trouble) };
    for pos in low + 1..high {
        match statement.query_row([pos], |row| Ok(CommitRow::read(row))).optional() {
            Ok(Some(Ok(row))) if row.commit.pos == pos as u64 => each(row)?,
            Ok(Some(_)) => trouble.unreadable.push(pos as u64),
            Ok(None) => {}
            Err(error) => trouble.note(&error),
        }
    }
    Ok(trouble)
}

/// Hands the commits of a chain in a sound database to `each`, in the order of first sequences.
pub(super) fn chain_commits(
    connection: &Connection,
    chain: ChainNo,
    mut each: impl FnMut(CommitRow),
) -> Result<(), Fault> {
    let sql = format!("SELECT {COLUMNS} FROM commits WHERE chain=?1 ORDER BY first, pos");
    let mut statement = connection.prepare_cached(&sql).map_err(fault)?;
    let mut rows = statement.query([chain.0]).map_err(fault)?;
    while let Some(row) = rows.next().map_err(fault)? {
        each(CommitRow::read(row).map_err(fault)?);
    }
    Ok(())
}

/// The numbers of chains that commits of a sound database name.
pub(super) fn chain_numbers(connection: &Connection) -> Result<Vec<ChainNo>, Fault> {
    let mut statement = connection.prepare("SELECT DISTINCT chain FROM commits").map_err(fault)?;
    let rows = statement.query_map([], |row| row.get(0).map(ChainNo)).map_err(fault)?;
    rows.collect::<Result<_, _>>().map_err(fault)
}

/// The end of the table as its index knows it, or a guess.
fn last_indexed(connection: &Connection, low: i64) -> i64 {
    let sql = "SELECT max(pos) FROM commits INDEXED BY commits_by_chain";
    let found = connection.query_row(sql, [], |row| row.get::<_, Option<i64>>(0));
    let end = found.ok().flatten().unwrap_or(low).max(low);
    end.saturating_add(1).max(low.saturating_add(BLIND_LOOKUPS))
}

/// One scan in one direction; returns how far it came (`i64::MAX` for nowhere going down) and
/// whether it saw the end of the table.
fn sweep(
    connection: &Connection,
    sql: &str,
    bound: i64,
    direction: i64,
    trouble: &mut Trouble,
    each: &mut impl FnMut(CommitRow) -> Result<(), Fault>,
) -> Result<(i64, bool), Fault> {
    let mut reached = if direction > 0 { bound } else { i64::MAX };
    let mut statement = match connection.prepare(sql) {
        Ok(statement) => statement,
        Err(error) => {
            trouble.note(&error);
            return Ok((reached, false));
        }
    };
    let mut rows = statement.query([]).map_err(fault)?;
    loop {
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => return Ok((reached, true)),
            Err(error) => {
                trouble.note(&error);
                return Ok((reached, false));
            }
        };
        let Ok(pos) = row.get::<_, i64>(0) else { return Ok((reached, false)) };
        let forward = if direction > 0 { pos > reached } else { pos < reached && pos > bound };
        if !forward {
            if direction > 0 {
                trouble.errors.push(format!("position {pos} follows position {reached}"));
            }
            return Ok((reached, false));
        }
        reached = pos;
        match CommitRow::read(row) {
            Ok(row) => each(row)?,
            Err(_) => trouble.unreadable.push(pos as u64),
        }
    }
}

/// Hands every record that can be read to `each`.
pub(super) fn records(
    connection: &Connection,
    mut each: impl FnMut(RawRecord) -> Result<(), Fault>,
) -> Result<Trouble, Fault> {
    let mut trouble = Trouble::default();
    let mut last: Option<(u8, Vec<u8>)> = None;
    for order in ["tab, key", "tab DESC, key DESC"] {
        let down = order.contains("DESC");
        let sql = format!("SELECT tab, key, value FROM records ORDER BY {order}");
        let mut statement = match connection.prepare(&sql) {
            Ok(statement) => statement,
            Err(error) => {
                trouble.note(&error);
                return Ok(trouble);
            }
        };
        let mut rows = statement.query([]).map_err(fault)?;
        let mut reached: Option<(u8, Vec<u8>)> = None;
        loop {
            let row = match rows.next() {
                Ok(Some(row)) => row,
                Ok(None) if !down => return Ok(trouble),
                Ok(None) => break,
                Err(error) => {
                    trouble.note(&error);
                    break;
                }
            };
            let Ok(record) = RawRecord::read(row) else {
                trouble.unreadable.push(0);
                continue;
            };
            let place = (record.table, record.key.clone());
            let backward =
                reached.as_ref().is_some_and(|r| if down { place >= *r } else { place <= *r });
            if backward || (down && last.as_ref().is_some_and(|last| place <= *last)) {
                if !down {
                    trouble.errors.push("the records are not in the order of their keys".into());
                }
                break;
            }
            reached = Some(place);
            each(record)?;
        }
        last = reached;
    }
    Ok(trouble)
}
