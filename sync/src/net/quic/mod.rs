//! The driver on quinn: endpoints, a table of who is connected, and a task for each connection.
//!
//! It speaks what the swarm speaks: QUIC version 1, the TLS of libp2p with its certificates, and
//! `multistream-select` at the start of each stream. What it leaves out saves bytes on a thin link:
//! nobody looks for a greater packet size. What it adds at the hub: a connection outlives a change
//! of the gateway's address, and those who still talk to its last start are told that it is no
//! more.

mod config;
mod peers;
mod stream;
#[cfg(test)]
mod tests;

use super::transport::{
    Accepted, CONNECTIONS, DIAL_TIMEOUT, IDLE_TIMEOUT, NetError, PENDING, Stream as AnyStream,
};
use crate::identity::NodeKey;
use config::{Configs, gist, words};
use holdfast_core::NodeId;
use multistream_select::Version;
use peers::Peers;
use quinn::{Connection, Endpoint, Incoming, VarInt};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use stream::Pair;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A stream whose protocol is agreed on.
pub(super) type Stream = multistream_select::Negotiated<Pair>;

/// With so many handshakes under way, whoever comes next first has to show that its address is its
/// own: that costs it a round trip, and a flood from invented addresses gets no further.
const UNHURRIED: usize = PENDING / 2;
/// The name a handshake is asked for; the certificate proves a key, and no name.
const NOBODY: &str = "l";

/// A handle to the endpoints.
#[derive(Clone)]
pub(super) struct Quic(Arc<Inner>);

struct Inner {
    configs: Configs,
    listener: Option<(Endpoint, SocketAddr)>,
    /// What dials go out from, one for each family of addresses, made when first needed.
    callers: Mutex<[Option<Endpoint>; 2]>,
    peers: Arc<Peers>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let callers = self.callers.get_mut().unwrap_or_else(PoisonError::into_inner);
        let callers = callers.iter().flatten();
        for endpoint in callers.chain(self.listener.as_ref().map(|(endpoint, _)| endpoint)) {
            endpoint.close(VarInt::from_u32(0), b"the node is stopping");
        }
    }
}

impl Quic {
    pub fn start(key: &NodeKey, listen: Option<SocketAddr>) -> Result<Self, NetError> {
        Self::with_idle(key, listen, IDLE_TIMEOUT)
    }

