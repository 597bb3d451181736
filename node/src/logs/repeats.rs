//! One line for a cause: repeats are counted, and told every five minutes as long as they come.
//!
//! A cause is the place in the program with everything the event says in words; numbers, such as
//! how often something was tried, are not part of it. Warnings and errors are causes, and what
//! names a `reason` or an `error`. Ordinary news (`online`) is written each time.

use super::fields::{Fields, MESSAGE};
use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::fmt::{self, Write as _};
use std::hash::{Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The module under which repeats are told.
pub(super) const TARGET: &str = "holdfast_node::logs::repeats";
/// Repeats are told this often.
const WINDOW_MS: u64 = 5 * 60_000;
/// Causes remembered at a time. What comes on top is written each time, as without any memory.
const MAX: usize = 256;

/// Repeats of a cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    pub level: Level,
    pub text: String,
    pub times: u64,
    pub seconds: u64,
}

#[derive(Debug)]
struct Cause {
    level: Level,
    text: String,
    since_ms: u64,
    unwritten: u64,
}

impl Cause {
    fn summary(&self, now_ms: u64) -> Option<Summary> {
        let seconds = now_ms.saturating_sub(self.since_ms).div_ceil(1_000);
        let (level, text, times) = (self.level, self.text.clone(), self.unwritten);
        (times > 0).then_some(Summary { level, text, times, seconds })
    }
}

/// The causes of late.
#[derive(Debug, Default)]
struct Repeats(HashMap<u64, Cause>);

impl Repeats {
    /// Whether an event is to be written: the first of its cause is.
    fn note(&mut self, key: u64, now_ms: u64, level: Level, text: impl FnOnce() -> String) -> bool {
        let has_room = self.0.len() < MAX;
        match self.0.entry(key) {
            Entry::Occupied(mut known) => {
                known.get_mut().unwritten += 1;
                false
            }
            Entry::Vacant(place) => {
                if has_room {
                    place.insert(Cause { level, text: text(), since_ms: now_ms, unwritten: 0 });
                }
                true
            }
        }
    }

    /// What is to be told now. A cause that did not come again is forgotten.
    fn due(&mut self, now_ms: u64) -> Vec<Summary> {
        let mut out = Vec::new();
        self.0.retain(|_, cause| {
            if now_ms.saturating_sub(cause.since_ms) < WINDOW_MS {
                return true;
            }
            let summary = cause.summary(now_ms);
            (cause.since_ms, cause.unwritten) = (now_ms, 0);
            let came_again = summary.is_some();
            out.extend(summary);
            came_again
        });
        out
    }
}

/// Lets the first event of a cause pass; clones count together.
#[derive(Clone, Debug)]
pub(super) struct Once {
    start: Instant,
    repeats: Arc<Mutex<Repeats>>,
}

impl Default for Once {
    fn default() -> Self {
        Self { start: Instant::now(), repeats: Arc::default() }
    }
}

impl Once {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Repeats> {
        self.repeats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be told now.
    pub fn due(&self) -> Vec<Summary> {
        self.lock().due(self.now_ms())
    }

    /// What was never told.
    pub fn all(&self) -> Vec<Summary> {
        let now_ms = self.now_ms();
        let causes = std::mem::take(&mut self.lock().0);
        causes.values().filter_map(|cause| cause.summary(now_ms)).collect()
    }
}

impl Once {
    /// Whether the event is written; if not, it is counted.
    fn passes(&self, event: &Event<'_>) -> bool {
        let metadata = event.metadata();
        let level = *metadata.level();
        let names_a_reason =
            || metadata.fields().iter().any(|field| matches!(field.name(), "reason" | "error"));
        let is_cause = level <= Level::WARN || (level == Level::INFO && names_a_reason());
        if !is_cause || metadata.target() == TARGET {
            return true;
        }
        let fields = Fields::of(event);
        let mut key = DefaultHasher::new();
        metadata.callsite().hash(&mut key);
        for (name, value) in fields.0.iter().filter(|(_, value)| value.is_string()) {
            (name, value.as_str()).hash(&mut key);
        }
        let now_ms = self.now_ms();
        self.lock().note(key.finish(), now_ms, level, || describe(&fields))
    }
}

/// A format that writes nothing for what is only counted. A filter of the layer would be the place
/// for it, but one that turns down an event itself leaves its mark on the next one.
pub(super) struct Written<F> {
    pub once: Once,
    pub format: F,
}

impl<S, N, F> FormatEvent<S, N> for Written<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if self.once.passes(event) {
            return self.format.format_event(context, writer, event);
        }
        Ok(())
    }
}

