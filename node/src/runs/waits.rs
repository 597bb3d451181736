//! Conditions that runs wait for, looked at by the pipeline.
//!
//! A condition is looked at from when a run first waits for it to when the run is over, so that one
//! which is waited for again has to come true again. What it begins with is the newest value: a
//! run does not wait for what is so already. As with alerts, a step of the pipeline makes its
//! changes on a sheet ([`Moved`]) that is taken over once it is on disk.

use super::desk::{Desk, WaitChange, Watched};
use super::due::{Due, DueWhat};
use super::record::{open, started};
use crate::pipeline::{Catalog, SeriesInfo};
use holdfast_core::codec::Sink;
use holdfast_core::condition::{Condition, Sample, Test};
use holdfast_core::log::runs::RunId;
use holdfast_core::{Reject, Timestamp};
use holdfast_sync::Fault;
use holdfast_sync::store::{Snapshot, Table, WriteTx};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A run, and the number of a signal of it.
type Place = (RunId, u8);

/// Where a condition stands, and whether the run was told since it came true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    condition: Condition,
    told: bool,
}

impl State {
    fn encode(&self) -> Vec<u8> {
        let mut out = started();
        let put = |out: &mut Vec<u8>| {
            out.put_u8(u8::from(self.told))?;
            self.condition.encode(out)
        };
        put(&mut out).expect("a vector has room");
        out
    }

    fn decode(value: &[u8]) -> Result<Self, Reject> {
        let mut reader = open(value)?;
        let told = match reader.u8()? {
            0 => false,
            1 => true,
            _ => return Err(Reject::Malformed),
        };
        let condition = Condition::decode(&mut reader)?;
        reader.finish()?;
        Ok(Self { condition, told })
    }

    /// Whether there is anything to know that the newest reading does not say.
    const fn is_first(&self) -> bool {
        self.condition.is_normal() && !self.told
    }

    fn is_as_kept(&self, kept: Option<&Self>) -> bool {
        match kept {
            Some(kept) => self.told == kept.told && self.condition.same_phase(&kept.condition),
            None => self.is_first(),
        }
    }
}

struct Spot {
    watched: Watched,
    /// Whether the run waits for it at present.
    is_waited: bool,
    state: State,
    /// What is on disk; nothing where that is not worth a record.
    kept: Option<State>,
}

/// What a step makes of the conditions.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    states: BTreeMap<Place, State>,
    found: BTreeSet<Place>,
}

/// What a step writes of them.
#[derive(Debug, Default)]
pub(crate) struct WaitRows {
    put: Vec<(Vec<u8>, Vec<u8>)>,
    gone: Vec<Vec<u8>>,
}

impl WaitRows {
    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.put.is_empty() && self.gone.is_empty()
    }

    /// Writes it.
    pub(crate) fn write(&self, tx: &mut WriteTx<'_>) -> Result<(), Fault> {
        for (key, value) in &self.put {
            tx.put(Table::RunCondition, key, value)?;
        }
        self.gone.iter().try_for_each(|key| tx.delete(Table::RunCondition, key).map(drop))
    }
}

/// All conditions that runs wait for.
pub(crate) struct Waits {
    desk: Option<Desk>,
    spots: BTreeMap<Place, Spot>,
    /// The places that watch a metric of a device.
    by_series: HashMap<(Box<str>, Box<str>), Vec<Place>>,
    /// States of an earlier start whose runs have not said yet that they go on.
    kept: HashMap<Place, State>,
    /// Places that are to be looked at, whatever is read.
    fresh: BTreeSet<Place>,
    /// Records of runs that are over.
    gone: BTreeSet<Place>,
}

impl Waits {
    pub(crate) fn load(view: &Snapshot<'_>, desk: Option<Desk>) -> Result<Self, Fault> {
        let mut kept = HashMap::new();
        for (key, value) in view.scan(Table::RunCondition, &[], &[], usize::MAX)? {
            let damaged = |reject: Reject| Fault::damaged("condition of a run", reject.code());
            let place = key
                .split_last()
                .and_then(|(signal, run)| Some((RunId(run.try_into().ok()?), *signal)));
            let place = place.ok_or(Reject::Malformed).map_err(damaged)?;
            kept.insert(place, State::decode(&value).map_err(damaged)?);
        }
        let (spots, by_series) = (BTreeMap::new(), HashMap::new());
        let (fresh, gone) = (BTreeSet::new(), BTreeSet::new());
        Ok(Self { desk, spots, by_series, kept, fresh, gone })
    }

    /// Whether something is to be looked at that nobody reads.
    pub(crate) fn is_due(&self) -> bool {
        self.desk.as_ref().is_some_and(Desk::has_waits) || !self.fresh.is_empty()
    }

    /// Takes over what runs wait for by now, and looks at what is new.
    pub(crate) fn begin(&mut self, moved: &mut Moved, catalog: &Catalog, now: Timestamp) {
        let Some(desk) = &self.desk else { return };
        for change in desk.take_waits() {
            match change {
                WaitChange::Begin(run, signal, watched) => {
                    self.wait((run, signal), watched, catalog, now);
                }
                WaitChange::Pause(run, signal) => {
                    if let Some(spot) = self.spots.get_mut(&(run, signal)) {
                        spot.is_waited = false;
                    }
                }
                WaitChange::End(run) => self.end(run),
            }
        }
        for place in self.fresh.iter().copied() {
            if let Some(spot) = self.spots.get(&place) {
                settle(moved, place, spot, spot.state);
            }
        }
    }

