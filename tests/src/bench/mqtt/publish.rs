//! Publishing with QoS 1: many connections, each with so many messages under way.
//!
//! Either in a closed loop, where an acknowledgement makes room for the next message, or at a pace,
//! where messages are sent when they are due whether the broker keeps up or not. Then how long it
//! takes to answer is not hidden by a load that waits for it. A message that is never acknowledged,
//! or an acknowledgement of none, ends the measurement.

use super::connection::{Connection, Endpoint, unexpected};
use super::histogram::Histogram;
use super::reading::Reading;
use super::wire::Heard;
use std::io;
use std::pin::pin;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Longer than an acknowledgement takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// Messages under way of a connection that publishes at a pace: more than it sends in seconds.
const PACED_WINDOW: u16 = 16_384;

/// What is published.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How many connections.
    pub connections: usize,
    /// How many messages each has under way.
    pub window: u16,
    /// Whether messages have a boot count and a sequence.
    pub numbered: bool,
    /// To which topic each connection publishes.
    pub topic: fn(usize) -> String,
    /// Messages a second of all connections; as fast as it goes without.
    pub pace: Option<f64>,
    /// What is not counted at first, while caches fill.
    pub warm_up: Duration,
    /// What is counted.
    pub time: Duration,
    /// Messages of each connection, at most.
    pub most: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Acknowledged within the time that counts.
    pub counted: u64,
    /// Acknowledged at all, which is all that was sent.
    pub acknowledged: u64,
    /// From the first message to the last acknowledgement.
    pub took: Duration,
    /// How long acknowledgements took, of those that count.
    pub latency: Histogram,
}

/// Runs it.
///
/// # Errors
/// A connection that breaks, or a message that is not acknowledged.
pub async fn publish(endpoint: &Endpoint, load: Load) -> io::Result<Outcome> {
    let mut connections = Vec::new();
    for number in 0..load.connections {
        let connection = Connection::open(endpoint, &format!("publisher-{number:03}")).await?;
        connections.push((connection, Reading::new(&(load.topic)(number), 1, load.numbered)));
    }
    let started = Instant::now();
    let plan = Plan { started, load };
    let mut publishers = JoinSet::new();
    for (number, (connection, reading)) in connections.into_iter().enumerate() {
        publishers.spawn_local(plan.run(number, connection, reading));
    }
    let mut all = Outcome::default();
    while let Some(ended) = publishers.join_next().await {
        let one = ended.map_err(io::Error::other)??;
        all.counted += one.counted;
        all.acknowledged += one.acknowledged;
        all.latency.add(&one.latency);
    }
    all.took = started.elapsed();
    Ok(all)
}

/// What all connections do.
#[derive(Clone, Copy)]
struct Plan {
    started: Instant,
    load: Load,
}

impl Plan {
    async fn run(
        self,
        number: usize,
        mut connection: Connection,
        mut reading: Reading,
    ) -> io::Result<Outcome> {
        let from = self.started + self.load.warm_up;
        let until = from + self.load.time;
        let window = if self.load.pace.is_some() { PACED_WINDOW } else { self.load.window };
        let (mut under_way, mut outcome) = (UnderWay::new(window), Outcome::default());
        let mut sent = 0;
        let mut alarm = pin!(sleep_until(until));
        loop {
            let now = Instant::now();
            let sends = now < until && sent < self.load.most;
            while sends && sent < self.load.most && self.due(number, sent) <= now {
                let Some(id) = under_way.begin(now) else { break };
                connection.output.extend_from_slice(reading.next(id));
                sent += 1;
            }
            if !sends && under_way.is_empty() {
                break;
            }
            if now > until + PATIENCE {
                let missing = under_way.count();
                return Err(io::Error::other(format!("{missing} messages not acknowledged")));
            }
            // Only an acknowledgement helps where nothing may be sent.
            let at_pace = sends && self.load.pace.is_some() && !under_way.free.is_empty();
            let next = if at_pace { self.due(number, sent) } else { until + PATIENCE };
            if alarm.deadline() != next {
                alarm.as_mut().reset(next);
            }
            tokio::select! {
                exchanged = connection.exchange() => exchanged?,
                () = &mut alarm => {}
            }
            let now = Instant::now();
            connection.packets(|heard, _| {
                let Heard::Puback(id) = heard else { return Err(unexpected(&heard, "a PUBACK")) };
                let took = under_way.end(id, now)?;
                outcome.acknowledged += 1;
                if now >= from && now < until {
                    outcome.counted += 1;
                    outcome.latency.record(took);
                }
                Ok(())
            })?;
        }
        connection.close().await?;
        Ok(outcome)
    }

    /// When a message is due. Connections take turns, so that not all send in the same moment.
    fn due(&self, connection: usize, message: u64) -> Instant {
        let Some(pace) = self.load.pace else { return self.started };
        let turn = connection as f64 + message as f64 * self.load.connections as f64;
        self.started + Duration::from_secs_f64(turn / pace)
    }
}

/// Messages of a connection that are not acknowledged yet, by their identifiers.
#[derive(Debug)]
struct UnderWay {
    free: Vec<u16>,
    since: Vec<Option<Instant>>,
}

impl UnderWay {
    fn new(window: u16) -> Self {
        // The one used last is used next: few are ever touched.
        Self { free: (1..=window).rev().collect(), since: vec![None; usize::from(window) + 1] }
    }

    /// An identifier for a message that is sent now, if one is free.
    fn begin(&mut self, now: Instant) -> Option<u16> {
        let id = self.free.pop()?;
        self.since[usize::from(id)] = Some(now);
        Some(id)
    }

    /// How long the message of this identifier took.
    fn end(&mut self, id: u16, now: Instant) -> io::Result<Duration> {
        let since = self.since.get_mut(usize::from(id)).and_then(Option::take);
        let none = || io::Error::other(format!("message {id} is acknowledged and was not sent"));
        let since = since.ok_or_else(none)?;
        self.free.push(id);
        Ok(now - since)
    }

    fn is_empty(&self) -> bool {
        self.count() == 0
    }

    fn count(&self) -> usize {
        self.since.len() - 1 - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_is_acknowledged_once() {
        let mut under_way = UnderWay::new(2);
        let sent = Instant::now();
        let (first, second) = (under_way.begin(sent).unwrap(), under_way.begin(sent).unwrap());
        assert_ne!(first, second);
        assert_eq!(under_way.begin(sent), None, "two are under way");
        let took = Duration::from_millis(3);
        assert_eq!(under_way.end(second, sent + took).unwrap(), took);
        assert!(under_way.end(second, sent).is_err(), "acknowledged twice");
        assert!(under_way.end(0, sent).is_err() && under_way.end(9, sent).is_err(), "never sent");
        assert_eq!(under_way.begin(sent), Some(second));
        under_way.end(first, sent).unwrap();
        under_way.end(second, sent).unwrap();
        assert!(under_way.is_empty());
    }

    #[test]
    fn at_a_pace_messages_are_due_one_after_the_other() {
        let load = Load {
            connections: 4,
            window: 1,
            numbered: false,
            topic: |_| String::new(),
            pace: Some(1_000.0),
            warm_up: Duration::ZERO,
            time: Duration::ZERO,
            most: 1,
        };
        let plan = Plan { started: Instant::now(), load };
        let due = |connection, message| plan.due(connection, message) - plan.started;
        assert_eq!(due(0, 0), Duration::ZERO);
        assert_eq!(due(3, 0), Duration::from_millis(3));
        assert_eq!(due(0, 1), Duration::from_millis(4));
        assert_eq!(due(1, 250), Duration::from_millis(1_001));
    }
}
