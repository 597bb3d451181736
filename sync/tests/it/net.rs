//! Two nodes over real QUIC on the loopback: enrol, sync both live and backlog, be removed. All of
//! it over both drivers of the transport, and from each to the other.

use crate::support::{batch, key, library, open};
use futures::FutureExt;
use futures::future::BoxFuture;
use holdfast_core::hlc::Stamp;
use holdfast_core::{NodeId, Stream, state};
use holdfast_sync::docs::{Contents, DocumentName, Documents, Edit, What, Writer};
use holdfast_sync::env::System;
use holdfast_sync::identity::{FleetId, Grant, Invitation, Membership, NodeKey, Proof, Role};
use holdfast_sync::net::{
    Enroller, HubOptions, HubPeers, Joined, Library, Net, NetError, PeerEvent, Refusal, Transport,
    Uplink, UplinkOptions, serve,
};
use holdfast_sync::session::{Admission, Backfill, Policy, RefusalCode};
use holdfast_sync::store::{Snapshot, Store, WriteError, WriteTx};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the hub and the edge use.
#[derive(Clone, Copy, Debug)]
struct Over {
    hub: Transport,
    edge: Transport,
}

/// Runs a test over each pair of transports, all at the same time.
async fn over_each(test: impl AsyncFn(Over)) {
    let pairs = Transport::ALL.map(|hub| Transport::ALL.map(|edge| Over { hub, edge }));
    let each = pairs.into_iter().flatten().map(async |over| {
        test(over).await;
        println!("done over {over:?}");
    });
    futures::future::join_all(each).await;
}

/// A hub's book of members, as small as it can be.
pub struct Book {
    root: NodeKey,
    hub: NodeId,
    pub invitation: Invitation,
    members: Mutex<HashSet<NodeId>>,
}

fn grant(node: NodeId, role: Role) -> Grant {
    let (site, name) = ("north".to_owned(), "ps-017".to_owned());
    Grant { key_id: 1, serial: 1, node, role, site, name, not_after_s: i64::MAX / 4 }
}

impl Enroller for Book {
    fn membership(&self) -> Vec<u8> {
        Membership::sign(&self.root, grant(self.hub, Role::Hub)).unwrap().encode()
    }

    fn enrol(&self, request: Joined) -> BoxFuture<'static, Result<Membership, Refusal>> {
        let key = self.invitation.proof_key();
        let proof = Proof::new(&key, &request.node, &self.hub, &request.nonces);
        let good = self.invitation.secret_id() == request.secret_id && proof == request.proof;
        let verdict = if good {
            self.members.lock().unwrap().insert(request.node);
            Ok(Membership::sign(&self.root, grant(request.node, Role::Edge)).unwrap())
        } else {
            Err(Refusal("the secret is not known".to_owned()))
        };
        async move { verdict }.boxed()
    }
}

impl Policy for Book {
    fn admit(&self, peer: NodeId, membership: &Membership) -> Admission {
        let checked = membership.check(FleetId::of(&self.root.id()), peer, Role::Edge);
        match checked {
            Err(error) => Admission::Refuse(RefusalCode::ForeignFleet, error.to_string()),
            Ok(()) if self.members.lock().unwrap().contains(&peer) => Admission::Admit,
            Ok(()) => Admission::Refuse(RefusalCode::Removed, "removed".to_owned()),
        }
    }
}

pub struct TestHub {
    pub store: Store,
    pub library: Library,
    pub net: Net,
    /// What sessions reported of peers coming and going.
    pub seen: Arc<Mutex<Vec<String>>>,
    pub peers: HubPeers,
    pub book: Arc<Book>,
    pub address: String,
}

pub async fn hub(dir: &std::path::Path) -> TestHub {
    hub_over(Transport::Libp2p, dir).await
}

