//! Alerts over a real store and pipeline, by clocks that the test sets.

use holdfast_core::condition::{self, Test};
use holdfast_core::log::alerts::AlertId;
use holdfast_core::log::events::{self, Event, Severity};
use holdfast_core::reading::Finite;
use holdfast_core::{Quality, SeriesKey, Stream, Timestamp};
use holdfast_node::alerts::{Alert, Backlog, Book, Filter, Plan, Rule, Scope, id_text};
use holdfast_node::pipeline::{OnLive, Options, Pipeline, Progress};
use holdfast_sync::env::{Env, Source, System};
use holdfast_sync::identity::NodeKey;
use holdfast_sync::store::{
    self, Draft, IngestBatch, Item, Overflow, OwnedValue, PIPELINE, Snapshot, Store, Table,
};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const START_MS: i64 = 1_793_880_000_000;
const SECOND: i64 = 1_000_000_000;

/// Clocks that the test sets.
struct Hand {
    wall_ms: AtomicI64,
    steady_ms: AtomicU64,
    system: Env,
}

impl Hand {
    fn new() -> Arc<Self> {
        let (wall_ms, steady_ms) = (AtomicI64::new(START_MS), AtomicU64::new(0));
        Arc::new(Self { wall_ms, steady_ms, system: System::env() })
    }

    fn pass_s(&self, seconds: u64) {
        self.steady_ms.fetch_add(seconds * 1000, Ordering::SeqCst);
        self.set_s(seconds as i64);
    }

    /// Sets the wall clock on or back.
    fn set_s(&self, by: i64) {
        self.wall_ms.fetch_add(by * 1000, Ordering::SeqCst);
    }
}

impl Source for Hand {
    fn now(&self) -> Timestamp {
        Timestamp(self.wall_ms.load(Ordering::SeqCst) * 1_000_000)
    }

    fn monotonic_ms(&self) -> u64 {
        self.steady_ms.load(Ordering::SeqCst)
    }

    fn entropy(&self) -> u64 {
        self.system.entropy()
    }

    fn fill(&self, out: &mut [u8]) {
        self.system.fill(out);
    }
}

fn rule(name: &str, test: Test, hold_s: i64) -> Rule {
    Rule {
        name: name.into(),
        device: "tank*".into(),
        metric: "*".into(),
        condition: condition::Rule { test, hold_ns: hold_s * SECOND, clear_hold_ns: 0 },
        words: "above 3".into(),
        severity: Severity::Critical,
        text: "".into(),
        backlog: Backlog::Skip { max_age_ns: 300 * SECOND },
        scope: Scope::Series,
        begins: None,
    }
}

fn high(hold_s: i64) -> Rule {
    rule("high", Test::Above { limit: 3.0, clear: 2.5 }, hold_s)
}

fn quiet(seconds: i64) -> Rule {
    Rule { scope: Scope::Device, ..rule("quiet", Test::Silent { for_ns: seconds * SECOND }, 0) }
}

struct Node {
    store: Store,
    book: Arc<Book>,
    progress: watch::Receiver<Progress>,
    hand: Arc<Hand>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// A place where a node can be opened again and again.
struct Place {
    dir: tempfile::TempDir,
    key: NodeKey,
    hand: Arc<Hand>,
}

impl Place {
    fn new() -> Self {
        let key = NodeKey::generate(&System::env());
        Self { dir: tempfile::tempdir().unwrap(), key, hand: Hand::new() }
    }

    fn store(&self) -> Store {
        let options = store::Options {
            dir: Path::to_owned(self.dir.path()),
            key: self.key.clone(),
            quota_bytes: 1 << 30,
            overflow: Overflow::DropOldestRaw,
            max_series: 1_000,
            seal_after: store::SEAL_AFTER,
            version: "test",
            scrub_every: std::time::Duration::ZERO,
            unsafe_normal_sync: false,
        };
        Store::open(options, Arc::clone(&self.hand) as Env).unwrap().0
    }

