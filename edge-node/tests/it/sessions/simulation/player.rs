//! A client that keeps to the standard: what it has published and not heard of, which messages of
//! QoS 2 it holds, and what it has to answer.

use super::Rng;
use super::model::{Judged, Model};
use super::site::Site;
use holdfast_edge::mqtt::broker::ConnectionId;
use holdfast_edge::mqtt::ledger::NEVER;
use holdfast_edge::mqtt::packet::{
    Ack, Binary, Connect, ConnectProperties, Disconnect, Filter, Packet, PacketId, Publish,
    PublishProperties, QoS, RetainHandling, Subscribe, Subscription, SubscriptionOptions, Topic,
    Unsubscribe, Utf8, Version, Will, WillProperties,
};
use holdfast_edge::mqtt::reason::Reason;
use std::collections::{BTreeSet, VecDeque};
use std::num::{NonZeroU16, NonZeroU32};

const FILTERS: &[&str] = &["t/a", "t/b", "t/+", "t/#", "+/b", "w", "t/a", "t/#"];
const GROUP: &str = "$share/g/s/+";
const TOPICS: &[&str] = &["t/a", "t/b", "t/a/c", "u/b", "t/a", "t/b"];

/// A client.
pub struct Player {
    name: String,
    /// Its connection, until it notices that it is over.
    pub id: Option<ConnectionId>,
    is_in: bool,
    version: Version,
    keeps: bool,
    unanswered: Vec<(Publish, bool)>,
    held: BTreeSet<PacketId>,
    to_say: VecDeque<Packet>,
    next_id: u16,
    asked: u16,
    said: u32,
}

