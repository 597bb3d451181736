//! `bench ingest`: readings a second over HTTP, each on disk before its answer, and what an idle
//! gateway takes.
//!
//! Peers get batches of the same size over as many connections. [`told`] says what each promises
//! with its answer.

use super::load::{Load, Speaks, request};
use super::peers::{influx::Influx, nats::Nats, rows, rows::Rows};
use super::{Better, Figure, Peers};
use crate::process::{Edge, Memory, Settings};
use std::fmt::Write;
use std::io;
use std::sync::Arc;
use std::time::Duration;

const CONNECTIONS: usize = 50;
const BATCH: usize = 100;
const TIME: Duration = Duration::from_secs(8);
/// Prepared requests of a connection, so that bodies differ.
const VARIANTS: usize = 16;

/// Runs the bench.
///
/// # Errors
/// When a gateway does not start or an answer is not success.
pub async fn ingest(as_json: bool) -> io::Result<()> {
    idle(as_json)?;
    let batches = |connection: usize, variant: usize| json_batch(connection, variant, BATCH);
    let json = rate(BATCH, "application/json", batches).await?;
    let line = rate(BATCH, "text/plain", line_batch).await?;
    let peers = measure_peers(BATCH, as_json).await?;
    print("http_batch_ingest", json, 300_000.0, peers.clone(), as_json);
    print("http_line_ingest", line, 300_000.0, peers, as_json);
    let single = |connection: usize, variant: usize| json_batch(connection, variant, 1);
    let single = rate(1, "application/json", single).await?;
    print("http_single_ingest", single, 20_000.0, measure_peers(1, true).await?, as_json);
    Ok(())
}

fn print(name: &'static str, value: f64, target: f64, peers: Peers, as_json: bool) {
    let (unit, better) = ("readings/s", Better::Higher);
    Figure { name, value, unit, target, better, peers }.print(as_json);
}

/// The same of the peers; unless `quiet`, tells what their answers promise.
async fn measure_peers(batch: usize, quiet: bool) -> io::Result<Peers> {
    let mut peers = Peers::new();
    if let Some(influx) = Influx::start().await? {
        let rate = influx.rate(CONNECTIONS, batch, TIME).await?;
        peers.insert(influx.name.clone(), rate);
        influx.stop()?;
    }
    for (name, messages, each) in [("nats-jetstream", batch, 1), ("nats-jetstream-blob", 1, batch)]
    {
        // Of a batch of one both are the same.
        if batch == 1 && name != "nats-jetstream" {
            continue;
        }
        let Some(nats) = Nats::start().await? else { break };
        let rate = nats.rate(CONNECTIONS, (messages, each), TIME, json_batch).await?;
        peers.insert(name.to_owned(), rate);
        if !quiet && messages == batch {
            println!("{}", told(nats.syncs));
        }
        nats.stop()?;
    }
    let rate = tokio::task::spawn_blocking(move || Rows::rate(batch, TIME)).await;
    peers.insert(rows::NAME.to_owned(), rate.map_err(io::Error::other)??);
    Ok(peers)
}

/// What the peers' answers promise.
fn told(nats_syncs: bool) -> String {
    let nats = if nats_syncs { "after" } else { "before" };
    format!(
        "ours answers after a batch is synced to disk; InfluxDB after its log is; SQLite too, but \
         in this process,\nwithout HTTP or JSON; JetStream {nats} it is synced, with a message for \
         each reading or, as \"blob\", for each\nbatch, which nobody reads"
    )
}

fn idle(as_json: bool) -> io::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut edge = Edge::init("idle", dir.path(), Settings::default())?;
    edge.start()?;
    std::thread::sleep(Duration::from_secs(5));
    let value = Memory::of(edge.process().pid())?.mib();
    let (name, unit) = ("edge_idle_rss", "MiB");
    let (target, better, peers) = (20.0, Better::Lower, Peers::new());
    Figure { name, value, unit, target, better, peers }.print(as_json);
    Ok(())
}

/// Readings a second in such batches.
async fn rate(
    batch: usize,
    content_type: &'static str,
    body: impl Fn(usize, usize) -> String + Send + Sync + 'static,
) -> io::Result<f64> {
    let dir = tempfile::tempdir()?;
    let mut edge = Edge::init("bench", dir.path(), Settings::default())?;
    edge.start()?;
    let token = edge.ingest_token()?;
    let path = if content_type == "text/plain" { "/v1/write" } else { "/v1/readings" };
    let load = Load {
        address: edge.http(),
        connections: CONNECTIONS,
        requests: Arc::new(move |connection| {
            let each = (0..VARIANTS).map(|variant| body(connection, variant));
            each.map(|body| request(path, &token, content_type, &body)).collect()
        }),
        readings: batch as u64,
        speaks: Speaks::Http,
    };
    // A first second fills caches and is not counted.
    load.run(Duration::from_secs(1), u64::MAX).await?;
    let (count, took) = load.run(TIME, u64::MAX).await?;
    edge.stop()?;
    Ok(count as f64 / took.as_secs_f64())
}

/// Readings of a device with five series; values as a sensor rounds them.
pub(super) fn json_batch(connection: usize, variant: usize, count: usize) -> String {
    let mut out = String::with_capacity(count * 96);
    let one = |out: &mut String, i: usize| {
        let metric = ["level", "pressure", "flow", "temperature", "energy"][i % 5];
        let value = (variant * 977 + i * 31) % 10_000;
        let (whole, part) = (value / 100, value % 100);
        let wrote = write!(out, r#"{{"device":"ps-{connection:03}","metric":"{metric}""#)
            .and_then(|()| write!(out, r#","value":{whole}.{part:02}}}"#));
        wrote.expect("writing to a string cannot fail");
    };
    if count == 1 {
        one(&mut out, variant);
        return out;
    }
    out.push('[');
    for i in 0..count {
        if i > 0 {
            out.push(',');
        }
        one(&mut out, i);
    }
    out.push(']');
    out
}

fn line_batch(connection: usize, variant: usize) -> String {
    let mut out = String::with_capacity(BATCH * 64);
    for i in 0..BATCH {
        let metric = ["level", "pressure", "flow", "temperature", "energy"][i % 5];
        let value = (variant * 977 + i * 31) % 10_000;
        let (whole, part) = (value / 100, value % 100);
        writeln!(out, "{metric},device=ps-{connection:03} value={whole}.{part:02}")
            .expect("writing to a string cannot fail");
    }
    out
}
