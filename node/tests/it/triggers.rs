//! What begins runs, and conditions that runs wait for: found once, whatever is stopped when.

use super::runs::{HOUR_MS, Hand, hand, until};
use futures::FutureExt;
use futures::future::BoxFuture;
use holdfast_core::flow::effect::{Argument, Kind};
use holdfast_core::log::alerts::{AlertCleared, AlertId, AlertRaised, ClearReason, Subject};
use holdfast_core::log::events::{Event, Severity};
use holdfast_core::reading::{Finite, Quality};
use holdfast_core::state::Role;
use holdfast_core::{Device, SeriesKey, Timestamp};
use holdfast_node::alerts::Plan;
use holdfast_node::flow;
use holdfast_node::pipeline::{Options, Pipeline, Progress};
use holdfast_node::runs::{Abilities, Asked, Desk, Due, Failure, Local, Outside, Runs, Tray};
use holdfast_sync::Fault;
use holdfast_sync::env::{Env, Source};
use holdfast_sync::identity::NodeKey;
use holdfast_sync::store::{
    self, Draft, IngestBatch, Item, Overflow, OwnedValue, Store, Table, WriteTx,
};
use serde_json::{Value as Json, json};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Keeps what is published, under its key.
#[derive(Clone, Default)]
struct Board(Arc<Mutex<Vec<(String, Json)>>>);

impl Board {
    /// Each message once, in their order.
    fn messages(&self) -> Vec<Json> {
        let mut out: Vec<(String, Json)> = Vec::new();
        for (key, payload) in self.0.lock().unwrap().iter() {
            if !out.iter().any(|(known, _)| known == key) {
                out.push((key.clone(), payload.clone()));
            }
        }
        out.into_iter().map(|(_, payload)| payload).collect()
    }

    fn len(&self) -> usize {
        self.messages().len()
    }
}

impl Outside for Board {
    fn kinds(&self) -> u32 {
        Kind::Publish.bit()
    }

    fn act(&self, asked: Asked) -> BoxFuture<'static, Result<Json, Failure>> {
        let payload = asked.json(Argument::Payload).unwrap_or_default();
        self.0.lock().unwrap().push((asked.key(), payload));
        async { Ok(Json::Null) }.boxed()
    }
}

/// Does nothing by itself; devices whose ids begin with `tank` are tanks.
struct Nothing;

impl Local for Nothing {
    fn kinds(&self) -> u32 {
        0
    }

    fn has_tag(&self, device: &str, name: &str, value: &str) -> bool {
        name == "kind" && device.starts_with(value)
    }

    fn apply(&self, _: &mut WriteTx<'_>, _: &Asked) -> Result<Result<Json, Failure>, Fault> {
        unreachable!("it does nothing by itself")
    }
}

