//! Retained messages: who is sent them when, and what is said of them.

use super::*;
use holdfast_edge::mqtt::packet::RetainHandling;

#[test]
fn what_is_retained_is_replaced_and_taken_away_by_what_is_retained_after_it() {
    for version in BOTH {
        let mut talk = Talk::new();
        let (from, _) = talk.enter(fleeting(version, "from"));
        let (here, _) = talk.enter(fleeting(version, "here"));
        talk.subscribe(here, "a", ONCE);
        let seen = |talk: &mut Talk| {
            let (late, _) = talk.enter(fleeting(version, "late"));
            talk.subscribe(late, "a", ONCE);
            let all = talk.taken(late);
            all.iter()
                .map(|p| (payloads(std::slice::from_ref(p))[0].to_owned(), p.qos))
                .collect::<Vec<_>>()
        };
        assert!(seen(&mut talk).is_empty());
        for qos in ALL {
            talk.publish(from, retained("a", &format!("{qos:?}"), qos));
            assert_eq!(seen(&mut talk), [(format!("{qos:?}"), qos)], "the last, with its QoS");
            talk.publish(from, publish("a", "not retained", qos));
            talk.publish(from, publish("a", "", qos));
            assert_eq!(seen(&mut talk), [(format!("{qos:?}"), qos)], "they change nothing");
        }
        talk.taken(here);
        talk.publish(from, retained("a", "", MOST));
        assert!(seen(&mut talk).is_empty());
        assert_eq!(payloads(&talk.taken(here)), [""], "whoever is there hears of it");
        talk.site.kill(true);
        assert!(seen(&mut talk).is_empty(), "it is not kept");
    }
}

#[test]
fn what_is_retained_outlives_the_session_of_its_publisher_and_the_node() {
    let mut talk = Talk::new();
    let (from, _) = talk.enter(fleeting(V5, "from"));
    talk.publish(from, retained("a/b", "x", LEAST));
    talk.lose(from);
    talk.site.kill(true);
    let (late, _) = talk.enter(fleeting(V311, "late"));
    talk.subscribe(late, "a/+", LEAST);
    let taken = talk.taken(late);
    assert_eq!((payloads(&taken), taken[0].retain), (vec!["x"], true));
}

#[test]
fn a_subscriber_says_whether_it_is_sent_what_is_retained() {
    let cases = [
        (RetainHandling::Send, [1, 1]),
        (RetainHandling::SendIfNew, [1, 0]),
        (RetainHandling::DoNotSend, [0, 0]),
    ];
    for (retain_handling, counts) in cases {
        let mut talk = Talk::new();
        let (client, _) = talk.enter(kept(V5, "c"));
        talk.publish(client, retained("a", "x", LEAST));
        let options = SubscriptionOptions { retain_handling, ..up_to(LEAST) };
        let sent = counts.map(|_| {
            talk.subscribe_to(client, &[("a", options)], None);
            talk.taken(client).len()
        });
        assert_eq!(sent, counts, "{retain_handling:?}");
        talk.lose(client);
        let (client, _) = talk.enter(kept(V5, "c"));
        talk.subscribe_to(client, &[("a", options)], None);
        assert_eq!(talk.taken(client).len(), counts[1], "{retain_handling:?}, as it was");
        talk.unsubscribe(client, &["a"]);
        talk.subscribe_to(client, &[("a", options)], None);
        assert_eq!(talk.taken(client).len(), counts[0], "{retain_handling:?}, new");
    }
}

#[test]
fn retain_tells_what_was_kept_and_is_passed_on_only_where_that_is_wanted() {
    for retain_as_published in [false, true] {
        for qos in ALL {
            let mut talk = Talk::new();
            let (from, _) = talk.enter(fleeting(V5, "from"));
            talk.publish(from, retained("a", "before", qos));
            let (client, _) = talk.enter(kept(V5, "c"));
            let options = SubscriptionOptions { retain_as_published, ..up_to(ONCE) };
            talk.subscribe_to(client, &[("a", options)], None);
            talk.publish(from, retained("a", "retained", qos));
            talk.publish(from, publish("a", "plain", qos));
            let taken = talk.taken(client);
            let flags: Vec<bool> = taken.iter().map(|publish| publish.retain).collect();
            let what = format!("{qos:?} {retain_as_published}");
            assert_eq!(payloads(&taken), ["before", "retained", "plain"], "{what}");
            assert_eq!(flags, [true, retain_as_published, false], "{what}");
        }
    }
    let mut talk = Talk::new();
    let (client, _) = talk.enter(fleeting(V311, "c"));
    talk.publish(client, retained("a", "before", LEAST));
    talk.subscribe(client, "a", LEAST);
    talk.publish(client, retained("a", "after", LEAST));
    let flags: Vec<bool> = talk.taken(client).iter().map(|publish| publish.retain).collect();
    assert_eq!(flags, [true, false]);
}

#[test]
fn a_retained_message_is_sent_for_each_subscription_with_its_qos_and_identifier() {
    let mut talk = Talk::new();
    let (client, _) = talk.enter(fleeting(V5, "c"));
    talk.publish(client, retained("a/b", "x", ONCE));
    talk.subscribe_to(client, &[("a/+", up_to(LEAST)), ("a/#", up_to(ONCE))], Some(7));
    let taken = talk.taken(client);
    let mut said: Vec<_> = taken.iter().map(|p| (p.qos, p.retain)).collect();
    said.sort_unstable();
    assert_eq!(said, [(LEAST, true), (ONCE, true)]);
    let seven = [NonZeroU32::new(7).unwrap()];
    assert!(taken.iter().all(|p| p.properties.subscription_ids == seven));
}

#[test]
fn a_retained_message_whose_life_is_over_is_not_sent() {
    let mut talk = Talk::new();
    let (client, _) = talk.enter(fleeting(V5, "c"));
    let mut short = retained("a", "x", LEAST);
    short.properties.expiry_s = Some(10);
    talk.publish(client, short);
    talk.pass(7);
    talk.subscribe(client, "a", LEAST);
    let taken = talk.taken(client);
    assert_eq!(taken[0].properties.expiry_s, Some(3), "what is left of it is told");
    talk.pass(4);
    talk.subscribe(client, "a", LEAST);
    assert!(talk.taken(client).is_empty());
}
