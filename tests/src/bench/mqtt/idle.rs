//! What a broker takes when nothing is said: with nobody connected, and with ten thousand.
//!
//! They connect at a thousand a second, from several addresses of the loopback as from several
//! machines, and then stay without a word. How long each waited to be let in is told too.

use super::connection::{Connection, Endpoint};
use super::histogram::Histogram;
use crate::process::Memory;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

/// How many connect.
pub const CONNECTIONS: u32 = 10_000;
/// One a millisecond.
const EVERY: Duration = Duration::from_millis(1);
/// Addresses that they come from.
const SOURCES: u32 = 8;
/// Until memory is what it stays.
const SETTLED: Duration = Duration::from_secs(5);

/// What came of it.
#[derive(Debug)]
pub struct Idle {
    /// Resident memory with nobody there, MiB.
    pub alone: f64,
    /// With all of them, MiB.
    pub crowded: f64,
    /// Connects a second that came about.
    pub rate: f64,
    /// How long each took.
    pub latency: Histogram,
}

/// Measures the process of this number.
///
/// # Errors
/// When one is not let in.
pub async fn idle(endpoint: &Endpoint, pid: u32) -> io::Result<Idle> {
    sleep(SETTLED).await;
    let alone = Memory::of(pid)?.mib();
    let started = Instant::now();
    let mut connects = JoinSet::new();
    for number in 0..CONNECTIONS {
        let endpoint = endpoint.clone();
        let due = started + EVERY * number;
        connects.spawn_local(async move {
            sleep_until(due).await;
            let from = Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + 1 + number % SOURCES);
            let id = format!("idle-{number:05}");
            let connection = Connection::open_as(&endpoint, &id, true, from).await?;
            io::Result::Ok((connection, due.elapsed()))
        });
    }
    let (mut connections, mut latency) = (Vec::new(), Histogram::default());
    while let Some(ended) = connects.join_next().await {
        let (connection, took) = ended.map_err(io::Error::other)??;
        connections.push(connection);
        latency.record(took);
    }
    let rate = f64::from(CONNECTIONS) / started.elapsed().as_secs_f64();
    sleep(SETTLED).await;
    let crowded = Memory::of(pid)?.mib();
    // Whoever was thrown out in the meantime took no memory.
    for connection in &connections {
        connection.still_open()?;
    }
    Ok(Idle { alone, crowded, rate, latency })
}
