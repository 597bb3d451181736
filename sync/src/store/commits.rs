//! Commits as the store has them: one by one, or sealed as segments.
//!
//! A row of the log is one commit with its canonical body, or consecutive commits of a chain as one
//! segment. Both have a first sequence, a count, the link after them and a filter, so whoever
//! counts ranges need not know which it is. What a query needs to know of a row before it reads it
//! stands in its [`CommitFilter`].

use super::chains::ChainNo;
use super::schema::fault;
use super::snapshot::Snapshot;
use crate::Fault;
use crate::segment::{Commit, Segment};
use holdfast_core::log::{Link, events, readings, rollups};
use holdfast_core::ranges::Range;
use holdfast_core::{ChainId, Reject, Seq, SeriesKey, Stream, Timestamp};
use rusqlite::{Row, params};

/// What a row counts beside its body where bytes are bounded.
pub(super) const ROW_COST: usize = 64;
/// Bytes of a filter: beyond two thousand series a segment's own directory has to tell.
const FILTER_MAX: usize = 4096;

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
        let len = (series.len() * 10).div_ceil(8).next_power_of_two().clamp(8, FILTER_MAX);
        let mut bits = vec![0; if series.is_empty() { 0 } else { len }];
        for key in series {
            for probe in probes(series_bits(key), len) {
                bits[probe / 8] |= 1 << (probe % 8);
            }
        }
        Self { t_min, t_max, series: bits }
    }

    /// The filter of a body; checks the body on the way.
    fn of_body(stream: Stream, body: &[u8], count: u32) -> Result<Self, Reject> {
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
                    .flat_map(|(row, _)| [row.summary.first.time, row.summary.last.time]);
                Self::of(&series, edges)
            }
            Stream::Event | Stream::Log => {
                let (received, _) = events::read(body)?;
                Self::of(&[], std::iter::once(received))
            }
        })
    }

    /// The filter of two commits in one.
    fn join(self, other: &Self) -> Self {
        let (t_min, t_max) = (self.t_min.min(other.t_min), self.t_max.max(other.t_max));
        Self { t_min, t_max, series: self.series }
    }

    pub(super) fn may_hold(filter: &[u8], bits: u64) -> bool {
        filter.len().is_power_of_two()
            && probes(bits, filter.len()).iter().all(|&at| filter[at / 8] >> (at % 8) & 1 == 1)
    }
}

/// A commit as the store has it, or several in a row as one segment.
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
    /// Whether the body is a segment of several commits.
    pub sealed: bool,
    /// The canonical body, or the segment.
    pub body: Vec<u8>,
}

impl StoredCommit {
    /// Its last sequence.
    #[must_use]
    pub fn last(&self) -> Seq {
        // A damaged row may name any number.
        self.first.saturating_add(u64::from(self.count)).saturating_sub(1)
    }

    /// The link after it, when its content follows `before` in `chain`.
    ///
    /// # Errors
    /// [`Reject::Checksum`] when a segment does not begin there, [`Reject::Malformed`] when it
    /// cannot be read.
    pub fn link_after(&self, chain: &ChainId, before: Link) -> Result<Link, Reject> {
        if !self.sealed {
            return Ok(before.next(chain, self.first, self.count, &self.body));
        }
        let segment = self.segment()?;
        let head = segment.head();
        if head.chain != *chain || head.before != before {
            return Err(Reject::Checksum);
        }
        segment.each_commit(drop).map_err(|_| Reject::Malformed)?;
        Ok(head.after)
    }

    /// Whether the link follows from the content and from `before`.
    #[must_use]
    pub fn follows(&self, chain: &ChainId, before: Link) -> bool {
        self.link_after(chain, before).is_ok_and(|link| link == self.link)
    }

    /// Whether the body is canonical and the link follows from it and from `before`, the link of
    /// what precedes it in `chain`. A commit that is not intact must not be used nor sent on.
    #[must_use]
    pub fn intact(&self, chain: &ChainId, before: Link) -> bool {
        self.check(chain.stream).is_ok() && self.follows(chain, before)
    }

