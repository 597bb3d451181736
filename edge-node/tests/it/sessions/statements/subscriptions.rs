//! What clients ask for, what they are told of it, and what they then get.

use super::*;

#[test]
fn each_filter_is_answered_in_its_order_as_if_it_had_been_asked_for_alone() {
    let mut talk = Talk::within(Limits { subscriptions: 3, ..Limits::default() });
    let asked = [
        ("a", up_to(ONCE)),
        ("secret/a", up_to(ONCE)),
        ("b/#", up_to(MOST)),
        ("a", up_to(LEAST)),
        ("+/c", up_to(LEAST)),
        ("d", up_to(MOST)),
    ];
    let (new, _) = talk.enter(fleeting(V5, "new"));
    let suback = talk.subscribe_to(new, &asked, None);
    let (granted, not) = (Reason::granted, Reason::NotAuthorized);
    let expected =
        [granted(ONCE), not, granted(MOST), granted(LEAST), granted(LEAST), Reason::QuotaExceeded];
    assert_eq!((suback.packet_id, &suback.reasons[..]), (PacketId::MAX, &expected[..]));
    let (old, _) = talk.enter(fleeting(V311, "old"));
    let suback = talk.subscribe_to(old, &asked, None);
    let codes: Vec<u8> = suback.reasons.iter().map(|reason| reason.code()).collect();
    assert_eq!((suback.packet_id, codes), (PacketId::MAX, vec![2, 0x80, 0, 1, 1, 0x80]));
    let (from, _) = talk.enter(fleeting(V5, "from"));
    for at in ["a", "secret/a", "b", "x/c", "d"] {
        talk.publish(from, publish(at, at, ONCE));
    }
    for client in [new, old] {
        let taken = talk.taken(client);
        assert_eq!(payloads(&taken), ["a", "b", "x/c"], "what was refused is not sent");
        assert_eq!(taken[0].qos, LEAST, "the second time counts");
    }
}

#[test]
fn a_message_is_sent_with_the_lesser_of_both_qos() {
    for version in BOTH {
        for wanted in ALL {
            for connect in [fleeting(version, "c"), kept(version, "c")] {
                let mut talk = Talk::new();
                let (client, _) = talk.enter(connect);
                talk.subscribe(client, "a", wanted);
                let (from, _) = talk.enter(fleeting(V5, "from"));
                for published in ALL {
                    talk.publish(from, publish("a", "x", published));
                    let taken = talk.taken(client);
                    let [one] = &taken[..] else { panic!("{taken:?}") };
                    assert_eq!(one.qos, published.min(wanted), "{published:?} for {wanted:?}");
                    assert_eq!((one.topic.as_str(), one.dup), ("a", false));
                }
            }
        }
    }
}

#[test]
fn to_subscribe_again_replaces_the_subscription_and_loses_nothing() {
    let mut talk = Talk::new();
    let (client, _) = talk.enter(kept(V5, "c"));
    talk.publish(client, retained("a", "kept", LEAST));
    talk.subscribe_to(client, &[("a", up_to(ONCE))], Some(7));
    let (from, _) = talk.enter(fleeting(V5, "from"));
    talk.publish(from, publish("a", "first", ONCE));
    talk.subscribe_to(client, &[("a", up_to(LEAST))], None);
    talk.publish(from, publish("a", "second", ONCE));
    let taken = talk.taken(client);
    assert_eq!(payloads(&taken), ["kept", "first", "kept", "second"]);
    let ids: Vec<usize> = taken.iter().map(|p| p.properties.subscription_ids.len()).collect();
    assert_eq!(ids, [1, 1, 0, 0]);
    assert_eq!((taken[1].qos, taken[3].qos), (ONCE, LEAST));
    talk.site.kill(true);
    let (client, _) = talk.enter(kept(V5, "c"));
    talk.pass(1);
    let (from, _) = talk.enter(fleeting(V5, "from"));
    talk.publish(from, publish("a", "third", ONCE));
    assert_eq!(talk.taken(client)[0].qos, LEAST, "one subscription is left");
}

