//! Steps of runs inside of the writer's transaction.
//!
//! What came for a run is told to it one after the other. Where it asks for something that is a row
//! of this store, that is done at once, in the same transaction, and its answer told: so a local
//! effect is on disk exactly when the run knows of it. What leaves the node is begun only once the
//! transaction is on disk; until then it just stands in the memory.

use super::effect::{Asked, Failure, Owned, answers};
use super::engine::awaited;
use super::history::{History, place_of, put_lines, tell_log, under_way};
use super::library::Flow;
use super::migrate::migrated;
use super::record::{Line, Parent, Run};
use holdfast_core::flow::effect::Kind;
use holdfast_core::flow::memory::{Phase, bytes_of};
use holdfast_core::flow::view::{self, Pending, Wait};
use holdfast_core::flow::{
    Code, Given, Image, Input, Memory, Moment, Outcome, Refusal, Resolution, Slot, clock_set,
    start, step,
};
use holdfast_core::log::runs::RunId;
use holdfast_sync::Fault;
use holdfast_sync::env::Env;
use holdfast_sync::store::{Table, WriteError, WriteTx};
use serde_json::Value as Json;
use std::sync::Arc;

/// Local effects and turns of one run in one transaction; what is left goes into the next.
const AT_ONCE: usize = 64;

/// Brings about what is a row of this store.
pub trait Local: Send + Sync {
    /// The kinds that it knows, a bit each.
    fn kinds(&self) -> u32;

    /// Whether a device has this value under this tag.
    fn has_tag(&self, device: &str, name: &str, value: &str) -> bool;

    /// Does it, in the transaction.
    ///
    /// # Errors
    /// A fault of the store; nothing of the transaction has happened then.
    fn apply(&self, tx: &mut WriteTx<'_>, asked: &Asked) -> Result<Result<Json, Failure>, Fault>;

    /// What was done in transactions is on disk.
    fn settled(&self) {}

    /// Whether a workflow that tells this target may be installed.
    fn tells(&self, target: &str) -> bool {
        let _ = target;
        true
    }
}

/// What a run is told.
#[derive(Clone, Debug)]
pub enum Told {
    /// To begin, with these values.
    Start(Vec<Option<Owned>>),
    /// Time has passed.
    Tick,
    /// The clock was set by so many milliseconds.
    ClockSet(i64),
    /// An effect is over.
    Result(u32, Result<Json, Failure>),
    /// A condition that it waits for came true: the number of the signal.
    Condition(u8),
    /// A signal came, from somebody.
    Signal(u8, Vec<Option<Owned>>, String),
    /// Somebody has decided about a fiber.
    Resolve(u8, Decision, String),
    /// Somebody ends it.
    Cancel(String),
    /// Somebody has it go on as a run of another version.
    Migrate(Arc<Flow>, String),
}

/// Why something that a run was told was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// It leads nowhere.
    #[error("{0}")]
    Refused(Refusal),
    /// It cannot go on as a run of another version.
    #[error("{0}")]
    Obstacle(String),
}

impl From<Refusal> for NotTaken {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What somebody decides about a fiber that is parked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// To try again.
    Retry,
    /// To go on behind it.
    Skip,
    /// To give a register another value.
    Set(Slot, Owned),
    /// To undo what the run did.
    Compensate,
}

/// A run, and what came for it.
#[derive(Clone, Debug)]
pub struct Touched {
    /// The run.
    pub id: RunId,
    /// Its workflow.
    pub flow: Arc<Flow>,
    /// As it is kept.
    pub run: Run,
    /// What came, in order.
    pub told: Vec<Told>,
}

/// A run after its steps.
#[derive(Debug)]
pub struct Stepped {
    /// The run.
    pub id: RunId,
    /// Its workflow.
    pub flow: Arc<Flow>,
    /// As it is kept now.
    pub run: Run,
    /// What of `told` was refused: the place, and why.
    pub refused: Vec<(usize, NotTaken)>,
    /// What is to be begun: outside of the node, or here in the next transaction.
    pub asked: Vec<Asked>,
}

impl Touched {
    /// A run that is to begin.
    #[must_use]
    pub fn new(
        id: RunId,
        flow: Arc<Flow>,
        values: Vec<Option<Owned>>,
        (by, parent): (String, Option<Parent>),
    ) -> Self {
        let run = Run {
            workflow: flow.id.clone(),
            version: flow.version.clone(),
            by,
            parent,
            memory: vec![0; bytes_of(flow.image().sizes)],
            ..Run::default()
        };
        Self { id, flow, run, told: vec![Told::Start(values)] }
    }
}

