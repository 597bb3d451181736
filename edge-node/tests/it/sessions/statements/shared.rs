//! Shared subscriptions: one of several clients gets each message.

use super::*;

/// A site with two members of a group, and somebody who publishes.
fn group(options: [SubscriptionOptions; 2]) -> (Talk, [ConnectionId; 2], ConnectionId) {
    let mut talk = Talk::new();
    let members = [("m0", options[0]), ("m1", options[1])].map(|(client, options)| {
        let (member, _) = talk.enter(kept(V5, client));
        talk.subscribe_to(member, &[("$share/g/a/+", options)], None);
        member
    });
    let (from, _) = talk.enter(fleeting(V5, "from"));
    (talk, members, from)
}

#[test]
fn one_member_of_a_group_gets_a_message_with_the_qos_that_it_was_granted() {
    let (mut talk, members, from) = group([up_to(LEAST), up_to(MOST)]);
    let (lone, _) = talk.enter(fleeting(V5, "lone"));
    talk.subscribe(lone, "a/b", ONCE);
    let (other, _) = talk.enter(fleeting(V5, "other"));
    talk.subscribe(other, "$share/h/a/+", LEAST);
    for number in 0..10 {
        talk.publish(from, publish("a/b", &number.to_string(), ONCE));
    }
    let taken = members.map(|member| talk.taken(member));
    assert_eq!(taken[0].len() + taken[1].len(), 10);
    assert!(taken.iter().all(|taken| taken.len() == 5), "in turn");
    assert!(taken[0].iter().all(|publish| publish.qos == LEAST));
    assert!(taken[1].iter().all(|publish| publish.qos == MOST));
    assert_eq!(talk.taken(lone).len(), 10, "a subscription of one's own is beside all groups");
    assert_eq!(talk.taken(other).len(), 10, "and so is another group");
}

#[test]
fn what_a_member_of_a_group_refuses_goes_to_no_other() {
    let (mut talk, members, from) = group([up_to(ONCE), up_to(ONCE)]);
    for (number, qos) in [LEAST, LEAST, ONCE, ONCE].into_iter().enumerate() {
        talk.publish(from, publish("a/b", &number.to_string(), qos));
    }
    for member in members {
        for publish in talk.messages(member) {
            let ack = Ack::new(publish.packet_id.unwrap(), Reason::Unspecified);
            let is_once = publish.qos == ONCE;
            talk.say(member, if is_once { Packet::Pubrec(ack) } else { Packet::Puback(ack) });
        }
    }
    for (member, client) in members.into_iter().zip(["m0", "m1"]) {
        assert!(talk.taken(member).is_empty());
        talk.lose(member);
        let (member, _) = talk.enter(kept(V5, client));
        assert!(talk.taken(member).is_empty(), "what was refused is done with");
    }
}

#[test]
fn what_waits_for_a_member_of_a_group_comes_when_it_is_back_or_goes_with_its_session() {
    let (mut talk, members, from) = group([up_to(ONCE), up_to(ONCE)]);
    for number in 0..4 {
        talk.publish(from, publish("a/b", &number.to_string(), ONCE));
    }
    // Both were sent two, and answer nothing.
    let sent = members.map(|member| talk.messages(member));
    members.into_iter().for_each(|member| talk.lose(member));
    let (back, _) = talk.enter(kept(V5, "m0"));
    let taken = talk.taken(back);
    assert_eq!(payloads(&taken), payloads(&sent[0]));
    assert!(taken.iter().all(|publish| publish.dup));
    let (anew, _) = talk.enter(Connect { clean_start: true, ..kept(V5, "m1") });
    assert!(talk.taken(anew).is_empty() && talk.taken(back).is_empty());
}

#[test]
fn members_that_are_away_get_messages_only_where_all_are() {
    let (mut talk, members, from) = group([up_to(ONCE), up_to(ONCE)]);
    talk.lose(members[0]);
    for number in 0..4 {
        talk.publish(from, publish("a/b", &number.to_string(), LEAST));
    }
    assert_eq!(talk.taken(members[1]).len(), 4);
    talk.lose(members[1]);
    for number in 0..4 {
        talk.publish(from, publish("a/b", &number.to_string(), LEAST));
    }
    let counts = ["m0", "m1"].map(|client| {
        let (member, _) = talk.enter(kept(V5, client));
        talk.taken(member).len()
    });
    assert_eq!(counts, [2, 2]);
}

/// A session that was to end with its connection was still found on disk after a kill, for its
/// will, with its subscriptions: of a group it took every other message, and nobody had those.
#[test]
fn a_session_that_ended_with_the_node_takes_no_message_of_its_group() {
    let (mut talk, members, _) = group([up_to(ONCE), up_to(ONCE)]);
    members.into_iter().for_each(|member| talk.lose(member));
    let (_, present) = talk.enter(Connect { clean_start: false, ..fleeting(V5, "m1") });
    assert!(present);
    talk.site.kill(true);
    let (from, _) = talk.enter(fleeting(V5, "from"));
    for number in 0..4 {
        talk.publish(from, publish("a/b", &number.to_string(), LEAST));
    }
    let (member, _) = talk.enter(kept(V5, "m0"));
    assert_eq!(payloads(&talk.taken(member)), ["0", "1", "2", "3"]);
}

#[test]
fn a_shared_subscription_is_sent_nothing_that_is_retained_and_ends_like_others() {
    let (mut talk, members, from) = group([up_to(ONCE), up_to(ONCE)]);
    talk.publish(from, retained("a/b", "x", LEAST));
    assert_eq!(talk.taken(members[0]).len() + talk.taken(members[1]).len(), 1);
    talk.subscribe(members[0], "$share/g/a/+", LEAST);
    assert!(talk.taken(members[0]).is_empty());
    let unsuback = talk.unsubscribe(members[0], &["a/+", "$share/h/a/+", "$share/g/a/+"]);
    let none = Reason::NoSubscriptionExisted;
    assert_eq!(unsuback.reasons, [none, none, Reason::Success]);
    for _ in 0..4 {
        talk.publish(from, publish("a/b", "x", LEAST));
    }
    let counts = members.map(|member| talk.taken(member).len());
    assert_eq!(counts, [0, 4]);
}
