//! `/v1/runs` of a hub: what its gateways do and did, as their logs tell, and what it does itself.

use super::Nodes;
use super::data::{Data, fault_problem};
use super::runs::{
    LineShape, RunList, RunShape, WaitShape, acting, id_of, of_this_node, time, waiting,
};
use super::twins::limit;
use crate::auth::{Auth, Reader};
use crate::http::{Path, Query};
use crate::notify::Notices;
use crate::problem::Problem;
use crate::routes::Routes;
use crate::runs::Runs;
use crate::runs::record::Waiting as Queued;
use crate::runs::told::{Told, told_lines, told_of};
use axum::Json;
use axum::extract::{FromRef, State};
use holdfast_core::NodeId;
use holdfast_core::log::runs::{RunId, What};
use holdfast_sync::Fault;
use holdfast_sync::store::{ReadRecords, Snapshot, Table};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Map;
use std::collections::BTreeSet;

const STATES: [&str; 8] =
    ["waiting", "running", "undoing", "succeeded", "failed", "cancelled", "forwarded", "parked"];
/// Nodes that tell of one run: who found that it is wanted, and who does it.
const NODES_MAX: usize = 8;
/// Rows that are looked at in one piece.
const BATCH: usize = 512;

/// The routes.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Routes<S>
where
    Auth: FromRef<S>,
    Data: FromRef<S>,
    Notices: FromRef<S>,
    Runs: FromRef<S>,
{
    acting().get("/v1/runs", "Runs on the hub and on all gateways, the newest first", runs).get(
        "/v1/runs/{run}",
        "A run, with its history on all nodes",
        run,
    )
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RunQuery {
    /// Only those of this gateway, `site/name` or its id.
    node: Option<String>,
    /// Only those of this workflow.
    workflow: Option<String>,
    /// Only those in this state: `waiting` (of the hub's own), `running`, `undoing`, `succeeded`,
    /// `failed`, `cancelled`, `forwarded`; or `parked`, where somebody has to decide.
    state: Option<String>,
    /// Only those that have this text in their id, in who began them, or in their error.
    text: Option<String>,
    /// Only those before this one.
    before: Option<String>,
    /// At most so many: 1 to 1,000; 100 otherwise.
    limit: Option<usize>,
}

/// Which runs are asked for.
struct Wanted {
    node: Option<NodeId>,
    workflow: Option<String>,
    state: Option<String>,
    /// In lower case.
    text: Option<String>,
}

impl Wanted {
    fn of(query: RunQuery, nodes: &dyn Nodes) -> Result<Self, Problem> {
        let RunQuery { node, workflow, state, text, .. } = query;
        if let Some(state) = state.as_deref().filter(|state| !STATES.contains(state)) {
            let detail = format!("`{state}` is no state of a run");
            return Err(Problem::parameter("state", detail).expected(STATES.join(", ")));
        }
        let found = |name: String| {
            let found = nodes.find(&name);
            found.ok_or_else(|| Problem::parameter("node", format!("there is no node `{name}`")))
        };
        let text = text.map(|text| text.trim().to_lowercase()).filter(|text| !text.is_empty());
        Ok(Self { node: node.map(found).transpose()?, workflow, state, text })
    }

    /// Whether a run of the hub is meant that waits for room.
    fn takes_waiting(&self, shape: &RunShape, hub: NodeId) -> bool {
        let says = |text: &String| {
            let all = [&shape.id, &shape.workflow, &shape.version, &shape.by];
            all.iter().any(|one| one.to_lowercase().contains(text))
        };
        self.node.is_none_or(|wanted| wanted == hub)
            && self.workflow.as_ref().is_none_or(|workflow| shape.workflow == *workflow)
            && self.state.as_ref().is_none_or(|state| state == "waiting")
            && self.text.as_ref().is_none_or(says)
    }

    fn takes(&self, run: RunId, node: &NodeId, told: &Told) -> bool {
        let is_in = |state: &str| match state {
            "parked" => told.is_parked(),
            state => word(told.phase()) == state,
        };
        let says = |text: &String| {
            let id = run.to_string();
            let all = [&id, &told.workflow, &told.version, &told.by, &told.why];
            all.iter().any(|one| one.to_lowercase().contains(text))
        };
        self.node.is_none_or(|wanted| wanted == *node)
            && self.workflow.as_ref().is_none_or(|workflow| told.workflow == *workflow)
            && self.state.as_deref().is_none_or(is_in)
            && self.text.as_ref().is_none_or(says)
    }
}

/// The word for how far a run is.
const fn word(phase: What) -> &'static str {
    match phase {
        What::Succeeded => "succeeded",
        What::Ended => "failed",
        What::Cancelled => "cancelled",
        What::Undoing => "undoing",
        What::Forwarded => "forwarded",
        _ => "running",
    }
}

