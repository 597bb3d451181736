//! Statements of the standard that one connection shows: what a client may say, what it is told
//! and when, and how each side's packet identifiers and quotas go. `docs/mqtt-conformance.md` has
//! their numbers.

use super::*;
use crate::mqtt::packet::{Filter, UserProperties};

const BOTH: [Version; 2] = [Version::V311, Version::V5];

fn subscribe(number: u16) -> Packet {
    let filter = Filter::new("site/#").unwrap();
    let subscription = Subscription { filter, options: SubscriptionOptions::default() };
    Packet::Subscribe(Subscribe {
        packet_id: id(number),
        subscriptions: vec![subscription],
        subscription_id: None,
        user: UserProperties::default(),
    })
}

/// Bytes that a client says at time 0.
fn say_bytes(pair: &mut Pair, bytes: &[u8]) {
    pair.connection.receive(0, &mut bytes.into());
}

#[test]
fn a_second_connect_is_a_protocol_error() {
    for version in BOTH {
        let mut pair = Pair::open(version);
        pair.say(Packet::Connect(Box::new(connect(version))));
        let said = pair.heard();
        match version {
            Version::V5 => assert_eq!(last_word(&said), Reason::ProtocolError),
            Version::V311 => assert_eq!(said, []),
        }
        assert!(pair.connection.is_over() && pair.connection.was_violated());
        assert!(pair.ended().with_will);
    }
}

#[test]
fn steps_of_authentication_that_nobody_began_are_refused() {
    // AUTH, re-authenticate, with a method.
    const AUTH: &[u8] = b"\xf0\x06\x19\x04\x15\0\x01m";
    let mut pair = Pair::open(Version::V5);
    say_bytes(&mut pair, AUTH);
    assert_eq!(last_word(&pair.heard()), Reason::ProtocolError);
    let mut pair = Pair::open(Version::V311);
    say_bytes(&mut pair, AUTH);
    assert!(pair.connection.is_over() && pair.heard().is_empty());
}

#[test]
fn what_must_not_be_said_is_answered_with_its_reason_before_the_connection_ends() {
    let cases: [(&[u8], Reason); 9] = [
        (b"\x00\x00", Reason::MalformedPacket),
        (b"\x36\x04\0\x01a\0", Reason::MalformedPacket),
        (b"\x30\x04\0\x01#\0", Reason::TopicNameInvalid),
        (b"\x30\x07\0\x01a\x03\x23\0\0", Reason::TopicAliasInvalid),
        (b"\x30\x06\0\0\x03\x23\0\x05", Reason::ProtocolError),
        (b"\x82\x08\0\x01\0\0\x02a+\0", Reason::TopicFilterInvalid),
        (b"\xe0\x01\x8e", Reason::ProtocolError),
        (b"\xe1\x00", Reason::MalformedPacket),
        (b"\xff\xff\xff\xff\xff\x01", Reason::MalformedPacket),
    ];
    for (bytes, reason) in cases {
        let mut pair = Pair::open(Version::V5);
        say_bytes(&mut pair, bytes);
        assert_eq!(last_word(&pair.heard()), reason, "{bytes:02x?}");
        assert!(pair.connection.is_over() && pair.ended().with_will, "{bytes:02x?}");
    }
    let mut large = Pair::open(Version::V5);
    say_bytes(&mut large, b"\x30\xff\xff\x7f");
    assert_eq!(last_word(&large.heard()), Reason::PacketTooLarge);
}

/// What did not get to the disk ended connections with a reason that DISCONNECT does not have: to a
/// strict client that is a protocol error of the server.
#[test]
fn whatever_the_node_ends_a_connection_for_is_told_in_a_reason_that_disconnect_has() {
    for reason in Reason::ALL.iter().copied().filter(|reason| reason.is_failure()) {
        let mut pair = Pair::open(Version::V5);
        pair.connection.end(reason, "it has to be");
        assert!(last_word(&pair.heard()).is_failure(), "{reason}");
        assert!(pair.connection.is_over());
        let mut old = Pair::open(Version::V311);
        old.connection.end(reason, "it has to be");
        assert!(old.heard().is_empty() && old.connection.is_over());
    }
    let mut pair = Pair::open(Version::V5);
    pair.connection.end(Reason::SessionTakenOver, "another connection");
    pair.connection.end(Reason::AdministrativeAction, "and again");
    let said = pair.heard();
    assert_eq!((said.len(), last_word(&said)), (1, Reason::SessionTakenOver));
}

