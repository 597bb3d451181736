//! How the gateway is, in the shape of `GET /v1/status`.

use crate::lacks::Lacks;
use holdfast_node::api::{AlertCounts, ProgressShape, UsageShape};
use holdfast_node::time_text::Time;
use holdfast_node::tls::HttpShape;
use schemars::JsonSchema;
use serde::Serialize;

/// How the node is.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Status {
    /// Who it is.
    pub node: NodeShape,
    /// Its link to the hub.
    pub uplink: UplinkShape,
    /// How it serves HTTP.
    pub http: HttpShape,
    /// How full its store is.
    pub store: UsageShape,
    /// How far its pipeline is.
    pub pipeline: ProgressShape,
    /// Devices it knows.
    pub devices: usize,
    /// How often what people call devices has changed since the start.
    pub labels: u64,
    /// Series it knows.
    pub series: usize,
    /// Its alerts.
    pub alerts: AlertCounts,
    /// What was found on opening the store.
    pub findings: Vec<String>,
}

/// Who a gateway is.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Node")]
pub struct NodeShape {
    /// Its id.
    pub id: String,
    /// The id of its fleet, once it has joined one: devices of ours are given it, so that they know
    /// whom it trusts.
    pub fleet: Option<String>,
    /// Its site, once it has joined a fleet.
    pub site: Option<String>,
    /// Its name there.
    pub name: Option<String>,
    /// Whether it has joined a fleet.
    pub joined: bool,
    /// This start of the node.
    pub incarnation: String,
    /// The program's version.
    pub version: &'static str,
    /// When it started.
    pub started: Time,
    /// `edge`.
    pub role: &'static str,
}

/// A gateway's link to the hub.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Uplink")]
pub struct UplinkShape {
    /// `online`, `offline` or `not-joined`.
    pub state: &'static str,
    /// What carries the sync: `libp2p` or `quic`.
    pub transport: &'static str,
    /// Since when it is so.
    pub since: Time,
    /// The hub's id, once it was reached.
    pub hub: Option<String>,
    /// Attempts since the last success.
    pub attempts: u32,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When it is tried again, while it waits for that.
    pub next_attempt: Option<Time>,
    /// Entries that the hub does not have yet, while there is a session.
    pub behind: Option<u64>,
    /// The readings that the hub has not acknowledged, with or without a session.
    pub lacks: Option<LacksShape>,
    /// When something came from the hub last.
    pub heard: Option<Time>,
    /// Entries of this node that the hub had and this data directory had not, which shows a
    /// restore.
    pub ahead: Option<u64>,
    /// The hub's clock less ours, in milliseconds.
    pub clock_ahead_ms: Option<i64>,
}

/// The readings that the hub has not acknowledged.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Lacks")]
pub struct LacksShape {
    /// How many.
    pub readings: u64,
    /// When the oldest of them was received: the hub has all readings from before that.
    pub since: Option<Time>,
}

impl From<Lacks> for LacksShape {
    fn from(lacks: Lacks) -> Self {
        Self { readings: lacks.readings, since: lacks.since.map(Time) }
    }
}
