//! Runs of workflows: begun once, never lost, each effect done once, whatever is stopped when.

use futures::FutureExt;
use futures::future::BoxFuture;
use holdfast_core::flow::about::{About, Overlap, Placement};
use holdfast_core::flow::draft::Draft;
use holdfast_core::flow::effect::{Argument, Head, IDEMPOTENT, Kind, Piece, encode};
use holdfast_core::flow::field::Field;
use holdfast_core::flow::image::Part;
use holdfast_core::flow::op::{Late, Op};
use holdfast_core::flow::{Code, Phase, Slot, Tier, Type};
use holdfast_core::log::alerts::ClearReason;
use holdfast_core::log::events::{self, Event};
use holdfast_core::log::runs::{RunId, RunWanted, What};
use holdfast_core::state::Role;
use holdfast_core::{Stream, Timestamp};
use holdfast_node::flow;
use holdfast_node::runs::effect::Owned;
use holdfast_node::runs::record::Installed;
use holdfast_node::runs::{
    Abilities, Asked, Decision, Desk, Due, Failure, Flow, Local, Outside, Run, RunError, Runs,
    Start, Started,
};
use holdfast_sync::Fault;
use holdfast_sync::env::Source;
use holdfast_sync::identity::NodeKey;
use holdfast_sync::store::{self, Overflow, Store, Table, WriteTx};
use serde_json::{Value as Json, json};
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A clock that a test sets. What only goes forward goes with it unless the clock is *set*.
#[derive(Default)]
pub(super) struct Hand {
    pub(super) wall_ms: AtomicI64,
    steady_ms: AtomicU64,
    drawn: AtomicU64,
}

impl Hand {
    pub(super) fn pass_ms(&self, ms: u64) {
        self.wall_ms.fetch_add(ms as i64, Ordering::SeqCst);
        self.steady_ms.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Source for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.wall_ms.load(Ordering::SeqCst)).unwrap()
    }

    fn monotonic_ms(&self) -> u64 {
        self.steady_ms.load(Ordering::SeqCst)
    }

    fn entropy(&self) -> u64 {
        self.drawn.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst)
    }

    fn fill(&self, out: &mut [u8]) {
        out.iter_mut().for_each(|byte| *byte = self.entropy() as u8);
    }
}

/// Counts in the store how often something was done under its key.
#[derive(Default)]
struct Rows {
    /// So many times more it fails.
    fails: AtomicU32,
}

impl Local for Rows {
    fn kinds(&self) -> u32 {
        Kind::Actuate.bit()
    }

    fn has_tag(&self, _: &str, _: &str, _: &str) -> bool {
        false
    }

    fn apply(&self, tx: &mut WriteTx<'_>, asked: &Asked) -> Result<Result<Json, Failure>, Fault> {
        let key = row(asked.get(Argument::Name).unwrap_or_default());
        let times = tx.view().get(Table::Meta, &key)?.map_or(0, |value| value[0]);
        tx.put(Table::Meta, &key, &[times + 1])?;
        let left = self.fails.load(Ordering::SeqCst);
        if left > 0 {
            self.fails.store(left - 1, Ordering::SeqCst);
            return Err(Fault::Full("by the test".to_owned()));
        }
        Ok(Ok(Json::Null))
    }
}

fn row(name: &str) -> Vec<u8> {
    [b"did-", name.as_bytes()].concat()
}

/// Keeps the keys under which something was asked for, and answers as it is told to.
#[derive(Clone, Default)]
struct Target {
    keys: Arc<Mutex<Vec<String>>>,
    answer: Arc<Mutex<Option<Result<Json, Failure>>>>,
}

impl Target {
    fn answers(&self, answer: Result<Json, Failure>) {
        *self.answer.lock().unwrap() = Some(answer);
    }

    fn keys(&self) -> Vec<String> {
        self.keys.lock().unwrap().clone()
    }
}

impl Outside for Target {
    fn kinds(&self) -> u32 {
        Kind::Publish.bit()
    }