#[test]
fn what_explains_any_answer_is_left_out_where_the_client_would_not_take_it() {
    let answers = |reason_string: Option<Utf8>, user: UserProperties| {
        let properties = AckProperties { reason_string, user };
        let ack = |reason| Ack { packet_id: id(1), reason, properties: properties.clone() };
        let (no, unknown) = (Reason::NotAuthorized, Reason::PacketIdNotFound);
        let reasons = vec![no];
        let all = Suback { packet_id: id(1), reasons, properties: properties.clone() };
        let AckProperties { reason_string, user } = properties.clone();
        let (told, session_present) = ((reason_string.clone(), user.clone()), false);
        let connack = ConnackProperties { reason_string, user, ..ConnackProperties::default() };
        let connack = Connack { session_present, reason: no, properties: connack };
        let mut leaving = Disconnect::new(no);
        (leaving.properties.reason_string, leaving.properties.user) = told;
        [
            Packet::Connack(Box::new(connack)),
            Packet::Puback(ack(no)),
            Packet::Pubrec(ack(no)),
            Packet::Pubrel(ack(unknown)),
            Packet::Pubcomp(ack(unknown)),
            Packet::Suback(all.clone()),
            Packet::Unsuback(all),
            Packet::Disconnect(leaving),
        ]
    };
    let user: UserProperties = [(utf8("k").unwrap(), utf8("v").unwrap())].into_iter().collect();
    let bare = answers(None, UserProperties::default());
    let mut codec = Pair::open(Version::V5).connection.codec;
    for whole in [answers(utf8("a story"), UserProperties::default()), answers(None, user)] {
        for (whole, bare) in whole.iter().zip(&bare) {
            let mut size = |packet, limit| {
                codec.set_outgoing_limit(limit);
                let mut out = BytesMut::new();
                codec.encode(packet, &mut out).unwrap();
                out.len()
            };
            let (large, small) = (size(whole, u32::MAX), size(bare, u32::MAX));
            assert!(small < large, "{whole:?}");
            let limit = u32::try_from(large).unwrap();
            assert_eq!((size(whole, limit), size(whole, limit - 1)), (large, small), "{whole:?}");
        }
    }
}

#[test]
fn who_is_not_let_in_yet_hears_connack_and_never_disconnect() {
    for version in BOTH {
        let mut pair = Pair::with(Options::default(), version);
        pair.say(Packet::Connect(Box::new(connect(version))));
        assert!(pair.heard().is_empty(), "nothing comes before CONNACK");
        pair.connection.end(Reason::ServerShuttingDown, "the node stops");
        let said = pair.heard();
        let [Packet::Connack(connack)] = &said[..] else { panic!("{said:?}") };
        assert_eq!(connack.reason, Reason::ServerUnavailable);
        assert!(!connack.session_present && pair.connection.is_over());
        pair.connection.accept(Accepted::default());
        pair.connection.refuse(Reason::NotAuthorized, "late");
        assert!(pair.heard().is_empty(), "there is one CONNACK");
    }
    let mut open = Pair::open(Version::V5);
    open.connection.accept(Accepted::default());
    open.connection.refuse(Reason::NotAuthorized, "late");
    assert!(open.heard().is_empty() && !open.connection.is_over());
}

#[test]
fn what_follows_a_connect_that_is_refused_is_not_looked_at() {
    let mut pair = Pair::with(Options::default(), Version::V5);
    let mut bytes = BytesMut::new();
    pair.client.encode(&Packet::Connect(Box::new(connect(Version::V5))), &mut bytes).unwrap();
    pair.client.encode(&Packet::Publish(message(1, AT_LEAST)), &mut bytes).unwrap();
    pair.connection.receive(0, &mut bytes);
    pair.connection.refuse(Reason::BadUserNameOrPassword, "no such token");
    pair.connection.receive(0, &mut bytes);
    let requests = pair.requests();
    assert!(matches!(&requests[..], [Request::Open(_), Request::Ended(_)]), "{requests:?}");
}

#[test]
fn a_client_is_told_what_the_server_does_otherwise_than_it_asked() {
    let minute = NonZeroU16::new(60);
    let options = Options { keep_alive_max_s: minute, ..Options::default() };
    let told = |asked: u16, version| {
        let mut pair = Pair::with(options, version);
        let mut connect = Connect { keep_alive: asked, ..connect(version) };
        connect.properties.request_response = (version == Version::V5).then_some(true);
        pair.say(Packet::Connect(Box::new(connect)));
        pair.connection.accept(Accepted { session_expiry_s: Some(7), ..Accepted::default() });
        match pair.heard().pop() {
            Some(Packet::Connack(connack)) => (connack.properties, pair.connection.deadline()),
            other => panic!("{other:?}"),
        }
    };
    let (properties, deadline) = told(300, Version::V5);
    assert_eq!((properties.server_keep_alive, deadline), (Some(60), Some(90_000)));
    assert_eq!(properties.session_expiry_s, Some(7));
    assert_eq!(properties.maximum_packet, NonZeroU32::new(options.limits.packet));
    assert_eq!(properties.response_information, None, "there is none, asked for or not");
    assert_eq!(properties.authentication_method, None);
    let all = (properties.maximum_qos, properties.retain_available, properties.shared_available);
    assert_eq!(all, (None, None, None), "nothing is missing here");
    let (properties, deadline) = told(30, Version::V5);
    assert_eq!((properties.server_keep_alive, deadline), (None, Some(45_000)));
    assert_eq!(told(0, Version::V5).1, Some(90_000));
    assert_eq!(told(300, Version::V311).1, Some(450_000), "it cannot be told");
}

