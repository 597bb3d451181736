//! `bench query`: a day of one series out of a thousand, and a start with a large store.
//!
//! A hundred devices with ten sensors each post every second of a day, 86,400,000 readings, with
//! times jittered by 20 ms and values rounded to the sensor's resolution. When the log is at rest,
//! a chart of one series over the whole day is asked for, 500 points out of 86,400, of one series
//! after the other so that none is remembered. Peers hold a quarter of that, its first 25 devices,
//! since they are slow to fill, and answer with the means of 500 steps. Then the gateway gets texts
//! that have nothing in common until its store is over 1 GiB, and is stopped and started.

use super::load::{exchange, request};
use super::peers::influx::{self, Influx};
use super::peers::rows::{self, Rows};
use super::{Better, Figure, LIMIT, Peers, until_read, until_sealed};
use crate::client::Client;
use crate::process::{Edge, Settings};
use crate::rng::Rng;
use rusqlite::{Connection, OpenFlags};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const SEED: u64 = 1;
const DEVICES: u64 = 100;
const METRICS: [&str; 10] = [
    "level",
    "flow",
    "pressure",
    "power",
    "current",
    "voltage",
    "speed",
    "ph",
    "turbidity",
    "temp",
];
const SECONDS: u64 = 86_400;
/// Seconds of all its devices that a connection sends in one request.
const AT_ONCE: u64 = 20;
const CONNECTIONS: u64 = 4;
/// 2026-11-01T00:00:00Z.
const START_MS: i64 = 1_793_491_200_000;
const JITTER_MS: u64 = 20;
const ASKED: u64 = 40;
/// Points of a chart.
const POINTS: u64 = 500;
/// Requests of a connection before the store's size is looked at again, and texts in each.
const ENTROPY_REQUESTS: u64 = 100;
const ENTROPY_TEXTS: u64 = 1_000;
/// As many as a reading may have.
const TEXT_BYTES: usize = 256;
/// Bytes of a large store.
const LARGE: u64 = 1 << 30;

/// Runs the bench.
///
/// # Errors
/// When the gateway does not start, or an answer is not success.
pub async fn query(as_json: bool) -> io::Result<()> {
    let dir = tempfile::tempdir()?;
    let settings = Settings::default().env("HOLDFAST_ALERTS_DEVICE_SILENT", "false");
    let mut edge = Edge::init("bench", dir.path(), settings)?;
    edge.start()?;
    let (started, token) = (Instant::now(), edge.ingest_token()?);
    let mut fillers = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let (address, token) = (edge.http(), token.clone());
        let path = "/v1/write?precision=ms";
        fillers.spawn(async move { fill(address, path, &token, connection).await });
    }
    while let Some(filled) = fillers.join_next().await {
        filled.map_err(io::Error::other)??;
    }
    let filled = started.elapsed();
    until_read(&edge).await?;
    until_sealed(&edge).await?;
    if !as_json {
        let bytes = fs::metadata(edge.data().join("holdfast.db"))?.len();
        println!(
            "{} readings in {} MiB, filled in {} s, at rest after {} s",
            DEVICES * METRICS.len() as u64 * SECONDS,
            bytes >> 20,
            filled.as_secs(),
            started.elapsed().as_secs()
        );
    }
    let value = chart(&edge).await?;
    if !as_json {
        println!("peers get the first {} of {DEVICES} devices ...", DEVICES / CONNECTIONS);
    }
    let peers = measure_peers().await?;
    let (name, better) = ("query_day_of_one_series", Better::Lower);
    Figure { name, value, unit: "ms", target: 50.0, better, peers }.print(as_json);
    let bytes = grow(&edge).await?;
    edge.stop()?;
    let started = Instant::now();
    edge.start()?;
    let value = started.elapsed().as_secs_f64();
    if !as_json {
        println!("a start with {} MiB", bytes >> 20);
    }
    let (name, better, peers) = ("start_to_serving", Better::Lower, Peers::new());
    Figure { name, value, unit: "s", target: 2.0, better, peers }.print(as_json);
    edge.stop()
}

