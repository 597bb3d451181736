//! One round: what a step of the pipeline makes of the watch, before it is on disk.
//!
//! A round lies over the watch like a sheet: conditions that move are copied onto it, what is to
//! be said is collected. Only when the transaction is committed does the watch take it over; a
//! step that fails leaves no trace and is made again.

use super::alert::{Alert, Fact};
use super::book::Book;
use crate::runs::Due;
use holdfast_core::condition::Condition;
use holdfast_core::log::alerts::AlertId;
use holdfast_core::log::events::Event;
use holdfast_core::{NodeId, Timestamp};
use holdfast_sync::store::{Table, WriteError, WriteTx};
use std::collections::BTreeMap;

/// Facts in one commit of events; each takes at most about 1.5 kB.
const COMMIT_FACTS: usize = 500;

/// Where a condition stands, and which alert of it is active.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub condition: Condition,
    pub alert: Option<AlertId>,
}

/// What a step makes of the watch.
#[derive(Debug, Default)]
pub(crate) struct Round {
    pub(super) now: Timestamp,
    /// Whether the log is read a second time, as after a repair.
    pub(crate) is_again: bool,
    /// The states that were touched, by place in the watch.
    pub(super) states: BTreeMap<usize, State>,
    /// What this node says.
    pub(super) said: Vec<Fact>,
    /// What was read in the log, of this node or of others.
    pub(super) heard: Vec<Fact>,
    /// Keys of states that nothing watches any more.
    pub(super) gone: Vec<Vec<u8>>,
    /// Whether the watch was looked over.
    pub(super) scanned_ms: Option<u64>,
    /// What was found that begins runs, or has them go on.
    pub(crate) due: Vec<Due>,
}

/// What a round writes.
#[derive(Debug, Default)]
pub(crate) struct Writing {
    pub(super) said: Vec<Fact>,
    pub(super) heard: Vec<Fact>,
    pub(super) states: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    pub(super) forgotten: Vec<Alert>,
    pub(super) due: Vec<Due>,
}

impl Round {
    /// A round at `now`.
    pub(crate) fn at(now: Timestamp) -> Self {
        Self { now, ..Self::default() }
    }

    /// When it began.
    pub(crate) const fn now(&self) -> Timestamp {
        self.now
    }

    /// Takes an event that stands in the log.
    pub(crate) fn hear(&mut self, event: &Event<'_>, by: NodeId, at: Timestamp, here: NodeId) {
        self.heard.extend(Fact::of(event, by, at, here));
    }

    pub(super) fn say(&mut self, event: &Event<'_>, here: NodeId) {
        self.said.extend(Fact::of(event, here, self.now, here));
    }
}

impl Writing {
    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.said.is_empty()
            && self.heard.is_empty()
            && self.states.is_empty()
            && self.forgotten.is_empty()
            && self.due.is_empty()
    }

    /// The alerts that are forgotten.
    pub(crate) fn forgotten(&self) -> Vec<Alert> {
        self.forgotten.clone()
    }

    /// Writes states, alerts and events; gives the alerts that changed.
    ///
    /// # Errors
    /// A database fault.
    pub(crate) fn write(self, tx: &mut WriteTx<'_>) -> Result<Vec<Alert>, WriteError> {
        for (key, state) in &self.states {
            match state {
                Some(value) => tx.put(Table::Alert, key, value)?,
                None => drop(tx.delete(Table::Alert, key)?),
            }
        }
        for due in &self.due {
            due.put(tx)?;
        }
        let now = tx.now();
        let said: Vec<_> = self.said.into_iter().map(|fact| fact.said_at(now)).collect();
        for some in said.chunks(COMMIT_FACTS) {
            let events: Vec<_> = some.iter().map(Fact::event).collect();
            tx.append_events_at(now, &events)?;
        }
        for alert in &self.forgotten {
            tx.delete(Table::Alert, &alert.key())?;
        }
        let facts: Vec<_> = self.heard.into_iter().chain(said).collect();
        Book::record(tx, &facts)
    }
}
