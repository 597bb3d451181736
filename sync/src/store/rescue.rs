//! Reading a database that may be damaged: whatever can be reached, from every side.
//!
//! A damaged page ends a scan, so rows are read forward until it, backward until it, and those in
//! between by point look-ups. A row whose position is not in order gets the one that the index
//! knows. Nothing here judges what a row says.

use super::chains::ChainNo;
use super::commits::{CommitFilter, ROW_COST, StoredCommit};
use super::cover::Cover;
use super::received::check_signature;
use super::schema::{self, fault};
use crate::Fault;
use holdfast_core::log::Link;
use holdfast_core::ranges::Range;
use holdfast_core::{ChainId, Stream};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};
use std::path::Path;

/// How far behind the last position reached look-ups go when nothing says where the table ends.
const BLIND_LOOKUPS: u64 = 100_000;
/// Scans of the whole index for the keys of rows that make no sense; with more of them it is not
/// the rows that are damaged.
const INDEX_SCANS: u32 = 64;
const COLUMNS: &str =
    "pos, chain, first, count, link, signature, body, t_min, t_max, filter, sealed";

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

/// Where a row says that it belongs: chain, first sequence, count.
type Keys = (u32, i64, u32);

impl CommitRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Self::read_with(row, (row.get(1)?, row.get(2)?, row.get(3)?))
    }

    /// The row with other keys than its own.
    fn read_with(row: &Row<'_>, (chain, first, count): Keys) -> rusqlite::Result<Self> {
        let commit = StoredCommit {
            pos: row.get::<_, i64>(0)? as u64,
            chain: ChainNo(chain),
            first: first as u64,
            count,
            link: Link(row.get(4)?),
            signature: row.get(5)?,
            sealed: row.get(10)?,
            body: row.get(6)?,
        };
        let filter = CommitFilter { t_min: row.get(7)?, t_max: row.get(8)?, series: row.get(9)? };
        let plausible = commit.first > 0
            && commit.count > 0
            && commit.first.checked_add(u64::from(commit.count)).is_some();
        if plausible { Ok(Self { commit, filter }) } else { Err(rusqlite::Error::InvalidQuery) }
    }
}

impl CommitRow {
    /// What is wrong with its body, or with what a query is told of the body, and what was
    /// expected.
    pub(super) fn body_fault(&self, stream: Stream) -> Option<(String, &'static str)> {
        match self.commit.filter(stream) {
            Ok(of_body) if of_body == self.filter => None,
            Ok(_) => {
                let expected = "the times and the filter that follow from the body";
                Some(("its times or its filter are wrong".to_owned(), expected))
            }
            Err(reject) if self.commit.sealed => {
                Some((format!("its body is no segment: {}", reject.code()), "a segment"))
            }
            Err(reject) => {
                let found = format!("its body is no canonical body: {}", reject.code());
                Some((found, "a canonical body"))
            }
        }
    }

    /// Whether its signature, if it has one, is the origin's.
    pub(super) fn is_signed_well(&self, chain: &ChainId) -> bool {
        let commit = &self.commit;
        let checked = commit.signature.as_ref().map(|signature| {
            check_signature(chain, commit.last(), &commit.link, signature).is_ok()
        });
        checked.unwrap_or(true)
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
        self.note_text(&error.to_string());
    }

    fn note_text(&mut self, text: &str) {
        if !self.errors.iter().any(|noted| noted == text) {
            self.errors.push(text.to_owned());
        }
    }

    pub(super) const fn none(&self) -> bool {
        self.errors.is_empty() && self.unreadable.is_empty()
    }
}

