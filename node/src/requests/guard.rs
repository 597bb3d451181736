//! What keeps a service that is slow, down or asked too much from harming others, and from being
//! harmed: who may ask which target, and when. A state machine without a clock of its own.
//!
//! Whoever wants to ask is refused at once while the *circuit* of the target is open, because it
//! failed again and again. Otherwise they wait: until the *rate* of the target has a turn for them,
//! in the order in which they came, and then for a place: so many there are for a target, and so
//! many for the node. A place that becomes free goes to the greatest priority, and waiting raises
//! it, so that nobody waits for ever. A circuit that was open for its time lets one request
//! through, the probe, and what comes of that closes it or opens it for twice as long.

use std::collections::HashMap;
use std::fmt;

/// Requests at once, of the whole node.
pub const PLACES: usize = 64;
/// Requests that wait for a place.
const WAITING_MAX: usize = 10_000;
/// Targets whose state is kept; of more, the one that was asked least recently is forgotten.
const TARGETS_MAX: usize = 1_000;
/// Failures in a row that open a circuit.
const FAILURES: u32 = 5;
/// How long a circuit is open, at first and at most.
const OPEN_MS: u64 = 30_000;
const OPEN_MAX_MS: u64 = 300_000;
/// Who has waited for so long has the next greater priority.
const AGING_MS: u64 = 10_000;
/// A request in the unit in which the rate is counted: a rate per second is so many per ms.
const ONE: i64 = 1_000;
/// Turns are given so far ahead; whoever comes when there are none is refused.
const AHEAD_MS: i64 = 60_000;

/// How much a target is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests at once.
    pub at_once: usize,
    /// Requests in a second, and at once after a pause.
    pub rate: u32,
}

/// Why nobody is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The circuit is open for so long.
    Open(u64),
    /// Its probe is under way.
    Probing,
    /// The rate has no turn for it within a minute.
    Rate,
    /// Too many wait.
    Full,
}

impl Refused {
    /// The place of its count, and the word for it.
    pub(super) const WORDS: [&'static str; 3] = ["open", "rate", "full"];

    pub(super) const fn place(self) -> usize {
        match self {
            Self::Open(_) | Self::Probing => 0,
            Self::Rate => 1,
            Self::Full => 2,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(ms) => {
                let s = ms.div_ceil(1_000);
                write!(f, "it failed {FAILURES} times in a row and is left alone for another {s} s")
            }
            Self::Probing => {
                write!(f, "it failed before, and one request tries whether it is back")
            }
            Self::Rate => write!(f, "it is asked as often as it may be for the next minute"),
            Self::Full => write!(f, "{WAITING_MAX} requests wait for a place"),
        }
    }
}

/// What came of a request, as far as its target is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It answers, whatever it says.
    Answered,
    /// It does not, or breaks down.
    Failed,
    /// Nobody knows: the request was given up.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Circuit {
    Closed { failures: u32 },
    Open { until_ms: u64, for_ms: u64 },
    Probing { for_ms: u64 },
}

impl Circuit {
    fn refuses(self, now_ms: u64) -> Option<Refused> {
        match self {
            Self::Open { until_ms, .. } if now_ms < until_ms => {
                Some(Refused::Open(until_ms - now_ms))
            }
            Self::Probing { .. } => Some(Refused::Probing),
            Self::Open { .. } | Self::Closed { .. } => None,
        }
    }

    /// A request begins; whether it is the probe.
    fn begin(&mut self) -> bool {
        if let Self::Open { for_ms, .. } = *self {
            *self = Self::Probing { for_ms };
            return true;
        }
        false
    }

    /// A request is over; whether that opened the circuit.
    fn end(&mut self, is_probe: bool, outcome: Outcome, now_ms: u64) -> bool {
        let before = *self;
        let open = |for_ms| Self::Open { until_ms: now_ms.saturating_add(for_ms), for_ms };
        *self = match (*self, outcome) {
            (Self::Closed { .. }, Outcome::Answered) => Self::Closed { failures: 0 },
            (Self::Closed { failures }, Outcome::Failed) if failures + 1 < FAILURES => {
                Self::Closed { failures: failures + 1 }
            }
            (Self::Closed { .. }, Outcome::Failed) => open(OPEN_MS),
            (Self::Probing { .. }, Outcome::Answered) if is_probe => Self::Closed { failures: 0 },
            (Self::Probing { for_ms }, Outcome::Failed) if is_probe => {
                open((for_ms * 2).min(OPEN_MAX_MS))
            }
            // The next one is the probe.
            (Self::Probing { for_ms }, Outcome::Unknown) if is_probe => {
                Self::Open { until_ms: now_ms, for_ms }
            }
            // One that began before the circuit opened says nothing new.
            (other, _) => other,
        };
        *self != before && matches!(*self, Self::Open { until_ms, .. } if until_ms > now_ms)
    }
}

#[derive(Debug)]
struct Target {
    under_way: usize,
    /// What the rate allows by now; less than nothing where turns are given ahead.
    allowed: i64,
    filled_ms: u64,
    used_ms: u64,
    circuit: Circuit,
}

