//! What a strict server refuses, with the reason that version 5 gives and the place that is named.

use super::*;

/// A packet of a first byte and a body, with the length between them.
fn frame(text: &str) -> Vec<u8> {
    let mut all = bytes(text);
    let body = all.split_off(1);
    let (length, len) = header::variable_bytes(u32::try_from(body.len()).unwrap());
    all.extend_from_slice(&length[..len]);
    all.extend(body);
    all
}

fn refuse(codec: &mut Codec, bytes: &[u8], reason: Reason, place: &str) {
    let violation = decode(codec, bytes).expect_err(place);
    let told = (violation.reason, violation.what.contains(place));
    assert_eq!(told, (reason, true), "{bytes:02x?} is refused with {violation}, not at {place}");
}

fn refuse_all(sender: Side, version: Version, cases: &[(&str, Reason, &str)]) {
    for (text, reason, place) in cases {
        refuse(&mut reader_of(sender, version), &frame(text), *reason, place);
    }
}

fn refuse_connects(cases: &[(&str, Reason, &str)]) {
    for (text, reason, place) in cases {
        let text = format!("10 {text}");
        refuse(&mut Codec::new(Limits::default()), &frame(&text), *reason, place);
    }
}

const MALFORMED: Reason = Reason::MalformedPacket;
const PROTOCOL: Reason = Reason::ProtocolError;

#[test]
fn flags_of_the_fixed_header_are_those_of_the_packet() {
    for version in [Version::V311, Version::V5] {
        for first in 0..=255_u8 {
            let (code, flags) = (first >> 4, first & 15);
            let wanted = if matches!(code, 6 | 8 | 10) { 2 } else { 0 };
            let legal = match code {
                0 => false,
                3 => flags & 6 != 6 && flags & 0b1110 != 8,
                _ => flags == wanted,
            };
            let judged = header::Header::read(first);
            assert_eq!(judged.is_ok(), legal, "{first:02x}");
            if let Err(violation) = judged {
                assert_eq!(violation.reason, MALFORMED);
                refuse(&mut reader_of(Side::Client, version), &[first], MALFORMED, "at byte 0");
            }
        }
    }
}

#[test]
fn lengths_have_at_most_four_bytes_and_are_not_padded() {
    let codec = || reader_of(Side::Client, Version::V5);
    refuse(&mut codec(), &bytes("30 80808080"), MALFORMED, "a fifth byte");
    refuse(&mut codec(), &bytes("30 ffffffff 7f"), MALFORMED, "a fifth byte");
    refuse(&mut codec(), &bytes("c0 8000"), MALFORMED, "padded");
    refuse(&mut codec(), &bytes("30 868000"), MALFORMED, "padded");
    refuse(
        &mut codec(),
        &frame("30 0001'a' 8000 'x'"),
        MALFORMED,
        "property length at byte 5: pad",
    );
    refuse(&mut codec(), &frame("30 0001'a' 80"), MALFORMED, "property length at byte 5: cut");
}

#[test]
fn a_length_is_a_claim_that_nothing_is_reserved_for() {
    let mut input = BytesMut::from(&bytes("10 80c2d72f 0004'MQTT'")[..]);
    let before = input.capacity();
    let violation = Codec::new(Limits::default()).decode(&mut input).unwrap_err();
    assert_eq!(violation.reason, Reason::PacketTooLarge);
    assert_eq!(violation.what, "CONNECT: 100000005 bytes, expected at most 65536");
    assert_eq!(input.capacity(), before);
    let mut input = BytesMut::from(&bytes("30 ffff3f 0001'a'")[..]);
    let before = input.capacity();
    let mut codec = reader_of(Side::Client, Version::V5);
    refuse(&mut codec, &input, Reason::PacketTooLarge, "expected at most 1048576");
    codec.limits.packet = u32::MAX;
    assert_eq!(codec.decode(&mut input), Ok(None));
    assert_eq!(input.capacity(), before);
}