    /// Checks that the body is canonical. A segment's bodies are by the way they are made, but for
    /// those of events, which are kept as they came.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, stream: Stream) -> Result<(), Reject> {
        if !self.sealed {
            return holdfast_core::log::check(stream, &self.body, self.count);
        }
        let parts = self.parts()?;
        parts.iter().try_for_each(|part| part.check(stream))
    }

    /// What a query needs to know of it; checks the body on the way.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn filter(&self, stream: Stream) -> Result<CommitFilter, Reject> {
        if !self.sealed {
            return CommitFilter::of_body(stream, &self.body, self.count);
        }
        let spans = self.segment()?.series().map_err(|_| Reject::Malformed)?;
        let series: Vec<_> = spans.iter().map(|span| span.key).collect();
        let all = CommitFilter::of(&series, std::iter::empty());
        self.parts()?.iter().try_fold(all, |all, part| {
            Ok(all.join(&CommitFilter::of_body(stream, &part.body, part.count)?))
        })
    }

    pub(super) fn damage(&self, reject: Reject) -> Fault {
        let what = format!("segment at {} ({}..{})", self.pos, self.first, self.last());
        Fault::damaged(what, reject.code())
    }

    /// The segment that it is.
    ///
    /// # Errors
    /// [`Reject::Malformed`] when it cannot be read, or is not the one that the row says.
    pub fn segment(&self) -> Result<Segment<'_>, Reject> {
        let segment = Segment::open(&self.body).map_err(|_| Reject::Malformed)?;
        let named = segment.head().first == self.first && segment.entries() == self.count as usize;
        if self.sealed && named { Ok(segment) } else { Err(Reject::Malformed) }
    }

    /// The commits that it is, at its own position; the last has its signature.
    ///
    /// # Errors
    /// [`Reject::Malformed`] when a segment cannot be read.
    pub fn parts(&self) -> Result<Vec<Self>, Reject> {
        if !self.sealed {
            return Ok(vec![self.clone()]);
        }
        let segment = self.segment()?;
        let mut parts = Vec::with_capacity(segment.commits());
        let (pos, chain) = (self.pos, self.chain);
        let made = segment.each_commit(|commit| {
            let Commit { first, count, link, body } = commit;
            let (signature, sealed) = (None, false);
            parts.push(Self { pos, chain, first, count, link, signature, sealed, body });
        });
        made.map_err(|_| Reject::Malformed)?;
        if let Some(last) = parts.last_mut() {
            last.signature = self.signature;
        }
        Ok(parts)
    }
}

const COLUMNS: &str = "pos, chain, first, count, link, signature, sealed, body";

fn commit(row: &Row<'_>) -> rusqlite::Result<StoredCommit> {
    Ok(StoredCommit {
        pos: row.get::<_, i64>(0)? as u64,
        chain: ChainNo(row.get(1)?),
        first: row.get::<_, i64>(2)? as u64,
        count: row.get(3)?,
        link: Link(row.get(4)?),
        signature: row.get(5)?,
        sealed: row.get(6)?,
        body: row.get(7)?,
    })
}

/// The commits of rows, those that are wanted.
fn unpack(
    rows: &[StoredCommit],
    mut wanted: impl FnMut(&StoredCommit) -> bool,
) -> Result<Vec<StoredCommit>, Fault> {
    let mut out = Vec::with_capacity(rows.len());
    for row in rows {
        let parts = row.parts().map_err(|reject| row.damage(reject))?;
        out.extend(parts.into_iter().filter(&mut wanted));
    }
    Ok(out)
}

