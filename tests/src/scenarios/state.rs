//! Two sides that change the same twins: cut off from each other, with a wrong clock, under kills.
//!
//! What was acknowledged on either side is on both in the end, both show the same, and why a value
//! won can be read on both. Writes of the kills go to a path each, so that none may be missing for
//! having been replaced.

use super::Scale;
use super::hands::{SYNC_LIMIT, admin_of_edge, admin_of_hub, block_on, caught_up, get, reading};
use super::tell;
use super::twins::patch;
use crate::client::Client;
use crate::faults::Tally;
use crate::net::Profile;
use crate::process::{Edge, Fleet, FleetPlan, Hub, Settings};
use crate::rng::Rng;
use crate::wait::until_async;
use serde_json::{Map, Value, json};
use std::time::Duration;

const DEVICES: u64 = 8;

/// A gateway with devices that its hub has heard of.
async fn fleet(seed: u64) -> Fleet {
    let plan = FleetPlan::new(1, seed);
    let edge = plan.edge.clone().with(
        &Settings::default()
            .env("HOLDFAST_SYNC_BACKOFF_MIN", "50ms")
            .env("HOLDFAST_SYNC_BACKOFF_MAX", "500ms"),
    );
    let fleet = FleetPlan { edge, ..plan }.build().expect("the fleet starts");
    let mut client = admin_of_edge(&fleet.edges[0]);
    for device in 0..DEVICES {
        let posted = client.post_json("/v1/readings", &reading(&name(device), 1, 1.0)).await;
        assert!(posted.expect("an answer").status.is_success());
    }
    caught_up(&mut client).await;
    let mut hub = admin_of_hub(&fleet.hub);
    until_async("the hub to know the devices", SYNC_LIMIT, async || {
        let known = get(&mut hub, "/v1/series?limit=100").await;
        (known["total"].as_u64() >= Some(DEVICES)).then_some(())
    })
    .await;
    fleet
}

fn name(device: u64) -> String {
    format!("pump-{device}")
}

fn desired(device: u64) -> String {
    format!("/v1/devices/{}/twin/desired", name(device))
}