/// Hands every commit that can be read to `each`, nearly in the order of positions, each position
/// once.
pub(super) fn commits(
    connection: &Connection,
    each: impl FnMut(CommitRow) -> Result<(), Fault>,
) -> Result<Trouble, Fault> {
    let (done, trouble) = (Cover::default(), Trouble::default());
    let mut sweep = Sweep { connection, each, done, held: None, trouble, index_scans: 0 };
    if !sweep.scan(&format!("SELECT {COLUMNS} FROM commits ORDER BY pos"))? {
        let low = sweep.done.max();
        sweep.scan(&format!("SELECT {COLUMNS} FROM commits ORDER BY pos DESC"))?;
        let reached = sweep.done.ranges().find(|range| range.from > low).map(|range| range.from);
        sweep.look_up(low + 1, reached.unwrap_or_else(|| last_indexed(connection, low)))?;
    }
    Ok(sweep.trouble)
}

/// Scans of one table that fill each other's holes.
struct Sweep<'a, E> {
    connection: &'a Connection,
    each: E,
    /// Positions handed over.
    done: Cover,
    /// The row read last, until the one behind it shows that its position can be right.
    held: Option<CommitRow>,
    trouble: Trouble,
    index_scans: u32,
}

impl<E: FnMut(CommitRow) -> Result<(), Fault>> Sweep<'_, E> {
    /// One scan, as far as it goes; `true` when it saw the end of the table.
    fn scan(&mut self, sql: &str) -> Result<bool, Fault> {
        let connection = self.connection;
        let down = sql.ends_with("DESC");
        let mut statement = match connection.prepare(sql) {
            Ok(statement) => statement,
            Err(error) => {
                self.trouble.note(&error);
                return Ok(false);
            }
        };
        let mut rows = statement.query([]).map_err(fault)?;
        let ended = loop {
            let row = match rows.next() {
                Ok(Some(row)) => row,
                Ok(None) => break true,
                Err(error) => {
                    self.trouble.note(&error);
                    break false;
                }
            };
            match CommitRow::read(row) {
                Ok(row) if down => self.hand_over(row)?,
                Ok(row) => self.hold(row)?,
                Err(_) => {
                    let pos = row.get::<_, i64>(0).unwrap_or_default();
                    self.trouble.unreadable.push(pos as u64);
                    if let Some(row) = self.indexed(pos, row) {
                        self.hand_over(row)?;
                    }
                }
            }
        };
        if let Some(mut last) = self.held.take() {
            self.correct(&mut last);
            self.hand_over(last)?;
        }
        Ok(ended)
    }

    /// Hands over the row before `row`. Where the two are not in order the index tells which of
    /// them has a damaged position.
    fn hold(&mut self, mut row: CommitRow) -> Result<(), Fault> {
        let Some(mut before) = self.held.take() else {
            self.held = Some(row);
            return Ok(());
        };
        if before.commit.pos >= row.commit.pos {
            let text = format!("position {} before {}", before.commit.pos, row.commit.pos);
            self.trouble.errors.push(text);
            self.correct(&mut before);
            self.correct(&mut row);
        }
        self.hand_over(before)?;
        self.held = Some(row);
        Ok(())
    }

    /// Gives a row the position that the index has for it, if the index has one.
    fn correct(&mut self, row: &mut CommitRow) {
        let sql = "SELECT pos FROM commits INDEXED BY commits_by_chain
                   WHERE chain=?1 AND first=?2 AND count=?3";
        let commit = &mut row.commit;
        let place = (commit.chain.0, commit.first as i64, commit.count);
        let found = self.connection.query_row(sql, place, |row| row.get::<_, i64>(0));
        if let Ok(pos) = found
            && pos > 0
        {
            commit.pos = pos as u64;
        }
    }

    /// A row whose own keys make no sense, with those that the index has for it. The link will show
    /// whether they are right.
    fn indexed(&mut self, pos: i64, row: &Row<'_>) -> Option<CommitRow> {
        self.index_scans += 1;
        let sql = "SELECT chain, first, count FROM commits INDEXED BY commits_by_chain
                   WHERE +pos=?1";
        let keys = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let keys = (self.index_scans <= INDEX_SCANS)
            .then(|| self.connection.query_row(sql, [pos], keys).ok())
            .flatten()?;
        CommitRow::read_with(row, keys).ok()
    }

    fn hand_over(&mut self, row: CommitRow) -> Result<(), Fault> {
        let pos = row.commit.pos;
        let sensible = pos > 0 && pos <= i64::MAX as u64;
        if sensible && self.done.add(Range { from: pos, to: pos }) {
            (self.each)(row)?;
        }
        Ok(())
    }

    /// Looks up the positions from `from` to before `end`, one by one.
    fn look_up(&mut self, from: u64, end: u64) -> Result<(), Fault> {
        let one = format!("SELECT {COLUMNS} FROM commits WHERE pos=?1");
        let connection = self.connection;
        let Ok(mut statement) = connection.prepare(&one) else { return Ok(()) };
        for pos in from..end {
            match statement.query_row([pos as i64], |row| Ok(CommitRow::read(row))).optional() {
                Ok(Some(Ok(row))) => self.hand_over(row)?,
                Ok(Some(Err(_))) => self.trouble.unreadable.push(pos),
                Ok(None) => {}
                Err(error) => self.trouble.note(&error),
            }
        }
        Ok(())
    }
}

