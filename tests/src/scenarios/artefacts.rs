//! Artefacts from the publisher's file to the gateways that use them, under kills and cuts.
//!
//! The hub's command line signs files and publishes them; a site uses one version after the other
//! under one name. While its gateway fetches, it is killed or its link is cut. In the end the
//! gateway has the last version, to the last byte, and nothing of those before.

use super::hands::{SYNC_LIMIT, admin_of_edge, block_on, get};
use super::{Scale, tell};
use crate::client::Client;
use crate::faults::Tally;
use crate::net::{Direction, Profile};
use crate::process::{Fleet, FleetPlan, Settings};
use crate::rng::Rng;
use crate::wait::until_async;
use holdfast_core::artefact::ArtefactId;
use holdfast_sync::artefact::shelf;
use holdfast_sync::store::look_into;
use serde_json::Value;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// Faults of the full campaign.
const FAULTS: u64 = 200;
/// Bytes of a version: so many blocks that a fault strikes among them.
const BYTES: u64 = 600_000;
const KILLED: &str = "gateway killed while it fetched";
const CUT: &str = "link cut while it was fetched from";
/// A link that takes a second for a version.
const THIN: Direction = Direction {
    delay: Duration::from_millis(5),
    jitter: Duration::ZERO,
    loss: 0.0,
    duplicate: 0.0,
    reorder: 0.0,
    reorder_hold: Duration::ZERO,
    rate: Some(600_000),
    queue: 256 * 1024,
    cut: false,
};

/// Publishes versions and has the site use them while the gateway is killed and cut off.
///
/// # Panics
/// When a version does not arrive as it was published, or a fault never struck.
pub fn artefacts(scale: Scale) {
    block_on(async {
        let tally = Tally::of(&[KILLED, CUT]);
        let plan = FleetPlan::new(1, scale.seed);
        let edge = plan.edge.clone().with(
            &Settings::default()
                .env("HOLDFAST_SYNC_BACKOFF_MIN", "50ms")
                .env("HOLDFAST_SYNC_BACKOFF_MAX", "500ms"),
        );
        let mut fleet = FleetPlan { edge, ..plan }.build().expect("the fleet starts");
        let files = tempfile::tempdir().expect("a directory");
        let out = path(files.path());
        let made =
            fleet.hub.command("publisher", ["new", "works", "--kind", "bundle", "--out", out]);
        made.expect("a publisher is named");
        let mut rng = Rng::keyed(scale.seed, &[7]);
        let faults = scale.of(FAULTS, 10);
        let (mut struck, mut version) = (0, 0);
        let mut newest = None;
        while struck < faults {
            version += 1;
            let content = content(&mut rng);
            let id = publish(&fleet, &files, version, &content);
            fleet.links[0].set_profile(Profile::both(THIN));
            assign(&fleet, &id);
            let before = struck;
            while under_way(&mut admin_of_edge(&fleet.edges[0]), &id).await {
                strike(&mut fleet, &mut rng, &tally).await;
                struck += 1;
                tell("artefacts", struck, faults);
                if struck - before >= 4 {
                    break;
                }
            }
            fleet.links[0].set_profile(Profile::default());
            whole(&fleet, &id).await;
            newest = Some((id, content));
        }
        let (id, content) = newest.expect("there was a version");
        fleet.edges[0].stop().expect("the gateway stops in good order");
        let found = look_into(fleet.edges[0].data(), |view| {
            let all = shelf::list(view)?;
            assert_eq!(all.len(), 1, "what is not used any more is dropped");
            shelf::content(view, &all[0]).map(|content| (all[0].id, content))
        });
        let (held, bytes) = found.expect("the store can be read");
        assert_eq!(Some(held), ArtefactId::from_hex(&id));
        assert!(bytes.as_ref() == Some(&content), "it is what was published");
        println!("artefacts: {version} versions of {BYTES} bytes");
        tally.finish().expect("every fault struck");
    });
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path of our own making")
}

fn content(rng: &mut Rng) -> Vec<u8> {
    (0..BYTES / 8).flat_map(|_| rng.next_u64().to_le_bytes()).collect()
}

/// Publishes a version and gives its id.
fn publish(fleet: &Fleet, files: &TempDir, version: u64, content: &[u8]) -> String {
    let file = files.path().join("pump-guard.bundle");
    std::fs::write(&file, content).expect("the file is written");
    let (version, key) = (format!("1.{version}"), files.path().join("works.key"));
    let words = ["publish", path(&file), "--kind", "bundle", "--version", &version];
    let [a, b, c, d, e, f] = words;
    let told = fleet.hub.command("artefact", [a, b, c, d, e, f, "--key", path(&key)]);
    let told = told.expect("it is published");
    let id = told.iter().find_map(|line| line.strip_prefix("Published pump-guard "));
    let id = id.and_then(|line| line.split_once(": ")).map(|(_, id)| id.to_owned());
    id.unwrap_or_else(|| panic!("{told:?}"))
}

fn assign(fleet: &Fleet, id: &str) {
    let told = fleet.hub.command("artefact", ["assign", "north", "pump-guard", id]);
    told.expect("the site uses it");
}

/// What the gateway has of an artefact, if it answers.
async fn look(edge: &mut Client, id: &str) -> Option<Value> {
    let answer = edge.get(&format!("/v1/artefacts/{id}")).await.ok()?;
    answer.status.is_success().then(|| answer.json())
}

/// Waits until some of it is there; `false` when that was all at once.
async fn under_way(edge: &mut Client, id: &str) -> bool {
    let number = |seen: &Value, key: &str| seen[key].as_u64().expect("a number");
    let seen = until_async("the gateway to fetch", SYNC_LIMIT, async || {
        look(edge, id).await.filter(|seen| number(seen, "held") > 0)
    });
    let seen = seen.await;
    number(&seen, "held") < number(&seen, "blocks")
}

async fn strike(fleet: &mut Fleet, rng: &mut Rng, tally: &Tally) {
    if rng.below(2) == 0 {
        let edge = &mut fleet.edges[0];
        edge.kill9().expect("the gateway is killed");
        edge.start().expect("the gateway starts again");
        tally.strike(KILLED);
    } else {
        fleet.links[0].cut();
        tokio::time::sleep(Duration::from_millis(rng.below(300))).await;
        fleet.links[0].set_profile(Profile::both(THIN));
        tally.strike(CUT);
    }
}

async fn whole(fleet: &Fleet, id: &str) {
    until_async("the whole version at the gateway", SYNC_LIMIT, async || {
        let seen = look(&mut admin_of_edge(&fleet.edges[0]), id).await?;
        (seen["held"] == seen["blocks"]).then_some(())
    })
    .await;
    let listed = get(&mut admin_of_edge(&fleet.edges[0]), "/v1/artefacts").await;
    assert_eq!(listed["artefacts"].as_array().map(Vec::len), Some(1), "{listed}");
}
