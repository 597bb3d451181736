//! The book: every alert that is known here, this node's own and those it heard of.

use super::alert::{Alert, Fact};
use super::load::ALERT;
use super::rule::OwnedSubject;
use super::{KEPT_MAX, WATCHED_MAX};
use holdfast_core::log::alerts::{AlertId, Subject};
use holdfast_core::log::events;
use holdfast_core::{ChainId, NodeId, Stream, Timestamp};
use holdfast_sync::Fault;
use holdfast_sync::store::{Snapshot, StoredCommit, Table, WriteError, WriteTx};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

/// Bytes of the log that are looked at in one go.
const LOG_BYTES: usize = 1 << 20;

type Alerts = BTreeMap<(NodeId, AlertId), Alert>;

/// All alerts; bounded by [`KEPT_MAX`].
#[derive(Debug, Default)]
pub struct Book {
    alerts: RwLock<Alerts>,
    /// Rules over subjects for which there was no room.
    unwatched: AtomicU64,
}

/// Which alerts are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter<'a> {
    /// Only those that have not ended.
    pub active: bool,
    /// Only those of one node.
    pub origin: Option<NodeId>,
    /// Only those about one device.
    pub device: Option<&'a str>,
    /// Only those of one rule.
    pub rule: Option<&'a str>,
}

impl Filter<'_> {
    fn wants(&self, alert: &Alert) -> bool {
        let Some((_, raised)) = alert.raised() else { return false };
        let device = match raised.subject {
            Subject::Device(device) => Some(device.as_str()),
            Subject::Series(series) => Some(series.device.as_str()),
            Subject::Node | Subject::Peer(_) => None,
        };
        (!self.active || alert.is_active())
            && self.origin.is_none_or(|origin| origin == alert.origin)
            && self.device.is_none_or(|wanted| device == Some(wanted))
            && self.rule.is_none_or(|rule| rule == raised.rule)
    }
}

impl Book {
    pub(super) fn load(view: &Snapshot<'_>) -> Result<Self, Fault> {
        let records = view.scan(Table::Alert, &[ALERT], &[], usize::MAX)?;
        let alerts = records.iter().map(|(key, value)| {
            let alert = Alert::decode(key, value)?;
            Ok(((alert.origin, alert.id), alert))
        });
        let alerts = RwLock::new(alerts.collect::<Result<_, Fault>>()?);
        Ok(Self { alerts, unwatched: AtomicU64::new(0) })
    }

    /// Takes what this node itself has said: records may have been lost that the log still has.
    pub(super) fn read_log(&self, view: &Snapshot<'_>, here: NodeId) -> Result<(), Fault> {
        let own = |id: &ChainId| id.origin == here && id.stream == Stream::Event;
        for chain in view.chains()?.into_iter().filter(|chain| own(&chain.id)) {
            let mut from = 1;
            loop {
                let commits = view.commits_from(chain.no, from, LOG_BYTES)?;
                let Some(last) = commits.last() else { break };
                from = last.last() + 1;
                for commit in &commits {
                    self.take(&said_in(commit, here), &[]);
                }
            }
        }
        Ok(())
    }

