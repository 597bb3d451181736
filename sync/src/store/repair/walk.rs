//! The walk along a salvaged chain: which commits are proven, and by what.
//!
//! A commit is kept when its body is canonical and its link follows from the one before: that of a
//! commit, of a declared gap, or the link that a damaged commit still bears. Where body and link do
//! not agree, the next commit tells which of the two is wrong.

use crate::store::chains::ChainInfo;
use crate::store::commits::{CommitFilter, StoredCommit};
use crate::store::cover::Cover;
use crate::store::received::check_signature;
use crate::store::rescue::CommitRow;
use holdfast_core::Seq;
use holdfast_core::log::Link;
use holdfast_core::log::events::Gap;
use holdfast_core::ranges::Range;
use std::collections::BTreeMap;

/// What has to change in a row.
#[derive(Debug)]
pub(super) enum Fix {
    /// It cannot be proven.
    Drop { pos: u64, range: Range },
    /// Its body is right and its link is this.
    Link { pos: u64, link: Link },
    /// Its link is right and its signature is not.
    Signature { pos: u64, seq: Seq, link: Link },
    /// Its times and filter follow anew from its body.
    Filter { pos: u64, filter: CommitFilter },
}

/// A walk under way.
pub(super) struct Walk<'a> {
    info: &'a ChainInfo,
    gaps: &'a [Gap],
    /// Only what this node wrote itself is there from its beginning.
    own: bool,
    /// The link before a sequence as the damaged database still gives it, though the commit that
    /// bears it cannot be read. A wrong one proves nothing, so it may be asked.
    hint: &'a dyn Fn(Seq) -> Option<Link>,
    /// Kept sequences.
    pub held: Cover,
    /// The last commit kept: its end and its link.
    pub last: Option<(Seq, Link)>,
    /// The links of dropped commits, by their ends.
    pub dropped: BTreeMap<Seq, Link>,
    pub fixes: Vec<Fix>,
    /// A commit whose body or link is wrong, and the link that its body asks for.
    open: Option<(CommitRow, Link)>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        info: &'a ChainInfo,
        gaps: &'a [Gap],
        own: bool,
        hint: &'a dyn Fn(Seq) -> Option<Link>,
    ) -> Self {
        Self {
            info,
            gaps,
            own,
            hint,
            held: Cover::default(),
            last: None,
            dropped: BTreeMap::new(),
            fixes: Vec::new(),
            open: None,
        }
    }

    /// Takes the next commit of the chain in the order of first sequences, and hands those that
    /// are found good, this one or the one before it, to `keep`.
    pub(super) fn step(&mut self, row: CommitRow, keep: &mut dyn FnMut(&StoredCommit)) {
        if let Some((open, link)) = self.open.take() {
            let next = &row.commit;
            let follows = next.first == open.commit.last() + 1;
            if follows && next.intact(&self.info.id, link) {
                self.relink(open, link, keep);
            } else if follows {
                self.drop(&open.commit);
            } else {
                self.judge_alone(open, link, keep);
            }
        }
        let commit = &row.commit;
        if self.last.is_some_and(|(end, _)| commit.first <= end) {
            return self.drop(commit);
        }
        let before = self.before(commit.first);
        if before.iter().any(|link| commit.intact(&self.info.id, *link)) {
            return self.keep(row, keep);
        }
        let stream = self.info.id.stream;
        let canonical = commit.check(stream).is_ok();
        let link = before.first().map(|before| commit.link_after(&self.info.id, *before));
        match link {
            Some(Ok(link)) if canonical => self.open = Some((row, link)),
            // What a peer sent before the part below it arrived: the peer's signature will tell.
            None if canonical && !self.own => self.keep(row, keep),
            _ => self.drop(commit),
        }
    }

    /// Judges a commit that was still in question.
    pub(super) fn end(&mut self, keep: &mut dyn FnMut(&StoredCommit)) {
        if let Some((open, link)) = self.open.take() {
            self.judge_alone(open, link, keep);
        }
    }

    /// No next commit tells which is wrong; a signature or the chain's record may.
    fn judge_alone(&mut self, row: CommitRow, link: Link, keep: &mut dyn FnMut(&StoredCommit)) {
        let commit = &row.commit;
        let signed = commit.signature.is_some_and(|signature| {
            check_signature(&self.info.id, commit.last(), &link, &signature).is_ok()
        });
        if signed || (commit.last() == self.info.last() && link == self.info.head) {
            self.relink(row, link, keep);
        } else {
            self.drop(commit);
        }
    }

    /// Links that may precede `first`, the surest first.
    fn before(&self, first: Seq) -> Vec<Link> {
        if first == 1 {
            return vec![Link::START];
        }
        let kept = self.last.filter(|(end, _)| end + 1 == first).map(|(_, link)| link);
        let gap = self.gaps.iter().find(|gap| gap.range.to == first - 1);
        let dropped = self.dropped.get(&(first - 1)).copied();
        let known = [kept, gap.map(|gap| gap.link_after), dropped];
        let mut known: Vec<_> = known.into_iter().flatten().collect();
        if known.is_empty() {
            known.extend((self.hint)(first));
        }
        known
    }

    fn relink(&mut self, mut row: CommitRow, link: Link, keep: &mut dyn FnMut(&StoredCommit)) {
        self.fixes.push(Fix::Link { pos: row.commit.pos, link });
        row.commit.link = link;
        self.keep(row, keep);
    }

    fn keep(&mut self, row: CommitRow, keep: &mut dyn FnMut(&StoredCommit)) {
        let CommitRow { commit, filter } = row;
        let (pos, seq, link) = (commit.pos, commit.last(), commit.link);
        let of_body = commit.filter(self.info.id.stream);
        if let Ok(right) = of_body
            && right != filter
        {
            self.fixes.push(Fix::Filter { pos, filter: right });
        }
        let id = &self.info.id;
        if commit.signature.is_some_and(|s| check_signature(id, seq, &link, &s).is_err()) {
            self.fixes.push(Fix::Signature { pos, seq, link });
        }
        self.held.add(Range { from: commit.first, to: seq });
        self.last = Some((seq, link));
        keep(&commit);
    }

    fn drop(&mut self, commit: &StoredCommit) {
        let range = Range { from: commit.first, to: commit.last() };
        self.fixes.push(Fix::Drop { pos: commit.pos, range });
        self.dropped.insert(range.to, commit.link);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::chains::ChainNo;
    use holdfast_core::log::events::{Event, Severity, start_body};
    use holdfast_core::{ChainId, Incarnation, NodeId, Stream, Timestamp};

    const ID: ChainId = ChainId {
        origin: NodeId([3; 32]),
        incarnation: Incarnation { boot: 1, nonce: 2 },
        stream: Stream::Event,
    };

    fn body(n: u64) -> Vec<u8> {
        let mut out = Vec::new();
        start_body(&mut out, Timestamp(n as i64 * 1_000_000)).unwrap();
        let event = Event::Notice { severity: Severity::Info, code: "n", text: "t" };
        event.encode(&mut out, Vec::new()).unwrap();
        out
    }

    fn chain(n: u64) -> Vec<CommitRow> {
        let mut link = Link::START;
        let rows = (1..=n).map(|first| {
            let body = body(first);
            link = link.next(&ID, first, 1, &body);
            let (pos, chain, signature, sealed) = (first, ChainNo(1), None, false);
            let commit =
                StoredCommit { pos, chain, first, count: 1, link, signature, sealed, body };
            let filter = commit.filter(Stream::Event).unwrap();
            CommitRow { commit, filter }
        });
        rows.collect()
    }

    /// Walks `rows` as an own chain that once had `n` entries; returns what was kept.
    fn kept(rows: Vec<CommitRow>, n: usize) -> Vec<u64> {
        let mut info = ChainInfo::new(ChainNo(1), ID);
        let whole = chain(n as u64);
        info.frontier.add(Range::new(1, n as u64).unwrap()).unwrap();
        info.head = whole[n - 1].commit.link;
        let mut walk = Walk::new(&info, &[], true, &|_| None);
        let mut out = Vec::new();
        for row in rows {
            walk.step(row, &mut |commit| out.push(commit.first));
        }
        walk.end(&mut |commit| out.push(commit.first));
        out
    }

    #[test]
    fn a_damaged_body_costs_its_own_commit_and_no_other() {
        for at in 0..5 {
            let mut rows = chain(5);
            rows[at].commit.body = body(99);
            let expected: Vec<_> = (1..=5).filter(|first| *first != at as u64 + 1).collect();
            assert_eq!(kept(rows, 5), expected);
        }
    }

    #[test]
    fn a_damaged_link_costs_nothing() {
        for at in 0..5 {
            let mut rows = chain(5);
            rows[at].commit.link.0[0] ^= 1;
            assert_eq!(kept(rows, 5), [1, 2, 3, 4, 5]);
        }
    }

    #[test]
    fn behind_a_lost_row_the_next_one_cannot_be_proven_and_its_followers_can() {
        let mut rows = chain(5);
        rows.remove(1);
        assert_eq!(kept(rows, 5), [1, 4, 5]);
    }

    #[test]
    fn rows_that_claim_the_same_sequence_leave_one() {
        let mut rows = chain(3);
        let mut double = chain(3).remove(1);
        double.commit.pos = 9;
        rows.insert(2, double);
        assert_eq!(kept(rows, 3), [1, 2, 3]);
    }
}
