//! `/v1/devices/{device}/twin`, its sections, difference and history, `/v1/twins` and its events.

mod shapes;

pub(super) use shapes::time;

use super::data::fault_problem;
use crate::auth::{Auth, Reader, TwinReader, TwinWriter, Who};
use crate::events::kept_alive;
use crate::http::{MergePatch, Path, Query};
use crate::problem::Problem;
use crate::routes::{Operation, Reply, Routes, Tagged};
use crate::twins::{Condition, Followed, Patch, Section, Twins, Version};
use axum::Json;
use axum::extract::{FromRef, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAliveStream, Sse};
use data_encoding::HEXLOWER;
use futures::stream::{self, Stream};
use holdfast_core::state::Role;
use holdfast_sync::docs::{DocumentName, Hash};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use shapes::{DifferenceList, PastList, TwinLine, TwinList, TwinShape};
use std::convert::Infallible;

/// Devices that are listed unless more are asked for, and at most: each is three documents read.
const LIST: usize = 100;
const LIST_MAX: usize = 1_000;
/// Changes that a history tells unless more are asked for, and at most.
const PAST: usize = 20;
const PAST_MAX: usize = 100;

/// The routes.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Routes<S>
where
    Auth: FromRef<S>,
    Twins: FromRef<S>,
{
    let section = "/v1/devices/{device}/twin/{section}";
    Routes::new()
        .get("/v1/devices/{device}/twin", "The twin of a device", twin)
        .with(may_be_known)
        .get("/v1/devices/{device}/twin/diff", "What is desired and not reported", difference)
        .with(may_be_known)
        .get("/v1/devices/{device}/twin/history", "The changes of a section", history)
        .get(section, "A section of a twin: desired, reported or tags", part)
        .with(may_be_known)
        .patch(section, "Changes a section by a merge patch (RFC 7396)", patch)
        .with(takes_patch)
        .get("/v1/twins", "Devices that have a twin", list)
        .get("/v1/twins/events", "Changes of twins, as server-sent events", events)
        .with(|operation| {
            operation.takes_header("Last-Event-ID", "The place behind which to go on.");
        })
}

fn may_be_known(operation: &mut Operation) {
    operation.takes_header("If-None-Match", "Versions that are known: 304 when it is one of them.");
    let (status, when) = (StatusCode::NOT_MODIFIED, "It is the version that is known.");
    operation.answers(Reply { status, when, body: None });
    operation.may_fail(&[StatusCode::BAD_REQUEST]);
}

fn takes_patch(operation: &mut Operation) {
    operation.takes_header("If-Match", "The version that the patch was made for.");
    operation.takes_header("If-None-Match", "`*`: only if nothing was ever written there.");
    operation.may_fail(&[
        StatusCode::CONFLICT,
        StatusCode::PRECONDITION_FAILED,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::INSUFFICIENT_STORAGE,
    ]);
}

/// Checks that the token may see a device and that there is one.
async fn check(twins: &Twins, who: &Who, device: &str) -> Result<(), Problem> {
    who.check_device(device)?;
    if twins.knows(device).await.map_err(fault_problem)? {
        return Ok(());
    }
    let how = twins.how_known();
    Err(Problem::not_found(format!("there is no device `{device}` here: {how}")))
}

fn section_of(device: &str, name: &str) -> Result<(Section, DocumentName), Problem> {
    let section = Section::from_name(name).ok_or_else(|| {
        Problem::not_found(format!("a twin has no section `{name}`"))
            .expected("desired, reported or tags")
    })?;
    let document = section.document(device);
    let document =
        document.ok_or_else(|| Problem::not_found(format!("`{device}` is no device")))?;
    Ok((section, document))
}

/// Tags are about a device and not for it.
fn check_section(who: &Who, section: Section) -> Result<(), Problem> {
    match (section, who.grant.scope.device()) {
        (Section::Tags, Some(_)) => {
            let detail = "tags are what people call a device; the device does not see them";
            Err(Problem::forbidden("out-of-scope", detail).expected("a viewer or admin token"))
        }
        _ => Ok(()),
    }
}

