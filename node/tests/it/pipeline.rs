//! What the pipeline keeps equals what the log says, over restarts and in whatever order data came.

use holdfast_core::log::Link;
use holdfast_core::log::events::{self, Event};
use holdfast_core::reading::Finite;
use holdfast_core::{ChainId, Quality, SeriesKey, Stream, Timestamp};
use holdfast_node::alerts::Plan;
use holdfast_node::pipeline::{self, Catalog, Options, Pipeline, Rolled};
use holdfast_node::query::{self, Shape, Span, Windows};
use holdfast_sync::env::System;
use holdfast_sync::identity::NodeKey;
use holdfast_sync::store::{
    self, ChainInfo, Draft, IngestBatch, Item, Overflow, OwnedValue, Received, Snapshot, Store,
    StoredCommit, Table, WriteTx,
};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const DAY: Span = Span { from: START, to: Timestamp(START.0 + 86_400_000_000_000) };
pub const START: Timestamp = Timestamp(1_793_880_000_000_000_000);

/// A store with its pipeline.
pub struct Node {
    pub store: Store,
    pub catalog: Arc<Catalog>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Node {
    fn open(dir: &Path, key: &NodeKey) -> Self {
        Self::keeping(dir, key, pipeline::WINDOWS_KEPT_S)
    }

    /// One whose windows have records for so many seconds.
    pub fn keeping(dir: &Path, key: &NodeKey, windows_kept_s: u64) -> Self {
        let options = store::Options {
            dir: dir.to_owned(),
            key: key.clone(),
            quota_bytes: 1 << 30,
            overflow: Overflow::DropOldestRaw,
            max_series: 1_000,
            seal_after: store::SEAL_AFTER,
            version: "test",
            scrub_every: Duration::ZERO,
            unsafe_normal_sync: false,
        };
        let (store, _) = Store::open(options, System::env()).unwrap();
        let options = Options {
            widths_s: vec![60, 600],
            windows_kept_s,
            on_live: Arc::new(|_| {}),
            alerts: Plan::default(),
            on_traced: None,
        };
        let pipeline = Pipeline::load(store.clone(), options, 1_000).unwrap();
        let (catalog, stop) = (pipeline.catalog(), CancellationToken::new());
        let task = tokio::spawn(pipeline.run(stop.clone()));
        Self { store, catalog, stop, task }
    }

    async fn post(&self, unit: &str, readings: &[(i64, f64)]) {
        let in_ms: Vec<_> =
            readings.iter().map(|(second, value)| (second * 1_000, *value)).collect();
        self.post_ms(unit, &in_ms).await;
    }

    /// Posts readings at milliseconds from the start.
    pub async fn post_ms(&self, unit: &str, readings: &[(i64, f64)]) {
        let key = SeriesKey::new("tank", "level", unit).unwrap();
        let series = self.store.interner().intern(&key).unwrap();
        let mut batch = IngestBatch::default();
        for (i, (ms, value)) in readings.iter().enumerate() {
            batch.drafts.push(Draft {
                series: Arc::clone(&series),
                time: Some(START.saturating_add(ms * 1_000_000)),
                value: OwnedValue::Float(Finite::new(*value).unwrap()),
                quality: Quality::GOOD,
            });
            batch.items.push(Item { drafts: i..i + 1, source: None });
        }
        self.store.ingest(batch).await.unwrap();
    }

    /// Waits until `count` readings of a series are counted.
    pub async fn counted(&self, unit: &str, count: u64) {
        let counted = || {
            let all = self.catalog.list(|info| &*info.unit == unit);
            all.first().map_or(0, |(_, last)| last.count)
        };
        for _ in 0..6_000 {
            if counted() >= count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(counted(), count);
    }

    pub async fn close(self) {
        self.stop.cancel();
        self.task.await.unwrap();
        self.store.close().await;
    }

    fn windows(&self) -> Vec<(i64, u64, f64, f64, f64)> {
        let key = SeriesKey::new("tank", "level", "m").unwrap();
        let info = self.catalog.named(&key, None).remove(0);
        let shape = Shape::Fixed { width_s: 60, step_s: 60 };
        let look = |view: &Snapshot<'_>| query::windows(view, &info, &shape, DAY, 1_000);
        let Windows::Found(windows) = self.store.read_blocking(look).unwrap() else { panic!() };
        let each = windows.iter().map(|(stretch, Rolled { summary, .. })| {
            let start = stretch.start_s - START.seconds();
            (start, summary.count, summary.sum, summary.min, summary.max)
        });
        each.collect()
    }

    /// Waits until no window has a record.
    pub async fn windows_removed(&self) {
        let left = |view: &Snapshot<'_>| view.scan(Table::Window, &[], &[], 1);
        for _ in 0..6_000 {
            if self.store.read_blocking(left).unwrap().is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("there are still records of windows");
    }

    /// The chain of this start's readings, each commit with the link before it.
    fn own_readings(&self) -> (ChainId, Vec<(Link, StoredCommit)>) {
        let look = |view: &Snapshot<'_>| {
            let own = self.store.incarnation();
            let mut chains = view.chains()?.into_iter();
            let is_own = |c: &ChainInfo| (c.id.incarnation, c.id.stream) == (own, Stream::Reading);
            let chain = chains.find(is_own).unwrap();
            let mut commits = view.commits_after(0, usize::MAX)?;
            commits.retain(|commit| commit.chain == chain.no);
            let links: Vec<_> = commits.iter().map(|commit| commit.link).collect();
            let before = std::iter::once(Link::START).chain(links);
            Ok((chain.id, before.zip(commits).collect()))
        };
        self.store.read_blocking(look).unwrap()
    }

    /// Events and rollup entries in the log.
    fn entries(&self) -> (Vec<String>, u64) {
        let look = |view: &Snapshot<'_>| {
            let chains = view.chains()?;
            Ok((chains, view.commits_after(0, usize::MAX)?))
        };
        let (chains, commits) = self.store.read_blocking(look).unwrap();
        let (mut units, mut rollups) = (Vec::new(), 0);
        for commit in commits {
            let chain = chains.iter().find(|chain| chain.no == commit.chain).unwrap();
            match chain.id.stream {
                Stream::Rollup => rollups += u64::from(commit.count),
                Stream::Event => {
                    for event in events::read(&commit.body).unwrap().1 {
                        if let Event::UnitChanged { before, unit } = event.unwrap() {
                            units.push(format!("{} -> {unit}", before.unit));
                        }
                    }
                }
                _ => {}
            }
        }
        (units, rollups)
    }
}

pub fn key() -> NodeKey {
    NodeKey::generate(&System::env())
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_are_what_the_log_says_and_late_readings_revise_them() {
    let (dir, key) = (tempfile::tempdir().unwrap(), key());
    let node = Node::open(dir.path(), &key);
    node.post("m", &[(0, 1.0), (10, 3.0), (70, 5.0)]).await;
    node.counted("m", 3).await;
    assert_eq!(node.windows(), [(0, 2, 4.0, 1.0, 3.0), (60, 1, 5.0, 5.0, 5.0)]);
    node.post("m", &[(20, -2.0)]).await;
    node.counted("m", 4).await;
    assert_eq!(node.windows()[0], (0, 3, 2.0, -2.0, 3.0));
    node.close().await;
}

/// A flipped bit took the record of one series, and the gateway did not start any more: its repair
/// keeps what can be read, and a number was missing in what it kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_series_whose_record_is_lost_is_found_in_the_log_again() {
    for lost in 0..2u32 {
        let (dir, key) = (tempfile::tempdir().unwrap(), key());
        let node = Node::open(dir.path(), &key);
        node.post("m", &[(0, 1.0), (10, 3.0), (70, 5.0)]).await;
        node.counted("m", 3).await;
        node.post("kPa", &[(0, 7.0)]).await;
        node.counted("kPa", 1).await;
        let (before, (_, rollups)) = (node.windows(), node.entries());
        let forget = move |tx: &mut WriteTx<'_>| Ok(tx.delete(Table::Series, &lost.to_be_bytes())?);
        assert!(node.store.write(forget).await.unwrap().1);
        node.close().await;
        let node = Node::open(dir.path(), &key);
        node.counted("m", 3).await;
        node.counted("kPa", 1).await;
        assert_eq!(node.windows(), before);
        assert_eq!(node.entries().1, rollups, "no rollup is written again");
        assert_eq!(node.store.noted_damage(), None, "there is nothing left to repair");
        node.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_counts_nothing_twice_and_writes_no_rollup_again() {
    let (dir, key) = (tempfile::tempdir().unwrap(), key());
    let node = Node::open(dir.path(), &key);
    node.post("m", &[(0, 1.0), (10, 3.0)]).await;
    node.counted("m", 2).await;
    let (before, (_, rollups)) = (node.windows(), node.entries());
    node.close().await;
    let node = Node::open(dir.path(), &key);
    node.counted("m", 2).await;
    assert_eq!((node.windows(), node.entries().1), (before, rollups));
    node.post("m", &[(30, 4.0)]).await;
    node.counted("m", 3).await;
    assert_eq!(node.windows(), [(0, 3, 8.0, 1.0, 4.0)]);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_unit_is_another_series_and_an_event() {
    let (dir, key) = (tempfile::tempdir().unwrap(), key());
    let node = Node::open(dir.path(), &key);
    node.post("m", &[(0, 1.0)]).await;
    node.counted("m", 1).await;
    node.post("cm", &[(10, 100.0)]).await;
    node.counted("cm", 1).await;
    assert_eq!(node.windows(), [(0, 1, 1.0, 1.0, 1.0)], "units are never mixed");
    assert_eq!(node.entries().0, ["m -> cm"]);
    node.close().await;
}

/// A node that was put back from a copy gets its lost readings from a peer, the newest first, when
/// it has taken later ones already. The windows have to be what the log then holds.
#[tokio::test(flavor = "multi_thread")]
async fn readings_that_come_back_late_and_in_any_order_are_in_their_windows() {
    let (dir, key) = (tempfile::tempdir().unwrap(), key());
    let (home, copy) = (dir.path().join("home"), dir.path().join("copy"));
    let node = Node::open(&home, &key);
    node.post("m", &[(0, 1.0)]).await;
    node.counted("m", 1).await;
    node.close().await;
    std::fs::create_dir(&copy).unwrap();
    for entry in std::fs::read_dir(&home).unwrap().flatten() {
        std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    let node = Node::open(&home, &key);
    node.post("m", &[(10, 2.0)]).await;
    node.post("m", &[(20, 3.0), (70, 7.0)]).await;
    node.counted("m", 4).await;
    let lost = node.own_readings();
    node.close().await;

    let node = Node::open(&copy, &key);
    node.post("m", &[(30, 4.0)]).await;
    node.counted("m", 2).await;
    let (chain, commits) = lost;
    for (before, commit) in commits.into_iter().rev() {
        let mut run = Received::new(chain, before);
        run.push(commit.first, commit.count, None, false, commit.body).unwrap();
        node.store.write(move |tx| tx.accept(&run)).await.unwrap();
    }
    node.counted("m", 5).await;
    assert_eq!(node.windows(), [(0, 4, 10.0, 1.0, 4.0), (60, 1, 7.0, 7.0, 7.0)]);
    node.close().await;
}

/// Windows of the past are read from the log, by themselves and in segments, and late readings go
/// on from there.
#[tokio::test(flavor = "multi_thread")]
async fn windows_whose_records_are_gone_are_in_the_log() {
    let (dir, key) = (tempfile::tempdir().unwrap(), key());
    let node = Node::keeping(dir.path(), &key, 0);
    node.post("m", &[(0, 1.0), (10, 3.0), (70, 5.0)]).await;
    node.counted("m", 3).await;
    node.windows_removed().await;
    let two = [(0, 2, 4.0, 1.0, 3.0), (60, 1, 5.0, 5.0, 5.0)];
    assert_eq!(node.windows(), two);
    node.store.seal_all(1).unwrap();
    assert_eq!(node.windows(), two, "from a segment");
    node.post("m", &[(20, -2.0)]).await;
    node.counted("m", 4).await;
    let revised = [(0, 3, 2.0, -2.0, 3.0), two[1]];
    assert_eq!(node.windows(), revised);
    node.windows_removed().await;
    assert_eq!(node.windows(), revised);
    node.close().await;
    let node = Node::keeping(dir.path(), &key, 0);
    node.post("m", &[(30, 4.0)]).await;
    node.counted("m", 5).await;
    assert_eq!(node.windows(), [(0, 4, 6.0, -2.0, 4.0), two[1]]);
    node.close().await;
}
