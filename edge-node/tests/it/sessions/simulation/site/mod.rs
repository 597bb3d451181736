//! A broker with its clients and their connections, and neither threads nor sockets: what is real
//! is the exchange of each connection, the codecs of both ends and the broker's decisions.
//!
//! Clients say packets, which become commands that wait; [`Site::turn`] has the broker take them as
//! one group, puts the changes on a disk of maps and lets follow what follows. Between these steps
//! anything may happen: time passes, connections are lost, the node is killed. What took effect, in
//! its order, is told by [`Site::events`].

mod disk;
mod link;

use bytes::BytesMut;
use disk::Disk;
use holdfast_edge::mqtt::broker::{
    Asked, Command, ConnectionId, Effect, Gone, Incoming, Limits, Open, Spread, State,
};
use holdfast_edge::mqtt::connection::{Arrived, Ended, Options, Request};
use holdfast_edge::mqtt::counts::MqttCounts;
use holdfast_edge::mqtt::ledger::Kept;
use holdfast_edge::mqtt::message::{Delivery, Message, Moment};
use holdfast_edge::mqtt::packet::{Connect, Packet, Publish, QoS, Subscribe, Unsubscribe};
use holdfast_edge::mqtt::reason::Reason;
use link::Link;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What took effect.
#[derive(Clone, Debug)]
pub enum Event {
    /// It is so many milliseconds since the beginning, and what was due by then was looked at.
    Time(u64),
    Open(ConnectionId, Box<Connect>),
    /// A message of QoS 0 that nobody keeps went to all who were there.
    Direct(ConnectionId, Publish),
    Publish(ConnectionId, Publish),
    Will(Arc<Message>),
    LastWill(Arc<Message>),
    Subscribe(ConnectionId, Subscribe),
    Unsubscribe(ConnectionId, Unsubscribe),
    Ended(ConnectionId, bool, Option<u32>),
    /// The group is on disk.
    Done,
    /// The node was killed, and has started again, so many milliseconds since the beginning.
    Killed(u64),
}

/// Faults that are built in to see that they are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    None,
    /// Messages of QoS 2 that are not released are not written down.
    HeldIsLost,
    /// One part of a queue in seven does not get to the disk.
    QueueIsLost,
    /// What follows from a group follows in the wrong order.
    Disordered,
    /// What may have been sent before is sent as if it were new.
    Unmarked,
    /// What was retained and taken away is there again after a start.
    RetainedComesBack,
    /// Progress is not written down: what was done comes again.
    ProgressIsLost,
    /// The last will of a session that was taken over is forgotten.
    WillIsLost,
    /// Subscriptions that were given up are there again after a start.
    SubscriptionComesBack,
}

/// All of it.
pub struct Site {
    pub state: State,
    pub events: Vec<Event>,
    now: Moment,
    passed_ms: u64,
    options: Options,
    limits: Limits,
    disk: Disk,
    links: BTreeMap<ConnectionId, Link>,
    pending: Vec<(Command, Option<Event>)>,
    next_id: ConnectionId,
    holds_wills: bool,
    bug: Bug,
    bug_counts: u64,
}

impl Site {
    pub fn new(options: Options, limits: Limits, bug: Bug) -> Self {
        let now = Moment { wall_ms: 1_800_000_000_000, boot: 1, steady_ms: 1_000 };
        let state = State::load(Kept::default(), limits, Arc::new(MqttCounts::default()), now);
        Self {
            state,
            events: Vec::new(),
            now,
            passed_ms: 0,
            options,
            limits,
            disk: Disk::default(),
            links: BTreeMap::new(),
            pending: Vec::new(),
            next_id: 1,
            holds_wills: false,
            bug,
            bug_counts: 0,
        }
    }

    /// A client connects, and says so.
    pub fn join(&mut self, connect: Connect) -> ConnectionId {
        let id = self.next_id;
        self.next_id += 1;
        self.links.insert(id, Link::new(self.options, connect.version, self.now));
        self.say(id, &Packet::Connect(Box::new(connect)));
        id
    }

    /// A client says something; it may wait for the broker.
    pub fn say(&mut self, id: ConnectionId, packet: &Packet) {
        if let Some(link) = self.links.get_mut(&id) {
            link.say(packet, self.now);
            self.requests(id);
        }
    }

    /// A client says bytes.
    pub fn say_bytes(&mut self, id: ConnectionId, bytes: &[u8]) {
        if let Some(link) = self.links.get_mut(&id) {
            link.connection.receive(self.now.steady_ms, &mut BytesMut::from(bytes));
            self.requests(id);
        }
    }

