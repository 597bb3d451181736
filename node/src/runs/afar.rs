//! Runs on devices, as their steps tell.
//!
//! A device runs its workflows by itself, and hands on each step of a run with the memory that it
//! left ([`holdfast_core::device::flows`]). A run is its memory, so the steps of a message make
//! records, history and events of runs here, in one transaction and each once: who is told so by
//! the device twice has nothing to do the second time. Whatever may still be put right is taken: a
//! step behind a gap, or of a workflow that is not known here. What never can be is refused as a
//! whole, for then the device lets go of it.
//!
//! Byte-exact pages: `docs/formats/device.md`, `docs/formats/runs.md`.

use super::desk::Desk;
use super::effect::{Failure, plain};
use super::engine::Command;
use super::history::{History, doing, place_of, put_lines, tell_log, under_way};
use super::library::Flow;
use super::record::{Afar, BY_MAX_BYTES, Line, Run};
use super::step::Told;
use crate::time_text;
use holdfast_core::condition::Test;
use holdfast_core::device::flows::{Cause, Step, Steps};
use holdfast_core::device::samples::Clock;
use holdfast_core::flow::memory::{FORMAT, Phase};
use holdfast_core::flow::trigger::On;
use holdfast_core::flow::{Image, view};
use holdfast_core::limits::NOTE_MAX_BYTES;
use holdfast_core::log::runs::{RunId, What};
use holdfast_core::{Reject, Timestamp, Value};
use holdfast_sync::Fault;
use holdfast_sync::store::{Snapshot, Store, Table, WriteError, WriteTx};
use serde_json::{Value as Json, json};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[cfg(test)]
mod tests;

/// Runs of a device that are kept as under way. It has four; what is beyond has lost its end.
const OF_DEVICE_MAX: usize = 16;
/// A device's time that is this far from the gateway's is told beside it.
const APART_MS: i64 = 10_000;

/// Why steps of a device were not taken; nothing of them was.
#[derive(Debug, thiserror::Error)]
pub enum StepsError {
    /// They cannot be right, however often they come.
    #[error("{detail} (at {at})")]
    Wrong {
        /// The stable code.
        code: &'static str,
        /// What was found, and what was expected.
        detail: String,
        /// The envelope of the message, and the step in it.
        at: String,
    },
    /// The store did not take them.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// What is known of a run on a device, without what it remembers.
struct Known {
    device: String,
    workflow: String,
    version: String,
}

/// The runs on devices that are under way here; clones are the same.
#[derive(Clone, Default)]
pub(super) struct Away(Arc<Mutex<HashMap<RunId, Known>>>);

impl Away {
    /// Those of a store.
    pub fn load(view: &Snapshot<'_>) -> Result<Self, Fault> {
        let away = Self::default();
        for (key, value) in view.scan(Table::RunOnDevice, &[], &[], usize::MAX)? {
            match (key.as_slice().try_into(), Afar::decode(&value)) {
                (Ok(id), Ok(afar)) => away.note(RunId(id), &afar.run),
                // Its seal held, so a later version wrote it: it stays.
                _ => tracing::error!("a run on a device is left out"),
            }
        }
        Ok(away)
    }

    fn all(&self) -> MutexGuard<'_, HashMap<RunId, Known>> {
        // A panic while it was held left it whole: runs come and go in one step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, id: RunId, run: &Run) {
        let device = run.device.clone().unwrap_or_default();
        let (workflow, version) = (run.workflow.clone(), run.version.clone());
        self.all().insert(id, Known { device, workflow, version });
    }

    /// The device that has a run under way.
    pub fn device_of(&self, id: RunId) -> Option<String> {
        self.all().get(&id).map(|known| known.device.clone())
    }

    /// How many runs of a version of a workflow devices have under way.
    pub fn pinned(&self, workflow: &str, version: &str) -> usize {
        let is_of = |known: &&Known| known.workflow == workflow && known.version == version;
        self.all().values().filter(is_of).count()
    }

    fn of_device(&self, device: &str) -> BTreeSet<RunId> {
        let all = self.all();
        all.iter().filter(|(_, known)| known.device == device).map(|(id, _)| *id).collect()
    }
}

