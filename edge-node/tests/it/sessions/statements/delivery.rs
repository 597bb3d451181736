//! Messages on their way: their order, their identifiers, what is sent again and what is not.

use super::*;
use holdfast_edge::mqtt::message::{Message, Moment};
use std::num::NonZeroU16;

#[test]
fn what_a_publisher_says_of_a_message_reaches_all_as_it_was() {
    let pair = |key: &str, value: &str| (text(key), text(value));
    let properties = PublishProperties {
        payload_is_text: Some(true),
        content_type: Some(text("text/plain")),
        response_topic: Some(topic("answers")),
        correlation: Some(Binary::new(b"42".to_vec()).unwrap()),
        user: [pair("b", "1"), pair("a", "2"), pair("b", "3")].into_iter().collect(),
        ..PublishProperties::default()
    };
    for qos in ALL {
        for retain in [false, true] {
            let mut talk = Talk::new();
            let (from, _) = talk.enter(fleeting(V5, "from"));
            for (client, connect) in [("here", fleeting(V5, "here")), ("away", kept(V5, "away"))] {
                let (id, _) = talk.enter(connect);
                talk.subscribe(id, "a", ONCE);
                if client == "away" {
                    talk.lose(id);
                }
            }
            let mut message = Publish { retain, ..publish("a", "x", qos) };
            (message.properties, message.dup) = (properties.clone(), qos != MOST);
            message.properties.alias = NonZeroU16::new(3);
            talk.publish(from, message);
            let (late, _) = talk.enter(fleeting(V5, "late"));
            talk.subscribe(late, "a", ONCE);
            let (away, _) = talk.enter(kept(V5, "away"));
            let got = [late, away].map(|client| talk.taken(client));
            assert_eq!(got[0].len(), usize::from(retain));
            assert_eq!(got[1].len(), usize::from(qos != MOST));
            for one in got.iter().flatten() {
                assert_eq!(one.properties, properties, "{qos:?} {retain}");
                assert!(!one.dup, "that its publisher repeats it is the publisher's affair");
            }
        }
    }
}

#[test]
fn the_order_of_messages_is_that_in_which_their_publisher_sent_them() {
    for qos in ALL {
        let mut talk = Talk::new();
        let (here, _) = talk.enter(fleeting(V5, "here"));
        let (away, _) = talk.enter(kept(V5, "away"));
        for client in [here, away] {
            talk.subscribe(client, "a/#", ONCE);
        }
        talk.lose(away);
        let (from, _) = talk.enter(fleeting(V5, "from"));
        let names: Vec<String> = (0..30).map(|number| number.to_string()).collect();
        for (number, name) in (1..).zip(&names) {
            let packet_id = (qos != MOST).then(|| id(number));
            let message = Publish { packet_id, ..publish("a/b", name, qos) };
            talk.site.say(from, &Packet::Publish(message));
        }
        talk.site.settle();
        assert_eq!(payloads(&talk.taken(here)), names, "{qos:?}");
        if qos != MOST {
            let (away, _) = talk.enter(kept(V5, "away"));
            assert_eq!(payloads(&talk.taken(away)), names, "{qos:?}");
        }
    }
}

#[test]
fn what_was_not_acknowledged_comes_again_marked_in_its_order_under_its_identifier() {
    for version in BOTH {
        let mut talk = Talk::new();
        let (client, _) = talk.enter(kept(version, "c"));
        talk.subscribe(client, "a", ONCE);
        let (from, _) = talk.enter(fleeting(V5, "from"));
        for (payload, qos) in [("0", LEAST), ("1", ONCE), ("2", LEAST), ("3", ONCE)] {
            talk.publish(from, publish("a", payload, qos));
        }
        let first = talk.messages(client);
        assert_eq!(payloads(&first), ["0", "1", "2", "3"]);
        assert!(first.iter().all(|publish| !publish.dup));
        talk.pass(1_000);
        assert!(talk.messages(client).is_empty(), "only a new connection makes it come again");
        talk.say(client, Packet::Puback(Ack::new(first[2].packet_id.unwrap(), Reason::Success)));
        talk.lose(client);
        let (client, _) = talk.enter(kept(version, "c"));
        let again = talk.messages(client);
        assert_eq!(payloads(&again), ["0", "1", "3"]);
        assert!(again.iter().all(|publish| publish.dup));
        let ids = |all: &[&Publish]| all.iter().map(|p| p.packet_id).collect::<Vec<_>>();
        let same = ids(&[&first[0], &first[1], &first[3]]);
        assert_eq!(ids(&again.iter().collect::<Vec<_>>()), same);
    }
}

