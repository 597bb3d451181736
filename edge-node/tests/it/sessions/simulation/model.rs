//! What each client must have got, told as simply as the standard tells it: every subscription is
//! looked at for every message, and each session has the list of what it is owed.
//!
//! The model takes what took effect in its order ([`Event`]) and is told what arrives; it says what
//! is wrong as soon as it sees it. What is owed with QoS 1 and 2 to a session that is kept has to
//! arrive whatever happens; all else only over the connection that was there.

use super::site::Event;
use super::stream::{Arrived, Owed, Stream};
use holdfast_edge::mqtt::broker::ConnectionId;
use holdfast_edge::mqtt::ledger::NEVER;
use holdfast_edge::mqtt::message::Message;
use holdfast_edge::mqtt::packet::{
    Connect, Publish, QoS, RetainHandling, Subscribe, SubscriptionOptions, Version, Will,
};
use std::collections::{BTreeMap, BTreeSet};

/// Milliseconds that clients have to come back after the node was away.
const GRACE_MS: u64 = 30_000;

/// What is wrong.
pub type Judged = Result<(), String>;

/// A message, as it was published.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    topic: String,
    payload: String,
    qos: QoS,
    retain: bool,
}

impl Said {
    fn of(publish: &Publish) -> Self {
        Self {
            topic: publish.topic.as_str().to_owned(),
            payload: String::from_utf8(publish.payload.to_vec()).unwrap(),
            qos: publish.qos,
            retain: publish.retain,
        }
    }

    fn of_will(will: &Will) -> Self {
        Self {
            topic: will.topic.as_str().to_owned(),
            payload: String::from_utf8(will.payload.bytes().to_vec()).unwrap(),
            qos: will.qos,
            retain: will.retain,
        }
    }

    fn of_message(message: &Message) -> Self {
        Self::of(message.as_publish())
    }
}

struct Subscription {
    options: SubscriptionOptions,
    id: Option<u32>,
}

struct Session {
    life: u64,
    client: String,
    is_kept: bool,
    expiry_s: u32,
    connection: Option<ConnectionId>,
    away_ms: Option<u64>,
    grace_ms: Option<u64>,
    is_away_on_disk: bool,
    will: Option<(Said, u64)>,
    subscriptions: BTreeMap<String, Subscription>,
}

impl Session {
    fn ends_ms(&self) -> Option<u64> {
        let away = self.away_ms.filter(|_| self.expiry_s != NEVER)?;
        Some((away + u64::from(self.expiry_s) * 1_000).max(self.grace_ms.unwrap_or(0)))
    }

    fn will_ms(&self) -> Option<u64> {
        let (away, (_, delay)) = (self.away_ms?, self.will.as_ref()?);
        let due = (away + delay).max(self.grace_ms.unwrap_or(0));
        Some(self.ends_ms().map_or(due, |end| end.min(due)))
    }
}

/// A message for a group of clients: who could have got it, how often it was published, and who got
/// it.
#[derive(Default)]
struct Shared {
    members: BTreeSet<u64>,
    times: usize,
    got: BTreeSet<u64>,
}

/// All that is expected.
pub struct Model {
    now_ms: u64,
    longest_s: u32,
    lives: u64,
    sessions: BTreeMap<String, Session>,
    connections: BTreeMap<ConnectionId, (u64, String, bool, bool)>,
    numbered: BTreeMap<u64, Stream>,
    plain: BTreeMap<ConnectionId, Stream>,
    /// What goes to whoever is connected once the group is on disk.
    group: Vec<(u64, Vec<Owed>)>,
    retained: BTreeMap<String, Said>,
    last_wills: Vec<Said>,
    taken: BTreeSet<(u64, String)>,
    on_disk: BTreeSet<String>,
    shared: BTreeMap<String, Shared>,
}

/// The rules of the standard, level by level.
fn matches(filter: &str, topic: &str) -> bool {
    let (filter, topic): (Vec<&str>, Vec<&str>) =
        (filter.split('/').collect(), topic.split('/').collect());
    for (at, wanted) in filter.iter().enumerate() {
        match (*wanted, topic.get(at)) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (wanted, Some(level)) if wanted == *level => {}
            _ => return false,
        }
    }
    filter.len() == topic.len()
}

impl Model {
    pub fn new(longest_s: u32) -> Self {
        Self {
            now_ms: 0,
            longest_s,
            lives: 0,
            sessions: BTreeMap::new(),
            connections: BTreeMap::new(),
            numbered: BTreeMap::new(),
            plain: BTreeMap::new(),
            group: Vec::new(),
            retained: BTreeMap::new(),
            last_wills: Vec::new(),
            taken: BTreeSet::new(),
            on_disk: BTreeSet::new(),
            shared: BTreeMap::new(),
        }
    }

