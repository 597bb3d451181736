//! Messages come in: what is kept of them, and who gets them.

use super::mailbox::{Answer, Mailbox};
use super::routes::{SessionKey, Target};
use super::state::State;
use super::work::{Effect, Failing, Undo, Work};
use super::{Brought, ConnectionId, Incoming, Outcome, Spread};
use crate::mqtt::ledger::{Change, Entry, KeptWill, retained};
use crate::mqtt::message::{Delivery, Message};
use crate::mqtt::packet::{Filter, PacketId, QoS};
use crate::mqtt::reason::Reason;
use holdfast_sync::store::Table;
use std::sync::{Arc, PoisonError};

fn refuse(text: &'static str, to: Option<(Arc<Mailbox>, u64)>, work: &mut Work) {
    let outcome = Outcome { reason: Reason::QuotaExceeded, text: Some(text.into()) };
    work.effects.push(Effect::Published { to, outcome, brought: None });
}

/// What a message brings to the node itself.
pub(super) struct News {
    brought: Option<Brought>,
    /// Whether it may begin runs.
    begins: bool,
}

impl News {
    /// Of a message that has not come before.
    const fn of(brought: Option<Brought>) -> Self {
        Self { brought, begins: true }
    }
}

impl State {
    pub(super) fn publish(&mut self, incoming: Incoming, work: &mut Work) {
        let Incoming { id, serial, packet_id, message, brought, seen, is_known, room } = incoming;
        work.room.push(room);
        let from = self.by_connection.get(&id).copied();
        if from.is_none() && message.qos() > QoS::AtMostOnce {
            // Its connection was taken over, so nobody is told that it was taken: it comes again.
            return;
        }
        let mailbox = from.and_then(|_| self.mailbox_of(id));
        let is_answered = message.qos() > QoS::AtMostOnce;
        let to = mailbox.filter(|_| is_answered).map(|mailbox| (mailbox, serial));
        let message = Arc::new(message);
        let no =
            from.and_then(|key| self.sessions[&key].no.filter(|_| self.sessions[&key].is_kept));
        let news = News { brought, begins: !is_known };
        let is_taken = self.take_message(&message, from, news, to, work);
        // One that was refused comes again, and then its readings are new.
        if let (Some(no), Some(seen), true) = (no, seen, is_taken) {
            work.remember(no, seen);
        }
        if let (Some(key), Some(_), Some(packet_id)) = (from, no, packet_id)
            && message.qos() == QoS::ExactlyOnce
            && is_taken
        {
            let session = self.sessions.get_mut(&key).expect("it was just looked at");
            session.held.insert(packet_id);
            work.held.insert(key);
        }
    }

    /// Takes a message, unless there is no room for it; whether anything came of it.
    pub(super) fn take_message(
        &mut self,
        message: &Arc<Message>,
        from: Option<SessionKey>,
        news: News,
        to: Option<(Arc<Mailbox>, u64)>,
        work: &mut Work,
    ) -> bool {
        let needs_room =
            news.brought.is_some() || message.retain() || message.qos() > QoS::AtMostOnce;
        let room = if self.is_full && needs_room && !message.payload().is_empty() {
            Err("the store is full")
        } else {
            self.may_retain(message)
        };
        if let Err(text) = room {
            refuse(text, to, work);
            return false;
        }
        self.spread(message, from, news, to, work)
    }

    /// Takes a message of the node, or of one who is no client.
    pub(super) fn take_spread(&mut self, spread: Spread, work: &mut Work) {
        let Spread { message, brought, waits, changes } = spread;
        let to = waits.map(|mailbox| (mailbox, 0));
        match changes {
            None => drop(self.take_message(&message, None, News::of(brought), to, work)),
            Some(changes) => match self.may_retain(&message) {
                Err(text) => refuse(text, to, work),
                Ok(()) => {
                    work.changes.extend(changes);
                    self.spread(&message, None, News::of(brought), to, work);
                }
            },
        }
    }

