//! `GET /v1/series` and `/v1/readings`.

use super::Nodes;
use super::rollups::rollups;
use super::wire::{AsOf, LastReading, ReadingShape, SeriesName};
use crate::auth::{Auth, Reader};
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
    let series_about = "Series with count, first time and newest reading";
    let rollups_about =
        "Windows of a series: count, sum, mean, least, greatest, first, last, variance, quantiles";
    Routes::new().get("/v1/series", series_about, series).get("/v1/rollups", rollups_about, rollups)
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
    pub(super) fn named(
        &self,
        key: &SeriesKey<'_>,
        node: Option<&str>,
    ) -> Result<Vec<Arc<SeriesInfo>>, Problem> {
        let node = self.node(node)?;
        let all = self.catalog.named(key, node);
        if all.is_empty() {
            let name = format!("device {}, metric {}, unit {:?}", key.device, key.metric, key.unit);
            return Err(Problem::not_found(format!("there is no series with {name}")));
        }
        Ok(all)
    }

    pub(super) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Snapshot<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Problem> {
        self.store.read(look).await.map_err(fault_problem)
    }
}

/// The answer to a question that the store could not be asked.
#[must_use]
pub fn fault_problem(fault: Fault) -> Problem {
    tracing::error!(%fault, "a query failed");
    Problem::internal()
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

/// The key of a series that is asked for.
pub(super) fn key<'a>(
    device: &'a str,
    metric: &'a str,
    unit: &'a str,
) -> Result<SeriesKey<'a>, Problem> {
    SeriesKey::new(device, metric, unit)
        .map_err(|reject| Problem::parameter("device, metric, unit", reject.to_string()))
}

/// The span asked for; without one, the last day up to five minutes ahead.
pub(super) fn span(from: Option<&str>, to: Option<&str>, now: Timestamp) -> Result<Span, Problem> {
    let parse = |name: &'static str, text: Option<&str>, otherwise: Timestamp| match text {
        None => Ok(otherwise),
        Some(text) => time_text::parse(text).map_err(|_| {
            Problem::parameter(name, format!("`{text}` is not a time"))
                .expected("RFC 3339, such as 2026-11-20T16:38:00Z")
        }),
    };
    let to = parse("to", to, now.saturating_add(DAY_NS / 288))?;
    let from = parse("from", from, to.saturating_add(-DAY_NS))?;
    if from > to {
        return Err(Problem::parameter("from", "it lies after `to`"));
    }
    Ok(Span { from, to })
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
    let span = span(wanted.from.as_deref(), wanted.to.as_deref(), data.store.env().now())?;
    let key = key(&wanted.device, &wanted.metric, &wanted.unit)?;
    let infos = data.named(&key, wanted.node.as_deref())?;
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
