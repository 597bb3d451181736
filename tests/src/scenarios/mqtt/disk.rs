//! The broker on a bad disk and by a wrong clock.
//!
//! A disk that takes 20 ms for each sync slows publishers down, and nobody else. One without room
//! has QoS 1 and 2 refused with a reason, while messages that nobody keeps go on, and is forgotten
//! once there is room. A clock that is set ends no session, publishes no will and expires no
//! message. In all cases what was acknowledged is there.

use crate::client::mqtt::{Login, Wire, publish};
use crate::faults::Tally;
use crate::process::{Edge, LIMIT, Settings};
use crate::scenarios::Scale;
use crate::scenarios::audit::edge_client;
use crate::scenarios::hands::block_on;
use crate::tmpfs::{Skipped, Tmpfs};
use crate::wait::{until, until_async};
use holdfast_edge::mqtt::packet::{Packet, PacketId, Publish, PublishProperties, QoS, Topic};
use holdfast_edge::mqtt::reason::Reason;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

const SLOW: &str = "a disk that takes 20 ms for each sync";
const FULL: &str = "a disk without room";
const AHEAD: &str = "a clock that is set forty days ahead";
const BACK: &str = "a clock that is set years back";
/// Bytes of the disk that gets full.
const DISK: u64 = 64 << 20;

/// Runs the campaign.
///
/// # Panics
/// When a promise is broken, or a fault never struck.
pub fn disks(scale: Scale) {
    block_on(async {
        let tally = Tally::of(&[SLOW]);
        slow(&tally, scale.of(20_000, 1_000)).await;
        match Tmpfs::mount(DISK) {
            Ok(disk) => full(&tally, &disk, scale.of(20, 2)).await,
            Err(Skipped(reason)) => println!("{reason}"),
        }
        set_clock(&tally).await;
        tally.finish().expect("each fault struck");
    });
}

struct Gateway {
    edge: Edge,
    token: String,
}

impl Gateway {
    fn init(dir: &Path) -> Self {
        let edge = Edge::init("ps-000", dir, Settings::default()).expect("the gateway is made");
        let token = edge.admin_token().expect("its token");
        Self { edge, token }
    }

    async fn open(&self, client: &str, expiry_s: u32) -> Wire {
        let login = Login { client, token: &self.token, expiry_s };
        Wire::open_as(self.edge.mqtt(), login).await.expect("it is let in").0
    }

    /// The sequences of the readings that are stored.
    fn stored(&self) -> BTreeSet<u64> {
        let mut stored = BTreeSet::new();
        self.edge
            .export(|line| {
                let line: Value = serde_json::from_str(line).expect("a line of JSON");
                assert!(stored.insert(line["seq"].as_u64().expect("a number")), "{line} is double");
            })
            .expect("the export succeeds");
        stored
    }
}

fn reading(seq: u64) -> String {
    json!({ "boot": 1, "seq": seq, "values": { "level": seq as f64 * 0.37 } }).to_string()
}

/// The answers of a publisher with twenty messages on their way; those that were acknowledged.
async fn window(wire: &mut Wire, count: u64) -> u64 {
    let (mut sent, mut done) = (0, 0);
    while done < count {
        if sent < count && sent - done < 20 {
            sent += 1;
            let id = PacketId::new((sent % 60_000) as u16 + 1).expect("never zero");
            let packet =
                publish("devices/pump/readings", reading(sent), QoS::AtLeastOnce, id, false);
            wire.send(packet).await.expect("sent");
            continue;
        }
        match tokio::time::timeout(LIMIT, wire.next()).await.expect("in time").expect("a packet") {
            Packet::Puback(ack) => {
                assert!(!ack.reason.is_failure(), "{ack:?}");
                done += 1;
            }
            other => panic!("a publisher got {other:?}"),
        }
    }
    done
}

async fn slow(tally: &Tally, count: u64) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut gateway = Gateway::init(dir.path());
    let delay = "fdatasync,fsync:delay_exit=20000";
    let log = dir.path().join("strace.log");
    gateway.edge.start_with(&Settings::default().inject(delay, &log)).expect("it starts");
    // Messages that nobody keeps do not wait for the disk.
    let mut watcher = gateway.open("watcher", 0).await;
    watcher.subscribe(&["site/#"], QoS::AtMostOnce).await.expect("it may");
    let mut talker = gateway.open("talker", 0).await;
    let mut publisher = gateway.open("pump", 0).await;
    let started = Instant::now();
    let publishing = window(&mut publisher, count);
    let talking = async {
        let (mut talked, mut slowest) = (0_u64, Duration::ZERO);
        while talked < 200 {
            let asked = Instant::now();
            let text = talked.to_string();
            let packet = publish("site/x", text.clone(), QoS::AtMostOnce, PacketId::MIN, false);
            talker.send(packet).await.expect("sent");
            assert_eq!(watcher.message().await.expect("a message").payload, text);
            slowest = slowest.max(asked.elapsed());
            talked += 1;
        }
        slowest
    };
    let (done, slowest) = tokio::join!(publishing, talking);
    let rate = done as f64 / started.elapsed().as_secs_f64();
    println!("{SLOW}: {rate:.0} readings/s acknowledged, QoS 0 at most {slowest:?} beside them");
    gateway.edge.kill9().expect("it is killed");
    tally.add(SLOW, count_syncs(&log));
    assert_eq!(gateway.stored().len() as u64, done, "all that was acknowledged");
}

