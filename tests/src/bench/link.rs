//! `bench link`: what a link costs that carries no readings, in bytes of UDP payload, both ways.
//!
//! For each pair of transports a gateway joins, is stopped, and starts again: what it takes from
//! the first packet until both agree that nothing is behind is one connect. Then nobody does
//! anything for a while, and what keeps the session alive is carried over to a day.

use super::{Better, Figure, LIMIT, Peers};
use crate::client::Client;
use crate::net::Proxy;
use crate::process::{Edge, Hub};
use crate::scenarios::Scale;
use holdfast_sync::net::Transport;
use std::io;
use std::time::{Duration, Instant};

/// Several rounds of pings and of packets that keep the connection alive.
const IDLE: Duration = Duration::from_secs(200);
/// Nothing more follows a connect after this long.
const SETTLED: Duration = Duration::from_secs(5);
const DAY_S: f64 = 86_400.0;

/// A gateway's transport and its hub's, and how the figures are called.
struct Pair {
    edge: Transport,
    hub: Transport,
    connect: &'static str,
    /// Bytes that a connect may take.
    target: f64,
    idle: &'static str,
}

const PAIRS: [Pair; 4] = [
    Pair {
        edge: Transport::Libp2p,
        hub: Transport::Libp2p,
        connect: "connect_libp2p",
        target: 20_000.0,
        idle: "idle_day_libp2p",
    },
    Pair {
        edge: Transport::Libp2p,
        hub: Transport::Quic,
        connect: "connect_libp2p_to_quic",
        target: 20_000.0,
        idle: "idle_day_libp2p_to_quic",
    },
    Pair {
        edge: Transport::Quic,
        hub: Transport::Libp2p,
        connect: "connect_quic_to_libp2p",
        target: 20_000.0,
        idle: "idle_day_quic_to_libp2p",
    },
    Pair {
        edge: Transport::Quic,
        hub: Transport::Quic,
        connect: "connect_quic",
        target: 8_000.0,
        idle: "idle_day_quic",
    },
];

/// Runs the bench.
///
/// # Errors
/// When a node does not start, or no session comes about.
pub async fn link(as_json: bool) -> io::Result<()> {
    let runs = PAIRS.map(|pair| (tokio::spawn(measure(pair.edge, pair.hub)), pair));
    for (run, pair) in runs {
        let (connect, idle) = run.await.map_err(io::Error::other)??;
        print(pair.connect, pair.target, connect, as_json);
        print(pair.idle, 1_000_000.0, idle, as_json);
    }
    Ok(())
}

fn print(name: &'static str, target: f64, value: f64, as_json: bool) {
    let (unit, better, peers) = ("bytes", Better::Lower, Peers::new());
    Figure { name, value, unit, target, better, peers }.print(as_json);
}

/// Bytes of a connect, and of a day in which nothing is done.
async fn measure(edge: Transport, hub: Transport) -> io::Result<(f64, f64)> {
    let dir = tempfile::tempdir()?;
    let node = |transport| Scale::test(1).over(transport).node();
    let mut hub = Hub::init(&dir.path().join("hub"), node(hub))?;
    hub.start()?;
    let link = Proxy::start(hub.sync(), 1)?;
    let mut edge = Edge::init("bench", &dir.path().join("edge"), node(edge))?;
    edge.join(&hub.enrolment("north", "bench", link.address())?)?;
    let carried = || (link.counts().up.bytes + link.counts().down.bytes) as f64;
    edge.start()?;
    settled(&edge).await?;
    edge.stop()?;
    tokio::time::sleep(SETTLED).await;
    let before = carried();
    edge.start()?;
    settled(&edge).await?;
    let connected = carried();
    tokio::time::sleep(IDLE).await;
    let idle = carried() - connected;
    edge.stop()?;
    hub.stop()?;
    Ok((connected - before, idle / IDLE.as_secs_f64() * DAY_S))
}

/// Waits until the gateway is online with nothing behind, and a little longer.
async fn settled(edge: &Edge) -> io::Result<()> {
    let mut client = Client::new(edge.http()).with_token(edge.admin_token()?);
    let started = Instant::now();
    while started.elapsed() < LIMIT {
        let status = client.get("/v1/status").await.map_err(io::Error::other)?.json();
        if status["uplink"]["state"] == "online" && status["uplink"]["behind"] == 0 {
            tokio::time::sleep(SETTLED).await;
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(io::Error::other("no session comes about"))
}
