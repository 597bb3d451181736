//! The statements, by what they are about. [`Talk`] is a site and what its clients say.

mod delivery;
mod retained;
mod sessions;
mod shared;
mod subscriptions;
mod wills;

use super::simulation::site::{Bug, Site};
use holdfast_edge::mqtt::broker::{ConnectionId, Limits};
use holdfast_edge::mqtt::connection::Options;
use holdfast_edge::mqtt::ledger::NEVER;
use holdfast_edge::mqtt::packet::{
    Ack, Binary, Connack, Connect, ConnectProperties, Disconnect, Filter, Packet, PacketId,
    Publish, PublishProperties, QoS, Suback, Subscribe, Subscription, SubscriptionOptions, Topic,
    Unsubscribe, Utf8, Version, Will, WillProperties,
};
use holdfast_edge::mqtt::reason::Reason;
use std::collections::BTreeMap;
use std::num::NonZeroU32;

const V311: Version = Version::V311;
const V5: Version = Version::V5;
const BOTH: [Version; 2] = [V311, V5];
const MOST: QoS = QoS::AtMostOnce;
const LEAST: QoS = QoS::AtLeastOnce;
const ONCE: QoS = QoS::ExactlyOnce;
const ALL: [QoS; 3] = [MOST, LEAST, ONCE];

fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

fn text(text: &str) -> Utf8 {
    Utf8::try_from(text).unwrap()
}

fn topic(text: &str) -> Topic {
    Topic::try_from(text).unwrap()
}

fn filter(text: &str) -> Filter {
    Filter::try_from(text).unwrap()
}

