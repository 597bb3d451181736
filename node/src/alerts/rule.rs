//! Rules, ready for use, and what they are about.

use crate::glob;
use crate::runs::Begins;
use holdfast_core::codec::Reader;
use holdfast_core::condition::{self, Test};
use holdfast_core::flow::trigger::Statistic;
use holdfast_core::log::alerts::Subject;
use holdfast_core::log::events::Severity;
use holdfast_core::{Device, NodeId, Reject, SeriesKey};

/// What a rule watches one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Each series that fits.
    Series,
    /// Each device that has a series that fits.
    Device,
    /// What the node is told about itself and others.
    Told,
    /// What windows of a width come to, of each series that fits.
    Window {
        /// How long a window is, seconds.
        width_s: u32,
        /// What is looked at of each window.
        statistic: Statistic,
    },
}

/// What becomes of readings that were received long before they are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backlog {
    /// They raise nothing when they are older than this.
    Skip {
        /// How old they may be, by the time of receipt.
        max_age_ns: i64,
    },
    /// They are judged like fresh ones.
    Replay,
}

/// A rule: what raises alerts, or begins runs.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name.
    pub name: Box<str>,
    /// Devices, with `*`.
    pub device: Box<str>,
    /// Metrics, with `*`.
    pub metric: Box<str>,
    /// What it looks for.
    pub condition: condition::Rule,
    /// The condition in words.
    pub words: Box<str>,
    /// How much it matters.
    pub severity: Severity,
    /// What people read; made from the condition when it is empty.
    pub text: Box<str>,
    /// What becomes of a backlog.
    pub backlog: Backlog,
    /// What it watches.
    pub scope: Scope,
    /// What it begins instead of an alert.
    pub begins: Option<Begins>,
}

impl Rule {
    /// Whether it watches a series.
    #[must_use]
    pub fn fits(&self, device: &str, metric: &str) -> bool {
        matches!(self.scope, Scope::Series | Scope::Device)
            && glob::fits(&self.device, device)
            && glob::fits(&self.metric, metric)
    }

    /// Whether it watches a subject.
    #[must_use]
    pub fn watches(&self, subject: &OwnedSubject) -> bool {
        match (self.scope, subject) {
            (Scope::Series, OwnedSubject::Series(device, metric, _)) => self.fits(device, metric),
            (Scope::Window { .. }, OwnedSubject::Series(device, metric, _)) => {
                glob::fits(&self.device, device) && glob::fits(&self.metric, metric)
            }
            (Scope::Device, OwnedSubject::Device(device)) => glob::fits(&self.device, device),
            (Scope::Told, OwnedSubject::Node | OwnedSubject::Peer(_)) => true,
            _ => false,
        }
    }

    /// Whether it looks for silence.
    #[must_use]
    pub const fn is_silence(&self) -> bool {
        matches!(self.condition.test, Test::Silent { .. })
    }
}

/// What an alert is about, owned.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OwnedSubject {
    /// The node itself.
    Node,
    /// A device.
    Device(Box<str>),
    /// A series: device, metric, unit.
    Series(Box<str>, Box<str>, Box<str>),
    /// Another node.
    Peer(NodeId),
}

impl OwnedSubject {
    /// The subject, borrowed.
    #[must_use]
    pub fn get(&self) -> Subject<'_> {
        const VALID: &str = "checked when it was made";
        match self {
            Self::Node => Subject::Node,
            Self::Device(device) => Subject::Device(Device::new(device).expect(VALID)),
            Self::Series(device, metric, unit) => {
                Subject::Series(SeriesKey::new(device, metric, unit).expect(VALID))
            }
            Self::Peer(node) => Subject::Peer(*node),
        }
    }

    /// The key under which the state of `rule` over this subject is kept.
    pub(super) fn key(&self, rule: &str) -> Vec<u8> {
        let mut out = vec![super::load::STATE];
        out.extend_from_slice(rule.as_bytes());
        out.push(0);
        self.get().encode(&mut out).expect("a growing buffer is never full");
        out
    }

    /// The rule and the subject of such a key.
    pub(super) fn of_key(key: &[u8]) -> Result<(&str, Self), Reject> {
        let (_, rest) = key.split_first().ok_or(Reject::Truncated)?;
        let end = rest.iter().position(|byte| *byte == 0).ok_or(Reject::Truncated)?;
        let rule = std::str::from_utf8(&rest[..end]).map_err(|_| Reject::Malformed)?;
        let mut reader = Reader::new(&rest[end + 1..]);
        let subject = Subject::decode(&mut reader)?.into();
        reader.finish()?;
        Ok((rule, subject))
    }
}

impl From<Subject<'_>> for OwnedSubject {
    fn from(subject: Subject<'_>) -> Self {
        match subject {
            Subject::Node => Self::Node,
            Subject::Device(device) => Self::Device(device.as_str().into()),
            Subject::Series(SeriesKey { device, metric, unit }) => {
                Self::Series(device.as_str().into(), metric.as_str().into(), unit.as_str().into())
            }
            Subject::Peer(node) => Self::Peer(node),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_rule_and_subject() {
        for subject in [
            OwnedSubject::Node,
            OwnedSubject::Device("tank-1".into()),
            OwnedSubject::Series("tank-1".into(), "level".into(), "m".into()),
            OwnedSubject::Peer(NodeId([7; 32])),
        ] {
            let key = subject.key("too-high");
            assert_eq!(OwnedSubject::of_key(&key), Ok(("too-high", subject)));
        }
    }
}
