//! What came, made into one transaction.

use super::{CLOCK, CLOCK_EVERY_MS};
use super::{Command, Engine, GROUP, JUMP_MS, Reply};
use crate::runs::due::Due;
use crate::runs::effect::given;
use crate::runs::forward::Forward;
use crate::runs::library::{Flow, INSTALLED_MAX};
use crate::runs::local::clear_all;
use crate::runs::record::{INPUT_MAX_BYTES, Installed, Waiting};
use crate::runs::step::{Told, Touched};
use crate::runs::{RUNS_MAX, RunError, Start, Started};
use holdfast_core::flow::about::{Overlap, Placement};
use holdfast_core::log::runs::RunId;
use holdfast_core::state::Role;
use holdfast_sync::store::{Table, WriteError, WriteTx};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Runs that are over and kept; beyond, the oldest go.
const OVER_MAX: usize = 10_000;
/// Runs that wait for room.
const WAITING_MAX: usize = 2_000;

/// A row that is written beside the steps.
pub(super) enum Write {
    Put(Table, Vec<u8>, Vec<u8>),
    Delete(Table, Vec<u8>),
    /// All rows of a run.
    DeleteOf(Table, RunId),
    /// What runs of a workflow have raised is over.
    ClearAlerts(String),
    /// A run is for the hub.
    Forward(Box<Forward>),
    /// A run that a gateway wants cannot begin, and why.
    Unbegun(Box<Forward>, String),
}

impl Write {
    pub(super) fn apply(&self, tx: &mut WriteTx<'_>) -> Result<(), WriteError> {
        match self {
            Self::Put(table, key, value) => tx.put(*table, key, value)?,
            Self::Delete(table, key) => drop(tx.delete(*table, key)?),
            Self::DeleteOf(table, run) => {
                let end = [&run.0[..], &[u8::MAX; 5]].concat();
                tx.delete_range(*table, &run.0, &end)?;
            }
            Self::ClearAlerts(workflow) => clear_all(tx, workflow)?,
            Self::Forward(forward) => forward.write(tx)?,
            Self::Unbegun(wanted, why) => wanted.write_unbegun(tx, why)?,
        }
        Ok(())
    }
}

/// What becomes of the library once it is on disk.
pub(super) enum Change {
    Put(Arc<Flow>),
    Remove(String, String),
}

/// What one transaction is to do, and who waits for it.
#[derive(Default)]
pub(super) struct Group {
    pub(super) touched: BTreeMap<RunId, Touched>,
    pub(super) writes: Vec<Write>,
    /// For which run, the how-manieth of what it was told, and who waits for that.
    pub(super) told: Vec<(RunId, usize, Reply<()>)>,
    pub(super) started: Vec<(Started, Reply<Started>)>,
    pub(super) changes: Vec<(Change, Reply<()>)>,
    pub(super) queued: Vec<(String, RunId, Waiting)>,
    pub(super) unqueued: Vec<(String, RunId)>,
    /// Runs that are over at once: those for the hub.
    pub(super) forwarded: Vec<RunId>,
    /// Runs that are to begin and nobody waits for: they are asked for again where this fails.
    pub(super) unasked: Vec<Start>,
    /// What was found and is taken: likewise.
    pub(super) dues: Vec<Due>,
    /// Up to when schedules are judged, by their keys.
    pub(super) judged: BTreeMap<Vec<u8>, i64>,
    /// Who is told that it is done once it is on disk.
    pub(super) done: Vec<Reply<()>>,
}

impl Group {
    pub(super) fn is_empty(&self) -> bool {
        self.touched.is_empty() && self.writes.is_empty() && self.started.is_empty()
    }
}

