//! The log: every commit against its body, its chain and its signature, every chain against its
//! record.

use super::database::Claims;
use super::{Check, Place};
use crate::store::DATABASE;
use crate::store::chains::{ChainInfo, ChainNo};
use crate::store::commits::StoredCommit;
use crate::store::cover::Cover;
use crate::store::mark::Mark;
use crate::store::rescue::CommitRow;
use crate::store::snapshot::Snapshot;
use holdfast_core::Seq;
use holdfast_core::log::Link;
use holdfast_core::ranges::Range;
use rusqlite::Connection;
use std::collections::BTreeMap;

/// What the commits seen so far say of a chain.
#[derive(Debug, Default)]
struct Seen {
    held: Cover,
    /// Where the commit seen last ends, and the link there.
    end: Option<(Seq, Link)>,
    /// The link at the end of the chain's frontier.
    head: Option<Link>,
    /// Links at the sequences that the mark names.
    marked: Option<Link>,
}

/// Commits, one after another.
pub(super) struct Commits<'c, 'p> {
    check: &'c mut Check<'p>,
    view: Snapshot<'c>,
    claims: &'c Claims,
    seen: BTreeMap<ChainNo, Seen>,
    marked: BTreeMap<ChainNo, Seq>,
}

impl<'c, 'p> Commits<'c, 'p> {
    pub(super) fn new(
        check: &'c mut Check<'p>,
        connection: &'c Connection,
        claims: &'c Claims,
    ) -> Self {
        check.report.summary.chains = claims.chains.len() as u64;
        let view = Snapshot { connection };
        Self { check, view, claims, seen: BTreeMap::new(), marked: BTreeMap::new() }
    }

    /// Says which sequences the mark knows links of.
    pub(super) fn expect(mut self, mark: Option<&Mark>) -> Self {
        for marked in mark.map(|mark| mark.chains.as_slice()).unwrap_or_default() {
            let id = (marked.incarnation, marked.stream);
            let same = |info: &&ChainInfo| (info.id.incarnation, info.id.stream) == id;
            if let Some(info) = self.claims.chains.values().find(same) {
                self.marked.insert(info.no, marked.seq);
            }
        }
        self
    }

    pub(super) fn row(&mut self, row: &CommitRow) {
        let commit = &row.commit;
        let summary = &mut self.check.report.summary;
        summary.commits += 1;
        summary.segments += u64::from(commit.sealed);
        summary.entries += u64::from(commit.count);
        summary.body_bytes += commit.body.len() as u64;
        self.check.done.commits += 1;
        self.check.advance(commit.body.len() as u64 + 150);
        let Some(info) = self.claims.chains.get(&commit.chain) else {
            let found = format!("it belongs to chain number {}", commit.chain.0);
            return self.bad(commit, None, &found, "a chain that has a record");
        };
        if let Some((found, expected)) = row.body_fault(info.id.stream) {
            self.bad(commit, Some(info), &found, expected);
        }
        self.chain(commit, info);
        self.check.report.summary.signatures += u64::from(commit.signature.is_some());
        if !row.is_signed_well(&info.id) {
            let found = "its signature does not fit its link";
            self.bad(commit, Some(info), found, "the origin's signature");
        }
    }

    /// Checks the link and notes what the commit adds to its chain.
    fn chain(&mut self, commit: &StoredCommit, info: &ChainInfo) {
        let seen = self.seen.entry(commit.chain).or_default();
        let before = match seen.end {
            Some((end, link)) if end + 1 == commit.first => Some(link),
            // A damaged index finds nothing; that it is damaged was found before.
            _ => self.view.link_before(commit.chain, commit.first).ok().flatten(),
        };
        let range = Range { from: commit.first, to: commit.last() };
        let apart = seen.held.add(range);
        seen.end = Some((range.to, commit.link));
        if range.to == info.last() {
            seen.head = Some(commit.link);
        }
        if self.marked.get(&commit.chain) == Some(&range.to) {
            seen.marked = Some(commit.link);
        }
        if !apart {
            let found = "some of its sequences are in another commit, too";
            self.bad(commit, Some(info), found, "each sequence once");
        }
        let follows = commit.first == 1 || info.frontier.contains(commit.first - 1);
        match before {
            Some(before) => {
                if !commit.follows(&info.id, before) {
                    let found = "its link does not follow from its body and the link before";
                    self.bad(commit, Some(info), found, "an unbroken chain");
                }
            }
            None if follows => {
                self.bad(commit, Some(info), "the link before it is lost", "an unbroken chain");
            }
            None => self.check.report.summary.unproven += 1,
        }
    }

