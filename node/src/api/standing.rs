//! Where the runs of a workflow stand right now: its outline with how many of them are at each
//! line, and how many of each workflow there are at all.
//!
//! Both are read from the runs as the store has them, all of those that are under way: nothing is
//! counted beside what it is a count of. Whoever asks again and again waits longer between two
//! questions the longer an answer takes.

use super::data::{Data, fault_problem};
use super::runs::{id_of, run_in};
use crate::auth::{Auth, Reader};
use crate::flow::Outline;
use crate::http::{Path, Query};
use crate::problem::Problem;
use crate::routes::{Operation, Routes};
use crate::runs::record::Waiting as Queued;
use crate::runs::{Flow, Run, Runs};
use axum::Json;
use axum::extract::{FromRef, State};
use axum::http::StatusCode;
use holdfast_core::flow::field::{Default as Value, Field};
use holdfast_core::flow::signal::{Source, signal};
use holdfast_core::flow::view::{self, Wait, Waiting};
use holdfast_core::flow::{Image, Memory, Slot, Type, decimal};
use holdfast_sync::Fault;
use holdfast_sync::store::{ReadRecords, Snapshot, Table};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Given;
use std::collections::BTreeMap;

/// Runs that are read at once.
const AT_ONCE: usize = 256;

/// The routes.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Routes<S>
where
    Auth: FromRef<S>,
    Data: FromRef<S>,
    Runs: FromRef<S>,
{
    let outlined = "/v1/workflows/{workflow}/{version}/outline";
    Routes::new()
        .get("/v1/runs/counts", "How many runs of each workflow there are", counts)
        .get(outlined, "What a workflow does, and how many runs are where", outline)
        .with(|operation: &mut Operation| operation.may_fail(&[StatusCode::NOT_FOUND]))
}

/// Runs of a version of a workflow that are not over.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "RunCount")]
struct CountShape {
    /// The workflow.
    workflow: String,
    /// Its version.
    version: String,
    /// That have begun.
    under_way: usize,
    /// That wait for room.
    waiting: usize,
    /// Of those that have begun: where somebody has to decide.
    parked: usize,
}

/// Runs that are not over.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RunCounts")]
struct CountList {
    /// By workflow and version; those without runs are left out.
    counts: Vec<CountShape>,
}

/// Goes through all runs that have begun and are not over, those on devices, too.
fn each_run(view: &Snapshot<'_>, mut take: impl FnMut(Run)) -> Result<(), Fault> {
    for table in [Table::Run, Table::RunOnDevice] {
        let mut before: Option<Vec<u8>> = None;
        loop {
            let some = view.scan_back(table, before.as_deref(), AT_ONCE)?;
            let Some((last, _)) = some.last() else { break };
            before = Some(last.clone());
            some.iter().filter_map(|(_, value)| run_in(table, value)).for_each(&mut take);
        }
    }
    Ok(())
}

/// What each part of a run waits for.
fn waits(image: &Image<'_>, run: &Run) -> Vec<Waiting> {
    let memory = Memory::new(&run.memory, image.sizes);
    memory.map(|memory| view::waits(image, memory).collect()).unwrap_or_default()
}

const fn is_parked(waiting: &Waiting) -> bool {
    matches!(waiting.wait, Wait::Decision(_))
}

async fn counts(
    _: Reader,
    State(data): State<Data>,
    State(runs): State<Runs>,
) -> Result<Json<CountList>, Problem> {
    let library = runs.library();
    let look = move |view: &Snapshot<'_>| {
        let mut counts: BTreeMap<(String, String), CountShape> = BTreeMap::new();
        each_run(view, |run| {
            let flow = library.get(&run.workflow, &run.version);
            let parks = flow.is_some_and(|flow| waits(&flow.image(), &run).iter().any(is_parked));
            let count = counts.entry((run.workflow, run.version)).or_default();
            count.under_way += 1;
            count.parked += usize::from(parks);
        })?;
        for (key, value) in view.scan(Table::RunWaiting, &[], &[], usize::MAX)? {
            if let (Ok((workflow, _)), Ok(queued)) = (Queued::of_key(&key), Queued::decode(&value))
            {
                counts.entry((workflow.to_owned(), queued.version)).or_default().waiting += 1;
            }
        }
        Ok(counts)
    };
    let counts = data.store.read(look).await.map_err(fault_problem)?;
    let named = |((workflow, version), count)| CountShape { workflow, version, ..count };
    Ok(Json(CountList { counts: counts.into_iter().map(named).collect() }))
}

/// A value that a run is given, or that a signal brings.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WorkflowField")]
struct FieldShape {
    /// What it is called.
    name: String,
    /// `int`, `decimal`, `bool` or `text`.
    #[serde(rename = "type")]
    of: &'static str,
    /// What it is where nothing is given; without it something has to be.
    default: Option<Given>,
}

