//! A fleet under load: stations that post to each gateway, in real time.

use std::time::Duration;

use crate::process::{Edge, Fleet};
use crate::rng::hash;
use crate::wait::until_async;
use crate::waterworks::{Habits, Pace, Patience, Shift, Works};

use super::audit::{edge_client, look};

/// How long anything short may take.
pub const SOON: Duration = Duration::from_secs(90);

/// Runs a scenario.
///
/// # Panics
/// With the scenario, or when there is no room for its threads.
pub fn block_on<T>(scenario: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime can be made").block_on(scenario)
}

/// Starts `stations` at a gateway, each measuring every `every_ms` from now on. The boot count keeps
/// the devices of several gateways apart, which carry the same names.
///
/// # Panics
/// When the gateway makes no token.
#[must_use]
pub fn start(edge: &Edge, seed: u64, boot: u32, stations: u64, every_ms: i64) -> Shift {
    let works = Works {
        seed: hash(seed, &[u64::from(boot)]),
        stations,
        boot,
        habits: Habits { every_ms, jitter_ms: every_ms / 2, gap: 0.03, late: 0.1 },
        start_ms: jiff::Timestamp::now().as_millisecond(),
        end_ms: None,
        pace: Pace::Times(1.0),
    };
    let token = edge.ingest_token().expect("the gateway makes a token");
    works.start(edge.http(), &token, Patience::default())
}

/// Waits until `more` items were acknowledged on top of `before`.
///
/// # Panics
/// When that takes too long.
pub async fn progress(shift: &Shift, before: usize, more: usize) {
    let what = format!("{more} more acknowledged items");
    until_async(&what, SOON, || async { (shift.acknowledged() >= before + more).then_some(()) })
        .await;
}

/// Waits until a gateway has a session with the hub.
///
/// # Panics
/// When that takes too long.
pub async fn online(edge: &Edge) {
    let what = format!("{} online", edge.name());
    until_async(&what, SOON, || async {
        let status = look(&mut edge_client(edge), "/v1/status").await;
        (status["uplink"]["state"] == "online").then_some(())
    })
    .await;
}

/// Payload bytes that the links carried so far, both ways.
#[must_use]
pub fn carried(fleet: &Fleet) -> u64 {
    fleet.links.iter().map(|link| link.counts().up.bytes + link.counts().down.bytes).sum()
}
