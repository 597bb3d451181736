//! Derived truth: chain records, gaps and seen sequences, made anew from the commits salvaged.

use super::copy::Salvaged;
use super::names::Names;
use super::notes::Notes;
use super::seen::Seen;
use super::walk::{Fix, Walk};
use crate::Fault;
use crate::identity::NodeKey;
use crate::store::chains::{ChainInfo, ChainNo, Frontier};
use crate::store::cover::Cover;
use crate::store::mark::Mark;
use crate::store::record::{Table, seal};
use crate::store::rescue;
use crate::store::schema::fault;
use crate::store::snapshot::Snapshot;
use crate::store::tx::{encode_gap, gap_key};
use holdfast_core::Stream;
use holdfast_core::codec::Reader;
use holdfast_core::limits::FRONTIER_RANGES;
use holdfast_core::log::events::{Gap, GapReason};
use holdfast_core::log::{Link, checkpoint_message};
use holdfast_core::ranges::{Range, RangeSet};
use rusqlite::{Connection, params};
use std::collections::BTreeSet;
use std::path::Path;

/// A repaired database whose chains are being made sound.
struct Rebuild<'a> {
    old: &'a Connection,
    new: &'a Connection,
    key: &'a NodeKey,
    notes: &'a mut Notes,
    seen: Seen,
}

/// Checks every chain of the new database, drops what cannot be proven and writes its records.
pub(super) fn rebuild(
    old: &Connection,
    new: &Connection,
    dir: &Path,
    key: &NodeKey,
    salvaged: &Salvaged,
    notes: &mut Notes,
) -> Result<(), Fault> {
    let mark = Mark::read(dir).ok().flatten();
    let view = Snapshot { connection: new };
    let names = Names::collect(&view, key.id(), salvaged, mark.as_ref())?;
    let mut numbers: BTreeSet<ChainNo> =
        salvaged.chains.keys().chain(salvaged.gaps.keys()).copied().collect();
    numbers.extend(rescue::chain_numbers(new)?);
    new.execute_batch("BEGIN").map_err(fault)?;
    let mut rebuild = Rebuild { old, new, key, notes, seen: Seen::default() };
    for no in numbers {
        let gaps = salvaged.gaps.get(&no).map(Vec::as_slice).unwrap_or_default();
        let known = match salvaged.chains.get(&no) {
            Some(info) => Some((info.clone(), true)),
            None => names.of(&view, no)?.map(|id| (ChainInfo::new(no, id), false)),
        };
        match known {
            Some((info, recorded)) => rebuild.chain(&info, recorded, gaps)?,
            None => rebuild.nameless(no)?,
        }
    }
    let seen = std::mem::take(&mut rebuild.seen);
    for (key, set) in seen.records(&view)? {
        let mut value = Vec::new();
        set.encode(&mut value).expect("a growing buffer is never full");
        rebuild.put(Table::Seen, &key, &value)?;
    }
    new.execute_batch("COMMIT").map_err(fault)
}

