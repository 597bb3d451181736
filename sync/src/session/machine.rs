//! The machine: hello, lists, then both halves at once, with acknowledgements and deadlines.

use super::PROTOCOL;
use super::flow::Flow;
use super::frame::{FRAME_MAX_BYTES, Frame, Held, Hello, RefusalCode, closed_digest};
use super::history::{HistoryReader, Writer};
use super::plan::{Backfill, Plan};
use super::policy::{Admission, Policy};
use crate::identity::Membership;
use crate::store::{ChainInfo, ChainNo, Frontier, Received, StoredCommit};
use holdfast_core::log::Link;
use holdfast_core::ranges::Range;
use holdfast_core::{ChainId, Incarnation, NodeId, Reject};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

const HANDSHAKE_MS: u64 = 20_000;
/// A peer that says nothing for this long is gone.
const SILENCE_MS: u64 = 60_000;
/// The same while something is under way; the other side then says something every `BUSY_MS`.
const STALLED_MS: u64 = 20_000;
const IDLE_MS: u64 = 25_000;
const BUSY_MS: u64 = 5_000;
const BEHIND_MS: u64 = 1_000;
/// Bytes of records that a peer may send ahead of our commits.
const WINDOW_BYTES: u64 = 8 << 20;
const READ_MIN_BYTES: u64 = 4 << 10;
const READ_MAX_BYTES: u64 = 256 << 10;
/// Chains that a peer may list: 200 years of daily starts.
const LISTED_MAX: usize = 1 << 18;
/// Chains in one list frame, so that it stays under the limit whatever their frontiers are.
const CHAINS_FRAME_BYTES: usize = FRAME_MAX_BYTES - 2048;

/// The present moment, by both clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// Time that only goes forward, milliseconds.
    pub mono_ms: u64,
    /// Wall time, Unix milliseconds.
    pub wall_ms: i64,
}

/// What does not change during a session.
#[derive(Clone, Debug)]
pub struct Config {
    /// This node.
    pub node: NodeId,
    /// The peer, as the transport has proven it.
    pub peer: NodeId,
    /// Whether this side opened the session; it is the one whose history is carried.
    pub initiator: bool,
    /// This node's membership.
    pub membership: Vec<u8>,
    /// This node's start.
    pub incarnation: Incarnation,
    /// The program's version.
    pub version: String,
    /// The order of a backlog.
    pub backfill: Backfill,
}

/// A chain as this side holds it.
#[derive(Clone, Debug)]
pub struct LocalChain {
    /// The chain.
    pub info: ChainInfo,
    /// What the peer acknowledged of it in earlier sessions.
    pub acked: Frontier,
}

/// A wish for commits of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// The chain.
    pub chain: ChainNo,
    /// Which entries.
    pub range: Range,
    /// About how many bytes.
    pub max_bytes: usize,
    /// From the end of the range instead of from its start.
    pub back: bool,
    /// Whether these are new entries rather than backlog.
    pub live: bool,
}

/// What happens to a session.
#[derive(Debug)]
pub enum Input {
    /// A frame of the peer.
    Frame(Frame),
    /// The chains asked for by [`Output::LoadChains`].
    Chains(Vec<LocalChain>),
    /// The commits asked for, ascending, and the link before the first.
    Commits(Vec<StoredCommit>, Option<Link>),
    /// How far an own chain is now.
    Head(ChainNo, ChainId, u64),
    /// What was to be stored is on disk: by the peer's chain index, what is held now.
    Stored(Vec<(u32, Frontier)>),
    /// It could not be stored.
    NotStored(RefusalCode, String),
    /// This node is stopping, or the peer was removed.
    Stop(RefusalCode, String),
    /// A deadline has passed.
    Tick,
}

/// What a session wants.
#[derive(Debug)]
pub enum Output {
    /// Send this.
    Send(Vec<u8>),
    /// Load the chains of an origin.
    LoadChains(NodeId),
    /// Read commits.
    Read(ReadRequest),
    /// Store these runs, in this order, and say what is held then.
    Store(Vec<(u32, Received)>),
    /// The peer has this of a chain on disk.
    Acked(ChainNo, Box<Frontier>),
    /// The peer is let in.
    Established {
        /// Who it is.
        membership: Box<Membership>,
        /// Its program's version.
        version: String,
        /// Its wall clock less ours, milliseconds.
        clock_ahead_ms: i64,
    },
    /// The peer gave us a fresh membership.
    Renewed(Box<Membership>),
    /// How many entries the peer has that are not here yet.
    PeerBehind(u64),
    /// How many entries are not at the peer yet.
    Behind(u64),
    /// The session is over.
    End(End),
}

