//! The broker's decisions, without I/O: commands become work for one transaction.
//!
//! Commands are taken in their order. What they change in memory is changed at once, so that the
//! next command of the group finds it; what anybody is told, or sent, follows only when the
//! transaction is on disk. Where it is not, memory is put back: queues and retained messages by
//! what they were, a session by what the disk has of it.

use super::mailbox::{Answer, Mailbox};
use super::routes::{Routes, SessionKey};
use super::session::Session;
use super::told::EVERY_MS;
use super::work::{Effect, Failing, Undo, Work};
use super::{Command, ConnectionId, Limits};
use crate::mqtt::counts::MqttCounts;
use crate::mqtt::ledger::{Applied, Change, Kept, KeptSession, SessionNo};
use crate::mqtt::message::{Message, Moment};
use crate::mqtt::packet::Topic;
use crate::mqtt::reason::Reason;
use crate::mqtt::starts::Starts;
use crate::mqtt::topic::tree::Tree;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};

/// Steps of removing ended sessions in one transaction.
const SWEEPS: usize = 4;

/// All that the broker knows.
#[derive(Debug)]
pub struct State {
    pub(super) limits: Limits,
    pub(super) routes: Arc<RwLock<Routes>>,
    pub(super) sessions: HashMap<SessionKey, Session>,
    pub(super) by_client: HashMap<String, SessionKey>,
    pub(super) by_connection: HashMap<ConnectionId, SessionKey>,
    pub(super) retained: Tree<Arc<Message>>,
    pub(super) retained_bytes: usize,
    /// What the node tells of itself under `$SYS`, as it is in memory only.
    pub(super) told: Tree<Arc<Message>>,
    pub(super) tell_at_ms: u64,
    pub(super) counts: Arc<MqttCounts>,
    /// What messages begin.
    pub(super) starts: Arc<Starts>,
    pub(super) now: Moment,
    /// Sessions by when something is due for them, in steady milliseconds.
    timers: BTreeMap<SessionKey, u64>,
    due: BTreeSet<(u64, SessionKey)>,
    /// Sessions whose progress is not on disk.
    pub(super) dirty: BTreeSet<SessionKey>,
    ended: VecDeque<SessionNo>,
    next_key: SessionKey,
    next_no: SessionNo,
    pub(super) place: u64,
    /// Bytes that wait in all queues.
    pub(super) queued: u64,
    /// Whether the store takes no more.
    pub(super) is_full: bool,
    /// Whether the node stops.
    pub(super) is_stopping: bool,
}

impl State {
    /// The state of a start.
    #[must_use]
    pub fn load(kept: Kept, limits: Limits, counts: Arc<MqttCounts>, now: Moment) -> Self {
        let mut state = Self {
            limits,
            routes: Arc::default(),
            sessions: HashMap::new(),
            by_client: HashMap::new(),
            by_connection: HashMap::new(),
            retained: Tree::new(),
            retained_bytes: 0,
            told: Tree::new(),
            tell_at_ms: 0,
            counts,
            starts: Arc::default(),
            now,
            timers: BTreeMap::new(),
            due: BTreeSet::new(),
            dirty: BTreeSet::new(),
            next_key: 1,
            next_no: kept.ended.iter().max().map_or(0, |no| no + 1),
            ended: kept.ended.into(),
            place: kept.place,
            queued: 0,
            is_full: false,
            is_stopping: false,
        };
        for message in kept.retained {
            state.retain(&Arc::new(message));
        }
        for session in kept.sessions {
            state.found(session);
        }
        state
    }

    /// Who gets what; shared with the connections.
    #[must_use]
    pub fn routes(&self) -> Arc<RwLock<Routes>> {
        Arc::clone(&self.routes)
    }

    /// Takes up a session as the disk has it.
    fn found(&mut self, kept: KeptSession) {
        let key = self.new_key();
        self.next_no = self.next_no.max(kept.record.no.saturating_add(1));
        let session = Session::found(key, kept, self.now);
        self.queued += session.queue.bytes();
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        for (filter, (options, id)) in &session.subscriptions {
            routes.insert(filter, &session.subscriber, *options, *id);
        }
        drop(routes);
        self.by_client.insert(session.client.clone(), key);
        self.sessions.insert(key, session);
        self.schedule(key);
    }

    pub(super) const fn new_key(&mut self) -> SessionKey {
        self.next_key += 1;
        self.next_key - 1
    }

    pub(super) const fn new_no(&mut self) -> SessionNo {
        self.next_no += 1;
        self.next_no - 1
    }

    /// Puts a session's next moment into the timers.
    pub(super) fn schedule(&mut self, key: SessionKey) {
        if let Some(before) = self.timers.remove(&key) {
            self.due.remove(&(before, key));
        }
        let Some(session) = self.sessions.get(&key) else { return };
        let next = [session.will_at(&self.now), session.ends_at(&self.now)];
        if let Some(at) = next.into_iter().flatten().min() {
            self.timers.insert(key, at);
            self.due.insert((at, key));
        }
    }

