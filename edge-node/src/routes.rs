//! The gateway's own routes: where devices post, and how the node is.

use crate::formats::media::{Format, negotiate};
use crate::formats::shape::{Item, Items, Pack};
use crate::formats::{BodyError, BodyFault, json as json_format, line, senml};
use crate::influx;
use crate::ingest::{Ingest, Report, ReportShape};
use crate::service::App;
use crate::status::Status;
use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use holdfast_node::api;
use holdfast_node::auth::{Admin, Poster, Reader};
use holdfast_node::http::{Content, Json as Body, Path, Query};
use holdfast_node::labels::NewLabel;
use holdfast_node::problem::Problem;
use holdfast_node::routes::{About, Answer, NoContent, Operation, Reply, Routes, Shape, Text};
use holdfast_node::time_text::Time;
use holdfast_sync::store::Idempotency;
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;

const KEY_MAX: usize = 128;

/// What the document of the routes is about.
pub const ABOUT: About = About {
    title: "Holdfast edge node",
    summary: "A gateway: takes readings from devices, keeps them, answers for its site",
    version: crate::VERSION,
    reviewed: include_bytes!(concat!(env!("OUT_DIR"), "/openapi.json.gz")),
};

/// All routes of the gateway but the pages.
#[must_use]
pub fn routes() -> Routes<App> {
    let write_1 = Routes::new()
        .post("/write", "Takes line protocol, as version 1 of InfluxDB does", write)
        .with(takes_lines)
        .with(Operation::errors_are::<influx::Version1>)
        .wrapped(|routes| routes.layer(map_response(influx::version_1)));
    let write_2 = Routes::new()
        .post("/api/v2/write", "Takes line protocol, as version 2 of InfluxDB does", write)
        .with(takes_lines)
        .with(Operation::errors_are::<influx::Version2>)
        .wrapped(|routes| routes.layer(map_response(influx::version_2)));
    Routes::new()
        .post("/v1/readings", "Takes readings; they are on disk when it answers", readings)
        .with(takes_readings)
        .get("/v1/readings", "Readings of a series, or points of its curve", api::readings)
        .post("/v1/write", "Takes line protocol; errors are problems", write)
        .with(takes_lines)
        .merge(write_1)
        .merge(write_2)
        .get("/v1/devices", "Known devices, and when each was heard last", devices)
        .patch("/v1/devices/{id}", "Says what people call a device", label)
        .with(|operation| operation.may_fail(&[StatusCode::INSUFFICIENT_STORAGE]))
        .get("/v1/status", "How the node is", status)
        .merge(api::data_routes())
        .merge(api::alert_routes())
        .merge(api::twin_routes())
        .merge(api::conflict_routes())
        .merge(api::policy_routes())
        .merge(api::artefact_routes())
        .merge(api::run_routes())
        .merge(api::token_routes())
        .merge(crate::device_commands::api::routes())
        .merge(crate::mqtt::api::routes())
        .merge(crate::mqtt::server::websocket::routes())
        .merge(holdfast_node::auth::routes())
        .merge(holdfast_node::events::routes())
        .merge(holdfast_node::health::routes())
        .merge(holdfast_node::metrics::routes())
}

fn takes_readings(operation: &mut Operation) {
    let text: Shape = Text::json_schema;
    operation.body_is(&[
        ("application/json", SchemaGenerator::subschema_for::<Items>),
        // Of the two formats without a schema of their own: of each line, and the bytes.
        ("application/x-ndjson", SchemaGenerator::subschema_for::<Item>),
        ("application/senml+json", SchemaGenerator::subschema_for::<Pack>),
        ("application/senml+cbor", text),
    ]);
    takes_once(operation);
}

fn takes_lines(operation: &mut Operation) {
    operation.body_is(&[("text/plain", Text::json_schema)]);
    takes_once(operation);
}