impl Desk {
    /// Takes the steps of a message of a device; each payload with the number of its envelope in
    /// the message. They are on disk when this returns.
    ///
    /// # Errors
    /// [`StepsError`]
    pub async fn take_steps(
        &self,
        store: &Store,
        device: &str,
        payloads: Vec<(usize, Vec<u8>)>,
    ) -> Result<(), StepsError> {
        let (flows, away, of) = (self.flows_of(&payloads), self.away().clone(), device.to_owned());
        let take = move |tx: &mut WriteTx<'_>| {
            let now_ms = tx.now().millis();
            let view = tx.view();
            let mut taking = Taking { view, device: &of, flows: &flows, now_ms, runs: Vec::new() };
            let log = match taking.all(&payloads) {
                Ok(log) => log,
                Err(Stopped::Wrong(wrong)) => return Ok(Err(wrong)),
                Err(Stopped::Fault(fault)) => return Err(fault.into()),
            };
            let mut runs = taking.runs;
            write(tx, &runs, &log)?;
            runs.retain(|moved| moved.has_moved);
            let surplus = match runs.iter().any(|moved| moved.is_new) {
                true => give_up(tx, &runs, away.of_device(&of))?,
                false => Vec::new(),
            };
            Ok(Ok((runs, surplus)))
        };
        let (_committed, taken) = store.write(take).await?;
        let (runs, surplus) = taken?;
        for Moved { id, afar, .. } in &runs {
            match is_over(&afar.run) {
                true => self.is_over_afar(*id),
                false => self.away().note(*id, &afar.run),
            }
        }
        surplus.into_iter().for_each(|id| self.is_over_afar(id));
        Ok(())
    }

    fn is_over_afar(&self, id: RunId) {
        self.away().all().remove(&id);
        // Where the engine has stopped it finds this at its next start.
        let _ = self.sender().send(Command::Over(id));
    }

    /// The workflows of the steps, by the tags of their images.
    fn flows_of(&self, payloads: &[(usize, Vec<u8>)]) -> HashMap<u32, Arc<Flow>> {
        let steps = payloads.iter().filter_map(|(_, payload)| Steps::read(payload).ok());
        let tags: BTreeSet<u32> = steps.flatten().map(|(_, step)| step.tag).collect();
        let library = self.library();
        let flows = tags.into_iter().filter_map(|tag| Some((tag, library.on_device(tag)?.clone())));
        flows.collect()
    }
}

/// A run as the steps of a message leave it.
struct Moved {
    id: RunId,
    afar: Afar,
    /// Whether nothing was known of it before.
    is_new: bool,
    /// Whether any of them was taken.
    has_moved: bool,
    /// What they tell, each line with when that was.
    lines: Vec<(i64, Line)>,
}

fn is_over(run: &Run) -> bool {
    run.phase().is_some_and(Phase::is_over)
}

/// Why the steps of a message are not taken.
enum Stopped {
    Wrong(StepsError),
    Fault(Fault),
}

impl From<Fault> for Stopped {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// The steps of a message, while they are judged: nothing is written before all of them were.
struct Taking<'t> {
    view: Snapshot<'t>,
    device: &'t str,
    flows: &'t HashMap<u32, Arc<Flow>>,
    now_ms: i64,
    runs: Vec<Moved>,
}

impl Taking<'_> {
    /// Judges all of them; the lines for the log, each with the number of its run among `runs`.
    fn all(&mut self, payloads: &[(usize, Vec<u8>)]) -> Result<Vec<(usize, Line)>, Stopped> {
        let mut log = Vec::new();
        for (envelope, payload) in payloads {
            let at = |at: String, reject: Reject| wrong(reject.code(), reject.to_string(), at);
            let steps = Steps::read(payload);
            let steps = steps.map_err(|reject| at(format!("envelope {envelope}"), reject))?;
            let clock = steps.clock;
            for (number, (time, step)) in steps.enumerate() {
                let when = When::of(clock, time, self.now_ms);
                let at = format!("envelope {envelope}, step {number}");
                self.one(&step, when, at, &mut log)?;
            }
        }
        Ok(log)
    }

    fn one(
        &mut self,
        step: &Step<'_>,
        when: When,
        at: String,
        log: &mut Vec<(usize, Line)>,
    ) -> Result<(), Stopped> {
        let Some(place) = self.find(step.run)? else { return Ok(()) };
        let Moved { id, afar, has_moved, lines, .. } = &mut self.runs[place];
        let of = afar.run.device.as_deref().unwrap_or_default();
        if of != self.device {
            let detail = format!("the run {id} is on `{of}`, and `{}` says this", self.device);
            return Err(wrong("other-device", detail, at));
        }
        if step.count <= afar.count || is_over(&afar.run) {
            return Ok(());
        }
        let flow = self.flows.get(&step.tag);
        let image = flow.map(|flow| flow.image());
        check(image.as_ref(), flow, step).map_err(|(code, detail)| wrong(code, detail, at))?;
        let mut told = Vec::new();
        take(afar, (flow, image.as_ref()), step, when, &mut told);
        *has_moved = true;
        for line in told {
            log.push((place, Line { text: with_time(&line.text, &when), ..line.clone() }));
            lines.push((when.at_ms, line));
        }
        Ok(())
    }

    /// The number of a run among those that the message is about; none of one that is over, or that
    /// is none of a device.
    fn find(&mut self, id: RunId) -> Result<Option<usize>, Fault> {
        if let Some(place) = self.runs.iter().position(|moved| moved.id == id) {
            return Ok(Some(place));
        }
        let is_in = |table| Ok(self.view.get(table, &id.0)?.is_some());
        if is_in(Table::RunOver)? || is_in(Table::Run)? {
            return Ok(None);
        }
        let damaged = |reject: Reject| Fault::damaged("run on a device", reject.code());
        let known = self.view.get(Table::RunOnDevice, &id.0)?;
        let is_new = known.is_none();
        let afar = match known {
            Some(value) => Afar::decode(&value).map_err(damaged)?,
            None => {
                let device = Some(self.device.to_owned());
                Afar { run: Run { device, ..Run::default() }, count: 0 }
            }
        };
        self.runs.push(Moved { id, afar, is_new, has_moved: false, lines: Vec::new() });
        Ok(Some(self.runs.len() - 1))
    }
}

