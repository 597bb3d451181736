//! `bench size`: what a reading takes on disk once it is sealed.
//!
//! The data set `waterworks-1` is what twenty stations measure in twelve hours: values rounded to
//! the sensor's resolution with noise of two steps either way, times jittered by 20 ms, 5 % late,
//! 1 % not measured. The other figure is for doubles that have nothing in common.

use super::{Better, Figure, until_read};
use crate::client::Client;
use crate::process::{Edge, Settings};
use crate::rng::Rng;
use crate::waterworks::{Feed, Habits, Pace, Patience, Works};
use rusqlite::{Connection, OpenFlags};
use std::fmt::Write;
use std::io;
use std::time::{Duration, Instant};

const SEED: u64 = 1;
const STATIONS: u64 = 20;
/// 2026-11-01T00:00:00Z: fixed, so that the data set is the same every time.
const START_MS: i64 = 1_793_491_200_000;
const END_MS: i64 = START_MS + 12 * 3_600_000;
const HABITS: Habits = Habits { every_ms: 10_000, jitter_ms: 20, gap: 0.01, late: 0.05 };
const LIMIT: Duration = Duration::from_secs(600);
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
    let path = edge.data().join("holdfast.db");
    let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY);
    let database = database.map_err(io::Error::other)?;
    let chain = reading_chain(&database).map_err(io::Error::other)?;
    // The row's other columns, its keys in the indexes and the page's share are counted as 250.
    let sql = "SELECT sealed, sum(count), sum(length(body) + length(filter) + 250) FROM commits
               WHERE chain=?1 GROUP BY sealed ORDER BY sealed";
    let started = Instant::now();
    let (mut before, mut still) = (Vec::new(), 0);
    // Small segments are put together for a while after everything is sealed.
    while still < 20 {
        if started.elapsed() > LIMIT {
            return Err(io::Error::other("the log is never at rest"));
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
        let mut statement = database.prepare(sql).map_err(io::Error::other)?;
        let rows = statement
            .query_map([chain], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .and_then(|rows| rows.collect::<Result<Vec<(bool, i64, i64)>, _>>());
        let rows = rows.map_err(io::Error::other)?;
        still = if rows == before { still + 1 } else { 0 };
        before = rows;
    }
    let sealed = before.iter().find(|(sealed, ..)| *sealed);
    let (_, count, bytes) = sealed.ok_or_else(|| io::Error::other("nothing was sealed"))?;
    let value = *bytes as f64 / *count as f64;
    Figure { name, value, unit: "bytes", target, better: Better::Lower }.print(as_json);
    edge.stop()
}

/// The number of the chain of readings, from the chains' records.
fn reading_chain(database: &Connection) -> rusqlite::Result<u32> {
    const READING: u8 = 2;
    let mut statement = database.prepare("SELECT key, value FROM records WHERE tab=2")?;
    let records = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for record in records {
        let (key, value): ([u8; 4], Vec<u8>) = record?;
        // Behind the origin stand the boot count, as a varint, and a nonce.
        let boot = value[32..].iter().take_while(|byte| **byte & 0x80 != 0).count() + 1;
        if value[32 + boot + 8] == READING {
            return Ok(u32::from_be_bytes(key));
        }
    }
    Err(rusqlite::Error::QueryReturnedNoRows)
}
