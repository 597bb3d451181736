//! InfluxDB 1: line protocol over HTTP, in its write-ahead log and synced before the answer.
//!
//! Its defaults hold, `wal-fsync-delay = "0s"` among them, with two exceptions: it reports nothing
//! home and keeps no log of requests, and it compacts a second after the last write instead of
//! hours, so that its data is at rest when it is measured.

use super::{LIMIT, bytes_of, find, say_once};
use crate::bench::load::{Load, Speaks, request};
use crate::client::Client;
use crate::process::{Launch, Running};
use serde_json::Value;
use std::fmt::Write;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Where lines with times in milliseconds go.
pub const WRITE: &str = "/write?db=bench&precision=ms";
/// 2026-11-01T00:00:00Z.
const START_MS: usize = 1_793_491_200_000;

/// A server with an empty database.
pub struct Influx {
    /// The peer's name, with its version.
    pub name: String,
    /// Where it serves.
    pub address: SocketAddr,
    process: Running,
    dir: TempDir,
}

impl Influx {
    /// Starts one; nothing when it is not installed, or is of a later kind.
    pub async fn start() -> io::Result<Option<Self>> {
        let Some(program) = find("influxd", "version")? else { return Ok(None) };
        let (major, minor) = program.version;
        if major != 1 {
            say_once(format!("influxd is {major}.{minor} and left out; the peer is 1.x"));
            return Ok(None);
        }
        let dir = tempfile::tempdir()?;
        let config = dir.path().join("influxdb.conf");
        let at = |name: &str| dir.path().join(name);
        let text = format!(
            "reporting-disabled = true\nbind-address = \"127.0.0.1:0\"\n[meta]\ndir = {:?}\n\
             [data]\ndir = {:?}\nwal-dir = {:?}\nwal-fsync-delay = \"0s\"\n\
             query-log-enabled = false\ncache-snapshot-write-cold-duration = \"1s\"\n\
             compact-full-write-cold-duration = \"1s\"\n[http]\n\
             bind-address = \"127.0.0.1:0\"\nlog-enabled = false\n\
             [monitor]\nstore-enabled = false\n",
            at("meta"),
            at("data"),
            at("wal")
        );
        fs::write(&config, text)?;
        let launch = Launch::program(program.path).args(["-config".as_ref(), config.as_os_str()]);
        let process = launch.start()?;
        let line = process.logged("Listening on HTTP", LIMIT)?;
        let address = line.split_whitespace().find_map(|word| word.strip_prefix("addr="));
        let address = address.and_then(|address| address.parse().ok());
        let address = address.ok_or_else(|| io::Error::other(format!("no address: {line}")))?;
        let influx = Self { name: format!("influxdb-{major}.{minor}"), address, process, dir };
        let mut client = influx.client();
        let form = "application/x-www-form-urlencoded";
        let made = client.post("/query", form, "q=CREATE+DATABASE+bench".to_owned()).await;
        let made = made.map_err(io::Error::other)?;
        made.status.is_success().then_some(()).ok_or_else(|| io::Error::other(made.text()))?;
        Ok(Some(influx))
    }

    /// A client of it.
    pub fn client(&self) -> Client {
        Client::new(self.address).with_limit(Duration::from_secs(600))
    }

    /// Readings a second over connections that each have one batch under way.
    pub async fn rate(&self, connections: usize, batch: usize, time: Duration) -> io::Result<f64> {
        // Enough that times repeat rarely: a point at a known time replaces the one before.
        let variants = if batch == 1 { 4_000 } else { 400 };
        let load = Load {
            address: self.address,
            connections,
            requests: Arc::new(move |connection| {
                let each = (0..variants).map(|variant| lines(connection, variant, batch));
                each.map(|body| request(WRITE, "none", "text/plain", &body)).collect()
            }),
            readings: batch as u64,
            speaks: Speaks::Http,
        };
        load.run(Duration::from_secs(1), u64::MAX).await?;
        let (count, took) = load.run(time, u64::MAX).await?;
        Ok(count as f64 / took.as_secs_f64())
    }

    /// Waits until everything is compacted; the bytes of the files that hold points.
    pub async fn at_rest(&self) -> io::Result<u64> {
        let (started, mut before, mut still) = (Instant::now(), 0, 0);
        while still < 10 {
            if started.elapsed() > Duration::from_secs(600) {
                return Err(io::Error::other("InfluxDB is never at rest"));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            // Files may go while they are counted; then it is not at rest.
            let now = bytes_of(&self.dir.path().join("data"), ".tsm").unwrap_or(0);
            still = if now == before && now > 0 { still + 1 } else { 0 };
            before = now;
        }
        Ok(before)
    }

    /// Asks; the rows of the first series.
    pub async fn ask(&self, client: &mut Client, query: &str) -> io::Result<Vec<Value>> {
        let encoded = query.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        let path = format!("/query?db=bench&epoch=ms&q={encoded}");
        let answer = client.get(&path).await.map_err(io::Error::other)?;
        let rows = answer.json()["results"][0]["series"][0]["values"].as_array().cloned();
        rows.ok_or_else(|| io::Error::other(answer.text()))
    }

    /// Ends it.
    pub fn stop(mut self) -> io::Result<()> {
        self.process.terminate(LIMIT).map(drop)
    }
}

/// What ours is sent, with the times InfluxDB needs to tell points of a batch apart.
fn lines(connection: usize, variant: usize, count: usize) -> String {
    let mut out = String::with_capacity(count * 64);
    for i in 0..count {
        let metric = ["level", "pressure", "flow", "temperature", "energy"][i % 5];
        let value = (variant * 977 + i * 31) % 10_000;
        let (whole, part, ms) = (value / 100, value % 100, START_MS + variant * count + i);
        writeln!(out, "{metric},device=ps-{connection:03} value={whole}.{part:02} {ms}")
            .expect("writing to a string cannot fail");
    }
    out
}
