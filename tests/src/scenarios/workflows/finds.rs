//! A gateway that is killed again and again while readings and messages begin runs on it.
//!
//! One publisher sends readings that cross a limit up and down, and messages on a topic that a
//! trigger names, all with QoS 1 and several at a time; what was not answered it sends again. Each
//! run asks a service at the site for something. In the end each crossing and each message that was
//! acknowledged has begun one run, and nothing else has.

use super::receiver::Receiver;
use super::unguarded;
use crate::client::Client;
use crate::client::mqtt::{Wire, publish};
use crate::faults::Tally;
use crate::process::{Edge, LIMIT};
use crate::rng::Rng;
use crate::scenarios::Scale;
use crate::scenarios::hands::{SYNC_LIMIT, block_on};
use crate::wait::until_async;
use holdfast_edge::mqtt::packet::{Packet, PacketId, QoS};
use serde_json::json;
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const KILLED: &str = "gateway killed";
const AGAIN: &str = "message sent again";
/// Messages that are unanswered at a time.
const WINDOW: usize = 10;
/// Between two messages: about so many runs begin as a gateway of some hundred devices begins.
const PAUSE: Duration = Duration::from_millis(2);

/// The workflows: what a reading begins, and what a message does.
fn definitions(receiver: SocketAddr) -> [String; 2] {
    let asks = |path: &str, n: &str| {
        format!(
            r#"
steps:
  - http: {{method: POST, url: "http://{receiver}/{path}", body: {{n: "{n}"}}}}
    idempotent: true
    timeout: 5s
    retry: {{attempts: 100, first: 50ms, at_most: 1s}}
"#
        )
    };
    let high = r#"workflow: high
version: "1"
runs: {at_once: 1000}
on:
  - reading: {device: "tank-*", metric: level, above: 0.5}
input: {value: decimal}"#;
    let asked = r#"workflow: asked
version: "1"
runs: {at_once: 1000}
on:
  - message: site/+/go
    with: {n: {path: n}, place: "${level(2)}"}
input: {n: int, place: text}"#;
    let place = "${place == 'north' ? n : 0}";
    [
        format!("{high}{}", asks("high", "${round(value)}")),
        format!("{asked}{}", asks("asked", place)),
    ]
}

/// Kills while runs are begun.
///
/// # Panics
/// When something that was acknowledged begins no run, or two.
pub fn finds(scale: Scale) {
    block_on(async {
        let dir = tempfile::tempdir().expect("a directory");
        let edge = Edge::init("ps-000", dir.path(), unguarded());
        let mut edge = edge.expect("the gateway is made");
        edge.start().expect("it starts");
        let (address, receiver) = Receiver::start().await.expect("a port");
        let shared = Arc::new(Shared {
            address: Mutex::new(edge.mqtt()),
            token: edge.admin_token().expect("its token"),
            stop: AtomicBool::new(false),
            tally: Tally::of(&[KILLED, AGAIN]),
        });
        for definition in definitions(address) {
            let mut client = Client::new(edge.http()).with_token(&shared.token).with_limit(LIMIT);
            let new = json!({ "definition": definition });
            let installed = client.post_json("/v1/workflows", &new).await.expect("an answer");
            assert!(installed.status.is_success(), "{}", installed.text());
        }
        let publisher = tokio::spawn(Publisher::default().run(Arc::clone(&shared)));
        let mut rng = Rng::keyed(scale.seed, &[0]);
        for _ in 0..scale.of(300, 15) {
            tokio::time::sleep(Duration::from_millis(20 + rng.index(180) as u64)).await;
            edge.kill9().expect("the gateway is killed");
            shared.tally.strike(KILLED);
            edge.start().expect("it starts again");
            *shared.address.lock().unwrap_or_else(PoisonError::into_inner) = edge.mqtt();
        }
        shared.stop.store(true, Ordering::Relaxed);
        let published = publisher.await.expect("the publisher ends");
        let wanted = |is: fn(u64) -> bool| (0..published).filter(|n| is(*n)).collect();
        let (highs, asked): (BTreeSet<u64>, BTreeSet<u64>) = (wanted(is_high), wanted(is_asked));
        println!("{} readings and {} messages begin runs", highs.len(), asked.len());
        for (path, wanted) in [("/high", &highs), ("/asked", &asked)] {
            let has_all = async || (receiver.numbers(path).len() >= wanted.len()).then_some(());
            until_async("all runs to ask", SYNC_LIMIT, has_all).await;
        }
        // A run that ought not to have begun has asked by now, too.
        until_async("all runs to be over", SYNC_LIMIT, async || {
            let mut client = Client::new(edge.http()).with_token(&shared.token).with_limit(LIMIT);
            let runs = client.get("/v1/runs?state=running&limit=1").await.ok()?.json();
            (runs["runs"].as_array()?.is_empty()).then_some(())
        })
        .await;
        for (path, wanted) in [("/high", highs), ("/asked", asked)] {
            assert_eq!(receiver.numbers(path), wanted, "{path}");
            for n in wanted {
                let keys = receiver.keys(path, n);
                assert_eq!(keys.len(), 1, "{path}, {n} began several runs: {keys:?}");
            }
        }
        edge.stop().expect("it stops");
        shared.tally.finish().expect("each fault happened");
    });
}

