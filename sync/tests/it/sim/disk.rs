//! A node's disk in the simulation: chains of real commits with the rules of the real store.

use super::Bug;
use holdfast_core::log::events::{self, Event, Gap, GapReason};
use holdfast_core::log::{Link, checkpoint_message};
use holdfast_core::ranges::Range;
use holdfast_core::{ChainId, Incarnation, NodeId, Seq, Stream};
use holdfast_sync::identity::NodeKey;
use holdfast_sync::session::{LocalChain, ReadRequest, RefusalCode};
use holdfast_sync::store::{ChainInfo, ChainNo, Frontier, Received, StoredCommit};
use std::collections::BTreeMap;
use std::rc::Rc;

/// A chain on a disk.
#[derive(Clone)]
pub struct Chain {
    pub info: ChainInfo,
    pub commits: BTreeMap<Seq, Rc<StoredCommit>>,
    /// Ends of removed ranges: the link after them, by the sequence that follows.
    gap_links: BTreeMap<Seq, Link>,
    pub acked: Frontier,
}

impl Chain {
    fn link_before(&self, seq: Seq) -> Option<Link> {
        if seq <= 1 {
            return Some(Link::START);
        }
        let before = self.commits.range(..seq).next_back().map(|(_, commit)| commit);
        let before = before.filter(|commit| commit.last() + 1 == seq).map(|commit| commit.link);
        before.or_else(|| self.gap_links.get(&seq).copied())
    }
}

/// What a node has on disk; a clone is a backup.
#[derive(Clone, Default)]
pub struct Disk {
    pub chains: BTreeMap<u32, Chain>,
    /// Commits that were stored although they were held.
    pub doubles: u64,
    /// What was removed because the peer had it, and is not declared.
    pub pruned: Vec<Gap>,
}

impl Disk {
    pub fn find(&self, id: &ChainId) -> Option<&Chain> {
        self.chains.values().find(|chain| chain.info.id == *id)
    }

    fn chain(&mut self, id: ChainId) -> &mut Chain {
        let found = self.chains.iter().find(|(_, chain)| chain.info.id == id).map(|(no, _)| *no);
        let no = found.unwrap_or(self.chains.len() as u32 + 1);
        self.chains.entry(no).or_insert_with(|| Chain {
            info: ChainInfo { no: ChainNo(no), id, frontier: Frontier::new(), head: Link::START },
            commits: BTreeMap::new(),
            gap_links: BTreeMap::new(),
            acked: Frontier::new(),
        })
    }

    /// Appends a commit of the disk's own node, signed with `key` if there is one.
    pub fn append(
        &mut self,
        id: ChainId,
        count: u32,
        body: Vec<u8>,
        key: Option<&NodeKey>,
    ) -> Rc<StoredCommit> {
        let chain = self.chain(id);
        let first = chain.info.last() + 1;
        let link = chain.info.head.next(&id, first, count, &body);
        let last = first + u64::from(count) - 1;
        let signature = key.map(|key| key.sign(&checkpoint_message(&id, last, &link)));
        let no = chain.info.no;
        let commit = Rc::new(StoredCommit {
            pos: 0,
            chain: no,
            first,
            count,
            link,
            signature,
            sealed: false,
            body,
        });
        chain.info.frontier.add(Range { from: first, to: last }).unwrap();
        chain.info.head = link;
        chain.commits.insert(first, Rc::clone(&commit));
        commit
    }

    /// Stores what a peer sent, by the rules of the store.
    pub fn accept(&mut self, run: &Received, bug: Bug) -> Result<Frontier, (RefusalCode, String)> {
        let fork = |seq| (RefusalCode::Fork, format!("chain {} at {seq}", run.chain()));
        let mut gaps = Vec::new();
        let mut doubles = 0;
        let chain = self.chain(run.chain());
        for commit in run.commits() {
            let next = |before: Link, commit: &StoredCommit| {
                before.next(&run.chain(), commit.first, commit.count, &commit.body) == commit.link
            };
            let before = chain.link_before(commit.first);
            let after = chain.commits.get(&(commit.last() + 1));
            if before.is_some_and(|before| !next(before, commit))
                || after.is_some_and(|after| !next(commit.link, after))
            {
                return Err(fork(commit.first));
            }
        }
        for commit in run.commits() {
            let range = Range { from: commit.first, to: commit.last() };
            let held = chain.info.frontier.covers(range);
            if held && bug != Bug::StoresTwice {
                continue;
            }
            doubles += u64::from(chain.commits.contains_key(&commit.first));
            if !held && chain.info.frontier.missing(range).next() != Some(range) {
                return Err(fork(commit.first));
            }
            let full = |_| (RefusalCode::NoRoom, "too many ranges".to_owned());
            chain.info.frontier.add(range).map_err(full)?;
            if range.to == chain.info.frontier.max() {
                chain.info.head = commit.link;
            }
            if run.chain().stream == Stream::Event {
                gaps.extend(declared(&commit.body));
            }
            if bug == Bug::LosesCommits && commit.link.0[0] < 24 {
                continue;
            }
            let stored = StoredCommit { chain: chain.info.no, ..commit.clone() };
            chain.commits.insert(commit.first, Rc::new(stored));
        }
        let frontier = chain.info.frontier.clone();
        self.doubles += doubles;
        if bug != Bug::IgnoresGaps {
            gaps.iter().for_each(|gap| self.note_gap(run.chain().origin, gap));
        }
        Ok(frontier)
    }

