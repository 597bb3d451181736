//! The audit: what devices were told, against what the hub has in the end.
//!
//! Every acknowledged reading is on the hub exactly once, with its time and value, in the order in
//! which it was posted; nothing is there that was never posted; the log of each node has no hole;
//! both sides have equal digests; each rollup equals its recomputation from raw readings, to the
//! last bit; `verify` finds nothing. Items whose answer never came may be there once or not at all.

mod copy;
mod windows;

pub use copy::{Copy, Digest, Series, Stored};

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use serde_json::Value as Json;

use crate::client::Client;
use crate::contract;
use crate::process::{Edge, Fleet, Hub, Service};
use crate::wait::until_async;
use crate::waterworks::{Account, Item, Key, Value};

/// How long a fleet may take to come to rest. A gateway notices a hub that is gone after up to a
/// minute, and a window waits for late readings.
const REST: Duration = Duration::from_secs(180);
/// Differences shown of many.
const SHOWN: usize = 5;

/// What an audit found in order.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    /// Readings on the hub.
    pub readings: u64,
    /// Items that were stored although their answer never came.
    pub unanswered: u64,
    /// Rollups compared.
    pub windows: usize,
    /// Segments in the logs of all nodes.
    pub segments: u64,
    /// The digest of both sides.
    pub digest: Digest,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { readings, unanswered, windows, segments, digest } = self;
        write!(
            f,
            "{readings} readings on the hub exactly once ({unanswered} items stored and never \
             answered), {windows} rollups equal, {segments} segments, digest {digest}"
        )
    }
}

/// A client with the admin token of a gateway.
///
/// # Panics
/// When there is no such token.
#[must_use]
pub fn edge_client(edge: &Edge) -> Client {
    let token = edge.admin_token().expect("init made an admin token");
    Client::new(edge.http()).with_token(token).held_to(&contract::EDGE)
}

/// A client with the admin token of the hub.
///
/// # Panics
/// As [`edge_client`].
#[must_use]
pub fn hub_client(hub: &Hub) -> Client {
    let token = hub.admin_token().expect("init made an admin token");
    Client::new(hub.http()).with_token(token).held_to(&contract::HUB)
}

/// The JSON at `path`; `Null` while there is no answer.
pub async fn look(client: &mut Client, path: &str) -> Json {
    client.get(path).await.map_or(Json::Null, |answer| answer.json())
}

/// Waits until the hub has everything and all pipelines have read it.
///
/// # Panics
/// When that takes too long.
pub async fn rest(fleet: &Fleet) {
    for edge in &fleet.edges {
        let what = format!("{}: everything at the hub", edge.name());
        until_async(&what, REST, || async {
            let status = look(&mut edge_client(edge), "/v1/status").await;
            let done = status["uplink"]["state"] == "online"
                && status["uplink"]["behind"] == 0
                && status["pipeline"]["lag"] == 0;
            done.then_some(())
        })
        .await;
    }
    // A gateway may not have noticed yet that its session is dead; numbers cannot err.
    until_async("as many readings on the hub as on its gateways", REST, || async {
        let mut hub = hub_client(&fleet.hub);
        let mut on_edges = 0;
        for edge in &fleet.edges {
            on_edges += readings(&mut edge_client(edge)).await?;
        }
        let lag = look(&mut hub, "/v1/status").await["pipeline"]["lag"].as_u64();
        (lag == Some(0) && readings(&mut hub).await == Some(on_edges)).then_some(())
    })
    .await;
}

/// How many readings a node counts over all its series.
pub async fn readings(client: &mut Client) -> Option<u64> {
    let listed = look(client, "/v1/series?limit=100000").await;
    let series = listed["series"].as_array()?.iter();
    Some(series.filter_map(|series| series["count"].as_u64()).sum())
}

/// Audits a fleet at rest and stops it. `accounts` are those of all devices of the fleet,
/// `widths_s` the widths of its rollups.
///
/// # Panics
/// When anything is not as it must be.
pub async fn audit(fleet: &mut Fleet, accounts: &[Account], widths_s: &[u32]) -> Report {
    rest(fleet).await;
    let windows = rollups(fleet, widths_s).await;
    // The rollups that came last are entries, too; readings are compared when nothing moves.
    rest(fleet).await;
    let hub = Copy::of_hub(&fleet.hub).expect("the hub exports");
    let mut edges = Digest::default();
    for edge in &fleet.edges {
        edges = edges.and(Copy::of_edge(edge).expect("the gateway exports").digest);
    }
    assert_eq!(edges, hub.digest, "gateways (left) and hub (right) hold the same readings");
    let unanswered = exactly_once(&hub, accounts);
    in_order(&hub, accounts);
    without_holes(&hub);
    let segments = verify(fleet);
    Report { readings: hub.digest.lines, unanswered, windows, segments, digest: hub.digest }
}