    /// When something is due, in steady milliseconds.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Whether there is something left to remove of sessions that are over.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    /// Whether the progress of any client is not on disk.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// What becomes of commands, and of what is due.
    pub fn prepare(&mut self, now: Moment, commands: Vec<Command>) -> Work {
        self.now = now;
        let mut work = Work::new(self.place);
        // What has become due was so before anybody asked for anything.
        self.expire(&mut work);
        for command in commands {
            self.take(command, &mut work);
        }
        self.expire(&mut work);
        if self.now.steady_ms >= self.tell_at_ms {
            self.tell_at_ms = self.now.steady_ms + EVERY_MS;
            self.forget_expired(&mut work);
            self.tell(&mut work);
        }
        let mut place = self.place;
        work.close(&mut place);
        self.place = place;
        // Behind all that this group has for sessions that have ended: nothing may be left of them.
        for no in self.ended.iter().take(SWEEPS) {
            work.changes.push(Change::Sweep(*no));
        }
        for key in std::mem::take(&mut work.held) {
            self.note_held(key, &mut work);
        }
        for key in std::mem::take(&mut self.dirty) {
            self.note_progress(key, &mut work);
        }
        work
    }

    fn take(&mut self, command: Command, work: &mut Work) {
        match command {
            Command::Open(open) => self.open(*open, work),
            Command::Publish(incoming) => self.publish(*incoming, work),
            Command::Will(key, message, brought) => self.will(key, &message, brought, work),
            Command::Spread(spread) => self.take_spread(*spread, work),
            Command::Release(id, packet_id) => self.release(id, packet_id, work),
            Command::Subscribe(asked) => self.subscribe(*asked, work),
            Command::Unsubscribe(id, unsubscribe) => self.unsubscribe(id, &unsubscribe, work),
            Command::Done(id, number) => {
                if let Some(session) = self.connected(id)
                    && session.queue.progress.note_done(number)
                {
                    let key = session.subscriber.key;
                    self.dirty.insert(key);
                }
            }
            Command::Received(id, number, packet_id) => {
                let Some(session) = self.connected(id) else { return };
                if number >= session.queue.progress.done {
                    session.queue.progress.received.insert(number);
                }
                let (key, mailbox) = (session.subscriber.key, session.mailbox());
                self.dirty.insert(key);
                if let Some(mailbox) = mailbox {
                    work.answer(&mailbox, Answer::Noted(packet_id));
                }
            }
            Command::Ended(gone) => self.ended(gone, work),
            Command::Look(look) => look(self, work),
        }
    }

    /// The session of a connection that it still has.
    pub(super) fn connected(&mut self, id: ConnectionId) -> Option<&mut Session> {
        let key = self.by_connection.get(&id)?;
        self.sessions.get_mut(key)
    }

    /// What is due: wills, and the ends of sessions.
    fn expire(&mut self, work: &mut Work) {
        while let Some((at, key)) = self.due.first().copied()
            && at <= self.now.steady_ms
        {
            self.due.pop_first();
            self.timers.remove(&key);
            let Some(session) = self.sessions.get(&key) else { continue };
            let is_due = session.will_at(&self.now).is_some_and(|due| due <= self.now.steady_ms);
            if let Some(will) = session.will_of(self.now).filter(|_| is_due) {
                // It comes back as a command; until then the session stays as it is.
                work.effects.push(Effect::Will(key, Arc::new(will)));
            } else if session.ends_at(&self.now).is_some_and(|end| end <= self.now.steady_ms) {
                self.end_session(key, work);
            } else {
                self.schedule(key);
            }
        }
    }

    /// Ends a session: nothing is left of it here, and on disk it goes bit by bit.
    pub(super) fn end_session(&mut self, key: SessionKey, work: &mut Work) {
        let Some(session) = self.forget(key) else { return };
        if let Some(no) = session.no {
            work.changes.push(Change::End(session.client.clone(), no));
            work.failing.push(Failing::Session(session.client, None));
            self.ended.push_back(no);
        }
    }

    /// Takes a session out of memory.
    fn forget(&mut self, key: SessionKey) -> Option<Session> {
        let session = self.sessions.remove(&key)?;
        self.by_client.remove(&session.client);
        if let Some(id) = session.connection {
            self.by_connection.remove(&id);
        }
        if let Some(at) = self.timers.remove(&key) {
            self.due.remove(&(at, key));
        }
        self.dirty.remove(&key);
        self.queued = self.queued.saturating_sub(session.queue.bytes());
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        for filter in session.subscriptions.keys() {
            routes.remove(filter, key);
        }
        drop(routes);
        session.subscriber.attach(None);
        Some(session)
    }

    /// Writes down which messages of QoS 2 are not released.
    fn note_held(&self, key: SessionKey, work: &mut Work) {
        let Some(session) = self.sessions.get(&key) else { return };
        let Some(no) = session.no else { return };
        work.changes.push(Change::Held(no, session.held.clone()));
        work.failing.push(Failing::Session(session.client.clone(), session.connection));
    }

