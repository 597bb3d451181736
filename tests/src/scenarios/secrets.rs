//! What the logs of both services tell, and what they must not.
//!
//! A hub and a gateway write lines of JSON at `debug` while somebody signs in, mistypes, makes
//! tokens, enrols a node and removes it. No secret that passed through may stand in a line; the
//! lines are whole objects; and a removed node that comes again and again is one line.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value as Json, json};

use super::audit::{edge_client, hub_client, look};
use super::load::{SOON, block_on, online};
use crate::client::Client;
use crate::faults::Tally;
use crate::process::{Edge, Hub, Service, Settings};
use crate::wait::until_async;

const WRONG: &str = "sign-ins and requests with something wrong";
const RETURNED: &str = "attempts of a removed node";
/// As long as a real one, so that only its text tells it from one.
const WRONG_TOKEN: &str = "hf_adm_wrongwrongwrongwrongwrongwrong23";
const WRONG_CODE: &str = "wrongcodewrongcodewrongcod";

/// Uses both services and reads what they wrote.
///
/// # Panics
/// When a line has a secret, or is none, or a cause is written twice.
pub fn logs() {
    let tally = Tally::of(&[WRONG, RETURNED]);
    block_on(use_and_read(&tally));
    tally.finish().expect("everything that can go wrong did");
}

async fn use_and_read(tally: &Tally) {
    let dir = tempfile::tempdir().expect("a directory");
    let settings = Settings::default()
        .env("HOLDFAST_LOG_FILTER", "debug")
        .env("HOLDFAST_LOG_FORMAT", "json")
        .env("HOLDFAST_SYNC_BACKOFF_MIN", "100ms")
        .env("HOLDFAST_SYNC_BACKOFF_MAX", "200ms");
    let mut hub = Hub::init(&dir.path().join("hub"), settings.clone()).expect("a hub");
    hub.start().expect("the hub starts");
    let mut edge = Edge::init("ps-1", &dir.path().join("edge"), settings).expect("a gateway");
    edge.start().expect("the gateway starts");
    let mut secrets = BTreeMap::new();
    let invitation = hub.enrolment("north", "ps-1", hub.sync()).expect("the hub invites");
    edge.join(&invitation).expect("the gateway joins");
    online(&edge).await;
    let start = invitation.len() - 40;
    secrets.insert("the invitation's end".to_owned(), invitation[start..].to_owned());

    for (kind, token) in [("device", edge.device_token("d1")), ("ingest", edge.ingest_token())] {
        let token = token.expect("a token");
        post(&edge, &token).await;
        secrets.insert(format!("{kind} token"), token);
    }
    signing_in("gateway", edge.http(), &edge, &mut secrets, tally).await;
    signing_in("hub", hub.http(), &hub, &mut secrets, tally).await;
    keys(edge.data(), &["node.key"], &mut secrets);
    keys(hub.data(), &["node.key", "fleet.key"], &mut secrets);
    removal(&mut edge, &mut hub, tally).await;
    for (name, log) in [("gateway", edge.process().stderr()), ("hub", hub.process().stderr())] {
        read(name, &log, &secrets);
    }
}

