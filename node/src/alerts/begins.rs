//! Triggers as rules: what they look for is looked for like an alert's condition, and begins a run
//! instead of an alert.
//!
//! Workflows come and go while the node runs, so these rules do: when the desk says that something
//! has changed, the rules are made anew, and what is known of those that stay is kept.

use super::Round;
use super::rule::{Backlog, OwnedSubject, Rule, Scope};
use super::watch::{Machine, Orphan, Reading, Told, Watch};
use crate::glob;
use crate::pipeline::{Catalog, GRACE_S, Rolled, SeriesInfo};
use crate::runs::{Begins, Due, Facts};
use data_encoding::HEXLOWER;
use holdfast_core::condition::Test;
use holdfast_core::flow::trigger::{Devices, On, Statistic, Trigger};
use holdfast_core::log::alerts::{AlertRaised, Subject};
use holdfast_core::log::events::{Event, Severity};
use holdfast_core::rollup::{Summary, Window};
use holdfast_core::state::Role;
use holdfast_core::{NodeId, Quality, Timestamp, Value};
use std::collections::HashMap;
use std::sync::Arc;

/// A window that ended longer ago begins nothing: so does a backlog that comes in late.
const WINDOW_MAX_AGE_S: i64 = 300 + GRACE_S;
const SECOND_NS: i64 = 1_000_000_000;

impl Rule {
    /// The condition of a trigger; none of one that has none.
    pub(super) fn of_trigger(begins: Begins) -> Option<Self> {
        let Trigger { on, .. } = begins.trigger();
        let (of, metric, condition, scope, max_age_ns) = match on {
            On::Reading { of, metric, rule, max_age_ms } => {
                let is_silence = matches!(rule.test, Test::Silent { .. });
                let scope = if is_silence { Scope::Device } else { Scope::Series };
                let max_age_ns = i64::try_from(max_age_ms).unwrap_or(i64::MAX);
                (of, metric, rule, scope, max_age_ns.saturating_mul(1_000_000))
            }
            On::Rollup { of, metric, width_s, statistic, rule } => {
                let max_age_ns = WINDOW_MAX_AGE_S * SECOND_NS;
                (of, metric, rule, Scope::Window { width_s, statistic }, max_age_ns)
            }
            _ => return None,
        };
        let (device, metric) = (of.pattern.into(), metric.into());
        let mark = HEXLOWER.encode(&begins.mark());
        Some(Self {
            name: format!("{}#{mark}", begins.flow.id).into(),
            device,
            metric,
            condition,
            words: Box::default(),
            severity: Severity::Info,
            text: Box::default(),
            backlog: match max_age_ns {
                0 => Backlog::Replay,
                max_age_ns => Backlog::Skip { max_age_ns },
            },
            scope,
            begins: Some(begins),
        })
    }
}

impl Watch {
    /// Whether this is the hub, which begins runs that gateways want.
    pub(crate) fn is_hub(&self) -> bool {
        self.plan.desk.as_ref().is_some_and(|desk| desk.role() == Role::Hub)
    }

    /// Takes over the triggers of the workflows that are installed, if those have changed.
    pub(super) fn renew(&mut self, catalog: &Catalog) {
        let Some(desk) = self.plan.desk.clone() else { return };
        let changes = desk.changes();
        if self.library_changes == Some(changes) {
            return;
        }
        self.library_changes = Some(changes);
        let is_condition = |on: &On<'_>| matches!(on, On::Reading { .. } | On::Rollup { .. });
        let triggers = desk.triggers(is_condition).into_iter().filter_map(Rule::of_trigger);
        let before = std::mem::take(&mut self.plan.rules);
        let mut names: Vec<Box<str>> = before.iter().map(|rule| rule.name.clone()).collect();
        self.plan.rules = before.into_iter().filter(|rule| rule.begins.is_none()).collect();
        self.plan.rules.extend(triggers);
        self.alert_triggers = desk.triggers(|on| matches!(on, On::Alert { .. }));
        let places: HashMap<Box<str>, usize> = self
            .plan
            .rules
            .iter()
            .enumerate()
            .map(|(place, rule)| (rule.name.clone(), place))
            .collect();
        let mut kept = Vec::with_capacity(self.machines.len());
        for machine in self.machines.drain(..) {
            let name = std::mem::take(&mut names[machine.rule]);
            let place = places.get(&name).copied();
            names[machine.rule] = name;
            match place {
                Some(rule) => kept.push(Machine { rule, ..machine }),
                None if machine.state.condition.is_normal() => {}
                None => self.orphans.push(Orphan { key: Some(machine.key.into()), alert: None }),
            }
        }
        self.by_key =
            kept.iter().enumerate().map(|(at, machine)| (machine.key.clone(), at)).collect();
        self.machines = kept;
        self.by_series.clear();
        let here = self.here();
        for (info, _) in catalog.list(|info| info.origin == here) {
            self.watch_series(&info, catalog);
        }
    }

