//! The watch: one condition per rule and subject, and what is said when it changes.
//!
//! It is part of the pipeline and changes only with it: what a step makes of it stands in a
//! [`Round`] until the step is on disk. Readings are judged as they are read in the log; once a
//! second, and only with nothing left to read, the clock is judged too: what was to hold until
//! now, who is silent, what the node is told about itself.

use super::WATCHED_MAX;
use super::alert::{Alert, Fact};
use super::book::Book;
use super::observe::{Observation, Observe, Seen};
use super::round::{Round, State, Writing};
use super::rule::{Backlog, OwnedSubject, Rule, Scope};
use crate::pipeline::{Catalog, SeriesInfo, SeriesNo};
use crate::runs::{Begins, Desk};
use holdfast_core::condition::{Change, Condition, Sample, Test};
use holdfast_core::log::alerts::{AlertCleared, AlertId, AlertRaised, ClearReason};
use holdfast_core::log::events::Event;
use holdfast_core::{NodeId, Quality, Timestamp, Value};
use holdfast_sync::Fault;
use holdfast_sync::env::Env;
use holdfast_sync::store::{OwnedValue, Snapshot};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// How often the clock is judged; a little less than the pipeline's tick.
const SCAN_MS: u64 = 900;
/// After a start everybody gets so long to speak before silence is told: nobody was heard while
/// the node was down.
const GRACE_MS: u64 = 60_000;
/// The wall clock moved by more than this against the one that only goes forward: it was set.
const JUMP_MS: i64 = 1_000;

/// Takes alerts that changed.
pub type OnAlerts = Arc<dyn Fn(&[Alert]) + Send + Sync>;

/// What is watched, and who is told.
#[derive(Clone)]
pub struct Plan {
    /// The rules.
    pub rules: Vec<Rule>,
    /// What the node is told about itself and others.
    pub observe: Observe,
    /// Takes alerts that changed.
    pub on_alerts: OnAlerts,
    /// What begins runs, and where what was found is handed in.
    pub desk: Option<Desk>,
}

impl Default for Plan {
    /// Nothing is watched, nobody is told.
    fn default() -> Self {
        let (observe, on_alerts): (Observe, OnAlerts) = (Arc::new(Vec::new), Arc::new(|_| {}));
        Self { rules: Vec::new(), observe, on_alerts, desk: None }
    }
}

/// A state or an alert of an earlier start that nothing watches any more.
#[derive(Debug)]
pub(super) struct Orphan {
    pub key: Option<Vec<u8>>,
    pub alert: Option<AlertId>,
}

pub(super) struct Machine {
    pub(super) rule: usize,
    pub(super) subject: OwnedSubject,
    pub(super) key: Box<[u8]>,
    pub(super) state: State,
    /// The series whose newest value tells what raised it.
    pub(super) series: Option<SeriesNo>,
}

/// All conditions.
pub struct Watch {
    here: NodeId,
    pub(super) env: Env,
    pub(super) plan: Plan,
    book: Arc<Book>,
    pub(super) machines: Vec<Machine>,
    pub(super) by_key: HashMap<Box<[u8]>, usize>,
    pub(super) by_series: HashMap<SeriesNo, Arc<[usize]>>,
    /// How often the workflows had changed when their triggers were taken over.
    pub(super) library_changes: Option<u64>,
    /// What begins runs by alerts.
    pub(super) alert_triggers: Vec<Begins>,
    pub(super) orphans: Vec<Orphan>,
    /// Wall and steady milliseconds when it was last looked at the clock.
    clock: (i64, u64),
    started_ms: u64,
    scanned_ms: u64,
}

/// A reading as the log has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading<'a> {
    pub time: Timestamp,
    pub received: Timestamp,
    pub value: Value<'a>,
    pub quality: Quality,
}