/// Every posted item against the readings with its name; gives how many items in doubt were stored.
fn exactly_once(hub: &Copy, accounts: &[Account]) -> u64 {
    let mut held: HashMap<(&str, (u32, u64)), Vec<&Stored>> = HashMap::new();
    for stored in &hub.stored {
        held.entry((&stored.series.device, stored.source)).or_default().push(stored);
    }
    let mut wrong = Vec::new();
    let mut unanswered = 0;
    for account in accounts {
        for (key, told) in account.acknowledged() {
            let found = held.remove(&name(key)).unwrap_or_default();
            wrong.extend(differs(&told.item, &found).map(|how| format!("{key:?}: {how}")));
        }
        for (key, item) in account.in_doubt() {
            let Some(found) = held.remove(&name(key)) else { continue };
            unanswered += 1;
            wrong.extend(differs(item, &found).map(|how| format!("{key:?}, in doubt: {how}")));
        }
        let refused = account.refused().keys().filter(|key| held.contains_key(&name(key)));
        wrong.extend(refused.map(|key| format!("{key:?} was refused and is stored")));
    }
    wrong.extend(held.keys().map(|name| format!("{name:?} was never posted")));
    let shown: Vec<_> = wrong.iter().take(SHOWN).collect();
    assert!(wrong.is_empty(), "{} items are wrong on the hub: {shown:#?}", wrong.len());
    unanswered
}

fn name(key: &Key) -> (&str, (u32, u64)) {
    (&key.device, (key.boot, key.seq))
}

/// How what is stored differs from the item, if it does.
fn differs(item: &Item, found: &[&Stored]) -> Option<String> {
    if found.len() != item.readings.len() {
        return Some(format!("{} readings posted, {} stored", item.readings.len(), found.len()));
    }
    item.readings.iter().find_map(|reading| {
        let unit = reading.unit.unwrap_or_default();
        let mut same = found
            .iter()
            .filter(|stored| stored.series.metric == reading.metric && stored.series.unit == unit);
        let (Some(stored), None) = (same.next(), same.next()) else {
            return Some(format!("`{}` is not stored exactly once", reading.metric));
        };
        let time_ns = i128::from(item.time_ms) * 1_000_000;
        let equal = stored.time_ns == time_ns && equal(stored.value, reading.value);
        (!equal).then(|| format!("posted {reading:?} at {time_ns} ns, stored {stored:?}"))
    })
}

fn equal(one: Value, other: Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.to_bits() == other.to_bits(),
        _ => one == other,
    }
}

/// The readings of each device in the order of the log are in the order in which they were posted.
fn in_order(hub: &Copy, accounts: &[Account]) {
    let mut posted: HashMap<(&str, (u32, u64)), usize> = HashMap::new();
    for (number, key) in accounts.iter().flat_map(Account::posted).enumerate() {
        posted.entry(name(key)).or_insert(number);
    }
    let mut log: Vec<_> = hub.stored.iter().collect();
    log.sort_by_key(|stored| stored.log);
    let mut latest: HashMap<&Series, (usize, &Stored)> = HashMap::new();
    for stored in log {
        let number = posted[&(stored.series.device.as_str(), stored.source)];
        if let Some((before, earlier)) = latest.insert(&stored.series, (number, stored)) {
            assert!(
                before < number,
                "the log has {earlier:?} before {stored:?}, which was posted first"
            );
        }
    }
}

/// The entries of each start of each node are 1, 2, 3 and so on.
fn without_holes(hub: &Copy) {
    let mut logs: BTreeMap<(&str, u64), Vec<u64>> = BTreeMap::new();
    for stored in &hub.stored {
        let (start, entry) = stored.log;
        logs.entry((&stored.series.node, start)).or_default().push(entry);
    }
    for ((node, start), mut entries) in logs {
        entries.sort_unstable();
        let hole = entries.iter().zip(1..).find(|(entry, expected)| *entry != expected);
        assert_eq!(hole, None, "entry and expected entry of start {start} of node {node}");
    }
}

