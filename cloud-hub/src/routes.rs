//! The hub's own routes: nodes, invitations, how far behind the fleet is.

use crate::fleet::{FleetError, Member};
use crate::service::App;
use crate::shapes::{
    GapShape, HubShape, Invited, LagList, NodeCounts, NodeDetail, NodeLabel, NodeList, NodeShape,
    Status,
};
use crate::workflows;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use holdfast_core::{Stream, Timestamp};
use holdfast_node::api;
use holdfast_node::auth::{Admin, Reader};
use holdfast_node::http::{Json as Body, Path};
use holdfast_node::labels::NewLabel;
use holdfast_node::pipeline::Totals;
use holdfast_node::problem::Problem;
use holdfast_node::routes::{About, Created, NoContent, Routes};
use holdfast_node::time_text::Time;
use holdfast_sync::session::RefusalCode;
use holdfast_sync::store::Snapshot;
use schemars::JsonSchema;
use serde::Deserialize;

/// What the document of the routes is about.
pub const ABOUT: About = About {
    title: "Holdfast hub",
    summary: "The hub of a fleet: its gateways, their readings, invitations",
    version: crate::VERSION,
    reviewed: include_bytes!(concat!(env!("OUT_DIR"), "/openapi.json.gz")),
};

/// All routes of the hub but the pages.
#[must_use]
pub fn routes() -> Routes<App> {
    let may_be_full = &[StatusCode::INSUFFICIENT_STORAGE];
    Routes::new()
        .get("/v1/readings", "Readings of a series, or points of its curve", api::readings)
        .get("/v1/status", "How the hub is", status)
        .get("/v1/nodes", "All gateways", nodes)
        .get("/v1/nodes/{site}/{name}", "A gateway, with what is held and what is missing", node)
        .patch("/v1/nodes/{site}/{name}", "Says what people call a gateway", label)
        .with(|operation| operation.may_fail(may_be_full))
        .delete("/v1/nodes/{site}/{name}", "Removes a gateway from the fleet", remove)
        .with(|operation| operation.may_fail(may_be_full))
        .post("/v1/enrolments", "Invites a gateway", invite)
        .with(|operation| operation.may_fail(&[StatusCode::CONFLICT]))
        .with(|operation| operation.may_fail(may_be_full))
        .get("/v1/lag", "How far behind each gateway is", lag)
        .get("/v1/sites/{site}/workflows", "Which workflows its gateways have", workflows::of_site)
        .merge(api::data_routes())
        .merge(api::alert_routes())
        .merge(api::twin_routes())
        .merge(api::conflict_routes())
        .merge(api::policy_routes())
        .merge(api::artefact_routes())
        .merge(api::publish_routes())
        .merge(api::told_run_routes())
        .merge(api::token_routes())
        .merge(holdfast_node::auth::routes())
        .merge(holdfast_node::events::routes())
        .merge(holdfast_node::health::routes())
        .merge(holdfast_node::metrics::routes())
}

/// How a member is, for one line of a list.
fn describe(app: &App, member: &Member, totals: Totals) -> NodeShape {
    let grant = member.membership.grant();
    let live = app.live.get(&grant.node);
    let state = match (live.online, live.since) {
        (true, _) => "online",
        (false, Some(_)) => "stale",
        (false, None) => "never",
    };
    NodeShape {
        id: grant.node.to_string(),
        site: grant.site.clone(),
        name: grant.name.clone(),
        label: app.labels.get(&grant.node.to_string()),
        state,
        since: live.since.map(Time),
        heard: live.heard.map(Time),
        behind: live.behind,
        last_received: totals.received.map(Time),
        readings: totals.readings,
        series: totals.series,
        clock_ahead_ms: live.clock_ahead_ms,
        version: live.version,
        joined: Time(member.joined),
        not_after: Time(Timestamp(grant.not_after_s.saturating_mul(1_000_000_000))),
        end_reason: live.end.map(|end| format!("{}: {}", end.code.name(), end.reason)),
    }
}

impl App {
    /// All members, as `GET /v1/nodes` shows them.
    #[must_use]
    pub fn node_list(&self) -> NodeList {
        let totals = self.data.catalog.by_origin();
        let each = self.fleet.members().into_iter().map(|member| {
            let totals = totals.get(&member.membership.node()).copied().unwrap_or_default();
            describe(self, &member, totals)
        });
        NodeList { nodes: each.collect(), as_of: self.data.as_of() }
    }

    /// How many members are how.
    pub(crate) fn node_counts(&self) -> NodeCounts {
        let mut nodes = NodeCounts::default();
        for member in self.fleet.members() {
            let live = self.live.get(&member.membership.node());
            *match (live.online, live.since) {
                (true, _) => &mut nodes.online,
                (false, Some(_)) => &mut nodes.stale,
                (false, None) => &mut nodes.never,
            } += 1;
        }
        nodes
    }