/// A client whose session ends with its connection.
fn fleeting(version: Version, client: &str) -> Connect {
    Connect {
        version,
        clean_start: true,
        keep_alive: 0,
        client_id: text(client),
        will: None,
        user_name: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

/// One whose session stays.
fn kept(version: Version, client: &str) -> Connect {
    let mut connect = Connect { clean_start: false, ..fleeting(version, client) };
    connect.properties.session_expiry_s = (version == V5).then_some(NEVER);
    connect
}

fn lasting(client: &str, seconds: u32) -> Connect {
    let mut connect = kept(V5, client);
    connect.properties.session_expiry_s = Some(seconds);
    connect
}

fn publish(at: &str, payload: &str, qos: QoS) -> Publish {
    Publish {
        dup: false,
        qos,
        retain: false,
        topic: topic(at),
        packet_id: (qos != MOST).then_some(PacketId::MIN),
        payload: payload.as_bytes().to_vec().into(),
        properties: PublishProperties::default(),
    }
}

fn retained(at: &str, payload: &str, qos: QoS) -> Publish {
    Publish { retain: true, ..publish(at, payload, qos) }
}

fn will(delay_s: u32, payload: &str) -> Will {
    Will {
        qos: LEAST,
        retain: false,
        topic: topic("wills"),
        payload: Binary::new(payload.as_bytes().to_vec()).unwrap(),
        properties: WillProperties {
            delay_s: (delay_s > 0).then_some(delay_s),
            ..WillProperties::default()
        },
    }
}

fn with_will(will: Will, connect: Connect) -> Connect {
    Connect { will: Some(will), ..connect }
}

fn leaving(reason: Reason, expiry_s: Option<u32>) -> Packet {
    let mut disconnect = Disconnect::new(reason);
    disconnect.properties.session_expiry_s = expiry_s;
    Packet::Disconnect(disconnect)
}

fn up_to(qos: QoS) -> SubscriptionOptions {
    SubscriptionOptions { qos, ..SubscriptionOptions::default() }
}

fn payloads(publishes: &[Publish]) -> Vec<&str> {
    publishes.iter().map(|publish| std::str::from_utf8(&publish.payload).unwrap()).collect()
}

/// A site whose clients talk in turn.
struct Talk {
    site: Site,
    /// What clients have heard and not looked at.
    inbox: BTreeMap<ConnectionId, Vec<Packet>>,
}

impl Talk {
    fn new() -> Self {
        Self::within(Limits::default())
    }

    fn within(limits: Limits) -> Self {
        let site = Site::new(Options::default(), limits, Bug::None);
        Self { site, inbox: BTreeMap::new() }
    }

    /// Connects, whatever comes of it.
    fn try_enter(&mut self, connect: Connect) -> (ConnectionId, Connack) {
        let id = self.site.join(connect);
        self.site.settle();
        match self.pick(id, |packet| matches!(packet, Packet::Connack(_))) {
            Some(Packet::Connack(connack)) => (id, *connack),
            other => panic!("{other:?}"),
        }
    }

    /// Connects; whether the session was there.
    fn enter(&mut self, connect: Connect) -> (ConnectionId, bool) {
        let (id, connack) = self.try_enter(connect);
        assert_eq!(connack.reason, Reason::Success);
        (id, connack.session_present)
    }

    fn say(&mut self, id: ConnectionId, packet: Packet) {
        self.site.say(id, &packet);
        self.site.settle();
    }

    fn lose(&mut self, id: ConnectionId) {
        self.site.lose(id);
        self.site.settle();
    }

    fn pass(&mut self, seconds: u64) {
        self.site.pass(seconds * 1_000);
        self.site.settle();
    }

    fn heard(&mut self, id: ConnectionId) -> Vec<Packet> {
        let mut heard = self.inbox.remove(&id).unwrap_or_default();
        heard.extend(self.site.heard(id));
        heard
    }

    /// The first that it heard of a kind; the rest is for later.
    fn pick(&mut self, id: ConnectionId, is: impl Fn(&Packet) -> bool) -> Option<Packet> {
        let mut heard = self.heard(id);
        let found = heard.iter().position(is).map(|at| heard.remove(at));
        self.inbox.insert(id, heard);
        found
    }

    /// Publishes, all the way to the end.
    fn publish(&mut self, id: ConnectionId, publish: Publish) {
        let (qos, packet_id) = (publish.qos, publish.packet_id);
        self.say(id, Packet::Publish(publish));
        if qos == ONCE {
            self.say(id, Packet::Pubrel(Ack::new(packet_id.unwrap(), Reason::Success)));
        }
        let mut heard = self.heard(id);
        heard.retain(|packet| matches!(packet, Packet::Publish(_) | Packet::Pubrel(_)));
        self.inbox.insert(id, heard);
    }

    fn subscribe_to(
        &mut self,
        id: ConnectionId,
        filters: &[(&str, SubscriptionOptions)],
        known_as: Option<u32>,
    ) -> Suback {
        let subscriptions = filters
            .iter()
            .map(|(text, options)| Subscription { filter: filter(text), options: *options });
        let subscribe = Subscribe {
            packet_id: PacketId::MAX,
            subscriptions: subscriptions.collect(),
            subscription_id: known_as.and_then(NonZeroU32::new),
            user: Default::default(),
        };
        self.say(id, Packet::Subscribe(subscribe));
        match self.pick(id, |packet| matches!(packet, Packet::Suback(_))) {
            Some(Packet::Suback(suback)) => suback,
            other => panic!("{other:?}"),
        }
    }

    fn subscribe(&mut self, id: ConnectionId, filter: &str, qos: QoS) {
        self.subscribe_to(id, &[(filter, up_to(qos))], None);
    }

    fn unsubscribe(&mut self, id: ConnectionId, filters: &[&str]) -> Suback {
        let filters = filters.iter().map(|text| filter(text)).collect();
        let (packet_id, user) = (PacketId::MAX, Default::default());
        self.say(id, Packet::Unsubscribe(Unsubscribe { packet_id, filters, user }));
        match self.pick(id, |packet| matches!(packet, Packet::Unsuback(_))) {
            Some(Packet::Unsuback(unsuback)) => unsuback,
            other => panic!("{other:?}"),
        }
    }

    /// Messages that a client hears, without answering any.
    fn messages(&mut self, id: ConnectionId) -> Vec<Publish> {
        let heard = self.heard(id).into_iter();
        heard
            .filter_map(|packet| match packet {
                Packet::Publish(publish) => Some(publish),
                _ => None,
            })
            .collect()
    }

    /// Messages that a client hears and answers, until there are no more.
    fn taken(&mut self, id: ConnectionId) -> Vec<Publish> {
        let mut out = Vec::new();
        loop {
            let heard = self.heard(id);
            if heard.is_empty() {
                return out;
            }
            for packet in heard {
                let answer = match packet {
                    Packet::Publish(publish) => {
                        let answer = answer_to(&publish);
                        out.push(publish);
                        answer
                    }
                    Packet::Pubrel(ack) => {
                        Some(Packet::Pubcomp(Ack::new(ack.packet_id, Reason::Success)))
                    }
                    _ => None,
                };
                answer.into_iter().for_each(|answer| self.say(id, answer));
            }
        }
    }
}

fn answer_to(publish: &Publish) -> Option<Packet> {
    let ack = Ack::new(publish.packet_id?, Reason::Success);
    Some(if publish.qos == ONCE { Packet::Pubrec(ack) } else { Packet::Puback(ack) })
}
