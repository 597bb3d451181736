//! Virtual time: the nodes, what connects them, and everything that may happen to them.

use super::fleet::{Fleet, HUB};
use super::judge::Judge;
use super::link::{Conn, End, Storing};
use super::node::{At, Done, Job, Node};
use super::rng::Rng;
use super::{Bug, Plan};
use holdfast_core::Incarnation;
use holdfast_core::codec::Reader;
use holdfast_sync::docs::Cursor;
use holdfast_sync::docs::exchange::{Batch, Incoming, Steward as _};
use holdfast_sync::session::{HeldDocuments, Input, Now, Output, RefusalCode};
use holdfast_sync::store::{ReadRecords as _, Table};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::rc::Rc;
use std::sync::Arc;

/// What happens at some moment.
pub(super) enum Event {
    Packet(At),
    Closed(At),
    /// The hub's end of a connection is told to stop for a newer one.
    Replaced(At),
    Tick(At),
    Told {
        node: usize,
        life: u64,
        done: Vec<Done>,
    },
    Synced {
        node: usize,
        life: u64,
    },
    /// A node loses its power while it syncs.
    Fails {
        node: usize,
        life: u64,
    },
    Write,
    Strike,
    Connect(usize),
    Start {
        node: usize,
        restored: bool,
    },
}

pub struct World {
    pub now: u64,
    pub plan: Plan,
    pub nodes: Vec<Node>,
    pub judge: Judge,
    pub trace: blake3::Hasher,
    /// When a message about documents was last given to a session.
    pub said: u64,
    /// How many there were.
    pub messages: u64,
    pub(super) fleet: Arc<Fleet>,
    pub(super) rng: Rng,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Event>,
    count: u64,
    pub(super) conns: BTreeMap<u64, Conn>,
    pub(super) conn: u64,
    /// When the network of each gateway comes back.
    pub(super) dark_until: Vec<u64>,
}

impl World {
    pub fn new(seed: u64, plan: Plan) -> Self {
        let mut rng = Rng(seed);
        let fleet = Arc::new(Fleet::new(rng.next(), plan.gateways, plan.sites));
        let mut nodes: Vec<_> =
            (0..=plan.gateways).map(|n| Node::new(&fleet, n, rng.next(), &plan)).collect();
        for node in &mut nodes {
            node.clock_ms = plan.clock(&mut rng);
        }
        let mut world = Self {
            now: 0,
            dark_until: vec![0; nodes.len()],
            plan,
            nodes,
            judge: Judge::default(),
            trace: blake3::Hasher::new(),
            said: 0,
            messages: 0,
            fleet,
            rng,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            count: 0,
            conns: BTreeMap::new(),
            conn: 0,
        };
        world.at(1, Event::Write);
        world.at(2_000, Event::Strike);
        world
    }

