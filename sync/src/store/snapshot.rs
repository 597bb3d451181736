//! The read side: what is committed, as of one moment.

use super::chains::{ChainInfo, ChainNo};
use super::damage;
use super::record::{Table, after_prefix, unseal};
use super::schema::{self, fault};
use crate::Fault;
use holdfast_core::log::{Link, events, readings, rollups};
use holdfast_core::ranges::Range;
use holdfast_core::{ChainId, Reject, Seq, SeriesKey, Stream, Timestamp};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// What a query needs to know of a commit before it reads it: its span of time and which series it
/// may hold. A commit that surely holds nothing of interest is skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitFilter {
    /// The earliest effective time, in Unix milliseconds, rounded down.
    pub t_min: i64,
    /// The latest effective time, in Unix milliseconds, rounded down.
    pub t_max: i64,
    /// A Bloom filter of the series, two probes, a power of two of bytes; empty when there are
    /// none.
    pub series: Vec<u8>,
}

/// The hash by which a series stands in the filters of commits.
#[must_use]
pub fn series_bits(key: &SeriesKey<'_>) -> u64 {
    let mut hash = blake3::Hasher::new();
    for part in [key.device.as_str(), key.metric.as_str(), key.unit.as_str()] {
        hash.update(&(part.len() as u32).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let word = hash.finalize();
    u64::from_le_bytes(*word.as_bytes().first_chunk().expect("a hash has 32 bytes"))
}

fn probes(bits: u64, filter_bytes: usize) -> [usize; 2] {
    let mask = filter_bytes * 8 - 1;
    [bits as usize & mask, (bits >> 32) as usize & mask]
}

impl CommitFilter {
    /// The filter of a commit with these series and effective times.
    pub(super) fn of(series: &[SeriesKey<'_>], times: impl Iterator<Item = Timestamp>) -> Self {
        let (mut t_min, mut t_max) = (i64::MAX, i64::MIN);
        for time in times {
            t_min = t_min.min(time.millis());
            t_max = t_max.max(time.millis());
        }
        // About ten bits for each series: two probes then err in 3 of 100 cases.
        let len = (series.len() * 10).div_ceil(8).next_power_of_two().clamp(8, 256);
        let mut bits = vec![0; if series.is_empty() { 0 } else { len }];
        for key in series {
            for probe in probes(series_bits(key), len) {
                bits[probe / 8] |= 1 << (probe % 8);
            }
        }
        Self { t_min, t_max, series: bits }
    }

    /// The filter of a body as it arrives from a peer; checks the body on the way.
    pub(super) fn of_body(stream: Stream, body: &[u8], count: u32) -> Result<Self, Reject> {
        holdfast_core::log::check(stream, body, count)?;
        Ok(match stream {
            Stream::Reading => {
                let body = readings::Body::new(body)?;
                let received = body.received();
                let series: Vec<_> = body.series().collect();
                let rows = body.rows().flatten();
                Self::of(&series, rows.map(|row| row.effective_time(received)))
            }
            Stream::Rollup => {
                let body = rollups::Body::new(body)?;
                let series: Vec<_> = body.series().collect();
                let edges = body
                    .rows()
                    .flatten()
                    .flat_map(|row| [row.summary.first.time, row.summary.last.time]);
                Self::of(&series, edges)
            }
            Stream::Event | Stream::Log => {
                let (received, _) = events::read(body)?;
                Self::of(&[], std::iter::once(received))
            }
        })
    }

    fn may_hold(filter: &[u8], bits: u64) -> bool {
        filter.len().is_power_of_two()
            && probes(bits, filter.len()).iter().all(|&at| filter[at / 8] >> (at % 8) & 1 == 1)
    }
}

/// A commit as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCommit {
    /// Its position in this store, in the order of arrival.
    pub pos: u64,
    /// Its chain.
    pub chain: ChainNo,
    /// Its first sequence.
    pub first: Seq,
    /// How many entries it has.
    pub count: u32,
    /// The link after it.
    pub link: Link,
    /// The origin's signature of the link, where there is one.
    pub signature: Option<[u8; 64]>,
    /// The canonical body.
    pub body: Vec<u8>,
}

impl StoredCommit {
    /// Its last sequence.
    #[must_use]
    pub fn last(&self) -> Seq {
        // A damaged row may name any number.
        self.first.saturating_add(u64::from(self.count)).saturating_sub(1)
    }

    /// Whether the body is canonical and the link follows from it and from `before`, the link of
    /// what precedes it in `chain`. A commit that is not intact must not be used nor sent on.
    #[must_use]
    pub fn intact(&self, chain: &ChainId, before: Link) -> bool {
        holdfast_core::log::check(chain.stream, &self.body, self.count).is_ok()
            && before.next(chain, self.first, self.count, &self.body) == self.link
    }
}

const COLUMNS: &str = "pos, chain, first, count, link, signature, body";

fn commit(row: &Row<'_>) -> rusqlite::Result<StoredCommit> {
    Ok(StoredCommit {
        pos: row.get::<_, i64>(0)? as u64,
        chain: ChainNo(row.get(1)?),
        first: row.get::<_, i64>(2)? as u64,
        count: row.get(3)?,
        link: Link(row.get(4)?),
        signature: row.get(5)?,
        body: row.get(6)?,
    })
}

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

/// A key and its value.
pub type Record = (Vec<u8>, Vec<u8>);

/// A view of the store at one moment.
pub struct Snapshot<'a> {
    pub(super) connection: &'a Connection,
}

impl Snapshot<'_> {
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
        let compare = if strict { ">" } else { ">=" };
        let sql = format!(
            "SELECT key, value FROM records WHERE tab=?1 AND key{compare}?2
             AND (?3 IS NULL OR key<?3) ORDER BY key"
        );
        let mut statement = self.connection.prepare_cached(&sql).map_err(fault)?;
        let mut rows = statement.query(params![table as u8, from, end]).map_err(fault)?;
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

    /// Commits after position `pos`, in the order of arrival, about `max_bytes` of them.
    ///
    /// # Errors
    /// A database fault.
    pub fn commits_after(&self, pos: u64, max_bytes: usize) -> Result<Vec<StoredCommit>, Fault> {
        let sql = format!("SELECT {COLUMNS} FROM commits WHERE pos>?1 ORDER BY pos");
        self.collect(&sql, params![pos as i64], max_bytes)
    }

    /// Commits of a chain that begin at or after `from`, ascending, about `max_bytes` of them.
    ///
    /// # Errors
    /// A database fault.
    pub fn commits_from(
        &self,
        chain: ChainNo,
        from: Seq,
        max_bytes: usize,
    ) -> Result<Vec<StoredCommit>, Fault> {
        let sql =
            format!("SELECT {COLUMNS} FROM commits WHERE chain=?1 AND first>=?2 ORDER BY first");
        self.collect(&sql, params![chain.0, from as i64], max_bytes)
    }

    /// Commits of a chain that end at or before `to`, going back until there are `max_bytes` or
    /// one begins at or before `from`; returned ascending.
    ///
    /// # Errors
    /// A database fault.
    pub fn commits_back(
        &self,
        chain: ChainNo,
        range: Range,
        max_bytes: usize,
    ) -> Result<Vec<StoredCommit>, Fault> {
        let sql = format!(
            "SELECT {COLUMNS} FROM commits WHERE chain=?1 AND first>=?2 AND first<=?3
             ORDER BY first DESC"
        );
        let bounds = params![chain.0, range.from as i64, range.to as i64];
        let mut out = self.collect(&sql, bounds, max_bytes)?;
        out.reverse();
        Ok(out)
    }

    fn collect(
        &self,
        sql: &str,
        bounds: impl rusqlite::Params,
        max_bytes: usize,
    ) -> Result<Vec<StoredCommit>, Fault> {
        let mut statement = self.connection.prepare_cached(sql).map_err(fault)?;
        let mut rows = statement.query(bounds).map_err(fault)?;
        let (mut out, mut bytes) = (Vec::new(), 0);
        while bytes < max_bytes {
            let Some(row) = rows.next().map_err(fault)? else { break };
            let commit = commit(row).map_err(fault)?;
            bytes += commit.body.len() + 64;
            out.push(commit);
        }
        Ok(out)
    }

    /// The link before `seq` in a chain: that of the commit or the gap that ends just there; `None`
    /// when neither is held.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    pub fn link_before(&self, chain: ChainNo, seq: Seq) -> Result<Option<Link>, Fault> {
        if seq <= 1 {
            return Ok(Some(Link::START));
        }
        let sql = "SELECT first, count, link FROM commits WHERE chain=?1 AND first<?2
                   ORDER BY first DESC LIMIT 1";
        let mut statement = self.connection.prepare_cached(sql).map_err(fault)?;
        let before = statement
            .query_row(params![chain.0, seq as i64], |row| {
                Ok((row.get::<_, i64>(0)? + row.get::<_, i64>(1)?, row.get::<_, [u8; 32]>(2)?))
            })
            .optional()
            .map_err(fault)?;
        if let Some((end, link)) = before
            && end as u64 == seq
        {
            return Ok(Some(Link(link)));
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

    /// Hands every commit of `chains` that may hold readings of a series in a span of effective
    /// time (Unix milliseconds, both included) to `each`, until it says `false`.
    ///
    /// # Errors
    /// A database fault.
    pub fn commits_matching(
        &self,
        chains: &[ChainNo],
        (t_from, t_to): (i64, i64),
        series: Option<u64>,
        mut each: impl FnMut(StoredCommit) -> bool,
    ) -> Result<(), Fault> {
        let sql = format!(
            "SELECT {COLUMNS}, filter FROM commits
             WHERE chain=?1 AND t_max>=?2 AND t_min<=?3 ORDER BY t_max"
        );
        let mut statement = self.connection.prepare_cached(&sql).map_err(fault)?;
        for chain in chains {
            let mut rows = statement.query(params![chain.0, t_from, t_to]).map_err(fault)?;
            while let Some(row) = rows.next().map_err(fault)? {
                if let Some(bits) = series {
                    let filter = row.get_ref(7).map_err(fault)?.as_blob().unwrap_or_default();
                    if !CommitFilter::may_hold(filter, bits) {
                        continue;
                    }
                }
                if !each(commit(row).map_err(fault)?) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_holds_what_was_put_in() {
        let names: Vec<String> = (0..200).map(|i| format!("d{i}")).collect();
        let keys: Vec<_> = names.iter().map(|d| SeriesKey::new(d, "m", "").unwrap()).collect();
        let (held, others) = keys.split_at(100);
        let filter = CommitFilter::of(held, [5, 9].into_iter().map(|ms| Timestamp(ms * 1_000_000)));
        assert_eq!((filter.t_min, filter.t_max), (5, 9));
        assert!(held.iter().all(|k| CommitFilter::may_hold(&filter.series, series_bits(k))));
        let wrong =
            others.iter().filter(|k| CommitFilter::may_hold(&filter.series, series_bits(k)));
        assert!(wrong.count() < 20, "most others are told apart");
    }
}
