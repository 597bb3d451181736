//! The outside of a simulation: it notes what it is asked for, and answers as it was told to.
//!
//! Effects go on in the order in which they were asked for, one after the other, and wait by the
//! clock of the simulation; so nothing depends on how fast the machine is. What is published and
//! what is emitted is really there for others: it begins the runs that it would begin.

use super::answers::{Answer, Answers};
use super::clock::Clock;
use super::words;
use crate::mqtt::message::{Message, Moment};
use crate::mqtt::starts::Starts;
use crate::workflows::{emit, lasts_s, message_of, order_of};
use futures::FutureExt;
use futures::future::{BoxFuture, poll_fn};
use holdfast_core::flow::Code;
use holdfast_core::flow::effect::Kind;
use holdfast_core::log::runs::RunId;
use holdfast_node::runs::{Asked, Failure, Outside};
use holdfast_sync::env::Env;
use holdfast_sync::store::{Store, WriteError};
use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

/// Something that was asked of the outside, and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Effect {
    /// The run, and the number of the effect in it.
    pub key: (RunId, u32),
    /// What it is, in a line.
    pub words: String,
    /// What it was answered at once; of what nothing is heard nothing, too.
    pub answer: Option<Result<Json, Failure>>,
}

/// The outside; clones are the same one.
#[derive(Clone)]
pub struct Stage(Arc<Inner>);

struct Inner {
    clock: Arc<Clock>,
    store: Store,
    starts: Starts,
    answers: Mutex<Answers>,
    under_way: Mutex<UnderWay>,
    /// Effects that wait for the store rather than for the clock.
    busy: AtomicUsize,
}

#[derive(Default)]
struct UnderWay {
    fresh: Vec<BoxFuture<'static, ()>>,
    asleep: Vec<BoxFuture<'static, ()>>,
    wakes: BTreeSet<i64>,
    effects: Vec<Effect>,
}

impl Stage {
    /// An outside of which nothing was asked yet.
    #[must_use]
    pub fn new(clock: Arc<Clock>, store: Store, starts: Starts, answers: Answers) -> Self {
        let (answers, under_way) = (Mutex::new(answers), Mutex::default());
        Self(Arc::new(Inner {
            clock,
            store,
            starts,
            answers,
            under_way,
            busy: AtomicUsize::new(0),
        }))
    }

    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        self.0.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When something goes on that waits by the clock, Unix milliseconds.
    #[must_use]
    pub fn next_ms(&self) -> i64 {
        let now_ms = self.0.clock.now_ms();
        let wakes = &self.under_way().wakes;
        wakes.range(now_ms + 1..).next().copied().unwrap_or(i64::MAX)
    }

    /// What was asked of it since this was asked last.
    #[must_use]
    pub fn take_effects(&self) -> Vec<Effect> {
        std::mem::take(&mut self.under_way().effects)
    }

    /// Answers that were given and that nothing has asked for.
    #[must_use]
    pub fn unasked(&self) -> Vec<String> {
        self.0.answers.lock().unwrap_or_else(PoisonError::into_inner).unasked().collect()
    }

    /// Has everything go on that does not wait for the clock; whether there was anything.
    pub async fn come_to_rest(&self) -> bool {
        let (asleep, fresh) = {
            let mut under_way = self.under_way();
            let now_ms = self.0.clock.now_ms();
            under_way.wakes.retain(|at| *at > now_ms);
            (std::mem::take(&mut under_way.asleep), std::mem::take(&mut under_way.fresh))
        };
        let mut any = !fresh.is_empty();
        for mut work in asleep.into_iter().chain(fresh) {
            let is_over = poll_fn(|context| match work.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(true),
                Poll::Pending if self.0.busy.load(Ordering::SeqCst) > 0 => Poll::Pending,
                Poll::Pending => Poll::Ready(false),
            });
            if is_over.await {
                any = true;
            } else {
                self.under_way().asleep.push(work);
            }
        }
        any
    }

    async fn answer(&self, asked: &Asked) -> Result<Json, Failure> {
        let answer = self.0.answers.lock().unwrap_or_else(PoisonError::into_inner).to(asked);
        let key = (asked.run, asked.serial);
        let mut words = words::effect(asked);
        if asked.attempt > 1 {
            words.push_str(&format!(", attempt {}", asked.attempt));
        }
        let note = |answer: Option<&Result<Json, Failure>>| {
            let effect = Effect { key, words: words.clone(), answer: answer.cloned() };
            self.under_way().effects.push(effect);
        };
        let outcome = match answer {
            Answer::Never => {
                note(None);
                return self.silence(asked).await;
            }
            Answer::Fail => Err(Failure::new(Code::FAILED, "the simulation was told so")),
            Answer::With(json) => self.done(asked).await.map(|()| json),
            Answer::Done => self.done(asked).await.map(|()| Json::Null),
        };
        note(Some(&outcome));
        outcome
    }

    /// Nothing is heard. A command ends by itself, everything else when the engine gives it up.
    async fn silence(&self, asked: &Asked) -> Result<Json, Failure> {
        if asked.kind != Kind::Command {
            return std::future::pending().await;
        }
        self.sleep(Duration::from_secs(lasts_s(asked)?)).await;
        Err(Failure::new(Code::TIMEOUT, "the device did not answer in time"))
    }

    /// What an effect comes to inside of the gateway.
    async fn done(&self, asked: &Asked) -> Result<(), Failure> {
        match asked.kind {
            Kind::Command => order_of(asked).map(drop),
            Kind::Emit => self.beside(emit(&self.0.store, asked)).await.map(drop),
            Kind::Publish => {
                let env: Env = Arc::clone(&self.0.clock) as Env;
                let message = Message::new(&message_of(asked)?, Moment::now(&env, 0));
                let begun = self.beside(self.begin(&message)).await;
                begun.map_err(|error| Failure::new(Code::FAILED, error.to_string()))
            }
            _ => Ok(()),
        }
    }

    /// Begins the runs that a message begins, as the broker does.
    async fn begin(&self, message: &Message) -> Result<(), WriteError> {
        let all = self.0.starts.of(message);
        if all.is_empty() {
            return Ok(());
        }
        let records = all.clone();
        let write = move |tx: &mut holdfast_sync::store::WriteTx<'_>| {
            Ok(records.iter().try_for_each(|due| due.put(tx))?)
        };
        self.0.store.write(write).await?;
        all.into_iter().for_each(|due| self.0.starts.found(due));
        Ok(())
    }

    /// Waits for what the store does: the simulation stands still meanwhile.
    async fn beside<T>(&self, work: impl Future<Output = T>) -> T {
        self.0.busy.fetch_add(1, Ordering::SeqCst);
        let done = work.await;
        self.0.busy.fetch_sub(1, Ordering::SeqCst);
        done
    }
}

impl Outside for Stage {
    fn kinds(&self) -> u32 {
        Answers::kinds()
    }

    fn act(&self, asked: Asked) -> BoxFuture<'static, Result<Json, Failure>> {
        let this = self.clone();
        async move { this.answer(&asked).await }.boxed()
    }

    fn spawn(&self, work: BoxFuture<'static, ()>) {
        self.under_way().fresh.push(work);
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        let clock = Arc::clone(&self.0.clock);
        let ms = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let at_ms = clock.now_ms().saturating_add(ms);
        self.under_way().wakes.insert(at_ms);
        let is_over = move |_: &mut std::task::Context<'_>| match clock.now_ms() >= at_ms {
            true => Poll::Ready(()),
            false => Poll::Pending,
        };
        poll_fn(is_over).boxed()
    }
}
