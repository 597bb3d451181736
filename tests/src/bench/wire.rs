//! What readings take on the way to the hub: bytes that a session sends, above QUIC.
//!
//! First a gateway with a sealed backlog joins; then, with nothing else to send, devices post
//! batches of ten. Everything counts that the session sends meanwhile: rollups, events, its
//! handshake, credits and pings. The link is a proxy that tells the bytes of the datagrams, too.

use super::{Better, Figure, LIMIT, Peers};
use crate::client::Client;
use crate::net::Proxy;
use crate::process::{Edge, Hub, Settings};
use std::io;
use std::time::{Duration, Instant};

/// Bytes of a node's sessions that it has sent.
pub(super) const SENT: &str = "holdfast_sync_sent_bytes_total";
const BATCHES: u64 = 200;
const BATCH: u64 = 10;
const EVERY: Duration = Duration::from_millis(100);

/// Sends the backlog of `held` readings to a new hub, then live ones.
pub async fn measure(edge: &mut Edge, held: u64, as_json: bool) -> io::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut hub = Hub::init(dir.path(), Settings::default())?;
    hub.start()?;
    let link = Proxy::start(hub.sync(), 1)?;
    edge.join(&hub.enrolment("north", "bench", link.address())?)?;
    let mut at_hub = Client::new(hub.http()).with_token(hub.admin_token()?);
    arrive(&mut at_hub, held).await?;
    let mut at_edge = Client::new(edge.http()).with_token(edge.admin_token()?);
    let sent = until_quiet(&mut at_edge, &[SENT]).await?;
    let name = "backlog_bytes_per_reading";
    print(name, 3.0, sent / held as f64, as_json);
    if !as_json {
        let bytes = link.counts().up.bytes as f64 / held as f64;
        println!("  {held} readings; {bytes:.1} bytes of UDP payload for each");
    }
    let datagrams = link.counts().up.bytes;
    live(&mut at_edge).await?;
    arrive(&mut at_hub, held + BATCHES * BATCH).await?;
    let after = until_quiet(&mut at_edge, &[SENT]).await?;
    print("live_bytes_per_reading", 15.0, (after - sent) / (BATCHES * BATCH) as f64, as_json);
    if !as_json {
        let bytes = (link.counts().up.bytes - datagrams) as f64 / (BATCHES * BATCH) as f64;
        println!(
            "  {BATCHES} batches of {BATCH}; {bytes:.1} bytes of UDP payload for each reading"
        );
    }
    hub.stop()
}

fn print(name: &'static str, target: f64, value: f64, as_json: bool) {
    let (unit, better, peers) = ("bytes", Better::Lower, Peers::new());
    Figure { name, value, unit, target, better, peers }.print(as_json);
}

/// Posts batches of ten, one device after the other, each metric a reading.
async fn live(client: &mut Client) -> io::Result<()> {
    for batch in 0..BATCHES {
        let metrics = (0..BATCH).map(|n| format!(r#""m{n}":{}.{:02}"#, 20 + n, batch * 7 % 100));
        let values = metrics.collect::<Vec<_>>().join(",");
        let body = format!(r#"{{"device":"live-{}","values":{{{values}}}}}"#, batch % 10);
        let answer = client.post("/v1/readings", "application/json", body).await;
        let answer = answer.map_err(io::Error::other)?;
        answer.status.is_success().then_some(()).ok_or_else(|| io::Error::other(answer.text()))?;
        tokio::time::sleep(EVERY).await;
    }
    Ok(())
}

/// Waits until the hub holds so many readings.
async fn arrive(client: &mut Client, wanted: u64) -> io::Result<()> {
    let started = Instant::now();
    loop {
        let node = client.get("/v1/nodes/north/bench").await.map_err(io::Error::other)?.json();
        let arrived = node["entries"]["reading"].as_u64().unwrap_or(0);
        if arrived >= wanted {
            return Ok(());
        }
        if started.elapsed() > LIMIT {
            return Err(io::Error::other(format!("only {arrived} of {wanted} arrived")));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until next to nothing was added to counters of a node for five seconds; what they are.
pub(super) async fn until_quiet(client: &mut Client, names: &[&str]) -> io::Result<f64> {
    const PINGS: f64 = 64.0;
    let (started, mut before, mut still) = (Instant::now(), 0.0, 0);
    while still < 10 {
        if started.elapsed() > LIMIT {
            return Err(io::Error::other("the session is never quiet"));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = counted(client, names).await?;
        still = if now - before < PINGS { still + 1 } else { 0 };
        before = now;
    }
    Ok(before)
}

/// Counters of a node, all together.
pub(super) async fn counted(client: &mut Client, names: &[&str]) -> io::Result<f64> {
    let metrics = client.get("/metrics").await.map_err(io::Error::other)?.text();
    let mut sum = 0.0;
    for name in names {
        let lines = metrics.lines().filter(|line| line.starts_with(name));
        let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        let told = values.reduce(|all, one| all + one);
        sum += told.ok_or_else(|| io::Error::other(format!("{name} is not told")))?;
    }
    Ok(sum)
}