impl Watch {
    pub(crate) fn load(
        view: &Snapshot<'_>,
        plan: Plan,
        (here, env): (NodeId, Env),
        catalog: &Catalog,
        is_again: bool,
    ) -> Result<Self, Fault> {
        let (wall, steady) = (env.now().millis(), env.monotonic_ms());
        let mut watch = Self {
            here,
            env,
            plan,
            book: Arc::new(Book::load(view)?),
            machines: Vec::new(),
            by_key: HashMap::new(),
            by_series: HashMap::new(),
            library_changes: None,
            alert_triggers: Vec::new(),
            orphans: Vec::new(),
            clock: (wall, steady),
            started_ms: steady,
            scanned_ms: 0,
        };
        watch.renew(catalog);
        for (info, _) in catalog.list(|info| info.origin == here) {
            watch.watch_series(&info, catalog);
        }
        if is_again {
            watch.book.read_log(view, here)?;
        }
        watch.take_up(view)?;
        // The clock may have been set while the node was down.
        let now = watch.env.now();
        watch.machines.iter_mut().for_each(|m| m.state.condition.clock_set(0, now));
        Ok(watch)
    }

    pub(crate) fn book(&self) -> &Arc<Book> {
        &self.book
    }

    pub(super) const fn here(&self) -> NodeId {
        self.here
    }

    pub(super) fn rule(&self, no: usize) -> &Rule {
        &self.plan.rules[no]
    }

    pub(super) fn rule_called(&self, name: &str) -> Option<usize> {
        self.plan.rules.iter().position(|rule| *rule.name == *name)
    }

    pub(super) fn begins_runs(&self, at: usize) -> bool {
        self.plan.rules[self.machines[at].rule].begins.is_some()
    }

    pub(super) fn known(&self, key: &[u8]) -> Option<usize> {
        self.by_key.get(key).copied()
    }

    /// Goes on from the state of an earlier start; what was heard since then is known already.
    pub(super) fn resume(&mut self, at: usize, mut state: State) {
        let machine = &mut self.machines[at];
        state.condition.learn(&machine.state.condition);
        machine.state = state;
    }

    pub(super) fn add(
        &mut self,
        rule: usize,
        subject: OwnedSubject,
        condition: Condition,
    ) -> Option<usize> {
        if self.machines.len() >= WATCHED_MAX {
            self.book.note_unwatched();
            return None;
        }
        let key: Box<[u8]> = subject.key(&self.plan.rules[rule].name).into();
        let at = self.machines.len();
        let state = State { condition, alert: None };
        self.by_key.insert(key.clone(), at);
        self.machines.push(Machine { rule, subject, key, state, series: None });
        Some(at)
    }

    /// The places that watch a series; found once.
    pub(super) fn watch_series(&mut self, info: &SeriesInfo, catalog: &Catalog) -> Arc<[usize]> {
        if let Some(places) = self.by_series.get(&info.no) {
            return Arc::clone(places);
        }
        let last = catalog.last(info.no);
        let condition =
            last.map_or_else(Condition::default, |last| Condition::after(last.time, last.received));
        let mut places = Vec::new();
        for no in 0..self.plan.rules.len() {
            let rule = &self.plan.rules[no];
            if !rule.fits(&info.device, &info.metric) {
                continue;
            }
            let subject = match rule.scope {
                Scope::Device => OwnedSubject::Device(info.device.clone()),
                _ => OwnedSubject::Series(
                    info.device.clone(),
                    info.metric.clone(),
                    info.unit.clone(),
                ),
            };
            let known = self.known(&subject.key(&rule.name));
            let is_series = rule.scope == Scope::Series;
            let Some(at) = known.or_else(|| self.add(no, subject, condition)) else { continue };
            let machine = &mut self.machines[at];
            machine.state.condition.learn(&condition);
            machine.series = is_series.then_some(info.no);
            places.push(at);
        }
        let places: Arc<[usize]> = places.into();
        self.by_series.insert(info.no, Arc::clone(&places));
        places
    }

