//! The driver on libp2p: the swarm in its task, and the handle by which the rest uses it.

use super::transport::{
    Accepted, CONNECTIONS, CONNECTIONS_PER_PEER, DIAL_TIMEOUT, IDLE_TIMEOUT, NetError, PENDING,
    Stream,
};
use crate::identity::NodeKey;
use futures::StreamExt;
use holdfast_core::NodeId;
use libp2p::allow_block_list::{self, BlockedPeers};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::core::transport::TransportError;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{ConnectionId, DialError, NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, identity};
use libp2p_stream::Control;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// A link that is up but silent costs one packet each way in this time.
const KEEP_ALIVE: Duration = Duration::from_secs(25);

#[derive(NetworkBehaviour)]
struct Behaviour {
    streams: libp2p_stream::Behaviour,
    blocked: allow_block_list::Behaviour<BlockedPeers>,
    limits: connection_limits::Behaviour,
}

enum Command {
    Dial(Multiaddr, oneshot::Sender<Result<PeerId, String>>),
    Block(PeerId),
    Unblock(PeerId),
    Disconnect(PeerId),
}

/// A handle to a swarm; the swarm ends when the last handle is dropped.
#[derive(Clone)]
pub(super) struct Libp2p {
    commands: mpsc::Sender<Command>,
    control: Control,
    address: Option<SocketAddr>,
}

impl Libp2p {
    pub async fn start(key: &NodeKey, listen: Option<SocketAddr>) -> Result<Self, NetError> {
        let fail = |text: String| {
            NetError::Listen(listen.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0))), text)
        };
        let mut swarm = build(keypair(key)).map_err(fail)?;
        let mut address = None;
        if let Some(listen) = listen {
            swarm.listen_on(multiaddr(listen)).map_err(|error| fail(innermost(&error)))?;
            let port = bound(&mut swarm).await.map_err(fail)?.port();
            // One that listens everywhere tells of each interface; the first is one of many.
            address = Some(SocketAddr::new(listen.ip(), port));
        }
        let control = swarm.behaviour().streams.new_control();
        let (commands, orders) = mpsc::channel(64);
        tokio::spawn(run(swarm, orders));
        Ok(Self { commands, control, address })
    }

    pub const fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    pub async fn dial(&self, socket: SocketAddr) -> Result<NodeId, NetError> {
        let (reply, answer) = oneshot::channel();
        let order = Command::Dial(multiaddr(socket), reply);
        self.commands.send(order).await.map_err(|_| NetError::Stopping)?;
        let error = match tokio::time::timeout(DIAL_TIMEOUT, answer).await {
            Ok(Ok(Ok(peer))) => match node_id(&peer) {
                Some(node) => return Ok(node),
                None => "it has a key of another kind".to_owned(),
            },
            Ok(Ok(Err(error))) => error,
            Ok(Err(_)) => return Err(NetError::Stopping),
            Err(_) => format!("no answer within {} s", DIAL_TIMEOUT.as_secs()),
        };
        Err(NetError::Dial(socket.to_string(), error))
    }

    pub async fn open(
        &self,
        node: &NodeId,
        protocol: &'static str,
    ) -> Result<libp2p::Stream, NetError> {
        let peer = peer_id(node).ok_or_else(|| NetError::Stream("not a key".to_owned()))?;
        let opened = self.control.clone().open_stream(peer, StreamProtocol::new(protocol)).await;
        opened.map_err(|error| NetError::Stream(error.to_string()))
    }

    pub fn accept(&self, protocol: &'static str) -> Accepted {
        let incoming = self.control.clone().accept(StreamProtocol::new(protocol));
        let incoming = incoming.expect("each protocol is accepted once");
        let known = |(peer, stream)| async move { Some((node_id(&peer)?, Stream::Libp2p(stream))) };
        incoming.filter_map(known).boxed()
    }

    pub async fn disconnect(&self, node: &NodeId) {
        self.order(node, Command::Disconnect).await;
    }

    pub async fn block(&self, node: &NodeId) {
        self.order(node, Command::Block).await;
    }

    pub async fn unblock(&self, node: &NodeId) {
        self.order(node, Command::Unblock).await;
    }

    async fn order(&self, node: &NodeId, order: fn(PeerId) -> Command) {
        if let Some(peer) = peer_id(node) {
            // A swarm that has ended has no connections either.
            let _ = self.commands.send(order(peer)).await;
        }
    }
}

fn build(keypair: identity::Keypair) -> Result<Swarm<Behaviour>, String> {
    let limits = ConnectionLimits::default()
        // One more comes in before the oldest is closed.
        .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER as u32 + 2))
        .with_max_established_incoming(Some(CONNECTIONS as u32))
        .with_max_pending_incoming(Some(PENDING as u32));
    let swarm = libp2p::SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_quic_config(|mut config| {
            config.keep_alive_interval = KEEP_ALIVE;
            config.max_idle_timeout = IDLE_TIMEOUT.as_millis() as u32;
            config.handshake_timeout = DIAL_TIMEOUT;
            config
        })
        .with_behaviour(|_| Behaviour {
            streams: libp2p_stream::Behaviour::new(),
            blocked: allow_block_list::Behaviour::default(),
            limits: connection_limits::Behaviour::new(limits),
        })
        .map_err(|error| error.to_string())?
        .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE_TIMEOUT))
        .build();
    Ok(swarm)
}