    /// One whose connections end when they have had no stream for `idle`.
    fn with_idle(
        key: &NodeKey,
        listen: Option<SocketAddr>,
        idle: Duration,
    ) -> Result<Self, NetError> {
        let at = listen.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)));
        let fail = |text: String| NetError::Listen(at, text);
        let configs = Configs::new(key).map_err(fail)?;
        let peers = Arc::new(Peers::new(idle));
        let listener = match listen {
            Some(listen) => {
                let endpoint = configs.endpoint(listen, true).map_err(|e| fail(e.to_string()))?;
                let bound = endpoint.local_addr().map_err(|error| fail(error.to_string()))?;
                tokio::spawn(take_in(endpoint.clone(), Arc::clone(&peers)));
                Some((endpoint, SocketAddr::new(listen.ip(), bound.port())))
            }
            None => None,
        };
        Ok(Self(Arc::new(Inner { configs, listener, callers: Mutex::default(), peers })))
    }

    pub fn address(&self) -> Option<SocketAddr> {
        self.0.listener.as_ref().map(|(_, address)| *address)
    }

    pub async fn dial(&self, socket: SocketAddr) -> Result<NodeId, NetError> {
        let fail = |text: String| NetError::Dial(socket.to_string(), text);
        let caller = self.caller(socket).map_err(|error| fail(error.to_string()))?;
        let client = self.0.configs.client.clone();
        let connecting = caller.connect_with(client, socket, NOBODY);
        let connecting = connecting.map_err(|error| fail(error.to_string()))?;
        let (node, connection) = match tokio::time::timeout(DIAL_TIMEOUT, connecting).await {
            Ok(Ok(connection)) => (config::proven(&connection).map_err(fail)?, connection),
            Ok(Err(error)) => return Err(fail(words(&error))),
            Err(_) => return Err(fail(no_answer())),
        };
        let streams = self.0.peers.insert(node, &connection).map_err(fail)?;
        tokio::spawn(Arc::clone(&self.0.peers).serve(node, connection, streams));
        Ok(node)
    }

    fn caller(&self, to: SocketAddr) -> std::io::Result<Endpoint> {
        let mut callers = self.0.callers.lock().unwrap_or_else(PoisonError::into_inner);
        let caller = &mut callers[usize::from(to.is_ipv6())];
        if let Some(caller) = caller {
            return Ok(caller.clone());
        }
        let any: SocketAddr = match to {
            SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
            SocketAddr::V6(_) => ([0; 16], 0).into(),
        };
        Ok(caller.insert(self.0.configs.endpoint(any, false)?).clone())
    }

    pub async fn open(&self, node: &NodeId, protocol: &'static str) -> Result<Stream, NetError> {
        let fail = |text: String| NetError::Stream(text);
        let (connection, streams) =
            self.0.peers.latest(node).ok_or_else(|| fail("the connection is gone".to_owned()))?;
        let (send, recv) = connection.open_bi().await.map_err(|error| fail(words(&error)))?;
        let pair = Pair::new(send, recv, streams);
        // Not the lazy one, which saves a round trip: its streams panic after a refusal.
        let opened = multistream_select::dialer_select_proto(pair, [protocol], Version::V1);
        opened.await.map(|(_, stream)| stream).map_err(|error| fail(error.to_string()))
    }

    pub fn accept(&self, protocol: &'static str) -> Accepted {
        let incoming = self.0.peers.accept(protocol);
        Box::pin(futures::stream::unfold(incoming, |mut incoming| async move {
            let (node, stream) = incoming.recv().await?;
            Some(((node, AnyStream::Quic(stream)), incoming))
        }))
    }

    pub fn disconnect(&self, node: &NodeId) {
        self.0.peers.disconnect(node, b"");
    }

    pub fn block(&self, node: &NodeId) {
        self.0.peers.block(*node);
    }

    pub fn unblock(&self, node: &NodeId) {
        self.0.peers.unblock(node);
    }
}

/// Takes connections in until the endpoint is closed.
async fn take_in(endpoint: Endpoint, peers: Arc<Peers>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let turns = Arc::new(Semaphore::new(PENDING));
    while let Some(incoming) = endpoint.accept().await {
        if turns.available_permits() <= UNHURRIED && incoming.may_retry() {
            // One that cannot be asked is dropped, as any packet may be.
            let _ = incoming.retry();
            continue;
        }
        let place = Arc::clone(&places).try_acquire_owned();
        let turn = Arc::clone(&turns).try_acquire_owned();
        let (Ok(place), Ok(turn)) = (place, turn) else {
            let reason = "there are too many";
            tracing::warn!(reason, "a connection was refused");
            incoming.refuse();
            continue;
        };
        tokio::spawn(welcome(incoming, Arc::clone(&peers), place, turn));
    }
}

/// Hears out one that came, and serves it if it has proven a key.
async fn welcome(
    incoming: Incoming,
    peers: Arc<Peers>,
    place: OwnedSemaphorePermit,
    turn: OwnedSemaphorePermit,
) {
    let from = incoming.remote_address().ip();
    match shake_hands(incoming, &peers).await {
        Ok((node, connection, streams)) => {
            drop(turn);
            peers.serve(node, connection, streams).await;
            drop(place);
        }
        // Its address may be invented, so the line that is always written does without.
        Err(error) => {
            tracing::info!(error, "a connection came to nothing");
            tracing::debug!(%from, "it came from there");
        }
    }
}

async fn shake_hands(
    incoming: Incoming,
    peers: &Peers,
) -> Result<(NodeId, Connection, peers::Streams), String> {
    let connecting = incoming.accept().map_err(|error| gist(&error))?;
    let connection = tokio::time::timeout(DIAL_TIMEOUT, connecting).await;
    let connection = connection.map_err(|_| no_answer())?.map_err(|error| gist(&error))?;
    let node = config::proven(&connection)?;
    let streams = peers.insert(node, &connection)?;
    Ok((node, connection, streams))
}

fn no_answer() -> String {
    format!("no answer within {} s", DIAL_TIMEOUT.as_secs())
}