fn takes_once(operation: &mut Operation) {
    operation.takes_header("Idempotency-Key", "1 to 128 characters: the request is done once.");
    operation.takes_header("traceparent", "The trace it belongs to (W3C Trace Context).");
    operation.may_fail(&[StatusCode::SERVICE_UNAVAILABLE, StatusCode::INSUFFICIENT_STORAGE]);
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text = value.to_str().map_err(|_| {
        Problem::malformed("a header has characters outside ASCII").at(format!("header: {name}"))
    })?;
    Ok(Some(text))
}

/// The key that makes a repeated request recognisable.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(key) = text(headers, "idempotency-key")? else { return Ok(None) };
    if key.is_empty() || key.len() > KEY_MAX {
        let detail = format!("the key has {} characters", key.len());
        return Err(Problem::malformed(detail)
            .at("header: Idempotency-Key")
            .expected(format!("1 to {KEY_MAX} characters")));
    }
    Ok(Some(key))
}

/// That key, joined with the token it came with.
fn idempotency(
    headers: &HeaderMap,
    poster: &Poster,
    format: Format,
    body: &[u8],
) -> Result<Option<Idempotency>, Problem> {
    let Some(key) = idempotency_key(headers)? else { return Ok(None) };
    let mut joined = poster.0.grant.id.clone().into_bytes();
    joined.push(0);
    joined.extend_from_slice(key.as_bytes());
    let mut hash = blake3::Hasher::new();
    hash.update(&[format as u8]);
    hash.update(body);
    Ok(Some(Idempotency { key: joined, body: *hash.finalize().as_bytes() }))
}

fn body_problem(error: BodyError) -> Problem {
    let problem = match error.fault {
        BodyFault::Malformed => Problem::malformed(error.detail),
        BodyFault::TooManyItems => Problem::too_large(error.detail),
    };
    problem.at(error.at)
}

async fn readings(
    poster: Poster,
    State(ingest): State<Ingest>,
    headers: HeaderMap,
    Content(body): Content,
) -> Result<Taken, Problem> {
    let accepted = [Format::Json, Format::Ndjson, Format::SenmlJson, Format::SenmlCbor];
    let format = negotiate(text(&headers, CONTENT_TYPE.as_str())?, &accepted)
        .map_err(|error| Problem::unsupported_media(error.detail, &error.accepted))?;
    let received = ingest.now();
    let key = idempotency(&headers, &poster, format, &body)?;
    let decoded = match format {
        Format::Ndjson => json_format::decode_lines(&body, received),
        Format::SenmlJson => senml::decode_json(&body, received),
        Format::SenmlCbor => senml::decode_cbor(&body, received),
        _ => json_format::decode(&body, received),
    };
    let decoded = decoded.map_err(body_problem)?;
    let report = ingest.take(&poster, &decoded, received, key, &headers).await?;
    Ok(Taken(report))
}

/// 200 as soon as something was stored or had been, 422 when nothing could be.
struct Taken(Report);

impl Answer for Taken {
    fn describe(operation: &mut Operation) {
        let shape: Shape = SchemaGenerator::subschema_for::<ReportShape>;
        let when = "What is accepted is on disk. With `Idempotency-Replayed: true` it is the \
                    answer of an earlier request.";
        let body = Some(("application/json", shape));
        operation.answers(Reply { status: StatusCode::OK, when, body });
    }
}

impl IntoResponse for Taken {
    fn into_response(self) -> Response {
        let Self(report) = self;
        let body = report.shape();
        let none = report.accepted == 0 && report.duplicates == 0 && !report.rejected.is_empty();
        let mut response = if none {
            let first = &report.rejected[0];
            let many = report.rejected.len();
            let detail = match many {
                1 => first.detail.to_string(),
                _ => format!("none of {many} items could be stored; the first: {}", first.detail),
            };
            Problem::invalid(first.code, detail)
                .at(first.at.clone())
                .with("rejected", json!(body.rejected))
                .into_response()
        } else {
            Json(body).into_response()
        };
        if report.replayed {
            let name = HeaderName::from_static("idempotency-replayed");
            response.headers_mut().insert(name, HeaderValue::from_static("true"));
        }
        response
    }
}

