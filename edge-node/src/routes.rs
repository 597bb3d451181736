//! The gateway's own routes: where devices post, and how the node is.

use crate::formats::media::{Format, negotiate};
use crate::formats::{BodyError, BodyFault, json as json_format, line, senml};
use crate::influx;
use crate::ingest::{Ingest, Report};
use crate::service::App;
use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use holdfast_node::api;
use holdfast_node::auth::{Admin, Poster, Reader};
use holdfast_node::http::{Content, Json, Path, Query};
use holdfast_node::labels::NewLabel;
use holdfast_node::problem::Problem;
use holdfast_node::time_text::Time;
use holdfast_sync::store::Idempotency;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const KEY_MAX: usize = 128;

/// All routes of the gateway but the pages.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/v1/readings", post(readings).get(api::readings))
        .route("/v1/write", post(write))
        .route("/write", post(write).layer(map_response(influx::version_1)))
        .route("/api/v2/write", post(write).layer(map_response(influx::version_2)))
        .route("/v1/devices", get(devices))
        .route("/v1/devices/{id}", patch(label))
        .route("/v1/status", get(status))
        .merge(api::data_routes())
        .merge(api::alert_routes())
        .merge(api::token_routes())
        .merge(holdfast_node::auth::routes())
        .merge(holdfast_node::events::routes())
        .merge(holdfast_node::health::routes())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text = value.to_str().map_err(|_| {
        Problem::malformed("a header has characters outside ASCII").at(format!("header: {name}"))
    })?;
    Ok(Some(text))
}

/// The key that makes a repeated request recognisable, joined with the token it came with.
fn idempotency(
    headers: &HeaderMap,
    poster: &Poster,
    format: Format,
    body: &[u8],
) -> Result<Option<Idempotency>, Problem> {
    let Some(key) = text(headers, "idempotency-key")? else { return Ok(None) };
    if key.is_empty() || key.len() > KEY_MAX {
        let detail = format!("the key has {} characters", key.len());
        return Err(Problem::malformed(detail)
            .at("header: Idempotency-Key")
            .expected(format!("1 to {KEY_MAX} characters")));
    }
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
) -> Result<Response, Problem> {
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
    let report = ingest.take(&poster, &decoded, received, key).await?;
    Ok(answer(&report))
}

/// 200 as soon as something was stored or had been, 422 when nothing could be.
fn answer(report: &Report) -> Response {
    let body = report.json();
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
            .with("rejected", body["rejected"].clone())
            .into_response()
    } else {
        (StatusCode::OK, axum::Json(body)).into_response()
    };
    if report.replayed {
        let name = HeaderName::from_static("idempotency-replayed");
        response.headers_mut().insert(name, HeaderValue::from_static("true"));
    }
    response
}

#[derive(Deserialize)]
struct WriteParameters {
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
) -> Result<Response, Problem> {
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
    let report = ingest.take(&poster, &decoded, received, key).await?;
    if report.rejected.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Err(influx::partial_write(&report))
}

async fn devices(_: Reader, State(app): State<App>) -> axum::Json<Value> {
    let mut heard: BTreeMap<String, (Option<Time>, usize)> =
        app.ingest.devices().into_iter().map(|device| (device, (None, 0))).collect();
    for (info, last) in app.data.catalog.list(|_| true) {
        let entry = heard.entry(info.device.to_string()).or_default();
        entry.0 = entry.0.max(Some(Time(last.received)));
        entry.1 += 1;
    }
    let devices = heard.into_iter().map(|(id, (last_heard, series))| {
        let label = app.labels.get(&id);
        json!({ "id": id, "label": label, "last_heard": last_heard, "series": series })
    });
    axum::Json(json!({ "devices": devices.collect::<Vec<_>>() }))
}

async fn label(
    _: Admin,
    State(app): State<App>,
    Path(id): Path<String>,
    Json(new): Json<NewLabel>,
) -> Result<axum::Json<Value>, Problem> {
    if !app.ingest.knows(&id) && app.data.catalog.list(|info| *info.device == *id).is_empty() {
        let detail = format!("there is no device `{id}` here: it is known from its first post on");
        return Err(Problem::not_found(detail));
    }
    app.labels.set(&id, new.label.as_deref()).await?;
    Ok(axum::Json(json!({ "id": id, "label": app.labels.get(&id) })))
}

async fn status(_: Reader, State(app): State<App>) -> axum::Json<Value> {
    axum::Json(app.status())
}
