//! `bench size`: what a reading takes on disk once it is sealed, and on the way to the hub.
//!
//! The data set `waterworks-1` is what twenty stations measure in twelve hours: values rounded to
//! the sensor's resolution with noise of two steps either way, times jittered by 20 ms, 5 % late,
//! 1 % not measured. The other figure is for doubles that have nothing in common.
//! Peers get the same data set, without the boot count and sequence that ours keeps with a reading.

use super::peers::influx::{self, Influx};
use super::peers::rows::{self, Rows};
use super::{Better, Figure, Peers, load, until_read, until_sealed, wire};
use crate::client::Client;
use crate::process::{Edge, Settings};
use crate::rng::Rng;
use crate::waterworks::{Feed, Habits, Item, Pace, Patience, Value, Works};
use std::collections::HashMap;
use std::fmt::Write;
use std::io;
use tokio::net::TcpStream;

const SEED: u64 = 1;
const STATIONS: u64 = 20;
/// 2026-11-01T00:00:00Z: fixed, so that the data set is the same every time.
const START_MS: i64 = 1_793_491_200_000;
const END_MS: i64 = START_MS + 12 * 3_600_000;
const HABITS: Habits = Habits { every_ms: 10_000, jitter_ms: 20, gap: 0.01, late: 0.05 };
/// Rows of a transaction.
const BATCH: usize = 5_000;
/// Lines of a request, bytes.
const INFLUX_BODY: usize = 256 << 10;
const ENTROPY_BATCHES: u64 = 300;
const ENTROPY_BATCH: u64 = 1_000;

/// Runs the bench.
///
/// # Errors
/// When a gateway does not start, or its log is not sealed.
pub async fn size(as_json: bool) -> io::Result<()> {
    if !as_json {
        println!("waterworks-1: seed {SEED}, hash {}", data_hash());
    }
    let dir = tempfile::tempdir()?;
    let mut edge = Edge::init("bench", dir.path(), Settings::default())?;
    edge.start()?;
    let works = Works {
        seed: SEED,
        stations: STATIONS,
        boot: 1,
        habits: HABITS,
        start_ms: START_MS,
        end_ms: Some(END_MS),
        pace: Pace::Flat,
    };
    let shift = works.start(edge.http(), &edge.ingest_token()?, Patience::default());
    shift.finish().await;
    let name = "sealed_bytes_per_reading";
    let held = figure(name, 2.5, &edge, measure_peers().await?, as_json).await?;
    wire::measure(&mut edge, held, as_json).await?;
    edge.stop()?;

    let dir = tempfile::tempdir()?;
    let mut edge = Edge::init("bench", dir.path(), Settings::default())?;
    edge.start()?;
    let token = edge.ingest_token()?;
    let mut client = Client::new(edge.http()).with_token(token);
    let mut rng = Rng::new(SEED);
    for batch in 0..ENTROPY_BATCHES {
        let body = entropy(&mut rng, batch);
        let answer = client.post("/v1/readings", "application/x-ndjson", body).await;
        let answer = answer.map_err(io::Error::other)?;
        if !answer.status.is_success() {
            return Err(io::Error::other(answer.text()));
        }
    }
    let name = "sealed_bytes_per_entropy_double";
    figure(name, 9.5, &edge, Peers::new(), as_json).await?;
    edge.stop()
}

/// Each item of the data set, a station after the other.
fn items() -> impl Iterator<Item = Item> {
    (0..STATIONS).flat_map(|station| {
        let feed = Feed::new(SEED, station, 1, HABITS, START_MS);
        feed.take_while(|batch| batch.due_ms < END_MS).flat_map(|batch| batch.items)
    })
}

/// Bytes of a reading in the peers, with nothing left to compact.
async fn measure_peers() -> io::Result<Peers> {
    let (mut rows, mut series, mut batch) = (Rows::create()?, HashMap::new(), Vec::new());
    for item in items() {
        for reading in &item.readings {
            let next = series.len() as i64;
            let number = *series.entry((item.key.device.clone(), reading.metric)).or_insert(next);
            let value = match reading.value {
                Value::Number(number) => number,
                Value::Switch(on) => f64::from(u8::from(on)),
            };
            batch.push((number, item.time_ms, value));
        }
        if batch.len() >= BATCH {
            rows.write(batch.drain(..))?;
        }
    }
    rows.write(batch)?;
    let (count, bytes) = rows.at_rest()?;
    let mut peers = Peers::from([(rows::NAME.to_owned(), bytes as f64 / count as f64)]);
    if let Some(influx) = Influx::start().await? {
        peers.insert(influx.name.clone(), fill(&influx).await? as f64 / count as f64);
        influx.stop()?;
    }
    Ok(peers)
}

/// Posts the data set; what it takes then.
async fn fill(influx: &Influx) -> io::Result<u64> {
    let mut stream = TcpStream::connect(influx.address).await?;
    let (mut buffer, mut body) = (vec![0; 16 << 10], String::new());
    let mut items = items().peekable();
    while let Some(item) = items.next() {
        let Item { key, time_ms, readings } = &item;
        for reading in readings {
            let (metric, value) = (reading.metric, reading.value);
            writeln!(body, "{metric},device={} value={value} {time_ms}", key.device)
                .expect("writing to a string cannot fail");
        }
        if body.len() > INFLUX_BODY || items.peek().is_none() {
            let request = load::request(influx::WRITE, "none", "text/plain", &body);
            load::exchange(&mut stream, &request, &mut buffer).await?;
            body.clear();
        }
    }
    influx.at_rest().await
}

/// The hash of all that the stations send, in their order.
fn data_hash() -> String {
    let mut hasher = blake3::Hasher::new();
    let mut text = String::new();
    for item in items() {
        text.clear();
        item.write_json(&mut text);
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

/// Lines of twenty devices with five series, whose values are any doubles between 1 and 2.
fn entropy(rng: &mut Rng, batch: u64) -> String {
    let mut out = String::new();
    for n in 0..ENTROPY_BATCH {
        let (device, metric) = (n % 20, n / 20 % 5);
        let value = f64::from_bits(0x3ff0_0000_0000_0000 | rng.next_u64() >> 12);
        let ms = START_MS + ((batch * ENTROPY_BATCH + n) / 100 * 10_000) as i64;
        let time = ms + rng.below(20) as i64;
        let time = jiff::Timestamp::from_millisecond(time).expect("a time of this century");
        writeln!(
            out,
            r#"{{"device":"d{device}","metric":"m{metric}","value":{value},"time":"{time}"}}"#
        )
        .expect("writing to a string cannot fail");
    }
    out
}

/// Waits until as much is sealed as will be, and prints what that takes; how many entries are held.
async fn figure(
    name: &'static str,
    target: f64,
    edge: &Edge,
    peers: Peers,
    as_json: bool,
) -> io::Result<u64> {
    until_read(edge).await?;
    let rows = until_sealed(edge).await?;
    let sealed = rows.iter().find(|(sealed, ..)| *sealed);
    let (_, count, bytes) = sealed.ok_or_else(|| io::Error::other("nothing was sealed"))?;
    let value = *bytes as f64 / *count as f64;
    Figure { name, value, unit: "bytes", target, better: Better::Lower, peers }.print(as_json);
    Ok(rows.iter().map(|(_, count, _)| count.unsigned_abs()).sum())
}
