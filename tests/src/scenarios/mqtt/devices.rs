//! A device that is steered over MQTT: its twin and its commands, across kills of the gateway.
//!
//! The device has a kept session, so what is for it while it is away waits for it. Whatever was
//! acknowledged to either side is there after a kill.

use crate::client::mqtt::Wire;
use crate::client::{Answer, Client};
use crate::process::{Edge, Settings};
use crate::scenarios::audit::edge_client;
use crate::scenarios::hands::block_on;
use crate::scenarios::twins::patch;
use holdfast_edge::mqtt::packet::{Publish, QoS};
use holdfast_edge::mqtt::reason::Reason;
use hyper::Method;
use serde_json::{Value, json};
use std::time::Duration;

const DEVICE: &str = "valve-3";

/// Twins over MQTT.
///
/// # Panics
/// When something acknowledged is lost, or told to whom it is not for.
pub fn twins() {
    block_on(async {
        let mut site = Site::begin();
        let mut http = edge_client(&site.edge);
        let mut device = site.device(DEVICE).await;
        subscribe(&mut device, &["devices/valve-3/twin/desired"]).await;

        want(&mut http, &json!({ "mode": "auto", "net": { "mtu": 1400 } })).await;
        let told = next(&mut device).await;
        assert_eq!(payload(&told), json!({ "mode": "auto", "net": { "mtu": 1400 } }));
        let version = told.properties.user.iter().next().map(|(name, _)| name.to_owned());
        assert_eq!(version.as_deref(), Some("version"));

        // What the device says is on disk with the answer.
        let (reason, _) = report(&mut device, r#"{"mode":"auto"}"#).await;
        assert_eq!(reason, Reason::NoMatchingSubscribers);
        site.kill().await;
        http.move_to(site.edge.http());
        assert_eq!(section(&mut http, "reported").await, json!({ "mode": "auto" }));

        // Nobody else says it, and a wrong patch is told.
        let mut other = site.admin("panel").await;
        let (reason, text) = report(&mut other, r#"{"mode":"off"}"#).await;
        assert_eq!(reason, Reason::NotAuthorized);
        assert!(text.contains("the device's own token"));
        let mut device = site.device(DEVICE).await;
        for (wrong, part) in
            [("[1]", "an array"), ("{", "no JSON"), (r#"{"a/b":1}"#, "the character '/'")]
        {
            let (reason, text) = report(&mut device, wrong).await;
            assert_eq!(reason, Reason::PayloadFormatInvalid, "{wrong}");
            assert!(text.contains(part), "{wrong}: {text}");
        }
        assert_eq!(section(&mut http, "reported").await, json!({ "mode": "auto" }));

        // Who was away gets what was wanted meanwhile, and who comes later the newest.
        drop(device);
        want(&mut http, &json!({ "mode": "off" })).await;
        want(&mut http, &json!({ "mode": "manual", "net": null })).await;
        site.kill().await;
        let mut device = site.device(DEVICE).await;
        let mut last = Value::Null;
        while last != json!({ "mode": "manual" }) {
            last = payload(&next(&mut device).await);
        }
        let mut late = site.device("valve-3-panel").await;
        subscribe(&mut late, &["devices/valve-3/twin/+"]).await;
        let told = next(&mut late).await;
        assert!(told.retain);
        assert_eq!(payload(&told), json!({ "mode": "manual" }));
        site.edge.stop().expect("it stops");
        without_room(&mut site).await;
    });
}

/// A section that the broker has no room for keeps nobody else's waiting.
async fn without_room(site: &mut Site) {
    let one = Settings::default().env("HOLDFAST_MQTT_RETAINED_MAX", "1");
    site.edge.start_with(&one).expect("it starts");
    site.edge.device_token("valve-4").expect("a token");
    let mut http = edge_client(&site.edge);
    let mut device = site.device("valve-3-again").await;
    subscribe(&mut device, &["devices/valve-3/twin/desired"]).await;
    assert!(next(&mut device).await.retain, "what was retained before");
    let path = "/v1/devices/valve-4/twin/desired";
    let answer = patch(&mut http, path, &json!({ "mode": "auto" }), &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    want(&mut http, &json!({ "mode": "auto" })).await;
    assert_eq!(payload(&next(&mut device).await), json!({ "mode": "auto" }));
    site.edge.kill9().expect("it is killed");
}

/// Commands to a device.
///
/// # Panics
/// When one is lost, asked twice, or answered by somebody else.
pub fn commands() {
    block_on(async {
        let mut site = Site::begin();
        let mut http = edge_client(&site.edge);
        let mut device = site.device(DEVICE).await;
        subscribe(&mut device, &["devices/valve-3/commands/+"]).await;

        // One that is done while somebody waits for it.
        let path = "/v1/devices/valve-3/commands";
        let order = json!({ "name": "open", "args": { "percent": 50 } });
        let waited = format!("{path}?wait_s=30");
        let (asked, message) = tokio::join!(http.post_json(&waited, &order), async {
            let message = next(&mut device).await;
            let command = payload(&message);
            assert_eq!(message.topic.as_str(), "devices/valve-3/commands/open");
            assert_eq!(command["args"], json!({ "percent": 50 }));
            let reply = json!({ "id": command["id"], "result": { "percent": 50 } });
            assert_eq!(answer(&mut device, &reply).await.0, Reason::NoMatchingSubscribers);
            message
        });
        let done = asked.expect("an answer").json();
        assert_eq!((&done["state"], &done["result"]), (&json!("done"), &json!({ "percent": 50 })));
        assert_eq!(payload(&message)["id"], done["id"]);

        // One that is ordered twice under one key, while the device is away and across a kill, is
        // one: the device is asked once.
        drop(device);
        let shut = json!({ "name": "shut", "lasts_s": 3600 });
        let first = keyed(&mut http, path, &shut).await;
        assert_eq!(first["state"], "waiting");
        site.kill().await;
        http.move_to(site.edge.http());
        let again = keyed(&mut http, path, &shut).await;
        assert_eq!((&again["id"], &again["replayed"]), (&first["id"], &json!(true)));
        let other = json!({ "name": "open" });
        let refused = send(&mut http, path, &other).await;
        assert_eq!(refused.problem().as_deref(), Some("idempotency-key-reused"));
        let mut device = site.device(DEVICE).await;
        assert_eq!(payload(&next(&mut device).await)["id"], first["id"]);

        // Somebody else does not answer for it, nor does it answer what it was not asked.
        let reply = json!({ "id": first["id"], "result": null });
        let mut panel = site.admin("panel").await;
        assert_eq!(answer(&mut panel, &reply).await.0, Reason::NotAuthorized);
        let unknown = json!({ "id": "00".repeat(16), "result": null });
        let (reason, text) = answer(&mut device, &unknown).await;
        assert_eq!(reason, Reason::PayloadFormatInvalid);
        assert!(text.contains("has no command"));

        // A client of the device that has lost its session is asked again, until it was answered;
        // the first answer counts.
        let mut anew = site.device("valve-3-anew").await;
        subscribe(&mut anew, &["devices/valve-3/#"]).await;
        assert_eq!(payload(&next(&mut anew).await)["id"], first["id"]);
        let reply = json!({ "id": first["id"], "error": "it is stuck" });
        assert!(!answer(&mut anew, &reply).await.0.is_failure());
        site.kill().await;
        http.move_to(site.edge.http());
        let shown = http.get(&format!("{path}/{}", first["id"].as_str().expect("an id"))).await;
        let shown = shown.expect("an answer").json();
        assert_eq!((&shown["state"], &shown["error"]), (&json!("failed"), &json!("it is stuck")));
        let mut device = site.device(DEVICE).await;
        let late = json!({ "id": first["id"], "result": null });
        assert!(!answer(&mut device, &late).await.0.is_failure());
        let listed = http.get(path).await.expect("an answer").json();
        assert_eq!(listed["commands"][0]["state"], "failed");
        assert_eq!(listed["commands"].as_array().map(Vec::len), Some(2));

        // One that nobody begins in time is over.
        let soon = json!({ "name": "blink", "lasts_s": 1 });
        let over = http.post_json(&waited, &soon).await.expect("an answer").json();
        assert_eq!(over["state"], "expired");
        site.edge.stop().expect("it stops");
        impatient(&mut site).await;
    });
}

/// Whoever orders, gives up before the disk has answered, and orders again has ordered once.
async fn impatient(site: &mut Site) {
    let log = site.dir.path().join("strace.log");
    let slow = Settings::default().inject("fdatasync,fsync:delay_exit=50000", &log);
    site.edge.start_with(&slow).expect("it starts");
    let path = "/v1/devices/valve-3/commands";
    let mut http = edge_client(&site.edge);
    let before = http.get(path).await.expect("an answer").json();
    let before = before["commands"].as_array().expect("a list").len();
    let body = json!({ "name": "flush" }).to_string();
    for number in 0..5 {
        let key = format!("flush-{number}");
        let headers = [("content-type", "application/json"), ("idempotency-key", key.as_str())];
        let mut hasty = edge_client(&site.edge).with_limit(Duration::from_millis(10));
        let gave_up = hasty.send(Method::POST, path, &headers, body.clone().into()).await;
        gave_up.expect_err("the disk takes longer");
        let answer = http.send(Method::POST, path, &headers, body.clone().into()).await;
        assert_eq!(answer.expect("an answer").status, 200);
    }
    let listed = http.get(path).await.expect("an answer").json();
    let all = listed["commands"].as_array().expect("a list").len();
    assert_eq!(all - before, 5, "each is ordered once: {listed}");
    site.edge.kill9().expect("it is killed");
}

struct Site {
    edge: Edge,
    device_token: String,
    admin_token: String,
    dir: tempfile::TempDir,
}

impl Site {
    fn begin() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let edge = Edge::init("ps-000", dir.path(), Settings::default());
        let mut edge = edge.expect("the gateway is made");
        edge.start().expect("it starts");
        let device_token = edge.device_token(DEVICE).expect("a token");
        let admin_token = edge.admin_token().expect("its token");
        Self { edge, device_token, admin_token, dir }
    }

    async fn kill(&mut self) {
        self.edge.kill9().expect("the gateway is killed");
        self.edge.start().expect("it starts again");
    }

    async fn device(&self, client: &str) -> Wire {
        Wire::open(self.edge.mqtt(), client, &self.device_token).await.expect("it is let in").0
    }

    async fn admin(&self, client: &str) -> Wire {
        Wire::open(self.edge.mqtt(), client, &self.admin_token).await.expect("it is let in").0
    }
}

async fn subscribe(wire: &mut Wire, filters: &[&str]) {
    wire.subscribe(filters, QoS::AtLeastOnce).await.expect("subscribed");
}

async fn next(wire: &mut Wire) -> Publish {
    wire.message().await.expect("a message")
}

fn payload(publish: &Publish) -> Value {
    serde_json::from_slice(&publish.payload).expect("JSON")
}

async fn report(wire: &mut Wire, text: &str) -> (Reason, String) {
    wire.say("devices/valve-3/twin/reported", text.to_owned()).await.expect("an answer")
}

async fn answer(wire: &mut Wire, reply: &Value) -> (Reason, String) {
    wire.say("devices/valve-3/replies", reply.to_string()).await.expect("an answer")
}

async fn want(http: &mut Client, change: &Value) {
    let answer = patch(http, "/v1/devices/valve-3/twin/desired", change, &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

async fn section(http: &mut Client, name: &str) -> Value {
    http.get(&format!("/v1/devices/valve-3/twin/{name}")).await.expect("an answer").json()
}

async fn send(http: &mut Client, path: &str, order: &Value) -> Answer {
    let headers = [("content-type", "application/json"), ("idempotency-key", "order-1")];
    http.send(Method::POST, path, &headers, order.to_string().into()).await.expect("an answer")
}

async fn keyed(http: &mut Client, path: &str, order: &Value) -> Value {
    let answer = send(http, path, order).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}
