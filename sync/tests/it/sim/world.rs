//! Virtual time: an edge, a hub and the link between them, and everything that may happen to them.

use super::disk::{Chain, Disk};
use super::judge::Judge;
use super::material::{Fleet, Rng, body};
use super::{Bug, Fault, Plan};
use holdfast_core::log::events::{self, Event as Entry, Gap};
use holdfast_core::ranges::Range;
use holdfast_core::{ChainId, Incarnation, Stream, Timestamp};
use holdfast_sync::identity::Role;
use holdfast_sync::session::{FrameReader, Input, Now, Output, ReadRequest, RefusalCode, Session};
use holdfast_sync::store::{ChainNo, Frontier, Received, StoredCommit};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

pub const EDGE: usize = 0;
pub const HUB: usize = 1;
const ROLES: [Role; 2] = [Role::Edge, Role::Hub];

/// What happens at some moment.
enum Event {
    Packet { conn: u64, to: usize },
    Closed { conn: u64, to: usize },
    Loaded { conn: u64, at: usize },
    Read { conn: u64, at: usize, request: ReadRequest },
    Stored { conn: u64, life: u64, at: usize, runs: Vec<(u32, Received)> },
    Noted { life: u64, no: ChainNo, held: Box<Frontier> },
    Tick { conn: u64, at: usize },
    Append,
    Strike,
    Connect,
    Start { at: usize },
}

/// One node.
pub struct Node {
    pub disk: Disk,
    backup: Option<Disk>,
    pub incarnation: Incarnation,
    up: bool,
    /// Counts starts: what was under way in an earlier one is gone.
    life: u64,
    session: Option<Session>,
    conn: u64,
    reader: FrameReader,
    /// When the disk has done what it was given so far.
    disk_free: u64,
    tick: u64,
}

/// One direction of the link.
#[derive(Default)]
struct Pipe {
    free: u64,
    last_arrival: u64,
    packets: VecDeque<Vec<u8>>,
    held_back: Option<Vec<u8>>,
}

pub struct World {
    pub now: u64,
    pub plan: Plan,
    pub nodes: [Node; 2],
    pub judge: Judge,
    pub fleet: Fleet,
    pub trace: blake3::Hasher,
    rng: Rng,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Event>,
    count: u64,
    conns: u64,
    /// When the network comes back.
    dark_until: u64,
    pipes: [Pipe; 2],
    signed: BTreeMap<ChainNo, u64>,
}

impl World {
    pub fn new(seed: u64, plan: Plan) -> Self {
        let mut rng = Rng(seed);
        let fleet = Fleet::new(rng.next());
        let node = |rng: &mut Rng| Node {
            disk: Disk::default(),
            backup: None,
            incarnation: Incarnation { boot: 1, nonce: rng.next() },
            up: true,
            life: 1,
            session: None,
            conn: 0,
            reader: FrameReader::default(),
            disk_free: 0,
            tick: u64::MAX,
        };
        let nodes = [node(&mut rng), node(&mut rng)];
        let mut world = Self {
            now: 0,
            plan,
            nodes,
            judge: Judge::default(),
            fleet,
            trace: blake3::Hasher::new(),
            rng,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            count: 0,
            conns: 0,
            dark_until: 0,
            pipes: [Pipe::default(), Pipe::default()],
            signed: BTreeMap::new(),
        };
        world.at(1, Event::Start { at: EDGE });
        world.at(1, Event::Append);
        world.at(world.plan.first_connect_ms, Event::Connect);
        world.at(2_000, Event::Strike);
        world
    }

    fn at(&mut self, ms: u64, event: Event) {
        self.count += 1;
        self.queue.push(Reverse((self.now + ms, self.count)));
        self.events.insert(self.count, event);
    }

    /// Lets the next thing happen; `false` when the time is up.
    pub fn step(&mut self, until: u64) -> bool {
        let Some(Reverse((at, number))) = self.queue.pop() else { return false };
        if at > until {
            self.queue.push(Reverse((at, number)));
            self.now = until;
            return false;
        }
        self.now = at;
        let event = self.events.remove(&number).expect("each event happens once");
        self.trace.update(&at.to_le_bytes());
        self.happen(event);
        true
    }

