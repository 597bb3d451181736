//! `bench sync`: how fast a gateway catches up after a long outage.
//!
//! Its peer is a mirror over a leaf node of NATS JetStream: a message for each reading, or, as
//! "blob", for each batch of a hundred. Of single messages there are a tenth as many, since they
//! take long.

use super::ingest::json_batch;
use super::load::{Load, Speaks, request};
use super::peers::nats;
use super::{Better, Figure, Peers, until_read};
use crate::client::Client;
use crate::process::{Edge, Hub, Settings};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

const READINGS: u64 = 10_000_000;
const BATCH: usize = 1_000;
/// Readings of a peer's larger message.
const BLOB: usize = 100;
const LIMIT: Duration = Duration::from_secs(600);

/// Runs the bench.
///
/// # Errors
/// When a node does not start, or the backlog does not arrive.
pub async fn sync(as_json: bool) -> io::Result<()> {
    let dir = tempfile::tempdir()?;
    let quiet = Settings::default().env("HOLDFAST_SYNC_BACKOFF_MAX", "1s");
    let mut hub = Hub::init(&dir.path().join("hub"), Settings::default())?;
    let mut edge = Edge::init("bench", &dir.path().join("edge"), quiet)?;
    edge.start()?;
    let token = edge.ingest_token()?;
    let load = Load {
        address: edge.http(),
        connections: 16,
        requests: Arc::new(move |connection| {
            let each = (0..8).map(|variant| json_batch(connection, variant, BATCH));
            let post = |body: String| request("/v1/readings", &token, "application/json", &body);
            each.map(post).collect()
        }),
        readings: BATCH as u64,
        speaks: Speaks::Http,
    };
    if !as_json {
        println!("a backlog of {READINGS} readings is made; the pipeline reads it ...");
    }
    let (made, _) = load.run(LIMIT, READINGS).await?;
    until_read(&edge).await?;
    hub.start()?;
    let (enrolment, mut client) = (hub.enrolment("north", "bench", hub.sync())?, client(&hub)?);
    let started = Instant::now();
    edge.join(&enrolment)?;
    let mut arrived = 0;
    while arrived < made {
        if started.elapsed() > LIMIT {
            return Err(io::Error::other(format!("only {arrived} of {made} arrived")));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let node = client.get("/v1/nodes/north/bench").await.map_err(io::Error::other)?.json();
        arrived = node["entries"]["reading"].as_u64().unwrap_or(0);
    }
    let value = made as f64 / started.elapsed().as_secs_f64();
    edge.stop()?;
    hub.stop()?;
    if !as_json {
        println!("a JetStream mirrors another over a leaf node ...");
    }
    let (name, unit) = ("sync_catch_up", "readings/s");
    let (target, better, peers) = (1_000_000.0, Better::Higher, measure_peers().await?);
    Figure { name, value, unit, target, better, peers }.print(as_json);
    Ok(())
}

/// The same of JetStream, in both sizes of messages.
async fn measure_peers() -> io::Result<Peers> {
    let mut peers = Peers::new();
    for (name, readings, each) in
        [("nats-jetstream", READINGS / 10, 1), ("nats-jetstream-blob", READINGS, BLOB)]
    {
        let rate = nats::catch_up(readings, each, json_batch).await?;
        peers.extend(rate.map(|rate| (name.to_owned(), rate)));
    }
    Ok(peers)
}

fn client(hub: &Hub) -> io::Result<Client> {
    Ok(Client::new(hub.http()).with_token(hub.admin_token()?))
}
