//! The read side: what is committed, as of one moment.

use super::chains::{ChainInfo, ChainNo, Frontier};
use super::damage;
use super::record::{ReadRecords, Table, after_prefix, unseal};
use super::schema::{self, fault};
use crate::Fault;
use holdfast_core::codec::Reader;
use holdfast_core::log::{Link, events};
use holdfast_core::{NodeId, Reject, Seq};
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Connections for reading, opened when needed and kept.
pub(super) struct Pool {
    path: PathBuf,
    synchronous: &'static str,
    idle: Mutex<Vec<Connection>>,
}

const IDLE_MAX: usize = 4;

impl Pool {
    pub(super) fn new(path: PathBuf, synchronous: &'static str) -> Self {
        Self { path, synchronous, idle: Mutex::new(Vec::new()) }
    }

    /// Lends a snapshot to `look`. Damage that it meets is noted for the next start.
    pub(super) fn with<T>(
        &self,
        look: impl FnOnce(&Snapshot<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.lend(look).inspect_err(|fault| {
            if fault.is_damage() {
                self.note(fault);
            }
        })
    }

    /// Leaves the note that makes the next start repair the store.
    pub(super) fn note(&self, fault: &Fault) {
        damage::flag(self.path.parent().unwrap_or(&self.path), fault);
    }

    fn lend<T>(&self, look: impl FnOnce(&Snapshot<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => open_reader(&self.path, self.synchronous)?,
        };
        connection.execute_batch("BEGIN").map_err(fault)?;
        let result = look(&Snapshot { connection: &connection });
        let ended = connection.execute_batch("COMMIT");
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.is_ok() && idle.len() < IDLE_MAX {
            idle.push(connection);
        }
        result
    }
}

pub(super) fn open_reader(path: &Path, synchronous: &str) -> Result<Connection, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(fault)?;
    schema::configure(&connection, synchronous)?;
    Ok(connection)
}

/// Records from a key on, up to before another one if `bounded`. SQLite stops at an end only where
/// it stands as one: with `?3 IS NULL OR` before it, it reads on to the end of the table.
fn scan_sql(strict: bool, bounded: bool) -> String {
    let compare = if strict { ">" } else { ">=" };
    let end = if bounded { " AND key<?3" } else { "" };
    format!("SELECT key, value FROM records WHERE tab=?1 AND key{compare}?2{end} ORDER BY key")
}

/// A key and its value.
pub type Record = (Vec<u8>, Vec<u8>);

impl ReadRecords for Snapshot<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        Snapshot::get(self, table, key)
    }

    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Record>, Fault> {
        Snapshot::scan(self, table, prefix, &[], usize::MAX)
    }

    fn scan_after(&self, table: Table, after: &[u8], limit: usize) -> Result<Vec<Record>, Fault> {
        Snapshot::scan(self, table, &[], after, limit)
    }

    fn scan_back(
        &self,
        table: Table,
        before: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Record>, Fault> {
        let below = if before.is_some() { "AND key<?3" } else { "" };
        let sql = format!(
            "SELECT key, value FROM records WHERE tab=?1 {below} ORDER BY key DESC LIMIT ?2"
        );
        let mut statement = self.connection.prepare_cached(&sql).map_err(fault)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut rows = match before {
            Some(before) => statement.query(params![table as u8, limit, before]),
            None => statement.query(params![table as u8, limit]),
        }
        .map_err(fault)?;
        let mut out = Vec::new();
        while let Some(row) = rows.next().map_err(fault)? {
            let key: Vec<u8> = row.get(0).map_err(fault)?;
            let value = unseal(table as u8, &key, row.get(1).map_err(fault)?)?;
            out.push((key, value));
        }
        Ok(out)
    }
}

/// A view of the store at one moment.
#[derive(Clone, Copy)]
pub struct Snapshot<'a> {
    pub(super) connection: &'a Connection,
}