    /// Whether the session of a connection was there.
    pub fn is_present(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_some_and(|(.., present)| *present)
    }

    /// Whether what a client was told to be taken is on disk.
    pub fn is_on_disk(&self, payload: &str) -> bool {
        self.on_disk.contains(payload)
    }

    /// Takes what took effect.
    pub fn take(&mut self, event: Event) -> Judged {
        match event {
            Event::Time(now_ms) => self.time(now_ms),
            Event::Open(id, connect) => self.open(id, &connect),
            Event::Direct(id, publish) => {
                let from = self.connections.get(&id).map(|(_, client, ..)| client.clone());
                self.spread(&Said::of(&publish), from.as_deref());
                self.flush();
            }
            Event::Publish(id, publish) => self.publish(id, &publish),
            Event::Will(message) => self.will(&Said::of_message(&message)),
            Event::LastWill(message) => return self.last_will(&Said::of_message(&message)),
            Event::Subscribe(id, subscribe) => self.subscribe(id, &subscribe),
            Event::Unsubscribe(id, unsubscribe) => {
                if let Some(session) = self.session_of(id) {
                    for filter in &unsubscribe.filters {
                        session.subscriptions.remove(filter.as_str());
                    }
                }
            }
            Event::Ended(id, with_will, expiry_s) => self.ended(id, with_will, expiry_s),
            Event::Done => self.flush(),
            Event::Killed(now_ms) => {
                self.now_ms = now_ms;
                self.killed();
            }
        }
        Ok(())
    }

    fn session_of(&mut self, id: ConnectionId) -> Option<&mut Session> {
        self.sessions.values_mut().find(|session| session.connection == Some(id))
    }

    fn time(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.sessions.retain(|_, session| {
            let is_over = session.ends_ms().is_some_and(|end| end <= now_ms);
            !is_over || session.will.is_some()
        });
    }

    fn open(&mut self, id: ConnectionId, connect: &Connect) {
        let client = connect.client_id.as_str().to_owned();
        let asked_s = match connect.version {
            Version::V5 => connect.properties.session_expiry_s.unwrap_or(0),
            Version::V311 if connect.clean_start => 0,
            Version::V311 => NEVER,
        };
        let expiry_s = asked_s.min(self.longest_s);
        let mut present = false;
        if let Some(mut session) = self.sessions.remove(&client) {
            present = session.is_kept && session.expiry_s > 0 && !connect.clean_start;
            let may_wait = session.will.as_ref().is_some_and(|(_, delay)| *delay > 0);
            let waits = present && may_wait || session.grace_ms.is_some();
            self.last_wills.extend(session.will.take().filter(|_| !waits).map(|(said, _)| said));
            if present {
                self.sessions.insert(client.clone(), session);
            }
        }
        if !present {
            self.lives += 1;
        }
        let session = self.sessions.entry(client.clone()).or_insert_with(|| Session {
            life: self.lives,
            client: client.clone(),
            is_kept: expiry_s > 0,
            expiry_s,
            connection: None,
            away_ms: None,
            grace_ms: None,
            is_away_on_disk: false,
            will: None,
            subscriptions: BTreeMap::new(),
        });
        session.expiry_s = expiry_s;
        (session.away_ms, session.grace_ms, session.is_away_on_disk) = (None, None, false);
        session.connection = Some(id);
        session.will = connect.will.as_ref().map(|will| {
            (Said::of_will(will), u64::from(will.properties.delay_s.unwrap_or(0)) * 1_000)
        });
        let is_v5 = connect.version == Version::V5;
        self.connections.insert(id, (session.life, client, is_v5, present));
    }

    fn ended(&mut self, id: ConnectionId, with_will: bool, expiry_s: Option<u32>) {
        let (now_ms, longest_s) = (self.now_ms, self.longest_s);
        let Some(session) = self.session_of(id) else { return };
        session.connection = None;
        (session.away_ms, session.is_away_on_disk) = (Some(now_ms), true);
        session.expiry_s = expiry_s.map_or(session.expiry_s, |seconds| seconds.min(longest_s));
        if !with_will {
            session.will = None;
        }
        if session.expiry_s == 0 && session.will.is_none() {
            let client = session.client.clone();
            self.sessions.remove(&client);
        }
    }

    fn killed(&mut self) {
        let now_ms = self.now_ms;
        self.group.clear();
        self.last_wills.clear();
        // A connection has ended, so what was to end with it has ended, too.
        self.sessions.retain(|_, session| session.expiry_s > 0 || session.will.is_some());
        for session in self.sessions.values_mut() {
            session.connection = None;
            session.is_kept = session.expiry_s > 0;
            if !session.is_kept {
                session.subscriptions.clear();
            }
            if session.is_away_on_disk {
                session.grace_ms = None;
            } else {
                session.away_ms = Some(now_ms);
                session.grace_ms = Some(now_ms + GRACE_MS);
            }
        }
    }

