//! The broker in totals: who asks twice knows the rates in between.

use super::stopping;
use crate::mqtt::broker::State as Broker;
use crate::mqtt::counts::MqttCounts;
use crate::service::App;
use axum::Json;
use axum::extract::State;
use holdfast_node::auth::Reader;
use holdfast_node::problem::Problem;
use holdfast_node::time_text::Time;
use holdfast_sync::counts::Counter;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The broker in totals. All counts begin at zero with the start of the node.
#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "MqttStatus")]
pub struct BrokerStatus {
    /// The node's clock.
    pub time: Time,
    /// Milliseconds since the start, whatever was done to the clock: rates are of these.
    pub up_ms: u64,
    /// Connections that are open.
    pub connections: u64,
    /// Sessions, connected or not.
    pub sessions: usize,
    /// Sessions that are connected.
    pub connected: usize,
    /// Sessions that outlive their connection.
    pub kept: usize,
    /// Pages that watch messages.
    pub watchers: u64,
    /// Bytes that wait for all clients on disk.
    pub queued_bytes: u64,
    /// Bytes that may wait for one client on disk: beyond, the oldest go.
    pub queue_max_bytes: u64,
    /// Bytes that may wait for all clients on disk: beyond, nothing is added.
    pub queues_max_bytes: u64,
    /// Topics with a retained message.
    pub retained: usize,
    /// Bytes of retained messages.
    pub retained_bytes: usize,
    /// From clients.
    pub received: Traffic,
    /// To clients.
    pub sent: Traffic,
    /// Messages for clients that were not sent.
    pub dropped: Dropped,
    /// Messages that were not taken.
    pub refused: NotTaken,
    /// Times that a client was not listened to for a while, because it published too fast.
    pub slowed: u64,
}

/// What has crossed the network in one direction.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "MqttTraffic")]
pub struct Traffic {
    /// Messages of QoS 0, 1 and 2.
    pub messages: [u64; 3],
    /// Bytes, of messages and of all else.
    pub bytes: u64,
}

/// Messages that were not sent, by reason.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "MqttDropped")]
pub struct Dropped {
    /// The client does not take them, or its queue is full.
    pub full: u64,
    /// They expired before.
    pub expired: u64,
    /// They are larger than the client takes.
    pub too_large: u64,
    /// They were damaged on disk.
    pub lost: u64,
    /// A page that watches did not take them; no client lost anything.
    pub unseen: u64,
}

/// What was not taken, by reason.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "MqttRefused")]
pub struct NotTaken {
    /// Clients that were not let in.
    pub clients: u64,
    /// Messages that were refused, each with a line in the log.
    pub messages: u64,
    /// Messages of QoS 0 with readings that came too fast to be stored.
    pub shed: u64,
    /// Messages that a mapping takes and cannot read.
    pub unread: u64,
}

fn shape(broker: &Broker) -> BrokerStatus {
    let counts = broker.counts();
    let MqttCounts { dropped, unseen, expired, too_large, lost, .. } = counts;
    let (now, limits, held) = (broker.now(), broker.limits(), broker.held());
    BrokerStatus {
        time: Time(now.time()),
        up_ms: now.steady_ms,
        connections: counts.open(),
        sessions: held.sessions,
        connected: held.connected,
        kept: held.kept,
        watchers: counts.watchers(),
        queued_bytes: broker.queued_bytes(),
        queue_max_bytes: limits.queue_bytes,
        queues_max_bytes: limits.queues_bytes,
        retained: held.retained,
        retained_bytes: held.retained_bytes,
        received: Traffic {
            messages: counts.received.each_ref().map(Counter::get),
            bytes: counts.bytes_in.get(),
        },
        sent: Traffic {
            messages: counts.sent.each_ref().map(Counter::get),
            bytes: counts.bytes_out.get(),
        },
        dropped: Dropped {
            full: dropped.get(),
            expired: expired.get(),
            too_large: too_large.get(),
            lost: lost.get(),
            unseen: unseen.get(),
        },
        refused: NotTaken {
            clients: counts.refused.get(),
            messages: counts.rejected.get(),
            shed: counts.shed.get(),
            unread: counts.unread.get(),
        },
        slowed: counts.slowed.get(),
    }
}

pub(super) async fn status(
    _: Reader,
    State(app): State<App>,
) -> Result<Json<BrokerStatus>, Problem> {
    let shape = app.mqtt.reach.look(|broker, _| shape(broker)).await;
    shape.map(Json).map_err(|fault| stopping(&fault))
}
