//! Runs that a gateway hands to the hub.
//!
//! A workflow whose placement is the hub is installed on gateways, too, where what begins it is
//! found. Its run does not begin there: that it is wanted is written into the gateway's log, which
//! travels to the hub whenever there is a link, and there it begins under the id that it has here.
//! Byte-exact pages: `docs/formats/log.md`, `docs/formats/runs.md`.

use super::record::{Line, Run};
use holdfast_core::limits::NOTE_MAX_BYTES;
use holdfast_core::log::events::Event;
use holdfast_core::log::runs::{RunId, RunStep, RunWanted, What};
use holdfast_sync::store::{Table, WriteError, WriteTx};

/// A run that is handed on.
#[derive(Clone, Debug)]
pub(super) struct Forward {
    pub run: RunId,
    pub workflow: String,
    pub version: String,
    /// Who or what wants it.
    pub by: String,
    /// What it is given, as JSON.
    pub input: String,
}

impl Forward {
    fn wanted(&self) -> RunWanted<'_> {
        let Self { run, workflow, version, by, input } = self;
        RunWanted { run: *run, workflow, version, by, input }
    }

    /// Writes it down, as a run that is over here.
    pub fn write(&self, tx: &mut WriteTx<'_>) -> Result<(), WriteError> {
        let now_ms = tx.now().millis();
        let (started, forwarded) = (format!("by {}", self.by), "to the hub");
        let lines = [(What::Started, started.as_str()), (What::Forwarded, forwarded)];
        let event = |(what, text)| {
            let (run, workflow, version) = (self.run, &*self.workflow, &*self.version);
            Event::Run(RunStep { run, what, workflow, version, line: 0, text })
        };
        let [first, second] = lines.map(event);
        tx.append_events(&[first, second, Event::Wanted(self.wanted())])?;
        for (number, (what, text)) in (0u32..).zip(lines) {
            let key = [&self.run.0[..], &number.to_be_bytes()].concat();
            let line = Line { what, line: 0, text: text.to_owned() };
            tx.put(Table::RunStep, &key, &line.encode(now_ms))?;
        }
        let run = Run {
            workflow: self.workflow.clone(),
            version: self.version.clone(),
            by: self.by.clone(),
            stepped_ms: now_ms,
            lines: 2,
            ..Run::default()
        };
        Ok(tx.put(Table::RunOver, &self.run.0, &run.encode())?)
    }

    /// Writes down that it was wanted and does not begin.
    pub fn write_unbegun(&self, tx: &mut WriteTx<'_>, why: &str) -> Result<(), WriteError> {
        let text = &why[..why.floor_char_boundary(NOTE_MAX_BYTES)];
        let (run, workflow, version) = (self.run, &*self.workflow, &*self.version);
        let started = format!("by {}", self.by);
        let event =
            |what, text| Event::Run(RunStep { run, what, workflow, version, line: 0, text });
        tx.append_events(&[event(What::Started, &started), event(What::Ended, text)])?;
        Ok(())
    }
}
