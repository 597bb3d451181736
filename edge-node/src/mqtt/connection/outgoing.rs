//! Messages to the client: as many at a time as it takes, each until it is acknowledged.
//!
//! The packet identifier comes from the session, which keeps it across connections. A message of
//! QoS 2 is released (PUBREL) only when it is on disk that the client has it: else a power cut
//! would have it sent again under an identifier that the client knows no more.

use super::{Connection, Phase, Request};
use crate::mqtt::codec::EncodeError;
use crate::mqtt::packet::{Ack, Packet, PacketId, Publish, QoS, Topic};
use crate::mqtt::reason::Reason;
use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU16;

/// Bytes of a topic from which on an alias saves something: the alias itself takes three.
const ALIAS_WORTH: usize = 4;

/// Where the exchange of a packet identifier stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Sent with QoS 1.
    Sent,
    /// Sent with QoS 2.
    SentOnce,
    /// The client has it; the broker notes that.
    Noting,
    /// Noted, and released.
    Released,
}

/// What goes to the client.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    most: usize,
    aliases_most: u16,
    aliases: HashMap<Topic, NonZeroU16>,
    stages: BTreeMap<PacketId, Stage>,
}

impl Outgoing {
    pub(super) fn new(most: u16, aliases_most: u16) -> Self {
        Self { most: usize::from(most), aliases_most, ..Self::default() }
    }
}

/// What became of a message for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// It is in the output.
    Sent,
    /// It is larger than the client takes: it is as if it had been delivered.
    TooLarge,
    /// The connection is over.
    Over,
}

impl Connection {
    /// How many messages of QoS 1 and 2 may be sent now.
    #[must_use]
    pub fn room(&self) -> usize {
        let free = self.outgoing.most.saturating_sub(self.outgoing.stages.len());
        if self.takes_more() { free } else { 0 }
    }

    /// Whether the client takes what it is sent, so that more may be.
    #[must_use]
    pub fn takes_more(&self) -> bool {
        self.phase == Phase::Open && self.output.len() < super::UNWRITTEN_MAX
    }

    /// Sends a message. For QoS 1 and 2 there has to be [`Self::room`], and for those of QoS 0
    /// [`Self::takes_more`] should be asked.
    pub fn deliver(&mut self, mut publish: Publish) -> Delivered {
        if self.phase != Phase::Open {
            return Delivered::Over;
        }
        let (packet_id, qos) = (publish.packet_id, publish.qos);
        let is_new = self.put_alias(&mut publish);
        match self.codec.encode(&Packet::Publish(publish), &mut self.output) {
            Ok(()) => {}
            Err(EncodeError::TooLarge { .. }) => {
                if let Some(topic) = is_new {
                    // The client has not heard of it.
                    self.outgoing.aliases.remove(&topic);
                }
                return Delivered::TooLarge;
            }
            Err(error) => {
                self.end(Reason::Unspecified, &error.to_string());
                return Delivered::Over;
            }
        }
        if let Some(packet_id) = packet_id {
            let stage = if qos == QoS::ExactlyOnce { Stage::SentOnce } else { Stage::Sent };
            self.outgoing.stages.insert(packet_id, stage);
        }
        Delivered::Sent
    }

    /// Uses an alias, or makes one; gives the topic that has a new one.
    fn put_alias(&mut self, publish: &mut Publish) -> Option<Topic> {
        let topic = &publish.topic;
        if topic.as_str().len() < ALIAS_WORTH {
            return None;
        }
        if let Some(alias) = self.outgoing.aliases.get(topic) {
            publish.properties.alias = Some(*alias);
            publish.topic = Topic::by_alias();
            return None;
        }
        let next = u16::try_from(self.outgoing.aliases.len() + 1).ok()?;
        let alias = NonZeroU16::new(next).filter(|_| next <= self.outgoing.aliases_most)?;
        let topic = topic.detached();
        self.outgoing.aliases.insert(topic.clone(), alias);
        publish.properties.alias = Some(alias);
        Some(topic)
    }

    /// Takes up a message of QoS 2 that the client has and that was not released when its last
    /// connection ended.
    pub fn release_anew(&mut self, packet_id: PacketId) {
        if self.phase == Phase::Open {
            self.outgoing.stages.insert(packet_id, Stage::Released);
            self.send(&Packet::Pubrel(Ack::new(packet_id, Reason::Success)));
        }
    }

    /// It is on disk that the client has a message of QoS 2.
    pub fn noted(&mut self, packet_id: PacketId) {
        if self.phase != Phase::Open {
            return;
        }
        if let Some(stage @ Stage::Noting) = self.outgoing.stages.get_mut(&packet_id) {
            *stage = Stage::Released;
            self.send(&Packet::Pubrel(Ack::new(packet_id, Reason::Success)));
        }
    }

    pub(super) fn puback(&mut self, ack: &Ack) {
        // An answer to nothing is no harm: the message may have been given up here.
        if self.outgoing.stages.get(&ack.packet_id) == Some(&Stage::Sent) {
            self.done(ack.packet_id);
        }
    }

    pub(super) fn pubrec(&mut self, ack: &Ack) {
        let packet_id = ack.packet_id;
        match self.outgoing.stages.get_mut(&packet_id) {
            Some(Stage::SentOnce) if ack.reason.is_failure() => self.done(packet_id),
            Some(stage @ Stage::SentOnce) => {
                *stage = Stage::Noting;
                self.requests.push_back(Request::Received(packet_id));
            }
            Some(Stage::Noting | Stage::Sent) => {}
            Some(Stage::Released) => {
                self.send(&Packet::Pubrel(Ack::new(packet_id, Reason::Success)));
            }
            None => {
                let reason = Reason::PacketIdNotFound;
                self.send(&Packet::Pubrel(Ack::new(packet_id, reason)));
            }
        }
    }

    pub(super) fn pubcomp(&mut self, ack: &Ack) {
        if self.outgoing.stages.get(&ack.packet_id) == Some(&Stage::Released) {
            self.done(ack.packet_id);
        }
    }

    fn done(&mut self, packet_id: PacketId) {
        self.outgoing.stages.remove(&packet_id);
        self.requests.push_back(Request::Acked(packet_id));
    }
}
