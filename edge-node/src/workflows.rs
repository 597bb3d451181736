//! What runs of workflows bring about outside of a gateway's store: messages, commands to devices,
//! requests; and readings, which go the way of all others.
//!
//! Each is done under the key of its effect. A command is ordered once under it and answered once;
//! a message may be published twice when the node stops in between, which is what QoS 1 promises; a
//! request carries it, and whoever is asked may know it again; a reading is stored once under it.

use crate::device_commands::{DeviceCommands, Order, OrderError, Reply, is_name};
use crate::mqtt::api::{PublishError, publish_here};
use crate::mqtt::packet::{Publish, PublishProperties, QoS, Topic};
use crate::mqtt::start::Mqtt;
use futures::FutureExt;
use futures::future::BoxFuture;
use holdfast_core::flow::Code;
use holdfast_core::flow::effect::{Argument, Kind};
use holdfast_core::reading::Text;
use holdfast_core::{Device, Quality, SeriesKey, Value};
use holdfast_node::requests::Requests;
use holdfast_node::runs::{Asked, Failure, Outside};
use holdfast_sync::store::{Draft, Idempotency, IngestBatch, Item, Store, WriteError};
use serde_json::{Value as Json, json};
use std::time::Duration;

/// Seconds that a command lasts where nothing is said.
const LASTS_S: u64 = 60;
/// Seconds that a command may last.
const LASTS_MAX_S: u64 = 7 * 86_400;

/// The outside of a gateway.
pub struct Outward {
    /// The broker, and commands to devices.
    pub mqtt: Mqtt,
    /// Where readings go.
    pub store: Store,
    /// What is asked over HTTP.
    pub requests: Requests,
}

impl Outside for Outward {
    fn kinds(&self) -> u32 {
        Kind::Publish.bit() | Kind::Command.bit() | Kind::Http.bit() | Kind::Emit.bit()
    }

    fn act(&self, asked: Asked) -> BoxFuture<'static, Result<Json, Failure>> {
        let (mqtt, store) = (self.mqtt.clone(), self.store.clone());
        let requests = self.requests.clone();
        async move {
            match asked.kind {
                Kind::Publish => send(&mqtt, &asked).await,
                Kind::Command => command(&mqtt.commands, &asked).await,
                Kind::Http => requests.step(&asked).await,
                Kind::Emit => emit(&store, &asked).await,
                other => {
                    let text = format!("a gateway does no `{}`", other.name());
                    Err(Failure::new(Code::INCAPABLE, text))
                }
            }
        }
        .boxed()
    }
}

fn invalid(text: impl Into<String>) -> Failure {
    Failure::new(Code::INVALID, text)
}

/// The message that a run asks for.
pub(crate) fn message_of(asked: &Asked) -> Result<Publish, Failure> {
    let name = asked.need(Argument::Topic)?;
    let topic = Topic::try_from(name).map_err(|fault| invalid(format!("`{name}`: {fault}")))?;
    if name.starts_with('$') {
        return Err(invalid("only the node itself publishes below `$`"));
    }
    let qos = match asked.get(Argument::Qos).unwrap_or("1") {
        "0" => QoS::AtMostOnce,
        "1" => QoS::AtLeastOnce,
        "2" => QoS::ExactlyOnce,
        other => return Err(invalid(format!("`{other}` is no QoS: 0, 1 or 2"))),
    };
    let retain = match asked.get(Argument::Retain).unwrap_or("false") {
        "true" => true,
        "false" => false,
        other => return Err(invalid(format!("`{other}` is neither true nor false"))),
    };
    let payload = asked.need(Argument::Payload)?.to_owned().into();
    let properties = PublishProperties::default();
    Ok(Publish { dup: false, qos, retain, topic, packet_id: None, payload, properties })
}

/// Publishes a message. It is on disk when this returns, if anything of it is kept.
async fn send(mqtt: &Mqtt, asked: &Asked) -> Result<Json, Failure> {
    let message = message_of(asked)?;
    publish_here(mqtt, &message).await.map(|()| Json::Null).map_err(|error| match error {
        PublishError::Full(text) => Failure::new(Code::BUSY, text),
        PublishError::Refused(text) => Failure::new(Code::REFUSED, text),
        PublishError::Fault(fault) => Failure::new(Code::FAILED, fault.to_string()),
    })
}

/// For how long a command lasts that a run asks for, seconds.
pub(crate) fn lasts_s(asked: &Asked) -> Result<u64, Failure> {
    let lasts_s = match asked.get(Argument::Lasts) {
        None => match asked.timeout_ms {
            0 => LASTS_S,
            timeout_ms => timeout_ms.div_ceil(1_000),
        },
        Some(text) => text.parse().map_err(|_| invalid(format!("`{text}` is no seconds")))?,
    };
    Ok(lasts_s.clamp(1, LASTS_MAX_S))
}

