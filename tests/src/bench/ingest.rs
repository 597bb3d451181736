//! `bench ingest`: readings a second over HTTP, each on disk before its answer, and what an idle
//! gateway takes.

use super::load::{Load, request};
use super::{Better, Figure};
use crate::process::{Edge, Settings};
use std::fmt::Write;
use std::fs;
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
    rate("http_batch_ingest", 300_000.0, BATCH as u64, "application/json", batches, as_json)
        .await?;
    rate("http_line_ingest", 300_000.0, BATCH as u64, "text/plain", line_batch, as_json).await?;
    let single = |connection: usize, variant: usize| json_batch(connection, variant, 1);
    rate("http_single_ingest", 20_000.0, 1, "application/json", single, as_json).await
}

fn idle(as_json: bool) -> io::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut edge = Edge::init("idle", dir.path(), Settings::default())?;
    edge.start()?;
    std::thread::sleep(Duration::from_secs(5));
    let status = fs::read_to_string(format!("/proc/{}/status", edge.process().pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    let value = kib.unwrap_or(f64::NAN) / 1024.0;
    let (name, unit) = ("edge_idle_rss", "MiB");
    Figure { name, value, unit, target: 20.0, better: Better::Lower }.print(as_json);
    Ok(())
}

async fn rate(
    name: &'static str,
    target: f64,
    readings: u64,
    content_type: &'static str,
    body: impl Fn(usize, usize) -> String + Send + Sync + 'static,
    as_json: bool,
) -> io::Result<()> {
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
        readings,
    };
    // A first second fills caches and is not counted.
    load.run(Duration::from_secs(1), u64::MAX).await?;
    let (count, took) = load.run(TIME, u64::MAX).await?;
    let value = count as f64 / took.as_secs_f64();
    Figure { name, value, unit: "readings/s", target, better: Better::Higher }.print(as_json);
    edge.stop()
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
