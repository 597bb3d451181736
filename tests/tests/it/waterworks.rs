//! The simulator against an unreliable gateway: its account must be what the gateway kept.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use holdfast_tests::process::{LIMIT, Launch};
use holdfast_tests::waterworks::{Account, Backlog, Habits, Pace, Patience, Works};
use serde_json::Value;

use crate::gateway::Gateway;

const START: i64 = 1_700_000_000_000;
const HOUR: i64 = 3_600_000;

fn eager() -> Patience {
    Patience { pause: Duration::from_millis(1), limit: None }
}

fn works(pace: Pace, end_ms: Option<i64>) -> Works {
    let habits = Habits { gap: 0.1, late: 0.2, ..Habits::default() };
    Works { seed: 9, stations: 4, boot: 3, habits, start_ms: START, end_ms, pace }
}

fn assert_kept(gateway: &Gateway, account: &Account) {
    let kept = gateway.kept.lock().unwrap();
    for (key, acknowledged) in account.acknowledged() {
        let mut posted = String::new();
        acknowledged.item.write_json(&mut posted);
        let id = (key.device.to_string(), u64::from(key.boot), key.seq);
        assert_eq!(kept.get(&id), Some(&serde_json::from_str::<Value>(&posted).unwrap()));
    }
    assert_eq!(kept.len(), account.acknowledged().len(), "nothing but what was acknowledged");
}

#[tokio::test]
async fn everything_acknowledged_is_kept_once_whatever_fails() {
    let (address, gateway) = Gateway::start(true).await;
    let shift = works(Pace::Flat, Some(START + 2 * HOUR)).start(address, "t", eager());
    let account = shift.finish().await;
    assert!(gateway.failed_before.load(SeqCst) > 0 && gateway.failed_after.load(SeqCst) > 0);
    assert!(account.retries > 0 && account.duplicates > 0 && account.in_doubt().is_empty());
    assert!(account.acknowledged().len() > 1_000);
    assert_kept(&gateway, &account);

    let series = account.series();
    assert_eq!(series.len(), 4 * 6, "{:?}", series.keys());
    let (_, levels) = series.first_key_value().unwrap();
    assert!(levels.is_sorted_by_key(|point| point.0));
    let points: u64 = series.values().map(|points| points.len() as u64).sum();
    assert_eq!(points, account.readings());
}

#[tokio::test]
async fn a_moved_gateway_is_followed_and_notes_are_kept() {
    let (first, one) = Gateway::start(false).await;
    let (second, two) = Gateway::start(false).await;
    let shift = works(Pace::Flat, None).start_noting(first, "t", eager(), || 77);
    let enough = || async { (shift.acknowledged() > 50).then_some(()) };
    holdfast_tests::wait::until_async("acknowledgements", LIMIT, enough).await;
    shift.move_to(second);
    let moved = || async { (two.kept.lock().unwrap().len() > 50).then_some(()) };
    holdfast_tests::wait::until_async("posts to the second", LIMIT, moved).await;
    let account = shift.stop().await;
    assert!(account.acknowledged().values().all(|acknowledged| acknowledged.note == 77));
    let (one, two) = (one.kept.lock().unwrap().len(), two.kept.lock().unwrap().len());
    assert_eq!(one + two, account.acknowledged().len());
}

#[tokio::test]
async fn a_refused_batch_is_neither_repeated_nor_in_doubt() {
    let (address, gateway) = Gateway::start(false).await;
    let (_sender, follow) = tokio::sync::watch::channel(address);
    let mut poster = holdfast_tests::waterworks::Poster::new(follow, "t", eager());
    let mut items: Vec<_> = Backlog::days(1, 1, START).items(0).take(2).collect();
    items[1].key.device = "\"".into();
    let delivery = poster.deliver(&items).await.unwrap();
    assert_eq!((delivery.accepted, delivery.rejected.len()), (0, 2));
    assert_eq!(delivery.rejected[0].code, "not-json");
    assert_eq!(gateway.requests.load(SeqCst), 1);
}

#[tokio::test]
async fn a_backlog_is_posted_in_full() {
    let (address, gateway) = Gateway::start(true).await;
    let backlog = Backlog { devices: 3, every_ms: 60_000, ..Backlog::days(1, 1, START) };
    backlog.post(address, "t", 100, eager()).await.unwrap();
    assert_eq!(gateway.kept.lock().unwrap().len() as u64, 3 * backlog.items_per_device());
}

#[tokio::test]
async fn the_program_posts_and_writes_its_account() {
    let (address, gateway) = Gateway::start(false).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("account");
    let sim = Launch::binary("holdfast-sim")
        .args(["--gateway", &address.to_string(), "--token", "t", "--stations", "2"])
        .args(["--speed", "0", "--seconds", "600", "--account"])
        .args([&file]);
    let done = tokio::task::spawn_blocking(move || sim.run(LIMIT)).await.unwrap().unwrap();
    let said = done.expect_success().unwrap().join("\n");
    let lines = std::fs::read_to_string(file).unwrap().lines().count();
    assert!(said.contains(&format!("acknowledged {lines} items")), "{said}");
    assert_eq!(lines, gateway.kept.lock().unwrap().len());
}