#[test]
fn the_limit_counts_the_header() {
    let limits = Limits { before_connect: 18, packet: 7 };
    let mut codec = Codec::new(limits);
    let connect = bytes("10 10 0004 'MQTT' 04 02 003c 0004 'dev1'");
    assert!(decode(&mut codec, &connect).unwrap().is_some());
    assert!(decode(&mut codec, &bytes("30 05 0003'abc'")).unwrap().is_some());
    refuse(&mut codec, &bytes("30 06 0003"), Reason::PacketTooLarge, "8 bytes, expected at most 7");
    let mut codec = Codec::new(Limits { before_connect: 17, packet: 100 });
    refuse(&mut codec, &connect, Reason::PacketTooLarge, "18 bytes, expected at most 17");
}

#[test]
fn packets_come_in_their_order_and_from_their_side() {
    let mut fresh = Codec::new(Limits::default());
    refuse(&mut fresh, &bytes("c000"), PROTOCOL, "PINGREQ: before CONNECT");
    for version in [Version::V311, Version::V5] {
        refuse_all(
            Side::Client,
            version,
            &[
                ("10", PROTOCOL, "CONNECT: comes once"),
                ("20 0000", PROTOCOL, "CONNACK: comes only from the other side"),
                ("90 0001", PROTOCOL, "SUBACK: comes only from the other side"),
                ("b0 0001", PROTOCOL, "UNSUBACK: comes only from the other side"),
                ("d0", PROTOCOL, "PINGRESP: comes only from the other side"),
            ],
        );
        refuse_all(
            Side::Server,
            version,
            &[
                ("82 0001", PROTOCOL, "SUBSCRIBE: comes only from the other side"),
                ("a2 0001", PROTOCOL, "UNSUBSCRIBE: comes only from the other side"),
                ("c0", PROTOCOL, "PINGREQ: comes only from the other side"),
            ],
        );
    }
    refuse_all(Side::Client, Version::V311, &[("f0", MALFORMED, "AUTH: packet type 15")]);
    refuse_all(Side::Server, Version::V311, &[("e0", PROTOCOL, "DISCONNECT: no server")]);
}

#[test]
fn strings_are_utf8_without_u0000() {
    let surrogate = "30 0003 eda080 00";
    refuse_all(
        Side::Client,
        Version::V5,
        &[
            ("30 0002 'a' ff 00", MALFORMED, "PUBLISH: topic name at byte 2: byte 1 is not UTF-8"),
            (surrogate, MALFORMED, "topic name at byte 2: byte 0 is not UTF-8"),
            ("30 0002 c080 00", MALFORMED, "byte 0 is not UTF-8"),
            ("30 0002 'a' 00 00", MALFORMED, "U+0000 at byte 1"),
            ("30 0001'a' 04 03 0001 00", MALFORMED, "content type at byte 7: U+0000"),
            ("30 0001'a' 07 26 0001 ff 0001'v'", MALFORMED, "name of a user property at byte 7"),
            ("30 0001'a' 07 26 0001'k' 0001 00", MALFORMED, "value of a user property at byte 10"),
            ("82 0001 00 0001 00 00", MALFORMED, "topic filter at byte 5: U+0000"),
            ("30 0005'abc'", MALFORMED, "topic name at byte 4: 3 bytes left, expected 5"),
            ("30 00", MALFORMED, "topic name at byte 2: 1 bytes left, expected 2"),
        ],
    );
    let v5 = "0004'MQTT' 05";
    refuse_connects(&[
        (&format!("{v5} 02 003c 00 0001 ff"), MALFORMED, "client identifier at byte 13"),
        (&format!("{v5} 82 003c 00 0001'c' 0001 00"), MALFORMED, "user name at byte 16"),
        (&format!("{v5} 06 003c 00 0001'c' 00 0001 ff 0000"), MALFORMED, "will topic at byte 17"),
    ]);
}

