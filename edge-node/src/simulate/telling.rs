//! What a simulation tells: what happened to which run, when, in the order in which it did.
//!
//! It is read where the hub would read it, from the events that runs leave in the log; what those
//! leave out, the content of an effect and what is waited for, is put in from the outside and from
//! the memory of the run.

use super::stage::Effect;
use super::words;
use holdfast_core::flow::effect::Kind;
use holdfast_core::flow::memory::Phase;
use holdfast_core::flow::{Memory, view};
use holdfast_core::log::events::{self, Event};
use holdfast_core::log::runs::{RunId, RunStep, What};
use holdfast_core::{Stream, Timestamp};
use holdfast_node::runs::effect::shown;
use holdfast_node::runs::record::Waiting as Queued;
use holdfast_node::runs::{Asked, Failure, Here, Local, Run, Runs};
use holdfast_node::time_text;
use holdfast_sync::Fault;
use holdfast_sync::store::{Snapshot, Store, Table, WriteTx};
use jiff::tz::TimeZone;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of commits that are read at a time.
const READ_BYTES: usize = 1 << 20;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// To which run; none where nothing came of it.
    pub run: Option<RunId>,
    /// Its workflow, and the how-manieth run of it that is.
    pub name: String,
    /// What happened, in a word.
    pub what: &'static str,
    /// The line of the definition, where there is one.
    pub line: Option<u32>,
    /// In words.
    pub text: String,
}

impl Line {
    /// As an object.
    #[must_use]
    pub fn json(&self) -> Json {
        json!({
            "at": time_text::format(self.at),
            "run": self.run.map(|run| run.to_string()),
            "name": self.name,
            "what": self.what,
            "line": self.line,
            "text": self.text,
        })
    }
}

/// A time as the clocks of a zone show it.
#[must_use]
pub fn local_time(at: Timestamp, zone: &TimeZone) -> String {
    let Ok(at) = jiff::Timestamp::from_nanosecond(i128::from(at.0)) else { return String::new() };
    let zoned = at.to_zoned(zone.clone());
    let millis = zoned.millisecond();
    let seconds = zoned.strftime("%Y-%m-%d %H:%M:%S");
    if millis == 0 { seconds.to_string() } else { format!("{seconds}.{millis:03}") }
}

/// What effects were, by run and number.
type Notes = Arc<Mutex<HashMap<(RunId, u32), String>>>;

/// What a gateway does by itself, noted.
pub struct Noted {
    here: Here,
    notes: Notes,
}

impl Local for Noted {
    fn kinds(&self) -> u32 {
        // Who is told something, and the hub, are the outside here.
        self.here.kinds() & !(Kind::Notify.bit() | Kind::Forward.bit())
    }

    fn has_tag(&self, device: &str, name: &str, value: &str) -> bool {
        self.here.has_tag(device, name, value)
    }

    fn apply(&self, tx: &mut WriteTx<'_>, asked: &Asked) -> Result<Result<Json, Failure>, Fault> {
        let outcome = self.here.apply(tx, asked)?;
        let mut words = words::effect(asked);
        match &outcome {
            Ok(Json::Object(answer)) if answer.contains_key("value") => {
                words = format!("{words} = {}", answer["value"]);
            }
            Ok(Json::Object(answer)) => words = format!("{words} = {}", json!(answer)),
            _ => {}
        }
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.insert((asked.run, asked.serial), words);
        Ok(outcome)
    }
}

/// How the runs of a workflow ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Those that began.
    pub begun: u32,
    /// How those that are over ended, by the word for it.
    pub ended: BTreeMap<&'static str, u32>,
}

/// Turns what runs leave behind into lines.
pub struct Teller {
    store: Store,
    runs: Runs,
    zone: TimeZone,
    cursor: u64,
    notes: Notes,
    names: HashMap<RunId, String>,
    tallies: BTreeMap<String, Tally>,
    /// What is known to be waited for.
    waits: BTreeMap<RunId, Vec<(u8, String)>>,
    queued: BTreeSet<RunId>,
}

impl Teller {
    /// One that has told nothing yet.
    #[must_use]
    pub fn new(store: Store, runs: Runs, zone: TimeZone, notes: &Noted) -> Self {
        Self {
            store,
            runs,
            zone,
            cursor: 0,
            notes: Arc::clone(&notes.notes),
            names: HashMap::new(),
            tallies: BTreeMap::new(),
            waits: BTreeMap::new(),
            queued: BTreeSet::new(),
        }
    }