async fn hub_over(transport: Transport, dir: &std::path::Path) -> TestHub {
    let (root, node) = (key(), key());
    let (store, _) = open(dir, &node);
    let net = Net::start(transport, &node, Some("127.0.0.1:0".parse().unwrap())).await;
    let net = net.unwrap();
    let address = net.address().unwrap().to_string();
    let fleet = FleetId::of(&root.id());
    let invitation = Invitation::new(fleet, vec![address.clone()], &System::env());
    let members = Mutex::default();
    let book = Arc::new(Book { root, hub: node.id(), invitation, members });
    let seen = Arc::default();
    let library = library(&store, &node, state::Role::Hub);
    let options = HubOptions {
        store: store.clone(),
        policy: Arc::clone(&book) as Arc<dyn Policy>,
        enroller: Arc::clone(&book) as Arc<dyn Enroller>,
        events: noting(&seen),
        version: "test".to_owned(),
        library: library.clone(),
    };
    TestHub { store, library, seen, peers: serve(net.clone(), options), net, book, address }
}

fn noting(seen: &Arc<Mutex<Vec<String>>>) -> holdfast_sync::net::PeerEvents {
    let seen = Arc::clone(seen);
    Arc::new(move |_, event| {
        let word = match event {
            PeerEvent::Established { .. } => "established".to_owned(),
            PeerEvent::Ended(end) => format!("ended: {}", end.reason),
            _ => return,
        };
        seen.lock().unwrap().push(word);
    })
}

pub fn uplink(store: &Store, key: &NodeKey, invitation: Invitation) -> Uplink {
    uplink_over(Transport::Libp2p, store, key, invitation)
}

fn uplink_over(
    transport: Transport,
    store: &Store,
    key: &NodeKey,
    invitation: Invitation,
) -> Uplink {
    uplink_with(transport, store, key, invitation, library(store, key, state::Role::Edge))
}

fn uplink_with(
    transport: Transport,
    store: &Store,
    key: &NodeKey,
    invitation: Invitation,
    library: Library,
) -> Uplink {
    Uplink::start(UplinkOptions {
        store: store.clone(),
        key: key.clone(),
        fleet: invitation.fleet,
        addresses: invitation.addresses.clone(),
        membership: None,
        invitation: Some(invitation),
        keep: Arc::new(|_| async { Ok(()) }.boxed()),
        transport,
        backfill: Backfill::NewestFirst,
        backoff_ms: (50, 500),
        version: "test".to_owned(),
        library,
    })
}

