//! What a connection says to a client, byte for byte through the client's own codec, and what it
//! asks the broker for.

use super::*;
use crate::mqtt::packet::{
    Ack, ConnectProperties, PublishProperties, QoS, Subscription, SubscriptionOptions, Topic,
};
use proptest::prelude::*;

mod statements;

/// A client and the connection it has.
struct Pair {
    connection: Connection,
    client: Codec,
}

fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

fn connect(version: Version) -> Connect {
    Connect {
        version,
        clean_start: true,
        keep_alive: 10,
        client_id: Utf8::try_from("pump-1").unwrap(),
        will: None,
        user_name: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

fn message(number: u16, qos: QoS) -> Publish {
    Publish {
        dup: false,
        qos,
        retain: false,
        topic: Topic::new("site/level").unwrap(),
        packet_id: (qos != QoS::AtMostOnce).then(|| id(number)),
        payload: format!("{number}").into(),
        properties: PublishProperties::default(),
    }
}

const ONCE: QoS = QoS::ExactlyOnce;
const AT_LEAST: QoS = QoS::AtLeastOnce;

impl Pair {
    fn with(options: Options, version: Version) -> Self {
        let client = Codec::for_client(version, Limits::default());
        Self { connection: Connection::new(options, 0), client }
    }

    /// One that was let in.
    fn open(version: Version) -> Self {
        Self::opened(Options::default(), connect(version), Accepted::default())
    }

    fn opened(options: Options, connect: Connect, accepted: Accepted) -> Self {
        let mut pair = Self::with(options, connect.version);
        pair.say(Packet::Connect(Box::new(connect)));
        assert!(matches!(pair.connection.request(), Some(Request::Open(_))));
        pair.connection.accept(accepted);
        let said = pair.heard();
        assert!(matches!(&said[..], [Packet::Connack(it)] if it.reason == Reason::Success));
        pair
    }

    fn say(&mut self, packet: Packet) {
        self.say_at(0, packet);
    }

    fn say_at(&mut self, now_ms: u64, packet: Packet) {
        let mut bytes = BytesMut::new();
        self.client.encode(&packet, &mut bytes).unwrap();
        self.connection.receive(now_ms, &mut bytes);
    }

    /// What the client was sent since it looked last.
    fn heard(&mut self) -> Vec<Packet> {
        let mut said = Vec::new();
        while let Some(packet) = self.client.decode(self.connection.output()).unwrap() {
            said.push(packet);
        }
        said
    }

    fn requests(&mut self) -> Vec<Request> {
        std::iter::from_fn(|| self.connection.request()).collect()
    }

    /// The serials of the messages that the broker was handed.
    fn arrived(&mut self) -> Vec<u64> {
        let serial = |request| match request {
            Request::Publish(Arrived { serial, .. }) => serial,
            other => panic!("{other:?}"),
        };
        self.requests().into_iter().map(serial).collect()
    }

    fn done(&mut self, serial: u64) {
        self.connection.published(serial, Reason::Success.into());
    }

    fn ended(&mut self) -> Ended {
        match self.requests().pop() {
            Some(Request::Ended(ended)) => ended,
            other => panic!("{other:?}"),
        }
    }
}

fn puback(number: u16) -> Packet {
    Packet::Puback(Ack::new(id(number), Reason::Success))
}

fn pubrec(number: u16) -> Packet {
    Packet::Pubrec(Ack::new(id(number), Reason::Success))
}

fn pubrel(number: u16) -> Packet {
    Packet::Pubrel(Ack::new(id(number), Reason::Success))
}

fn pubcomp(number: u16) -> Packet {
    Packet::Pubcomp(Ack::new(id(number), Reason::Success))
}

/// The reason of the DISCONNECT that was the last word.
fn last_word(said: &[Packet]) -> Reason {
    match said.last() {
        Some(Packet::Disconnect(disconnect)) => disconnect.reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn whoever_does_not_begin_with_connect_is_left_without_a_word() {
    let mut pair = Pair::with(Options::default(), Version::V5);
    pair.say(Packet::Pingreq);
    assert!(pair.connection.is_over() && pair.connection.output().is_empty());
    let mut silent = Pair::with(Options::default(), Version::V5);
    assert_eq!(silent.connection.deadline(), Some(10_000));
    silent.connection.tick(9_999);
    assert!(!silent.connection.is_over());
    silent.connection.tick(10_000);
    assert_eq!(silent.ended().why, "no CONNECT came");
}

#[test]
fn nothing_is_read_before_the_client_is_let_in_or_not() {
    let mut pair = Pair::with(Options::default(), Version::V5);
    let mut bytes = BytesMut::new();
    pair.client.encode(&Packet::Connect(Box::new(connect(Version::V5))), &mut bytes).unwrap();
    pair.client.encode(&Packet::Pingreq, &mut bytes).unwrap();
    pair.connection.receive(0, &mut bytes);
    assert!(!pair.connection.wants_input());
    assert_eq!((bytes.len(), pair.heard().len()), (2, 0));
    pair.connection.accept(Accepted { session_present: true, ..Accepted::default() });
    pair.connection.receive(0, &mut bytes);
    let said = pair.heard();
    let [Packet::Connack(connack), Packet::Pingresp] = &said[..] else { panic!("{said:?}") };
    assert!(connack.session_present);
    assert_eq!(connack.properties.receive_maximum, NonZeroU16::new(1024));
    assert_eq!(connack.properties.alias_maximum, Some(64));

    let mut refused = Pair::with(Options::default(), Version::V311);
    refused.say(Packet::Connect(Box::new(connect(Version::V311))));
    refused.connection.refuse(Reason::NotAuthorized, "no such token");
    assert!(matches!(&refused.heard()[..], [Packet::Connack(it)]
        if it.reason == Reason::NotAuthorized));
    assert!(refused.connection.is_over());
}

#[test]
fn a_method_of_authentication_that_is_not_known_is_refused_and_auth_too() {
    let mut asking = connect(Version::V5);
    asking.properties.authentication_method = Some(Utf8::try_from("SCRAM-SHA-1").unwrap());
    let mut pair = Pair::with(Options::default(), Version::V5);
    pair.say(Packet::Connect(Box::new(asking)));
    let said = pair.heard();
    let [Packet::Connack(connack)] = &said[..] else { panic!("{said:?}") };
    assert_eq!(connack.reason, Reason::BadAuthenticationMethod);
    assert!(pair.connection.is_over());
}

#[test]
fn a_message_is_acknowledged_when_it_is_taken_and_not_before_and_in_its_order() {
    for version in [Version::V311, Version::V5] {
        let mut pair = Pair::open(version);
        for (number, qos) in [(7, AT_LEAST), (3, ONCE), (0, QoS::AtMostOnce), (5, AT_LEAST)] {
            pair.say(Packet::Publish(message(number, qos)));
        }
        let serials = pair.arrived();
        assert_eq!(serials.len(), 4);
        assert_eq!(pair.heard(), []);
        pair.done(serials[3]);
        pair.done(serials[1]);
        assert_eq!(pair.heard(), [], "the first is not answered yet");
        pair.done(serials[0]);
        assert_eq!(pair.heard(), [puback(7), pubrec(3), puback(5)]);
    }
}

#[test]
fn a_message_of_qos_2_is_handed_on_once_until_it_is_released_for_good() {
    let mut pair = Pair::open(Version::V5);
    pair.say(Packet::Publish(message(3, ONCE)));
    let serial = pair.arrived()[0];
    pair.done(serial);
    pair.say(Packet::Publish(Publish { dup: true, ..message(3, ONCE) }));
    assert!(pair.arrived().is_empty());
    assert_eq!(pair.heard(), [pubrec(3), pubrec(3)]);
    pair.say(pubrel(3));
    pair.say(pubrel(3));
    assert!(matches!(&pair.requests()[..], [Request::Release(released)] if *released == id(3)));
    assert_eq!(pair.heard(), [], "it is not forgotten yet");
    pair.connection.released(id(3));
    assert_eq!(pair.heard(), [pubcomp(3)]);
    pair.say(Packet::Publish(message(3, ONCE)));
    assert_eq!(pair.arrived().len(), 1, "the identifier is free again");
    pair.say(pubrel(9));
    let unknown = Ack::new(id(9), Reason::PacketIdNotFound);
    assert_eq!(pair.heard(), [Packet::Pubcomp(unknown)]);
}

#[test]
fn what_a_session_holds_of_qos_2_is_not_handed_on_by_its_next_connection() {
    let held = Accepted { session_present: true, held: vec![id(3)], ..Accepted::default() };
    let mut pair = Pair::opened(Options::default(), connect(Version::V5), held);
    pair.say(Packet::Publish(Publish { dup: true, ..message(3, ONCE) }));
    assert!(pair.arrived().is_empty());
    assert_eq!(pair.heard(), [pubrec(3)]);
}

#[test]
fn a_client_that_sends_more_than_it_may_is_told_or_not_read() {
    let options = Options { receive_maximum: NonZeroU16::new(2).unwrap(), ..Options::default() };
    let open = |version| Pair::opened(options, connect(version), Accepted::default());
    let mut new = open(Version::V5);
    (1..=3).for_each(|number| new.say(Packet::Publish(message(number, AT_LEAST))));
    assert_eq!(last_word(&new.heard()), Reason::ReceiveMaximumExceeded);
    let mut old = open(Version::V311);
    (1..=2).for_each(|number| old.say(Packet::Publish(message(number, AT_LEAST))));
    assert!(!old.connection.wants_input());
    let serials = old.arrived();
    old.done(serials[0]);
    assert!(old.connection.wants_input());
}

#[test]
fn an_identifier_in_use_ends_the_connection() {
    let mut pair = Pair::open(Version::V5);
    pair.say(Packet::Publish(message(3, AT_LEAST)));
    pair.say(Packet::Publish(message(3, AT_LEAST)));
    assert_eq!(last_word(&pair.heard()), Reason::ProtocolError);
}

#[test]
fn an_alias_stands_for_the_topic_it_came_with() {
    let aliased = |topic: Topic, alias: u16| {
        let mut publish = message(0, QoS::AtMostOnce);
        publish.topic = topic;
        publish.properties.alias = NonZeroU16::new(alias);
        Packet::Publish(publish)
    };
    let mut pair = Pair::open(Version::V5);
    pair.say(aliased(Topic::new("a/b").unwrap(), 64));
    pair.say(aliased(Topic::by_alias(), 64));
    for request in pair.requests() {
        let Request::Publish(arrived) = request else { panic!("{request:?}") };
        assert_eq!(arrived.publish.topic.as_str(), "a/b");
        assert_eq!(arrived.publish.properties.alias, None, "aliases are a connection's own");
    }
    pair.say(aliased(Topic::by_alias(), 63));
    assert_eq!(last_word(&pair.heard()), Reason::ProtocolError);
    let mut pair = Pair::open(Version::V5);
    pair.say(aliased(Topic::new("a/b").unwrap(), 65));
    assert_eq!(last_word(&pair.heard()), Reason::TopicAliasInvalid);
}

/// Version 3.1.1 can only acknowledge. What may be taken later must not be; what never will be
/// must, or the client sends it for ever.
#[test]
fn what_cannot_be_taken_is_told_by_reason_or_by_the_end_of_the_connection() {
    let full = Outcome { reason: Reason::QuotaExceeded, text: Some("the disk is full".into()) };
    let wrong = Outcome { reason: Reason::PayloadFormatInvalid, text: Some("no number".into()) };
    let mut new = Pair::open(Version::V5);
    new.say(Packet::Publish(message(1, AT_LEAST)));
    new.say(Packet::Publish(message(2, ONCE)));
    let serials = new.arrived();
    new.connection.published(serials[0], full.clone());
    new.connection.published(serials[1], wrong.clone());
    let said = new.heard();
    let [Packet::Puback(first), Packet::Pubrec(second)] = &said[..] else { panic!("{said:?}") };
    assert_eq!(first.reason, Reason::QuotaExceeded);
    assert_eq!(first.properties.reason_string.as_ref().unwrap().as_str(), "the disk is full");
    assert_eq!(second.reason, Reason::PayloadFormatInvalid);
    new.say(Packet::Publish(message(2, ONCE)));
    assert_eq!(new.arrived().len(), 1, "a refusal ends the exchange");

    let mut old = Pair::open(Version::V311);
    old.say(Packet::Publish(message(1, AT_LEAST)));
    old.say(Packet::Publish(message(2, AT_LEAST)));
    let serials = old.arrived();
    old.connection.published(serials[0], wrong);
    assert_eq!(old.heard(), [puback(1)]);
    old.connection.published(serials[1], full);
    assert_eq!(old.heard(), []);
    assert_eq!(old.ended().why, "quota exceeded (0x97): the disk is full");
}

#[test]
fn a_client_that_wants_no_problems_explained_hears_only_the_reason() {
    let mut asking = connect(Version::V5);
    asking.properties.request_problem = Some(false);
    let mut pair = Pair::opened(Options::default(), asking, Accepted::default());
    pair.say(Packet::Publish(message(1, AT_LEAST)));
    let serial = pair.arrived()[0];
    let text = Some("the disk is full".into());
    pair.connection.published(serial, Outcome { reason: Reason::QuotaExceeded, text });
    assert_eq!(pair.heard(), [Packet::Puback(Ack::new(id(1), Reason::QuotaExceeded))]);
}

#[test]
fn as_many_messages_are_sent_as_the_client_takes_and_each_is_told_when_it_is_there() {
    let mut asking = connect(Version::V5);
    asking.properties.receive_maximum = NonZeroU16::new(2);
    let mut pair = Pair::opened(Options::default(), asking, Accepted::default());
    assert_eq!(pair.connection.room(), 2);
    assert_eq!(pair.connection.deliver(message(1, AT_LEAST)), Delivered::Sent);
    assert_eq!(pair.connection.deliver(message(2, ONCE)), Delivered::Sent);
    assert_eq!((pair.connection.room(), pair.heard().len()), (0, 2));
    assert_eq!(pair.connection.deliver(message(0, QoS::AtMostOnce)), Delivered::Sent);
    pair.say(puback(1));
    pair.say(puback(1));
    pair.say(pubrec(2));
    let asked = pair.requests();
    assert!(
        matches!(&asked[..], [Request::Acked(a), Request::Received(b)]
        if (*a, *b) == (id(1), id(2))),
        "{asked:?}"
    );
    assert_eq!(pair.heard().len(), 1, "the message of QoS 0; nothing is released yet");
    pair.connection.noted(id(2));
    assert_eq!((pair.heard(), pair.connection.room()), (vec![pubrel(2)], 1));
    pair.say(pubcomp(2));
    assert!(matches!(&pair.requests()[..], [Request::Acked(acked)] if *acked == id(2)));
    assert_eq!(pair.connection.room(), 2);
}

#[test]
fn a_release_that_was_not_answered_is_said_again_by_the_next_connection() {
    let mut pair = Pair::open(Version::V5);
    pair.connection.release_anew(id(4));
    assert_eq!(pair.heard(), [pubrel(4)]);
    pair.say(pubcomp(4));
    assert!(matches!(&pair.requests()[..], [Request::Acked(acked)] if *acked == id(4)));
    // What it has and is not known here any more is let go of.
    pair.say(pubrec(5));
    assert_eq!(pair.heard(), [Packet::Pubrel(Ack::new(id(5), Reason::PacketIdNotFound))]);
}

#[test]
fn a_message_that_the_client_refuses_is_done_with() {
    let mut pair = Pair::open(Version::V5);
    pair.connection.deliver(message(2, ONCE));
    pair.say(Packet::Pubrec(Ack::new(id(2), Reason::QuotaExceeded)));
    assert!(matches!(&pair.requests()[..], [Request::Acked(acked)] if *acked == id(2)));
}

#[test]
fn a_topic_is_said_once_where_the_client_takes_aliases_and_too_large_a_message_never() {
    let mut asking = connect(Version::V5);
    asking.properties.alias_maximum = Some(1);
    asking.properties.maximum_packet = NonZeroU32::new(40);
    let mut pair = Pair::opened(Options::default(), asking, Accepted::default());
    let large = Publish { payload: vec![0; 40].into(), ..message(1, AT_LEAST) };
    assert_eq!(pair.connection.deliver(large), Delivered::TooLarge);
    assert_eq!((pair.connection.room(), pair.heard().len()), (1024, 0));
    pair.connection.deliver(message(1, AT_LEAST));
    pair.connection.deliver(message(2, AT_LEAST));
    let other = Publish { topic: Topic::new("other").unwrap(), ..message(3, AT_LEAST) };
    pair.connection.deliver(other);
    let topics: Vec<_> = pair
        .heard()
        .into_iter()
        .map(|packet| match packet {
            Packet::Publish(publish) => {
                (publish.topic.as_str().to_owned(), publish.properties.alias.map(NonZeroU16::get))
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [("site/level", Some(1)), ("", Some(1)), ("other", None)];
    assert_eq!(topics, expected.map(|(topic, alias)| (topic.to_owned(), alias)));
}

#[test]
fn filters_are_asked_for_and_answered_under_their_identifier() {
    let mut pair = Pair::open(Version::V5);
    let filter = super::super::packet::Filter::new("site/#").unwrap();
    let options = SubscriptionOptions::default();
    let subscribe = |number| {
        Packet::Subscribe(Subscribe {
            packet_id: id(number),
            subscriptions: vec![Subscription { filter: filter.clone(), options }],
            subscription_id: None,
            user: Default::default(),
        })
    };
    pair.say(subscribe(1));
    pair.say(subscribe(2));
    assert_eq!(pair.requests().len(), 2);
    pair.connection.subscribed(id(2), vec![Reason::NotAuthorized], Some("not `site/#`"));
    pair.connection.subscribed(id(2), vec![Reason::Success], None);
    let said = pair.heard();
    let [Packet::Suback(suback)] = &said[..] else { panic!("{said:?}") };
    assert_eq!((suback.packet_id, &suback.reasons[..]), (id(2), &[Reason::NotAuthorized][..]));
    pair.say(subscribe(1));
    assert_eq!(last_word(&pair.heard()), Reason::ProtocolError);
}

#[test]
fn a_will_is_kept_back_only_by_a_client_that_leaves_in_order() {
    let leave = |reason, expiry| {
        let mut disconnect = Disconnect::new(reason);
        disconnect.properties.session_expiry_s = expiry;
        Packet::Disconnect(disconnect)
    };
    let mut pair = Pair::open(Version::V5);
    pair.say(leave(Reason::Success, None));
    assert!(!pair.ended().with_will && pair.connection.is_over());
    let mut pair = Pair::open(Version::V5);
    pair.say(leave(Reason::DisconnectWithWill, None));
    assert!(pair.ended().with_will);
    let mut pair = Pair::open(Version::V5);
    pair.connection.lost();
    pair.connection.lost();
    assert_eq!(pair.requests().len(), 1);
    let mut pair = Pair::open(Version::V5);
    pair.say(leave(Reason::Success, Some(60)));
    assert_eq!(last_word(&pair.heard()), Reason::ProtocolError);
    let mut asking = connect(Version::V5);
    asking.properties.session_expiry_s = Some(1);
    let mut pair = Pair::opened(Options::default(), asking, Accepted::default());
    pair.say(leave(Reason::Success, Some(60)));
    assert_eq!(pair.ended().session_expiry_s, Some(60));
}

#[test]
fn a_client_that_falls_silent_is_given_up_after_one_and_a_half_keep_alives() {
    let mut pair = Pair::open(Version::V5);
    assert_eq!(pair.connection.deadline(), Some(15_000));
    pair.say_at(4_000, Packet::Pingreq);
    pair.connection.tick(15_000);
    assert!(!pair.connection.is_over());
    pair.connection.tick(19_000);
    assert_eq!(last_word(&pair.heard()), Reason::KeepAliveTimeout);
    assert!(pair.ended().with_will);
    let never = Connect { keep_alive: 0, ..connect(Version::V311) };
    let pair = Pair::opened(Options::default(), never.clone(), Accepted::default());
    assert_eq!(pair.connection.deadline(), None);
    // Where the server has a longest, only a client of version 5 can be told.
    let options = Options { keep_alive_max_s: NonZeroU16::new(60), ..Options::default() };
    let told = Connect { version: Version::V5, ..never };
    let pair = Pair::opened(options, told, Accepted::default());
    assert_eq!(pair.connection.deadline(), Some(90_000));
}

#[test]
fn a_client_that_takes_nothing_is_not_read_and_not_sent_to() {
    let mut pair = Pair::open(Version::V5);
    let large = Publish { payload: vec![0; 200_000].into(), ..message(1, AT_LEAST) };
    pair.connection.deliver(large.clone());
    assert!(pair.connection.wants_input() && pair.connection.room() > 0);
    pair.connection.deliver(Publish { packet_id: Some(id(2)), ..large });
    assert!(!pair.connection.wants_input());
    assert_eq!(pair.connection.room(), 0);
    pair.heard();
    assert!(pair.connection.wants_input());
}

/// What a client or the broker does next.
#[derive(Clone, Debug)]
enum Move {
    Publish(u16, QoS),
    Pubrel(u16),
    Subscribe(u16),
    Ack(u8, u16),
    Answer(usize, bool),
    Release(usize),
    Deliver(u16, QoS),
    Note(usize),
    Garbage(Vec<u8>),
    Leave,
    Tick(u64),
}

fn some_move() -> impl Strategy<Value = Move> {
    let qos = prop::sample::select(vec![QoS::AtMostOnce, AT_LEAST, ONCE]);
    prop_oneof![
        8 => (1u16..6, qos.clone()).prop_map(|(number, qos)| Move::Publish(number, qos)),
        4 => (1u16..6).prop_map(Move::Pubrel),
        2 => (1u16..6).prop_map(Move::Subscribe),
        4 => (0u8..3, 1u16..6).prop_map(|(kind, number)| Move::Ack(kind, number)),
        8 => (0usize..6, prop::bool::weighted(0.9)).prop_map(|(at, ok)| Move::Answer(at, ok)),
        4 => (0usize..6).prop_map(Move::Release),
        4 => (1u16..6, qos).prop_map(|(number, qos)| Move::Deliver(number, qos)),
        4 => (0usize..6).prop_map(Move::Note),
        1 => prop::collection::vec(any::<u8>(), 1..8).prop_map(Move::Garbage),
        1 => Just(Move::Leave),
        1 => (0u64..40_000).prop_map(Move::Tick),
    ]
}

/// The broker's side of a random exchange, and what has to hold whatever happens.
#[derive(Default)]
struct Judge {
    handed: Vec<(u64, PacketId)>,
    answered: Vec<PacketId>,
    order: Vec<PacketId>,
    releases: Vec<PacketId>,
    notes: Vec<PacketId>,
    ends: usize,
}

impl Judge {
    fn look(&mut self, pair: &mut Pair) {
        for request in pair.requests() {
            assert_eq!(self.ends, 0, "{request:?} behind the end");
            match request {
                Request::Publish(Arrived { serial, publish }) => {
                    if let Some(id) = publish.packet_id {
                        assert!(self.handed.iter().all(|(_, other)| *other != id), "{id} twice");
                        self.handed.push((serial, id));
                        self.order.push(id);
                    }
                }
                Request::Release(id) => self.releases.push(id),
                Request::Received(id) => self.notes.push(id),
                Request::Ended(_) => self.ends += 1,
                _ => {}
            }
        }
        for packet in pair.heard() {
            if let Packet::Puback(ack) | Packet::Pubrec(ack) = packet {
                // A message of QoS 2 that came again is answered again.
                if self.order.first() == Some(&ack.packet_id) {
                    self.order.remove(0);
                    self.answered.push(ack.packet_id);
                } else {
                    assert!(self.answered.contains(&ack.packet_id), "out of order: {ack:?}");
                }
            }
        }
        let unanswered = self.handed.len();
        assert!(self.order.len() >= unanswered || pair.connection.is_over());
    }

    fn step(&mut self, pair: &mut Pair, next: Move) {
        let ack = |number| Ack::new(id(number), Reason::Success);
        match next {
            Move::Publish(number, qos) => pair.say(Packet::Publish(message(number, qos))),
            Move::Pubrel(number) => pair.say(pubrel(number)),
            Move::Subscribe(number) => pair.say(Packet::Unsubscribe(Unsubscribe {
                packet_id: id(number),
                filters: vec![super::super::packet::Filter::new("a").unwrap()],
                user: Default::default(),
            })),
            Move::Ack(0, number) => pair.say(Packet::Puback(ack(number))),
            Move::Ack(1, number) => pair.say(Packet::Pubrec(ack(number))),
            Move::Ack(_, number) => pair.say(Packet::Pubcomp(ack(number))),
            Move::Answer(at, ok) if at < self.handed.len() => {
                let (serial, _) = self.handed.remove(at);
                let reason = if ok { Reason::Success } else { Reason::QuotaExceeded };
                pair.connection.published(serial, reason.into());
            }
            Move::Release(at) if at < self.releases.len() => {
                let released = self.releases.remove(at);
                pair.connection.released(released);
            }
            Move::Deliver(number, qos) if pair.connection.room() > 0 => {
                pair.connection.deliver(message(number, qos));
            }
            Move::Note(at) if at < self.notes.len() => {
                let noted = self.notes.remove(at);
                pair.connection.noted(noted);
            }
            Move::Garbage(bytes) => pair.connection.receive(0, &mut bytes[..].into()),
            Move::Leave => pair.say(Packet::Disconnect(Disconnect::new(Reason::Success))),
            Move::Tick(now_ms) => pair.connection.tick(now_ms),
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_messages_are_handed_on_once_and_answered_in_order(
        moves in prop::collection::vec(some_move(), 1..60),
        is_v5 in any::<bool>(),
    ) {
        let mut pair = Pair::open(if is_v5 { Version::V5 } else { Version::V311 });
        let mut judge = Judge::default();
        for next in moves {
            judge.step(&mut pair, next);
            judge.look(&mut pair);
        }
        assert_eq!(judge.ends > 0, pair.connection.is_over());
    }
}