    fn note_gap(&mut self, origin: NodeId, gap: &Gap) {
        let id = ChainId { origin, incarnation: gap.incarnation, stream: gap.stream };
        let chain = self.chain(id);
        if gap.range.to > chain.info.frontier.max() {
            chain.info.head = gap.link_after;
        }
        chain.info.frontier.add(gap.range).expect("room for a gap");
        chain.gap_links.insert(gap.range.to + 1, gap.link_after);
    }

    /// Removes the oldest `max` commits of reading chains that `may` allows; returns their ranges,
    /// neighbours joined.
    pub fn remove_oldest(
        &mut self,
        max: usize,
        mut may: impl FnMut(&Chain, Range) -> bool,
    ) -> Vec<Gap> {
        let mut gaps: Vec<Gap> = Vec::new();
        let mut left = max;
        for chain in self.chains.values_mut().filter(|c| c.info.id.stream == Stream::Reading) {
            for first in chain.commits.keys().copied().collect::<Vec<_>>() {
                let commit = Rc::clone(&chain.commits[&first]);
                let range = Range { from: commit.first, to: commit.last() };
                if left == 0 || !may(chain, range) {
                    continue;
                }
                left -= 1;
                chain.commits.remove(&first);
                chain.gap_links.insert(range.to + 1, commit.link);
                let (incarnation, stream) = (chain.info.id.incarnation, chain.info.id.stream);
                match gaps.last_mut() {
                    Some(gap)
                        if gap.incarnation == incarnation && gap.range.to + 1 == range.from =>
                    {
                        gap.range.to = range.to;
                        gap.link_after = commit.link;
                    }
                    _ => gaps.push(Gap {
                        incarnation,
                        stream,
                        range,
                        link_after: commit.link,
                        reason: GapReason::Quota,
                    }),
                }
            }
        }
        gaps
    }

    /// Takes out what was removed undeclared where it meets `range`.
    pub fn unexplained(&mut self, no: ChainNo, range: Range) -> Vec<Gap> {
        let id = self.chains[&no.0].info.id;
        let meets = |gap: &mut Gap| {
            (gap.incarnation, gap.stream) == (id.incarnation, id.stream)
                && gap.range.from <= range.to
                && range.from <= gap.range.to
        };
        self.pruned.extract_if(.., meets).collect()
    }

    /// How far the chains of a start are.
    pub fn heads(&self, incarnation: Incarnation) -> Vec<(ChainNo, ChainId, u64)> {
        let own = self.chains.values().filter(|c| c.info.id.incarnation == incarnation);
        own.map(|chain| (chain.info.no, chain.info.id, chain.info.last())).collect()
    }

    pub fn load(&self) -> Vec<LocalChain> {
        let load =
            |chain: &Chain| LocalChain { info: chain.info.clone(), acked: chain.acked.clone() };
        self.chains.values().map(load).collect()
    }

    pub fn read(&self, request: &ReadRequest) -> (Vec<StoredCommit>, Option<Link>) {
        let chain = &self.chains[&request.chain.0];
        let Range { from, to } = request.range;
        let mut bytes = 0;
        let mut room = |commit: &Rc<StoredCommit>| {
            let room = bytes < request.max_bytes;
            bytes += commit.body.len() + 64;
            room
        };
        let mut out: Vec<StoredCommit> = Vec::new();
        if request.back {
            let back = chain.commits.range(from..=to).rev().map(|(_, commit)| commit);
            for commit in back.take_while(|commit| room(commit)) {
                if out.last().is_some_and(|next| commit.last() + 1 != next.first) {
                    break;
                }
                out.push(StoredCommit::clone(commit));
            }
            out.reverse();
        } else {
            let on = chain.commits.range(from..).map(|(_, commit)| commit);
            let on = on.filter(|commit| request.live || commit.last() <= to);
            for commit in on.take_while(|commit| room(commit)) {
                if out.last().is_some_and(|before| before.last() + 1 != commit.first) {
                    break;
                }
                out.push(StoredCommit::clone(commit));
            }
        }
        let before = out.first().and_then(|first| chain.link_before(first.first));
        (out, before)
    }
}

/// The gaps declared in a body of events.
pub fn declared(body: &[u8]) -> Vec<Gap> {
    let (_, events) = events::read(body).unwrap();
    let gap = |event| if let Ok(Event::Gap(gap)) = event { Some(gap) } else { None };
    events.filter_map(gap).collect()
}
