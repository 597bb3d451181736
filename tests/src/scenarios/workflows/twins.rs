//! A gateway that is killed again and again while values of twins begin runs on it.
//!
//! One value after the other is set, each again until that is answered, and the gateway is killed:
//! by turns at once, and when the run of that value has asked a service at the site for something.
//! While it is down for the others, values stand there that are older than the workflow, and other
//! paths and other devices change. In the end each value has begun one run, and nothing else has.

use super::receiver::Receiver;
use super::unguarded;
use crate::client::Client;
use crate::faults::Tally;
use crate::process::{Edge, LIMIT};
use crate::rng::Rng;
use crate::scenarios::Scale;
use crate::scenarios::hands::{SYNC_LIMIT, block_on};
use crate::wait::until_async;
use hyper::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const BEFORE: &str = "gateway killed before the run had asked";
const BEHIND: &str = "gateway killed behind that";
/// Devices that are looked at.
const DEVICES: u64 = 3;
/// What stood there before the workflow did.
const OLD: u64 = 1_000_000;

fn definition(receiver: SocketAddr) -> String {
    format!(
        r#"workflow: job
version: "1"
runs: {{at_once: 1000}}
on:
  - twin: {{device: "tank-*", path: desired/job}}
input: {{text: text}}
steps:
  - http: {{method: POST, url: "http://{receiver}/job", body: '{{"n": ${{text}}}}'}}
    idempotent: true
    timeout: 5s
    retry: {{attempts: 100, first: 50ms, at_most: 1s}}
"#
    )
}

/// Kills while values of twins are set.
///
/// # Panics
/// When a value that was acknowledged begins no run, or two, or one that did not change does.
pub fn twins(scale: Scale) {
    block_on(async {
        let dir = tempfile::tempdir().expect("a directory");
        let edge = Edge::init("ps-000", dir.path(), unguarded());
        let mut edge = edge.expect("the gateway is made");
        edge.start().expect("it starts");
        let (address, receiver) = Receiver::start().await.expect("a port");
        let site = Arc::new(Site::of(&edge));
        for device in 0..=DEVICES {
            site.make_known(device).await;
            site.set(device, json!({ "job": OLD + device, "noise": 0 })).await;
        }
        let new = json!({ "definition": definition(address) });
        let installed = site.client().post_json("/v1/workflows", &new).await.expect("an answer");
        assert!(installed.status.is_success(), "{}", installed.text());
        let (tally, mut rng) = (Tally::of(&[BEFORE, BEHIND]), Rng::keyed(scale.seed, &[0]));
        let changes = scale.of(300, 16);
        for n in 1..=changes {
            let setting = tokio::spawn({
                let site = Arc::clone(&site);
                async move { site.set(n % DEVICES, json!({ "job": n })).await }
            });
            if n % 2 == 0 {
                tokio::time::sleep(Duration::from_millis(rng.index(8) as u64)).await;
            } else {
                has(&receiver, n).await;
            }
            let had_asked = receiver.numbers("/job").contains(&n);
            edge.kill9().expect("the gateway is killed");
            tally.strike(if had_asked { BEHIND } else { BEFORE });
            edge.start().expect("it starts again");
            site.moved(&edge);
            setting.await.expect("it is set");
            // Of each section the gateway knows only the whole behind its next start.
            for device in 0..=DEVICES {
                site.set(device, json!({ "noise": n })).await;
            }
            has(&receiver, n).await;
        }
        let under_way = async || {
            let runs = site.client().get("/v1/runs?state=running&limit=1").await.ok()?.json();
            (runs["runs"].as_array()?.is_empty()).then_some(())
        };
        until_async("all runs to be over", SYNC_LIMIT, under_way).await;
        let wanted: BTreeSet<u64> = (1..=changes).collect();
        assert_eq!(receiver.numbers("/job"), wanted);
        for n in wanted {
            let keys = receiver.keys("/job", n);
            assert_eq!(keys.len(), 1, "{n} began several runs: {keys:?}");
        }
        edge.stop().expect("it stops");
        tally.finish().expect("each fault happened");
    });
}

async fn has(receiver: &Receiver, n: u64) {
    let has = async || receiver.numbers("/job").contains(&n).then_some(());
    until_async("the run of a value to ask", SYNC_LIMIT, has).await;
}

/// A gateway that moves with each start.
struct Site {
    address: Mutex<SocketAddr>,
    token: String,
}

impl Site {
    fn of(edge: &Edge) -> Self {
        let token = edge.admin_token().expect("its token");
        Self { address: Mutex::new(edge.http()), token }
    }

    fn moved(&self, edge: &Edge) {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = edge.http();
    }

    fn client(&self) -> Client {
        let address = *self.address.lock().unwrap_or_else(PoisonError::into_inner);
        Client::new(address).with_token(&self.token).with_limit(LIMIT)
    }

    async fn make_known(&self, device: u64) {
        let reading = json!({ "device": format!("tank-{device}"), "metric": "level", "value": 1 });
        let posted = self.client().post_json("/v1/readings", &reading).await.expect("an answer");
        assert!(posted.status.is_success(), "{}", posted.text());
    }

    /// Sets what is desired of a device, again until that is answered.
    async fn set(&self, device: u64, patch: Value) {
        let path = format!("/v1/devices/tank-{device}/twin/desired");
        let json = [("content-type", "application/json")];
        loop {
            let body = patch.to_string().into_bytes();
            match self.client().send(Method::PATCH, &path, &json, body.into()).await {
                Ok(answer) if answer.status.is_success() => return,
                Ok(answer) if answer.status.is_server_error() => {}
                Ok(answer) => panic!("{path}: {}", answer.text()),
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
