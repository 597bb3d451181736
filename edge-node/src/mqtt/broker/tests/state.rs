//! Decisions of the broker: whose a session is, what becomes of wills, retained messages and
//! queues, and what is left of them when the disk does not take them.

use crate::ingest::Prepared;
use crate::mqtt::broker::mailbox::{Answer, Mailbox, Next};
use crate::mqtt::broker::work::{Effect, Work};
use crate::mqtt::broker::{Asked, Command, Gone, Incoming, Limits, Open, Spread, State};
use crate::mqtt::connection::{Ended, Outcome};
use crate::mqtt::counts::MqttCounts;
use crate::mqtt::ledger::{Change, Kept, NEVER, Seen};
use crate::mqtt::message::{Delivery, Message, Moment};
use crate::mqtt::packet::{
    Connect, ConnectProperties, Filter, PacketId, Publish, PublishProperties, QoS, Subscribe,
    Subscription, SubscriptionOptions, Topic, Utf8, Version, Will, WillProperties,
};
use crate::mqtt::reason::Reason;
use bytes::Bytes;
use holdfast_sync::store::Item;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// A broker and its clock.
struct Desk {
    state: State,
    now: Moment,
    next: u64,
}

/// A client that is connected.
struct Client {
    id: u64,
    mailbox: Arc<Mailbox>,
}

fn text(text: &str) -> Utf8 {
    Utf8::try_from(text).unwrap()
}

fn publish(topic: &str, payload: &str, qos: QoS, retain: bool) -> Publish {
    Publish {
        dup: false,
        qos,
        retain,
        topic: Topic::try_from(topic).unwrap(),
        packet_id: None,
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        properties: PublishProperties::default(),
    }
}

fn will(delay_s: u32) -> Will {
    Will {
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: Topic::try_from("wills").unwrap(),
        payload: crate::mqtt::packet::Binary::new("gone").unwrap(),
        properties: WillProperties { delay_s: Some(delay_s), ..WillProperties::default() },
    }
}

impl Desk {
    fn new(limits: Limits) -> Self {
        let now = Moment { wall_ms: 1_800_000_000_000, boot: 1, steady_ms: 1_000 };
        let state = State::load(Kept::default(), limits, Arc::new(MqttCounts::default()), now);
        Self { state, now, next: 1 }
    }

    fn prepare(&mut self, commands: Vec<Command>) -> Work {
        self.state.prepare(self.now, commands)
    }

    /// Does it as if it were on disk; gives the wills that are due.
    fn take(&mut self, commands: Vec<Command>) -> Vec<Command> {
        let work = self.prepare(commands);
        self.follow(work.effects)
    }

    fn follow(&self, effects: Vec<Effect>) -> Vec<Command> {
        let mut due = Vec::new();
        for effect in effects {
            match effect {
                Effect::Answer(mailbox, answer) => mailbox.answer(answer),
                Effect::Published { to, outcome, .. } => {
                    if let Some((mailbox, serial)) = to {
                        mailbox.answer(Answer::Published(serial, outcome));
                    }
                }
                Effect::Put(subscriber, delivery) => {
                    let mailbox = subscriber.mailbox();
                    assert!(mailbox.is_none_or(|mailbox| mailbox.put(delivery)));
                }
                Effect::Kept(subscriber, number, delivery) => {
                    if let Some(mailbox) = subscriber.mailbox() {
                        mailbox.kept(number, delivery);
                    }
                }
                Effect::Will(key, message) => due.push(Command::Will(key, message, None)),
                Effect::Begins(due) => panic!("nothing is begun by messages here: {due:?}"),
                Effect::LastWill(message) => {
                    due.push(Command::Spread(Box::new(Spread::new(message, None))));
                }
            }
        }
        due
    }

    fn opening(&mut self, client: &str, owner: &str, will: Option<Will>, s: u32) -> (Client, Open) {
        self.next += 1;
        let mailbox = Arc::new(Mailbox::default());
        let properties =
            ConnectProperties { session_expiry_s: Some(s), ..ConnectProperties::default() };
        let connect = Connect {
            version: Version::V5,
            clean_start: false,
            keep_alive: 0,
            client_id: text(client),
            will,
            user_name: None,
            password: None,
            properties,
        };
        let open = Open {
            id: self.next,
            connect: Box::new(connect),
            owner: owner.to_owned(),
            fresh_id: "fresh".to_owned(),
            peer: ([127, 0, 0, 1], 1).into(),
            mailbox: Arc::clone(&mailbox),
        };
        (Client { id: self.next, mailbox }, open)
    }