    fn open(&self, rules: Vec<Rule>) -> Node {
        let store = self.store();
        let alerts = Plan { rules, ..Plan::default() };
        let on_live: OnLive = Arc::new(|_| {});
        let options =
            Options { widths_s: vec![60], windows_kept_s: 600, on_live, alerts, on_traced: None };
        let pipeline = Pipeline::load(store.clone(), options, 1_000).unwrap();
        let (book, progress) = (pipeline.book(), pipeline.progress());
        let stop = CancellationToken::new();
        let task = tokio::spawn(pipeline.run(stop.clone()));
        Node { store, book, progress, hand: Arc::clone(&self.hand), stop, task }
    }
}

async fn post(store: &Store, value: f64) {
    let key = SeriesKey::new("tank", "level", "m").unwrap();
    let series = store.interner().intern(&key).unwrap();
    let value = OwnedValue::Float(Finite::new(value).unwrap());
    let draft = Draft { series, time: None, value, quality: Quality::GOOD };
    let item = Item { drafts: 0..1, source: None };
    let batch = IngestBatch { drafts: vec![draft], items: vec![item], ..IngestBatch::default() };
    store.ingest(batch).await.unwrap();
}

async fn until(what: &str, mut look: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if look() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("waited in vain for {what}");
}

impl Node {
    /// Posts at the present time, and waits until it is judged.
    async fn post(&self, value: f64) {
        post(&self.store, value).await;
        self.read_all().await;
    }

    async fn read_all(&self) {
        let store = &self.store;
        until("the pipeline", || self.progress.borrow().cursor >= store.watch().borrow().pos).await;
    }

    /// Lets time pass second by second, so that the clock is judged in between.
    async fn pass_s(&self, seconds: u64) {
        for _ in 0..seconds {
            self.hand.pass_s(1);
            // An entry wakes the pipeline; what it says concerns nobody here.
            let notice = Event::Notice { severity: Severity::Info, code: "tick", text: "" };
            self.store.write(move |tx| tx.append_events(&[notice])).await.unwrap();
            self.read_all().await;
        }
    }

    fn list(&self, active: bool) -> Vec<Alert> {
        self.book.list(&Filter { active, ..Filter::default() })
    }

    /// What the log says of alerts, in order.
    fn said(&self) -> Vec<(&'static str, AlertId)> {
        let look = |view: &Snapshot<'_>| Ok((view.chains()?, view.commits_after(0, usize::MAX)?));
        let (chains, commits) = self.store.read_blocking(look).unwrap();
        let mut out = Vec::new();
        for commit in commits {
            let chain = chains.iter().find(|chain| chain.no == commit.chain).unwrap();
            if chain.id.stream != Stream::Event {
                continue;
            }
            for event in events::read(&commit.body).unwrap().1 {
                match event.unwrap() {
                    Event::AlertRaised(alert) => out.push(("raised", alert.id)),
                    Event::AlertCleared(alert) => out.push(("cleared", alert.id)),
                    _ => {}
                }
            }
        }
        out
    }

    fn words(&self) -> Vec<&'static str> {
        self.said().into_iter().map(|(word, _)| word).collect()
    }