/// The broker did not know what a connection had sent that was taken over: it was sent again as if
/// for the first time.
#[test]
fn what_a_connection_had_sent_that_was_taken_over_comes_again_marked() {
    let mut talk = Talk::new();
    let (client, _) = talk.enter(kept(V5, "c"));
    talk.subscribe(client, "a", ONCE);
    let (from, _) = talk.enter(fleeting(V5, "from"));
    talk.publish(from, publish("a", "x", LEAST));
    talk.publish(from, publish("a", "y", ONCE));
    assert_eq!(talk.messages(client).len(), 2);
    let (client, _) = talk.enter(kept(V5, "c"));
    let again = talk.messages(client);
    assert_eq!(payloads(&again), ["x", "y"]);
    assert!(again.iter().all(|publish| publish.dup), "{again:?}");
}

#[test]
fn a_message_of_qos_2_is_released_and_not_sent_again_once_its_client_has_it() {
    for version in BOTH {
        let mut talk = Talk::new();
        let (client, _) = talk.enter(kept(version, "c"));
        talk.subscribe(client, "a", ONCE);
        let (from, _) = talk.enter(fleeting(V5, "from"));
        talk.publish(from, publish("a", "x", ONCE));
        let sent = talk.messages(client);
        let packet_id = sent[0].packet_id.unwrap();
        talk.say(client, Packet::Pubrec(Ack::new(packet_id, Reason::Success)));
        for is_killed in [false, true] {
            if is_killed {
                talk.site.kill(true);
            } else {
                talk.lose(client);
            }
            let (client, present) = talk.enter(kept(version, "c"));
            assert!(present);
            let heard = talk.heard(client);
            let [Packet::Pubrel(ack)] = &heard[..] else { panic!("{heard:?}") };
            assert_eq!(ack.packet_id, packet_id);
        }
        let (client, _) = talk.enter(kept(version, "c"));
        talk.heard(client);
        talk.say(client, Packet::Pubcomp(Ack::new(packet_id, Reason::Success)));
        talk.lose(client);
        let (client, _) = talk.enter(kept(version, "c"));
        assert!(talk.heard(client).is_empty());
    }
}

/// A message of QoS 2 was known again only if something of it had gone to disk: where all who
/// wanted it were connected for the moment only, they got it a second time.
#[test]
fn a_message_of_qos_2_that_comes_again_over_a_new_connection_reaches_nobody_twice() {
    for connect in [fleeting(V5, "s"), kept(V5, "s"), fleeting(V311, "s")] {
        for wanted in ALL {
            let mut talk = Talk::new();
            let (subscriber, _) = talk.enter(connect.clone());
            talk.subscribe(subscriber, "a", wanted);
            let (from, _) = talk.enter(kept(V5, "from"));
            talk.say(from, Packet::Publish(publish("a", "x", ONCE)));
            talk.lose(from);
            let (from, present) = talk.enter(kept(V5, "from"));
            assert!(present);
            talk.say(from, Packet::Publish(Publish { dup: true, ..publish("a", "x", ONCE) }));
            let heard = talk.heard(from);
            assert!(matches!(&heard[..], [Packet::Pubrec(_)]), "{heard:?}");
            talk.say(from, Packet::Pubrel(Ack::new(PacketId::MIN, Reason::Success)));
            assert!(matches!(&talk.heard(from)[..], [Packet::Pubcomp(_)]));
            assert_eq!(payloads(&talk.taken(subscriber)), ["x"], "{wanted:?} {connect:?}");
            talk.publish(from, publish("a", "y", ONCE));
            assert_eq!(payloads(&talk.taken(subscriber)), ["y"], "the identifier is free again");
        }
    }
}