    /// How the runs of each workflow ended.
    #[must_use]
    pub const fn tallies(&self) -> &BTreeMap<String, Tally> {
        &self.tallies
    }

    /// What an effect that left the gateway was, and came to.
    pub fn effect(&mut self, effect: Effect, at: Timestamp) -> Line {
        let Effect { key: (run, serial), words, answer } = effect;
        let came = match &answer {
            None => ": no answer".to_owned(),
            Some(Ok(Json::Null) | Err(_)) => String::new(),
            Some(Ok(answer)) => format!(": answered {answer}"),
        };
        let text = format!("{words}{came}");
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).insert((run, serial), words);
        let name = self.names.get(&run).cloned().unwrap_or_default();
        Line { at, run: Some(run), name, what: "does", line: None, text }
    }

    /// Tells what has happened since this was asked last.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn tell(&mut self) -> Result<Vec<Line>, Fault> {
        let (mut out, mut touched) = (Vec::new(), Vec::new());
        loop {
            let from = self.cursor;
            let look = move |view: &Snapshot<'_>| {
                let mut commits = view.commits_after(from, READ_BYTES)?;
                let last = commits.last().map(|commit| commit.pos);
                let mut failed = None;
                commits.retain(|commit| match view.chain(commit.chain) {
                    Ok(chain) => chain.is_some_and(|chain| chain.id.stream == Stream::Event),
                    Err(fault) => {
                        failed = Some(fault);
                        false
                    }
                });
                failed.map_or(Ok((commits, last)), Err)
            };
            let (commits, last) = self.store.read_blocking(look)?;
            let Some(last) = last else { break };
            self.cursor = last;
            for commit in commits {
                let damaged =
                    |reject: holdfast_core::Reject| Fault::damaged("event", reject.code());
                let (at, events) = events::read(&commit.body).map_err(damaged)?;
                for event in events {
                    if let Event::Run(step) = event.map_err(damaged)? {
                        if !touched.contains(&step.run) {
                            touched.push(step.run);
                        }
                        out.extend(self.step(&step, at));
                    }
                }
            }
        }
        for run in touched {
            self.waits_of(run, &mut out)?;
        }
        Ok(out)
    }

    fn step(&mut self, step: &RunStep<'_>, at: Timestamp) -> Option<Line> {
        let tally = self.tallies.entry(step.workflow.to_owned()).or_default();
        if step.what == What::Started {
            tally.begun += 1;
            self.names.insert(step.run, format!("{} {}", step.workflow, tally.begun));
        }
        if let What::Succeeded | What::Ended | What::Cancelled = step.what {
            *tally.ended.entry(ended(step.what)).or_default() += 1;
        }
        let (number, rest) = match step.text.strip_prefix("effect ") {
            Some(text) => {
                let (number, rest) = text.split_once(": ").unwrap_or((text, ""));
                (number.parse::<u32>().ok(), rest)
            }
            None => (None, step.text),
        };
        let note = |number: Option<u32>| {
            let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
            number.and_then(|number| notes.get(&(step.run, number)).cloned())
        };
        let (what, text) = match step.what {
            What::Started => ("begins", rest.to_owned()),
            // The outside tells of it when it is asked.
            What::Asked => return None,
            What::Done if rest.is_empty() => return None,
            What::Done => {
                let is_look = ["reading ", "state ", "clock"].iter().any(|w| rest.starts_with(w));
                let what = if is_look { "looks" } else { "does" };
                (what, note(number).unwrap_or_else(|| rest.to_owned()))
            }
            What::Failed => {
                let words = note(number).map(|words| format!("{words}: ")).unwrap_or_default();
                ("error", format!("{words}{rest}"))
            }
            // Of a condition nobody says that it came true.
            What::Signal if !rest.contains(" from ") => ("met", rest.to_owned()),
            What::Signal => ("signal", rest.to_owned()),
            What::Parked => ("parked", rest.to_owned()),
            What::Decided => ("decided", rest.to_owned()),
            What::Undoing => ("undoes", format!("because of {rest}")),
            What::Migrated => ("goes on", rest.to_owned()),
            What::Forwarded => ("is handed", rest.to_owned()),
            What::Succeeded | What::Ended | What::Cancelled => {
                self.waits.remove(&step.run);
                (ended(step.what), rest.to_owned())
            }
        };
        let line = (step.line > 0).then_some(step.line);
        let name = self.names.get(&step.run).cloned().unwrap_or_default();
        Some(Line { at, run: Some(step.run), name, what, line, text })
    }

    /// What a run waits for by now that it did not before, and what it left.
    fn waits_of(&mut self, id: RunId, out: &mut Vec<Line>) -> Result<(), Fault> {
        let look = move |view: &Snapshot<'_>| match view.get(Table::Run, &id.0)? {
            Some(found) => Ok(Some(found)),
            None => view.get(Table::RunOver, &id.0),
        };
        let Some(value) = self.store.read_blocking(look)? else { return Ok(()) };
        let damaged = |reject: holdfast_core::Reject| Fault::damaged("run", reject.code());
        let run = Run::decode(&value).map_err(damaged)?;
        let library = self.runs.library();
        let Some(flow) = library.get(&run.workflow, &run.version) else { return Ok(()) };
        let image = flow.image();
        let Some(memory) = Memory::new(&run.memory, image.sizes) else { return Ok(()) };
        if memory.phase() == Some(Phase::Succeeded) {
            let left = image.outputs();
            let left = left.map(|field| (field.name.to_owned(), shown(&image, memory, field.slot)));
            let left: serde_json::Map<_, _> = left.collect();
            if let (false, Some(line)) = (
                left.is_empty(),
                out.iter_mut().rfind(|line| line.run == Some(id) && line.what == "succeeded"),
            ) {
                line.text = Json::Object(left).to_string();
            }
        }
        let at = self.store.env().now();
        let time = |ms| local_time(Timestamp::from_millis(ms).unwrap_or(at), &self.zone);
        let mut waits = Vec::new();
        for waiting in view::waits(&image, memory).filter(|_| !is_over(memory)) {
            let Some(text) = words::wait((&image, memory), &waiting, time) else { continue };
            let line = image.line_of(waiting.pc).map(|(line, _)| line);
            waits.push((waiting.fiber, text, line));
        }
        let known = self.waits.remove(&id).unwrap_or_default();
        let name = self.names.get(&id).cloned().unwrap_or_default();
        for (fiber, text, line) in &waits {
            if !known.contains(&(*fiber, text.clone())) {
                let (name, text, line) = (name.clone(), text.clone(), *line);
                out.push(Line { at, run: Some(id), name, what: "waits", line, text });
            }
        }
        if !is_over(memory) {
            let waits = waits.into_iter().map(|(fiber, text, _)| (fiber, text));
            self.waits.insert(id, waits.collect());
        }
        Ok(())
    }

    /// Runs that have to wait until others are over, each once.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn queued(&mut self) -> Result<Vec<Line>, Fault> {
        let rows = |view: &Snapshot<'_>| view.scan(Table::RunWaiting, &[], &[], usize::MAX);
        let at = self.store.env().now();
        let mut out = Vec::new();
        for (key, value) in self.store.read_blocking(rows)? {
            let damaged = |reject: holdfast_core::Reject| Fault::damaged("run", reject.code());
            let (workflow, run) = Queued::of_key(&key).map_err(damaged)?;
            if self.queued.insert(run) {
                let by = Queued::decode(&value).map_err(damaged)?.by;
                let text = format!("until a run is over, to begin by {by}");
                let name = workflow.to_owned();
                out.push(Line { at, run: Some(run), name, what: "waits", line: None, text });
            }
        }
        Ok(out)
    }

    /// Runs that are under way, with what they wait for.
    pub fn under_way(&self) -> impl Iterator<Item = (&str, String)> {
        self.waits.iter().map(|(run, waits)| {
            let texts: Vec<_> = waits.iter().map(|(_, text)| text.as_str()).collect();
            (self.names.get(run).map_or("", String::as_str), texts.join("; "))
        })
    }
}

impl Noted {
    /// What a gateway does, of which nothing is noted yet.
    #[must_use]
    pub fn new(here: Here) -> Self {
        Self { here, notes: Notes::default() }
    }
}

fn is_over(memory: Memory<'_>) -> bool {
    memory.phase().is_none_or(Phase::is_over)
}

const fn ended(what: What) -> &'static str {
    match what {
        What::Succeeded => "succeeded",
        What::Cancelled => "cancelled",
        _ => "failed",
    }
}