    pub(super) fn at(&mut self, ms: u64, event: Event) {
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

    fn happen(&mut self, event: Event) {
        match event {
            Event::Packet(to) => self.packet(to),
            Event::Closed(to) => self.closed(to),
            Event::Replaced(at) => {
                let newer = "the peer opened a new session".to_owned();
                self.give(at, Input::Stop(RefusalCode::Unavailable, newer));
            }
            Event::Tick(at) => {
                let now = self.now;
                if let Some(end) = self.end(at).filter(|end| end.tick == now) {
                    end.tick = u64::MAX;
                    self.give(at, Input::Tick);
                }
            }
            Event::Told { node, life, done } if self.nodes[node].life == life => {
                done.into_iter().for_each(|done| self.told(node, done));
            }
            Event::Synced { node, life } if self.nodes[node].life == life => self.synced(node),
            Event::Fails { node, life } if self.nodes[node].life == life => {
                self.lose_power(node, false, false);
            }
            Event::Told { .. } | Event::Synced { .. } | Event::Fails { .. } => {}
            Event::Write => self.write_some(),
            Event::Strike => self.strike_some(),
            Event::Connect(gateway) => self.connect(gateway),
            Event::Start { node, restored } => {
                let nonce = self.rng.next();
                self.nodes[node].start(nonce, restored);
                if node != HUB {
                    let wait = self.rng.within(100, 2_000);
                    self.at(wait, Event::Connect(node));
                }
            }
        }
    }

    pub(super) fn end(&mut self, at: At) -> Option<&mut End> {
        self.conns.get_mut(&at.0)?.ends[at.1].as_mut()
    }

    pub(super) fn clock(&self, node: usize) -> Now {
        Now { mono_ms: self.now, wall_ms: self.nodes[node].wall_ms(self.now) }
    }

    pub(super) fn give(&mut self, at: At, input: Input) {
        let Some(node) = self.end(at).map(|end| end.node) else { return };
        let now = self.clock(node);
        let end = self.end(at).expect("it was there");
        end.session.handle(now, input);
        self.carry_out(at);
    }

    /// Carries out what a session wants, as the driver does.
    pub(super) fn carry_out(&mut self, at: At) {
        while let Some(end) = self.end(at) {
            let Some(output) = end.session.poll() else { break };
            let (node, peer, desk) = (end.node, end.peer, Rc::clone(&end.desk));
            match output {
                Output::Send(frame) => self.send(at, &frame),
                Output::LoadChains(_) => self.submit(node, Job::Load(at, desk)),
                Output::Begin(theirs) => {
                    let key = self.rng.next().to_le_bytes().repeat(2).try_into().unwrap();
                    let theirs = match theirs {
                        HeldDocuments::Upto(cursor) => Some(self.believed(node, cursor)),
                        HeldDocuments::None | HeldDocuments::Unknown => None,
                    };
                    self.submit(node, Job::Begin(at, desk, theirs, key));
                }
                Output::Gather(max) => self.submit(node, Job::Gather(at, desk, max)),
                Output::Store(_, messages) => {
                    let storing = Storing { left: messages.len(), answers: Vec::new() };
                    end.storing.push_back(storing);
                    for message in messages {
                        let peer = self.nodes[peer].id();
                        match Incoming::read(&message) {
                            Ok(read) => {
                                let job = Job::Take(at, Rc::clone(&desk), peer, Box::new(read));
                                self.submit(node, job);
                            }
                            Err(reject) => self.judge.find(format!("no message: {reject}")),
                        }
                    }
                }
                Output::Delivered(pushed) => end.delivered.extend(pushed),
                Output::Established { membership, .. } => {
                    end.open = true;
                    self.nodes[node].steward.met(&membership);
                }
                Output::End(end) => {
                    self.judge.ended(&end);
                    return self.leave(at, true);
                }
                _ => {}
            }
        }
        self.note(at);
        let now = self.now;
        let Some(end) = self.end(at) else { return };
        let deadline = end.session.next_deadline().max(now + 1);
        if deadline < end.tick {
            end.tick = deadline;
            self.at(deadline - now, Event::Tick(at));
        }
    }

    /// Notes what the peer has, one note after the other.
    fn note(&mut self, at: At) {
        let Some(end) = self.end(at) else { return };
        if end.noting || end.delivered.is_empty() {
            return;
        }
        end.noting = true;
        let (node, desk) = (end.node, Rc::clone(&end.desk));
        let pushed = std::mem::take(&mut end.delivered);
        self.submit(node, Job::Note(at, desk, pushed));
    }

    /// The cursor that the node `node` takes the peer to have said.
    fn believed(&self, node: usize, cursor: Cursor) -> Cursor {
        if self.plan.bug != Bug::BelievesAnyCursor {
            return cursor;
        }
        let known = self.nodes[node].disk.get(Table::Meta, b"document starts").unwrap();
        let known = known.unwrap_or_default();
        let mut reader = Reader::new(&known);
        let mut starts = (0..reader.uint().unwrap_or(0)).map(|_| {
            let boot = reader.uint().unwrap();
            let nonce = u64::from_le_bytes(reader.array().unwrap());
            (Incarnation { boot, nonce }, reader.uint().unwrap())
        });
        let last = starts.by_ref().filter(|(_, place)| *place <= cursor.place).last();
        last.map_or(cursor, |(start, _)| Cursor { start, place: cursor.place })
    }

    pub(super) fn submit(&mut self, node: usize, job: Job) {
        self.nodes[node].waiting.push_back(job);
        if self.nodes[node].doing.is_none() {
            self.work(node);
        }
    }

    /// The writer takes all that waits into one transaction and syncs it.
    fn work(&mut self, node: usize) {
        let jobs = std::mem::take(&mut self.nodes[node].waiting);
        let mut done = Vec::with_capacity(jobs.len());
        for job in jobs {
            done.extend(self.nodes[node].execute(job, self.now, &mut self.judge));
        }
        let life = self.nodes[node].life;
        if self.plan.bug == Bug::AnswersBeforeItSyncs {
            let done = std::mem::take(&mut done);
            self.at(0, Event::Told { node, life, done });
        }
        self.nodes[node].doing = Some(done);
        let wait = match self.nodes[node].disk.unsynced() {
            true => self.rng.within(1, self.plan.sync_ms + 1),
            false => 0,
        };
        if wait > 0 && self.nodes[node].fails {
            let wait = self.rng.within(0, wait);
            self.at(wait, Event::Fails { node, life });
        }
        self.at(wait, Event::Synced { node, life });
    }

    fn synced(&mut self, node: usize) {
        self.nodes[node].disk.sync();
        let moved = std::mem::take(&mut self.nodes[node].disk.moved);
        let done = self.nodes[node].doing.take().expect("what was synced was done");
        if !self.nodes[node].waiting.is_empty() {
            self.work(node);
        }
        done.into_iter().for_each(|done| self.told(node, done));
        if moved && self.plan.bug != Bug::HearsNoChanges {
            let mut ends: Vec<At> = Vec::new();
            for (id, conn) in &self.conns {
                let own = |side: &usize| conn.ends[*side].as_ref().is_some_and(|e| e.node == node);
                ends.extend((0..2).filter(own).map(|side| (*id, side)));
            }
            ends.into_iter().for_each(|at| self.give(at, Input::DocumentsChanged));
        }
    }

    /// Tells whoever waits for it what came of a job.
    fn told(&mut self, node: usize, done: Done) {
        match done {
            Done::Wrote(name, change, puts) => self.judge.acknowledged(node, name, change, puts),
            Done::Held(at, held) => {
                self.give(at, Input::Held(held));
                self.give(at, Input::Chains(Vec::new()));
            }
            Done::Said(at, batch) => {
                let batch = self.say(at, batch);
                self.give(at, Input::Documents(batch));
            }
            Done::Took(at, answer) => {
                let answer = self.say(at, answer);
                let Some(end) = self.end(at) else { return };
                let storing = end.storing.front_mut().expect("what was taken had come");
                storing.left -= 1;
                storing.answers.push(answer);
                if storing.left == 0 {
                    let storing = end.storing.pop_front().expect("it is the first");
                    self.give(at, Input::Stored(Vec::new(), storing.answers));
                }
            }
            Done::Noted(at) => {
                if let Some(end) = self.end(at) {
                    end.noting = false;
                    self.note(at);
                }
            }
        }
    }

    /// What goes to a session, as it is, or as a planted bug makes it.
    fn say(&mut self, at: At, mut batch: Batch) -> Batch {
        if self.end(at).is_none() {
            return Batch::default();
        }
        batch.records.iter().for_each(|record| self.judge.says(record));
        if !batch.records.is_empty() {
            self.said = self.now;
            self.messages += batch.records.len() as u64;
        }
        let rng = &mut self.rng;
        match self.plan.bug {
            Bug::LosesMessages => batch.records.retain(|_| !rng.percent(5)),
            Bug::LosesPushes => batch.records.retain(|record| record[0] != 3 || !rng.percent(20)),
            _ => {}
        }
        batch
    }
}
