//! What to send next: new commits first, by stream; behind them the backlog, by stream and age.

use super::machine::{LocalChain, ReadRequest};
use crate::store::{ChainNo, Frontier};
use holdfast_core::ranges::Range;
use holdfast_core::{ChainId, Seq};
use std::collections::BTreeMap;

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
        let id = local.info.id;
        self.chains
            .insert(local.info.no, Sending { id, live_from: last + 1, last, backlog, theirs });
    }

    /// Learns how far the own chains are now.
    pub(super) fn advance(&mut self, no: ChainNo, id: ChainId, last: Seq) {
        let new =
            || Sending { id, live_from: 1, last: 0, backlog: Vec::new(), theirs: Frontier::new() };
        let chain = self.chains.entry(no).or_insert_with(new);
        chain.last = chain.last.max(last);
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
            return Some(ReadRequest { chain: *no, range, max_bytes, back: false, live: true });
        }
        let behind = self.chains.iter().filter(|(_, chain)| !chain.backlog.is_empty());
        let (no, chain) = behind.min_by_key(|(_, chain)| {
            let boot = chain.id.incarnation.boot;
            let age = if self.order == Backfill::NewestFirst { u64::MAX - boot } else { boot };
            (chain.id.stream, age)
        })?;
        let back = self.order == Backfill::NewestFirst;
        let range = if back { chain.backlog.last() } else { chain.backlog.first() };
        Some(ReadRequest { chain: *no, range: *range?, max_bytes, back, live: false })
    }

    /// Notes what a read brought: `sent` is the range of the commits found, if there were any.
    pub(super) fn done(&mut self, request: &ReadRequest, sent: Option<Range>) {
        let Some(chain) = self.chains.get_mut(&request.chain) else { return };
        if request.live {
            chain.live_from = sent.map_or(request.range.to, |range| range.to) + 1;
            return;
        }
        let at = if request.back { chain.backlog.len().checked_sub(1) } else { Some(0) };
        let Some(range) = at.and_then(|at| chain.backlog.get_mut(at)) else { return };
        let rest = match sent {
            None => None,
            Some(sent) if request.back => Range::new(range.from, sent.from - 1),
            Some(sent) => Range::new(sent.to + 1, range.to),
        };
        match (rest.filter(|rest| rest.from <= rest.to), at) {
            (Some(rest), _) => *range = rest,
            (None, Some(at)) => {
                chain.backlog.remove(at);
            }
            (None, None) => {}
        }
    }

    /// Takes what the peer says it holds of a chain now.
    pub(super) fn acked(&mut self, no: ChainNo, theirs: Frontier) {
        if let Some(chain) = self.chains.get_mut(&no) {
            chain.theirs = theirs;
        }
    }

    /// How many entries the peer has not acknowledged.
    pub(super) fn behind(&self) -> u64 {
        let missing = |chain: &Sending| {
            let all = Range::new(1, chain.last)?;
            Some(chain.theirs.missing(all).map(Range::count).sum::<u64>())
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

    #[test]
    fn a_range_that_was_removed_meanwhile_is_passed_over() {
        let mut plan = Plan::new(Backfill::NewestFirst);
        plan.add(&local(1, 1, Stream::Reading, 100), Frontier::new());
        let request = plan.next(1).unwrap();
        plan.done(&request, None);
        assert_eq!(plan.next(1), None);
    }
}
