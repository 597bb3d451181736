//! Fan-out: one publisher, many subscribers, QoS 0.
//!
//! Deliveries are counted where they arrive. With QoS 0 a broker may drop what a subscriber does
//! not take in time, so that a publisher that never waits would measure how fast messages are
//! thrown away: this one is at most so many messages ahead of what has arrived. What is dropped
//! nevertheless is told.

use super::connection::{Connection, Endpoint, unexpected};
use super::reading::{Reading, number_of};
use super::wire::Heard;
use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

const SUBSCRIBERS: u64 = 100;
const TOPIC: &str = "bench/fan";
/// How many messages the publisher is ahead.
const AHEAD: u64 = 100;
/// What has not arrived when for so long nothing has is lost.
const LOST: Duration = Duration::from_millis(200);
const WARM_UP: Duration = Duration::from_secs(1);
const TIME: Duration = Duration::from_secs(5);

/// What came of it.
#[derive(Debug)]
pub struct FannedOut {
    /// Deliveries a second.
    pub rate: f64,
    /// Deliveries that never came.
    pub lost: u64,
}

/// What publisher and subscribers know of each other.
#[derive(Default)]
struct Shared {
    delivered: Cell<u64>,
    /// Of which somebody waits for more.
    arrived: Notify,
}

/// Runs it.
///
/// # Errors
/// A subscription that is not granted, or a connection that breaks.
pub async fn fan_out(endpoint: &Endpoint) -> io::Result<FannedOut> {
    let shared = Rc::new(Shared::default());
    let mut subscribers = JoinSet::new();
    for number in 0..SUBSCRIBERS {
        let id = format!("subscriber-{number:03}");
        let mut connection = Connection::open(endpoint, &id).await?;
        connection.subscribe(TOPIC, 0).await?;
        subscribers.spawn_local(receive(connection, Rc::clone(&shared)));
    }
    let publisher = Connection::open(endpoint, "publisher").await?;
    let sent = tokio::select! {
        sent = send(publisher, &shared) => sent,
        Some(ended) = subscribers.join_next() => Err(match ended {
            Ok(Err(error)) => error,
            _ => io::Error::other("a subscriber ended"),
        }),
    };
    // They wait for more until they are ended here.
    subscribers.shutdown().await;
    sent
}

/// Publishes, and tells what arrived while it counted.
async fn send(mut connection: Connection, shared: &Shared) -> io::Result<FannedOut> {
    let mut reading = Reading::new(TOPIC, 0, true);
    let from = Instant::now() + WARM_UP;
    let until = from + TIME;
    let (mut sent, mut lost, mut before) = (0, 0, None);
    loop {
        let now = Instant::now();
        if now >= from && before.is_none() {
            before = Some((now, shared.delivered.get()));
        }
        if now >= until {
            break;
        }
        let arrived = (shared.delivered.get() + lost) / SUBSCRIBERS;
        while sent < arrived + AHEAD {
            connection.output.extend_from_slice(reading.next(0));
            sent += 1;
        }
        tokio::select! {
            exchanged = connection.exchange() => exchanged?,
            waited = timeout(LOST, shared.arrived.notified()) => if waited.is_err() {
                lost = (sent * SUBSCRIBERS).saturating_sub(shared.delivered.get());
            }
        }
    }
    let (since, before) = before.ok_or_else(|| io::Error::other("nothing was counted"))?;
    let delivered = shared.delivered.get() - before;
    Ok(FannedOut { rate: delivered as f64 / since.elapsed().as_secs_f64(), lost })
}

async fn receive(mut connection: Connection, shared: Rc<Shared>) -> io::Result<()> {
    let mut next = 0;
    loop {
        connection.exchange().await?;
        let mut came = 0;
        connection.packets(|heard, _| {
            let number = match heard {
                Heard::Publish { payload, .. } => number_of(payload),
                _ => None,
            };
            // With QoS 0 messages may be missing, and none comes twice or behind a later one.
            let number = number.filter(|number| *number >= next);
            next = number.ok_or_else(|| unexpected(&heard, "a later message"))? + 1;
            came += 1;
            Ok(())
        })?;
        shared.delivered.set(shared.delivered.get() + came);
        shared.arrived.notify_one();
    }
}