impl Rebuild<'_> {
    fn put(&self, table: Table, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        let sql = "INSERT OR REPLACE INTO records (tab, key, value) VALUES (?1, ?2, ?3)";
        let mut statement = self.new.prepare_cached(sql).map_err(fault)?;
        let sealed = seal(table, key, value);
        statement.execute(params![table as u8, key, sealed]).map_err(fault).map(drop)
    }

    /// A chain whose name is lost with its record, and that no known name fits.
    fn nameless(&mut self, no: ChainNo) -> Result<(), Fault> {
        let sql = "DELETE FROM commits WHERE chain=?1";
        let commits = self.new.execute(sql, [no.0]).map_err(fault)?;
        let sql = "DELETE FROM records WHERE tab=?1 AND substr(key, 1, 4)=?2";
        let gaps = params![Table::Gap as u8, no.key()];
        self.new.execute(sql, gaps).map_err(fault)?;
        self.notes.find(format!(
            "the name of chain number {} is lost, and {commits} commits with it",
            no.0
        ));
        Ok(())
    }

    fn chain(&mut self, info: &ChainInfo, recorded: bool, gaps: &[Gap]) -> Result<(), Fault> {
        let own = info.id.origin == self.key.id();
        let old = Snapshot { connection: self.old };
        let hint = |first| old.link_before(info.no, first).ok().flatten();
        let mut walk = Walk::new(info, gaps, own, &hint);
        let seen = &mut self.seen;
        let readings = own && info.id.stream == Stream::Reading;
        let mut keep = |commit: &_| {
            if readings {
                seen.take(commit);
            }
        };
        rescue::chain_commits(self.new, info.no, |row| walk.step(row, &mut keep))?;
        walk.end(&mut keep);
        self.apply(info, &walk.fixes)?;
        let mut covered = walk.held.clone();
        covered.extend(gaps.iter().map(|gap| gap.range));
        let claimed: Vec<Range> = if recorded {
            info.frontier.as_slice().to_vec()
        } else {
            Range::new(1, covered.max()).into_iter().collect()
        };
        let mut declared = Vec::new();
        for range in covered.lacks(&claimed) {
            let at_end = (range.to == info.last()).then_some(info.head);
            let link = walk.dropped.get(&range.to).copied().or(at_end);
            let link = link.or_else(|| hint(range.to + 1));
            declared.extend(self.lost(info, range, own.then_some(link).flatten())?);
        }
        covered.extend(declared.iter().map(|gap| gap.range));
        let ends = gaps.iter().chain(&declared).map(|gap| (gap.range.to, gap.link_after));
        self.record(info, &covered, walk.last.into_iter().chain(ends).collect())
    }

    /// Notes that a range is lost. With the link after it, it becomes a gap: known here only when a
    /// peer has the entries, else declared. Without, it leaves the frontier and can come again.
    fn lost(
        &mut self,
        info: &ChainInfo,
        range: Range,
        link: Option<Link>,
    ) -> Result<Option<Gap>, Fault> {
        let what = format!("entries {} to {} of {}", range.from, range.to, info.id);
        let Some(link_after) = link else {
            self.notes.find(format!("{what} were damaged here and will be asked for again"));
            return Ok(None);
        };
        let acked = self.acked(info.no)?.covers(range);
        let reason = if acked { GapReason::Acknowledged } else { GapReason::Damaged };
        let gap = Gap {
            incarnation: info.id.incarnation,
            stream: info.id.stream,
            range,
            link_after,
            reason,
        };
        self.put(Table::Gap, &gap_key(info.no, &gap), &encode_gap(&gap))?;
        if acked {
            self.notes.find(format!("{what} were damaged here; a peer has them"));
        } else {
            self.notes.find(format!("{what} are lost"));
            self.notes.gaps.push(gap);
        }
        Ok(Some(gap))
    }

    /// What any peer has acknowledged of a chain.
    fn acked(&self, no: ChainNo) -> Result<RangeSet<FRONTIER_RANGES>, Fault> {
        let view = Snapshot { connection: self.new };
        let mut all = RangeSet::new();
        for (key, value) in view.scan(Table::Acked, &[], &[], usize::MAX)? {
            if key.ends_with(&no.key())
                && let Ok(set) = RangeSet::<FRONTIER_RANGES>::decode(&mut Reader::new(&value))
            {
                // A union with too many ranges says less than it could, never more.
                let _ = all.union(&set);
            }
        }
        Ok(all)
    }

    fn apply(&mut self, info: &ChainInfo, fixes: &[Fix]) -> Result<(), Fault> {
        for fix in fixes {
            match fix {
                Fix::Drop { pos, range } => {
                    self.notes.find(format!(
                        "commit {pos} ({} {}..{}) is damaged or cannot be proven",
                        info.id, range.from, range.to
                    ));
                    let sql = "DELETE FROM commits WHERE pos=?1";
                    self.new.execute(sql, [*pos as i64]).map_err(fault)?;
                }
                Fix::Link { pos, link } => {
                    let sql = "UPDATE commits SET link=?2 WHERE pos=?1";
                    self.new.execute(sql, params![*pos as i64, link.0]).map_err(fault)?;
                }
                Fix::Signature { pos, seq, link } => {
                    let own = info.id.origin == self.key.id();
                    let message = checkpoint_message(&info.id, *seq, link);
                    let signature = own.then(|| self.key.sign(&message));
                    let sql = "UPDATE commits SET signature=?2 WHERE pos=?1";
                    self.new.execute(sql, params![*pos as i64, signature]).map_err(fault)?;
                }
                Fix::Filter { pos, filter } => {
                    let sql = "UPDATE commits SET t_min=?2, t_max=?3, filter=?4 WHERE pos=?1";
                    let row = params![*pos as i64, filter.t_min, filter.t_max, filter.series];
                    self.new.execute(sql, row).map_err(fault)?;
                }
            }
        }
        Ok(())
    }

    /// Writes the chain's record: as much of `covered`, from its end, as a frontier has room for.
    fn record(
        &mut self,
        info: &ChainInfo,
        covered: &Cover,
        ends: Vec<(u64, Link)>,
    ) -> Result<(), Fault> {
        let mut frontier = Frontier::new();
        let ranges: Vec<_> = covered.ranges().collect();
        let room = ranges.len().saturating_sub(FRONTIER_RANGES);
        for range in &ranges[..room] {
            let sql = "DELETE FROM commits WHERE chain=?1 AND first>=?2 AND first<=?3";
            let bounds = params![info.no.0, range.from as i64, range.to as i64];
            self.new.execute(sql, bounds).map_err(fault)?;
            self.notes.find(format!(
                "entries {} to {} of {} have no room in its frontier and will be sent again",
                range.from, range.to, info.id
            ));
        }
        for range in &ranges[room..] {
            frontier.add(*range).expect("as many ranges as it has room for");
        }
        let end = frontier.max();
        let head = ends.iter().find(|(seq, _)| *seq == end).map(|(_, link)| *link);
        let head = head.unwrap_or(if end == 0 { Link::START } else { info.head });
        let info = ChainInfo { no: info.no, id: info.id, frontier, head };
        self.put(Table::Chain, &info.no.key(), &info.encode())
    }
}
