//! The engine: all runs of a node that are under way, and the one task that moves them.
//!
//! It takes what has come as one group, steps the runs that it concerns in one transaction of the
//! store ([`super::step`]), and once that is on disk begins what leaves the node. While it waits,
//! the next group gathers. What a run is lives in the store; here is a copy of it, and the order of
//! deadlines.

mod conditions;
mod due;
mod gather;
mod settle;
mod timers;

use super::desk::{Desk, Tray};
use super::due::Due;
use super::effect::{Asked, Failure};
use super::library::{Flow, Library};
use super::record::{Run, Waiting};
use super::step::{Local, Told};
use super::{Outside, RunError, Start, Started};
use conditions::Conditions;
pub(super) use conditions::awaited;
use data_encoding::HEXLOWER;
use holdfast_core::flow::{Code, Memory, view};
use holdfast_core::log::runs::RunId;
use holdfast_sync::Fault;
use holdfast_sync::env::Env;
use holdfast_sync::store::{Snapshot, Store, Table, WriteError};
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use timers::Timers;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Commands, and deadlines, of one transaction.
const GROUP: usize = 512;
/// After a transaction that failed.
const RETRY: Duration = Duration::from_secs(1);
/// The wall clock moved by more than this against the one that only goes forward: it was set.
const JUMP_MS: i64 = 1_000;
/// When it was last seen running, so that a clock that went back over a stop is noticed.
const CLOCK: &[u8] = b"runs-clock";
const CLOCK_EVERY_MS: u64 = 10_000;

/// Who waits for what became of a command.
pub(super) type Reply<T> = oneshot::Sender<Result<T, RunError>>;

/// What the engine is asked for.
pub(super) enum Command {
    Install(Flow, Reply<()>),
    Enable {
        id: String,
        version: String,
        is_enabled: bool,
        reply: Reply<()>,
    },
    Remove {
        id: String,
        version: String,
        reply: Reply<()>,
    },
    Start(Start, Option<Reply<Started>>),
    Due(Due),
    Tell {
        run: RunId,
        told: Told,
        reply: Option<Reply<()>>,
    },
    /// A run on a device is over.
    Over(RunId),
}

struct Active {
    flow: Arc<Flow>,
    run: Run,
    deadline: i64,
}

/// Learns what was to begin a run and begins none: the workflow, what it was, and why.
pub type OnLeftOut = Box<dyn Fn(&str, &str, &RunError) + Send + Sync>;

/// All runs that are under way.
pub struct Engine {
    store: Store,
    env: Env,
    local: Arc<dyn Local>,
    outside: Arc<dyn Outside>,
    desk: Desk,
    commands: mpsc::Receiver<Command>,
    /// For effects that come back.
    back: mpsc::UnboundedSender<Command>,
    /// What comes back, and what was found.
    returned: mpsc::UnboundedReceiver<Command>,
    conditions: Conditions,
    timers: Timers,
    /// The zone of the site.
    zone: TimeZone,
    runs: HashMap<RunId, Active>,
    deadlines: BTreeSet<(i64, RunId)>,
    by_workflow: HashMap<String, BTreeSet<RunId>>,
    waiting: BTreeMap<String, VecDeque<(RunId, Waiting)>>,
    over: VecDeque<RunId>,
    /// Runs that gateways want and that cannot begin yet.
    awaited: Vec<Due>,
    /// Keys of conditions of runs that there are not any more.
    unwatched: Vec<Vec<u8>>,
    /// Wall and steady milliseconds when it was last looked at the clock.
    clock: (i64, u64),
    clock_written_ms: u64,
    on_left_out: Option<OnLeftOut>,
}

/// What the engine brings about, and from where it is told what to do.
pub(super) struct Parts {
    pub(super) local: Arc<dyn Local>,
    pub(super) outside: Arc<dyn Outside>,
    pub(super) zone: TimeZone,
    pub(super) desk: Desk,
    pub(super) tray: Tray,
    pub(super) commands: mpsc::Receiver<Command>,
}

