//! Steps of devices: each is taken once, all of a message or none, and whatever can still be put
//! right is not in their way.

use super::*;
use crate::runs::assigned::tests::Gateway;
use crate::runs::{Run, RunError, Start};
use holdfast_core::codec::Window;
use holdfast_core::device::flows::{put_head, put_step};
use holdfast_core::flow::memory::bytes_of;
use holdfast_core::flow::{Code, Given, Input, Memory, Moment, Outcome, start, step};
use holdfast_core::log::events;
use holdfast_core::log::events::Event;
use holdfast_core::log::runs::RunStep;

const GUARD: &str = r#"
workflow: guard
version: "1"
placement: device
on:
  - reading: {device: "tank-*", metric: level, above: 2.0, clear: 1.5}
input: {device: text}
steps:
  - actuate: valve
    value: 0
    retry: {attempts: 2, first: 1s, jitter: 0%}
  - wait_for: {device: "${device}", metric: level, below: 1.5}
  - actuate: valve
    value: 100
"#;
/// What the clock of the device shows when a run begins: in 2027.
const BEGAN: i64 = 1_800_000_000_000;

/// A device that runs the guard.
struct Tank {
    image: Vec<u8>,
    run: RunId,
    memory: Vec<u8>,
    count: u32,
    now_ms: i64,
}

/// A step as it travels.
type Told = (i64, Vec<u8>);

fn told(time: i64, step: &Step<'_>) -> Told {
    let mut scratch = [0; 256];
    let mut window = Window::new(&mut scratch);
    step.encode(&mut window).unwrap();
    let len = 256 - window.room();
    (time, scratch[..len].to_vec())
}

fn payload(clock: Clock, steps: &[&Told]) -> Vec<u8> {
    let mut out = Vec::new();
    put_head(&mut out, clock).unwrap();
    steps.iter().for_each(|(time, step)| put_step(&mut out, *time, step).unwrap());
    out
}

impl Tank {
    fn new(run: u8) -> Self {
        let image = crate::flow::compile(GUARD).unwrap().image;
        let memory = vec![0; bytes_of(Image::parse(&image).unwrap().sizes)];
        Self { image, run: RunId([run; 16]), memory, count: 0, now_ms: BEGAN }
    }

    fn tag(&self) -> u32 {
        Image::parse(&self.image).unwrap().tag()
    }

    /// What is told of its last step.
    fn told(&mut self, cause: Cause<'_>) -> Told {
        self.count += 1;
        let (run, count, tag) = (self.run, self.count, self.tag());
        // Among all of the device they ascend, so a later run has greater ones.
        let number = u64::from(run.0[0]) * 100 + u64::from(count);
        told(self.now_ms, &Step { number, run, count, tag, cause, memory: &self.memory })
    }

    fn begin(&mut self) -> Told {
        let image = Image::parse(&self.image).unwrap();
        let moment = Moment { now_ms: self.now_ms, entropy: 0 };
        start(&image, &mut self.memory, &[Some(Given::Text("tank-1"))], moment).unwrap();
        self.told(Cause::Began { trigger: 0, value: Value::float(2.01).unwrap() })
    }

    fn put(&mut self, input: Input<'_>, cause: Cause<'_>) -> Told {
        self.now_ms += 250;
        let image = Image::parse(&self.image).unwrap();
        let moment = Moment { now_ms: self.now_ms, entropy: 0 };
        step(&image, &mut self.memory, &input, moment).unwrap();
        self.told(cause)
    }

    fn done(&mut self, serial: u32) -> Told {
        let outcome = Outcome::Done(&[]);
        self.put(Input::Result { serial, outcome }, Cause::Done { serial })
    }

    fn failed(&mut self, serial: u32, error: Code) -> Told {
        let outcome = Outcome::Failed(error);
        self.put(Input::Result { serial, outcome }, Cause::Failed { serial, error })
    }

    fn cleared(&mut self) -> Told {
        self.put(Input::Signal { signal: 0, values: &[] }, Cause::Condition { signal: 0 })
    }
}

