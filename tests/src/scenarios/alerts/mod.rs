//! Alerts: each crossing of a threshold is said once when it begins and once when it ends.
//!
//! A gateway watches the device `tank`: above 3 until below 2. What it says is judged three ways:
//! by the answers of gateway and hub, by comparing the two, and by the entries in both logs, read
//! from outside.

mod clocks;
mod kills;
mod log;
mod notice;
mod outage;
mod watched;

pub use clocks::clocks;
pub use kills::kills;
pub use notice::notice;
pub use outage::outage;
pub use watched::{filling, silence};

use std::fs;

use serde_json::{Value, json};

use super::audit::{edge_client, hub_client, look};
use super::load::{SOON, online};
use crate::process::{Edge, Fleet, FleetPlan, Hub, Settings};
use crate::wait::until_async;

/// The device that is watched.
const DEVICE: &str = "tank";
/// The rule's name.
const RULE: &str = "tank-high";
const RULES: &str = r#"
[[alerts.rules]]
name = "tank-high"
device = "tank"
metric = "level"
when = "above 3 until below 2"
severity = "critical"
"#;
/// Beyond the threshold, and back on the other side of the second one.
const HIGH: f64 = 5.0;
const LOW: f64 = 1.0;

/// One gateway with the rule, and its hub.
fn fleet(seed: u64, edge: &Settings) -> Fleet {
    let plan = FleetPlan::new(1, seed);
    // What the logs say is read from outside, commit by commit.
    let plain = Settings::default().env("HOLDFAST_STORE_SEAL_AFTER", "0");
    let quick = plain.clone().env("HOLDFAST_SYNC_BACKOFF_MIN", "50ms");
    let (hub, edge) = (plan.hub.clone().with(&plain), plan.edge.clone().with(&quick).with(edge));
    let mut fleet = FleetPlan { edge, hub, ..plan }.build().expect("the fleet starts");
    let path = fleet.dir().join(fleet.edges[0].name()).join("edge.toml");
    let text = fs::read_to_string(&path).expect("init wrote a configuration");
    let ruled = text.replacen("#rules = []", RULES, 1);
    assert_ne!(ruled, text, "the configuration shows where rules go");
    fs::write(&path, ruled).expect("the configuration can be changed");
    let gateway = &mut fleet.edges[0];
    gateway.stop().expect("the gateway stops");
    gateway.start().expect("the gateway starts with a rule");
    fleet
}

/// A reading of the device at a time of its own, so that an alert can be told by its `since`.
fn reading(seq: u64, time: jiff::Timestamp, value: f64) -> Value {
    json!({
        "device": DEVICE, "metric": "level", "unit": "m", "value": value,
        "time": format!("{time:.3}"), "boot": 1, "seq": seq,
    })
}

/// Posts until it is acknowledged; a repetition changes nothing.
async fn post(edge: &Edge, body: &Value) {
    until_async("a post to be acknowledged", SOON, || async {
        let answer = edge_client(edge).post_json("/v1/readings", body).await.ok()?;
        assert!(!answer.status.is_client_error(), "{}", answer.text());
        answer.status.is_success().then_some(())
    })
    .await;
}

/// The alerts of a rule that a gateway shows, all or those that are active.
async fn of_edge(edge: &Edge, rule: &str, state: &str) -> Option<Vec<Value>> {
    let path = format!("/v1/alerts?state={state}&rule={rule}");
    look(&mut edge_client(edge), &path).await["alerts"].as_array().cloned()
}

/// As [`of_edge`], of the hub.
async fn of_hub(hub: &Hub, rule: &str, state: &str) -> Option<Vec<Value>> {
    let path = format!("/v1/alerts?state={state}&rule={rule}");
    look(&mut hub_client(hub), &path).await["alerts"].as_array().cloned()
}

/// Waits until so many alerts of a rule are active at the gateway, and gives them.
async fn active(edge: &Edge, rule: &str, number: usize) -> Vec<Value> {
    let what = format!("{number} active alerts of {rule}");
    until_async(&what, SOON, || async {
        of_edge(edge, rule, "active").await.filter(|alerts| alerts.len() == number)
    })
    .await
}

/// Waits until the hub shows exactly what the gateway shows of a rule, and gives that.
async fn equal(fleet: &Fleet, rule: &str) -> Vec<Value> {
    online(&fleet.edges[0]).await;
    until_async("the same alerts on gateway and hub", SOON, || async {
        let here = of_edge(&fleet.edges[0], rule, "all").await?;
        let there = of_hub(&fleet.hub, rule, "all").await?;
        (here == there).then_some(here)
    })
    .await
}

/// A text of an answer.
fn text<'a>(alert: &'a Value, key: &str) -> &'a str {
    alert[key].as_str().unwrap_or_else(|| panic!("{key} is a text in {alert}"))
}
