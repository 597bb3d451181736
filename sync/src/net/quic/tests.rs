//! What strangers do to an endpoint, and what it does then.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

use super::config::Configs;
use super::*;
use crate::env::System;
use crate::net::transport::{Net, SYNC, Transport};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::rustls::{self, pki_types};
use quinn::{ClientConfig, ConnectionError, TokioRuntime, TransportConfig};

/// Longer than anything takes that happens at all.
const SOON: Duration = Duration::from_secs(30);

fn key() -> NodeKey {
    NodeKey::generate(&System::env())
}

fn any() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

fn listening(key: &NodeKey) -> Quic {
    Quic::start(key, Some(any())).unwrap()
}

/// What ended a connection.
async fn ended(connection: &Connection) -> ConnectionError {
    tokio::time::timeout(SOON, connection.closed()).await.expect("the connection ends")
}

/// Waits until so many connections are in the table.
async fn until_there_are(hub: &Quic, count: usize) {
    let waiting = async {
        while hub.0.peers.count() != count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, waiting).await.expect("the connections come and go");
}

/// Has one stream of `edge` carry a word to `hub` and back.
async fn greet(edge: &Net, hub: &NodeId, accepted: &mut Accepted, who: NodeId) {
    let mut out = edge.open(hub, SYNC).await.unwrap();
    out.write_all(b"hello").await.unwrap();
    out.flush().await.unwrap();
    let (from, mut stream) = accepted.next().await.unwrap();
    assert_eq!(from, who, "the peer is the one that has the key");
    let mut word = [0; 5];
    stream.read_exact(&mut word).await.unwrap();
    stream.write_all(&word).await.unwrap();
    stream.close().await.unwrap();
    let mut back = Vec::new();
    out.read_to_end(&mut back).await.unwrap();
    assert_eq!(back, b"hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn either_driver_reaches_the_other_on_its_port() {
    for [ours, theirs] in [
        [Transport::Quic, Transport::Quic],
        [Transport::Quic, Transport::Libp2p],
        [Transport::Libp2p, Transport::Quic],
        [Transport::Libp2p, Transport::Libp2p],
    ] {
        let (hub_key, edge_key) = (key(), key());
        let hub = Net::start(ours, &hub_key, Some(any())).await.unwrap();
        let mut accepted = hub.accept(SYNC);
        let edge = Net::start(theirs, &edge_key, None).await.unwrap();
        let met = edge.dial(&hub.address().unwrap().to_string()).await.unwrap();
        assert_eq!(met, hub_key.id());
        greet(&edge, &met, &mut accepted, edge_key.id()).await;
    }
}

#[test]
fn what_a_peer_says_on_leaving_is_short_and_plain() {
    let reason = [b"no\n\x1b[31m ".as_slice(), &[b'x'; 5_000], "\u{202e}".as_bytes()].concat();
    let close = quinn::ApplicationClose { error_code: VarInt::from_u32(0), reason: reason.into() };
    let error = ConnectionError::ApplicationClosed(close);
    let told = words(&error);
    assert!(told.starts_with("the peer closed the connection: no[31m xxx"), "{told}");
    assert!(told.len() < 160 && told.chars().all(|c| !c.is_control() && c.is_ascii()), "{told}");
    assert_eq!(config::gist(&error), "the peer gave up");
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_harms_nobody() {
    let (hub_key, edge_key) = (key(), key());
    let hub = listening(&hub_key);
    let address = hub.address().unwrap();
    let socket = std::net::UdpSocket::bind(any()).unwrap();
    let env = System::env();
    for n in 0..2_000 {
        let mut bytes = vec![0; 1 + n % 1_400];
        env.fill(&mut bytes);
        if n % 3 == 0 {
            // The long header of a first packet, and nothing behind it that can be read.
            let start = [0xc3, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0];
            let length = bytes.len().min(start.len());
            bytes[..length].copy_from_slice(&start[..length]);
        }
        socket.send_to(&bytes, address).unwrap();
    }
    let hub = Net(crate::net::transport::Inner::Quic(hub));
    let mut accepted = hub.accept(SYNC);
    let edge = Net::start(Transport::Quic, &edge_key, None).await.unwrap();
    let met = edge.dial(&address.to_string()).await.unwrap();
    greet(&edge, &met, &mut accepted, edge_key.id()).await;
}

/// Takes any certificate, as somebody does who wants no more than to be heard.
#[derive(Debug)]
struct Anyone(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &pki_types::CertificateDer<'_>,
        _: &[pki_types::CertificateDer<'_>],
        _: &pki_types::ServerName<'_>,
        _: &[u8],
        _: pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A client of QUIC that shows `certificate`, or none.
fn plain_client(certificate: Option<rcgen::CertifiedKey>) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)));
    let mut tls = match certificate {
        Some(shown) => {
            let key = pki_types::PrivatePkcs8KeyDer::from(shown.key_pair.serialize_der());
            builder.with_client_auth_cert(vec![shown.cert.der().clone()], key.into()).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    tls.alpn_protocols = vec![b"libp2p".to_vec()];
    ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()))
}