    fn open(&mut self, client: &str, will: Option<Will>, expiry_s: u32) -> Client {
        let (client, open) = self.opening(client, "o", will, expiry_s);
        self.take(vec![Command::Open(Box::new(open))]);
        assert!(matches!(client.mailbox.next_answer(), Some(Answer::Opened(_))));
        client
    }

    fn subscribe(&mut self, client: &Client, filter: &str) {
        let options = SubscriptionOptions { qos: QoS::ExactlyOnce, ..Default::default() };
        let filter = Filter::try_from(filter).unwrap();
        let subscribe = Subscribe {
            packet_id: PacketId::MIN,
            subscriptions: vec![Subscription { filter, options }],
            subscription_id: None,
            user: Default::default(),
        };
        let asked = Asked { id: client.id, subscribe, refused: vec![None] };
        self.take(vec![Command::Subscribe(Box::new(asked))]);
        assert!(matches!(client.mailbox.next_answer(), Some(Answer::Subscribed(..))));
    }

    fn spread(&mut self, publish: &Publish) {
        self.take(vec![self.spreading(publish)]);
    }

    fn spreading(&self, publish: &Publish) -> Command {
        let message = Arc::new(Message::new(publish, self.now));
        Command::Spread(Box::new(Spread::new(message, None)))
    }

    fn lose(&mut self, client: &Client) -> Vec<Command> {
        let ended = Ended { with_will: true, session_expiry_s: None, why: "lost".into() };
        self.take(vec![Command::Ended(Gone { id: client.id, ended, sent: 0 })])
    }

    fn pass(&mut self, seconds: u64) {
        self.now.steady_ms += seconds * 1_000;
        self.now.wall_ms += i64::try_from(seconds).unwrap() * 1_000;
    }
}

impl Client {
    fn got(&self) -> Vec<String> {
        let mut out = Vec::new();
        let mut from = 0;
        let show =
            |delivery: Delivery| String::from_utf8(delivery.message.payload().to_vec()).unwrap();
        while let Some(delivery) = self.mailbox.next_plain() {
            out.push(show(delivery));
        }
        while let Next::Here(number, delivery) = self.mailbox.next_numbered(from) {
            from = number + 1;
            out.push(show(delivery));
        }
        out
    }
}

#[test]
fn a_session_is_taken_up_by_its_owner_and_nobody_else() {
    let mut desk = Desk::new(Limits::default());
    let first = desk.open("pump", None, NEVER);
    let (other, open) = desk.opening("pump", "somebody else", None, NEVER);
    desk.take(vec![Command::Open(Box::new(open))]);
    let answer = other.mailbox.next_answer();
    assert!(matches!(answer, Some(Answer::Refused(Reason::NotAuthorized, _))), "{answer:?}");
    assert!(first.mailbox.next_answer().is_none(), "the connection that is there goes on");
    let again = desk.open("pump", None, NEVER);
    let answer = first.mailbox.next_answer();
    assert!(matches!(answer, Some(Answer::End(Reason::SessionTakenOver, _))), "{answer:?}");
    // What its old connection still has to say does not end the new one.
    desk.lose(&first);
    desk.subscribe(&again, "a");
}

#[test]
fn a_will_waits_for_its_delay_and_is_not_published_for_who_came_back() {
    let mut desk = Desk::new(Limits::default());
    let watcher = desk.open("watcher", None, 0);
    desk.subscribe(&watcher, "wills");
    let pump = desk.open("pump", Some(will(20)), NEVER);
    assert!(desk.lose(&pump).is_empty());
    desk.pass(19);
    assert!(desk.take(Vec::new()).is_empty(), "not yet");
    let pump = desk.open("pump", Some(will(20)), NEVER);
    desk.pass(60);
    assert!(desk.take(Vec::new()).is_empty(), "it is there");
    desk.lose(&pump);
    desk.pass(20);
    let due = desk.take(Vec::new());
    assert_eq!(due.len(), 1);
    desk.take(due);
    assert_eq!(watcher.got(), ["gone"]);
    desk.pass(60);
    assert!(desk.take(Vec::new()).is_empty(), "once");
}