    async fn close(self) {
        self.stop.cancel();
        self.task.await.unwrap();
        self.store.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crossing_is_said_once_and_ends_once_over_restarts() {
    let place = Place::new();
    let node = place.open(vec![high(0)]);
    node.post(1.0).await;
    node.post(3.5).await;
    node.post(3.6).await;
    let active = node.list(true);
    let (_, raised) = active[0].raised().unwrap();
    assert_eq!((active.len(), raised.text), (1, "tank level is 3.5 m: above 3"));
    assert_eq!(raised.since.millis(), START_MS);
    let id = active[0].id;
    node.close().await;
    let node = place.open(vec![high(0)]);
    node.post(3.7).await;
    assert_eq!(node.list(true).len(), 1, "{}", id_text(id));
    node.post(1.0).await;
    assert_eq!(node.list(true), []);
    assert_eq!(node.said(), [("raised", id), ("cleared", id)]);
    let kept = node.list(false);
    node.close().await;
    let node = place.open(vec![high(0)]);
    assert_eq!(node.list(false), kept);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_goes_on_over_a_restart() {
    let place = Place::new();
    let node = place.open(vec![high(60)]);
    node.post(4.0).await;
    node.pass_s(3).await;
    assert_eq!(node.words(), [""; 0]);
    node.close().await;
    place.hand.pass_s(55);
    let node = place.open(vec![high(60)]);
    node.pass_s(1).await;
    assert_eq!(node.words(), [""; 0], "59 s");
    node.pass_s(2).await;
    assert_eq!(node.words(), ["raised"]);
    let active = node.list(true);
    let (_, raised) = active[0].raised().unwrap();
    assert_eq!(raised.since.millis(), START_MS);
    assert_eq!(raised.value, Some(holdfast_core::Value::float(4.0).unwrap()));
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_told_over_a_restart_after_a_while_to_speak() {
    let place = Place::new();
    let node = place.open(vec![quiet(5)]);
    node.post(1.0).await;
    node.pass_s(2).await;
    node.close().await;
    place.hand.pass_s(3600);
    let node = place.open(vec![quiet(5)]);
    node.pass_s(3).await;
    assert_eq!(node.words(), [""; 0], "nobody could be heard while the node was down");
    node.pass_s(4).await;
    assert_eq!(node.words(), ["raised"]);
    node.post(1.0).await;
    assert_eq!(node.words(), ["raised", "cleared"]);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_readings_raise_nothing_unless_the_rule_says_so() {
    for (backlog, words) in [
        (Backlog::Skip { max_age_ns: 300 * SECOND }, &[][..]),
        (Backlog::Replay, &["raised", "cleared"]),
    ] {
        let place = Place::new();
        let store = place.store();
        for value in [1.0, 5.0, 1.0] {
            post(&store, value).await;
        }
        store.close().await;
        place.hand.pass_s(301);
        let node = place.open(vec![Rule { backlog, ..high(0) }]);
        node.read_all().await;
        assert_eq!(node.words(), words);
        node.post(5.0).await;
        assert_eq!(node.words().len(), words.len() + 1, "a fresh one raises");
        node.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_removed_rule_raised_is_cleared_as_unwatched() {
    let place = Place::new();
    let node = place.open(vec![high(0)]);
    node.post(5.0).await;
    node.close().await;
    let node = place.open(Vec::new());
    node.pass_s(2).await;
    assert_eq!(node.words(), ["raised", "cleared"]);
    let all = node.list(false);
    assert_eq!(all[0].cleared().unwrap().1.reason.name(), "unwatched");
    node.close().await;
    let node = place.open(vec![high(0)]);
    node.post(5.0).await;
    assert_eq!(node.words(), ["raised", "cleared", "raised"]);
    node.close().await;
}

// After a repair the cursor is dropped and the log is read from its beginning.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_read_again_says_nothing_again() {
    for lost in [&[][..], &[Table::Alert], &[Table::Series, Table::Window]] {
        let place = Place::new();
        let node = place.open(vec![high(0), quiet(600)]);
        for value in [1.0, 5.0, 1.0, 6.0] {
            node.pass_s(1).await;
            node.post(value).await;
        }
        let (said, known) = (node.said(), node.list(false));
        assert_eq!(said.len(), 3);
        node.store
            .write(move |tx| {
                tx.delete(Table::Cursor, PIPELINE)?;
                for table in lost {
                    for (key, _) in tx.view().scan(*table, &[], &[], usize::MAX)? {
                        tx.delete(*table, &key)?;
                    }
                }
                Ok(())
            })
            .await
            .unwrap();
        node.close().await;
        let node = place.open(vec![high(0), quiet(600)]);
        node.read_all().await;
        assert_eq!(node.said(), said, "{lost:?}");
        let again = node.list(false);
        assert!(known.iter().all(|alert| again.contains(alert)), "{lost:?}");
        node.post(1.0).await;
        assert_eq!(node.list(true), [], "{lost:?}");
        node.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_makes_nobody_silent_and_wedges_nothing() {
    let place = Place::new();
    let node = place.open(vec![high(20), quiet(30)]);
    for by in [86_400 * 365, -86_400 * 800, 120, -120] {
        node.post(1.0).await;
        node.pass_s(2).await;
        place.hand.set_s(by);
        node.pass_s(2).await;
        assert_eq!(node.words(), [""; 0], "set by {by} s");
        node.post(4.0).await;
        node.pass_s(2).await;
        node.post(1.0).await;
    }
    node.post(4.0).await;
    node.pass_s(21).await;
    assert_eq!(node.words(), ["raised"]);
    node.pass_s(10).await;
    assert_eq!(node.words(), ["raised", "raised"], "and silence too");
    node.close().await;
}
