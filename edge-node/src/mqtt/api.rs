//! The broker over HTTP, for people and pages: who is connected, what is retained, a publish box.
//! [`live`] has the messages as they come, [`status`] the totals.

mod live;
mod status;

pub use status::BrokerStatus;

use super::broker::{Answer, State as Broker};
use super::connection::Outcome;
use super::door::Whose;
use super::message::Message;
use super::packet::{Filter, Publish, PublishProperties, QoS, Topic};
use super::reason::Reason;
use super::start::Mqtt;
use crate::service::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use bytes::Bytes;
use data_encoding::BASE64;
use holdfast_node::auth::{Admin, Reader};
use holdfast_node::http::{Json as Body, Path, Query};
use holdfast_node::problem::Problem;
use holdfast_node::routes::{NoContent, Routes};
use holdfast_node::time_text::Time;
use holdfast_sync::Fault;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Clients, or retained messages, in one answer.
const LISTED_MAX: usize = 1_000;

/// The routes.
pub fn routes() -> Routes<App> {
    Routes::new()
        .get(
            "/v1/mqtt/status",
            "The broker in totals: sessions, messages, bytes, drops",
            status::status,
        )
        .get("/v1/mqtt/clients", "Sessions of MQTT: who is connected, what waits", clients)
        .delete("/v1/mqtt/clients/{client}", "Ends the connection of a client", kick)
        .get("/v1/mqtt/retained", "Retained messages", retained)
        .delete("/v1/mqtt/retained", "Takes a retained message away", forget)
        .with(|operation| operation.may_fail(&[StatusCode::INSUFFICIENT_STORAGE]))
        .get(
            "/v1/mqtt/messages/events",
            "Retained messages, then those that come, as server-sent events",
            live::watch,
        )
        .post("/v1/mqtt/messages", "Publishes a message", publish)
        .with(|operation| operation.may_fail(&[StatusCode::INSUFFICIENT_STORAGE]))
}

/// The sessions.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "MqttClients")]
pub struct ClientList {
    /// How many sessions there are.
    pub sessions: usize,
    /// How many of them are connected.
    pub connected: usize,
    /// Bytes that wait for all of them.
    pub queued_bytes: u64,
    /// The sessions, by their clients: connected ones first, at most 1,000.
    pub clients: Vec<ClientShape>,
}