/// Posts texts that have nothing in common until the store is large, and lets it come to rest; its
/// bytes in use.
async fn grow(edge: &Edge) -> io::Result<u64> {
    let started = Instant::now();
    let mut round = 0;
    loop {
        let bytes = used(edge).map_err(io::Error::other)?;
        if bytes >= LARGE {
            return Ok(bytes);
        }
        if started.elapsed() > LIMIT {
            return Err(io::Error::other(format!("the store has only {} MiB", bytes >> 20)));
        }
        round += 1;
        let mut fillers = JoinSet::new();
        for connection in 0..CONNECTIONS {
            let (address, token) = (edge.http(), edge.ingest_token()?);
            fillers.spawn(async move { entropy(address, &token, connection, round).await });
        }
        while let Some(filled) = fillers.join_next().await {
            filled.map_err(io::Error::other)??;
        }
        // Sealing takes a quarter off them.
        if used(edge).map_err(io::Error::other)? >= LARGE {
            until_read(edge).await?;
            until_sealed(edge).await?;
        }
    }
}

/// Bytes of the database's pages that are in use.
fn used(edge: &Edge) -> rusqlite::Result<u64> {
    let path = edge.data().join("holdfast.db");
    let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let sql = "SELECT (page_count - freelist_count) * page_size
               FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
    Ok(database.query_row(sql, [], |row| row.get::<_, i64>(0))?.unsigned_abs())
}

/// The devices of one connection.
struct Share {
    rng: Rng,
    first: u64,
    values: Vec<i64>,
}

impl Share {
    fn new(connection: u64) -> Self {
        let devices = DEVICES / CONNECTIONS;
        Self {
            rng: Rng::keyed(SEED, &[connection]),
            first: connection * devices,
            values: vec![5_000; (devices * METRICS.len() as u64) as usize],
        }
    }

    /// Hands over device, time and hundredths of what each device measures in a second.
    fn second(&mut self, second: u64, mut each: impl FnMut(u64, i64, &[i64])) {
        for (device, values) in (self.first..).zip(self.values.chunks_mut(METRICS.len())) {
            for value in &mut *values {
                *value = (*value + self.rng.below(5) as i64 - 2).clamp(0, 99_999);
            }
            let ms = START_MS + second as i64 * 1_000 + self.rng.below(JITTER_MS) as i64;
            each(device, ms, values);
        }
    }
}

/// Posts what the devices of a share measure, in the order of time.
async fn fill(address: SocketAddr, path: &str, token: &str, connection: u64) -> io::Result<()> {
    let mut share = Share::new(connection);
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 16 << 10];
    let mut body = String::new();
    for from in (0..SECONDS).step_by(AT_ONCE as usize) {
        body.clear();
        for second in from..from + AT_ONCE {
            share.second(second, |device, ms, values| line(&mut body, device, ms, values));
        }
        let request = request(path, token, "text/plain", &body);
        exchange(&mut stream, &request, &mut buffer).await?;
    }
    Ok(())
}

/// Posts a round of texts that have nothing in common, as of a later day.
async fn entropy(address: SocketAddr, token: &str, connection: u64, round: u64) -> io::Result<()> {
    let mut rng = Rng::keyed(SEED, &[connection, round]);
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut buffer, mut body) = (vec![0; 16 << 10], String::new());
    for request_no in 0..ENTROPY_REQUESTS {
        body.clear();
        for text in 0..ENTROPY_TEXTS {
            let second = SECONDS * round + request_no * ENTROPY_TEXTS + text;
            entropy_line(&mut body, connection, START_MS + second as i64 * 1_000, &mut rng);
        }
        let request = request("/v1/write?precision=ms", token, "text/plain", &body);
        exchange(&mut stream, &request, &mut buffer).await?;
    }
    Ok(())
}

/// A text with six bits in each byte.
fn entropy_line(body: &mut String, device: u64, ms: i64, rng: &mut Rng) {
    const DIGITS: &[u8; 64] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
    write!(body, "e,device=e-{device:03} note=\"").expect("writing to a string cannot fail");
    for _ in 0..TEXT_BYTES {
        body.push(char::from(DIGITS[rng.below(64) as usize]));
    }
    writeln!(body, "\" {ms}").expect("writing to a string cannot fail");
}

