//! Nodes that do not belong: refused by both sides, with a line in the log that says why, and with
//! no harm to what they do at their site.
//!
//! A gateway finds in turn, behind its link, its hub after that has lost its books, which takes it
//! back by its membership; the same with its name given to another node; a hub of another fleet;
//! and its own, which removes it. Another gateway's membership expires while it is
//! online and while it is away: it is renewed, and everything goes on.

use std::fs;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::Scale;
use super::audit::{edge_client, hub_client, look};
use super::load::{SOON, block_on, online};
use crate::faults::Tally;
use crate::process::{Edge, Fleet, FleetPlan, Hub, Settings};
use crate::wait::until_async;

const NAME: &str = "north/ps-000";
const BACK: &str = "member taken back by a hub that has lost its books";
const UNKNOWN: &str = "unknown node refused";
const FOREIGN: &str = "node of another fleet refused";
const REMOVED: &str = "live connection of a removed node closed";
const RETURNED: &str = "removed node refused on its return";
const ONLINE: &str = "membership expired under a session that went on";
const AWAY: &str = "expired membership renewed on return";

/// Has hubs refuse gateways that do not belong, and renew one whose time was over.
///
/// # Panics
/// When one is let in, or is not told why it is not.
pub fn refusals(scale: Scale) {
    let tally = Tally::of(&[BACK, UNKNOWN, FOREIGN, REMOVED, RETURNED, ONLINE, AWAY]);
    block_on(async {
        for round in 0..scale.of(5, 1) {
            let seed = scale.seed.wrapping_add(round);
            strangers(seed, &tally).await;
            expiry(seed, &tally).await;
        }
    });
    tally.finish().expect("every kind of refusal happened");
}

async fn strangers(seed: u64, tally: &Tally) {
    let mut fleet = FleetPlan::new(1, seed).build().expect("the fleet starts");
    online(&fleet.edges[0]).await;
    post(&fleet.edges[0], 1).await;
    arrived(&fleet, 1).await;

    let mut forgetful = hub_of_fleet(&fleet, "forgetful");
    fleet.hub.stop().expect("the hub stops in good order");
    forgetful.start().expect("the other hub starts");
    fleet.links[0].set_target(forgetful.sync());
    until_async("a member to be taken back", SOON, || async {
        let listed = look(&mut hub_client(&forgetful), "/v1/nodes").await;
        (listed["nodes"][0]["state"] == "online" && listed["nodes"][0]["readings"] == 1)
            .then_some(())
    })
    .await;
    let why = "let in by its membership alone";
    forgetful.process().logged(why, SOON).expect("the hub logs whom it has taken back");
    forgetful.stop().expect("the other hub stops in good order");
    tally.strike(BACK);

    let mut given_away = hub_of_fleet(&fleet, "given-away");
    namesake(&fleet, &mut given_away).await;
    let why = "unknown-node: this hub has lost its record of the node";
    refused_at(&mut fleet, &mut given_away, why).await;
    tally.strike(UNKNOWN);
    let mut foreign = other_hub(&fleet, "foreign");
    refused_at(&mut fleet, &mut foreign, "foreign-fleet").await;
    tally.strike(FOREIGN);

    // Back at the own hub all is well: nobody took harm.
    fleet.restart_hub().expect("the hub starts again");
    online(&fleet.edges[0]).await;
    arrived(&fleet, 3).await;
    removal(&mut fleet, tally).await;
}

fn other_hub(fleet: &Fleet, name: &str) -> Hub {
    Hub::init(&fleet.dir().join(name), Settings::default()).expect("another hub is made")
}

/// Another hub with the key of the fleet and with empty books.
fn hub_of_fleet(fleet: &Fleet, name: &str) -> Hub {
    let hub = other_hub(fleet, name);
    let key = fleet.hub.data().join("fleet.key");
    fs::copy(key, hub.data().join("fleet.key")).expect("the key can be copied");
    hub
}

/// Has another gateway join a hub under the name of the fleet's.
async fn namesake(fleet: &Fleet, hub: &mut Hub) {
    hub.start().expect("the other hub starts");
    let invitation = hub.enrolment("north", "ps-000", hub.sync()).expect("the hub invites");
    let home = fleet.dir().join("namesake");
    let mut other = Edge::init("ps-000", &home, Settings::default()).expect("a gateway is made");
    other.join(&invitation).expect("it takes the invitation");
    other.start().expect("it starts");
    online(&other).await;
    other.stop().expect("it stops in good order");
    hub.stop().expect("the other hub stops in good order");
}

