//! The broker as its page asks for it: who may watch and who may publish, what is refused and how,
//! and that what one publishes another sees.

use holdfast_edge::mqtt::packet::{Packet, PacketId, QoS};
use holdfast_tests::client::mqtt::{Wire, publish};
use holdfast_tests::client::{Client, RawRequest};
use holdfast_tests::contract;
use holdfast_tests::process::{Edge, LIMIT, Settings};
use holdfast_tests::scenarios::audit::edge_client;
use holdfast_tests::wait::until_async;
use hyper::Method;
use serde_json::{Value, json};

const EVENTS: &str = "/v1/mqtt/messages/events";

struct Site {
    edge: Edge,
    admin: Client,
    viewer: Client,
    viewer_token: String,
    _dir: tempfile::TempDir,
}

impl Site {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut edge = Edge::init("ps-000", dir.path(), Settings::default()).expect("a node");
        edge.start().expect("it starts");
        let mut admin = edge_client(&edge);
        let made = admin.post_json("/v1/tokens", &json!({"scope": "viewer"})).await;
        let token = made.expect("an answer").json()["token"].as_str().expect("a token").to_owned();
        let viewer = client(&edge, &token);
        Self { edge, admin, viewer, viewer_token: token, _dir: dir }
    }

    /// Watches, from the first event on.
    async fn watch(&self, query: &str) -> RawRequest {
        let (address, token) = (self.edge.http(), &self.viewer_token);
        let head = format!(
            "GET {EVENTS}{query} HTTP/1.1\r\nHost: {address}\r\n\
             Authorization: Bearer {token}\r\n\r\n"
        );
        let mut request = RawRequest::open(address).await.expect("a connection");
        request.send(head.as_bytes()).await.expect("it is sent");
        request
    }

    async fn publish(&mut self, message: &Value) {
        let answer = self.admin.post_json("/v1/mqtt/messages", message).await.expect("an answer");
        assert_eq!(answer.status, 204, "{}", answer.text());
    }

    async fn status(&mut self) -> Value {
        self.viewer.get("/v1/mqtt/status").await.expect("an answer").json()
    }
}

fn client(edge: &Edge, token: &str) -> Client {
    Client::new(edge.http()).with_token(token).held_to(&contract::EDGE)
}

