//! `workflow simulate`: what workflows would have done, on recorded readings and in virtual time.
//!
//! It is the gateway's own machinery (compiler, verifier, store, pipeline, engine) in a store of
//! its own that is thrown away. Only time and the outside are others: the [`clock`] stands until
//! all has come to rest and is then set on to when something comes next, be it a recorded reading,
//! a timer or a window; the [`stage`] notes what leaves the gateway and answers it. Nothing of it
//! waits for the machine or depends on it, so the same input tells the same.

mod answers;
mod clock;
mod command;
mod recording;
mod scratch;
mod stage;
mod telling;
mod words;

pub use answers::{Answer, Rule as AnswerRule};
pub use command::{HELP, SimulateArgs};
pub use recording::{Recorded, read};
pub use telling::{Line, Tally, local_time};

use crate::mqtt::starts::Starts;
use crate::settings::{Rollups, Settings};
use crate::steward::SiteSteward;
use answers::Answers;
use clock::Clock;
use holdfast_core::flow::Image;
use holdfast_core::flow::about::Placement;
use holdfast_core::flow::signal::{Source as SignalSource, signal};
use holdfast_core::flow::trigger::On;
use holdfast_core::log::runs::RunId;
use holdfast_core::state::Role;
use holdfast_core::{NodeId, Timestamp};
use holdfast_node::alerts::Plan;
use holdfast_node::api::Nodes;
use holdfast_node::flow::Compiled;
use holdfast_node::pipeline::{self, Pipeline};
use holdfast_node::runs::effect::{Owned, given};
use holdfast_node::runs::{
    Abilities, Desk, Engine, Here, NotForHere, Run, RunError, Runs, Start, TwinWatch,
};
use holdfast_node::twins::{self, Patch, PatchError, Section, Twins};
use holdfast_sync::Fault;
use holdfast_sync::docs::Documents;
use holdfast_sync::env::{Env, Source as _};
use holdfast_sync::identity::NodeKey;
use holdfast_sync::net::Library;
use holdfast_sync::store::WriteError;
use holdfast_sync::store::{self, Draft, IngestBatch, Item, Overflow, Snapshot, Store, Table};
use jiff::tz::TimeZone;
use scratch::Scratch;
use serde_json::{Map, Value as Json};
use stage::Stage;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;
use telling::{Noted, Teller};
use tokio_util::sync::CancellationToken;

/// How often everything may be worked off at one moment: a run that goes on and on without any time
/// passing never comes to rest.
const ROUNDS_MAX: usize = 10_000;
/// Bytes that the store may take.
const QUOTA_BYTES: u64 = 64 << 30;
const SERIES_MAX: usize = 100_000;
/// Readings in one transaction.
const BATCH: usize = 1_000;
/// Who begins runs and sends signals that were asked for.
const BY: &str = "the command line";

/// A signal that somebody sends.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    /// When.
    pub at: Timestamp,
    /// Its name.
    pub name: String,
    /// What it brings.
    pub values: Map<String, Json>,
}

/// A value that stands in a twin from the beginning.
#[derive(Clone, Debug, PartialEq)]
pub struct Preset {
    /// Of which device.
    pub device: String,
    /// In which section.
    pub section: Section,
    /// What is put there.
    pub patch: Map<String, Json>,
}

/// What is simulated.
#[derive(Default)]
pub struct Setup {
    /// The workflows, each with the name of its file.
    pub workflows: Vec<(String, Compiled)>,
    /// The readings, in the order of their times.
    pub readings: Vec<Recorded>,
    /// When it begins.
    pub from: Timestamp,
    /// When it ends.
    pub until: Timestamp,
    /// The zone of the site.
    pub zone: Option<TimeZone>,
    /// What the outside answers.
    pub answers: Vec<AnswerRule>,
    /// Signals, in the order of their times.
    pub signals: Vec<Signal>,
    /// Runs that begin at once, with what they are given.
    pub starts: Vec<(String, Map<String, Json>)>,
    /// What stands in twins.
    pub twins: Vec<Preset>,
}

