//! What is written is read as it was, and however the bytes are cut.

use super::*;
use bytes::Bytes;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use std::num::{NonZeroU16, NonZeroU32};

fn text() -> impl Strategy<Value = Utf8> {
    "[a-z/ Ω🦀$]{0,12}".prop_map(|text| utf8(&text))
}

fn blob() -> impl Strategy<Value = Binary> {
    vec(any::<u8>(), 0..20).prop_map(|bytes| Binary::new(bytes).unwrap())
}

fn name() -> impl Strategy<Value = Topic> {
    "[a-c/$é]{1,12}".prop_map(|text| topic(&text))
}

fn pattern() -> impl Strategy<Value = Filter> {
    r"(\$share/[a-z]{1,3}/)?(\+|[a-c$]{0,2})(/(\+|[a-c]{0,2})){0,3}(/#)?"
        .prop_filter_map("not empty", |text| Filter::try_from(text.as_str()).ok())
}

fn pairs() -> impl Strategy<Value = UserProperties> {
    vec((text(), text()), 0..3).prop_map(|pairs| pairs.into_iter().collect())
}

fn qos() -> impl Strategy<Value = QoS> {
    prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)]
}

fn number() -> impl Strategy<Value = NonZeroU16> {
    any::<NonZeroU16>()
}

fn subscription_id() -> impl Strategy<Value = NonZeroU32> {
    (1..=VARIABLE_MAX).prop_map(|id| NonZeroU32::new(id).unwrap())
}

fn connect(version: Version) -> impl Strategy<Value = Packet> {
    let authentication = of((text(), of(blob())));
    let numbers = (of(any::<u32>()), of(number()), of(any::<NonZeroU32>()), of(any::<u16>()));
    let wishes = (of(any::<bool>()), of(any::<bool>()));
    let properties = (numbers, wishes, authentication, pairs()).prop_map(|(n, w, a, user)| {
        let (authentication_method, data) = a.unzip();
        let (request_response, request_problem) = w;
        let (session_expiry_s, receive_maximum, maximum_packet, alias_maximum) = n;
        ConnectProperties {
            session_expiry_s,
            receive_maximum,
            maximum_packet,
            alias_maximum,
            request_response,
            request_problem,
            authentication_method,
            authentication_data: data.flatten(),
            user,
        }
    });
    let told = (of(any::<u32>()), of(any::<bool>()), of(any::<u32>()), of(text()));
    let more = (told, of(name()), of(blob()), pairs());
    let will = (qos(), any::<bool>(), name(), blob(), more).prop_map(
        move |(qos, retain, topic, payload, (told, response_topic, correlation, user))| {
            let (delay_s, payload_is_text, expiry_s, content_type) = told;
            let all = WillProperties {
                delay_s,
                payload_is_text,
                expiry_s,
                content_type,
                response_topic,
                correlation,
                user,
            };
            let properties = if version == Version::V5 { all } else { WillProperties::default() };
            Will { qos, retain, topic, payload, properties }
        },
    );
    let who = (text(), of(text()), of(blob()));
    (any::<bool>(), any::<u16>(), who, of(will), properties).prop_map(
        move |(clean_start, keep_alive, (client_id, user_name, password), will, properties)| {
            let v5 = version == Version::V5;
            Packet::Connect(Box::new(Connect {
                version,
                clean_start: clean_start || (!v5 && client_id.is_empty()),
                keep_alive,
                client_id,
                will,
                password: password.filter(|_| v5 || user_name.is_some()),
                user_name,
                properties: if v5 { properties } else { ConnectProperties::default() },
            }))
        },
    )
}