/// A node with its pipeline, and with its engine where it is to run.
struct Node {
    store: Store,
    desk: Desk,
    runs: Option<Runs>,
    board: Board,
    hand: Arc<Hand>,
    progress: watch::Receiver<Progress>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

/// A place where a node can be opened again and again.
struct Place {
    dir: tempfile::TempDir,
    hand: Arc<Hand>,
    board: Board,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), hand: hand(), board: Board::default() }
    }

    fn open(&self) -> Node {
        self.open_with(true)
    }

    fn open_with(&self, has_engine: bool) -> Node {
        let options = store::Options {
            dir: Path::to_owned(self.dir.path()),
            // The same key at each start: it follows from what this source has first.
            key: NodeKey::generate(&(Arc::<Hand>::default() as Arc<dyn Source>)),
            quota_bytes: 1 << 30,
            overflow: Overflow::DropOldestRaw,
            max_series: 1_000,
            seal_after: store::SEAL_AFTER,
            version: "test",
            scrub_every: Duration::ZERO,
            unsafe_normal_sync: false,
        };
        let (store, _) = Store::open(options, Arc::clone(&self.hand) as Env).unwrap();
        let (desk, tray) = Desk::load(&store, Role::Edge).unwrap();
        let pipeline = Options {
            widths_s: vec![60],
            windows_kept_s: 600,
            on_live: Arc::new(|_| {}),
            alerts: Plan { desk: Some(desk.clone()), ..Plan::default() },
            on_traced: None,
        };
        let pipeline = Pipeline::load(store.clone(), pipeline, 1_000).unwrap();
        let (progress, stop) = (pipeline.progress(), CancellationToken::new());
        let mut tasks = vec![tokio::spawn(pipeline.run(stop.clone()))];
        let runs = has_engine.then(|| self.engine(&store, (desk.clone(), tray)));
        let runs = runs.map(|(runs, engine)| {
            let stop = stop.clone();
            tasks.push(tokio::spawn(async move { engine(stop).await }));
            runs
        });
        let (board, hand) = (self.board.clone(), Arc::clone(&self.hand));
        Node { store, desk, runs, board, hand, progress, stop, tasks }
    }

    fn engine(
        &self,
        store: &Store,
        desk: (Desk, Tray),
    ) -> (Runs, impl FnOnce(CancellationToken) -> BoxFuture<'static, ()> + use<>) {
        let abilities = Abilities {
            local: Arc::new(Nothing),
            outside: Arc::new(self.board.clone()),
            zone: jiff::tz::TimeZone::get("Europe/Berlin").unwrap(),
        };
        let (runs, engine) = Runs::load(store.clone(), desk, abilities).unwrap();
        (runs, move |stop| engine.run(stop).boxed())
    }
}

impl Node {
    /// Installs a definition with the head that they all have.
    async fn install(&self, id: &str, rest: &str) {
        let runs = self.runs.as_ref().unwrap();
        let text = format!("workflow: {id}\nversion: \"1\"\nruns: {{at_once: 9}}\n{rest}");
        let compiled = flow::compile(&text).unwrap_or_else(|wrong| panic!("{}", wrong[0]));
        let now_ms = self.hand.now().millis();
        runs.install(runs.accept(compiled.image, "test", now_ms).unwrap()).await.unwrap();
    }

    async fn post(&self, device: &str, value: f64) {
        post(&self.store, device, value, None).await;
        self.read_all().await;
    }

    async fn read_all(&self) {
        let is_read = || self.progress.borrow().cursor >= self.store.watch().borrow().pos;
        until("the pipeline has read all", is_read).await;
    }

    /// Lets time pass; the clock is judged about once a second, by the clock of the machine.
    async fn pass_ms(&self, ms: u64) {
        self.hand.pass_ms(ms);
        tokio::time::sleep(Duration::from_millis(1_300)).await;
        self.read_all().await;
    }

    /// Waits for so many messages, and looks whether more come.
    async fn says(&self, count: usize) -> Vec<Json> {
        until("it is published", || self.board.len() >= count).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.board.messages()
    }

    fn rows(&self, table: Table) -> usize {
        let rows = self.store.read_blocking(|view| view.scan(table, &[], &[], usize::MAX));
        rows.unwrap().len()
    }

    async fn close(self) {
        self.stop.cancel();
        for task in self.tasks {
            task.await.unwrap();
        }
        drop((self.runs, self.desk));
        self.store.close().await;
    }
}

async fn post(store: &Store, device: &str, value: f64, time: Option<Timestamp>) {
    let key = SeriesKey::new(device, "level", "m").unwrap();
    let series = store.interner().intern(&key).unwrap();
    let value = OwnedValue::Float(Finite::new(value).unwrap());
    let draft = Draft { series, time, value, quality: Quality::GOOD };
    let item = Item { drafts: 0..1, source: None };
    let batch = IngestBatch { drafts: vec![draft], items: vec![item], ..IngestBatch::default() };
    store.ingest(batch).await.unwrap();
}

const HIGH: &str = r#"
on:
  - reading: {device: "tank-*", tags: {kind: tank}, metric: level, above: 3.0, clear: 2.5}