impl Engine {
    /// Makes one transaction of what came and what is due.
    pub(super) fn gather(&mut self, commands: Vec<Command>) -> Group {
        let mut group = Group::default();
        self.look_at_clock(&mut group);
        for command in commands {
            match command {
                Command::Install(flow, reply) => self.install(&mut group, flow, reply),
                Command::Enable { id, version, is_enabled, reply } => {
                    let found = self.library().get(&id, &version).map(Arc::clone);
                    match found {
                        Some(flow) => put(&mut group, flow.enabled(is_enabled), reply),
                        None => answer(reply, Err(RunError::NoWorkflow(id))),
                    }
                }
                Command::Remove { id, version, reply } => {
                    self.remove(&mut group, (id, version), reply);
                }
                Command::Start(start, reply) => self.start(&mut group, start, reply),
                Command::Due(due) => self.take_due(&mut group, due),
                Command::Tell { run, told, reply } => self.tell(&mut group, run, told, reply),
                // One that was over when this was read at the start is known.
                Command::Over(run) if self.over.contains(&run) => {}
                Command::Over(run) => self.over.push_back(run),
            }
        }
        self.judge_schedules(&mut group);
        let now_ms = self.env.now().millis();
        let due = self.deadlines.iter().take_while(|(at, _)| *at <= now_ms).take(GROUP);
        for run in due.map(|(_, run)| *run).collect::<Vec<_>>() {
            self.tell(&mut group, run, Told::Tick, None);
        }
        for key in std::mem::take(&mut self.unwatched) {
            group.writes.push(Write::Delete(Table::RunCondition, key));
        }
        let surplus = self.over.len().saturating_sub(OVER_MAX);
        for run in self.over.drain(..surplus) {
            group.writes.push(Write::Delete(Table::RunOver, run.0.to_vec()));
            group.writes.push(Write::DeleteOf(Table::RunStep, run));
        }
        group
    }

    /// A clock that was set takes along what waits for a length of time.
    fn look_at_clock(&mut self, group: &mut Group) {
        let (now_ms, steady) = (self.env.now().millis(), self.env.monotonic_ms());
        let passed = i64::try_from(steady.saturating_sub(self.clock.1)).unwrap_or(i64::MAX);
        let jump = now_ms.saturating_sub(self.clock.0).saturating_sub(passed);
        self.clock = (now_ms, steady);
        if jump.abs() > JUMP_MS {
            tracing::warn!(jump_ms = jump, "the clock was set: what waits goes on waiting as long");
            for run in self.runs.keys().copied().collect::<Vec<_>>() {
                self.tell(group, run, Told::ClockSet(jump), None);
            }
        }
        let is_old = steady.saturating_sub(self.clock_written_ms) >= CLOCK_EVERY_MS;
        if !self.runs.is_empty() && (is_old || jump.abs() > JUMP_MS) {
            self.clock_written_ms = steady;
            let now = now_ms.to_be_bytes().to_vec();
            group.writes.push(Write::Put(Table::Cursor, CLOCK.to_vec(), now));
        }
    }

    fn install(&mut self, group: &mut Group, flow: Flow, reply: Reply<()>) {
        let known = self.library().get(&flow.id, &flow.version).map(Arc::clone);
        let is_full = self.library().len() >= INSTALLED_MAX;
        match known.map(|known| known.installed.clone()) {
            Some(known) if known.image != flow.installed.image => {
                answer(reply, Err(RunError::OtherImage));
            }
            // What its site has it used for replaces what somebody said here, not the other way.
            Some(known) if flow.installed.origin.is_none() || known == flow.installed => {
                answer(reply, Ok(()));
            }
            None if is_full => answer(reply, Err(RunError::Full)),
            // Whether new runs may begin is for those at the node to say, as long as it is used.
            Some(known) if known.is_used() && flow.installed.is_used() => {
                put(group, flow.enabled(known.is_enabled), reply);
            }
            _ => put(group, flow, reply),
        }
    }

    fn remove(&mut self, group: &mut Group, (id, version): (String, String), reply: Reply<()>) {
        if self.library().get(&id, &version).is_none() {
            return answer(reply, Err(RunError::NoWorkflow(id)));
        }
        let under_way = self.by_workflow.get(&id).into_iter().flatten();
        let under_way = under_way.filter(|run| self.runs[*run].flow.version == version).count();
        let waiting = self.waiting.get(&id).into_iter().flatten();
        let waiting = waiting.filter(|(_, waiting)| waiting.version == version).count();
        let pinned = under_way + waiting + self.desk.away().pinned(&id, &version);
        if pinned > 0 {
            return answer(reply, Err(RunError::InUse(pinned)));
        }
        group.writes.push(Write::Delete(Table::Workflow, Installed::key(&id, &version)));
        if self.library().versions(&id).count() == 1 {
            group.writes.push(Write::ClearAlerts(id.clone()));
        }
        group.changes.push((Change::Remove(id, version), reply));
    }

