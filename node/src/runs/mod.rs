//! Runs of workflows on a node: begun once, never lost, each effect of theirs done once.
//!
//! A workflow is *installed* as a verified image ([`library`]). A run of it is the memory that the
//! step machine of [`holdfast_core::flow`] works on, and a record of the store ([`record`]). The
//! [`engine`] steps runs in transactions ([`step`]): what is a row of the store is done in the same
//! one, what leaves the node is begun when it is on disk, under a key that stays the same however
//! often it is begun. [`Runs`] is the handle by which everything else asks.
//!
//! Byte-exact page: `docs/formats/runs.md`.

mod afar;
pub mod assigned;
mod calendar;
mod desk;
mod due;
pub mod effect;
mod engine;
mod forward;
mod history;
pub mod library;
mod local;
mod migrate;
mod offer;
pub mod record;
pub mod step;
pub mod told;
mod twins;
mod waits;

pub use afar::StepsError;
pub use desk::{Begins, Desk, Tray};
pub use due::{Due, FACTS_MAX_BYTES, Facts};
pub use effect::{Asked, Failure};
pub use library::{Flow, Library};
pub use local::Here;
pub(crate) use local::is_tagged;
pub use migrate::migrated;
pub use offer::Offer;
pub use record::{Afar, Line, Run};
pub use step::{Decision, Local, NotTaken};
pub use twins::{TwinWatch, begin_by_twins};
pub(crate) use waits::{Moved, WaitRows, Waits};

use engine::{Command, Parts};
pub use engine::{Engine, OnLeftOut};
use futures::FutureExt;
use futures::future::BoxFuture;
use holdfast_core::flow::about::Placement;
use holdfast_core::flow::effect::Kind;
use holdfast_core::flow::{Code, Rejection, Tier};
use holdfast_core::log::runs::RunId;
use holdfast_core::state::Role;
use holdfast_sync::Fault;
use holdfast_sync::store::Store;
use jiff::tz::TimeZone;
use record::Parent;
use serde_json::{Map, Value as Json};
use std::sync::Arc;
use std::time::Duration;
use step::Told;
use tokio::sync::{mpsc, oneshot};

/// Runs that are under way on a node: about 1 KB each.
pub const RUNS_MAX: usize = 200_000;
/// Commands that wait for the engine.
const COMMANDS: usize = 1_024;

/// Brings about what leaves the node.
pub trait Outside: Send + Sync {
    /// The kinds that it knows, a bit each.
    fn kinds(&self) -> u32;

    /// Does it, once under its key, however often it is asked to.
    fn act(&self, asked: Asked) -> BoxFuture<'static, Result<Json, Failure>>;

    /// Has work go on beside the engine.
    fn spawn(&self, work: BoxFuture<'static, ()>) {
        tokio::spawn(work);
    }

    /// Waits for so long, by the clock by which effects are given up.
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep(time).boxed()
    }
}

/// A run that is to begin.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// Of which workflow.
    pub workflow: String,
    /// Of which version; the newest otherwise.
    pub version: Option<String>,
    /// What it is given.
    pub input: Map<String, Json>,
    /// Who or what wants it.
    pub by: String,
    /// The run that waits for it.
    pub parent: Option<Parent>,
    /// What it is to be called; asked for twice under one id, it begins once.
    pub id: Option<RunId>,
    /// Whether it waited for room.
    pub is_queued: bool,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// The run.
    pub run: RunId,
    /// Whether it was handed to the hub.
    pub is_forwarded: bool,
    /// Whether it waits for room.
    pub waits: bool,
    /// Whether it had begun before.
    pub was_there: bool,
}

