//! A gateway that is killed again and again while workflows run on it.
//!
//! Each run raises an alert, asks a service at the site for something, waits, publishes, emits a
//! reading, clears the alert, and asks again. In the end every run that was acknowledged as begun
//! has succeeded; what is a row of the gateway's store was done once in each, and the service was
//! asked under one key for each request, however often. Each run is looked at soon after it was
//! begun: a gateway keeps the newest 10,000.

use super::receiver::Receiver;
use super::unguarded;
use crate::client::Client;
use crate::faults::Tally;
use crate::process::{Edge, LIMIT};
use crate::rng::Rng;
use crate::scenarios::Scale;
use crate::scenarios::hands::{SYNC_LIMIT, block_on};
use crate::wait::until_async;
use holdfast_node::alerts;
use hyper::StatusCode;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const KILLED: &str = "gateway killed";
const REPEATED: &str = "start of a run repeated";
const RESUMED: &str = "request made again under its key";
/// Who begin runs, each one after the other.
const AT_ONCE: usize = 16;
/// Alerts that a gateway keeps.
const KEPT_MAX: u64 = alerts::KEPT_MAX as u64;
/// Runs that each of them begins before the first is looked at.
const UNDER_WAY: usize = 20;

/// The workflow whose runs are killed.
pub(super) fn definition(receiver: SocketAddr) -> String {
    format!(
        r#"workflow: valve
version: "1"
title: Opens a valve, tells somebody, and closes it
runs: {{at_once: 1000}}
input: {{n: int}}
steps:
  - raise: open-${{n}}
    severity: info
    text: the valve of run ${{n}} is open
  - http: {{method: POST, url: "http://{receiver}/opened", body: {{n: "${{n}}"}}}}
    idempotent: true
    timeout: 5s
    retry: {{attempts: 100, first: 50ms, at_most: 1s}}
  - wait: 30ms
  - publish: site/valve
    payload: {{n: "${{n}}"}}
  - emit: opened
    device: valve-1
    value: ${{n}}
  - clear: open-${{n}}
  - http: {{method: POST, url: "http://{receiver}/closed", body: {{n: "${{n}}"}}}}
    idempotent: true
    timeout: 5s
    retry: {{attempts: 100, first: 50ms, at_most: 1s}}
"#
    )
}

/// Kills under load.
///
/// # Panics
/// When a run is lost or stuck, or something was done twice.
pub fn kills(scale: Scale) {
    block_on(async {
        let dir = tempfile::tempdir().expect("a directory");
        let edge = Edge::init("ps-000", dir.path(), unguarded());
        let mut edge = edge.expect("the gateway is made");
        edge.start().expect("it starts");
        let (address, receiver) = Receiver::start().await.expect("a port");
        let shared = Arc::new(Shared::of(&edge, Tally::of(&[KILLED, REPEATED, RESUMED])));
        let mut client = shared.client();
        let new = json!({ "definition": definition(address) });
        let installed = client.post_json("/v1/workflows", &new).await.expect("an answer");
        assert!(installed.status.is_success(), "{}", installed.text());
        let receiver = Arc::new(receiver);
        let begin = |n| begin_runs(Arc::clone(&shared), Arc::clone(&receiver), n as u64);
        let starters: Vec<_> = (0..AT_ONCE).map(|n| tokio::spawn(begin(n))).collect();
        let mut rng = Rng::keyed(scale.seed, &[0]);
        for _ in 0..scale.of(500, 25) {
            tokio::time::sleep(Duration::from_millis(20 + rng.index(150) as u64)).await;
            edge.kill9().expect("the gateway is killed");
            shared.tally.strike(KILLED);
            edge.start().expect("it starts again");
            shared.moved(&edge);
        }
        shared.stop.store(true, Ordering::Relaxed);
        let mut begun = 0;
        for starter in starters {
            begun += starter.await.expect("each of its runs did what it is to do");
        }
        println!("{begun} runs begun");
        let mut client = shared.client();
        until_async("all alerts to be over", SYNC_LIMIT, async || {
            let active = client.get("/v1/alerts?limit=1").await.ok()?.json();
            let all = client.get("/v1/alerts?state=all&limit=1").await.ok()?.json();
            let kept = all["total"].as_u64()?;
            // Of more than a node keeps it forgets a turn's at once.
            let has_all = if begun > KEPT_MAX { kept > KEPT_MAX / 2 } else { kept == begun };
            // The pipeline hears of them behind the runs.
            let is_so = active["total"] == 0 && has_all;
            is_so.then_some(())
        })
        .await;
        until_async("all readings to be summed up", SYNC_LIMIT, async || {
            let series = client.get("/v1/series?device=valve-1&metric=opened").await.ok()?.json();
            let count = series["series"][0]["count"].as_u64()?;
            assert!(count <= begun, "{count} readings of {begun} runs");
            (count == begun).then_some(())
        })
        .await;
        edge.stop().expect("it stops");
        shared.tally.finish().expect("each fault happened");
    });
}

