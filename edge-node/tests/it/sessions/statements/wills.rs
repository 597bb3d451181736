//! What is published when a client is lost.

use super::*;

/// A site with somebody who sees all wills.
fn watched() -> (Talk, ConnectionId) {
    let mut talk = Talk::new();
    let (watcher, _) = talk.enter(fleeting(V5, "watcher"));
    talk.subscribe(watcher, "wills", ONCE);
    (talk, watcher)
}

#[test]
fn a_will_is_published_for_whoever_is_lost_and_not_for_whoever_leaves() {
    for version in BOTH {
        for connect in [fleeting(version, "c"), kept(version, "c")] {
            let (mut talk, watcher) = watched();
            let (client, _) = talk.enter(with_will(will(0, "left"), connect.clone()));
            talk.say(client, Packet::Disconnect(Disconnect::new(Reason::Success)));
            talk.pass(100);
            assert!(talk.taken(watcher).is_empty(), "it left in order");
            let (client, _) = talk.enter(with_will(will(0, "lost"), connect.clone()));
            talk.lose(client);
            talk.pass(100);
            assert_eq!(payloads(&talk.taken(watcher)), ["lost"], "once");
            let (client, _) = talk.enter(with_will(will(0, "wrong"), connect.clone()));
            talk.site.say_bytes(client, b"\x00\x00");
            talk.site.settle();
            assert_eq!(payloads(&talk.taken(watcher)), ["wrong"], "it broke the rules");
            let alive = Connect { keep_alive: 10, ..connect.clone() };
            let (_, _) = talk.enter(with_will(will(0, "silent"), alive));
            talk.pass(14);
            assert!(talk.taken(watcher).is_empty());
            talk.pass(1);
            assert_eq!(payloads(&talk.taken(watcher)), ["silent"]);
            let (client, _) = talk.enter(connect);
            talk.lose(client);
            talk.pass(100);
            assert!(talk.taken(watcher).is_empty(), "without a will there is none");
        }
    }
}

#[test]
fn a_client_may_leave_and_have_its_will_published() {
    let (mut talk, watcher) = watched();
    for reason in [Reason::DisconnectWithWill, Reason::ImplementationSpecific] {
        let (client, _) = talk.enter(with_will(will(0, "gone"), kept(V5, "c")));
        talk.say(client, leaving(reason, None));
        assert_eq!(payloads(&talk.taken(watcher)), ["gone"], "{reason}");
    }
    let (client, _) = talk.enter(with_will(will(60, "late"), kept(V5, "c")));
    talk.say(client, leaving(Reason::DisconnectWithWill, Some(0)));
    assert_eq!(payloads(&talk.taken(watcher)), ["late"], "its session ended, so it does not wait");
}

#[test]
fn a_will_waits_for_its_delay_or_the_end_of_the_session_whichever_comes_first() {
    let (mut talk, watcher) = watched();
    let (client, _) = talk.enter(with_will(will(20, "a"), kept(V5, "a")));
    talk.lose(client);
    let (client, _) = talk.enter(with_will(will(20, "b"), lasting("b", 5)));
    talk.lose(client);
    let (client, _) = talk.enter(with_will(will(20, "c"), fleeting(V5, "c")));
    talk.lose(client);
    assert_eq!(payloads(&talk.taken(watcher)), ["c"]);
    talk.pass(4);
    assert!(talk.taken(watcher).is_empty());
    talk.pass(1);
    assert_eq!(payloads(&talk.taken(watcher)), ["b"]);
    talk.pass(14);
    assert!(talk.taken(watcher).is_empty());
    talk.pass(1);
    assert_eq!(payloads(&talk.taken(watcher)), ["a"]);
}

#[test]
fn a_connection_that_is_taken_over_leaves_its_will_unless_that_may_wait_for_the_session() {
    for (before, again, payloads_of) in [
        (kept(V5, "c"), kept(V5, "c"), [false, true]),
        (kept(V5, "c"), Connect { clean_start: true, ..kept(V5, "c") }, [true, true]),
        (fleeting(V5, "c"), kept(V5, "c"), [true, true]),
        (kept(V311, "c"), kept(V311, "c"), [true, true]),
    ] {
        for (delay_s, is_published) in [60, 0].into_iter().zip(payloads_of) {
            let delay_s = if before.version == V5 { delay_s } else { 0 };
            let (mut talk, watcher) = watched();
            talk.enter(with_will(will(delay_s, "old"), before.clone()));
            talk.enter(again.clone());
            let expected: &[&str] = if is_published { &["old"] } else { &[] };
            let what = format!("{before:?} {delay_s}");
            assert_eq!(payloads(&talk.taken(watcher)), expected, "{what}");
            talk.pass(1_000);
            assert!(talk.taken(watcher).is_empty(), "{what}");
        }
    }
}

