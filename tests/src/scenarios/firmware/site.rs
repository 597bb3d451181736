//! A hub and a gateway that has joined its fleet, which come back where they were.

use crate::process::{Edge, Hub, Settings};
use std::path::Path;

/// The nodes.
pub(super) struct Nodes {
    pub(super) edge: Edge,
    pub(super) hub: Hub,
    /// Where nodes that start again are to be found: each looks where the other was.
    pub(super) stays: Settings,
    pub(super) hub_stays: Settings,
}

impl Nodes {
    /// A hub below `dir`, and a gateway whose place is `home`.
    pub(super) fn new(dir: &Path, home: &Path) -> Self {
        let mut hub = Hub::init(&dir.join("hub"), Settings::default()).expect("the hub is made");
        hub.start().expect("it starts");
        let enrolment = hub.enrolment("north", "ps-000", hub.sync()).expect("an enrolment");
        let edge = Edge::init("ps-000", home, Settings::default());
        let mut edge = edge.expect("the gateway is made");
        edge.join(&enrolment).expect("it joins");
        edge.start().expect("it starts");
        let stays = Settings::default().env("HOLDFAST_MQTT_LISTEN", edge.mqtt().to_string());
        let hub_stays = Settings::default().env("HOLDFAST_SYNC_LISTEN", hub.sync().to_string());
        Self { edge, hub, stays, hub_stays }
    }
}
