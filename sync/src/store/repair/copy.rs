//! Copying: every row that can be read, as it is, and every record whose seal holds.

use super::notes::{NOTES, Notes};
use crate::Fault;
use crate::docs;
use crate::store::chains::{ChainInfo, ChainNo};
use crate::store::commits::StoredCommit;
use crate::store::record::{Table, unseal};
use crate::store::rescue::{self, CommitRow, RawRecord};
use crate::store::schema::{self, fault};
use crate::store::snapshot::Snapshot;
use crate::store::{PIPELINE, tx};
use holdfast_core::log::events::Gap;
use rusqlite::{Connection, params};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Rows between two commits, which bounds the write-ahead log of the copy.
const BATCH: u64 = 5_000;
/// Scans of the whole index for rows that it does not know; with more of them it is the index that
/// is damaged.
const INDEX_SCANS: u32 = 64;

/// What the records said of the chains; these records are made anew.
#[derive(Debug, Default)]
pub(super) struct Salvaged {
    /// The names of documents, those of lost records included.
    pub documents: BTreeSet<String>,
    pub chains: BTreeMap<ChainNo, ChainInfo>,
    pub gaps: BTreeMap<ChainNo, Vec<Gap>>,
}

/// Makes the new database. It is synced as a whole when it is complete.
pub(super) fn create(path: &Path) -> Result<Connection, Fault> {
    let connection = Connection::open(path).map_err(fault)?;
    schema::configure(&connection, "OFF")?;
    schema::prepare(&connection)?;
    Ok(connection)
}

/// Moves all of it into the one file and closes it.
pub(super) fn finish(connection: Connection) -> Result<(), Fault> {
    let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
    connection.query_row(sql, [], |_| Ok(())).map_err(fault)?;
    connection.close().map_err(|(_, error)| fault(error))
}

struct Batch<'a> {
    connection: &'a Connection,
    rows: u64,
}

impl<'a> Batch<'a> {
    fn new(connection: &'a Connection) -> Result<Self, Fault> {
        connection.execute_batch("BEGIN").map_err(fault)?;
        Ok(Self { connection, rows: 0 })
    }

    fn row(&mut self) -> Result<(), Fault> {
        self.rows += 1;
        if self.rows.is_multiple_of(BATCH) {
            self.connection.execute_batch("COMMIT; BEGIN").map_err(fault)?;
        }
        Ok(())
    }

    fn end(self) -> Result<(), Fault> {
        self.connection.execute_batch("COMMIT").map_err(fault)
    }
}

/// Copies what can be read of `old` into `new`.
pub(super) fn everything(
    old: &Connection,
    new: &Connection,
    notes: &mut Notes,
) -> Result<Salvaged, Fault> {
    let mut salvaged = Salvaged::default();
    let mut lost: BTreeMap<u8, u64> = BTreeMap::new();
    let mut batch = Batch::new(new)?;
    let trouble = rescue::records(old, |record| {
        let table = Table::ALL.into_iter().find(|known| *known as u8 == record.table);
        let document = table.and_then(|table| docs::document_of(table, &record.key));
        salvaged.documents.extend(document);
        if !copy_record(new, &record, &mut salvaged, notes)? {
            *lost.entry(record.table).or_default() += 1;
        }
        batch.row()
    })?;
    for (table, count) in &lost {
        let known = Table::ALL.into_iter().find(|known| *known as u8 == *table);
        let name = known.map_or_else(|| table.to_string(), |known| format!("{known:?}"));
        notes.find(format!("records lost from table {name}: {count}"));
    }
    for error in &trouble.errors {
        notes.find(format!("not all records could be read: {error}"));
    }
    if !lost.is_empty() || !trouble.none() {
        // Windows may be among what was lost. The pipeline is idempotent and makes them again.
        let sql = "DELETE FROM records WHERE tab=?1 AND key=?2";
        new.execute(sql, params![Table::Cursor as u8, PIPELINE]).map_err(fault)?;
    }
    let mut attempts = 0;
    let trouble = rescue::commits(old, |mut row| {
        replace_keys(old, &salvaged, &mut row, &mut attempts);
        copy_commit(new, &row)?;
        batch.row()
    })?;
    for error in &trouble.errors {
        notes.find(format!("not all commits could be read: {error}"));
    }
    if !trouble.unreadable.is_empty() {
        notes.find(format!("commits that make no sense: {}", trouble.unreadable.len()));
    }
    batch.end()?;
    Ok(salvaged)
}