fn wrong(code: &'static str, detail: String, at: String) -> Stopped {
    Stopped::Wrong(StepsError::Wrong { code, detail, at })
}

/// That what a step left is the memory of a run: of its image, where that is known here.
fn check(
    image: Option<&Image<'_>>,
    flow: Option<&Arc<Flow>>,
    step: &Step<'_>,
) -> Result<(), (&'static str, String)> {
    let (run, bytes) = (step.run, step.memory.len());
    let (Some(image), Some(flow)) = (image, flow) else {
        let phase = step.memory.get(1).and_then(|phase| Phase::from_u8(*phase));
        let detail = || format!("the memory of the run {run}, {bytes} bytes, says no phase of it");
        return phase.map(drop).ok_or_else(|| (Reject::Malformed.code(), detail()));
    };
    view::check(image, step.memory).map(drop).map_err(|reject| {
        let (id, version) = (&flow.id, &flow.version);
        let detail = format!(
            "the memory of the run {run}, {bytes} bytes, is none of `{id}` version {version}: \
             {reject}"
        );
        (reject.code(), detail)
    })
}

/// When a step was.
#[derive(Clone, Copy)]
struct When {
    /// Unix milliseconds.
    at_ms: i64,
    now_ms: i64,
    /// Whether a clock of the device says so.
    by_device: bool,
}

impl When {
    fn of(clock: Clock, time: i64, now_ms: i64) -> Self {
        let at_ms = match clock {
            Clock::Unix => time,
            Clock::Age => now_ms.saturating_sub(time),
            Clock::Unknown => now_ms,
        };
        // A time that no calendar has is no time.
        let is_time = Timestamp::from_millis(at_ms).is_some();
        let at_ms = if is_time { at_ms } else { now_ms };
        Self { at_ms, now_ms, by_device: is_time && clock == Clock::Unix }
    }
}

/// A text with when it was, where that is far from when the log has it.
fn with_time(text: &str, when: &When) -> String {
    let time = Timestamp::from_millis(when.at_ms);
    let Some(time) = time.filter(|_| when.now_ms.abs_diff(when.at_ms) > APART_MS.unsigned_abs())
    else {
        return text.to_owned();
    };
    let by = if when.by_device { " by the device's clock" } else { "" };
    let time = format!(" at {}{by}", time_text::format(time));
    let end = text.floor_char_boundary(NOTE_MAX_BYTES - time.len());
    format!("{}{time}", &text[..end]).trim_start().to_owned()
}