    fn member(&self, site: &str, name: &str) -> Result<Member, Problem> {
        let called = format!("{site}/{name}");
        let found = self.fleet.called(&called);
        found.ok_or_else(|| Problem::not_found(format!("there is no node {called}")))
    }
}

async fn status(_: Reader, State(app): State<App>) -> Json<Status> {
    let store = &app.data.store;
    Json(Status {
        node: HubShape {
            id: store.node().to_string(),
            version: crate::VERSION,
            started: app.started,
            incarnation: store.incarnation().to_string(),
            role: "hub",
            fleet: app.fleet.id().short().to_string(),
        },
        http: (&app.tls).into(),
        transport: app.transport.name(),
        store: store.into(),
        pipeline: (&app.data).into(),
        nodes: app.node_counts(),
        alerts: app.alerts.summary(),
        series: app.data.catalog.len(),
        findings: app.findings.to_vec(),
    })
}

async fn nodes(_: Reader, State(app): State<App>) -> Json<NodeList> {
    Json(app.node_list())
}

async fn node(
    _: Reader,
    State(app): State<App>,
    Path((site, name)): Path<(String, String)>,
) -> Result<Json<NodeDetail>, Problem> {
    let member = app.member(&site, &name)?;
    let origin = member.membership.node();
    let totals = app.data.catalog.by_origin().get(&origin).copied().unwrap_or_default();
    let look = move |view: &Snapshot<'_>| {
        let mut gaps = Vec::new();
        for chain in view.chains()?.into_iter().filter(|chain| chain.id.origin == origin) {
            for gap in view.gaps(chain.no)? {
                gaps.push(GapShape {
                    incarnation: gap.incarnation.to_string(),
                    stream: gap.stream.name(),
                    from: gap.range.from,
                    to: gap.range.to,
                    entries: gap.range.count(),
                    reason: gap.reason.name(),
                });
            }
        }
        Ok(gaps)
    };
    let gaps = app.data.store.read(look).await.map_err(|_| Problem::internal())?;
    let look = move |view: &Snapshot<'_>| {
        let chains = view.chains()?.into_iter().filter(|chain| chain.id.origin == origin);
        let entries = |stream: Stream| {
            let held = chains.clone().filter(|chain| chain.id.stream == stream);
            held.map(|chain| chain.frontier.count()).sum::<u64>()
        };
        Ok(Stream::ALL.map(|stream| (stream.name(), entries(stream))))
    };
    let held = app.data.store.read(look).await.map_err(|_| Problem::internal())?;
    let node = describe(&app, &member, totals);
    Ok(Json(NodeDetail { node, gaps, entries: held.into_iter().collect() }))
}

async fn label(
    _: Admin,
    State(app): State<App>,
    Path((site, name)): Path<(String, String)>,
    Body(new): Body<NewLabel>,
) -> Result<Json<NodeLabel>, Problem> {
    let id = app.member(&site, &name)?.membership.node().to_string();
    app.labels.set(&id, new.label.as_deref()).await?;
    Ok(Json(NodeLabel { site, name, label: app.labels.get(&id) }))
}

async fn remove(
    _: Admin,
    State(app): State<App>,
    Path((site, name)): Path<(String, String)>,
) -> Result<NoContent, Problem> {
    let called = format!("{site}/{name}");
    let node = app.fleet.remove(&called).await.map_err(fleet_problem)?;
    tracing::warn!(peer = called, "removed from the fleet");
    app.peers.end(&node, RefusalCode::Removed, "this node was removed from the fleet").await;
    Ok(NoContent)
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

/// The gateway that is to be invited.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Invite {
    /// Its site: 1 to 64 characters of A-Z a-z 0-9 . _ -
    site: String,
    /// Its name there, likewise.
    name: String,
    /// Where the node is to find this hub; what the hub advertises otherwise.
    #[serde(default)]
    addresses: Vec<String>,
}

async fn invite(
    _: Admin,
    State(app): State<App>,
    Body(invite): Body<Invite>,
) -> Result<Created<Invited>, Problem> {
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
    let Invite { site, name, .. } = invite;
    Ok(Created(Invited { invitation: invitation.to_text(), site, name, addresses }))
}

async fn lag(_: Reader, State(app): State<App>) -> Json<LagList> {
    let NodeList { as_of, nodes } = app.node_list();
    Json(LagList { as_of, nodes: nodes.into_iter().map(Into::into).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_is_the_one_that_was_reviewed() {
        let renew = "cargo run -p holdfast-hub -- openapi > docs/openapi/hub.json";
        let document = format!("{:#}\n", routes().document(&ABOUT));
        let reviewed = include_str!("../../docs/openapi/hub.json");
        assert!(document == reviewed, "the routes have changed; if that is meant: {renew}");
    }

    #[test]
    fn a_program_that_carries_the_description_answers_what_one_that_makes_it_does() {
        let made = routes().document(&ABOUT).to_string();
        let carried = ABOUT.carried().to_string();
        assert!(made == carried, "see docs/openapi");
    }
}
