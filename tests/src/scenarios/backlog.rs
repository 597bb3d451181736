//! A gateway comes back with weeks of backlog: live entries leave before any of it.
//!
//! The link is cut, and twenty devices post what they measured for weeks, with their own times.
//! Then the link heals, while one more device, the marker, posts without a break. What the marker
//! posts once the session is up is live: it must be on the hub while the backlog is still on its
//! way. In the end the hub holds exactly what was posted, and both ends have equal digests.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Scale;
use super::audit::{Digest, Stored, edge_client, hub_client, look, rest, verify};
use super::load::{SOON, block_on, online};
use crate::faults::Tally;
use crate::net::{Direction, Link, Profile};
use crate::process::{Edge, Fleet, FleetPlan, Hub};
use crate::wait::until_async;
use crate::waterworks::{Backlog, Patience};

/// Days of backlog.
const FULL_DAYS: u64 = 30;
/// Items in one post.
const BATCH: usize = 500;
/// How long the whole backlog may take.
const LONG: Duration = Duration::from_secs(20 * 60);
const MARKER: &str = "marker";
/// The link at first: thin enough that nobody can mistake the backlog for done.
const THIN: Direction = Direction {
    delay: Duration::from_millis(10),
    jitter: Duration::ZERO,
    loss: 0.0,
    duplicate: 0.0,
    reorder: 0.0,
    reorder_hold: Duration::ZERO,
    rate: Some(1_000_000),
    queue: 256 * 1024,
    cut: false,
};

const CUT: &str = "packets dropped by a cut";
const OVERTAKEN: &str = "backlog readings that a live one overtook";

/// Brings back a gateway with weeks of backlog.
///
/// # Panics
/// When a live reading has to wait for the backlog, or the ends differ afterwards.
pub fn backlog(scale: Scale) {
    block_on(campaign(scale));
}

async fn campaign(scale: Scale) {
    let tally = Tally::of(&[CUT, OVERTAKEN]);
    let mut fleet = FleetPlan::new(1, scale.seed).build().expect("the fleet starts");
    online(&fleet.edges[0]).await;
    // The hub knows the marker's series before it matters.
    post_marker(&fleet.edges[0], 1).await;
    until_async("the marker on the hub", SOON, || async {
        newest_marker(&fleet.hub).await.filter(|seq| *seq >= 1)
    })
    .await;

    away(&mut fleet).await;
    let days = u32::try_from(scale.of(FULL_DAYS, 2)).expect("a month has few days");
    let plan = Backlog::days(scale.seed, days, jiff::Timestamp::now().as_millisecond());
    let token = fleet.edges[0].ingest_token().expect("the gateway makes a token");
    let began = Instant::now();
    let posted = plan.post(fleet.edges[0].http(), &token, BATCH, Patience::default()).await;
    posted.expect("the whole backlog is acknowledged without a link");
    println!("backlog: {} readings posted, {}", plan.readings(), rate(plan.readings(), began));

    let live = Live::start(&fleet.edges[0]);
    fleet.links[0].set_profile(Profile::both(THIN));
    online(&fleet.edges[0]).await;
    let marked = live.next().await;
    until_async("a live reading on the hub", SOON, || async {
        newest_marker(&fleet.hub).await.filter(|seq| *seq >= marked)
    })
    .await;
    let then = entries_at_hub(&fleet).await;
    let began = Instant::now();
    assert!(
        then < plan.readings(),
        "a live reading came after the whole backlog: {then} of {} were there",
        plan.readings()
    );
    fleet.links[0].set_link(Link::Perfect);
    let markers = live.stop().await;
    let all = plan.readings() + markers;
    until_async("the whole backlog on the hub", LONG, || async {
        (entries_at_hub(&fleet).await >= all).then_some(())
    })
    .await;
    println!("backlog: on the hub, {}", rate(all - then, began));
    rest(&fleet).await;
    let overtaken = compare(&fleet, plan, markers, marked);
    tally.add(CUT, fleet.links[0].counts().up.cut);
    tally.add(OVERTAKEN, overtaken);
    verify(&mut fleet);
    tally.finish().expect("the link was cut and a live reading overtook the backlog");
}

/// Cuts the link. The gateway starts anew behind it: a session that had not noticed yet would take
/// everything that is posted from now on for live.
async fn away(fleet: &mut Fleet) {
    fleet.links[0].cut();
    let edge = &mut fleet.edges[0];
    edge.stop().expect("the gateway stops in good order");
    edge.start().expect("the gateway starts without a link");
    let status = look(&mut edge_client(edge), "/v1/status").await;
    assert_eq!(status["uplink"]["state"], "offline", "{status}");
}

