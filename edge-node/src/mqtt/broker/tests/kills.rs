//! Clients that come and go, connections that break and a node that is killed at any moment: what
//! was acknowledged arrives, with QoS 2 once, in the order in which it was published.
//!
//! Everything but the network is the real thing: the exchange, the drivers, the broker and a store
//! on disk. A kill stops all tasks wherever they wait, which may be between a commit and what
//! follows from it.

use crate::device_commands::{Book, DeviceCommands};
use crate::ingest::Ingest;
use crate::mqtt::access::{FilterText, Whom};
use crate::mqtt::broker::*;
use crate::mqtt::codec::{self, Codec};
use crate::mqtt::connection::Options;
use crate::mqtt::counts::MqttCounts;
use crate::mqtt::door::Door;
use crate::mqtt::firmware::Downlink;
use crate::mqtt::ledger::NEVER;
use crate::mqtt::packet::{
    Ack, Connack, ConnectProperties, Filter, Packet, Publish, PublishProperties, QoS, Subscription,
    SubscriptionOptions, Topic, Utf8, Version,
};
use crate::mqtt::rules::Rules;
use crate::mqtt::server::{Server, serve};
use crate::settings::Access;
use crate::steward::SiteSteward;
use bytes::{Bytes, BytesMut};
use holdfast_core::NodeId;
use holdfast_core::state::Role;
use holdfast_node::api::Nodes;
use holdfast_node::artefacts::Images;
use holdfast_node::auth::{Auth, TokenMap};
use holdfast_node::runs::Desk;
use holdfast_node::sources::Sources;
use holdfast_node::trace::Tracer;
use holdfast_node::twins::{self, Twins};
use holdfast_sync::docs::Documents;
use holdfast_sync::env::System;
use holdfast_sync::identity::NodeKey;
use holdfast_sync::net::Library;
use holdfast_sync::store::{self, Overflow, Store};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufStream, DuplexStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// Messages of each publisher.
const MESSAGES: usize = 60;
/// That a publisher has unanswered at a time.
const WINDOW: usize = 5;

/// Draws; the same for the same seed.
struct Rng(u64);

impl Rng {
    const fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// There is no other node.
struct Alone;

impl Nodes for Alone {
    fn name(&self, node: &NodeId) -> String {
        node.to_string()
    }

    fn find(&self, _: &str) -> Option<NodeId> {
        None
    }
}

/// A node that runs, or was killed.
pub(super) struct Node {
    key: NodeKey,
    dir: PathBuf,
    up: Mutex<Option<Up>>,
}

struct Up {
    server: Arc<Server>,
    reach: Reach,
    tasks: JoinSet<()>,
    store: Store,
}

impl Node {
    pub(super) fn new(dir: &Path) -> Arc<Self> {
        let key = NodeKey::generate(&System::env());
        Arc::new(Self { key, dir: dir.to_owned(), up: Mutex::new(None) })
    }

    pub(super) fn start(&self) {
        let options = store::Options {
            dir: self.dir.clone(),
            key: self.key.clone(),
            quota_bytes: 1 << 30,
            overflow: Overflow::Refuse,
            max_series: 100,
            seal_after: 10_000,
            scrub_every: Duration::ZERO,
            version: "1",
            unsafe_normal_sync: false,
        };
        let env = System::env();
        let (store, _) = Store::open(options, Arc::clone(&env)).unwrap();
        let ingest = Ingest::load(store.clone(), true, Tracer::default()).unwrap();
        let counts = Arc::new(MqttCounts::default());
        let (twins, book) = (self.twins(&store), Book::new(store.clone()));
        let rules = Arc::new(Rules::default());
        let (desk, _) = Desk::load(&store, Role::Edge).unwrap();
        let of = (twins.clone(), desk.clone());
        let door = Arc::new(Door::new(ingest, of, book.clone(), rules, Arc::clone(&counts)));
        let limits = Limits { session_expiry_s: NEVER, ..Limits::default() };
        let broker =
            Broker::load(store.clone(), Arc::clone(&door), limits, (counts, Arc::default()))
                .unwrap();
        let reach = broker.reach();
        let auth = Auth::new(Arc::new(TokenMap::default()), Sources::of(&env));
        let all = vec![FilterText::try_from("#".to_owned()).unwrap()];
        let access = Access { who: Whom::Anonymous, publish: all.clone(), subscribe: all };
        let access = (vec![access], true);
        let images = Images::new(twins.clone(), Arc::new(Vec::new));
        let downlink = Downlink::new(twins, book.clone(), reach.clone(), (desk, images));
        let commands = DeviceCommands::new(book, reach.clone(), downlink);
        let shared = (reach.clone(), door, commands);
        let server = Server::new(shared, auth, access, Options::default(), 100);
        let mut tasks = JoinSet::new();
        tasks.spawn(broker.run(CancellationToken::new(), CancellationToken::new()));
        let up = Up { server: Arc::new(server), reach, tasks, store };
        *self.up.lock().unwrap() = Some(up);
    }