    fn publish(&mut self, id: ConnectionId, publish: &Publish) {
        let said = Said::of(publish);
        let Some(session) = self.session_of(id) else {
            // Nobody was told that it was taken, so it comes again; unless it need not.
            if publish.qos == QoS::AtMostOnce {
                self.spread(&said, None);
            }
            return;
        };
        let (life, client) = (session.life, session.client.clone());
        self.on_disk.insert(said.payload.clone());
        let known = (life, said.payload.clone());
        let is_once = publish.qos == QoS::ExactlyOnce;
        if is_once && self.taken.contains(&known) {
            return;
        }
        // Where nobody wanted it, it may as well come anew.
        if self.spread(&said, Some(&client)) && is_once {
            self.taken.insert(known);
        }
    }

    fn will(&mut self, said: &Said) {
        let now_ms = self.now_ms;
        let is_it = |session: &&mut Session| {
            let is_due = session.will_ms().is_some_and(|due| due <= now_ms);
            is_due && session.will.as_ref().is_some_and(|(will, _)| will == said)
        };
        let Some(session) = self.sessions.values_mut().find(is_it) else { return };
        (session.will, session.is_away_on_disk) = (None, true);
        let (client, is_over) = (session.client.clone(), session.expiry_s == 0);
        self.spread(said, Some(&client));
        if is_over {
            self.sessions.remove(&client);
        }
    }

    fn last_will(&mut self, said: &Said) -> Judged {
        let Some(at) = self.last_wills.iter().position(|will| will == said) else {
            return Err(format!("the will {said:?} was published for nobody who left one"));
        };
        self.last_wills.remove(at);
        self.spread(said, None);
        Ok(())
    }

    /// Gives a message to all who want it; whether anybody does, or it is kept.
    fn spread(&mut self, said: &Said, from: Option<&str>) -> bool {
        if said.retain && said.payload.is_empty() {
            self.retained.remove(&said.topic);
        } else if said.retain {
            self.retained.insert(said.topic.clone(), said.clone());
        }
        let mut due = Vec::new();
        for session in self.sessions.values() {
            let is_own = from == Some(session.client.as_str());
            let found: Vec<&Subscription> = session
                .subscriptions
                .iter()
                .filter(|(filter, one)| {
                    matches(filter, &said.topic) && !(one.options.no_local && is_own)
                })
                .map(|(_, one)| one)
                .collect();
            let Some(most) = found.iter().map(|one| one.options.qos).max() else { continue };
            let passes = found.iter().any(|one| one.options.retain_as_published);
            let ids = found.iter().filter_map(|one| one.id).collect();
            due.push((session.life, said.owed(most, said.retain && passes, ids)));
        }
        let is_wanted = self.share(said) || !due.is_empty() || said.retain;
        due.into_iter().for_each(|(life, owed)| self.owe(life, vec![owed]));
        is_wanted
    }

    /// Who may get a message of a group.
    fn share(&mut self, said: &Said) -> bool {
        let is_member = |session: &&Session| {
            let mut filters = session.subscriptions.keys();
            filters.any(|filter| {
                filter.strip_prefix("$share/g/").is_some_and(|of| matches(of, &said.topic))
            })
        };
        let members: BTreeSet<u64> =
            self.sessions.values().filter(is_member).map(|session| session.life).collect();
        if members.is_empty() {
            return false;
        }
        let shared = self.shared.entry(said.payload.clone()).or_default();
        shared.members.extend(members);
        shared.times += 1;
        true
    }

