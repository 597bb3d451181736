//! `/v1/notices`: what somebody is told by workflows, and that they know.

use super::data::{Data, fault_problem};
use super::runs::time;
use super::twins::limit;
use crate::auth::{Admin, Auth, Reader};
use crate::http::{Path, Query};
use crate::notify::{self, Channel, Notice, NoticeId, Notices};
use crate::problem::Problem;
use crate::routes::Routes;
use crate::runs::Runs;
use crate::time_text::Time;
use axum::Json;
use axum::extract::{FromRef, State};
use axum::http::StatusCode;
use holdfast_sync::store::Snapshot;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The routes.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Routes<S>
where
    Auth: FromRef<S>,
    Data: FromRef<S>,
    Notices: FromRef<S>,
    Runs: FromRef<S>,
{
    let acknowledged = "/v1/notices/{notice}/acknowledge";
    Routes::new()
        .get("/v1/notices", "What somebody is told, the newest first", list)
        .post(acknowledged, "Somebody knows: it is not repeated any more", acknowledge)
        .with(|operation| {
            operation.may_fail(&[StatusCode::NOT_FOUND, StatusCode::INSUFFICIENT_STORAGE]);
        })
}

/// How far a notice is on one way.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "NoticeChannel")]
struct ChannelShape {
    /// `mail ADDRESS` or `webhook`.
    name: String,
    /// How often it was sent.
    sent: u32,
    /// When it was sent last.
    last_sent: Option<Time>,
    /// When it is sent next, while it is open.
    due: Option<Time>,
    /// How often in a row it has failed.
    failures: u32,
    /// Why it failed the last time, if it did.
    last_error: Option<String>,
}

impl ChannelShape {
    fn of(channel: Channel, is_open: bool) -> Self {
        Self {
            name: channel.name,
            sent: channel.sent,
            last_sent: (channel.sent > 0).then(|| time(channel.sent_ms)),
            due: is_open.then(|| time(channel.due_ms)),
            failures: channel.failures,
            last_error: (!channel.error.is_empty()).then_some(channel.error),
        }
    }
}

/// What somebody is told.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Notice")]
struct NoticeShape {
    /// What it is called.
    id: String,
    /// `open`, `acknowledged`, or `given-up` where nobody was heard for a week.
    state: &'static str,
    /// The workflow that says so.
    workflow: String,
    /// Who is told.
    target: String,
    /// The device that it is about.
    device: Option<String>,
    /// What was said last.
    text: String,
    /// How often it was said.
    count: u64,
    /// When it was said first.
    since: Time,
    /// When it was said last.
    said: Time,
    /// The runs that said so, the newest last.
    runs: Vec<String>,
    /// When it was acknowledged or given up.
    over: Option<Time>,
    /// Who acknowledged it.
    acknowledged_by: Option<String>,
    /// On which ways it is sent.
    channels: Vec<ChannelShape>,
}

impl NoticeShape {
    fn of(id: NoticeId, notice: Notice) -> Self {
        let is_open = notice.state == notify::State::Open;
        let channels = notice.channels.into_iter();
        Self {
            id: id.to_string(),
            state: notice.state.name(),
            workflow: notice.workflow,
            target: notice.target,
            device: (!notice.device.is_empty()).then_some(notice.device),
            text: notice.text,
            count: notice.count,
            since: time(notice.since_ms),
            said: time(notice.said_ms),
            runs: notice.runs.iter().map(ToString::to_string).collect(),
            over: (!is_open).then(|| time(notice.over_ms)),
            acknowledged_by: (!notice.by.is_empty()).then_some(notice.by),
            channels: channels.map(|channel| ChannelShape::of(channel, is_open)).collect(),
        }
    }
}

/// What somebody is told by a node.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Notices")]
struct NoticeList {
    /// The newest first.
    notices: Vec<NoticeShape>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NoticeQuery {
    /// Only those that are open, or `all`, which it is otherwise.
    state: Option<String>,
    /// At most so many: 1 to 1,000; 100 otherwise.
    limit: Option<usize>,
}

async fn list(
    _: Reader,
    State(data): State<Data>,
    Query(query): Query<NoticeQuery>,
) -> Result<Json<NoticeList>, Problem> {
    let most = limit(query.limit, 100, 1_000)?;
    let is_open = match query.state.as_deref() {
        None | Some("all") => false,
        Some("open") => true,
        Some(other) => {
            let text = format!("`{other}` is no state of notices");
            return Err(Problem::parameter("state", text).expected("open or all"));
        }
    };
    let look = move |view: &Snapshot<'_>| notify::list(view, is_open, most);
    let found = data.store.read(look).await.map_err(fault_problem)?;
    let notices = found.into_iter().map(|(id, notice)| NoticeShape::of(id, notice)).collect();
    Ok(Json(NoticeList { notices }))
}

async fn acknowledge(
    Admin(who): Admin,
    State(data): State<Data>,
    State(runs): State<Runs>,
    State(notices): State<Notices>,
    Path(text): Path<String>,
) -> Result<Json<NoticeShape>, Problem> {
    let id = NoticeId::parse(&text).ok_or_else(|| {
        Problem::parameter("notice", format!("`{text}` is no notice's id"))
            .expected("24 hexadecimal digits, from `workflow notices`")
    })?;
    let done =
        notices.acknowledge(&data.store, &runs, id, &who.grant.name).await.map_err(|error| {
            tracing::error!(%error, "an acknowledgement could not be stored");
            Problem::no_room("the acknowledgement could not be stored: try again later")
        })?;
    let done = done.ok_or_else(|| Problem::not_found(format!("there is no notice `{id}` here")))?;
    Ok(Json(NoticeShape::of(id, done)))
}