#[derive(Deserialize, JsonSchema)]
struct WriteParameters {
    /// `ns` (which it is otherwise), `us`, `ms` or `s`.
    precision: Option<String>,
    // Clients of InfluxDB send where to write; here there is one place.
    #[serde(flatten)]
    _other: BTreeMap<String, String>,
}

async fn write(
    poster: Poster,
    State(ingest): State<Ingest>,
    Query(parameters): Query<WriteParameters>,
    headers: HeaderMap,
    Content(body): Content,
) -> Result<NoContent, Problem> {
    let precision = match parameters.precision.as_deref() {
        None => line::Precision::default(),
        Some(name) => line::Precision::named(name).ok_or_else(|| {
            Problem::parameter("precision", format!("`{name}` is not a precision"))
                .expected("ns, us, ms or s")
        })?,
    };
    let received = ingest.now();
    let key = idempotency(&headers, &poster, Format::Line, &body)?;
    let decoded = line::decode(&body, precision).map_err(body_problem)?;
    let report = ingest.take(&poster, &decoded, received, key, &headers).await?;
    if report.rejected.is_empty() {
        return Ok(NoContent);
    }
    Err(influx::partial_write(&report))
}

/// Known devices.
#[derive(Serialize, JsonSchema)]
struct DeviceList {
    devices: Vec<DeviceShape>,
}

/// A device.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Device")]
struct DeviceShape {
    /// Its id.
    id: String,
    /// What people call it.
    label: Option<String>,
    /// When it was heard last.
    last_heard: Option<Time>,
    /// How many series it has.
    series: usize,
}

/// A device and what people call it.
#[derive(Serialize, JsonSchema)]
struct DeviceLabel {
    /// Its id.
    id: String,
    /// What people call it.
    label: Option<String>,
}

async fn devices(_: Reader, State(app): State<App>) -> Json<DeviceList> {
    let mut heard: BTreeMap<String, (Option<Time>, usize)> =
        app.ingest.devices().into_iter().map(|device| (device, (None, 0))).collect();
    for (info, last) in app.data.catalog.list(|_| true) {
        let entry = heard.entry(info.device.to_string()).or_default();
        entry.0 = entry.0.max(Some(Time(last.received)));
        entry.1 += 1;
    }
    let devices = heard.into_iter().map(|(id, (last_heard, series))| {
        let label = app.labels.get(&id);
        DeviceShape { id, label, last_heard, series }
    });
    Json(DeviceList { devices: devices.collect() })
}

async fn label(
    _: Admin,
    State(app): State<App>,
    Path(id): Path<String>,
    Body(new): Body<NewLabel>,
) -> Result<Json<DeviceLabel>, Problem> {
    if !app.ingest.knows(&id) && app.data.catalog.list(|info| *info.device == *id).is_empty() {
        let detail = format!("there is no device `{id}` here: it is known from its first post on");
        return Err(Problem::not_found(detail));
    }
    app.labels.set(&id, new.label.as_deref()).await?;
    let label = app.labels.get(&id);
    Ok(Json(DeviceLabel { id, label }))
}

async fn status(_: Reader, State(app): State<App>) -> Json<Status> {
    Json(app.status().await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_is_the_one_that_was_reviewed() {
        let renew = "cargo run -p holdfast-edge -- openapi > docs/openapi/edge.json";
        let document = format!("{:#}\n", routes().document(&ABOUT));
        let reviewed = include_str!("../../docs/openapi/edge.json");
        assert!(document == reviewed, "the routes have changed; if that is meant: {renew}");
    }

    #[test]
    fn a_program_that_carries_the_description_answers_what_one_that_makes_it_does() {
        let made = routes().document(&ABOUT).to_string();
        let carried = ABOUT.carried().to_string();
        assert!(made == carried, "see docs/openapi");
    }
}
