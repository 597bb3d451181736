//! What people are shown of the broker.

use super::Limits;
use super::mailbox::Mailbox;
use super::session::Session;
use super::state::State;
use crate::mqtt::api::ClientShape;
use crate::mqtt::counts::MqttCounts;
use crate::mqtt::ledger::NEVER;
use crate::mqtt::message::{Message, Moment};
use crate::mqtt::packet::{Filter, Topic, Version};
use holdfast_core::Timestamp;
use holdfast_node::time_text::Time;
use std::sync::Arc;

/// How much the broker holds.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// Sessions.
    pub sessions: usize,
    /// Those of them that are connected.
    pub connected: usize,
    /// Those that outlive their connection.
    pub kept: usize,
    /// Topics with a retained message.
    pub retained: usize,
    /// Bytes of retained messages.
    pub retained_bytes: usize,
}

impl State {
    /// The sessions whose client, owner or address contains a text, in any case of its letters;
    /// connected ones first, by their clients, and `most` at most. Pages ask for it again and
    /// again: of thousands only those are described that are told.
    #[must_use]
    pub fn sessions(&self, text: &str, most: usize) -> Vec<ClientShape> {
        let text = text.to_lowercase();
        let all = self.sessions.values().filter(|session| is_called(session, &text));
        let mut found: Vec<&Session> = all.collect();
        found.sort_by_key(|session| (session.connection.is_none(), session.client.as_str()));
        found.truncate(most);
        found.into_iter().map(|session| shape(session, &self.now)).collect()
    }

    /// How much it holds.
    #[must_use]
    pub fn held(&self) -> Held {
        Held {
            sessions: self.sessions.len(),
            connected: self.by_connection.len(),
            kept: self.sessions.values().filter(|session| session.is_kept).count(),
            retained: self.retained.len(),
            retained_bytes: self.retained_bytes,
        }
    }

    /// What has happened since the start.
    #[must_use]
    pub fn counts(&self) -> &MqttCounts {
        &self.counts
    }

    /// How much there may be.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        self.limits
    }

    /// The moment of what is done now.
    #[must_use]
    pub const fn now(&self) -> Moment {
        self.now
    }

    /// Bytes that wait for all clients.
    #[must_use]
    pub const fn queued_bytes(&self) -> u64 {
        self.queued
    }

    /// The mailbox of a client that is connected.
    #[must_use]
    pub fn mailbox_of_client(&self, client: &str) -> Option<Arc<Mailbox>> {
        self.sessions.get(self.by_client.get(client)?)?.mailbox()
    }

    /// How many topics have a retained message, their bytes, and those that a filter matches.
    #[must_use]
    pub fn retained_by(&self, filter: &Filter) -> (usize, usize, Vec<Arc<Message>>) {
        let mut found = Vec::new();
        self.retained.matched_by(filter, |message| found.push(Arc::clone(message)));
        (self.retained.len(), self.retained_bytes, found)
    }

    /// What a new subscriber is sent: what is retained, and what the node tells of itself.
    #[must_use]
    pub fn retained_for(&self, filter: &Filter) -> Vec<Arc<Message>> {
        let mut found = Vec::new();
        let mut look = |message: &Arc<Message>| {
            if !message.is_expired(&self.now) {
                found.push(Arc::clone(message));
            }
        };
        self.retained.matched_by(filter, &mut look);
        self.told.matched_by(filter, &mut look);
        found
    }

    /// The retained message of a topic.
    #[must_use]
    pub fn retained(&self, topic: &Topic) -> Option<Arc<Message>> {
        self.retained.get_topic(topic).cloned()
    }
}

fn is_called(session: &Session, text: &str) -> bool {
    let has = |name: &str| name.to_lowercase().contains(text);
    text.is_empty()
        || has(&session.client)
        || has(&session.owner)
        || session.peer.is_some_and(|peer| has(&peer.to_string()))
}

fn shape(session: &Session, now: &Moment) -> ClientShape {
    let mailbox = session.mailbox();
    let (queue, here) = (&session.queue, mailbox.as_ref());
    let heard = here.map(|mailbox| {
        let ago_ms = now.steady_ms.saturating_sub(mailbox.heard_ms());
        Time(Timestamp(now.time().0.saturating_sub_unsigned(ago_ms * 1_000_000)))
    });
    let settled = queue.progress.above.len() as u64;
    ClientShape {
        client: session.client.clone(),
        owner: session.owner.clone(),
        connected: here.is_some(),
        peer: session.peer.filter(|_| here.is_some()).map(|peer| peer.to_string()),
        version: session.version.filter(|_| here.is_some()).map(|version| {
            let text = if version == Version::V5 { "5" } else { "3.1.1" };
            text.to_owned()
        }),
        last_packet: heard.or_else(|| session.away.map(|away| Time(away.time()))),
        kept: session.is_kept,
        expiry_s: Some(session.expiry_s).filter(|seconds| *seconds != NEVER),
        subscriptions: session.subscriptions.keys().map(ToString::to_string).collect(),
        queued: queue.next.saturating_sub(queue.progress.done + settled),
        queued_bytes: queue.bytes(),
        memory_bytes: here.map_or(0, |mailbox| mailbox.bytes() as u64),
        dropped: session.dropped + here.map_or(0, |mailbox| mailbox.dropped()),
    }
}