    /// Whether the clock is to be judged again.
    pub(crate) const fn is_due(&self, steady_ms: u64) -> bool {
        steady_ms.saturating_sub(self.scanned_ms) >= SCAN_MS
    }

    /// When the clock is to be judged next, by the one that only goes forward.
    pub(crate) const fn next_scan_ms(&self) -> u64 {
        self.scanned_ms.saturating_add(SCAN_MS)
    }

    /// When the clock alone changes a condition, if nothing is received until then.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        let all = self.machines.iter().filter_map(|machine| {
            let rule = &self.plan.rules[machine.rule];
            machine.state.condition.next_deadline(&rule.condition).filter(|_| !rule.is_of_windows())
        });
        all.min()
    }

    /// Begins a round. A clock that was set takes along what waits for it; by how much is told.
    pub(crate) fn begin(&mut self, catalog: &Catalog) -> (Round, Option<i64>) {
        self.renew(catalog);
        let (now, steady) = (self.env.now(), self.env.monotonic_ms());
        let passed = i64::try_from(steady.saturating_sub(self.clock.1)).unwrap_or(i64::MAX);
        let jump = now.millis().saturating_sub(self.clock.0).saturating_sub(passed);
        self.clock = (now.millis(), steady);
        if jump.abs() > JUMP_MS {
            let by_ns = jump.saturating_mul(1_000_000);
            self.machines.iter_mut().for_each(|m| m.state.condition.clock_set(by_ns, now));
            return (Round::at(now), Some(by_ns));
        }
        (Round::at(now), None)
    }

    /// Whether the node has listened for long enough to call somebody silent.
    pub(crate) fn may_be_silent(&self) -> bool {
        self.env.monotonic_ms().saturating_sub(self.started_ms) >= GRACE_MS
    }

    /// Takes a reading of this node.
    pub(crate) fn take(
        &mut self,
        round: &mut Round,
        catalog: &Catalog,
        info: &SeriesInfo,
        reading: &Reading<'_>,
    ) {
        if self.plan.rules.is_empty() {
            return;
        }
        for at in self.watch_series(info, catalog).iter().copied() {
            self.judge(round, at, reading);
        }
    }

    /// Judges a reading by one condition.
    pub(super) fn judge(&mut self, round: &mut Round, at: usize, reading: &Reading<'_>) {
        let Reading { time, received, value, quality } = *reading;
        // What the device itself calls wrong is no reason to wake somebody.
        let number = value.number().filter(|_| !quality.has(Quality::BAD));
        let sample = Sample { time, received, value: number };
        let age = round.now.saturating_since(received);
        let rule = &self.plan.rules[self.machines[at].rule];
        let mut state = self.state(round, at);
        let is_old = matches!(rule.backlog, Backlog::Skip { max_age_ns } if age > max_age_ns);
        if is_old && state.condition.is_normal() {
            state.condition.hear(time, received);
        } else {
            let change = state.condition.take(&rule.condition, sample);
            let silence = rule.is_silence();
            let told = Told { value: (!silence).then_some(value), text: None };
            self.say(round, at, &mut state, change, &told, Some(received));
        }
        round.states.insert(at, state);
    }

    fn state(&self, round: &Round, at: usize) -> State {
        round.states.get(&at).copied().unwrap_or(self.machines[at].state)
    }

    /// Judges the clock, and what the node is told.
    pub(crate) fn scan(&mut self, round: &mut Round, catalog: &Catalog) {
        let steady = self.env.monotonic_ms();
        round.scanned_ms = Some(steady);
        for orphan in &self.orphans {
            round.gone.extend(orphan.key.clone());
            if let Some(id) = orphan.alert {
                round.say(&unwatched(id, round.now), self.here);
            }
        }
        let told = self.observe(round);
        for at in 0..self.machines.len() {
            let machine = &self.machines[at];
            let rule = &self.plan.rules[machine.rule];
            if rule.is_of_windows() {
                continue;
            }
            let mut state = self.state(round, at);
            if let Test::Silent { for_ns } = rule.condition.test
                && state.condition.is_normal()
                && steady - self.started_ms < GRACE_MS.min(for_ns as u64 / 1_000_000)
            {
                continue;
            }
            let before = state;
            let change = state.condition.tick(&rule.condition, round.now);
            if state == before {
                continue;
            }
            let last = machine.series.filter(|_| !rule.is_silence());
            let last = last.and_then(|no| catalog.last(no));
            let said = told.get(&at);
            let value = said.and_then(|o| o.value()).or(last.as_ref().map(|l| l.value.get()));
            let told = Told { value, text: said.map(|o| o.text.as_str()) };
            self.say(round, at, &mut state, change, &told, None);
            round.states.insert(at, state);
        }
    }

    /// Takes what the node is told; what it is no longer told of is no longer watched.
    fn observe(&mut self, round: &mut Round) -> BTreeMap<usize, Observation> {
        let mut told = BTreeMap::new();
        for seen in (self.plan.observe)() {
            let no = self.rule_called(seen.rule);
            let Some(no) = no.filter(|no| self.rule(*no).scope == Scope::Told) else { continue };
            let key = seen.subject.key(seen.rule);
            let at = self.known(&key);
            let at = at.or_else(|| self.add(no, seen.subject.clone(), Condition::default()));
            let Some(at) = at else { continue };
            let rule = self.plan.rules[no].condition;
            let mut state = self.state(round, at);
            let now = round.now;
            let sample = |value| Sample { time: now, received: now, value };
            let change = match &seen.seen {
                Seen::Measure(measure, _) => state.condition.take(&rule, sample(Some(*measure))),
                Seen::Heard => state.condition.take(&rule, sample(None)),
                Seen::HeardAt(then) => {
                    state.condition.hear(*then, *then);
                    None
                }
            };
            let words = Told { value: seen.value(), text: Some(&seen.text) };
            self.say(round, at, &mut state, change, &words, None);
            round.states.insert(at, state);
            told.insert(at, seen);
        }
        for at in 0..self.machines.len() {
            let is_told = self.plan.rules[self.machines[at].rule].scope == Scope::Told;
            let state = self.state(round, at);
            if is_told && !told.contains_key(&at) && state != State::default() {
                if let Some(id) = state.alert {
                    round.say(&unwatched(id, round.now), self.here);
                }
                round.states.insert(at, State::default());
            }
        }
        told
    }

    fn say(
        &self,
        round: &mut Round,
        at: usize,
        state: &mut State,
        change: Option<Change>,
        told: &Told<'_>,
        received: Option<Timestamp>,
    ) {
        let machine = &self.machines[at];
        let rule = &self.plan.rules[machine.rule];
        if let (Some(begins), Some(change)) = (&rule.begins, change) {
            if let Change::Raised { since } = change {
                self.begin_run(round, begins, (&machine.subject, since), told);
            }
            return;
        }
        match change {
            Some(Change::Raised { since }) => {
                if let Some(id) = received.and_then(|_| self.said(round, machine, since)) {
                    state.alert = Some(id).filter(|id| self.is_active(*id));
                    return;
                }
                let id = self.new_id();
                let text = self.text(machine, told);
                let raised = AlertRaised {
                    id,
                    severity: rule.severity,
                    rule: &rule.name,
                    subject: machine.subject.get(),
                    since,
                    value: told.value,
                    text: &text,
                };
                round.say(&Event::AlertRaised(raised), self.here);
                state.alert = Some(id);
            }
            Some(Change::Cleared { at }) => {
                let Some(id) = state.alert.take() else { return };
                let (reason, value) = (ClearReason::Over, told.value);
                let cleared = AlertCleared { id, reason, at, value };
                round.say(&Event::AlertCleared(cleared), self.here);
            }
            None => {}
        }
    }

    /// The alert that was raised for this before, when the log is read a second time.
    fn said(&self, round: &Round, machine: &Machine, since: Timestamp) -> Option<AlertId> {
        if !round.is_again {
            return None;
        }
        let rule = &self.plan.rules[machine.rule].name;
        self.book.raised(self.here, rule, &machine.subject, since).map(|alert| alert.id)
    }

    fn is_active(&self, id: AlertId) -> bool {
        self.book.get(self.here, id).is_some_and(|alert| alert.is_active())
    }

    fn new_id(&self) -> AlertId {
        loop {
            let id = AlertId(self.env.entropy());
            if self.book.get(self.here, id).is_none() {
                return id;
            }
        }
    }

    fn text(&self, machine: &Machine, told: &Told<'_>) -> String {
        let rule = &self.plan.rules[machine.rule];
        if !rule.text.is_empty() {
            return rule.text.to_string();
        }
        if let Some(text) = told.text {
            return text.to_owned();
        }
        let name = match &machine.subject {
            OwnedSubject::Device(device) => device.to_string(),
            OwnedSubject::Series(device, metric, _) => format!("{device} {metric}"),
            OwnedSubject::Node | OwnedSubject::Peer(_) => rule.name.to_string(),
        };
        let unit = match &machine.subject {
            OwnedSubject::Series(_, _, unit) if !unit.is_empty() => format!(" {unit}"),
            _ => String::new(),
        };
        match told.value {
            Some(value) => format!("{name} is {}{unit}: {}", words(&value), rule.words),
            None => format!("{name}: {}", rule.words),
        }
    }

    /// What a round is to write.
    pub(crate) fn writing(&self, round: &Round) -> Writing {
        let moved = round.states.iter().filter_map(|(at, state)| {
            let machine = &self.machines[*at];
            let is_same = state.condition.same_phase(&machine.state.condition)
                && state.alert == machine.state.alert;
            let value = (!state.condition.is_normal()).then(|| state.encode());
            (!is_same).then(|| (machine.key.to_vec(), value))
        });
        // In a log that is read again there may stand what is known but has lost its record.
        let is_news = |fact: &Fact| round.is_again || !self.book.knows(fact);
        let gone = round.gone.iter().map(|key| (key.clone(), None));
        Writing {
            states: gone.chain(moved).collect(),
            said: round.said.clone(),
            heard: round.heard.iter().filter(|fact| is_news(fact)).cloned().collect(),
            forgotten: self.book.surplus(self.here, round.said.len() + round.heard.len()),
            due: round.due.clone(),
        }
    }

    /// Takes over a round that is on disk.
    pub(crate) fn settle(&mut self, round: Round, changed: &[Alert], forgotten: &[Alert]) {
        for (at, state) in round.states {
            self.machines[at].state = state;
        }
        if let Some(steady) = round.scanned_ms {
            self.scanned_ms = steady;
            self.orphans.clear();
        }
        if let Some(desk) = &self.plan.desk {
            desk.found(round.due);
        }
        self.book.take(changed, forgotten);
        if !changed.is_empty() {
            (self.plan.on_alerts)(changed);
        }
    }
}

/// What an alert says beside its rule.
pub(super) struct Told<'a> {
    pub(super) value: Option<Value<'a>>,
    text: Option<&'a str>,
}

impl Observation {
    fn value(&self) -> Option<Value<'_>> {
        match &self.seen {
            Seen::Measure(_, value) => value.as_ref().map(OwnedValue::get),
            Seen::Heard | Seen::HeardAt(_) => None,
        }
    }
}

const fn unwatched(id: AlertId, at: Timestamp) -> Event<'static> {
    Event::AlertCleared(AlertCleared { id, reason: ClearReason::Unwatched, at, value: None })
}

fn words(value: &Value<'_>) -> String {
    match value {
        Value::Float(number) => number.get().to_string(),
        Value::Int(int) => int.to_string(),
        Value::Bool(true) => "on".to_owned(),
        Value::Bool(false) => "off".to_owned(),
        Value::Text(text) => text.as_str().to_owned(),
    }
}