/// Why a simulation does not go on.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The store it works in.
    #[error("the simulation's own store: {0}")]
    Store(#[from] Fault),
    /// The same, of something that was written.
    #[error("the simulation's own store: {0}")]
    Write(#[from] WriteError),
    /// A workflow is not for a gateway.
    #[error("{0}: {1}")]
    NotForHere(String, NotForHere),
    /// A workflow is for devices.
    #[error("{0}: its placement is `device`, and what is played here is a gateway")]
    OnDevices(String),
    /// A run does not begin, or does not take a signal.
    #[error("{0}: {1}")]
    Run(String, RunError),
    /// A twin does not take a value.
    #[error("twin of {0}: {1}")]
    Twin(String, String),
    /// It goes on and on.
    #[error("at {0} runs go on and on without any time passing: the last lines say which")]
    Restless(String),
    /// What is told is not taken.
    #[error(transparent)]
    Told(#[from] io::Error),
}

/// Takes lines, as they come.
pub type Tell<'a> = dyn FnMut(&Line) -> io::Result<()> + Send + 'a;

/// A gateway that is simulated.
pub struct Simulation {
    clock: Arc<Clock>,
    store: Store,
    pipeline: Pipeline,
    engine: Engine,
    runs: Runs,
    twins: Twins,
    by_twins: TwinWatch,
    stage: Stage,
    teller: Teller,
    setup: Setup,
    key: NodeKey,
    library: Library,
    /// What was to begin a run and did not.
    left_out: LeftOut,
    /// How many readings and signals have been.
    played: (usize, usize),
    /// Removed last.
    _scratch: Scratch,
}

struct NoNames;

impl Nodes for NoNames {
    fn name(&self, node: &NodeId) -> String {
        node.to_string()
    }

    fn find(&self, _: &str) -> Option<NodeId> {
        None
    }
}

impl Simulation {
    /// Makes the gateway, with nothing in it.
    ///
    /// # Errors
    /// [`Trouble`]
    pub fn new(mut setup: Setup) -> Result<Self, Trouble> {
        let scratch = Scratch::new()?;
        let clock = Arc::new(Clock::at(setup.from));
        let env: Env = Arc::clone(&clock) as Env;
        let key = NodeKey::generate(&env);
        let (store, _) = Store::open(store_options(&scratch, key.clone()), env)?;
        let desk = Desk::load(&store, Role::Edge)?;
        let options = pipeline::Options {
            widths_s: widths_s(&setup).into_iter().collect(),
            windows_kept_s: pipeline::WINDOWS_KEPT_S,
            on_live: Arc::new(|_| {}),
            alerts: Plan { desk: Some(desk.0.clone()), ..Plan::default() },
            on_traced: None,
        };
        let pipeline = Pipeline::load(store.clone(), options, SERIES_MAX)?;
        let documents = Arc::new(Documents::new(&store, key.clone(), Role::Edge));
        let steward = Arc::new(SiteSteward::load(&store)?);
        let library = Library { documents, steward, librarian: None };
        let twins = Twins::load(twins::Options {
            store: store.clone(),
            library: library.clone(),
            role: Role::Edge,
            nodes: Arc::new(NoNames),
            known: Arc::new(|_| true),
            how_known: "",
            stop: CancellationToken::new(),
        })?;
        let answers = Answers::new(std::mem::take(&mut setup.answers));
        let starts = Starts::new(desk.0.clone(), Arc::clone(store.env()));
        let stage = Stage::new(Arc::clone(&clock), store.clone(), starts, answers);
        let by_twins = TwinWatch::new(twins.clone(), desk.0.clone());
        let zone = setup.zone.clone().unwrap_or_else(TimeZone::system);
        let (catalog, twins_here) = (pipeline.catalog(), twins.clone());
        let outward = Settings::default().outward(Path::new("."));
        let (_, notices) = outward.map_err(io::Error::other)?;
        let here = Here { catalog, twins: twins_here, notices, zone: zone.clone() };
        let noted = Arc::new(Noted::new(here));
        let abilities = Abilities {
            local: Arc::clone(&noted) as Arc<_>,
            outside: Arc::new(stage.clone()),
            zone: zone.clone(),
        };
        let (runs, mut engine) = Runs::load(store.clone(), desk, abilities)?;
        let left_out = note_left_out(&mut engine, &clock);
        let teller = Teller::new(store.clone(), runs.clone(), zone, &noted);
        let (played, _scratch) = ((0, 0), scratch);
        Ok(Self {
            clock,
            store,
            pipeline,
            engine,
            runs,
            twins,
            by_twins,
            stage,
            teller,
            setup,
            key,
            library,
            left_out,
            played,
            _scratch,
        })
    }

    /// Plays all of it.
    ///
    /// # Errors
    /// [`Trouble`]
    pub async fn play(&mut self, tell: &mut Tell<'_>) -> Result<(), Trouble> {
        self.play_until(self.setup.until, tell).await
    }

    /// Plays what there is up to a moment, and goes on from there when it is asked again.
    ///
    /// # Errors
    /// [`Trouble`]
    pub async fn play_until(
        &mut self,
        until: Timestamp,
        tell: &mut Tell<'_>,
    ) -> Result<(), Trouble> {
        self.begin().await?;
        self.rest(tell).await?;
        while let Some(next) = self.next().filter(|next| *next <= until) {
            self.clock.set_on(next);
            self.take_readings().await?;
            self.send_signals(tell).await?;
            self.rest(tell).await?;
        }
        self.clock.set_on(until);
        self.rest(tell).await
    }

    /// What an uplink takes to carry what the gateway does to a hub, which changes nothing of it.
    #[must_use]
    pub fn replica(&self) -> (Store, NodeKey, Library) {
        (self.store.clone(), self.key.clone(), self.library.clone())
    }

    /// Answers that nothing has asked for.
    #[must_use]
    pub fn unasked(&self) -> Vec<String> {
        self.stage.unasked()
    }

    /// What there is to be told of the runs.
    #[must_use]
    pub const fn teller(&self) -> &Teller {
        &self.teller
    }

    /// Closes its store and removes it.
    pub async fn close(self) {
        let store = self.store.clone();
        drop((self.engine, self.pipeline, self.by_twins, self.twins, self.runs, self.teller));
        drop(self.stage);
        store.close().await;
    }

    /// Installs the workflows, and begins what is to begin at once.
    async fn begin(&mut self) -> Result<(), Trouble> {
        for preset in std::mem::take(&mut self.setup.twins) {
            let Preset { device, section, patch } = preset;
            let wrong = |text: String| Trouble::Twin(device.clone(), text);
            let name = section.document(&device);
            let name = name.ok_or_else(|| wrong("it is no device's id".to_owned()))?;
            let patch = Patch::read(&Json::Object(patch)).map_err(|bad| wrong(bad.detail))?;
            let written = self.twins.patch(name, patch, twins::Condition::default()).await;
            written.map(drop).map_err(|error| match error {
                PatchError::Stale(_) => wrong("it is another one by now".to_owned()),
                PatchError::Write(error) => wrong(error.to_string()),
            })?;
        }
        self.by_twins.come_to_rest().await?;
        for (file, compiled) in std::mem::take(&mut self.setup.workflows) {
            if compiled.placement == Placement::Device {
                return Err(Trouble::OnDevices(file));
            }
            let accepted = self.runs.accept(compiled.image, BY, self.clock.now_ms());
            let flow = accepted.map_err(|why| Trouble::NotForHere(file.clone(), why))?;
            let runs = self.runs.clone();
            let install = async move { runs.install(flow).await };
            self.ask(install).await?.map_err(|error| Trouble::Run(file, error))?;
        }
        for (workflow, input) in std::mem::take(&mut self.setup.starts) {
            let by = BY.to_owned();
            let start = Start { workflow: workflow.clone(), input, by, ..Start::default() };
            let runs = self.runs.clone();
            let start = async move { runs.start(start).await };
            self.ask(start).await?.map_err(|error| Trouble::Run(workflow, error))?;
        }
        Ok(())
    }

    /// Asks the engine, which works here and nowhere else.
    async fn ask<T>(
        &mut self,
        what: impl Future<Output = Result<T, RunError>>,
    ) -> Result<Result<T, RunError>, Trouble> {
        let mut what = pin!(what);
        if let Poll::Ready(done) = futures::poll!(what.as_mut()) {
            return Ok(done);
        }
        self.engine.come_to_rest().await?;
        Ok(what.await)
    }

    /// When something comes next.
    fn next(&self) -> Option<Timestamp> {
        let now = self.clock.now();
        let due_ms = self.engine.next_ms().min(self.pipeline.next_ms()).min(self.stage.next_ms());
        let due = Timestamp::from_millis(due_ms.max(now.millis() + 1));
        let reading = self.setup.readings.get(self.played.0).map(|reading| reading.time);
        let signal = self.setup.signals.get(self.played.1).map(|signal| signal.at);
        let next = [reading, signal].into_iter().flatten().chain(due).min()?;
        Some(next.max(now))
    }

    /// Everything at this moment, until nothing moves any more.
    async fn rest(&mut self, tell: &mut Tell<'_>) -> Result<(), Trouble> {
        self.tell(tell)?;
        for _ in 0..ROUNDS_MAX {
            let mut any = self.stage.come_to_rest().await;
            for effect in self.stage.take_effects() {
                tell(&self.teller.effect(effect, self.clock.now()))?;
            }
            any |= self.pipeline.come_to_rest().await?;
            any |= self.by_twins.come_to_rest().await?;
            any |= self.engine.come_to_rest().await?;
            if !any {
                return Ok(());
            }
            self.tell(tell)?;
        }
        Err(Trouble::Restless(holdfast_node::time_text::format(self.clock.now())))
    }

    /// Tells what has happened since it was told last.
    fn tell(&mut self, tell: &mut Tell<'_>) -> Result<(), Trouble> {
        let lines = self.teller.tell()?;
        let queued = self.teller.queued()?;
        let left_out = std::mem::take(&mut *self.left_out());
        for line in lines.iter().chain(&queued).chain(&left_out) {
            tell(line)?;
        }
        Ok(())
    }

    fn left_out(&self) -> MutexGuard<'_, Vec<Line>> {
        self.left_out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the readings of this moment.
    async fn take_readings(&mut self) -> Result<(), Trouble> {
        let now = self.clock.now();
        let rest = &self.setup.readings[self.played.0..];
        let count = rest.iter().take_while(|reading| reading.time <= now).count();
        for some in rest[..count].chunks(BATCH) {
            let mut batch = IngestBatch::default();
            for reading in some {
                let series = self.store.interner().intern(&reading.key());
                let series = series.map_err(|reject| Fault::Full(reject.to_string()))?;
                let (time, value) = (Some(reading.time), reading.value.clone());
                let at = batch.drafts.len();
                batch.drafts.push(Draft { series, time, value, quality: reading.quality });
                batch.items.push(Item { drafts: at..at + 1, source: None });
            }
            self.store.ingest(batch).await?;
        }
        self.played.0 += count;
        Ok(())
    }

    /// Sends the signals of this moment to the runs that know them.
    async fn send_signals(&mut self, tell: &mut Tell<'_>) -> Result<(), Trouble> {
        let now = self.clock.now();
        while let Some(signal) = self.setup.signals.get(self.played.1).filter(|s| s.at <= now) {
            let signal = signal.clone();
            self.played.1 += 1;
            let takers = self.takers(&signal).await?;
            if takers.is_empty() {
                let text = format!("`{}`: no run is under way that knows it", signal.name);
                let (run, name, line) = (None, String::new(), None);
                tell(&Line { at: now, run, name, what: "signal", line, text })?;
            }
            for (run, number, values) in takers {
                let values = values
                    .map_err(|why| Trouble::Run(signal.name.clone(), RunError::Input(why)))?;
                let runs = self.runs.clone();
                let send = async move { runs.signal(run, number, values, BY).await };
                let sent = self.ask(send).await?;
                sent.map_err(|error| Trouble::Run(signal.name.clone(), error))?;
            }
        }
        Ok(())
    }

    /// Runs that know a signal, with its number there and what it brings.
    async fn takers(&self, sent: &Signal) -> Result<Vec<Taker>, Trouble> {
        let all = |view: &Snapshot<'_>| view.scan(Table::Run, &[], &[], usize::MAX);
        let library = self.runs.library();
        let mut out = Vec::new();
        for (key, value) in self.store.read(all).await? {
            let (Ok(id), Ok(run)) = (key.as_slice().try_into(), Run::decode(&value)) else {
                continue;
            };
            let Some(flow) = library.get(&run.workflow, &run.version) else { continue };
            let image = flow.image();
            for number in 0..image.sizes.signals {
                let known = signal(&image, number);
                let known = known.filter(|known| known.source == SignalSource::Outside);
                if let Some(known) = known.filter(|known| known.name == sent.name) {
                    out.push((RunId(id), number, given(&image, known.values, &sent.values)));
                }
            }
        }
        Ok(out)
    }
}

type LeftOut = Arc<Mutex<Vec<Line>>>;

/// Has what begins no run noted.
fn note_left_out(engine: &mut Engine, clock: &Arc<Clock>) -> LeftOut {
    let (notes, clock) = (LeftOut::default(), Arc::clone(clock));
    let noted = Arc::clone(&notes);
    engine.on_left_out(Box::new(move |workflow, by, error| {
        let (at, name, text) = (clock.now(), workflow.to_owned(), format!("{by}: {error}"));
        let line = Line { at, run: None, name, what: "no run", line: None, text };
        noted.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }));
    notes
}

/// A run, the number of a signal of it, and what that brings.
type Taker = (RunId, u8, Result<Vec<Option<Owned>>, String>);

fn store_options(scratch: &Scratch, key: NodeKey) -> store::Options {
    store::Options {
        dir: scratch.path().to_owned(),
        key,
        quota_bytes: QUOTA_BYTES,
        overflow: Overflow::Refuse,
        max_series: SERIES_MAX,
        seal_after: 0,
        version: crate::VERSION,
        scrub_every: Duration::ZERO,
        // Nobody keeps it, so no power cut can lose anything.
        unsafe_normal_sync: true,
    }
}

/// The widths of windows that are summed up: those of a gateway, and those that are looked at.
fn widths_s(setup: &Setup) -> BTreeSet<u32> {
    let mut out = usual_widths_s();
    out.extend(setup.workflows.iter().flat_map(|(_, compiled)| looked_at_s(&compiled.image)));
    out
}

/// The widths that a gateway sums up where nothing is said.
fn usual_widths_s() -> BTreeSet<u32> {
    Rollups::default().widths.iter().map(|width| width.0.as_secs() as u32).collect()
}

/// The widths that the triggers of an image look at.
fn looked_at_s(image: &[u8]) -> Vec<u32> {
    let widths = |image: Image<'_>| {
        let on = image.triggers().map(|(_, trigger)| trigger.on);
        on.filter_map(|on| match on {
            On::Rollup { width_s, .. } => Some(width_s),
            _ => None,
        })
        .collect()
    };
    Image::parse(image).map_or_else(|_| Vec::new(), widths)
}