impl Gateway {
    async fn with_guard() -> Self {
        let gateway = Self::new();
        let image = crate::flow::compile(GUARD).unwrap().image;
        let id = gateway.shelve("1", image).await;
        gateway.assign(id.to_string().into()).await;
        assert!(gateway.round().await);
        gateway
    }

    async fn take(&self, device: &str, payload: Vec<u8>) -> Result<(), StepsError> {
        self.desk.take_steps(self.node.twins.store(), device, vec![(0, payload)]).await
    }

    async fn takes(&self, steps: &[&Told]) {
        self.take("tank-1", payload(Clock::Unix, steps)).await.unwrap();
    }

    fn records(&self, table: Table) -> Vec<(Vec<u8>, Vec<u8>)> {
        let all = |view: &Snapshot<'_>| view.scan(table, &[], &[], usize::MAX);
        self.node.twins.store().read_blocking(all).unwrap()
    }

    fn run(&self, id: RunId) -> Afar {
        let get = |view: &Snapshot<'_>| view.get(Table::RunOnDevice, &id.0);
        let value = self.node.twins.store().read_blocking(get).unwrap();
        Afar::decode(&value.unwrap()).unwrap()
    }

    fn over(&self, id: RunId) -> Run {
        let get = |view: &Snapshot<'_>| view.get(Table::RunOver, &id.0);
        let value = self.node.twins.store().read_blocking(get).unwrap();
        Run::decode(&value.unwrap()).unwrap()
    }

    /// The history of a run: when, and what.
    fn history(&self, id: RunId) -> Vec<(i64, String)> {
        let lines =
            self.records(Table::RunStep).into_iter().filter(|(key, _)| key.starts_with(&id.0));
        let line = |(_, value): (_, Vec<u8>)| {
            let (at_ms, Line { what, line, text }) = Line::decode(&value).unwrap();
            (at_ms, format!("{line} {} {text}", what.name()).trim_end().to_owned())
        };
        lines.map(line).collect()
    }

    fn lines(&self, id: RunId) -> Vec<String> {
        self.history(id).into_iter().map(|(_, text)| text).collect()
    }

    /// What the log tells of runs.
    fn log(&self) -> Vec<String> {
        let store = self.node.twins.store();
        let commits = store.read_blocking(|view| view.commits_after(0, usize::MAX)).unwrap();
        let mut out = Vec::new();
        for commit in &commits {
            for event in events::read(&commit.body).into_iter().flat_map(|(_, all)| all.flatten()) {
                if let Event::Run(RunStep { workflow, what, text, .. }) = event {
                    out.push(format!("{workflow} {} {text}", what.name()));
                }
            }
        }
        out
    }

