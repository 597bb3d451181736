//! The HTTP client, on good and on bad behaviour.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use holdfast_tests::client::{Client, NoAnswer, RawRequest, Reply};
use holdfast_tests::process::LIMIT;
use serde_json::json;

use crate::gateway::Gateway;

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let (address, gateway) = Gateway::start(false).await;
    let mut client = Client::new(address).with_token("t");
    for seq in 0..5 {
        let item = json!({"device": "d", "boot": 1, "seq": seq, "metric": "m", "value": 1});
        let answer = client.post_json("/v1/readings", &item).await.unwrap();
        assert_eq!(answer.json()["accepted"], 1);
    }
    let missing = client.get("/nowhere").await.unwrap();
    assert_eq!((missing.status.as_u16(), missing.problem().as_deref()), (404, Some("nowhere")));
    assert_eq!(gateway.connections.load(SeqCst), 1);
}

#[tokio::test]
async fn no_answer_says_whether_the_request_was_sent() {
    let (address, gateway) = Gateway::start(false).await;
    let mut client = Client::new(address).with_limit(Duration::from_millis(100));
    assert!(matches!(client.get("/never").await, Err(NoAnswer::TimedOut)));
    let mut client = client.with_limit(LIMIT);
    assert_eq!(client.get("/x").await.unwrap().status.as_u16(), 404);
    assert_eq!(gateway.connections.load(SeqCst), 2, "a connection that owes an answer is dropped");

    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = free.local_addr().unwrap();
    drop(free);
    client.move_to(nobody);
    assert!(matches!(client.get("/x").await, Err(NoAnswer::Unreachable(_))));
}

#[tokio::test]
async fn bodies_can_be_slow_or_end_early() {
    let (address, _gateway) = Gateway::start(false).await;
    let body = br#"{"device":"d","boot":1,"seq":1}"#;
    let open = |len| RawRequest::post_head(address, "/v1/readings", None, "application/json", len);

    let mut slow = open(body.len()).await.unwrap();
    assert_eq!(slow.trickle(body, Duration::from_millis(1)).await, body.len());
    assert_eq!(slow.reply(LIMIT).await, Reply::Status(200));

    let mut short = open(body.len() + 10).await.unwrap();
    short.send(body).await.unwrap();
    short.truncate().await.unwrap();
    assert!(short.reply(LIMIT).await.is_refusal());

    let mut garbage = RawRequest::open(address).await.unwrap();
    garbage.send(b"\x16\x03\x01 this is no HTTP\r\n\r\n").await.unwrap();
    let answer = garbage.answer(LIMIT).await;
    assert!(answer.starts_with(b"HTTP/1.1 400") || answer.is_empty());
}