fn publish(version: Version, sender: Side) -> impl Strategy<Value = Packet> {
    let told = (of(any::<bool>()), of(any::<u32>()), of(number()), of(text()));
    let ids = vec(subscription_id(), 0..3);
    let more = (told, of(name()), of(blob()), ids, pairs());
    let flags = (any::<bool>(), qos(), any::<bool>(), any::<bool>());
    let payload = vec(any::<u8>(), 0..300).prop_map(Bytes::from);
    (flags, name(), number(), payload, more).prop_map(
        move |((dup, qos, retain, hide), topic, number, payload, more)| {
            let ((payload_is_text, expiry_s, alias, content_type), response, data, ids, user) =
                more;
            let all = PublishProperties {
                payload_is_text,
                expiry_s,
                alias,
                response_topic: response,
                correlation: data,
                subscription_ids: if sender == Side::Server { ids } else { Vec::new() },
                content_type,
                user,
            };
            let properties = if version == Version::V5 { all } else { Default::default() };
            let hidden = hide && properties.alias.is_some();
            let acknowledged = qos != QoS::AtMostOnce;
            Packet::Publish(Publish {
                dup: dup && acknowledged,
                qos,
                retain,
                topic: if hidden { Topic::by_alias() } else { topic },
                packet_id: acknowledged.then_some(number),
                payload,
                properties,
            })
        },
    )
}

fn answer(version: Version) -> impl Strategy<Value = AckProperties> {
    (of(text()), pairs()).prop_map(move |(reason_string, user)| match version {
        Version::V5 => AckProperties { reason_string, user },
        Version::V311 => AckProperties::default(),
    })
}

fn ack(version: Version) -> impl Strategy<Value = Packet> {
    let early = prop_oneof![
        Just(Reason::Success),
        Just(Reason::NoMatchingSubscribers),
        Just(Reason::QuotaExceeded)
    ];
    let late = prop_oneof![Just(Reason::Success), Just(Reason::PacketIdNotFound)];
    (0..4, number(), early, late, answer(version)).prop_map(
        move |(which, packet_id, early, late, properties)| {
            let said = if which < 2 { early } else { late };
            let reason = if version == Version::V5 { said } else { Reason::Success };
            let ack = Ack { packet_id, reason, properties };
            match which {
                0 => Packet::Puback(ack),
                1 => Packet::Pubrec(ack),
                2 => Packet::Pubrel(ack),
                _ => Packet::Pubcomp(ack),
            }
        },
    )
}

fn subscribe(version: Version) -> impl Strategy<Value = Packet> {
    let handling = prop_oneof![
        Just(RetainHandling::Send),
        Just(RetainHandling::SendIfNew),
        Just(RetainHandling::DoNotSend)
    ];
    let options = (qos(), any::<bool>(), any::<bool>(), handling);
    let one =
        (pattern(), options).prop_map(move |(filter, (qos, local, as_published, handling))| {
            let options = match version {
                Version::V311 => SubscriptionOptions { qos, ..SubscriptionOptions::default() },
                Version::V5 => SubscriptionOptions {
                    qos,
                    no_local: local && filter.share().is_none(),
                    retain_as_published: as_published,
                    retain_handling: handling,
                },
            };
            Subscription { filter, options }
        });
    (number(), vec(one, 1..5), of(subscription_id()), pairs()).prop_map(
        move |(packet_id, subscriptions, subscription_id, user)| {
            let v5 = version == Version::V5;
            let subscription_id = subscription_id.filter(|_| v5);
            let user = if v5 { user } else { UserProperties::default() };
            Packet::Subscribe(Subscribe { packet_id, subscriptions, subscription_id, user })
        },
    )
}

fn unsubscribe(version: Version) -> impl Strategy<Value = Packet> {
    (number(), vec(pattern(), 1..5), pairs()).prop_map(move |(packet_id, filters, user)| {
        let user = if version == Version::V5 { user } else { UserProperties::default() };
        Packet::Unsubscribe(Unsubscribe { packet_id, filters, user })
    })
}

