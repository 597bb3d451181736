//! `/v1/devices/{device}/commands`: orders, what came of them, and answers of devices over HTTP.

use super::record::{BY_MAX, CommandId, LASTS_MAX_S, Record, Reply, is_name};
use super::{Answered, DeviceCommands, JSON_MAX, NAME_MAX, Order, OrderError, ReplyBody};
use crate::mqtt::message::Moment;
use crate::routes::idempotency_key;
use crate::service::App;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use holdfast_node::api::fault_problem;
use holdfast_node::auth::{Admin, TwinReader, TwinWriter};
use holdfast_node::http::{Json as Body, Path, Query};
use holdfast_node::problem::Problem;
use holdfast_node::routes::{NoContent, Operation, Routes};
use holdfast_node::time_text::Time;
use holdfast_sync::store::WriteError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

/// Seconds that a command lasts where nothing is said.
const LASTS_S: u64 = 60;
/// Seconds that a request may wait for an answer.
const WAIT_MAX_S: u64 = 60;

/// The routes.
#[must_use]
pub fn routes() -> Routes<App> {
    let all = "/v1/devices/{device}/commands";
    let one = "/v1/devices/{device}/commands/{command}";
    Routes::new()
        .get(all, "The commands of a device, the newest first", list)
        .post(all, "Orders a command: something that a device is to do once", order)
        .with(takes_key)
        .get(one, "A command, and what came of it", get)
        .post("/v1/devices/{device}/commands/{command}/reply", "A device answers a command", reply)
        .with(|operation| {
            let full = StatusCode::INSUFFICIENT_STORAGE;
            operation.may_fail(&[StatusCode::SERVICE_UNAVAILABLE, full]);
        })
}

fn takes_key(operation: &mut Operation) {
    let about =
        "1 to 128 characters: the command is ordered once, however often the request comes.";
    operation.takes_header("Idempotency-Key", about);
    operation.may_fail(&[StatusCode::CONFLICT, StatusCode::INSUFFICIENT_STORAGE]);
}

/// An order.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCommand {
    /// What is to be done: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub name: String,
    /// With what: any JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Value>,
    /// Seconds until it is not to be begun any more: 1 to 604,800; 60 otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lasts_s: Option<u64>,
}

/// How far a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CommandState {
    /// The device has not answered yet.
    Waiting,
    /// The device has done it.
    Done,
    /// The device says that it could not.
    Failed,
    /// The device did not answer in time.
    Expired,
}

/// A command.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Command")]
pub struct CommandShape {
    /// Its id.
    pub id: String,
    /// The device.
    pub device: String,
    /// What is to be done.
    pub name: String,
    /// With what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<Value>,
    /// How far it is.
    pub state: CommandState,
    /// Who ordered it.
    pub by: String,
    /// When it was ordered.
    pub ordered: Time,
    /// When it is not to be begun any more.
    pub expires: Time,
    /// When the device answered.
    pub answered: Option<Time>,
    /// What came of it, if it was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// Why it was not, in the device's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whether this order had come before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replayed: bool,
}

