//! Conditions: whether something has been so for long enough, and has ended for long enough.
//!
//! A [`Rule`] says what to look for; a [`Condition`] is the state of one rule over one series, and
//! fits into a register of a microcontroller's RAM. It is fed with readings and with ticks of the
//! receiver's clock, and answers with a [`Change`] when it is raised or cleared, strictly in turn.
//!
//! Two times are kept apart. Between readings a hold is counted in the readings' own time, so a
//! backlog is judged as it happened. Where no reading comes, the last value is taken to stand and
//! the receiver's clock counts. Silence is counted by the receiver's clock alone.
//!
//! A reading older than the newest one says nothing about now and flaps nothing; only when nothing
//! else has come for [`LATE_MAX_NS`] was it the clock that stepped back, and it is believed. When
//! the receiver's clock steps back, what waits for it waits from the new time on.
//! Byte-exact page: `docs/formats/condition.md`.

mod wire;

use crate::Timestamp;
use crate::limits::DEVICE_AHEAD_MAX_NS;

pub use wire::ENCODED_MAX;

/// For so long late readings are taken for stragglers; if nothing else has come then, the clock
/// that stamps them was set back.
pub const LATE_MAX_NS: i64 = 300 * 1_000_000_000;

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Test {
    /// A value above `limit`, until one at or below `clear`, which is not above `limit`.
    Above {
        /// Values beyond this raise.
        limit: f64,
        /// Values up to this clear.
        clear: f64,
    },
    /// A value below `limit`, until one at or above `clear`, which is not below `limit`.
    Below {
        /// Values beyond this raise.
        limit: f64,
        /// Values from this on clear.
        clear: f64,
    },
    /// Exactly this value; a switch is 1 when it is on and 0 when it is off.
    Equals(f64),
    /// No reading for so long by the receiver's clock.
    Silent {
        /// How long.
        for_ns: i64,
    },
}

/// A test and how long it has to hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// What is looked for.
    pub test: Test,
    /// It has to be so for this long before it raises; a silence has its own length instead.
    pub hold_ns: i64,
    /// It has to be over for this long before it clears; a silence is over with the first reading.
    pub clear_hold_ns: i64,
}

/// A reading as a condition sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// The time under which it is filed.
    pub time: Timestamp,
    /// When it was received.
    pub received: Timestamp,
    /// Its number; a text has none and only breaks a silence.
    pub value: Option<f64>,
}

/// What became of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has been so for long enough.
    Raised {
        /// Since when it was so.
        since: Timestamp,
    },
    /// It has been over for long enough.
    Cleared {
        /// Since when it was over.
        at: Timestamp,
    },
}

/// Where a condition stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Normal,
    /// So since `since`, not yet for long enough; `seen` is the receiver's time of that.
    Pending { since: Timestamp, seen: Timestamp },
    /// Raised and still so.
    Raised { since: Timestamp },
    /// Raised and over since `from`, not yet for long enough.
    Clearing { since: Timestamp, from: Timestamp, seen: Timestamp },
}

/// The state of a rule over one series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    phase: Phase,
    /// The time of the newest reading.
    newest: Option<Timestamp>,
    /// When anything was received last.
    heard: Option<Timestamp>,
    /// When the first of the late readings was received that nothing newer has followed.
    late: Option<Timestamp>,
}

impl Condition {
    /// A condition that knows the newest reading of its series, as after a restart.
    #[must_use]
    pub const fn after(newest: Timestamp, received: Timestamp) -> Self {
        let (newest, heard) = (Some(newest), Some(received));
        Self { phase: Phase::Normal, newest, heard, late: None }
    }

    /// One that is raised since `since`.
    #[must_use]
    pub const fn raised_since(self, since: Timestamp) -> Self {
        Self { phase: Phase::Raised { since }, ..self }
    }