/// Steps runs and writes them down, with their history.
///
/// # Errors
/// A fault of the store.
pub fn advance(
    tx: &mut WriteTx<'_>,
    touched: Vec<Touched>,
    local: &dyn Local,
    env: &Env,
) -> Result<Vec<Stepped>, WriteError> {
    let now_ms = tx.now().millis();
    let mut stepped = Vec::with_capacity(touched.len());
    let mut history = Vec::new();
    for touched in touched {
        let mut stepping = Stepping::new(touched, local, env, now_ms);
        stepping.go(tx)?;
        let (done, lines) = stepping.finish();
        write(tx, &done, &lines, now_ms)?;
        let place = stepped.len();
        history.extend(lines.into_iter().map(|line| (place, line)));
        stepped.push(done);
    }
    tell_log(tx, &history, |place| {
        let Stepped { id, run, .. } = &stepped[place];
        (*id, run)
    })?;
    Ok(stepped)
}

fn write(tx: &mut WriteTx<'_>, done: &Stepped, lines: &[Line], now_ms: i64) -> Result<(), Fault> {
    put_lines(tx, done.id, done.run.lines, lines.iter().map(|line| (now_ms, line)))?;
    let is_over = done.run.phase().is_none_or(Phase::is_over);
    if is_over {
        tx.delete(Table::Run, &done.id.0)?;
    }
    let table = if is_over { Table::RunOver } else { Table::Run };
    tx.put(table, &done.id.0, &done.run.encode())
}

/// One run in its steps.
struct Stepping<'t> {
    touched: Touched,
    local: &'t dyn Local,
    env: &'t Env,
    now_ms: i64,
    lines: Vec<Line>,
    refused: Vec<(usize, NotTaken)>,
    /// What was under way before: number and attempt.
    before: Vec<(u32, u8)>,
    /// The effect that is just being done here, in words.
    doing: Option<String>,
}

impl<'t> Stepping<'t> {
    fn new(touched: Touched, local: &'t dyn Local, env: &'t Env, now_ms: i64) -> Self {
        let is_new = matches!(touched.told.first(), Some(Told::Start(_)));
        let before = match is_new {
            true => Vec::new(),
            false => under_way(&touched.flow.image(), &touched.run.memory),
        };
        let (lines, refused, doing) = (Vec::new(), Vec::new(), None);
        Self { touched, local, env, now_ms, lines, refused, before, doing }
    }

    fn go(&mut self, tx: &mut WriteTx<'_>) -> Result<(), Fault> {
        let told = std::mem::take(&mut self.touched.told);
        for (place, told) in told.iter().enumerate() {
            if let Err(refusal) = self.tell(told) {
                self.refused.push((place, refusal));
            }
        }
        for _ in 0..AT_ONCE {
            if let Some((serial, asked)) = self.next_at_once() {
                let outcome = match asked {
                    Ok(asked) => {
                        self.doing = Some(asked.words());
                        self.local.apply(tx, &asked)?
                    }
                    Err(failure) => Err(failure),
                };
                // It stands in the memory, so it is waited for.
                let _ = self.tell(&Told::Result(serial, outcome));
                self.doing = None;
            } else if self.has_more() {
                let _ = self.tell(&Told::Tick);
            } else {
                break;
            }
        }
        Ok(())
    }

    /// Whether a fiber had its turn and has more to do at once.
    fn has_more(&self) -> bool {
        let memory = Memory::new(&self.touched.run.memory, self.touched.flow.image().sizes);
        !self.is_over() && memory.is_some_and(|memory| view::next_deadline(memory) == i64::MIN)
    }

    fn is_over(&self) -> bool {
        self.touched.run.phase().is_none_or(Phase::is_over)
    }

    /// The next effect that is a row of this store, filled in, or one that cannot be filled in.
    fn next_at_once(&self) -> Option<(u32, Result<Asked, Failure>)> {
        let image = self.touched.flow.image();
        let memory = Memory::new(&self.touched.run.memory, image.sizes)?;
        view::pending(&image, memory).find_map(|pending| match self.ask(&pending) {
            Ok(asked) if self.local.kinds() & asked.kind.bit() == 0 => None,
            asked => Some((pending.serial, asked)),
        })
    }

    fn ask(&self, pending: &Pending) -> Result<Asked, Failure> {
        let Touched { id, flow, run, .. } = &self.touched;
        let image = flow.image();
        let memory = Memory::new(&run.memory, image.sizes)
            .ok_or_else(|| Failure::new(Code::INVALID, "the memory is of another image"))?;
        Asked::of(*id, &flow.id, pending, (&image, memory))
    }