#[test]
fn topic_names_have_no_wildcards_and_are_not_empty() {
    let invalid = Reason::TopicNameInvalid;
    for version in [Version::V311, Version::V5] {
        refuse_all(
            Side::Client,
            version,
            &[
                ("30 0003'a/#' 00", invalid, "topic name at byte 2: wildcard at byte 2"),
                ("30 0001'+' 00", invalid, "topic name at byte 2: wildcard at byte 0"),
            ],
        );
    }
    refuse_all(Side::Client, Version::V311, &[("30 0000", invalid, "topic name at byte 2: empty")]);
    refuse_all(
        Side::Client,
        Version::V5,
        &[
            ("30 0000 00", PROTOCOL, "topic name at byte 2: empty, expected a topic or its alias"),
            ("30 0001'a' 04 08 0001'#'", invalid, "response topic at byte 7: wildcard"),
            ("30 0001'a' 03 08 0000", invalid, "response topic at byte 7: empty"),
        ],
    );
    refuse_connects(&[
        ("0004'MQTT' 04 06 003c 0001'c' 0001'#' 0000", invalid, "will topic at byte 15: wildcard"),
        ("0004'MQTT' 04 06 003c 0001'c' 0000 0000", invalid, "will topic at byte 15: empty"),
    ]);
    let deep = format!("30 0081 '{}' 00", "/".repeat(129));
    refuse_all(Side::Client, Version::V5, &[(&deep, invalid, "130 levels")]);
}

#[test]
fn publishes_are_refused_for_what_they_contradict() {
    for version in [Version::V311, Version::V5] {
        refuse_all(
            Side::Client,
            version,
            &[
                ("36 0001'a' 0001 00", MALFORMED, "QoS at byte 0: 3"),
                ("38 0001'a' 00", MALFORMED, "DUP at byte 0: set"),
                ("32 0001'a' 0000 00", PROTOCOL, "packet identifier at byte 5: 0"),
                ("34 0001'a' 0000 00", PROTOCOL, "packet identifier at byte 5: 0"),
                ("32 0001'a' 00", MALFORMED, "packet identifier at byte 5: 1 bytes left"),
            ],
        );
    }
    let alias = Reason::TopicAliasInvalid;
    refuse_all(
        Side::Client,
        Version::V5,
        &[
            ("30 0001'a' 03 23 0000", alias, "topic alias at byte 7: 0, expected at least 1"),
            ("30 0001'a' 02 0b01", PROTOCOL, "a subscription identifier, expected none"),
            ("30 0001'a' 02 0102", PROTOCOL, "payload format at byte 7: 2, expected 0 or 1"),
            ("30 0001'a' 05 23 0001", MALFORMED, "properties at byte 6: 3 bytes left, expected 5"),
        ],
    );
    let many = format!("30 0001'a' d20f {}", "0b01".repeat(FILTERS_MAX + 1));
    for sender in [Side::Client, Side::Server] {
        refuse_all(sender, Version::V5, &[(&many, Reason::QuotaExceeded, "one more")]);
    }
    let zero = [("30 0001'a' 02 0b00", PROTOCOL, "subscription identifier at byte 7: 0")];
    refuse_all(Side::Server, Version::V5, &zero);
}

