//! `GET /v1/series`, `/v1/readings` and `/v1/rollups`.

use super::Nodes;
use super::wire::{AsOf, LastReading, ReadingShape, SeriesName, WindowShape};
use crate::auth::{Auth, Reader};
use crate::config::Duration;
use crate::http::Query;
use crate::pipeline::{Catalog, Progress, SeriesInfo};
use crate::problem::Problem;
use crate::query::{self, Span};
use crate::routes::Routes;
use crate::time_text::{self, Time};
use axum::Json;
use axum::extract::{FromRef, State};
use holdfast_core::{NodeId, SeriesKey, Timestamp};
use holdfast_sync::Fault;
use holdfast_sync::store::{Snapshot, Store};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
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
pub fn routes<S: Clone + Send + Sync + 'static>() -> Routes<S>
where
    Auth: FromRef<S>,
    Data: FromRef<S>,
{
    Routes::new().get("/v1/series", "Series with count, first time and newest reading", series).get(
        "/v1/rollups",
        "Windows of a series: count, sum, mean, min, max, first, last",
        rollups,
    )
}

impl Data {
    /// As of when an answer is.
    #[must_use]
    pub fn as_of(&self) -> AsOf {
        let head = self.store.watch().borrow().pos;
        let cursor = self.progress.borrow().cursor;
        let time = Time(self.store.env().now());
        AsOf { time, head, read_to: cursor, lag: head.saturating_sub(cursor) }
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

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SeriesWanted {
    /// Of this node only: `site/name` or its id.
    node: Option<String>,
    /// Of this device only.
    device: Option<String>,
    /// Of this metric only.
    metric: Option<String>,
    /// How many to pass over.
    #[serde(default)]
    offset: usize,
    /// How many to list: 1 to 100,000; 1,000 otherwise.
    limit: Option<usize>,
}

/// Series that are known.
#[derive(Serialize, JsonSchema)]
struct SeriesList {
    as_of: AsOf,
    /// How many there are, listed or not.
    total: usize,
    series: Vec<SeriesShape>,
}

/// A series.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Series")]
struct SeriesShape {
    #[serde(flatten)]
    name: SeriesName,
    /// How many readings there are.
    count: u64,
    /// The earliest time.
    first: Time,
    /// The newest reading.
    last: LastReading,
}

async fn series(
    _: Reader,
    State(data): State<Data>,
    Query(wanted): Query<SeriesWanted>,
) -> Result<Json<SeriesList>, Problem> {
    let node = data.node(wanted.node.as_deref())?;
    let listed = data.catalog.list(|info| {
        node.is_none_or(|node| node == info.origin)
            && wanted.device.as_deref().is_none_or(|device| device == &*info.device)
            && wanted.metric.as_deref().is_none_or(|metric| metric == &*info.metric)
    });
    let limit = limit(wanted.limit)?;
    let page = listed.iter().skip(wanted.offset).take(limit).map(|(info, last)| SeriesShape {
        name: SeriesName::of(data.nodes.as_ref(), info),
        count: last.count,
        first: Time(last.first),
        last: last.into(),
    });
    let series = page.collect();
    Ok(Json(SeriesList { as_of: data.as_of(), total: listed.len(), series }))
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
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// Of this node only: `site/name` or its id.
    node: Option<String>,
    /// The device.
    device: String,
    /// What is measured.
    metric: String,
    /// In which unit; none otherwise.
    #[serde(default)]
    unit: String,
    /// From when on, RFC 3339; a day before `to` otherwise.
    from: Option<String>,
    /// Until when, RFC 3339; now otherwise.
    to: Option<String>,
    /// How many: 1 to 100,000; 1,000 otherwise.
    limit: Option<usize>,
    /// Of readings: 4 to 10,000 points that keep the extremes, instead of all readings.
    points: Option<usize>,
    /// Of readings: `asc` or `desc`, which takes the newest when there are more than the limit.
    order: Option<String>,
    /// Of rollups: the width of the windows; `5m` otherwise.
    width: Option<String>,
}

/// Readings of a series, or points of its curve.
#[derive(Serialize, JsonSchema)]
pub struct ReadingList {
    as_of: AsOf,
    /// The nodes that have the series.
    nodes: Vec<String>,
    device: String,
    metric: String,
    unit: String,
    from: Time,
    to: Time,
    #[serde(flatten)]
    found: ReadingsFound,
}

/// What was found of a series.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum ReadingsFound {
    /// Points of its curve.
    Points {
        /// Time and value of each.
        points: Vec<(Time, f64)>,
    },
    /// Readings.
    Readings {
        /// Whether there are more than the limit.
        more: bool,
        readings: Vec<ReadingShape>,
    },
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
) -> Result<Json<ReadingList>, Problem> {
    let span = wanted.span(data.store.env().now())?;
    let infos = data.named(&wanted)?;
    let first = Arc::clone(&infos[0]);
    let origins: Vec<NodeId> = infos.iter().map(|info| info.origin).collect();
    let nodes: Vec<_> = origins.iter().map(|origin| data.nodes.name(origin)).collect();
    let list = |found| {
        Json(ReadingList {
            as_of: data.as_of(),
            nodes,
            device: wanted.device.clone(),
            metric: wanted.metric.clone(),
            unit: wanted.unit.clone(),
            from: Time(span.from),
            to: Time(span.to),
            found,
        })
    };
    if let Some(points) = wanted.points {
        if !(4..=POINTS_MAX).contains(&points) {
            let problem = Problem::parameter("points", "it is out of range");
            return Err(problem.expected(format!("4 to {POINTS_MAX}")));
        }
        let look = move |view: &Snapshot<'_>| {
            query::downsampled(view, &origins, &first.key(), span, points)
        };
        let points = data.look(look).await?;
        let points = points.iter().map(|point| (Time(point.time), point.value)).collect();
        return Ok(list(ReadingsFound::Points { points }));
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
    let readings = found.iter().map(ReadingShape::from).collect();
    Ok(list(ReadingsFound::Readings { more, readings }))
}

/// Windows of a series.
#[derive(Serialize, JsonSchema)]
struct RollupList {
    as_of: AsOf,
    device: String,
    metric: String,
    unit: String,
    /// Their width in seconds.
    width_s: u32,
    nodes: Vec<NodeWindows>,
}

/// The windows of one node.
#[derive(Serialize, JsonSchema)]
struct NodeWindows {
    node: String,
    windows: Vec<WindowShape>,
}

async fn rollups(
    _: Reader,
    State(data): State<Data>,
    Query(wanted): Query<Named>,
) -> Result<Json<RollupList>, Problem> {
    let span = wanted.span(data.store.env().now())?;
    let text = wanted.width.as_deref().unwrap_or("5m");
    let width: Duration = text.parse().map_err(|_| {
        Problem::parameter("width", format!("`{text}` is no duration")).expected("5m")
    })?;
    let width_s = u32::try_from(width.0.as_secs()).unwrap_or(u32::MAX).max(1);
    let limit = limit(wanted.limit)?;
    let mut nodes = Vec::new();
    for info in data.named(&wanted)? {
        let node = data.nodes.name(&info.origin);
        let look = move |view: &Snapshot<'_>| query::windows(view, &info, width_s, span, limit);
        let windows = data.look(look).await?;
        let windows = windows.iter().map(WindowShape::from).collect();
        nodes.push(NodeWindows { node, windows });
    }
    let Named { device, metric, unit, .. } = wanted;
    Ok(Json(RollupList { as_of: data.as_of(), device, metric, unit, width_s, nodes }))
}
