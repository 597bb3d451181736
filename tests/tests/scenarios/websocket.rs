//! MQTT over WebSocket at the real gateway, frame by frame; clients of others are in `interop`.

use holdfast_edge::mqtt::packet::Packet;
use holdfast_edge::mqtt::reason::Reason;
use holdfast_tests::client::websocket::{BINARY, CLOSE, HEADERS, PING, PONG, TEXT, WebSocket};
use holdfast_tests::process::{Edge, LIMIT, Settings};
use holdfast_tests::wait::until_async;
use std::net::SocketAddr;

fn gateway(settings: Settings) -> (Edge, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut edge = Edge::init("ps-000", dir.path(), settings).expect("the gateway is made");
    edge.start().expect("it starts");
    (edge, dir)
}

async fn open(address: SocketAddr) -> WebSocket {
    open_with(address, HEADERS).await
}

async fn open_with(address: SocketAddr, headers: &str) -> WebSocket {
    let opened = WebSocket::open(address, headers).await.expect("an answer");
    opened.unwrap_or_else(|answer| panic!("{answer}"))
}

async fn refused(address: SocketAddr, headers: &str) -> String {
    let opened = WebSocket::open(address, headers).await.expect("an answer");
    opened.expect_err("no WebSocket")
}

#[tokio::test]
async fn packets_are_exchanged_in_binary_frames_and_a_text_frame_ends_it() {
    let (edge, _dir) = gateway(Settings::default());
    let token = edge.admin_token().expect("a token");
    let mut client = open(edge.http()).await;
    let connack = client.connect("w1", Some(&token)).await.expect("a CONNACK");
    assert_eq!(connack.reason, Reason::Success);
    client.send(PING, b"there?").await.expect("it is taken");
    assert_eq!(client.next().await.expect("an answer"), (PONG, b"there?".to_vec()));
    let ping = client.bytes(&Packet::Pingreq);
    // Several packets in one frame, and a frame without any.
    client.send(BINARY, &[&ping[..], &ping].concat()).await.expect("it is taken");
    client.send(BINARY, b"").await.expect("it is taken");
    for _ in 0..2 {
        assert!(matches!(client.packet().await, Ok(Packet::Pingresp)));
    }
    client.send(TEXT, &ping).await.expect("it is taken");
    assert_eq!(client.next().await.expect("a close"), (CLOSE, 1003_u16.to_be_bytes().to_vec()));
    assert!(client.next().await.is_err(), "and nothing after it");
}

#[tokio::test]
async fn a_handshake_that_does_not_offer_mqtt_or_is_none_is_refused() {
    let (edge, _dir) = gateway(Settings::default());
    for (from, to, status, words) in [
        (": mqtt\r\n", ": mqttv3.1\r\n", "400", "not among `mqttv3.1`"),
        ("Sec-WebSocket-Protocol: mqtt\r\n", "", "400", "no subprotocol is offered"),
        ("Upgrade: websocket\r\n", "", "426", "upgrade-required"),
    ] {
        assert!(HEADERS.contains(from));
        let answer = refused(edge.http(), &HEADERS.replace(from, to)).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains(words), "{answer}");
    }
    let (edge, _dir) = gateway(Settings::default().env("HOLDFAST_MQTT_WEBSOCKET", "false"));
    let answer = refused(edge.http(), HEADERS).await;
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("mqtt.websocket"), "{answer}");
}

#[tokio::test]
async fn who_finds_no_place_is_told_and_finds_one_once_somebody_leaves() {
    let (edge, _dir) = gateway(Settings::default().env("HOLDFAST_MQTT_CONNECTIONS", "1"));
    let token = edge.admin_token().expect("a token");
    let mut first = open(edge.http()).await;
    first.connect("w1", Some(&token)).await.expect("a CONNACK");
    let answer = refused(edge.http(), HEADERS).await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("no-place"), "{answer}");
    drop(first);
    let opened = until_async("a place", LIMIT, async || {
        WebSocket::open(edge.http(), HEADERS).await.ok()?.ok()
    });
    opened.await.connect("w2", Some(&token)).await.expect("a CONNACK");
}

/// A page anywhere in the Internet can make its visitor's browser connect to what the browser
/// reaches. It has no token; where clients without one are let in, it would be let in with them.
#[tokio::test]
async fn pages_have_to_have_a_token_even_where_others_do_not() {
    let (edge, _dir) = gateway(Settings::default().env("HOLDFAST_MQTT_ANONYMOUS", "true"));
    let token = edge.admin_token().expect("a token");
    let by_page = format!("{HEADERS}Origin: http://{}\r\n", edge.http());
    for (headers, token, reason) in [
        (HEADERS, None, Reason::Success),
        (&by_page, None, Reason::NotAuthorized),
        (&by_page, Some(token.as_str()), Reason::Success),
    ] {
        let mut client = open_with(edge.http(), headers).await;
        let connack = client.connect("w1", token).await.expect("a CONNACK");
        assert_eq!(connack.reason, reason);
    }
}
