//! The transaction, and what follows from it once it is on disk.

use super::gather::{Change, Group, answer};
use super::{Active, Command, Engine, Reply};
use crate::runs::due::Due;
use crate::runs::effect::{Asked, Failure, shown};
use crate::runs::step::{Stepped, Told, Touched, advance};
use crate::runs::{RunError, Start};
use futures::FutureExt;
use futures::future::{Either, select};
use holdfast_core::flow::effect::{Argument, Kind};
use holdfast_core::flow::memory::Phase;
use holdfast_core::flow::{Code, Memory};
use holdfast_core::log::runs::RunId;
use holdfast_sync::docs::Documents;
use holdfast_sync::store::{Table, WriteError, WriteTx};
use serde_json::{Map, Value as Json};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// An effect without a limit of its own is given up for this attempt then.
const OUTSIDE_LONGEST: Duration = Duration::from_secs(3_600);

impl Engine {
    /// Makes the transaction and what follows from it; where it fails, gives back what nobody else
    /// would say again.
    pub(super) async fn commit(&mut self, group: Group) -> Result<(), (WriteError, Vec<Command>)> {
        if group.is_empty() {
            return Ok(());
        }
        let Group {
            touched,
            writes,
            told,
            started,
            changes,
            queued,
            unqueued,
            unasked,
            dues,
            judged,
            done,
            forwarded,
        } = group;
        let waited: BTreeSet<_> = told.iter().map(|(run, place, _)| (*run, *place)).collect();
        let mut again = said_again(touched.values(), &waited);
        again.extend(unasked.into_iter().map(|start| Command::Start(start, None)));
        // Those behind one that was taken are looked at next.
        let wanted: Vec<_> = dues.iter().filter_map(Due::wanted_of).map(str::to_owned).collect();
        again.extend(dues.into_iter().map(Command::Due));
        let (local, env) = (Arc::clone(&self.local), Arc::clone(&self.env));
        let (touched, has_changes) = (touched.into_values().collect(), !changes.is_empty());
        let change = move |tx: &mut WriteTx<'_>| {
            for write in &writes {
                write.apply(tx)?;
            }
            let place = if has_changes { Documents::last_place(tx)? } else { 0 };
            Ok((place, advance(tx, touched, local.as_ref(), &env)?))
        };
        let (place, stepped) = match self.store.write(change).await {
            Ok((_committed, done)) => done,
            Err(error) => {
                let why = RunError::Store(error.to_string());
                let replies = told.into_iter().map(|(.., reply)| reply);
                let replies = replies.chain(changes.into_iter().map(|(_, reply)| reply));
                replies.chain(done).for_each(|reply| answer(reply, Err(why.clone())));
                started.into_iter().for_each(|(_, reply)| answer(reply, Err(why.clone())));
                return Err((error, again));
            }
        };
        self.local.settled();
        let mut changed: BTreeSet<_> = stepped.iter().map(|done| done.flow.id.clone()).collect();
        changed.extend(self.change_library(changes, place));
        changed.extend(wanted);
        for (workflow, run, waiting) in queued {
            self.waiting.entry(workflow).or_default().push_back((run, waiting));
        }
        for (workflow, run) in unqueued {
            if let Some(waiting) = self.waiting.get_mut(&workflow) {
                waiting.retain(|(known, _)| *known != run);
            }
            // One that could not begin leaves its place to the next.
            changed.insert(workflow);
        }
        answer_told(told, &stepped);
        self.timers.settle(judged);
        self.over.extend(forwarded);
        stepped.into_iter().for_each(|done| self.settle(done));
        for (began, reply) in started {
            answer(reply, Ok(began));
        }
        done.into_iter().for_each(|reply| answer(reply, Ok(())));
        self.look_at_awaited(&changed);
        Ok(())
    }

    /// Changes the library, behind the change of a document at `place`; of which workflows runs
    /// that wait may begin by now.
    fn change_library(&self, changes: Vec<(Change, Reply<()>)>, place: u64) -> Vec<String> {
        let mut enabled = Vec::new();
        for (change, reply) in changes {
            match change {
                Change::Put(flow) => {
                    enabled.push(flow.id.clone());
                    flow.installed_at(place);
                    self.desk.change(|library| library.put(flow));
                }
                Change::Remove(id, version) => {
                    self.desk.change(|library| library.remove(&id, &version));
                }
            }
            answer(reply, Ok(()));
        }
        enabled
    }

    fn settle(&mut self, done: Stepped) {
        let Stepped { id, flow, run, asked, .. } = done;
        if run.phase().is_none_or(Phase::is_over) {
            if let Some((parent, serial)) = run.parent {
                let image = flow.image();
                let memory = Memory::new(&run.memory, image.sizes);
                let outcome = memory.map_or_else(
                    || Err(Failure::new(Code::FAILED, "its memory is of another image")),
                    |memory| ended(id, &flow, memory),
                );
                self.send_back(parent, Told::Result(serial, outcome));
            }
            self.drop_run(id);
            self.over.push_back(id);
        } else {
            let is_other = |active: &Active| active.flow.version != flow.version;
            if self.runs.get(&id).is_some_and(is_other) {
                // The conditions of one version are not those of another.
                self.conditions.end(id);
            }
            self.take(id, flow, run);
        }
        asked.into_iter().for_each(|asked| self.begin(asked));
    }

    /// Whether an effect is a row of this store.
    pub(super) fn is_local(&self, asked: &Asked) -> bool {
        self.local.kinds() & asked.kind.bit() != 0
    }

    /// Begins an effect that leaves the node, or that had no room in its run's last transaction.
    pub(super) fn begin(&self, asked: Asked) {
        if self.is_local(&asked) {
            return self.send_back(asked.run, Told::Tick);
        }
        if asked.kind == Kind::Flow {
            return self.begin_child(&asked);
        }
        let (outside, back) = (Arc::clone(&self.outside), self.back.clone());
        let (run, serial) = (asked.run, asked.serial);
        let limit = match asked.timeout_ms {
            // A request waits for its place first, and its time begins when it has one.
            _ if asked.kind == Kind::Http => OUTSIDE_LONGEST,
            0 => OUTSIDE_LONGEST,
            timeout_ms => Duration::from_millis(timeout_ms).min(OUTSIDE_LONGEST),
        };
        let work = async move {
            let outcome = if outside.kinds() & asked.kind.bit() == 0 {
                let text = format!("this node cannot bring about a `{}`", asked.kind.name());
                Err(Failure::new(Code::INCAPABLE, text))
            } else {
                match select(outside.act(asked), outside.sleep(limit)).await {
                    Either::Left((outcome, _)) => outcome,
                    Either::Right(_) => Err(Failure::new(Code::TIMEOUT, "no answer in time")),
                }
            };
            let told = Told::Result(serial, outcome);
            // The engine may have stopped; then it is begun anew at the next start.
            let _ = back.send(Command::Tell { run, told, reply: None });
        };
        self.outside.spawn(work.boxed());
    }

    /// Begins the run that another one waits for; under the same id, however often it is asked for.
    fn begin_child(&self, asked: &Asked) {
        let id = asked.child();
        if self.over.contains(&id) {
            return self.tell_ended(asked, id);
        }
        let failed = |code, text: &str| {
            let told = Told::Result(asked.serial, Err(Failure::new(code, text)));
            self.send_back(asked.run, told);
        };
        let Ok(workflow) = asked.need(Argument::Name) else {
            return failed(Code::INVALID, "no workflow is named");
        };
        let input = match asked.json(Argument::Args) {
            None => Map::new(),
            Some(Json::Object(input)) => input,
            Some(_) => return failed(Code::INVALID, "what a run is given is an object"),
        };
        let start = Start {
            workflow: workflow.to_owned(),
            version: None,
            input,
            by: format!("run {}", asked.run),
            parent: Some((asked.run, asked.serial)),
            id: Some(id),
            is_queued: false,
        };
        // The receiver is ours.
        let _ = self.back.send(Command::Start(start, None));
    }

    /// Tells a run of the end of the one that it waits for, from what is kept of that.
    fn tell_ended(&self, asked: &Asked, id: RunId) {
        let found = self.store.read_blocking(|view| view.get(Table::RunOver, &id.0));
        let run = found.ok().flatten().and_then(|value| crate::runs::Run::decode(&value).ok());
        let flow = run
            .as_ref()
            .and_then(|run| self.library().get(&run.workflow, &run.version).map(Arc::clone));
        let outcome = match (run, flow) {
            (Some(run), Some(flow)) => {
                let image = flow.image();
                let memory = Memory::new(&run.memory, image.sizes);
                memory.map(|memory| ended(id, &flow, memory))
            }
            _ => None,
        };
        let lost = || Err(Failure::new(Code::FAILED, format!("run {id} is over and forgotten")));
        self.send_back(asked.run, Told::Result(asked.serial, outcome.unwrap_or_else(lost)));
    }

    /// Begins the run of a workflow that waits, if there is room by now.
    pub(super) fn look_for_room(&self, workflow: &str) {
        let Some((run, waiting, flow)) = self.next_waiting(workflow) else { return };
        let under_way = self.by_workflow.get(workflow).map_or(0, BTreeSet::len);
        if under_way >= usize::from(flow.about().concurrent) {
            return;
        }
        let start = Start {
            workflow: workflow.to_owned(),
            version: Some(waiting.version.clone()),
            input: serde_json::from_str(&waiting.input).unwrap_or_default(),
            by: waiting.by.clone(),
            parent: waiting.parent,
            id: Some(run),
            is_queued: true,
        };
        // The receiver is ours.
        let _ = self.back.send(Command::Start(start, None));
    }
}