/// Why a session is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Whether the peer ended it.
    pub by_peer: bool,
    /// The reason's code.
    pub code: RefusalCode,
    /// The reason in words.
    pub reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// The initiator loads its chains for the hello.
    Preparing,
    /// The peer's hello is awaited.
    Hello,
    /// The acceptor loads the chains that the hello is about.
    Loading,
    /// The peer's list is awaited.
    Lists,
    Open,
    Ended,
}

/// One session with one peer.
pub struct Session {
    config: Config,
    policy: Arc<dyn Policy>,
    phase: Phase,
    out: VecDeque<Output>,
    local: Vec<LocalChain>,
    listed: Vec<Held>,
    pending_renewal: Option<Vec<u8>>,
    closed: (u64, [u8; 16]),
    /// Chains of starts below this boot count are equal on both sides.
    closed_below: u64,
    plan: Plan,
    writer: Writer,
    reader: HistoryReader,
    flow: Flow,
    reading: Option<ReadRequest>,
    /// The chain behind each index of our stream.
    sent_chains: Vec<ChainNo>,
    records_sent: u64,
    records_allowed: u64,
    records_received: u64,
    records_stored: u64,
    consumed: u64,
    acknowledged: u64,
    /// For each batch being stored: bytes consumed after it, and bytes of records in it.
    storing: VecDeque<(u64, u64)>,
    frontiers: BTreeMap<u32, Frontier>,
    behind: Option<(u64, u64)>,
    started_ms: u64,
    heard_ms: u64,
    said_ms: u64,
}

impl Session {
    /// A session that begins now.
    #[must_use]
    pub fn new(config: Config, policy: Arc<dyn Policy>, now: Now) -> Self {
        let mut out = VecDeque::new();
        if config.initiator {
            out.push_back(Output::LoadChains(config.node));
        }
        Self {
            phase: if config.initiator { Phase::Preparing } else { Phase::Hello },
            plan: Plan::new(config.backfill),
            config,
            policy,
            out,
            local: Vec::new(),
            listed: Vec::new(),
            pending_renewal: None,
            closed: (0, [0; 16]),
            closed_below: 0,
            writer: Writer::new(),
            reader: HistoryReader::new(),
            flow: Flow::new(),
            reading: None,
            sent_chains: Vec::new(),
            records_sent: 0,
            records_allowed: WINDOW_BYTES,
            records_received: 0,
            records_stored: 0,
            consumed: 0,
            acknowledged: 0,
            storing: VecDeque::new(),
            frontiers: BTreeMap::new(),
            behind: None,
            started_ms: now.mono_ms,
            heard_ms: now.mono_ms,
            said_ms: now.mono_ms,
        }
    }

    /// The next thing the session wants.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// Whether the session is over.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// When the session wants a [`Input::Tick`], in milliseconds of the forward clock.
    #[must_use]
    pub fn next_deadline(&self) -> u64 {
        if self.phase < Phase::Open {
            return self.started_ms + HANDSHAKE_MS;
        }
        let silence = self.heard_ms + if self.waiting() { STALLED_MS } else { SILENCE_MS };
        let ping = self.said_ms + if self.busy() { BUSY_MS } else { IDLE_MS };
        let behind = self.behind.map_or(0, |(_, at)| at + BEHIND_MS);
        let behind = if self.behind_changed() { behind } else { u64::MAX };
        silence.min(ping).min(behind)
    }

    fn waiting(&self) -> bool {
        self.flow.under_way() > 0
    }

    fn busy(&self) -> bool {
        self.waiting() || self.consumed > self.acknowledged
    }

    fn behind_changed(&self) -> bool {
        self.config.initiator && self.behind.is_none_or(|(told, _)| told != self.plan.behind())
    }

    /// Takes an input. Nothing happens any more once the session is over.
    pub fn handle(&mut self, now: Now, input: Input) {
        if self.phase == Phase::Ended {
            return;
        }
        match input {
            Input::Frame(frame) => {
                self.heard_ms = now.mono_ms;
                if let Err(reject) = self.frame(now, frame) {
                    let reason = format!("what the peer sent is not valid: {reject}");
                    self.refuse(RefusalCode::Protocol, reason);
                }
            }
            Input::Chains(chains) => self.chains(now, chains),
            Input::Commits(commits, before) => self.commits(now, &commits, before),
            Input::Head(no, id, last) => {
                if self.phase == Phase::Open {
                    self.plan.advance(no, id, last);
                }
            }
            Input::Stored(frontiers) => self.stored(frontiers),
            Input::NotStored(code, reason) | Input::Stop(code, reason) => self.refuse(code, reason),
            Input::Tick => self.tick(now),
        }
        self.pump();
        self.tell_behind(now);
        if self.out.iter().any(|output| matches!(output, Output::Send(_))) {
            self.said_ms = now.mono_ms;
        }
    }