/// Entries of a stream of `origin` that `store` holds.
pub fn held(store: &Store, origin: NodeId, stream: Stream) -> u64 {
    let chains = store.read_blocking(|view: &Snapshot<'_>| view.chains()).unwrap();
    let mine = chains.iter().filter(|c| c.id.origin == origin && c.id.stream == stream);
    mine.map(|chain| chain.frontier.count()).sum()
}

pub async fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come to pass: {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_enrols_and_its_readings_reach_the_hub() {
    over_each(async |over| {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let hub = hub_over(over.hub, dirs[0].path()).await;
        let key = key();
        let (store, _) = open(dirs[1].path(), &key);
        for i in 0..50 {
            store.ingest(batch(&store, "d", 1 + i * 100, 100)).await.unwrap();
        }
        let uplink = uplink_over(over.edge, &store, &key, hub.book.invitation.clone());
        let backlog = || held(&hub.store, key.id(), Stream::Reading) == 5_000;
        until("the backlog is at the hub", backlog).await;
        store.ingest(batch(&store, "d", 5_001, 7)).await.unwrap();
        until("new ones follow", || held(&hub.store, key.id(), Stream::Reading) == 5_007).await;
        let state = uplink.state();
        until("nothing is behind", || state.borrow().behind == Some(0)).await;
        assert!(state.borrow().online && state.borrow().joined);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_node_is_cut_off_and_told_so() {
    over_each(async |over| {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let hub = hub_over(over.hub, dirs[0].path()).await;
        let key = key();
        let (store, _) = open(dirs[1].path(), &key);
        let uplink = uplink_over(over.edge, &store, &key, hub.book.invitation.clone());
        let state = uplink.state();
        until("online", || state.borrow().online).await;
        hub.book.members.lock().unwrap().clear();
        hub.peers.end(&key.id(), RefusalCode::Removed, "removed by ann").await;
        until("offline", || !state.borrow().online).await;
        let told = || state.borrow().last_error.as_ref().is_some_and(|e| e.contains("removed"));
        until("told why", told).await;
        assert_eq!(held(&hub.store, key.id(), Stream::Reading), 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_and_a_wrong_fleet_do_not_join() {
    over_each(async |over| {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let hub = hub_over(over.hub, dirs[0].path()).await;
        let key = key();
        let (store, _) = open(dirs[1].path(), &key);
        let mut wrong = hub.book.invitation.clone();
        wrong.secret[0] ^= 1;
        let first = uplink_over(over.edge, &store, &key, wrong);
        let state = first.state();
        let said = |word: &'static str| {
            let state = state.clone();
            move || state.borrow().last_error.as_ref().is_some_and(|error| error.contains(word))
        };
        until("refused", said("the hub refuses")).await;
        drop(first);
        let mut foreign = hub.book.invitation.clone();
        foreign.fleet = FleetId([9; 32]);
        let second = uplink_over(over.edge, &store, &key, foreign);
        let state = second.state();
        let not_the_hub = || {
            state
                .borrow()
                .last_error
                .as_ref()
                .is_some_and(|error| error.contains("not the inviting hub"))
        };
        until("not the hub", not_the_hub).await;
        assert!(!hub.address.is_empty() && hub.book.members.lock().unwrap().is_empty());
    })
    .await;
}

/// A rebooted gateway comes back before its old connection has timed out. The end of the old
/// session used to be reported after the start of the new one, and the node was shown as offline.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_connection_of_a_peer_replaces_the_first() {
    over_each(async |over| {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let hub = hub_over(over.hub, dirs[0].path()).await;
        let key = key();
        let (store, _) = open(dirs[1].path(), &key);
        let first = uplink_over(over.edge, &store, &key, hub.book.invitation.clone());
        let state = first.state();
        until("the first is online", || state.borrow().online).await;
        // From now on the two take turns, each replacing the other.
        let second = uplink_over(over.edge, &store, &key, hub.book.invitation.clone());
        let newer = second.state();
        let seen = || hub.seen.lock().unwrap().clone();
        until("one replaced the other", || seen().len() >= 2).await;
        drop(first);
        let stays = || newer.borrow().online && seen().last().is_some_and(|w| w == "established");
        until("the second stays", stays).await;
        store.ingest(batch(&store, "d", 1, 9)).await.unwrap();
        until("readings arrive", || held(&hub.store, key.id(), Stream::Reading) == 9).await;
        let seen = seen();
        let replaced = seen.iter().filter(|word| word.contains("opened a new session")).count();
        assert_eq!(
            replaced, 0,
            "the end of a replaced session is not the end of the peer: {seen:?}"
        );
    })
    .await;
}

/// A gateway that is killed and starts again leaves a connection that the hub takes for living
/// until it times out. Three of them kept the fourth start out for a minute.
#[tokio::test(flavor = "multi_thread")]
async fn dead_connections_of_a_peer_do_not_keep_it_out() {
    over_each(async |over| {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let hub = hub_over(over.hub, dirs[0].path()).await;
        let key = key();
        let mut silent = Vec::new();
        for _ in 0..6 {
            let net = Net::start(over.edge, &key, None).await.unwrap();
            net.dial(&hub.address).await.unwrap();
            silent.push(net);
        }
        let (store, _) = open(dirs[1].path(), &key);
        let uplink = uplink_over(over.edge, &store, &key, hub.book.invitation.clone());
        let state = uplink.state();
        until("online", || state.borrow().online).await;
        drop(silent);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_peer_is_cut_off_until_it_is_taken_again() {
    over_each(async |over| {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let hub = hub_over(over.hub, dirs[0].path()).await;
        let key = key();
        let (store, _) = open(dirs[1].path(), &key);
        let uplink = uplink_over(over.edge, &store, &key, hub.book.invitation.clone());
        let state = uplink.state();
        until("online", || state.borrow().online).await;
        hub.net.block(&key.id()).await;
        until("cut off", || !state.borrow().online).await;
        until("refused again and again", || state.borrow().attempts >= 2).await;
        assert!(!state.borrow().online);
        hub.net.unblock(&key.id()).await;
        until("online again", || state.borrow().online).await;
    })
    .await;
}

/// The network part is made anew after six failures in a row; the seventh attempt has to work with
/// the new one.
#[tokio::test(flavor = "multi_thread")]
async fn the_uplink_outlives_its_network_part() {
    over_each(async |over| {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let hub = hub_over(over.hub, dirs[0].path()).await;
        let key = key();
        let (store, _) = open(dirs[1].path(), &key);
        hub.net.block(&key.id()).await;
        let uplink = uplink_over(over.edge, &store, &key, hub.book.invitation.clone());
        let state = uplink.state();
        until("seven failures", || state.borrow().attempts >= 7).await;
        hub.net.unblock(&key.id()).await;
        until("online", || state.borrow().online).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_on_all_interfaces_says_so() {
    for transport in Transport::ALL {
        let any = "0.0.0.0:0".parse().unwrap();
        let net = Net::start(transport, &key(), Some(any)).await.unwrap();
        let address = net.address().unwrap();
        assert!(address.ip().is_unspecified() && address.port() > 0, "{address}");
        let taken = Net::start(transport, &key(), Some(address)).await.err().unwrap();
        assert!(taken.to_string().contains("in use"), "{taken}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dial_that_fails_says_where_and_why() {
    let swarm = dial_in_vain(Transport::Libp2p, "Timeout has been reached");
    futures::join!(swarm, dial_in_vain(Transport::Quic, "no answer within 15 s"));
}

async fn dial_in_vain(transport: Transport, silence: &str) {
    let net = Net::start(transport, &key(), None).await.unwrap();
    for wrong in ["hub.example", "127.0.0.1:", "127.0.0.1:70000", ""] {
        let error = net.dial(wrong).await.unwrap_err();
        assert!(matches!(error, NetError::Address(_)), "{error}");
        assert_eq!(error.to_string(), format!("{wrong:?} is not an address: expected host:port"));
    }
    let error = net.dial("nothing.invalid:4585").await.unwrap_err();
    assert!(error.to_string().starts_with("nothing.invalid:4585: the name could not be resolved"));
    // Somebody who does not speak our protocol at all.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let error = net.dial(&address).await.unwrap_err().to_string();
    assert_eq!(error, format!("{address} could not be reached: {silence}"));
}

/// A router that hands datagrams on, and forgets now and then from which port it did.
struct Router {
    address: String,
    forget: tokio::sync::mpsc::Sender<()>,
}

impl Router {
    async fn before(hub: &str) -> Self {
        let inside = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = inside.local_addr().unwrap().to_string();
        let (forget, mut forgets) = tokio::sync::mpsc::channel(1);
        let hub: std::net::SocketAddr = hub.parse().unwrap();
        let fresh = || tokio::net::UdpSocket::bind("127.0.0.1:0");
        let mut outside = fresh().await.unwrap();
        tokio::spawn(async move {
            let (mut up, mut down) = (vec![0; 2048], vec![0; 2048]);
            let mut edge = None;
            loop {
                tokio::select! {
                    Ok((n, from)) = inside.recv_from(&mut up) => {
                        edge = Some(from);
                        let _ = outside.send_to(&up[..n], hub).await;
                    }
                    Ok((n, _)) = outside.recv_from(&mut down) => {
                        if let Some(edge) = edge {
                            let _ = inside.send_to(&down[..n], edge).await;
                        }
                    }
                    Some(()) = forgets.recv() => outside = fresh().await.unwrap(),
                    else => return,
                }
            }
        });
        Self { address, forget }
    }
}

/// A router on the way, or the change to another uplink, gives a gateway another address. At a hub
/// over libp2p the session ends there and the next one begins with a handshake; at one over quinn
/// it goes on, whatever the gateway uses.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_outlives_a_change_of_the_gateways_address() {
    for edge in Transport::ALL {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let hub = hub_over(Transport::Quic, dirs[0].path()).await;
        let key = key();
        let (store, _) = open(dirs[1].path(), &key);
        let router = Router::before(&hub.address).await;
        let mut invitation = hub.book.invitation.clone();
        invitation.addresses = vec![router.address.clone()];
        let uplink = uplink_over(edge, &store, &key, invitation);
        let state = uplink.state();
        until("online", || state.borrow().online).await;
        for n in 1..=3 {
            router.forget.send(()).await.unwrap();
            store.ingest(batch(&store, "d", n, 1)).await.unwrap();
            until("it arrived", || held(&hub.store, key.id(), Stream::Reading) == n).await;
        }
        let seen = hub.seen.lock().unwrap().clone();
        assert_eq!(seen, ["established"], "it is one session all the time");
        assert!(state.borrow().online);
    }
}

fn put(
    library: &Library,
    device: usize,
    path: &str,
    value: i64,
) -> impl Fn(&mut WriteTx<'_>) -> Result<(), WriteError> + Send + use<> {
    let documents = Arc::clone(&library.documents);
    let role = if documents.is_edge() { state::Role::Edge } else { state::Role::Hub };
    let author = state::Author::node(&documents.node());
    let path = path.to_owned();
    move |tx| {
        let name = DocumentName::new(&format!("device/pump-{device}/desired")).unwrap();
        let clock = Stamp::new(1_790_000_000_000, 0);
        let writer = Writer { author, role, clock };
        let what = What::Put(state::Value::Int(value));
        let edit = Edit { path: state::Path::new(&path).unwrap(), what };
        documents.write(tx, &name, &state::Policy::LWW, writer, &[edit]).map(drop)
    }
}

/// What a node shows of all its documents.
fn shown(store: &Store) -> Vec<(DocumentName, Contents)> {
    store
        .read_blocking(|view: &Snapshot<'_>| {
            let names = Documents::list(view, "")?.into_iter();
            names.map(|name| Ok((name.clone(), Contents::read(view, &name)?))).collect()
        })
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_come_to_agree_over_a_link_that_was_cut() {
    over_each(async |over| {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let hub = hub_over(over.hub, dirs[0].path()).await;
        let key = key();
        let (store, _) = open(dirs[1].path(), &key);
        let ours = library(&store, &key, state::Role::Edge);
        for device in 0..20 {
            hub.store.write(put(&hub.library, device, "level", 1)).await.unwrap();
            store.write(put(&ours, device + 10, "level", 2)).await.unwrap();
        }
        let with = |invitation| uplink_with(over.edge, &store, &key, invitation, ours.clone());
        let up = with(hub.book.invitation.clone());
        until("both have all", || shown(&store).len() == 30 && shown(&store) == shown(&hub.store))
            .await;
        // Both sides write one path while the link is there: whatever the order, they agree.
        for round in 0..20 {
            hub.store.write(put(&hub.library, 0, "level", round)).await.unwrap();
            store.write(put(&ours, 0, "level", -round)).await.unwrap();
        }
        until("they agree live", || shown(&store) == shown(&hub.store)).await;
        up.stop("the link is cut").await;
        // A large document, in parts: nothing of it waits for the others.
        for n in 0..150 {
            store.write(put(&ours, 5, &format!("part-{n}"), n)).await.unwrap();
            hub.store.write(put(&hub.library, 5, &format!("other-{n}"), n)).await.unwrap();
        }
        assert_ne!(shown(&store), shown(&hub.store));
        let up = with(hub.book.invitation.clone());
        until("they agree again", || shown(&store) == shown(&hub.store)).await;
        up.stop("done").await;
    })
    .await;
}
