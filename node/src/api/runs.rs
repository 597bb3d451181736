//! `/v1/runs`: what is under way, why it waits, and what somebody decides about it.

mod decide;
#[cfg(test)]
mod tests;
mod wanted;

use super::data::{Data, fault_problem};
use super::twins::limit;
use crate::auth::{Admin, Auth, Reader};
use crate::http::{Json as Body, Path, Query};
use crate::notify::Notices;
use crate::problem::Problem;
use crate::routes::{NoContent, Operation, Routes};
use crate::runs::effect::{given, shown};
use crate::runs::record::Waiting as Queued;
use crate::runs::{Afar, Flow, Line, Run, RunError, Runs, Start, Started};
use crate::time_text::Time;
use axum::Json;
use axum::extract::{FromRef, State};
use axum::http::StatusCode;
use holdfast_core::Timestamp;
use holdfast_core::flow::image::Named;
use holdfast_core::flow::memory::Phase;
use holdfast_core::flow::view::{self, Wait, Waiting};
use holdfast_core::flow::{Image, Memory, NEVER};
use holdfast_core::log::runs::RunId;
use holdfast_sync::Fault;
use holdfast_sync::store::{ReadRecords, Snapshot, Table};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use wanted::Wanted;

/// The routes of a gateway.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Routes<S>
where
    Auth: FromRef<S>,
    Data: FromRef<S>,
    Notices: FromRef<S>,
    Runs: FromRef<S>,
{
    acting().get("/v1/runs", "Runs, the newest first", runs).get(
        "/v1/runs/{run}",
        "A run: what it waits for, and its history",
        run,
    )
}

/// Those that do something with runs and workflows of this node.
pub(super) fn acting<S: Clone + Send + Sync + 'static>() -> Routes<S>
where
    Auth: FromRef<S>,
    Data: FromRef<S>,
    Notices: FromRef<S>,
    Runs: FromRef<S>,
{
    Routes::new()
        .post("/v1/workflows/{workflow}/runs", "Begins a run", begin)
        .with(may_conflict)
        .post("/v1/runs/{run}/cancel", "Ends a run; what it did is undone", cancel)
        .with(may_conflict)
        .post("/v1/runs/{run}/signals/{signal}", "Sends a run a signal", signal)
        .with(may_conflict)
        .post("/v1/runs/{run}/decisions", "Decides about what is parked", decide::decide)
        .with(may_conflict)
        .merge(super::workflows::routes())
        .merge(super::notices::routes())
        .merge(super::standing::routes())
        .merge(super::migrations::routes())
}

pub(super) fn may_conflict(operation: &mut Operation) {
    operation.may_fail(&[
        StatusCode::NOT_FOUND,
        StatusCode::CONFLICT,
        StatusCode::INSUFFICIENT_STORAGE,
        StatusCode::SERVICE_UNAVAILABLE,
    ]);
}

impl RunError {
    /// The answer to whoever asked.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let text = self.to_string();
        let conflict = |code| Problem::new(StatusCode::CONFLICT, code, text.clone());
        match self {
            Self::NoWorkflow(_) | Self::NoRun => Problem::not_found(text),
            Self::OtherImage => conflict("version-exists").expected("another version"),
            Self::OfHub(_) => conflict("runs-on-hub"),
            Self::OfDevices(_) | Self::OnDevice(_) => conflict("runs-on-device"),
            Self::InUse(_) => conflict("in-use"),
            Self::Over => conflict("run-over"),
            Self::NotBegun => conflict("run-not-begun"),
            Self::Skipped => conflict("runs-under-way"),
            Self::Refused(_) => conflict("not-waited-for"),
            Self::Input(_) => Problem::invalid("invalid-input", text).at("/input"),
            Self::Full => Problem::no_room(text),
            Self::Store(_) | Self::Stopping => Problem::unavailable("store-unavailable", text, 5),
        }
    }
}

/// A run that is to begin.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NewRun {
    /// Of which version; the newest otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What it is given.
    pub input: Map<String, Value>,
    /// What it is to be called, 32 hexadecimal digits: it begins once, however often it is asked
    /// for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// A run that was asked for.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Begun")]
