//! What must hold at any time and in the end, written against the model and not against the code.

use super::Fault;
use super::disk::{Disk, declared};
use super::world::{EDGE, HUB};
use holdfast_core::log::Link;
use holdfast_core::log::events::Gap;
use holdfast_core::ranges::Range;
use holdfast_core::{ChainId, Seq, Stream};
use holdfast_sync::session::{
    End, FRAME_MAX_BYTES, Frame, FrameReader, LocalChain, ReadRequest, RefusalCode,
};
use holdfast_sync::store::{ChainNo, Frontier, Received, StoredCommit};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Bytes that may be under way on a link of 2 kB/s: the first burst, one reading of the store and
/// one commit.
pub const THIN_UNDER_WAY: u64 = 24 << 10;

/// Watches a world and remembers what was wrong first.
#[derive(Default)]
pub struct Judge {
    pub wrong: Option<String>,
    pub struck: BTreeMap<Fault, u64>,
    pub behind: Option<u64>,
    pub held_up_in_the_dark: u64,
    pub unreachable: u64,
    pub unfinished_stores: u64,
    pub sent_back: u64,
    pub timeouts: u64,
    pub max_under_way: u64,
    pub event_latency_max: u64,
    pub commits: u64,
    truth: BTreeMap<(ChainId, Seq), (u64, Rc<StoredCommit>)>,
    gaps: Vec<Gap>,
    loaded: BTreeMap<ChainNo, u64>,
    told: BTreeMap<ChainNo, u64>,
    live: BTreeMap<ChainNo, u64>,
    sent: u64,
    acked: u64,
}

impl Judge {
    fn find(&mut self, wrong: String) {
        self.wrong.get_or_insert(wrong);
    }

    pub fn struck(&mut self, fault: Fault) {
        *self.struck.entry(fault).or_default() += 1;
    }

    pub fn committed(&mut self, now: u64, id: ChainId, commit: &Rc<StoredCommit>) {
        self.commits += 1;
        if id.stream == Stream::Event {
            self.gaps.extend(declared(&commit.body));
        }
        self.truth.insert((id, commit.first), (now, Rc::clone(commit)));
    }

    pub fn loaded(&mut self, chains: &[LocalChain]) {
        self.loaded = chains.iter().map(|c| (c.info.no, c.info.last())).collect();
    }

    /// The session was told how far a chain is.
    pub fn told(&mut self, no: ChainNo, last: u64) {
        self.told.insert(no, last);
    }

    pub fn sent_live(&mut self, no: ChainNo, to: u64) {
        self.live.insert(no, to);
    }

    /// At any time: no backlog leaves while a new entry waits.
    pub fn reads(&mut self, request: &ReadRequest, edge: &Disk, hub: &Disk) {
        let waits = |(no, last): (&ChainNo, &u64)| {
            let known = self.loaded.get(no).max(self.live.get(no)).copied().unwrap_or(0);
            let at_hub = edge.chains.get(&no.0).and_then(|chain| hub.find(&chain.info.id));
            // A chain full of holes is mended in order.
            let holes = at_hub.map_or(0, |chain| chain.info.frontier.as_slice().len());
            *last > known && holes < 24
        };
        if !request.live && self.told.iter().any(waits) {
            self.find(format!("backlog leaves before new entries: {request:?}"));
        }
    }

    /// At any time: what the hub acknowledges is on its disk.
    pub fn acked(&mut self, no: ChainNo, held: &Frontier, edge: &Disk, hub: &Disk) {
        let id = edge.chains[&no.0].info.id;
        let at_hub = hub.find(&id).map(|chain| &chain.info.frontier);
        let covered = |range: &Range| at_hub.is_some_and(|frontier| frontier.covers(*range));
        if !held.as_slice().iter().all(covered) {
            self.find(format!("{id} is acknowledged ahead of the hub's disk"));
        }
    }

    /// At any time: what is stored is what was committed, once.
    pub fn stored(&mut self, now: u64, at: usize, runs: &[(u32, Received)], doubles: u64) {
        if doubles > 0 {
            self.find("a commit was stored twice".to_owned());
        }
        for (_, run) in runs {
            for commit in run.commits() {
                let truth = self.truth.get(&(run.chain(), commit.first));
                let same = |(_, truth): &&(u64, Rc<StoredCommit>)| {
                    (truth.link, truth.count, &truth.body)
                        == (commit.link, commit.count, &commit.body)
                };
                match truth.filter(same) {
                    None => self.find(format!(
                        "{} {}: not what was committed",
                        run.chain(),
                        commit.first
                    )),
                    Some((when, _)) if at == HUB && run.chain().stream == Stream::Event => {
                        self.event_latency_max = self.event_latency_max.max(now - when);
                    }
                    Some(_) => self.sent_back += u64::from(at == EDGE),
                }
            }
        }
    }