/// Why a workflow is not for this node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotForHere {
    /// The verifier does not accept it, or this node cannot do what it does.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// A trigger of it is found elsewhere.
    #[error("a run of it begins by `{0}`, for which this node does not look")]
    Trigger(&'static str),
    /// It waits for a condition over readings, and this node looks for none.
    #[error("it waits for a condition over readings, and this node looks for none")]
    Condition,
    /// It tells somebody whom the configuration does not know.
    #[error("it tells `{0}`, and the configuration has no section `notify.{0}`")]
    Target(String),
    /// It runs on devices, and nobody has signed it.
    #[error(
        "its placement is `device`, and devices take only what a publisher has signed: publish it \
         at the hub (`artefact publish FILE --kind flow`), and assign it (`artefact assign SITE \
         NAME ID [--only TAG=VALUE]`)"
    )]
    Unsigned,
    /// It runs elsewhere.
    #[error("its placement is `{0}`, and this node is none")]
    Elsewhere(&'static str),
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// There is no such workflow, or none of which new runs may begin.
    #[error("no workflow `{0}` is installed here and enabled")]
    NoWorkflow(String),
    /// That version is installed with another content.
    #[error("this version is installed with another content: a version never changes")]
    OtherImage,
    /// It runs on the hub, and nobody here hears of its end.
    #[error("`{0}` runs on the hub, whose end is not heard of here: use `forward`")]
    OfHub(String),
    /// Devices run it.
    #[error("`{0}` runs on devices and begins there")]
    OfDevices(String),
    /// The run is on a device, which is told nothing about it.
    #[error("the run is on the device `{0}`, where nobody ends it, decides, or sends it signals")]
    OnDevice(String),
    /// Runs are pinned to it.
    #[error("{0} of its runs are under way or wait: let them end, or cancel them")]
    InUse(usize),
    /// There is no such run.
    #[error("there is no such run")]
    NoRun,
    /// The run is over.
    #[error("the run is over")]
    Over,
    /// The run waits for room.
    #[error("the run has not begun: it waits until others are over")]
    NotBegun,
    /// What it was given is not what it takes.
    #[error("{0}")]
    Input(String),
    /// As many runs are under way as may be.
    #[error("as many runs of it are under way as may be, and it says to leave further ones out")]
    Skipped,
    /// There is no room.
    #[error("there is no room for more")]
    Full,
    /// The run does not take it.
    #[error("the run does not take it: {0}")]
    Refused(NotTaken),
    /// The store failed.
    #[error("nothing was stored: {0}")]
    Store(String),
    /// The node stops.
    #[error("the node stops")]
    Stopping,
}

impl RunError {
    /// The same for a run that waited for it.
    fn failure(&self) -> Failure {
        let code = match self {
            Self::Full | Self::Skipped => Code::BUSY,
            Self::Input(_) | Self::OfHub(_) | Self::OfDevices(_) => Code::INVALID,
            _ => Code::FAILED,
        };
        Failure::new(code, self.to_string())
    }
}

/// The runs of a node; clones share them.
#[derive(Clone)]
pub struct Runs {
    commands: mpsc::Sender<Command>,
    desk: Desk,
    local: Arc<dyn Local>,
    tier: Tier,
}

/// What a node does by itself and outside, and which workflows are for it.
pub struct Abilities {
    /// What is a row of its store.
    pub local: Arc<dyn Local>,
    /// What leaves it.
    pub outside: Arc<dyn Outside>,
    /// The time zone of the site.
    pub zone: TimeZone,
}

