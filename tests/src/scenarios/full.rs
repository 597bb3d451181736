//! No room left: a quota that weeks offline use up, and a disk that others filled.
//!
//! By default the oldest readings that no hub has make room for today's; their rollups stay, and
//! every range that went is declared as a gap that the hub learns of. With `refuse`, and on a disk
//! without room, devices get 507 and keep their readings. In all cases: what was acknowledged is
//! there, or declared as gone; queries go on; and when there is room again, service resumes by
//! itself.

use super::Scale;
use super::hands::{
    SYNC_LIMIT, admin_of_edge, admin_of_hub, block_on, caught_up, equal_exports, export_edge,
    export_hub, get, reading,
};
use crate::client::Client;
use crate::faults::Tally;
use crate::net::Proxy;
use crate::process::{Edge, Fleet, FleetPlan, Hub, Settings};
use crate::rng::Rng;
use crate::tmpfs::{Skipped, Tmpfs};
use crate::wait::{until, until_async};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// Items in a post.
const BATCH: u64 = 2_000;
/// The devices' readings begin here and come every second: nine weeks ago by any clock that is
/// right.
const EVERY_MS: i64 = 1_000;

/// Posts numbered readings and keeps account of what was acknowledged.
struct Poster {
    client: Client,
    from_ms: i64,
    next: u64,
    acknowledged: u64,
}

impl Poster {
    fn new(edge: &Edge) -> Self {
        let from_ms = jiff::Timestamp::now().as_millisecond() - 9 * 7 * 86_400_000;
        // Whole five minutes, so that windows begin with a reading.
        let from_ms = from_ms - from_ms % 300_000;
        Self { client: admin_of_edge(edge), from_ms, next: 1, acknowledged: 0 }
    }

    fn time_ms(&self, seq: u64) -> i64 {
        self.from_ms + (seq as i64 - 1) * EVERY_MS
    }

    fn body(&self, count: u64) -> String {
        let mut lines = String::new();
        for seq in self.next..self.next + count {
            // Values that do not repeat: others take so little room that no quota is ever reached.
            let mut item = reading("pump", seq, Rng::new(seq).unit() * 1000.0);
            item["time"] = self.time_ms(seq).into();
            lines.push_str(&item.to_string());
            lines.push('\n');
        }
        lines
    }

    /// Posts the next readings; `false` when there is no room, and then they come again next time.
    async fn post(&mut self, count: u64) -> bool {
        let body = self.body(count);
        let answer = self.client.post("/v1/readings", "application/x-ndjson", body).await;
        let answer = answer.unwrap_or_else(|error| panic!("a post: {error}"));
        let told = answer.json();
        match answer.status.as_u16() {
            200 => {
                // What was refused as a whole was not stored in part either.
                assert_eq!(told["accepted"], count, "{told}");
                self.next += count;
                self.acknowledged += count;
                true
            }
            507 => {
                assert_eq!(told["code"], "no-room", "{told}");
                let detail = told["detail"].as_str().unwrap_or_default();
                assert!(detail.contains("post them again"), "{told}");
                false
            }
            other => panic!("a post was answered {other}: {told}"),
        }
    }

    /// Posts small batches until one is acknowledged.
    async fn resumes(&mut self, what: &str) {
        until_async(what, SYNC_LIMIT, async || self.post(10).await.then_some(())).await;
    }

    async fn status(&mut self) -> Value {
        get(&mut self.client, "/v1/status").await
    }

    /// The readings of the five minutes that begin with reading `seq`, raw and summed up.
    async fn five_minutes(&mut self, seq: u64) -> (usize, Option<u64>) {
        let text = |ms| jiff::Timestamp::from_millisecond(ms).expect("a time").to_string();
        let from = self.time_ms(seq);
        let span = format!("from={}&to={}", text(from), text(from + 299_999));
        let series = "device=pump&metric=level&unit=m";
        let raw = get(&mut self.client, &format!("/v1/readings?{series}&{span}")).await;
        let windows = get(&mut self.client, &format!("/v1/rollups?{series}&{span}&width=5m")).await;
        let raw = raw["readings"].as_array().expect("a list").len();
        (raw, windows["nodes"][0]["windows"][0]["count"].as_u64())
    }
}

/// The sequences of the exported readings, each of which must be there once.
fn sequences(lines: &[String]) -> BTreeSet<u64> {
    let seq = |line: &String| serde_json::from_str::<Value>(line).ok()?["seq"].as_u64();
    let all: BTreeSet<_> = lines.iter().filter_map(seq).collect();
    assert_eq!(all.len(), lines.len(), "each reading once");
    all
}