/// The data of an event in a stream that holds it.
#[track_caller]
fn event(stream: &str, kind: &str, part: &str) -> Value {
    let blocks = stream.split("event: ").filter_map(|block| block.strip_prefix(kind));
    let mut data = blocks.filter_map(|block| block.trim_start().strip_prefix("data: "));
    let found = data.find(|data| data.contains(part));
    let line = found.unwrap_or_else(|| panic!("no {kind} with {part} in {stream}"));
    serde_json::from_str(line.lines().next().unwrap_or_default()).expect("JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_watches_what_an_admin_publishes_and_publishes_nothing() {
    let mut site = Site::new().await;
    site.publish(&json!({"topic": "site/light", "text": "on", "retain": true})).await;
    site.publish(&json!({"topic": "other", "text": "on", "retain": true})).await;
    let mut watch = site.watch("?filter=site/%23").await;
    let first = watch.until("event: ready", LIMIT).await;
    let light = event(&first, "message", "site/light");
    assert_eq!(
        (&light["text"], &light["retain"], &light["bytes"]),
        (&json!("on"), &json!(true), &json!(2))
    );
    assert!(!first.contains("\"other\""), "{first}");

    let message = json!({"topic": "site/<img src=x>", "text": "<script>", "qos": 0});
    site.publish(&message).await;
    let live = watch.until("<img src=x>\"}", LIMIT).await;
    assert_eq!(event(&live, "message", "<img")["retain"], false, "{live}");

    let answer = site.viewer.post_json("/v1/mqtt/messages", &message).await.expect("an answer");
    assert_eq!(answer.status, 403, "{}", answer.text());
    for path in ["/v1/mqtt/clients/a", "/v1/mqtt/retained?topic=other"] {
        let answer = site.viewer.send(Method::DELETE, path, &[], Vec::new().into()).await;
        assert_eq!(answer.expect("an answer").status, 403, "{path}");
    }

    assert_eq!(site.status().await["watchers"], 1);
    drop(watch);
    until_async("it is noticed that nobody watches", LIMIT, async || {
        (site.status().await["watchers"] == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_watched_is_refused_with_its_place() {
    let mut site = Site::new().await;
    for (query, part) in [
        ("filter=site%2F%23%2Flight", "`#` at byte 5"),
        ("filter=a%2B", "`+` at byte 1"),
        ("filter=", "empty"),
        ("filter=%24share%2Fpumps%2F%23", "its group"),
        ("filters=a", "filters"),
    ] {
        let answer = site.viewer.get(&format!("{EVENTS}?{query}")).await.expect("an answer");
        assert_eq!(
            (answer.status.as_u16(), answer.json()["at"].is_string()),
            (400, true),
            "{query}"
        );
        assert!(answer.text().contains(part), "{query}: {}", answer.text());
    }
    let device = site.edge.device_token("pump-1").expect("a token");
    let answer = client(&site.edge, &device).get(EVENTS).await.expect("an answer");
    assert_eq!(answer.status, 403, "{}", answer.text());
    let answer = Client::new(site.edge.http()).get(EVENTS).await.expect("an answer");
    assert_eq!(answer.status, 401, "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_node_tells_of_itself_is_watched_only_where_it_is_asked_for() {
    let mut site = Site::new().await;
    let mut own = site.watch("?filter=%24SYS/%23").await;
    // It is told for the first time within ten seconds of the start.
    let told = own.until("$SYS/broker/version", LIMIT).await;
    assert!(told.contains("$SYS/broker/version"), "{told}");
    let mut all = site.watch("").await;
    let first = all.until("event: ready", LIMIT).await;
    site.publish(&json!({"topic": "last", "text": "1"})).await;
    let rest = all.until("\"last\"", LIMIT).await;
    assert!(
        rest.contains("\"last\"") && !format!("{first}{rest}").contains("$SYS"),
        "{first}{rest}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn totals_and_clients_are_as_what_was_sent() {
    let mut site = Site::new().await;
    let before = site.status().await;
    let token = site.edge.ingest_token().expect("a token");
    let (mut wire, _) = Wire::open(site.edge.mqtt(), "plc/7", &token).await.expect("let in");
    for number in 1..=3 {
        let id = PacketId::new(number).expect("not zero");
        wire.send(publish("a", "12345", QoS::AtLeastOnce, id, false)).await.expect("sent");
        assert!(matches!(wire.next().await.expect("an answer"), Packet::Puback(_)));
    }
    let after = site.status().await;
    let at = |status: &Value, pointer: &str| status.pointer(pointer).and_then(Value::as_u64);
    let grown = |pointer| at(&after, pointer).zip(at(&before, pointer)).map(|(a, b)| a - b);
    assert_eq!((grown("/received/messages/1"), grown("/received/messages/0")), (Some(3), Some(0)));
    assert!(grown("/received/bytes") > Some(15) && grown("/up_ms").is_some(), "{after}");
    assert_eq!((&after["connected"], &after["kept"]), (&json!(1), &json!(1)), "{after}");

    let listed = site.viewer.get("/v1/mqtt/clients?text=token").await.expect("an answer").json();
    assert_eq!(listed["clients"][0]["client"], "plc/7", "{listed}");
    let kick = site.admin.send(Method::DELETE, "/v1/mqtt/clients/plc%2F7", &[], Vec::new().into());
    assert_eq!(kick.await.expect("an answer").status, 204);
    assert!(matches!(wire.next().await, Ok(Packet::Disconnect(_))));
}
