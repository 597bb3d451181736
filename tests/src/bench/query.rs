//! `bench query`: a day of one series out of a thousand, and a start with a large store.
//!
//! A hundred devices with ten sensors each post every second of a day, 86,400,000 readings, with
//! times jittered by 20 ms and values rounded to the sensor's resolution. When the log is at rest,
//! a chart of one series over the whole day is asked for, 500 points out of 86,400, of one series
//! after the other so that none is remembered. Then the gateway is stopped and started.

use super::load::request;
use super::{Better, Figure, LIMIT, until_read, until_sealed};
use crate::client::Client;
use crate::process::{Edge, Settings};
use crate::rng::Rng;
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
        fillers.spawn(fill(edge.http(), token.clone(), connection));
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
    let name = "query_day_of_one_series";
    Figure { name, value, unit: "ms", target: 50.0, better: Better::Lower }.print(as_json);
    edge.stop()?;
    let started = Instant::now();
    edge.start()?;
    let value = started.elapsed().as_secs_f64();
    let name = "start_to_serving";
    Figure { name, value, unit: "s", target: 2.0, better: Better::Lower }.print(as_json);
    edge.stop()
}

/// Posts what some of the devices measure, in the order of time.
async fn fill(address: SocketAddr, token: String, connection: u64) -> io::Result<()> {
    let mut rng = Rng::keyed(SEED, &[connection]);
    let share = DEVICES / CONNECTIONS;
    let mut values = vec![5_000_i64; (share * METRICS.len() as u64) as usize];
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 16 << 10];
    let mut body = String::new();
    for from in (0..SECONDS).step_by(AT_ONCE as usize) {
        body.clear();
        for second in from..from + AT_ONCE {
            for device in 0..share {
                let number = connection * share + device;
                let at = (device as usize) * METRICS.len();
                line(&mut body, number, &mut values[at..at + METRICS.len()], second, &mut rng);
            }
        }
        let request = request("/v1/write?precision=ms", &token, "text/plain", &body);
        super::load::exchange(&mut stream, &request, &mut buffer).await?;
    }
    Ok(())
}

fn line(body: &mut String, device: u64, values: &mut [i64], second: u64, rng: &mut Rng) {
    let wrote = write!(body, "s,device=ps-{device:03} ");
    wrote.expect("writing to a string cannot fail");
    for (value, metric) in values.iter_mut().zip(METRICS) {
        *value = (*value + rng.below(5) as i64 - 2).clamp(0, 99_999);
        let comma = if metric == METRICS[0] { "" } else { "," };
        write!(body, "{comma}{metric}={}.{:02}", *value / 100, *value % 100)
            .expect("writing to a string cannot fail");
    }
    let ms = START_MS + second as i64 * 1_000 + rng.below(JITTER_MS) as i64;
    writeln!(body, " {ms}").expect("writing to a string cannot fail");
}

/// The median time of a chart, milliseconds.
async fn chart(edge: &Edge) -> io::Result<f64> {
    let mut client = Client::new(edge.http()).with_token(edge.admin_token()?).with_limit(LIMIT);
    let mut took = Vec::new();
    for number in 0..ASKED {
        let (device, metric) = (number * 37 % DEVICES, METRICS[(number % 10) as usize]);
        let path = format!(
            "/v1/readings?device=ps-{device:03}&metric=s.{metric}&points=500\
             &from=2026-11-01T00:00:00Z&to=2026-11-02T00:00:00Z"
        );
        let started = Instant::now();
        let answer = client.get(&path).await.map_err(io::Error::other)?;
        took.push(started.elapsed().as_secs_f64() * 1_000.0);
        let points = answer.json()["points"].as_array().map_or(0, Vec::len);
        if points < 250 {
            return Err(io::Error::other(format!("{points} points: {}", answer.text())));
        }
    }
    took.sort_by(f64::total_cmp);
    Ok(took[took.len() / 2])
}