    /// Tells the run something, and notes what came of it.
    fn tell(&mut self, told: &Told) -> Result<(), NotTaken> {
        let moment = Moment { now_ms: self.now_ms, entropy: self.env.entropy() };
        let flow = Arc::clone(&self.touched.flow);
        let image = flow.image();
        let place = place_of(&image, &self.touched.run.memory, told);
        let phase = self.touched.run.phase();
        let memory = &mut self.touched.run.memory;
        match told {
            Told::Start(values) => {
                let values = given(values);
                start(&image, memory, &values, moment)?;
            }
            Told::ClockSet(by_ms) => clock_set(&image, memory, *by_ms)?,
            Told::Tick => drop(step(&image, memory, &Input::Tick, moment)?),
            Told::Cancel(_) => drop(step(&image, memory, &Input::Cancel, moment)?),
            Told::Result(serial, Ok(answer)) => {
                let effect = pending_effect(&image, memory, *serial).ok_or(Refusal::Unasked)?;
                let effect = image.effect(effect).ok_or(Refusal::Foreign)?;
                let values = answers(&image, &effect, answer);
                let outcome = Outcome::Done(&given(&values));
                step(&image, memory, &Input::Result { serial: *serial, outcome }, moment)?;
            }
            Told::Result(serial, Err(failure)) => {
                let outcome = Outcome::Failed(failure.code);
                step(&image, memory, &Input::Result { serial: *serial, outcome }, moment)?;
            }
            Told::Signal(signal, values, _) => {
                let values = given(values);
                let input = Input::Signal { signal: *signal, values: &values };
                step(&image, memory, &input, moment)?;
            }
            Told::Condition(signal) => {
                let memory_now = Memory::new(memory, image.sizes).ok_or(Refusal::Foreign)?;
                // Nobody waits for it any more: what was true then says nothing about later.
                if !awaited(&image, memory_now).any(|waited| waited == *signal) {
                    return Ok(());
                }
                step(&image, memory, &Input::Signal { signal: *signal, values: &[] }, moment)?;
            }
            Told::Resolve(fiber, decision, _) => {
                let how = match decision {
                    Decision::Retry => Resolution::Retry,
                    Decision::Skip => Resolution::Skip,
                    Decision::Set(slot, value) => Resolution::Set(*slot, value.get()),
                    Decision::Compensate => Resolution::Compensate,
                };
                step(&image, memory, &Input::Resolve { fiber: *fiber, how }, moment)?;
            }
            Told::Migrate(to, _) => {
                *memory = migrated(&flow, to, memory).map_err(NotTaken::Obstacle)?;
                self.touched.run.version.clone_from(&to.version);
                self.touched.flow = Arc::clone(to);
            }
        }
        self.touched.run.stepped_ms = self.now_ms;
        // Of another version it may be by now.
        let flow = Arc::clone(&self.touched.flow);
        let (image, doing) = (flow.image(), self.doing.take());
        self.history(Some(&image)).told(told, doing.as_deref(), place, phase);
        Ok(())
    }

    fn finish(mut self) -> (Stepped, Vec<Line>) {
        let flow = Arc::clone(&self.touched.flow);
        let image = flow.image();
        let (id, local) = (self.touched.id, self.local.kinds());
        let before = std::mem::take(&mut self.before);
        let is_told = |kind: Kind| local & kind.bit() == 0;
        let asked = self.history(Some(&image)).asked(id, &before, is_told);
        let Touched { id, flow, run, .. } = self.touched;
        (Stepped { id, flow, run, refused: self.refused, asked }, self.lines)
    }

    fn history<'h>(&'h mut self, image: Option<&'h Image<'h>>) -> History<'h> {
        History { image, run: &mut self.touched.run, lines: &mut self.lines }
    }
}

fn given(values: &[Option<Owned>]) -> Vec<Option<Given<'_>>> {
    values.iter().map(|value| value.as_ref().map(Owned::get)).collect()
}

/// Which effect has this number in a run.
fn pending_effect(image: &Image<'_>, memory: &[u8], serial: u32) -> Option<u16> {
    let memory = Memory::new(memory, image.sizes)?;
    view::waits(image, memory).find_map(|waiting| match waiting.wait {
        Wait::Effect(pending) | Wait::Retry { of: pending, .. } if pending.serial == serial => {
            Some(pending.effect)
        }
        _ => None,
    })
}
