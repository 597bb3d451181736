//! A crowd at the broker, most of it unpleasant, and one client that means well.
//!
//! Thousands connect and say nothing; some never finish a packet or send one byte at a time; one
//! subscribes to everything and never reads; one publishes without end and without reading answers;
//! one comes back under the same identifier for ever, as two of the same name do. Beside them a
//! device posts readings and waits for each answer: all are acknowledged and stored, and the
//! gateway's memory is bounded.

use crate::client::mqtt::{Login, Wire, publish};
use crate::faults::Tally;
use crate::process::{Edge, LIMIT, Memory, Settings, allow_connections};
use crate::scenarios::Scale;
use crate::scenarios::hands::block_on;
use crate::wait::until_async;
use holdfast_edge::mqtt::packet::{PacketId, QoS};
use holdfast_edge::mqtt::reason::Reason;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

const IDLE: &str = "thousands connect and say nothing";
const HALF: &str = "a connection never finishes its CONNECT";
const SLOW: &str = "a client sends one byte at a time";
const DEAF: &str = "a subscriber never reads";
const FLOOD: &str = "a publisher floods";
const TWINS: &str = "two clients take one session from each other";
/// MiB that the gateway may have at most, and beside it KiB for each connection.
const RSS_MAX: f64 = 90.0;
const RSS_EACH_KIB: f64 = 16.0;
/// Places for those who are not silent.
const OTHERS: u64 = 100;
/// Addresses of the loopback that the crowd comes from.
const SOURCES: u64 = 8;

/// Runs the campaign.
///
/// # Panics
/// When the one who means well is not served, or memory is not bounded.
pub fn crowd(scale: Scale) {
    let count = scale.of(10_000, 500);
    allow_connections(count).expect("as many files may be open");
    block_on(async {
        let dir = tempfile::tempdir().expect("a directory");
        // More than these would have to wait until somebody leaves.
        let places = (count + OTHERS).to_string();
        let settings = Settings::default().env("HOLDFAST_MQTT_CONNECTIONS", places);
        let edge = Edge::init("ps-000", dir.path(), settings);
        let mut edge = edge.expect("the gateway is made");
        edge.start().expect("it starts");
        let shared = Arc::new(Shared {
            address: edge.mqtt(),
            token: edge.admin_token().expect("its token"),
            stop: AtomicBool::new(false),
            flooded: AtomicU64::new(0),
            posted: AtomicU64::new(0),
            tally: Tally::of(&[IDLE, HALF, SLOW, DEAF, FLOOD, TWINS]),
        });
        let mut nuisances = JoinSet::new();
        nuisances.spawn(never_reads(Arc::clone(&shared)));
        nuisances.spawn(floods(Arc::clone(&shared), QoS::AtMostOnce));
        nuisances.spawn(floods(Arc::clone(&shared), QoS::AtLeastOnce));
        for _ in 0..2 {
            nuisances.spawn(takes_over(Arc::clone(&shared)));
        }
        nuisances.spawn(byte_by_byte(Arc::clone(&shared)));
        for _ in 0..20 {
            nuisances.spawn(half_open(Arc::clone(&shared)));
        }
        let good = tokio::spawn(means_well(Arc::clone(&shared)));
        let started = Instant::now();
        let idle = all_idle(&shared, count).await;
        let rate = count as f64 / started.elapsed().as_secs_f64();
        shared.tally.add(IDLE, count);
        // Everything goes on beside everybody until so many more are acknowledged.
        let until = shared.posted.load(Ordering::Relaxed) + scale.of(2_000, 200);
        let is_there = async || (shared.posted.load(Ordering::Relaxed) >= until).then_some(());
        until_async("readings beside the crowd", LIMIT * 4, is_there).await;
        let resident = Memory::of(edge.process().pid()).expect("it runs").mib();
        shared.stop.store(true, Ordering::Relaxed);
        let slowest = good.await.expect("who means well is served");
        let posted = shared.posted.load(Ordering::Relaxed);
        nuisances.shutdown().await;
        let flooded = shared.flooded.load(Ordering::Relaxed);
        println!("{count} connected, {rate:.0} a second; {flooded} messages of a flood");
        println!("{posted} readings acknowledged beside it, the slowest after {slowest:?}");
        println!("{resident:.0} MiB resident");
        let bound = RSS_MAX + count as f64 * RSS_EACH_KIB / 1024.0;
        assert!(resident <= bound, "{resident:.0} MiB, which is more than {bound:.0}");
        drop(idle);
        edge.stop().expect("it stops");
        let mut seqs = Vec::new();
        edge.export(|line| {
            let line: Value = serde_json::from_str(line).expect("a line of JSON");
            if line["device"] == "good" {
                seqs.push(line["seq"].as_u64().expect("its sequence"));
            }
        })
        .expect("the export succeeds");
        seqs.sort_unstable();
        assert_eq!(seqs, (1..=posted).collect::<Vec<_>>(), "each acknowledged reading once");
        shared.tally.finish().expect("everybody was there");
    });
}