#[test]
fn properties_come_once_and_only_where_they_belong() {
    refuse_all(
        Side::Client,
        Version::V5,
        &[
            ("30 0001'a' 0a 02 00000001 02 00000001", PROTOCOL, "identifier 0x02 again"),
            ("30 0001'a' 06 23 0001 23 0001", PROTOCOL, "identifier 0x23 again"),
            ("30 0001'a' 05 11 00000001", MALFORMED, "property at byte 6: identifier 0x11"),
            ("30 0001'a' 04 1f 0001'x'", MALFORMED, "identifier 0x1F"),
            ("30 0001'a' 02 7f00", MALFORMED, "identifier 0x7F"),
            ("30 0001'a' 03 ff01 00", MALFORMED, "identifier 0xFF"),
            ("40 0001 00 08 1f 0001'x' 1f 0001'x'", PROTOCOL, "identifier 0x1F again"),
            ("40 0001 00 02 0101", MALFORMED, "PUBACK: property at byte 6: identifier 0x01"),
            ("82 0001 04 0b01 0b02 0001'a' 00", PROTOCOL, "identifier 0x0B again"),
            ("82 0001 02 0b00 0001'a' 00", PROTOCOL, "subscription identifier at byte 6: 0"),
            ("a2 0001 02 0b01 0001'a'", MALFORMED, "identifier 0x0B"),
            ("e0 00 03 21 0001", MALFORMED, "identifier 0x21"),
        ],
    );
    let head = "0004'MQTT' 05 02 003c";
    refuse_connects(&[
        (&format!("{head} 03 21 0000 0001'c'"), PROTOCOL, "receive maximum at byte 14: 0"),
        (&format!("{head} 05 27 00000000 0001'c'"), PROTOCOL, "maximum packet size at byte 14: 0"),
        (&format!("{head} 02 1702 0001'c'"), PROTOCOL, "request problem information at byte 14: 2"),
        (&format!("{head} 02 1902 0001'c'"), PROTOCOL, "request response information"),
        (&format!("{head} 04 16 0001'x' 0001'c'"), PROTOCOL, "authentication data, expected"),
        (&format!("{head} 05 18 00000001 0001'c'"), MALFORMED, "identifier 0x18"),
        (&format!("{head} 0a 11 00000001 11 00000001 0001'c'"), PROTOCOL, "identifier 0x11 again"),
        ("0004'MQTT' 05 06 003c 00 0001'c' 03 23 0001 0001't' 0000", MALFORMED, "identifier 0x23"),
    ]);
}

#[test]
fn connects_are_refused_for_what_they_contradict() {
    let version = Reason::UnsupportedVersion;
    refuse_connects(&[
        ("0004'MQTX' 04 02 003c 0001'c'", version, "protocol name at byte 2"),
        ("0004'MQTT' 03 02 003c 0001'c'", version, "protocol level at byte 8: 3 of `MQTT`"),
        ("0006'MQIsdp' 03 02 003c 0001'c'", version, "protocol level at byte 10: 3 of `MQIsdp`"),
        ("0004'MQTT' 06 02 003c 0001'c'", version, "protocol level at byte 8: 6"),
        ("0004'MQTT' 04 03 003c 0001'c'", MALFORMED, "connect flags at byte 9: the reserved bit"),
        ("0004'MQTT' 05 03 003c 00 0001'c'", MALFORMED, "connect flags at byte 9: the reserved"),
        ("0004'MQTT' 05 0a 003c 00 0001'c'", MALFORMED, "expected none without a will"),
        ("0004'MQTT' 04 22 003c 0001'c'", MALFORMED, "expected none without a will"),
        ("0004'MQTT' 05 1e 003c 00 0001'c' 00 0001't' 0000", MALFORMED, "QoS 3 of the will"),
        ("0004'MQTT' 04 42 003c 0001'c' 0001'p'", MALFORMED, "a password, expected a user name"),
        ("0004'MQTT' 04 00 003c 0000", Reason::ClientIdInvalid, "client identifier at byte 12"),
        ("0004'MQTT' 04 02 003c 0001'c' 00", MALFORMED, "end at byte 15: 1 bytes too many"),
        ("0004'MQTT' 05 02 003c 00 0001'c' ffff", MALFORMED, "end at byte 16: 2 bytes too many"),
        ("0004'MQTT' 04 82 003c 0001'c'", MALFORMED, "user name at byte 15: 0 bytes left"),
        ("", MALFORMED, "protocol name at byte 2: 0 bytes left"),
    ]);
}

