//! `GET /v1/rollups`: what is asked for is made into a shape of windows, or refused with what was
//! expected; [`query`] finds or makes the windows.

use super::data::{Data, key, limit, span};
use super::wire::{AsOf, WindowShape};
use crate::auth::Reader;
use crate::config::Duration;
use crate::http::Query;
use crate::problem::Problem;
use crate::query::{self, Calendar, Shape, Windows};
use axum::Json;
use axum::extract::State;
use holdfast_sync::store::Snapshot;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Quantiles that one question may ask for: each costs a pass over the buckets of every window.
const QUANTILES_MAX: usize = 10;
/// Steps that a sliding window may take to get past itself: each window is put together from as
/// many kept ones at least.
const STEPS_MAX: u32 = 1_440;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
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
    /// How many windows: 1 to 100,000; 1,000 otherwise.
    limit: Option<usize>,
    /// The width of the windows, `5m` otherwise; or `day`, `week` or `month` of the zone.
    width: Option<String>,
    /// For sliding windows, from start to start: a part of the width, such as `1m`.
    step: Option<String>,
    /// For days, weeks and months the time zone, such as `Europe/Lisbon`; UTC otherwise.
    zone: Option<String>,
    /// Quantiles to tell, such as `0.5,0.95`: at most ten, each from 0 to 1.
    quantiles: Option<String>,
}

/// Windows of a series.
#[derive(Serialize, JsonSchema)]
pub(super) struct RollupList {
    as_of: AsOf,
    device: String,
    metric: String,
    unit: String,
    /// Their width as asked for.
    width: String,
    /// Their width in seconds, unless they are of a calendar.
    #[serde(skip_serializing_if = "Option::is_none")]
    width_s: Option<u32>,
    /// Seconds from start to start, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    step_s: Option<u32>,
    /// The time zone of a calendar.
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    nodes: Vec<NodeWindows>,
}

/// The windows of one node.
#[derive(Serialize, JsonSchema)]
struct NodeWindows {
    node: String,
    windows: Vec<WindowShape>,
}

fn seconds(name: &'static str, text: &str) -> Result<u32, Problem> {
    let duration: Option<Duration> = text.parse().ok();
    let whole = duration.filter(|d| d.0.subsec_nanos() == 0).map(|d| d.0.as_secs());
    whole.and_then(|s| u32::try_from(s).ok()).filter(|s| *s > 0).ok_or_else(|| {
        let expected = if name == "width" { "5m, 1h, day, week or month" } else { "1m" };
        Problem::parameter(name, format!("`{text}` is no duration of whole seconds"))
            .expected(expected)
    })
}

impl Wanted {
    fn shape(&self, width: &str) -> Result<Shape, Problem> {
        let unit = match width {
            "day" => Some(Calendar::Day),
            "week" => Some(Calendar::Week),
            "month" => Some(Calendar::Month),
            _ => None,
        };
        if let Some(unit) = unit {
            if self.step.is_some() {
                return Err(Problem::parameter("step", format!("a {width} does not slide")));
            }
            let name = self.zone.as_deref().unwrap_or("UTC");
            let zone = TimeZone::get(name).map_err(|_| {
                Problem::parameter("zone", format!("there is no time zone `{name}`"))
                    .expected("a name of the IANA database, such as Europe/Lisbon")
            })?;
            return Ok(Shape::Calendar(unit, zone));
        }
        if self.zone.is_some() {
            let problem = Problem::parameter("zone", "only days, weeks and months have one");
            return Err(problem.expected("width=day, week or month"));
        }
        let width_s = seconds("width", width)?;
        let step_s = self.step.as_deref().map_or(Ok(width_s), |step| seconds("step", step))?;
        if !width_s.is_multiple_of(step_s) || width_s / step_s > STEPS_MAX {
            let problem = Problem::parameter("step", "the width is not a few steps");
            return Err(problem.expected(format!("a part of {width}, 1/{STEPS_MAX} at least")));
        }
        Ok(Shape::Fixed { width_s, step_s })
    }

    fn quantiles(&self) -> Result<Vec<f64>, Problem> {
        let Some(text) = &self.quantiles else { return Ok(Vec::new()) };
        let parse = |part: &str| part.trim().parse().ok().filter(|q| (0.0..=1.0).contains(q));
        let all: Option<Vec<f64>> = text.split(',').map(parse).collect();
        all.filter(|all| all.len() <= QUANTILES_MAX).ok_or_else(|| {
            Problem::parameter("quantiles", format!("`{text}` is no list of quantiles"))
                .expected(format!("at most {QUANTILES_MAX} numbers from 0 to 1, such as 0.5,0.95"))
        })
    }
}

/// What to say when the kept windows do not come to those asked for.
fn none_fit(shape: &Shape, kept: &[u32]) -> Problem {
    let widths: Vec<String> = kept
        .iter()
        .map(|width| Duration(std::time::Duration::from_secs(u64::from(*width))).to_string())
        .collect();
    let name = if matches!(shape, Shape::Calendar(..)) { "zone" } else { "width" };
    let problem = Problem::parameter(name, "no windows that are kept come to those asked for");
    problem.expected(format!("bounds on multiples of one of {}", widths.join(", ")))
}

pub(super) async fn rollups(
    _: Reader,
    State(data): State<Data>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<RollupList>, Problem> {
    let span = span(wanted.from.as_deref(), wanted.to.as_deref(), data.store.env().now())?;
    let width = wanted.width.clone().unwrap_or_else(|| "5m".to_owned());
    let (shape, quantiles) = (wanted.shape(&width)?, wanted.quantiles()?);
    let limit = limit(wanted.limit)?;
    let key = key(&wanted.device, &wanted.metric, &wanted.unit)?;
    let mut nodes = Vec::new();
    for info in data.named(&key, wanted.node.as_deref())? {
        let node = data.nodes.name(&info.origin);
        let asked = shape.clone();
        let look = move |view: &Snapshot<'_>| query::windows(view, &info, &asked, span, limit);
        let windows = match data.look(look).await? {
            Windows::Found(windows) => windows,
            Windows::NoneFit(kept) => return Err(none_fit(&shape, &kept)),
        };
        let windows = windows.iter().map(|(at, rolled)| WindowShape::of(*at, rolled, &quantiles));
        nodes.push(NodeWindows { node, windows: windows.collect() });
    }
    let (width_s, step_s) = match shape {
        Shape::Fixed { width_s, step_s } => (Some(width_s), Some(step_s)),
        Shape::Calendar(..) => (None, None),
    };
    let zone = width_s.is_none().then(|| wanted.zone.unwrap_or_else(|| "UTC".to_owned()));
    let Wanted { device, metric, unit, .. } = wanted;
    let as_of = data.as_of();
    Ok(Json(RollupList { as_of, device, metric, unit, width, width_s, step_s, zone, nodes }))
}