impl Snapshot<'_> {
    /// Commits after position `pos`, in the order of arrival, about `max_bytes` of them. Those of a
    /// segment come together, at the position of their last.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    pub fn commits_after(&self, pos: u64, max_bytes: usize) -> Result<Vec<StoredCommit>, Fault> {
        let sql = format!("SELECT {COLUMNS} FROM commits WHERE pos>?1 ORDER BY pos");
        let rows = self.collect(&sql, params![pos as i64], max_bytes)?;
        unpack(&rows, |_| true)
    }

    /// Commits of a chain that begin at or after `from`, ascending, about `max_bytes` of rows.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    pub fn commits_from(
        &self,
        chain: ChainNo,
        from: Seq,
        max_bytes: usize,
    ) -> Result<Vec<StoredCommit>, Fault> {
        unpack(&self.rows_from(chain, from, max_bytes)?, |commit| commit.first >= from)
    }

    /// Commits and segments of a chain that hold anything at or after `from`, ascending, about
    /// `max_bytes` of them.
    ///
    /// # Errors
    /// A database fault.
    pub fn rows_from(
        &self,
        chain: ChainNo,
        from: Seq,
        max_bytes: usize,
    ) -> Result<Vec<StoredCommit>, Fault> {
        let sql = format!(
            "SELECT {COLUMNS} FROM commits WHERE chain=?1 AND first+count>?2 AND first>=coalesce(
             (SELECT max(first) FROM commits WHERE chain=?1 AND first<=?2), ?2) ORDER BY first"
        );
        self.collect(&sql, params![chain.0, from as i64], max_bytes)
    }

    /// Commits and segments of a chain that hold anything of a range, going back from its end until
    /// there are `max_bytes`; returned ascending.
    ///
    /// # Errors
    /// A database fault.
    pub fn rows_back(
        &self,
        chain: ChainNo,
        range: Range,
        max_bytes: usize,
    ) -> Result<Vec<StoredCommit>, Fault> {
        let sql = format!(
            "SELECT {COLUMNS} FROM commits WHERE chain=?1 AND first<=?3 AND first+count>?2 AND
             first>=coalesce((SELECT max(first) FROM commits WHERE chain=?1 AND first<=?2), ?2)
             ORDER BY first DESC"
        );
        let bounds = params![chain.0, range.from as i64, range.to as i64];
        let mut out = self.collect(&sql, bounds, max_bytes)?;
        out.reverse();
        Ok(out)
    }

    /// The last row of a chain that begins before `seq`; its body only if it is a segment with
    /// `seq` in the middle.
    pub(super) fn row_before(
        &self,
        chain: ChainNo,
        seq: Seq,
    ) -> Result<Option<StoredCommit>, Fault> {
        let sql = "SELECT pos, chain, first, count, link, signature, sealed,
                   CASE WHEN sealed AND first+count>?2 THEN body ELSE x'' END
                   FROM commits WHERE chain=?1 AND first<?2 ORDER BY first DESC LIMIT 1";
        let rows = self.collect(sql, params![chain.0, seq as i64], usize::MAX)?;
        Ok(rows.into_iter().next())
    }

    /// At most `limit` unsealed commits of a chain that begin at or after `from` and arrived up to
    /// position `read_to`, ascending, about `max_bytes` of them. Whatever arrived later leaves a
    /// hole.
    pub(super) fn unsealed_rows(
        &self,
        chain: ChainNo,
        (from, read_to): (Seq, u64),
        limit: usize,
        max_bytes: usize,
    ) -> Result<Vec<StoredCommit>, Fault> {
        let sql = format!(
            "SELECT {COLUMNS} FROM commits INDEXED BY commits_unsealed
             WHERE chain=?1 AND first>=?2 AND pos<=?4 AND sealed=0 ORDER BY first LIMIT ?3"
        );
        let bounds = params![chain.0, from as i64, limit as i64, read_to as i64];
        self.collect(&sql, bounds, max_bytes)
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
            bytes += commit.body.len() + ROW_COST;
            out.push(commit);
        }
        Ok(out)
    }

    /// Hands every commit and segment of `chains` that may hold readings of a series in a span of
    /// effective time (Unix milliseconds, both included) to `each`, until it says `false`.
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
                    let filter = row.get_ref(8).map_err(fault)?.as_blob().unwrap_or_default();
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
