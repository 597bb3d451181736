//! Schedules: what begins runs because it is time.
//!
//! Up to when a schedule has been judged is a record, from when it is first seen. At each judgement
//! the times since then come together: one that was a moment ago begins a run, and of those that
//! were missed the first, if the schedule says so.

use super::Engine;
use super::gather::{Group, Write};
use crate::runs::Start;
use crate::runs::calendar::next_after;
use crate::runs::desk::Begins;
use crate::runs::due::Facts;
use holdfast_core::Timestamp;
use holdfast_core::flow::schedule::{Missed, Schedule};
use holdfast_core::flow::trigger::On;
use holdfast_core::log::runs::RunId;
use holdfast_sync::Fault;
use holdfast_sync::store::{Snapshot, Table};
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, BTreeSet};

/// So long after its time a schedule is not late.
const LATE_MS: i64 = 10_000;
/// Judged so far ahead of the clock, it was the clock that was set.
const AHEAD_MS: i64 = 3_600_000;

/// A schedule of a workflow.
struct Timer {
    begins: Begins,
    schedule: Schedule,
    zone: TimeZone,
    missed: Missed,
    /// Up to when it has been judged.
    judged_ms: i64,
    next_ms: i64,
}

impl Timer {
    fn judged(&mut self, at_ms: i64) {
        self.judged_ms = at_ms;
        self.next_ms = next_after(&self.schedule, &self.zone, at_ms).unwrap_or(i64::MAX);
    }
}

/// All schedules, by the keys of their records.
#[derive(Default)]
pub(super) struct Timers {
    library_changes: Option<u64>,
    timers: BTreeMap<Vec<u8>, Timer>,
    /// Records of the last start.
    kept: BTreeMap<Vec<u8>, i64>,
    next_ms: i64,
}

impl Timers {
    pub(super) fn load(view: &Snapshot<'_>) -> Result<Self, Fault> {
        let mut kept = BTreeMap::new();
        for (key, value) in view.scan(Table::RunSchedule, &[], &[], usize::MAX)? {
            let at_ms = value.as_slice().try_into().map(i64::from_le_bytes);
            let short = |_| Fault::damaged("record of a schedule", "it has not 8 bytes");
            kept.insert(key, at_ms.map_err(short)?);
        }
        Ok(Self { kept, next_ms: i64::MAX, ..Self::default() })
    }

    /// When the next one comes.
    pub(super) const fn next_ms(&self) -> i64 {
        self.next_ms
    }

    /// Takes over what a transaction judged.
    pub(super) fn settle(&mut self, judged: BTreeMap<Vec<u8>, i64>) {
        for (key, at_ms) in judged {
            if let Some(timer) = self.timers.get_mut(&key) {
                timer.judged(at_ms);
            }
        }
        self.look_ahead();
    }

    fn look_ahead(&mut self) {
        self.next_ms = self.timers.values().map(|timer| timer.next_ms).min().unwrap_or(i64::MAX);
    }
}

impl Engine {
    /// Judges the schedules into a transaction.
    pub(super) fn judge_schedules(&mut self, group: &mut Group) {
        let now_ms = self.env.now().millis();
        self.renew_timers(group, now_ms);
        if self.timers.next_ms > now_ms {
            return;
        }
        let mut due = Vec::new();
        for (key, timer) in &self.timers.timers {
            let (mut last_ms, mut next_ms) = (None, timer.next_ms);
            // Of times that were missed the first one stands for all.
            let far_ms = now_ms.saturating_sub(LATE_MS);
            if next_ms < far_ms {
                last_ms = Some(next_ms);
                next_ms = next_after(&timer.schedule, &timer.zone, far_ms).unwrap_or(i64::MAX);
            }
            while next_ms <= now_ms {
                last_ms = Some(next_ms);
                next_ms = next_after(&timer.schedule, &timer.zone, next_ms).unwrap_or(i64::MAX);
            }
            if let Some(last_ms) = last_ms {
                due.push((key.clone(), timer.begins.clone(), last_ms, timer.missed));
            }
        }
        for (key, begins, last_ms, missed) in due {
            if now_ms - last_ms <= LATE_MS || missed == Missed::Once {
                self.begin_scheduled(group, &begins, last_ms);
            }
            let value = now_ms.to_le_bytes().to_vec();
            group.writes.push(Write::Put(Table::RunSchedule, key.clone(), value));
            group.judged.insert(key, now_ms);
        }
    }

    fn begin_scheduled(&mut self, group: &mut Group, begins: &Begins, at_ms: i64) {
        let facts = Facts::at(Timestamp::from_millis(at_ms).unwrap_or(self.env.now()));
        let image = begins.flow.image();
        let start = Start {
            workflow: begins.flow.id.clone(),
            version: Some(begins.flow.version.clone()),
            input: super::due::input(&image, &begins.trigger(), facts.map()),
            by: "schedule".to_owned(),
            id: Some(RunId::new(at_ms, [self.env.entropy(), self.env.entropy()])),
            ..Start::default()
        };
        if let Err(error) = self.judge(group, start) {
            self.left_out(&begins.flow.id, "schedule", &error);
        }
    }

    /// Takes over the schedules of the workflows that are installed, and a clock that was set.
    fn renew_timers(&mut self, group: &mut Group, now_ms: i64) {
        for timer in self.timers.timers.values_mut() {
            if timer.judged_ms > now_ms.saturating_add(AHEAD_MS) {
                timer.judged(now_ms);
            }
        }
        let changes = self.desk.changes();
        if self.timers.library_changes == Some(changes) {
            return;
        }
        self.timers.library_changes = Some(changes);
        let mut gone: BTreeSet<Vec<u8>> = self.timers.timers.keys().cloned().collect();
        gone.extend(self.timers.kept.keys().cloned());
        for begins in self.desk.triggers(|on| matches!(on, On::Schedule { .. })) {
            let On::Schedule { schedule, zone, missed } = begins.trigger().on else { continue };
            let zone = match zone {
                "" => self.zone.clone(),
                name => TimeZone::get(name).unwrap_or_else(|error| {
                    tracing::error!(%error, zone = name, "the site's time zone is taken instead");
                    self.zone.clone()
                }),
            };
            let key = [begins.flow.id.as_bytes(), &[0], &begins.mark()].concat();
            gone.remove(&key);
            let known = self.timers.timers.remove(&key).map(|timer| timer.judged_ms);
            let known = known.or_else(|| self.timers.kept.remove(&key));
            let known = known.filter(|ms| *ms <= now_ms.saturating_add(AHEAD_MS));
            if known.is_none() {
                let value = now_ms.to_le_bytes().to_vec();
                group.writes.push(Write::Put(Table::RunSchedule, key.clone(), value));
            }
            let judged_ms = known.unwrap_or(now_ms);
            let mut timer = Timer { begins, schedule, zone, missed, judged_ms, next_ms: 0 };
            timer.judged(judged_ms);
            self.timers.timers.insert(key, timer);
        }
        for key in gone {
            self.timers.timers.remove(&key);
            group.writes.push(Write::Delete(Table::RunSchedule, key));
        }
        self.timers.kept.clear();
        self.timers.look_ahead();
    }
}
