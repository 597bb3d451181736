//! The broker's task: groups of commands, one transaction each, and what follows.

use super::mailbox::{Answer, Mailbox};
use super::routes::{Routes, SessionKey, Subscriber};
use super::state::State;
use super::work::{Effect, Work};
use super::{Brought, Command, ConnectionId, Limits, Outcome, Spread};
use crate::mqtt::counts::MqttCounts;
use crate::mqtt::door::{Brings, Door, Whose};
use crate::mqtt::ledger::{self, Applied, Change};
use crate::mqtt::message::{Delivery, Message, Moment};
use crate::mqtt::packet::{Publish, QoS, Topic};
use crate::mqtt::reason::Reason;
use crate::mqtt::starts::Starts;
use holdfast_sync::Fault;
use holdfast_sync::store::{ItemOutcome, Snapshot, Store, WriteError};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

/// Commands that wait at most; beyond, connections do.
const WAITING: usize = 4_096;
/// Commands in one transaction.
const GROUP: usize = 4_096;
/// KiB of messages that are on their way to the disk; beyond, connections wait.
const ROOM_KIB: u32 = 32 << 10;
/// How long progress that nobody waits for may stay in memory: what is lost of it by a power cut
/// is sent again.
const PROGRESS: Duration = Duration::from_millis(200);

/// How others reach the broker.
#[derive(Clone)]
pub struct Reach {
    commands: mpsc::Sender<Command>,
    routes: Arc<RwLock<Routes>>,
    store: Store,
    ids: Arc<AtomicU64>,
    room: Arc<Semaphore>,
    starts: Arc<Starts>,
    /// What has happened since the start.
    pub counts: Arc<MqttCounts>,
}

impl Reach {
    /// This moment.
    #[must_use]
    pub fn now(&self) -> Moment {
        Moment::now(self.store.env(), self.store.incarnation().boot)
    }

    /// The store, for what waits on disk.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// A number for a new connection.
    #[must_use]
    pub fn new_connection(&self) -> ConnectionId {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether a message on this topic begins a run, and so goes to disk.
    #[must_use]
    pub fn begins_runs(&self, topic: &Topic) -> bool {
        self.starts.has(topic)
    }

    /// Waits until memory has room for a message of this size on its way to the disk.
    pub async fn room_for(&self, bytes: usize) -> OwnedSemaphorePermit {
        let kib = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(ROOM_KIB).min(ROOM_KIB);
        let room = Arc::clone(&self.room).acquire_many_owned(kib).await;
        room.expect("the semaphore is never closed")
    }

    /// Asks for something, and waits for room; `false` when the node stops.
    pub async fn send(&self, command: Command) -> bool {
        self.commands.send(command).await.is_ok()
    }

    /// Asks for something if there is room.
    #[must_use]
    pub fn try_send(&self, command: Command) -> bool {
        self.commands.try_send(command).is_ok()
    }

    /// Looks at the broker's state.
    ///
    /// # Errors
    /// [`Fault::Stopping`]
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&mut State, &mut Work) -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let command = Command::Look(Box::new(move |state, work| {
            // Whoever asked may have gone away.
            let _ = reply.send(look(state, work));
        }));
        self.send(command).await;
        answer.await.map_err(|_| Fault::Stopping)
    }

    /// Publishes a message of one who is no client; it is on disk when this returns, if anything of
    /// it is kept.
    ///
    /// # Errors
    /// [`Fault::Stopping`]
    pub async fn publish(
        &self,
        publish: &Publish,
        brought: Option<Brought>,
    ) -> Result<Outcome, Fault> {
        self.spread(Spread::new(Arc::new(Message::new(publish, self.now())), brought)).await
    }

    /// Publishes a message by which the node steers something, with what goes to disk with it.
    ///
    /// # Errors
    /// [`Fault::Stopping`]
    pub async fn steer(&self, publish: &Publish, changes: Vec<Change>) -> Result<Outcome, Fault> {
        let message = Arc::new(Message::new(publish, self.now()));
        self.spread(Spread { changes: Some(changes), ..Spread::new(message, None) }).await
    }

    async fn spread(&self, spread: Spread) -> Result<Outcome, Fault> {
        let mailbox = Arc::new(Mailbox::default());
        let spread = Spread { waits: Some(Arc::clone(&mailbox)), ..spread };
        self.send(Command::Spread(Box::new(spread))).await;
        mailbox.woken().await;
        match mailbox.next_answer() {
            Some(Answer::Published(_, outcome)) => Ok(outcome),
            _ => Err(Fault::Stopping),
        }
    }

    /// Gives a message that nobody keeps to one who wants it, if it is there.
    fn put(&self, subscriber: &Subscriber, delivery: Delivery) {
        if subscriber.mailbox().is_some_and(|mailbox| !mailbox.put(delivery)) {
            let counts = &self.counts;
            if subscriber.is_watcher { &counts.unseen } else { &counts.dropped }.add(1);
        }
    }

    /// Gives a message of QoS 0 that nobody keeps to all who want it and are there.
    pub fn put_now(&self, message: &Arc<Message>, from: Option<SessionKey>) {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let targets = routes.matching(message.topic(), from);
        drop(routes);
        for target in targets {
            let retain = message.retain() && target.retain_as_published;
            let (qos, ids) = (QoS::AtMostOnce, target.ids);
            let message = Arc::clone(message);
            self.put(&target.subscriber, Delivery { message, qos, retain, ids });
        }
    }
}