    fn send(&mut self, frame: &Frame) {
        self.out.push_back(Output::Send(frame.encode()));
    }

    fn refuse(&mut self, code: RefusalCode, reason: String) {
        self.send(&Frame::Refuse(code, reason.clone()));
        self.end(End { by_peer: false, code, reason });
    }

    fn end(&mut self, end: End) {
        self.phase = Phase::Ended;
        self.out.push_back(Output::End(end));
    }

    fn frame(&mut self, now: Now, frame: Frame) -> Result<(), Reject> {
        match (self.phase, frame) {
            (_, Frame::Refuse(code, reason)) => self.end(End { by_peer: true, code, reason }),
            (_, Frame::Ping(nonce)) => self.send(&Frame::Pong(nonce)),
            (_, Frame::Pong(_)) => {}
            (Phase::Hello, Frame::Hello(hello)) => self.hello(now, hello)?,
            (Phase::Lists, Frame::Chains { last, held }) => self.list(last, held),
            (Phase::Lists | Phase::Open, Frame::Renewed(bytes)) => {
                let fresh = Membership::decode(&bytes).map_err(|_| Reject::Malformed)?;
                if fresh.node() != self.config.node {
                    return Err(Reject::Malformed);
                }
                self.out.push_back(Output::Renewed(Box::new(fresh)));
            }
            // Data may follow the peer's list while ours is still on its way to it.
            (Phase::Open, Frame::Data(bytes)) => self.data(&bytes)?,
            (Phase::Open, Frame::Ack { consumed, granted, chains }) => {
                self.ack(now, consumed, granted, chains)?;
            }
            (Phase::Open, Frame::Behind { entries }) => {
                self.out.push_back(Output::PeerBehind(entries));
            }
            _ => return Err(Reject::Malformed),
        }
        Ok(())
    }

    fn my_hello(&self, now: Now, closed_below: u64, digest: [u8; 16]) -> Frame {
        Frame::Hello(Hello {
            protocol: (*PROTOCOL.start(), *PROTOCOL.end()),
            version: self.config.version.clone(),
            wall_ms: now.wall_ms,
            incarnation: self.config.incarnation,
            membership: self.config.membership.clone(),
            closed_below,
            closed_digest: digest,
        })
    }

    fn hello(&mut self, now: Now, hello: Hello) -> Result<(), Reject> {
        if hello.protocol.0 > *PROTOCOL.end() || hello.protocol.1 < *PROTOCOL.start() {
            let (low, high) = hello.protocol;
            let ours = format!("{} to {}", PROTOCOL.start(), PROTOCOL.end());
            let reason = format!("it speaks protocol {low} to {high}, we speak {ours}");
            self.refuse(RefusalCode::Version, reason);
            return Ok(());
        }
        let membership = match Membership::decode(&hello.membership) {
            Ok(membership) => membership,
            Err(error) => {
                self.refuse(RefusalCode::Membership, error.to_string());
                return Ok(());
            }
        };
        let fresh = match self.policy.admit(self.config.peer, &membership) {
            Admission::Admit => None,
            Admission::Renew(fresh) => Some(fresh),
            Admission::Refuse(code, reason) => {
                self.refuse(code, reason);
                return Ok(());
            }
        };
        self.out.push_back(Output::Established {
            membership: Box::new(membership),
            version: hello.version,
            clock_ahead_ms: hello.wall_ms.saturating_sub(now.wall_ms),
        });
        if self.config.initiator {
            let agreed = hello.closed_below == self.closed.0;
            self.closed_below = if agreed { self.closed.0 } else { 0 };
            self.phase = Phase::Lists;
            self.send_list();
        } else {
            self.closed = (hello.closed_below, hello.closed_digest);
            self.phase = Phase::Loading;
            self.out.push_back(Output::LoadChains(self.config.peer));
        }
        if let Some(fresh) = fresh {
            self.renewal(&fresh);
        }
        Ok(())
    }