/// The identifiers that a session held from an earlier connection were counted as if they had been
/// sent over this one, and a client that sent as much as it may was thrown out for it.
#[test]
fn the_quota_of_a_client_begins_anew_with_each_connection() {
    let options = Options { receive_maximum: NonZeroU16::new(2).unwrap(), ..Options::default() };
    let held = Accepted { session_present: true, held: vec![id(1), id(2)], ..Accepted::default() };
    let mut pair = Pair::opened(options, connect(Version::V5), held);
    pair.say(Packet::Publish(message(3, ONCE)));
    pair.say(Packet::Publish(message(4, AT_LEAST)));
    assert_eq!(pair.arrived().len(), 2);
    // What is released of the earlier ones makes no more room than there was.
    pair.say(pubrel(1));
    pair.connection.released(id(1));
    pair.requests();
    assert_eq!(pair.heard(), [pubcomp(1)]);
    pair.say(Packet::Publish(message(5, AT_LEAST)));
    assert_eq!(last_word(&pair.heard()), Reason::ReceiveMaximumExceeded);
}

#[test]
fn a_refusal_gives_back_what_a_message_took_of_the_quota() {
    let options = Options { receive_maximum: NonZeroU16::new(1).unwrap(), ..Options::default() };
    let mut pair = Pair::opened(options, connect(Version::V5), Accepted::default());
    for number in 1..4 {
        pair.say(Packet::Publish(message(number, ONCE)));
        let serial = pair.arrived()[0];
        pair.connection.published(serial, Reason::NotAuthorized.into());
    }
    assert!(!pair.connection.is_over());
    pair.say(Packet::Publish(message(4, ONCE)));
    let serial = pair.arrived()[0];
    pair.done(serial);
    pair.say(Packet::Publish(message(5, ONCE)));
    assert_eq!(last_word(&pair.heard()), Reason::ReceiveMaximumExceeded, "it is not released");
}

/// Clients of version 3.1.1 may send a message again over the same connection when its answer takes
/// long, and modems do: each slow write to disk cost them the connection.
#[test]
fn an_old_client_may_send_again_what_is_not_answered_yet_and_it_is_handed_on_once() {
    for qos in [AT_LEAST, ONCE] {
        let mut pair = Pair::open(Version::V311);
        pair.say(Packet::Publish(message(3, qos)));
        pair.say(Packet::Publish(Publish { dup: true, ..message(3, qos) }));
        let serials = pair.arrived();
        assert_eq!((serials.len(), pair.connection.is_over()), (1, false));
        pair.done(serials[0]);
        assert_eq!(pair.heard().len(), 1);
        // Without the mark it is another message under an identifier that is in use.
        pair.say(Packet::Publish(message(4, qos)));
        pair.say(Packet::Publish(message(4, qos)));
        assert!(pair.connection.is_over());
    }
    let mut new = Pair::open(Version::V5);
    new.say(Packet::Publish(message(3, AT_LEAST)));
    new.say(Packet::Publish(Publish { dup: true, ..message(3, AT_LEAST) }));
    assert_eq!(last_word(&new.heard()), Reason::ProtocolError);
}

#[test]
fn an_identifier_is_free_once_its_message_is_answered_whatever_the_mark_says() {
    for version in BOTH {
        let mut pair = Pair::open(version);
        for dup in [false, true] {
            pair.say(Packet::Publish(Publish { dup, ..message(3, AT_LEAST) }));
            let serial = pair.arrived()[0];
            pair.done(serial);
            assert_eq!(pair.heard(), [puback(3)]);
        }
        for dup in [false, true] {
            pair.say(Packet::Publish(Publish { dup, ..message(3, ONCE) }));
            let serial = pair.arrived()[0];
            pair.done(serial);
            pair.say(pubrel(3));
            assert_eq!(pair.requests().len(), 1);
            pair.connection.released(id(3));
            assert_eq!(pair.heard(), [pubrec(3), pubcomp(3)]);
        }
    }
}