#[test]
fn a_session_ends_after_its_expiry_and_its_will_comes_no_later() {
    let mut desk = Desk::new(Limits::default());
    let pump = desk.open("pump", Some(will(3_600)), 10);
    desk.lose(&pump);
    desk.pass(10);
    let due = desk.take(Vec::new());
    assert_eq!(due.len(), 1, "the will is due when the session ends");
    let work = desk.prepare(due);
    assert!(work.changes.iter().any(|change| matches!(change, Change::End(..))));
    assert_eq!(desk.state.held().sessions, 0);
}

#[test]
fn who_subscribes_gets_what_is_retained_and_has_not_expired() {
    let mut desk = Desk::new(Limits::default());
    desk.spread(&publish("a", "old", QoS::AtMostOnce, true));
    desk.spread(&publish("a", "new", QoS::AtLeastOnce, true));
    let mut short = publish("b", "short", QoS::AtMostOnce, true);
    short.properties.expiry_s = Some(5);
    desk.spread(&short);
    desk.pass(6);
    let client = desk.open("c", None, 0);
    desk.subscribe(&client, "#");
    assert_eq!(client.got(), ["new"]);
    desk.pass(10);
    let work = desk.prepare(Vec::new());
    let is_gone =
        |change: &Change| matches!(change, Change::Retain(topic, None) if topic.as_str() == "b");
    assert!(work.changes.iter().any(is_gone), "it goes from disk too");
    desk.spread(&publish("a", "", QoS::AtMostOnce, true));
    assert_eq!(desk.state.retained_by(&Filter::try_from("#").unwrap()).0, 0);
}

#[test]
fn what_the_disk_does_not_take_has_not_happened() {
    let mut desk = Desk::new(Limits::default());
    let client = desk.open("c", None, NEVER);
    desk.subscribe(&client, "a");
    desk.spread(&publish("a", "first", QoS::AtLeastOnce, true));
    assert_eq!(client.got(), ["first"]);
    let before = desk.state.queued_bytes();
    let work = desk.prepare(vec![desk.spreading(&publish("a", "second", QoS::AtLeastOnce, true))]);
    assert!(desk.state.queued_bytes() > before);
    let again = desk.state.failed(work, Reason::QuotaExceeded, "full");
    assert!(again.is_empty(), "no session has changed: {again:?}");
    assert_eq!(desk.state.queued_bytes(), before);
    let (_, _, kept) = desk.state.retained_by(&Filter::try_from("a").unwrap());
    assert_eq!(kept[0].payload().as_ref(), b"first");
    // A session that has changed is read again, and its connection ends.
    let asked = Asked {
        id: client.id,
        subscribe: Subscribe {
            packet_id: PacketId::MIN,
            subscriptions: Vec::new(),
            subscription_id: None,
            user: Default::default(),
        },
        refused: Vec::new(),
    };
    let work = desk.prepare(vec![Command::Subscribe(Box::new(asked))]);
    let again = desk.state.failed(work, Reason::Unspecified, "broken");
    assert_eq!(again.into_iter().collect::<Vec<_>>(), ["c"]);
    let answer = client.mailbox.next_answer();
    assert!(matches!(answer, Some(Answer::End(Reason::ServerUnavailable, _))), "{answer:?}");
}

#[test]
fn all_queues_together_are_bounded_and_what_is_left_out_is_counted() {
    let mut desk = Desk::new(Limits { queues_bytes: 200, ..Limits::default() });
    let client = desk.open("c", None, NEVER);
    desk.subscribe(&client, "a");
    let message = publish("a", "0123456789", QoS::AtLeastOnce, false);
    let commands = (0..10).map(|_| desk.spreading(&message)).collect();
    let work = desk.prepare(commands);
    assert_eq!(work.left_out, 6);
    assert!(desk.state.queued_bytes() <= 200);
}

