//! An alert during an outage: the hub hears of it before any of the backlog.

use std::time::Duration;

use super::log::{readings_before_alert, said};
use super::{HIGH, RULE, active, equal, fleet, of_hub, post, reading};
use crate::faults::Tally;
use crate::net::{Direction, Link, Profile};
use crate::process::Settings;
use crate::scenarios::Scale;
use crate::scenarios::audit::{edge_client, hub_client, look, rest, verify};
use crate::scenarios::load::{SOON, block_on, online};
use crate::wait::until_async;
use crate::waterworks::{Backlog, Patience};

/// Days of backlog; one is nearly a million readings.
const FULL_DAYS: u64 = 5;
/// Thin enough that a backlog takes its time.
const THIN: Direction = Direction {
    delay: Duration::from_millis(20),
    jitter: Duration::ZERO,
    loss: 0.0,
    duplicate: 0.0,
    reorder: 0.0,
    reorder_hold: Duration::ZERO,
    rate: Some(100_000),
    queue: 128 * 1024,
    cut: false,
};

const CUT: &str = "packets dropped by a cut";
const OVERTAKEN: &str = "backlog readings that an alert overtook";

/// Raises an alert behind a backlog without a link, then brings the link back.
///
/// # Panics
/// When the alert is not raised offline, or comes to the hub behind a part of the backlog.
pub fn outage(scale: Scale) {
    block_on(campaign(scale));
}

async fn campaign(scale: Scale) {
    let tally = Tally::of(&[CUT, OVERTAKEN]);
    let mut fleet = fleet(scale.seed, &Settings::default());
    online(&fleet.edges[0]).await;
    fleet.links[0].cut();
    // Anew behind the cut: a session that has not noticed would take all of it for live.
    let edge = &mut fleet.edges[0];
    edge.stop().expect("the gateway stops in good order");
    edge.start().expect("the gateway starts without a link");
    let days = u32::try_from(scale.of(FULL_DAYS, 1)).expect("a week has few days");
    let plan = Backlog::days(scale.seed, days, jiff::Timestamp::now().as_millisecond());
    let token = edge.ingest_token().expect("the gateway makes a token");
    let posted = plan.post(edge.http(), &token, 500, Patience::default()).await;
    posted.expect("the whole backlog is acknowledged without a link");
    post(edge, &reading(1, jiff::Timestamp::now(), HIGH)).await;
    let raised = active(edge, RULE, 1).await;
    let status = look(&mut edge_client(edge), "/v1/status").await;
    assert_eq!(status["uplink"]["state"], "offline", "it was raised without a link: {status}");

    fleet.links[0].set_profile(Profile::both(THIN));
    until_async("the alert on the hub", SOON, || async {
        of_hub(&fleet.hub, RULE, "active").await.filter(|alerts| *alerts == raised)
    })
    .await;
    let node = look(&mut hub_client(&fleet.hub), "/v1/nodes/north/ps-000").await;
    let there = node["entries"]["reading"].as_u64().expect("the hub says how much it holds");
    let all = plan.readings() + 1;
    assert!(there < all, "the alert came behind all of the backlog: {there} of {all}");
    println!("alert outage: on the hub while {} of {all} readings were to come", all - there);
    fleet.links[0].set_link(Link::Perfect);
    rest(&fleet).await;
    assert_eq!(equal(&fleet, RULE).await, raised);
    let before = readings_before_alert(fleet.hub.data()).expect("the alert is in the hub's log");
    assert_eq!(before, 0, "commits of the backlog that came to the hub before the alert");
    tally.add(CUT, fleet.links[0].counts().up.cut);
    tally.add(OVERTAKEN, all - there);
    verify(&mut fleet);
    assert_eq!(said(fleet.edges[0].data()), said(fleet.hub.data()));
    tally.finish().expect("the link was cut and the alert overtook the backlog");
}
