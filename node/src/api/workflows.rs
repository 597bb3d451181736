//! `/v1/workflows`: what is installed on a node, and what is to be.

use super::data::Data;
use super::runs::{may_conflict, time};
use crate::auth::{Admin, Auth, Reader};
use crate::flow;
use crate::http::{Json as Body, Path};
use crate::problem::Problem;
use crate::routes::{NoContent, Routes};
use crate::runs::{Flow, NotForHere, Runs};
use crate::time_text::Time;
use axum::Json;
use axum::extract::{FromRef, State};
use holdfast_core::flow::Image;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The routes.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Routes<S>
where
    Auth: FromRef<S>,
    Data: FromRef<S>,
    Runs: FromRef<S>,
{
    let version = "/v1/workflows/{workflow}/{version}";
    Routes::new()
        .get("/v1/workflows", "The workflows that are installed", list)
        .post("/v1/workflows", "Compiles a definition and installs it", install)
        .with(may_conflict)
        .patch(version, "Lets new runs of a version begin, or not", change)
        .with(may_conflict)
        .delete(version, "Removes a version to which no run is pinned", remove)
        .with(may_conflict)
}

/// A version of a workflow.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Workflow")]
pub struct WorkflowShape {
    /// By which it is known.
    pub id: String,
    /// Which version.
    pub version: String,
    /// What people read.
    pub title: String,
    /// `any`, `device`, `edge` or `hub`.
    pub placement: String,
    /// Whether new runs may begin.
    pub enabled: bool,
    /// When it was installed.
    pub added: Time,
    /// By whom.
    pub by: String,
    /// How many runs may be under way at once.
    pub at_once: u16,
    /// What begins a run by itself, in words.
    #[serde(default)]
    pub begins: Vec<String>,
    /// What a run is given: names, and what each takes.
    pub input: Map<String, Value>,
    /// Bytes of its image.
    pub bytes: usize,
}

impl WorkflowShape {
    /// Of an installed one.
    #[must_use]
    pub fn of(flow: &Flow) -> Self {
        let (about, image) = (flow.about(), flow.image());
        let input = image.inputs().map(|field| {
            let of = crate::runs::effect::type_name(&image, field.slot);
            (field.name.to_owned(), Value::from(of))
        });
        Self {
            id: flow.id.clone(),
            version: flow.version.clone(),
            title: about.title.to_owned(),
            placement: about.placement.name().to_owned(),
            enabled: flow.installed.is_enabled,
            added: time(flow.installed.added_ms),
            by: flow.installed.by.clone(),
            at_once: about.concurrent,
            begins: image.triggers().map(|(_, trigger)| flow::begins(&trigger.on)).collect(),
            input: input.collect(),
            bytes: flow.installed.image.len(),
        }
    }
}

/// The workflows of a node.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Workflows")]
pub struct WorkflowList {
    /// By id and version.
    pub workflows: Vec<WorkflowShape>,
}

async fn list(_: Reader, State(runs): State<Runs>) -> Json<WorkflowList> {
    let library = runs.library();
    Json(WorkflowList { workflows: library.all().map(|flow| WorkflowShape::of(flow)).collect() })
}

/// A workflow to be installed.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWorkflow {
    /// The definition: a text in YAML or JSON.
    pub definition: String,
}

/// A workflow that was installed.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "InstalledWorkflow")]
struct InstalledShape {
    #[serde(flatten)]
    workflow: WorkflowShape,
    /// What is not wrong with the definition, and probably not meant: `LINE:COLUMN: ...`.
    warnings: Vec<String>,
}

async fn install(
    Admin(who): Admin,
    State(data): State<Data>,
    State(runs): State<Runs>,
    Body(new): Body<NewWorkflow>,
) -> Result<Json<InstalledShape>, Problem> {
    let compiled = flow::compile(&new.definition).map_err(|wrong| not_compiled(&wrong))?;
    let now_ms = data.store.env().now().millis();
    let accepted = runs.accept(compiled.image.clone(), &who.grant.name, now_ms);
    let flow = accepted.map_err(|error| {
        let place = match &error {
            NotForHere::Rejected(rejection) => {
                rejection.pc.and_then(|pc| Image::parse(&compiled.image).ok()?.line_of(pc))
            }
            NotForHere::Elsewhere(_) | NotForHere::Condition | NotForHere::Target(_) => None,
        };
        let problem = Problem::invalid("not-for-this-node", error.to_string());
        match place {
            Some((line, column)) => problem.at(format!("line {line}, column {column}")),
            None => problem,
        }
    })?;
    let workflow = WorkflowShape::of(&flow);
    runs.install(flow).await.map_err(|error| error.problem())?;
    let warnings = compiled.warnings.iter().map(ToString::to_string).collect();
    Ok(Json(InstalledShape { workflow, warnings }))
}

/// All that is wrong with a definition; the first of it in words.
fn not_compiled(wrong: &[flow::Diagnostic]) -> Problem {
    let all: Vec<_> = wrong
        .iter()
        .map(|one| {
            json!({
                "line": one.line,
                "column": one.column,
                "message": one.message,
                "advice": one.advice,
            })
        })
        .collect();
    let detail = wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    Problem::invalid("invalid-definition", detail).at("/definition").with("diagnostics", all)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "WorkflowChange")]
struct Enabled {
    /// Whether new runs may begin.
    enabled: bool,
}

async fn change(
    _: Admin,
    State(runs): State<Runs>,
    Path((workflow, version)): Path<(String, String)>,
    Body(change): Body<Enabled>,
) -> Result<NoContent, Problem> {
    let done = runs.enable(&workflow, &version, change.enabled).await;
    done.map_err(|error| error.problem())?;
    Ok(NoContent)
}

async fn remove(
    _: Admin,
    State(runs): State<Runs>,
    Path((workflow, version)): Path<(String, String)>,
) -> Result<NoContent, Problem> {
    runs.remove(&workflow, &version).await.map_err(|error| error.problem())?;
    Ok(NoContent)
}
