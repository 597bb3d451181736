//! What was found, taken: the run that it begins gets what its trigger says.

use super::gather::{Group, Write};
use super::{Command, Engine};
use crate::runs::due::{Due, DueWhat};
use crate::runs::effect::{at, number_shown, plain};
use crate::runs::forward::Forward;
use crate::runs::library::Flow;
use crate::runs::step::Told;
use crate::runs::{RunError, Start};
use holdfast_core::flow::Image;
use holdfast_core::flow::binding::Source;
use holdfast_core::flow::trigger::{Devices, Fact, On, Trigger};
use holdfast_core::log::runs::RunId;
use holdfast_sync::Fault;
use holdfast_sync::store::{Snapshot, Table};
use serde_json::{Map, Value as Json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Runs that gateways want and that are looked at again in one go.
const AWAITED_AT_ONCE: usize = 64;

impl Engine {
    /// What was found when the node stopped, and conditions of runs that go on.
    pub(super) fn read_due(&mut self, view: &Snapshot<'_>) -> Result<(), Fault> {
        for (key, value) in view.scan(Table::RunDue, &[], &[], usize::MAX)? {
            match Due::decode(&key, &value) {
                // The receiver is ours.
                Ok(due) => drop(self.back.send(Command::Due(due))),
                Err(reject) => tracing::error!(%reject, "what began a run is left out"),
            }
        }
        for (key, _) in view.scan(Table::RunCondition, &[], &[], usize::MAX)? {
            let of =
                key.split_last().and_then(|(signal, run)| Some((run.try_into().ok()?, signal)));
            let active = of.and_then(|(run, signal)| {
                let run = RunId(run);
                Some((run, *signal, self.runs.get(&run)?))
            });
            match active {
                Some((run, signal, active)) => {
                    self.conditions.keep(run, signal, &active.flow, &active.run.memory);
                }
                None => self.unwatched.push(key),
            }
        }
        Ok(())
    }

    /// Takes what was found into a transaction.
    pub(super) fn take_due(&mut self, group: &mut Group, due: Due) {
        if let DueWhat::Wanted { .. } = due.what {
            return self.take_wanted(group, due);
        }
        group.writes.push(Write::Delete(Table::RunDue, due.key()));
        match &due.what {
            DueWhat::Condition(signal) => {
                self.conditions.found(due.run, *signal);
                self.tell(group, due.run, Told::Condition(*signal), None);
            }
            DueWhat::Begin { .. } => {
                if let Err((by, error)) = self.begin_due(group, &due) {
                    let DueWhat::Begin { workflow, .. } = &due.what else { return };
                    self.left_out(workflow, &by, &error);
                }
            }
            DueWhat::Wanted { .. } => {}
        }
        group.dues.push(due);
    }

    /// Begins a run that a gateway wants: of the version that it says, or, where the hub has gone
    /// on to another one meanwhile, of that. One whose workflow is not here yet waits for it, and
    /// one for which there is no room waits for that.
    fn take_wanted(&mut self, group: &mut Group, due: Due) {
        let DueWhat::Wanted { workflow, version, by, input } = &due.what else { return };
        let may_begin = |flow: &Arc<Flow>| flow.may_begin(false);
        let is_here = self.library().get(workflow, version).is_some_and(may_begin);
        let start = Start {
            workflow: workflow.clone(),
            version: is_here.then(|| version.clone()),
            input: serde_json::from_str(input).unwrap_or_default(),
            by: by.clone(),
            id: Some(due.run),
            ..Start::default()
        };
        match self.judge(group, start) {
            Ok(_) => {}
            Err(RunError::NoWorkflow(_) | RunError::Full) => {
                tracing::info!(run = %due.run, workflow, "a run that a gateway wants waits");
                return self.awaited.push(due);
            }
            Err(error) => {
                tracing::warn!(run = %due.run, workflow, %error, "it begins no run");
                let (run, workflow) = (due.run, workflow.clone());
                let (version, by, input) = (version.clone(), by.clone(), String::new());
                let wanted = Forward { run, workflow, version, by, input };
                group.writes.push(Write::Unbegun(Box::new(wanted), error.to_string()));
            }
        }
        group.writes.push(Write::Delete(Table::RunDue, due.key()));
        group.dues.push(due);
    }

    /// Something has changed for these workflows: what waits for them is looked at again.
    pub(super) fn look_at_awaited(&mut self, changed: &BTreeSet<String>) {
        changed.iter().for_each(|workflow| self.look_for_room(workflow));
        let is_of = |due: &mut Due| due.wanted_of().is_some_and(|of| changed.contains(of));
        let some = self.awaited.extract_if(.., is_of).take(AWAITED_AT_ONCE);
        for due in some.collect::<Vec<_>>() {
            // The receiver is ours.
            let _ = self.back.send(Command::Due(due));
        }
    }

    /// Begins the run, or says what was to begin it and why it does not.
    fn begin_due(&mut self, group: &mut Group, due: &Due) -> Result<(), (String, RunError)> {
        let DueWhat::Begin { workflow, version, trigger: number, facts } = &due.what else {
            return Ok(());
        };
        let unknown = || (String::new(), RunError::NoWorkflow(workflow.clone()));
        let flow = self.library().get(workflow, version).cloned().ok_or_else(unknown)?;
        let image = flow.image();
        let trigger = image.trigger(*number).ok_or_else(unknown)?;
        let facts: Map<String, Json> = serde_json::from_str(facts).unwrap_or_default();
        let device = facts.get("device").and_then(Json::as_str).unwrap_or_default();
        if !self.has_tags(device, &trigger, flow.only()) {
            return Ok(());
        }
        let by = words(&trigger, &facts);
        let start = Start {
            workflow: workflow.clone(),
            version: Some(version.clone()),
            input: input(&image, &trigger, &facts),
            by: by.clone(),
            id: Some(due.run),
            ..Start::default()
        };
        self.judge(group, start).map(drop).map_err(|error| (by, error))
    }

    /// Whether a device has the tags of a trigger, and those by which its site restricts it.
    fn has_tags(&self, device: &str, trigger: &Trigger<'_>, only: &[(String, String)]) -> bool {
        let (On::Reading { of, .. }
        | On::Rollup { of, .. }
        | On::Twin { of, .. }
        | On::Alert { of, .. }) = trigger.on
        else {
            return true;
        };
        let Devices { tags, .. } = of;
        let only = only.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        tags.iter().chain(only).all(|(name, value)| self.local.has_tag(device, name, value))
    }
}

/// What a run is given.
pub(super) fn input(
    image: &Image<'_>,
    trigger: &Trigger<'_>,
    facts: &Map<String, Json>,
) -> Map<String, Json> {
    let payload = facts.get("payload").and_then(Json::as_str).unwrap_or_default();
    let content: Option<Json> = serde_json::from_str(payload).ok();
    let fields: Vec<_> = image.inputs().collect();
    let mut out = Map::new();
    for binding in trigger.bindings {
        let Some(field) = fields.get(usize::from(binding.input)) else { continue };
        let value = match binding.source {
            Source::Number(number) => Some(number_shown(image, field.slot, number)),
            Source::Text(text) => Some(Json::from(text)),
            Source::Fact(Fact::Level(level)) => {
                facts.get("level").and_then(|all| all.get(usize::from(level) - 1)).cloned()
            }
            Source::Fact(fact) => facts.get(fact.name()).cloned(),
            Source::Path(path) => content.as_ref().and_then(|content| at(content, path)).cloned(),
        };
        out.extend(value.map(|value| (field.name.to_owned(), value)));
    }
    out
}

/// What began a run, in words.
fn words(trigger: &Trigger<'_>, facts: &Map<String, Json>) -> String {
    let kind = trigger.on.kind().name();
    let text = |name: &str| facts.get(name).map_or_else(String::new, plain);
    let what = match trigger.on {
        On::Reading { .. } | On::Rollup { .. } => {
            [text("device"), text("metric"), text("value"), text("unit")].join(" ")
        }
        On::Twin { path, .. } => format!("{} {path} {}", text("device"), text("text")),
        On::Message { .. } => text("topic"),
        On::Alert { .. } => [text("name"), text("device")].join(" "),
        On::Schedule { .. } => String::new(),
    };
    let mut out = format!("{kind} {}", what.trim());
    out.truncate(out.floor_char_boundary(crate::runs::record::BY_MAX_BYTES));
    out.trim_end().to_owned()
}
