//! Two days of all examples in one gateway, alone and with a hub: it decides the same.

use super::folder;
use super::recordings::ALL;
use futures::FutureExt;
use futures::future::BoxFuture;
use holdfast_core::state::{Policy as Merging, Role as WriterRole};
use holdfast_core::{NodeId, Stream, Timestamp};
use holdfast_edge::simulate::{Line, Setup, Signal, Simulation, read};
use holdfast_node::flow::compile;
use holdfast_sync::Fault;
use holdfast_sync::docs::exchange::Steward;
use holdfast_sync::docs::{Applied, DocumentName, Documents, Roster};
use holdfast_sync::env::System;
use holdfast_sync::identity::{FleetId, Grant, Invitation, Membership, NodeKey, Proof, Role};
use holdfast_sync::net::{
    Enroller, HubOptions, HubPeers, Joined, Library, Net, PeerEvent, Refusal, Transport, Uplink,
    UplinkOptions, serve,
};
use holdfast_sync::session::{Admission, Backfill, Policy};
use holdfast_sync::store::{Options, Overflow, Records, Snapshot, Store, WriteError, WriteTx};
use serde_json::{Map, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const FROM: &str = "2026-03-02T00:00:00Z";
const HOURS: u32 = 48;
const HOUR_NS: i64 = 3_600_000_000_000;

/// All examples, with their failures, on two days of all sites.
async fn setup() -> Setup {
    let recorded = tempfile::tempdir().unwrap();
    let (mut files, mut workflows) = (Vec::new(), Vec::new());
    for recording in ALL {
        let file = recorded.path().join(format!("{}.csv", recording.name));
        std::fs::write(&file, recording.hours(FROM, HOURS)).unwrap();
        files.push(file);
        let name = format!("{}.yaml", recording.name);
        let text = std::fs::read_to_string(folder().join(&name)).unwrap();
        workflows.push((name, compile(&text).unwrap_or_else(|wrong| panic!("{}", wrong[0]))));
    }
    let readings = read(&files, None).await.unwrap();
    let answers = [
        "command:stop@ps-018=never",
        "command:start@genset-1=ok,never",
        "command:close@valve-roses=ok,ok,never,never,never,ok",
        "command:close@meter-2-valve=never,ok",
        "command:heat@heater-3=never,ok",
        "command:off@heater-2=fail,ok",
    ];
    let from: Timestamp = time(FROM);
    let signal = |minute: i64, by: &str| Signal {
        at: from.saturating_add(minute * HOUR_NS / 60),
        name: "acknowledged".to_owned(),
        values: Map::from_iter([("by".to_owned(), json!(by))]),
    };
    let batch = Map::from_iter([("batch".to_owned(), json!("IPA-117"))]);
    Setup {
        workflows,
        readings,
        from,
        until: from.saturating_add(i64::from(HOURS) * HOUR_NS),
        zone: Some(jiff::tz::TimeZone::UTC),
        answers: answers.iter().map(|answer| answer.parse().unwrap()).collect(),
        signals: vec![signal(185, "ann"), signal(865, "bob"), signal(1_210, "eve")],
        starts: vec![("batch-heaters".to_owned(), batch)],
        twins: Vec::new(),
    }
}

fn time(text: &str) -> Timestamp {
    Timestamp(i64::try_from(text.parse::<jiff::Timestamp>().unwrap().as_nanosecond()).unwrap())
}

/// What was decided, without what is drawn: what happened to different runs at one moment has no
/// order.
fn decisions(mut lines: Vec<Line>) -> Vec<String> {
    lines.sort_by(|a, b| (a.at, &a.name).cmp(&(b.at, &b.name)));
    let shown = |line: &Line| format!("{} {} {} {}", line.at.0, line.name, line.what, line.text);
    lines.iter().map(shown).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_days_of_all_examples_are_decided_the_same_with_and_without_a_hub() {
    let mut alone = Vec::new();
    let mut simulation = Simulation::new(setup().await).unwrap();
    simulation
        .play(&mut |line| {
            alone.push(line.clone());
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(simulation.unasked(), Vec::<String>::new(), "each failure was asked for");
    simulation.close().await;
    let alone = decisions(alone);
    for recording in ALL {
        let mine = alone.iter().filter(|line| line.contains(recording.name));
        assert!(mine.count() > 5, "{} has something to do", recording.name);
    }
    let mut with_hub = Vec::new();
    let mut simulation = Simulation::new(setup().await).unwrap();
    let hub = Hub::start().await;
    let (store, key, library) = simulation.replica();
    let uplink = hub.uplink((&store, &key, library));
    let mut equal = 0;
    for hour in 1..=HOURS {
        let until = time(FROM).saturating_add(i64::from(hour) * HOUR_NS);
        let tell = &mut |line: &Line| {
            with_hub.push(line.clone());
            Ok(())
        };
        simulation.play_until(until, tell).await.unwrap();
        equal += u32::from(hub.has_all(&store).await);
    }
    let sessions = hub.sessions.load(Ordering::SeqCst);
    println!("{sessions} sessions; the hub had all at the end of {equal} of {HOURS} hours");
    assert!(equal >= HOURS / 2, "the hub had all at the end of {equal} hours");
    assert!(hub.has_all(&store).await, "the hub has all in the end");
    uplink.stop("the test is over").await;
    drop(store);
    simulation.close().await;
    assert_eq!(decisions(with_hub), alone);
}

/// A hub as small as one can be, which lets everybody in.
struct Hub {
    store: Store,
    invitation: Invitation,
    /// How many sessions there were.
    sessions: Arc<AtomicU32>,
    _peers: HubPeers,
    _dir: tempfile::TempDir,
}

struct Book {
    root: NodeKey,
    hub: NodeId,
    invitation: Invitation,
}

impl Book {
    fn grant(&self, node: NodeId, role: Role) -> Membership {
        let (site, name) = ("north".to_owned(), "ps-017".to_owned());
        let not_after_s = i64::MAX / 4;
        let grant = Grant { key_id: 1, serial: 1, node, role, site, name, not_after_s };
        Membership::sign(&self.root, grant).unwrap()
    }
}

impl Enroller for Book {
    fn membership(&self) -> Vec<u8> {
        self.grant(self.hub, Role::Hub).encode()
    }

    fn enrol(&self, request: Joined) -> BoxFuture<'static, Result<Membership, Refusal>> {
        let key = self.invitation.proof_key();
        let proof = Proof::new(&key, &request.node, &self.hub, &request.nonces);
        let is_invited = proof == request.proof;
        let granted = is_invited.then(|| self.grant(request.node, Role::Edge));
        let refusal = || Refusal("the secret is not known".to_owned());
        async move { granted.ok_or_else(refusal) }.boxed()
    }
}

impl Policy for Book {
    fn admit(&self, _: NodeId, _: &Membership) -> Admission {
        Admission::Admit
    }
}

impl Hub {
    async fn start() -> Self {
        let (dir, env) = (tempfile::tempdir().unwrap(), System::env());
        let (root, key) = (NodeKey::generate(&env), NodeKey::generate(&env));
        let (store, _) = Store::open(options(dir.path(), &key), env.clone()).unwrap();
        let local = Some("127.0.0.1:0".parse().unwrap());
        let net = Net::start(Transport::Quic, &key, local).await.unwrap();
        let addresses = vec![net.address().unwrap().to_string()];
        let invitation = Invitation::new(FleetId::of(&root.id()), addresses, &env);
        let book = Arc::new(Book { root, hub: key.id(), invitation: invitation.clone() });
        let documents = Arc::new(Documents::new(&store, key.clone(), WriterRole::Hub));
        let library = Library { documents, steward: Arc::new(Anybody), librarian: None };
        let sessions = Arc::<AtomicU32>::default();
        let noted = Arc::clone(&sessions);
        let options = HubOptions {
            store: store.clone(),
            policy: Arc::clone(&book) as Arc<dyn Policy>,
            enroller: book,
            events: Arc::new(move |_, event| {
                let is_new = matches!(event, PeerEvent::Established { .. });
                noted.fetch_add(u32::from(is_new), Ordering::SeqCst);
            }),
            version: "test".to_owned(),
            library,
        };
        Self { store, invitation, sessions, _peers: serve(net, options), _dir: dir }
    }

    fn uplink(&self, (store, key, library): (&Store, &NodeKey, Library)) -> Uplink {
        Uplink::start(UplinkOptions {
            store: store.clone(),
            key: key.clone(),
            fleet: self.invitation.fleet,
            addresses: self.invitation.addresses.clone(),
            membership: None,
            invitation: Some(self.invitation.clone()),
            keep: Arc::new(|_| async { Ok(()) }.boxed()),
            transport: Transport::Quic,
            backfill: Backfill::NewestFirst,
            backoff_ms: (10, 100),
            version: "test".to_owned(),
            library,
        })
    }

    /// Whether it comes to have all events of a gateway, before long.
    async fn has_all(&self, gateway: &Store) -> bool {
        for _ in 0..300 {
            let (node, there) = (gateway.node(), events(gateway, gateway.node()));
            if events(&self.store, node) == there {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }
}

fn options(dir: &Path, key: &NodeKey) -> Options {
    Options {
        dir: dir.to_owned(),
        key: key.clone(),
        quota_bytes: 1 << 30,
        overflow: Overflow::Refuse,
        max_series: 1_000,
        seal_after: 0,
        version: "test",
        scrub_every: Duration::ZERO,
        unsafe_normal_sync: true,
    }
}

/// How many events of a node a store holds.
fn events(store: &Store, origin: NodeId) -> u64 {
    let chains = store.read_blocking(|view: &Snapshot<'_>| view.chains()).unwrap();
    let mine = chains.iter().filter(|c| c.id.origin == origin && c.id.stream == Stream::Event);
    mine.map(|chain| chain.frontier.count()).sum()
}

/// Lets everybody write everything.
struct Anybody;

impl Roster for Anybody {
    fn role(&self, _: &NodeId, _: &DocumentName) -> Option<WriterRole> {
        Some(WriterRole::Edge)
    }
}

impl Steward for Anybody {
    fn met(&self, _: &Membership) {}

    fn shares(&self, _: &NodeId, _: &DocumentName) -> bool {
        true
    }

    fn policy(&self, _: &DocumentName) -> Arc<[u8]> {
        Merging::LWW.as_bytes().into()
    }

    fn vouch(&self, _: &NodeId) -> Option<Vec<u8>> {
        None
    }

    fn learn(&self, _: &mut dyn Records, _: &NodeId, _: &[u8]) -> Result<(), Fault> {
        Ok(())
    }

    fn keeps(&self, _: &DocumentName) -> bool {
        true
    }

    fn written(&self, _: &mut WriteTx<'_>, _: &DocumentName) -> Result<(), WriteError> {
        Ok(())
    }

    fn applied(
        &self,
        _: &mut WriteTx<'_>,
        _: &NodeId,
        _: &DocumentName,
        _: &Applied,
    ) -> Result<(), WriteError> {
        Ok(())
    }
}
