//! `GET /v1/series`, `/v1/readings` and `/v1/rollups`.

use super::{Nodes, wire};
use crate::auth::{Auth, Reader};
use crate::config::Duration;
use crate::http::Query;
use crate::pipeline::{Catalog, Progress, SeriesInfo};
use crate::problem::Problem;
use crate::query::{self, Span};
use crate::time_text::{self, Time};
use axum::extract::{FromRef, State};
use axum::routing::get;
use axum::{Json, Router};
use holdfast_core::{NodeId, SeriesKey, Timestamp};
use holdfast_sync::Fault;
use holdfast_sync::store::{Snapshot, Store};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::watch;

const LIMIT: usize = 1_000;
const LIMIT_MAX: usize = 100_000;
const POINTS_MAX: usize = 10_000;
const DAY_NS: i64 = 86_400 * 1_000_000_000;

/// What the routes answer from; cheap to clone, part of a service's state.
#[derive(Clone)]
pub struct Data {
    /// The store.
    pub store: Store,
    /// The series.
    pub catalog: Arc<Catalog>,
    /// How far the pipeline is.
    pub progress: watch::Receiver<Progress>,
    /// The nodes.
    pub nodes: Arc<dyn Nodes>,
}

/// The routes.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S>
where
    Auth: FromRef<S>,
    Data: FromRef<S>,
{
    Router::new().route("/v1/series", get(series)).route("/v1/rollups", get(rollups))
}

impl Data {
    /// As of when an answer is.
    #[must_use]
    pub fn as_of(&self) -> Value {
        let head = self.store.watch().borrow().pos;
        let cursor = self.progress.borrow().cursor;
        json!({
            "time": Time(self.store.env().now()),
            "head": head,
            "read_to": cursor,
            "lag": head.saturating_sub(cursor),
        })
    }

    pub(super) fn node(&self, name: Option<&str>) -> Result<Option<NodeId>, Problem> {
        let Some(name) = name else { return Ok(None) };
        match self.nodes.find(name) {
            Some(node) => Ok(Some(node)),
            None => Err(Problem::not_found(format!("there is no node `{name}`")).at("query: node")),
        }
    }