#[test]
fn a_client_that_several_filters_find_gets_one_message_with_the_greatest_qos_and_all_names() {
    let mut talk = Talk::new();
    let (client, _) = talk.enter(kept(V5, "c"));
    talk.subscribe_to(client, &[("a/#", up_to(MOST))], Some(1));
    talk.subscribe_to(client, &[("a/+", up_to(ONCE))], Some(2));
    talk.subscribe_to(client, &[("+/b", up_to(LEAST))], None);
    talk.subscribe_to(client, &[("a/b/c", up_to(ONCE))], Some(4));
    let (from, _) = talk.enter(fleeting(V5, "from"));
    for (published, expected) in [(MOST, MOST), (LEAST, LEAST), (ONCE, ONCE)] {
        talk.publish(from, publish("a/b", "x", published));
        let taken = talk.taken(client);
        let [one] = &taken[..] else { panic!("{taken:?}") };
        let mut ids: Vec<u32> = one.properties.subscription_ids.iter().map(|id| id.get()).collect();
        ids.sort_unstable();
        assert_eq!((one.qos, ids), (expected, vec![1, 2]));
    }
}

#[test]
fn whoever_wants_none_of_its_own_gets_what_others_publish() {
    for qos in ALL {
        let mut talk = Talk::new();
        let (client, _) = talk.enter(kept(V5, "c"));
        let (other, _) = talk.enter(kept(V5, "other"));
        let own = SubscriptionOptions { no_local: true, ..up_to(ONCE) };
        talk.subscribe_to(client, &[("a/#", own)], None);
        talk.publish(client, publish("a", "own", qos));
        talk.publish(other, publish("a", "other", qos));
        talk.lose(client);
        let (client, _) = talk.enter(kept(V5, "c"));
        talk.publish(client, publish("a", "own", qos));
        let expected: &[&str] = if qos == MOST { &[] } else { &["other"] };
        assert_eq!(payloads(&talk.taken(client)), expected, "{qos:?}");
        talk.subscribe_to(client, &[("a/b", up_to(ONCE))], None);
        talk.publish(client, publish("a/b", "own", qos));
        assert_eq!(payloads(&talk.taken(client)), ["own"], "{qos:?}, by another filter");
    }
}

#[test]
fn to_unsubscribe_takes_exactly_that_filter_away_and_is_always_answered() {
    for version in BOTH {
        let mut talk = Talk::new();
        let (client, _) = talk.enter(kept(version, "c"));
        for filter in ["a/+", "a/b", "A/b"] {
            talk.subscribe(client, filter, LEAST);
        }
        let unsuback = talk.unsubscribe(client, &["a/#", "a/b", "a/b", "/a/b"]);
        assert_eq!(unsuback.packet_id, PacketId::MAX);
        let (gone, none) = (Reason::Success, Reason::NoSubscriptionExisted);
        let expected = if version == V5 { vec![none, gone, none, none] } else { Vec::new() };
        assert_eq!(unsuback.reasons, expected);
        let (from, _) = talk.enter(fleeting(V5, "from"));
        talk.publish(from, publish("a/b", "x", LEAST));
        assert_eq!(talk.taken(client).len(), 1, "another filter finds it");
        talk.unsubscribe(client, &["a/+"]);
        talk.publish(from, publish("a/b", "x", LEAST));
        assert!(talk.taken(client).is_empty());
        talk.publish(from, publish("A/b", "x", LEAST));
        assert_eq!(talk.taken(client).len(), 1, "no case is folded");
        talk.site.kill(true);
        let (client, _) = talk.enter(kept(version, "c"));
        let (from, _) = talk.enter(fleeting(V5, "from"));
        talk.publish(from, publish("a/b", "x", LEAST));
        assert!(talk.taken(client).is_empty(), "it is gone from disk too");
    }
}

#[test]
fn what_was_begun_to_be_sent_is_sent_to_its_end_after_unsubscribing() {
    let mut talk = Talk::new();
    let (client, _) = talk.enter(kept(V5, "c"));
    talk.subscribe(client, "a", ONCE);
    let (from, _) = talk.enter(fleeting(V5, "from"));
    talk.publish(from, publish("a", "once", ONCE));
    talk.publish(from, publish("a", "least", LEAST));
    assert_eq!(talk.messages(client).len(), 2);
    talk.unsubscribe(client, &["a"]);
    talk.lose(client);
    let (client, _) = talk.enter(kept(V5, "c"));
    let taken = talk.taken(client);
    assert_eq!(payloads(&taken), ["once", "least"]);
    assert!(taken.iter().all(|publish| publish.dup));
    talk.lose(client);
    let (client, _) = talk.enter(kept(V5, "c"));
    assert!(talk.taken(client).is_empty());
}
