//! The hub's own routes: nodes, invitations, how far behind the fleet is.

use crate::fleet::{FleetError, Member};
use crate::service::App;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use holdfast_core::{Stream, Timestamp};
use holdfast_node::api;
use holdfast_node::auth::{Admin, Reader};
use holdfast_node::http::{Json as Body, Path};
use holdfast_node::labels::NewLabel;
use holdfast_node::pipeline::Totals;
use holdfast_node::problem::Problem;
use holdfast_node::time_text::Time;
use holdfast_sync::session::RefusalCode;
use holdfast_sync::store::Snapshot;
use serde::Deserialize;
use serde_json::{Value, json};

/// All routes of the hub but the pages.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/v1/readings", get(api::readings))
        .route("/v1/status", get(status))
        .route("/v1/nodes", get(nodes))
        .route("/v1/nodes/{site}/{name}", get(node).delete(remove).patch(label))
        .route("/v1/enrolments", post(invite))
        .route("/v1/lag", get(lag))
        .merge(api::data_routes())
        .merge(api::alert_routes())
        .merge(api::token_routes())
        .merge(holdfast_node::auth::routes())
        .merge(holdfast_node::events::routes())
        .merge(holdfast_node::health::routes())
}

/// How a member is, for one line of a list.
fn describe(app: &App, member: &Member, totals: Totals) -> Value {
    let grant = member.membership.grant();
    let live = app.live.get(&grant.node);
    let state = match (live.online, live.since) {
        (true, _) => "online",
        (false, Some(_)) => "stale",
        (false, None) => "never",
    };
    json!({
        "id": grant.node.to_string(),
        "site": grant.site,
        "name": grant.name,
        "label": app.labels.get(&grant.node.to_string()),
        "state": state,
        "since": live.since.map(Time),
        "heard": live.heard.map(Time),
        "behind": live.behind,
        "last_received": totals.received.map(Time),
        "readings": totals.readings,
        "series": totals.series,
        "clock_ahead_ms": live.clock_ahead_ms,
        "version": live.version,
        "joined": Time(member.joined),
        "not_after": Time(Timestamp(grant.not_after_s.saturating_mul(1_000_000_000))),
        "end_reason": live.end.map(|end| format!("{}: {}", end.code.name(), end.reason)),
    })
}

impl App {
    /// All members, as `GET /v1/nodes` shows them.
    #[must_use]
    pub fn nodes_json(&self) -> Value {
        let totals = self.data.catalog.by_origin();
        let each = self.fleet.members().into_iter().map(|member| {
            let totals = totals.get(&member.membership.node()).copied().unwrap_or_default();
            describe(self, &member, totals)
        });
        let nodes: Vec<_> = each.collect();
        json!({ "as_of": self.data.as_of(), "nodes": nodes })
    }

    fn member(&self, site: &str, name: &str) -> Result<Member, Problem> {
        let called = format!("{site}/{name}");
        let found = self.fleet.called(&called);
        found.ok_or_else(|| Problem::not_found(format!("there is no node {called}")))
    }
}

async fn status(_: Reader, State(app): State<App>) -> Json<Value> {
    let mut states = [0_u64; 3];
    for member in app.fleet.members() {
        let live = app.live.get(&member.membership.node());
        states[if live.online { 0 } else { 1 + usize::from(live.since.is_none()) }] += 1;
    }
    let store = &app.data.store;
    Json(json!({
        "node": {
            "id": store.node().to_string(),
            "version": crate::VERSION,
            "started": app.started,
            "incarnation": store.incarnation().to_string(),
            "role": "hub",
            "fleet": app.fleet.id().short(),
        },
        "http": holdfast_node::tls::status_json(app.tls.as_ref()),
        "store": api::usage_json(&store.usage()),
        "pipeline": api::progress_json(&app.data),
        "nodes": { "online": states[0], "stale": states[1], "never": states[2] },
        "alerts": app.alerts.summary(),
        "series": app.data.catalog.len(),
        "findings": *app.findings,
    }))
}

async fn nodes(_: Reader, State(app): State<App>) -> Json<Value> {
    Json(app.nodes_json())
}