fn line(body: &mut String, device: u64, ms: i64, values: &[i64]) {
    let wrote = write!(body, "s,device=ps-{device:03} ");
    wrote.expect("writing to a string cannot fail");
    for (value, metric) in values.iter().zip(METRICS) {
        let comma = if metric == METRICS[0] { "" } else { "," };
        write!(body, "{comma}{metric}={}.{:02}", value / 100, value % 100)
            .expect("writing to a string cannot fail");
    }
    writeln!(body, " {ms}").expect("writing to a string cannot fail");
}

/// The median times of the peers, milliseconds, with the first share of the data.
async fn measure_peers() -> io::Result<Peers> {
    let asked = tokio::task::spawn_blocking(chart_of_rows).await.map_err(io::Error::other)??;
    let mut peers = Peers::from([(rows::NAME.to_owned(), asked)]);
    if let Some(influx) = Influx::start().await? {
        fill(influx.address, influx::WRITE, "none", 0).await?;
        influx.at_rest().await?;
        peers.insert(influx.name.clone(), chart_of_influx(&influx).await?);
        influx.stop()?;
    }
    Ok(peers)
}

fn chart_of_rows() -> io::Result<f64> {
    let (mut rows, mut share) = (Rows::create()?, Share::new(0));
    let (mut batch, metrics) = (Vec::new(), METRICS.len() as u64);
    for second in 0..SECONDS {
        share.second(second, |device, ms, values| {
            let each = (device * metrics..).zip(values);
            batch.extend(each.map(|(series, &v)| (series as i64, ms, v as f64 / 100.0)));
        });
        if (second + 1) % AT_ONCE == 0 {
            rows.write(batch.drain(..))?;
        }
    }
    rows.at_rest()?;
    let day = SECONDS as i64 * 1_000;
    let mut took = Vec::new();
    for number in 0..ASKED {
        let series = (number * 37 % (DEVICES / CONNECTIONS) * metrics + number % metrics) as i64;
        let started = Instant::now();
        let means = rows.means(series, START_MS, START_MS + day, day / POINTS as i64)?;
        took.push(started.elapsed().as_secs_f64() * 1_000.0);
        enough(means.len(), "SQLite")?;
    }
    Ok(median(took))
}

async fn chart_of_influx(influx: &Influx) -> io::Result<f64> {
    let (mut client, mut took) = (influx.client(), Vec::new());
    for number in 0..ASKED {
        let (device, metric) = (number * 37 % (DEVICES / CONNECTIONS), (number % 10) as usize);
        let query = format!(
            "SELECT mean({}) FROM s WHERE device='ps-{device:03}' AND time>='2026-11-01T00:00:00Z' \
             AND time<'2026-11-02T00:00:00Z' GROUP BY time({}s)",
            METRICS[metric],
            SECONDS / POINTS
        );
        let started = Instant::now();
        let means = influx.ask(&mut client, &query).await?;
        took.push(started.elapsed().as_secs_f64() * 1_000.0);
        enough(means.len(), &influx.name)?;
    }
    Ok(median(took))
}

fn enough(points: usize, of: &str) -> io::Result<()> {
    let few = || io::Error::other(format!("{of} answered with {points} points"));
    (points as u64 >= POINTS / 2).then_some(()).ok_or_else(few)
}

fn median(mut took: Vec<f64>) -> f64 {
    took.sort_by(f64::total_cmp);
    took[took.len() / 2]
}

/// The median time of a chart, milliseconds.
async fn chart(edge: &Edge) -> io::Result<f64> {
    let mut client = Client::new(edge.http()).with_token(edge.admin_token()?).with_limit(LIMIT);
    let mut took = Vec::new();
    for number in 0..ASKED {
        let (device, metric) = (number * 37 % DEVICES, METRICS[(number % 10) as usize]);
        let path = format!(
            "/v1/readings?device=ps-{device:03}&metric=s.{metric}&points={POINTS}\
             &from=2026-11-01T00:00:00Z&to=2026-11-02T00:00:00Z"
        );
        let started = Instant::now();
        let answer = client.get(&path).await.map_err(io::Error::other)?;
        took.push(started.elapsed().as_secs_f64() * 1_000.0);
        let points = answer.json()["points"].as_array().map_or(0, Vec::len);
        enough(points, "the gateway")?;
    }
    Ok(median(took))
}
