//! A gateway that is killed again and again while clients publish and others are owed messages.
//!
//! Publishers send readings with QoS 1 and other messages with QoS 2, several at a time, and send
//! again what was not answered, as the standard has it. Subscribers with kept sessions come and go.
//! In the end all that was acknowledged is there: each reading once, each message of QoS 2 once at
//! each subscriber, in the order in which it was published, and no session was lost.

use crate::client::mqtt::{Wire, publish};
use crate::faults::Tally;
use crate::process::{Edge, LIMIT, Settings};
use crate::rng::Rng;
use crate::scenarios::Scale;
use crate::scenarios::hands::block_on;
use crate::wait::until_async;
use holdfast_edge::mqtt::packet::{Ack, Packet, PacketId, QoS};
use holdfast_edge::mqtt::reason::Reason;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const KILLED: &str = "gateway killed";
const LEFT: &str = "subscriber left in the middle";
const AGAIN: &str = "message sent again";
const PUBLISHERS: usize = 3;
const SUBSCRIBERS: usize = 2;
/// What each subscriber wants.
const WANTED: [&str; 2] = ["site/+", "devices/+/readings"];
/// Messages that a publisher has unanswered at a time.
const WINDOW: usize = 10;

/// Kills under load.
///
/// # Panics
/// When something acknowledged is lost, doubled or out of order.
pub fn kills(scale: Scale) {
    block_on(async {
        let dir = tempfile::tempdir().expect("a directory");
        let edge = Edge::init("ps-000", dir.path(), Settings::default());
        let mut edge = edge.expect("the gateway is made");
        edge.start().expect("it starts");
        let shared = Arc::new(Shared {
            address: Mutex::new(edge.mqtt()),
            token: edge.admin_token().expect("its token"),
            stop: AtomicBool::new(false),
            tally: Tally::of(&[KILLED, LEFT, AGAIN]),
        });
        let mut rng = Rng::keyed(scale.seed, &[0]);
        let got: Vec<Arc<Mutex<Got>>> = (0..SUBSCRIBERS).map(|_| Arc::default()).collect();
        let takers = got.iter().enumerate().map(|(n, got)| {
            let rng = Rng::keyed(scale.seed, &[1, n as u64]);
            tokio::spawn(take(Arc::clone(&shared), format!("sub-{n}"), rng, Arc::clone(got)))
        });
        let takers: Vec<_> = takers.collect();
        for got in &got {
            until_async("a subscription", LIMIT, async || lock(got).subscribed.then_some(())).await;
        }
        let publishers = (0..PUBLISHERS).map(|n| {
            let publisher = Publisher { n, next: 0, unanswered: VecDeque::new() };
            tokio::spawn(publisher.run(Arc::clone(&shared)))
        });
        let publishers: Vec<_> = publishers.collect();
        for _ in 0..scale.of(300, 15) {
            tokio::time::sleep(Duration::from_millis(20 + rng.index(180) as u64)).await;
            edge.kill9().expect("the gateway is killed");
            shared.tally.strike(KILLED);
            edge.start().expect("it starts again");
            *lock(&shared.address) = edge.mqtt();
        }
        shared.stop.store(true, Ordering::Relaxed);
        let mut published = Vec::new();
        for publisher in publishers {
            published.push(publisher.await.expect("a publisher ends"));
        }
        let all: usize = published.iter().sum();
        for got in &got {
            let has_all = async || (lock(got).once.len() >= messages(all)).then_some(());
            until_async("all messages at a subscriber", LIMIT, has_all).await;
        }
        takers.iter().for_each(tokio::task::JoinHandle::abort);
        println!("{all} published, {} of them with QoS 2", messages(all));
        got.iter().for_each(|got| judge(&lock(got), &published));
        edge.stop().expect("it stops");
        stored(&edge, &published);
        shared.tally.finish().expect("each fault happened");
    });
}

