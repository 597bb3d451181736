//! The machine: hello, lists, then both halves at once, with acknowledgements and deadlines.

use super::flow::Flow;
use super::frame::{FRAME_MAX_BYTES, Frame, Held, Hello, RefusalCode, closed_digest};
use super::history::{HistoryReader, Writer};
use super::io::{Config, End, Input, LocalChain, Now, Output, ReadRequest};
use super::outbox::Outbox;
use super::plan::Plan;
use super::policy::Policy;
use crate::identity::Membership;
use crate::store::{ChainNo, Frontier, StoredCommit};
use holdfast_core::log::Link;
use holdfast_core::ranges::Range;
use holdfast_core::{ChainId, Incarnation, Reject, Stream};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

mod opening;

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
/// Chains that a peer may list: as many as one session can name, four times over.
const LISTED_MAX: usize = 1 << 18;
/// Chains in one list frame, so that it stays under the limit whatever their frontiers are.
const CHAINS_FRAME_BYTES: usize = FRAME_MAX_BYTES - 2048;

/// A chain within the origin whose history the session carries.
type Place = (Incarnation, Stream);

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
    /// What the peer lists of the chains known here; of others it is only counted.
    listed: HashMap<Place, Option<(Frontier, Link)>>,
    listed_count: usize,
    /// Entries that the peer lists and this side does not have.
    ahead: u64,
    /// Own chains that grew before the session was open.
    early: BTreeMap<ChainNo, (ChainId, u64)>,
    pending_renewal: Option<Vec<u8>>,
    closed: (u64, [u8; 16]),
    /// The start of the peer that is running: nothing of it is sent back, it has lost nothing.
    running: Option<Incarnation>,
    /// Chains of starts below this boot count are equal on both sides.
    closed_below: u64,
    plan: Plan,
    writer: Writer,
    reader: HistoryReader,
    flow: Flow,
    reading: Option<ReadRequest>,
    /// The chain behind each index of our stream.
    sent_chains: Vec<ChainNo>,
    outbox: Outbox,
    records_sent: u64,
    records_allowed: u64,
    records_received: u64,
    records_stored: u64,
    consumed: u64,
    acknowledged: u64,
    /// For each batch being stored: bytes consumed after it, and bytes of records in it.
    storing: VecDeque<(u64, u64)>,
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
        let (origin, own) = match config.initiator {
            true => (config.node, Some(config.incarnation)),
            false => (config.peer, None),
        };
        let reader = HistoryReader::new(origin, own);
        Self {
            phase: if config.initiator { Phase::Preparing } else { Phase::Hello },
            plan: Plan::new(config.backfill),
            config,
            policy,
            out,
            local: Vec::new(),
            listed: HashMap::new(),
            listed_count: 0,
            ahead: 0,
            early: BTreeMap::new(),
            pending_renewal: None,
            closed: (0, [0; 16]),
            running: None,
            closed_below: 0,
            writer: Writer::new(),
            reader,
            flow: Flow::new(),
            reading: None,
            sent_chains: Vec::new(),
            outbox: Outbox::default(),
            records_sent: 0,
            records_allowed: WINDOW_BYTES,
            records_received: 0,
            records_stored: 0,
            consumed: 0,
            acknowledged: 0,
            storing: VecDeque::new(),
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
        match self.phase {
            Phase::Open | Phase::Ended => {}
            // On a thin link a long list takes its time; what counts is that it goes on.
            Phase::Lists => return (self.heard_ms + HANDSHAKE_MS).min(self.said_ms + BUSY_MS),
            _ => return self.started_ms + HANDSHAKE_MS,
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
            Input::Held(held) => self.outbox.held = held,
            Input::Chains(chains) => self.chains(now, chains),
            Input::Commits(commits, before) => self.commits(now, &commits, before),
            // Only the initiator's history is carried: of its own the acceptor sends nothing.
            Input::Head(..) if !self.config.initiator => {}
            Input::Head(no, id, last) => {
                if self.phase == Phase::Open {
                    self.plan.advance(no, id, last);
                } else {
                    self.early.insert(no, (id, last));
                }
            }
            Input::Stored(frontiers, answers) => {
                answers.into_iter().for_each(|answer| self.outbox.add(answer));
                if self.outbox.is_overfull() {
                    let reason = "it asks more about documents than it takes".to_owned();
                    self.refuse(RefusalCode::Protocol, reason);
                } else {
                    self.stored(frontiers);
                }
            }
            Input::DocumentsChanged => self.outbox.changed = true,
            Input::Documents(batch) => {
                self.outbox.gathering = false;
                self.outbox.add(batch);
            }
            Input::NotStored(code, reason) | Input::Stop(code, reason) => self.refuse(code, reason),
            Input::Tick => self.tick(now),
        }
        self.pump(now);
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
            (Phase::Lists, Frame::Chains { last, held }) => self.list(last, held)?,
            (Phase::Lists | Phase::Open, Frame::Renewed(bytes)) => {
                let read = |bytes: &[u8]| Membership::decode(bytes).map_err(|_| Reject::Malformed);
                let (fresh, own) = (read(&bytes)?, read(&self.config.membership)?);
                let same = fresh.check(own.fleet(), self.config.node, own.grant().role);
                same.map_err(|_| Reject::Malformed)?;
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

    fn data(&mut self, bytes: &[u8]) -> Result<(), Reject> {
        let allowed = (self.records_stored + WINDOW_BYTES + READ_MAX_BYTES * 8)
            .saturating_sub(self.records_received);
        let arrived = self.reader.take(bytes, allowed)?;
        self.consumed += bytes.len() as u64;
        self.records_received += arrived.bytes;
        if !arrived.messages.is_empty() && !self.outbox.is_on() {
            return Err(Reject::Malformed);
        }
        if !arrived.runs.is_empty() || !arrived.messages.is_empty() {
            self.storing.push_back((self.consumed, self.records_received));
            self.out.push_back(Output::Store(arrived.runs, arrived.messages));
        } else if self.reader.at_rest() {
            // Nothing to store came with these bytes: they count with what is being stored.
            match self.storing.back_mut() {
                Some(batch) => *batch = (self.consumed, self.records_received),
                None => self.acknowledge(self.consumed, self.records_received, Vec::new()),
            }
        }
        Ok(())
    }

    fn stored(&mut self, frontiers: Vec<(u32, Frontier)>) {
        let Some((consumed, records)) = self.storing.pop_front() else { return };
        // What a batch left of a chain last is what counts.
        let latest: BTreeMap<u32, Frontier> = frontiers.into_iter().collect();
        self.acknowledge(consumed, records, latest.into_iter().collect());
    }

    fn acknowledge(&mut self, consumed: u64, records: u64, mut chains: Vec<(u32, Frontier)>) {
        self.records_stored = records;
        let granted = records + WINDOW_BYTES;
        while let Some(at) = ack_cut(&chains) {
            let rest = chains.split_off(at);
            let chains = std::mem::replace(&mut chains, rest);
            self.send(&Frame::Ack { consumed: self.acknowledged, granted, chains });
        }
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
        let delivered = self.outbox.acked(consumed);
        if !delivered.is_empty() {
            self.out.push_back(Output::Delivered(delivered));
        }
        for (index, frontier) in chains {
            let no = self.sent_chains.get(index as usize).copied().ok_or(Reject::Malformed)?;
            let known = self.plan.acked(no, frontier);
            self.out.push_back(Output::Acked(no, Box::new(known)));
        }
        Ok(())
    }

    fn room(&self) -> u64 {
        self.flow.room().min(self.records_allowed.saturating_sub(self.records_sent))
    }

    /// Sends what is to be said of documents, and asks for the next commits, when there is room.
    /// New events go before all else, documents before readings.
    fn pump(&mut self, now: Now) {
        if self.phase != Phase::Open {
            return;
        }
        let urgent = self.reading.as_ref().is_some_and(is_urgent)
            || self.plan.next(1).as_ref().is_some_and(is_urgent);
        while !urgent && self.room() > 0 {
            let Some((record, pushed)) = self.outbox.next() else { break };
            let mut bytes = Vec::new();
            self.records_sent += self.writer.record(&record, &mut bytes);
            self.send_data(now, &bytes);
            self.outbox.sent(self.flow.total(), pushed);
        }
        let room = self.room();
        if room == 0 {
            return;
        }
        let max_bytes = room.clamp(READ_MIN_BYTES, READ_MAX_BYTES) as usize;
        if self.outbox.wants() {
            (self.outbox.changed, self.outbox.gathering) = (false, true);
            self.out.push_back(Output::Gather(max_bytes));
        }
        if self.reading.is_none()
            && let Some(request) = self.plan.next(max_bytes)
        {
            self.reading = Some(request.clone());
            self.out.push_back(Output::Read(request));
        }
    }

    fn send_data(&mut self, now: Now, bytes: &[u8]) {
        self.flow.sent(bytes.len() as u64, now.mono_ms);
        for part in bytes.chunks(self.flow.piece()) {
            self.send(&Frame::Data(part.to_vec()));
        }
    }

    fn commits(&mut self, now: Now, commits: &[StoredCommit], before: Option<Link>) {
        let Some(request) = self.reading.take() else { return };
        let (Some(first), Some(last)) = (commits.first(), commits.last()) else {
            let hole = self.plan.done(&request, None);
            return self.cannot_fill(request.chain, hole);
        };
        let sent = Range { from: first.first, to: last.last() };
        let hole = self.plan.done(&request, Some(sent));
        self.cannot_fill(request.chain, hole);
        let Some(chain) = self.plan.chain(request.chain) else { return };
        // A commit whose predecessor is not known here cannot be shown to belong where it is.
        let (before, commits) = match before {
            Some(before) => (before, commits),
            None => (first.link, &commits[1..]),
        };
        if commits.is_empty() {
            return;
        }
        if !self.writer.takes(&chain) {
            let reason = "more chains than one session names; the next one goes on".to_owned();
            return self.refuse(RefusalCode::Unavailable, reason);
        }
        let mut bytes = Vec::new();
        let (index, size) = self.writer.commits(&chain, before, commits, &mut bytes);
        if index as usize == self.sent_chains.len() {
            self.sent_chains.push(request.chain);
        }
        self.records_sent += size;
        let entries = commits.iter().map(|commit| u64::from(commit.count)).sum();
        self.out.push_back(Output::Sent(chain.stream, entries));
        self.send_data(now, &bytes);
    }

    /// The origin of a chain has to say why nobody gets a part of it any more.
    fn cannot_fill(&mut self, chain: ChainNo, hole: Option<Range>) {
        if let Some(hole) = hole.filter(|_| self.config.initiator) {
            self.out.push_back(Output::Unfilled(chain, hole));
        }
    }

    fn tick(&mut self, now: Now) {
        let silent = now.mono_ms.saturating_sub(self.heard_ms);
        if self.phase < Phase::Open {
            let listing = self.phase == Phase::Lists;
            let since = if listing { self.heard_ms } else { self.started_ms };
            if now.mono_ms.saturating_sub(since) >= HANDSHAKE_MS {
                self.refuse(RefusalCode::Unavailable, "the hello took too long".to_owned());
            } else if listing && now.mono_ms.saturating_sub(self.said_ms) >= BUSY_MS {
                // The peer may be done with our list and wait for word of what it sent.
                self.send(&Frame::Ping(now.mono_ms));
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

/// Whether these are new events, for which nothing else may be in the way.
fn is_urgent(request: &ReadRequest) -> bool {
    request.live && request.stream == Stream::Event
}

/// Where to cut what an acknowledgement says of chains so that it fits a frame, if it has to be
/// cut.
fn ack_cut(chains: &[(u32, Frontier)]) -> Option<usize> {
    let mut bytes = 0;
    chains.iter().position(|(_, frontier)| {
        bytes += 8 + frontier.as_slice().len() * 20;
        bytes > CHAINS_FRAME_BYTES
    })
}