    fn twins(&self, store: &Store) -> Twins {
        let documents = Arc::new(Documents::new(store, self.key.clone(), Role::Edge));
        let steward = Arc::new(SiteSteward::load(store).unwrap());
        Twins::load(twins::Options {
            store: store.clone(),
            library: Library { documents, steward, librarian: None },
            role: Role::Edge,
            nodes: Arc::new(Alone),
            known: Arc::new(|_| true),
            how_known: "",
            stop: CancellationToken::new(),
        })
        .unwrap()
    }

    /// Stops everything where it is. What the disk was already given may still get there.
    async fn kill(&self) {
        let Some(mut up) = self.up.lock().unwrap().take() else { return };
        up.tasks.shutdown().await;
        up.store.close().await;
    }

    fn connect(&self) -> Option<DuplexStream> {
        let mut up = self.up.lock().unwrap();
        let up = up.as_mut()?;
        let (ours, theirs) = tokio::io::duplex(4_096);
        let server = Arc::clone(&up.server);
        let peer = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
        let never = CancellationToken::new();
        // It holds bytes back until it is flushed, as TLS does when the socket takes no more.
        let theirs = BufStream::new(theirs);
        up.tasks.spawn(serve(server, theirs, peer.into(), never));
        Some(ours)
    }

    /// How the broker is asked while it runs.
    pub(super) fn reach(&self) -> Reach {
        self.up.lock().unwrap().as_ref().unwrap().reach.clone()
    }

