//! What a node is told about itself and others, for the built-in rules.
//!
//! The services look once a second and say what they see; what they no longer speak of is no
//! longer watched.

use super::rule::OwnedSubject;
use holdfast_core::Timestamp;
use holdfast_sync::store::{OwnedValue, Usage};
use std::sync::Arc;

pub(super) const DISK_FILLING: &str = "disk-filling";
pub(super) const CLOCK_WRONG: &str = "clock-wrong";
/// The rule about gateways that are offline.
pub(super) const GATEWAY_SILENT: &str = "gateway-silent";
/// The rule about two nodes that run with one key.
pub(super) const KEY_TWICE: &str = "key-twice";
/// So long after a start came back another one is still taken to run beside it.
pub(super) const KEY_TWICE_NS: i64 = 15 * 60 * 1_000_000_000;
/// From this part of the quota on there is danger, whatever the rate: readings are dropped or
/// refused.
const DANGER: f64 = 0.9;

/// What is seen.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// A measure, and the value that people see.
    Measure(f64, Option<OwnedValue>),
    /// It is heard now.
    Heard,
    /// It is not heard now; it was last heard then.
    HeardAt(Timestamp),
}

/// One thing seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// The rule that it is for.
    pub rule: &'static str,
    /// What it is about.
    pub subject: OwnedSubject,
    /// What is seen.
    pub seen: Seen,
    /// What an alert about it would say.
    pub text: String,
}

impl Observation {
    /// Whether a gateway is online, or was heard last.
    #[must_use]
    pub fn gateway(node: holdfast_core::NodeId, name: &str, seen: Seen) -> Self {
        let text = format!("gateway {name} is not heard; its site goes on by itself");
        Self { rule: GATEWAY_SILENT, subject: OwnedSubject::Peer(node), seen, text }
    }
}

impl Observation {
    /// Whether two nodes run with a gateway's key; `doubled` is when that was seen last.
    #[must_use]
    pub fn key_twice(
        node: holdfast_core::NodeId,
        name: &str,
        doubled: Option<Timestamp>,
        now: Timestamp,
    ) -> Self {
        let is_so = doubled.is_some_and(|at| now.saturating_since(at) < KEY_TWICE_NS);
        let text = format!(
            "two nodes run with the key of gateway {name}: stop the copy and make a node of its \
             own there"
        );
        let seen = Seen::Measure(f64::from(u8::from(is_so)), None);
        Self { rule: KEY_TWICE, subject: OwnedSubject::Peer(node), seen, text }
    }
}

/// Looks; called by the pipeline, so it must be quick.
pub type Observe = Arc<dyn Fn() -> Vec<Observation> + Send + Sync>;

/// How dangerously full a store is: 1 where it lasts for `days` at its rate. The rate counts only
/// while nothing can be removed because a peer has it.
#[must_use]
pub fn disk(usage: &Usage, days: u32, is_growing: bool) -> Observation {
    let share = usage.used_bytes as f64 / (usage.quota_bytes as f64).max(1.0);
    let left = usage.days_left().filter(|_| is_growing);
    // Less than an hour is as bad as it gets; a measure has to be finite.
    let by_rate = left.map_or(0.0, |left| f64::from(days) / left.max(0.04));
    let percent = (share * 1000.0).round() / 10.0;
    let text = match left {
        Some(left) if by_rate > 1.0 => {
            format!("the disk lasts for {left:.1} days at the present rate ({percent} % used)")
        }
        _ => format!("{percent} % of the quota is used"),
    };
    let value = holdfast_core::Value::float(percent).ok().map(OwnedValue::from);
    Observation {
        rule: DISK_FILLING,
        subject: OwnedSubject::Node,
        seen: Seen::Measure(by_rate.max(share / DANGER), value),
        text,
    }
}

/// Whether the node knows its clock to be wrong.
#[must_use]
pub fn node_clock(is_wrong: bool) -> Observation {
    Observation {
        rule: CLOCK_WRONG,
        subject: OwnedSubject::Node,
        seen: Seen::Measure(if is_wrong { 1.0 } else { 0.0 }, None),
        text: "this node's clock is wrong: set the clock of the machine right".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_danger_is_one_at_the_days_or_near_the_quota() {
        let usage = |used_bytes, growth| Usage {
            used_bytes,
            quota_bytes: 100,
            growth_per_day: Some(growth),
            ..Usage::default()
        };
        let danger = |usage, growing| match disk(&usage, 7, growing).seen {
            Seen::Measure(danger, _) => danger,
            _ => panic!("a measure"),
        };
        assert!((danger(usage(20, 10), true) - 1.0).abs() < 1e-9, "70 of room, 10 a day");
        assert!(danger(usage(20, 11), true) > 1.0);
        assert!(danger(usage(20, 11), false) < 0.3, "the hub has it: it can be removed");
        assert!(danger(usage(91, 0), false) > 1.0);
        let text = disk(&usage(20, 35), 7, true).text;
        assert_eq!(text, "the disk lasts for 2.0 days at the present rate (20 % used)");
    }
}