/// A session.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "MqttClient")]
pub struct ClientShape {
    /// Its client identifier.
    pub client: String,
    /// Whose it is: a device, a token, or `anonymous`.
    pub owner: String,
    /// Whether its client is connected.
    pub connected: bool,
    /// From where.
    pub peer: Option<String>,
    /// The version it speaks: `3.1.1` or `5`.
    pub version: Option<String>,
    /// When its last packet came, or since when it is away.
    pub last_packet: Option<Time>,
    /// Whether the session outlives the connection.
    pub kept: bool,
    /// Seconds that it does; nothing when it never ends.
    pub expiry_s: Option<u32>,
    /// What it has subscribed to.
    pub subscriptions: Vec<String>,
    /// Messages that wait on disk.
    pub queued: u64,
    /// Their bytes.
    pub queued_bytes: u64,
    /// Bytes of messages that wait in memory for its connection: 512 KiB at most.
    pub memory_bytes: u64,
    /// Messages that were dropped since the start, because it did not take them.
    pub dropped: u64,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ClientQuery {
    /// Only clients whose identifier, owner or address contains this.
    text: Option<String>,
}

fn list(broker: &Broker, text: &str) -> ClientList {
    let held = broker.held();
    ClientList {
        sessions: held.sessions,
        connected: held.connected,
        queued_bytes: broker.queued_bytes(),
        clients: broker.sessions(text, LISTED_MAX),
    }
}

async fn clients(
    _: Reader,
    State(app): State<App>,
    Query(query): Query<ClientQuery>,
) -> Result<Json<ClientList>, Problem> {
    let text = query.text.unwrap_or_default();
    let list = app.mqtt.reach.look(move |broker, _| list(broker, &text)).await;
    list.map(Json).map_err(|fault| stopping(&fault))
}

fn stopping(fault: &Fault) -> Problem {
    Problem::unavailable("stopping", fault.to_string(), 5)
}

async fn kick(
    _: Admin,
    State(app): State<App>,
    Path(client): Path<String>,
) -> Result<NoContent, Problem> {
    let of = client.clone();
    let kicked = app.mqtt.reach.look(move |broker, _| {
        let mailbox = broker.mailbox_of_client(&of)?;
        let text = "somebody ended the connection by hand".into();
        mailbox.answer(Answer::End(Reason::AdministrativeAction, text));
        Some(())
    });
    match kicked.await {
        Ok(Some(())) => Ok(NoContent),
        Ok(None) => {
            let detail = format!("no client `{client}` is connected: see /v1/mqtt/clients");
            Err(Problem::not_found(detail))
        }
        Err(fault) => Err(stopping(&fault)),
    }
}

/// Retained messages.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "MqttRetained")]
pub struct RetainedList {
    /// How many topics have one.
    pub topics: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Those that match, by their topics, at most 1,000.
    pub messages: Vec<RetainedShape>,
}

/// A retained message.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "MqttMessage")]
pub struct RetainedShape {
    /// Its topic.
    pub topic: String,
    /// The payload, if it is text.
    pub text: Option<String>,
    /// The payload in Base64, if it is not.
    pub base64: Option<String>,
    /// With which QoS it was published.
    pub qos: u8,
    /// When it came.
    pub at: Time,
}

impl RetainedShape {
    fn of(message: &Message) -> Self {
        let payload = message.payload();
        let text = std::str::from_utf8(payload).ok().map(ToOwned::to_owned);
        Self {
            topic: message.topic().to_string(),
            base64: text.is_none().then(|| BASE64.encode(payload)),
            text,
            qos: message.qos() as u8,
            at: Time(message.at.time()),
        }
    }
}

/// The filter that was asked for, or the one that matches all.
fn filter(text: Option<&str>) -> Result<Filter, Problem> {
    let text = text.unwrap_or("#");
    Filter::try_from(text).map_err(|fault| {
        Problem::parameter("filter", format!("`{text}` is no topic filter: {fault}"))
    })
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RetainedQuery {
    /// A topic filter; otherwise `#`.
    filter: Option<String>,
}

async fn retained(
    _: Reader,
    State(app): State<App>,
    Query(query): Query<RetainedQuery>,
) -> Result<Json<RetainedList>, Problem> {
    let filter = filter(query.filter.as_deref())?;
    let found = app.mqtt.reach.look(move |broker, _| {
        let (topics, bytes, mut found) = broker.retained_by(&filter);
        found.sort_by(|a, b| a.topic().cmp(b.topic()));
        found.truncate(LISTED_MAX);
        (topics, bytes, found)
    });
    let (topics, bytes, found) = found.await.map_err(|fault| stopping(&fault))?;
    let messages = found.iter().map(|message| RetainedShape::of(message)).collect();
    Ok(Json(RetainedList { topics, bytes, messages }))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ForgetQuery {
    /// The topic.
    topic: String,
}

async fn forget(
    _: Admin,
    State(app): State<App>,
    Query(query): Query<ForgetQuery>,
) -> Result<NoContent, Problem> {
    let topic = topic(&query.topic).map_err(|detail| Problem::parameter("topic", detail))?;
    let of = topic.clone();
    let has = app.mqtt.reach.look(move |broker, _| broker.retained(&of).is_some()).await;
    if !has.map_err(|fault| stopping(&fault))? {
        let detail = format!("nothing is retained of `{topic}`: see /v1/mqtt/retained");
        return Err(Problem::not_found(detail));
    }
    send(&app, &message(topic, Bytes::new(), QoS::AtLeastOnce, true)).await
}

/// A message to publish.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewMqttMessage")]
pub struct NewMessage {
    /// Its topic.
    pub topic: String,
    /// Its payload.
    pub text: String,
    /// With which QoS: 0, 1 (which it is otherwise) or 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qos: Option<u8>,
    /// Whether it is retained.
    #[serde(default)]
    pub retain: bool,
}

async fn publish(
    _: Admin,
    State(app): State<App>,
    Body(new): Body<NewMessage>,
) -> Result<NoContent, Problem> {
    let topic = topic(&new.topic).map_err(|detail| {
        Problem::invalid("invalid-topic", detail).at("/topic").expected("a topic without wildcards")
    })?;
    let qos = new.qos.map_or(Some(QoS::AtLeastOnce), QoS::from_bits).ok_or_else(|| {
        let detail = format!("{} is no QoS", new.qos.unwrap_or_default());
        Problem::invalid("invalid-qos", detail).at("/qos").expected("0, 1 or 2")
    })?;
    send(&app, &message(topic, new.text.into(), qos, new.retain)).await
}

fn topic(text: &str) -> Result<Topic, String> {
    let topic = Topic::try_from(text).map_err(|fault| format!("`{text}` is no topic: {fault}"))?;
    if text.starts_with('$') {
        return Err("only the node itself publishes below `$`".to_owned());
    }
    Ok(topic)
}

fn message(topic: Topic, payload: Bytes, qos: QoS, retain: bool) -> Publish {
    let properties = PublishProperties::default();
    Publish { dup: false, qos, retain, topic, packet_id: None, payload, properties }
}

/// Why a message was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// There is no room for what it brings.
    #[error("{0}")]
    Full(String),
    /// It is not taken.
    #[error("{0}")]
    Refused(String),
    /// The store failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl PublishError {
    fn of(reason: Reason, text: Option<String>) -> Self {
        let text = text.unwrap_or_else(|| reason.name().to_owned());
        if reason == Reason::QuotaExceeded { Self::Full(text) } else { Self::Refused(text) }
    }
}

/// Publishes as a client would; it is on disk when this returns, if anything of it is kept.
///
/// # Errors
/// [`PublishError`]
pub async fn publish_here(mqtt: &Mqtt, publish: &Publish) -> Result<(), PublishError> {
    let brings = mqtt.door.bring(publish, Whose::Client(None)).await;
    let of = |wrong: Outcome| PublishError::of(wrong.reason, wrong.text.map(Into::into));
    let outcome = mqtt.reach.publish(publish, brings.map_err(of)?.readings).await?;
    if outcome.reason.is_failure() { Err(of(outcome)) } else { Ok(()) }
}

async fn send(app: &App, publish: &Publish) -> Result<NoContent, Problem> {
    publish_here(&app.mqtt, publish).await.map_err(|error| match error {
        PublishError::Full(text) => Problem::no_room(text),
        PublishError::Refused(text) => Problem::invalid("not-published", text),
        PublishError::Fault(fault) => stopping(&fault),
    })?;
    Ok(NoContent)
}