/// Puts another hub behind the gateway's link; both must say why they do not talk.
async fn refused_at(fleet: &mut Fleet, other: &mut Hub, why: &str) {
    fleet.hub.stop().expect("the hub stops in good order");
    other.start().expect("the other hub starts");
    fleet.links[0].set_target(other.sync());
    let edge = &mut fleet.edges[0];
    edge.process().logged(why, SOON).expect("the gateway logs why");
    let (_, reason) = why.split_once(": ").unwrap_or(("", why));
    other.process().logged(reason, SOON).expect("the other hub logs why");
    let number = look(&mut edge_client(edge), "/v1/series").await["series"][0]["count"].as_u64();
    post(edge, number.expect("it counts readings") + 1).await;
    let listed = look(&mut hub_client(other), "/v1/series").await;
    assert_eq!(listed["total"], 0, "nothing was taken from a node that was refused");
    let status = look(&mut edge_client(edge), "/v1/status").await;
    assert_eq!(status["uplink"]["state"], "offline", "{status}");
}

async fn removal(fleet: &mut Fleet, tally: &Tally) {
    fleet.hub.command("node", ["remove", NAME]).expect("the hub removes the gateway");
    let (edge, hub) = (&mut fleet.edges[0], &mut fleet.hub);
    let told = "the hub ended the session: removed: this node was removed from the fleet";
    edge.process().logged(told, SOON).expect("the gateway is told that it was removed");
    hub.process().logged("removed from the fleet", SOON).expect("the hub logs the removal");
    tally.strike(REMOVED);
    post(edge, 4).await;
    let refused = "north/ps-000 was removed from the fleet at";
    hub.process().logged(refused, SOON).expect("the hub logs why it refuses");
    edge.process().logged(refused, SOON).expect("the gateway logs why it is refused");
    tally.strike(RETURNED);
    let listed = look(&mut hub_client(hub), "/v1/series").await;
    assert_eq!(listed["series"][0]["count"], 3, "nothing is taken from a removed node");
}

async fn expiry(seed: u64, tally: &Tally) {
    let plan = FleetPlan::new(1, seed);
    let hub = Settings::default().env("HOLDFAST_FLEET_MEMBERSHIP_LIFE", "3s");
    let mut fleet = FleetPlan { hub, ..plan }.build().expect("the fleet starts");
    online(&fleet.edges[0]).await;
    let first = expired(&fleet).await;
    post(&fleet.edges[0], 1).await;
    arrived(&fleet, 1).await;
    tally.strike(ONLINE);

    for number in 2..4 {
        let edge = &mut fleet.edges[0];
        edge.stop().expect("the gateway stops in good order");
        expired(&fleet).await;
        let edge = &mut fleet.edges[0];
        edge.start().expect("the gateway starts again");
        edge.process().logged("the membership was renewed", SOON).expect("it is renewed");
        post(edge, number).await;
        arrived(&fleet, number).await;
        tally.strike(AWAY);
    }
    assert!(not_after(&fleet).await > first, "the hub knows of the renewal");
}

async fn not_after(fleet: &Fleet) -> jiff::Timestamp {
    let node = look(&mut hub_client(&fleet.hub), &format!("/v1/nodes/{NAME}")).await;
    let text = node["not_after"].as_str().expect("a member has an end");
    text.parse().expect("it is a time")
}

/// Waits until the membership is over; gives its end.
async fn expired(fleet: &Fleet) -> jiff::Timestamp {
    until_async("the end of the membership", SOON, || async {
        let end = not_after(fleet).await;
        (end + Duration::from_secs(1) < jiff::Timestamp::now()).then_some(end)
    })
    .await
}

/// Posts a reading, which has to be acknowledged whatever the uplink is like.
async fn post(edge: &Edge, seq: u64) {
    let reading = json!({"device": "d1", "metric": "level", "value": 1.5, "boot": 1, "seq": seq});
    let answer = edge_client(edge).post_json("/v1/readings", &reading).await;
    let answer = answer.expect("the gateway answers");
    assert!(answer.status.is_success(), "posts go on: {}", answer.text());
}

/// Waits until the hub has so many readings.
async fn arrived(fleet: &Fleet, count: u64) {
    until_async(&format!("{count} readings on the hub"), SOON, || async {
        let listed: Json = look(&mut hub_client(&fleet.hub), "/v1/series").await;
        (listed["series"][0]["count"].as_u64() == Some(count)).then_some(())
    })
    .await;
}