/// Readings and messages come by turns; every second reading is high.
const fn is_high(number: u64) -> bool {
    number % 4 == 1
}

const fn is_asked(number: u64) -> bool {
    number % 4 >= 2
}

struct Shared {
    address: Mutex<SocketAddr>,
    token: String,
    stop: AtomicBool,
    tally: Tally,
}

impl Shared {
    /// Connects, again and again while the gateway is down.
    async fn connect(&self) -> Wire {
        loop {
            let address = *self.address.lock().unwrap_or_else(PoisonError::into_inner);
            if let Ok((wire, _)) = Wire::open(address, "finder", &self.token).await {
                return wire;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[derive(Default)]
struct Publisher {
    next: u64,
    unanswered: VecDeque<(PacketId, u64)>,
}

impl Publisher {
    fn packet(number: u64, packet_id: PacketId, dup: bool) -> Packet {
        if is_asked(number) {
            let payload = json!({ "n": number }).to_string();
            return publish("site/north/go", payload, QoS::AtLeastOnce, packet_id, dup);
        }
        let level = if is_high(number) { number } else { 0 };
        // Two of four are readings, and these are numbered without gaps.
        let seq = number / 4 * 2 + number % 4 + 1;
        let payload = json!({ "boot": 1, "seq": seq, "values": { "level": level } });
        let topic = "devices/tank-1/readings";
        publish(topic, payload.to_string(), QoS::AtLeastOnce, packet_id, dup)
    }

    /// Publishes until it is told to stop and all is answered; how many that were.
    async fn run(mut self, shared: Arc<Shared>) -> u64 {
        loop {
            let mut wire = shared.connect().await;
            for (packet_id, number) in self.unanswered.clone() {
                shared.tally.strike(AGAIN);
                // A connection that breaks here shows itself below.
                let _ = wire.send(Self::packet(number, packet_id, true)).await;
            }
            while self.step(&mut wire, &shared).await.is_ok() {
                if shared.stop.load(Ordering::Relaxed) && self.unanswered.is_empty() {
                    return self.next;
                }
            }
        }
    }

    async fn step(&mut self, wire: &mut Wire, shared: &Shared) -> std::io::Result<()> {
        if !shared.stop.load(Ordering::Relaxed) && self.unanswered.len() < WINDOW {
            tokio::time::sleep(PAUSE).await;
            let number = self.next;
            self.next += 1;
            let packet_id = PacketId::new((number % 60_000) as u16 + 1).expect("never zero");
            self.unanswered.push_back((packet_id, number));
            return wire.send(Self::packet(number, packet_id, false)).await;
        }
        if self.unanswered.is_empty() {
            return Ok(());
        }
        match wire.next().await? {
            Packet::Puback(ack) => {
                assert!(!ack.reason.is_failure(), "{ack:?}");
                self.unanswered.retain(|(packet_id, _)| *packet_id != ack.packet_id);
                Ok(())
            }
            other => panic!("a publisher got {other:?}"),
        }
    }
}
