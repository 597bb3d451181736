//! `bench workflow`: durable steps a second, from a reading to the message that it brings about,
//! rules a second, and what runs take that only wait.
//!
//! Each round has a gateway of its own. A step is a row of the gateway's store: one alert that
//! begins or ends, with its line of history. Those of one run follow each other, and as many as are
//! known to follow go into one transaction. What leaves the gateway costs a transaction before and
//! one after it, which is told beside.

mod actuate;
mod rules;
mod steps;
mod waiting;

use super::peers::flows;
use super::peers::programs::Measured;
use super::{Better, Figure, Peers};
use crate::client::Client;
use crate::process::{Edge, LIMIT, Settings};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;
use tempfile::TempDir;

const SINGLE: &str = "workflow_steps_single";
const PARALLEL: &str = "workflow_steps_parallel";
const ACTUATE_P99: &str = "workflow_actuate_p99";
const RULES: &str = "workflow_rules";
const WAITING_BYTES: &str = "workflow_waiting_bytes";
const WAITING_START: &str = "workflow_waiting_start";

/// Name, unit, target and which way it is better.
const FIGURES: [(&str, &str, f64, Better); 6] = [
    (SINGLE, "steps/s", 2_000.0, Better::Higher),
    (PARALLEL, "steps/s", 20_000.0, Better::Higher),
    (ACTUATE_P99, "ms", 10.0, Better::Lower),
    (RULES, "rules/s", 1_000_000.0, Better::Higher),
    (WAITING_BYTES, "bytes", 1_024.0, Better::Lower),
    (WAITING_START, "s", 2.0, Better::Lower),
];

/// Runs the bench.
///
/// # Errors
/// When the gateway does not start, or loses what it is given.
pub async fn workflow(as_json: bool) -> io::Result<()> {
    let say = |text: String| {
        if !as_json {
            println!("{text}");
        }
    };
    let mut ours: BTreeMap<&str, f64> = BTreeMap::new();
    let steps = steps::steps().await?;
    say(format!("outside: {:.0} steps/s of one run, each a reading that is stored", steps.outside));
    ours.extend([(SINGLE, steps.single), (PARALLEL, steps.parallel)]);
    let actuate = actuate::actuate().await?;
    say(format!("from a reading to its message: {actuate}"));
    ours.extend(actuate.p99_ms().map(|p99| (ACTUATE_P99, p99)));
    ours.insert(RULES, rules::rules().await?);
    let waiting = waiting::waiting().await?;
    say(format!("waiting: {waiting}"));
    ours.extend([(WAITING_BYTES, waiting.bytes), (WAITING_START, waiting.start_s)]);
    let peers = flows::measure()?;
    for (name, unit, target, better) in FIGURES {
        let Some(value) = ours.get(name).copied() else { continue };
        let of_peer = |peer: &Measured| Some((peer.name.clone(), *peer.figures.get(name)?));
        let peers: Peers = peers.iter().filter_map(of_peer).collect();
        Figure { name, value, unit, target, better, peers }.print(as_json);
    }
    Ok(())
}

/// A gateway with workflows.
struct Gateway {
    edge: Edge,
    token: String,
    _dir: TempDir,
}

impl Gateway {
    async fn with(definitions: impl IntoIterator<Item = String>) -> io::Result<Self> {
        let dir = tempfile::tempdir()?;
        let mut edge = Edge::init("bench", dir.path(), Settings::default())?;
        edge.start()?;
        let token = edge.admin_token()?;
        let gateway = Self { edge, token, _dir: dir };
        let mut client = gateway.client();
        for definition in definitions {
            let new = json!({ "definition": definition });
            ask(&mut client, "/v1/workflows", &new).await?;
        }
        Ok(gateway)
    }

    fn client(&self) -> Client {
        Client::new(self.edge.http()).with_token(&self.token).with_limit(LIMIT)
    }
}

/// Posts what has to be taken.
async fn ask(client: &mut Client, path: &str, body: &Value) -> io::Result<Value> {
    let answer = client.post_json(path, body).await.map_err(io::Error::other)?;
    if answer.status.is_success() {
        return Ok(answer.json());
    }
    Err(io::Error::other(format!("{path}: {} {}", answer.status, answer.text())))
}

/// Waits until no run is under way.
async fn until_over(client: &mut Client) -> io::Result<()> {
    loop {
        let path = "/v1/runs?state=running&limit=1";
        let running = client.get(path).await.map_err(io::Error::other)?.json();
        if running["runs"].as_array().is_some_and(Vec::is_empty) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