/// Copies a record or keeps what it says of a chain; `false` when it is damaged.
fn copy_record(
    new: &Connection,
    record: &RawRecord,
    salvaged: &mut Salvaged,
    notes: &mut Notes,
) -> Result<bool, Fault> {
    let Ok(value) = unseal(record.table, &record.key, record.sealed.clone()) else {
        return Ok(false);
    };
    if record.table == Table::Chain as u8 {
        let Ok(info) = ChainInfo::decode(&record.key, &value) else { return Ok(false) };
        salvaged.chains.insert(info.no, info);
        return Ok(true);
    }
    if record.table == Table::Gap as u8 {
        let (Some(no), Ok(gap)) = (record.key.first_chunk::<4>(), tx::decode_gap(&value)) else {
            return Ok(false);
        };
        salvaged.gaps.entry(ChainNo(u32::from_be_bytes(*no))).or_default().push(gap);
    }
    if record.table == Table::Meta as u8 && record.key == NOTES {
        // An earlier repair that no start has told of yet.
        let Ok(earlier) = Notes::decode(&value) else { return Ok(false) };
        notes.gaps.extend(earlier.gaps);
        earlier.findings.into_iter().for_each(|finding| notes.find(finding));
        return Ok(true);
    }
    let sql = "INSERT OR IGNORE INTO records (tab, key, value) VALUES (?1, ?2, ?3)";
    let mut statement = new.prepare_cached(sql).map_err(fault)?;
    statement.execute(params![record.table, record.key, record.sealed]).map_err(fault)?;
    Ok(true)
}

/// Where the index has other keys for a row than the row itself, and the row's link proves the
/// index right, its keys are taken: else the row would be lost, and the one behind it, too.
fn replace_keys(old: &Connection, salvaged: &Salvaged, row: &mut CommitRow, attempts: &mut u32) {
    let commit = &mut row.commit;
    let sql = "SELECT count(*) FROM commits INDEXED BY commits_by_chain
               WHERE chain=?1 AND first=?2 AND count=?3 AND pos=?4";
    let keys = params![commit.chain.0, commit.first as i64, commit.count, commit.pos as i64];
    let agrees = old.query_row(sql, keys, |row| row.get::<_, i64>(0));
    if *attempts >= INDEX_SCANS || agrees.is_ok_and(|count| count > 0) {
        return;
    }
    *attempts += 1;
    let sql = "SELECT chain, first, count FROM commits INDEXED BY commits_by_chain WHERE +pos=?1";
    let found = old.query_row(sql, [commit.pos as i64], |row| {
        Ok((ChainNo(row.get(0)?), row.get::<_, i64>(1)? as u64, row.get(2)?))
    });
    let Ok((chain, first, count)) = found else { return };
    let Some(info) = salvaged.chains.get(&chain) else { return };
    let before = Snapshot { connection: old }.link_before(chain, first).ok().flatten();
    let other = StoredCommit { chain, first, count, ..commit.clone() };
    if before.is_some_and(|before| other.intact(&info.id, before)) {
        *commit = other;
    }
}

fn copy_commit(new: &Connection, row: &CommitRow) -> Result<(), Fault> {
    let sql = "INSERT OR IGNORE INTO commits
               (pos, chain, first, count, t_min, t_max, filter, link, signature, body, sealed)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    let mut statement = new.prepare_cached(sql).map_err(fault)?;
    let CommitRow { commit, filter } = row;
    statement
        .execute(params![
            commit.pos as i64,
            commit.chain.0,
            commit.first as i64,
            commit.count,
            filter.t_min,
            filter.t_max,
            filter.series,
            commit.link.0,
            commit.signature,
            commit.body,
            commit.sealed,
        ])
        .map_err(fault)?;
    Ok(())
}
