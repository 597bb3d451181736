//! What a hundred thousand runs take that only wait: memory, and a start.

use super::{Gateway, ask};
use crate::process::Memory;
use serde_json::{Value, json};
use std::fmt;
use std::io;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const RUNS: u64 = 100_000;
/// A workflow has at most 65,535 at once.
const WORKFLOWS: u64 = 2;
const CONNECTIONS: u64 = 64;
/// Until memory is what it stays.
const SETTLED: Duration = Duration::from_secs(3);

/// What came of it.
pub struct Waiting {
    /// Bytes of memory of each.
    pub bytes: f64,
    /// Seconds from the start of the process to its first answer.
    pub start_s: f64,
    /// Runs a second that began.
    begun: f64,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, start_s, begun } = self;
        write!(
            f,
            "{RUNS} runs, {bytes:.0} bytes each, begun at {begun:.0}/s; the gateway starts with \
             them in {start_s:.2} s"
        )
    }
}

/// Measures it.
///
/// # Errors
/// When a run does not begin, or is not there after the start.
pub async fn waiting() -> io::Result<Waiting> {
    let definitions = (0..WORKFLOWS).map(|number| {
        format!(
            "workflow: waits-{number}\nversion: '1'\nruns: {{at_once: 60000}}\ninput: {{device: \
             text}}\nlasts: forever\nsteps: [{{wait: 30d}}]\n"
        )
    });
    let mut gateway = Gateway::with(definitions).await?;
    tokio::time::sleep(SETTLED).await;
    let before = memory(&mut gateway)?;
    let started = Instant::now();
    let mut begins = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let mut client = gateway.client();
        begins.spawn(async move {
            for number in (connection..RUNS).step_by(CONNECTIONS as usize) {
                let input = json!({ "input": { "device": format!("pump-{number}") } });
                let path = format!("/v1/workflows/waits-{}/runs", number % WORKFLOWS);
                ask(&mut client, &path, &input).await?;
            }
            io::Result::Ok(())
        });
    }
    while let Some(ended) = begins.join_next().await {
        ended.map_err(io::Error::other)??;
    }
    let begun = RUNS as f64 / started.elapsed().as_secs_f64();
    tokio::time::sleep(SETTLED).await;
    let bytes = (memory(&mut gateway)? - before) * 1_048_576.0 / RUNS as f64;
    gateway.edge.stop()?;
    let started = Instant::now();
    gateway.edge.start()?;
    gateway.client().get("/healthz").await.map_err(io::Error::other)?;
    let start_s = started.elapsed().as_secs_f64();
    let counts = gateway.client().get("/v1/runs/counts").await.map_err(io::Error::other)?.json();
    let each = counts["counts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let there: u64 = each.iter().filter_map(|one: &Value| one["under_way"].as_u64()).sum();
    if there != RUNS {
        return Err(io::Error::other(format!("{there} of {RUNS} runs are there")));
    }
    Ok(Waiting { bytes, start_s, begun })
}

/// Resident memory of the gateway, MiB.
fn memory(gateway: &mut Gateway) -> io::Result<f64> {
    Ok(Memory::of(gateway.edge.process().pid())?.mib())
}
