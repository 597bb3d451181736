//! A node: its disk with the one writer, its documents, its steward and its wrong clock.
//!
//! As in the store, whatever wants to write waits in a queue, the writer takes all that waits into
//! one transaction, each in a savepoint of its own, and nothing that came of it leaves before the
//! transaction is synced.

use super::disk::Disk;
use super::draft::Draft;
use super::fleet::{Fleet, HUB, Stew, policy};
use super::judge::{Judge, Put};
use super::{Bug, Plan};
use holdfast_core::hlc::{Hlc, MAX_MILLIS, Stamp};
use holdfast_core::state::{self, Author, Policy};
use holdfast_core::{Incarnation, NodeId};
use holdfast_sync::docs::exchange::{Batch, Exchange, Incoming, Pushed, Steward};
use holdfast_sync::docs::{Contents, Cursor, DocumentName, Documents, Hash, Writer};
use holdfast_sync::session::HeldDocuments;
use holdfast_sync::store::{Records, Table, WriteError};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

/// Where the clocks would be if they were right.
const BEGIN_MS: i64 = 1_790_000_000_000;

/// One end of a connection: its number, and 0 for the gateway, 1 for the hub.
pub type At = (u64, usize);
/// The exchange of one end; work under way may outlive the end.
pub type Desk = Rc<RefCell<Exchange>>;

/// Work for the writer.
pub enum Job {
    Write(Draft),
    Load(At, Desk),
    Begin(At, Desk, Option<Cursor>, [u8; 16]),
    Gather(At, Desk, usize),
    Take(At, Desk, NodeId, Box<Incoming>),
    Note(At, Desk, Pushed),
}

/// What came of it, to be told once it is synced.
pub enum Done {
    Wrote(DocumentName, Hash, Vec<Put>),
    Held(At, HeldDocuments),
    Said(At, Batch),
    Took(At, Batch),
    Noted(At),
}

/// One node.
pub struct Node {
    pub number: usize,
    pub disk: Disk,
    pub documents: Arc<Documents>,
    pub steward: Arc<Stew>,
    pub start: Incarnation,
    pub up: bool,
    /// Counts starts: what was under way in an earlier one is gone.
    pub life: u64,
    pub copy: Option<Disk>,
    /// How often it was put back to a copy.
    pub restores: u64,
    /// It will lose its power while it syncs something.
    pub fails: bool,
    /// How far its clock is off.
    pub clock_ms: i64,
    pub waiting: VecDeque<Job>,
    /// What the writer has done and not synced yet.
    pub doing: Option<Vec<Done>>,
    hlc: Hlc,
    fleet: Arc<Fleet>,
    bug: Bug,
    /// The lengths at which histories are cut and folded, and how long deletions outlive a cut.
    ages: [u64; 3],
}

impl Node {
    pub fn new(fleet: &Arc<Fleet>, number: usize, nonce: u64, plan: &Plan) -> Self {
        let (bug, ages) = (plan.bug, [plan.cut_at, plan.fold_at, plan.remembered_ms]);
        let start = Incarnation { boot: 1, nonce };
        let mut disk = Disk::default();
        (disk.boot, disk.bug) = (1, bug);
        Self {
            number,
            documents: documents(fleet, number, start, ages),
            steward: Arc::new(steward(fleet, number, &disk, bug)),
            disk,
            start,
            up: true,
            life: 1,
            copy: None,
            restores: 0,
            fails: false,
            clock_ms: 0,
            waiting: VecDeque::new(),
            doing: None,
            hlc: Hlc::default(),
            fleet: Arc::clone(fleet),
            bug,
            ages,
        }
    }

    pub fn id(&self) -> NodeId {
        self.documents.node()
    }

    pub fn wall_ms(&self, now: u64) -> i64 {
        BEGIN_MS + self.clock_ms + now as i64
    }

    /// Loses its power; what is not synced is lost with it, but for a sync that was just done.
    pub fn stop(&mut self, synced: bool) {
        if synced && self.doing.is_some() {
            self.disk.sync();
        }
        self.disk.undo(0);
        self.disk.chunks.clear();
        self.disk.moved = false;
        self.waiting.clear();
        self.doing = None;
        self.fails = false;
        self.up = false;
        self.life += 1;
    }

    /// Starts anew over what is on its disk.
    pub fn start(&mut self, nonce: u64, restored: bool) {
        let keeps = match self.bug {
            Bug::CrashKeepsStart => !restored,
            Bug::RestoreKeepsStart => restored,
            _ => false,
        };
        if !keeps {
            self.disk.boot += 1;
            self.start = Incarnation { boot: self.disk.boot, nonce };
        }
        self.documents = documents(&self.fleet, self.number, self.start, self.ages);
        self.steward = Arc::new(steward(&self.fleet, self.number, &self.disk, self.bug));
        // No mark is kept on disk: the clock may run back over a start.
        self.hlc = Hlc::default();
        self.up = true;
    }