/// Tells those who wait for it what became of what runs were told.
fn answer_told(told: Vec<(RunId, usize, Reply<()>)>, stepped: &[Stepped]) {
    let refused: HashMap<_, _> = stepped
        .iter()
        .flat_map(|done| done.refused.iter().map(|(place, why)| ((done.id, *place), why)))
        .collect();
    for (run, place, reply) in told {
        let refused = refused.get(&(run, place)).map(|why| RunError::Refused((*why).clone()));
        answer(reply, refused.map_or(Ok(()), Err));
    }
}

/// What is told again when a transaction failed: what nobody waits for, and time tells itself.
fn said_again<'t>(
    touched: impl Iterator<Item = &'t Touched>,
    waited: &BTreeSet<(RunId, usize)>,
) -> Vec<Command> {
    let mut out = Vec::new();
    for Touched { id, told, .. } in touched {
        for (place, told) in told.iter().enumerate() {
            let is_kept = matches!(told, Told::Result(..) | Told::ClockSet(_) | Told::Cancel(_));
            if is_kept && !waited.contains(&(*id, place)) {
                out.push(Command::Tell { run: *id, told: told.clone(), reply: None });
            }
        }
    }
    out
}

/// What a run that is over leaves to the one that waits for it.
fn ended(id: RunId, flow: &crate::runs::Flow, memory: Memory<'_>) -> Result<Json, Failure> {
    let image = flow.image();
    if memory.phase() == Some(Phase::Succeeded) {
        let outputs =
            image.outputs().map(|field| (field.name.to_owned(), shown(&image, memory, field.slot)));
        return Ok(Json::Object(outputs.collect()));
    }
    let cause = image.error_name(memory.cause()).unwrap_or("failed");
    Err(Failure::new(Code::FAILED, format!("run {id} of `{}`: {cause}", flow.id)))
}
