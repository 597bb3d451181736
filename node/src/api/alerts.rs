//! `GET /v1/alerts` and `POST /v1/alerts/{id}/ack`.

use super::Nodes;
use super::data::{Data, limit};
use super::wire::value_json;
use crate::alerts::{Alert, Book, Fact, Filter, id_text, parse_id};
use crate::auth::{Admin, Auth, Reader};
use crate::http::{Json as Body, Path, Query};
use crate::problem::Problem;
use crate::time_text::Time;
use axum::extract::{FromRef, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use holdfast_core::limits::NOTE_MAX_BYTES;
use holdfast_core::log::alerts::{AlertAcknowledged, Subject};
use holdfast_core::log::events::Event;
use holdfast_sync::store::OwnedValue;
use serde::Deserialize;
use serde_json::{Value, json};
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
}

/// The routes.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S>
where
    Auth: FromRef<S>,
    Alerts: FromRef<S>,
{
    Router::new().route("/v1/alerts", get(list)).route("/v1/alerts/{id}/ack", post(acknowledge))
}

/// An alert as answers and the event `alerts` carry it; nothing while only its end is known.
#[must_use]
pub fn alert_json(nodes: &dyn Nodes, alert: &Alert) -> Option<Value> {
    let (said, raised) = alert.raised()?;
    let value = |value: Option<holdfast_core::Value<'_>>| {
        value.map(|value| value_json(&OwnedValue::from(value)))
    };
    let cleared = alert.cleared().map(|(said, cleared)| {
        json!({
            "at": Time(cleared.at),
            "said": Time(said),
            "reason": cleared.reason.name(),
            "value": value(cleared.value),
        })
    });
    let acknowledged = alert.acknowledged().map(|(by, at, ack)| {
        json!({ "node": nodes.name(&by), "at": Time(at), "who": ack.who, "note": ack.note })
    });
    let (mut device, mut metric, mut unit, mut about) = (None, None, None, None);
    match raised.subject {
        Subject::Node => {}
        Subject::Device(named) => device = Some(named.as_str()),
        Subject::Series(series) => {
            device = Some(series.device.as_str());
            metric = Some(series.metric.as_str());
            unit = Some(series.unit.as_str());
        }
        Subject::Peer(node) => about = Some(nodes.name(&node)),
    }
    Some(json!({
        "id": id_text(alert.id),
        "node": nodes.name(&alert.origin),
        "state": if alert.is_active() { "active" } else { "cleared" },
        "severity": raised.severity.name(),
        "rule": raised.rule,
        "device": device,
        "metric": metric,
        "unit": unit,
        "gateway": about,
        "text": raised.text,
        "value": value(raised.value),
        "since": Time(raised.since),
        "said": Time(said),
        "cleared": cleared,
        "acknowledged": acknowledged.collect::<Vec<_>>(),
    }))
}

/// What the event `alerts` carries.
#[must_use]
pub fn alerts_json(nodes: &dyn Nodes, alerts: &[Alert]) -> Value {
    alerts.iter().filter_map(|alert| alert_json(nodes, alert)).collect::<Vec<_>>().into()
}

impl Alerts {
    /// How many there are, for a status.
    #[must_use]
    pub fn summary(&self) -> Value {
        let filter = Filter { active: true, ..Filter::default() };
        let active = self.list(&filter);
        let open = active.iter().filter(|alert| alert.acknowledged().next().is_none()).count();
        let unwatched = self.book.unwatched();
        json!({ "active": active.len(), "unacknowledged": open, "unwatched": unwatched })
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    state: Option<String>,
    node: Option<String>,
    device: Option<String>,
    rule: Option<String>,
    #[serde(default)]
    offset: usize,
    limit: Option<usize>,
}

async fn list(
    _: Reader,
    State(alerts): State<Alerts>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Value>, Problem> {
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
    let page: Vec<_> = page.filter_map(|alert| alert_json(nodes, alert)).collect();
    Ok(Json(json!({
        "as_of": alerts.data.as_of(),
        "total": listed.len(),
        "unwatched": alerts.book.unwatched(),
        "alerts": page,
    })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    #[serde(default)]
    note: String,
}

async fn acknowledge(
    Admin(who): Admin,
    State(alerts): State<Alerts>,
    Path(id): Path<String>,
    Body(Note { note }): Body<Note>,
) -> Result<Json<Value>, Problem> {
    let printable = |c: char| !c.is_control() || c == '\n';
    if note.len() > NOTE_MAX_BYTES || !note.chars().all(printable) {
        let problem = Problem::invalid("invalid-note", "the note is too long or not text");
        return Err(problem.at("/note").expected(format!("at most {NOTE_MAX_BYTES} bytes")));
    }
    let alert = alerts.named(&id)?;
    let store = &alerts.data.store;
    let (here, name) = (store.node(), who.grant.name.clone());
    let written = store.write(move |tx| {
        let (origin, id) = (alert.origin, alert.id);
        let ack = AlertAcknowledged { origin, id, who: &name, note: &note };
        let event = Event::AlertAcknowledged(ack);
        let now = tx.now();
        tx.append_events_at(now, &[event])?;
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
    alert_json(nodes, &alert).map(Json).ok_or_else(Problem::internal)
}