/// Until the first connection heard that it was over, the broker took what came over it. Nobody was
/// told, so the client sent it again over the second, where it was not known.
#[test]
fn what_comes_late_over_a_connection_that_was_taken_over_reaches_nobody_twice() {
    for qos in [LEAST, ONCE] {
        let mut talk = Talk::new();
        let (subscriber, _) = talk.enter(kept(V5, "s"));
        talk.subscribe(subscriber, "a", ONCE);
        let (first, _) = talk.enter(kept(V5, "from"));
        let second = talk.site.join(kept(V5, "from"));
        talk.site.say(first, &Packet::Publish(publish("a", "x", qos)));
        talk.site.settle();
        assert!(talk.site.is_over(first));
        let heard = talk.heard(second);
        assert!(matches!(&heard[..], [Packet::Connack(c)] if c.session_present), "{heard:?}");
        talk.publish(second, Publish { dup: true, ..publish("a", "x", qos) });
        assert_eq!(payloads(&talk.taken(subscriber)), ["x"], "{qos:?}");
    }
}

#[test]
fn a_client_is_sent_no_more_at_a_time_than_it_takes() {
    for qos in [LEAST, ONCE] {
        let mut talk = Talk::new();
        let mut connect = kept(V5, "c");
        connect.properties.receive_maximum = NonZeroU16::new(2);
        let (client, _) = talk.enter(connect);
        talk.subscribe(client, "a", qos);
        let (from, _) = talk.enter(fleeting(V5, "from"));
        for number in 0..5 {
            talk.publish(from, publish("a", &number.to_string(), qos));
        }
        talk.publish(from, publish("a", "at most once", MOST));
        let sent = talk.messages(client);
        assert_eq!(payloads(&sent), ["0", "1", "at most once"], "QoS 0 does not count");
        let packet_id = sent[0].packet_id.unwrap();
        if qos == LEAST {
            talk.say(client, Packet::Puback(Ack::new(packet_id, Reason::Success)));
        } else {
            talk.say(client, Packet::Pubrec(Ack::new(packet_id, Reason::Success)));
            assert!(talk.messages(client).is_empty(), "it is not done yet");
            talk.say(client, Packet::Pubcomp(Ack::new(packet_id, Reason::Success)));
        }
        assert_eq!(payloads(&talk.messages(client)), ["2"]);
        let refused = Ack::new(sent[1].packet_id.unwrap(), Reason::QuotaExceeded);
        let is_once = qos == ONCE;
        talk.say(client, if is_once { Packet::Pubrec(refused) } else { Packet::Puback(refused) });
        assert_eq!(payloads(&talk.messages(client)), ["3"]);
    }
}

#[test]
fn a_message_that_is_too_large_for_its_client_is_as_if_it_had_been_sent() {
    for qos in ALL {
        let mut talk = Talk::new();
        let small = || {
            let mut connect = kept(V5, "c");
            connect.properties.maximum_packet = NonZeroU32::new(100);
            connect
        };
        let (client, _) = talk.enter(small());
        talk.subscribe(client, "a", ONCE);
        let (from, _) = talk.enter(fleeting(V5, "from"));
        talk.publish(from, publish("a", &"x".repeat(200), qos));
        talk.publish(from, publish("a", "small", qos));
        assert_eq!(payloads(&talk.taken(client)), ["small"], "{qos:?}");
        talk.lose(client);
        let (client, _) = talk.enter(kept(V5, "c"));
        assert!(talk.taken(client).is_empty(), "{qos:?}: it does not wait for ever");
    }
}

#[test]
fn what_is_left_of_the_life_of_a_message_is_told_and_one_that_is_over_is_not_sent() {
    let mut talk = Talk::new();
    let (client, _) = talk.enter(kept(V5, "c"));
    talk.subscribe(client, "a", ONCE);
    talk.lose(client);
    let (from, _) = talk.enter(fleeting(V5, "from"));
    for (payload, expiry_s) in [("short", Some(5)), ("long", Some(10)), ("ever", None)] {
        let mut message = publish("a", payload, LEAST);
        message.properties.expiry_s = expiry_s;
        talk.publish(from, message);
    }
    talk.pass(7);
    let (client, _) = talk.enter(kept(V5, "c"));
    let taken = talk.taken(client);
    let left: Vec<_> = taken.iter().map(|publish| publish.properties.expiry_s).collect();
    assert_eq!((payloads(&taken), left), (vec!["long", "ever"], vec![Some(3), None]));
}

