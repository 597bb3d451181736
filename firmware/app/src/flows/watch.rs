//! What workflows look for in readings: conditions of triggers, and those that runs wait for.
//!
//! A trigger's condition is watched as long as its workflow is on, a run's as long as something of
//! it waits for it. All are fed with what the device measures itself.

use crate::sensors::Sensor;
use holdfast_core::condition::{Condition, Rule};

/// Conditions that are watched at once.
pub const WATCHES_MAX: usize = 8;

/// For whom a condition is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    /// A trigger of a workflow.
    Trigger {
        /// In which slot.
        slot: u8,
        /// Which trigger.
        trigger: u8,
    },
    /// A run that waits.
    Run {
        /// Which.
        run: u8,
        /// The number of the signal.
        signal: u8,
    },
}

/// A condition over what a sensor measures.
#[derive(Clone, Debug)]
pub struct Watch {
    pub of: For,
    pub sensor: u8,
    pub rule: Rule,
    pub condition: Condition,
    /// Of a trigger that is so: whether a run has begun by it, or was left out. That is in flash.
    pub is_found: bool,
}

impl Watch {
    /// One of which nothing is known.
    pub fn new(of: For, sensor: u8, rule: Rule) -> Self {
        Self { of, sensor, rule, condition: Condition::default(), is_found: false }
    }
}

/// The numbers of the sensors whose metric is as a pattern says.
pub fn sensors<'s>(table: &'s [Sensor], pattern: &'s str) -> impl Iterator<Item = u8> + 's {
    table.iter().filter(move |sensor| fits(pattern, sensor.metric)).map(|sensor| sensor.number)
}

/// Whether a text is as a pattern says, in which `*` stands for any text.
pub fn fits(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.as_bytes(), text.as_bytes());
    // Where the last star was, and how much of the text it has taken.
    let mut star: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern.split_first(), text.split_first()) {
            (Some((b'*', rest)), _) => {
                (star, pattern) = (Some((rest, text)), rest);
            }
            (Some((a, after)), Some((b, rest))) if a == b => (pattern, text) = (after, rest),
            (None, None) => return true,
            _ => match star {
                Some((after, [_, rest @ ..])) => {
                    (star, pattern, text) = (Some((after, rest)), after, rest);
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn a_star_is_any_text() {
        for (pattern, text) in [("*", ""), ("a*", "a"), ("p-*-1", "p-x-1-1"), ("*b*", "abab")] {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("", "a"), ("a*b", "abc"), ("a", ""), ("p-*-1", "p-1"), ("ab", "a")]
        {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
    }
}