#[test]
fn a_message_of_qos_0_is_not_answered() {
    for version in BOTH {
        let mut pair = Pair::open(version);
        pair.say(Packet::Publish(message(0, QoS::AtMostOnce)));
        let serial = pair.arrived()[0];
        pair.done(serial);
        assert!(pair.heard().is_empty());
    }
}

#[test]
fn whoever_has_as_much_as_it_takes_is_still_answered() {
    let mut asking = connect(Version::V5);
    asking.properties.receive_maximum = NonZeroU16::new(1);
    let mut pair = Pair::opened(Options::default(), asking, Accepted::default());
    pair.connection.deliver(message(1, AT_LEAST));
    assert_eq!((pair.connection.room(), pair.heard().len()), (0, 1));
    pair.say(Packet::Pingreq);
    pair.say(subscribe(1));
    pair.connection.subscribed(id(1), vec![Reason::Success], None);
    pair.say(Packet::Publish(message(1, AT_LEAST)));
    let serial = pair
        .requests()
        .into_iter()
        .find_map(|request| match request {
            Request::Publish(arrived) => Some(arrived.serial),
            _ => None,
        })
        .unwrap();
    pair.done(serial);
    let said = pair.heard();
    let [Packet::Pingresp, Packet::Suback(_), Packet::Puback(_)] = &said[..] else {
        panic!("{said:?}")
    };
    // Both sides have identifiers of their own: the client's answer to 1 is for what it was sent.
    pair.say(puback(1));
    assert_eq!(pair.connection.room(), 1);
}

#[test]
fn a_refusal_by_the_client_ends_the_exchange_of_either_qos() {
    let mut pair = Pair::open(Version::V5);
    pair.connection.deliver(message(1, AT_LEAST));
    pair.connection.deliver(message(2, ONCE));
    pair.heard();
    pair.say(Packet::Puback(Ack::new(id(1), Reason::Unspecified)));
    pair.say(Packet::Pubrec(Ack::new(id(2), Reason::Unspecified)));
    let asked = pair.requests();
    assert!(
        matches!(&asked[..], [Request::Acked(a), Request::Acked(b)] if (*a, *b) == (id(1), id(2))),
        "{asked:?}"
    );
    assert!(pair.heard().is_empty(), "what was refused is not released");
}

/// A client whose packets were not read, because as much of it was unanswered as may be, was given
/// up as silent.
#[test]
fn a_client_that_is_not_read_is_not_given_up_as_silent() {
    let options = Options { receive_maximum: NonZeroU16::MIN, ..Options::default() };
    let mut pair = Pair::opened(options, connect(Version::V311), Accepted::default());
    pair.say(Packet::Publish(message(1, AT_LEAST)));
    assert!(!pair.connection.wants_input());
    pair.connection.tick(15_000);
    assert!(!pair.connection.is_over());
    let serial = pair.arrived()[0];
    pair.done(serial);
    assert_eq!(pair.connection.deadline(), Some(30_000), "from now on it has its time");
    pair.connection.tick(30_000);
    assert!(pair.connection.is_over());
}

#[test]
fn an_alias_is_used_only_by_a_connection_that_takes_it() {
    let mut pair = Pair::open(Version::V5);
    pair.connection.deliver(message(0, QoS::AtMostOnce));
    pair.connection.deliver(message(0, QoS::AtMostOnce));
    for packet in pair.heard() {
        let Packet::Publish(publish) = packet else { panic!("{packet:?}") };
        assert_eq!(publish.properties.alias, None, "none was offered");
        assert_eq!(publish.topic.as_str(), "site/level");
    }
    let options = Options { alias_maximum: 0, ..Options::default() };
    let mut none = Pair::opened(options, connect(Version::V5), Accepted::default());
    let mut publish = message(0, QoS::AtMostOnce);
    publish.properties.alias = NonZeroU16::new(1);
    none.say(Packet::Publish(publish));
    assert_eq!(last_word(&none.heard()), Reason::TopicAliasInvalid);
}

#[test]
fn after_disconnect_nothing_is_said_or_heard() {
    for version in BOTH {
        let mut pair = Pair::open(version);
        let mut bytes = BytesMut::new();
        let leave = Packet::Disconnect(Disconnect::new(Reason::Success));
        for packet in [leave, Packet::Pingreq] {
            pair.client.encode(&packet, &mut bytes).unwrap();
        }
        pair.connection.receive(0, &mut bytes);
        assert!(pair.connection.is_over() && pair.heard().is_empty());
        assert_eq!(pair.connection.deliver(message(1, AT_LEAST)), Delivered::Over);
        pair.connection.end(Reason::KeepAliveTimeout, "too late");
        assert!(pair.heard().is_empty());
    }
}