/// Every second one is a message of QoS 2, the others are readings.
const fn messages(published: usize) -> usize {
    published / 2
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Shared {
    address: Mutex<SocketAddr>,
    token: String,
    stop: AtomicBool,
    tally: Tally,
}

impl Shared {
    /// Connects, again and again while the gateway is down.
    async fn connect(&self, client: &str, is_first: bool) -> Wire {
        loop {
            let address = *lock(&self.address);
            if let Ok((wire, connack)) = Wire::open(address, client, &self.token).await {
                assert!(is_first || connack.session_present, "the session of {client} is gone");
                return wire;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

struct Publisher {
    n: usize,
    next: usize,
    /// Identifier, number, and whether a PUBREC came.
    unanswered: VecDeque<(PacketId, usize, bool)>,
}

impl Publisher {
    fn packet(&self, number: usize, packet_id: PacketId, dup: bool) -> Packet {
        let n = self.n;
        if number.is_multiple_of(2) {
            let topic = format!("devices/d-{n}/readings");
            let payload = json!({ "boot": 1, "seq": number / 2 + 1, "values": { "v": number } });
            return publish(&topic, payload.to_string(), QoS::AtLeastOnce, packet_id, dup);
        }
        let payload = format!("{n} {number}");
        publish(&format!("site/{n}"), payload, QoS::ExactlyOnce, packet_id, dup)
    }

    /// Publishes until it is told to stop and all is answered; how many that were.
    async fn run(mut self, shared: Arc<Shared>) -> usize {
        let client = format!("pub-{}", self.n);
        let mut is_first = true;
        loop {
            let mut wire = shared.connect(&client, is_first).await;
            is_first = false;
            for (packet_id, number, is_released) in self.unanswered.clone() {
                shared.tally.strike(AGAIN);
                let packet = match is_released {
                    false => self.packet(number, packet_id, true),
                    true => Packet::Pubrel(Ack::new(packet_id, Reason::Success)),
                };
                // A connection that breaks here shows itself below.
                let _ = wire.send(packet).await;
            }
            while self.step(&mut wire, &shared).await.is_ok() {
                let is_even = self.next.is_multiple_of(2);
                if shared.stop.load(Ordering::Relaxed) && self.unanswered.is_empty() && is_even {
                    return self.next;
                }
            }
        }
    }

    async fn step(&mut self, wire: &mut Wire, shared: &Shared) -> std::io::Result<()> {
        let goes_on = !shared.stop.load(Ordering::Relaxed) || !self.next.is_multiple_of(2);
        if goes_on && self.unanswered.len() < WINDOW {
            let number = self.next;
            self.next += 1;
            let packet_id = PacketId::new((number % 60_000) as u16 + 1).expect("never zero");
            self.unanswered.push_back((packet_id, number, false));
            return wire.send(self.packet(number, packet_id, false)).await;
        }
        if self.unanswered.is_empty() {
            return Ok(());
        }
        match wire.next().await? {
            Packet::Puback(ack) | Packet::Pubcomp(ack) => {
                // A PUBREL that comes again may find that it was done.
                let was_done = ack.reason == Reason::PacketIdNotFound;
                assert!(!ack.reason.is_failure() || was_done, "{ack:?}");
                self.unanswered.retain(|(packet_id, ..)| *packet_id != ack.packet_id);
            }
            Packet::Pubrec(ack) => {
                assert!(!ack.reason.is_failure(), "{ack:?}");
                let of = self.unanswered.iter_mut().find(|(id, ..)| *id == ack.packet_id);
                if let Some((_, _, is_released)) = of {
                    *is_released = true;
                }
                wire.send(Packet::Pubrel(Ack::new(ack.packet_id, Reason::Success))).await?;
            }
            other => panic!("a publisher got {other:?}"),
        }
        Ok(())
    }
}

/// What a subscriber got.
#[derive(Default)]
struct Got {
    subscribed: bool,
    /// Messages of QoS 2 in their order.
    once: Vec<String>,
    /// Readings, with QoS 1, by their topics.
    readings: BTreeMap<String, BTreeSet<u64>>,
    held: BTreeSet<PacketId>,
}

async fn take(shared: Arc<Shared>, client: String, mut rng: Rng, got: Arc<Mutex<Got>>) {
    loop {
        let is_first = !lock(&got).subscribed;
        let mut wire = shared.connect(&client, is_first).await;
        if is_first && wire.subscribe(&WANTED, QoS::ExactlyOnce).await.is_err() {
            continue;
        }
        lock(&got).subscribed = true;
        let leaves_after = 1 + rng.index(400);
        for _ in 0..leaves_after {
            let Ok(packet) = wire.next().await else { break };
            let answer = taken(packet, &got);
            if rng.index(100) == 0 || wire.send(answer).await.is_err() {
                break;
            }
        }
        shared.tally.strike(LEFT);
    }
}

fn taken(packet: Packet, got: &Mutex<Got>) -> Packet {
    let mut got = lock(got);
    match packet {
        Packet::Publish(publish) => {
            let packet_id = publish.packet_id.expect("nothing comes with QoS 0");
            let text = String::from_utf8(publish.payload.to_vec()).expect("text");
            if publish.qos == QoS::AtLeastOnce {
                let reading: Value = serde_json::from_str(&text).expect("JSON");
                let seq = reading["seq"].as_u64().expect("a number");
                got.readings.entry(publish.topic.to_string()).or_default().insert(seq);
                return Packet::Puback(Ack::new(packet_id, Reason::Success));
            }
            if got.held.insert(packet_id) {
                got.once.push(text);
            }
            Packet::Pubrec(Ack::new(packet_id, Reason::Success))
        }
        Packet::Pubrel(ack) => {
            got.held.remove(&ack.packet_id);
            Packet::Pubcomp(Ack::new(ack.packet_id, Reason::Success))
        }
        other => panic!("a subscriber got {other:?}"),
    }
}

/// Each message of QoS 2 came once and in its order, and each reading came.
fn judge(got: &Got, published: &[usize]) {
    for (n, published) in published.iter().enumerate() {
        let own = got.once.iter().filter_map(|text| text.strip_prefix(&format!("{n} ")));
        let own: Vec<usize> = own.map(|text| text.parse().expect("a number")).collect();
        let expected: Vec<usize> = (1..*published).step_by(2).collect();
        assert_eq!(own, expected, "messages of publisher {n}");
        let readings = got.readings.get(&format!("devices/d-{n}/readings"));
        assert_eq!(readings.map_or(0, BTreeSet::len), published / 2, "readings of {n}");
    }
}

/// Each reading is stored once.
fn stored(edge: &Edge, published: &[usize]) {
    let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    edge.export(|line| {
        let line: Value = serde_json::from_str(line).expect("a line of JSON");
        let device = line["device"].as_str().expect("a device").to_owned();
        found.entry(device).or_default().push(line["seq"].as_u64().expect("its sequence"));
    })
    .expect("the export succeeds");
    for (n, published) in published.iter().enumerate() {
        let mut seqs = found.remove(&format!("d-{n}")).unwrap_or_default();
        seqs.sort_unstable();
        let expected: Vec<u64> = (1..=*published as u64 / 2).collect();
        assert_eq!(seqs, expected, "readings of publisher {n}");
    }
}