fn client() -> Endpoint {
    let socket = std::net::UdpSocket::bind(any()).unwrap();
    let runtime = Arc::new(TokioRuntime);
    Endpoint::new(quinn::EndpointConfig::default(), None, socket, runtime).unwrap()
}

/// Whoever shows no certificate, or one that no node key has signed, proves nothing and is nobody.
#[tokio::test(flavor = "multi_thread")]
async fn who_proves_no_key_gets_nowhere() {
    let hub = listening(&key());
    let address = hub.address().unwrap();
    let unsigned = rcgen::generate_simple_self_signed(vec!["hub".to_owned()]).unwrap();
    for shown in [None, Some(unsigned)] {
        let endpoint = client();
        let connecting = endpoint.connect_with(plain_client(shown), address, "l").unwrap();
        // TLS lets the client believe that it is through until the server has judged.
        let connection = connecting.await;
        let error = match connection {
            Ok(connection) => ended(&connection).await,
            Err(error) => error,
        };
        assert!(matches!(error, ConnectionError::ConnectionClosed(_)), "{error}");
    }
    assert_eq!(hub.0.peers.count(), 0, "nobody is in the table");
}

/// A member's key is no licence to open streams for nothing: the peer has no more than its share at
/// a time, and after some that led nowhere the connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_that_opens_a_thousand_streams_is_cut_off() {
    let hub = listening(&key());
    let _accepted = hub.accept(SYNC);
    let configs = Configs::new(&key()).unwrap();
    let endpoint = configs.endpoint(any(), false).unwrap();
    let connecting = endpoint.connect_with(configs.client.clone(), hub.address().unwrap(), "l");
    let connection = connecting.unwrap().await.unwrap();
    let mut opened = 0;
    let error = loop {
        match connection.open_bi().await {
            Ok((mut send, _)) => {
                // That the connection was closed is noticed by the next one that is opened.
                let _ = send.write_all(b"\x07/other\n").await;
                opened += 1;
                assert!(opened < 1_000, "nobody stops it");
            }
            Err(error) => break error,
        }
    };
    let told = words(&error);
    assert!(told.contains("it opens streams for nothing that is served here"), "{told}");
    println!("cut off after {opened} streams");
    until_there_are(&hub, 0).await;
}

