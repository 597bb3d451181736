//! Power cuts at the broker: what was acknowledged is there, QoS 2 once and in order.
//!
//! A gateway runs under the shim of [`crate::powercut`] while a client publishes readings with QoS
//! 1 and messages with QoS 2 for a session whose client is away. Its directory is then rebuilt as a
//! disk might hold it if the power had gone after some operation. A gateway that starts on that has
//! the session, every reading that was acknowledged before, and gives the session's client every
//! message that was, once and in order.

use crate::client::mqtt::{Wire, publish};
use crate::faults::Tally;
use crate::powercut::{Journal, Recording};
use crate::process::{Edge, LIMIT, Settings};
use crate::rng::Rng;
use crate::scenarios::{Scale, tell};
use holdfast_edge::mqtt::packet::{Ack, Packet, PacketId, QoS};
use holdfast_edge::mqtt::reason::Reason;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use tokio::runtime::Runtime;

const LOST: &str = "unsynced writes lost";
const TORN: &str = "unsynced writes torn";
const REORDERED: &str = "unsynced writes reordered";
/// So many times more cuts are made until each kind of loss has struck.
const MORE: u64 = 10;
/// Messages between two kills of the recorded gateway.
const PART: usize = 120;
/// How often it is killed.
const KILLS: usize = 2;
/// Messages that are unanswered at a time.
const WINDOW: usize = 8;
/// The session whose client is away.
const AWAY: &str = "ledger";

struct Run {
    journal: Journal,
    /// For each message the length of the journal when it was acknowledged.
    acknowledged: Vec<u64>,
    /// And when the session was there.
    subscribed: u64,
    configuration: String,
    token: String,
}

/// Cuts the power.
///
/// # Panics
/// When something acknowledged is missing, doubled or out of order.
pub fn power_cuts(scale: Scale) {
    let tally = Tally::of(&[LOST, TORN, REORDERED]);
    let dir = tempfile::tempdir().expect("a directory for the run");
    let runtime = Runtime::new().expect("a runtime");
    let run = runtime.block_on(record(dir.path()));
    let cuts = scale.of(400, 20);
    let mut rng = Rng::keyed(scale.seed, &[1]);
    let mut done = 0;
    // What is recorded is another run each time, and where a few cuts fall in it does not always
    // leave writes in another order.
    while done < cuts || (!tally.is_complete() && done < MORE * cuts) {
        tell("mqtt-power", done, cuts);
        done += 1;
        let cut = rng.index(run.journal.ops() + 1);
        let seed = rng.next_u64();
        runtime.block_on(after(&run, cut, seed, dir.path(), &tally));
    }
    let (ops, told) = (run.journal.ops(), run.acknowledged.len());
    println!("mqtt-power: {done} cuts of {ops} operations, {told} acknowledged");
    tally.finish().expect("every kind of loss struck");
}

async fn record(dir: &Path) -> Run {
    let home = dir.join("recorded");
    let mut edge = Edge::init("recorded", &home, Settings::default()).expect("init works");
    let token = edge.admin_token().expect("init made a token");
    let recording = Recording::begin(edge.data(), &dir.join("work")).expect("it begins");
    let shim = Settings::default().envs(recording.environment());
    let mut acknowledged = Vec::new();
    let mut subscribed = None;
    for _ in 0..=KILLS {
        edge.start_with(&shim).expect("the gateway starts");
        if subscribed.is_none() {
            let (mut wire, _) = Wire::open(edge.mqtt(), AWAY, &token).await.expect("it is let in");
            wire.subscribe(&["site/#"], QoS::ExactlyOnce).await.expect("it may");
            subscribed = Some(recording.len().expect("the journal is there"));
        }
        let (mut wire, _) = Wire::open(edge.mqtt(), "pump", &token).await.expect("it is let in");
        let until = acknowledged.len() + PART;
        let publishing = publish_until(&mut wire, &mut acknowledged, until, &recording);
        tokio::time::timeout(LIMIT, publishing).await.expect("all is acknowledged");
        edge.kill9().expect("it is killed");
    }
    let journal = recording.load().expect("the journal is readable");
    let configuration = fs::read_to_string(home.join("edge.toml")).expect("a configuration");
    let subscribed = subscribed.expect("the first thing that was done");
    Run { journal, acknowledged, subscribed, configuration, token }
}

/// Every second one is a message of QoS 2, the others are readings.
fn packet(number: usize) -> Packet {
    let id = PacketId::new((number % 60_000) as u16 + 1).expect("never zero");
    if number.is_multiple_of(2) {
        let reading = json!({ "boot": 1, "seq": number / 2 + 1, "values": { "level": number } });
        let topic = "devices/pump/readings";
        return publish(topic, reading.to_string(), QoS::AtLeastOnce, id, false);
    }
    publish("site/log", number.to_string(), QoS::ExactlyOnce, id, false)
}