impl Engine {
    /// Reads what was under way when the node stopped.
    ///
    /// # Errors
    /// A fault of the store.
    pub(super) fn load(store: Store, parts: Parts) -> Result<Self, Fault> {
        let env = Arc::clone(store.env());
        let Parts { local, outside, zone, desk, tray: Tray(returned), commands } = parts;
        let clock = (env.now().millis(), env.monotonic_ms());
        let mut engine = Self {
            store: store.clone(),
            env,
            local,
            outside,
            back: desk.sender(),
            conditions: Conditions::new(desk.clone()),
            timers: Timers::default(),
            zone,
            desk,
            commands,
            returned,
            runs: HashMap::new(),
            deadlines: BTreeSet::new(),
            by_workflow: HashMap::new(),
            waiting: BTreeMap::new(),
            over: VecDeque::new(),
            awaited: Vec::new(),
            unwatched: Vec::new(),
            clock,
            clock_written_ms: 0,
            on_left_out: None,
        };
        store.read_blocking(|view| engine.read(view))?;
        Ok(engine)
    }

    fn read(&mut self, view: &Snapshot<'_>) -> Result<(), Fault> {
        let library = self.desk.library().clone();
        for (key, value) in view.scan(Table::Run, &[], &[], usize::MAX)? {
            match read_run(&library, &key, &value) {
                Ok((id, flow, run)) => self.take(id, flow, run),
                // Its seal held, so a later version wrote it, or its workflow is gone: it stays.
                Err(why) => tracing::error!(key = %HEXLOWER.encode(&key), why, "a run is left out"),
            }
        }
        for (key, value) in view.scan(Table::RunWaiting, &[], &[], usize::MAX)? {
            let read = Waiting::of_key(&key).and_then(|of| Ok((of, Waiting::decode(&value)?)));
            match read {
                Ok(((workflow, run), waiting)) => {
                    self.waiting.entry(workflow.to_owned()).or_default().push_back((run, waiting));
                }
                Err(reject) => tracing::error!(%reject, "a run that waits is left out"),
            }
        }
        for (key, _) in view.scan(Table::RunOver, &[], &[], usize::MAX)? {
            self.over.extend(key.as_slice().try_into().map(RunId));
        }
        let last = view.get(Table::Cursor, CLOCK)?;
        let last = last.as_deref().and_then(|value| value.first_chunk::<8>());
        let last_ms = last.map_or(i64::MIN, |bytes| i64::from_be_bytes(*bytes));
        // A clock that went back over the stop: what waits waits as long as it would have.
        let back_ms = last_ms.saturating_sub(self.clock.0);
        if last_ms != i64::MIN && back_ms > JUMP_MS {
            self.clock.0 = last_ms;
        }
        self.timers = Timers::load(view)?;
        self.read_due(view)
    }

    fn take(&mut self, id: RunId, flow: Arc<Flow>, run: Run) {
        let deadline = Memory::new(&run.memory, flow.image().sizes);
        let deadline = deadline.map_or(i64::MAX, view::next_deadline);
        self.by_workflow.entry(flow.id.clone()).or_default().insert(id);
        self.conditions.look(id, &flow, &run.memory);
        if let Some(before) = self.runs.insert(id, Active { flow, run, deadline }) {
            self.deadlines.remove(&(before.deadline, id));
        }
        self.deadlines.insert((deadline, id));
    }

    fn drop_run(&mut self, id: RunId) {
        self.conditions.end(id);
        if let Some(active) = self.runs.remove(&id) {
            self.deadlines.remove(&(active.deadline, id));
            if let Some(all) = self.by_workflow.get_mut(&active.flow.id) {
                all.remove(&id);
            }
        }
    }

