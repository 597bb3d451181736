//! The last starts of a device: each once, when it was, and no more than there is room for.

use super::gateway::{Gateway, envelope};
use crate::mqtt::firmware::Start;
use holdfast_core::Timestamp;
use holdfast_core::device;
use holdfast_core::device::health::{Health, Reason, VERSION_MAX_BYTES};
use holdfast_node::time_text;
use holdfast_node::twins::{Section, Shown};
use serde_json::{Value as Json, json};

fn health(boot: u64, uptime_ms: u64, reason: Reason, firmware: &str) -> Vec<u8> {
    let health = Health { boot, uptime_ms, reason, firmware, counters: Default::default() };
    envelope(device::HEALTH, |out| health.encode(out).unwrap())
}

fn boots(starts: &Json) -> Vec<u64> {
    starts.as_array().unwrap().iter().map(|start| start["boot"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_start_is_shown_once_in_the_change_that_tells_of_it() {
    let gateway = Gateway::new().await;
    let before = gateway.door.time().unix_ms;
    let starts = gateway.starts("tank-1", &health(1, 3_600_000, Reason::POWER, "1.0")).await;
    let after = gateway.door.time().unix_ms;
    let at = time_text::parse(starts[0]["at"].as_str().unwrap()).unwrap().millis();
    assert!((before - 3_601_000..=after - 3_600_000).contains(&at), "an hour ago, to the second");
    let first = json!({"boot": 1, "at": starts[0]["at"], "reason": "power", "firmware": "1.0"});
    assert_eq!(starts, json!([first]));
    // Later in the same start nothing is new.
    let version = gateway.version("tank-1").await;
    gateway.hear("tank-1", &health(1, 4_500_000, Reason::POWER, "1.0")).await.unwrap();
    assert_eq!(gateway.version("tank-1").await, version);
    let starts = gateway.starts("tank-1", &health(3, 0, Reason::WATCHDOG, "1.1")).await;
    assert_eq!(starts[1], first);
    assert_eq!((&starts[0]["boot"], &starts[0]["reason"]), (&json!(3), &json!("watchdog")));
    let name = Section::Reported.document("tank-1").unwrap();
    let page = gateway.twins.history(name, None, 10).await.unwrap().unwrap();
    assert_eq!(page.changes.len(), 2, "one for each start");
    // One whose flash was replaced counts anew.
    let starts = gateway.starts("tank-1", &health(1, 0, Reason::POWER, "1.1")).await;
    assert_eq!(boots(&starts), [1, 3, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_ten_are_shown_whatever_a_device_calls_its_firmware() {
    let gateway = Gateway::new().await;
    let mut starts = Json::Null;
    for boot in 1..=12 {
        starts = gateway.starts("tank-1", &health(boot, 0, Reason(9), "1.0")).await;
    }
    assert_eq!(boots(&starts), [12, 11, 10, 9, 8, 7, 6, 5, 4, 3]);
    assert_eq!(starts[9]["reason"], "unknown");
    // Six bytes of JSON each: ten of them would be more than a value may have.
    let long = "\u{1}".repeat(VERSION_MAX_BYTES);
    for boot in 13..=30 {
        starts = gateway.starts("tank-1", &health(boot, 0, Reason::FAULT, &long)).await;
    }
    assert_eq!(boots(&starts)[..2], [30, 29]);
    assert!(starts.to_string().len() <= 2_048, "{}", starts.to_string().len());
    let starts = gateway.starts("tank-1", &health(u64::MAX, 0, Reason::FAULT, &long)).await;
    assert_eq!(boots(&starts)[..2], [u64::MAX, 30]);
    gateway.hear("tank-1", &health(u64::MAX, 1, Reason::FAULT, &long)).await.unwrap();
    assert_eq!(gateway.reported("tank-1").await["device"]["starts"], starts);
}

#[test]
fn a_start_has_a_time_only_where_it_is_known() {
    let start = |uptime_ms| {
        let reason = Reason::BROWN_OUT;
        let health =
            Health { boot: 4, uptime_ms, reason, firmware: "1.0", counters: Default::default() };
        Start::from(&health)
    };
    let at = |uptime_ms, now_ms| {
        let patch = start(uptime_ms).before(&Shown::default(), Timestamp::from_millis(now_ms));
        patch.unwrap()["device"]["starts"][0]["at"].take()
    };
    assert_eq!(at(90_500, 1_800_000_000_000), json!("2027-01-15T07:58:29Z"));
    assert_eq!(at(0, 1_800_000_000_999), json!("2027-01-15T08:00:00Z"));
    assert_eq!(at(0, i64::MAX), Json::Null, "the gateway's clock is wrong");
    assert_eq!(at(u64::MAX, 1_800_000_000_000), Json::Null, "nothing is that old");
}
