//! What people are shown of the broker.

use super::mailbox::Mailbox;
use super::session::Session;
use super::state::State;
use crate::mqtt::api::ClientShape;
use crate::mqtt::ledger::NEVER;
use crate::mqtt::message::{Message, Moment};
use crate::mqtt::packet::{Filter, Topic, Version};
use holdfast_core::Timestamp;
use holdfast_node::time_text::Time;
use std::sync::Arc;

impl State {
    /// The sessions, in no particular order.
    #[must_use]
    pub fn sessions(&self) -> Vec<ClientShape> {
        self.sessions.values().map(|session| shape(session, &self.now)).collect()
    }

    /// How many sessions there are.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.sessions.len()
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

    /// The retained message of a topic.
    #[must_use]
    pub fn retained(&self, topic: &Topic) -> Option<Arc<Message>> {
        self.retained.get_topic(topic).cloned()
    }
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
        dropped: session.dropped + here.map_or(0, |mailbox| mailbox.dropped()),
    }
}
