//! Who is connected, and what is done with the streams they open.
//!
//! Each connection has a task that takes its streams in, agrees on their protocol and hands them to
//! whoever accepts it; when the connection ends, the task takes it out of the table. A peer that
//! opens streams for nothing is cut off; a connection without any stream ends after a while.

use super::Stream;
use super::config::words;
use super::stream::Pair;
use crate::net::transport::{CONNECTIONS_PER_PEER, STREAM_TIMEOUT};
use holdfast_core::NodeId;
use multistream_select::listener_select_proto;
use quinn::{Connection, VarInt};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// Streams that came to nothing before a connection is closed: a node of ours opens one at a time,
/// for a protocol that is served.
const FUTILE: u32 = 16;
/// Streams that wait for whoever accepts their protocol; more have to wait in their task, of which
/// there are no more than a peer may have streams.
const WAITING: usize = 16;
const BLOCKED: &str = "the peer is blocked";

/// Counts the streams of a connection that are in use.
pub(super) type Streams = Arc<()>;
/// Those that are no stream: the table's and its connection's task's.
const NO_STREAM: usize = 2;

/// Those who are connected.
pub(super) struct Peers {
    table: Mutex<Table>,
    /// After so long without a stream a connection ends.
    idle: Duration,
}

#[derive(Default)]
struct Table {
    /// The oldest first.
    open: HashMap<NodeId, Vec<(Connection, Streams)>>,
    blocked: HashSet<NodeId>,
    accepted: HashMap<&'static str, mpsc::Sender<(NodeId, Stream)>>,
}

impl Peers {
    pub fn new(idle: Duration) -> Self {
        Self { table: Mutex::default(), idle }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection in, unless the peer is blocked, and closes an older one if it has more
    /// than it may.
    pub fn insert(&self, node: NodeId, connection: &Connection) -> Result<Streams, String> {
        let mut table = self.table();
        if table.blocked.contains(&node) {
            close(connection, BLOCKED.as_bytes());
            return Err(BLOCKED.to_owned());
        }
        let open = table.open.entry(node).or_default();
        let streams = Streams::default();
        open.push((connection.clone(), Arc::clone(&streams)));
        if open.len() > CONNECTIONS_PER_PEER {
            close(&open.remove(0).0, b"the peer has newer ones");
        }
        Ok(streams)
    }

    fn remove(&self, node: &NodeId, connection: &Connection) {
        let mut table = self.table();
        if let Some(open) = table.open.get_mut(node) {
            open.retain(|(other, _)| other.stable_id() != connection.stable_id());
            if open.is_empty() {
                table.open.remove(node);
            }
        }
    }

    /// The newest connection with a peer.
    pub fn latest(&self, node: &NodeId) -> Option<(Connection, Streams)> {
        self.table().open.get(node)?.last().cloned()
    }

    pub fn disconnect(&self, node: &NodeId, reason: &[u8]) {
        let open = self.table().open.remove(node);
        open.into_iter().flatten().for_each(|(connection, _)| close(&connection, reason));
    }

    pub fn block(&self, node: NodeId) {
        self.table().blocked.insert(node);
        self.disconnect(&node, BLOCKED.as_bytes());
    }

    /// How many connections there are.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.table().open.values().map(Vec::len).sum()
    }

    pub fn unblock(&self, node: &NodeId) {
        self.table().blocked.remove(node);
    }

    pub fn accept(&self, protocol: &'static str) -> mpsc::Receiver<(NodeId, Stream)> {
        let (sender, streams) = mpsc::channel(WAITING);
        let before = self.table().accepted.insert(protocol, sender);
        assert!(before.is_none(), "each protocol is accepted once");
        streams
    }

    /// Serves a connection to its end.
    pub async fn serve(self: Arc<Self>, node: NodeId, connection: Connection, streams: Streams) {
        let futile = Arc::new(AtomicU32::new(0));
        loop {
            match tokio::time::timeout(self.idle, connection.accept_bi()).await {
                Ok(Ok((send, recv))) => {
                    let pair = Pair::new(send, recv, Arc::clone(&streams));
                    let (peers, futile) = (Arc::clone(&self), Arc::clone(&futile));
                    let connection = connection.clone();
                    tokio::spawn(async move {
                        if peers.hand_over(node, pair).await.is_none()
                            && futile.fetch_add(1, Ordering::Relaxed) + 1 == FUTILE
                        {
                            let reason = "it opens streams for nothing that is served here";
                            tracing::warn!(peer = %node.short(), reason, "a peer was cut off");
                            close(&connection, reason.as_bytes());
                        }
                    });
                }
                Ok(Err(error)) => {
                    let error = words(&error);
                    tracing::debug!(peer = %node.short(), error, "a connection ended");
                    break;
                }
                Err(_) if Arc::strong_count(&streams) <= NO_STREAM => {
                    close(&connection, b"nothing was asked for");
                    break;
                }
                Err(_) => {}
            }
        }
        self.remove(&node, &connection);
    }

    /// Agrees on the protocol of a stream and gives it to whoever accepts that.
    async fn hand_over(&self, node: NodeId, pair: Pair) -> Option<()> {
        let served: Vec<&'static str> = self.table().accepted.keys().copied().collect();
        let agreed = tokio::time::timeout(STREAM_TIMEOUT, listener_select_proto(pair, served));
        let (protocol, stream) = agreed.await.ok()?.ok()?;
        let taker = self.table().accepted.get(protocol)?.clone();
        taker.send((node, stream)).await.ok()
    }
}

fn close(connection: &Connection, reason: &[u8]) {
    connection.close(VarInt::from_u32(0), reason);
}