/// Takes a step, and what it tells.
fn take(
    afar: &mut Afar,
    (flow, image): (Option<&Arc<Flow>>, Option<&Image<'_>>),
    step: &Step<'_>,
    when: When,
    lines: &mut Vec<Line>,
) {
    let run = &mut afar.run;
    let device = run.device.clone().unwrap_or_default();
    let is_first = afar.count == 0;
    if let Some(flow) = flow {
        (run.workflow, run.version) = (flow.id.clone(), flow.version.clone());
    } else if is_first {
        run.workflow = format!("unknown-{:08x}", step.tag);
    }
    if let Cause::Began { trigger, value } = &step.cause {
        run.by = began(&device, image, *trigger, value);
    } else if is_first {
        run.by = format!("what was not heard of, on {device}");
        run.lines += 1;
        lines.push(Line { what: What::Started, line: 0, text: format!("by {}", run.by) });
    }
    let memory = std::mem::replace(&mut run.memory, step.memory.to_vec());
    let before = Phase::from_u8(memory.get(1).copied().unwrap_or(Phase::Running as u8));
    let of_image = image.map(|image| (image, memory.as_slice()));
    let said = |serial| of_image.and_then(|of| doing(step.run, of, serial));
    let (told, doing) = heard(&step.cause, said);
    let place = image.map_or(0, |image| place_of(image, &memory, &told));
    let under_way = image.map(|image| under_way(image, &memory)).unwrap_or_default();
    run.stepped_ms = when.at_ms;
    afar.count = step.count;
    let mut history = History { image, run, lines };
    history.told(&told, doing.as_deref(), place, before);
    // What it asks for it does itself.
    history.asked(step.run, &under_way, |_| true);
}

/// What a cause is to a run that this node steps itself, and the effect that it is about, in words.
fn heard(cause: &Cause<'_>, doing: impl Fn(u32) -> Option<String>) -> (Told, Option<String>) {
    match cause {
        Cause::Began { .. } => (Told::Start(Vec::new()), None),
        Cause::Time => (Told::Tick, None),
        Cause::Done { serial } => (Told::Result(*serial, Ok(Json::Null)), doing(*serial)),
        Cause::Failed { serial, error } => {
            let text = doing(*serial).unwrap_or_else(|| "on the device".to_owned());
            (Told::Result(*serial, Err(Failure::new(*error, text))), None)
        }
        Cause::Condition { signal } => (Told::Condition(*signal), None),
        Cause::Replaced => (Told::Cancel("a newer run".to_owned()), None),
        Cause::ClockSet { by_ms } => (Told::ClockSet(*by_ms), None),
    }
}

/// What began a run, in words.
fn began(device: &str, image: Option<&Image<'_>>, trigger: u8, value: &Value<'_>) -> String {
    let value = plain(&match *value {
        Value::Float(number) => json!(number.get()),
        Value::Int(int) => json!(int),
        Value::Bool(on) => json!(on),
        Value::Text(text) => json!(text.as_str()),
    });
    let on = image.and_then(|image| image.trigger(u16::from(trigger))).map(|trigger| trigger.on);
    let mut words = match on {
        Some(On::Reading { metric, rule, .. }) => match rule.test {
            Test::Silent { .. } => format!("reading {device} {metric} silent on {device}"),
            _ => format!("reading {device} {metric} {value} on {device}"),
        },
        _ => format!("trigger {trigger}, {value}, on {device}"),
    };
    words.truncate(words.floor_char_boundary(BY_MAX_BYTES));
    words
}

fn write(tx: &mut WriteTx<'_>, runs: &[Moved], log: &[(usize, Line)]) -> Result<(), WriteError> {
    for Moved { id, afar, lines, .. } in runs.iter().filter(|moved| moved.has_moved) {
        put_lines(tx, *id, afar.run.lines, lines.iter().map(|(at_ms, line)| (*at_ms, line)))?;
        put(tx, *id, afar)?;
    }
    tell_log(tx, log, |place| (runs[place].id, &runs[place].afar.run))
}

fn put(tx: &mut WriteTx<'_>, id: RunId, afar: &Afar) -> Result<(), Fault> {
    if !is_over(&afar.run) {
        return tx.put(Table::RunOnDevice, &id.0, &afar.encode());
    }
    tx.delete(Table::RunOnDevice, &id.0)?;
    tx.put(Table::RunOver, &id.0, &afar.run.encode())
}

/// Ends runs of which a device has more than it can have under way: those whose last step is
/// oldest. Their ends were lost with its flash, or given up when that was full.
fn give_up(
    tx: &mut WriteTx<'_>,
    runs: &[Moved],
    mut known: BTreeSet<RunId>,
) -> Result<Vec<RunId>, WriteError> {
    for Moved { id, afar, .. } in runs {
        match is_over(&afar.run) {
            true => known.remove(id),
            false => known.insert(*id),
        };
    }
    let surplus = known.len().saturating_sub(OF_DEVICE_MAX);
    if surplus == 0 {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    for id in known {
        let value = tx.view().get(Table::RunOnDevice, &id.0)?;
        all.extend(value.and_then(|value| Afar::decode(&value).ok()).map(|afar| (id, afar)));
    }
    all.sort_by_key(|(_, afar)| afar.run.stepped_ms);
    let mut ended = Vec::new();
    for (id, mut afar) in all.into_iter().take(surplus) {
        let at_ms = tx.now().millis();
        let text = "nothing was heard of its end".to_owned();
        let line = Line { what: What::Ended, line: 0, text };
        afar.run.lines += 1;
        // What it remembered says that it goes on.
        afar.run.memory = vec![FORMAT, Phase::Failed as u8];
        put_lines(tx, id, afar.run.lines, std::iter::once((at_ms, &line)))?;
        put(tx, id, &afar)?;
        tell_log(tx, &[(0, line)], |_| (id, &afar.run))?;
        ended.push(id);
    }
    Ok(ended)
}