/// The rows behind a position, about `max_bytes` of them.
pub(super) fn rows_after(
    connection: &Connection,
    pos: u64,
    max_bytes: usize,
) -> Result<Vec<CommitRow>, Fault> {
    let sql = format!("SELECT {COLUMNS} FROM commits WHERE pos>?1 ORDER BY pos");
    let mut statement = connection.prepare(&sql).map_err(fault)?;
    let mut rows = statement.query([pos as i64]).map_err(fault)?;
    let (mut out, mut bytes) = (Vec::new(), 0);
    while bytes < max_bytes {
        let Some(row) = rows.next().map_err(fault)? else { break };
        let row = CommitRow::read(row).map_err(|_| {
            let at = row.get::<_, i64>(0).unwrap_or_default();
            Fault::damaged(format!("commit {at}"), "the row makes no sense")
        })?;
        bytes += row.commit.body.len() + ROW_COST;
        out.push(row);
    }
    Ok(out)
}

/// The records behind a table and key, about `max_bytes` of them.
pub(super) fn records_after(
    connection: &Connection,
    (table, key): (u8, &[u8]),
    max_bytes: usize,
) -> Result<Vec<RawRecord>, Fault> {
    let sql = "SELECT tab, key, value FROM records WHERE (tab, key)>(?1, ?2) ORDER BY tab, key";
    let mut statement = connection.prepare(sql).map_err(fault)?;
    let mut rows = statement.query(params![table, key]).map_err(fault)?;
    let (mut out, mut bytes) = (Vec::new(), 0);
    while bytes < max_bytes {
        let Some(row) = rows.next().map_err(fault)? else { break };
        let record = RawRecord::read(row)
            .map_err(|_| Fault::damaged("a record", "the row makes no sense"))?;
        bytes += record.key.len() + record.sealed.len() + ROW_COST;
        out.push(record);
    }
    Ok(out)
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
fn last_indexed(connection: &Connection, low: u64) -> u64 {
    let sql = "SELECT max(pos) FROM commits INDEXED BY commits_by_chain";
    let found = connection.query_row(sql, [], |row| row.get::<_, Option<i64>>(0));
    let end = found.ok().flatten().map_or(low, |pos| low.max(pos as u64));
    end.saturating_add(1).max(low.saturating_add(BLIND_LOOKUPS))
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
            if down && last.as_ref().is_some_and(|last| place <= *last) {
                break;
            }
            if !down && reached.as_ref().is_some_and(|reached| place <= *reached) {
                trouble.note_text("the records are not in the order of their keys");
            }
            reached = Some(place);
            each(record)?;
        }
        last = reached;
    }
    Ok(trouble)
}