    pub(super) fn tell(&self, group: &mut Group, run: RunId, told: Told, reply: Option<Reply<()>>) {
        // One that begins in this very transaction has nothing to be told yet.
        let Some(active) = self.runs.get(&run) else {
            let Some(reply) = reply else { return };
            let waits = self.waiting.keys().find(|workflow| self.waits(workflow, run));
            return match (waits, told) {
                (Some(workflow), Told::Cancel(by)) => {
                    tracing::info!(%run, workflow, by, "a run that waited does not begin");
                    let key = Waiting::key(workflow, run);
                    group.writes.push(Write::Delete(Table::RunWaiting, key));
                    group.unqueued.push((workflow.clone(), run));
                    group.done.push(reply);
                }
                (Some(_), _) => answer(reply, Err(RunError::NotBegun)),
                (None, _) if self.over.contains(&run) => answer(reply, Err(RunError::Over)),
                (None, _) => {
                    let device = self.desk.away().device_of(run);
                    answer(reply, Err(device.map_or(RunError::NoRun, RunError::OnDevice)));
                }
            };
        };
        let touched = group.touched.entry(run).or_insert_with(|| Touched {
            id: run,
            flow: Arc::clone(&active.flow),
            run: active.run.clone(),
            told: Vec::new(),
        });
        if let Some(reply) = reply {
            group.told.push((run, touched.told.len(), reply));
        }
        touched.told.push(told);
    }

    fn start(&mut self, group: &mut Group, start: Start, reply: Option<Reply<Started>>) {
        let (parent, is_queued) = (start.parent, start.is_queued);
        if reply.is_none() {
            group.unasked.push(start.clone());
        }
        match self.judge(group, start) {
            Ok(started) => {
                if let Some(reply) = reply {
                    group.started.push((started, reply));
                }
            }
            Err(error) => {
                if let Some((run, serial)) = parent {
                    self.send_back(run, Told::Result(serial, Err(error.failure())));
                } else if is_queued {
                    tracing::warn!(%error, "a run that waited cannot begin any more");
                }
                if let Some(reply) = reply {
                    answer(reply, Err(error));
                }
            }
        }
    }

    pub(super) fn judge(&mut self, group: &mut Group, start: Start) -> Result<Started, RunError> {
        let now_ms = self.env.now().millis();
        let random = || [self.env.entropy(), self.env.entropy()];
        let id = start.id.unwrap_or_else(|| RunId::new(now_ms, random()));
        let was_there = if start.is_queued {
            // It may have been asked for twice before it began.
            group.unqueued.iter().any(|(_, run)| *run == id) || !self.waits(&start.workflow, id)
        } else {
            start.id.is_some() && self.is_known(group, id)
        };
        if was_there {
            return Ok(Started { run: id, was_there, ..Started::default() });
        }
        let library = self.library();
        let flow = match start.version.as_deref() {
            Some(version) => library.get(&start.workflow, version),
            None => library.newest(&start.workflow),
        };
        let flow = flow.filter(|flow| flow.may_begin(start.is_queued)).map(Arc::clone);
        drop(library);
        let flow = flow.ok_or_else(|| RunError::NoWorkflow(start.workflow.clone()))?;
        if flow.is_for_devices() {
            return Err(RunError::OfDevices(start.workflow));
        }
        let image = flow.image();
        let values = given(&image, image.inputs(), &start.input).map_err(RunError::Input)?;
        let about = flow.about();
        if about.placement == Placement::Hub && self.desk.role() != Role::Hub {
            return forward(group, id, &flow.version, start);
        }
        let begun = group.touched.values().filter(|touched| {
            touched.flow.id == flow.id && matches!(touched.told.first(), Some(Told::Start(_)))
        });
        let under_way = self.by_workflow.get(&flow.id).map_or(0, |all| all.len()) + begun.count();
        let has_room = under_way < usize::from(about.concurrent) && self.runs.len() < RUNS_MAX;
        if start.is_queued && !has_room {
            return Ok(Started { run: id, waits: true, was_there: true, is_forwarded: false });
        }
        if has_room && (start.is_queued || self.next_waiting(&flow.id).is_none()) {
            if start.is_queued {
                let key = Waiting::key(&start.workflow, id);
                group.writes.push(Write::Delete(Table::RunWaiting, key));
                group.unqueued.push((start.workflow.clone(), id));
            }
            let from = (start.by, start.parent);
            group.touched.insert(id, Touched::new(id, flow.clone(), values, from));
            return Ok(Started { run: id, ..Started::default() });
        }
        match about.overlap {
            Overlap::Skip => return Err(RunError::Skipped),
            Overlap::Replace => {
                let oldest = self.by_workflow.get(&flow.id).and_then(|all| all.first().copied());
                if let Some(oldest) = oldest {
                    let by = format!("a newer run, {id}");
                    self.tell(group, oldest, Told::Cancel(by), None);
                }
            }
            Overlap::Queue => {}
        }
        self.queue(group, id, &flow.version, start)?;
        Ok(Started { run: id, waits: true, ..Started::default() })
    }