    /// Since when it has been so, once it is raised and until it is cleared.
    #[must_use]
    pub const fn is_raised(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Raised { since } | Phase::Clearing { since, .. } => Some(since),
            Phase::Normal | Phase::Pending { .. } => None,
        }
    }

    /// Whether it is neither raised nor about to be: all it knows then is its newest reading.
    #[must_use]
    pub const fn is_normal(&self) -> bool {
        matches!(self.phase, Phase::Normal)
    }

    /// Whether both stand the same, whatever their newest readings.
    #[must_use]
    pub fn same_phase(&self, other: &Self) -> bool {
        self.phase == other.phase
    }

    /// Learns of readings that are not judged any more, or that were judged before a restart.
    pub fn hear(&mut self, time: Timestamp, received: Timestamp) {
        self.newest = self.newest.max(Some(time));
        self.heard = self.heard.max(Some(received));
    }

    /// Learns when another condition heard the same series.
    pub fn learn(&mut self, other: &Self) {
        self.newest = self.newest.max(other.newest);
        self.heard = self.heard.max(other.heard);
    }

    /// Takes a reading.
    pub fn take(&mut self, rule: &Rule, sample: Sample) -> Option<Change> {
        self.rebase(sample.received);
        self.heard = Some(sample.received);
        let is_late = self.is_late(sample);
        if !is_late {
            self.newest = Some(sample.time);
        }
        if matches!(rule.test, Test::Silent { .. }) {
            // A silence ends when something is heard, whatever its stamp.
            return self.judge(rule, false, sample.received, sample.received);
        }
        let is_so = is_so(&rule.test, sample.value?, self.is_raised().is_some());
        if is_late { None } else { self.judge(rule, is_so, sample.time, sample.received) }
    }

    /// Takes the receiver's clock.
    pub fn tick(&mut self, rule: &Rule, now: Timestamp) -> Option<Change> {
        self.rebase(now);
        if self.next_deadline(rule)? > now {
            return None;
        }
        match self.phase {
            Phase::Normal => self.raise(self.heard.unwrap_or(now)),
            Phase::Pending { since, .. } => self.raise(since),
            Phase::Clearing { from, .. } => self.clear(from),
            Phase::Raised { .. } => None,
        }
    }

    /// When a tick would change it, if nothing is received until then.
    #[must_use]
    pub fn next_deadline(&self, rule: &Rule) -> Option<Timestamp> {
        match (self.phase, rule.test) {
            (Phase::Normal, Test::Silent { for_ns }) => {
                self.heard.map(|heard| heard.saturating_add(for_ns))
            }
            (Phase::Pending { seen, .. }, _) => Some(seen.saturating_add(rule.hold_ns)),
            (Phase::Clearing { seen, .. }, _) => Some(seen.saturating_add(rule.clear_hold_ns)),
            _ => None,
        }
    }

    /// The receiver's clock was set by so much and shows `now`: what waits for it goes on waiting
    /// as long, and what it stamped with a time to come stands in nobody's way.
    pub fn clock_set(&mut self, by_ns: i64, now: Timestamp) {
        if let Some(newest) = &mut self.newest {
            *newest = now.min(*newest);
        }
        for time in [&mut self.heard, &mut self.late].into_iter().flatten() {
            *time = time.saturating_add(by_ns);
        }
        if let Phase::Pending { seen, .. } | Phase::Clearing { seen, .. } = &mut self.phase {
            *seen = seen.saturating_add(by_ns);
        }
    }

    /// Nothing was received later than now: if it seems so, the clock stepped back.
    fn rebase(&mut self, now: Timestamp) {
        for time in [&mut self.heard, &mut self.late].into_iter().flatten() {
            *time = now.min(*time);
        }
        if let Phase::Pending { seen, .. } | Phase::Clearing { seen, .. } = &mut self.phase {
            *seen = now.min(*seen);
        }
    }

    fn is_late(&mut self, sample: Sample) -> bool {
        let Some(newest) = self.newest.filter(|newest| sample.time < *newest) else {
            self.late = None;
            return false;
        };
        let first = *self.late.get_or_insert(sample.received);
        // No believable reading is so far ahead: it was stamped by a clock that is right by now.
        let was_wrong = newest > sample.received.saturating_add(DEVICE_AHEAD_MAX_NS);
        let all_are = sample.received.saturating_since(first) >= LATE_MAX_NS;
        if was_wrong || all_are {
            self.late = None;
        }
        !(was_wrong || all_are)
    }

    fn judge(
        &mut self,
        rule: &Rule,
        is_so: bool,
        time: Timestamp,
        received: Timestamp,
    ) -> Option<Change> {
        match self.phase {
            Phase::Normal if is_so && rule.hold_ns <= 0 => self.raise(time),
            Phase::Normal if is_so => {
                self.phase = Phase::Pending { since: time, seen: received };
                None
            }
            Phase::Pending { .. } if !is_so => {
                self.phase = Phase::Normal;
                None
            }
            // By a clock that stepped back the wait begins anew.
            Phase::Pending { since, .. } if time < since => {
                self.phase = Phase::Pending { since: time, seen: received };
                None
            }
            Phase::Pending { since, .. } if time.saturating_since(since) >= rule.hold_ns => {
                self.raise(since)
            }
            Phase::Raised { .. } if !is_so && rule.clear_hold_ns <= 0 => self.clear(time),
            Phase::Raised { since } if !is_so => {
                self.phase = Phase::Clearing { since, from: time, seen: received };
                None
            }
            Phase::Clearing { since, .. } if is_so => {
                self.phase = Phase::Raised { since };
                None
            }
            Phase::Clearing { since, from, .. } if time < from => {
                self.phase = Phase::Clearing { since, from: time, seen: received };
                None
            }
            Phase::Clearing { from, .. } if time.saturating_since(from) >= rule.clear_hold_ns => {
                self.clear(from)
            }
            _ => None,
        }
    }

    fn raise(&mut self, since: Timestamp) -> Option<Change> {
        self.phase = Phase::Raised { since };
        Some(Change::Raised { since })
    }

    fn clear(&mut self, at: Timestamp) -> Option<Change> {
        self.phase = Phase::Normal;
        Some(Change::Cleared { at })
    }
}

/// Whether a value is what the test looks for; between the limits it stays as it was.
fn is_so(test: &Test, value: f64, was_so: bool) -> bool {
    match *test {
        Test::Above { limit, clear } => value > if was_so { clear } else { limit },
        Test::Below { limit, clear } => value < if was_so { clear } else { limit },
        Test::Equals(wanted) => value == wanted,
        Test::Silent { .. } => false,
    }
}

#[cfg(test)]
mod tests;
