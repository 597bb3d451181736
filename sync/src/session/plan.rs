//! What to send next: new commits first, by stream; behind them the backlog, by stream and age.

use super::io::{LocalChain, ReadRequest};
use crate::store::{ChainNo, Frontier};
use holdfast_core::limits::FRONTIER_RANGES;
use holdfast_core::ranges::Range;
use holdfast_core::{ChainId, Seq};
use std::collections::BTreeMap;

/// A peer remembers a bounded number of ranges of a chain. A chain with this many holes is mended
/// from its oldest hole on, new entries last, because every entry then joins a range that is held.
const MEND_RANGES: usize = FRONTIER_RANGES / 2;

/// In which order a backlog is sent within a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backfill {
    /// The most recent past first: a chart fills from now backwards.
    #[default]
    NewestFirst,
    /// As it happened.
    OldestFirst,
}

#[derive(Debug)]
struct Sending {
    id: ChainId,
    /// Everything from here on is new since the session began.
    live_from: Seq,
    last: Seq,
    /// Parts of the backlog not yet read, ascending.
    backlog: Vec<Range>,
    theirs: Frontier,
    /// What was found to be no longer here when its turn came: nobody waits for it.
    passed: Frontier,
    mend: bool,
}

impl Sending {
    fn new(id: ChainId, last: Seq) -> Self {
        let (backlog, theirs, passed) = (Vec::new(), Frontier::new(), Frontier::new());
        Self { id, live_from: last + 1, last, backlog, theirs, passed, mend: false }
    }

    /// Notes the part of a request for which there was nothing, and gives it.
    fn pass(&mut self, request: &ReadRequest, sent: Option<Range>) -> Option<Range> {
        let Range { from, to } = request.range;
        let hole = match sent {
            None => Some(request.range),
            Some(sent) if request.back => Range::new(sent.to + 1, to),
            Some(sent) => Range::new(from, sent.from - 1),
        };
        if let Some(hole) = hole {
            // Without room the count of what is behind stays high; nothing else depends on it.
            let _ = self.passed.add(hole);
        }
        hole
    }
}

/// The sender's half of a session.
#[derive(Debug, Default)]
pub(super) struct Plan {
    chains: BTreeMap<ChainNo, Sending>,
    order: Backfill,
}

impl Plan {
    pub(super) fn new(order: Backfill) -> Self {
        Self { chains: BTreeMap::new(), order }
    }

    /// Adds a chain of which the peer holds `theirs`.
    pub(super) fn add(&mut self, local: &LocalChain, theirs: Frontier) {
        let last = local.info.last();
        let backlog =
            local.info.frontier.as_slice().iter().flat_map(|held| theirs.missing(*held)).collect();
        let mend = theirs.as_slice().len() >= MEND_RANGES;
        let chain = Sending { theirs, backlog, mend, ..Sending::new(local.info.id, last) };
        self.chains.insert(local.info.no, chain);
    }

    /// Learns how far the own chains are now.
    pub(super) fn advance(&mut self, no: ChainNo, id: ChainId, last: Seq) {
        let chain = self.chains.entry(no).or_insert_with(|| Sending::new(id, 0));
        chain.last = chain.last.max(last);
        if chain.mend && chain.live_from <= chain.last {
            let new = Range { from: chain.live_from, to: chain.last };
            match chain.backlog.last_mut() {
                Some(range) if range.to + 1 == new.from => range.to = new.to,
                _ => chain.backlog.push(new),
            }
            chain.live_from = chain.last + 1;
        }
    }

    pub(super) fn chain(&self, no: ChainNo) -> Option<ChainId> {
        self.chains.get(&no).map(|chain| chain.id)
    }

    /// What to read next, `None` when everything was sent.
    pub(super) fn next(&self, max_bytes: usize) -> Option<ReadRequest> {
        let live = self.chains.iter().filter(|(_, chain)| chain.live_from <= chain.last);
        let live = live.min_by_key(|(_, chain)| chain.id.stream);
        if let Some((no, chain)) = live {
            let range = Range { from: chain.live_from, to: chain.last };
            let (chain, stream) = (*no, chain.id.stream);
            return Some(ReadRequest { chain, stream, range, max_bytes, back: false, live: true });
        }
        let behind = self.chains.iter().filter(|(_, chain)| !chain.backlog.is_empty());
        let (no, chain) = behind.min_by_key(|(_, chain)| {
            let boot = chain.id.incarnation.boot;
            let age = if self.order == Backfill::NewestFirst { u64::MAX - boot } else { boot };
            (chain.id.stream, age)
        })?;
        let back = self.order == Backfill::NewestFirst && !chain.mend;
        let range = if back { chain.backlog.last() } else { chain.backlog.first() };
        let (chain, stream, range) = (*no, chain.id.stream, *range?);
        Some(ReadRequest { chain, stream, range, max_bytes, back, live: false })
    }

