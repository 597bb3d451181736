//! What nodes are told about themselves and each other: a gateway that is stopped, a disk that
//! fills. Each is raised and ends once, on the page's route and in the words of `status`.

use super::{SOON, of_edge, of_hub};
use crate::faults::Tally;
use crate::process::{Edge, Fleet, FleetPlan, Settings};
use crate::scenarios::Scale;
use crate::scenarios::audit::edge_client;
use crate::scenarios::load::{block_on, online};
use crate::wait::until_async;
use serde_json::{Value, json};
use std::time::Duration;

const STOPPED: &str = "gateway stopped and started";
const FILLED: &str = "quota filled until readings were refused";
/// Longer than the stop and start of a gateway under load; also how long the hub waits for its
/// gateways after its own start.
const SILENT_AFTER: &str = "3s";
/// The rule holds for a minute before it speaks, and for another one before it ends.
const HELD: Duration = Duration::from_secs(240);
const ITEMS: u64 = 2_000;

/// Stops a gateway under the eyes of its hub.
///
/// # Panics
/// When an alert is not raised and ended exactly once, or the fault never struck.
pub fn silence(scale: Scale) {
    block_on(stops(scale));
}

/// Fills the disk of a gateway that is offline.
///
/// # Panics
/// When an alert is not raised and ended exactly once, or the fault never struck.
pub fn filling(scale: Scale) {
    block_on(fills(scale));
}

async fn stops(scale: Scale) {
    let tally = Tally::of(&[STOPPED]);
    let plan = FleetPlan::new(2, scale.seed);
    let hub = plan.hub.clone().env("HOLDFAST_ALERTS_GATEWAY_SILENT_AFTER", SILENT_AFTER);
    let mut fleet = FleetPlan { hub, ..plan }.build().expect("the fleet starts");
    let times = scale.of(20, 1) as usize;
    for turn in 1..=times {
        for edge in &fleet.edges {
            online(edge).await;
        }
        fleet.edges[0].stop().expect("the gateway stops");
        let raised = silent(&fleet, "active", 1).await;
        assert_eq!(raised[0]["gateway"], "north/ps-000", "{raised:?}");
        let told = fleet.hub.command("status", []).expect("the hub tells how it is").join("\n");
        for words in ["1 online, 1 silent, 0 never came", "north/ps-000: silent since 20"] {
            assert!(told.contains(words), "no `{words}` in\n{told}");
        }
        fleet.edges[0].start().expect("the gateway starts");
        silent(&fleet, "active", 0).await;
        assert_eq!(silent(&fleet, "all", turn).await[0]["cleared"]["reason"], "over");
        tally.strike(STOPPED);
    }
    tally.finish().expect("every fault struck");
}

/// Waits until the hub shows so many alerts of silent gateways, and gives them.
async fn silent(fleet: &Fleet, state: &str, number: usize) -> Vec<Value> {
    let what = format!("{number} {state} alerts of silent gateways");
    until_async(&what, SOON, || async {
        let alerts = of_hub(&fleet.hub, "gateway-silent", state).await;
        alerts.filter(|alerts| alerts.len() == number)
    })
    .await
}

async fn fills(scale: Scale) {
    let tally = Tally::of(&[FILLED]);
    let plan = FleetPlan::new(1, scale.seed);
    // Segments would make room again and again.
    let edge = Settings::default()
        .env("HOLDFAST_STORE_SEAL_AFTER", "0")
        .env("HOLDFAST_STORE_QUOTA", "4MiB")
        .env("HOLDFAST_STORE_OVERFLOW", "refuse");
    let edge = plan.edge.clone().with(&edge);
    let mut fleet = FleetPlan { edge, ..plan }.build().expect("the fleet starts");
    online(&fleet.edges[0]).await;
    fleet.hub.stop().expect("the hub stops");
    let accepted = fill(&fleet.edges[0]).await;
    tally.strike(FILLED);
    let raised = disk(&fleet.edges[0], "active", 1).await;
    let text = raised[0]["text"].as_str().unwrap_or_default();
    assert!(text.ends_with("% of the quota is used"), "{raised:?}");
    let told = fleet.edges[0].command("status", []).expect("the gateway tells how it is");
    let told = told.join("\n");
    let lacks = format!("{accepted} readings are not at the hub; it has everything up to 20");
    for words in ["offline since 20", "attempt", &lacks, "FULL", raised_line(text).as_str()] {
        assert!(told.contains(words), "no `{words}` in\n{told}");
    }
    // What the hub has may go, and then there is room.
    fleet.restart_hub().expect("the hub starts");
    disk(&fleet.edges[0], "active", 0).await;
    assert_eq!(disk(&fleet.edges[0], "all", 1).await[0]["cleared"]["reason"], "over");
    online(&fleet.edges[0]).await;
    let told = fleet.edges[0].command("status", []).expect("the gateway tells how it is");
    let told = told.join("\n");
    for words in ["connected since 20", "the hub has every reading", "known after an hour"] {
        assert!(told.contains(words), "no `{words}` in\n{told}");
    }
    tally.finish().expect("every fault struck");
}

fn raised_line(text: &str) -> String {
    format!("north/ps-000: {text}, since 20")
}

/// Posts until there is no room; how many readings were accepted.
async fn fill(edge: &Edge) -> u64 {
    let mut client = edge_client(edge);
    for from in (1..).step_by(ITEMS as usize) {
        let item = |seq: u64| {
            json!({
                "device": "pump", "metric": "level", "unit": "m", "boot": 1, "seq": seq,
                "value": (seq * 7_919 % 10_007) as f64 / 7.0,
            })
        };
        let items: Vec<_> = (from..from + ITEMS).map(item).collect();
        let answer = client.post_json("/v1/readings", &json!(items)).await.expect("an answer");
        match answer.status.as_u16() {
            200 => {}
            507 => return from - 1,
            other => panic!("a post was answered {other}: {}", answer.text()),
        }
    }
    unreachable!("the numbers do not end before the quota")
}

/// Waits until the gateway shows so many alerts of its disk, and gives them.
async fn disk(edge: &Edge, state: &str, number: usize) -> Vec<Value> {
    until_async(&format!("{number} {state} alerts of the disk"), HELD, || async {
        let alerts = of_edge(edge, "disk-filling", state).await;
        alerts.filter(|alerts| alerts.len() == number)
    })
    .await
}