pub struct BegunShape {
    /// What it is called.
    pub run: String,
    /// Whether it waits until others are over.
    pub waits: bool,
    /// Whether it had begun before.
    pub was_there: bool,
    /// Whether it was handed to the hub, which begins it once it has heard of it.
    #[serde(default)]
    pub forwarded: bool,
}

async fn begin(
    Admin(who): Admin,
    State(runs): State<Runs>,
    Path(workflow): Path<String>,
    Body(new): Body<NewRun>,
) -> Result<Json<BegunShape>, Problem> {
    let NewRun { version, input, id } = new;
    let id = id.map(|id| id_of(&id)).transpose()?;
    let by = who.grant.name.clone();
    let start = Start { workflow, version, input, by, id, ..Start::default() };
    let begun = runs.start(start).await.map_err(|error| error.problem())?;
    let Started { run, is_forwarded: forwarded, waits, was_there } = begun;
    Ok(Json(BegunShape { run: run.to_string(), waits, was_there, forwarded }))
}

/// What a part of a run waits for.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RunWait")]
pub struct WaitShape {
    /// The part, to decide about it.
    pub fiber: u8,
    /// The line of the source.
    pub line: Option<u32>,
    /// `effect`, `retry`, `timer`, `signal`, `branches`, `decision`, `room` or `nothing`.
    #[serde(rename = "for")]
    pub wait: String,
    /// In words.
    pub text: String,
    /// Until when at most, where there is an end.
    pub until: Option<Time>,
}

/// A line of the history of a run.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RunLine")]
pub struct LineShape {
    /// When.
    pub at: Time,
    /// What happened.
    pub what: String,
    /// The line of the source.
    pub line: Option<u32>,
    /// In words.
    pub text: String,
    /// The node that tells of it, where a hub knows of more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

impl LineShape {
    pub(super) fn of(at_ms: i64, Line { what, line, text }: Line) -> Self {
        let line = (line > 0).then_some(line);
        Self { at: time(at_ms), what: what.name().to_owned(), line, text, node: None }
    }
}

/// A run.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Run")]
pub struct RunShape {
    /// What it is called.
    pub id: String,
    /// The gateway that runs it, where a hub tells of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The device that runs it, where a gateway tells of it that does not run it itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Its workflow.
    pub workflow: String,
    /// The version to which it is pinned.
    pub version: String,
    /// `waiting` until there is room for it, then `running`, `undoing`, `succeeded`, `failed` or
    /// `cancelled`; `forwarded` where the hub is to begin it.
    pub state: String,
    /// Who or what began it.
    pub by: String,
    /// When it began.
    pub began: Time,
    /// When it did its last step.
    pub stepped: Time,
    /// Why it fails, failed or was cancelled.
    pub error: Option<String>,
    /// What it left, once it has succeeded.
    pub output: Option<Map<String, Value>>,
    /// What it waits for.
    pub waits: Vec<WaitShape>,
    /// Its variables; only of one that is asked for by its id.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub variables: Map<String, Value>,
    /// Its history, the oldest first; only of one that is asked for by its id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<LineShape>,
}

pub(super) fn time(ms: i64) -> Time {
    Time(Timestamp::from_millis(ms).unwrap_or_default())
}

/// The word for how far a run is.
#[must_use]
pub const fn phase_word(phase: Option<Phase>) -> &'static str {
    match phase {
        Some(Phase::Running) => "running",
        Some(Phase::Undoing) => "undoing",
        Some(Phase::Succeeded) => "succeeded",
        Some(Phase::Failed) | None => "failed",
        Some(Phase::Cancelled) => "cancelled",
    }
}

