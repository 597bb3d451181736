//! How answers of the hub look: the hub itself, its gateways, invitations.

use holdfast_node::api::{AlertCounts, AsOf, ProgressShape, UsageShape};
use holdfast_node::time_text::Time;
use holdfast_node::tls::HttpShape;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// How the hub is.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Status {
    /// Who it is.
    pub node: HubShape,
    /// How it serves HTTP.
    pub http: HttpShape,
    /// What carries the sync: `libp2p` or `quic`. Gateways of both are served.
    pub transport: &'static str,
    /// How full its store is.
    pub store: UsageShape,
    /// How far its pipeline is.
    pub pipeline: ProgressShape,
    /// Its gateways.
    pub nodes: NodeCounts,
    /// The alerts of the fleet.
    pub alerts: AlertCounts,
    /// Series it knows.
    pub series: usize,
    /// What was found on opening the store.
    pub findings: Vec<String>,
}

/// Who a hub is.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Hub")]
pub struct HubShape {
    /// Its id.
    pub id: String,
    /// The program's version.
    pub version: &'static str,
    /// When it started.
    pub started: Time,
    /// This start of the hub.
    pub incarnation: String,
    /// `hub`.
    pub role: &'static str,
    /// The fleet's id.
    pub fleet: String,
}

/// How many gateways are how.
#[derive(Clone, Copy, Debug, Default, Serialize, JsonSchema)]
pub struct NodeCounts {
    /// Those with a session.
    pub online: u64,
    /// Those that had one.
    pub stale: u64,
    /// Those that never came.
    pub never: u64,
}

/// All gateways.
#[derive(Debug, Serialize, JsonSchema)]
pub struct NodeList {
    /// As of when.
    pub as_of: AsOf,
    /// The gateways.
    pub nodes: Vec<NodeShape>,
}

/// A gateway.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Node")]
pub struct NodeShape {
    /// Its id.
    pub id: String,
    /// Its site.
    pub site: String,
    /// Its name there.
    pub name: String,
    /// What people call it.
    pub label: Option<String>,
    /// `online`, `stale` or `never`.
    pub state: &'static str,
    /// Since when it is so.
    pub since: Option<Time>,
    /// When something came from it last.
    pub heard: Option<Time>,
    /// How many of its entries are not here, as it last said.
    pub behind: Option<u64>,
    /// When a reading of it was received last, by its own clock.
    pub last_received: Option<Time>,
    /// Its readings.
    pub readings: u64,
    /// Its series.
    pub series: u64,
    /// Its clock less the hub's, in milliseconds.
    pub clock_ahead_ms: Option<i64>,
    /// Its program's version.
    pub version: Option<String>,
    /// When it joined the fleet.
    pub joined: Time,
    /// Until when its membership is valid.
    pub not_after: Time,
    /// Why its last session ended.
    pub end_reason: Option<String>,
}

/// A gateway in detail.
#[derive(Debug, Serialize, JsonSchema)]
pub struct NodeDetail {
    /// What the list says, too.
    #[serde(flatten)]
    pub node: NodeShape,
    /// What is missing of its history for good.
    pub gaps: Vec<GapShape>,
    /// The entries held, by stream.
    pub entries: BTreeMap<&'static str, u64>,
}

/// A range of a gateway's history that is not to be had.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Gap")]
pub struct GapShape {
    /// The start of the gateway.
    pub incarnation: String,
    /// `event`, `rollup`, `reading` or `log`.
    pub stream: &'static str,
    /// The first entry.
    pub from: u64,
    /// The last entry.
    pub to: u64,
    /// How many entries.
    pub entries: u64,
    /// Why.
    pub reason: &'static str,
}

/// An invitation.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Invited {
    /// The string for `holdfast-edge join`, which is shown only now.
    pub invitation: String,
    /// The site.
    pub site: String,
    /// The name.
    pub name: String,
    /// Where the gateway is to find this hub.
    pub addresses: Vec<String>,
}

/// How far behind the gateways are.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LagList {
    /// As of when.
    pub as_of: AsOf,
    /// The gateways.
    pub nodes: Vec<LagShape>,
}

/// How far behind a gateway is.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Lag")]
pub struct LagShape {
    /// Its site.
    pub site: String,
    /// Its name there.
    pub name: String,
    /// `online`, `stale` or `never`.
    pub state: &'static str,
    /// How many of its entries are not here, as it last said.
    pub behind: Option<u64>,
    /// When something came from it last.
    pub heard: Option<Time>,
    /// When a reading of it was received last, by its own clock.
    pub last_received: Option<Time>,
}

impl From<NodeShape> for LagShape {
    fn from(node: NodeShape) -> Self {
        let NodeShape { site, name, state, behind, heard, last_received, .. } = node;
        Self { site, name, state, behind, heard, last_received }
    }
}

/// A gateway and what people call it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct NodeLabel {
    /// Its site.
    pub site: String,
    /// Its name there.
    pub name: String,
    /// What people call it.
    pub label: Option<String>,
}