impl FieldShape {
    fn of(image: &Image<'_>, field: &Field<'_>) -> Self {
        let of = match field.slot {
            Slot::Text(_) => None,
            Slot::Number(reg) => image.type_of(reg),
        };
        let default = field.default.map(|default| match (default, of) {
            (Value::Text(text), _) => Given::from(text),
            (Value::Number(number), Some(Type::Decimal)) => Given::from(decimal::value(number)),
            (Value::Number(number), Some(Type::Bool)) => Given::from(number != 0),
            (Value::Number(number), _) => Given::from(number),
        });
        Self { name: field.name.to_owned(), of: of.map_or("text", Type::name), default }
    }
}

/// A signal that somebody may send.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WorkflowSignal")]
struct SignalShape {
    /// What it is called.
    name: String,
    /// What it brings.
    brings: Vec<FieldShape>,
}

/// What holds for all of a workflow.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WorkflowFact")]
struct FactShape {
    /// What it is about.
    name: &'static str,
    /// In words.
    text: String,
}

/// Parts of runs that stand at a line.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "OutlineCounts")]
struct HereShape {
    /// Those that go on by themselves.
    waiting: usize,
    /// Those about which somebody has to decide.
    parked: usize,
}

/// A line of an outline.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OutlineLine")]
struct LineShape {
    /// How far it is indented.
    depth: usize,
    /// What is done there.
    text: String,
    /// The line of the source.
    line: Option<u32>,
    /// The place among the lines where it goes on, if nothing fails.
    next: Option<usize>,
    /// How many stand here.
    counts: HereShape,
    /// Which parts of the run that was asked for stand here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fibers: Vec<u8>,
}

/// What a workflow does, and where its runs are.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Outline")]
struct OutlineShape {
    /// What it is called, with its version.
    title: String,
    /// What holds for all of it.
    head: Vec<FactShape>,
    /// What a run is given.
    input: Vec<FieldShape>,
    /// Signals that somebody may send its runs.
    signals: Vec<SignalShape>,
    /// Runs that are counted below.
    runs: usize,
    /// Its steps.
    lines: Vec<LineShape>,
}

impl OutlineShape {
    fn of(flow: &Flow, outline: &Outline) -> Self {
        let image = flow.image();
        let field = |field| FieldShape::of(&image, &field);
        let signals = (0..image.sizes.signals).filter_map(|index| signal(&image, index));
        let signals = signals.filter(|signal| matches!(signal.source, Source::Outside));
        let lines = outline.lines.iter().map(|told| LineShape {
            depth: told.depth,
            text: told.text.clone(),
            line: (told.line > 0).then_some(told.line),
            next: told.next,
            counts: HereShape::default(),
            fibers: Vec::new(),
        });
        let head = outline.head.iter();
        Self {
            title: outline.title.clone(),
            head: head.map(|(name, text)| FactShape { name, text: text.clone() }).collect(),
            input: image.inputs().map(field).collect(),
            signals: signals
                .map(|signal| SignalShape {
                    name: signal.name.to_owned(),
                    brings: signal.values.map(field).collect(),
                })
                .collect(),
            runs: 0,
            lines: lines.collect(),
        }
    }

    fn count(&mut self, outline: &Outline, waits: &[Waiting], names_fibers: bool) {
        self.runs += 1;
        for waiting in waits {
            let Some(line) = outline.place(waiting.pc).and_then(|at| self.lines.get_mut(at)) else {
                continue;
            };
            if is_parked(waiting) {
                line.counts.parked += 1;
            } else {
                line.counts.waiting += 1;
            }
            if names_fibers {
                line.fibers.push(waiting.fiber);
            }
        }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OutlineQuery {
    /// Only where the parts of this run stand.
    run: Option<String>,
}

async fn outline(
    _: Reader,
    State(data): State<Data>,
    State(runs): State<Runs>,
    Path((workflow, version)): Path<(String, String)>,
    Query(query): Query<OutlineQuery>,
) -> Result<Json<OutlineShape>, Problem> {
    let only = query.run.as_deref().map(id_of).transpose()?;
    let flow = runs.library().get(&workflow, &version).cloned().ok_or_else(|| {
        Problem::not_found(format!("there is no workflow `{workflow}` version {version} here"))
    })?;
    let look = move |view: &Snapshot<'_>| {
        let (image, about) = (flow.image(), flow.about());
        let outline = Outline::of(&image, &about, flow.installed.image.len());
        let mut shape = OutlineShape::of(&flow, &outline);
        let mut take = |run: &Run| {
            if run.workflow == flow.id && run.version == flow.version {
                shape.count(&outline, &waits(&image, run), only.is_some());
            }
        };
        match only {
            Some(id) => {
                for table in [Table::Run, Table::RunOnDevice] {
                    let found = view.get(table, &id.0)?.and_then(|one| run_in(table, &one));
                    found.iter().for_each(&mut take);
                }
            }
            None => each_run(view, |run| take(&run))?,
        }
        Ok(shape)
    };
    Ok(Json(data.store.read(look).await.map_err(fault_problem)?))
}