/// The rollups on the hub against a recomputation; gives how many there are.
async fn rollups(fleet: &Fleet, widths_s: &[u32]) -> usize {
    let mut log = Copy::of_hub(&fleet.hub).expect("the hub exports").stored;
    log.sort_by_key(|stored| stored.log);
    let expected = windows::recompute(log.iter(), widths_s);
    let mut waiting: Vec<_> = expected.keys().map(|(s, width, _)| (s.clone(), *width)).collect();
    waiting.dedup();
    for (series, width_s) in waiting {
        let of = |key: &&windows::Key| key.0 == series && key.1 == width_s;
        let mine: BTreeMap<_, _> =
            expected.iter().filter(|(key, _)| of(key)).map(|(k, s)| (k.clone(), *s)).collect();
        let began = std::time::Instant::now();
        // A window goes on its way only after its end; what is shown at last has to be equal.
        loop {
            let shown = windows::shown(&mut hub_client(&fleet.hub), &series, width_s).await;
            if shown == mine {
                break;
            }
            let wrong = mine.iter().find(|(key, summary)| shown.get(key) != Some(summary));
            let there = wrong.and_then(|(key, _)| shown.get(key));
            assert!(
                began.elapsed() < REST,
                "rollups of {series:?} by {width_s} s: recomputed {wrong:?}, there {there:?}; \
                 {} recomputed, {} there",
                mine.len(),
                shown.len()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    expected.len()
}

/// Stops all nodes and has them verify what they stored. Returns how many segments that was.
///
/// # Panics
/// When a node does not stop in good order, or `verify` finds damage.
pub fn verify(fleet: &mut Fleet) -> u64 {
    let hub: &mut Service = &mut fleet.hub;
    let nodes = fleet.edges.iter_mut().map(|edge| &mut **edge).chain([hub]);
    let segments = nodes.map(|node| {
        let mut said = node.process().stderr();
        said.retain(|line| line.contains("damaged"));
        node.stop().expect("the node stops in good order");
        // A node that takes its store for damaged repairs it by itself, and all looks well after.
        let files = std::fs::read_dir(node.data()).expect("its files").flatten();
        let aside = files.map(|file| file.file_name().to_string_lossy().into_owned());
        let aside: Vec<_> = aside.filter(|name| name.contains(".damaged-")).collect();
        let none = aside.is_empty();
        assert!(none, "a store was repaired that nobody had damaged: {aside:?}: {said:#?}");
        let told = node.command("verify", ["--json"]).expect("`verify` finds nothing");
        let report: Json = serde_json::from_str(&told.join("")).expect("one object");
        report["segments"].as_u64().expect("a number")
    });
    segments.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::waterworks::Reading;

    fn item(seq: u64) -> Item {
        let reading = |metric, value| Reading { metric, unit: None, value: Value::Number(value) };
        let key = Key { device: "d1".into(), boot: 1, seq };
        let readings = vec![reading("level", seq as f64), reading("flow", 0.5)];
        Item { key, time_ms: seq as i64, readings }
    }

    /// A hub that holds the items in this order, two readings each.
    fn hub(items: &[u64]) -> Copy {
        let stored = items.iter().zip(0..).flat_map(|(seq, place)| {
            let item = item(*seq);
            item.readings.into_iter().zip(1..).map(move |(reading, nth)| Stored {
                series: Series {
                    node: "ab".into(),
                    device: "d1".into(),
                    metric: reading.metric.into(),
                    unit: String::new(),
                },
                time_ns: i128::from(item.time_ms) * 1_000_000,
                value: reading.value,
                source: (1, item.key.seq),
                log: (1, place * 2 + nth),
            })
        });
        Copy { stored: stored.collect(), digest: Digest::default() }
    }

    fn told(acknowledged: &[u64], in_doubt: &[u64]) -> Vec<Account> {
        let mut account = Account::default();
        acknowledged.iter().chain(in_doubt).for_each(|seq| account.post(&item(*seq)));
        acknowledged.iter().for_each(|seq| account.acknowledge(&item(*seq), 0));
        vec![account]
    }

    fn fails<T: fmt::Debug>(audit: impl FnOnce() -> T + std::panic::UnwindSafe) -> String {
        let panicked = std::panic::catch_unwind(audit).expect_err("the audit has to notice");
        panicked.downcast_ref::<String>().cloned().unwrap_or_default()
    }

    #[test]
    fn what_was_acknowledged_is_there_once_and_what_is_in_doubt_at_most_once() {
        assert_eq!(exactly_once(&hub(&[1, 2]), &told(&[1, 2], &[])), 0);
        assert_eq!(exactly_once(&hub(&[1, 2]), &told(&[1], &[2, 3])), 1);
        let lost = fails(|| exactly_once(&hub(&[1]), &told(&[1, 2], &[])));
        assert!(lost.contains("2 readings posted, 0 stored"), "{lost}");
        let doubled = fails(|| exactly_once(&hub(&[1, 1]), &told(&[1], &[])));
        assert!(doubled.contains("2 readings posted, 4 stored"), "{doubled}");
        let invented = fails(|| exactly_once(&hub(&[1, 2]), &told(&[1], &[])));
        assert!(invented.contains("never posted"), "{invented}");
        let changed = || {
            let mut hub = hub(&[1]);
            hub.stored[1].value = Value::Number(0.5f64.next_up());
            exactly_once(&hub, &told(&[1], &[]))
        };
        assert!(fails(changed).contains("posted Reading"), "one bit in a value is seen");
    }

    #[test]
    fn another_order_and_a_hole_are_seen() {
        in_order(&hub(&[3, 1, 2]), &told(&[3, 1, 2], &[]));
        assert!(fails(|| in_order(&hub(&[2, 1]), &told(&[1, 2], &[]))).contains("posted first"));
        without_holes(&hub(&[1, 2]));
        let hole = || {
            let mut hub = hub(&[1, 2]);
            hub.stored.remove(1);
            without_holes(&hub);
        };
        assert!(fails(hole).contains("entry and expected entry"));
    }
}