    /// Notes what a read brought: `sent` is the range of the commits found, if there were any.
    /// Gives the part of a backlog that the peer lacks and this side has no more.
    pub(super) fn done(&mut self, request: &ReadRequest, sent: Option<Range>) -> Option<Range> {
        let chain = self.chains.get_mut(&request.chain)?;
        let hole = chain.pass(request, sent);
        if request.live {
            chain.live_from = sent.map_or(request.range.to, |range| range.to) + 1;
            return None;
        }
        let at = if request.back { chain.backlog.len().checked_sub(1) } else { Some(0) };
        let range = at.and_then(|at| chain.backlog.get_mut(at))?;
        let rest = match sent {
            None => None,
            Some(sent) if request.back => Range::new(range.from, sent.from - 1),
            Some(sent) => Range::new(sent.to + 1, range.to),
        };
        match (rest.filter(|rest| rest.from <= rest.to), at) {
            (Some(rest), _) => *range = rest,
            (None, Some(at)) => {
                chain.backlog.remove(at);
                chain.mend &= !chain.backlog.is_empty();
            }
            (None, None) => {}
        }
        hole
    }

    /// Takes what the peer says it holds of a chain, and returns all it is known to hold. What it
    /// has it keeps, so acknowledgements are joined: one that was overtaken takes nothing back.
    pub(super) fn acked(&mut self, no: ChainNo, theirs: Frontier) -> Frontier {
        let Some(chain) = self.chains.get_mut(&no) else { return theirs };
        if chain.theirs.union(&theirs).is_err() {
            chain.theirs = theirs;
        }
        chain.theirs.clone()
    }