fn suback(version: Version) -> impl Strategy<Value = Packet> {
    let reason = prop_oneof![Just(Reason::Success), Just(Reason::Unspecified)];
    (any::<bool>(), number(), vec(reason, 1..5), answer(version)).prop_map(
        move |(of_unsubscribe, packet_id, mut reasons, properties)| {
            if of_unsubscribe && version == Version::V311 {
                reasons.clear();
            }
            let answered = Suback { packet_id, reasons, properties };
            if of_unsubscribe { Packet::Unsuback(answered) } else { Packet::Suback(answered) }
        },
    )
}

fn disconnect(version: Version) -> impl Strategy<Value = Packet> {
    let reason = prop_oneof![Just(Reason::Success), Just(Reason::DisconnectWithWill)];
    (reason, of(any::<u32>()), of(text()), of(text()), pairs()).prop_map(
        move |(reason, session_expiry_s, server_reference, reason_string, user)| {
            let properties =
                DisconnectProperties { session_expiry_s, server_reference, reason_string, user };
            Packet::Disconnect(match version {
                Version::V5 => Disconnect { reason, properties },
                Version::V311 => Disconnect::new(Reason::Success),
            })
        },
    )
}

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V311), Just(Version::V5)]
}

/// What a client sends after its CONNECT.
fn from_client(version: Version) -> impl Strategy<Value = Packet> {
    prop_oneof![
        3 => publish(version, Side::Client),
        1 => ack(version),
        1 => subscribe(version),
        1 => unsubscribe(version),
        1 => disconnect(version),
        1 => Just(Packet::Pingreq),
    ]
}

/// What a server sends after its CONNACK.
fn from_server(version: Version) -> impl Strategy<Value = Packet> {
    prop_oneof![publish(version, Side::Server), ack(version), suback(version)]
}

fn session() -> impl Strategy<Value = Vec<Packet>> {
    version().prop_flat_map(|version| {
        let first = connect(version);
        let rest = vec(from_client(version), 0..4);
        (first, rest).prop_map(|(first, mut all)| {
            all.insert(0, first);
            all
        })
    })
}

fn written(codec: &mut Codec, packets: &[Packet]) -> BytesMut {
    let mut written = BytesMut::new();
    for packet in packets {
        if let Packet::Connect(connect) = packet {
            codec.version = Some(connect.version);
        }
        codec.encode(packet, &mut written).unwrap();
    }
    written
}

/// All that is read until the first violation, when `step` bytes come at a time.
fn read(bytes: &[u8], step: usize) -> (Vec<Packet>, Option<Violation>) {
    let mut codec = Codec::new(Limits::default());
    let (mut input, mut packets) = (BytesMut::new(), Vec::new());
    for chunk in bytes.chunks(step) {
        input.extend_from_slice(chunk);
        loop {
            match codec.decode(&mut input) {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => break,
                Err(violation) => return (packets, Some(violation)),
            }
        }
    }
    (packets, None)
}

proptest! {
    #[test]
    fn what_a_client_writes_is_read_as_it_was(packets in session()) {
        let bytes = written(&mut Codec::new(Limits::default()), &packets);
        prop_assert_eq!(read(&bytes, usize::MAX), (packets, None));
    }

    #[test]
    fn what_a_server_writes_is_read_as_it_was(
        (version, packet) in version().prop_flat_map(|v| (Just(v), from_server(v)))
    ) {
        let mut codec = Codec::for_client(version, Limits::default());
        let mut bytes = BytesMut::new();
        codec.encode(&packet, &mut bytes).unwrap();
        prop_assert_eq!(codec.decode(&mut bytes), Ok(Some(packet)));
        prop_assert!(bytes.is_empty());
    }

    #[test]
    fn how_the_bytes_are_cut_does_not_matter(
        packets in session(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        step in 1..9_usize,
    ) {
        let mut bytes = written(&mut Codec::new(Limits::default()), &packets);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let at_once = read(&bytes, usize::MAX);
        prop_assert_eq!(&read(&bytes, 1), &at_once);
        prop_assert_eq!(&read(&bytes, step), &at_once);
    }
}