/// The broker.
pub struct Broker {
    state: State,
    reach: Reach,
    door: Arc<Door>,
    commands: mpsc::Receiver<Command>,
}

impl Broker {
    /// Takes up what is on disk.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn load(
        store: Store,
        door: Arc<Door>,
        limits: Limits,
        (counts, starts): (Arc<MqttCounts>, Arc<Starts>),
    ) -> Result<Self, Fault> {
        let kept = store.read_blocking(|view: &Snapshot<'_>| ledger::load(view))?;
        let now = Moment::now(store.env(), store.incarnation().boot);
        let mut state = State::load(kept, limits, Arc::clone(&counts), now);
        state.starts = Arc::clone(&starts);
        let (sender, commands) = mpsc::channel(WAITING);
        let ids = Arc::new(AtomicU64::new(1));
        let room = Arc::new(Semaphore::new(ROOM_KIB as usize));
        let routes = state.routes();
        let reach = Reach { commands: sender, routes, store, ids, room, starts, counts };
        Ok(Self { state, reach, door, commands })
    }

    /// How others reach it.
    #[must_use]
    pub fn reach(&self) -> Reach {
        self.reach.clone()
    }

    /// Works until `over`, which comes once all connections have ended.
    pub async fn run(mut self, stop: CancellationToken, over: CancellationToken) {
        let mut group = Vec::new();
        while !over.is_cancelled() {
            let wait = self.wait();
            tokio::select! {
                _ = self.commands.recv_many(&mut group, GROUP) => {}
                () = tokio::time::sleep(wait) => {}
                () = over.cancelled() => {}
            }
            self.state.is_stopping = stop.is_cancelled();
            self.turn(std::mem::take(&mut group)).await;
        }
        self.turn(Vec::new()).await;
    }

    /// How long it may wait if nobody asks anything.
    fn wait(&self) -> Duration {
        if self.state.has_ended() {
            // Not at once, or nobody else would get to write.
            return Duration::from_millis(10);
        }
        let now = self.reach.store.env().monotonic_ms();
        let tells_at = self.state.tells_at();
        let at = self.state.deadline().map_or(tells_at, |at| at.min(tells_at));
        let due = Duration::from_millis(at.saturating_sub(now));
        if self.state.is_dirty() { due.min(PROGRESS) } else { due }
    }

    async fn turn(&mut self, group: Vec<Command>) {
        let store = self.reach.store.clone();
        self.state.is_full = store.usage().refusing;
        let mut work = self.state.prepare(self.reach.now(), group);
        if !work.is_for_disk() {
            self.reach.counts.dropped.add(work.left_out);
            return self.follow(work.effects, &[]);
        }
        let (batch, changes) = (std::mem::take(&mut work.batch), std::mem::take(&mut work.changes));
        let apply = move |tx: &mut holdfast_sync::store::WriteTx<'_>| {
            Ok::<Applied, WriteError>(ledger::apply(tx, &changes)?)
        };
        let stored = if batch.items.is_empty() {
            store.write(apply).await.map(|(_committed, applied)| (Vec::new(), applied))
        } else {
            let stored = store.ingest_with(batch, apply).await;
            stored.map(|(_committed, outcome, applied)| (outcome.items, applied))
        };
        match stored {
            Ok((items, applied)) => {
                let dropped = self.state.committed(&work.noted, &applied);
                self.reach.counts.dropped.add(dropped + work.left_out);
                self.follow(work.effects, &items);
            }
            Err(error) => self.fail(work, &error).await,
        }
    }

    async fn fail(&mut self, work: Work, error: &WriteError) {
        let is_full = matches!(error, WriteError::Fault(fault) if fault.is_full());
        let (reason, text) = if is_full {
            (Reason::QuotaExceeded, "the store is full, nothing was kept")
        } else {
            tracing::error!(%error, "messages could not be stored");
            (Reason::Unspecified, "the store is not available, nothing was kept")
        };
        for client in self.state.failed(work, reason, text) {
            let of = client.clone();
            let read = move |view: &Snapshot<'_>| ledger::load_session(view, &of);
            match self.reach.store.read(read).await {
                Ok(kept) => self.state.restore(&client, kept),
                Err(fault) => {
                    tracing::error!(client, %fault, "a session cannot be read");
                    self.state.restore(&client, None);
                }
            }
        }
    }

    /// All is on disk: answers, and sends on.
    fn follow(&self, effects: Vec<Effect>, items: &[ItemOutcome]) {
        for effect in effects {
            match effect {
                Effect::Answer(mailbox, answer) => mailbox.answer(answer),
                Effect::Published { to, outcome, brought } => {
                    let outcome = match brought {
                        Some(brought) => self.settle(outcome, *brought, items),
                        None => outcome,
                    };
                    if let Some((mailbox, serial)) = to {
                        mailbox.answer(Answer::Published(serial, outcome));
                    }
                }
                Effect::Put(subscriber, delivery) => self.reach.put(&subscriber, delivery),
                Effect::Kept(subscriber, number, delivery) => {
                    if let Some(mailbox) = subscriber.mailbox() {
                        mailbox.kept(number, delivery);
                    }
                }
                Effect::Will(key, message) => {
                    let command = move |message, brought| Command::Will(key, message, brought);
                    self.bring(message, command);
                }
                Effect::Begins(due) => self.reach.starts.found(due),
                Effect::LastWill(message) => {
                    let spread = |message, brought| Box::new(Spread::new(message, brought));
                    self.bring(message, move |message, brought| {
                        Command::Spread(spread(message, brought))
                    });
                }
            }
        }
    }

    /// What is told of a message whose readings are stored, or were.
    fn settle(
        &self,
        outcome: Outcome,
        (brought, range): (Brought, Range<usize>),
        items: &[ItemOutcome],
    ) -> Outcome {
        let items = items.get(range).unwrap_or_default();
        let report = self.door.ingest().settle(brought, items, false);
        let Some(first) = report.rejected.first() else { return outcome };
        let text = format!(
            "{} of its items were not stored, the first: {}: {}",
            report.rejected.len(),
            first.at,
            first.detail
        );
        let is_lost = report.accepted == 0 && report.duplicates == 0;
        let reason = if is_lost { Reason::QuotaExceeded } else { outcome.reason };
        Outcome { reason, text: Some(text.into()) }
    }

    /// Finds out which readings the message of a will has, then has it published.
    fn bring(
        &self,
        message: Arc<Message>,
        command: impl FnOnce(Arc<Message>, Option<Brought>) -> Command + Send + 'static,
    ) {
        let (door, reach) = (Arc::clone(&self.door), self.reach.clone());
        tokio::spawn(async move {
            let brings = door.bring(message.as_publish(), Whose::Will).await;
            let brings = brings.unwrap_or_else(|wrong| {
                let (topic, text) = (message.topic(), wrong.text.unwrap_or_default());
                tracing::warn!(%topic, %text, "what a will brings is wrong");
                Brings::default()
            });
            reach.send(command(message, brings.readings)).await;
        });
    }
}