#[test]
fn the_node_tells_of_itself_and_only_what_has_changed() {
    let mut desk = Desk::new(Limits::default());
    let client = desk.open("c", None, 0);
    desk.subscribe(&client, "$SYS/broker/clients/+");
    assert_eq!(client.got(), ["1", "1"], "what was told last");
    desk.open("another", None, 0);
    desk.pass(10);
    desk.take(Vec::new());
    assert_eq!(client.got(), ["2", "2"]);
    desk.pass(10);
    desk.take(Vec::new());
    assert!(client.got().is_empty());
}

/// A store that was full refused a message, the client of version 3.1.1 came again with it, and it
/// was acknowledged without its readings: they were taken for stored.
#[test]
fn the_readings_of_a_message_that_was_refused_are_new_when_it_comes_again() {
    let mut desk = Desk::new(Limits::default());
    let client = desk.open("c", None, NEVER);
    let incoming = |desk: &Desk| {
        let mut brought = Prepared::default();
        brought.batch.items.push(Item { drafts: 0..0, source: None });
        let publish = publish("devices/c/readings", "1", QoS::AtLeastOnce, false);
        let seen = Seen::of(PacketId::MIN, &publish.topic, &publish.payload);
        let room = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        Command::Publish(Box::new(Incoming {
            id: client.id,
            serial: 1,
            packet_id: Some(PacketId::MIN),
            message: Message::new(&publish, desk.now),
            brought: Some(brought),
            seen: Some(seen),
            is_known: false,
            room,
        }))
    };
    let remembers = |work: &Work| work.changes.iter().any(|c| matches!(c, Change::Recent(..)));
    desk.state.is_full = true;
    let refused = vec![incoming(&desk)];
    let work = desk.prepare(refused);
    assert!(!remembers(&work) && work.batch.items.is_empty());
    desk.follow(work.effects);
    let answer = client.mailbox.next_answer();
    let is_refused = |o: &Outcome| o.reason == Reason::QuotaExceeded;
    assert!(matches!(&answer, Some(Answer::Published(1, o)) if is_refused(o)), "{answer:?}");
    desk.state.is_full = false;
    let again = vec![incoming(&desk)];
    let work = desk.prepare(again);
    assert!(remembers(&work) && work.batch.items.len() == 1);
}

/// Who had nothing for the disk, in a group that it did not take, waited for an answer for ever.
#[test]
fn whoever_waits_in_a_group_that_failed_hears_of_it() {
    let mut desk = Desk::new(Limits::default());
    let kept = desk.open("kept", None, NEVER);
    desk.subscribe(&kept, "a");
    let (clean, open) = desk.opening("clean", "o", None, 0);
    let commands = vec![
        Command::Open(Box::new(open)),
        desk.spreading(&publish("a", "x", QoS::AtLeastOnce, false)),
        Command::Received(kept.id, 0, PacketId::MIN),
    ];
    let work = desk.prepare(commands);
    assert!(work.is_for_disk());
    desk.state.failed(work, Reason::Unspecified, "broken");
    for client in [&clean, &kept] {
        let answer = client.mailbox.next_answer();
        assert!(matches!(answer, Some(Answer::End(Reason::ServerUnavailable, _))), "{answer:?}");
    }
}

/// A will with readings that was due while the store was full failed with all that was in its
/// group, at once came back, and failed with the next: nothing of anybody was taken any more.
#[test]
fn a_will_with_readings_waits_where_the_store_is_full() {
    let mut desk = Desk::new(Limits::default());
    let pump = desk.open("pump", Some(will(0)), NEVER);
    desk.state.is_full = true;
    let with_readings = |due: Vec<Command>| {
        let mut brought = Prepared::default();
        brought.batch.items.push(Item { drafts: 0..0, source: None });
        match due.into_iter().next() {
            Some(Command::Will(key, message, _)) => Command::Will(key, message, Some(brought)),
            other => panic!("{other:?}"),
        }
    };
    let due = with_readings(desk.lose(&pump));
    let work = desk.prepare(vec![due]);
    assert!(work.batch.items.is_empty(), "it would be refused, and all with it");
    assert!(desk.take(Vec::new()).is_empty(), "it is not tried again at once");
    desk.state.is_full = false;
    desk.pass(30);
    let due = with_readings(desk.take(Vec::new()));
    assert_eq!(desk.prepare(vec![due]).batch.items.len(), 1);
}
