//! Messages from the client: taken once, answered in their order.
//!
//! A packet identifier is in use from its PUBLISH until its PUBACK, or PUBCOMP for QoS 2. A message
//! of QoS 2 that came again before it was released is not handed on again; that holds across
//! connections too, for the broker gives back what it holds when a session is resumed.

use super::{Arrived, Connection, Options, Outcome, Request, refused};
use crate::mqtt::codec::Violation;
use crate::mqtt::packet::{Ack, Packet, PacketId, Publish, QoS, Topic, Version};
use crate::mqtt::reason::Reason;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Where the exchange of a packet identifier stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The broker has the message.
    Storing,
    /// Of QoS 2: it is taken, and not released.
    Held,
    /// It is released, and the broker forgets it.
    Releasing,
}

/// A message that is not answered.
#[derive(Debug)]
struct Unanswered {
    serial: u64,
    packet_id: PacketId,
    qos: QoS,
    outcome: Option<Outcome>,
}

/// What came from the client.
#[derive(Debug)]
pub(super) struct Incoming {
    most: usize,
    serial: u64,
    aliases_most: usize,
    /// As long as the greatest that was used: most clients use none, and there are many clients.
    aliases: Vec<Option<Topic>>,
    stages: BTreeMap<PacketId, Stage>,
    /// Of them, those of an earlier connection: they take nothing of this one's quota.
    earlier: BTreeSet<PacketId>,
    unanswered: VecDeque<Unanswered>,
}

impl Incoming {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            most: usize::from(options.receive_maximum.get()),
            serial: 0,
            aliases_most: usize::from(options.alias_maximum),
            aliases: Vec::new(),
            stages: BTreeMap::new(),
            earlier: BTreeSet::new(),
            unanswered: VecDeque::new(),
        }
    }

    /// Takes up what a session holds.
    pub(super) fn resume(&mut self, held: Vec<PacketId>) {
        self.stages.extend(held.iter().map(|id| (*id, Stage::Held)));
        self.earlier.extend(held);
    }

    fn forget(&mut self, packet_id: PacketId) {
        self.stages.remove(&packet_id);
        self.earlier.remove(&packet_id);
    }

    /// Whether another packet may be taken. A client of version 5 knows how many messages it may
    /// send and is told when it sends more; one of 3.1.1 waits.
    pub(super) fn has_room(&self, version: Version) -> bool {
        version == Version::V5 || self.unanswered.len() < self.most
    }
}

impl Connection {
    pub(super) fn publish(&mut self, mut publish: Publish) -> Result<(), Violation> {
        self.resolve(&mut publish)?;
        self.incoming.serial += 1;
        let serial = self.incoming.serial;
        if let Some(packet_id) = publish.packet_id
            && !self.begin(packet_id, &publish, serial)?
        {
            return Ok(());
        }
        self.requests.push_back(Request::Publish(Arrived { serial, publish }));
        Ok(())
    }

    /// Puts the topic in the place of its alias.
    fn resolve(&mut self, publish: &mut Publish) -> Result<(), Violation> {
        let is_named = !publish.topic.is_empty();
        let Some(alias) = publish.properties.alias.take() else {
            return if is_named { Ok(()) } else { Err(refused("PUBLISH: no topic and no alias")) };
        };
        let (most, at) = (self.incoming.aliases_most, usize::from(alias.get()) - 1);
        if at >= most {
            let what = format!("PUBLISH: topic alias {alias}, expected at most {most}");
            return Err(Violation { reason: Reason::TopicAliasInvalid, what: what.into() });
        }
        let aliases = &mut self.incoming.aliases;
        aliases.resize(aliases.len().max(at + 1), None);
        let known = &mut aliases[at];
        if is_named {
            *known = Some(publish.topic.detached());
            return Ok(());
        }
        let Some(topic) = known else {
            let what = format!("PUBLISH: topic alias {alias} stands for nothing yet");
            return Err(Violation { reason: Reason::ProtocolError, what: what.into() });
        };
        publish.topic = topic.clone();
        Ok(())
    }

