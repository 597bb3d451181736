//! How endpoints are set up, and who a connection has proven to be with.
//!
//! Certificates and their checks are those of `libp2p-tls`: each side shows a certificate of its
//! own making that its node key has signed. TLS 1.3 with ring, whatever the process defaults to.

use crate::identity::NodeKey;
use crate::net::swarm::{keypair, node_id};
use crate::net::transport::IDLE_TIMEOUT;
use holdfast_core::NodeId;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::rustls::pki_types::CertificateDer;
use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, EndpointConfig, ServerConfig,
    TokioRuntime, TransportConfig, VarInt,
};
use quinn_proto::HashedConnectionIdGenerator;
use ring::hmac;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

/// Streams that a peer may have open: a session, the one it replaces, an enrolment, and room for
/// those that come to nothing.
pub(super) const STREAMS: u32 = 16;
/// Bytes that may be under way on a stream: more than a session has granted is never sent, and
/// 2 MiB are 10 MB/s at 200 ms.
const STREAM_WINDOW: u32 = 2 << 20;
/// The same over all streams of a connection; what a peer can make this node hold for it.
const WINDOW: u32 = 4 << 20;
/// A session pings by itself, every 25 s; a clock of the same period beside it would only add
/// packets. This one is for connections without a session, and of it one may be sent twice.
const KEEP_ALIVE: Duration = Duration::from_secs(40);
/// Bytes of a peer's own words that are shown.
const REASON_MAX: usize = 120;
const QUIC_V1: u32 = 1;

/// What endpoints and connections are made with.
pub(super) struct Configs {
    pub client: ClientConfig,
    server: ServerConfig,
    endpoint: EndpointConfig,
}

impl Configs {
    pub fn new(key: &NodeKey) -> Result<Self, String> {
        let keypair = keypair(key);
        let transport = Arc::new(transport());
        let tls = libp2p_tls::make_client_config(&keypair, None).map_err(|e| e.to_string())?;
        let tls = QuicClientConfig::try_from(tls).map_err(|error| error.to_string())?;
        let mut client = ClientConfig::new(Arc::new(tls));
        client.transport_config(Arc::clone(&transport));
        let tls = libp2p_tls::make_server_config(&keypair).map_err(|e| e.to_string())?;
        let tls = QuicServerConfig::try_from(tls).map_err(|error| error.to_string())?;
        let mut server = ServerConfig::with_crypto(Arc::new(tls));
        server.transport_config(transport);
        Ok(Self { client, server, endpoint: endpoint(&keypair) })
    }

    /// An endpoint bound to `address`, which takes connections in if it listens.
    pub fn endpoint(&self, address: SocketAddr, listens: bool) -> io::Result<Endpoint> {
        let server = listens.then(|| self.server.clone());
        let runtime = Arc::new(TokioRuntime);
        Endpoint::new(self.endpoint.clone(), server, bound(address)?, runtime)
    }
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    let idle = IDLE_TIMEOUT.try_into().expect("a minute fits");
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(idle))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(WINDOW))
        // What both sides would probe with costs each connection more than its handshake; 1,200
        // bytes pass everywhere.
        .mtu_discovery_config(None)
        .allow_spin(false);
    transport
}

/// The keys by which packets are recognised are the same after a restart: only then can the
/// endpoint tell those who still talk to its last start that the connection is no more.
fn endpoint(keypair: &libp2p::identity::Keypair) -> EndpointConfig {
    let derive = |domain: &[u8]| keypair.derive_secret(domain).expect("an Ed25519 key derives");
    let reset = hmac::Key::new(hmac::HMAC_SHA256, &derive(b"holdfast quic reset"));
    let ids = derive(b"holdfast quic connection ids");
    let ids = u64::from_le_bytes(*ids.first_chunk().expect("32 bytes"));
    let mut config = EndpointConfig::new(Arc::new(reset));
    config.supported_versions(vec![QUIC_V1]);
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)));
    config
}

/// A socket at exactly this address: one of IPv6 takes no IPv4, as with the other driver.
fn bound(address: SocketAddr) -> io::Result<UdpSocket> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    bind(&socket, &address)?;
    Ok(UdpSocket::from(socket))
}

/// Who is on the other side, proven by the handshake.
pub(super) fn proven(connection: &Connection) -> Result<NodeId, String> {
    let identity = connection.peer_identity().ok_or("it showed no certificate")?;
    let shown = identity.downcast::<Vec<CertificateDer<'static>>>();
    let shown = shown.map_err(|_| "it showed no certificate")?;
    let certificate = shown.first().ok_or("it showed no certificate")?;
    let parsed = libp2p_tls::certificate::parse(certificate).map_err(|error| error.to_string())?;
    let node = node_id(&parsed.peer_id());
    node.ok_or_else(|| "it has a key of another kind".to_owned())
}

/// What ended a connection, in words for people.
pub(super) fn words(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            said("the peer closed the connection", &close.reason)
        }
        ConnectionError::ConnectionClosed(close) => {
            said(&format!("the peer refuses the connection ({})", close.error_code), &close.reason)
        }
        ConnectionError::Reset => "the peer was started anew".to_owned(),
        ConnectionError::TimedOut => "no answer".to_owned(),
        other => other.to_string(),
    }
}

/// The same without what the peer says of it: one that is nobody yet must not write the log.
pub(super) fn gist(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ApplicationClosed(_) | ConnectionError::ConnectionClosed(_) => {
            "the peer gave up".to_owned()
        }
        other => words(other),
    }
}

fn said(what: &str, reason: &[u8]) -> String {
    let plain = reason.iter().filter(|byte| (b' '..=b'~').contains(*byte));
    let plain: String = plain.take(REASON_MAX).map(|byte| char::from(*byte)).collect();
    if plain.is_empty() { what.to_owned() } else { format!("{what}: {plain}") }
}