#[test]
fn a_client_that_comes_back_in_time_has_its_will_taken_back() {
    let (mut talk, watcher) = watched();
    let (client, _) = talk.enter(with_will(will(20, "first"), kept(V5, "c")));
    talk.lose(client);
    talk.pass(19);
    let (client, _) = talk.enter(with_will(will(20, "second"), kept(V5, "c")));
    talk.pass(100);
    assert!(talk.taken(watcher).is_empty());
    talk.lose(client);
    talk.pass(20);
    assert_eq!(payloads(&talk.taken(watcher)), ["second"]);
}

/// A will that was due was on its way to be published when its client came back and was lost again:
/// the old one was published twice and the new one never.
#[test]
fn a_will_that_is_on_its_way_does_not_take_the_place_of_the_next() {
    let (mut talk, watcher) = watched();
    let (client, _) = talk.enter(with_will(will(0, "first"), kept(V5, "c")));
    talk.site.hold_wills(true);
    talk.site.lose(client);
    talk.site.turn();
    let client = talk.site.join(with_will(will(0, "second"), kept(V5, "c")));
    talk.site.turn();
    talk.site.lose(client);
    talk.site.turn();
    talk.site.hold_wills(false);
    talk.site.settle();
    assert_eq!(payloads(&talk.taken(watcher)), ["first", "second"]);
}

#[test]
fn a_will_is_retained_only_where_it_was_asked_for() {
    let (mut talk, watcher) = watched();
    for retain in [false, true] {
        let will = Will { retain, ..will(0, "gone") };
        let (client, _) = talk.enter(with_will(will, fleeting(V5, "c")));
        talk.lose(client);
        let (late, _) = talk.enter(fleeting(V5, "late"));
        talk.subscribe(late, "wills", ONCE);
        assert_eq!(talk.taken(late).len(), usize::from(retain));
    }
    assert_eq!(payloads(&talk.taken(watcher)), ["gone", "gone"]);
}

/// The life of a will was counted from when its client had connected: whoever was lost after that
/// time had none.
#[test]
fn a_will_is_published_as_it_was_made_and_its_life_begins_then() {
    let (mut talk, watcher) = watched();
    let pair = |key: &str, value: &str| (text(key), text(value));
    let user = [pair("b", "1"), pair("a", "2"), pair("b", "3")];
    let mut will = Will { qos: ONCE, ..will(0, "gone") };
    will.properties = WillProperties {
        delay_s: Some(10),
        payload_is_text: Some(true),
        expiry_s: Some(60),
        content_type: Some(text("text/plain")),
        response_topic: Some(topic("answers")),
        correlation: Some(Binary::new(b"42".to_vec()).unwrap()),
        user: user.iter().cloned().collect(),
    };
    let (client, _) = talk.enter(with_will(will.clone(), kept(V5, "c")));
    talk.pass(3_600);
    talk.lose(client);
    talk.pass(10);
    let taken = talk.taken(watcher);
    let [published] = &taken[..] else { panic!("{taken:?}") };
    assert_eq!(published.qos, ONCE);
    let expected = PublishProperties {
        payload_is_text: will.properties.payload_is_text,
        expiry_s: Some(60),
        content_type: will.properties.content_type,
        response_topic: will.properties.response_topic,
        correlation: will.properties.correlation,
        user: user.into_iter().collect(),
        ..PublishProperties::default()
    };
    assert_eq!(published.properties, expected);
}

/// As above, where a start has forgotten when the client connected.
#[test]
fn a_will_that_was_read_from_disk_lives_from_its_publication_on_too() {
    let (mut talk, _) = watched();
    let mut short = Will { retain: true, ..will(0, "gone") };
    short.properties.expiry_s = Some(60);
    talk.enter(with_will(short, kept(V5, "c")));
    talk.site.kill(true);
    talk.pass(31);
    let (late, _) = talk.enter(fleeting(V5, "late"));
    talk.subscribe(late, "wills", ONCE);
    let taken = talk.taken(late);
    assert_eq!(payloads(&taken), ["gone"]);
    assert!(taken[0].properties.expiry_s.is_some_and(|left| left > 50), "{taken:?}");
}

#[test]
fn whoever_wants_none_of_its_own_does_not_get_its_will() {
    let (mut talk, watcher) = watched();
    let (client, _) = talk.enter(with_will(will(0, "gone"), kept(V5, "c")));
    let own = SubscriptionOptions { no_local: true, ..up_to(LEAST) };
    talk.subscribe_to(client, &[("wills", own)], None);
    talk.lose(client);
    assert_eq!(payloads(&talk.taken(watcher)), ["gone"]);
    let (client, _) = talk.enter(kept(V5, "c"));
    assert!(talk.taken(client).is_empty());
}
