//! Kills around the crossing of a threshold.
//!
//! The gateway is killed at a random moment after each post that crosses: before the post is
//! stored, between its commit and the pipeline's, after it. The hub is killed in between. Which of
//! these a kill was is told by when the alert was said: by the start that was killed, or by the
//! next one.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::log::said;
use super::{HIGH, LOW, RULE, active, equal, fleet, post, reading, text};
use crate::faults::Tally;
use crate::process::{Fleet, Settings};
use crate::rng::Rng;
use crate::scenarios::audit::{edge_client, look, verify};
use crate::scenarios::load::{block_on, online};
use crate::scenarios::{Scale, tell};

const FULL: u64 = 200;
const FLOOR: u64 = 10;
/// Crossings at most, as a multiple of their number, until each kind of kill has struck.
const CAP: u64 = 8;
/// A post is stored and judged within about this time.
const MOMENT_US: u64 = 2_500;

const BEFORE: &str = "gateway killed before an alert was on disk";
const AFTER: &str = "gateway killed after an alert was on disk";
const HUB: &str = "hub killed while alerts were about";

struct Campaign {
    fleet: Fleet,
    rng: Rng,
    tally: Tally,
    seq: u64,
    /// When each alert has to begin, by the device's clock.
    crossings: BTreeSet<String>,
}

/// Kills gateway and hub around crossings, then compares what both say with what was posted.
///
/// # Panics
/// When a crossing is missing or said twice, or a kind of kill never struck.
pub fn kills(scale: Scale) {
    block_on(campaign(scale));
}

async fn campaign(scale: Scale) {
    let rng = Rng::keyed(scale.seed, &[0xa1e7]);
    let fleet = fleet(scale.seed, &Settings::default());
    let tally = Tally::of(&[BEFORE, AFTER, HUB]);
    let mut campaign = Campaign { fleet, rng, tally, seq: 0, crossings: BTreeSet::new() };
    let wanted = scale.of(FULL, FLOOR);
    let mut number = 0;
    while number < wanted || (!campaign.each_struck() && number < CAP * wanted) {
        // The gateway's session dies with it, and it finds the new hub when it is killed next. A
        // hub also lets a peer have few connections, those of its dead starts included, so it must
        // not live through many of them.
        campaign.fleet.hub.kill9().expect("the hub dies");
        campaign.tally.strike(HUB);
        campaign.fleet.restart_hub().expect("the hub starts again");
        let since = campaign.strike(HIGH).await;
        campaign.crossings.insert(since);
        let alerts = active(&campaign.fleet.edges[0], RULE, 1).await;
        campaign.note(text(&alerts[0], "said")).await;
        online(&campaign.fleet.edges[0]).await;
        campaign.strike(LOW).await;
        active(&campaign.fleet.edges[0], RULE, 0).await;
        online(&campaign.fleet.edges[0]).await;
        number += 1;
        tell("alert kills", number, wanted);
    }
    campaign.judge(number as usize).await;
}

impl Campaign {
    fn each_struck(&self) -> bool {
        [BEFORE, AFTER, HUB].iter().all(|kind| self.tally.count(kind) > 0)
    }

    /// Posts a value, kills the gateway meanwhile and posts it again; gives its time.
    async fn strike(&mut self, value: f64) -> String {
        self.seq += 1;
        let now = jiff::Timestamp::now();
        let body = reading(self.seq, now, value);
        let moment = Duration::from_micros(self.rng.below(MOMENT_US));
        let (mut client, posted) = (edge_client(&self.fleet.edges[0]), body.clone());
        let posting = tokio::spawn(async move {
            // It may be cut off: then it is repeated below.
            let _ = client.post_json("/v1/readings", &posted).await;
        });
        tokio::time::sleep(moment).await;
        let edge = &mut self.fleet.edges[0];
        edge.kill9().expect("the gateway dies");
        posting.await.expect("a post has an end");
        edge.start().expect("the gateway starts again");
        post(edge, &body).await;
        body["time"].as_str().expect("a time").to_owned()
    }

    /// Tells by the start that said an alert where the kill has struck.
    async fn note(&self, said: &str) {
        let status = look(&mut edge_client(&self.fleet.edges[0]), "/v1/status").await;
        let parse = |text: &str| text.parse::<jiff::Timestamp>().expect("a time in RFC 3339");
        let started = parse(status["node"]["started"].as_str().expect("a start"));
        self.tally.strike(if parse(said) < started { AFTER } else { BEFORE });
    }

    async fn judge(mut self, number: usize) {
        let alerts = equal(&self.fleet, RULE).await;
        let since = |alert: &Value| {
            let since = text(alert, "since").parse::<jiff::Timestamp>().expect("a time");
            format!("{since:.3}")
        };
        let begun: BTreeSet<_> = alerts.iter().map(since).collect();
        assert_eq!(begun, self.crossings, "an alert for each crossing, since its reading");
        assert_eq!(alerts.len(), number, "and no second one");
        assert!(alerts.iter().all(|alert| alert["cleared"]["reason"] == "over"), "{alerts:?}");
        verify(&mut self.fleet);
        let (here, there) = (said(self.fleet.edges[0].data()), said(self.fleet.hub.data()));
        assert_eq!(here, there, "the logs of gateway and hub say the same");
        assert!(here.values().all(|counts| *counts == (1, 1)), "once and once: {here:?}");
        assert_eq!(here.len(), number);
        println!("alert kills: {number} crossings, each said once and once over on both ends");
        self.tally.finish().expect("every kind of kill struck");
    }
}