    fn read<T>(&self, look: impl FnOnce(&Alerts) -> T) -> T {
        look(&self.alerts.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn note_unwatched(&self) {
        if self.unwatched.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(most = WATCHED_MAX, "more to watch than alert rules may: some is not");
        }
    }

    /// Rules over subjects that are not watched, because there are too many.
    #[must_use]
    pub fn unwatched(&self) -> u64 {
        self.unwatched.load(Ordering::Relaxed)
    }

    /// Whether a fact changes nothing here.
    pub(super) fn knows(&self, fact: &Fact) -> bool {
        let known = |alert: &Alert| !alert.clone().learn(fact);
        self.read(|alerts| alerts.get(&(fact.origin, fact.id)).is_some_and(known))
    }

    /// One alert of a node.
    #[must_use]
    pub fn get(&self, origin: NodeId, id: AlertId) -> Option<Alert> {
        self.read(|alerts| alerts.get(&(origin, id)).cloned())
    }

    /// The alert of a name, whichever node's it is.
    #[must_use]
    pub fn find(&self, id: AlertId) -> Option<Alert> {
        let named = |alert: &&Alert| alert.id == id && alert.raised().is_some();
        self.read(|alerts| alerts.values().find(named).cloned())
    }

    /// The alerts that are wanted, those that are active first, then the newest first.
    #[must_use]
    pub fn list(&self, filter: &Filter<'_>) -> Vec<Alert> {
        let mut out: Vec<_> = self
            .read(|alerts| alerts.values().filter(|alert| filter.wants(alert)).cloned().collect());
        let rank = |alert: &Alert| {
            let severity = alert.raised().map(|(_, raised)| raised.severity);
            let active = alert.is_active();
            (active, severity.filter(|_| active), alert.since())
        };
        out.sort_by_cached_key(|alert| std::cmp::Reverse((rank(alert), alert.id)));
        out
    }

    /// How many alerts have begun and not ended.
    #[must_use]
    pub fn active(&self) -> usize {
        self.read(|alerts| alerts.values().filter(|alert| alert.is_active()).count())
    }

    /// The alert that a rule raised over a subject when it was so since `since`.
    pub(super) fn raised(
        &self,
        origin: NodeId,
        rule: &str,
        subject: &OwnedSubject,
        since: Timestamp,
    ) -> Option<Alert> {
        let same = |alert: &&Alert| {
            alert.raised().is_some_and(|(_, raised)| {
                raised.since == since && raised.rule == rule && raised.subject == subject.get()
            })
        };
        self.read(|alerts| {
            let own = alerts.range((origin, AlertId(0))..=(origin, AlertId(u64::MAX)));
            own.map(|(_, alert)| alert).find(same).cloned()
        })
    }

    /// Takes what was committed; gives the alerts as they are now.
    pub(crate) fn take(&self, changed: &[Alert], forgotten: &[Alert]) {
        let mut alerts = self.alerts.write().unwrap_or_else(PoisonError::into_inner);
        for alert in changed {
            let entry = alerts.entry((alert.origin, alert.id));
            entry.or_insert_with(|| Alert::new(alert.origin, alert.id)).join(alert);
        }
        for alert in forgotten {
            alerts.remove(&(alert.origin, alert.id));
        }
    }

    /// Those to be forgotten so that `more` fit: the oldest that are over, then the oldest that
    /// others raised and never end. This node's own active ones stay; rules bound their number.
    pub(super) fn surplus(&self, here: NodeId, more: usize) -> Vec<Alert> {
        self.read(|alerts| {
            let surplus = (alerts.len() + more).saturating_sub(KEPT_MAX);
            if surplus == 0 {
                return Vec::new();
            }
            let may_go = |alert: &&Alert| alert.origin != here || !alert.is_active();
            let mut old: Vec<_> = alerts.values().filter(may_go).collect();
            old.sort_by_cached_key(|alert| (alert.is_active(), alert.since(), alert.id));
            old.into_iter().take(surplus).cloned().collect()
        })
    }
}

/// The alerts of which a commit of this node's events tells. Damage is the pipeline's to tell.
fn said_in(commit: &StoredCommit, here: NodeId) -> Vec<Alert> {
    let Ok((at, events)) = events::read(&commit.body) else { return Vec::new() };
    let facts = events.flatten().filter_map(|event| Fact::of(&event, here, at, here));
    let alerts = facts.map(|fact| {
        let mut alert = Alert::new(fact.origin, fact.id);
        alert.learn(&fact);
        alert
    });
    alerts.collect()
}

impl Book {
    /// Joins facts into their records; gives the alerts that this changed.
    ///
    /// # Errors
    /// A database fault.
    pub(crate) fn record(tx: &mut WriteTx<'_>, facts: &[Fact]) -> Result<Vec<Alert>, WriteError> {
        let mut changed: Alerts = BTreeMap::new();
        for fact in facts {
            let name = (fact.origin, fact.id);
            let mut alert = match changed.get(&name) {
                Some(alert) => alert.clone(),
                None => {
                    let fresh = Alert::new(fact.origin, fact.id);
                    match tx.view().get(Table::Alert, &fresh.key())? {
                        Some(value) => Alert::decode(&fresh.key(), &value)?,
                        None => fresh,
                    }
                }
            };
            if alert.learn(fact) {
                changed.insert(name, alert);
            }
        }
        for alert in changed.values() {
            tx.put(Table::Alert, &alert.key(), &alert.encode())?;
        }
        Ok(changed.into_values().collect())
    }
}
