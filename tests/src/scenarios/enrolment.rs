//! A fleet is set up: all its gateways enrol at once, and each becomes the member it was invited to
//! be.
//!
//! The gateways start behind one link that is cut, with an invitation each and a reading that was
//! posted meanwhile. Then the link heals, and all of them dial. The hub takes a bounded number of
//! enrolments at a time; whoever is turned away has to come again by itself.

use std::collections::BTreeSet;

use serde_json::json;

use super::Scale;
use super::audit::{edge_client, hub_client, look};
use super::load::{SOON, block_on};
use crate::faults::Tally;
use crate::net::{Link, Proxy};
use crate::process::{Edge, Hub};
use crate::wait::until_async;

const FULL: u64 = 200;
const FLOOR: u64 = 40;
const CUT: &str = "packets of gateways that wait, dropped by a cut";

/// Has many gateways enrol at the same time.
///
/// # Panics
/// When one of them does not get in, or not as what it was invited to be.
pub fn two_hundred_nodes_enrol_at_once(scale: Scale) {
    let tally = Tally::of(&[CUT]);
    let count = scale.of(FULL, FLOOR);
    block_on(campaign(scale, count, &tally));
    println!("enrolment: {count} gateways at once");
    tally.finish().expect("the gateways waited behind a cut");
}

async fn campaign(scale: Scale, count: u64, tally: &Tally) {
    let dir = tempfile::tempdir().expect("a directory for the fleet");
    let mut hub = Hub::init(&dir.path().join("hub"), scale.node()).expect("a hub is made");
    hub.start().expect("the hub starts");
    let link = Proxy::start(hub.sync(), scale.seed).expect("the link can be made");
    link.cut();
    let mut edges = Vec::new();
    for number in 0..count {
        let edge = waiting(scale, &hub, &link, dir.path(), number).await;
        edges.push(edge);
    }
    link.set_link(Link::Perfect);
    let listed = until_async("all gateways online, each with its reading", SOON, || async {
        let listed = look(&mut hub_client(&hub), "/v1/nodes").await;
        let nodes = listed["nodes"].as_array()?.clone();
        let done = |node: &&serde_json::Value| node["state"] == "online" && node["readings"] == 1;
        (nodes.iter().filter(done).count() as u64 == count).then_some(nodes)
    })
    .await;
    tally.add(CUT, link.counts().up.cut);
    let status = look(&mut hub_client(&hub), "/v1/status").await;
    assert_eq!(status["transport"], scale.transport.name(), "it is carried as asked");
    let ids: BTreeSet<_> = listed.iter().filter_map(|node| node["id"].as_str()).collect();
    assert_eq!(ids.len() as u64, count, "each gateway is one member");
    for edge in &edges {
        let status = look(&mut edge_client(edge), "/v1/status").await;
        assert_eq!(status["uplink"]["transport"], scale.transport.name(), "it is carried as asked");
        let known = listed.iter().find(|node| node["id"] == status["node"]["id"]);
        let known = known.expect("the hub knows every gateway");
        assert_eq!(known["name"], edge.name(), "a gateway has the name it was invited by");
    }
}

/// A gateway that runs, has a reading, and waits for a hub.
async fn waiting(
    scale: Scale,
    hub: &Hub,
    link: &Proxy,
    dir: &std::path::Path,
    number: u64,
) -> Edge {
    let name = format!("ps-{number:03}");
    let addresses = [link.address().to_string()];
    let invite = json!({ "site": "north", "name": name, "addresses": addresses });
    let made = hub_client(hub).post_json("/v1/enrolments", &invite).await;
    let made = made.expect("the hub answers").json();
    let invitation = made["invitation"].as_str().expect("the hub invites");
    let settings =
        scale.node().env("HOLDFAST_SYNC_BACKOFF_MAX", "2s").env("HOLDFAST_ROLLUPS_WIDTHS", "1h");
    let mut edge = Edge::init(&name, &dir.join(&name), settings).expect("a gateway is made");
    edge.join(invitation).expect("it takes the invitation");
    edge.start().expect("it starts without a link");
    let reading = json!({"device": "d1", "metric": "level", "value": 1, "boot": 1, "seq": 1});
    let answer = edge_client(&edge).post_json("/v1/readings", &reading).await;
    assert!(answer.is_ok_and(|a| a.status.is_success()), "posts are taken without a hub");
    edge
}