    /// What is left on disk of queues.
    async fn waiting(&self) -> u64 {
        self.reach().look(|state, _| state.queued).await.unwrap()
    }
}

/// A client's end of a connection.
struct Wire {
    stream: DuplexStream,
    codec: Codec,
    input: BytesMut,
}

impl Wire {
    /// Connects, again and again while the node is down; says whether the session was there.
    async fn open(node: &Node, id: &str, clean_start: bool) -> (Self, Connack) {
        loop {
            if let Some(stream) = node.connect() {
                let codec = Codec::for_client(Version::V5, codec::Limits::default());
                let mut wire = Self { stream, codec, input: BytesMut::new() };
                let properties = ConnectProperties {
                    session_expiry_s: Some(NEVER),
                    ..ConnectProperties::default()
                };
                let connect = Connect {
                    version: Version::V5,
                    clean_start,
                    keep_alive: 0,
                    client_id: Utf8::try_from(id).unwrap(),
                    will: None,
                    user_name: None,
                    password: None,
                    properties,
                };
                if wire.send(Packet::Connect(Box::new(connect))).await
                    && let Some(Packet::Connack(connack)) = wire.next().await
                {
                    assert!(!connack.reason.is_failure(), "{connack:?}");
                    return (wire, *connack);
                }
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn send(&mut self, packet: Packet) -> bool {
        let mut out = BytesMut::new();
        self.codec.encode(&packet, &mut out).unwrap();
        self.stream.write_all(&out).await.is_ok()
    }

    /// The next packet; nothing once the connection is over.
    async fn next(&mut self) -> Option<Packet> {
        loop {
            if let Some(packet) = self.codec.decode(&mut self.input).unwrap() {
                return Some(packet);
            }
            match self.stream.read_buf(&mut self.input).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }
}

/// Where the exchange of a publisher's message stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Sent,
    Released,
}

struct Publisher {
    id: String,
    rng: Rng,
    next: usize,
    unanswered: VecDeque<(PacketId, usize, QoS, Stage)>,
}

impl Publisher {
    fn message(&self, number: usize, qos: QoS, packet_id: PacketId, dup: bool) -> Packet {
        let topic = format!("t/{}", number % 2);
        Packet::Publish(Publish {
            dup,
            qos,
            retain: false,
            topic: Topic::try_from(topic.as_str()).unwrap(),
            packet_id: Some(packet_id),
            payload: Bytes::from(format!("{} {number}", self.id)),
            properties: PublishProperties::default(),
        })
    }

    /// Publishes all, through however many connections it takes.
    async fn run(mut self, node: Arc<Node>) {
        let mut is_first = true;
        while self.next < MESSAGES || !self.unanswered.is_empty() {
            let (mut wire, connack) = Wire::open(&node, &self.id, false).await;
            assert!(is_first || connack.session_present, "the session outlives all");
            is_first = false;
            self.resend(&mut wire).await;
            let breaks_after = self.rng.below(40);
            for _ in 0..breaks_after {
                if !self.step(&mut wire).await {
                    break;
                }
            }
        }
    }

    async fn resend(&mut self, wire: &mut Wire) {
        for (packet_id, number, qos, stage) in self.unanswered.clone() {
            let packet = match stage {
                Stage::Sent => self.message(number, qos, packet_id, true),
                Stage::Released => Packet::Pubrel(Ack::new(packet_id, Reason::Success)),
            };
            wire.send(packet).await;
        }
    }

    /// Publishes another, or waits for an answer; `false` when the connection or the work is over.
    async fn step(&mut self, wire: &mut Wire) -> bool {
        if self.next < MESSAGES && self.unanswered.len() < WINDOW {
            let number = self.next;
            self.next += 1;
            let qos = if number.is_multiple_of(3) { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
            let packet_id = PacketId::new(1 + number as u16).unwrap();
            self.unanswered.push_back((packet_id, number, qos, Stage::Sent));
            let packet = self.message(number, qos, packet_id, false);
            return wire.send(packet).await;
        }
        if self.unanswered.is_empty() {
            return false;
        }
        match wire.next().await {
            Some(Packet::Puback(ack) | Packet::Pubcomp(ack)) => {
                self.unanswered.retain(|(packet_id, ..)| *packet_id != ack.packet_id);
                true
            }
            Some(Packet::Pubrec(ack)) => {
                let waiting = self.unanswered.iter_mut();
                for (.., stage) in waiting.filter(|(id, ..)| *id == ack.packet_id) {
                    *stage = Stage::Released;
                }
                wire.send(Packet::Pubrel(Ack::new(ack.packet_id, Reason::Success))).await
            }
            _ => false,
        }
    }
}

/// What a subscriber got.
#[derive(Default)]
struct Got {
    /// Every message as often as it came to its user, in order.
    messages: Vec<(String, QoS)>,
    /// Identifiers of QoS 2 that are not released.
    held: BTreeSet<PacketId>,
}

/// Takes messages, through any number of connections, until it is told to stop.
async fn subscriber(node: Arc<Node>, id: &'static str, mut rng: Rng, got: Arc<Mutex<Got>>) {
    let mut is_first = true;
    loop {
        let (mut wire, connack) = Wire::open(&node, id, false).await;
        assert!(is_first || connack.session_present, "the session outlives all");
        if !connack.session_present || is_first {
            let subscription = Subscription {
                filter: Filter::try_from("t/#").unwrap(),
                options: SubscriptionOptions { qos: QoS::ExactlyOnce, ..Default::default() },
            };
            let subscribe = Subscribe {
                packet_id: PacketId::MIN,
                subscriptions: vec![subscription],
                subscription_id: None,
                user: Default::default(),
            };
            wire.send(Packet::Subscribe(subscribe)).await;
            is_first = !matches!(wire.next().await, Some(Packet::Suback(_)));
            if is_first {
                continue;
            }
        }
        let breaks_after = 1 + rng.below(60);
        for _ in 0..breaks_after {
            let Some(packet) = wire.next().await else { break };
            let answer = take(packet, &got);
            if rng.below(20) == 0 || !wire.send(answer).await {
                break;
            }
        }
    }
}

fn take(packet: Packet, got: &Mutex<Got>) -> Packet {
    let mut got = got.lock().unwrap();
    match packet {
        Packet::Publish(publish) => {
            let packet_id = publish.packet_id.unwrap();
            let text = String::from_utf8(publish.payload.to_vec()).unwrap();
            if publish.qos == QoS::AtLeastOnce {
                got.messages.push((text, publish.qos));
                return Packet::Puback(Ack::new(packet_id, Reason::Success));
            }
            if got.held.insert(packet_id) {
                got.messages.push((text, publish.qos));
            }
            Packet::Pubrec(Ack::new(packet_id, Reason::Success))
        }
        Packet::Pubrel(ack) => {
            got.held.remove(&ack.packet_id);
            Packet::Pubcomp(Ack::new(ack.packet_id, Reason::Success))
        }
        other => panic!("{other:?}"),
    }
}

/// Everything was got, with QoS 2 once, and in the order in which it was published.
fn judge(seed: u64, got: &Got, publishers: &[String]) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    got.messages.iter().for_each(|(text, _)| *counts.entry(text).or_default() += 1);
    for publisher in publishers {
        for number in 0..MESSAGES {
            let text = format!("{publisher} {number}");
            let count = counts.get(text.as_str()).copied().unwrap_or(0);
            let is_once = number % 3 != 0;
            assert!(count > 0, "seed {seed}: `{text}` was lost");
            assert!(!is_once || count == 1, "seed {seed}: `{text}` came {count} times");
        }
        for topic in 0..2 {
            for once in [false, true] {
                let mut seen = BTreeSet::new();
                let mut last = None;
                for (text, _) in &got.messages {
                    let (from, number) = text.split_once(' ').unwrap();
                    let number: usize = number.parse().unwrap();
                    let is_one = from == publisher
                        && number % 2 == topic
                        && number.is_multiple_of(3) != once;
                    if !is_one || !seen.insert(number) {
                        continue;
                    }
                    assert!(last < Some(number), "seed {seed}: {last:?} before {number}");
                    last = Some(number);
                }
            }
        }
    }
}

async fn run(seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::new(dir.path());
    node.start();
    let mut rng = Rng(seed);
    let got: Vec<Arc<Mutex<Got>>> = (0..2).map(|_| Arc::default()).collect();
    let mut takers: Vec<JoinHandle<()>> = Vec::new();
    for (id, got) in ["s0", "s1"].into_iter().zip(&got) {
        let rng = Rng(rng.below(u64::MAX));
        takers.push(tokio::spawn(subscriber(Arc::clone(&node), id, rng, Arc::clone(got))));
    }
    // Subscriptions are there before anything is published.
    while node.look_subscriptions().await < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let ids: Vec<String> = (0..2).map(|n| format!("p{n}")).collect();
    let publishers = ids.iter().map(|id| {
        let rng = Rng(rng.below(u64::MAX));
        let publisher = Publisher { id: id.clone(), rng, next: 0, unanswered: VecDeque::new() };
        tokio::spawn(publisher.run(Arc::clone(&node)))
    });
    let publishers: Vec<_> = publishers.collect();
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(1 + rng.below(25))).await;
        node.kill().await;
        node.start();
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
    while node.waiting().await > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for taker in takers {
        taker.abort();
        if let Err(error) = taker.await {
            assert!(error.is_cancelled(), "seed {seed}: {error}");
        }
    }
    got.iter().for_each(|got| judge(seed, &got.lock().unwrap(), &ids));
    node.kill().await;
}

impl Node {
    async fn look_subscriptions(&self) -> usize {
        let reach = self.up.lock().unwrap().as_ref().unwrap().reach.clone();
        let count = |state: &mut State, _: &mut work::Work| {
            state.sessions.values().map(|session| session.subscriptions.len()).sum()
        };
        reach.look(count).await.unwrap()
    }
}

#[test]
fn what_was_acknowledged_arrives_whatever_is_killed() {
    let only = std::env::var("HOLDFAST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = only.map_or(0..25, |seed: u64| seed..seed + 1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for seed in seeds {
        runtime.block_on(async {
            let limit = Duration::from_secs(60);
            assert!(tokio::time::timeout(limit, run(seed)).await.is_ok(), "seed {seed} hangs");
        });
    }
}