    /// Works until told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        self.resume();
        let mut again: Vec<Command> = Vec::new();
        loop {
            let mut commands = std::mem::take(&mut again);
            if commands.is_empty() && !self.is_due() {
                let until_due = self.until_due();
                tokio::select! {
                    () = stop.cancelled() => break,
                    Some(command) = self.commands.recv() => commands.push(command),
                    Some(command) = self.returned.recv() => commands.push(command),
                    () = tokio::time::sleep(until_due) => {}
                }
            }
            if stop.is_cancelled() {
                break;
            }
            self.take_commands(&mut commands);
            let group = self.gather(commands);
            if let Err((error, back)) = self.commit(group).await {
                tracing::warn!(%error, "runs wait");
                again = back;
                tokio::select! {
                    () = tokio::time::sleep(RETRY) => {}
                    () = stop.cancelled() => break,
                }
            }
        }
        self.note_clock().await;
    }

    /// Does what has come and what is due, and what follows from it, for whoever has the time in
    /// hand; whether there was anything.
    ///
    /// # Errors
    /// What the store does not take.
    pub async fn come_to_rest(&mut self) -> Result<bool, WriteError> {
        let mut any = false;
        loop {
            let mut commands = Vec::new();
            self.take_commands(&mut commands);
            let is_idle = commands.is_empty() && !self.is_due();
            // Of workflows that have just come it learns the schedules only here.
            let group = self.gather(commands);
            self.commit(group).await.map_err(|(error, _)| error)?;
            if is_idle {
                return Ok(any);
            }
            any = true;
        }
    }

    /// Has what begins no run told to somebody beside the log.
    pub fn on_left_out(&mut self, tell: OnLeftOut) {
        self.on_left_out = Some(tell);
    }

    fn left_out(&self, workflow: &str, by: &str, error: &RunError) {
        tracing::warn!(workflow, by, %error, "what was found begins no run");
        if let Some(tell) = &self.on_left_out {
            tell(workflow, by, error);
        }
    }

    /// When something is due next, Unix milliseconds.
    #[must_use]
    pub fn next_ms(&self) -> i64 {
        let deadline = self.deadlines.first().map_or(i64::MAX, |(at, _)| *at);
        deadline.min(self.timers.next_ms())
    }

    fn take_commands(&mut self, commands: &mut Vec<Command>) {
        while commands.len() < GROUP {
            let next = self.returned.try_recv().ok().or_else(|| self.commands.try_recv().ok());
            let Some(command) = next else { break };
            commands.push(command);
        }
    }

    /// Writes down until when it was running, if time matters to anything.
    async fn note_clock(&self) {
        if self.runs.is_empty() {
            return;
        }
        let now = self.env.now().millis().to_be_bytes();
        let noted = self.store.write(move |tx| Ok(tx.put(Table::Cursor, CLOCK, &now)?)).await;
        if let Err(error) = noted {
            tracing::warn!(%error, "until when runs were under way was not written");
        }
    }

    fn until_due(&self) -> Duration {
        let left = self.next_ms().saturating_sub(self.env.now().millis()).clamp(1, 1_000);
        Duration::from_millis(left.unsigned_abs())
    }

    fn is_due(&self) -> bool {
        self.next_ms() <= self.env.now().millis()
    }

    /// Begins anew what was under way outside when the node stopped.
    fn resume(&mut self) {
        let asked: Vec<(Asked, bool)> = self.runs.iter().flat_map(under_way).collect();
        for (asked, may_be_twice) in asked {
            // What is a row of this store was not done, or it would not be under way.
            if may_be_twice || self.is_local(&asked) {
                self.begin(asked);
            } else {
                let text = "the node stopped while this was under way";
                let told = Told::Result(asked.serial, Err(Failure::new(Code::DOUBT, text)));
                self.send_back(asked.run, told);
            }
        }
        for workflow in self.waiting.keys().cloned().collect::<Vec<_>>() {
            self.look_for_room(&workflow);
        }
    }

    fn send_back(&self, run: RunId, told: Told) {
        // The receiver is ours.
        let _ = self.back.send(Command::Tell { run, told, reply: None });
    }
}

/// A run as it is kept; or why it cannot go on.
fn read_run(
    library: &Library,
    key: &[u8],
    value: &[u8],
) -> Result<(RunId, Arc<Flow>, Run), &'static str> {
    let id = key.try_into().map_err(|_| "its key is none")?;
    let run = Run::decode(value).map_err(|reject| reject.code())?;
    let flow = library.get(&run.workflow, &run.version).map(Arc::clone);
    let flow = flow.ok_or("its workflow is not installed")?;
    view::check(&flow.image(), &run.memory).map_err(|reject| reject.code())?;
    Ok((RunId(id), flow, run))
}

/// What of a run is under way outside, and whether it may be done twice.
fn under_way((id, active): (&RunId, &Active)) -> Vec<(Asked, bool)> {
    let image = active.flow.image();
    let Some(memory) = Memory::new(&active.run.memory, image.sizes) else { return Vec::new() };
    let asked = view::pending(&image, memory).filter_map(|pending| {
        let may_be_twice = image.effect(pending.effect)?.is_idempotent();
        let asked = Asked::of(*id, &active.flow.id, &pending, (&image, memory)).ok()?;
        Some((asked, may_be_twice))
    });
    asked.collect()
}
