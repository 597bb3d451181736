//! `bench size`: what a reading takes on disk once it is sealed.
//!
//! The data set `waterworks-1` is what twenty stations measure in twelve hours: values rounded to
//! the sensor's resolution with noise of two steps either way, times jittered by 20 ms, 5 % late,
//! 1 % not measured. The other figure is for doubles that have nothing in common.

use super::{Better, Figure, until_read, until_sealed};
use crate::client::Client;
use crate::process::{Edge, Settings};
use crate::rng::Rng;
use crate::waterworks::{Feed, Habits, Pace, Patience, Works};
use std::fmt::Write;
use std::io;

const SEED: u64 = 1;
const STATIONS: u64 = 20;
/// 2026-11-01T00:00:00Z: fixed, so that the data set is the same every time.
const START_MS: i64 = 1_793_491_200_000;
const END_MS: i64 = START_MS + 12 * 3_600_000;
const HABITS: Habits = Habits { every_ms: 10_000, jitter_ms: 20, gap: 0.01, late: 0.05 };
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
    figure("sealed_bytes_per_reading", 2.5, &mut edge, as_json).await?;

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
    figure("sealed_bytes_per_entropy_double", 9.5, &mut edge, as_json).await
}

/// The hash of all that the stations send, in their order.
fn data_hash() -> String {
    let mut hasher = blake3::Hasher::new();
    let mut text = String::new();
    for station in 0..STATIONS {
        let feed = Feed::new(SEED, station, 1, HABITS, START_MS);
        for item in feed.take_while(|batch| batch.due_ms < END_MS).flat_map(|batch| batch.items) {
            text.clear();
            item.write_json(&mut text);
            hasher.update(text.as_bytes());
        }
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

/// Waits until as much is sealed as will be, and prints what that takes.
async fn figure(name: &'static str, target: f64, edge: &mut Edge, as_json: bool) -> io::Result<()> {
    until_read(edge).await?;
    let rows = until_sealed(edge).await?;
    let sealed = rows.iter().find(|(sealed, ..)| *sealed);
    let (_, count, bytes) = sealed.ok_or_else(|| io::Error::other("nothing was sealed"))?;
    let value = *bytes as f64 / *count as f64;
    Figure { name, value, unit: "bytes", target, better: Better::Lower }.print(as_json);
    edge.stop()
}