/// Signs in with a token and with a code, rightly and wrongly.
async fn signing_in(
    name: &str,
    address: std::net::SocketAddr,
    service: &Service,
    secrets: &mut BTreeMap<String, String>,
    tally: &Tally,
) {
    let token = service.admin_token().expect("init made an admin token");
    let login = service.command("token", ["login"]).expect("an address to sign in with");
    let url = login.last().expect("the address is the last line");
    let start = format!("http://{address}/#login=");
    let code = url.strip_prefix(&start).unwrap_or_else(|| panic!("{url} begins with {start}"));
    let mut client = Client::new(address);
    for (body, status) in [
        (json!({ "token": token }), 200),
        (json!({ "code": code }), 200),
        (json!({ "code": code }), 401),
        (json!({ "token": WRONG_TOKEN }), 401),
        (json!({ "code": WRONG_CODE }), 401),
    ] {
        let answer = client.post_json("/v1/session", &body).await.expect("an answer");
        assert_eq!(answer.status, status, "{}", answer.text());
        if let Some(cookie) = answer.headers.get("set-cookie") {
            let cookie = cookie.to_str().expect("a cookie is text");
            let (_, value) = cookie.split_once('=').expect("a cookie has a value");
            let value = value.split(';').next().unwrap_or_default().to_owned();
            secrets.insert(format!("cookie {} of the {name}", secrets.len()), value);
        } else {
            tally.strike(WRONG);
        }
    }
    let mut wrong = Client::new(address).with_token(WRONG_TOKEN);
    assert_eq!(wrong.get("/v1/status").await.expect("an answer").status, 401);
    tally.strike(WRONG);
    secrets.insert(format!("admin token of the {name}"), token);
    secrets.insert(format!("code of the {name}"), code.to_owned());
    secrets.insert("wrong token".to_owned(), WRONG_TOKEN.to_owned());
    secrets.insert("wrong code".to_owned(), WRONG_CODE.to_owned());
}

async fn post(edge: &Edge, token: &str) {
    let mut client = Client::new(edge.http()).with_token(token);
    let reading = json!({"device": "d1", "metric": "level", "value": 1.5});
    let answer = client.post_json("/v1/readings", &reading).await.expect("an answer");
    assert!(answer.status.is_success(), "{}", answer.text());
}

/// The secret part of key files, in the ways in which bytes get into logs.
fn keys(data: &Path, files: &[&str], secrets: &mut BTreeMap<String, String>) {
    for file in files {
        let path = data.join(file);
        let bytes = fs::read(&path).expect("a key file");
        // Behind the head of an envelope, before its checksum.
        let part = &bytes[bytes.len() / 2 - 6..bytes.len() / 2 + 6];
        let hex = part.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let list = part.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
        secrets.insert(format!("{} in hex", path.display()), hex);
        secrets.insert(format!("{} as numbers", path.display()), list);
    }
}

/// Removes the gateway, which comes back several times, and looks for it in the hub's log.
async fn removal(edge: &mut Edge, hub: &mut Hub, tally: &Tally) {
    hub.command("node", ["remove", "north/ps-1"]).expect("the hub removes the gateway");
    until_async("some attempts of the removed node", SOON, async || {
        let status = look(&mut edge_client(edge), "/v1/status").await;
        (status["uplink"]["attempts"].as_u64()? >= 4).then_some(())
    })
    .await;
    tally.strike(RETURNED);
    let nodes = look(&mut hub_client(hub), "/v1/nodes").await;
    assert_eq!(nodes["nodes"], json!([]), "it is not let in");
    let log = hub.process().stderr();
    let refused = log.iter().filter(|line| line.contains("was removed from the fleet at"));
    let refused: Vec<_> = refused.collect();
    assert_eq!(refused.len(), 1, "one line for a cause: {refused:#?}");
    let line: Json = serde_json::from_str(refused[0]).expect("a line is JSON");
    assert_eq!(line["level"], "warn", "{line}");
    for field in ["node", "peer", "code", "reason"] {
        assert!(line[field].is_string(), "{field} is missing: {line}");
    }
}

fn read(name: &str, log: &[String], secrets: &BTreeMap<String, String>) {
    let mut messages = Vec::new();
    for line in log {
        let object: Json =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{name}: {error}: {line}"));
        for field in ["time", "level", "module", "message"] {
            assert!(object[field].is_string(), "{name}: {field} is missing: {line}");
        }
        messages.push(object["message"].as_str().unwrap_or_default().to_owned());
        for (what, secret) in secrets {
            assert!(!secret.is_empty(), "{what} is known");
            assert!(!line.contains(secret.as_str()), "{name}: {what} is in the log: {line}");
        }
    }
    for told in ["a sign-in failed", if name == "hub" { "a node joined" } else { "online" }] {
        assert!(messages.iter().any(|message| message == told), "{name} never said: {told}");
    }
}