impl CommandShape {
    fn of(device: &str, id: CommandId, record: Record, now: &Moment) -> Self {
        let state = match &record.reply {
            Some((_, Reply::Done(_))) => CommandState::Done,
            Some((_, Reply::Failed(_))) => CommandState::Failed,
            None if record.is_waiting(now) => CommandState::Waiting,
            None => CommandState::Expired,
        };
        let answered = record.reply.as_ref().map(|(at, _)| Time(at.time()));
        let (ordered, expires) = (record.ordered.time(), record.expires());
        let (result, error) = match record.reply {
            Some((_, Reply::Done(result))) => (Some(result), None),
            Some((_, Reply::Failed(text))) => (None, Some(text)),
            None => (None, None),
        };
        Self {
            id: id.to_string(),
            device: device.to_owned(),
            name: record.name,
            args: record.args,
            state,
            by: record.by,
            ordered: Time(ordered),
            expires: Time(expires),
            answered,
            result,
            error,
            replayed: false,
        }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WaitQuery {
    /// Seconds to wait for the device's answer: 0 to 60; 0 otherwise.
    #[serde(default)]
    wait_s: u64,
}

impl WaitQuery {
    fn duration(&self) -> Result<Duration, Problem> {
        if self.wait_s > WAIT_MAX_S {
            let detail = format!("{} s is too long", self.wait_s);
            return Err(Problem::parameter("wait_s", detail).expected("0 to 60"));
        }
        Ok(Duration::from_secs(self.wait_s))
    }
}

impl NewCommand {
    fn order(self, device: String, by: &str, key: String) -> Result<Order, Problem> {
        let Self { name, args, lasts_s } = self;
        if !is_name(&name) {
            let detail = format!("`{name}` is no name of a command");
            return Err(Problem::invalid("invalid-command", detail)
                .at("/name")
                .expected(format!("1 to {NAME_MAX} of A-Z a-z 0-9 . _ -")));
        }
        if args.as_ref().is_some_and(|args| args.to_string().len() > JSON_MAX) {
            let detail = format!("the arguments have more than {JSON_MAX} bytes");
            return Err(Problem::too_large(detail).at("/args"));
        }
        let lasts_s = lasts_s.unwrap_or(LASTS_S);
        if !(1..=LASTS_MAX_S).contains(&lasts_s) {
            let detail = format!("{lasts_s} s is out of range");
            return Err(Problem::invalid("invalid-command", detail)
                .at("/lasts_s")
                .expected(format!("1 to {LASTS_MAX_S}")));
        }
        let by = by[..by.floor_char_boundary(BY_MAX)].to_owned();
        Ok(Order { device, name, args, lasts_s, by, key })
    }
}

async fn order(
    Admin(who): Admin,
    State(app): State<App>,
    Path(device): Path<String>,
    Query(wait): Query<WaitQuery>,
    headers: HeaderMap,
    Body(new): Body<NewCommand>,
) -> Result<Json<CommandShape>, Problem> {
    let wait = wait.duration()?;
    let key = idempotency_key(&headers)?.unwrap_or_default().to_owned();
    let order = new.order(device.clone(), &who.grant.name, key)?;
    if !app.twins.knows(&device).await.map_err(fault_problem)? {
        let how = app.twins.how_known();
        return Err(Problem::not_found(format!("there is no device `{device}` here: {how}")));
    }
    let commands = &app.mqtt.commands;
    let ordered = commands.order(order).await.map_err(|error| {
        let text = error.to_string();
        match error {
            OrderError::KeyReused => {
                Problem::invalid("idempotency-key-reused", text).at("header: Idempotency-Key")
            }
            OrderError::TooMany => Problem::new(StatusCode::CONFLICT, "too-many-commands", text)
                .expected("some of them answered or expired"),
            OrderError::Refused(_) => Problem::no_room(text),
            OrderError::Fault(fault) => fault_problem(fault),
        }
    })?;
    let mut shape = when_over(commands, &device, ordered.id, wait).await?;
    shape.replayed = ordered.replayed;
    Ok(Json(shape))
}

/// A command, as soon as it waits no more or after `wait`.
async fn when_over(
    commands: &DeviceCommands,
    device: &str,
    id: CommandId,
    wait: Duration,
) -> Result<CommandShape, Problem> {
    let book = commands.book();
    let mut changes = book.watch();
    let mut limit = std::pin::pin!(tokio::time::sleep(wait));
    loop {
        changes.borrow_and_update();
        let record = book.get(device, id).await.map_err(fault_problem)?;
        let record = record.ok_or_else(|| unknown(device, &id.to_string()))?;
        let now = book.now();
        let left = record.left_s(&now).filter(|_| record.is_waiting(&now));
        let Some(left) = left.filter(|_| !limit.is_elapsed() && !wait.is_zero()) else {
            return Ok(CommandShape::of(device, id, record, &now));
        };
        tokio::select! {
            _ = changes.changed() => {}
            () = limit.as_mut() => {}
            () = tokio::time::sleep(Duration::from_secs(left)) => {}
        }
    }
}

fn unknown(device: &str, id: &str) -> Problem {
    let detail = format!("`{device}` has no command `{id}`: see /v1/devices/{device}/commands");
    Problem::not_found(detail)
}

fn id_of(device: &str, text: &str) -> Result<CommandId, Problem> {
    CommandId::parse(text).ok_or_else(|| unknown(device, text))
}

async fn get(
    TwinReader(who): TwinReader,
    State(app): State<App>,
    Path((device, command)): Path<(String, String)>,
    Query(wait): Query<WaitQuery>,
) -> Result<Json<CommandShape>, Problem> {
    who.check_device(&device)?;
    let id = id_of(&device, &command)?;
    when_over(&app.mqtt.commands, &device, id, wait.duration()?).await.map(Json)
}

/// Commands of a device.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Commands")]
pub struct CommandList {
    /// The newest first.
    pub commands: Vec<CommandShape>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// Only those in this state.
    state: Option<CommandState>,
}

async fn list(
    TwinReader(who): TwinReader,
    State(app): State<App>,
    Path(device): Path<String>,
    Query(query): Query<ListQuery>,
) -> Result<Json<CommandList>, Problem> {
    who.check_device(&device)?;
    let book = app.mqtt.commands.book();
    let all = book.of(&device).await.map_err(fault_problem)?;
    let now = book.now();
    let shapes = all.into_iter().rev().map(|(id, r)| CommandShape::of(&device, id, r, &now));
    let is_meant = |shape: &CommandShape| query.state.is_none_or(|state| shape.state == state);
    Ok(Json(CommandList { commands: shapes.filter(is_meant).collect() }))
}

async fn reply(
    TwinWriter(who): TwinWriter,
    State(app): State<App>,
    Path((device, command)): Path<(String, String)>,
    Body(body): Body<ReplyBody>,
) -> Result<NoContent, Problem> {
    if who.grant.scope.device() != Some(device.as_str()) {
        let detail = "what came of a command is said by the device: only its own token answers";
        return Err(Problem::forbidden("out-of-scope", detail).expected("the device's own token"));
    }
    let id = id_of(&device, &command)?;
    let invalid = |text: String| Problem::invalid("invalid-reply", text);
    let (named, reply) = body.read(Some(&command)).map_err(|error| invalid(error.to_string()))?;
    if named != id {
        return Err(invalid(format!("the path names `{id}`, the body `{named}`")).at("/id"));
    }
    match app.mqtt.commands.book().answer(&device, id, reply).await {
        Ok(Answered::Now | Answered::Before) => Ok(NoContent),
        Ok(Answered::Unknown) => Err(unknown(&device, &command)),
        Err(WriteError::Fault(fault)) if fault.is_full() => {
            Err(Problem::no_room(format!("the answer was not stored: {fault}")))
        }
        Err(error) => {
            tracing::error!(%error, "an answer could not be stored");
            Err(Problem::unavailable("store-unavailable", "nothing was stored; try again", 5))
        }
    }
}