struct Shared {
    address: SocketAddr,
    token: String,
    stop: AtomicBool,
    flooded: AtomicU64,
    /// Readings that were acknowledged to the one who means well.
    posted: AtomicU64,
    tally: Tally,
}

impl Shared {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    async fn open(&self, client: &str) -> std::io::Result<Wire> {
        let login = Login::passing(client, &self.token);
        Ok(Wire::open_as(self.address, login).await?.0)
    }
}

/// Posts a reading, waits for the answer, and so on; the longest wait.
async fn means_well(shared: Arc<Shared>) -> Duration {
    let mut wire = shared.open("good").await.expect("it is let in");
    let mut slowest = Duration::ZERO;
    while !shared.is_over() {
        let seq = shared.posted.load(Ordering::Relaxed) + 1;
        let reading = json!({ "boot": 1, "seq": seq, "values": { "level": seq } });
        let asked = Instant::now();
        let said = wire.say("devices/good/readings", reading.to_string());
        let said = tokio::time::timeout(LIMIT, said).await.expect("it is answered in time");
        let (reason, text) = said.expect("it stays connected");
        assert_eq!(reason, Reason::Success, "{text}");
        slowest = slowest.max(asked.elapsed());
        shared.posted.store(seq, Ordering::Relaxed);
    }
    slowest
}

/// Connects so many, a thousand a second, and keeps them.
async fn all_idle(shared: &Arc<Shared>, count: u64) -> Vec<Wire> {
    let mut connects = JoinSet::new();
    let started = tokio::time::Instant::now();
    for number in 0..count {
        let shared = Arc::clone(shared);
        connects.spawn(async move {
            tokio::time::sleep_until(started + Duration::from_millis(number)).await;
            let socket = TcpSocket::new_v4()?;
            let from = SocketAddr::from(([127, 0, 0, 2 + (number % SOURCES) as u8], 0));
            socket.bind(from)?;
            let mut stream = socket.connect(shared.address).await?;
            let client = format!("idle-{number}");
            stream.write_all(&Login::passing(&client, &shared.token).bytes()).await?;
            let mut wire = Wire::over(stream);
            wire.let_in().await?;
            std::io::Result::Ok(wire)
        });
    }
    let mut wires = Vec::new();
    while let Some(ended) = connects.join_next().await {
        wires.push(ended.expect("it ends").expect("each is let in"));
    }
    wires
}

async fn never_reads(shared: Arc<Shared>) {
    let mut wire = shared.open("deaf").await.expect("it is let in");
    wire.subscribe(&["#"], QoS::AtLeastOnce).await.expect("it may");
    shared.tally.strike(DEAF);
    // Until the end of the test, unless the gateway ends it before.
    std::future::pending::<()>().await;
}

/// Publishes as fast as it is read from, and reads nothing.
async fn floods(shared: Arc<Shared>, qos: QoS) {
    loop {
        let client = format!("flood-{}", qos as u8);
        let Ok(mut wire) = shared.open(&client).await else { continue };
        let mut number = 0_u64;
        loop {
            number += 1;
            let packet_id = PacketId::new((number % 60_000) as u16 + 1).expect("never zero");
            let packet = publish("site/flood", "x".repeat(200), qos, packet_id, false);
            let sent = tokio::time::timeout(Duration::from_secs(1), wire.send(packet)).await;
            match sent {
                Ok(Ok(())) => drop(shared.flooded.fetch_add(1, Ordering::Relaxed)),
                // Not read from any more, because it does not read: it begins again.
                Ok(Err(_)) | Err(_) => break,
            }
        }
        shared.tally.strike(FLOOD);
    }
}

/// Connects under one name with a kept session, again and again.
async fn takes_over(shared: Arc<Shared>) {
    loop {
        let login = Login { client: "same", token: &shared.token, expiry_s: 60 };
        if let Ok((mut wire, connack)) = Wire::open_as(shared.address, login).await {
            if connack.session_present {
                shared.tally.strike(TWINS);
            }
            // Until the other one comes.
            let _ = wire.next().await;
        }
    }
}

/// A client on the worst of links is still one.
async fn byte_by_byte(shared: Arc<Shared>) {
    while let Ok(mut stream) = TcpStream::connect(shared.address).await {
        let _ = stream.set_nodelay(true);
        for byte in Login::passing("slow", &shared.token).bytes() {
            if stream.write_all(&[byte]).await.is_err() {
                break;
            }
        }
        let mut wire = Wire::over(stream);
        wire.let_in().await.expect("a slow client is let in");
        shared.tally.strike(SLOW);
    }
}

/// Sends half a CONNECT; the gateway ends it after ten seconds.
async fn half_open(shared: Arc<Shared>) {
    while let Ok(mut stream) = TcpStream::connect(shared.address).await {
        let connect = Login::passing("half", &shared.token).bytes();
        if stream.write_all(&connect[..connect.len() / 2]).await.is_ok() {
            shared.tally.strike(HALF);
        }
        let mut wire = Wire::over(stream);
        assert!(wire.let_in().await.is_err(), "it never said who it is");
    }
}