/// Runs the campaigns: quota with both kinds of overflow, then disks without room.
///
/// # Panics
/// When a promise is broken, or a fault never struck.
pub fn full(scale: Scale) {
    block_on(async {
        drops_the_oldest(scale).await;
        refuses(scale).await;
        disks(scale).await;
    });
}

fn fleet(scale: Scale, quota: &str, overflow: &str) -> Fleet {
    let mut plan = FleetPlan::new(1, scale.seed);
    plan.edge =
        plan.edge.env("HOLDFAST_STORE_QUOTA", quota).env("HOLDFAST_STORE_OVERFLOW", overflow);
    plan.build().expect("a fleet")
}

async fn drops_the_oldest(scale: Scale) {
    let tally = Tally::of(&["readings dropped for want of room", "gaps told to the hub"]);
    let quota = format!("{}MiB", scale.of(32, 4));
    let fleet = fleet(scale, &quota, "drop-oldest-raw");
    fleet.links[0].cut();
    let mut poster = Poster::new(&fleet.edges[0]);
    let enough = scale.of(1_000_000, 50_000);
    loop {
        assert!(poster.post(BATCH).await, "the default never refuses readings for the quota");
        let shed = poster.status().await["store"]["shed_unacknowledged"].as_u64().unwrap_or(0);
        if shed >= enough {
            break;
        }
    }
    let posted = poster.acknowledged;
    let first = (posted / BATCH) * BATCH;
    assert!(poster.five_minutes(first - 1_000).await.0 > 0, "today's readings are there");
    let (raw, window) = until_async("rollups of what was dropped", SYNC_LIMIT, async || {
        let (raw, window) = poster.five_minutes(1).await;
        window.map(|count| (raw, count))
    })
    .await;
    assert_eq!((raw, window), (0, 300), "the raw readings went, their rollup stays");
    fleet.links[0].set_profile(crate::net::Profile::default());
    caught_up(&mut poster.client).await;
    let held = sequences(&all_at_hub(&fleet).await);
    let mut hub = admin_of_hub(&fleet.hub);
    let node = get(&mut hub, "/v1/nodes/north/ps-000").await;
    let gaps = node["gaps"].as_array().expect("gaps");
    let lost: u64 = gaps
        .iter()
        .filter(|gap| gap["stream"] == "reading" && gap["reason"] == "quota")
        .filter_map(|gap| gap["entries"].as_u64())
        .sum();
    assert_eq!(held.len() as u64 + lost, posted, "held and declared gone make up all: {node}");
    assert!(held.iter().all(|seq| *seq > lost), "the oldest went");
    tally.add("readings dropped for want of room", lost);
    tally.add("gaps told to the hub", gaps.len() as u64);
    tally.finish().expect("every fault struck");
}

/// Waits until the hub has what the gateway has, and gives that. Some of it the gateway may have no
/// more: beyond 80 % of its quota, what the hub has acknowledged makes room.
async fn all_at_hub(fleet: &Fleet) -> Vec<String> {
    let (edge, hub) = (&fleet.edges[0], &fleet.hub);
    until_async("the hub to export what the gateway does", SYNC_LIMIT, async || {
        let (here, there) = (export_edge(edge), export_hub(hub));
        let mut rest = there.iter();
        let all = !here.is_empty() && here.iter().all(|line| rest.any(|other| other == line));
        all.then_some(there)
    })
    .await
}

async fn refuses(scale: Scale) {
    let tally = Tally::of(&["507 for the quota"]);
    let quota = format!("{}MiB", scale.of(32, 4));
    let fleet = fleet(scale, &quota, "refuse");
    fleet.links[0].cut();
    let mut poster = Poster::new(&fleet.edges[0]);
    while poster.post(BATCH).await {}
    tally.strike("507 for the quota");
    let all = sequences(&export_edge(&fleet.edges[0]));
    assert!(all.iter().copied().eq(1..=poster.acknowledged), "exactly what was acknowledged");
    assert!(poster.five_minutes(1).await.0 > 0, "queries go on");
    fleet.links[0].set_profile(crate::net::Profile::default());
    poster.resumes("room after the hub has everything").await;
    caught_up(&mut poster.client).await;
    let acknowledged = poster.acknowledged;
    let there = until_async("everything at the hub", SYNC_LIMIT, async || {
        let there = sequences(&export_hub(&fleet.hub));
        (there.len() as u64 >= acknowledged).then_some(there)
    })
    .await;
    assert!(there.iter().copied().eq(1..=acknowledged), "nothing acknowledged is lost");
    let node = get(&mut admin_of_hub(&fleet.hub), "/v1/nodes/north/ps-000").await;
    assert_eq!(node["gaps"], json!([]), "nothing was dropped that nobody had");
    tally.finish().expect("every fault struck");
}