    /// Begins the exchange of a message that is to be answered; whether it is to be handed on.
    fn begin(
        &mut self,
        packet_id: PacketId,
        publish: &Publish,
        serial: u64,
    ) -> Result<bool, Violation> {
        let qos = publish.qos;
        match self.incoming.stages.get(&packet_id) {
            None => {}
            Some(Stage::Held) if qos == QoS::ExactlyOnce => {
                // It came again: the answer was lost, or its connection was.
                let outcome = Some(Reason::Success.into());
                self.incoming.unanswered.push_back(Unanswered { serial, packet_id, qos, outcome });
                self.answer();
                return Ok(false);
            }
            // Version 3.1.1 lets a client send it again while it waits: one answer is for both.
            Some(Stage::Storing) if publish.dup && !self.is_v5() => return Ok(false),
            Some(_) => {
                let what = format!("PUBLISH: packet identifier {packet_id} is in use");
                return Err(Violation { reason: Reason::ProtocolError, what: what.into() });
            }
        }
        let begun = self.incoming.stages.len() - self.incoming.earlier.len();
        if begun >= self.incoming.most && self.is_v5() {
            let most = self.incoming.most;
            let what = format!("PUBLISH: more than {most} messages are not answered");
            return Err(Violation { reason: Reason::ReceiveMaximumExceeded, what: what.into() });
        }
        self.incoming.stages.insert(packet_id, Stage::Storing);
        self.incoming.unanswered.push_back(Unanswered { serial, packet_id, qos, outcome: None });
        Ok(true)
    }

    /// What became of a message: it is answered once all before it are.
    pub fn published(&mut self, serial: u64, outcome: Outcome) {
        let mut waiting = self.incoming.unanswered.iter_mut();
        if let Some(found) = waiting.find(|unanswered| unanswered.serial == serial) {
            found.outcome = Some(outcome);
            self.answer();
        }
    }

    fn answer(&mut self) {
        while !self.is_over()
            && let Some(Unanswered { packet_id, qos, outcome: Some(outcome), .. }) =
                self.incoming.unanswered.pop_front_if(|first| first.outcome.is_some())
        {
            self.answer_one(packet_id, qos, &outcome);
        }
    }

    fn answer_one(&mut self, packet_id: PacketId, qos: QoS, outcome: &Outcome) {
        let Outcome { reason, text } = outcome;
        if reason.is_failure() && !self.is_v5() && !is_final(*reason) {
            // An acknowledgement would say that it is safe, and version 3.1.1 has no other word.
            return self.end(*reason, text.as_deref().unwrap_or("the message was not taken"));
        }
        let is_held = qos == QoS::ExactlyOnce;
        if is_held && !(reason.is_failure() && self.is_v5()) {
            self.incoming.stages.insert(packet_id, Stage::Held);
        } else {
            self.incoming.forget(packet_id);
        }
        let properties = self.explained(text.as_deref().filter(|_| reason.is_failure()));
        let ack = Ack { packet_id, reason: *reason, properties };
        self.send(&if is_held { Packet::Pubrec(ack) } else { Packet::Puback(ack) });
    }

    pub(super) fn pubrel(&mut self, ack: &Ack) -> Result<(), Violation> {
        let packet_id = ack.packet_id;
        match self.incoming.stages.get_mut(&packet_id) {
            Some(stage @ Stage::Held) => {
                *stage = Stage::Releasing;
                self.requests.push_back(Request::Release(packet_id));
                Ok(())
            }
            Some(Stage::Releasing) => Ok(()),
            Some(Stage::Storing) => Err(refused("PUBREL: comes before the message was taken")),
            None => {
                let reason = Reason::PacketIdNotFound;
                self.send(&Packet::Pubcomp(Ack::new(packet_id, reason)));
                Ok(())
            }
        }
    }

    /// The broker has forgotten a message of QoS 2.
    pub fn released(&mut self, packet_id: PacketId) {
        if self.incoming.stages.get(&packet_id) == Some(&Stage::Releasing) && !self.is_over() {
            self.incoming.forget(packet_id);
            self.send(&Packet::Pubcomp(Ack::new(packet_id, Reason::Success)));
        }
    }
}

/// Whether a message that was refused will never be taken. A client of version 3.1.1 is told that
/// such a message is done with, or it would send it for ever.
const fn is_final(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::NotAuthorized | Reason::TopicNameInvalid | Reason::PayloadFormatInvalid
    )
}