    /// At any time: frames are small and little is under way on a thin link.
    pub fn sends(&mut self, from: usize, frame: &[u8], thin: bool) {
        if frame.len() > FRAME_MAX_BYTES + 4 {
            self.find(format!("a frame of {} bytes", frame.len()));
        }
        let mut reader = FrameReader::default();
        reader.push(frame);
        if let (EDGE, Ok(Some(Frame::Data(bytes)))) = (from, reader.next_frame()) {
            self.sent += bytes.len() as u64;
        }
        let under_way = self.sent - self.acked;
        if thin {
            self.max_under_way = self.max_under_way.max(under_way);
        }
        if thin && under_way > THIN_UNDER_WAY {
            self.find(format!("{under_way} bytes are under way on a thin link"));
        }
    }

    pub fn hears(&mut self, to: usize, frame: &Frame) {
        if let (EDGE, Frame::Ack { consumed, .. }) = (to, frame) {
            self.acked = self.acked.max(*consumed);
        }
    }

    /// At any time: two honest nodes never find fault with each other.
    pub fn ended(&mut self, end: &End) {
        if end.code != RefusalCode::Unavailable {
            self.find(format!("a session ended: {end:?}"));
        }
        self.timeouts += u64::from(end.reason.contains("nothing was heard"));
    }

    /// The edge's session is over.
    pub fn closed(&mut self) {
        (self.sent, self.acked, self.behind) = (0, 0, None);
        self.loaded.clear();
        self.told.clear();
        self.live.clear();
    }

    /// Whether everything has arrived and the edge knows it.
    pub fn settled(&self, edge: &Disk, hub: &Disk) -> bool {
        let same = |(a, b): (&Disk, &Disk)| {
            a.chains.values().all(|chain| {
                let other = b.find(&chain.info.id);
                other.is_some_and(|other| other.info.frontier == chain.info.frontier)
            })
        };
        self.behind == Some(0) && same((edge, hub)) && same((hub, edge))
    }

    /// In the end: the same history on both sides, whole but for declared gaps.
    pub fn finish(&mut self, edge: &Disk, hub: &Disk) {
        if !self.settled(edge, hub) {
            let frontiers = |disk: &Disk| -> Vec<String> {
                let chains = disk.chains.values();
                chains.map(|c| format!("{} {:?}", c.info.id, c.info.frontier.as_slice())).collect()
            };
            let (behind, edge, hub) = (self.behind, frontiers(edge), frontiers(hub));
            return self
                .find(format!("no progress: behind {behind:?}\n edge {edge:#?}\n hub {hub:#?}"));
        }
        for ((id, first), (_, commit)) in &self.truth {
            let Some(chain) = hub.find(id) else { continue };
            let held = chain.commits.get(first);
            let declared = || {
                self.gaps.iter().any(|gap| {
                    (gap.incarnation, gap.stream) == (id.incarnation, id.stream)
                        && gap.range.from <= *first
                        && commit.last() <= gap.range.to
                })
            };
            let wrong = match held {
                None if chain.info.frontier.contains(*first) && !declared() => "is missing",
                Some(held) if (held.link, &held.body) != (commit.link, &commit.body) => "differs",
                _ => continue,
            };
            self.wrong.get_or_insert(format!("{id} {first} {wrong} at the hub"));
        }
        for (what, disk) in [("edge", edge), ("hub", hub)] {
            if let Some(wrong) = torn(disk) {
                self.find(format!("the {what}'s chain {wrong} does not verify"));
            }
        }
    }
}

/// The first chain whose links do not follow from its content.
fn torn(disk: &Disk) -> Option<ChainId> {
    let torn = disk.chains.values().find(|chain| {
        let (mut next, mut link) = (1, Link::START);
        chain.commits.values().any(|commit| {
            let expected = link.next(&chain.info.id, commit.first, commit.count, &commit.body);
            let fits = commit.first != next || expected == commit.link;
            (next, link) = (commit.last() + 1, commit.link);
            !fits
        })
    });
    torn.map(|chain| chain.info.id)
}
