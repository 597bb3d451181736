//! The task that sends notices, and when.
//!
//! Each channel of each notice that is open has a time at which it is due. On disk that is a time
//! of the wall clock; once read, it is waited for on a clock that only goes forward, and never for
//! longer than from one sending to the next: a clock that is set neither has anything sent twice
//! nor keeps it back. What of the week has passed is counted by what was waited for, not by dates.

use super::record::{Channel, ERROR_MAX_BYTES, Notice, NoticeId, State};
use super::settings::Way;
use super::{Notices, book, message};
use holdfast_sync::Fault;
use holdfast_sync::store::{Snapshot, Store, WriteError, WriteTx};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// From one sending to the next.
const REPEAT_MS: u64 = 3_600_000;
/// How long a notice is repeated at most.
const LONGEST_MS: u64 = 7 * 24 * REPEAT_MS;
/// After a sending that failed: at first, and at most.
const AGAIN_MS: u64 = 30_000;
const AGAIN_MAX_MS: u64 = 15 * 60_000;
/// Sendings at once: what is slow must not keep all others waiting.
const AT_ONCE: usize = 8;
/// A sending that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(60);
/// It looks at the clock at least as often while something is open.
const LOOK: Duration = Duration::from_secs(1);

/// What came of a sending.
type Outcome = Result<(), String>;
/// A channel of a notice.
type Line = (NoticeId, String);

impl Channel {
    /// Notes what came of a sending; gives how long the next one is waited for.
    fn note(&mut self, outcome: &Outcome, now_ms: i64) -> u64 {
        let wait_ms = match outcome {
            Ok(()) => {
                self.sent = self.sent.saturating_add(1);
                (self.sent_ms, self.failures) = (now_ms, 0);
                self.error.clear();
                REPEAT_MS
            }
            Err(why) => {
                let doubled = AGAIN_MS << self.failures.min(10);
                self.failures = self.failures.saturating_add(1);
                why[..why.floor_char_boundary(ERROR_MAX_BYTES)].clone_into(&mut self.error);
                doubled.min(AGAIN_MAX_MS)
            }
        };
        self.waited_ms = self.waited_ms.saturating_add(wait_ms);
        self.due_ms = now_ms.saturating_add_unsigned(wait_ms);
        wait_ms
    }

    /// How long it is waited for after a start at `now_ms`; `None` for ever.
    fn wait_ms(&self, now_ms: i64) -> Option<u64> {
        let left = self.due_ms.saturating_sub(now_ms).max(0).unsigned_abs();
        (self.waited_ms < LONGEST_MS).then_some(left.min(REPEAT_MS))
    }
}

impl Notices {
    /// Sends what is due until it is told to stop.
    ///
    /// # Errors
    /// Why it cannot go on.
    pub async fn run(self, store: Store, stop: CancellationToken) -> Result<(), String> {
        let text = |fault: Fault| fault.to_string();
        let (open, due, under_way) = Default::default();
        let mut post = Post { notices: self.clone(), store, open, due, under_way };
        let mut sendings = JoinSet::new();
        post.look().await.map_err(text)?;
        loop {
            post.send(&mut sendings);
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.0.wake.notified() => post.look().await.map_err(text)?,
                Some(done) = sendings.join_next() => {
                    // One that panicked would be under way for ever.
                    let (line, outcome) = done.map_err(|panic| panic.to_string())?;
                    post.note(line, outcome).await.map_err(text)?;
                }
                () = tokio::time::sleep(LOOK), if !post.due.is_empty() => {}
            }
        }
    }

    /// Sends a notice on one of its channels.
    async fn send(self, id: NoticeId, mut notice: Notice, name: String) -> (Line, Outcome) {
        let number = notice.channel(&name).sent.saturating_add(1);
        // Whoever gets it twice under one key gets the same.
        let key = format!("{id}-{number}-{}", notice.count);
        let told = (id, &notice, key.as_str());
        let ways = self.0.ways.targets.get(&notice.target).map(Vec::as_slice).unwrap_or_default();
        let way = ways.iter().find(|way| way.name() == name);
        let sent = async {
            match (way, &self.0.ways.mailer) {
                (Some(Way::Mail(to)), Some(mailer)) => {
                    let program = self.0.program;
                    mailer.send(message::letter(told, to, (ways, program))).await
                }
                (Some(Way::Webhook(place)), _) => {
                    message::post(&self.0.ways.requests, place, told).await
                }
                _ => Err("it is not in the configuration any more".to_owned()),
            }
        };
        let outcome = tokio::time::timeout(TIMEOUT, sent).await;
        let outcome = outcome.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        match &outcome {
            Ok(()) => self.0.sent.add(1),
            Err(why) => {
                self.0.failed.add(1);
                tracing::warn!(notice = %id, channel = name, why, "nobody was told: tried again");
            }
        }
        ((id, name), outcome)
    }
}