async fn publish_until(
    wire: &mut Wire,
    acknowledged: &mut Vec<u64>,
    until: usize,
    recording: &Recording,
) {
    let (mut next, mut released) = (acknowledged.len(), 0);
    let from = next;
    while acknowledged.len() < until || released < (until - from) / 2 {
        if next < until && next - acknowledged.len() < WINDOW {
            wire.send(packet(next)).await.expect("sent");
            next += 1;
            continue;
        }
        // Answers come in the order of the messages.
        match wire.next().await.expect("it stays connected") {
            Packet::Puback(ack) => {
                assert!(!ack.reason.is_failure(), "{ack:?}");
                acknowledged.push(recording.len().expect("the journal is there"));
            }
            Packet::Pubrec(ack) => {
                assert!(!ack.reason.is_failure(), "{ack:?}");
                acknowledged.push(recording.len().expect("the journal is there"));
                let pubrel = Packet::Pubrel(Ack::new(ack.packet_id, Reason::Success));
                wire.send(pubrel).await.expect("sent");
            }
            Packet::Pubcomp(_) => released += 1,
            other => panic!("a publisher got {other:?}"),
        }
    }
}

/// What a gateway has whose power went after operation `cut`.
async fn after(run: &Run, cut: usize, seed: u64, dir: &Path, tally: &Tally) {
    let at = dir.join("cut");
    fs::create_dir_all(&at).expect("a directory for the cut");
    let aftermath = run.journal.cut(cut, seed, &at.join("data")).expect("the cut is built");
    tally.add(LOST, aftermath.lost);
    tally.add(TORN, aftermath.torn);
    tally.add(REORDERED, aftermath.reordered);
    fs::write(at.join("edge.toml"), &run.configuration).expect("the configuration");
    let settings = Settings::default().env("HOLDFAST_NODE_DATA", at.join("data"));
    let mut edge = Edge::at("cut", &at, settings);
    edge.start().expect("the gateway starts after a power cut");
    let was_before = |note: u64| run.journal.ops_within(note) <= cut;
    let before: BTreeSet<usize> = (0..run.acknowledged.len())
        .filter(|number| was_before(run.acknowledged[*number]))
        .collect();
    if was_before(run.subscribed) {
        let got = drain(&edge, &run.token).await;
        assert!(got.is_sorted_by(|a, b| a < b), "after operation {cut}: {got:?} came");
        let got: BTreeSet<usize> = got.into_iter().collect();
        let owed = before.iter().filter(|number| !number.is_multiple_of(2));
        let missing: Vec<_> = owed.filter(|number| !got.contains(*number)).collect();
        assert!(missing.is_empty(), "after operation {cut}: messages {missing:?} are lost");
    }
    edge.kill9().expect("it is killed");
    let mut held = BTreeSet::new();
    edge.export(|line| {
        let line: Value = serde_json::from_str(line).expect("a line of JSON");
        held.insert((line["seq"].as_u64().expect("its sequence") as usize - 1) * 2);
    })
    .expect("the export succeeds");
    let readings = before.iter().filter(|number| number.is_multiple_of(2));
    let missing: Vec<_> = readings.filter(|number| !held.contains(*number)).collect();
    assert!(missing.is_empty(), "after operation {cut}: readings {missing:?} are lost");
    fs::remove_dir_all(&at).expect("the cut is removed");
}

/// All that waits for the session, in its order.
async fn drain(edge: &Edge, token: &str) -> Vec<usize> {
    let (mut other, _) = Wire::open(edge.mqtt(), "end", token).await.expect("it is let in");
    let (reason, text) = other.say("site/end", String::new()).await.expect("an answer");
    assert_eq!(reason, Reason::Success, "the session is gone: nobody wants it; {text}");
    let (mut wire, connack) = Wire::open(edge.mqtt(), AWAY, token).await.expect("it is let in");
    assert!(connack.session_present, "the session is gone");
    let mut got = Vec::new();
    loop {
        match wire.next().await.expect("a message") {
            Packet::Publish(publish) if publish.topic.as_str() == "site/end" => return got,
            Packet::Publish(publish) => {
                let text = std::str::from_utf8(&publish.payload).expect("text");
                got.push(text.parse().expect("a number"));
                let id = publish.packet_id.expect("QoS 2");
                wire.send(Packet::Pubrec(Ack::new(id, Reason::Success))).await.expect("sent");
            }
            Packet::Pubrel(ack) => {
                let pubcomp = Packet::Pubcomp(Ack::new(ack.packet_id, Reason::Success));
                wire.send(pubcomp).await.expect("sent");
            }
            other => panic!("a subscriber got {other:?}"),
        }
    }
}
