//! From a reading to the message that it brings about, over MQTT on both sides.
//!
//! A hundred devices send readings one by one, with QoS 1; a workflow of its own watches each.
//! Every 25th reading is over the limit and says its number, which the message brings back. A
//! reading is sent when it is due, whether or not those before it are acknowledged.

use super::Gateway;
use crate::bench::mqtt::histogram::Histogram;
use crate::client::mqtt::{Login, Wire, publish};
use holdfast_edge::mqtt::packet::{Packet, PacketId, QoS};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const RULES: u64 = 100;
const RATE: u64 = 5_000;
const SECONDS: u64 = 10;
/// One of so many readings is over the limit.
const EACH: u64 = 25;
/// Unacknowledged readings; the gateway takes a few more.
const UNDER_WAY: u64 = 900;

/// What came of it.
pub struct Actuate {
    latency: Histogram,
    /// Messages that came.
    came: usize,
    /// Readings a second that were sent.
    rate: f64,
}

impl Actuate {
    /// Milliseconds within which 99 of 100 came.
    pub fn p99_ms(&self) -> Option<f64> {
        Some(self.latency.quantile(0.99)?.as_secs_f64() * 1e3)
    }
}

impl fmt::Display for Actuate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |share| self.latency.quantile(share).map_or(0.0, |took| took.as_secs_f64() * 1e3);
        let (p50, p99, max) = (ms(0.5), ms(0.99), ms(1.0));
        let Self { came, rate, .. } = self;
        write!(
            f,
            "{came} at {rate:.0} readings/s with {RULES} rules, within {p50:.2} ms (p50), {p99:.2} \
             ms (p99), {max:.2} ms at most"
        )
    }
}

/// When the reading with a number was due.
type Sent = Arc<Mutex<HashMap<u64, Instant>>>;

/// Measures it.
///
/// # Errors
/// When a message does not come.
pub async fn actuate() -> io::Result<Actuate> {
    let definitions = (0..RULES).map(|number| {
        format!(
            "workflow: rule-{number}\nversion: '1'\nruns: {{at_once: 100}}\non:\n  - reading: \
             {{device: pump-{number}, metric: level, above: 0.5}}\ninput: {{value: decimal}}\n\
             steps:\n  - publish: act/{number}\n    payload: {{n: \"${{value}}\"}}\n    qos: 0\n"
        )
    });
    let gateway = Gateway::with(definitions).await?;
    let (address, token) = (gateway.edge.mqtt(), gateway.token.as_str());
    let (mut subscriber, _) = Wire::open_as(address, Login::passing("acts", token)).await?;
    subscriber.subscribe(&["act/#"], QoS::AtMostOnce).await?;
    let sent = Sent::default();
    let known = Arc::clone(&sent);
    let wanted = (RATE * SECONDS / EACH) as usize;
    let listening = tokio::spawn(async move {
        let (mut latency, mut came) = (Histogram::default(), 0);
        while came < wanted {
            let next = tokio::time::timeout(Duration::from_secs(30), subscriber.message()).await;
            let Ok(message) = next else { break };
            let message: Value = serde_json::from_slice(&message?.payload)?;
            let number = message["n"].as_f64().unwrap_or_default() as u64;
            let at = known.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
            latency.record(at.ok_or_else(|| io::Error::other("nobody asked"))?.elapsed());
            came += 1;
        }
        io::Result::Ok((latency, came))
    });
    let rate = send(&gateway, &sent).await?;
    let (latency, came) = listening.await.map_err(io::Error::other)??;
    if came < wanted {
        return Err(io::Error::other(format!("{came} of {wanted} messages came")));
    }
    Ok(Actuate { latency, came, rate })
}

/// Sends the readings at their pace; how many a second that were.
async fn send(gateway: &Gateway, sent: &Sent) -> io::Result<f64> {
    let (address, token) = (gateway.edge.mqtt(), gateway.token.as_str());
    let (mut wire, _) = Wire::open_as(address, Login::passing("pumps", token)).await?;
    let started = Instant::now();
    let (mut number, mut acknowledged) = (0, 0);
    while acknowledged < RATE * SECONDS {
        let due = (started.elapsed().as_micros() as u64 * RATE / 1_000_000).min(RATE * SECONDS);
        while number < due && number - acknowledged < UNDER_WAY {
            // By turns, so that each device is over the limit once in a while and falls back.
            let is_high = number % EACH == 0;
            let level = if is_high { number / EACH + 1 } else { 0 };
            let turn = if is_high { number / EACH } else { number + number / RULES };
            let device = turn % RULES;
            if is_high {
                let at = started + Duration::from_micros(number * 1_000_000 / RATE);
                let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
                sent.insert(level, at);
            }
            let payload = json!({ "values": { "level": level } }).to_string();
            let topic = format!("devices/pump-{device}/readings");
            let id = PacketId::new((number % 60_000) as u16 + 1).expect("never zero");
            wire.send(publish(&topic, payload, QoS::AtLeastOnce, id, false)).await?;
            number += 1;
        }
        tokio::select! {
            packet = wire.next() => match packet? {
                Packet::Puback(ack) if !ack.reason.is_failure() => acknowledged += 1,
                other => return Err(io::Error::other(format!("not stored: {other:?}"))),
            },
            () = tokio::time::sleep(Duration::from_micros(500)), if number < RATE * SECONDS => {}
        }
    }
    Ok((RATE * SECONDS) as f64 / started.elapsed().as_secs_f64())
}
