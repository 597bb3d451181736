//! What a group of commands comes to: changes for one transaction, and what follows once they are
//! on disk, or what is taken back where they are not.

use super::mailbox::{Answer, Mailbox};
use super::routes::{SessionKey, Subscriber};
use super::session::Queue;
use super::{Brought, ConnectionId};
use crate::mqtt::connection::Outcome;
use crate::mqtt::ledger::{Change, Entry, Pack, QueueRecord, Seen, SessionNo};
use crate::mqtt::message::{Delivery, Message};
use crate::mqtt::packet::Topic;
use holdfast_node::runs::Due;
use holdfast_sync::store::IngestBatch;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// What is done once all is on disk, in this order.
#[derive(Debug)]
pub enum Effect {
    /// Something is said to a connection.
    Answer(Arc<Mailbox>, Answer),
    /// A message of a client has been taken.
    Published {
        /// Whom to tell, and which of its messages it is; nobody for a will.
        to: Option<(Arc<Mailbox>, u64)>,
        /// What to tell unless its readings were refused.
        outcome: Outcome,
        /// The readings that it brought, and which items of the batch they are.
        brought: Option<Box<(Brought, Range<usize>)>>,
    },
    /// A message goes to who is connected; nobody keeps it.
    Put(Arc<Subscriber>, Delivery),
    /// A message is kept for a session, which may be connected.
    Kept(Arc<Subscriber>, u64, Delivery),
    /// The will of a session is to be published.
    Will(SessionKey, Arc<Message>),
    /// A message begins a run.
    Begins(Due),
    /// The will of a session that is over is to be published.
    LastWill(Arc<Message>),
}

/// What is done in place of the effects where nothing went to disk.
#[derive(Debug)]
pub enum Failing {
    /// A message was not taken.
    Message(Arc<Mailbox>, u64),
    /// The connection ends, and the session is as the disk has it.
    Session(String, Option<ConnectionId>),
}

/// How memory becomes again what it was.
#[derive(Debug)]
pub enum Undo {
    /// What was retained of a topic.
    Retained(Topic, Option<Arc<Message>>),
    /// How far a queue was: the next number, and the bytes that were ever queued.
    Queue(SessionKey, u64, u64),
}

/// A group of commands.
#[derive(Debug)]
pub struct Work {
    /// The readings.
    pub batch: IngestBatch,
    /// All else that goes to disk.
    pub changes: Vec<Change>,
    /// What follows.
    pub effects: Vec<Effect>,
    /// What follows if it fails.
    pub failing: Vec<Failing>,
    /// What is taken back if it fails.
    pub undo: Vec<Undo>,
    /// Sessions whose progress is among the changes.
    pub noted: Vec<SessionKey>,
    /// Sessions whose identifiers of QoS 2 have changed.
    pub held: BTreeSet<SessionKey>,
    /// What keeps others from bringing more messages than memory holds, until these are done with.
    pub room: Vec<OwnedSemaphorePermit>,
    /// Messages that were left out of queues because all of them together are full.
    pub left_out: u64,
    pack: Pack,
    /// Entries of the present pack by session: number of the first, bytes queued before, bytes.
    parts: BTreeMap<SessionNo, (u64, QueueRecord)>,
    recent: BTreeMap<SessionNo, Vec<Seen>>,
    touched: BTreeSet<SessionKey>,
}

impl Work {
    /// Nothing yet; messages have places from `place` on.
    #[must_use]
    pub fn new(place: u64) -> Self {
        Self {
            batch: IngestBatch::default(),
            changes: Vec::new(),
            effects: Vec::new(),
            failing: Vec::new(),
            undo: Vec::new(),
            noted: Vec::new(),
            held: BTreeSet::new(),
            room: Vec::new(),
            left_out: 0,
            pack: Pack::new(place),
            parts: BTreeMap::new(),
            recent: BTreeMap::new(),
            touched: BTreeSet::new(),
        }
    }

    /// Whether there is anything for the disk.
    #[must_use]
    pub fn is_for_disk(&self) -> bool {
        !self.changes.is_empty() || !self.batch.items.is_empty() || !self.parts.is_empty()
    }

    /// Takes a message for queues and gives its index; nothing when it cannot be kept.
    pub fn keep(&mut self, place: &mut u64, message: &Message) -> Option<u32> {
        if self.pack.is_full(message) {
            self.close_pack(place);
        }
        match self.pack.push(message) {
            Ok(index) => Some(index),
            Err(unfit) => {
                tracing::error!(%unfit, topic = %message.topic(), "a message cannot be kept");
                None
            }
        }
    }

    /// Puts a message that was taken into the queue of a session.
    pub fn enqueue(&mut self, place: u64, no: SessionNo, queue: &Queue, entry: Entry, size: u64) {
        let part = self.parts.entry(no).or_insert_with(|| {
            let (before, entries) = (queue.queued, Vec::new());
            (queue.next, QueueRecord { place, before, bytes: 0, entries })
        });
        part.1.bytes += size;
        part.1.entries.push(entry);
    }

    /// Remembers how far a queue is, unless it has done so before.
    pub fn before(&mut self, key: SessionKey, queue: &Queue) {
        if self.touched.insert(key) {
            self.undo.push(Undo::Queue(key, queue.next, queue.queued));
        }
    }

    /// Ends the present pack: its messages and the parts of queues become changes.
    pub fn close_pack(&mut self, place: &mut u64) {
        let next = Pack::new(*place);
        if let Some((at, next, value)) = std::mem::replace(&mut self.pack, next).finish() {
            self.changes.push(Change::Messages(at, value));
            for (no, (number, record)) in std::mem::take(&mut self.parts) {
                self.changes.push(Change::Queue(no, number, record));
            }
            *place = next;
            self.pack = Pack::new(next);
        }
    }

    /// Remembers a message of QoS 1.
    pub fn remember(&mut self, no: SessionNo, seen: Seen) {
        self.recent.entry(no).or_default().push(seen);
    }

    /// Makes what was collected by session into changes.
    pub fn close(&mut self, place: &mut u64) {
        self.close_pack(place);
        let recent = std::mem::take(&mut self.recent);
        self.changes.extend(recent.into_iter().map(|(no, seen)| Change::Recent(no, seen)));
    }

    /// Takes the readings that a message brought; which items they are.
    pub fn ingest(&mut self, brought: &mut Brought) -> Range<usize> {
        let first = self.batch.items.len();
        self.batch.append(std::mem::take(&mut brought.batch));
        first..self.batch.items.len()
    }

    /// Says something, once all is on disk.
    pub fn answer(&mut self, mailbox: &Arc<Mailbox>, answer: Answer) {
        self.effects.push(Effect::Answer(Arc::clone(mailbox), answer));
    }
}