/// Whether a token may write a section.
fn check_write(twins: &Twins, who: &Who, section: Section) -> Result<(), Problem> {
    let is_device = who.grant.scope.device().is_some();
    match (section, is_device, twins.role()) {
        (Section::Reported, _, Role::Hub) => {
            let detail = "a hub shows what devices report to their gateways and writes none of it";
            Err(Problem::forbidden("read-only-here", detail).expected("desired or tags"))
        }
        (Section::Reported, true, _) => Ok(()),
        (Section::Reported, false, _) => {
            let detail = "`reported` is what a device says of itself: only its own token writes it";
            Err(Problem::forbidden("out-of-scope", detail).expected("the device's own token"))
        }
        (Section::Desired | Section::Tags, true, _) => {
            let name = section.name();
            let detail = format!("a device writes `reported` of its twin, not `{name}`");
            Err(Problem::forbidden("out-of-scope", detail).expected("an admin token"))
        }
        (Section::Desired | Section::Tags, false, _) => Ok(()),
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TwinWanted {
    /// Whether to tell who wrote each path, and when.
    #[serde(default)]
    metadata: bool,
}

async fn twin(
    TwinReader(who): TwinReader,
    State(twins): State<Twins>,
    Path(device): Path<String>,
    Query(wanted): Query<TwinWanted>,
    headers: HeaderMap,
) -> Result<Tagged<TwinShape>, Problem> {
    let condition = Condition::read(&headers)?;
    check(&twins, &who, &device).await?;
    let twin = twins.read(&device).await.map_err(fault_problem)?;
    let mut versions = vec![twin.desired.version, twin.reported.version];
    let is_device = who.grant.scope.device().is_some();
    if !is_device {
        versions.push(twin.tags.version);
    }
    let version = Version::joined(&versions);
    // What nodes are called is no part of the version.
    let etag = if wanted.metadata { format!("W/{}", version.etag()) } else { version.etag() };
    if condition.is_known(version) {
        return Ok(Tagged { etag, body: None });
    }
    let mut writers = None;
    if wanted.metadata {
        writers = Some(twins.writers(&device).await.map_err(fault_problem)?);
    }
    let body = TwinShape::of(&twins, &device, &twin, writers.as_ref(), !is_device);
    Ok(Tagged { etag, body: Some(body) })
}

async fn part(
    TwinReader(who): TwinReader,
    State(twins): State<Twins>,
    Path((device, section)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Tagged<Map<String, Value>>, Problem> {
    let condition = Condition::read(&headers)?;
    let (section, document) = section_of(&device, &section)?;
    check(&twins, &who, &device).await?;
    check_section(&who, section)?;
    let part = twins.part(document).await.map_err(fault_problem)?;
    let body = (!condition.is_known(part.version)).then(|| part.shown.object());
    Ok(Tagged { etag: part.version.etag(), body })
}

async fn patch(
    TwinWriter(who): TwinWriter,
    State(twins): State<Twins>,
    Path((device, section)): Path<(String, String)>,
    headers: HeaderMap,
    MergePatch(json): MergePatch,
) -> Result<Tagged<Map<String, Value>>, Problem> {
    let condition = Condition::read(&headers)?;
    let (section, document) = section_of(&device, &section)?;
    who.check_device(&device)?;
    check_write(&twins, &who, section)?;
    check(&twins, &who, &device).await?;
    let patch = Patch::read(&json).map_err(|wrong| {
        Problem::invalid(wrong.code, wrong.detail).at(wrong.at).expected(wrong.expected)
    })?;
    let done = twins.patch(document, patch, condition).await.map_err(|error| error.problem())?;
    Ok(Tagged { etag: done.part.version.etag(), body: Some(done.part.shown.object()) })
}

async fn difference(
    TwinReader(who): TwinReader,
    State(twins): State<Twins>,
    Path(device): Path<String>,
    headers: HeaderMap,
) -> Result<Tagged<DifferenceList>, Problem> {
    let condition = Condition::read(&headers)?;
    check(&twins, &who, &device).await?;
    let twin = twins.read(&device).await.map_err(fault_problem)?;
    let version = Version::joined(&[twin.desired.version, twin.reported.version]);
    let body = (!condition.is_known(version)).then(|| DifferenceList::of(device, &twin));
    Ok(Tagged { etag: version.etag(), body })
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PastWanted {
    /// `desired` (which it is otherwise), `reported` or `tags`.
    section: Option<String>,
    /// How many: 1 to 100; 20 otherwise.
    limit: Option<usize>,
    /// Only what came before this change.
    before: Option<String>,
}

async fn history(
    TwinReader(who): TwinReader,
    State(twins): State<Twins>,
    Path(device): Path<String>,
    Query(wanted): Query<PastWanted>,
) -> Result<Json<PastList>, Problem> {
    let name = wanted.section.as_deref().unwrap_or(Section::Desired.name());
    let section = Section::from_name(name).ok_or_else(|| {
        Problem::parameter("section", format!("`{name}` is no section"))
            .expected("desired, reported or tags")
    })?;
    let limit = limit(wanted.limit, PAST, PAST_MAX)?;
    check(&twins, &who, &device).await?;
    check_section(&who, section)?;
    let (_, document) = section_of(&device, name)?;
    let unknown = || Problem::parameter("before", "there is no such change of this section");
    let before = wanted.before.map(|text| hash(&text).ok_or_else(unknown)).transpose()?;
    let page = twins.history(document, before, limit).await.map_err(fault_problem)?;
    let page = page.ok_or_else(unknown)?;
    Ok(Json(PastList::of(&twins, device, section, &page)))
}

fn hash(text: &str) -> Option<Hash> {
    HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}

pub(super) fn limit(wanted: Option<usize>, usual: usize, most: usize) -> Result<usize, Problem> {
    match wanted.unwrap_or(usual) {
        limit if (1..=most).contains(&limit) => Ok(limit),
        _ => {
            Err(Problem::parameter("limit", "it is out of range").expected(format!("1 to {most}")))
        }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListWanted {
    /// Only devices whose ids begin so.
    #[serde(default)]
    prefix: String,
    /// How many: 1 to 1,000; 100 otherwise.
    limit: Option<usize>,
    /// Only what comes behind this device.
    after: Option<String>,
}

async fn list(
    _: Reader,
    State(twins): State<Twins>,
    Query(wanted): Query<ListWanted>,
) -> Result<Json<TwinList>, Problem> {
    let limit = limit(wanted.limit, LIST, LIST_MAX)?;
    let found = twins.list(&wanted.prefix, wanted.after.as_deref(), limit + 1).await;
    let mut found = found.map_err(fault_problem)?;
    let more = found.len() > limit;
    found.truncate(limit);
    Ok(Json(TwinList { twins: found.into_iter().map(TwinLine::from).collect(), more }))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Only devices whose ids begin so; a device is told of its own twin whatever it asks for.
    #[serde(default)]
    prefix: String,
}

async fn events(
    TwinReader(who): TwinReader,
    State(twins): State<Twins>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Sse<KeepAliveStream<impl Stream<Item = Result<Event, Infallible>>>>, Problem> {
    let followed = match who.grant.scope.device() {
        Some(own) => Followed::Own(own.to_owned()),
        None => Followed::Prefix(wanted.prefix),
    };
    let after = match headers.get("last-event-id").map(|id| id.to_str().ok()) {
        None => None,
        Some(id) => Some(id.and_then(|id| id.trim().parse().ok()).ok_or_else(|| {
            let problem = Problem::malformed("this is no place in the sequence of changes");
            problem.at("header: Last-Event-ID").expected("the id of an event of this node")
        })?),
    };
    let feed = twins.follow(followed, after).await.map_err(fault_problem)?;
    // An id without data: who is cut off before the first event goes on from here, too.
    let first = Event::default().id(feed.place().to_string());
    let rest = stream::unfold(feed, |mut feed| async move {
        match feed.next().await {
            Ok(change) => change.map(|change| {
                let data = serde_json::json!(change).to_string();
                let event = Event::default().event("twin").id(change.place.to_string());
                (Ok(event.data(data)), feed)
            }),
            Err(fault) => {
                tracing::error!(%fault, "changes of twins cannot be followed");
                None
            }
        }
    });
    let all = futures::StreamExt::chain(stream::iter([Ok(first)]), rest);
    Ok(kept_alive(all))
}
