//! What the node tells of itself under `$SYS`, in memory only.
//!
//! The names are those that Mosquitto uses, since that is what looks for them. They are told again
//! every ten seconds, and only what has changed; who subscribes gets what was told last.

use super::state::State;
use super::work::{Effect, Work};
use crate::VERSION;
use crate::mqtt::message::{Delivery, Message};
use crate::mqtt::packet::{Publish, PublishProperties, QoS, Topic};
use std::sync::{Arc, PoisonError};

/// How often.
pub(super) const EVERY_MS: u64 = 10_000;

impl State {
    /// Tells what has changed.
    pub(super) fn tell(&mut self, work: &mut Work) {
        let counts = Arc::clone(&self.counts);
        let sum = |counters: &[holdfast_sync::counts::Counter; 3]| {
            counters.iter().map(holdfast_sync::counts::Counter::get).sum::<u64>()
        };
        let up_s = self.now.steady_ms / 1_000;
        let all = [
            ("version", format!("holdfast-edge {VERSION}")),
            ("uptime", format!("{up_s} seconds")),
            ("clients/total", self.sessions.len().to_string()),
            ("clients/connected", self.by_connection.len().to_string()),
            ("messages/received", sum(&counts.received).to_string()),
            ("messages/sent", sum(&counts.sent).to_string()),
            ("publish/messages/dropped", counts.dropped.get().to_string()),
            ("retained messages/count", self.retained.len().to_string()),
            ("bytes/received", counts.bytes_in.get().to_string()),
            ("bytes/sent", counts.bytes_out.get().to_string()),
        ];
        for (name, value) in all {
            self.tell_one(&format!("$SYS/broker/{name}"), value, work);
        }
    }

    /// When it is time again, in steady milliseconds.
    #[must_use]
    pub const fn tells_at(&self) -> u64 {
        self.tell_at_ms
    }

    fn tell_one(&mut self, topic: &str, value: String, work: &mut Work) {
        let topic = Topic::try_from(topic).expect("it has no wildcards");
        let known = self.told.get_topic(&topic);
        if known.is_some_and(|known| known.payload() == value.as_bytes()) {
            return;
        }
        let publish = Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: true,
            topic,
            packet_id: None,
            payload: value.into(),
            properties: PublishProperties::default(),
        };
        let message = Arc::new(Message::new(&publish, self.now));
        self.told.insert_topic(message.topic(), Arc::clone(&message));
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        for target in routes.matching(message.topic(), None) {
            let (message, retain) = (Arc::clone(&message), target.retain_as_published);
            let delivery = Delivery { message, qos: QoS::AtMostOnce, retain, ids: target.ids };
            work.effects.push(Effect::Put(target.subscriber, delivery));
        }
    }
}