fn rate(readings: u64, began: Instant) -> String {
    let seconds = began.elapsed().as_secs_f64();
    format!("{:.0} readings/s over {seconds:.0} s", readings as f64 / seconds)
}

/// Both ends are equal, and the hub has exactly what was posted. Gives how many readings of the
/// backlog came to the hub after the marked live one.
fn compare(fleet: &Fleet, plan: Backlog, markers: u64, marked: u64) -> u64 {
    let (mut edge, mut hub) = (Digest::default(), Digest::default());
    fleet.edges[0].export(|line| edge.take(line)).expect("the gateway exports");
    let (mut seen, mut held, mut overtaken) = (BTreeSet::new(), Digest::default(), 0);
    let mut each = |line: &str| {
        hub.take(line);
        let stored = Stored::parse(line).expect("an exported line reads back");
        if stored.series.device == MARKER {
            seen.insert(stored.source.1);
            return;
        }
        overtaken += u64::from(seen.contains(&marked));
        let ((boot, seq), at) = (stored.source, stored.time_ns / 1_000_000);
        let (device, metric) = (&stored.series.device, &stored.series.metric);
        held.take(&format!("{device} {metric} {boot} {seq} {at} {:?}", stored.value));
    };
    fleet.hub.export(&mut each).expect("the hub exports");
    assert_eq!(edge, hub, "gateway (left) and hub (right) hold the same readings");
    assert_eq!(seen, (1..=markers).collect(), "every marker is on the hub");
    let mut posted = Digest::default();
    for item in (0..plan.devices).flat_map(|device| plan.items(device)) {
        for reading in &item.readings {
            let (device, boot, seq) = (&item.key.device, item.key.boot, item.key.seq);
            let (metric, at, value) = (reading.metric, item.time_ms, reading.value);
            posted.take(&format!("{device} {metric} {boot} {seq} {at} {value:?}"));
        }
    }
    assert_eq!(posted, held, "posted (left) and on the hub (right)");
    println!("backlog: digest of both ends {hub}");
    overtaken
}

/// The newest sequence of the marker on the hub.
async fn newest_marker(hub: &Hub) -> Option<u64> {
    let from = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(1);
    let path =
        format!("/v1/readings?device={MARKER}&metric=level&limit=1&order=desc&from={from:.0}");
    let found = look(&mut hub_client(hub), &path).await;
    found["readings"][0]["seq"].as_u64()
}

async fn entries_at_hub(fleet: &Fleet) -> u64 {
    let node = look(&mut hub_client(&fleet.hub), "/v1/nodes/north/ps-000").await;
    // A stream of which nothing has come is not listed.
    node["entries"]["reading"].as_u64().unwrap_or(0)
}

async fn post_marker(edge: &Edge, seq: u64) {
    let reading = json!({"device": MARKER, "metric": "level", "value": 1, "boot": 1, "seq": seq});
    let answer = edge_client(edge).post_json("/v1/readings", &reading).await;
    let answer = answer.expect("the gateway answers");
    assert!(answer.status.is_success(), "{}", answer.text());
}

/// The marker, posting one reading after the other.
struct Live {
    acknowledged: watch::Receiver<u64>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Live {
    fn start(edge: &Edge) -> Self {
        let (sender, acknowledged) = watch::channel(1);
        let (stop, stopped) = watch::channel(false);
        let mut client = edge_client(edge);
        let task = tokio::spawn(async move {
            while !*stopped.borrow() {
                let seq = *sender.borrow() + 1;
                let reading =
                    json!({"device": MARKER, "metric": "level", "value": 1, "boot": 1, "seq": seq});
                let answer = client.post_json("/v1/readings", &reading).await;
                assert!(answer.is_ok_and(|a| a.status.is_success()), "live posts go on");
                sender.send_replace(seq);
            }
        });
        Self { acknowledged, stop, task }
    }

    /// The next sequence whose post begins from now on, once it was acknowledged.
    async fn next(&self) -> u64 {
        let mut acknowledged = self.acknowledged.clone();
        // One may be under way.
        let wanted = *acknowledged.borrow() + 2;
        *acknowledged.wait_for(|seq| *seq >= wanted).await.expect("the marker posts")
    }

    /// Ends it; gives how many readings it posted.
    async fn stop(self) -> u64 {
        self.stop.send_replace(true);
        self.task.await.expect("the marker posted to its end");
        *self.acknowledged.borrow()
    }
}