/// The command that a run asks for.
pub(crate) fn order_of(asked: &Asked) -> Result<Order, Failure> {
    let (name, device) = (asked.need(Argument::Name)?, asked.need(Argument::Device)?);
    if !is_name(name) {
        return Err(invalid(format!("`{name}` is no name of a command")));
    }
    if Device::new(device).is_err() {
        return Err(invalid(format!("`{device}` is no device's id")));
    }
    Ok(Order {
        device: device.to_owned(),
        name: name.to_owned(),
        args: asked.json(Argument::Args),
        lasts_s: lasts_s(asked)?,
        by: format!("workflow {}", asked.workflow),
        key: asked.key(),
    })
}

/// Orders a command of a device and waits for its answer, as long as the command lasts.
async fn command(commands: &DeviceCommands, asked: &Asked) -> Result<Json, Failure> {
    let order = order_of(asked)?;
    let device = order.device.clone();
    let ordered = commands.order(order).await.map_err(|error| {
        let text = error.to_string();
        match error {
            OrderError::TooMany => Failure::new(Code::BUSY, text),
            OrderError::Refused(_) => Failure::new(Code::REFUSED, text),
            OrderError::KeyReused | OrderError::Fault(_) => Failure::new(Code::FAILED, text),
        }
    })?;
    let book = commands.book();
    let mut changes = book.watch();
    loop {
        changes.borrow_and_update();
        let record = book.get(&device, ordered.id).await;
        let record = record.map_err(|fault| Failure::new(Code::FAILED, fault.to_string()))?;
        let Some(record) = record else {
            return Err(Failure::new(Code::FAILED, "the command was forgotten"));
        };
        match record.reply {
            Some((_, Reply::Done(result))) => return Ok(answer(result)),
            Some((_, Reply::Failed(text))) => {
                return Err(Failure::new(Code::FAILED, format!("{device}: {text}")));
            }
            None => {}
        }
        let Some(left_s) = record.left_s(&book.now()) else {
            return Err(Failure::new(Code::TIMEOUT, format!("{device} did not answer in time")));
        };
        tokio::select! {
            _ = changes.changed() => {}
            () = tokio::time::sleep(Duration::from_secs(left_s)) => {}
        }
    }
}

/// Stores a reading, once under the key of the effect.
pub(crate) async fn emit(store: &Store, asked: &Asked) -> Result<Json, Failure> {
    // Of no device, it is the workflow that says so.
    let device = asked.get(Argument::Device).unwrap_or(&asked.workflow);
    let (metric, unit) = (asked.need(Argument::Metric)?, asked.get(Argument::Unit).unwrap_or(""));
    let key = SeriesKey::new(device, metric, unit);
    let key = key.map_err(|reject| invalid(format!("`{device}` `{metric}` `{unit}`: {reject}")))?;
    let json = asked.json(Argument::Value).unwrap_or(Json::Null);
    let value = match &json {
        Json::Bool(on) => Ok(Value::Bool(*on)),
        Json::Number(number) => match number.as_i64() {
            Some(int) => Ok(Value::Int(int)),
            None => Value::float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Text::new(text).map(Value::Text),
        _ => return Err(invalid(format!("`{json}` is no value of a reading"))),
    };
    let value = value.map_err(|reject| invalid(format!("`{json}`: {reject}")))?;
    let fault = |text: String| Failure::new(Code::FAILED, text);
    let series = store.interner().intern(&key).map_err(|error| fault(error.to_string()))?;
    let draft = Draft { series, time: None, value: value.into(), quality: Quality::GOOD };
    let batch = IngestBatch {
        items: vec![Item { drafts: 0..1, source: None }],
        drafts: vec![draft],
        idempotency: Some(Idempotency {
            key: [b"run\0", asked.key().as_bytes()].concat(),
            body: *blake3::hash(json.to_string().as_bytes()).as_bytes(),
        }),
        trace: None,
    };
    match store.ingest(batch).await {
        Ok(_) => Ok(Json::Null),
        // A decision gave it another value; the first one is stored.
        Err(WriteError::KeyReused) => Ok(Json::Null),
        Err(WriteError::Fault(error)) if error.is_full() => {
            Err(Failure::new(Code::BUSY, error.to_string()))
        }
        Err(error) => Err(fault(error.to_string())),
    }
}

/// What a device answered, in which fields are looked for.
fn answer(result: Json) -> Json {
    match result {
        Json::Object(_) => result,
        other => json!({ "value": other }),
    }
}