/// What a fiber waits for, as a word and in words.
fn words(image: &Image<'_>, run: &Run, waiting: &Waiting) -> (&'static str, String) {
    let reason = run.reasons.iter().find(|(fiber, _)| *fiber == waiting.fiber);
    let reason = reason.map(|(_, text)| text.as_str()).unwrap_or_default();
    let kind = |effect| image.effect(effect).map_or("effect", |effect| effect.kind.name());
    match waiting.wait {
        Wait::Effect(pending) => {
            ("effect", format!("waits for a `{}` to be done", kind(pending.effect)))
        }
        Wait::Retry { of, .. } => {
            let attempt = of.attempt.saturating_add(1);
            ("retry", format!("tries a `{}` again, attempt {attempt}: {reason}", kind(of.effect)))
        }
        Wait::Timer => ("timer", "waits for a time, then goes on".to_owned()),
        Wait::Signal(signal) => {
            let known = holdfast_core::flow::signal::signal(image, signal);
            let name = known.map_or("", |signal| signal.name);
            let then = if waiting.until == NEVER { "" } else { ", else fails with timeout" };
            ("signal", format!("waits for `{name}`{then}"))
        }
        Wait::Branches => ("branches", "waits for its branches".to_owned()),
        Wait::Decision(_) => ("decision", format!("waits for somebody to decide: {reason}")),
        Wait::Nothing => ("nothing", "goes on with its next step".to_owned()),
    }
}

impl RunShape {
    fn of(id: RunId, run: &Run, flow: Option<&Flow>) -> Self {
        let phase = run.phase();
        let image = flow.map(Flow::image);
        let memory = image.as_ref().and_then(|image| Memory::new(&run.memory, image.sizes));
        let (mut waits, mut error, mut output) = (Vec::new(), None, None);
        if let (Some(image), Some(memory)) = (&image, memory) {
            for waiting in view::waits(image, memory) {
                let (wait, text) = words(image, run, &waiting);
                waits.push(WaitShape {
                    fiber: waiting.fiber,
                    line: image.line_of(waiting.pc).map(|(line, _)| line),
                    wait: wait.to_owned(),
                    text,
                    until: (waiting.until != NEVER).then(|| time(waiting.until)),
                });
            }
            error = image.error_name(memory.cause()).map(str::to_owned);
            let left = image.outputs().map(|f| (f.name.to_owned(), shown(image, memory, f.slot)));
            output = (phase == Some(Phase::Succeeded)).then(|| left.collect());
        }
        let began_ms = match (&run.device, id.began_ms()) {
            // Its device had no clock then: it was not later than this.
            (Some(_), 0) => run.stepped_ms,
            (_, began_ms) => began_ms,
        };
        Self {
            id: id.to_string(),
            node: None,
            device: run.device.clone(),
            workflow: run.workflow.clone(),
            version: run.version.clone(),
            // One that is for the hub has none here.
            state: if run.memory.is_empty() { "forwarded" } else { phase_word(phase) }.to_owned(),
            by: run.by.clone(),
            began: time(began_ms),
            stepped: time(run.stepped_ms),
            error,
            output,
            waits,
            variables: Map::new(),
            history: Vec::new(),
        }
    }
}

impl RunShape {
    /// Of one that waits for room, from its record.
    fn waiting(key: &[u8], value: &[u8]) -> Option<Self> {
        let (workflow, id) = Queued::of_key(key).ok()?;
        let queued = Queued::decode(value).ok()?;
        let wait = WaitShape {
            fiber: 0,
            line: None,
            wait: "room".to_owned(),
            text: "waits until others of its workflow are over".to_owned(),
            until: None,
        };
        Some(Self {
            id: id.to_string(),
            node: None,
            device: None,
            workflow: workflow.to_owned(),
            version: queued.version,
            state: "waiting".to_owned(),
            by: queued.by,
            began: time(id.began_ms()),
            stepped: time(id.began_ms()),
            error: None,
            output: None,
            waits: vec![wait],
            variables: Map::new(),
            history: Vec::new(),
        })
    }
}

