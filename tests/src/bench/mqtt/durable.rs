//! Durable sessions: one that gathers messages while its client is away, and how fast it drains.
//!
//! The client comes back, finds its session present, and acknowledges each message as it comes. It
//! is done when it has had each of them: what came twice or not in the order of its topic is
//! counted, what does not come at all ends the measurement.

use super::connection::{Connection, Endpoint, unexpected};
use super::publish::{Load, Outcome, publish};
use super::reading::number_of;
use super::wire::{self, Heard};
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Who has the session.
const CLIENT: &str = "bench-durable";
/// Connections that fill it.
const PUBLISHERS: usize = 16;
/// Messages that each of them has under way.
const WINDOW: u16 = 100;
/// Longer than filling takes.
const FILLED: Duration = Duration::from_secs(300);
/// Longer than nothing comes while there is something.
const SILENCE: Duration = Duration::from_secs(20);

/// What came of it.
#[derive(Debug)]
pub struct Drained {
    /// How it was filled.
    pub filled: Outcome,
    /// From the connect to the last message.
    pub took: Duration,
    /// Messages that came again.
    pub repeated: u64,
    /// Messages that came behind a later one of their topic.
    pub misordered: u64,
}

/// Makes a session that keeps the messages of this filter, and leaves it.
///
/// # Errors
/// When the broker does not grant it.
pub async fn leave_session(endpoint: &Endpoint, filter: &str) -> io::Result<()> {
    let mut connection = open(endpoint).await?;
    connection.subscribe(filter, 1).await?;
    connection.close().await
}

async fn open(endpoint: &Endpoint) -> io::Result<Connection> {
    Connection::open_as(endpoint, CLIENT, false, Ipv4Addr::LOCALHOST).await
}

/// Fills a session with so many messages and drains it.
///
/// # Errors
/// When the session is gone, or messages of it are.
pub async fn drain(endpoint: &Endpoint, messages: u64) -> io::Result<Drained> {
    leave_session(endpoint, "bench/drain/#").await?;
    let each = messages / PUBLISHERS as u64;
    let load = Load {
        connections: PUBLISHERS,
        window: WINDOW,
        numbered: true,
        topic: |number| format!("bench/drain/{number:02}"),
        pace: None,
        warm_up: Duration::ZERO,
        time: FILLED,
        most: each,
    };
    let filled = publish(endpoint, load).await?;
    let started = Instant::now();
    let mut connection = open(endpoint).await?;
    if !connection.session_present {
        return Err(io::Error::other("the broker has forgotten the session"));
    }
    let mut seen = Seen::new(PUBLISHERS, usize::try_from(each).map_err(io::Error::other)?);
    while seen.missing > 0 {
        connection.packets(|heard, output| {
            let Heard::Publish { topic, id: Some(id), payload } = heard else {
                return Err(unexpected(&heard, "a PUBLISH of QoS 1"));
            };
            wire::puback(id, output);
            seen.note(topic, payload)
        })?;
        if seen.missing > 0 && timeout(SILENCE, connection.exchange()).await.is_err() {
            return Err(io::Error::other(format!("{} of {messages} never came", seen.missing)));
        }
    }
    let took = started.elapsed();
    connection.close().await?;
    Ok(Drained { filled, took, repeated: seen.repeated, misordered: seen.misordered })
}

/// Which messages have come.
struct Seen {
    of_topics: Vec<OfTopic>,
    missing: usize,
    repeated: u64,
    misordered: u64,
}

struct OfTopic {
    came: Vec<bool>,
    /// Behind the last that came.
    next: usize,
}

impl Seen {
    fn new(topics: usize, each: usize) -> Self {
        let of_topic = || OfTopic { came: vec![false; each], next: 0 };
        let of_topics = (0..topics).map(|_| of_topic()).collect();
        Self { of_topics, missing: topics * each, repeated: 0, misordered: 0 }
    }

    fn note(&mut self, topic: &[u8], payload: &[u8]) -> io::Result<()> {
        let unknown = || {
            let (topic, payload) = (topic.escape_ascii(), payload.escape_ascii());
            io::Error::other(format!("nobody sent `{payload}` to {topic}"))
        };
        let digits = topic.last_chunk::<2>().and_then(|two| str::from_utf8(two).ok());
        let topic = digits.and_then(|digits| digits.parse::<usize>().ok());
        let of_topic = topic.and_then(|topic| self.of_topics.get_mut(topic)).ok_or_else(unknown)?;
        let number = number_of(payload).ok_or_else(unknown)?;
        let came = of_topic.came.get_mut(number).ok_or_else(unknown)?;
        if *came {
            self.repeated += 1;
            return Ok(());
        }
        *came = true;
        self.missing -= 1;
        self.misordered += u64::from(number < of_topic.next);
        of_topic.next = of_topic.next.max(number + 1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::reading::Reading;
    use super::*;

    #[test]
    fn a_message_counts_once_and_in_the_order_of_its_topic() {
        let mut messages = Vec::new();
        let mut reading = Reading::new("", 0, true);
        for _ in 0..4 {
            messages.push(reading.next(0)[4..].to_vec());
        }
        let mut seen = Seen::new(2, 3);
        for (topic, number) in [("b/00", 0), ("b/01", 1), ("b/00", 2), ("b/00", 1), ("b/00", 2)] {
            seen.note(topic.as_bytes(), &messages[number]).unwrap();
        }
        assert_eq!((seen.missing, seen.repeated, seen.misordered), (2, 1, 1));
        assert!(seen.note(b"b/02", &messages[0]).is_err(), "no such publisher");
        assert!(seen.note(b"b/00", &messages[3]).is_err(), "no such message");
        assert!(seen.note(b"b/00", b"}").is_err(), "no number");
    }
}