    /// Has a run wait for room; from here on it is pinned to its version, like one that has begun.
    fn queue(
        &self,
        group: &mut Group,
        id: RunId,
        version: &str,
        start: Start,
    ) -> Result<(), RunError> {
        let all: usize = self.waiting.values().map(|waiting| waiting.len()).sum();
        let input = Json::Object(start.input).to_string();
        if all + group.queued.len() >= WAITING_MAX || input.len() > INPUT_MAX_BYTES {
            return Err(RunError::Full);
        }
        let version = version.to_owned();
        let waiting = Waiting { version, by: start.by, parent: start.parent, input };
        let key = Waiting::key(&start.workflow, id);
        group.writes.push(Write::Put(Table::RunWaiting, key, waiting.encode()));
        group.queued.push((start.workflow, id, waiting));
        Ok(())
    }

    /// The run of a workflow that has waited longest of those whose version may begin, with that.
    pub(super) fn next_waiting(&self, workflow: &str) -> Option<(RunId, &Waiting, Arc<Flow>)> {
        let library = self.library();
        self.waiting.get(workflow)?.iter().find_map(|(run, waiting)| {
            let flow = library.get(workflow, &waiting.version);
            let flow = flow.filter(|flow| flow.may_begin(true))?;
            Some((*run, waiting, Arc::clone(flow)))
        })
    }

    fn waits(&self, workflow: &str, id: RunId) -> bool {
        self.waiting.get(workflow).is_some_and(|all| all.iter().any(|(run, _)| *run == id))
    }

    fn is_known(&self, group: &Group, id: RunId) -> bool {
        let waits = || self.waiting.keys().any(|workflow| self.waits(workflow, id));
        self.runs.contains_key(&id)
            || group.touched.contains_key(&id)
            || group.queued.iter().any(|(_, queued, _)| *queued == id)
            || group.forwarded.contains(&id)
            || self.over.contains(&id)
            || waits()
    }

    pub(super) fn library(&self) -> std::sync::RwLockReadGuard<'_, crate::runs::Library> {
        self.desk.library()
    }
}

/// Hands a run to the hub.
fn forward(
    group: &mut Group,
    run: RunId,
    version: &str,
    start: Start,
) -> Result<Started, RunError> {
    if start.parent.is_some() {
        return Err(RunError::OfHub(start.workflow));
    }
    let (input, version) = (Json::Object(start.input).to_string(), version.to_owned());
    if input.len() > INPUT_MAX_BYTES {
        let text = format!("what it is given has {} bytes: at most {INPUT_MAX_BYTES}", input.len());
        return Err(RunError::Input(text));
    }
    let forward = Forward { run, workflow: start.workflow, version, by: start.by, input };
    group.writes.push(Write::Forward(Box::new(forward)));
    group.forwarded.push(run);
    Ok(Started { run, is_forwarded: true, ..Started::default() })
}

fn put(group: &mut Group, flow: Flow, reply: Reply<()>) {
    let key = Installed::key(&flow.id, &flow.version);
    group.writes.push(Write::Put(Table::Workflow, key, flow.installed.encode()));
    group.changes.push((Change::Put(Arc::new(flow)), reply));
}

pub(super) fn answer<T>(reply: Reply<T>, with: Result<T, RunError>) {
    // Whoever asked may have gone away.
    let _ = reply.send(with);
}