fn shape(run: RunId, node: &NodeId, told: Told, nodes: &dyn Nodes) -> RunShape {
    let parked = WaitShape {
        fiber: 0,
        line: None,
        wait: "decision".to_owned(),
        text: format!("waits for somebody to decide: {}", told.why),
        until: None,
    };
    let (is_parked, phase) = (told.is_parked(), told.phase());
    // What it was parked for is no reason any more once it goes on.
    let has_failed = !is_parked && !matches!(phase, What::Started | What::Forwarded);
    RunShape {
        id: run.to_string(),
        node: Some(nodes.name(node)),
        device: None,
        state: word(phase).to_owned(),
        began: time(run.began_ms()),
        stepped: time(told.stepped_ms),
        error: Some(told.why).filter(|why| !why.is_empty() && has_failed),
        workflow: told.workflow,
        version: told.version,
        by: told.by,
        output: None,
        waits: if is_parked { vec![parked] } else { Vec::new() },
        variables: Map::new(),
        history: Vec::new(),
    }
}

/// Whether a run that was handed to the hub has begun there, or waits there: then that is shown.
fn goes_on(
    view: &Snapshot<'_>,
    run: RunId,
    (told, waits): (&Told, &BTreeSet<RunId>),
) -> Result<bool, Fault> {
    let is_forwarded = told.phase() == What::Forwarded;
    let has_begun = || view.scan(Table::RunTold, &run.0, &[], 2).map(|all| all.len() > 1);
    Ok(is_forwarded && (waits.contains(&run) || has_begun()?))
}

/// Rows before a key that are wanted, the newest first, and one more than `most` if there are so
/// many.
fn look(
    view: &Snapshot<'_>,
    wanted: &Wanted,
    (mut before, most): (Option<Vec<u8>>, usize),
) -> Result<Vec<(RunId, NodeId, Told)>, Fault> {
    let all = view.scan(Table::RunWaiting, &[], &[], usize::MAX)?;
    let waits = all.iter().filter_map(|(key, _)| Some(Queued::of_key(key).ok()?.1)).collect();
    let mut found = Vec::new();
    loop {
        let some = view.scan_back(Table::RunTold, before.as_deref(), BATCH)?;
        let Some((last, _)) = some.last() else { return Ok(found) };
        before = Some(last.clone());
        for (key, value) in &some {
            let (Some((run, node)), Ok(told)) = (told_of(key), Told::decode(value)) else {
                continue;
            };
            if wanted.takes(run, &node, &told) && !goes_on(view, run, (&told, &waits))? {
                found.push((run, node, told));
            }
            if found.len() > most {
                return Ok(found);
            }
        }
    }
}

async fn runs(
    _: Reader,
    State(data): State<Data>,
    Query(query): Query<RunQuery>,
) -> Result<Json<RunList>, Problem> {
    let most = limit(query.limit, 100, 1_000)?;
    let before = query.before.as_deref().map(id_of).transpose()?;
    let wanted = Wanted::of(query, data.nodes.as_ref())?;
    let hub = data.store.node();
    let look = move |view: &Snapshot<'_>| {
        let waiting = waiting(view, before, |shape, _| wanted.takes_waiting(shape, hub))?;
        let before = before.map(|run| run.0.to_vec());
        Ok((waiting, look(view, &wanted, (before, most))?))
    };
    let (waiting, told) = data.store.read(look).await.map_err(fault_problem)?;
    let nodes = data.nodes.as_ref();
    let own = waiting.into_iter().map(|shape| of_node(shape, &hub, nodes));
    let told = told.into_iter().map(|(run, node, told)| shape(run, &node, told, nodes));
    let mut runs: Vec<RunShape> = own.chain(told).collect();
    runs.sort_by(|a, b| b.id.cmp(&a.id));
    let more = runs.len() > most;
    runs.truncate(most);
    Ok(Json(RunList { runs, more }))
}

fn of_node(shape: RunShape, node: &NodeId, nodes: &dyn Nodes) -> RunShape {
    RunShape { node: Some(nodes.name(node)), ..shape }
}

async fn run(
    _: Reader,
    State(data): State<Data>,
    State(runs): State<Runs>,
    Path(text): Path<String>,
) -> Result<Json<RunShape>, Problem> {
    let id = id_of(&text)?;
    let look = move |view: &Snapshot<'_>| {
        let mut found = Vec::new();
        for (key, value) in view.scan(Table::RunTold, &id.0, &[], NODES_MAX)? {
            if let (Some((_, node)), Ok(told)) = (told_of(&key), Told::decode(&value)) {
                found.push((node, told, told_lines(view, id, &node)?));
            }
        }
        Ok(found)
    };
    let mut told = data.store.read(look).await.map_err(fault_problem)?;
    let nodes = data.nodes.as_ref();
    // The clocks of two nodes need not agree: who hands a run on comes before who takes it up.
    told.sort_by_key(|(_, told, _)| told.phase() != What::Forwarded);
    let lines = told
        .iter()
        .flat_map(|(node, _, lines)| lines.iter().map(|line| (nodes.name(node), line.clone())));
    let history = lines.map(|(node, (at_ms, line))| {
        let shape = LineShape::of(at_ms, line);
        LineShape { node: Some(node), ..shape }
    });
    let history: Vec<_> = history.collect();
    if let Some(own) = of_this_node(&data, &runs, id).await? {
        let own = of_node(own, &data.store.node(), nodes);
        return Ok(Json(RunShape { history, ..own }));
    }
    // A run goes on at one node; where another one has handed it on, that is over.
    let (node, told, _) = told
        .pop()
        .ok_or_else(|| Problem::not_found(format!("nothing was heard of a run `{id}`")))?;
    Ok(Json(RunShape { history, ..shape(id, &node, told, nodes) }))
}
