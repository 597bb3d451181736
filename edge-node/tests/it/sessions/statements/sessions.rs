//! Sessions begin, go on, are taken over and end.

use super::*;

#[test]
fn a_session_goes_on_or_begins_anew_as_the_client_says() {
    // How it was, how the client comes back, and whether the session is there then.
    let clean = |connect: Connect| Connect { clean_start: true, ..connect };
    let unclean = |connect: Connect| Connect { clean_start: false, ..connect };
    let cases = [
        (kept(V5, "c"), kept(V5, "c"), true),
        (kept(V5, "c"), unclean(fleeting(V5, "c")), true),
        (kept(V5, "c"), clean(kept(V5, "c")), false),
        (kept(V5, "c"), fleeting(V311, "c"), false),
        (clean(kept(V5, "c")), kept(V311, "c"), true),
        (unclean(fleeting(V5, "c")), kept(V5, "c"), false),
        (fleeting(V5, "c"), kept(V5, "c"), false),
        (kept(V311, "c"), kept(V311, "c"), true),
        (kept(V311, "c"), fleeting(V311, "c"), false),
        (fleeting(V311, "c"), kept(V311, "c"), false),
    ];
    for (case, (before, again, is_there)) in cases.into_iter().enumerate() {
        let mut talk = Talk::new();
        let (first, was_there) = talk.enter(before);
        assert!(!was_there, "case {case}: nobody was here before");
        talk.subscribe(first, "a", LEAST);
        talk.lose(first);
        let (second, present) = talk.enter(again);
        assert_eq!(present, is_there, "case {case}");
        let (other, _) = talk.enter(fleeting(V5, "other"));
        talk.publish(other, publish("a", "x", LEAST));
        assert_eq!(talk.taken(second).len(), usize::from(is_there), "case {case}");
    }
}

#[test]
fn whoever_begins_anew_is_sent_nothing_of_before_and_never_will_be() {
    for version in BOTH {
        let mut talk = Talk::new();
        let (client, _) = talk.enter(kept(version, "c"));
        talk.subscribe(client, "a", ONCE);
        talk.lose(client);
        let (other, _) = talk.enter(fleeting(V5, "other"));
        talk.publish(other, publish("a", "x", ONCE));
        let (client, _) = talk.enter(fleeting(version, "c"));
        talk.lose(client);
        let (client, present) = talk.enter(kept(version, "c"));
        assert!(!present && talk.taken(client).is_empty());
    }
}

/// Commands that came together with the end of a session came before it.
#[test]
fn a_session_whose_time_is_over_is_not_taken_up() {
    let mut talk = Talk::new();
    let (client, _) = talk.enter(lasting("c", 10));
    talk.lose(client);
    talk.site.pass(9_000);
    let (client, present) = talk.enter(lasting("c", 10));
    assert!(present);
    talk.lose(client);
    // The broker looks at the clock and at who connects at the same time.
    talk.site.pass(10_000);
    let (_, present) = talk.enter(lasting("c", 10));
    assert!(!present);
}

#[test]
fn a_session_lasts_as_long_as_its_connection_and_its_expiry_more() {
    let mut talk = Talk::within(Limits { session_expiry_s: 100, ..Limits::default() });
    let (client, connack) = talk.try_enter(lasting("c", 1_000));
    assert_eq!(connack.properties.session_expiry_s, Some(100), "it is told that it is less");
    talk.pass(5_000);
    assert_eq!(talk.site.state.held().sessions, 1, "it is there");
    talk.lose(client);
    talk.pass(99);
    assert_eq!(talk.site.state.held().sessions, 1);
    talk.pass(1);
    assert_eq!(talk.site.state.held().sessions, 0);
    let (_, connack) = talk.try_enter(lasting("c", 60));
    assert_eq!(connack.properties.session_expiry_s, None, "it is as it asked");
}

#[test]
fn a_client_may_change_how_long_its_session_is_kept_when_it_leaves() {
    let mut talk = Talk::new();
    let (client, _) = talk.enter(lasting("c", 10));
    talk.say(client, leaving(Reason::Success, Some(50)));
    talk.pass(49);
    let (client, present) = talk.enter(lasting("c", 10));
    assert!(present);
    talk.say(client, leaving(Reason::Success, Some(0)));
    assert_eq!(talk.site.state.held().sessions, 0, "it ends at once");
    let (client, _) = talk.enter(fleeting(V5, "c"));
    talk.say(client, leaving(Reason::Success, Some(50)));
    let heard = talk.heard(client);
    let [Packet::Disconnect(told)] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!(told.reason, Reason::ProtocolError);
    assert_eq!(talk.site.state.held().sessions, 0);
}

#[test]
fn another_connection_takes_the_session_and_the_first_is_told_and_ended() {
    for version in BOTH {
        let mut talk = Talk::new();
        let (first, _) = talk.enter(kept(version, "c"));
        let (second, present) = talk.enter(kept(version, "c"));
        assert!(present && talk.site.is_over(first) && !talk.site.is_over(second));
        let heard = talk.heard(first);
        match (version, &heard[..]) {
            (V5, [Packet::Disconnect(told)]) => assert_eq!(told.reason, Reason::SessionTakenOver),
            (V311, []) => {}
            _ => panic!("{heard:?}"),
        }
        // What the first still brings about is not the second's affair.
        talk.lose(first);
        talk.subscribe(second, "a", LEAST);
        talk.publish(second, publish("a", "x", MOST));
        assert_eq!(payloads(&talk.messages(second)), ["x"]);
    }
}

