//! What sessions and enrolments need of a network, and the two drivers that give it.
//!
//! Listen, dial an address and learn who answered, open a stream by its protocol, accept streams by
//! their protocol, close a peer's connections; dropping the last handle ends it. Limits and
//! deadlines that both drivers keep stand here, so that they cannot drift apart.

use super::quic::{self, Quic};
use super::swarm::Libp2p;
use crate::identity::NodeKey;
use futures::stream::BoxStream;
use futures::{AsyncRead, AsyncWrite};
use holdfast_core::NodeId;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

pub(super) const SYNC: &str = "/holdfast/sync/1";
pub(super) const ENROL: &str = "/holdfast/enrol/1";

/// Until somebody answers and has proven who they are.
pub(super) const DIAL_TIMEOUT: Duration = Duration::from_secs(15);
/// Until both sides agree on what a stream is for.
pub(super) const STREAM_TIMEOUT: Duration = Duration::from_secs(15);
/// A connection over which nothing comes, or without any stream, ends after this time: two packets
/// that keep it alive may be lost.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Connections that a peer keeps: a rebooted gateway may come back before its old one has timed
/// out. With a further one the oldest is closed.
pub(super) const CONNECTIONS_PER_PEER: usize = 2;
/// Connections that came in, at a time: twice the gateways of a large fleet.
pub(super) const CONNECTIONS: usize = 4096;
/// Handshakes that came in, at a time: each costs a signature before anybody is known.
pub(super) const PENDING: usize = 256;

/// Which driver carries the sync.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// A swarm of libp2p.
    #[default]
    Libp2p,
    /// quinn alone: a cheaper connection, which outlives a change of the gateway's address if the
    /// hub uses it.
    Quic,
}

impl Transport {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Libp2p, Self::Quic];

    /// Its name, in the configuration and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Libp2p => "libp2p",
            Self::Quic => "quic",
        }
    }
}

/// Why the network did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// An address is not one.
    #[error("{0:?} is not an address: expected host:port")]
    Address(String),
    /// A name could not be resolved.
    #[error("{0}: the name could not be resolved: {1}")]
    Resolve(String, std::io::Error),
    /// Listening failed.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, String),
    /// The peer could not be reached.
    #[error("{0} could not be reached: {1}")]
    Dial(String, String),
    /// The peer answered but does not serve us.
    #[error("no stream: {0}")]
    Stream(String),
    /// The network part has ended.
    #[error("the network part is stopping")]
    Stopping,
}

/// A handle to the network; it ends when the last handle is dropped.
#[derive(Clone)]
pub struct Net(pub(super) Inner);

#[derive(Clone)]
pub(super) enum Inner {
    Libp2p(Libp2p),
    Quic(Quic),
}

impl Net {
    /// Starts with the node's key; with `listen` it takes connections there.
    ///
    /// # Errors
    /// [`NetError::Listen`].
    pub async fn start(
        transport: Transport,
        key: &NodeKey,
        listen: Option<SocketAddr>,
    ) -> Result<Self, NetError> {
        Ok(Self(match transport {
            Transport::Libp2p => Inner::Libp2p(Libp2p::start(key, listen).await?),
            Transport::Quic => Inner::Quic(Quic::start(key, listen)?),
        }))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.0 {
            Inner::Libp2p(net) => net.address(),
            Inner::Quic(net) => net.address(),
        }
    }

    /// Connects to `host:port` and says who answered there.
    ///
    /// # Errors
    /// [`NetError`].
    pub async fn dial(&self, address: &str) -> Result<NodeId, NetError> {
        let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none() {
            return Err(NetError::Address(address.to_owned()));
        }
        let resolved = tokio::net::lookup_host(address).await;
        let resolved = resolved.map_err(|error| NetError::Resolve(address.to_owned(), error))?;
        let mut last = NetError::Dial(address.to_owned(), "the name has no address".to_owned());
        for socket in resolved {
            let dialled = match &self.0 {
                Inner::Libp2p(net) => net.dial(socket).await,
                Inner::Quic(net) => net.dial(socket).await,
            };
            match dialled {
                Err(error @ NetError::Dial(..)) => last = error,
                other => return other,
            }
        }
        Err(last)
    }

    pub(super) async fn open(
        &self,
        node: &NodeId,
        protocol: &'static str,
    ) -> Result<Stream, NetError> {
        let opening = async {
            match &self.0 {
                Inner::Libp2p(net) => net.open(node, protocol).await.map(Stream::Libp2p),
                Inner::Quic(net) => net.open(node, protocol).await.map(Stream::Quic),
            }
        };
        // Opening can hang for ever when the connection is dying.
        let opened = tokio::time::timeout(STREAM_TIMEOUT, opening).await;
        opened.unwrap_or_else(|_| Err(NetError::Stream("no answer in time".to_owned())))
    }

    /// The streams that peers open for a protocol. Each protocol is accepted once.
    pub(super) fn accept(&self, protocol: &'static str) -> Accepted {
        match &self.0 {
            Inner::Libp2p(net) => net.accept(protocol),
            Inner::Quic(net) => net.accept(protocol),
        }
    }

    /// Closes all connections with a peer.
    pub async fn disconnect(&self, node: &NodeId) {
        match &self.0 {
            Inner::Libp2p(net) => net.disconnect(node).await,
            Inner::Quic(net) => net.disconnect(node),
        }
    }

    /// Closes all connections with a peer and takes none any more.
    pub async fn block(&self, node: &NodeId) {
        match &self.0 {
            Inner::Libp2p(net) => net.block(node).await,
            Inner::Quic(net) => net.block(node),
        }
    }

    /// Takes connections of a peer again.
    pub async fn unblock(&self, node: &NodeId) {
        match &self.0 {
            Inner::Libp2p(net) => net.unblock(node).await,
            Inner::Quic(net) => net.unblock(node),
        }
    }
}

/// Streams as peers open them, each with the peer, proven by its key.
pub(super) type Accepted = BoxStream<'static, (NodeId, Stream)>;

/// A stream of either driver.
pub(super) enum Stream {
    Libp2p(libp2p::Stream),
    Quic(quic::Stream),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Libp2p(stream) => Pin::new(stream).poll_read(cx, out),
            Self::Quic(stream) => Pin::new(stream).poll_read(cx, out),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Libp2p(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Quic(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Libp2p(stream) => Pin::new(stream).poll_flush(cx),
            Self::Quic(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Libp2p(stream) => Pin::new(stream).poll_close(cx),
            Self::Quic(stream) => Pin::new(stream).poll_close(cx),
        }
    }
}