/// Runs of a node.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Runs")]
pub struct RunList {
    /// The newest first.
    pub runs: Vec<RunShape>,
    /// Whether there are more: ask again with `before` the last one.
    pub more: bool,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RunQuery {
    /// Only those of this workflow.
    workflow: Option<String>,
    /// Only those in this state: `waiting`, `running`, `undoing`, `succeeded`, `failed`,
    /// `cancelled`, `forwarded`; or `parked`, where somebody has to decide.
    state: Option<String>,
    /// Only those that have this text in their id, in who began them, in what they wait for, in
    /// their error or in a variable.
    text: Option<String>,
    /// Only those before this one.
    before: Option<String>,
    /// At most so many: 1 to 1,000; 100 otherwise.
    limit: Option<usize>,
}

async fn runs(
    _: Reader,
    State(data): State<Data>,
    State(runs): State<Runs>,
    Query(query): Query<RunQuery>,
) -> Result<Json<RunList>, Problem> {
    let most = limit(query.limit, 100, 1_000)?;
    let wanted = Wanted::of(&query)?;
    let before = query.before.as_deref().map(id_of).transpose()?;
    let library = runs.library();
    let look = move |view: &Snapshot<'_>| {
        let mut found = waiting(view, before, |shape, value| wanted.takes_waiting(shape, value))?;
        for table in [Table::Run, Table::RunOnDevice, Table::RunOver] {
            let mut before = before.map(|run| run.0.to_vec());
            let mut of_table = 0;
            'table: loop {
                let some = view.scan_back(table, before.as_deref(), 256)?;
                let Some((last, _)) = some.last() else { break };
                before = Some(last.clone());
                for (key, value) in some {
                    let Ok(id) = key.as_slice().try_into().map(RunId) else { continue };
                    let Some(run) = run_in(table, &value) else { continue };
                    let flow = library.get(&run.workflow, &run.version).map(AsRef::as_ref);
                    let shape = RunShape::of(id, &run, flow);
                    if wanted.takes_begun(&shape, &run, flow) {
                        found.push(shape);
                        of_table += 1;
                    }
                    if of_table > most {
                        break 'table;
                    }
                }
            }
        }
        Ok(found)
    };
    let mut found = data.store.read(look).await.map_err(fault_problem)?;
    found.sort_by(|a, b| b.id.cmp(&a.id));
    let more = found.len() > most;
    found.truncate(most);
    Ok(Json(RunList { runs: found, more }))
}

/// Runs that wait for room, and are wanted.
pub(super) fn waiting(
    view: &Snapshot<'_>,
    before: Option<RunId>,
    is_wanted: impl Fn(&RunShape, &[u8]) -> bool,
) -> Result<Vec<RunShape>, Fault> {
    let before = before.map(|run| run.to_string());
    let is_before = |shape: &RunShape| before.as_ref().is_none_or(|before| shape.id < *before);
    let all = view.scan(Table::RunWaiting, &[], &[], usize::MAX)?;
    let shapes =
        all.iter().filter_map(|(key, value)| Some((RunShape::waiting(key, value)?, value)));
    let wanted = shapes.filter(|(shape, value)| is_before(shape) && is_wanted(shape, value));
    Ok(wanted.map(|(shape, _)| shape).collect())
}

pub(super) fn id_of(text: &str) -> Result<RunId, Problem> {
    RunId::parse(text).ok_or_else(|| {
        Problem::parameter("run", format!("`{text}` is no run's id"))
            .expected("32 hexadecimal digits, from `run list`")
    })
}

/// A run as a table has it.
pub(super) fn run_in(table: Table, value: &[u8]) -> Option<Run> {
    match table {
        Table::RunOnDevice => Afar::decode(value).ok().map(|afar| afar.run),
        _ => Run::decode(value).ok(),
    }
}

/// A run as it is kept, under way or over.
async fn kept(data: &Data, id: RunId) -> Result<Option<Run>, Problem> {
    let look = move |view: &Snapshot<'_>| {
        for table in [Table::Run, Table::RunOnDevice, Table::RunOver] {
            if let Some(value) = view.get(table, &id.0)? {
                return Ok(run_in(table, &value));
            }
        }
        Ok(None)
    };
    data.store.read(look).await.map_err(fault_problem)
}