    /// Publishes the will of a session whose client was lost and has not come back.
    pub(super) fn will(
        &mut self,
        key: SessionKey,
        message: &Arc<Message>,
        brought: Option<Brought>,
        work: &mut Work,
    ) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(&key) else { return };
        // Its client may have come back meanwhile, and left another.
        let is_due = session.will_at(&now).is_some_and(|due| due <= now.steady_ms);
        let is_this = |will: &mut KeptWill| will.message.as_publish() == message.as_publish();
        if is_due && self.is_full && brought.is_some() {
            // It would be refused, and with it all that is in its group.
            session.put_off_will(now);
            return self.schedule(key);
        }
        if !is_due || session.will.take_if(is_this).is_none() {
            return self.schedule(key);
        }
        self.spread(message, Some(key), News::of(brought), None, work);
        if self.sessions.get(&key).is_some_and(|session| session.expiry_s == 0) {
            return self.end_session(key, work);
        }
        self.write_session(key, work);
        self.schedule(key);
    }

    /// Gives a message to all who want it; whether anybody does, or anything of it goes to disk.
    /// Only then does it matter if it comes again.
    pub(super) fn spread(
        &mut self,
        message: &Arc<Message>,
        from: Option<SessionKey>,
        News { mut brought, begins }: News,
        to: Option<(Arc<Mailbox>, u64)>,
        work: &mut Work,
    ) -> bool {
        if let Some((mailbox, serial)) = &to {
            work.failing.push(Failing::Message(Arc::clone(mailbox), *serial));
        }
        let items = brought.as_mut().map(|brought| work.ingest(brought));
        let mut is_stored = items.is_some();
        if message.retain() {
            self.change_retained(message, work);
            is_stored = true;
        }
        let dues = if begins { self.starts.of(message) } else { Vec::new() };
        for due in dues {
            let (key, value) = due.record();
            work.changes.push(Change::Record(Table::RunDue, key, Some(value)));
            work.effects.push(Effect::Begins(due));
            is_stored = true;
        }
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let targets = routes.matching(message.topic(), from);
        drop(routes);
        let is_taken = is_stored || !targets.is_empty();
        let mut index = None;
        let first = work.effects.len();
        for target in targets {
            self.give(message, target, &mut index, work);
        }
        let reason = if is_taken { Reason::Success } else { Reason::NoMatchingSubscribers };
        let published = Effect::Published {
            to,
            outcome: reason.into(),
            brought: brought.zip(items).map(Box::new),
        };
        // Its publisher is told before its subscribers are.
        work.effects.insert(first, published);
        is_taken
    }

    /// Gives a message to one who wants it.
    fn give(
        &mut self,
        message: &Arc<Message>,
        target: Target,
        index: &mut Option<u32>,
        work: &mut Work,
    ) {
        let qos = message.qos().min(target.qos);
        let retain = message.retain() && target.retain_as_published;
        let delivery = Delivery { message: Arc::clone(message), qos, retain, ids: target.ids };
        if qos == QoS::AtMostOnce || !target.subscriber.is_kept {
            work.effects.push(Effect::Put(target.subscriber, delivery));
            return;
        }
        self.keep_for(target.subscriber.key, delivery, index, work);
    }

    /// Puts a message into the queue of a session that is kept.
    pub(super) fn keep_for(
        &mut self,
        key: SessionKey,
        delivery: Delivery,
        index: &mut Option<u32>,
        work: &mut Work,
    ) {
        let size = delivery.size() as u64;
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let Some(no) = session.no else { return };
        if self.queued + size > self.limits.queues_bytes {
            session.dropped += 1;
            work.left_out += 1;
            return;
        }
        if index.is_none() {
            let mut place = self.place;
            *index = work.keep(&mut place, &delivery.message);
            self.place = place;
        }
        let Some(index) = *index else { return };
        let entry =
            Entry { index, qos: delivery.qos, retain: delivery.retain, ids: delivery.ids.clone() };
        work.before(key, &session.queue);
        work.enqueue(self.place, no, &session.queue, entry, size);
        let number = session.queue.next;
        session.queue.next += 1;
        session.queue.queued += size;
        self.queued += size;
        if session.queue.bytes() > self.limits.queue_bytes {
            self.dirty.insert(key);
        }
        work.effects.push(Effect::Kept(Arc::clone(&session.subscriber), number, delivery));
    }

    /// Whether there is room for a message among the retained ones, if it is to be one.
    fn may_retain(&self, message: &Message) -> Result<(), &'static str> {
        if !message.retain() || message.payload().is_empty() {
            return Ok(());
        }
        let before = self.retained.get_topic(message.topic()).map_or(0, |before| before.size());
        if before == 0 && self.retained.len() >= self.limits.retained {
            return Err("as many topics have a retained message as may");
        }
        if self.retained_bytes + message.size() - before > self.limits.retained_bytes {
            return Err("the retained messages are as large as they may be");
        }
        Ok(())
    }

    /// Takes away retained messages that nobody wants any more.
    pub(super) fn forget_expired(&mut self, work: &mut Work) {
        let mut expired = Vec::new();
        let all = Filter::try_from("#").expect("a filter");
        self.retained.matched_by(&all, |message| {
            if message.is_expired(&self.now) {
                expired.push(message.topic().clone());
            }
        });
        for topic in expired {
            let before = self.unretain(&topic);
            work.changes.push(Change::Retain(topic.clone(), None));
            work.undo.push(Undo::Retained(topic, before));
        }
    }

    fn change_retained(&mut self, message: &Arc<Message>, work: &mut Work) {
        let topic = message.topic();
        let before = if message.payload().is_empty() {
            work.changes.push(Change::Retain(topic.clone(), None));
            self.unretain(topic)
        } else {
            match retained(message) {
                Ok(value) => work.changes.push(Change::Retain(topic.clone(), Some(value))),
                Err(unfit) => return tracing::error!(%unfit, %topic, "cannot be retained"),
            }
            self.retain(message)
        };
        work.undo.push(Undo::Retained(topic.clone(), before));
    }

    pub(super) fn release(&mut self, id: ConnectionId, packet_id: PacketId, work: &mut Work) {
        let Some(session) = self.connected(id) else { return };
        let Some(mailbox) = session.mailbox() else { return };
        if session.held.remove(&packet_id) {
            work.held.insert(session.subscriber.key);
        }
        work.answer(&mailbox, Answer::Released(packet_id));
    }
}
