//! `/v1/workflows/{workflow}/migrations`: runs of one version go on as ones of another.
//!
//! Each run is judged by itself, first without a change where that is asked for. Runs that cannot
//! change are told with the reason and stay as they are.

use super::data::{Data, fault_problem};
use super::runs::may_conflict;
use crate::auth::{Admin, Auth};
use crate::http::{Json as Body, Path};
use crate::problem::Problem;
use crate::routes::Routes;
use crate::runs::{Flow, Run, RunError, Runs, migrated};
use axum::Json;
use axum::extract::{FromRef, State};
use futures::StreamExt;
use futures::stream;
use holdfast_core::log::runs::RunId;
use holdfast_sync::store::{Snapshot, Table};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Runs that change in one group.
const AT_ONCE: usize = 256;
/// Runs that stay and are told of one by one.
const TOLD_MAX: usize = 1_000;

/// The routes.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Routes<S>
where
    Auth: FromRef<S>,
    Data: FromRef<S>,
    Runs: FromRef<S>,
{
    let path = "/v1/workflows/{workflow}/migrations";
    Routes::new()
        .post(path, "Has runs of a version go on as ones of another", migrate)
        .with(may_conflict)
}

/// Which runs are to change.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Migration")]
struct Wanted {
    /// Of which version they are.
    from: String,
    /// Of which version they are to be.
    to: String,
    /// Whether it is only said what would become of each.
    #[serde(default)]
    dry_run: bool,
}

/// A run that stays as it is.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RunThatStays")]
struct StaysShape {
    /// The run.
    run: String,
    /// Why.
    why: String,
}

/// What became of runs, or would become of them.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Migrated")]
struct MigratedShape {
    /// The workflow.
    workflow: String,
    /// Of which version they were.
    from: String,
    /// Of which version they are to be.
    to: String,
    /// Whether nothing was changed.
    dry_run: bool,
    /// How many runs go on as ones of the other version.
    changed: usize,
    /// How many stay as they are.
    stay: usize,
    /// Of those the first 1,000.
    staying: Vec<StaysShape>,
}

/// A run, or why it stays.
type Judged = (RunId, Result<(), String>);

async fn migrate(
    Admin(who): Admin,
    State(data): State<Data>,
    State(runs): State<Runs>,
    Path(workflow): Path<String>,
    Body(wanted): Body<Wanted>,
) -> Result<Json<MigratedShape>, Problem> {
    let Wanted { from, to, dry_run } = wanted;
    let library = runs.library();
    let version = |version: &str| {
        library.get(&workflow, version).cloned().ok_or_else(|| {
            Problem::not_found(format!("`{workflow}` version {version} is not installed here"))
        })
    };
    let (old, new) = (version(&from)?, version(&to)?);
    if from == to {
        let problem = Problem::invalid("same-version", "both versions are the same");
        return Err(problem.at("/to"));
    }
    let judged = judge(&data, Arc::clone(&old), Arc::clone(&new)).await?;
    let judged = match dry_run {
        true => judged,
        false => change(&runs, judged, &new, &who.grant.name).await?,
    };
    let staying = judged.iter().filter_map(|(run, result)| {
        let why = result.as_ref().err()?.clone();
        Some(StaysShape { run: run.to_string(), why })
    });
    let mut staying: Vec<_> = staying.collect();
    let (stay, changed) = (staying.len(), judged.len() - staying.len());
    staying.truncate(TOLD_MAX);
    Ok(Json(MigratedShape { workflow, from, to, dry_run, changed, stay, staying }))
}

/// What would become of each run of a version.
async fn judge(data: &Data, old: Arc<Flow>, new: Arc<Flow>) -> Result<Vec<Judged>, Problem> {
    let look = move |view: &Snapshot<'_>| {
        let mut judged = Vec::new();
        for (key, value) in view.scan(Table::Run, &[], &[], usize::MAX)? {
            let (Ok(id), Ok(run)) = (key.as_slice().try_into().map(RunId), Run::decode(&value))
            else {
                continue;
            };
            if run.workflow == old.id && run.version == old.version {
                judged.push((id, migrated(&old, &new, &run.memory).map(drop)));
            }
        }
        Ok(judged)
    };
    data.store.read(look).await.map_err(fault_problem)
}

/// Changes those that can be; each is judged once more, as it is by then.
async fn change(
    runs: &Runs,
    judged: Vec<Judged>,
    new: &Arc<Flow>,
    by: &str,
) -> Result<Vec<Judged>, Problem> {
    let each = judged.into_iter().map(async |(run, result)| {
        if result.is_err() {
            return Ok((run, result));
        }
        match runs.migrate(run, Arc::clone(new), by).await {
            Ok(()) => Ok((run, Ok(()))),
            Err(RunError::Refused(why)) => Ok((run, Err(why.to_string()))),
            Err(RunError::Over | RunError::NoRun) => Ok((run, Err("it is over".to_owned()))),
            Err(error) => Err(error.problem()),
        }
    });
    let all: Vec<Result<Judged, Problem>> = stream::iter(each).buffered(AT_ONCE).collect().await;
    all.into_iter().collect()
}