input: {device: text, value: decimal}
steps:
  - publish: high
    payload: {device: "${device}", value: "${value}"}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_begins_a_run_once_until_it_was_over() {
    let place = Place::new();
    let node = place.open();
    node.post("tank-1", 2.0).await;
    node.install("high", HIGH).await;
    for value in [2.9, 3.5, 3.6, 2.6, 3.4] {
        node.post("tank-1", value).await;
    }
    let first = json!({"device": "tank-1", "value": 3.5});
    assert_eq!(node.says(1).await, std::slice::from_ref(&first));
    // Over, and so again; another device by itself.
    for value in [2.4, 3.1] {
        node.post("tank-1", value).await;
    }
    node.post("tank-2", 9.5).await;
    node.post("pump-1", 9.0).await;
    let second = json!({"device": "tank-1", "value": 3.1});
    let other = json!({"device": "tank-2", "value": 9.5});
    assert_eq!(node.says(3).await, [first, second, other]);
    assert_eq!(node.rows(Table::RunDue), 0);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_found_begins_its_run_after_a_stop_and_once() {
    let place = Place::new();
    let node = place.open();
    node.install("high", HIGH).await;
    node.close().await;
    // The pipeline finds it, and the node stops before the engine takes it.
    let node = place.open_with(false);
    node.post("tank-1", 3.5).await;
    assert_eq!(node.rows(Table::RunDue), 1);
    node.close().await;
    let node = place.open_with(false);
    node.post("tank-1", 3.6).await;
    assert_eq!(node.rows(Table::RunDue), 1, "it is still so, and was found");
    node.close().await;
    for _ in 0..2 {
        let node = place.open();
        assert_eq!(node.says(1).await, [json!({"device": "tank-1", "value": 3.5})]);
        until("it is taken", || node.rows(Table::RunDue) == 0).await;
        node.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_taken_and_stands_there_again_begins_nothing() {
    let place = Place::new();
    let node = place.open();
    node.install("high", HIGH).await;
    node.post("tank-1", 3.5).await;
    let run = node.says(1).await.len();
    assert_eq!(run, 1);
    let over = node.store.read_blocking(|view| view.scan(Table::RunOver, &[], &[], 9)).unwrap();
    let due = node.store.read_blocking(|view| view.scan(Table::RunDue, &[], &[], 9)).unwrap();
    assert!(due.is_empty());
    let id = over[0].0.clone();
    node.close().await;
    // As a copy of the store from between two transactions would have it.
    let node = place.open_with(false);
    node.post("tank-1", 2.0).await;
    node.post("tank-1", 4.0).await;
    let (key, value) =
        node.store.read_blocking(|view| view.scan(Table::RunDue, &[], &[], 9)).unwrap().remove(0);
    let again = Due::decode(&id, &value).unwrap();
    assert_ne!(again.key(), key);
    node.store.write(move |tx| Ok(tx.put(Table::RunDue, &again.key(), &value)?)).await.unwrap();
    node.close().await;
    let node = place.open();
    assert_eq!(node.says(2).await.len(), 2, "the one that was found, and not the other");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_readings_begin_nothing_unless_it_says_so() {
    let place = Place::new();
    let node = place.open();
    node.install("fresh", HIGH).await;
    let replay = HIGH.replace("clear: 2.5}", "clear: 2.5}\n    backlog: replay");
    node.install("replay", &replay.replace("publish: high", "publish: replayed")).await;
    node.close().await;
    // Received while the pipeline did not run, six minutes before it does.
    let node = place.open_with(false);
    node.stop.cancel();
    tokio::time::sleep(Duration::from_millis(50)).await;
    post(&node.store, "tank-1", 3.5, None).await;
    node.close().await;
    place.hand.pass_ms(360_000);
    let node = place.open();
    assert_eq!(node.says(1).await.len(), 1, "only the one that replays");
    node.post("tank-1", 2.0).await;
    node.post("tank-1", 3.5).await;
    assert_eq!(node.says(3).await.len(), 3, "both of a fresh one");
    node.close().await;
}

const SILENT: &str = r#"
on:
  - reading: {device: "tank-*", metric: level, silent: 15m}
input: {device: text}
steps:
  - publish: silent
    payload: {device: "${device}"}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_silence_begins_a_run() {
    let place = Place::new();
    let node = place.open();
    node.install("silent", SILENT).await;
    node.post("tank-1", 1.0).await;
    node.pass_ms(14 * 60_000).await;
    assert_eq!(node.board.len(), 0);
    node.pass_ms(61_000).await;
    assert_eq!(node.says(1).await, [json!({"device": "tank-1"})]);
    node.close().await;
}

const WINDOW: &str = r#"
on:
  - rollup: {device: "*", metric: level, width: 1m, of: mean, above: 3.0, clear: 2.5}
    with: {level: "${value}"}
input: {device: text, level: decimal}
steps:
  - publish: mean
    payload: {level: "${level}"}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_is_over_begins_a_run() {
    let place = Place::new();
    let node = place.open();
    node.install("mean", WINDOW).await;
    for value in [2.0, 3.0, 5.0] {
        node.post("tank-1", value).await;
    }
    node.pass_ms(20_000).await;
    assert_eq!(node.board.len(), 0, "it is not over yet");
    node.pass_ms(60_000).await;
    let said = node.says(1).await;
    assert!((said[0]["level"].as_f64().unwrap() - 10.0 / 3.0).abs() < 1e-6, "{said:?}");
    node.close().await;
}

/// The clock found that it had been so for long enough before the window came that said so, and had
/// no value to give: the run did not begin, and only the log said why.
#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_has_been_so_for_long_enough_begins_a_run_with_its_value() {
    let place = Place::new();
    let node = place.open();
    node.install("held", &WINDOW.replace("clear: 2.5", "clear: 2.5, hold: 1m")).await;
    node.post("tank-1", 5.0).await;
    node.pass_ms(75_000).await;
    node.post("tank-1", 6.5).await;
    assert_eq!(node.board.len(), 0, "it has been so for one window");
    node.pass_ms(60_000).await;
    assert_eq!(node.says(1).await, [json!({"level": 6.5})]);
    node.close().await;
}

const WAITS: &str = r#"
input: {device: text}
steps:
  - let: {n: 0}
  - forever:
      - wait_for: {device: "${device}", metric: level, above: 3.0, clear: 2.5, hold: 10s}
      - let: {n: n + 1}
      - publish: high
        payload: {n: "${n}"}
"#;

async fn begin(node: &Node, workflow: &str) {
    let input = json!({"device": "tank-1"}).as_object().unwrap().clone();
    let workflow = workflow.to_owned();
    let start = holdfast_node::runs::Start { workflow, input, ..Default::default() };
    node.runs.as_ref().unwrap().start(start).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_waits_for_a_condition_and_each_round_for_a_new_one() {
    let place = Place::new();
    let node = place.open();
    node.install("waits", WAITS).await;
    node.post("tank-1", 3.5).await;
    begin(&node, "waits").await;
    node.pass_ms(5_000).await;
    assert_eq!(node.board.len(), 0, "it has not been so for long enough");
    node.close().await;
    // What it has waited already counts over a stop.
    let node = place.open();
    node.pass_ms(6_000).await;
    assert_eq!(node.says(1).await, [json!({"n": 1})]);
    node.pass_ms(60_000).await;
    node.post("tank-1", 3.6).await;
    node.close().await;
    let node = place.open();
    node.pass_ms(60_000).await;
    assert_eq!(node.board.len(), 1, "it is still so, and was told");
    node.post("tank-1", 2.0).await;
    node.post("tank-1", 4.0).await;
    node.pass_ms(11_000).await;
    assert_eq!(node.says(2).await, [json!({"n": 1}), json!({"n": 2})]);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_that_came_true_reaches_its_run_over_a_stop() {
    let place = Place::new();
    let node = place.open();
    node.install("waits", &WAITS.replace(", hold: 10s", "")).await;
    node.post("tank-1", 1.0).await;
    begin(&node, "waits").await;
    until("it waits", || node.rows(Table::Run) == 1).await;
    node.read_all().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    node.close().await;
    // The engine is there until its waits are known; it is stopped before what comes is taken.
    let node = place.open();
    tokio::time::sleep(Duration::from_millis(100)).await;
    node.post("tank-1", 3.5).await;
    node.post("tank-1", 1.0).await;
    node.close().await;
    let node = place.open();
    assert_eq!(node.says(1).await, [json!({"n": 1})], "a peak of one reading counts");
    node.close().await;
}

const HOURLY: &str = r#"
on:
  - schedule: 0 * * * *
    missed: POLICY
input: {time: time}
steps:
  - publish: hour
    payload: {at: "${time}"}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_begins_runs_at_its_times_and_what_was_missed_once() {
    let place = Place::new();
    let start_ms = place.hand.now().millis();
    assert_eq!(start_ms % HOUR_MS as i64, 0, "the clock begins at an hour");
    let node = place.open();
    node.install("hour", &HOURLY.replace("POLICY", "skip")).await;
    let missed = HOURLY.replace("POLICY", "once").replace("publish: hour", "publish: missed");
    node.install("missed", &missed).await;
    node.pass_ms(1_000).await;
    assert_eq!(node.board.len(), 0);
    node.pass_ms(HOUR_MS - 1_000).await;
    let first = json!({"at": start_ms + HOUR_MS as i64});
    assert_eq!(node.says(2).await, [first.clone(), first]);
    node.close().await;
    // Off for three hours and a half.
    place.hand.pass_ms(7 * HOUR_MS / 2);
    let node = place.open();
    let missed = json!({"at": start_ms + 2 * HOUR_MS as i64});
    assert_eq!(node.says(3).await[2..], [missed], "only the one that says so, and once");
    // A clock that is set back by a minute goes through nothing twice.
    node.hand.wall_ms.fetch_sub(60_000, Ordering::SeqCst);
    node.pass_ms(61_000).await;
    assert_eq!(node.says(3).await.len(), 3);
    node.pass_ms(HOUR_MS / 2).await;
    assert_eq!(node.says(5).await.len(), 5);
    node.close().await;
}

const ALERTED: &str = r#"
on:
  - alert: {rule: "too-*", device: "tank-*", severity: warning}
  - alert: {rule: "too-*", device: "tank-*", when: cleared}
input: {name: text, device: text, severity: text}
steps:
  - publish: alerted
    payload: {name: "${name}", device: "${device}", severity: "${severity}"}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_begins_a_run_with_its_begin_and_its_end() {
    let place = Place::new();
    let node = place.open();
    node.install("alerted", ALERTED).await;
    let raise = async |id: u64, rule: &'static str, device: &'static str, severity: Severity| {
        let raised = AlertRaised {
            id: AlertId(id),
            severity,
            rule,
            subject: Subject::Device(Device::new(device).unwrap()),
            since: node.hand.now(),
            value: None,
            text: "",
        };
        let raised = Event::AlertRaised(raised);
        node.store.write(move |tx| tx.append_events(&[raised])).await.unwrap();
        node.read_all().await;
    };
    raise(1, "too-high", "tank-1", Severity::Info).await;
    raise(2, "too-high", "pump-1", Severity::Critical).await;
    raise(3, "silent", "tank-1", Severity::Critical).await;
    // What its own runs raise begins none.
    raise(4, "alerted/too-high", "tank-1", Severity::Critical).await;
    raise(5, "too-high", "tank-2", Severity::Critical).await;
    let told = |device: &str, severity: &str| {
        let name = "too-high";
        json!({ "name": name, "device": device, "severity": severity })
    };
    assert_eq!(node.says(1).await, [told("tank-2", "critical")]);
    let (at, id) = (node.hand.now(), AlertId(1));
    let cleared = AlertCleared { id, reason: ClearReason::Over, at, value: None };
    let cleared = Event::AlertCleared(cleared);
    node.store.write(move |tx| tx.append_events(&[cleared])).await.unwrap();
    assert_eq!(node.says(2).await[1..], [told("tank-1", "info")]);
    node.close().await;
}