    /// Takes windows of this node that are over.
    pub(crate) fn take_windows<'w>(
        &mut self,
        round: &mut Round,
        windows: impl Iterator<Item = (&'w Arc<SeriesInfo>, Window, &'w Rolled)>,
    ) {
        if !self.plan.rules.iter().any(|rule| matches!(rule.scope, Scope::Window { .. })) {
            return;
        }
        for (info, window, rolled) in windows {
            let fits: Vec<usize> = (0..self.plan.rules.len())
                .filter(|no| self.plan.rules[*no].fits_window(info, window.width_s))
                .collect();
            for no in fits {
                self.take_window(round, no, (info, window, &rolled.summary));
            }
        }
    }

    fn take_window(
        &mut self,
        round: &mut Round,
        no: usize,
        (info, window, summary): (&SeriesInfo, Window, &Summary),
    ) {
        let Scope::Window { statistic, .. } = self.plan.rules[no].scope else { return };
        let subject =
            OwnedSubject::Series(info.device.clone(), info.metric.clone(), info.unit.clone());
        let known = self.known(&subject.key(&self.plan.rules[no].name));
        let at = known.or_else(|| self.add(no, subject, Default::default()));
        // A hold counts from the end of the first window that is so.
        let end = Timestamp(window.end_s().saturating_mul(SECOND_NS));
        // A sum may be more than a number can be.
        if let (Some(at), Ok(value)) = (at, Value::float(value_of(summary, statistic))) {
            let quality = Quality::default();
            self.judge(round, at, &Reading { time: end, received: end, value, quality });
        }
    }

    /// What was found begins a run.
    pub(super) fn begin_run(
        &self,
        round: &mut Round,
        begins: &Begins,
        (subject, since): (&OwnedSubject, Timestamp),
        told: &Told<'_>,
    ) {
        // The log is read a second time: what is found now was found the first time.
        if round.is_again {
            return;
        }
        let facts = match subject {
            OwnedSubject::Series(device, metric, unit) => Facts::at(since)
                .with("device", &**device)
                .with("metric", &**metric)
                .with("unit", &**unit),
            OwnedSubject::Device(device) => Facts::at(since).with("device", &**device),
            OwnedSubject::Node | OwnedSubject::Peer(_) => Facts::at(since),
        };
        let facts = match told.value {
            Some(Value::Float(number)) => facts.with("value", number.get()),
            Some(Value::Int(int)) => facts.with("value", int),
            Some(Value::Bool(on)) => facts.with("value", u8::from(on)),
            Some(Value::Text(_)) | None => facts,
        };
        round.due.push(Due::begin(&begins.flow, begins.trigger, facts, &self.env));
    }

    /// An alert begins or ends, as the log tells: what looks for that begins runs.
    pub(crate) fn hear_alert(&self, round: &mut Round, event: &Event<'_>, by: NodeId) {
        if self.alert_triggers.is_empty() || round.is_again {
            return;
        }
        let (raised, time, is_end) = match event {
            Event::AlertRaised(raised) => (*raised, raised.since, false),
            Event::AlertCleared(cleared) => {
                let known = self.book().get(by, cleared.id);
                let raised = known.as_ref().and_then(|alert| Some(alert.raised()?.1));
                if let Some(raised) = raised {
                    self.find_alert(round, &raised, (by, cleared.at, true));
                }
                return;
            }
            _ => return,
        };
        self.find_alert(round, &raised, (by, time, is_end));
    }

    fn find_alert(
        &self,
        round: &mut Round,
        raised: &AlertRaised<'_>,
        (by, time, is_end): (NodeId, Timestamp, bool),
    ) {
        let (device, metric) = match raised.subject {
            Subject::Device(device) => (Some(device), None),
            Subject::Series(series) => (Some(series.device), Some(series.metric)),
            Subject::Node | Subject::Peer(_) => (None, None),
        };
        for begins in &self.alert_triggers {
            let On::Alert { rule, of, least, ends } = begins.trigger().on else { continue };
            let Devices { pattern, tags } = of;
            let fits_device = match device {
                Some(device) => glob::fits(pattern, device.as_str()),
                None => pattern == "*" && tags.iter().next().is_none(),
            };
            let is_own = raised.rule.strip_prefix(&*begins.flow.id).is_some_and(is_behind);
            if ends != is_end
                || raised.severity < least
                || !fits_device
                || is_own
                || !glob::fits(rule, raised.rule)
            {
                continue;
            }
            let facts = Facts::at(time)
                .with("name", raised.rule)
                .with("severity", raised.severity.name())
                .with("text", raised.text)
                .with("node", by.to_string())
                .with("device", device.map_or("", |device| device.as_str()))
                .with("metric", metric.map_or("", |metric| metric.as_str()));
            round.due.push(Due::begin(&begins.flow, begins.trigger, facts, &self.env));
        }
    }
}

impl Rule {
    /// Whether it is judged by windows alone: what a hold ends with stands in the next one, which
    /// the clock does not know.
    pub(super) const fn is_of_windows(&self) -> bool {
        matches!(self.scope, Scope::Window { .. })
    }

    fn fits_window(&self, info: &SeriesInfo, width: u32) -> bool {
        matches!(self.scope, Scope::Window { width_s, .. } if width_s == width)
            && glob::fits(&self.device, &info.device)
            && glob::fits(&self.metric, &info.metric)
    }
}

/// What runs of a workflow raise themselves is called `WORKFLOW/NAME`.
fn is_behind(rest: &str) -> bool {
    rest.starts_with('/')
}

fn value_of(summary: &Summary, statistic: Statistic) -> f64 {
    match statistic {
        Statistic::Count => summary.count as f64,
        Statistic::Sum => summary.sum,
        Statistic::Mean => summary.mean(),
        Statistic::Min => summary.min,
        Statistic::Max => summary.max,
        Statistic::Last => summary.last.value,
    }
}
