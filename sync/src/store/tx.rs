//! The write side: what a change may do inside the writer's transaction.

use super::chains::{ChainInfo, ChainNo, Frontier};
use super::commits::{CommitFilter, StoredCommit};
use super::received::Received;
use super::record::{Table, seal};
use super::schema::fault;
use super::snapshot::Snapshot;
use super::writer::{State, WriteError};
use crate::Fault;
use holdfast_core::codec::{Reader, Sink};
use holdfast_core::limits::{COMMIT_MAX_BYTES, FRONTIER_RANGES};
use holdfast_core::log::events::{self, Event, Gap, GapReason};
use holdfast_core::log::{Link, checkpoint_message, rollups};
use holdfast_core::ranges::{Range, RangeSet};
use holdfast_core::sketch::Sketch;
use holdfast_core::{ChainId, Incarnation, NodeId, Reject, SeriesKey, Stream, Timestamp};
use rusqlite::{Connection, params};

/// How much older than the newest checkpoint a commit may be before the chain is signed again.
pub(super) const CHECKPOINT_MS: u64 = 1000;

/// A change under way.
pub struct WriteTx<'a> {
    pub(super) connection: &'a Connection,
    pub(super) state: &'a mut State,
}

impl WriteTx<'_> {
    /// What the store holds, this transaction's own changes included.
    #[must_use]
    pub fn view(&self) -> Snapshot<'_> {
        Snapshot { connection: self.connection }
    }

    /// Wall time of this transaction.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.state.env.now()
    }

    /// Puts a record.
    ///
    /// # Errors
    /// A database fault.
    pub fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        let sql = "INSERT INTO records (tab, key, value) VALUES (?1, ?2, ?3)
                   ON CONFLICT (tab, key) DO UPDATE SET value=excluded.value";
        let mut statement = self.connection.prepare_cached(sql).map_err(fault)?;
        let sealed = seal(table, key, value);
        statement.execute(params![table as u8, key, sealed]).map_err(fault)?;
        if table == Table::DocumentChange {
            self.state.documents += 1;
        }
        Ok(())
    }

    /// Removes a record; `true` if there was one.
    ///
    /// # Errors
    /// A database fault.
    pub fn delete(&mut self, table: Table, key: &[u8]) -> Result<bool, Fault> {
        let sql = "DELETE FROM records WHERE tab=?1 AND key=?2";
        let mut statement = self.connection.prepare_cached(sql).map_err(fault)?;
        Ok(statement.execute(params![table as u8, key]).map_err(fault)? > 0)
    }

    /// Removes the records of `table` from `from` up to before `end`; gives how many there were.
    ///
    /// # Errors
    /// A database fault.
    pub fn delete_range(&mut self, table: Table, from: &[u8], end: &[u8]) -> Result<usize, Fault> {
        let sql = "DELETE FROM records WHERE tab=?1 AND key>=?2 AND key<?3";
        let mut statement = self.connection.prepare_cached(sql).map_err(fault)?;
        statement.execute(params![table as u8, from, end]).map_err(fault)
    }

    /// The number and state of a chain, made when it is new.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    pub(super) fn chain(&mut self, id: &ChainId) -> Result<ChainInfo, Fault> {
        if let Some(no) = self.state.chain_numbers.get(id) {
            if let Some(info) = self.state.chains.get(no) {
                return Ok(info.clone());
            }
            if let Some(info) = self.view().chain(*no)? {
                return Ok(info);
            }
        }
        let no = ChainNo(self.state.next_chain);
        self.state.next_chain += 1;
        self.state.chain_numbers.insert(*id, no);
        Ok(ChainInfo::new(no, *id))
    }

    fn save_chain(&mut self, info: ChainInfo) -> Result<(), Fault> {
        self.put(Table::Chain, &info.no.key(), &info.encode())?;
        self.state.chains.insert(info.no, info);
        Ok(())
    }

    /// Appends a commit to one of this node's own chains.
    ///
    /// # Errors
    /// A database fault.
    pub(super) fn append(
        &mut self,
        stream: Stream,
        body: &[u8],
        count: u32,
        filter: &CommitFilter,
    ) -> Result<Range, Fault> {
        let incarnation = self.state.incarnation;
        let id = ChainId { origin: self.state.node, incarnation, stream };
        let mut info = self.chain(&id)?;
        let first = info.last() + 1;
        let link = info.head.next(&id, first, count, body);
        let last = first + u64::from(count) - 1;
        let now = self.state.env.monotonic_ms();
        let due = self.state.checkpoints.get(&info.no);
        let sign = due.is_none_or(|at| now.saturating_sub(*at) >= CHECKPOINT_MS);
        let signature = sign.then(|| self.state.key.sign(&checkpoint_message(&id, last, &link)));
        if sign {
            self.state.checkpoints.insert(info.no, now);
            self.state.unsigned.remove(&info.no);
        } else {
            self.state.unsigned.insert(info.no, last);
        }
        let commit = StoredCommit {
            pos: 0,
            chain: info.no,
            first,
            count,
            link,
            signature,
            sealed: false,
            body: body.to_vec(),
        };
        self.insert_new(&commit, filter)?;
        self.state.fresh.appended[stream as usize] += u64::from(count);
        let range = Range { from: first, to: last };
        let added = info.frontier.add(range);
        added.map_err(|_| Fault::damaged("own chain", "its frontier is torn"))?;
        info.head = link;
        self.save_chain(info)?;
        Ok(range)
    }

    /// Inserts a commit that is new here, at the next position.
    fn insert_new(&mut self, commit: &StoredCommit, filter: &CommitFilter) -> Result<u64, Fault> {
        // Positions are given here and never reused, or a cursor would pass over a new commit.
        let pos = self.state.next_pos;
        self.insert(pos, commit, filter)?;
        self.state.next_pos += 1;
        Ok(pos)
    }

    fn insert(
        &mut self,
        pos: u64,
        commit: &StoredCommit,
        filter: &CommitFilter,
    ) -> Result<(), Fault> {
        let sql = "INSERT INTO commits
                   (pos, chain, first, count, t_min, t_max, filter, link, signature, body, sealed)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
        let mut statement = self.connection.prepare_cached(sql).map_err(fault)?;
        statement
            .execute(params![
                pos as i64,
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
        self.state.appended += commit.body.len() as u64;
        Ok(())
    }

    /// Appends events to this node's event chain, in one commit, and says which entries they are.
    ///
    /// # Errors
    /// A database fault, or one for an event over the envelope's limit.
    pub fn append_events(&mut self, events: &[Event<'_>]) -> Result<Range, WriteError> {
        self.append_events_at(self.now(), events)
    }

    /// As [`Self::append_events`], for a caller that keeps the time itself.
    ///
    /// # Errors
    /// As there.
    pub fn append_events_at(
        &mut self,
        received: Timestamp,
        events: &[Event<'_>],
    ) -> Result<Range, WriteError> {
        let mut body = Vec::new();
        events::start_body(&mut body, received)?;
        for event in events {
            event.encode(&mut body, Vec::new())?;
        }
        let filter = CommitFilter::of(&[], std::iter::once(received));
        Ok(self.append(Stream::Event, &body, events.len() as u32, &filter)?)
    }

    /// Appends window summaries to this node's rollup chain. `series` lists each series once, in
    /// the order of first use by `rows`.
    ///
    /// # Errors
    /// A database fault, or [`Reject::Full`] when they do not fit into one commit.
    pub fn append_rollups(
        &mut self,
        series: &[SeriesKey<'_>],
        rows: &[(rollups::Row, Option<&Sketch>)],
    ) -> Result<Range, WriteError> {
        let mut body = Vec::new();
        let copied = rows.iter().copied();
        rollups::encode(&mut body, rollups::FORMAT, self.now(), series, copied)?;
        if body.len() > COMMIT_MAX_BYTES {
            return Err(Reject::Full.into());
        }
        let edges =
            rows.iter().flat_map(|(row, _)| [row.summary.first.time, row.summary.last.time]);
        let filter = CommitFilter::of(series, edges);
        Ok(self.append(Stream::Rollup, &body, rows.len() as u32, &filter)?)
    }

    /// Stores what a peer sent of a chain and returns what is held of the chain then. Commits that
    /// are held already are skipped.
    ///
    /// # Errors
    /// [`WriteError::Fork`] when the chain differs from what is held, else a database fault.
    pub fn accept(&mut self, run: &Received) -> Result<(ChainNo, Frontier), WriteError> {
        let mut info = self.chain(&run.chain)?;
        let first = run.commits.first().map_or(0, |(commit, _)| commit.first);
        if let Some(held) = self.view().link_before(info.no, first)?
            && held != run.before
        {
            return Err(WriteError::Fork { chain: run.chain, seq: first });
        }
        for (commit, filter) in &run.commits {
            self.accept_one(&mut info, commit, filter)?;
        }
        self.check_join(&info, run)?;
        let frontier = info.frontier.clone();
        let no = info.no;
        self.save_chain(info)?;
        Ok((no, frontier))
    }

    /// Stores a commit of a run, if it is not held; of a sealed one, the part that is not.
    fn accept_one(
        &mut self,
        info: &mut ChainInfo,
        commit: &StoredCommit,
        filter: &CommitFilter,
    ) -> Result<(), WriteError> {
        let range = Range { from: commit.first, to: commit.last() };
        if info.frontier.covers(range) {
            return Ok(self.take_signature(info.no, commit)?);
        }
        if info.frontier.missing(range).next() != Some(range) {
            if !commit.sealed {
                return Err(WriteError::Fork { chain: info.id, seq: commit.first });
            }
            for part in commit.parts()? {
                let filter = part.filter(info.id.stream)?;
                self.accept_one(info, &part, &filter)?;
            }
            return Ok(());
        }
        info.frontier.add(range).map_err(WriteError::Reject)?;
        if range.to == info.frontier.max() {
            info.head = commit.link;
        }
        self.insert_new(&StoredCommit { chain: info.no, ..commit.clone() }, filter)?;
        self.state.fresh.received[info.id.stream as usize] += u64::from(commit.count);
        if info.id.stream == Stream::Event {
            // A gap may concern any chain of the origin but this one.
            for part in commit.parts()? {
                self.close_gaps(&info.id, &part.body)?;
            }
        }
        Ok(())
    }

    /// Puts a segment into the place of the commits it was made of, which keep their order to all
    /// others by the last one's position.
    ///
    /// # Errors
    /// [`WriteError::Refused`] when they are not all there any more, else a database fault.
    pub(super) fn seal(
        &mut self,
        sealed: &StoredCommit,
        filter: &CommitFilter,
        rows: usize,
    ) -> Result<(), WriteError> {
        let sql = "DELETE FROM commits WHERE chain=?1 AND first>=?2 AND first<=?3";
        let mut statement = self.connection.prepare_cached(sql).map_err(fault)?;
        let (first, last) = (sealed.first as i64, sealed.last() as i64);
        let gone = statement.execute(params![sealed.chain.0, first, last]).map_err(fault)?;
        if gone != rows {
            return Err(WriteError::Refused("its commits have changed meanwhile".to_owned()));
        }
        self.insert(sealed.pos, sealed, filter)?;
        self.state.fresh.sealed += u64::from(sealed.count);
        Ok(())
    }

    /// A later checkpoint may bring the signature of a commit that is held without one.
    fn take_signature(&mut self, no: ChainNo, commit: &StoredCommit) -> Result<(), Fault> {
        if let Some(signature) = &commit.signature {
            let sql = "UPDATE commits SET signature=?4 WHERE chain=?1 AND first=?2 AND link=?3
                       AND signature IS NULL";
            let mut statement = self.connection.prepare_cached(sql).map_err(fault)?;
            let link = commit.link.0;
            let bounds = params![no.0, commit.first as i64, link, signature];
            statement.execute(bounds).map_err(fault)?;
        }
        Ok(())
    }

    /// Where the run meets what was held before, the next commit must continue it.
    fn check_join(&mut self, info: &ChainInfo, run: &Received) -> Result<(), WriteError> {
        let Some((last, _)) = run.commits.last() else { return Ok(()) };
        let after = last.last() + 1;
        if let Some(next) = self.view().rows_from(info.no, after, 1)?.first()
            && next.first == after
            && !next.follows(&run.chain, last.link)
        {
            return Err(WriteError::Fork { chain: run.chain, seq: after });
        }
        Ok(())
    }

    fn close_gaps(&mut self, chain: &ChainId, body: &[u8]) -> Result<(), WriteError> {
        let (_, events) = events::read(body)?;
        for event in events {
            if let Event::Gap(gap) = event?
                && (gap.incarnation, gap.stream) != (chain.incarnation, chain.stream)
            {
                self.record_gap(chain.origin, &gap)?;
            }
        }
        Ok(())
    }

    /// Notes that a range of a chain is explained by a gap. What is held of it stays.
    fn record_gap(&mut self, origin: NodeId, gap: &Gap) -> Result<(), WriteError> {
        let id = ChainId { origin, incarnation: gap.incarnation, stream: gap.stream };
        let mut info = self.chain(&id)?;
        if info.frontier.covers(gap.range) && origin != self.state.node {
            return Ok(());
        }
        let ahead = gap.range.to > info.frontier.max();
        // A frontier that has no room for another range keeps the hole; the record explains it.
        if info.frontier.add(gap.range).is_ok() && ahead {
            info.head = gap.link_after;
        }
        self.put_gap(info.no, *gap)?;
        Ok(self.save_chain(info)?)
    }

    /// Puts the record of a gap, in one with those of the same reason that it touches: retention
    /// removes a chain piece by piece, and a piece a record would be without end.
    fn put_gap(&mut self, no: ChainNo, mut gap: Gap) -> Result<(), Fault> {
        for other in self.view().gaps(no)? {
            if other.reason != gap.reason {
                continue;
            }
            if other.range.to + 1 == gap.range.from {
                gap.range.from = other.range.from;
            } else if gap.range.to + 1 == other.range.from {
                self.delete(Table::Gap, &gap_key(no, &other))?;
                (gap.range.to, gap.link_after) = (other.range.to, other.link_after);
            }
        }
        self.put(Table::Gap, &gap_key(no, &gap), &encode_gap(&gap))
    }

    /// Removes commits of this node's own chains and declares the gaps that this leaves.
    ///
    /// # Errors
    /// A database fault.
    pub(super) fn drop_declared(
        &mut self,
        commits: &[DroppedCommit],
        reason: GapReason,
    ) -> Result<(), WriteError> {
        let mut gaps: Vec<Gap> = Vec::new();
        for dropped in commits {
            self.remove(dropped.pos)?;
            let last = gaps.last_mut().filter(|gap| {
                (gap.incarnation, gap.stream) == (dropped.id.incarnation, dropped.id.stream)
                    && gap.range.to + 1 == dropped.range.from
            });
            if let Some(gap) = last {
                gap.range.to = dropped.range.to;
                gap.link_after = dropped.link;
            } else {
                gaps.push(Gap {
                    incarnation: dropped.id.incarnation,
                    stream: dropped.id.stream,
                    range: dropped.range,
                    link_after: dropped.link,
                    reason,
                });
            }
        }
        for gap in &gaps {
            self.record_gap(self.state.node, gap)?;
        }
        self.declare(&gaps)
    }

    /// Declares gaps that are recorded already: those that a repair has left.
    ///
    /// # Errors
    /// A database fault.
    pub(super) fn declare(&mut self, gaps: &[Gap]) -> Result<(), WriteError> {
        // Well below the entries and bytes of a commit.
        for some in gaps.chunks(1_000) {
            let events: Vec<_> = some.iter().copied().map(Event::Gap).collect();
            self.append_events(&events)?;
        }
        Ok(())
    }

    /// Removes commits that a peer has acknowledged; the gap they leave is noted here only.
    ///
    /// # Errors
    /// A database fault.
    pub(super) fn drop_acknowledged(
        &mut self,
        commits: &[DroppedCommit],
    ) -> Result<(), WriteError> {
        for dropped in commits {
            self.remove(dropped.pos)?;
            self.note_removed(dropped)?;
        }
        Ok(())
    }

    /// Declares what was removed from an own chain because a peer had it, where it meets `range`:
    /// the peer lost it. Gives the number of entries.
    ///
    /// # Errors
    /// A database fault.
    pub fn explain(&mut self, no: ChainNo, range: Range) -> Result<u64, WriteError> {
        let mut gaps = self.view().gaps(no)?;
        gaps.retain(|gap| {
            let meets = gap.range.from <= range.to && range.from <= gap.range.to;
            meets && gap.reason == GapReason::Acknowledged
        });
        for gap in &mut gaps {
            gap.reason = GapReason::Quota;
            self.put(Table::Gap, &gap_key(no, gap), &encode_gap(gap))?;
        }
        self.declare(&gaps)?;
        Ok(gaps.iter().map(|gap| gap.range.count()).sum())
    }

    /// Notes a removed range that a peer has.
    fn note_removed(&mut self, dropped: &DroppedCommit) -> Result<(), WriteError> {
        let no = self.chain(&dropped.id)?.no;
        let gap = Gap {
            incarnation: dropped.id.incarnation,
            stream: dropped.id.stream,
            range: dropped.range,
            link_after: dropped.link,
            reason: GapReason::Acknowledged,
        };
        Ok(self.put_gap(no, gap)?)
    }

    /// Removes a commit for good.
    pub(super) fn remove(&mut self, pos: u64) -> Result<(), Fault> {
        let sql = "DELETE FROM commits WHERE pos=?1";
        let mut statement = self.connection.prepare_cached(sql).map_err(fault)?;
        statement.execute([pos as i64]).map_err(fault)?;
        Ok(())
    }

    /// Notes what a peer has on disk of a chain, so that retention may remove it here.
    ///
    /// # Errors
    /// A database fault.
    pub fn set_acked(
        &mut self,
        peer: &NodeId,
        chain: ChainNo,
        held: &RangeSet<FRONTIER_RANGES>,
    ) -> Result<(), WriteError> {
        let mut value = Vec::new();
        held.encode(&mut value)?;
        Ok(self.put(Table::Acked, &acked_key(peer, chain), &value)?)
    }

    /// Signs the ends of chains that were left unsigned when they fell silent.
    pub(super) fn sign_tails(&mut self) -> Result<(), Fault> {
        let now = self.state.env.monotonic_ms();
        for (no, seq) in std::mem::take(&mut self.state.unsigned) {
            let Some(info) = self.view().chain(no)? else { continue };
            if info.last() != seq {
                continue;
            }
            let message = checkpoint_message(&info.id, seq, &info.head);
            let signature = self.state.key.sign(&message);
            let sql = "UPDATE commits SET signature=?2 WHERE pos=(SELECT pos FROM commits
                       WHERE chain=?1 ORDER BY first DESC LIMIT 1) AND link=?3";
            let bounds = params![no.0, signature, info.head.0];
            self.connection.execute(sql, bounds).map_err(fault)?;
            self.state.checkpoints.insert(no, now);
        }
        Ok(())
    }
}

/// The key of what a peer acknowledged of a chain.
pub(super) fn acked_key(peer: &NodeId, chain: ChainNo) -> Vec<u8> {
    [peer.0.as_slice(), &chain.key()].concat()
}

/// A commit that is to be dropped.
#[derive(Clone, Debug)]
pub(super) struct DroppedCommit {
    pub pos: u64,
    pub id: ChainId,
    pub range: Range,
    pub link: Link,
}

pub(super) fn gap_key(no: ChainNo, gap: &Gap) -> Vec<u8> {
    [no.key().as_slice(), &gap.range.from.to_be_bytes()].concat()
}

pub(super) fn encode_gap(gap: &Gap) -> Vec<u8> {
    let mut out = Vec::new();
    let mut put = || -> Result<(), Reject> {
        out.put_uint(gap.incarnation.boot)?;
        out.put(&gap.incarnation.nonce.to_le_bytes())?;
        out.put_u8(gap.stream as u8)?;
        out.put_uint(gap.range.from)?;
        out.put_uint(gap.range.to)?;
        out.put(&gap.link_after.0)?;
        out.put_u8(gap.reason as u8)
    };
    put().expect("a growing buffer is never full");
    out
}

pub(super) fn decode_gap(value: &[u8]) -> Result<Gap, Fault> {
    let read = || -> Result<Gap, Reject> {
        let mut reader = Reader::new(value);
        let boot = reader.uint()?;
        let nonce = u64::from_le_bytes(reader.array()?);
        let stream = Stream::from_u8(reader.u8()?).ok_or(Reject::Malformed)?;
        let range = Range::new(reader.uint()?, reader.uint()?).ok_or(Reject::Malformed)?;
        let link_after = Link(reader.array()?);
        let reason = match reader.u8()? {
            1 => GapReason::Quota,
            2 => GapReason::Damaged,
            3 => GapReason::Acknowledged,
            _ => return Err(Reject::Malformed),
        };
        reader.finish()?;
        Ok(Gap { incarnation: Incarnation { boot, nonce }, stream, range, link_after, reason })
    };
    read().map_err(|reject| Fault::damaged("gap record", reject.code()))
}