    fn bad(
        &mut self,
        commit: &StoredCommit,
        chain: Option<&ChainInfo>,
        found: &str,
        expected: &str,
    ) {
        let range = Some(Range { from: commit.first, to: commit.last() });
        let place = Place::Commit { pos: commit.pos, chain: chain.map(|info| info.id), range };
        self.check.damaged(DATABASE, place, found, expected);
    }

    /// Compares what was seen with what the chains' records and the mark say.
    pub(super) fn finish(mut self, mark: Option<&Mark>) {
        let claims = self.claims;
        for info in claims.chains.values() {
            let mut seen = self.seen.remove(&info.no).unwrap_or_default();
            let gaps = claims.gaps.get(&info.no).map(Vec::as_slice).unwrap_or_default();
            for gap in gaps {
                seen.held.add(gap.range);
                if gap.range.to == info.last() {
                    seen.head = seen.head.or(Some(gap.link_after));
                }
            }
            for range in seen.held.lacks(info.frontier.as_slice()) {
                let place = Place::Entries { chain: info.id, range };
                let found = "neither commits nor a gap";
                self.check.damaged(DATABASE, place, found, "the entries that its record names");
            }
            let claimed: Cover = info.frontier.as_slice().iter().copied().collect();
            let ranges: Vec<_> = seen.held.ranges().collect();
            for range in claimed.lacks(&ranges) {
                let place = Place::Entries { chain: info.id, range };
                let found = "commits or a gap that its record does not name";
                self.check.damaged(DATABASE, place, found, "a record that names them");
            }
            let head = if info.last() == 0 { Some(Link::START) } else { seen.head };
            if head.is_some_and(|head| head != info.head) {
                let found = "its record names another link than its last commit has";
                self.check.damaged(DATABASE, Place::Chain(info.id), found, "the same link");
            }
            self.against_mark(info, &seen, mark);
        }
        for no in claims.gaps.keys().filter(|no| !claims.chains.contains_key(no)) {
            let place =
                Place::Record { table: crate::store::Table::Gap as u8, key: no.key().into() };
            self.check.damaged(DATABASE, place, "a gap of an unknown chain", "a chain's record");
        }
        self.lost_chains(mark);
    }

    fn against_mark(&mut self, info: &ChainInfo, seen: &Seen, mark: Option<&Mark>) {
        let id = (info.id.incarnation, info.id.stream);
        let chains = mark.map(|mark| mark.chains.as_slice()).unwrap_or_default();
        let Some(marked) = chains.iter().find(|m| (m.incarnation, m.stream) == id) else { return };
        if let Some(range) = Range::new(info.last() + 1, marked.seq) {
            let place = Place::Entries { chain: info.id, range };
            let found = "they were committed before the mark was written and are not there";
            self.check.damaged(DATABASE, place, found, "the entries that the mark names");
        } else if seen.marked.is_some_and(|link| link != marked.link) {
            let found = format!("entry {} is another than the mark says", marked.seq);
            self.check.damaged(DATABASE, Place::Chain(info.id), found, "the marked link");
        }
    }

    /// Chains that the mark names and that have no record at all.
    fn lost_chains(&mut self, mark: Option<&Mark>) {
        for marked in mark.map(|mark| mark.chains.as_slice()).unwrap_or_default() {
            let id = (marked.incarnation, marked.stream);
            let mut known = self.claims.chains.values();
            if !known.any(|info| (info.id.incarnation, info.id.stream) == id) {
                let found = format!(
                    "no record of the {} stream of start {}, which the mark names",
                    marked.stream.name(),
                    marked.incarnation
                );
                self.check.damaged(DATABASE, Place::Structure, found, "the chain");
            }
        }
    }
}
