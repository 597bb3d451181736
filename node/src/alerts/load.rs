//! How the watch finds its way again after a start.
//!
//! A state record is kept only while a condition is not normal; of a normal one the catalogue knows
//! all there is to know, the newest reading. What was raised by a rule that is no longer there, or
//! that no longer fits, is cleared as unwatched. An alert whose state record was lost is taken up
//! from the alert itself.

use super::alert::Alert;
use super::book::Filter;
use super::round::State;
use super::rule::OwnedSubject;
use super::watch::{Orphan, Watch};
use holdfast_core::Reject;
use holdfast_core::codec::{Reader, Sink};
use holdfast_core::condition::Condition;
use holdfast_core::log::alerts::AlertId;
use holdfast_sync::Fault;
use holdfast_sync::store::{Snapshot, Table};
use std::collections::BTreeSet;

/// The first byte of the key of a state.
pub(super) const STATE: u8 = b's';
/// The first byte of the key of an alert.
pub(super) const ALERT: u8 = b'a';

impl State {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut put = || {
            self.condition.encode(&mut out)?;
            match self.alert {
                Some(id) => out.put(&id.0.to_le_bytes()),
                None => Ok(()),
            }
        };
        put().expect("a growing buffer is never full");
        out
    }

    pub(super) fn decode(value: &[u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(value);
        let condition = Condition::decode(&mut reader)?;
        let alert = if reader.rest().is_empty() {
            None
        } else {
            Some(AlertId(u64::from_le_bytes(reader.array()?)))
        };
        reader.finish()?;
        Ok(Self { condition, alert })
    }
}

impl Watch {
    /// Takes up the states of the last start.
    pub(super) fn take_up(&mut self, view: &Snapshot<'_>) -> Result<(), Fault> {
        let mut taken = BTreeSet::new();
        for (key, value) in view.scan(Table::Alert, &[STATE], &[], usize::MAX)? {
            let damaged = |reject: Reject| Fault::damaged("alert state record", reject.code());
            let state = State::decode(&value).map_err(damaged)?;
            let (rule, subject) = OwnedSubject::of_key(&key).map_err(damaged)?;
            let active = state.alert.and_then(|id| self.book().get(self.here(), id));
            let active = active.filter(Alert::is_active);
            match self.place(rule, subject) {
                // One that was raised without an alert that can be found begins anew.
                Some(at)
                    if state.condition.is_raised().is_none()
                        || active.is_some()
                        || self.begins_runs(at) =>
                {
                    self.resume(at, state);
                    taken.extend(active.map(|alert| alert.id));
                }
                _ => {
                    taken.extend(active.as_ref().map(|alert| alert.id));
                    self.orphans.push(Orphan { key: Some(key), alert: active.map(|a| a.id) });
                }
            }
        }
        // What runs of workflows have raised they also clear.
        for (_, id) in view.scan(Table::RunAlert, &[], &[], usize::MAX)? {
            taken.extend(id.first_chunk().map(|id| AlertId(u64::from_le_bytes(*id))));
        }
        let filter = Filter { active: true, origin: Some(self.here()), ..Filter::default() };
        for alert in self.book().list(&filter) {
            let Some((_, raised)) = alert.raised().filter(|_| !taken.contains(&alert.id)) else {
                continue;
            };
            match self.place(raised.rule, raised.subject.into()) {
                Some(at) => {
                    let condition = Condition::default().raised_since(raised.since);
                    self.resume(at, State { condition, alert: Some(alert.id) });
                }
                None => self.orphans.push(Orphan { key: None, alert: Some(alert.id) }),
            }
        }
        Ok(())
    }

    /// Where a rule watches a subject, if it still does. The catalogue may have lost the series;
    /// what is told of is not in it anyway.
    fn place(&mut self, rule: &str, subject: OwnedSubject) -> Option<usize> {
        if let Some(at) = self.known(&subject.key(rule)) {
            return Some(at);
        }
        let no = self.rule_called(rule).filter(|no| self.rule(*no).watches(&subject))?;
        self.add(no, subject, Condition::default())
    }
}