/// A message of QoS 2 that may be with its client was given up when its life was over. Its client
/// held on to the identifier, and took the next message under it for a repetition.
#[test]
fn a_message_of_qos_2_that_may_have_been_sent_is_sent_again_even_if_its_life_is_over() {
    let mut talk = Talk::new();
    let (client, _) = talk.enter(kept(V5, "c"));
    talk.subscribe(client, "a", ONCE);
    let (from, _) = talk.enter(fleeting(V5, "from"));
    for (payload, qos) in [("once", ONCE), ("least", LEAST)] {
        let mut message = publish("a", payload, qos);
        message.properties.expiry_s = Some(5);
        talk.publish(from, message);
    }
    assert_eq!(talk.messages(client).len(), 2);
    talk.lose(client);
    talk.pass(6);
    let (client, _) = talk.enter(kept(V5, "c"));
    let again = talk.taken(client);
    assert_eq!((payloads(&again), again[0].dup), (vec!["once"], true));
    assert_eq!(again[0].properties.expiry_s, Some(0), "nothing is left of it, and that is told");
}

#[test]
fn an_expired_message_of_qos_2_is_released_like_any_other() {
    let mut talk = Talk::new();
    let (from, _) = talk.enter(kept(V5, "from"));
    let mut message = publish("a", "x", ONCE);
    message.properties.expiry_s = Some(1);
    talk.say(from, Packet::Publish(message));
    talk.pass(2);
    talk.say(from, Packet::Pubrel(Ack::new(PacketId::MIN, Reason::Success)));
    let heard = talk.heard(from);
    assert!(matches!(&heard[..], [Packet::Pubrec(_), Packet::Pubcomp(_)]), "{heard:?}");
}

#[test]
fn a_message_under_way_keeps_its_identifier_to_itself() {
    let mut talk = Talk::new();
    let (client, _) = talk.enter(kept(V5, "c"));
    talk.subscribe(client, "a", ONCE);
    let (from, _) = talk.enter(fleeting(V5, "from"));
    for number in 0..200 {
        let qos = if number % 2 == 0 { LEAST } else { ONCE };
        talk.publish(from, publish("a", &number.to_string(), qos));
    }
    let sent = talk.messages(client);
    let ids: std::collections::BTreeSet<_> = sent.iter().map(|p| p.packet_id.unwrap()).collect();
    assert_eq!((sent.len(), ids.len()), (200, 200));
}

#[test]
fn the_names_of_topics_are_a_connections_own() {
    let mut talk = Talk::new();
    let (watcher, _) = talk.enter(fleeting(V5, "watcher"));
    talk.subscribe(watcher, "#", MOST);
    let named = |at: &str, alias| {
        let mut message = publish("x", "x", MOST);
        message.topic = if at.is_empty() { Topic::by_alias() } else { topic(at) };
        message.properties.alias = NonZeroU16::new(alias);
        Packet::Publish(message)
    };
    let (client, _) = talk.enter(kept(V5, "c"));
    for (at, alias) in [("site/one", 1), ("site/two", 64), ("", 1), ("site/three", 1), ("", 1)] {
        talk.say(client, named(at, alias));
    }
    let taken = talk.taken(watcher);
    let topics: Vec<&str> = taken.iter().map(|publish| publish.topic.as_str()).collect();
    assert_eq!(topics, ["site/one", "site/two", "site/one", "site/three", "site/three"]);
    talk.lose(client);
    let (client, _) = talk.enter(kept(V5, "c"));
    talk.say(client, named("", 1));
    let heard = talk.heard(client);
    let [Packet::Disconnect(told)] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!(told.reason, Reason::ProtocolError, "it is not known here");
}

#[test]
fn a_message_that_nobody_wants_is_taken_and_that_is_told() {
    let mut talk = Talk::new();
    let (from, _) = talk.enter(fleeting(V5, "from"));
    talk.say(from, Packet::Publish(publish("a", "x", LEAST)));
    talk.say(from, Packet::Publish(Publish { packet_id: Some(id(2)), ..publish("a", "x", ONCE) }));
    let heard = talk.heard(from);
    let [Packet::Puback(one), Packet::Pubrec(two)] = &heard[..] else { panic!("{heard:?}") };
    let none = Reason::NoMatchingSubscribers;
    assert_eq!((one.reason, two.reason), (none, none));
}

#[test]
fn a_life_of_no_seconds_is_over_with_the_moment() {
    let at = Moment { wall_ms: 5_000, boot: 1, steady_ms: 1_000 };
    let mut short = publish("a", "x", LEAST);
    short.properties.expiry_s = Some(0);
    let message = Message::new(&short, at);
    assert!(!message.is_expired(&at));
    assert!(message.is_expired(&Moment { steady_ms: 1_001, ..at }));
}