async fn node(
    _: Reader,
    State(app): State<App>,
    Path((site, name)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let member = app.member(&site, &name)?;
    let origin = member.membership.node();
    let totals = app.data.catalog.by_origin().get(&origin).copied().unwrap_or_default();
    let mut out = describe(&app, &member, totals);
    let look = move |view: &Snapshot<'_>| {
        let mut gaps = Vec::new();
        for chain in view.chains()?.into_iter().filter(|chain| chain.id.origin == origin) {
            for gap in view.gaps(chain.no)? {
                gaps.push(json!({
                    "incarnation": gap.incarnation.to_string(),
                    "stream": gap.stream.name(),
                    "from": gap.range.from,
                    "to": gap.range.to,
                    "entries": gap.range.count(),
                    "reason": gap.reason.name(),
                }));
            }
        }
        Ok(gaps)
    };
    let gaps = app.data.store.read(look).await.map_err(|_| Problem::internal())?;
    out["gaps"] = gaps.into();
    let look = move |view: &Snapshot<'_>| {
        let chains = view.chains()?.into_iter().filter(|chain| chain.id.origin == origin);
        let entries = |stream: Stream| {
            let held = chains.clone().filter(|chain| chain.id.stream == stream);
            held.map(|chain| chain.frontier.count()).sum::<u64>()
        };
        Ok(Stream::ALL.map(|stream| (stream.name(), entries(stream))))
    };
    let held = app.data.store.read(look).await.map_err(|_| Problem::internal())?;
    out["entries"] = held.iter().map(|(name, count)| ((*name).to_owned(), json!(count))).collect();
    Ok(Json(out))
}

async fn label(
    _: Admin,
    State(app): State<App>,
    Path((site, name)): Path<(String, String)>,
    Body(new): Body<NewLabel>,
) -> Result<Json<Value>, Problem> {
    let id = app.member(&site, &name)?.membership.node().to_string();
    app.labels.set(&id, new.label.as_deref()).await?;
    Ok(Json(json!({ "site": site, "name": name, "label": app.labels.get(&id) })))
}

async fn remove(
    _: Admin,
    State(app): State<App>,
    Path((site, name)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let called = format!("{site}/{name}");
    let node = app.fleet.remove(&called).await.map_err(fleet_problem)?;
    tracing::warn!(peer = called, "removed from the fleet");
    app.peers.end(&node, RefusalCode::Removed, "this node was removed from the fleet").await;
    Ok(StatusCode::NO_CONTENT)
}

fn fleet_problem(error: FleetError) -> Problem {
    match error {
        FleetError::Name(_) => Problem::invalid("invalid-name", error.to_string()),
        FleetError::Taken(_) => Problem::conflict("name-taken", error.to_string()),
        FleetError::Unknown(_) => Problem::not_found(error.to_string()),
        FleetError::Store(error) => {
            tracing::error!(%error, "the fleet could not be changed");
            Problem::no_room("the change could not be stored")
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Invite {
    site: String,
    name: String,
    /// Where the node is to find this hub; what the hub advertises otherwise.
    #[serde(default)]
    addresses: Vec<String>,
}

async fn invite(
    _: Admin,
    State(app): State<App>,
    Body(invite): Body<Invite>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let addresses = if invite.addresses.is_empty() {
        app.advertised.as_ref().clone()
    } else {
        invite.addresses
    };
    let named = |address: &String| {
        let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        port.is_some() && address.len() <= 255
    };
    if addresses.len() > 8 || !addresses.iter().all(named) {
        let problem = Problem::invalid("invalid-address", "an address of the hub is not one");
        return Err(problem.at("/addresses").expected("at most 8 of host:port"));
    }
    let invitation = app.fleet.invite(&invite.site, &invite.name, addresses.clone()).await;
    let invitation = invitation.map_err(fleet_problem)?;
    let body = json!({
        "invitation": invitation.to_text(),
        "site": invite.site,
        "name": invite.name,
        "addresses": addresses,
    });
    Ok((StatusCode::CREATED, Json(body)))
}

async fn lag(_: Reader, State(app): State<App>) -> Json<Value> {
    let mut out = app.nodes_json();
    for node in out["nodes"].as_array_mut().into_iter().flatten() {
        let keep = ["site", "name", "state", "behind", "heard", "last_received"];
        if let Some(members) = node.as_object_mut() {
            members.retain(|key, _| keep.contains(&key.as_str()));
        }
    }
    Json(out)
}
