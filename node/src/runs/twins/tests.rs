//! What begins runs by twins: found once, whatever is stopped when, and never what was so before.

use super::*;
use crate::flow::compile;
use crate::runs::{Abilities, Asked, Failure, Local, Outside, Runs};
use crate::twins::tests::Node;
use futures::FutureExt;
use futures::future::BoxFuture;
use holdfast_core::flow::effect::{Argument, Kind};
use holdfast_core::state::Role;
use serde_json::json;
use std::sync::{Arc, Mutex};
use tokio::task::JoinHandle;

/// Keeps what is published, under its key, over all starts.
#[derive(Clone, Default)]
struct Board(Arc<Mutex<BTreeMap<String, String>>>);

impl Board {
    /// What was said, each run once.
    fn said(&self) -> Vec<String> {
        let mut all: Vec<String> = self.0.lock().unwrap().values().cloned().collect();
        all.sort();
        all
    }
}

impl Outside for Board {
    fn kinds(&self) -> u32 {
        Kind::Publish.bit()
    }

    fn act(&self, asked: Asked) -> BoxFuture<'static, Result<Json, Failure>> {
        let text = asked.get(Argument::Payload).unwrap_or_default().to_owned();
        self.0.lock().unwrap().insert(asked.key(), text);
        async { Ok(Json::Null) }.boxed()
    }
}

/// Does nothing by itself.
struct Nothing;

impl Local for Nothing {
    fn kinds(&self) -> u32 {
        0
    }

    fn has_tag(&self, _: &str, _: &str, _: &str) -> bool {
        false
    }

    fn apply(&self, _: &mut WriteTx<'_>, _: &Asked) -> Result<Result<Json, Failure>, Fault> {
        unreachable!("it does nothing by itself")
    }
}

/// A gateway, of which not all need run.
struct Gateway {
    node: Node,
    board: Board,
    desk: Desk,
    runs: Runs,
    tasks: Vec<JoinHandle<()>>,
}

/// Which parts run.
#[derive(Clone, Copy, PartialEq)]
enum Up {
    Nothing,
    Watch,
    All,
}

impl Gateway {
    fn new(up: Up) -> Self {
        Self::of(Node::new(), Board::default(), up)
    }

    fn of(node: Node, board: Board, up: Up) -> Self {
        let store = node.twins.store().clone();
        let (desk, tray) = Desk::load(&store, Role::Edge).unwrap();
        let (local, outside) = (Arc::new(Nothing), Arc::new(board.clone()));
        let abilities = Abilities { local, outside, zone: jiff::tz::TimeZone::UTC };
        let (runs, engine) = Runs::load(store, (desk.clone(), tray), abilities).unwrap();
        let mut gateway = Self { node, board, desk, runs, tasks: Vec::new() };
        if up != Up::Nothing {
            gateway.watch();
        }
        if up == Up::All {
            gateway.tasks.push(tokio::spawn(engine.run(CancellationToken::new())));
        }
        gateway
    }

    fn watch(&mut self) {
        let (twins, desk) = (self.node.twins.clone(), self.desk.clone());
        let watch = begin_by_twins(twins, desk, CancellationToken::new());
        self.tasks.push(tokio::spawn(watch));
    }

    /// Ends all tasks wherever they are, and starts what is asked for.
    async fn killed(self, up: Up) -> Self {
        let Self { node, board, desk, runs, tasks } = self;
        for task in tasks {
            task.abort();
            let _ = task.await;
        }
        drop((desk, runs));
        Self::of(node.again().await, board, up)
    }

    /// Installs a workflow that begins by a twin.
    async fn put(&self, id: &str, path: &str) {
        let text = format!(
            "workflow: {id}\nversion: \"1\"\nruns: {{at_once: 100}}\non:\n  \
             - twin: {{device: \"pump-*\", path: {path}}}\ninput: {{device: text, text: text}}\n\
             steps:\n  - publish: said\n    payload: {id} ${{device}} ${{text}}\n"
        );
        let image = compile(&text).unwrap_or_else(|wrong| panic!("{}", wrong[0])).image;
        self.runs.install(self.runs.accept(image, "test", 1).unwrap()).await.unwrap();
    }