    fn wait(&mut self, place: Place, watched: Watched, catalog: &Catalog, now: Timestamp) {
        self.fresh.insert(place);
        if let Some(spot) = self.spots.get_mut(&place)
            && spot.watched == watched
        {
            spot.is_waited = true;
            return;
        }
        let (resumed, kept) = match self.forget(place) {
            Some(spot) => (None, spot.kept),
            None => {
                let kept = self.kept.remove(&place);
                (kept, kept)
            }
        };
        let state = resumed
            .unwrap_or_else(|| State { condition: first(&watched, catalog, now), told: false });
        let series = (watched.device.as_str().into(), watched.metric.as_str().into());
        self.by_series.entry(series).or_default().push(place);
        self.spots.insert(place, Spot { watched, is_waited: true, state, kept });
    }

    fn forget(&mut self, place: Place) -> Option<Spot> {
        let spot = self.spots.remove(&place)?;
        let series = (spot.watched.device.as_str().into(), spot.watched.metric.as_str().into());
        if let Some(all) = self.by_series.get_mut(&series) {
            all.retain(|known| *known != place);
            if all.is_empty() {
                self.by_series.remove(&series);
            }
        }
        Some(spot)
    }

    fn end(&mut self, run: RunId) {
        let all: Vec<Place> =
            self.spots.range((run, 0)..=(run, u8::MAX)).map(|(p, _)| *p).collect();
        for place in all {
            self.fresh.remove(&place);
            if self.forget(place).is_some_and(|spot| spot.kept.is_some()) {
                self.gone.insert(place);
            }
        }
    }

    /// Takes a reading of this node.
    pub(crate) fn take(&self, moved: &mut Moved, info: &SeriesInfo, sample: Sample) {
        if self.spots.is_empty() {
            return;
        }
        let series = (info.device.clone(), info.metric.clone());
        for place in self.by_series.get(&series).into_iter().flatten().copied() {
            let Some(spot) = self.spots.get(&place) else { continue };
            let mut state = moved.states.get(&place).copied().unwrap_or(spot.state);
            state.condition.take(&spot.watched.rule, sample);
            settle(moved, place, spot, state);
        }
    }

    /// When the clock alone changes a condition, if nothing is received until then.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        let deadline = |spot: &Spot| spot.state.condition.next_deadline(&spot.watched.rule);
        self.spots.values().filter_map(deadline).min()
    }

    /// Judges the clock; no silence while nobody could have been heard.
    pub(crate) fn scan(&self, moved: &mut Moved, now: Timestamp, may_be_silent: bool) {
        for (place, spot) in &self.spots {
            let rule = &spot.watched.rule;
            if matches!(rule.test, Test::Silent { .. }) && !may_be_silent {
                continue;
            }
            let mut state = moved.states.get(place).copied().unwrap_or(spot.state);
            if state.condition.tick(rule, now).is_some() {
                settle(moved, *place, spot, state);
            }
        }
    }

    /// The clock was set by so much.
    pub(crate) fn clock_set(&mut self, by_ns: i64, now: Timestamp) {
        self.spots.values_mut().for_each(|spot| spot.state.condition.clock_set(by_ns, now));
    }

    /// What a step writes.
    pub(crate) fn rows(&self, moved: &Moved) -> WaitRows {
        let mut rows = WaitRows::default();
        for ((run, signal), state) in &moved.states {
            let Some(spot) = self.spots.get(&(*run, *signal)) else { continue };
            if state.is_as_kept(spot.kept.as_ref()) {
                continue;
            }
            let key = key(*run, *signal);
            if state.is_first() {
                rows.gone.push(key);
            } else {
                rows.put.push((key, state.encode()));
            }
        }
        rows.gone.extend(self.gone.iter().map(|(run, signal)| key(*run, *signal)));
        rows
    }

    /// What was found.
    pub(crate) fn found(moved: &Moved) -> impl Iterator<Item = Due> {
        let due = |(run, signal): &Place| Due { run: *run, what: DueWhat::Condition(*signal) };
        moved.found.iter().map(due)
    }

    /// Takes over what is on disk.
    pub(crate) fn settle(&mut self, moved: Moved) {
        for (place, state) in moved.states {
            if let Some(spot) = self.spots.get_mut(&place) {
                spot.state = state;
                if !state.is_as_kept(spot.kept.as_ref()) {
                    spot.kept = (!state.is_first()).then_some(state);
                }
                // Whoever waits for it again says so.
                spot.is_waited &= !moved.found.contains(&place);
            }
        }
        self.fresh.clear();
        self.gone.clear();
    }
}

/// Notes a state, and that the run is to be told, if it waits for that.
fn settle(moved: &mut Moved, place: Place, spot: &Spot, mut state: State) {
    let is_true = state.condition.is_raised().is_some();
    state.told &= is_true;
    if is_true && !state.told && spot.is_waited && !moved.found.contains(&place) {
        state.told = true;
        moved.found.insert(place);
    }
    moved.states.insert(place, state);
}

fn key(run: RunId, signal: u8) -> Vec<u8> {
    [&run.0[..], &[signal]].concat()
}

/// A condition that knows the newest value, in whatever unit that came.
fn first(watched: &Watched, catalog: &Catalog, now: Timestamp) -> Condition {
    let Watched { device, metric, rule } = watched;
    let all = catalog.list(|info| *info.device == **device && *info.metric == **metric);
    let newest = all.into_iter().max_by_key(|(_, last)| last.time).map(|(_, last)| last);
    let mut condition = Condition::default();
    match newest {
        Some(last) => {
            let value = last.value.get().number();
            let sample = Sample { time: last.time, received: last.received, value };
            condition.take(rule, sample);
        }
        // A silence of what was never heard begins now.
        None => condition.hear(now, now),
    }
    condition.tick(rule, now);
    condition
}