/// An event in one line: its sentence, then what else it says.
fn describe(fields: &Fields) -> String {
    let (sentence, others): (Vec<_>, Vec<_>) =
        fields.0.iter().partition(|(name, _)| *name == MESSAGE);
    let mut out = sentence.first().and_then(|(_, v)| v.as_str()).unwrap_or_default().to_owned();
    for (name, value) in others.into_iter().filter(|(_, value)| value.is_string()) {
        write!(out, " {name}={value}").expect("a text takes everything");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::kept::Kept;

    #[test]
    fn a_cause_is_written_once_and_news_each_time() {
        let (once, kept) = (Once::default(), Kept::default());
        let format = tracing_subscriber::fmt::format().with_target(false).without_time();
        let format = Written { once: once.clone(), format };
        let log = tracing_subscriber::fmt().with_ansi(false).event_format(format);
        tracing::subscriber::with_default(log.with_writer(kept.clone()).finish(), || {
            for attempts in 0..4 {
                tracing::info!(reason = "no route", attempts, "no session");
                tracing::info!("online");
                let peer = if attempts == 3 { "b" } else { "a" };
                tracing::warn!(peer, "refused");
            }
        });
        let written = kept.text();
        let times = |text: &str| written.lines().filter(|line| line.contains(text)).count();
        assert_eq!(times("no session reason=\"no route\" attempts=0"), 1, "{written}");
        assert_eq!(times("no session"), 1);
        assert_eq!(times("online"), 4);
        assert_eq!((times("refused peer=\"a\""), times("refused peer=\"b\"")), (1, 1));
        let mut rest: Vec<_> = once.all().into_iter().map(|one| (one.times, one.text)).collect();
        rest.sort();
        let [(2, refused), (3, no_session)] = &rest[..] else { panic!("{rest:?}") };
        assert_eq!(refused, "refused peer=\"a\"");
        assert_eq!(no_session, "no session reason=\"no route\"");
        assert!(once.all().is_empty());
    }

    #[test]
    fn repeats_are_told_while_they_come_and_then_forgotten() {
        let mut repeats = Repeats::default();
        let note = |repeats: &mut Repeats, at_ms| {
            repeats.note(1, at_ms, Level::WARN, || "it broke".to_owned())
        };
        assert!(note(&mut repeats, 0));
        assert!(!note(&mut repeats, 1));
        assert!(!note(&mut repeats, 2));
        assert_eq!(repeats.due(WINDOW_MS - 1), []);
        let text = "it broke".to_owned();
        let told = Summary { level: Level::WARN, text, times: 2, seconds: 300 };
        assert_eq!(repeats.due(WINDOW_MS), std::slice::from_ref(&told));
        assert!(!note(&mut repeats, WINDOW_MS + 1), "it goes on: still the same cause");
        assert_eq!(repeats.due(2 * WINDOW_MS), [Summary { times: 1, ..told }]);
        assert_eq!(repeats.due(3 * WINDOW_MS), []);
        assert!(note(&mut repeats, 3 * WINDOW_MS), "after a quiet time it is news again");
    }

    #[test]
    fn causes_without_room_are_written() {
        let mut repeats = Repeats::default();
        for key in 0..MAX as u64 {
            assert!(repeats.note(key, 0, Level::WARN, String::new));
        }
        for _ in 0..2 {
            assert!(repeats.note(MAX as u64, 0, Level::WARN, String::new));
        }
        assert!(!repeats.note(0, 0, Level::WARN, String::new));
        assert_eq!(repeats.0.len(), MAX);
    }
}