    fn owe(&mut self, life: u64, batch: Vec<Owed>) {
        let kept = self.sessions.values().find(|session| session.life == life);
        let is_kept = kept.is_some_and(|session| session.is_kept);
        let (durable, rest): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|owed| is_kept && owed.qos > QoS::AtMostOnce);
        if !durable.is_empty() {
            self.numbered.entry(life).or_default().owe(durable);
        }
        if !rest.is_empty() {
            self.group.push((life, rest));
        }
    }

    /// The group is on disk: who is connected gets what is for nobody else.
    fn flush(&mut self) {
        for (life, batch) in std::mem::take(&mut self.group) {
            let found = self.sessions.values().find(|session| session.life == life);
            let Some(id) = found.and_then(|session| session.connection) else { continue };
            let (plain, numbered): (Vec<_>, Vec<_>) =
                batch.into_iter().partition(|owed| owed.qos == QoS::AtMostOnce);
            if !plain.is_empty() {
                self.plain.entry(id).or_default().owe(plain);
            }
            if !numbered.is_empty() {
                self.numbered.entry(life).or_default().owe(numbered);
            }
        }
    }

    fn subscribe(&mut self, id: ConnectionId, subscribe: &Subscribe) {
        let known = subscribe.subscription_id.map(|id| id.get());
        let retained = self.retained.clone();
        let Some(session) = self.session_of(id) else { return };
        let (life, mut batches) = (session.life, Vec::new());
        for one in &subscribe.subscriptions {
            let filter = one.filter.as_str().to_owned();
            let subscription = Subscription { options: one.options, id: known };
            let is_new = session.subscriptions.insert(filter.clone(), subscription).is_none();
            let is_sent = match one.options.retain_handling {
                RetainHandling::Send => true,
                RetainHandling::SendIfNew => is_new,
                RetainHandling::DoNotSend => false,
            };
            let found = retained.values().filter(|said| is_sent && matches(&filter, &said.topic));
            let ids: BTreeSet<u32> = known.into_iter().collect();
            batches.push(
                found.map(|said| said.owed(one.options.qos, true, ids.clone())).collect::<Vec<_>>(),
            );
        }
        batches.into_iter().for_each(|batch| self.owe(life, batch));
    }

    /// A message arrived; `is_handed_on` where its client did not know it from before.
    pub fn arrived(&mut self, id: ConnectionId, publish: &Publish, is_handed_on: bool) -> Judged {
        let Some((life, client, is_v5, _)) = self.connections.get(&id).cloned() else {
            return Err(format!("{publish:?} arrived over no connection"));
        };
        let payload = String::from_utf8(publish.payload.to_vec()).unwrap();
        if publish.topic.as_str().starts_with("s/") {
            return self.arrived_shared(life, &payload);
        }
        let arrived = Arrived { over: id, is_v5, publish, payload: &payload };
        let stream = match publish.qos {
            QoS::AtMostOnce => self.plain.entry(id).or_default(),
            _ => self.numbered.entry(life).or_default(),
        };
        let is_again = stream.arrive(&arrived).map_err(|wrong| format!("{client}: {wrong}"))?;
        if is_again && publish.qos == QoS::ExactlyOnce && is_handed_on {
            return Err(format!("{client}: `{payload}` of QoS 2 came a second time"));
        }
        Ok(())
    }

    fn arrived_shared(&mut self, life: u64, payload: &str) -> Judged {
        let shared = self.shared.entry(payload.to_owned()).or_default();
        if !shared.members.contains(&life) {
            return Err(format!("`{payload}` came to one who is not of the group"));
        }
        shared.got.insert(life);
        if shared.got.len() > shared.times {
            return Err(format!("`{payload}` came to two of the group"));
        }
        Ok(())
    }

    /// Nothing is on its way: what was due has been done. Where all has been taken, too, all that
    /// was owed has arrived.
    pub fn quiet(&self, is_all_taken: bool) -> Judged {
        if let Some(said) = self.last_wills.first() {
            return Err(format!("the will {said:?} of a session that ended was not published"));
        }
        for session in self.sessions.values() {
            if session.will_ms().is_some_and(|due| due <= self.now_ms) {
                return Err(format!("{}: its will is due and not published", session.client));
            }
            let Some(id) = session.connection.filter(|_| is_all_taken) else { continue };
            for stream in [self.numbered.get(&session.life), self.plain.get(&id)] {
                if let Some(owed) = stream.and_then(Stream::first) {
                    return Err(format!("{}: {owed:?} did not arrive", session.client));
                }
            }
        }
        Ok(())
    }

    /// All sessions that are there have taken all: what went to groups has arrived with one.
    pub fn finish(&self, retained: &[(String, String)]) -> Judged {
        let lives: BTreeSet<u64> = self.sessions.values().map(|session| session.life).collect();
        for (payload, shared) in &self.shared {
            if shared.got.is_empty() && shared.members.is_subset(&lives) {
                return Err(format!("`{payload}` came to none of its group"));
            }
        }
        let expected: Vec<(String, String)> = self
            .retained
            .iter()
            .map(|(topic, said)| (topic.clone(), said.payload.clone()))
            .collect();
        if expected != retained {
            return Err(format!("retained is {retained:?}, expected {expected:?}"));
        }
        Ok(())
    }
}

impl Said {
    fn owed(&self, most: QoS, retain: bool, ids: BTreeSet<u32>) -> Owed {
        let (topic, payload) = (self.topic.clone(), self.payload.clone());
        Owed { topic, payload, qos: self.qos.min(most), retain, ids }
    }
}