impl Runs {
    /// Reads what was under way, and gives the handle and the task that moves it.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn load(
        store: Store,
        (desk, tray): (Desk, Tray),
        abilities: Abilities,
    ) -> Result<(Self, Engine), Fault> {
        let (sender, commands) = mpsc::channel(COMMANDS);
        let Abilities { local, outside, zone } = abilities;
        let effects = local.kinds() | outside.kinds() | Kind::Flow.bit();
        let tier = Tier::NODE.with(effects, u32::MAX);
        let told = Arc::clone(&local);
        let parts = Parts { local, outside, zone, desk: desk.clone(), tray, commands };
        let engine = Engine::load(store, parts)?;
        Ok((Self { commands: sender, desk, local: told, tier }, engine))
    }

    /// Verifies an image that somebody installs on this node.
    ///
    /// # Errors
    /// [`NotForHere`]
    pub fn accept(&self, image: Vec<u8>, by: &str, added_ms: i64) -> Result<Flow, NotForHere> {
        self.accept_from(image, (by, None), added_ms)
    }

    /// The same, of one that came as an artefact, if `origin` says so.
    ///
    /// # Errors
    /// [`NotForHere`]
    pub fn accept_from(
        &self,
        image: Vec<u8>,
        (by, origin): (&str, Option<record::Origin>),
        added_ms: i64,
    ) -> Result<Flow, NotForHere> {
        let by = by[..by.floor_char_boundary(record::BY_MAX_BYTES)].to_owned();
        let is_signed = origin.is_some();
        let installed = record::Installed { added_ms, by, is_enabled: true, origin, image };
        let flow = Flow::accept(installed, &Tier::NODE)?;
        let placement = flow.about().placement;
        match (self.desk.role(), placement) {
            (_, Placement::Device) if !is_signed => Err(NotForHere::Unsigned),
            // It is run by devices: what one can do is known.
            (Role::Edge, Placement::Device) => Ok(Flow::accept(flow.installed, &Tier::DEVICE)?),
            // It begins here and is done there: what it does is for the hub to judge.
            (Role::Edge, Placement::Hub) => Ok(flow),
            (Role::Edge, Placement::Any | Placement::Edge) => self.does_all(flow),
            (Role::Hub, Placement::Any | Placement::Hub) => {
                self.finds_all(&flow, placement)?;
                self.does_all(flow)
            }
            (_, elsewhere) => Err(NotForHere::Elsewhere(elsewhere.name())),
        }
    }

    /// Whether this node does all that a workflow does.
    fn does_all(&self, flow: Flow) -> Result<Flow, NotForHere> {
        let flow = Flow::accept(flow.installed, &self.tier)?;
        let unknown = flow.targets().find(|target| !self.local.tells(target));
        match unknown {
            Some(target) => Err(NotForHere::Target(target)),
            None => Ok(flow),
        }
    }

    /// Whether a hub finds all that a workflow begins by and waits for; gateways find what begins
    /// one that is for the hub.
    fn finds_all(&self, flow: &Flow, placement: Placement) -> Result<(), NotForHere> {
        if flow.has_conditions() {
            return Err(NotForHere::Condition);
        }
        let image = flow.image();
        let missing = image.triggers().find(|(_, trigger)| !desk::is_hubs(&trigger.on));
        match missing.filter(|_| placement != Placement::Hub) {
            Some((_, trigger)) => Err(NotForHere::Trigger(trigger.on.kind().name())),
            None => Ok(()),
        }
    }

    /// What this node is.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.desk.role()
    }

    /// The workflows that are installed.
    #[must_use]
    pub fn library(&self) -> Library {
        self.desk.library().clone()
    }

    /// Installs a version of a workflow. On disk when this returns.
    ///
    /// # Errors
    /// [`RunError`]
    pub async fn install(&self, flow: Flow) -> Result<(), RunError> {
        self.ask(|reply| Command::Install(flow, reply)).await
    }

    /// Lets new runs of a version begin, or not.
    ///
    /// # Errors
    /// [`RunError`]
    pub async fn enable(&self, id: &str, version: &str, is_enabled: bool) -> Result<(), RunError> {
        let (id, version) = (id.to_owned(), version.to_owned());
        self.ask(|reply| Command::Enable { id, version, is_enabled, reply }).await
    }

    /// Removes a version to which no run is pinned.
    ///
    /// # Errors
    /// [`RunError`]
    pub async fn remove(&self, id: &str, version: &str) -> Result<(), RunError> {
        let (id, version) = (id.to_owned(), version.to_owned());
        self.ask(|reply| Command::Remove { id, version, reply }).await
    }

    /// Begins a run. On disk when this returns.
    ///
    /// # Errors
    /// [`RunError`]
    pub async fn start(&self, start: Start) -> Result<Started, RunError> {
        self.ask(|reply| Command::Start(start, Some(reply))).await
    }

    /// Ends a run; what it did is undone.
    ///
    /// # Errors
    /// [`RunError`]
    pub async fn cancel(&self, run: RunId, by: &str) -> Result<(), RunError> {
        self.tell(run, Told::Cancel(by.to_owned())).await
    }

    /// Sends a run a signal, with values in the order in which its image lists them.
    ///
    /// # Errors
    /// [`RunError`]
    pub async fn signal(
        &self,
        run: RunId,
        signal: u8,
        values: Vec<Option<effect::Owned>>,
        by: &str,
    ) -> Result<(), RunError> {
        self.tell(run, Told::Signal(signal, values, by.to_owned())).await
    }

    /// Decides about a fiber that is parked.
    ///
    /// # Errors
    /// [`RunError`]
    pub async fn resolve(
        &self,
        run: RunId,
        fiber: u8,
        decision: Decision,
        by: &str,
    ) -> Result<(), RunError> {
        self.tell(run, Told::Resolve(fiber, decision, by.to_owned())).await
    }

    /// Has a run go on as one of another version.
    ///
    /// # Errors
    /// [`RunError`]; it stays as it is then.
    pub async fn migrate(&self, run: RunId, to: Arc<Flow>, by: &str) -> Result<(), RunError> {
        self.tell(run, Told::Migrate(to, by.to_owned())).await
    }

    async fn tell(&self, run: RunId, told: Told) -> Result<(), RunError> {
        self.ask(|reply| Command::Tell { run, told, reply: Some(reply) }).await
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(engine::Reply<T>) -> Command,
    ) -> Result<T, RunError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| RunError::Stopping)?;
        answer.await.unwrap_or(Err(RunError::Stopping))
    }
}

impl Default for Started {
    fn default() -> Self {
        Self { run: RunId([0; 16]), is_forwarded: false, waits: false, was_there: false }
    }
}