impl Player {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            id: None,
            is_in: false,
            version: Version::V5,
            keeps: false,
            unanswered: Vec::new(),
            held: BTreeSet::new(),
            to_say: VecDeque::new(),
            next_id: 1,
            asked: 0,
            said: 0,
        }
    }

    /// Whether all that it published was answered.
    pub fn is_done(&self) -> bool {
        self.unanswered.is_empty()
    }

    fn fresh_id(&mut self) -> PacketId {
        loop {
            self.next_id = self.next_id % 50 + 1;
            let id = PacketId::new(self.next_id).expect("at least one");
            if self.unanswered.iter().all(|(publish, _)| publish.packet_id != Some(id)) {
                return id;
            }
        }
    }

    /// An identifier for SUBSCRIBE and UNSUBSCRIBE, far from those of messages.
    fn question(&mut self) -> PacketId {
        self.asked += 1;
        PacketId::new(1_000 + self.asked).expect("not zero")
    }

    fn payload(&mut self) -> String {
        self.said += 1;
        format!("{}-{}", self.name, self.said)
    }

    /// Connects, whether it has a connection or not; gives the one that it leaves behind.
    pub fn enter(&mut self, site: &mut Site, rng: &mut Rng) -> Option<ConnectionId> {
        let version = if rng.one_in(4) { Version::V311 } else { Version::V5 };
        let is_v5 = version == Version::V5;
        let expiry_s = [0, 10, 100, NEVER, NEVER][rng.below(5)];
        let mut properties = ConnectProperties::default();
        if is_v5 {
            properties.session_expiry_s = (expiry_s > 0).then_some(expiry_s);
            properties.receive_maximum = NonZeroU16::new([0, 1, 2, 5][rng.below(4)]);
        }
        let will = rng.one_in(2).then(|| self.will(rng, is_v5));
        self.enter_as(site, version, rng.one_in(4), will, properties)
    }

    /// Connects to take all that waits.
    pub fn return_for_good(&mut self, site: &mut Site) {
        let properties =
            ConnectProperties { session_expiry_s: Some(NEVER), ..ConnectProperties::default() };
        self.enter_as(site, Version::V5, false, None, properties);
    }

    fn enter_as(
        &mut self,
        site: &mut Site,
        version: Version,
        clean_start: bool,
        will: Option<Will>,
        properties: ConnectProperties,
    ) -> Option<ConnectionId> {
        self.keeps = properties.session_expiry_s.is_some();
        self.version = version;
        let connect = Connect {
            version,
            clean_start,
            keep_alive: 0,
            client_id: Utf8::try_from(self.name.as_str()).unwrap(),
            will,
            user_name: None,
            password: None,
            properties,
        };
        self.to_say.clear();
        self.is_in = false;
        self.id.replace(site.join(connect))
    }

    fn will(&mut self, rng: &mut Rng, is_v5: bool) -> Will {
        let delay_s = [None, Some(5), Some(40)][rng.below(3)].filter(|_| is_v5);
        Will {
            qos: rng.qos(),
            retain: rng.one_in(4),
            topic: Topic::try_from("w").unwrap(),
            payload: Binary::new(format!("will {}", self.payload()).into_bytes()).unwrap(),
            properties: WillProperties { delay_s, ..WillProperties::default() },
        }
    }

    pub fn leave(&mut self, site: &mut Site, rng: &mut Rng) {
        let Some(id) = self.id.filter(|_| self.is_in) else { return };
        let with_will = rng.one_in(3) && self.version == Version::V5;
        let reason = if with_will { Reason::DisconnectWithWill } else { Reason::Success };
        let mut disconnect = Disconnect::new(reason);
        if self.keeps && self.version == Version::V5 {
            disconnect.properties.session_expiry_s = [None, Some(0), Some(20)][rng.below(3)];
        }
        site.say(id, &Packet::Disconnect(disconnect));
        site.lose(id);
        self.gone();
    }

    pub fn lose(&mut self, site: &mut Site) {
        if let Some(id) = self.id {
            site.lose(id);
            self.gone();
        }
    }

    /// It notices that its connection is over.
    pub fn gone(&mut self) {
        (self.id, self.is_in) = (None, false);
        self.to_say.clear();
    }

    pub fn subscribe(&mut self, site: &mut Site, rng: &mut Rng) {
        let Some(id) = self.id.filter(|_| self.is_in) else { return };
        let is_v5 = self.version == Version::V5;
        let subscriptions = (0..1 + rng.below(2)).map(|_| {
            let is_shared = rng.one_in(6);
            let text = if is_shared { GROUP } else { FILTERS[rng.below(FILTERS.len())] };
            let handling =
                [RetainHandling::Send, RetainHandling::SendIfNew, RetainHandling::DoNotSend];
            let qos = if is_shared { QoS::AtLeastOnce } else { rng.qos() };
            let options = SubscriptionOptions {
                qos,
                no_local: is_v5 && !is_shared && rng.one_in(4),
                retain_as_published: is_v5 && rng.one_in(2),
                retain_handling: handling[if is_v5 { rng.below(3) } else { 0 }],
            };
            Subscription { filter: Filter::try_from(text).unwrap(), options }
        });
        let subscriptions = subscriptions.collect();
        let subscribe = Subscribe {
            packet_id: self.question(),
            subscriptions,
            subscription_id: NonZeroU32::new(rng.below(4) as u32).filter(|_| is_v5),
            user: Default::default(),
        };
        site.say(id, &Packet::Subscribe(subscribe));
    }

    pub fn unsubscribe(&mut self, site: &mut Site, rng: &mut Rng) {
        let Some(id) = self.id.filter(|_| self.is_in) else { return };
        let text = if rng.one_in(6) { GROUP } else { FILTERS[rng.below(FILTERS.len())] };
        let packet_id = self.question();
        let filters = vec![Filter::try_from(text).unwrap()];
        let unsubscribe = Unsubscribe { packet_id, filters, user: Default::default() };
        site.say(id, &Packet::Unsubscribe(unsubscribe));
    }

    /// Publishes over `over`, which may be a connection that it has given up.
    pub fn publish(&mut self, site: &mut Site, rng: &mut Rng, over: Option<ConnectionId>) {
        let Some(id) = over.or(self.id).filter(|_| self.is_in || over.is_some()) else { return };
        if self.unanswered.len() >= 20 {
            return;
        }
        let is_shared = rng.one_in(6);
        let topic = if is_shared { "s/x" } else { TOPICS[rng.below(TOPICS.len())] };
        let mut qos = if is_shared { QoS::AtLeastOnce } else { rng.qos() };
        let retain = !is_shared && rng.one_in(4);
        let mut payload = self.payload();
        if retain && rng.one_in(4) {
            (payload, qos) = (String::new(), QoS::AtMostOnce);
        }
        let publish = Publish {
            dup: false,
            qos,
            retain,
            topic: Topic::try_from(topic).unwrap(),
            packet_id: (qos != QoS::AtMostOnce).then(|| self.fresh_id()),
            payload: payload.into_bytes().into(),
            properties: PublishProperties::default(),
        };
        if qos != QoS::AtMostOnce {
            self.unanswered.push((publish.clone(), false));
        }
        site.say(id, &Packet::Publish(publish));
    }

    /// Says what it owes, as far as `most`; whether there was anything.
    pub fn answer(&mut self, site: &mut Site, most: usize) -> bool {
        let Some(id) = self.id.filter(|_| self.is_in) else { return false };
        let count = self.to_say.len().min(most);
        for packet in self.to_say.drain(..count) {
            site.say(id, &packet);
        }
        count > 0
    }

    /// Hears what it was sent; whether there was anything.
    pub fn listen(&mut self, site: &mut Site, model: &mut Model) -> Result<bool, String> {
        let Some(id) = self.id else { return Ok(false) };
        let heard = site.heard(id);
        let has_any = !heard.is_empty();
        for packet in heard {
            self.hear(id, packet, model)?;
        }
        if site.is_over(id) {
            self.gone();
        }
        Ok(has_any)
    }

    fn hear(&mut self, id: ConnectionId, packet: Packet, model: &mut Model) -> Judged {
        match packet {
            Packet::Connack(connack) => {
                let present = connack.session_present;
                if connack.reason.is_failure() || present != model.is_present(id) {
                    return Err(format!("{}: {connack:?} is not expected", self.name));
                }
                self.begin(present);
            }
            Packet::Publish(publish) => {
                let packet_id = publish.packet_id;
                let is_once = publish.qos == QoS::ExactlyOnce;
                let is_new = !is_once || self.held.insert(packet_id.expect("it has one"));
                model.arrived(id, &publish, is_new)?;
                if let Some(packet_id) = packet_id {
                    let ack = Ack::new(packet_id, Reason::Success);
                    let answer = if is_once { Packet::Pubrec(ack) } else { Packet::Puback(ack) };
                    self.to_say.push_back(answer);
                }
            }
            Packet::Pubrel(ack) => {
                self.held.remove(&ack.packet_id);
                let answer = Ack::new(ack.packet_id, Reason::Success);
                self.to_say.push_back(Packet::Pubcomp(answer));
            }
            Packet::Puback(ack) | Packet::Pubcomp(ack) => self.answered(&ack, model)?,
            Packet::Pubrec(ack) => self.received(&ack, model)?,
            Packet::Disconnect(disconnect) if disconnect.reason != Reason::SessionTakenOver => {
                return Err(format!("{}: {disconnect:?}", self.name));
            }
            _ => {}
        }
        Ok(())
    }

    /// It is let in, and says again what was not answered.
    fn begin(&mut self, present: bool) {
        self.is_in = true;
        if !present {
            self.unanswered.clear();
            self.held.clear();
        }
        for (publish, is_released) in &self.unanswered {
            let packet_id = publish.packet_id.expect("it waits for an answer");
            self.to_say.push_back(if *is_released {
                Packet::Pubrel(Ack::new(packet_id, Reason::Success))
            } else {
                Packet::Publish(Publish { dup: true, ..publish.clone() })
            });
        }
    }

    fn answered(&mut self, ack: &Ack, model: &Model) -> Judged {
        let is_it = |(publish, _): &(Publish, bool)| publish.packet_id == Some(ack.packet_id);
        let Some(at) = self.unanswered.iter().position(is_it) else { return Ok(()) };
        let (publish, is_released) = self.unanswered.remove(at);
        if is_released && ack.reason == Reason::PacketIdNotFound {
            // It was released before, and the answer was lost.
            return Ok(());
        }
        self.was_taken(&publish, ack, model)
    }

    fn received(&mut self, ack: &Ack, model: &Model) -> Judged {
        let mut waiting = self.unanswered.iter_mut();
        let found = waiting.find(|(publish, _)| publish.packet_id == Some(ack.packet_id));
        let Some((publish, is_released)) = found else { return Ok(()) };
        *is_released = true;
        let publish = publish.clone();
        self.to_say.push_back(Packet::Pubrel(Ack::new(ack.packet_id, Reason::Success)));
        self.was_taken(&publish, ack, model)
    }

    fn was_taken(&self, publish: &Publish, ack: &Ack, model: &Model) -> Judged {
        let payload = std::str::from_utf8(&publish.payload).unwrap();
        if ack.reason.is_failure() || !model.is_on_disk(payload) {
            return Err(format!("{}: {ack:?} for `{payload}`", self.name));
        }
        Ok(())
    }
}