/// A run that this node runs, or ran.
async fn find(data: &Data, id: RunId) -> Result<Run, Problem> {
    let run = kept(data, id).await?.ok_or_else(|| no_run(id))?;
    match &run.device {
        None => Ok(run),
        Some(_) if run.phase().is_none_or(Phase::is_over) => Err(RunError::Over.problem()),
        Some(device) => Err(RunError::OnDevice(device.clone()).problem()),
    }
}

fn no_run(id: RunId) -> Problem {
    Problem::not_found(format!("there is no run `{id}` here"))
}

async fn run(
    _: Reader,
    State(data): State<Data>,
    State(runs): State<Runs>,
    Path(text): Path<String>,
) -> Result<Json<RunShape>, Problem> {
    let id = id_of(&text)?;
    of_this_node(&data, &runs, id).await?.map(Json).ok_or_else(|| no_run(id))
}

/// A run of this node, with its history.
pub(super) async fn of_this_node(
    data: &Data,
    runs: &Runs,
    id: RunId,
) -> Result<Option<RunShape>, Problem> {
    let waits = |view: &Snapshot<'_>| view.scan(Table::RunWaiting, &[], &[], usize::MAX);
    let waiting = data.store.read(waits).await.map_err(fault_problem)?;
    if let Some((key, value)) = waiting.iter().find(|(key, _)| key.ends_with(&id.0))
        && let Some(shape) = RunShape::waiting(key, value)
    {
        return Ok(Some(shape));
    }
    let Some(run) = kept(data, id).await? else { return Ok(None) };
    let flow = runs.library().get(&run.workflow, &run.version).cloned();
    let mut shape = RunShape::of(id, &run, flow.as_deref());
    if let Some(flow) = &flow {
        let image = flow.image();
        if let Some(memory) = Memory::new(&run.memory, image.sizes) {
            for (named, name) in image.names() {
                if let Named::Slot(slot) = named {
                    shape.variables.insert(name.to_owned(), shown(&image, memory, slot));
                }
            }
        }
    }
    let lines = move |view: &Snapshot<'_>| view.scan(Table::RunStep, &id.0, &[], usize::MAX);
    let lines = data.store.read(lines).await.map_err(fault_problem)?;
    shape.history = lines
        .iter()
        .filter_map(|(_, value)| Line::decode(value).ok())
        .map(|(at_ms, line)| LineShape::of(at_ms, line))
        .collect();
    Ok(Some(shape))
}

async fn cancel(
    Admin(who): Admin,
    State(runs): State<Runs>,
    Path(run): Path<String>,
) -> Result<NoContent, Problem> {
    let id = id_of(&run)?;
    runs.cancel(id, &who.grant.name).await.map_err(|error| error.problem())?;
    Ok(NoContent)
}

async fn signal(
    Admin(who): Admin,
    State(data): State<Data>,
    State(runs): State<Runs>,
    Path((run, name)): Path<(String, String)>,
    Body(values): Body<Map<String, Value>>,
) -> Result<NoContent, Problem> {
    let id = id_of(&run)?;
    let found = find(&data, id).await?;
    let flow = runs.library().get(&found.workflow, &found.version).cloned();
    let flow = flow.ok_or_else(|| RunError::NoRun.problem())?;
    let image = flow.image();
    let known = (0..image.sizes.signals)
        .filter_map(|index| Some((index, holdfast_core::flow::signal::signal(&image, index)?)));
    let known: Vec<_> = known.collect();
    let wanted = known.iter().find(|(_, signal)| signal.name == name);
    let (index, signal) = wanted.ok_or_else(|| {
        let names: Vec<_> = known.iter().map(|(_, signal)| signal.name).collect();
        Problem::not_found(format!("the run knows no signal `{name}`")).expected(names.join(", "))
    })?;
    let values = given(&image, signal.values, &values);
    let values = values.map_err(|text| Problem::invalid("invalid-input", text))?;
    let sent = runs.signal(id, *index, values, &who.grant.name).await;
    sent.map_err(|error| error.problem())?;
    Ok(NoContent)
}