#[test]
fn a_refused_version_is_told_in_the_nearest_one() {
    for (level, expected) in [(0, 4), (3, 4), (0x83, 4), (0x84, 4), (6, 5), (0x85, 5), (0xFF, 5)] {
        let mut connect = bytes("10 0d 0004'MQTT' 04 02 003c 0001'c'");
        connect[8] = level;
        let mut codec = Codec::new(Limits::default());
        refuse(&mut codec, &connect, Reason::UnsupportedVersion, "protocol level");
        assert_eq!(codec.version().unwrap().level(), expected, "{level}");
        let refusal = Packet::Connack(Box::new(Connack {
            session_present: false,
            reason: Reason::UnsupportedVersion,
            properties: ConnackProperties::default(),
        }));
        let mut written = BytesMut::new();
        codec.encode(&refusal, &mut written).unwrap();
        let told = if expected == 4 { "20 02 00 01" } else { "20 03 00 84 00" };
        assert_eq!(written[..], bytes(told));
    }
    let mut codec = Codec::new(Limits::default());
    let http = b"GET / HTTP/1.1\r\n\r\n";
    refuse(&mut codec, http, MALFORMED, "PUBACK: flags at byte 0");
}

#[test]
fn subscriptions_are_refused_for_what_they_contradict() {
    let invalid = Reason::TopicFilterInvalid;
    refuse_all(
        Side::Client,
        Version::V5,
        &[
            ("82 0001 00", PROTOCOL, "SUBSCRIBE: topic filters at byte 5: none"),
            ("a2 0001 00", PROTOCOL, "UNSUBSCRIBE: topic filters at byte 5: none"),
            ("82 0000 00 0001'a' 00", PROTOCOL, "packet identifier at byte 2: 0"),
            ("a2 0000 00 0001'a'", PROTOCOL, "packet identifier at byte 2: 0"),
            ("82 0001 00 0001'a' 40", MALFORMED, "subscription options at byte 8: a reserved bit"),
            ("82 0001 00 0001'a' 80", MALFORMED, "a reserved bit"),
            ("82 0001 00 0001'a' 03", PROTOCOL, "QoS 3"),
            ("82 0001 00 0001'a' 30", PROTOCOL, "retain handling 3"),
            ("82 0001 00 000a'$share/g/a' 04", PROTOCOL, "no local, expected unset"),
            ("82 0001 00 0001'a'", MALFORMED, "subscription options at byte 8: 0 bytes left"),
            ("82 0001 00 0000 00", invalid, "topic filter at byte 5: empty"),
            ("82 0001 00 0002'a#' 00", invalid, "`#` at byte 1"),
            ("82 0001 00 0003'#/a' 00", invalid, "`#` at byte 0"),
            ("82 0001 00 0002'a+' 00", invalid, "`+` at byte 1"),
            ("82 0001 00 0009'$share/ga' 00", invalid, "expected `$share/NAME/FILTER`"),
            ("82 0001 00 0009'$share//a' 00", invalid, "expected `$share/NAME/FILTER`"),
            ("82 0001 00 0009'$share/g/' 00", invalid, "expected `$share/NAME/FILTER`"),
            ("82 0001 00 000a'$share/+/a' 00", invalid, "expected `$share/NAME/FILTER`"),
            ("82 0001 00 000b'$share/g/a#' 00", invalid, "`#` at byte 10"),
            ("a2 0001 00 0002'a#'", invalid, "`#` at byte 1"),
        ],
    );
    refuse_all(
        Side::Client,
        Version::V311,
        &[
            ("82 0001", PROTOCOL, "topic filters at byte 4: none"),
            ("a2 0001", PROTOCOL, "topic filters at byte 4: none"),
            ("82 0001 0001'a' 03", MALFORMED, "QoS 3"),
            ("82 0001 0001'a' 04", MALFORMED, "a reserved bit"),
            ("82 0001 0002'a#' 00", invalid, "`#` at byte 1"),
        ],
    );
    let many = format!("a2 0001 {}", "0001'a'".repeat(FILTERS_MAX + 1));
    refuse_all(Side::Client, Version::V311, &[(&many, Reason::QuotaExceeded, "too many")]);
}