    /// Writes down how far a client is, and lets go of what its queue has too much.
    fn note_progress(&mut self, key: SessionKey, work: &mut Work) {
        let Some(session) = self.sessions.get(&key) else { return };
        let (Some(no), queue) = (session.no, &session.queue) else { return };
        work.changes.push(Change::Progress {
            no,
            progress: queue.progress.clone(),
            next: queue.next,
            below: queue.queued.saturating_sub(self.limits.queue_bytes),
        });
        work.noted.push(key);
    }

    /// All of a group is on disk. How many messages were dropped because queues were full.
    pub fn committed(&mut self, noted: &[SessionKey], applied: &Applied) -> u64 {
        for (key, moved) in noted.iter().zip(&applied.queues) {
            let Some(session) = self.sessions.get_mut(key) else { continue };
            let queue = &mut session.queue;
            let before = queue.bytes();
            queue.progress.skip_to(moved.first);
            queue.gone = moved.before.unwrap_or(queue.queued);
            session.dropped += moved.dropped;
            self.queued = (self.queued + queue.bytes()).saturating_sub(before);
        }
        self.ended.retain(|no| !applied.swept.contains(no));
        applied.queues.iter().map(|moved| moved.dropped).sum()
    }

    /// Nothing of `work` is on disk: takes back what it had changed, and gives the clients whose
    /// sessions are to be read again. Messages are answered with `reason`; whoever waits for
    /// anything else has its connection ended, and asks again.
    pub fn failed(&mut self, work: Work, reason: Reason, text: &'static str) -> BTreeSet<String> {
        self.undo(work.undo);
        self.dirty.extend(work.noted);
        let end = || Answer::End(Reason::ServerUnavailable, text.into());
        for effect in work.effects {
            match effect {
                Effect::Answer(mailbox, said @ (Answer::Refused(..) | Answer::End(..))) => {
                    mailbox.answer(said);
                }
                Effect::Answer(mailbox, _) => mailbox.answer(end()),
                // It was refused before the disk was asked.
                Effect::Published { to: Some((mailbox, serial)), outcome, .. }
                    if outcome.reason.is_failure() =>
                {
                    mailbox.answer(Answer::Published(serial, outcome));
                }
                Effect::Will(key, _) => self.schedule(key),
                // A will of a session that is as it was is still with it; the rest was for the
                // disk, or is told again.
                _ => {}
            }
        }
        let mut again = BTreeSet::new();
        for failing in work.failing {
            match failing {
                Failing::Message(mailbox, serial) => {
                    let outcome = super::Outcome { reason, text: Some(text.into()) };
                    mailbox.answer(Answer::Published(serial, outcome));
                }
                Failing::Session(client, id) => {
                    if let Some(mailbox) = id.and_then(|id| self.mailbox_of(id)) {
                        mailbox.answer(end());
                    }
                    again.insert(client);
                }
            }
        }
        again
    }

    fn undo(&mut self, undo: Vec<Undo>) {
        for undo in undo.into_iter().rev() {
            match undo {
                Undo::Retained(topic, Some(message)) => {
                    debug_assert_eq!(message.topic(), &topic);
                    self.retain(&message);
                }
                Undo::Retained(topic, None) => {
                    self.unretain(&topic);
                }
                Undo::Queue(key, next, queued) => {
                    if let Some(session) = self.sessions.get_mut(&key) {
                        let now = session.queue.bytes();
                        (session.queue.next, session.queue.queued) = (next, queued);
                        self.queued = (self.queued + session.queue.bytes()).saturating_sub(now);
                    }
                }
            }
        }
    }

    pub(super) fn mailbox_of(&mut self, id: ConnectionId) -> Option<Arc<Mailbox>> {
        self.connected(id)?.mailbox()
    }

    /// Puts a session in order by what the disk has of it; its connection is over.
    pub fn restore(&mut self, client: &str, kept: Option<KeptSession>) {
        if let Some(key) = self.by_client.get(client).copied() {
            self.forget(key);
        }
        if let Some(kept) = kept {
            // An end that was not written did not happen.
            self.ended.retain(|no| *no != kept.record.no);
            self.found(kept);
        }
    }

    /// Keeps a message for those who subscribe later, and gives the one that was kept.
    pub(super) fn retain(&mut self, message: &Arc<Message>) -> Option<Arc<Message>> {
        let before = self.retained.insert_topic(message.topic(), Arc::clone(message));
        self.retained_bytes += message.size();
        self.retained_bytes -= before.as_ref().map_or(0, |before| before.size());
        before
    }

    /// Keeps none any more, and gives the one that was kept.
    pub(super) fn unretain(&mut self, topic: &Topic) -> Option<Arc<Message>> {
        let before = self.retained.remove_topic(topic)?;
        self.retained_bytes -= before.size();
        Some(before)
    }
}
