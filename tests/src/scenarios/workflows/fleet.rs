//! Workflows that a hub gives its sites, and runs that gateways hand to the hub, under kills and
//! cuts.
//!
//! The hub publishes three workflows and has the site use them. On the gateway, runs of one that is
//! for the hub are begun by hand, each under an id of its own and again until that is answered; and
//! readings that cross a limit begin runs of another one, which forwards to the third. Gateway and
//! hub are killed and their link is cut meanwhile. In the end the hub has done each of them once,
//! and its history tells of both nodes.

use super::receiver::Receiver;
use crate::client::Client;
use crate::faults::Tally;
use crate::net::Profile;
use crate::process::{Fleet, FleetPlan, Settings};
use crate::rng::Rng;
use crate::scenarios::hands::{SYNC_LIMIT, admin_of_edge, admin_of_hub, block_on, get, reading};
use crate::scenarios::{Scale, tell};
use crate::wait::until_async;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

const EDGE_KILLED: &str = "gateway killed";
const HUB_KILLED: &str = "hub killed";
const CUT: &str = "link cut";
/// Runs of each kind between two faults.
const BETWEEN: u64 = 4;

fn definitions(receiver: SocketAddr) -> [(&'static str, String); 3] {
    let of_hub = |name: &str| {
        format!(
            r#"workflow: {name}
version: "1"
placement: hub
runs: {{at_once: 1000}}
input: {{n: int}}
steps:
  - http: {{method: POST, url: "http://{receiver}/{name}", body: {{n: "${{n}}"}}}}
    idempotent: true
    timeout: 5s
    retry: {{attempts: 100, first: 50ms, at_most: 1s}}
"#
        )
    };
    let guard = r#"workflow: guard
version: "1"
placement: edge
runs: {at_once: 1000}
on:
  - reading: {device: "tank-*", metric: level, above: 0.5}
    max_age: 1h
input: {value: decimal}
steps:
  - forward: tally
    args: {n: "${round(value)}"}
"#;
    [("restock", of_hub("restock")), ("tally", of_hub("tally")), ("guard", guard.to_owned())]
}

/// Has a site use workflows and hands runs to the hub.
///
/// # Panics
/// When a run does not come about at the hub, or twice.
pub fn fleet(scale: Scale) {
    block_on(async {
        let tally = Tally::of(&[EDGE_KILLED, HUB_KILLED, CUT]);
        let plan = FleetPlan::new(1, scale.seed);
        let soon = Settings::default()
            .env("HOLDFAST_SYNC_BACKOFF_MIN", "50ms")
            .env("HOLDFAST_SYNC_BACKOFF_MAX", "500ms");
        let edge = plan.edge.clone().with(&soon);
        let mut fleet = FleetPlan { edge, ..plan }.build().expect("the fleet starts");
        let (address, receiver) = Receiver::start().await.expect("a port");
        give(&fleet, address).await;
        let mut rng = Rng::keyed(scale.seed, &[11]);
        let faults = scale.of(200, 10);
        let mut number = 0;
        for fault in 0..faults {
            for _ in 0..BETWEEN {
                want(&fleet, number).await;
                number += 1;
            }
            strike(&mut fleet, fault, &mut rng, &tally).await;
            tell("workflows-fleet", fault + 1, faults);
        }
        fleet.links[0].set_profile(Profile::default());
        let wanted = |path: &str| -> BTreeSet<u64> {
            let first = u64::from(path == "/tally");
            (first..first + number).collect()
        };
        println!("{number} runs of each kind are handed to the hub");
        for path in ["/restock", "/tally"] {
            let has_all = async || (receiver.numbers(path).len() as u64 >= number).then_some(());
            until_async("the hub to do them all", SYNC_LIMIT, has_all).await;
        }
        let mut hub = admin_of_hub(&fleet.hub);
        until_async("all runs to be over", SYNC_LIMIT, async || {
            let runs = hub.get("/v1/runs?state=running&limit=1").await.ok()?.json();
            runs["runs"].as_array()?.is_empty().then_some(())
        })
        .await;
        for path in ["/restock", "/tally"] {
            assert_eq!(receiver.numbers(path), wanted(path), "{path}");
            for n in wanted(path) {
                let keys = receiver.keys(path, n);
                assert_eq!(keys.len(), 1, "{path}, {n} was done by several runs: {keys:?}");
            }
        }
        told_by_both(&mut hub, 0).await;
        assert_eq!(count(&mut hub, "restock").await, number, "each is there once");
        tally.finish().expect("each fault happened");
    });
}

fn run_id(number: u64) -> String {
    // The first six bytes are when it began: as good as any other time.
    format!("01a2{number:028x}")
}

/// Publishes the workflows, has the site use them, and waits until the gateway says so.
async fn give(fleet: &Fleet, receiver: SocketAddr) {
    let files = tempfile::tempdir().expect("a directory");
    let path = |path: &Path| path.to_str().expect("a path of our own making").to_owned();
    let out = path(files.path());
    let made = fleet.hub.command("publisher", ["new", "works", "--kind", "flow", "--out", &out]);
    made.expect("a publisher is named");
    let key = path(&files.path().join("works.key"));
    for (name, definition) in definitions(receiver) {
        let file = files.path().join(format!("{name}.yaml"));
        std::fs::write(&file, definition).expect("the file is written");
        let file = path(&file);
        let published =
            fleet.hub.command("artefact", ["publish", &file, "--kind", "flow", "--key", &key]);
        let published = published.expect("it is published");
        let id = published.iter().find_map(|line| Some(line.split_once(": ")?.1.to_owned()));
        let id = id.unwrap_or_else(|| panic!("{published:?}"));
        let used = fleet.hub.command("artefact", ["assign", "north", name, &id]);
        used.expect("the site uses it");
    }
    let mut hub = admin_of_hub(&fleet.hub);
    until_async("the gateway to have them", SYNC_LIMIT, async || {
        let listed = get(&mut hub, "/v1/sites/north/workflows").await;
        let all = listed["workflows"].as_array()?;
        let on = all.iter().filter(|one| one["state"] == "on").count();
        (on == 3).then_some(())
    })
    .await;
}

/// Has the gateway want one run of each kind, again until it has answered.
async fn want(fleet: &Fleet, number: u64) {
    let mut edge = admin_of_edge(&fleet.edges[0]);
    let start = json!({ "input": { "n": number }, "id": run_id(number) });
    answered(&mut edge, "/v1/workflows/restock/runs", &start).await;
    // A level goes up to the number of the run, from 1, and down again.
    for (seq, level) in [(2 * number + 1, number as f64 + 1.0), (2 * number + 2, 0.0)] {
        answered(&mut edge, "/v1/readings", &json!([reading("tank-1", seq, level)])).await;
    }
}

async fn answered(edge: &mut Client, path: &str, body: &Value) {
    until_async("the gateway to answer", SYNC_LIMIT, async || {
        let answer = edge.post_json(path, body).await.ok()?;
        assert!(!answer.status.is_client_error(), "{path}: {}", answer.text());
        answer.status.is_success().then_some(())
    })
    .await;
}

async fn strike(fleet: &mut Fleet, fault: u64, rng: &mut Rng, tally: &Tally) {
    tokio::time::sleep(Duration::from_millis(rng.below(200))).await;
    match fault % 3 {
        0 => {
            fleet.edges[0].kill9().expect("the gateway is killed");
            fleet.edges[0].start().expect("the gateway starts again");
            tally.strike(EDGE_KILLED);
        }
        1 => {
            fleet.hub.kill9().expect("the hub is killed");
            fleet.restart_hub().expect("the hub starts again");
            tally.strike(HUB_KILLED);
        }
        _ => {
            // What follows happens without a link, until the next cut ends.
            fleet.links[0].cut();
            tokio::time::sleep(Duration::from_millis(rng.below(500))).await;
            fleet.links[0].set_profile(Profile::default());
            tally.strike(CUT);
        }
    }
}

/// The hub tells of a run on both nodes: who handed it on, and who did it.
async fn told_by_both(hub: &mut Client, number: u64) {
    let run = get(hub, &format!("/v1/runs/{}", run_id(number))).await;
    assert_eq!((&run["state"], &run["node"]), (&json!("succeeded"), &json!("hub")), "{run}");
    let lines = run["history"].as_array().expect("lines");
    let told: Vec<_> = lines.iter().map(|line| (&line["node"], &line["what"])).collect();
    assert_eq!(told[0].1, "started", "{run}");
    assert_eq!((told[1].1.as_str(), told[1].0 != "hub"), (Some("forwarded"), true), "{run}");
    let (node, what) = told[told.len() - 1];
    assert_eq!((node, what), (&json!("hub"), &json!("succeeded")), "{run}");
}

/// How many runs of a workflow the hub shows.
async fn count(hub: &mut Client, workflow: &str) -> u64 {
    let (mut count, mut before) = (0, String::new());
    loop {
        let path = format!("/v1/runs?workflow={workflow}&limit=1000{before}");
        let listed = get(hub, &path).await;
        let runs = listed["runs"].as_array().expect("runs");
        count += runs.len() as u64;
        match runs.last() {
            Some(last) if listed["more"] == true => {
                before = format!("&before={}", last["id"].as_str().expect("an id"));
            }
            _ => return count,
        }
    }
}