    /// Lets the writer do `job` in a savepoint.
    pub fn execute(&mut self, job: Job, now: u64, judge: &mut Judge) -> Option<Done> {
        let mark = self.disk.mark();
        let done = match job {
            Job::Write(draft) => self.write(&draft, now, judge),
            Job::Load(at, desk) => {
                desk.borrow_mut().held(&self.disk).map_err(WriteError::from).map(|held| {
                    let held = held.map_or(HeldDocuments::Unknown, HeldDocuments::Upto);
                    Some(Done::Held(at, held))
                })
            }
            Job::Begin(at, desk, theirs, key) => {
                let batch = desk.borrow_mut().begin(&mut self.disk, theirs, key);
                batch.map_err(WriteError::from).map(|batch| Some(Done::Said(at, batch)))
            }
            Job::Gather(at, desk, max) => {
                let batch = desk.borrow_mut().next(&mut self.disk, max);
                batch.map(|batch| Some(Done::Said(at, batch)))
            }
            Job::Take(at, desk, peer, message) => {
                let answer = self.take(&mut desk.borrow_mut(), &peer, *message, judge);
                answer.map(|answer| Some(Done::Took(at, answer)))
            }
            Job::Note(at, desk, pushed) => {
                let noted = desk.borrow_mut().acked(&mut self.disk, &pushed);
                noted.map_err(WriteError::from).map(|()| Some(Done::Noted(at)))
            }
        };
        judge.chunks(std::mem::take(&mut self.disk.chunks));
        done.unwrap_or_else(|error| {
            self.disk.undo(mark);
            judge.find(format!("node {}: {error}", self.number));
            None
        })
    }

    fn write(
        &mut self,
        draft: &Draft,
        now: u64,
        judge: &mut Judge,
    ) -> Result<Option<Done>, WriteError> {
        let name = &draft.document;
        let wall_ms = u64::try_from(self.wall_ms(now)).expect("clocks are off by ten years only");
        let clock = match self.bug {
            Bug::ClockAtTheEnd => Stamp::new(MAX_MILLIS, u16::MAX),
            _ => self.hlc.tick(wall_ms),
        };
        let role = if self.number == HUB { state::Role::Hub } else { state::Role::Edge };
        let (author, role) = match name.device_author().filter(|_| draft.by_device) {
            Some(device) => (device, state::Role::Device),
            None => (Author::node(&self.id()), role),
        };
        let before = Contents::read(&self.disk, name)?;
        let policy = self.steward.policy(name);
        let policy = Policy::from_bytes(&policy).expect("policies of the simulation are whole");
        let writer = Writer { author, role, clock };
        let mark = self.disk.mark();
        let wrote = self.documents.write(&mut self.disk, name, &policy, writer, &draft.edits());
        let written = match wrote {
            Ok(written) => written,
            Err(WriteError::Document(refusal)) => {
                // Told to the writer, who is not the one that is judged here.
                judge.refused_locally(refusal.code());
                self.disk.undo(mark);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let Some(change) = written.change else { return Ok(None) };
        let puts = judge.wrote(self, name, &before)?;
        Ok(Some(Done::Wrote(name.clone(), change, puts)))
    }

    fn take(
        &mut self,
        exchange: &mut Exchange,
        peer: &NodeId,
        message: Incoming,
        judge: &mut Judge,
    ) -> Result<Batch, WriteError> {
        let taken = exchange.take(&mut self.disk, message)?;
        let Some((name, applied)) = taken.applied else { return Ok(taken.answer) };
        if applied.quarantined {
            judge.find(format!("node {}: a change of {name} is in quarantine", self.number));
        }
        self.steward.note_home(&self.documents, &mut self.disk, peer, &name);
        for settled in &applied.settled {
            for loser in &settled.losers {
                if self.bug != Bug::ForgetsLosers || loser[2] % 3 != 0 {
                    let key = journal_key(&name, &settled.path, loser);
                    self.disk.put(Table::Event, &key, &[])?;
                }
            }
        }
        judge.took(self, &name)?;
        Ok(taken.answer)
    }
}

/// The key of a losing cell in the journal that a node keeps in its records.
pub fn journal_key(name: &DocumentName, path: &str, cell: &[u8]) -> Vec<u8> {
    [name.as_str().as_bytes(), &[0], path.as_bytes(), &[0], cell].concat()
}

fn documents(
    fleet: &Fleet,
    number: usize,
    start: Incarnation,
    [cut_at, fold_at, remembered_ms]: [u64; 3],
) -> Arc<Documents> {
    let role = if number == HUB { state::Role::Hub } else { state::Role::Edge };
    let documents = Documents::of_start(start, fleet.keys[number].clone(), role);
    let documents = documents.cutting_at(cut_at).folding_at(fold_at);
    Arc::new(documents.remembering_for(remembered_ms))
}

fn steward(fleet: &Arc<Fleet>, number: usize, disk: &Disk, bug: Bug) -> Stew {
    let policy: Arc<[u8]> = match bug {
        Bug::OwnPolicy if number == 1 => Policy::LWW.as_bytes().into(),
        _ => policy(),
    };
    Stew::of_start(fleet, number, disk, policy, bug)
}