    /// The fresh membership goes out behind our hello, which the acceptor has yet to send.
    fn renewal(&mut self, fresh: &Membership) {
        let frame = Frame::Renewed(fresh.encode()).encode();
        if self.config.initiator {
            self.out.push_back(Output::Send(frame));
        } else {
            self.pending_renewal = Some(frame);
        }
    }

    fn chains(&mut self, now: Now, chains: Vec<LocalChain>) {
        self.local = chains;
        match self.phase {
            Phase::Preparing => {
                self.closed = self.own_closed();
                let (below, digest) = self.closed;
                let hello = self.my_hello(now, below, digest);
                self.send(&hello);
                self.phase = Phase::Hello;
            }
            Phase::Loading => {
                let (below, digest) = self.closed;
                let agreed = below > 0 && self.digest_below(below) == Some(digest);
                self.closed_below = if agreed { below } else { 0 };
                let hello = self.my_hello(now, self.closed_below, [0; 16]);
                self.send(&hello);
                if let Some(frame) = self.pending_renewal.take() {
                    self.out.push_back(Output::Send(frame));
                }
                self.phase = Phase::Lists;
                self.send_list();
            }
            _ => {}
        }
    }

    /// The greatest boot count below which the peer has acknowledged everything, with the digest.
    fn own_closed(&self) -> (u64, [u8; 16]) {
        let open = self.local.iter().filter(|chain| chain.acked != chain.info.frontier);
        let own = self.config.incarnation.boot;
        let below = open.map(|chain| chain.info.id.incarnation.boot).min().unwrap_or(own).min(own);
        match self.digest_below(below) {
            Some(digest) => (below, digest),
            None => (0, [0; 16]),
        }
    }

    /// The digest over the chains of starts below `boot`, if all are held without a hole.
    fn digest_below(&self, boot: u64) -> Option<[u8; 16]> {
        let closed = self.local.iter().map(|chain| &chain.info);
        let closed = closed.filter(|c| c.id.incarnation.boot < boot && c.last() > 0);
        let whole = closed.clone().all(|chain| {
            chain.frontier.as_slice() == [Range { from: 1, to: chain.last() }].as_slice()
        });
        whole.then(|| {
            closed_digest(closed.map(|c| (c.id.incarnation, c.id.stream, c.last(), &c.head)))
        })
    }

    fn send_list(&mut self) {
        let below = self.closed_below;
        let (mut held, mut bytes) = (Vec::new(), 0);
        let open = self.local.iter().filter(|c| c.info.id.incarnation.boot >= below);
        let mut frames = Vec::new();
        for chain in open {
            let info = &chain.info;
            held.push(Held {
                incarnation: info.id.incarnation,
                stream: info.id.stream,
                frontier: info.frontier.clone(),
                head: info.head,
            });
            bytes += 64 + info.frontier.as_slice().len() * 20;
            if bytes > CHAINS_FRAME_BYTES {
                frames.push(Frame::Chains { last: false, held: std::mem::take(&mut held) });
                bytes = 0;
            }
        }
        frames.push(Frame::Chains { last: true, held });
        frames.iter().for_each(|frame| self.send(frame));
    }

    fn list(&mut self, last: bool, held: Vec<Held>) {
        self.listed.extend(held);
        if self.listed.len() > LISTED_MAX {
            return self.refuse(RefusalCode::Protocol, "the list of chains is too long".to_owned());
        }
        if !last {
            return;
        }
        let listed = std::mem::take(&mut self.listed);
        let find = |chain: &LocalChain| {
            let id = chain.info.id;
            listed.iter().find(|l| (l.incarnation, l.stream) == (id.incarnation, id.stream))
        };
        let below = self.closed_below;
        let local = std::mem::take(&mut self.local);
        for chain in local.iter().filter(|c| c.info.id.incarnation.boot >= below) {
            let theirs = find(chain);
            let same_end = theirs.is_some_and(|t| t.frontier.max() == chain.info.last());
            if same_end && theirs.is_some_and(|t| t.head != chain.info.head) {
                let (id, seq) = (chain.info.id, chain.info.last());
                let reason =
                    format!("chain {id} ends in different entries at {seq} here and there");
                return self.refuse(RefusalCode::Fork, reason);
            }
            let theirs = theirs.map(|held| held.frontier.clone()).unwrap_or_default();
            if chain.acked != theirs {
                self.out.push_back(Output::Acked(chain.info.no, Box::new(theirs.clone())));
            }
            self.plan.add(chain, theirs);
        }
        self.phase = Phase::Open;
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), Reject> {
        let allowed = (self.records_stored + WINDOW_BYTES + READ_MAX_BYTES * 8)
            .saturating_sub(self.records_received);
        let origin = if self.config.initiator { self.config.node } else { self.config.peer };
        let arrived = self.reader.take(bytes, allowed, &origin)?;
        self.consumed += bytes.len() as u64;
        self.records_received += arrived.bytes;
        if !arrived.runs.is_empty() {
            self.storing.push_back((self.consumed, self.records_received));
            self.out.push_back(Output::Store(arrived.runs));
        }
        Ok(())
    }