async fn set(client: &mut Client, device: u64, values: &Value) {
    let answer = patch(client, &desired(device), values, &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// What is desired of a device, when both sides have the same of it.
async fn agreed(edge: &mut Client, hub: &mut Client, device: u64) -> Option<Value> {
    let one = edge.get(&desired(device)).await.ok().filter(|a| a.status.is_success())?;
    let other = hub.get(&desired(device)).await.ok().filter(|a| a.status.is_success())?;
    let same = one.headers["etag"] == other.headers["etag"];
    assert!(!same || one.json() == other.json(), "one version, two views of {}", name(device));
    same.then(|| one.json())
}

async fn conflicts(client: &mut Client, state: &str) -> Vec<Value> {
    let listed = get(client, &format!("/v1/conflicts?state={state}&limit=1000")).await;
    listed["conflicts"].as_array().expect("a list").clone()
}

/// What identifies conflicts and what there is to choose from; what an author is called may differ.
fn names(conflicts: &[Value]) -> Vec<[&Value; 4]> {
    let mut out = Vec::new();
    for one in conflicts {
        out.push([&one["id"], &one["document"], &one["path"], &one["shown"]["value"]]);
    }
    out
}

/// Both sides change one twin while the link is cut; each path is resolved as its policy says.
///
/// # Panics
/// When the two do not agree, or otherwise than the policy says.
pub fn agree(scale: Scale) {
    block_on(async {
        let tally = Tally::of(&["both sides wrote one path"]);
        let fleet = fleet(scale.seed).await;
        let (mut edge, mut hub) = (admin_of_edge(&fleet.edges[0]), admin_of_hub(&fleet.hub));
        for (line, paths, rule) in [("10", "limits/**", "min"), ("20", "mode", "keep-all")] {
            let line = json!({
                "name": line, "documents": "device/*/desired", "paths": paths, "rule": rule,
            });
            let answer = hub.post_json("/v1/sites/north/policies", &line).await.expect("an answer");
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        until_async("the policy at the gateway", SYNC_LIMIT, async || {
            let listed = get(&mut edge, "/v1/sites/north/policies").await;
            (listed["policies"].as_array().map(Vec::len) == Some(2)).then_some(())
        })
        .await;
        fleet.links[0].cut();
        set(&mut edge, 0, &json!({"level": 1, "limits": {"low": 3}, "mode": "auto"})).await;
        set(&mut hub, 0, &json!({"level": 2, "limits": {"low": 5}, "mode": "manual"})).await;
        tally.strike("both sides wrote one path");
        fleet.links[0].set_profile(Profile::default());
        let seen = until_async("both to agree", SYNC_LIMIT, async || {
            let seen = agreed(&mut edge, &mut hub, 0).await?;
            (seen["level"] == 2).then_some(seen)
        })
        .await;
        assert_eq!(seen["limits"]["low"], 3, "the least of what was written at once");
        let open = conflicts(&mut edge, "open").await;
        let there = conflicts(&mut hub, "open").await;
        assert_eq!(names(&open), names(&there), "open conflicts are the same");
        let [open] = open.as_slice() else { panic!("one waits: {open:?}") };
        let values = [&open["shown"]["value"], &open["others"][0]["value"]];
        assert!(values.contains(&&json!("auto")) && values.contains(&&json!("manual")), "{open}");
        let told = [conflicts(&mut edge, "settled").await, conflicts(&mut hub, "settled").await];
        let low = |of: &[Value]| of.iter().find(|one| one["path"] == "limits/low").cloned();
        let low = low(&told[0]).or_else(|| low(&told[1])).expect("it is in a journal");
        assert_eq!((&low["rule"], &low["shown"]["value"]), (&json!("min"), &json!(3)), "{low}");
        choose(&mut edge, &mut hub, open).await;
        tally.finish().expect("it struck");
        let Fleet { edges, hub, .. } = fleet;
        stop_and_verify(edges.into_iter().next().expect("a gateway"), hub);
    });
}

/// A person chooses at the gateway, and the hub follows.
async fn choose(edge: &mut Client, hub: &mut Client, open: &Value) {
    let manual = usize::from(open["shown"]["value"] != "manual");
    let path = format!("/v1/conflicts/{}/resolve", open["id"].as_str().expect("an id"));
    let answer = edge.post_json(&path, &json!({ "use": manual })).await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    until_async("the choice at the hub", SYNC_LIMIT, async || {
        let seen = agreed(edge, hub, 0).await?;
        (seen["mode"] == "manual" && conflicts(hub, "open").await.is_empty()).then_some(())
    })
    .await;
    let again = edge.post_json(&path, &json!({ "use": 0 })).await.expect("an answer");
    assert_eq!(again.status, 404, "it has been chosen: {}", again.text());
}

fn stop_and_verify(mut edge: Edge, mut hub: Hub) {
    edge.stop().expect("it stops in good order");
    hub.stop().expect("it stops in good order");
    edge.command("verify", []).expect("nothing is damaged");
    hub.command("verify", []).expect("nothing is damaged");
}

/// A gateway's clock is a year ahead: the greater stamp wins, and a write that has seen it wins
/// over that.
///
/// # Panics
/// When it is not so.
pub fn clock(scale: Scale) {
    block_on(async {
        let tally = Tally::of(&["written by a clock a year ahead"]);
        let fast = match Settings::default().clock("+1y") {
            Ok(fast) => fast,
            Err(skipped) => return println!("{skipped}"),
        };
        let mut fleet = fleet(scale.seed).await;
        fleet.edges[0].stop().expect("it stops in good order");
        fleet.edges[0].start_with(&fast).expect("it starts by another clock");
        let (mut edge, mut hub) = (admin_of_edge(&fleet.edges[0]), admin_of_hub(&fleet.hub));
        fleet.links[0].cut();
        set(&mut edge, 0, &json!({"level": "gateway"})).await;
        set(&mut hub, 0, &json!({"level": "hub"})).await;
        tally.strike("written by a clock a year ahead");
        fleet.links[0].set_profile(Profile::default());
        let agree = async |edge: &mut Client, hub: &mut Client, value: &str| {
            until_async(value, SYNC_LIMIT, async || {
                (agreed(edge, hub, 0).await?["level"] == *value).then_some(())
            })
            .await;
        };
        agree(&mut edge, &mut hub, "gateway").await;
        let told = [conflicts(&mut edge, "settled").await, conflicts(&mut hub, "settled").await];
        let why = told.iter().flatten().find(|one| one["path"] == "level").expect("it is told why");
        assert_eq!(why["why"], "the last write wins", "{why}");
        assert_eq!(why["others"][0]["value"], "hub", "{why}");
        set(&mut hub, 0, &json!({"level": "hub again"})).await;
        agree(&mut edge, &mut hub, "hub again").await;
        tally.finish().expect("it struck");
    });
}

const FULL: u64 = 200;
const FLOOR: u64 = 10;
const EDGE: &str = "gateway killed";
const HUB: &str = "hub killed";

/// Both sides write without a break and are killed in turn; every write that was answered is on
/// both in the end.
///
/// # Panics
/// When one is not, or the two do not agree.
pub fn kills(scale: Scale) {
    block_on(async {
        let tally = Tally::of(&[EDGE, HUB]);
        let mut fleet = fleet(scale.seed).await;
        let mut rng = Rng::keyed(scale.seed, &[7]);
        let wanted = scale.of(FULL, FLOOR);
        let mut written: Vec<Map<String, Value>> = vec![Map::new(); DEVICES as usize];
        let mut next = 0u64;
        for number in 0..wanted {
            let (mut edge, mut hub) = (admin_of_edge(&fleet.edges[0]), admin_of_hub(&fleet.hub));
            let writes = 2 + rng.below(5);
            for _ in 0..writes {
                let (device, at_edge) = (rng.below(DEVICES), rng.chance(0.5));
                // Paths come round again, so that no document outgrows its bound.
                let path = format!("{}-{}", if at_edge { "e" } else { "h" }, next % 90);
                let client = if at_edge { &mut edge } else { &mut hub };
                set(client, device, &json!({ &path: next })).await;
                written[device as usize].insert(path, next.into());
                next += 1;
            }
            tokio::time::sleep(Duration::from_micros(rng.below(60_000))).await;
            if number % 2 == 0 {
                fleet.edges[0].kill9().expect("the gateway dies");
                fleet.edges[0].start().expect("the gateway starts again");
                tally.strike(EDGE);
            } else {
                fleet.hub.kill9().expect("the hub dies");
                fleet.restart_hub().expect("the hub starts again");
                tally.strike(HUB);
            }
            tell("state-kills", number + 1, wanted);
        }
        let (mut edge, mut hub) = (admin_of_edge(&fleet.edges[0]), admin_of_hub(&fleet.hub));
        for (device, written) in written.into_iter().enumerate() {
            until_async(
                &format!("all writes to {}", name(device as u64)),
                SYNC_LIMIT,
                async || {
                    let seen = agreed(&mut edge, &mut hub, device as u64).await?;
                    (seen == Value::Object(written.clone())).then_some(())
                },
            )
            .await;
        }
        println!("state-kills: {wanted} kills, {next} writes, all of them on both sides");
        tally.finish().expect("every kind of kill struck");
        let Fleet { edges, hub, .. } = fleet;
        stop_and_verify(edges.into_iter().next().expect("a gateway"), hub);
    });
}