/// The session of a connection that had asked for none to be kept went on over the connection that
/// took its place, because it had once been kept.
#[test]
fn a_session_that_ends_with_its_connection_is_not_taken_over() {
    let mut talk = Talk::new();
    let (client, _) = talk.enter(kept(V5, "c"));
    talk.lose(client);
    let (client, present) = talk.enter(Connect { clean_start: false, ..fleeting(V5, "c") });
    assert!(present);
    talk.subscribe(client, "a", LEAST);
    let (client, present) = talk.enter(kept(V5, "c"));
    assert!(!present);
    talk.publish(client, publish("a", "x", LEAST));
    assert!(talk.taken(client).is_empty());
}

/// A message was put into the queue of a session that ended in the same group. It was written down
/// behind the sweep, for good; and after the next start the number of that session was another's,
/// who was sent the message.
#[test]
fn what_waited_for_a_session_goes_with_it_and_to_nobody_else() {
    let mut talk = Talk::new();
    let (client, _) = talk.enter(kept(V5, "c"));
    talk.subscribe(client, "a", LEAST);
    talk.lose(client);
    let (other, _) = talk.enter(fleeting(V5, "other"));
    talk.site.say(other, &Packet::Publish(publish("a", "for c", LEAST)));
    talk.site.join(fleeting(V5, "c"));
    talk.site.settle();
    talk.site.kill(true);
    let (somebody, present) = talk.enter(kept(V5, "somebody"));
    assert!(!present && talk.taken(somebody).is_empty());
    talk.site.kill(true);
    let (somebody, present) = talk.enter(kept(V5, "somebody"));
    assert!(present && talk.taken(somebody).is_empty());
}

#[test]
fn a_client_without_identifier_gets_one_of_its_own() {
    let mut talk = Talk::new();
    let (_, first) = talk.try_enter(kept(V5, ""));
    let (_, second) = talk.try_enter(fleeting(V5, ""));
    let given = [first, second].map(|connack| {
        assert!(!connack.session_present);
        connack.properties.assigned_client_id.unwrap()
    });
    assert_ne!(given[0], given[1]);
    let (_, present) = talk.enter(kept(V5, given[0].as_str()));
    assert!(present, "it comes back under the one it was given");
    let (_, named) = talk.try_enter(fleeting(V5, "c"));
    assert_eq!(named.properties.assigned_client_id, None);
    let (_, old) = talk.try_enter(fleeting(V311, ""));
    assert_eq!(old.properties.assigned_client_id, None, "there is no way to tell");
    assert_eq!(talk.site.state.held().sessions, 4);
}

#[test]
fn client_identifiers_may_be_long_and_of_any_characters_and_are_refused_beyond() {
    let mut talk = Talk::new();
    let plain = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for length in 1..=plain.len() {
        talk.enter(fleeting(V311, &plain[..length]));
        talk.enter(fleeting(V5, &plain[plain.len() - length..]));
    }
    talk.enter(fleeting(V5, "Gärtnerei/Süd 1"));
    talk.enter(fleeting(V5, &"x".repeat(1_024)));
    for version in BOTH {
        let (client, connack) = talk.try_enter(fleeting(version, &"x".repeat(1_025)));
        assert_eq!(connack.reason, Reason::ClientIdInvalid);
        assert!(talk.site.is_over(client));
    }
}

#[test]
fn what_comes_for_a_client_that_is_away_waits_for_it() {
    for version in BOTH {
        let mut talk = Talk::new();
        let (client, _) = talk.enter(kept(version, "c"));
        talk.subscribe(client, "a", ONCE);
        talk.lose(client);
        let (other, _) = talk.enter(fleeting(V5, "other"));
        for (payload, qos) in [("0", MOST), ("1", LEAST), ("2", ONCE), ("3", LEAST)] {
            talk.publish(other, publish("a", payload, qos));
        }
        talk.site.kill(true);
        let (client, present) = talk.enter(kept(version, "c"));
        assert!(present);
        assert_eq!(payloads(&talk.taken(client)), ["1", "2", "3"], "QoS 0 is not kept");
        talk.lose(client);
        let (client, _) = talk.enter(kept(version, "c"));
        assert!(talk.taken(client).is_empty(), "what was acknowledged does not come again");
    }
}

#[test]
fn whoever_owns_the_session_is_judged_by_its_identifier_alone() {
    let mut talk = Talk::new();
    let (one, _) = talk.enter(kept(V5, "c"));
    let (two, _) = talk.enter(kept(V5, "C"));
    talk.subscribe(one, "a", LEAST);
    let (_, present) = talk.enter(kept(V5, "d"));
    assert!(!present, "another identifier is another session");
    talk.publish(two, publish("a", "x", LEAST));
    assert_eq!(talk.taken(two).len(), 0);
    assert_eq!(payloads(&talk.taken(one)), ["x"]);
}