    fn stored(&mut self, frontiers: Vec<(u32, Frontier)>) {
        let Some((consumed, records)) = self.storing.pop_front() else { return };
        self.records_stored = records;
        self.frontiers.extend(frontiers);
        let chains = std::mem::take(&mut self.frontiers).into_iter().collect();
        let granted = records + WINDOW_BYTES;
        self.acknowledged = consumed;
        self.send(&Frame::Ack { consumed, granted, chains });
    }

    fn ack(
        &mut self,
        now: Now,
        consumed: u64,
        granted: u64,
        chains: Vec<(u32, Frontier)>,
    ) -> Result<(), Reject> {
        if !self.flow.acked(consumed, now.mono_ms) {
            return Err(Reject::Malformed);
        }
        self.records_allowed = self.records_allowed.max(granted);
        for (index, frontier) in chains {
            let no = self.sent_chains.get(index as usize).copied().ok_or(Reject::Malformed)?;
            self.plan.acked(no, frontier.clone());
            self.out.push_back(Output::Acked(no, Box::new(frontier)));
        }
        Ok(())
    }

    /// Asks for the next commits when there is room to send them.
    fn pump(&mut self) {
        let room = self.flow.room().min(self.records_allowed.saturating_sub(self.records_sent));
        if self.phase != Phase::Open || self.reading.is_some() || room == 0 {
            return;
        }
        let max_bytes = room.clamp(READ_MIN_BYTES, READ_MAX_BYTES) as usize;
        if let Some(request) = self.plan.next(max_bytes) {
            self.reading = Some(request.clone());
            self.out.push_back(Output::Read(request));
        }
    }

    fn commits(&mut self, now: Now, commits: &[StoredCommit], before: Option<Link>) {
        let Some(request) = self.reading.take() else { return };
        let (Some(first), Some(last)) = (commits.first(), commits.last()) else {
            return self.plan.done(&request, None);
        };
        let sent = Range { from: first.first, to: last.last() };
        self.plan.done(&request, Some(sent));
        let (Some(chain), Some(before)) = (self.plan.chain(request.chain), before) else { return };
        let mut bytes = Vec::new();
        let (index, size) = self.writer.commits(&chain, before, commits, &mut bytes);
        if index as usize == self.sent_chains.len() {
            self.sent_chains.push(request.chain);
        }
        self.records_sent += size;
        self.flow.sent(bytes.len() as u64, now.mono_ms);
        for part in bytes.chunks(FRAME_MAX_BYTES) {
            self.send(&Frame::Data(part.to_vec()));
        }
    }

    fn tick(&mut self, now: Now) {
        let silent = now.mono_ms.saturating_sub(self.heard_ms);
        if self.phase < Phase::Open {
            if now.mono_ms.saturating_sub(self.started_ms) >= HANDSHAKE_MS {
                self.refuse(RefusalCode::Unavailable, "the hello took too long".to_owned());
            }
            return;
        }
        if silent >= if self.waiting() { STALLED_MS } else { SILENCE_MS } {
            let reason = format!("nothing was heard for {} s", silent / 1000);
            return self.end(End { by_peer: false, code: RefusalCode::Unavailable, reason });
        }
        let quiet = now.mono_ms.saturating_sub(self.said_ms);
        if quiet >= if self.busy() { BUSY_MS } else { IDLE_MS } {
            self.send(&Frame::Ping(now.mono_ms));
        }
    }

    /// Says now and then how much is waiting, to the peer and to this node's own pages.
    fn tell_behind(&mut self, now: Now) {
        if self.phase != Phase::Open || !self.behind_changed() {
            return;
        }
        let entries = self.plan.behind();
        if self.behind.is_none_or(|(_, at)| now.mono_ms >= at + BEHIND_MS) {
            self.behind = Some((entries, now.mono_ms));
            self.send(&Frame::Behind { entries });
            self.out.push_back(Output::Behind(entries));
        }
    }
}