    fn act(&self, asked: Asked) -> BoxFuture<'static, Result<Json, Failure>> {
        self.keys.lock().unwrap().push(asked.key());
        let answer = self.answer.lock().unwrap().clone();
        async move {
            match answer {
                Some(answer) => answer,
                // Nobody answers.
                None => futures::future::pending().await,
            }
        }
        .boxed()
    }
}

/// A node that runs workflows.
struct Node {
    store: Store,
    runs: Runs,
    rows: Arc<Rows>,
    target: Target,
    hand: Arc<Hand>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Node {
    fn open(dir: &Path, hand: &Arc<Hand>) -> Self {
        Self::open_beside(dir, hand, Target::default())
    }

    fn open_beside(dir: &Path, hand: &Arc<Hand>, target: Target) -> Self {
        Self::open_as(dir, hand, target, Role::Edge)
    }

    fn open_as(dir: &Path, hand: &Arc<Hand>, target: Target, role: Role) -> Self {
        let options = store::Options {
            dir: dir.to_owned(),
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
        let env: Arc<dyn Source> = Arc::<Hand>::clone(hand);
        let (store, _) = Store::open(options, env).unwrap();
        let rows = Arc::<Rows>::default();
        let abilities = Abilities {
            local: Arc::<Rows>::clone(&rows),
            outside: Arc::new(target.clone()),
            zone: jiff::tz::TimeZone::UTC,
        };
        let desk = Desk::load(&store, role).unwrap();
        let (runs, engine) = Runs::load(store.clone(), desk, abilities).unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(engine.run(stop.clone()));
        Self { store, runs, rows, target, hand: Arc::clone(hand), stop, task }
    }

    async fn close(self) {
        self.stop.cancel();
        self.task.await.unwrap();
        drop(self.runs);
        self.store.close().await;
    }

    fn count(&self, table: Table) -> usize {
        let all = |view: &store::Snapshot<'_>| view.scan(table, &[], &[], usize::MAX);
        self.store.read_blocking(all).unwrap().len()
    }

    async fn install(&self, draft: &Draft) {
        self.runs.install(accepted(draft)).await.unwrap();
    }

    async fn begin(&self, workflow: &str) -> RunId {
        self.runs.start(start(workflow)).await.unwrap().run
    }

    fn run(&self, id: RunId) -> Run {
        let found = |table| self.store.read_blocking(|view| view.get(table, &id.0)).unwrap();
        let value = found(Table::Run).or_else(|| found(Table::RunOver)).expect("there is a run");
        Run::decode(&value).unwrap()
    }

    fn phase(&self, id: RunId) -> Phase {
        self.run(id).phase().unwrap()
    }

    fn did(&self, name: &str) -> u8 {
        let value = self.store.read_blocking(|view| view.get(Table::Meta, &row(name))).unwrap();
        value.map_or(0, |value| value[0])
    }

    /// When the node wrote down last that it was running.
    fn noted_ms(&self) -> i64 {
        let value = self.store.read_blocking(|view| view.get(Table::Cursor, b"runs-clock"));
        let value = value.unwrap().unwrap_or_default();
        value.try_into().map_or(0, i64::from_be_bytes)
    }

    /// The history of a run, as the log has it.
    fn history(&self, run: RunId) -> Vec<(What, String)> {
        let commits = self.store.read_blocking(|view| view.commits_after(0, usize::MAX)).unwrap();
        let mut out = Vec::new();
        for commit in commits {
            let chain = self.store.read_blocking(|view| view.chain(commit.chain)).unwrap().unwrap();
            if chain.id.stream != Stream::Event {
                continue;
            }
            for event in events::read(&commit.body).unwrap().1.flatten() {
                if let Event::Run(step) = event
                    && step.run == run
                {
                    out.push((step.what, step.text.to_owned()));
                }
            }
        }
        out
    }
}

/// Waits until something is so.
pub(super) async fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not in ten seconds: {what}");
}

fn start(workflow: &str) -> Start {
    Start { workflow: workflow.to_owned(), by: "test".to_owned(), ..Start::default() }
}

fn accepted(draft: &Draft) -> Flow {
    let image = draft.encode().unwrap();
    let by = "test".to_owned();
    let installed = Installed { added_ms: 1, by, is_enabled: true, origin: None, image };
    Flow::accept(installed, &Tier::NODE).unwrap()
}

fn draft(id: &str, concurrent: u16, overlap: Overlap) -> Draft {
    version_of(id, "1", concurrent, overlap)
}

fn version_of(id: &str, version: &str, concurrent: u16, overlap: Overlap) -> Draft {
    Draft::new(&About {
        id,
        version,
        title: "",
        placement: Placement::Any,
        concurrent,
        overlap,
        priority: 5,
    })
}

fn effect(draft: &mut Draft, kind: Kind, flags: u8, name: &str) -> Op {
    let head = Head { kind, flags, timeout_ms: 0, retries: (0, 0) };
    let text = [Piece::Literal(name)];
    let payload = [Piece::Literal("1")];
    let arguments: &[(Argument, &[Piece<'_>])] = match kind {
        Kind::Publish => &[(Argument::Topic, &text), (Argument::Payload, &payload)],
        Kind::Actuate => &[(Argument::Value, &payload), (Argument::Name, &text)],
        _ => &[(Argument::Name, &text)],
    };
    let mut bytes = Vec::new();
    encode(&mut bytes, &head, arguments, &[]).unwrap();
    draft.effects.push(bytes);
    Op::Do { effect: (draft.effects.len() - 1) as u16 }
}

/// Opens a valve here, tells somebody, closes it here.
fn valve() -> Draft {
    let mut draft = draft("valve", 8, Overlap::Queue);
    draft.ops = vec![
        effect(&mut draft, Kind::Actuate, IDEMPOTENT, "open"),
        effect(&mut draft, Kind::Publish, IDEMPOTENT, "valves/1"),
        effect(&mut draft, Kind::Actuate, IDEMPOTENT, "close"),
        Op::Succeed,
    ];
    draft
}

/// Waits for an hour and then opens a valve.
fn timer(id: &str, concurrent: u16, overlap: Overlap) -> Draft {
    let mut draft = draft(id, concurrent, overlap);
    let hour = draft.number(Type::Int);
    draft.ops = vec![
        Op::Set { d: hour, value: 3_600_000 },
        Op::Sleep { a: hour, late: Late::Fire, tolerance_s: 0 },
        effect(&mut draft, Kind::Actuate, IDEMPOTENT, "open"),
        Op::Succeed,
    ];
    draft
}

pub(super) const HOUR_MS: u64 = 3_600_000;

pub(super) fn hand() -> Arc<Hand> {
    let hand = Hand::default();
    hand.wall_ms.store(1_793_880_000_000, Ordering::SeqCst);
    Arc::new(hand)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_does_what_it_says_and_its_history_is_in_the_log() {
    let (dir, hand) = (tempfile::tempdir().unwrap(), hand());
    let node = Node::open(dir.path(), &hand);
    node.target.answers(Ok(Json::Null));
    node.install(&valve()).await;
    let run = node.begin("valve").await;
    until("it succeeds", || node.phase(run) == Phase::Succeeded).await;
    assert_eq!((node.did("open"), node.did("close")), (1, 1));
    assert_eq!(node.target.keys(), [format!("{run}-2")]);
    let history = node.history(run);
    let told: Vec<_> = history.iter().map(|(what, text)| (*what, text.as_str())).collect();
    let wanted = [
        (What::Started, "by test"),
        (What::Done, "effect 1: actuate open 1"),
        (What::Asked, "effect 2: publish valves/1"),
        (What::Done, "effect 2"),
        (What::Done, "effect 3: actuate close 1"),
        (What::Succeeded, ""),
    ];
    assert_eq!(told, wanted);
    node.close().await;
}

/// What fails without anything that takes time was parked again in the step of the decision: its
/// history said that it went on, and so did the hub.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_parked_again_in_the_step_of_a_decision_is_told_to_be() {
    let (dir, hand) = (tempfile::tempdir().unwrap(), hand());
    let node = Node::open(dir.path(), &hand);
    let definition = "workflow: worn\nversion: \"1\"\nunhandled: park\nerrors: [worn]\n\
        input: {n: {type: int, default: 1}}\nsteps:\n  - fail: worn\n";
    let image = flow::compile(definition).unwrap_or_else(|wrong| panic!("{}", wrong[0])).image;
    node.runs.install(node.runs.accept(image, "test", 1).unwrap()).await.unwrap();
    let run = node.begin("worn").await;
    node.runs.resolve(run, 0, Decision::Retry, "ann").await.unwrap();
    let told = |node: &Node| -> Vec<String> {
        let lines = node.history(run).into_iter();
        lines.map(|(what, text)| format!("{} {text}", what.name())).collect()
    };
    let wanted = ["started by test", "parked worn", "decided retry by ann", "parked worn"];
    assert_eq!(told(&node), wanted);
    // Another value for a variable leaves it parked as it was.
    let set = Decision::Set(Slot::Number(0), Owned::Number(2));
    node.runs.resolve(run, 0, set, "ann").await.unwrap();
    node.runs.resolve(run, 0, Decision::Compensate, "ann").await.unwrap();
    let rest = ["decided set by ann", "decided compensate by ann", "ended worn"];
    assert_eq!(told(&node)[4..], rest);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_effect_under_way_at_a_stop_is_begun_again_under_its_key() {
    let (dir, hand) = (tempfile::tempdir().unwrap(), hand());
    let node = Node::open(dir.path(), &hand);
    node.install(&valve()).await;
    let run = node.begin("valve").await;
    until("it is asked for", || node.target.keys().len() == 1).await;
    let key = node.target.keys();
    node.close().await;

    let node = Node::open(dir.path(), &hand);
    until("it is asked for again", || !node.target.keys().is_empty()).await;
    assert_eq!(node.target.keys(), key, "nobody has answered the first time");
    node.close().await;

    let target = Target::default();
    target.answers(Ok(Json::Null));
    let node = Node::open_beside(dir.path(), &hand, target);
    until("it goes on", || node.phase(run) == Phase::Succeeded).await;
    assert_eq!((node.did("open"), node.did("close")), (1, 1), "once each, over two stops");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_be_done_twice_waits_for_somebody_after_a_stop() {
    let (dir, hand) = (tempfile::tempdir().unwrap(), hand());
    let mut draft = valve();
    draft.ops[1] = effect(&mut draft, Kind::Publish, 0, "payments");
    let node = Node::open(dir.path(), &hand);
    node.install(&draft).await;
    let run = node.begin("valve").await;
    until("it is asked for", || node.target.keys().len() == 1).await;
    node.close().await;

    let node = Node::open(dir.path(), &hand);
    node.target.answers(Ok(Json::Null));
    until("it is parked", || !node.run(run).reasons.is_empty()).await;
    let reason = "in-doubt: the node stopped while this was under way";
    assert_eq!(node.run(run).reasons, [(0, reason.to_owned())]);
    assert!(node.target.keys().is_empty());
    node.runs.resolve(run, 0, Decision::Retry, "ann").await.unwrap();
    until("it goes on", || node.phase(run) == Phase::Succeeded).await;
    assert_eq!(node.target.keys(), [format!("{run}-2")], "under the same key");
    let history = node.history(run);
    assert!(history.contains(&(What::Parked, reason.to_owned())), "{history:?}");
    assert!(history.contains(&(What::Decided, "retry by ann".to_owned())), "{history:?}");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_effect_here_and_the_step_that_knows_of_it_are_one_transaction() {
    let (dir, hand) = (tempfile::tempdir().unwrap(), hand());
    let node = Node::open(dir.path(), &hand);
    node.target.answers(Ok(Json::Null));
    node.install(&timer("timer", 1, Overlap::Queue)).await;
    let run = node.begin("timer").await;
    // Twice the transaction fails behind the effect; nothing of it stays.
    node.rows.fails.store(2, Ordering::SeqCst);
    node.hand.pass_ms(HOUR_MS);
    until("it succeeds", || node.phase(run) == Phase::Succeeded).await;
    assert_eq!(node.rows.fails.load(Ordering::SeqCst), 0);
    assert_eq!(node.did("open"), 1);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_effects_here_than_one_transaction_takes_go_on_in_the_next() {
    let (dir, hand) = (tempfile::tempdir().unwrap(), hand());
    let node = Node::open(dir.path(), &hand);
    let mut many = draft("many", 1, Overlap::Queue);
    let open = effect(&mut many, Kind::Actuate, IDEMPOTENT, "open");
    many.ops = vec![open; 200];
    many.ops.push(Op::Succeed);
    node.install(&many).await;
    let run = node.begin("many").await;
    until("it is over", || node.phase(run).is_over()).await;
    assert_eq!((node.phase(run), node.did("open")), (Phase::Succeeded, 200));
    assert!(node.history(run).iter().all(|(what, _)| *what != What::Asked), "none was asked for");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timer_fires_once_over_stops_and_clocks_that_are_set() {
    let (dir, hand) = (tempfile::tempdir().unwrap(), hand());
    let node = Node::open(dir.path(), &hand);
    node.install(&timer("timer", 1, Overlap::Queue)).await;
    let run = node.begin("timer").await;
    // The clock is set two hours ahead: the timer still has its hour.
    hand.wall_ms.fetch_add(2 * HOUR_MS as i64, Ordering::SeqCst);
    until("the clock is looked at", || node.noted_ms() == hand.now().millis()).await;
    assert_eq!(node.phase(run), Phase::Running);
    hand.pass_ms(HOUR_MS / 2);
    node.close().await;

    // While it is off the clock is lost and starts a year ago.
    hand.wall_ms.fetch_sub(365 * 24 * HOUR_MS as i64, Ordering::SeqCst);
    let node = Node::open(dir.path(), &hand);
    until("the clock is looked at", || node.noted_ms() == hand.now().millis()).await;
    assert_eq!(node.phase(run), Phase::Running);
    hand.pass_ms(HOUR_MS / 2 + 20_000);
    until("it fires", || node.phase(run) == Phase::Succeeded).await;
    assert_eq!(node.did("open"), 1);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_beyond_those_that_may_be_wait_are_left_out_or_take_the_place() {
    let (dir, hand) = (tempfile::tempdir().unwrap(), hand());
    let node = Node::open(dir.path(), &hand);
    for (id, overlap) in
        [("queue", Overlap::Queue), ("skip", Overlap::Skip), ("replace", Overlap::Replace)]
    {
        node.install(&timer(id, 1, overlap)).await;
        node.begin(id).await;
    }
    let waits = node.runs.start(start("queue")).await.unwrap();
    assert!(waits.waits);
    assert_eq!(node.runs.start(start("skip")).await, Err(RunError::Skipped));
    let newer = node.runs.start(start("replace")).await.unwrap();
    until("the older one makes room", || {
        let found = node.store.read_blocking(|view| view.get(Table::Run, &newer.run.0));
        found.unwrap().is_some()
    })
    .await;
    // One that waits can be ended before it begins.
    let second = node.runs.start(start("queue")).await.unwrap();
    assert_eq!(node.runs.signal(second.run, 0, Vec::new(), "ann").await, Err(RunError::NotBegun));
    node.runs.cancel(second.run, "ann").await.unwrap();
    assert_eq!(node.runs.cancel(second.run, "ann").await, Err(RunError::NoRun));
    node.close().await;

    // What waits is there after a stop, and begins when there is room.
    let node = Node::open(dir.path(), &hand);
    hand.pass_ms(HOUR_MS);
    until("the one that waits begins", || {
        let found = node.store.read_blocking(|view| view.get(Table::Run, &waits.run.0));
        found.unwrap().is_some()
    })
    .await;
    hand.pass_ms(HOUR_MS);
    until("it ends", || node.phase(waits.run) == Phase::Succeeded).await;
    node.close().await;
}

/// Runs that waited were dropped when there was room and their workflow was disabled just then, and
/// forgotten when a newer version allowed more at once than theirs.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_is_pinned_and_kept_whatever_becomes_of_its_workflow() {
    let (dir, hand) = (tempfile::tempdir().unwrap(), hand());
    let node = Node::open(dir.path(), &hand);
    node.install(&timer("timer", 1, Overlap::Queue)).await;
    let first = node.begin("timer").await;
    let waits = node.runs.start(start("timer")).await.unwrap();
    let last = node.runs.start(start("timer")).await.unwrap();
    assert!(waits.waits && last.waits);
    let mut newer = timer("timer", 5, Overlap::Queue);
    newer.parts[Part::About as usize] =
        version_of("timer", "2", 5, Overlap::Queue).parts[Part::About as usize].clone();
    node.install(&newer).await;
    // One of the newer version waits behind them.
    let other = node.runs.start(start("timer")).await.unwrap();
    assert!(other.waits);
    assert_eq!(node.runs.remove("timer", "1").await, Err(RunError::InUse(3)));
    assert_eq!(node.runs.remove("timer", "2").await, Err(RunError::InUse(1)));
    node.runs.enable("timer", "1", false).await.unwrap();
    node.runs.cancel(first, "ann").await.unwrap();
    let waiting = |run: RunId| {
        let all = node.store.read_blocking(|view| view.scan(Table::RunWaiting, &[], &[], 9));
        all.unwrap().iter().any(|(key, _)| key.ends_with(&run.0))
    };
    until("the newer one begins", || !waiting(other.run)).await;
    assert_eq!(node.run(other.run).version, "2");
    assert!(waiting(waits.run) && waiting(last.run), "they wait until it is enabled again");
    node.runs.enable("timer", "1", true).await.unwrap();
    hand.pass_ms(HOUR_MS);
    until("the first begins", || !waiting(waits.run)).await;
    assert_eq!(node.run(waits.run).version, "1");
    assert!(waiting(last.run));
    hand.pass_ms(HOUR_MS);
    until("the next begins", || !waiting(last.run)).await;
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_asked_for_twice_under_one_id_begins_once() {
    let (dir, hand) = (tempfile::tempdir().unwrap(), hand());
    let node = Node::open(dir.path(), &hand);
    node.target.answers(Ok(Json::Null));
    node.install(&valve()).await;
    let wanted = Start { id: Some(RunId([3; 16])), ..start("valve") };
    let first = node.runs.start(wanted.clone()).await.unwrap();
    assert_eq!(first, Started { run: RunId([3; 16]), ..Started::default() });
    until("it succeeds", || node.phase(first.run) == Phase::Succeeded).await;
    assert!(node.runs.start(wanted).await.unwrap().was_there);
    assert_eq!(node.did("open"), 1);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_never_changes_and_is_not_removed_under_its_runs() {
    let (dir, hand) = (tempfile::tempdir().unwrap(), hand());
    let node = Node::open(dir.path(), &hand);
    node.install(&timer("timer", 1, Overlap::Queue)).await;
    node.install(&timer("timer", 1, Overlap::Queue)).await;
    let other = accepted(&timer("timer", 2, Overlap::Queue));
    assert_eq!(node.runs.install(other).await, Err(RunError::OtherImage));
    let run = node.begin("timer").await;
    assert_eq!(node.runs.remove("timer", "1").await, Err(RunError::InUse(1)));
    node.runs.enable("timer", "1", false).await.unwrap();
    let none = Err(RunError::NoWorkflow("timer".to_owned()));
    assert_eq!(node.runs.start(start("timer")).await, none);
    node.runs.cancel(run, "ann").await.unwrap();
    assert_eq!(node.phase(run), Phase::Cancelled);
    assert_eq!(node.runs.cancel(run, "ann").await, Err(RunError::Over));
    assert_eq!(node.runs.cancel(RunId([9; 16]), "ann").await, Err(RunError::NoRun));
    node.runs.remove("timer", "1").await.unwrap();
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_waits_for_another_one_and_takes_what_that_leaves() {
    let (dir, hand) = (tempfile::tempdir().unwrap(), hand());
    let mut child = timer("child", 1, Overlap::Queue);
    let slot = Slot::Number(0);
    child.field(Part::Outputs, &Field { name: "waited", slot, default: None });
    let mut parent = draft("parent", 1, Overlap::Queue);
    let waited = parent.number(Type::Int);
    let head = Head { kind: Kind::Flow, flags: IDEMPOTENT, timeout_ms: 0, retries: (0, 0) };
    let slot = Slot::Number(waited);
    let answers = [Field { name: "waited", slot, default: None }];
    let mut bytes = Vec::new();
    encode(&mut bytes, &head, &[(Argument::Name, &[Piece::Literal("child")])], &answers).unwrap();
    parent.effects.push(bytes);
    parent.ops = vec![Op::Do { effect: 0 }, Op::Succeed];
    parent.field(Part::Outputs, &Field { name: "waited", slot, default: None });

    let node = Node::open(dir.path(), &hand);
    node.install(&parent).await;
    let early = node.begin("parent").await;
    until("without the other one it fails", || node.phase(early) == Phase::Failed).await;
    node.install(&child).await;
    let run = node.begin("parent").await;
    until("the other one is begun", || {
        let all = node.store.read_blocking(|view| view.scan(Table::Run, &[], &[], 9)).unwrap();
        all.len() == 2
    })
    .await;
    node.close().await;

    let node = Node::open(dir.path(), &hand);
    hand.pass_ms(HOUR_MS);
    until("both end", || node.phase(run) == Phase::Succeeded).await;
    assert_eq!(node.did("open"), 1);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_effect_that_fails_is_told_with_its_reason() {
    let (dir, hand) = (tempfile::tempdir().unwrap(), hand());
    let node = Node::open(dir.path(), &hand);
    node.target.answers(Err(Failure::new(Code::REFUSED, "nobody may publish there")));
    node.install(&valve()).await;
    let run = node.begin("valve").await;
    until("it fails", || node.phase(run) == Phase::Failed).await;
    let history = node.history(run);
    let wanted = "effect 2: refused: nobody may publish there";
    assert!(history.contains(&(What::Failed, wanted.to_owned())), "{history:?}");
    assert!(history.contains(&(What::Ended, "refused".to_owned())), "{history:?}");
    assert_eq!(node.did("close"), 0);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_is_given_is_checked() {
    let (dir, hand) = (tempfile::tempdir().unwrap(), hand());
    let mut takes = timer("takes", 1, Overlap::Queue);
    let level = takes.number(Type::Decimal);
    let slot = Slot::Number(level);
    takes.field(Part::Inputs, &Field { name: "level", slot, default: None });
    let node = Node::open(dir.path(), &hand);
    node.install(&takes).await;
    let given = |input: Json| {
        let input = input.as_object().unwrap().clone();
        node.runs.start(Start { input, ..start("takes") })
    };
    let wrong = |text: &str| Err(RunError::Input(text.to_owned()));
    assert_eq!(given(json!({})).await, wrong("`level` is missing: a number"));
    let text = "`level` is to be a number, not \"high\"";
    assert_eq!(given(json!({ "level": "high" })).await, wrong(text));
    let text = "`lever` is not among what it takes: level";
    assert_eq!(given(json!({ "lever": 3 })).await, wrong(text));
    let run = given(json!({ "level": 2.5 })).await.unwrap().run;
    assert_eq!(node.phase(run), Phase::Running);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_cannot_do_is_not_installed() {
    let (dir, hand) = (tempfile::tempdir().unwrap(), hand());
    let told = |node: &Node, definition: &str| {
        let text = format!("workflow: w\nversion: \"1\"\n{definition}");
        let image = flow::compile(&text).unwrap().image;
        node.runs.accept(image, "test", 1).map(|_| ()).map_err(|error| error.to_string())
    };
    let publishes = |head: &str| format!("{head}steps: [{{publish: a/b, payload: 1}}]");
    let waits = "steps: [{wait_for: {device: d, metric: m, above: 3, clear: 2, hold: 10s}}]";
    let mails = "steps: [{notify: ops, text: dry}]";
    let incapable = "this node cannot bring about that kind of effect (operation 0)".to_owned();
    let elsewhere = |name: &str| Err(format!("its placement is `{name}`, and this node is none"));
    // Nobody has signed what somebody brings by hand, so no device would take it from either.
    let on_device = "placement: device\nsteps: [{actuate: valve, value: 0}]";
    let unsigned = |node: &Node| {
        let text = told(node, on_device).unwrap_err();
        assert!(text.contains("devices take only what a publisher has signed"), "{text}");
    };

    let gateway = Node::open(dir.path(), &hand);
    assert_eq!(told(&gateway, &publishes("")), Ok(()));
    assert_eq!(told(&gateway, waits), Ok(()));
    assert_eq!(told(&gateway, mails), Err(incapable.clone()));
    unsigned(&gateway);
    // What the hub does a gateway only hands on.
    assert_eq!(told(&gateway, &format!("placement: hub\n{mails}")), Ok(()));
    gateway.close().await;

    let hub = Node::open_as(dir.path(), &hand, Target::default(), Role::Hub);
    assert_eq!(told(&hub, &publishes("placement: hub\n")), Ok(()));
    assert_eq!(told(&hub, &format!("placement: hub\n{mails}")), Err(incapable));
    assert_eq!(told(&hub, &publishes("placement: edge\n")), elsewhere("edge"));
    unsigned(&hub);
    let condition = "it waits for a condition over readings, and this node looks for none";
    assert_eq!(told(&hub, waits), Err(condition.to_owned()));
    let found = "on: [{reading: {device: d, metric: m, above: 3}}]\n";
    let trigger = "a run of it begins by `reading`, for which this node does not look";
    assert_eq!(told(&hub, &publishes(found)), Err(trigger.to_owned()));
    assert_eq!(told(&hub, &publishes(&format!("placement: hub\n{found}"))), Ok(()));
    hub.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gateway_wants_begins_with_the_version_that_the_hub_has_by_now() {
    let (dir, hand) = (tempfile::tempdir().unwrap(), hand());
    let hub = || Node::open_as(dir.path(), &hand, Target::default(), Role::Hub);
    // The first has what does not fit, the second comes behind it; of another nobody has heard.
    let all = [("timer", r#"{"x":1}"#), ("timer", "{}"), ("other", "{}")];
    let due = |(n, (workflow, input)): (u8, &(&'static str, &'static str))| {
        let run = RunId([n; 16]);
        Due::wanted(&RunWanted { run, workflow, version: "of-long-ago", by: "ann", input })
    };
    let dues: Vec<_> = (1..).zip(&all).map(due).collect();
    let node = hub();
    let put = move |tx: &mut WriteTx<'_>| Ok(dues.iter().try_for_each(|due| due.put(tx))?);
    node.store.write(put).await.unwrap();
    node.close().await;
    let node = hub();
    node.install(&timer("timer", 1, Overlap::Queue)).await;
    let run = RunId([2; 16]);
    until("it begins", || node.count(Table::Run) == 1).await;
    assert_eq!(node.run(run).version, "1");
    assert_eq!(node.count(Table::RunDue), 1, "the other one waits for its workflow");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_alerts_of_a_workflow_go_with_it() {
    let (dir, hand) = (tempfile::tempdir().unwrap(), hand());
    let node = Node::open(dir.path(), &hand);
    node.install(&valve()).await;
    node.install(&timer("valves", 1, Overlap::Queue)).await;
    // As `raise` leaves them: rule, device, and the id of the alert.
    let key = |rule: &str| [&[rule.len() as u8][..], rule.as_bytes(), &[0]].concat();
    let (ours, others) = (key("valve/stuck"), key("valves/stuck"));
    let rows = [(ours.clone(), 7u64), (others.clone(), 8)];
    let put = move |tx: &mut WriteTx<'_>| {
        for (key, id) in rows {
            tx.put(Table::RunAlert, &key, &id.to_le_bytes())?;
        }
        Ok(())
    };
    node.store.write(put).await.unwrap();
    node.runs.remove("valve", "1").await.unwrap();
    let has = |key: &[u8]| {
        node.store.read_blocking(|view| view.get(Table::RunAlert, key)).unwrap().is_some()
    };
    assert!(!has(&ours) && has(&others));
    let commits = node.store.read_blocking(|view| view.commits_after(0, usize::MAX)).unwrap();
    let cleared = commits.iter().flat_map(|commit| {
        let events =
            events::read(&commit.body).into_iter().flat_map(|(_, events)| events.flatten());
        let ids = events.filter_map(|event| match event {
            Event::AlertCleared(cleared) => Some((cleared.id.0, cleared.reason)),
            _ => None,
        });
        ids.collect::<Vec<_>>()
    });
    assert_eq!(cleared.collect::<Vec<_>>(), [(7, ClearReason::Unwatched)]);
    node.close().await;
}