    /// Installs one, and waits until it has seen what stands there.
    async fn install(&self, id: &str, path: &str) {
        self.put(id, path).await;
        self.until("it has seen all", || {
            let seen = self.node.twins.store().read_blocking(marks).unwrap();
            self.desk
                .triggers(|_| true)
                .iter()
                .all(|begins| seen.get(&begins.mark()) == Some(&true))
        })
        .await;
    }

    async fn patch(&self, section: Section, device: &str, patch: &Json) {
        self.node.patch(&section.document(device).unwrap(), patch).await;
    }

    async fn report(&self, device: &str, patch: &Json) {
        self.patch(Section::Reported, device, patch).await;
    }

    async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        for _ in 0..2_000 {
            if is_so() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("not in ten seconds: {what}; said: {:?}", self.board.said());
    }

    fn rows(&self, table: Table) -> usize {
        let all = |view: &Snapshot<'_>| view.scan(table, &[], &[], usize::MAX);
        self.node.twins.store().read_blocking(all).unwrap().len()
    }

    /// What was said by the runs of all changes so far: whatever is told behind the next one is
    /// taken by then, so a change of a device of its own comes last.
    async fn said(&self) -> Vec<String> {
        let number = self.board.said().iter().filter(|one| one.contains("pump-last")).count();
        self.report("pump-last", &json!({"state": format!("n{number}")})).await;
        let last = format!("pump-last n{number}");
        let has_last = || self.board.said().iter().any(|one| one.ends_with(&last));
        self.until("the last change is taken", has_last).await;
        let under_way = || self.rows(Table::RunDue) == 0 && self.rows(Table::Run) == 0;
        self.until("all runs are over", under_way).await;
        let said = self.board.said();
        said.into_iter().filter(|one| !one.contains("pump-last")).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_begins_its_run_once_whether_the_node_was_stopped_before_it_was_found_or_behind() {
    let gateway = Gateway::new(Up::All);
    gateway.report("pump-1", &json!({"state": "off", "rpm": 0})).await;
    gateway.install("looks", "reported/state").await;
    let gateway = gateway.killed(Up::Nothing).await;
    gateway.report("pump-1", &json!({"state": "on"})).await;
    assert_eq!(gateway.rows(Table::RunDue), 0, "nobody looks");
    // It is found, and the node is stopped before the run begins.
    let gateway = gateway.killed(Up::Watch).await;
    gateway.until("it is found", || gateway.rows(Table::RunDue) == 1).await;
    let gateway = gateway.killed(Up::Watch).await;
    gateway.report("pump-2", &json!({"state": "on"})).await;
    gateway.until("the next one is found", || gateway.rows(Table::RunDue) == 2).await;
    // The run has begun, and the node is stopped again, twice.
    let mut gateway = gateway.killed(Up::All).await;
    for _ in 0..2 {
        assert_eq!(gateway.said().await, ["looks pump-1 on", "looks pump-2 on"]);
        gateway = gateway.killed(Up::All).await;
    }
}

/// Behind a start only whole sections are known: what had stood there since before the trigger, and
/// what did not stand there at all, began runs when anything else of the section had changed.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_so_before_begins_nothing_when_something_beside_it_changes_over_a_stop() {
    let gateway = Gateway::new(Up::All);
    gateway.report("pump-1", &json!({"state": "off", "rpm": 0})).await;
    gateway.report("pump-2", &json!({"rpm": 0})).await;
    gateway.report("pump-3", &json!({"net": {"ip": 1, "mtu": 1400}})).await;
    gateway.install("looks", "reported/state").await;
    gateway.install("nets", "reported/net").await;
    gateway.report("pump-3", &json!({"net": {"ip": 2}})).await;
    let before = ["nets pump-3 {\"ip\":2,\"mtu\":1400}"];
    assert_eq!(gateway.said().await, before);
    let gateway = gateway.killed(Up::Nothing).await;
    for device in ["pump-1", "pump-2", "pump-3"] {
        gateway.report(device, &json!({"rpm": 1500})).await;
        gateway.patch(Section::Desired, device, &json!({"state": "other"})).await;
    }
    let gateway = gateway.killed(Up::All).await;
    assert_eq!(gateway.said().await, before);
    // There and back again is no other value; gone is one.
    let gateway = gateway.killed(Up::Nothing).await;
    for state in ["on", "off"] {
        gateway.report("pump-1", &json!({"state": state})).await;
    }
    gateway.report("pump-3", &json!({"net": null})).await;
    let gateway = gateway.killed(Up::All).await;
    assert_eq!(gateway.said().await, ["nets pump-3 ", before[0]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_begins_with_what_stands_there_when_it_comes_or_comes_back() {
    let gateway = Gateway::new(Up::All);
    gateway.report("pump-1", &json!({"state": "off"})).await;
    gateway.install("first", "reported/state").await;
    gateway.report("pump-1", &json!({"state": "on"})).await;
    assert_eq!(gateway.said().await, ["first pump-1 on"]);
    // Another workflow that looks for the same shares what was seen, and begins runs of its own.
    gateway.install("second", "reported/state").await;
    gateway.report("pump-1", &json!({"state": "hot"})).await;
    let said = ["first pump-1 hot", "first pump-1 on", "second pump-1 hot"];
    assert_eq!(gateway.said().await, said);
    for id in ["first", "second"] {
        gateway.runs.enable(id, "1", false).await.unwrap();
    }
    let place = || gateway.node.twins.store().read_blocking(|v| v.get(Table::Cursor, CURSOR));
    let is_gone = || place().unwrap().is_none() && gateway.rows(Table::RunTwin) == 0;
    gateway.until("nothing is kept any more", is_gone).await;
    gateway.report("pump-1", &json!({"state": "cold"})).await;
    gateway.runs.enable("first", "1", true).await.unwrap();
    gateway.until("it looks again", || place().unwrap().is_some()).await;
    let gateway = gateway.killed(Up::All).await;
    assert_eq!(gateway.said().await, said, "it was not there when that changed");
    gateway.report("pump-1", &json!({"state": "on again"})).await;
    assert_eq!(gateway.said().await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_before_a_workflow_was_installed_is_old_and_behind_that_it_is_news() {
    let gateway = Gateway::new(Up::All);
    gateway.install("looks", "reported/state").await;
    let mut wanted = Vec::new();
    for n in 0..25 {
        let name = format!("s{n:02}");
        for device in ["pump-1", "pump-2"] {
            gateway.report(device, &json!({&name: "before"})).await;
        }
        // Nobody has had the time to look at it.
        gateway.put(&format!("w{n:02}"), &format!("reported/{name}")).await;
        gateway.report("pump-2", &json!({&name: "behind"})).await;
        gateway.report("pump-3", &json!({&name: "new"})).await;
        wanted.extend(["2 behind", "3 new"].map(|told| format!("w{n:02} pump-{told}")));
    }
    assert_eq!(gateway.said().await, wanted);
}

/// A write of `net` hides what stood at `net/ip`: a follower is told of the one, and it was not
/// noticed that the other had gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_hidden_by_one_above_it_is_gone() {
    let gateway = Gateway::new(Up::All);
    gateway.report("pump-1", &json!({"net": {"ip": 1}})).await;
    gateway.install("ips", "reported/net/ip").await;
    gateway.report("pump-1", &json!({"net": "down"})).await;
    // The device that comes last has a state and no address.
    gateway.until("it is found", || gateway.board.said() == ["ips pump-1 "]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_begins_one_run_however_often_the_node_is_killed() {
    let (mut gateway, mut drawn) = (Gateway::new(Up::All), 0x7a11_u64);
    gateway.install("looks", "reported/state").await;
    let mut wanted = Vec::new();
    for n in 0..40 {
        gateway.report("pump-1", &json!({"state": format!("s{n:02}"), "n": n})).await;
        wanted.push(format!("looks pump-1 s{n:02}"));
        drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        tokio::time::sleep(Duration::from_micros((drawn >> 33) % 6_000)).await;
        gateway = gateway.killed(Up::All).await;
        let has_all = || gateway.board.said().len() == wanted.len();
        gateway.until("the change begins its run", has_all).await;
        assert_eq!(gateway.board.said(), wanted);
    }
    assert_eq!(gateway.said().await, wanted);
}