    fn clock(&self) -> Now {
        Now { mono_ms: self.now, wall_ms: 1_790_000_000_000 + self.now as i64 }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Packet { conn, to } if self.nodes[to].conn == conn => self.packet(conn, to),
            Event::Closed { conn, to } if self.nodes[to].conn == conn => {
                if self.now < self.dark_until || !self.pipes[1 - to].packets.is_empty() {
                    self.at(10, Event::Closed { conn, to });
                } else {
                    self.leave(to);
                }
            }
            Event::Loaded { conn, at } if self.nodes[at].conn == conn => {
                let chains = self.nodes[at].disk.load();
                if at == EDGE {
                    self.judge.loaded(&chains);
                }
                self.give(at, Input::Chains(chains));
            }
            Event::Read { conn, at, request } if self.nodes[at].conn == conn => {
                let (commits, before) = self.nodes[at].disk.read(&request);
                if at == EDGE && request.live {
                    let to = commits.last().map_or(request.range.to, StoredCommit::last);
                    self.judge.sent_live(request.chain, to);
                }
                self.give(at, Input::Commits(commits, before));
            }
            Event::Stored { conn, life, at, runs } if self.nodes[at].life == life => {
                self.stored(conn, at, &runs);
            }
            Event::Noted { life, no, held } if self.nodes[EDGE].life == life => {
                if let Some(chain) = self.nodes[EDGE].disk.chains.get_mut(&no.0) {
                    chain.acked = *held;
                }
            }
            Event::Tick { conn, at } if self.nodes[at].conn == conn => {
                self.nodes[at].tick = u64::MAX;
                self.give(at, Input::Tick);
            }
            Event::Append => self.append_some(),
            Event::Strike => self.strike_some(),
            Event::Connect => self.connect(),
            Event::Start { at } => self.start(at),
            // It belonged to a connection or a start that is no more.
            _ => {}
        }
    }

    /// Hands an input to a session and carries out what it wants.
    fn give(&mut self, at: usize, input: Input) {
        let Some(mut session) = self.nodes[at].session.take() else { return };
        session.handle(self.clock(), input);
        self.nodes[at].session = Some(session);
        self.carry_out(at);
    }

    fn carry_out(&mut self, at: usize) {
        let Some(mut session) = self.nodes[at].session.take() else { return };
        let (mut ended, mut unfilled) = (false, Vec::new());
        while let Some(output) = session.poll() {
            let (conn, life) = (self.nodes[at].conn, self.nodes[at].life);
            match output {
                Output::Send(bytes) => self.send(at, bytes),
                Output::LoadChains(_) => self.soon(20, Event::Loaded { conn, at }),
                Output::Read(request) => {
                    if at == EDGE {
                        let hub = &self.nodes[HUB].disk;
                        self.judge.reads(&request, &self.nodes[EDGE].disk, hub);
                    }
                    self.soon(10, Event::Read { conn, at, request });
                }
                Output::Store(runs, _) => self.store(&mut session, at, runs),
                Output::Acked(no, held) if at == EDGE => {
                    let (edge, hub) = (&self.nodes[EDGE].disk, &self.nodes[HUB].disk);
                    self.judge.acked(no, &held, edge, hub);
                    self.soon(50, Event::Noted { life, no, held });
                }
                Output::Established { .. } if at == EDGE => self.heads(&mut session),
                Output::Unfilled(no, range) => unfilled.push((no, range)),
                Output::Behind(entries) => self.judge.behind = Some(entries),
                Output::End(end) => {
                    self.judge.ended(&end);
                    ended = true;
                }
                _ => {}
            }
        }
        let deadline = session.next_deadline();
        self.nodes[at].session = Some(session);
        for (no, range) in unfilled {
            self.explain(no, range);
        }
        if ended {
            self.leave(at);
        } else if deadline < self.nodes[at].tick {
            self.nodes[at].tick = deadline;
            let wait = deadline.saturating_sub(self.now).max(1);
            self.at(wait, Event::Tick { conn: self.nodes[at].conn, at });
        }
    }

    fn soon(&mut self, within: u64, event: Event) {
        let ms = self.rng.within(1, within + 1);
        self.at(ms, event);
    }

    fn heads(&mut self, session: &mut Session) {
        for (no, id, last) in self.nodes[EDGE].disk.heads(self.nodes[EDGE].incarnation) {
            self.judge.told(no, last);
            if self.plan.bug != Bug::HearsNoHeads {
                session.handle(self.clock(), Input::Head(no, id, last));
            }
        }
    }

    fn store(&mut self, session: &mut Session, at: usize, runs: Vec<(u32, Received)>) {
        let (conn, life) = (self.nodes[at].conn, self.nodes[at].life);
        if self.plan.bug == Bug::AcksBeforeItStores && at == HUB {
            let mut disk = self.nodes[at].disk.clone();
            let held =
                runs.iter().map(|(index, run)| (*index, disk.accept(run, Bug::None).unwrap()));
            session.handle(self.clock(), Input::Stored(held.collect(), Vec::new()));
        }
        let ms = self.rng.within(1, self.plan.fsync_ms);
        let done = (self.now + ms).max(self.nodes[at].disk_free + 1);
        self.nodes[at].disk_free = done;
        self.at(done - self.now, Event::Stored { conn, life, at, runs });
    }

    fn stored(&mut self, conn: u64, at: usize, runs: &[(u32, Received)]) {
        let mut held = Vec::new();
        for (index, run) in runs {
            match self.nodes[at].disk.accept(run, self.plan.bug) {
                Ok(frontier) => held.push((*index, frontier)),
                Err((code, reason)) => return self.give(at, Input::NotStored(code, reason)),
            }
        }
        self.judge.stored(self.now, at, runs, self.nodes[at].disk.doubles);
        let early = self.plan.bug == Bug::AcksBeforeItStores && at == HUB;
        if self.nodes[at].conn == conn && !early {
            self.give(at, Input::Stored(held, Vec::new()));
        }
    }

    /// Puts a frame on the link, in packets.
    fn send(&mut self, from: usize, frame: Vec<u8>) {
        self.judge.sends(from, &frame, self.plan.thin);
        let swaps = self.plan.bug == Bug::SwapsFrames && frame[0] == 3 && from == EDGE;
        if swaps && self.pipes[from].held_back.is_none() && self.rng.percent(30) {
            self.pipes[from].held_back = Some(frame);
            return;
        }
        let mut bytes = frame;
        if let Some(held_back) = self.pipes[from].held_back.take() {
            bytes.extend(held_back);
        }
        let (conn, to) = (self.nodes[from].conn, 1 - from);
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let len = (self.rng.within(1, 1400) as usize).min(rest.len());
            let (packet, after) = rest.split_at(len);
            rest = after;
            let start = self.pipes[from].free.max(self.now);
            let end = start + (len as u64 * 1000).div_ceil(self.plan.rate);
            self.pipes[from].free = end;
            let arrival = end + self.rng.within(self.plan.delay_ms, self.plan.delay_ms * 2);
            let arrival = arrival.max(self.pipes[from].last_arrival);
            self.pipes[from].last_arrival = arrival;
            self.pipes[from].packets.push_back(packet.to_vec());
            self.at(arrival - self.now, Event::Packet { conn, to });
        }
    }

    fn packet(&mut self, conn: u64, to: usize) {
        if self.now < self.dark_until {
            // The transport sends it again until it arrives, if anybody still waits for it.
            self.judge.held_up_in_the_dark += 1;
            let wait = self.dark_until - self.now + self.rng.within(1, 200);
            return self.at(wait, Event::Packet { conn, to });
        }
        let bytes = self.pipes[1 - to].packets.pop_front().expect("an event for each packet");
        self.trace.update(&bytes);
        self.nodes[to].reader.push(&bytes);
        while let Ok(Some(frame)) = self.nodes[to].reader.next_frame() {
            self.judge.hears(to, &frame);
            self.give(to, Input::Frame(frame));
            if self.nodes[to].session.is_none() {
                return;
            }
        }
    }

    /// A side is done with its connection; the other learns it when all that was sent has arrived.
    fn leave(&mut self, at: usize) {
        let conn = self.nodes[at].conn;
        self.nodes[at].session = None;
        self.nodes[at].conn = 0;
        self.nodes[at].tick = u64::MAX;
        if self.nodes[1 - at].conn == conn && conn != 0 {
            let wait = self.pipes[at].last_arrival.saturating_sub(self.now) + 1;
            self.at(wait, Event::Closed { conn, to: 1 - at });
        }
        if at == EDGE {
            self.judge.closed();
            let wait = self.rng.within(500, 4_000);
            self.at(wait, Event::Connect);
        }
    }

    fn connect(&mut self) {
        if !self.nodes[EDGE].up || self.nodes[EDGE].session.is_some() {
            return;
        }
        if self.now < self.dark_until || !self.nodes[HUB].up {
            self.judge.unreachable += 1;
            let wait = self.rng.within(1_000, 5_000);
            return self.at(wait, Event::Connect);
        }
        let older = "the peer opened a new session".to_owned();
        self.give(HUB, Input::Stop(RefusalCode::Unavailable, older));
        self.conns += 1;
        self.pipes = [Pipe::default(), Pipe::default()];
        for (at, role) in ROLES.into_iter().enumerate() {
            let config = self.fleet.config(role, self.nodes[at].incarnation, self.plan.backfill);
            let session = Session::new(config, self.fleet.policy(role), self.clock());
            self.nodes[at].session = Some(session);
            self.nodes[at].conn = self.conns;
            self.nodes[at].reader = FrameReader::default();
            self.nodes[at].tick = u64::MAX;
            self.carry_out(at);
        }
    }

    fn append_some(&mut self) {
        if self.now >= self.plan.heal_ms {
            return;
        }
        if self.nodes[EDGE].up {
            let stream = match self.rng.within(0, 10) {
                0 => Stream::Event,
                1 => Stream::Rollup,
                _ => Stream::Reading,
            };
            let count = self.rng.within(1, 30) as u32;
            self.append(stream, count);
        }
        let wait = self.rng.within(1, 2 * self.plan.append_ms);
        self.at(wait, Event::Append);
    }

    /// The edge commits entries.
    pub fn append(&mut self, stream: Stream, count: u32) {
        let received = Timestamp::from_millis(self.clock().wall_ms).unwrap();
        let body = body(stream, count, received, &mut self.rng);
        self.commit(stream, count, body);
    }

    fn commit(&mut self, stream: Stream, count: u32, body: Vec<u8>) {
        let edge = &mut self.nodes[EDGE];
        let id = ChainId { origin: self.fleet.edge.id(), incarnation: edge.incarnation, stream };
        let no = edge.disk.find(&id).map(|chain| chain.info.no);
        let due = no.and_then(|no| self.signed.get(&no)).is_none_or(|at| self.now - at >= 1_000);
        let commit = edge.disk.append(id, count, body, due.then_some(&self.fleet.edge));
        if due {
            self.signed.insert(commit.chain, self.now);
        }
        self.judge.committed(self.now, id, &commit);
        if let Some(mut session) = self.nodes[EDGE].session.take() {
            self.heads(&mut session);
            self.nodes[EDGE].session = Some(session);
            self.carry_out(EDGE);
        }
    }

    fn start(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.up = true;
        if at == EDGE {
            self.signed.clear();
            let mut body = Vec::new();
            let received = Timestamp::from_millis(self.clock().wall_ms).unwrap();
            events::start_body(&mut body, received).unwrap();
            let start = Entry::Start { version: "sim", ends: events::Ends::NONE };
            start.encode(&mut body, Vec::new()).unwrap();
            self.commit(Stream::Event, 1, body);
            let wait = self.rng.within(100, 2_000);
            self.at(wait, Event::Connect);
        }
    }

    fn kill(&mut self, at: usize, back: bool) {
        let wait = self.rng.within(200, 5_000);
        let nonce = self.rng.next();
        self.leave(at);
        let node = &mut self.nodes[at];
        node.up = false;
        node.life += 1;
        node.disk_free = 0;
        node.incarnation = Incarnation { boot: node.incarnation.boot + 1, nonce };
        if back && let Some(backup) = node.backup.take() {
            node.disk = backup;
        }
        self.at(wait, Event::Start { at });
    }

    fn strike_some(&mut self) {
        if self.now >= self.plan.heal_ms {
            return;
        }
        let fault = self.rng.pick(&self.plan.faults.clone());
        if self.strike(fault) {
            self.judge.struck(fault);
        }
        let wait = self.rng.within(500, 2 * self.plan.strike_ms);
        self.at(wait, Event::Strike);
    }

    /// Lets a fault strike; `false` when there was nothing to strike.
    fn strike(&mut self, fault: Fault) -> bool {
        let up = [self.nodes[EDGE].up, self.nodes[HUB].up];
        match fault {
            Fault::Quiet => {}
            Fault::Cut if self.nodes[EDGE].session.is_some() => self.cut(),
            Fault::Dark if self.now >= self.dark_until => {
                self.dark_until = self.now + self.rng.within(5_000, 120_000);
            }
            Fault::KillEdge if up[EDGE] => self.kill(EDGE, false),
            Fault::KillHub if up[HUB] => {
                self.judge.unfinished_stores += self.stores_at_hub();
                self.kill(HUB, false);
            }
            Fault::BackUp => {
                let at = self.rng.pick(&[EDGE, HUB]);
                self.nodes[at].backup = Some(self.nodes[at].disk.clone());
            }
            Fault::RestoreEdge if up[EDGE] && self.can_restore_edge() => {
                self.cut();
                self.kill(EDGE, true);
            }
            Fault::RestoreHub if up[HUB] && self.nodes[HUB].backup.is_some() => {
                self.cut();
                self.kill(HUB, true);
            }
            Fault::Prune => return self.prune(),
            Fault::Shed => return self.shed(),
            _ => return false,
        }
        true
    }

    /// The connection is gone; what is on the way is lost, wherever in a frame that is.
    fn cut(&mut self) {
        self.nodes[HUB].conn = 0;
        self.nodes[HUB].session = None;
        self.leave(EDGE);
    }

    fn stores_at_hub(&self) -> u64 {
        let stores = |event: &&Event| matches!(event, Event::Stored { at: HUB, .. });
        self.events.values().filter(stores).count() as u64
    }

    /// A hub that holds a later part of a chain than the backup's end cannot send the part back
    /// whose predecessor is lost on both sides.
    fn can_restore_edge(&self) -> bool {
        let Some(backup) = &self.nodes[EDGE].backup else { return false };
        let mut chains = self.nodes[HUB].disk.chains.values();
        let whole = chains.all(|at_hub| {
            let last = backup.find(&at_hub.info.id).map_or(0, |chain| chain.info.last());
            let max = at_hub.info.frontier.max();
            Range::new(last + 1, max).is_none_or(|range| at_hub.info.frontier.covers(range))
        });
        whole && self.stores_at_hub() == 0
    }

    /// Retention removes what the hub has acknowledged.
    fn prune(&mut self) -> bool {
        let max = self.rng.within(1, 30) as usize;
        let edge = &mut self.nodes[EDGE];
        let acked = |chain: &Chain, range| chain.acked.covers(range);
        if !edge.up {
            return false;
        }
        let pruned = edge.disk.remove_oldest(max, acked);
        let is_some = !pruned.is_empty();
        edge.disk.pruned.extend(pruned);
        is_some
    }

    /// The quota is full: the oldest readings go, acknowledged or not, and the gap is declared.
    fn shed(&mut self) -> bool {
        let max = self.rng.within(1, 30) as usize;
        if !self.nodes[EDGE].up {
            return false;
        }
        let unacked = |chain: &Chain, range| !chain.acked.covers(range);
        let gaps = self.nodes[EDGE].disk.remove_oldest(max, unacked);
        if gaps.is_empty() {
            return false;
        }
        self.declare(&gaps);
        true
    }

    /// The hub has lost what was pruned because it had it.
    fn explain(&mut self, no: ChainNo, range: Range) {
        let gaps = self.nodes[EDGE].disk.unexplained(no, range);
        if !gaps.is_empty() {
            self.declare(&gaps);
        }
    }

    fn declare(&mut self, gaps: &[Gap]) {
        let mut body = Vec::new();
        let received = Timestamp::from_millis(self.clock().wall_ms).unwrap();
        events::start_body(&mut body, received).unwrap();
        for gap in gaps {
            Entry::Gap(*gap).encode(&mut body, Vec::new()).unwrap();
        }
        self.commit(Stream::Event, gaps.len() as u32, body);
    }

    /// From now on nothing goes wrong any more.
    pub fn heal(&mut self) {
        self.dark_until = self.dark_until.min(self.now);
        self.plan.thin = false;
        self.plan.rate = 1_000_000;
        self.plan.delay_ms = 5;
    }

    /// Whether an edge's session is under way.
    pub fn connected(&self) -> bool {
        self.nodes[EDGE].session.is_some()
    }
}
