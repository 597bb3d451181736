//! What users see of documents beside their cells: the past, the devices, what was touched, and
//! when it was written.

use super::super::{Clock, DocumentName, Documents, Edit, Page, What, Writer};
use crate::env::{Env, Source, System};
use crate::identity::NodeKey;
use crate::store::{Options, Overflow, Snapshot, Store, WriteError};
use holdfast_core::Timestamp;
use holdfast_core::hlc::Stamp;
use holdfast_core::state::{Author, Cell, Path, Policy, Role, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// 2026-11-20.
const NOW_MS: i64 = 1_795_132_800_000;

/// A wall clock that the test sets.
struct Wall {
    ms: AtomicI64,
    system: Env,
}

impl Source for Wall {
    fn now(&self) -> Timestamp {
        Timestamp(self.ms.load(Ordering::SeqCst) * 1_000_000)
    }

    fn monotonic_ms(&self) -> u64 {
        self.system.monotonic_ms()
    }

    fn entropy(&self) -> u64 {
        self.system.entropy()
    }

    fn fill(&self, out: &mut [u8]) {
        self.system.fill(out);
    }
}

/// A gateway whose clock is set by hand, over restarts.
struct Gateway {
    store: Store,
    documents: Arc<Documents>,
    clock: Arc<Clock>,
    wall: Arc<Wall>,
    dir: tempfile::TempDir,
}

impl Gateway {
    fn new() -> Self {
        let wall = Arc::new(Wall { ms: AtomicI64::new(NOW_MS), system: System::env() });
        Self::open(tempfile::tempdir().unwrap(), wall)
    }

    fn open(dir: tempfile::TempDir, wall: Arc<Wall>) -> Self {
        let key = NodeKey::for_test(7);
        let options = Options {
            dir: dir.path().to_owned(),
            key: key.clone(),
            quota_bytes: 1 << 30,
            overflow: Overflow::DropOldestRaw,
            max_series: 10,
            seal_after: 0,
            version: "test",
            scrub_every: std::time::Duration::ZERO,
            unsafe_normal_sync: true,
        };
        let (store, _) = Store::open(options, Arc::clone(&wall) as Env).unwrap();
        let documents = Arc::new(Documents::new(&store, key, Role::Edge));
        let clock = store.read_blocking(|view: &Snapshot<'_>| Clock::load(view)).unwrap();
        Self { store, documents, clock: Arc::new(clock), wall, dir }
    }

    async fn restarted(self) -> Self {
        self.store.close().await;
        drop(self.store);
        Self::open(self.dir, self.wall)
    }

    /// Writes numbers to `name`, or deletes where there is none, and tells the stamp.
    async fn write(&self, name: &str, edits: &[(&str, Option<i64>)]) -> Stamp {
        let name = DocumentName::new(name).unwrap();
        let edits: Vec<(String, Option<i64>)> =
            edits.iter().map(|(path, value)| ((*path).to_owned(), *value)).collect();
        let (documents, clock) = (Arc::clone(&self.documents), Arc::clone(&self.clock));
        let author = Author::node(&self.store.node());
        let written = self.store.write(move |tx| {
            let writer = Writer { author, role: Role::Edge, clock: clock.tick(tx)? };
            let edit = |(path, value): &(String, Option<i64>)| {
                let what = value.map_or(What::Delete, |value| What::Put(Value::Int(value)));
                (path.clone(), what)
            };
            let edits: Vec<_> = edits.iter().map(edit).collect();
            let edits: Vec<_> = edits
                .iter()
                .map(|(path, what)| Edit { path: Path::new(path).unwrap(), what: *what })
                .collect();
            documents.write(tx, &name, &Policy::LWW, writer, &edits)?;
            Ok(writer.clock)
        });
        written.await.unwrap().1
    }

    fn history(&self, name: &str, before: Option<[u8; 32]>, limit: usize) -> Option<Page> {
        let name = DocumentName::new(name).unwrap();
        let look = |view: &Snapshot<'_>| Documents::history(view, &name, before, limit);
        self.store.read_blocking(look).unwrap()
    }
}

const DESIRED: &str = "device/pump-1/desired";

/// A gateway without a battery for its clock wakes up in 1970 after a power cut. What was set then
/// lost against what had been set before it, wherever neither had seen the other.
#[tokio::test]
async fn a_clock_that_lost_its_time_over_a_start_stamps_nothing_earlier_than_before() {
    let gateway = Gateway::new();
    let before = gateway.write(DESIRED, &[("mode", Some(1))]).await;
    assert_eq!(before.millis(), NOW_MS as u64);
    gateway.wall.ms.store(-5_000, Ordering::SeqCst);
    let gateway = gateway.restarted().await;
    let after = gateway.write("device/other/desired", &[("mode", Some(1))]).await;
    assert!(after > before, "{after:?} {before:?}");
    assert_eq!(after.millis(), before.millis(), "and none later than need be");
}

#[tokio::test]
async fn an_undone_write_leaves_no_mark_and_still_no_stamp_is_given_twice() {
    let gateway = Gateway::new();
    let first = gateway.write(DESIRED, &[("mode", Some(1))]).await;
    let clock = Arc::clone(&gateway.clock);
    let undone = gateway.store.write(move |tx| {
        clock.tick(tx)?;
        Err::<(), _>(WriteError::Refused("not today".to_owned()))
    });
    assert!(undone.await.is_err());
    let second = gateway.write(DESIRED, &[("mode", Some(2))]).await;
    assert_eq!(second.0, first.0 + 2, "the one that was undone is not given again");
}

#[tokio::test]
async fn the_past_tells_the_newest_change_first_and_what_it_put_in_the_place_of_what() {
    let gateway = Gateway::new();
    gateway.write(DESIRED, &[("mode", Some(1)), ("net/ip", Some(5))]).await;
    gateway.wall.ms.store(NOW_MS + 1_000, Ordering::SeqCst);
    gateway.write(DESIRED, &[("mode", Some(2))]).await;
    let gateway = gateway.restarted().await;
    gateway.write(DESIRED, &[("net", None)]).await;

    let page = gateway.history(DESIRED, None, 10).unwrap();
    assert!(!page.more);
    let value = |cell: &[u8]| match Cell::from_bytes(cell).unwrap().value() {
        Some(Value::Int(value)) => Some(value),
        _ => None,
    };
    let told: Vec<Vec<_>> = page
        .changes
        .iter()
        .map(|change| {
            let put = change.puts.iter();
            let put = put.map(|put| {
                (put.key.as_str(), put.before.first().map(|cell| value(cell)), value(&put.after))
            });
            put.collect()
        })
        .collect();
    assert_eq!(
        told,
        [
            vec![("net/ip", Some(Some(5)), None)],
            vec![("mode", Some(Some(1)), Some(2))],
            vec![("mode", None, Some(1)), ("net/ip", None, Some(5))],
        ]
    );
    assert!(page.changes.iter().all(|change| change.node == gateway.store.node()));
    assert_eq!(page.changes[1].time_ms, NOW_MS + 1_000);

    let first = gateway.history(DESIRED, None, 2).unwrap();
    assert!(first.more && first.changes == page.changes[..2]);
    let second = gateway.history(DESIRED, Some(page.changes[1].hash), 2).unwrap();
    assert!(!second.more && second.changes == page.changes[2..]);
    assert_eq!(gateway.history(DESIRED, Some([1; 32]), 2), None, "no change of it");
    assert_eq!(gateway.history("device/x/desired", None, 2), Some(Page::default()));
}

#[tokio::test]
async fn a_page_of_the_past_is_bounded_in_bytes_and_still_goes_on() {
    let gateway = Gateway::new();
    let paths: Vec<String> =
        (0..150).map(|n| format!("{n:03}/{}", "long-names".repeat(12))).collect();
    let edits = |value| paths.iter().map(|path| (path.as_str(), Some(value))).collect::<Vec<_>>();
    for value in 0..60 {
        gateway.write(DESIRED, &edits(value)).await;
    }
    let (mut before, mut seen, mut pages) = (None, 0, 0);
    loop {
        let page = gateway.history(DESIRED, before, 100).unwrap();
        seen += page.changes.len();
        pages += 1;
        before = page.changes.last().map(|change| change.hash);
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, 60);
    assert!(pages > 1, "all of it went into one page");
}

#[tokio::test]
async fn who_follows_changes_is_told_the_keys_that_were_touched_since() {
    let gateway = Gateway::new();
    let name = DocumentName::new(DESIRED).unwrap();
    gateway.write(DESIRED, &[("mode", Some(1))]).await;
    let place = || gateway.store.read_blocking(|view: &Snapshot<'_>| Documents::last_place(view));
    let seen = place().unwrap();
    gateway.write(DESIRED, &[("net", Some(1))]).await;
    gateway.write(DESIRED, &[("net/ip", Some(2))]).await;
    gateway.write("device/other/tags", &[("room", Some(2))]).await;
    assert_eq!((seen, place().unwrap()), (1, 4));
    let touched = gateway.documents.touched_since(&name, seen).unwrap();
    assert_eq!(Vec::from_iter(touched), ["net", "net/ip"]);

    let gateway = gateway.restarted().await;
    assert_eq!(gateway.documents.touched_since(&name, seen), None);
}

#[tokio::test]
async fn devices_are_listed_page_by_page_each_once() {
    let gateway = Gateway::new();
    let devices = ["a", "a-1", "a.b", "b", "ba", "c:d"];
    for device in devices {
        for section in ["desired", "reported", "tags"] {
            gateway.write(&format!("device/{device}/{section}"), &[("x", Some(1))]).await;
        }
    }
    gateway.write("site/north", &[("x", Some(1))]).await;
    let list = |prefix: &str, after: Option<&str>, limit| {
        let look = |view: &Snapshot<'_>| Documents::devices(view, prefix, after, limit);
        gateway.store.read_blocking(look).unwrap()
    };
    let mut all = list("", None, 100);
    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let page = list("", after.as_deref(), 2);
        after = page.last().cloned();
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, all);
    all.sort();
    assert_eq!(all, devices);
    let mut found = list("a", None, 100);
    found.sort();
    assert_eq!(found, ["a", "a-1", "a.b"]);
    assert_eq!(list("a", Some("a-1"), 100), list("a", None, 100)[1..]);
    assert_eq!(list("d", None, 100), [""; 0]);
}
