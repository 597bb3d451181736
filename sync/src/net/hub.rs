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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

type Stop = watch::Sender<Option<(RefusalCode, String)>>;

/// The latest session of each peer that has one.
#[derive(Clone, Default)]
struct Table(Arc<Mutex<HashMap<NodeId, (Turn, Stop)>>>);

impl Table {
    fn latest(&self) -> MutexGuard<'_, HashMap<NodeId, (Turn, Stop)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a session. A peer that comes again has lost its old one, whatever this side still
    /// believes.
    fn begin(&self, node: NodeId) -> (Turn, StopSignal) {
        let turn = Turn(Arc::new(Mutex::new(true)));
        let (stop, signal) = watch::channel(None);
        let older = self.latest().insert(node, (turn.clone(), stop));
        if let Some((older, stop)) = older {
            older.end();
            let reason = "the peer opened a new session".to_owned();
            stop.send_replace(Some((RefusalCode::Unavailable, reason)));
        }
        (turn, signal)
    }

    /// Forgets a session that has ended, unless a later one has its place.
    fn finish(&self, node: &NodeId, turn: &Turn) {
        let mut latest = self.latest();
        if latest.get(node).is_some_and(|(held, _)| Arc::ptr_eq(&held.0, &turn.0)) {
            latest.remove(node);
        }
    }
}

/// That a session speaks for its peer. It ends when a later session of the peer begins, for good:
/// the end of the older must not look like the end of the newer, nor be told when that has ended.
#[derive(Clone)]
struct Turn(Arc<Mutex<bool>>);

impl Turn {
    fn end(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }

    /// Passes on what the session reports while it has its turn. The turn cannot end in the middle
    /// of a report.
    fn passes(self, events: PeerEvents) -> PeerEvents {
        Arc::new(move |node, event| {
            let speaks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if *speaks {
                events(node, event);
            }
        })
    }
}

/// The running sessions.
#[derive(Clone)]
pub struct HubPeers {
    net: Net,
    table: Table,
}

impl HubPeers {
    /// Ends the session with a peer, says why, and closes its connections.
    pub async fn end(&self, node: &NodeId, code: RefusalCode, reason: &str) {
        let stop = self.table.latest().get(node).map(|(_, stop)| stop.clone());
        if let Some(stop) = stop {
            stop.send_replace(Some((code, reason.to_owned())));
            // The session sends its last frame, then the connection goes.
            stop.closed().await;
        }
        self.net.disconnect(node).await;
    }

    /// Ends all sessions.
    pub async fn end_all(&self, code: RefusalCode, reason: &str) {
        let nodes: Vec<NodeId> = self.table.latest().keys().copied().collect();
        let each = nodes.iter().map(|node| self.end(node, code, reason));
        futures::future::join_all(each).await;
    }
}

/// Serves sessions and enrolments until the network part ends.
#[must_use]
pub fn serve(net: Net, options: HubOptions) -> HubPeers {
    let peers = HubPeers { net: net.clone(), table: Table::default() };
    let options = Arc::new(options);
    tokio::spawn(accept_sessions(net.clone(), Arc::clone(&options), peers.table.clone()));
    tokio::spawn(accept_enrolments(net, options));
    peers
}

async fn accept_sessions(net: Net, options: Arc<HubOptions>, table: Table) {
    let mut incoming = net.accept(SYNC);
    while let Some((node, stream)) = incoming.next().await {
        let (turn, signal) = table.begin(node);
        let events = turn.clone().passes(Arc::clone(&options.events));
        let session = session(Arc::clone(&options), events, node, stream, signal);
        let table = table.clone();
        tokio::spawn(async move {
            session.await;
            table.finish(&node, &turn);
        });
    }
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

#[cfg(test)]
mod tests {
    use super::super::driver::PeerEvent;
    use super::*;

    /// The third loses its link before the second has said farewell.
    #[test]
    fn a_session_that_was_replaced_is_not_heard_again_when_the_newer_one_has_ended() {
        let (table, node) = (Table::default(), NodeId([7; 32]));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let begin = |name: u64| {
            let (turn, signal) = table.begin(node);
            let noted = Arc::clone(&heard);
            let note: PeerEvents = Arc::new(move |_, _| noted.lock().unwrap().push(name));
            let tells = turn.clone().passes(note);
            (move || tells(node, PeerEvent::Heard), turn, signal)
        };
        let (second, second_turn, told) = begin(2);
        second();
        let (third, third_turn, _) = begin(3);
        assert_eq!(told.borrow().as_ref().unwrap().0, RefusalCode::Unavailable);
        third();
        table.finish(&node, &third_turn);
        second();
        table.finish(&node, &second_turn);
        let (fourth, turn, _) = begin(4);
        fourth();
        table.finish(&node, &second_turn);
        assert!(!table.latest().is_empty(), "a session does not forget a later one");
        table.finish(&node, &turn);
        assert!(table.latest().is_empty());
        assert_eq!(*heard.lock().unwrap(), [2, 3, 4]);
    }
}
