//! `GET /v1/alerts` and `POST /v1/alerts/{id}/ack`.

use super::Nodes;
use super::data::{Data, limit};
use super::wire::{AsOf, ValueShape};
use crate::alerts::{Alert, Book, Fact, Filter, id_text, notice, parse_id};
use crate::auth::{Admin, Auth, Reader};
use crate::http::{Json as Body, Path, Query};
use crate::problem::Problem;
use crate::routes::Routes;
use crate::time_text::Time;
use crate::twins::Twins;
use axum::Json;
use axum::extract::{FromRef, State};
use axum::http::StatusCode;
use holdfast_core::limits::NOTE_MAX_BYTES;
use holdfast_core::log::alerts::{AlertAcknowledged, Subject};
use holdfast_core::log::events::{Event, Severity};
use holdfast_sync::store::OwnedValue;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The alerts of a service; cheap to clone, part of its state.
#[derive(Clone)]
pub struct Alerts {
    /// What queries answer from.
    pub data: Data,
    /// The alerts.
    pub book: Arc<Book>,
    /// Takes alerts that changed.
    pub on_alerts: crate::alerts::OnAlerts,
    /// At the hub: through which gateways are told who took note of their alerts.
    pub outward: Option<Twins>,
}

/// The routes.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Routes<S>
where
    Auth: FromRef<S>,
    Alerts: FromRef<S>,
{
    Routes::new()
        .get("/v1/alerts", "Alerts, the gravest first", list)
        .post("/v1/alerts/{id}/ack", "Takes note of an alert", acknowledge)
        .with(|operation| operation.may_fail(&[StatusCode::INSUFFICIENT_STORAGE]))
}

/// An alert, in answers and in the event `alerts`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Alert")]
pub struct AlertShape {
    /// Its id.
    id: String,
    /// The node that raised it.
    node: String,
    /// `active` or `cleared`.
    state: &'static str,
    /// `info`, `warning` or `critical`.
    severity: &'static str,
    /// The rule that it broke.
    rule: String,
    /// The device it is about, if it is about one.
    device: Option<String>,
    /// The metric, likewise.
    metric: Option<String>,
    /// The unit, likewise.
    unit: Option<String>,
    /// The gateway that an alert of the hub is about.
    gateway: Option<String>,
    /// What it says.
    text: String,
    /// The value that raised it.
    value: Option<ValueShape>,
    /// The time of the reading that raised it.
    since: Time,
    /// When the node raised it.
    said: Time,
    /// Its end.
    cleared: Option<ClearedShape>,
    /// The latest word of each node.
    acknowledged: Vec<AcknowledgedShape>,
}

/// The end of an alert.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Cleared")]
struct ClearedShape {
    /// The time of the reading that ended it.
    at: Time,
    /// When the node said so.
    said: Time,
    /// `over` or `unwatched`.
    reason: &'static str,
    /// The value that ended it.
    value: Option<ValueShape>,
}

/// Somebody took note of an alert.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Acknowledged")]
struct AcknowledgedShape {
    /// Where.
    node: String,
    /// When.
    at: Time,
    /// The name of the token.
    who: String,
    /// What they said.
    note: String,
}

/// An alert as it is told; nothing while only its end is known.
fn shape(nodes: &dyn Nodes, alert: &Alert) -> Option<AlertShape> {
    let (said, raised) = alert.raised()?;
    let value = |value: Option<holdfast_core::Value<'_>>| {
        value.map(|value| ValueShape::from(&OwnedValue::from(value)))
    };
    let cleared = alert.cleared().map(|(said, cleared)| ClearedShape {
        at: Time(cleared.at),
        said: Time(said),
        reason: cleared.reason.name(),
        value: value(cleared.value),
    });
    let acknowledged = alert.acknowledged().map(|(by, at, ack)| AcknowledgedShape {
        node: nodes.name(&by),
        at: Time(at),
        who: ack.who.to_owned(),
        note: ack.note.to_owned(),
    });
    let (mut device, mut metric, mut unit, mut about) = (None, None, None, None);
    match raised.subject {
        Subject::Node => {}
        Subject::Device(named) => device = Some(named.as_str().to_owned()),
        Subject::Series(series) => {
            device = Some(series.device.as_str().to_owned());
            metric = Some(series.metric.as_str().to_owned());
            unit = Some(series.unit.as_str().to_owned());
        }
        Subject::Peer(node) => about = Some(nodes.name(&node)),
    }
    Some(AlertShape {
        id: id_text(alert.id),
        node: nodes.name(&alert.origin),
        state: if alert.is_active() { "active" } else { "cleared" },
        severity: raised.severity.name(),
        rule: raised.rule.to_owned(),
        device,
        metric,
        unit,
        gateway: about,
        text: raised.text.to_owned(),
        value: value(raised.value),
        since: Time(raised.since),
        said: Time(said),
        cleared,
        acknowledged: acknowledged.collect(),
    })
}

/// What the event `alerts` carries.
#[must_use]
pub fn alert_shapes(nodes: &dyn Nodes, alerts: &[Alert]) -> Vec<AlertShape> {
    alerts.iter().filter_map(|alert| shape(nodes, alert)).collect()
}

/// How many alerts there are.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct AlertCounts {
    /// Those that are active.
    pub active: usize,
    /// Those of them that nobody took note of.
    pub unacknowledged: usize,
    /// Series that no rule watches because there are too many.
    pub unwatched: u64,
}

