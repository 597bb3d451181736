//! A disk as simple as it can be: what the broker's changes come to, in maps.
//!
//! It is what a kill leaves. The real one is tried by `ledger/tests.rs` and by the kills of
//! `broker/tests/kills.rs`.

use holdfast_edge::mqtt::ledger::{
    Applied, Change, Kept, KeptSession, Moved, Progress, QueueRecord, SessionNo, SessionRecord,
    SubscriptionRecord, decode_retained, unpack,
};
use holdfast_edge::mqtt::message::{Delivery, Message};
use holdfast_edge::mqtt::packet::{Filter, PacketId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is on disk.
#[derive(Debug, Default)]
pub struct Disk {
    sessions: BTreeMap<String, SessionRecord>,
    parts: BTreeMap<SessionNo, Parts>,
    messages: BTreeMap<u64, Vec<Message>>,
    retained: BTreeMap<String, Message>,
    ended: BTreeSet<SessionNo>,
}

/// What belongs to a session.
#[derive(Debug, Default)]
struct Parts {
    subscriptions: BTreeMap<Filter, SubscriptionRecord>,
    queue: BTreeMap<u64, QueueRecord>,
    progress: Progress,
    held: BTreeSet<PacketId>,
}

impl Disk {
    /// Makes the changes of one transaction.
    pub fn apply(&mut self, changes: &[Change]) -> Applied {
        let mut applied = Applied::default();
        for change in changes {
            self.one(change, &mut applied);
        }
        let held: BTreeSet<u64> =
            self.parts.values().flat_map(|p| p.queue.values().map(|part| part.place)).collect();
        self.messages.retain(|place, _| held.contains(place));
        applied
    }

    fn one(&mut self, change: &Change, applied: &mut Applied) {
        match change {
            Change::Session(client, value) => {
                let record = SessionRecord::decode(value).unwrap();
                self.sessions.insert(client.clone(), record);
            }
            Change::End(client, no) => {
                self.sessions.remove(client);
                self.ended.insert(*no);
            }
            Change::Subscribe(no, record) => {
                let (parts, filter) = (self.parts.entry(*no).or_default(), record.filter.clone());
                parts.subscriptions.insert(filter, record.clone());
            }
            Change::Unsubscribe(no, filter) => {
                self.parts.entry(*no).or_default().subscriptions.remove(filter);
            }
            Change::Messages(place, value) => {
                self.messages.insert(*place, unpack(value.clone()).unwrap());
            }
            Change::Queue(no, number, record) => {
                self.parts.entry(*no).or_default().queue.insert(*number, record.clone());
            }
            Change::Progress { no, progress, next, below } => {
                let parts = self.parts.entry(*no).or_default();
                applied.queues.push(parts.progress(*no, progress, *next, *below));
            }
            Change::Held(no, held) => {
                self.parts.entry(*no).or_default().held.clone_from(held);
            }
            Change::Retain(topic, Some(value)) => {
                let message = decode_retained(value).unwrap();
                self.retained.insert(topic.as_str().to_owned(), message);
            }
            Change::Retain(topic, None) => {
                self.retained.remove(topic.as_str());
            }
            Change::Sweep(no) => {
                self.parts.remove(no);
                self.ended.remove(no);
                applied.swept.push(*no);
            }
            // Readings are not what is tried here.
            _ => {}
        }
    }

    /// What a start finds.
    pub fn kept(&self) -> Kept {
        let last = self.messages.last_key_value();
        Kept {
            sessions: self.sessions.keys().filter_map(|client| self.session(client)).collect(),
            retained: self.retained.values().cloned().collect(),
            ended: self.ended.iter().copied().collect(),
            place: last.map_or(0, |(place, messages)| place + messages.len() as u64),
        }
    }

    /// One session.
    pub fn session(&self, client: &str) -> Option<KeptSession> {
        let record = self.sessions.get(client)?.clone();
        let none = Parts::default();
        let parts = self.parts.get(&record.no).unwrap_or(&none);
        let mut progress = parts.progress.clone();
        let (mut next, mut bytes) = (progress.done, (0, 0));
        let ends = (parts.queue.first_key_value(), parts.queue.last_key_value());
        if let (Some((first, head)), Some((number, tail))) = ends {
            progress.skip_to(*first);
            next = number + tail.entries.len() as u64;
            bytes = (tail.before + tail.bytes, head.before);
        }
        progress.skip_to(progress.done);
        Some(KeptSession {
            client: client.to_owned(),
            record,
            subscriptions: parts.subscriptions.values().cloned().collect(),
            next: next.max(progress.done),
            progress,
            bytes,
            held: parts.held.clone(),
        })
    }

    /// The messages of a queue from a number on.
    pub fn queued(&self, no: SessionNo, from: u64) -> Vec<(u64, Delivery)> {
        let mut out = Vec::new();
        for (first, record) in self.parts.get(&no).iter().flat_map(|parts| &parts.queue) {
            for (entry, number) in record.entries.iter().zip(*first..) {
                let message = Arc::new(self.messages[&record.place][entry.index as usize].clone());
                let (qos, retain, ids) = (entry.qos, entry.retain, entry.ids.clone());
                out.push((number, Delivery { message, qos, retain, ids }));
            }
        }
        out.retain(|(number, _)| *number >= from);
        out
    }
}

impl Parts {
    fn progress(&mut self, no: SessionNo, progress: &Progress, next: u64, below: u64) -> Moved {
        let mut moved = Moved { no, first: next, before: None, dropped: 0 };
        while let Some((number, record)) = self.queue.first_key_value() {
            let (number, end) = (*number, number + record.entries.len() as u64);
            let is_done = end <= progress.done;
            if !is_done && record.before + record.bytes > below {
                moved.first = number.max(progress.done);
                moved.before = Some(record.before);
                break;
            }
            let waits = |number: &u64| !is_done && !progress.is_settled(*number);
            moved.dropped += (number..end).filter(waits).count() as u64;
            self.queue.pop_first();
        }
        self.progress = progress.clone();
        self.progress.skip_to(moved.first);
        moved
    }
}