/// Two disks of their own that really are full.
async fn disks(scale: Scale) {
    let tally = Tally::of(&["507 for the disk", "hub without room"]);
    let bytes = scale.of(128 << 20, 24 << 20);
    let (own, hubs) = match (Tmpfs::mount(bytes), Tmpfs::mount(bytes)) {
        (Ok(own), Ok(hubs)) => (own, hubs),
        (Err(Skipped(reason)), _) | (_, Err(Skipped(reason))) => {
            return println!("{reason}: no disk was filled");
        }
    };
    let mut hub = Hub::init(&hubs.path().join("hub"), Settings::default()).expect("a hub");
    hub.start().expect("a hub");
    let link = Proxy::start(hub.sync(), scale.seed).expect("a link");
    let invitation = hub.enrolment("north", "ps-000", link.address()).expect("an invitation");
    let settings = Settings::default().env("HOLDFAST_SYNC_BACKOFF_MAX", "2s");
    let mut edge = Edge::init("ps-000", &own.path().join("edge"), settings).expect("a gateway");
    edge.join(&invitation).expect("it is invited");
    edge.start().expect("it starts");
    let mut poster = Poster::new(&edge);
    for round in 0..scale.of(20, 2) {
        gateway_without_room(&own, &mut poster, &tally).await;
        hub_without_room(&hubs, &hub, &mut poster, &tally).await;
        println!("round {round}: {} readings acknowledged", poster.acknowledged);
    }
    caught_up(&mut poster.client).await;
    let there = sequences(&equal_exports(&edge, &hub).await);
    assert!(there.iter().copied().eq(1..=poster.acknowledged), "nothing acknowledged is lost");
    assert!(edge.process().is_running().expect("its state"), "the gateway ended");
    edge.stop().expect("the gateway stops in good order");
    hub.stop().expect("the hub stops in good order");
    tally.finish().expect("every fault struck");
}

/// Fills the disk; the node may take room at the same moment, then it is tried again.
fn fill(disk: &Tmpfs, left: u64) {
    until("the disk to be filled", SYNC_LIMIT, || disk.fill(left).ok());
}

async fn gateway_without_room(disk: &Tmpfs, poster: &mut Poster, tally: &Tally) {
    fill(disk, 64 << 10);
    // What room there is, the ballast's included, is used up before devices are refused.
    while poster.post(BATCH).await {
        disk.fill_more().expect("the disk is filled");
    }
    for _ in 0..5 {
        // The node may still find some room of its own, in its log for example.
        while poster.post(BATCH).await {
            disk.fill_more().expect("the disk is filled");
        }
        tally.strike("507 for the disk");
    }
    let status = poster.status().await;
    assert!(status["series"].as_u64() >= Some(1), "queries go on: {status}");
    disk.relieve().expect("others make room");
    poster.resumes("service with room again").await;
}

/// Meanwhile the gateway takes readings as ever, and delivers them when the hub has room again.
async fn hub_without_room(disk: &Tmpfs, hub: &Hub, poster: &mut Poster, tally: &Tally) {
    caught_up(&mut poster.client).await;
    fill(disk, 0);
    let before = export_hub(hub).len() as u64;
    until_async("the hub to have no room", SYNC_LIMIT, async || {
        assert!(poster.post(200).await, "the gateway has room");
        disk.fill_more().expect("the disk is filled");
        let status = poster.status().await;
        let told = status["uplink"]["last_error"].as_str().unwrap_or_default();
        (status["uplink"]["state"] != "online" && told.contains("room")).then_some(())
    })
    .await;
    tally.strike("hub without room");
    assert!(export_hub(hub).len() as u64 >= before, "what the hub acknowledged is there");
    disk.relieve().expect("others make room");
    caught_up(&mut poster.client).await;
    tokio::time::timeout(Duration::from_secs(30), hub_answers(hub)).await.expect("the hub answers");
}

async fn hub_answers(hub: &Hub) {
    get(&mut admin_of_hub(hub), "/v1/nodes").await;
}