impl Target {
    /// The next turn by the rate: in how many milliseconds it is.
    fn take(&mut self, rate: u32, now_ms: u64) -> Result<u64, Refused> {
        let rate = i64::from(rate.max(1));
        let passed_ms = i64::try_from(now_ms.saturating_sub(self.filled_ms)).unwrap_or(i64::MAX);
        let allowed = self.allowed.saturating_add(passed_ms.saturating_mul(rate));
        self.allowed = allowed.min(rate * ONE);
        self.filled_ms = now_ms;
        let left = self.allowed - ONE;
        if left < -AHEAD_MS * rate {
            return Err(Refused::Rate);
        }
        self.allowed = left;
        Ok(left.min(0).unsigned_abs().div_ceil(rate.unsigned_abs()))
    }
}

/// A place that somebody has.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pass {
    pub(super) target: String,
    is_probe: bool,
}

struct Waiting<T> {
    who: T,
    target: String,
    priority: u8,
    /// When its turn by the rate is.
    since_ms: u64,
}

/// All targets, and all who wait.
pub(super) struct Gate<T> {
    limits: Limits,
    targets: HashMap<String, Target>,
    under_way: usize,
    /// In the order in which they came.
    waiting: Vec<Waiting<T>>,
}

impl<T> Gate<T> {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, targets: HashMap::new(), under_way: 0, waiting: Vec::new() }
    }

    /// Somebody wants to ask a target: they wait, if it is not refused, for a place from in so many
    /// milliseconds on.
    pub(super) fn enter(
        &mut self,
        who: T,
        (target, priority): (&str, u8),
        now_ms: u64,
    ) -> Result<u64, Refused> {
        if self.waiting.len() >= WAITING_MAX {
            return Err(Refused::Full);
        }
        let rate = self.limits.rate;
        let known = self.target(target, now_ms);
        if let Some(refused) = known.circuit.refuses(now_ms) {
            return Err(refused);
        }
        let wait_ms = known.take(rate, now_ms)?;
        let (target, since_ms) = (target.to_owned(), now_ms.saturating_add(wait_ms));
        self.waiting.push(Waiting { who, target, priority, since_ms });
        Ok(wait_ms)
    }

    /// Who has a place by now, or is refused after all; nobody when there is nothing more to do.
    pub(super) fn next(&mut self, now_ms: u64) -> Option<(T, Result<Pass, Refused>)> {
        if self.under_way >= PLACES {
            return None;
        }
        let at_once = self.limits.at_once;
        let has_room = |waiting: &Waiting<T>| {
            let target = self.targets.get(&waiting.target);
            waiting.since_ms <= now_ms && target.is_none_or(|target| target.under_way < at_once)
        };
        let rank = |waiting: &Waiting<T>| {
            let waited = now_ms.saturating_sub(waiting.since_ms) / AGING_MS;
            waited.saturating_add(waiting.priority.into())
        };
        let free = self.waiting.iter().enumerate().filter(|(_, waiting)| has_room(waiting));
        // Of those with one rank the first.
        let (place, _) = free.rev().max_by_key(|(_, waiting)| rank(waiting))?;
        let Waiting { who, target, .. } = self.waiting.remove(place);
        let known = self.target(&target, now_ms);
        if let Some(refused) = known.circuit.refuses(now_ms) {
            return Some((who, Err(refused)));
        }
        let is_probe = known.circuit.begin();
        known.under_way += 1;
        self.under_way += 1;
        Some((who, Ok(Pass { target, is_probe })))
    }

    /// A place is free again; whether that opened the circuit of its target.
    pub(super) fn leave(&mut self, pass: &Pass, outcome: Outcome, now_ms: u64) -> bool {
        self.under_way = self.under_way.saturating_sub(1);
        let Some(target) = self.targets.get_mut(&pass.target) else { return false };
        target.under_way = target.under_way.saturating_sub(1);
        target.circuit.end(pass.is_probe, outcome, now_ms)
    }

    /// Requests that are under way, and that wait; targets whose circuit is not closed.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        let all = self.targets.values();
        let open = all.filter(|target| !matches!(target.circuit, Circuit::Closed { .. })).count();
        (self.under_way, self.waiting.len(), open)
    }

    fn target(&mut self, name: &str, now_ms: u64) -> &mut Target {
        if !self.targets.contains_key(name) {
            if self.targets.len() >= TARGETS_MAX {
                let idle = self.targets.iter().filter(|(_, target)| target.under_way == 0);
                let oldest = idle.min_by_key(|(_, target)| target.used_ms);
                if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                    self.targets.remove(&oldest);
                }
            }
            let allowed = i64::from(self.limits.rate) * ONE;
            let circuit = Circuit::Closed { failures: 0 };
            let (filled_ms, used_ms) = (now_ms, now_ms);
            let new = Target { under_way: 0, allowed, filled_ms, used_ms, circuit };
            self.targets.insert(name.to_owned(), new);
        }
        let target = self.targets.get_mut(name).expect("it is there or was just made");
        target.used_ms = now_ms;
        target
    }
}

#[cfg(test)]
mod tests;
