//! `/v1/sites/{site}/policies`: how writes at once are resolved at a site.

use super::data::fault_problem;
use super::site_document;
use crate::auth::{Admin, Auth, Reader};
use crate::http::{Json as Body, Path};
use crate::policies::{Written, lines};
use crate::problem::Problem;
use crate::routes::Routes;
use crate::twins::{Condition, Patch, Twins};
use axum::Json;
use axum::extract::{FromRef, State};
use axum::http::StatusCode;
use holdfast_core::limits::POLICY_MAX_LINES;
use holdfast_sync::docs::{Contents, DocumentName};
use holdfast_sync::store::Snapshot;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The routes.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Routes<S>
where
    Auth: FromRef<S>,
    Twins: FromRef<S>,
{
    let may_fail = [
        StatusCode::CONFLICT,
        StatusCode::PAYLOAD_TOO_LARGE,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::INSUFFICIENT_STORAGE,
    ];
    Routes::new()
        .get("/v1/sites/{site}/policies", "How writes at once are resolved at a site", list)
        .post("/v1/sites/{site}/policies", "Adds a line to a site's policy, or replaces it", put)
        .with(|operation| operation.may_fail(&may_fail))
        .delete("/v1/sites/{site}/policies/{name}", "Takes a line out of a site's policy", remove)
        .with(|operation| operation.may_fail(&may_fail))
}

/// A line of a site's policy.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PolicyLine")]
struct LineShape {
    /// Its name; lines are taken in the order of their names, and the first that matches counts.
    name: String,
    /// Which documents: names split by `/`, `*` for any one, `**` at the end for all that follows.
    documents: String,
    /// Which paths in them, likewise.
    paths: String,
    /// `lww`, `max`, `min`, `hub-wins`, `edge-wins`, `keep-all`, `counter` or `set`.
    rule: String,
}

/// A site's policy.
#[derive(Debug, Serialize, JsonSchema)]
struct PolicyList {
    /// The site.
    site: String,
    /// Its lines, in the order in which they are tried; where none matches, the last write wins.
    policies: Vec<LineShape>,
}

async fn tell(twins: &Twins, site: String, document: DocumentName) -> Result<PolicyList, Problem> {
    let look = move |view: &Snapshot<'_>| Ok(lines(&Contents::read(view, &document)?, &document));
    let found = twins.store().read(look).await.map_err(fault_problem)?;
    let shape = |line: Written| LineShape {
        name: line.name,
        documents: line.documents,
        paths: line.paths,
        rule: line.rule.name().to_owned(),
    };
    Ok(PolicyList { site, policies: found.into_iter().map(shape).collect() })
}

async fn list(
    Reader(_): Reader,
    State(twins): State<Twins>,
    Path(site): Path<String>,
) -> Result<Json<PolicyList>, Problem> {
    let document = site_document(&twins, &site)?;
    Ok(Json(tell(&twins, site, document).await?))
}

async fn put(
    Admin(_): Admin,
    State(twins): State<Twins>,
    Path(site): Path<String>,
    Body(line): Body<LineShape>,
) -> Result<Json<PolicyList>, Problem> {
    let document = site_document(&twins, &site)?;
    let LineShape { name, documents, paths, rule } = line;
    if name.is_empty() || name.contains('/') {
        let detail = format!("`{name}` is no name of a line");
        return Err(Problem::malformed(detail).at("/name").expected("a name without `/`"));
    }
    for (at, word) in [("/documents", &documents), ("/paths", &paths), ("/rule", &rule)] {
        if word.is_empty() || word.contains(char::is_whitespace) {
            return Err(Problem::malformed(format!("`{word}` is not one word")).at(at));
        }
    }
    let line = Written::parse(&name, &format!("{documents} {paths} {rule}"));
    let line = line.map_err(Problem::malformed)?;
    let before = tell(&twins, site.clone(), document.clone()).await?.policies;
    if before.len() >= POLICY_MAX_LINES && before.iter().all(|other| other.name != name) {
        let detail = format!("a policy has at most {POLICY_MAX_LINES} lines");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-many-lines", detail));
    }
    change(&twins, site, document, &name, line.text().into()).await
}

async fn remove(
    Admin(_): Admin,
    State(twins): State<Twins>,
    Path((site, name)): Path<(String, String)>,
) -> Result<Json<PolicyList>, Problem> {
    let document = site_document(&twins, &site)?;
    let before = tell(&twins, site.clone(), document.clone()).await?.policies;
    if before.iter().all(|line| line.name != name) {
        return Err(Problem::not_found(format!("the policy of {site} has no line `{name}`")));
    }
    change(&twins, site, document, &name, Value::Null).await
}

async fn change(
    twins: &Twins,
    site: String,
    document: DocumentName,
    name: &str,
    text: Value,
) -> Result<Json<PolicyList>, Problem> {
    let patch = Patch::read(&json!({"policies": {name: text}}))
        .map_err(|wrong| Problem::malformed(wrong.detail).at("/name").expected(wrong.expected))?;
    let done = twins.patch(document.clone(), patch, Condition::default()).await;
    done.map_err(|error| error.problem())?;
    Ok(Json(tell(twins, site, document).await?))
}
