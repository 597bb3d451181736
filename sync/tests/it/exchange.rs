//! Two sessions face to face without a link between them: what one sends the other has at once.

use crate::sim::Bug;
use crate::sim::disk::Disk;
use crate::sim::material::{Fleet, Rng, body};
use holdfast_core::{ChainId, Incarnation, Stream, Timestamp};
use holdfast_sync::identity::{Membership, Role};
use holdfast_sync::session::{
    Backfill, Config, End, Frame, FrameReader, Input, Now, Output, Policy, RefusalCode, Session,
};
use std::sync::Arc;

pub const WALL_MS: i64 = 1_790_000_000_000;

/// A session with its disk.
pub struct Side {
    pub session: Session,
    pub disk: Disk,
    pub incarnation: Incarnation,
    pub now: u64,
    pub sent: u64,
    pub frames: Vec<Vec<u8>>,
    pub end: Option<End>,
    pub established: bool,
    pub renewed: Option<Box<Membership>>,
    pub behind: Option<u64>,
    /// The order in which commits of its own were asked for: stream, first, last, live.
    pub reads: Vec<(Stream, u64, u64, bool)>,
    reader: FrameReader,
}

/// The start of either side with the given boot count.
pub fn start(boot: u64) -> Incarnation {
    Incarnation { boot, nonce: boot * 1_000 }
}

impl Side {
    pub fn new(fleet: &Fleet, role: Role, disk: Disk, boot: u64) -> Self {
        let config = fleet.config(role, start(boot), Backfill::NewestFirst);
        Self::with(config, fleet.policy(role), disk)
    }

    pub fn with(config: Config, policy: Arc<dyn Policy>, disk: Disk) -> Self {
        let incarnation = config.incarnation;
        let now = Now { mono_ms: 0, wall_ms: WALL_MS };
        let mut side = Self {
            session: Session::new(config, policy, now),
            disk,
            incarnation,
            now: 0,
            sent: 0,
            frames: Vec::new(),
            end: None,
            established: false,
            renewed: None,
            behind: None,
            reads: Vec::new(),
            reader: FrameReader::default(),
        };
        side.carry_out();
        side
    }

    pub fn give(&mut self, input: Input) {
        let now = Now { mono_ms: self.now, wall_ms: WALL_MS + self.now as i64 };
        self.session.handle(now, input);
        self.carry_out();
    }

    /// Takes bytes of the peer, as the driver does.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.reader.push(bytes);
        while self.end.is_none() {
            match self.reader.next_frame() {
                Ok(Some(frame)) => self.give(Input::Frame(frame)),
                Ok(None) => return,
                Err(reject) => {
                    self.give(Input::Stop(RefusalCode::Protocol, reject.to_string()));
                }
            }
        }
    }

    pub fn frame(&mut self, frame: &Frame) {
        self.bytes(&frame.encode());
    }

    /// Lets time pass until the session's next deadline.
    pub fn wait(&mut self) {
        self.now = self.session.next_deadline();
        self.give(Input::Tick);
    }

    pub fn heads(&mut self) {
        for (no, id, last) in self.disk.heads(self.incarnation) {
            self.give(Input::Head(no, id, last));
        }
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.session.poll() {
            match output {
                Output::Send(bytes) => {
                    self.sent += bytes.len() as u64;
                    self.frames.push(bytes);
                }
                Output::LoadChains(_) => self.give(Input::Chains(self.disk.load())),
                Output::Read(request) => {
                    let (commits, before) = self.disk.read(&request);
                    let stream = self.disk.chains[&request.chain.0].info.id.stream;
                    if let (Some(first), Some(last)) = (commits.first(), commits.last()) {
                        self.reads.push((stream, first.first, last.last(), request.live));
                    }
                    self.give(Input::Commits(commits, before));
                }
                Output::Store(runs, _) => self.store(&runs),
                Output::Acked(no, held) => {
                    self.disk.chains.get_mut(&no.0).expect("a known chain").acked = *held;
                }
                Output::Established { .. } => self.established = true,
                Output::Renewed(fresh) => self.renewed = Some(fresh),
                Output::Behind(entries) => self.behind = Some(entries),
                Output::Sent(..)
                | Output::Begin(_)
                | Output::Gather(_)
                | Output::Delivered(_)
                | Output::PeerBehind(_)
                | Output::Unfilled(..)
                | Output::PeerAhead(_) => {}
                Output::End(end) => self.end = Some(end),
            }
        }
    }

    fn store(&mut self, runs: &[(u32, holdfast_sync::store::Received)]) {
        let before = self.disk.clone();
        let mut held = Vec::new();
        for (index, run) in runs {
            match self.disk.accept(run, Bug::None) {
                Ok(frontier) => held.push((*index, frontier)),
                Err((code, reason)) => {
                    // The store undoes the whole change.
                    self.disk = before;
                    return self.give(Input::NotStored(code, reason));
                }
            }
        }
        self.give(Input::Stored(held, Vec::new()));
    }

    pub fn code(&self) -> Option<RefusalCode> {
        self.end.as_ref().map(|end| end.code)
    }
}

/// Carries frames both ways until there are none; returns all that `a` sent.
pub fn talk(a: &mut Side, b: &mut Side) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let (from_a, from_b) = (std::mem::take(&mut a.frames), std::mem::take(&mut b.frames));
        if from_a.is_empty() && from_b.is_empty() {
            return all;
        }
        for frame in from_a {
            all.extend_from_slice(&frame);
            b.bytes(&frame);
        }
        from_b.iter().for_each(|frame| a.bytes(frame));
    }
}

/// A disk of the edge with commits in three streams of each of `starts`.
pub fn edge_disk(fleet: &Fleet, starts: std::ops::RangeInclusive<u64>, commits: u64) -> Disk {
    let mut disk = Disk::default();
    for boot in starts {
        for stream in [Stream::Event, Stream::Rollup, Stream::Reading] {
            let id = ChainId { origin: fleet.edge.id(), incarnation: start(boot), stream };
            for i in 0..commits {
                // The same entry whatever else is on the disk.
                let mut rng = Rng(boot * 1_000_000 + i * 10 + stream as u64);
                let received = Timestamp::from_millis(WALL_MS).unwrap();
                let key = (i % 4 == 0).then_some(&fleet.edge);
                disk.append(id, 3, body(stream, 3, received, &mut rng), key);
            }
        }
    }
    disk
}

/// Whether two disks hold the same frontiers and heads.
pub fn same(a: &Disk, b: &Disk) -> bool {
    let held = |disk: &Disk| {
        let chains = disk.chains.values();
        let mut held: Vec<_> = chains
            .map(|c| (c.info.id, c.info.frontier.as_slice().to_vec(), c.info.head, c.commits.len()))
            .collect();
        held.sort_by_key(|(id, ..)| (id.incarnation, id.stream));
        held
    };
    held(a) == held(b)
}