/// What is open, and when it is due.
struct Post {
    notices: Notices,
    store: Store,
    open: BTreeMap<NoticeId, Notice>,
    /// By the clock that only goes forward.
    due: HashMap<Line, u64>,
    under_way: HashSet<Line>,
}

impl Post {
    fn names(&self, target: &str) -> Vec<String> {
        let ways = self.notices.0.ways.targets.get(target);
        ways.into_iter().flatten().map(Way::name).collect()
    }

    /// Reads what is open.
    async fn look(&mut self) -> Result<(), Fault> {
        let open = self.store.read(|view: &Snapshot<'_>| book::open(view)).await?;
        self.open = open.into_iter().collect();
        let env = self.store.env();
        let (now_ms, steady_ms) = (env.now().millis(), env.monotonic_ms());
        let mut due = HashMap::new();
        for (id, notice) in &self.open {
            let mut notice = notice.clone();
            for name in self.names(&notice.target) {
                let Some(wait_ms) = notice.channel(&name).wait_ms(now_ms) else { continue };
                let line = (*id, name);
                let known = self.due.get(&line).copied();
                due.insert(line, known.unwrap_or(steady_ms + wait_ms));
            }
        }
        self.due = due;
        Ok(())
    }

    /// Begins what is due, the longest due first.
    fn send(&mut self, sendings: &mut JoinSet<(Line, Outcome)>) {
        let steady_ms = self.store.env().monotonic_ms();
        let is_due =
            |(line, at): &(&Line, &u64)| **at <= steady_ms && !self.under_way.contains(*line);
        let mut due: Vec<_> =
            self.due.iter().filter(is_due).map(|(l, at)| (*at, l.clone())).collect();
        due.sort();
        for (_, (id, name)) in due.into_iter().take(AT_ONCE.saturating_sub(sendings.len())) {
            let Some(notice) = self.open.get(&id).cloned() else { continue };
            self.under_way.insert((id, name.clone()));
            sendings.spawn(self.notices.clone().send(id, notice, name));
        }
    }

    /// Writes down what came of a sending.
    async fn note(&mut self, line: Line, outcome: Outcome) -> Result<(), Fault> {
        self.under_way.remove(&line);
        let (id, name) = line.clone();
        let Some(known) = self.open.get_mut(&id) else { return Ok(()) };
        let env = self.store.env();
        let channel = known.channel(&name);
        let wait_ms = channel.note(&outcome, env.now().millis());
        self.due.remove(&line);
        if channel.waited_ms < LONGEST_MS {
            self.due.insert(line, env.monotonic_ms().saturating_add(wait_ms));
        }
        let target = known.target.clone();
        let names = self.names(&target);
        let change = move |tx: &mut WriteTx<'_>| {
            let Some(mut notice) = book::read(&tx.view(), id)? else { return Ok(None) };
            notice.channels.retain(|channel| names.contains(&channel.name));
            notice.channel(&name).note(&outcome, tx.now().millis());
            let is_done = |name: &String| {
                notice.channels.iter().any(|c| c.name == *name && c.waited_ms >= LONGEST_MS)
            };
            if notice.state == State::Open && names.iter().all(is_done) {
                tracing::warn!(notice = %id, "nobody acknowledges it: it is not repeated any more");
                book::end(tx, id, &mut notice, (State::GivenUp, ""))?;
            } else {
                book::put(tx, id, &notice)?;
            }
            Ok(Some(notice).filter(|notice| notice.state == State::Open))
        };
        match self.store.write(change).await {
            Ok((_, Some(notice))) => {
                self.open.insert(id, notice);
                Ok(())
            }
            Ok((_, None)) => {
                self.open.remove(&id);
                self.due.retain(|(of, _), _| *of != id);
                Ok(())
            }
            Err(WriteError::Fault(fault)) if !fault.is_full() => Err(fault),
            // It was sent all the same: the next one is due when it would be.
            Err(error) => {
                tracing::warn!(notice = %id, %error, "what came of a notice was not written");
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests;