    /// How many entries are still to be acknowledged by the peer.
    pub(super) fn behind(&self) -> u64 {
        let missing = |chain: &Sending| {
            let all = Range::new(1, chain.last)?;
            let missing = chain.theirs.missing(all);
            let due = missing.flat_map(|range| chain.passed.missing(range));
            Some(due.map(Range::count).sum::<u64>())
        };
        self.chains.values().filter_map(missing).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ChainInfo;
    use holdfast_core::log::Link;
    use holdfast_core::{Incarnation, NodeId, Stream};

    fn local(no: u32, boot: u64, stream: Stream, last: Seq) -> LocalChain {
        let incarnation = Incarnation { boot, nonce: 1 };
        let id = ChainId { origin: NodeId([1; 32]), incarnation, stream };
        let mut frontier = Frontier::new();
        frontier.add(Range::new(1, last).unwrap()).unwrap();
        let info = ChainInfo { no: ChainNo(no), id, frontier, head: Link::START };
        LocalChain { info, acked: Frontier::new() }
    }

    fn taken(plan: &mut Plan) -> Option<(u32, u64, u64, bool)> {
        let request = plan.next(1)?;
        // A store that gives one commit of at most ten entries at a time.
        let Range { from, to } = request.range;
        let (from, to) = if request.back {
            (from.max(to.saturating_sub(9)), to)
        } else {
            (from, to.min(from + 9))
        };
        plan.done(&request, Some(Range { from, to }));
        Some((request.chain.0, from, to, request.live))
    }

    #[test]
    fn live_entries_leave_before_any_backlog_entry() {
        let mut plan = Plan::new(Backfill::NewestFirst);
        let chain = local(1, 1, Stream::Reading, 1000);
        plan.add(&chain, Frontier::new());
        assert_eq!(taken(&mut plan), Some((1, 991, 1000, false)));
        plan.advance(ChainNo(1), chain.info.id, 1003);
        assert_eq!(taken(&mut plan), Some((1, 1001, 1003, true)), "new ones overtake");
        assert_eq!(taken(&mut plan), Some((1, 981, 990, false)));
    }

    #[test]
    fn streams_go_by_priority_and_starts_by_age() {
        for (order, starts) in [(Backfill::NewestFirst, [3, 2]), (Backfill::OldestFirst, [2, 3])] {
            let mut plan = Plan::new(order);
            plan.add(&local(1, 1, Stream::Event, 5), Frontier::new());
            plan.add(&local(2, 1, Stream::Reading, 5), Frontier::new());
            plan.add(&local(3, 2, Stream::Reading, 5), Frontier::new());
            let chains: Vec<_> = std::iter::from_fn(|| taken(&mut plan)).map(|t| t.0).collect();
            assert_eq!(chains, [1, starts[0], starts[1]]);
        }
    }

    #[test]
    fn exactly_what_the_peer_lacks_is_sent_in_both_orders() {
        for order in [Backfill::NewestFirst, Backfill::OldestFirst] {
            let mut plan = Plan::new(order);
            let mut theirs = Frontier::new();
            theirs.add(Range::new(20, 40).unwrap()).unwrap();
            plan.add(&local(1, 1, Stream::Reading, 100), theirs.clone());
            assert_eq!(plan.behind(), 79);
            while let Some((_, from, to, _)) = taken(&mut plan) {
                let range = Range::new(from, to).unwrap();
                assert_eq!(theirs.missing(range).collect::<Vec<_>>(), [range], "sent twice");
                theirs.add(range).unwrap();
            }
            assert!(theirs.covers(Range::new(1, 100).unwrap()));
            plan.acked(ChainNo(1), theirs);
            assert_eq!(plan.behind(), 0);
        }
    }

    /// Every cut leaves a hole, and a peer remembers 64 ranges of a chain. With newest first and
    /// live entries in front, the 65th cut made the hub refuse whatever it was offered, for ever.
    #[test]
    fn many_cuts_never_take_more_ranges_than_a_frontier_has() {
        for order in [Backfill::NewestFirst, Backfill::OldestFirst] {
            let mut theirs = Frontier::new();
            let mut last = 1000;
            for _ in 0..500 {
                let mut plan = Plan::new(order);
                plan.add(&local(1, 1, Stream::Reading, last), theirs.clone());
                last += 20;
                plan.advance(ChainNo(1), local(1, 1, Stream::Reading, 1).info.id, last);
                let (_, from, to, _) = taken(&mut plan).unwrap();
                theirs.add(Range::new(from, to).unwrap()).expect("room for the range");
                last += 20;
            }
            let mut plan = Plan::new(order);
            plan.add(&local(1, 1, Stream::Reading, last), theirs.clone());
            while let Some((_, from, to, _)) = taken(&mut plan) {
                theirs.add(Range::new(from, to).unwrap()).expect("room for the range");
            }
            assert_eq!(theirs.count(), last);
        }
    }

    #[test]
    fn what_is_gone_when_its_turn_comes_is_not_behind() {
        let mut plan = Plan::new(Backfill::NewestFirst);
        plan.add(&local(1, 1, Stream::Reading, 100), Frontier::new());
        let request = plan.next(1).unwrap();
        plan.done(&request, Range::new(51, 90));
        let mut theirs = Frontier::new();
        theirs.add(Range::new(51, 90).unwrap()).unwrap();
        plan.acked(ChainNo(1), theirs);
        assert_eq!(plan.behind(), 50);
        let request = plan.next(1).unwrap();
        plan.done(&request, None);
        assert_eq!(plan.behind(), 0);
    }

    /// Two batches were stored in the other order than they came in, and the acknowledgement that
    /// was made first came last: the gateway took the hub to lack what it had, for good.
    #[test]
    fn an_overtaken_acknowledgement_takes_nothing_back() {
        let mut plan = Plan::new(Backfill::NewestFirst);
        plan.add(&local(1, 1, Stream::Reading, 100), Frontier::new());
        let of = |from, to| {
            let mut set = Frontier::new();
            set.add(Range::new(from, to).unwrap()).unwrap();
            set
        };
        plan.acked(ChainNo(1), of(1, 100));
        let known = plan.acked(ChainNo(1), of(1, 50));
        assert_eq!((known, plan.behind()), (of(1, 100), 0));
    }

    #[test]
    fn a_range_that_was_removed_meanwhile_is_passed_over() {
        let mut plan = Plan::new(Backfill::NewestFirst);
        plan.add(&local(1, 1, Stream::Reading, 100), Frontier::new());
        let request = plan.next(1).unwrap();
        plan.done(&request, None);
        assert_eq!(plan.next(1), None);
    }
}