    /// A connection is gone without a word.
    pub fn lose(&mut self, id: ConnectionId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.connection.lost();
            self.requests(id);
            self.links.remove(&id);
        }
    }

    /// What a client hears; nothing when its connection is gone.
    pub fn heard(&mut self, id: ConnectionId) -> Vec<Packet> {
        self.links.get_mut(&id).map(Link::heard).unwrap_or_default()
    }

    /// Wills that are due are on their way to the broker until this is taken back.
    pub const fn hold_wills(&mut self, holds: bool) {
        self.holds_wills = holds;
    }

    /// Whether a connection is over, or gone.
    pub fn is_over(&self, id: ConnectionId) -> bool {
        self.links.get(&id).is_none_or(|link| link.connection.is_over())
    }

    /// Time passes; nobody does anything yet.
    pub fn pass(&mut self, ms: u64) {
        self.now.steady_ms += ms;
        self.now.wall_ms += i64::try_from(ms).unwrap();
        self.passed_ms += ms;
    }

    /// The broker takes what waits as one group.
    pub fn turn(&mut self) {
        let effects = self.commit();
        for effect in effects {
            self.follow(effect);
        }
        let ids: Vec<ConnectionId> = self.links.keys().copied().collect();
        for id in ids {
            self.serve(id);
        }
    }

    /// The broker takes what waits until nothing does.
    pub fn settle(&mut self) {
        self.turn();
        while !self.pending.is_empty() || self.state.has_ended() || self.state.is_dirty() {
            self.turn();
        }
    }

    /// The node is killed and starts again: before what waits is on disk, or right behind that.
    pub fn kill(&mut self, is_on_disk: bool) {
        if is_on_disk {
            self.commit();
        }
        self.pending.clear();
        self.links.clear();
        self.now = Moment { boot: self.now.boot + 1, steady_ms: 50, ..self.now };
        let counts = Arc::new(MqttCounts::default());
        self.state = State::load(self.disk.kept(), self.limits, counts, self.now);
        self.events.push(Event::Killed(self.passed_ms));
    }

    /// Whether anything waits for the broker.
    pub fn has_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    fn commit(&mut self) -> Vec<Effect> {
        let holds = self.holds_wills;
        let is_held = |(command, _): &(Command, _)| holds && matches!(command, Command::Will(..));
        let (held, pending) = std::mem::take(&mut self.pending).into_iter().partition(is_held);
        self.pending = held;
        let pending: Vec<_> = pending;
        let (commands, events): (Vec<_>, Vec<_>) = pending.into_iter().unzip();
        let mut work = self.state.prepare(self.now, commands);
        self.spoil(&mut work.changes, &mut work.effects);
        let applied = self.disk.apply(&work.changes);
        self.state.committed(&work.noted, &applied);
        self.events.push(Event::Time(self.passed_ms));
        self.events.extend(events.into_iter().flatten());
        self.events.push(Event::Done);
        work.effects
    }

    fn spoil(
        &mut self,
        changes: &mut Vec<holdfast_edge::mqtt::ledger::Change>,
        effects: &mut Vec<Effect>,
    ) {
        use holdfast_edge::mqtt::ledger::Change;
        let (bug, counts) = (self.bug, &mut self.bug_counts);
        changes.retain(|change| match (bug, change) {
            (Bug::HeldIsLost, Change::Held(_, held)) => held.is_empty(),
            (Bug::RetainedComesBack, Change::Retain(_, None)) => false,
            (Bug::SubscriptionComesBack, Change::Unsubscribe(..)) => false,
            (Bug::QueueIsLost, Change::Queue(..)) => {
                *counts += 1;
                !counts.is_multiple_of(7)
            }
            _ => true,
        });
        for change in changes {
            if let (Bug::ProgressIsLost, Change::Progress { progress, .. }) = (bug, change) {
                progress.received.clear();
            }
        }
        match bug {
            Bug::Disordered => effects.reverse(),
            Bug::WillIsLost => effects.retain(|effect| !matches!(effect, Effect::LastWill(_))),
            _ => {}
        }
    }

    fn follow(&mut self, effect: Effect) {
        match effect {
            Effect::Answer(mailbox, answer) => mailbox.answer(answer),
            Effect::Published { to, outcome, .. } => {
                if let Some((mailbox, serial)) = to {
                    let answer = holdfast_edge::mqtt::broker::Answer::Published(serial, outcome);
                    mailbox.answer(answer);
                }
            }
            Effect::Put(subscriber, delivery) => {
                if let Some(mailbox) = subscriber.mailbox() {
                    assert!(mailbox.put(delivery), "there is room for all that is tried here");
                }
            }
            Effect::Kept(subscriber, number, delivery) => {
                if let Some(mailbox) = subscriber.mailbox() {
                    mailbox.kept(number, delivery);
                }
            }
            Effect::Will(key, message) => {
                let event = Event::Will(Arc::clone(&message));
                self.pending.push((Command::Will(key, message, None), Some(event)));
            }
            Effect::Begins(due) => panic!("nothing is begun by messages here: {due:?}"),
            Effect::LastWill(message) => {
                let event = Event::LastWill(Arc::clone(&message));
                let spread = Box::new(Spread::new(message, None));
                self.pending.push((Command::Spread(spread), Some(event)));
            }
        }
    }

    /// Does for a connection what can be done now.
    fn serve(&mut self, id: ConnectionId) {
        loop {
            let Some(link) = self.links.get_mut(&id) else { return };
            link.connection.tick(self.now.steady_ms);
            let has_answers = link.answers();
            let bug = self.bug;
            if bug == Bug::Unmarked {
                link.forget_what_was_sent();
            }
            let done = link.fill(&self.disk, self.now);
            self.pending.extend(done.into_iter().map(|number| (Command::Done(id, number), None)));
            self.requests(id);
            if !has_answers {
                return;
            }
        }
    }

    fn requests(&mut self, id: ConnectionId) {
        while let Some(request) = self.links.get_mut(&id).and_then(|l| l.connection.request()) {
            self.request(id, request);
        }
    }

    fn request(&mut self, id: ConnectionId, request: Request) {
        let link = self.links.get_mut(&id).expect("the caller has it");
        let is_kept = link.kept().is_some();
        let (command, event) = match request {
            Request::Open(connect) => {
                let event = Event::Open(id, connect.clone());
                let open = Open {
                    id,
                    connect,
                    owner: "somebody".to_owned(),
                    fresh_id: format!("fresh-{id}"),
                    peer: ([127, 0, 0, 1], 1).into(),
                    mailbox: Arc::clone(&link.mailbox),
                };
                (Command::Open(Box::new(open)), Some(event))
            }
            Request::Publish(arrived) => return self.publish(id, arrived),
            Request::Release(packet_id) if is_kept => (Command::Release(id, packet_id), None),
            Request::Release(packet_id) => return link.connection.released(packet_id),
            Request::Subscribe(subscribe) => {
                let event = Event::Subscribe(id, subscribe.clone());
                let refused = refusals(&subscribe);
                (Command::Subscribe(Box::new(Asked { id, subscribe, refused })), Some(event))
            }
            Request::Unsubscribe(unsubscribe) => {
                let event = Event::Unsubscribe(id, unsubscribe.clone());
                (Command::Unsubscribe(id, Box::new(unsubscribe)), Some(event))
            }
            Request::Acked(packet_id) => match link.acked(packet_id) {
                Some(number) if is_kept => (Command::Done(id, number), None),
                _ => return,
            },
            Request::Received(packet_id) => match link.number_of(packet_id) {
                Some(number) if is_kept => (Command::Received(id, number, packet_id), None),
                _ => return link.connection.noted(packet_id),
            },
            Request::Ended(ended) => {
                let Ended { with_will, session_expiry_s, .. } = ended;
                let event = Event::Ended(id, with_will, session_expiry_s);
                (Command::Ended(Gone { id, ended, sent: link.sent() }), Some(event))
            }
        };
        self.pending.push((command, event));
    }

    fn publish(&mut self, id: ConnectionId, Arrived { serial, publish }: Arrived) {
        let message = Message::new(&publish, self.now);
        if publish.qos == QoS::AtMostOnce && !publish.retain {
            self.put_now(id, Arc::new(message));
            return self.events.push(Event::Direct(id, publish));
        }
        let event = Event::Publish(id, publish.clone());
        let room = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let (packet_id, brought, seen) = (publish.packet_id, None, None);
        let is_known = false;
        let incoming = Incoming { id, serial, packet_id, message, brought, seen, is_known, room };
        self.pending.push((Command::Publish(Box::new(incoming)), Some(event)));
    }

    /// What a connection does with a message of QoS 0 that nobody keeps.
    fn put_now(&mut self, id: ConnectionId, message: Arc<Message>) {
        let from = self.links.get(&id).and_then(|link| link.session).map(|(key, _)| key);
        let targets = self.state.routes().read().unwrap().matching(message.topic(), from);
        for target in targets {
            if let Some(mailbox) = target.subscriber.mailbox() {
                let (message, qos) = (Arc::clone(&message), QoS::AtMostOnce);
                assert!(mailbox.put(Delivery { message, qos, retain: false, ids: target.ids }));
            }
        }
    }
}

/// Nobody may subscribe to what begins with `secret`.
fn refusals(subscribe: &Subscribe) -> Vec<Option<Reason>> {
    let is_secret = |filter: &str| filter.starts_with("secret");
    let subscriptions = subscribe.subscriptions.iter();
    subscriptions.map(|s| is_secret(s.filter.as_str()).then_some(Reason::NotAuthorized)).collect()
}
