//! Each packet in both versions, byte by byte.

use super::*;

fn both_ways(sender: Side, version: Version, text: &str, packet: &Packet) {
    let expected = bytes(text);
    let mut codec = match packet {
        Packet::Connect(_) => Codec::new(Limits::default()),
        _ => reader_of(sender, version),
    };
    let mut written = BytesMut::new();
    codec.encode(packet, &mut written).unwrap();
    assert_eq!(&written[..], expected, "{packet:?} is written as {written:02x?}");
    assert_eq!(codec.decode(&mut written).unwrap().as_ref(), Some(packet));
    assert!(written.is_empty());
    assert_eq!(codec.version(), Some(version));
}

fn connect(version: Version) -> Connect {
    Connect {
        version,
        clean_start: true,
        keep_alive: 60,
        client_id: utf8("dev1"),
        will: None,
        user_name: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

fn publish(payload: &'static [u8]) -> Publish {
    Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        topic: topic("a/b"),
        packet_id: None,
        payload: payload.into(),
        properties: PublishProperties::default(),
    }
}

fn subscription(options: SubscriptionOptions) -> Subscribe {
    let subscriptions = vec![Subscription { filter: filter("#"), options }];
    let user = UserProperties::default();
    Subscribe { packet_id: id(10), subscriptions, subscription_id: None, user }
}

fn suback(reasons: &[Reason]) -> Suback {
    let properties = AckProperties::default();
    Suback { packet_id: id(10), reasons: reasons.to_vec(), properties }
}

fn unsubscribe() -> Packet {
    let user = UserProperties::default();
    Packet::Unsubscribe(Unsubscribe { packet_id: id(10), filters: vec![filter("#")], user })
}

#[test]
fn connect_is_written_as_the_standard_says() {
    let plain = Packet::Connect(Box::new(connect(Version::V311)));
    both_ways(Side::Client, Version::V311, "10 10 0004 'MQTT' 04 02 003c 0004 'dev1'", &plain);
    let plain = Packet::Connect(Box::new(connect(Version::V5)));
    both_ways(Side::Client, Version::V5, "10 11 0004 'MQTT' 05 02 003c 00 0004 'dev1'", &plain);
    let full = Connect {
        clean_start: false,
        keep_alive: 0,
        client_id: utf8("c"),
        will: Some(Will {
            qos: QoS::AtLeastOnce,
            retain: true,
            topic: topic("t"),
            payload: binary(b"\xde\xad"),
            properties: WillProperties::default(),
        }),
        user_name: Some(utf8("u")),
        password: Some(binary(b"p")),
        ..connect(Version::V311)
    };
    let text = "10 1a 0004 'MQTT' 04 ec 0000 0001'c' 0001't' 0002 dead 0001'u' 0001'p'";
    both_ways(Side::Client, Version::V311, text, &Packet::Connect(Box::new(full)));
}

#[test]
fn connect_has_all_its_properties_and_those_of_its_will() {
    let properties = ConnectProperties {
        session_expiry_s: Some(60),
        receive_maximum: Some(id(20)),
        maximum_packet: Some(65_536.try_into().unwrap()),
        alias_maximum: Some(10),
        request_response: Some(true),
        request_problem: Some(false),
        authentication_method: Some(utf8("m")),
        authentication_data: Some(binary(b"\xff")),
        user: user(&[("k", "v")]),
    };
    let will = Will {
        qos: QoS::ExactlyOnce,
        retain: false,
        topic: topic("w"),
        payload: binary(b"x"),
        properties: WillProperties {
            delay_s: Some(5),
            payload_is_text: Some(true),
            expiry_s: Some(10),
            content_type: Some(utf8("t")),
            response_topic: Some(topic("r")),
            correlation: Some(binary(b"\xaa")),
            user: UserProperties::default(),
        },
    };
    let packet = Packet::Connect(Box::new(Connect {
        client_id: utf8("c"),
        will: Some(will),
        user_name: Some(utf8("u")),
        password: Some(binary(b"p")),
        properties,
        ..connect(Version::V5)
    }));
    let text = "10 56 0004 'MQTT' 05 d6 003c \
        23 11 0000003c 21 0014 27 00010000 22 000a 19 01 17 00 15 0001'm' 16 0001 ff \
        26 0001'k' 0001'v' 0001'c' 18 18 00000005 01 01 02 0000000a 03 0001't' 08 0001'r' \
        09 0001 aa 0001'w' 0001'x' 0001'u' 0001'p'";
    both_ways(Side::Client, Version::V5, text, &packet);
}

#[test]
fn connack_is_written_as_the_standard_says() {
    let plain = |session_present, reason| {
        let properties = ConnackProperties::default();
        Packet::Connack(Box::new(Connack { session_present, reason, properties }))
    };
    both_ways(Side::Server, Version::V311, "20 02 01 00", &plain(true, Reason::Success));
    both_ways(Side::Server, Version::V311, "20 02 00 05", &plain(false, Reason::NotAuthorized));
    both_ways(Side::Server, Version::V5, "20 03 01 00 00", &plain(true, Reason::Success));
    let properties = ConnackProperties {
        session_expiry_s: Some(1),
        receive_maximum: Some(id(2)),
        maximum_qos: Some(QoS::AtLeastOnce),
        retain_available: Some(false),
        maximum_packet: Some(256.try_into().unwrap()),
        assigned_client_id: Some(utf8("i")),
        alias_maximum: Some(3),
        reason_string: Some(utf8("w")),
        wildcards_available: Some(false),
        subscription_ids_available: Some(false),
        shared_available: Some(false),
        server_keep_alive: Some(10),
        response_information: Some(utf8("r")),
        server_reference: Some(utf8("s")),
        authentication_method: Some(utf8("m")),
        authentication_data: Some(binary(b"\0")),
        user: user(&[("k", "v")]),
    };
    let text = "20 3f 00 00 3c 11 00000001 21 0002 24 01 25 00 27 00000100 12 0001'i' 22 0003 \
        28 00 29 00 2a 00 13 000a 1a 0001'r' 1c 0001's' 15 0001'm' 16 0001 00 1f 0001'w' \
        26 0001'k' 0001'v'";
    let connack = Connack { session_present: false, reason: Reason::Success, properties };
    both_ways(Side::Server, Version::V5, text, &Packet::Connack(Box::new(connack)));
}

#[test]
fn publish_is_written_as_the_standard_says() {
    both_ways(Side::Client, Version::V311, "30 05 0003 'a/b'", &Packet::Publish(publish(b"")));
    both_ways(
        Side::Client,
        Version::V5,
        "30 07 0003 'a/b' 00 'x'",
        &Packet::Publish(publish(b"x")),
    );
    let again = Publish {
        dup: true,
        qos: QoS::AtLeastOnce,
        retain: true,
        topic: topic("a"),
        packet_id: Some(id(10)),
        ..publish(b"hi")
    };
    both_ways(Side::Client, Version::V311, "3b 07 0001'a' 000a 'hi'", &Packet::Publish(again));
    let properties = PublishProperties {
        payload_is_text: Some(true),
        expiry_s: Some(0),
        alias: Some(id(5)),
        response_topic: Some(topic("r")),
        correlation: Some(binary(b"\xab")),
        subscription_ids: vec![128.try_into().unwrap()],
        content_type: Some(utf8("t")),
        user: user(&[("k", "v")]),
    };
    let full = Publish {
        qos: QoS::ExactlyOnce,
        topic: topic("a"),
        packet_id: Some(id(7)),
        properties,
        ..publish(b"hi")
    };
    let text = "34 28 0001'a' 0007 20 01 01 02 00000000 23 0005 08 0001'r' 09 0001 ab 0b 8001 \
        03 0001't' 26 0001'k' 0001'v' 'hi'";
    both_ways(Side::Server, Version::V5, text, &Packet::Publish(full));
}

#[test]
fn acknowledgements_are_as_short_as_they_can_be() {
    let plain = |reason| Ack::new(id(1), reason);
    for version in [Version::V311, Version::V5] {
        let ack = plain(Reason::Success);
        both_ways(Side::Client, version, "40 02 0001", &Packet::Puback(ack.clone()));
        both_ways(Side::Client, version, "50 02 0001", &Packet::Pubrec(ack.clone()));
        both_ways(Side::Client, version, "62 02 0001", &Packet::Pubrel(ack.clone()));
        both_ways(Side::Client, version, "70 02 0001", &Packet::Pubcomp(ack));
    }
    let nobody = plain(Reason::NoMatchingSubscribers);
    both_ways(Side::Server, Version::V5, "40 03 0001 10", &Packet::Puback(nobody.clone()));
    both_ways(Side::Server, Version::V5, "50 03 0001 10", &Packet::Pubrec(nobody));
    let unknown = plain(Reason::PacketIdNotFound);
    both_ways(Side::Server, Version::V5, "62 03 0001 92", &Packet::Pubrel(unknown.clone()));
    both_ways(Side::Server, Version::V5, "70 03 0001 92", &Packet::Pubcomp(unknown));
    let properties =
        AckProperties { reason_string: Some(utf8("x")), user: UserProperties::default() };
    let explained = Ack { properties, ..plain(Reason::Success) };
    let text = "40 08 0001 00 04 1f 0001'x'";
    both_ways(Side::Server, Version::V5, text, &Packet::Puback(explained));
}

#[test]
fn subscriptions_are_written_as_the_standard_says() {
    let once = SubscriptionOptions { qos: QoS::ExactlyOnce, ..SubscriptionOptions::default() };
    let packet = Packet::Subscribe(subscription(once));
    both_ways(Side::Client, Version::V311, "82 06 000a 0001'#' 02", &packet);
    let options = SubscriptionOptions {
        qos: QoS::AtLeastOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::DoNotSend,
    };
    let subscription_id = Some(7.try_into().unwrap());
    let packet = Packet::Subscribe(Subscribe { subscription_id, ..subscription(options) });
    both_ways(Side::Client, Version::V5, "82 09 000a 02 0b07 0001'#' 2d", &packet);
    let reasons = [Reason::Success, Reason::GrantedQos1, Reason::Unspecified];
    let packet = Packet::Suback(suback(&reasons));
    both_ways(Side::Server, Version::V311, "90 05 000a 00 01 80", &packet);
    let packet = Packet::Suback(suback(&[Reason::GrantedQos2, Reason::TopicFilterInvalid]));
    both_ways(Side::Server, Version::V5, "90 05 000a 00 02 8f", &packet);
    both_ways(Side::Client, Version::V311, "a2 05 000a 0001'#'", &unsubscribe());
    both_ways(Side::Client, Version::V5, "a2 06 000a 00 0001'#'", &unsubscribe());
    both_ways(Side::Server, Version::V311, "b0 02 000a", &Packet::Unsuback(suback(&[])));
    let packet = Packet::Unsuback(suback(&[Reason::Success, Reason::NoSubscriptionExisted]));
    both_ways(Side::Server, Version::V5, "b0 05 000a 00 00 11", &packet);
}

#[test]
fn what_has_no_body_has_none() {
    for version in [Version::V311, Version::V5] {
        both_ways(Side::Client, version, "c0 00", &Packet::Pingreq);
        both_ways(Side::Server, version, "d0 00", &Packet::Pingresp);
        let normal = Packet::Disconnect(Disconnect::new(Reason::Success));
        both_ways(Side::Client, version, "e0 00", &normal);
    }
}

#[test]
fn disconnect_and_auth_are_written_as_the_standard_says() {
    let with_will = Disconnect::new(Reason::DisconnectWithWill);
    let packet = Packet::Disconnect(with_will.clone());
    both_ways(Side::Client, Version::V5, "e0 01 04", &packet);
    let session_expiry_s = Some(3600);
    let properties = DisconnectProperties { session_expiry_s, ..DisconnectProperties::default() };
    let packet = Packet::Disconnect(Disconnect { properties, ..with_will });
    both_ways(Side::Client, Version::V5, "e0 07 04 05 11 00000e10", &packet);
    let step = Auth {
        reason: Reason::ContinueAuthentication,
        method: Some(utf8("m")),
        data: None,
        reason_string: None,
        user: UserProperties::default(),
    };
    both_ways(Side::Client, Version::V5, "f0 06 18 04 15 0001'm'", &Packet::Auth(step.clone()));
    let done = Auth { reason: Reason::Success, method: None, ..step };
    both_ways(Side::Server, Version::V5, "f0 00", &Packet::Auth(done));
}