    /// The series of a name, of one node or of all that have it.
    fn named(&self, wanted: &Named) -> Result<Vec<Arc<SeriesInfo>>, Problem> {
        let key = wanted.key()?;
        let node = self.node(wanted.node.as_deref())?;
        let all = self.catalog.named(&key, node);
        if all.is_empty() {
            let name = format!("device {}, metric {}, unit {:?}", key.device, key.metric, key.unit);
            return Err(Problem::not_found(format!("there is no series with {name}")));
        }
        Ok(all)
    }

    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Snapshot<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Problem> {
        self.store.read(look).await.map_err(|fault| {
            tracing::error!(%fault, "a query failed");
            Problem::internal()
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    node: Option<String>,
    device: Option<String>,
    metric: Option<String>,
    #[serde(default)]
    offset: usize,
    limit: Option<usize>,
}

async fn series(
    _: Reader,
    State(data): State<Data>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Value>, Problem> {
    let node = data.node(wanted.node.as_deref())?;
    let listed = data.catalog.list(|info| {
        node.is_none_or(|node| node == info.origin)
            && wanted.device.as_deref().is_none_or(|device| device == &*info.device)
            && wanted.metric.as_deref().is_none_or(|metric| metric == &*info.metric)
    });
    let limit = limit(wanted.limit)?;
    let page = listed.iter().skip(wanted.offset).take(limit).map(|(info, last)| {
        let mut out = wire::series(data.nodes.as_ref(), info);
        out.insert("count".into(), last.count.into());
        out.insert("first".into(), json!(Time(last.first)));
        out.insert("last".into(), wire::last(last));
        Value::Object(out)
    });
    let page: Vec<_> = page.collect();
    Ok(Json(json!({ "as_of": data.as_of(), "total": listed.len(), "series": page })))
}

pub(super) fn limit(wanted: Option<usize>) -> Result<usize, Problem> {
    match wanted.unwrap_or(LIMIT) {
        limit @ 1..=LIMIT_MAX => Ok(limit),
        _ => {
            Err(Problem::parameter("limit", "it is out of range")
                .expected(format!("1 to {LIMIT_MAX}")))
        }
    }
}

/// A series by name and a span of time.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    node: Option<String>,
    device: String,
    metric: String,
    #[serde(default)]
    unit: String,
    from: Option<String>,
    to: Option<String>,
    limit: Option<usize>,
    points: Option<usize>,
    order: Option<String>,
    width: Option<String>,
}

impl Named {
    fn key(&self) -> Result<SeriesKey<'_>, Problem> {
        SeriesKey::new(&self.device, &self.metric, &self.unit)
            .map_err(|reject| Problem::parameter("device, metric, unit", reject.to_string()))
    }

    /// The span asked for; without one, the last day up to five minutes ahead.
    fn span(&self, now: Timestamp) -> Result<Span, Problem> {
        let parse = |name: &'static str, text: &Option<String>, otherwise: Timestamp| match text {
            None => Ok(otherwise),
            Some(text) => time_text::parse(text).map_err(|_| {
                Problem::parameter(name, format!("`{text}` is not a time"))
                    .expected("RFC 3339, such as 2026-11-20T16:38:00Z")
            }),
        };
        let to = parse("to", &self.to, now.saturating_add(DAY_NS / 288))?;
        let from = parse("from", &self.from, to.saturating_add(-DAY_NS))?;
        if from > to {
            return Err(Problem::parameter("from", "it lies after `to`"));
        }
        Ok(Span { from, to })
    }
}

/// Answers `GET /v1/readings`; a service puts it beside its own `POST`.
///
/// # Errors
/// A problem that says what is wrong with the question.
pub async fn readings(
    _: Reader,
    State(data): State<Data>,
    Query(wanted): Query<Named>,
) -> Result<Json<Value>, Problem> {
    let span = wanted.span(data.store.env().now())?;
    let infos = data.named(&wanted)?;
    let first = Arc::clone(&infos[0]);
    let origins: Vec<NodeId> = infos.iter().map(|info| info.origin).collect();
    let nodes: Vec<_> = origins.iter().map(|origin| data.nodes.name(origin)).collect();
    let mut out = json!({
        "as_of": data.as_of(),
        "nodes": nodes,
        "device": &*first.device,
        "metric": &*first.metric,
        "unit": &*first.unit,
        "from": Time(span.from),
        "to": Time(span.to),
    });
    if let Some(points) = wanted.points {
        if !(4..=POINTS_MAX).contains(&points) {
            let problem = Problem::parameter("points", "it is out of range");
            return Err(problem.expected(format!("4 to {POINTS_MAX}")));
        }
        let look = move |view: &Snapshot<'_>| {
            query::downsampled(view, &origins, &first.key(), span, points)
        };
        let points = data.look(look).await?;
        let points = points.iter().map(|p| json!([Time(p.time), p.value]));
        out["points"] = points.collect::<Vec<_>>().into();
        return Ok(Json(out));
    }
    let limit = limit(wanted.limit)?;
    let latest = match wanted.order.as_deref() {
        None | Some("asc") => false,
        Some("desc") => true,
        Some(other) => {
            let problem = Problem::parameter("order", format!("`{other}` is not an order"));
            return Err(problem.expected("asc or desc"));
        }
    };
    let look = move |view: &Snapshot<'_>| {
        query::readings(view, &origins, &first.key(), span, limit + 1, latest)
    };
    let mut found = data.look(look).await?;
    let more = found.len() > limit;
    if latest {
        found.reverse();
    }
    found.truncate(limit);
    out["more"] = more.into();
    out["readings"] = found.iter().map(wire::reading).collect::<Vec<_>>().into();
    Ok(Json(out))
}

async fn rollups(
    _: Reader,
    State(data): State<Data>,
    Query(wanted): Query<Named>,
) -> Result<Json<Value>, Problem> {
    let span = wanted.span(data.store.env().now())?;
    let text = wanted.width.as_deref().unwrap_or("5m");
    let width: Duration = text.parse().map_err(|_| {
        Problem::parameter("width", format!("`{text}` is no duration")).expected("5m")
    })?;
    let width_s = u32::try_from(width.0.as_secs()).unwrap_or(u32::MAX).max(1);
    let limit = limit(wanted.limit)?;
    let mut by_node = Vec::new();
    for info in data.named(&wanted)? {
        let name = data.nodes.name(&info.origin);
        let look = move |view: &Snapshot<'_>| query::windows(view, &info, width_s, span, limit);
        let windows = data.look(look).await?;
        let windows: Vec<_> = windows.iter().map(wire::window).collect();
        by_node.push(json!({ "node": name, "windows": windows }));
    }
    Ok(Json(json!({
        "as_of": data.as_of(),
        "device": wanted.device,
        "metric": wanted.metric,
        "unit": wanted.unit,
        "width_s": width_s,
        "nodes": by_node,
    })))
}