/// A stream that is opened and says nothing holds its place for a while, and no more than that.
#[tokio::test(flavor = "multi_thread")]
async fn silent_streams_are_no_more_than_a_peers_share() {
    let hub = listening(&key());
    let configs = Configs::new(&key()).unwrap();
    let endpoint = configs.endpoint(any(), false).unwrap();
    let connecting = endpoint.connect_with(configs.client.clone(), hub.address().unwrap(), "l");
    let connection = connecting.unwrap().await.unwrap();
    let mut streams = Vec::new();
    for _ in 0..config::STREAMS {
        let (mut send, recv) = connection.open_bi().await.unwrap();
        send.write_all(b"\x13").await.unwrap();
        streams.push((send, recv));
    }
    let one_more = futures::poll!(Box::pin(connection.open_bi()));
    assert!(one_more.is_pending(), "there is no stream beyond the share");
}

/// A connection is no more than a way to a stream: whoever only holds one holds a place that others
/// need.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_a_stream_ends_and_one_with_a_stream_stays() {
    let (idle_key, busy_key) = (key(), key());
    let hub = Quic::with_idle(&key(), Some(any()), Duration::from_millis(100)).unwrap();
    let address = hub.address().unwrap();
    let mut accepted = hub.accept(SYNC);
    let busy = Quic::start(&busy_key, None).unwrap();
    let met = busy.dial(address).await.unwrap();
    let mut out = busy.open(&met, SYNC).await.unwrap();
    out.write_all(b"hello").await.unwrap();
    out.flush().await.unwrap();
    let (_, mut stream) = accepted.next().await.unwrap();
    let configs = Configs::new(&idle_key).unwrap();
    let endpoint = configs.endpoint(any(), false).unwrap();
    let connecting = endpoint.connect_with(configs.client.clone(), address, "l").unwrap();
    let told = words(&ended(&connecting.await.unwrap()).await);
    assert!(told.contains("nothing was asked for"), "{told}");
    let mut word = [0; 5];
    stream.read_exact(&mut word).await.unwrap();
    stream.write_all(&word).await.unwrap();
    stream.flush().await.unwrap();
    out.read_exact(&mut word).await.unwrap();
    drop((stream, out));
    until_there_are(&hub, 0).await;
}

/// First packets cost their sender nothing and this side a handshake each, and their address may be
/// invented. Half of the places are for those who can be reached at their address.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_first_packets_leaves_room_for_who_is_really_there() {
    let (hub_key, edge_key) = (key(), key());
    let hub = listening(&hub_key);
    let address = hub.address().unwrap();
    // What comes in here is handed on, and what is answered gets lost.
    let nowhere = tokio::net::UdpSocket::bind(any()).await.unwrap();
    let flooded = nowhere.local_addr().unwrap();
    tokio::spawn(async move {
        let mut packet = vec![0; 2048];
        while let Ok((length, from)) = nowhere.recv_from(&mut packet).await {
            if from != address {
                let _ = nowhere.send_to(&packet[..length], address).await;
            }
        }
    });
    let configs = Configs::new(&key()).unwrap();
    let endpoint = configs.endpoint(any(), false).unwrap();
    let connect = |_| endpoint.connect_with(configs.client.clone(), flooded, "l").unwrap();
    let _flood: Vec<_> = (0..2 * PENDING).map(connect).collect();
    let accepted = || hub.0.listener.as_ref().unwrap().0.stats().accepted_handshakes;
    let waiting = async {
        while accepted() < UNHURRIED as u64 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, waiting).await.expect("the flood arrives");
    let edge = Quic::start(&edge_key, None).unwrap();
    assert_eq!(edge.dial(address).await.unwrap(), hub_key.id());
    assert!(accepted() <= UNHURRIED as u64 + 1, "{} were let in", accepted());
}