    /// All that steps may change.
    fn all(&self) -> impl PartialEq + std::fmt::Debug + use<> {
        let tables = [Table::RunOnDevice, Table::RunOver, Table::RunStep];
        (tables.map(|table| self.records(table)), self.log())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_on_a_device_is_told_of_from_its_begin_to_its_end() {
    let (gateway, mut tank) = (Gateway::with_guard().await, Tank::new(1));
    let (began, shut) = (tank.begin(), tank.done(1));
    gateway.takes(&[&began, &shut]).await;
    let Afar { run, count } = gateway.run(tank.run);
    assert_eq!((run.workflow.as_str(), run.version.as_str(), count), ("guard", "1", 2));
    assert_eq!(run.device.as_deref(), Some("tank-1"));
    assert_eq!(
        (run.by.as_str(), run.stepped_ms),
        ("reading tank-1 level 2.01 on tank-1", BEGAN + 250)
    );
    assert_eq!(run.memory, tank.memory);
    let (cleared, opened) = (tank.cleared(), tank.done(2));
    gateway.takes(&[&cleared]).await;
    gateway.takes(&[&opened]).await;
    assert_eq!(gateway.records(Table::RunOnDevice), []);
    let run = gateway.over(tank.run);
    assert_eq!((run.phase(), run.device.as_deref()), (Some(Phase::Succeeded), Some("tank-1")));
    assert_eq!(
        gateway.history(tank.run),
        [
            (BEGAN, "0 started by reading tank-1 level 2.01 on tank-1"),
            (BEGAN, "9 asked effect 1: actuate valve 0"),
            (BEGAN + 250, "9 done effect 1: actuate valve 0"),
            (BEGAN + 500, "0 signal level below 1.5"),
            (BEGAN + 500, "13 asked effect 2: actuate valve 100"),
            (BEGAN + 750, "13 done effect 2: actuate valve 100"),
            (BEGAN + 750, "0 succeeded"),
        ]
        .map(|(at, text)| (at, text.to_owned()))
    );
    // The clock of the gateway is years away from that of the device.
    let log = gateway.log();
    assert_eq!(log.len(), 7);
    let started = "guard started by reading tank-1 level 2.01 on tank-1 at 2027-01-15T08:00:00Z by \
                   the device's clock";
    assert_eq!(
        (log[0].as_str(), log[6].as_str()),
        (started, "guard succeeded at 2027-01-15T08:00:00.750Z by the device's clock",)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_twice_or_out_of_order_or_after_the_end_changes_nothing() {
    let (gateway, mut tank) = (Gateway::with_guard().await, Tank::new(1));
    let steps = [tank.begin(), tank.done(1), tank.cleared(), tank.done(2)];
    gateway.takes(&[&steps[0], &steps[1]]).await;
    let all = gateway.all();
    gateway.takes(&[&steps[0], &steps[1]]).await;
    gateway.takes(&[&steps[0]]).await;
    assert_eq!(gateway.all(), all);
    // Some of a message are new.
    gateway.takes(&[&steps[1], &steps[2]]).await;
    assert_eq!(gateway.run(tank.run).count, 3);
    gateway.takes(&[&steps[3]]).await;
    let all = gateway.all();
    for step in &steps {
        gateway.takes(&[step]).await;
    }
    assert_eq!(gateway.all(), all);
    assert_eq!(gateway.lines(tank.run).len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_on_behind_a_gap_from_what_the_next_step_left() {
    let (gateway, mut tank) = (Gateway::with_guard().await, Tank::new(1));
    let steps = [tank.begin(), tank.done(1), tank.cleared(), tank.done(2)];
    gateway.takes(&[&steps[2]]).await;
    gateway.takes(&[&steps[1]]).await;
    gateway.takes(&[&steps[3]]).await;
    assert_eq!(
        gateway.lines(tank.run),
        [
            "0 started by what was not heard of, on tank-1",
            "0 signal level below 1.5",
            "13 asked effect 2: actuate valve 100",
            "13 done effect 2: actuate valve 100",
            "0 succeeded",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_effect_that_fails_says_what_it_was_and_that_it_is_tried_again() {
    let (gateway, mut tank) = (Gateway::with_guard().await, Tank::new(1));
    let (began, failed) = (tank.begin(), tank.failed(1, Code::REFUSED));
    gateway.takes(&[&began, &failed]).await;
    let run = gateway.run(tank.run).run;
    assert_eq!(run.reasons, [(0, "refused: actuate valve 0".to_owned())]);
    tank.now_ms += 1_000;
    let again = tank.put(Input::Tick, Cause::Time);
    let failed = tank.failed(1, Code::TIMEOUT);
    gateway.takes(&[&again, &failed]).await;
    assert_eq!(
        gateway.lines(tank.run)[2..],
        [
            "9 failed effect 1: refused: actuate valve 0",
            "9 asked effect 1: actuate valve 0, attempt 2",
            "9 failed effect 1: timeout: actuate valve 0",
            "9 ended timeout",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn times_are_the_devices_own_an_age_or_when_it_came() {
    let gateway = Gateway::with_guard().await;
    let now_ms = || gateway.node.twins.store().env().now().millis();
    let before = now_ms();
    let mut tanks = [1, 2, 3].map(Tank::new);
    for (tank, clock) in tanks.iter_mut().zip([Clock::Age, Clock::Unknown, Clock::Unix]) {
        // No calendar has what this would be as a time.
        let time = if clock == Clock::Unix { i64::MAX } else { 60_000 };
        let (_, step) = tank.begin();
        gateway.take("tank-1", payload(clock, &[&(time, step)])).await.unwrap();
    }
    let after = now_ms();
    let [aged, unknown, none] = tanks.map(|tank| gateway.run(tank.run).run.stepped_ms);
    assert!((before - 60_000..=after - 60_000).contains(&aged), "{aged}");
    assert!((before..=after).contains(&unknown) && (before..=after).contains(&none));
    let log = gateway.log();
    let suffixed = |line: &String| line.contains(" at 20") && !line.contains("by the device");
    assert_eq!(log.iter().filter(|line| suffixed(line)).count(), 2, "{log:?}");
    assert_eq!(log.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_an_unknown_workflow_is_kept_and_gets_its_name_once_that_is_known() {
    let gateway = Gateway::new();
    let mut tank = Tank::new(1);
    let (began, shut) = (tank.begin(), tank.done(1));
    gateway.takes(&[&began]).await;
    let run = gateway.run(tank.run).run;
    let name = format!("unknown-{:08x}", tank.tag());
    assert_eq!((run.workflow.as_str(), run.version.as_str()), (name.as_str(), ""));
    assert_eq!((run.phase(), &run.memory.len()), (Some(Phase::Running), &tank.memory.len()));
    assert_eq!(gateway.lines(tank.run), ["0 started by trigger 0, 2.01, on tank-1"]);
    let id = gateway.shelve("1", tank.image.clone()).await;
    gateway.assign(id.to_string().into()).await;
    gateway.round().await;
    gateway.takes(&[&shut]).await;
    assert_eq!(gateway.run(tank.run).run.workflow, "guard");
    assert_eq!(gateway.lines(tank.run)[1..], ["9 done effect 1: actuate valve 0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_unknown_workflow_the_memory_says_how_far_a_run_is() {
    let (gateway, run, tag) = (Gateway::new(), RunId([3; 16]), 0x1234_5678);
    let began = Cause::Began { trigger: 0, value: Value::float(2.01).unwrap() };
    let refused = Cause::Failed { serial: 1, error: Code::REFUSED };
    let first = Step { number: 7, run, count: 1, tag, cause: began, memory: &[1, 1, 0] };
    let second = Step { number: 8, run, count: 2, tag, cause: refused, memory: &[1, 4, 0] };
    gateway.takes(&[&told(BEGAN, &first), &told(BEGAN + 250, &second)]).await;
    let run = gateway.over(RunId([3; 16]));
    assert_eq!(
        (run.workflow.as_str(), run.memory.as_slice()),
        ("unknown-12345678", &[1, 4, 0][..])
    );
    assert_eq!(
        gateway.lines(RunId([3; 16])),
        [
            "0 started by trigger 0, 2.01, on tank-1",
            "0 failed effect 1: refused: on the device",
            "0 ended",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_another_device_and_a_memory_that_is_none_are_refused_with_their_place() {
    let (gateway, mut tank, mut other) = (Gateway::with_guard().await, Tank::new(1), Tank::new(0));
    let (began, shut) = (tank.begin(), tank.done(1));
    gateway.takes(&[&began]).await;
    let all = gateway.all();
    let wrong = gateway.take("tank-2", payload(Clock::Unix, &[&other.begin(), &shut])).await;
    let run = tank.run;
    assert_eq!(
        wrong.unwrap_err().to_string(),
        format!("the run {run} is on `tank-1`, and `tank-2` says this (at envelope 0, step 1)")
    );
    assert_eq!(gateway.all(), all, "not the step before it either");
    let mut damaged = Tank::new(3);
    damaged.begin();
    damaged.memory[28] = 0xff;
    damaged.count = 0;
    let step = damaged.told(Cause::Time);
    let wrong = gateway.take("tank-1", payload(Clock::Unix, &[&shut, &step])).await.unwrap_err();
    let bytes = damaged.memory.len();
    let text = wrong.to_string();
    assert!(text.contains(&format!("{bytes} bytes, is none of `guard` version 1: ")), "{text}");
    assert!(text.ends_with(" (at envelope 0, step 1)"), "{text}");
    assert_eq!(gateway.all(), all, "all of a message or none of it");
    // Of an image that is not known only what is no run at all is wrong.
    let step =
        Step { number: 9, run: RunId([9; 16]), count: 1, tag: 7, cause: Cause::Time, memory: &[1] };
    let wrong = gateway.take("tank-1", payload(Clock::Unix, &[&told(0, &step)])).await;
    assert!(matches!(wrong, Err(StepsError::Wrong { code: "malformed", .. })), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_in_the_middle_of_a_message_leaves_nothing_of_it() {
    let (gateway, mut tank, mut other) = (Gateway::with_guard().await, Tank::new(1), Tank::new(2));
    let (began, shut) = (tank.begin(), other.begin());
    let broken = |tx: &mut WriteTx<'_>| Ok(tx.put(Table::RunOnDevice, &[2; 16], b"no record")?);
    gateway.node.twins.store().write(broken).await.unwrap();
    let all = gateway.all();
    let wrong = gateway.take("tank-1", payload(Clock::Unix, &[&began, &shut])).await;
    assert!(matches!(wrong, Err(StepsError::Write(_))), "{wrong:?}");
    assert_eq!(gateway.all(), all);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_ends_a_run_on_a_device_and_it_holds_its_workflow() {
    let (gateway, mut tank) = (Gateway::with_guard().await, Tank::new(1));
    let runs = &gateway.assignments.runs;
    let began = tank.begin();
    gateway.takes(&[&began]).await;
    let on_device = RunError::OnDevice("tank-1".to_owned());
    assert_eq!(runs.cancel(tank.run, "ann").await, Err(on_device));
    assert_eq!(runs.remove("guard", "1").await, Err(RunError::InUse(1)));
    gateway.assign(Json::Null).await;
    gateway.round().await;
    assert_eq!(gateway.said().await, json!({"guard": {"1": "ends"}}));
    for step in [tank.done(1), tank.cleared(), tank.done(2)] {
        gateway.takes(&[&step]).await;
    }
    gateway.round().await;
    assert_eq!(gateway.said().await, Json::Null);
    assert_eq!(runs.cancel(tank.run, "ann").await, Err(RunError::Over));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_on_devices_is_known_after_a_start() {
    let (gateway, mut tank) = (Gateway::with_guard().await, Tank::new(1));
    let began = tank.begin();
    gateway.takes(&[&began]).await;
    let store = gateway.node.twins.store();
    let (desk, _) = Desk::load(store, holdfast_core::state::Role::Edge).unwrap();
    assert_eq!(desk.away().device_of(tank.run).as_deref(), Some("tank-1"));
    assert_eq!(desk.away().pinned("guard", "1"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_runs_whose_end_was_lost_a_device_has_only_so_many() {
    let gateway = Gateway::with_guard().await;
    for number in 0..20 {
        let mut tank = Tank::new(number);
        tank.now_ms += i64::from(number);
        let began = tank.begin();
        gateway.takes(&[&began]).await;
    }
    let mut elsewhere = Tank::new(77);
    let began = elsewhere.begin();
    gateway.take("tank-2", payload(Clock::Unix, &[&began])).await.unwrap();
    assert_eq!(gateway.records(Table::RunOnDevice).len(), OF_DEVICE_MAX + 1);
    for number in 0..4 {
        let id = RunId([number; 16]);
        assert_eq!(gateway.over(id).phase(), Some(Phase::Failed));
        assert_eq!(gateway.lines(id).last().unwrap(), "0 ended nothing was heard of its end");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_begins_no_run_of_a_workflow_for_devices() {
    let gateway = Gateway::with_guard().await;
    let runs = &gateway.assignments.runs;
    assert!(gateway.desk.triggers(|_| true).is_empty());
    let start = Start { workflow: "guard".to_owned(), ..Start::default() };
    let refused = runs.start(start).await.unwrap_err();
    assert_eq!(refused.to_string(), "`guard` runs on devices and begins there");
    let image = crate::flow::compile(GUARD).unwrap().image;
    let by_hand = runs.accept(image, "ann", 1).unwrap_err().to_string();
    assert!(by_hand.contains("devices take only what a publisher has signed"), "{by_hand}");
    assert!(by_hand.contains("artefact assign SITE NAME ID [--only TAG=VALUE]"), "{by_hand}");
    // Its memory is that of a device.
    let tank = Tank::new(1);
    let image = Image::parse(&tank.image).unwrap();
    assert!(Memory::new(&tank.memory, image.sizes).is_some() && tank.memory.len() <= 128);
}