/// Waits until the first listener has its address.
async fn bound(swarm: &mut Swarm<Behaviour>) -> Result<SocketAddr, String> {
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::NewListenAddr { address, .. } => {
                return socket(&address).ok_or_else(|| format!("{address} is not a socket"));
            }
            SwarmEvent::ListenerError { error, .. } => return Err(error.to_string()),
            SwarmEvent::ListenerClosed { reason, .. } => return Err(format!("{reason:?}")),
            _ => {}
        }
    }
}

async fn run(mut swarm: Swarm<Behaviour>, mut orders: mpsc::Receiver<Command>) {
    let mut dialling: HashMap<ConnectionId, oneshot::Sender<Result<PeerId, String>>> =
        HashMap::new();
    let mut open: HashMap<PeerId, Vec<ConnectionId>> = HashMap::new();
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Command::Dial(address, reply)) => {
                    let options = DialOpts::unknown_peer_id().address(address).build();
                    let id = options.connection_id();
                    match swarm.dial(options) {
                        Ok(()) => drop(dialling.insert(id, reply)),
                        Err(error) => drop(reply.send(Err(error.to_string()))),
                    }
                }
                Some(Command::Block(peer)) => {
                    swarm.behaviour_mut().blocked.block_peer(peer);
                }
                Some(Command::Unblock(peer)) => {
                    swarm.behaviour_mut().blocked.unblock_peer(peer);
                }
                Some(Command::Disconnect(peer)) => {
                    // There may be none.
                    let _ = swarm.disconnect_peer_id(peer);
                }
                None => return,
            },
            event = swarm.select_next_some() => match event {
                SwarmEvent::ConnectionEstablished { peer_id, connection_id, .. } => {
                    if let Some(reply) = dialling.remove(&connection_id) {
                        let _ = reply.send(Ok(peer_id));
                    }
                    let open = open.entry(peer_id).or_default();
                    open.push(connection_id);
                    if open.len() > CONNECTIONS_PER_PEER {
                        swarm.close_connection(open.remove(0));
                    }
                }
                SwarmEvent::ConnectionClosed { peer_id, connection_id, num_established, .. } => {
                    if num_established == 0 {
                        open.remove(&peer_id);
                    } else if let Some(open) = open.get_mut(&peer_id) {
                        open.retain(|id| *id != connection_id);
                    }
                }
                SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                    if let Some(reply) = dialling.remove(&connection_id) {
                        let _ = reply.send(Err(dial_failure(&error)));
                    }
                }
                SwarmEvent::IncomingConnectionError { error, .. } => {
                    tracing::debug!(%error, "an incoming connection failed");
                }
                _ => {}
            },
        }
    }
}

/// What went wrong in words for people: each dial has one address, which the caller knows.
fn dial_failure(error: &DialError) -> String {
    match error {
        DialError::Transport(tried) => match tried.first() {
            Some((_, TransportError::Other(error))) => {
                error.to_string().trim_start_matches([':', ' ']).to_owned()
            }
            _ => error.to_string(),
        },
        _ => error.to_string(),
    }
}

/// The cause at the bottom: what wraps it says nothing, or the same with other words around it.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn multiaddr(socket: SocketAddr) -> Multiaddr {
    let ip = match socket.ip() {
        IpAddr::V4(ip) => Protocol::Ip4(ip),
        IpAddr::V6(ip) => Protocol::Ip6(ip),
    };
    Multiaddr::empty().with(ip).with(Protocol::Udp(socket.port())).with(Protocol::QuicV1)
}

fn socket(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => IpAddr::V4(ip),
        Protocol::Ip6(ip) => IpAddr::V6(ip),
        _ => return None,
    };
    match parts.next()? {
        Protocol::Udp(port) => Some(SocketAddr::new(ip, port)),
        _ => None,
    }
}

/// A node's key as libp2p has it.
pub(super) fn keypair(key: &NodeKey) -> identity::Keypair {
    let keypair = identity::Keypair::ed25519_from_bytes(key.secret_bytes());
    keypair.expect("32 bytes are an Ed25519 key")
}

/// The node behind a libp2p peer id: its key is in the id, as for every Ed25519 key.
pub(super) fn node_id(peer: &PeerId) -> Option<NodeId> {
    let key = identity::PublicKey::try_decode_protobuf(peer.as_ref().digest()).ok()?;
    Some(NodeId(key.try_into_ed25519().ok()?.to_bytes()))
}

fn peer_id(node: &NodeId) -> Option<PeerId> {
    let key = identity::ed25519::PublicKey::try_from_bytes(&node.0).ok()?;
    Some(PeerId::from_public_key(&identity::PublicKey::from(key)))
}