/// The first bytes of a session used to leave together with what its stream is for. When the peer
/// then refused, or the connection was lost, the next write to that stream panicked.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_refused_is_none_and_says_so() {
    let (hub, edge_key) = (listening(&key()), key());
    let edge = Quic::start(&edge_key, None).unwrap();
    let met = edge.dial(hub.address().unwrap()).await.unwrap();
    let error = edge.open(&met, SYNC).await.err().expect("nothing is served there");
    assert!(matches!(error, NetError::Stream(_)), "{error}");
    let again = hub.accept(SYNC);
    let mut out = edge.open(&met, SYNC).await.unwrap();
    out.write_all(b"hello").await.unwrap();
    hub.disconnect(&edge_key.id());
    let mut rest = Vec::new();
    assert!(out.read_to_end(&mut rest).await.is_err(), "the connection is gone");
    assert!(out.write_all(b"more").await.is_err());
    // Without it the stream would have been given back, and have come to its end in good order.
    drop(again);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_keeps_its_newest_connections_only() {
    let hub = listening(&key());
    let edge_key = key();
    let configs = Configs::new(&edge_key).unwrap();
    let mut connections: Vec<Connection> = Vec::new();
    for number in 0..5 {
        let endpoint = configs.endpoint(any(), false).unwrap();
        let connecting = endpoint.connect_with(configs.client.clone(), hub.address().unwrap(), "l");
        connections.push(connecting.unwrap().await.unwrap());
        // A client is through before its server is: the next one waits until this one counts.
        match number {
            0 | 1 => until_there_are(&hub, number + 1).await,
            _ => {
                let told = words(&ended(&connections[number - 2]).await);
                assert!(told.contains("the peer has newer ones"), "{told}");
            }
        }
    }
    hub.disconnect(&edge_key.id());
    for newer in &connections[3..] {
        assert_eq!(words(&ended(newer).await), "the peer closed the connection");
    }
}

/// Whoever ends a session says why, closes the stream and then the connection, which sends nothing
/// any more. What was said has to be there by then.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_before_the_connection_was_closed_arrives() {
    let (hub_key, edge_key) = (key(), key());
    let hub = Net::start(Transport::Quic, &hub_key, Some(any())).await.unwrap();
    let mut accepted = hub.accept(SYNC);
    let edge = Net::start(Transport::Quic, &edge_key, None).await.unwrap();
    let address = hub.address().unwrap().to_string();
    // Without the wait for the peer about every second round fails.
    for _ in 0..20 {
        let met = edge.dial(&address).await.unwrap();
        let mut out = edge.open(&met, SYNC).await.unwrap();
        out.write_all(b"hello").await.unwrap();
        out.flush().await.unwrap();
        let (_, mut stream) = accepted.next().await.unwrap();
        let long = vec![7; 300_000];
        let saying = async {
            stream.write_all(&long).await.unwrap();
            stream.close().await.unwrap();
            hub.disconnect(&edge_key.id()).await;
        };
        let mut heard = vec![0; long.len()];
        let (heard, ()) = futures::join!(out.read_exact(&mut heard), saying);
        heard.unwrap();
        edge.disconnect(&met).await;
    }
}

/// A hub that is killed says nothing to those who are connected. They went on sending to its next
/// start, which knew nothing of them, until their time ran out: up to a minute.
#[test]
fn a_hub_that_was_started_anew_says_so_to_those_of_its_last_start() {
    let hub_key = key();
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (last, next, here) = (runtime(), runtime(), runtime());
    let hub = last.block_on(async { listening(&hub_key) });
    let address = hub.address().unwrap();
    let configs = Configs::new(&key()).unwrap();
    let connection = here.block_on(async {
        let endpoint = configs.endpoint(any(), false).unwrap();
        let mut patient = TransportConfig::default();
        patient.max_idle_timeout(None).keep_alive_interval(Some(Duration::from_millis(50)));
        let mut client = configs.client.clone();
        client.transport_config(Arc::new(patient));
        endpoint.connect_with(client, address, "l").unwrap().await.unwrap()
    });
    // Nothing of a runtime that is gone sends anything any more.
    last.shutdown_timeout(Duration::from_secs(10));
    drop(hub);
    let _next = next.block_on(async {
        loop {
            match Quic::start(&hub_key, Some(address)) {
                Ok(next) => break next,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    });
    assert_eq!(here.block_on(ended(&connection)), ConnectionError::Reset);
}
