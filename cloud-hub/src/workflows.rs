//! Runs of workflows on the hub: those that are for it, whoever wants them.
//!
//! It brings about what needs no site: twins, alerts, requests, and that somebody is told. Gateways
//! find what begins a run where it happens and hand it on; the hub itself looks for the time and
//! for alerts.

use crate::fleet::Fleet;
use crate::service::App;
use crate::settings::Settings;
use axum::Json;
use axum::extract::State;
use futures::FutureExt;
use futures::future::BoxFuture;
use holdfast_core::flow::Code;
use holdfast_core::flow::effect::Kind;
use holdfast_node::api::{Data, fault_problem};
use holdfast_node::auth::Reader;
use holdfast_node::cli::{Failure as Failed, Local};
use holdfast_node::client::encoded;
use holdfast_node::http::Path;
use holdfast_node::notify::Notices;
use holdfast_node::problem::Problem;
use holdfast_node::requests::Requests;
use holdfast_node::runs::assigned::{Assignments, FOLDER};
use holdfast_node::runs::{Abilities, Asked, Desk, Failure, Here, Outside, Runs, Tray};
use holdfast_node::supervise::Supervisor;
use holdfast_node::twins::Twins;
use holdfast_sync::Fault;
use holdfast_sync::docs::DocumentName;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;

/// The outside of a hub.
struct Outward {
    requests: Requests,
}

impl Outside for Outward {
    fn kinds(&self) -> u32 {
        Kind::Http.bit()
    }

    fn act(&self, asked: Asked) -> BoxFuture<'static, Result<Value, Failure>> {
        let requests = self.requests.clone();
        async move {
            match asked.kind {
                Kind::Http => requests.step(&asked).await,
                other => {
                    let text = format!("a hub does no `{}`", other.name());
                    Err(Failure::new(Code::INCAPABLE, text))
                }
            }
        }
        .boxed()
    }
}

/// Starts what runs workflows.
///
/// # Errors
/// A fault of the store.
pub fn start(
    supervisor: &Supervisor,
    desk: (Desk, Tray),
    data: &Data,
    (twins, fleet): (&Twins, &Fleet),
    (requests, notices): (Requests, Notices),
) -> Result<Runs, Fault> {
    let zone = jiff::tz::TimeZone::system();
    let (catalog, twins) = (Arc::clone(&data.catalog), twins.clone());
    let told = notices.clone();
    let here = Here { catalog, twins: twins.clone(), notices, zone: zone.clone() };
    let outside = Arc::new(Outward { requests });
    let abilities = Abilities { local: Arc::new(here), outside, zone };
    let (runs, engine) = Runs::load(data.store.clone(), desk, abilities)?;
    supervisor.run_once("workflows", |stop| engine.run(stop));
    let fleet = fleet.clone();
    let sites = Arc::new(move || fleet.sites());
    let assignments = Assignments { twins, runs: runs.clone(), sites };
    supervisor.run_once("workflows of sites", |stop| assignments.follow(stop));
    let store = data.store.clone();
    supervisor.spawn("notify", move |stop| told.clone().run(store.clone(), stop));
    Ok(runs)
}

/// How a version of a workflow stands on a gateway.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WorkflowAtNode")]
pub(crate) struct StandsShape {
    /// The gateway, `site/name`.
    node: String,
    /// The workflow.
    workflow: String,
    /// Its version.
    version: String,
    /// `on`, `off` where somebody disabled it there, `ends` where its last runs go on, `fetching`,
    /// or `refused` with the reason.
    state: String,
}

/// Which workflows are on the gateways of a site.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SiteWorkflows")]
pub(crate) struct StandsList {
    /// The site.
    site: String,
    /// By gateway, workflow and version, as each gateway has said last.
    workflows: Vec<StandsShape>,
}

/// Prints which workflows the gateways of a site have.
///
/// # Errors
/// What the hub answers.
pub(crate) async fn print_site(
    hub: &Local<Settings>,
    site: &str,
    json: bool,
) -> Result<(), Failed> {
    let listed = hub.call("GET", &format!("/v1/sites/{}/workflows", encoded(site)), None).await?;
    if json {
        println!("{listed}");
        return Ok(());
    }
    let all = listed["workflows"].as_array().map(Vec::as_slice).unwrap_or_default();
    if all.is_empty() {
        println!("The gateways of {site} have said of no workflow.");
        println!("Have them use one: holdfast-hub artefact assign {site} NAME ID");
        return Ok(());
    }
    println!("{:<24} {:<24} {:<12} STATE", "GATEWAY", "WORKFLOW", "VERSION");
    for one in all {
        let text = |key: &str| one[key].as_str().unwrap_or("-");
        let (node, workflow, version) = (text("node"), text("workflow"), text("version"));
        println!("{node:<24} {workflow:<24} {version:<12} {}", text("state"));
    }
    Ok(())
}

/// Answers which workflows are on the gateways of a site.
pub(crate) async fn of_site(
    _: Reader,
    State(app): State<App>,
    Path(site): Path<String>,
) -> Result<Json<StandsList>, Problem> {
    if !app.fleet.has_site(&site) {
        let problem = Problem::not_found(format!("there is no site `{site}` here"));
        return Err(problem.expected("the site of a gateway that has joined"));
    }
    let mut workflows = Vec::new();
    for member in app.fleet.members() {
        let node = member.membership.node();
        let name = DocumentName::new(&format!("node/{node}")).ok();
        let (Some(name), true) = (name, member.membership.grant().site == site) else { continue };
        let part = app.twins.part(name).await.map_err(fault_problem)?;
        for (path, leaf) in part.shown.iter() {
            let mut names = path.splitn(3, '/');
            let (Some(FOLDER), Some(workflow), Some(version)) =
                (names.next(), names.next(), names.next())
            else {
                continue;
            };
            workflows.push(StandsShape {
                node: member.called(),
                workflow: workflow.to_owned(),
                version: version.to_owned(),
                state: leaf.value.as_str().unwrap_or_default().to_owned(),
            });
        }
    }
    Ok(Json(StandsList { site, workflows }))
}