/// What those know who begin runs on a gateway that is killed.
pub(super) struct Shared {
    address: Mutex<SocketAddr>,
    token: String,
    stop: AtomicBool,
    tally: Tally,
}

impl Shared {
    /// Of a gateway that runs.
    pub(super) fn of(edge: &Edge, tally: Tally) -> Self {
        let token = edge.admin_token().expect("its token");
        let (address, stop) = (Mutex::new(edge.http()), AtomicBool::new(false));
        Self { address, token, stop, tally }
    }

    /// It was started again.
    pub(super) fn moved(&self, edge: &Edge) {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = edge.http();
    }

    pub(super) const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Whether a run is known to be over.
    pub(super) async fn is_over(&self, n: u64) -> bool {
        let path = format!("/v1/runs/{}", id_of(n));
        let Ok(answer) = self.client().get(&path).await else { return false };
        answer.status.is_success() && answer.json()["state"] != "running"
    }

    pub(super) fn client(&self) -> Client {
        let address = *self.address.lock().unwrap_or_else(PoisonError::into_inner);
        Client::new(address).with_token(&self.token).with_limit(LIMIT)
    }
}

/// By which run `n` is begun once, however often it is asked for.
fn id_of(n: u64) -> String {
    format!("{n:032x}")
}

/// Begins runs, the next one when the last was acknowledged, and looks at each once some others
/// were begun behind it; how many there were.
async fn begin_runs(shared: Arc<Shared>, receiver: Arc<Receiver>, starter: u64) -> u64 {
    let numbers = (1 + starter..).step_by(AT_ONCE);
    let mut under_way = VecDeque::new();
    let mut begun = 0;
    for n in numbers {
        let is_over = shared.stop.load(Ordering::Relaxed);
        let left = if is_over { 0 } else { UNDER_WAY };
        while under_way.len() > left {
            let oldest = under_way.pop_front().expect("there is one");
            shared.tally.add(RESUMED, judge(&shared, oldest, &receiver).await);
        }
        if is_over {
            break;
        }
        if begin_run(&shared, n, || false).await > 0 {
            shared.tally.strike(REPEATED);
        }
        under_way.push_back(n);
        begun += 1;
    }
    begun
}

/// Begins a run, again until that is acknowledged or `is_enough`; how often it was in vain.
pub(super) async fn begin_run(shared: &Shared, n: u64, mut is_enough: impl FnMut() -> bool) -> u64 {
    let body = json!({ "input": { "n": n }, "id": id_of(n) });
    let mut in_vain = 0;
    while !is_enough() {
        let answer = shared.client().post_json("/v1/workflows/valve/runs", &body).await;
        match answer {
            Ok(answer) if answer.status.is_success() => break,
            Ok(answer) if answer.status.is_server_error() => {}
            Ok(answer) => panic!("run {n}: {}", answer.text()),
            Err(_) => {}
        }
        in_vain += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    in_vain
}

/// A run, once it is over.
async fn over(shared: &Shared, n: u64) -> Value {
    let path = format!("/v1/runs/{}", id_of(n));
    let deadline = Instant::now() + SYNC_LIMIT;
    // A closure that waits would not be one to be spawned.
    while Instant::now() < deadline {
        if let Ok(answer) = shared.client().get(&path).await {
            assert_ne!(answer.status, StatusCode::NOT_FOUND, "run {n} is lost");
            let run = answer.status.is_success().then(|| answer.json());
            if let Some(run) = run.filter(|run| run["state"] != "running") {
                return run;
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("run {n} is not over after {SYNC_LIMIT:?}");
}

/// What a run did, once it is over; how many requests were made again.
pub(super) async fn judge(shared: &Shared, n: u64, receiver: &Receiver) -> u64 {
    let run = over(shared, n).await;
    assert_eq!(run["state"], "succeeded", "run {n}: {run:#}");
    let history: Vec<(String, String)> = run["history"]
        .as_array()
        .expect("a history")
        .iter()
        .map(|line| (word(&line["what"]), word(&line["text"])))
        .collect();
    // Raised, opened, published, emitted, cleared, closed: each done once.
    for effect in 1..=6 {
        let name = format!("effect {effect}");
        let is_of = |text: &str| text.split(':').next() == Some(&name);
        let done = history.iter().filter(|(what, text)| what == "done" && is_of(text)).count();
        assert_eq!(done, 1, "run {n}, {name}: {history:#?}");
    }
    let mut again = 0;
    for (path, effect) in [("/opened", 2), ("/closed", 6)] {
        let keys = receiver.keys(path, n);
        let under = format!("{}-{effect}", id_of(n));
        assert!(keys.len() == 1 && keys.contains_key(&under), "run {n}, {path}: {keys:?}");
        again += keys[&under] - 1;
    }
    again
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
