//! The hub's side: a session for each peer that comes, one per peer, ended when the peer is
//! removed.

use super::desk::{Desk, Library};
use super::driver::{Driver, PeerEvents, StopSignal};
use super::enrol::{self, Enroller};
use super::transport::{ENROL, Net, SYNC, Stream};
use crate::session::{Backfill, Config, Policy, RefusalCode};
use crate::store::Store;
use futures::StreamExt;
use holdfast_core::NodeId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Semaphore, watch};

/// Enrolments at a time; a flood of strangers must not crowd out the members.
const ENROLMENTS: usize = 32;

/// What serving needs.
pub struct HubOptions {
    /// The hub's store.
    pub store: Store,
    /// Decides who is let in.
    pub policy: Arc<dyn Policy>,
    /// Answers those who want to join.
    pub enroller: Arc<dyn Enroller>,
    /// Takes what sessions report.
    pub events: PeerEvents,
    /// The program's version.
    pub version: String,
    /// The documents that are exchanged.
    pub library: Library,
}

type Stops = Mutex<HashMap<NodeId, (u64, watch::Sender<Option<(RefusalCode, String)>>)>>;

/// The running sessions.
#[derive(Clone)]
pub struct HubPeers {
    net: Net,
    stops: Arc<Stops>,
}

impl HubPeers {
    /// Ends the session with a peer, says why, and closes its connections.
    pub async fn end(&self, node: &NodeId, code: RefusalCode, reason: &str) {
        let stop = self.stops.lock().unwrap_or_else(PoisonError::into_inner).remove(node);
        if let Some((_, stop)) = stop {
            stop.send_replace(Some((code, reason.to_owned())));
            // The session sends its last frame, then the connection goes.
            stop.closed().await;
        }
        self.net.disconnect(node).await;
    }

    /// Ends all sessions.
    pub async fn end_all(&self, code: RefusalCode, reason: &str) {
        let nodes: Vec<NodeId> = {
            let stops = self.stops.lock().unwrap_or_else(PoisonError::into_inner);
            stops.keys().copied().collect()
        };
        let each = nodes.iter().map(|node| self.end(node, code, reason));
        futures::future::join_all(each).await;
    }
}

/// Serves sessions and enrolments until the network part ends.
#[must_use]
pub fn serve(net: Net, options: HubOptions) -> HubPeers {
    let peers = HubPeers { net: net.clone(), stops: Arc::default() };
    let options = Arc::new(options);
    tokio::spawn(accept_sessions(net.clone(), Arc::clone(&options), peers.clone()));
    tokio::spawn(accept_enrolments(net, options));
    peers
}

async fn accept_sessions(net: Net, options: Arc<HubOptions>, peers: HubPeers) {
    let mut incoming = net.accept(SYNC);
    let mut number = 0;
    while let Some((node, stream)) = incoming.next().await {
        number += 1;
        let (stop, signal) = watch::channel(None);
        // A peer that comes again has lost its old session, whatever this side still believes.
        let older = {
            let mut stops = peers.stops.lock().unwrap_or_else(PoisonError::into_inner);
            stops.insert(node, (number, stop))
        };
        if let Some((_, older)) = older {
            let reason = "the peer opened a new session".to_owned();
            older.send_replace(Some((RefusalCode::Unavailable, reason)));
        }
        let events = while_latest(Arc::clone(&options.events), Arc::clone(&peers.stops), number);
        let session = session(Arc::clone(&options), events, node, stream, signal);
        let peers = peers.clone();
        tokio::spawn(async move {
            session.await;
            let mut stops = peers.stops.lock().unwrap_or_else(PoisonError::into_inner);
            if stops.get(&node).is_some_and(|(at, _)| *at == number) {
                stops.remove(&node);
            }
        });
    }
}

/// Passes on what session `number` reports until a later one of the same peer takes its place: the
/// end of the older must not look like the end of the newer.
fn while_latest(events: PeerEvents, stops: Arc<Stops>, number: u64) -> PeerEvents {
    Arc::new(move |node, event| {
        let replaced = {
            let stops = stops.lock().unwrap_or_else(PoisonError::into_inner);
            stops.get(&node).is_some_and(|(latest, _)| *latest != number)
        };
        if !replaced {
            events(node, event);
        }
    })
}

async fn session(
    options: Arc<HubOptions>,
    events: PeerEvents,
    peer: NodeId,
    stream: Stream,
    stop: StopSignal,
) {
    let store = options.store.clone();
    let config = Config {
        node: store.node(),
        peer,
        initiator: false,
        membership: options.enroller.membership(),
        incarnation: store.incarnation(),
        version: options.version.clone(),
        backfill: Backfill::NewestFirst,
    };
    let policy = Arc::clone(&options.policy);
    let desk = Arc::new(Desk::new(&options.library, peer));
    let end = Driver { store, desk, policy, events, stop }.run(config, stream).await;
    let by = if end.by_peer { "peer" } else { "us" };
    let (peer, code, reason) = (peer.short(), end.code.name(), end.reason);
    use RefusalCode::{ForeignFleet, Membership, Removed, Unknown, Version};
    if matches!(end.code, Unknown | Removed | ForeignFleet | Membership | Version) {
        // It stays away until somebody does something about it.
        tracing::warn!(%peer, by, code, reason, "a node was refused");
    } else {
        tracing::info!(%peer, by, code, reason, "session ended");
    }
}

async fn accept_enrolments(net: Net, options: Arc<HubOptions>) {
    let mut incoming = net.accept(ENROL);
    let places = Arc::new(Semaphore::new(ENROLMENTS));
    while let Some((node, stream)) = incoming.next().await {
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::warn!(peer = %node.short(), "too many enrolments at a time: one was dropped");
            continue;
        };
        let enroller = Arc::clone(&options.enroller);
        let env = Arc::clone(options.store.env());
        tokio::spawn(async move {
            enrol::answer(stream, node, enroller, env).await;
            drop(place);
        });
    }
}