impl Snapshot<'_> {
    /// What a peer has acknowledged of a chain.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    pub fn acked(&self, peer: &NodeId, no: ChainNo) -> Result<Frontier, Fault> {
        let key = [peer.0.as_slice(), &no.key()].concat();
        let Some(value) = self.get(Table::Acked, &key)? else { return Ok(Frontier::new()) };
        Frontier::decode(&mut Reader::new(&value))
            .map_err(|reject| Fault::damaged("acknowledged ranges", reject.code()))
    }

    /// What any peer has acknowledged, by chain; of a chain that is not there it is nothing.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    pub fn acked_by_any(&self) -> Result<HashMap<ChainNo, Frontier>, Fault> {
        let damaged = |reject: Reject| Fault::damaged("acknowledged ranges", reject.code());
        let mut all: HashMap<_, Frontier> = HashMap::new();
        for (key, value) in self.scan(Table::Acked, &[], &[], usize::MAX)? {
            let Some(no) = key.last_chunk::<4>() else { continue };
            let set = Frontier::decode(&mut Reader::new(&value)).map_err(damaged)?;
            let known = all.entry(ChainNo(u32::from_be_bytes(*no))).or_default();
            known.union(&set).map_err(damaged)?;
        }
        Ok(all)
    }

    /// The record under `key`.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    pub fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let sql = "SELECT value FROM records WHERE tab=?1 AND key=?2";
        let mut statement = self.connection.prepare_cached(sql).map_err(fault)?;
        let sealed: Option<Vec<u8>> = statement
            .query_row(params![table as u8, key], |row| row.get(0))
            .optional()
            .map_err(fault)?;
        sealed.map(|sealed| unseal(table as u8, key, sealed)).transpose()
    }

    /// At most `limit` records with keys that start with `prefix` and are greater than `after`,
    /// ascending.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    pub fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: &[u8],
        limit: usize,
    ) -> Result<Vec<Record>, Fault> {
        let mut out = Vec::new();
        let from = if after > prefix { after } else { prefix };
        let strict = after >= prefix && !after.is_empty();
        self.scan_from(table, from, strict, after_prefix(prefix).as_deref(), |key, value| {
            out.push((key, value));
            out.len() < limit
        })?;
        Ok(out)
    }

    /// Hands the records from `from` (left out itself if `strict`) up to before `end` to `each`,
    /// ascending, until it says `false`.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    pub fn scan_from(
        &self,
        table: Table,
        from: &[u8],
        strict: bool,
        end: Option<&[u8]>,
        mut each: impl FnMut(Vec<u8>, Vec<u8>) -> bool,
    ) -> Result<(), Fault> {
        let sql = scan_sql(strict, end.is_some());
        let mut statement = self.connection.prepare_cached(&sql).map_err(fault)?;
        let rows = match end {
            Some(end) => statement.query(params![table as u8, from, end]),
            None => statement.query(params![table as u8, from]),
        };
        let mut rows = rows.map_err(fault)?;
        while let Some(row) = rows.next().map_err(fault)? {
            let key: Vec<u8> = row.get(0).map_err(fault)?;
            let value = unseal(table as u8, &key, row.get(1).map_err(fault)?)?;
            if !each(key, value) {
                break;
            }
        }
        Ok(())
    }

    /// Every chain that is known.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    pub fn chains(&self) -> Result<Vec<ChainInfo>, Fault> {
        let records = self.scan(Table::Chain, &[], &[], usize::MAX)?;
        records.iter().map(|(key, value)| ChainInfo::decode(key, value)).collect()
    }

    /// One chain, if it is known.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    pub fn chain(&self, no: ChainNo) -> Result<Option<ChainInfo>, Fault> {
        let value = self.get(Table::Chain, &no.key())?;
        value.map(|value| ChainInfo::decode(&no.key(), &value)).transpose()
    }

    /// The position of the newest commit, 0 when there is none.
    ///
    /// # Errors
    /// A database fault.
    pub fn head(&self) -> Result<u64, Fault> {
        let sql = "SELECT coalesce(max(pos), 0) FROM commits";
        let pos: i64 = self.connection.query_row(sql, [], |row| row.get(0)).map_err(fault)?;
        Ok(pos as u64)
    }

    /// The link before `seq` in a chain: that of the commit, be it in a segment, or of the gap that
    /// ends just there; `None` when neither is held.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    pub fn link_before(&self, chain: ChainNo, seq: Seq) -> Result<Option<Link>, Fault> {
        if seq <= 1 {
            return Ok(Some(Link::START));
        }
        if let Some(row) = self.row_before(chain, seq)? {
            if row.last() + 1 == seq {
                return Ok(Some(row.link));
            }
            // One that ends before comes without its body: between the two there is a hole.
            if row.sealed && row.last() >= seq {
                let parts = row.parts().map_err(|reject| row.damage(reject))?;
                let before = parts.iter().find(|part| part.last() + 1 == seq);
                return Ok(before.map(|part| part.link));
            }
        }
        let gaps = self.gaps(chain)?;
        Ok(gaps.into_iter().find(|gap| gap.range.to + 1 == seq).map(|gap| gap.link_after))
    }

    /// The declared gaps of a chain, ascending.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    pub fn gaps(&self, chain: ChainNo) -> Result<Vec<events::Gap>, Fault> {
        let records = self.scan(Table::Gap, &chain.key(), &[], usize::MAX)?;
        records.iter().map(|(_, value)| super::tx::decode_gap(value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list of 3,000 twins took three seconds: whoever read the few cells of one document read
    /// those of all documents behind it, too, and threw them away.
    #[test]
    fn a_scan_ends_where_its_keys_end() {
        let connection = Connection::open_in_memory().unwrap();
        schema::prepare(&connection).unwrap();
        for (bounded, range) in [(true, "key>? AND key<?"), (false, "key>?")] {
            for strict in [false, true] {
                let sql = format!("EXPLAIN QUERY PLAN {}", scan_sql(strict, bounded));
                let mut statement = connection.prepare(&sql).unwrap();
                let mut rows = statement.raw_query();
                let plan: String = rows.next().unwrap().unwrap().get(3).unwrap();
                assert!(plan.ends_with(&format!("(tab=? AND {range})")), "{plan}");
            }
        }
    }
}