#[test]
fn nothing_follows_the_end_of_a_packet() {
    for version in [Version::V311, Version::V5] {
        refuse_all(Side::Client, version, &[("c0 00", MALFORMED, "PINGREQ: end at byte 2")]);
        refuse_all(Side::Server, version, &[("d0 00", MALFORMED, "PINGRESP: end at byte 2")]);
    }
    refuse_all(
        Side::Client,
        Version::V311,
        &[
            ("40 0001 00", MALFORMED, "PUBACK: end at byte 4: 1 bytes too many"),
            ("62 0001 00", MALFORMED, "PUBREL: end at byte 4: 1 bytes too many"),
            ("e0 00", MALFORMED, "DISCONNECT: end at byte 2"),
        ],
    );
    refuse_all(
        Side::Client,
        Version::V5,
        &[
            ("40 0001 00 00 00", MALFORMED, "PUBACK: end at byte 6: 1 bytes too many"),
            ("e0 00 00 00", MALFORMED, "DISCONNECT: end at byte 4"),
            ("40", MALFORMED, "packet identifier at byte 2: 0 bytes left"),
            ("40 0000", PROTOCOL, "packet identifier at byte 2: 0"),
        ],
    );
    refuse_all(Side::Server, Version::V311, &[("20 0000 00", MALFORMED, "CONNACK: end at byte 4")]);
}

#[test]
fn reasons_are_those_of_the_packet_and_the_side() {
    refuse_all(
        Side::Client,
        Version::V5,
        &[
            ("40 0001 01", PROTOCOL, "PUBACK: reason code at byte 4: 0x01"),
            ("62 0001 10", PROTOCOL, "PUBREL: reason code at byte 4: 0x10"),
            ("e0 8e", PROTOCOL, "DISCONNECT: reason code at byte 2: 0x8E"),
            ("e0 7f", PROTOCOL, "DISCONNECT: reason code at byte 2: 0x7F"),
            ("f0 00 04 15 0001'm'", PROTOCOL, "AUTH: reason code at byte 2: 0x00"),
            ("f0 18 00", PROTOCOL, "no authentication method"),
            ("f0", MALFORMED, "AUTH: reason code at byte 2: 0 bytes left"),
        ],
    );
    refuse_all(
        Side::Server,
        Version::V5,
        &[
            ("20 01 80 00", PROTOCOL, "session present, expected none with a refusal"),
            ("20 02 00 00", MALFORMED, "acknowledge flags at byte 2"),
            ("20 00 01 00", PROTOCOL, "reason code at byte 3: 0x01"),
            ("20 00 00 02 2402", PROTOCOL, "maximum QoS at byte 6: 2"),
            ("e0 04", PROTOCOL, "DISCONNECT: reason code at byte 2: 0x04"),
            ("e0 00 05 11 00000001", PROTOCOL, "a session expiry interval, expected none"),
            ("90 0001 00", PROTOCOL, "reason codes at byte 5: none"),
            ("90 0001 00 11", PROTOCOL, "SUBACK: reason code at byte 5: 0x11"),
            ("b0 0001 00 01", PROTOCOL, "UNSUBACK: reason code at byte 5: 0x01"),
        ],
    );
    refuse_all(
        Side::Server,
        Version::V311,
        &[
            ("20 00 06", PROTOCOL, "return code at byte 3: 6"),
            ("90 0001 03", PROTOCOL, "reason code at byte 4: 0x03"),
            ("90 0001 87", PROTOCOL, "return code at byte 4: 0x87"),
        ],
    );
}