impl Alerts {
    /// How many there are, for a status.
    #[must_use]
    pub fn summary(&self) -> AlertCounts {
        let filter = Filter { active: true, ..Filter::default() };
        let active = self.list(&filter);
        let open = active.iter().filter(|alert| alert.acknowledged().next().is_none()).count();
        let unwatched = self.book.unwatched();
        AlertCounts { active: active.len(), unacknowledged: open, unwatched }
    }

    /// How many are active, by how grave they are.
    #[must_use]
    pub fn active_by_severity(&self) -> [(Severity, usize); Severity::ALL.len()] {
        let active = self.list(&Filter { active: true, ..Filter::default() });
        let severities = active.iter().filter_map(|alert| Some(alert.raised()?.1.severity));
        let severities: Vec<_> = severities.collect();
        Severity::ALL.map(|one| (one, severities.iter().filter(|other| **other == one).count()))
    }

    /// The alerts of nodes that are known; those of a node that was removed are left out.
    fn list(&self, filter: &Filter<'_>) -> Vec<Alert> {
        let nodes = &self.data.nodes;
        let mut out = self.book.list(filter);
        out.retain(|alert| nodes.find(&nodes.name(&alert.origin)) == Some(alert.origin));
        out
    }

    fn named(&self, text: &str) -> Result<Alert, Problem> {
        let found = parse_id(text).and_then(|id| self.book.find(id));
        found.ok_or_else(|| Problem::not_found(format!("there is no alert `{text}`")))
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AlertsWanted {
    /// `active` (which it is otherwise) or `all`.
    state: Option<String>,
    /// Of this node only: `site/name` or its id.
    node: Option<String>,
    /// About this device only.
    device: Option<String>,
    /// Of this rule only.
    rule: Option<String>,
    /// How many to pass over.
    #[serde(default)]
    offset: usize,
    /// How many to list: 1 to 100,000; 1,000 otherwise.
    limit: Option<usize>,
}

/// Alerts.
#[derive(Serialize, JsonSchema)]
struct AlertList {
    as_of: AsOf,
    /// How many there are, listed or not.
    total: usize,
    /// Series that no rule watches because there are too many.
    unwatched: u64,
    alerts: Vec<AlertShape>,
}

async fn list(
    _: Reader,
    State(alerts): State<Alerts>,
    Query(wanted): Query<AlertsWanted>,
) -> Result<Json<AlertList>, Problem> {
    let active = match wanted.state.as_deref() {
        None | Some("active") => true,
        Some("all") => false,
        Some(other) => {
            let problem = Problem::parameter("state", format!("`{other}` is not a state"));
            return Err(problem.expected("active or all"));
        }
    };
    let filter = Filter {
        active,
        origin: alerts.data.node(wanted.node.as_deref())?,
        device: wanted.device.as_deref(),
        rule: wanted.rule.as_deref(),
    };
    let limit = limit(wanted.limit)?;
    let listed = alerts.list(&filter);
    let nodes = alerts.data.nodes.as_ref();
    let page = listed.iter().skip(wanted.offset).take(limit);
    let page = page.filter_map(|alert| shape(nodes, alert)).collect();
    Ok(Json(AlertList {
        as_of: alerts.data.as_of(),
        total: listed.len(),
        unwatched: alerts.book.unwatched(),
        alerts: page,
    }))
}

/// What somebody says of an alert.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Note {
    /// At most 1,024 bytes of text.
    #[serde(default)]
    note: String,
}

async fn acknowledge(
    Admin(who): Admin,
    State(alerts): State<Alerts>,
    Path(id): Path<String>,
    Body(Note { note }): Body<Note>,
) -> Result<Json<AlertShape>, Problem> {
    let printable = |c: char| !c.is_control() || c == '\n';
    if note.len() > NOTE_MAX_BYTES || !note.chars().all(printable) {
        let problem = Problem::invalid("invalid-note", "the note is too long or not text");
        return Err(problem.at("/note").expected(format!("at most {NOTE_MAX_BYTES} bytes")));
    }
    let alert = alerts.named(&id)?;
    let store = &alerts.data.store;
    let (here, name) = (store.node(), who.grant.name.clone());
    let (outward, book) = (alerts.outward.clone(), Arc::clone(&alerts.book));
    let written = store.write(move |tx| {
        let (origin, id) = (alert.origin, alert.id);
        let ack = AlertAcknowledged { origin, id, who: &name, note: &note };
        let event = Event::AlertAcknowledged(ack);
        let now = tx.now();
        tx.append_events_at(now, &[event])?;
        if let Some(twins) = outward.filter(|_| origin != here) {
            notice::tell(tx, &twins, &book, &ack)?;
        }
        let fact = Fact::of(&event, here, now, here).expect("an acknowledgement of ours");
        Book::record(tx, &[fact])
    });
    let (_committed, changed) = written.await.map_err(|error| {
        tracing::error!(%error, "an acknowledgement could not be stored");
        Problem::no_room("the acknowledgement could not be stored: try again later")
    })?;
    alerts.book.take(&changed, &[]);
    (alerts.on_alerts)(&changed);
    let alert = alerts.named(&id)?;
    let nodes = alerts.data.nodes.as_ref();
    shape(nodes, &alert).map(Json).ok_or_else(Problem::internal)
}
