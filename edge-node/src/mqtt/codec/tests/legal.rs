//! What is legal and looks as if it were not; what is left out where it does not fit.

use super::*;

fn accept(codec: &mut Codec, text: &str) -> Packet {
    let bytes = bytes(text);
    let mut input = BytesMut::from(&bytes[..]);
    let packet = codec.decode(&mut input).unwrap_or_else(|violation| panic!("{text}: {violation}"));
    assert!(input.is_empty(), "{text}");
    packet.unwrap_or_else(|| panic!("{text} is not complete"))
}

fn publish(text: &str) -> Publish {
    match accept(&mut reader_of(Side::Client, Version::V5), text) {
        Packet::Publish(publish) => publish,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_may_expire_at_once() {
    let expiring = publish("30 0a 0001'a' 05 02 00000000 'x'");
    assert_eq!((expiring.properties.expiry_s, &expiring.payload[..]), (Some(0), &b"x"[..]));
}

#[test]
fn an_alias_stands_for_the_topic_or_comes_with_it() {
    let by_alias = publish("30 07 0000 03 23 0001 'x'");
    assert!(by_alias.topic.is_empty());
    assert_eq!(by_alias.properties.alias, Some(id(1)));
    assert_eq!(publish("30 08 0001'a' 03 23 ffff 'x'").topic.as_str(), "a");
}

#[test]
fn user_properties_repeat_and_keep_their_order() {
    let together = publish("30 12 0001'a' 0e 26 0001'k' 0001'1' 26 0001'k' 0001'2'");
    let apart = publish("30 14 0001'a' 10 26 0001'k' 0001'1' 0101 26 0001'k' 0001'2'");
    for publish in [together, apart] {
        let pairs: Vec<(&str, &str)> = publish.properties.user.iter().collect();
        assert_eq!(pairs, [("k", "1"), ("k", "2")]);
    }
}

#[test]
fn topics_may_have_empty_levels_spaces_and_any_character() {
    for name in ["/", "//", "a b", " ", "$SYS/x", "\u{FEFF}", "\u{FFFF}", "\u{1}", "Ω/🦀"] {
        let len = name.len();
        assert_eq!(
            publish(&format!("30 {:02x} {len:04x} '{name}' 00", len + 3)).topic.as_str(),
            name
        );
    }
}

#[test]
fn a_client_may_be_without_name_keep_alive_and_user() {
    let fresh = || Codec::new(Limits::default());
    accept(&mut fresh(), "10 0c 0004'MQTT' 04 02 0000 0000");
    accept(&mut fresh(), "10 0d 0004'MQTT' 05 00 003c 00 0000");
    accept(&mut fresh(), "10 10 0004'MQTT' 05 42 003c 00 0000 0001'p'");
    accept(&mut fresh(), "10 10 0004'MQTT' 04 c2 003c 0000 0000 0000");
    accept(&mut fresh(), "10 12 0004'MQTT' 04 06 003c 0001'c' 0001't' 0000");
    accept(&mut fresh(), "10 17 0004'MQTT' 05 02 003c 08 15 0001'm' 16 0001'd' 0002'ab'");
}

#[test]
fn answers_may_be_short_or_whole() {
    let mut client = reader_of(Side::Client, Version::V5);
    let short = accept(&mut client, "40 02 0001");
    assert_eq!(accept(&mut client, "40 03 0001 00"), short);
    assert_eq!(accept(&mut client, "40 04 0001 00 00"), short);
    let short = accept(&mut client, "e0 00");
    assert_eq!(accept(&mut client, "e0 01 00"), short);
    assert_eq!(accept(&mut client, "e0 02 00 00"), short);
}

#[test]
fn a_share_is_a_share_in_both_versions_and_a_level_where_it_cannot_be_one() {
    let filter_of = |version, text: &str| match accept(&mut reader_of(Side::Client, version), text)
    {
        Packet::Unsubscribe(mut unsubscribe) => unsubscribe.filters.remove(0),
        other => panic!("{other:?}"),
    };
    let shared = filter_of(Version::V5, "a2 0f 0001 00 000a'$share/g/a'");
    assert_eq!((shared.share(), shared.pattern()), (Some("g"), "a"));
    assert_eq!(filter_of(Version::V311, "a2 0e 0001 000a'$share/g/a'"), shared);
    let literal = filter_of(Version::V311, "a2 0d 0001 0009'$share//a'");
    assert_eq!((literal.share(), literal.pattern()), (None, "$share//a"));
    assert_eq!(filter_of(Version::V5, "a2 0b 0001 00 0006'$share'").share(), None);
}

#[test]
fn lengths_reach_from_one_byte_to_four() {
    let ends = [0, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, VARIABLE_MAX];
    for (index, value) in ends.into_iter().enumerate() {
        let (bytes, len) = header::variable_bytes(value);
        assert_eq!(len, index / 2 + 1);
        assert_eq!(header::variable(&bytes[..len]), Ok(Some((value, len))));
        assert_eq!(header::variable(&bytes[..len - 1]), Ok(None));
    }
}

#[test]
fn what_explains_a_failure_is_left_out_where_it_does_not_fit() {
    let reason_string = Some(utf8("a long story"));
    let properties = AckProperties { reason_string, user: user(&[("k", "v")]) };
    let ack = Ack { packet_id: id(1), reason: Reason::NotAuthorized, properties };
    let mut codec = reader_of(Side::Client, Version::V5);
    for (limit, len) in [(u32::MAX, 28), (28, 28), (27, 5), (5, 5)] {
        codec.set_outgoing_limit(limit);
        let mut written = BytesMut::new();
        codec.encode(&Packet::Puback(ack.clone()), &mut written).unwrap();
        assert_eq!(written.len(), len, "{limit}");
        assert!(codec.decode(&mut written).unwrap().is_some());
    }
    codec.set_outgoing_limit(4);
    let mut written = BytesMut::new();
    let refused = codec.encode(&Packet::Puback(ack), &mut written);
    assert_eq!(refused, Err(EncodeError::TooLarge { bytes: 5, limit: 4 }));
    assert!(written.is_empty());
}

#[test]
fn a_packet_that_contradicts_itself_is_not_written() {
    let publish = publish("32 09 0001'a' 0001 00 'xyz'");
    let v5 = reader_of(Side::Client, Version::V5);
    let v311 = reader_of(Side::Client, Version::V311);
    let unfit = |codec: &Codec, packet: Packet| {
        let mut written = BytesMut::new();
        let refused = matches!(codec.encode(&packet, &mut written), Err(EncodeError::Unfit(_)));
        assert!(refused && written.is_empty(), "{packet:?}");
    };
    unfit(&v5, Packet::Publish(Publish { packet_id: None, ..publish.clone() }));
    unfit(&v5, Packet::Publish(Publish { qos: QoS::AtMostOnce, ..publish.clone() }));
    unfit(&v5, Packet::Publish(Publish { topic: Topic::by_alias(), ..publish.clone() }));
    let properties = PublishProperties { alias: Some(id(1)), ..PublishProperties::default() };
    let by_alias = Publish { topic: Topic::by_alias(), properties, ..publish };
    unfit(&v311, Packet::Publish(by_alias));
    let user = UserProperties::default();
    let none = Unsubscribe { packet_id: id(1), filters: Vec::new(), user };
    unfit(&v5, Packet::Unsubscribe(none));
}