/// Syncs that were delayed.
fn count_syncs(log: &Path) -> u64 {
    let log = fs::read_to_string(log).unwrap_or_default();
    log.lines().filter(|line| line.contains("DELAYED")).count() as u64
}

async fn full(tally: &Tally, disk: &Tmpfs, rounds: u64) {
    tally.add(FULL, 0);
    let mut gateway = Gateway::init(&disk.path().join("node"));
    gateway.edge.start().expect("it starts");
    let mut watcher = gateway.open("watcher", 0).await;
    watcher.subscribe(&["site/#"], QoS::AtMostOnce).await.expect("it may");
    let mut publisher = gateway.open("pump", 0).await;
    let (mut seq, mut acknowledged) = (0, BTreeSet::new());
    let topic = "devices/pump/readings";
    for _ in 0..rounds {
        // What the gateway writes meanwhile is in the way of taking all that is free.
        until("the disk to be filled", LIMIT, || disk.fill(256 << 10).ok());
        let refused = until_async("a refusal", LIMIT, async || {
            seq += 1;
            match publisher.say(topic, reading(seq)).await.expect("it stays connected") {
                (Reason::Success | Reason::NoMatchingSubscribers, _) => {
                    acknowledged.insert(seq);
                    None
                }
                (reason, text) => Some((reason, text)),
            }
        });
        let (reason, text) = refused.await;
        assert_eq!(reason, Reason::QuotaExceeded, "{text}");
        tally.strike(FULL);
        let packet = publish("site/x", "on".to_owned(), QoS::AtMostOnce, PacketId::MIN, false);
        publisher.send(packet).await.expect("sent");
        assert_eq!(watcher.message().await.expect("a message").payload, "on");
        fs::remove_file(disk.path().join("ballast")).expect("room again");
        until_async("service to resume", LIMIT, async || {
            seq += 1;
            let (reason, _) = publisher.say(topic, reading(seq)).await.expect("still connected");
            let is_taken = !reason.is_failure();
            is_taken.then(|| acknowledged.insert(seq))
        })
        .await;
    }
    gateway.edge.kill9().expect("it is killed");
    let stored = gateway.stored();
    let missing: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(missing.is_empty(), "acknowledged and lost: {missing:?}");
    println!("{FULL}: {rounds} times, {} readings acknowledged around it", acknowledged.len());
}

async fn set_clock(tally: &Tally) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut gateway = Gateway::init(dir.path());
    let file = dir.path().join("clock");
    fs::write(&file, "+0\n").expect("the clock is written");
    let clock = match Settings::default().clock_file(&file) {
        Ok(clock) => clock,
        Err(reason) => return println!("{reason}: the clock stays right"),
    };
    tally.add(AHEAD, 0);
    tally.add(BACK, 0);
    gateway.edge.start_with(&clock).expect("it starts");
    let mut away = gateway.open("away", 3_600).await;
    away.subscribe(&["site/#"], QoS::AtLeastOnce).await.expect("it may");
    drop(away);
    let mut publisher = gateway.open("pump", 0).await;
    for (fault, spec, first) in [(AHEAD, "+40d\n", 1), (BACK, "-3y\n", 2)] {
        publisher.send(expiring(first)).await.expect("sent");
        let taken = publisher.next().await.expect("an answer");
        assert!(
            matches!(&taken, Packet::Puback(ack) if ack.reason == Reason::Success),
            "{taken:?}"
        );
        let before = node_time(&gateway).await;
        fs::write(&file, spec).expect("the clock is set");
        until_async("the gateway to have another time", LIMIT, async || {
            let (reason, _) = publisher.say("devices/pump/readings", reading(first)).await.ok()?;
            assert!(!reason.is_failure());
            let passed = node_time(&gateway).await.duration_since(before).as_secs().abs();
            (passed > 86_400).then_some(())
        })
        .await;
        tally.strike(fault);
    }
    let login = Login { client: "away", token: &gateway.token, expiry_s: 3_600 };
    let (mut away, connack) = Wire::open_as(gateway.edge.mqtt(), login).await.expect("let in");
    assert!(connack.session_present, "a session of an hour is gone after a minute");
    for number in 1..=2 {
        let message = away.message().await.expect("a message");
        assert_eq!(message.payload, number.to_string(), "it had ten minutes");
        let left = message.properties.expiry_s.expect("what is left of them");
        assert!((1..=600).contains(&left), "{left}");
    }
    gateway.edge.kill9().expect("it is killed");
    assert_eq!(gateway.stored(), BTreeSet::from([1, 2]));
}

/// A message that expires after ten minutes.
fn expiring(number: u64) -> Packet {
    Packet::Publish(Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: Topic::try_from("site/log").expect("a topic"),
        packet_id: Some(PacketId::MIN),
        payload: number.to_string().into(),
        properties: PublishProperties { expiry_s: Some(600), ..PublishProperties::default() },
    })
}

/// What the gateway takes for the time: that of the last packet of a client.
async fn node_time(gateway: &Gateway) -> jiff::Timestamp {
    let mut http = edge_client(&gateway.edge);
    let told = http.get("/v1/mqtt/clients?text=pump").await.expect("an answer").json();
    let time = told["clients"][0]["last_packet"].as_str().expect("a time");
    time.parse().expect("a time in RFC 3339")
}
