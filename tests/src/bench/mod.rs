//! The benches: figures of the real binaries, under their stable names.
//!
//! The load generator shares the machine's cores with what it measures; it writes prepared requests
//! to raw sockets and reads only as much of the answers as it must. `--json` prints one object for
//! each figure, otherwise a table. Peers that do the same are measured in the same run and printed
//! beside ours.

mod docs;
mod ingest;
mod link;
mod load;
mod mqtt;
mod peers;
mod query;
mod size;
mod sync;
mod wire;
mod workflow;

pub use docs::docs;
pub use ingest::ingest;
pub use link::link;
pub use mqtt::{System, mqtt};
pub use query::query;
pub use size::size;
pub use sync::sync;
pub use workflow::workflow;

use self::peers::Peers;
use crate::client::Client;
use crate::process::Edge;
use rusqlite::{Connection, OpenFlags};
use serde_json::json;
use std::io;
use std::time::{Duration, Instant};

/// Longer than anything takes.
const LIMIT: Duration = Duration::from_secs(600);

/// Which way a figure is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// More of it.
    Higher,
    /// Less of it.
    Lower,
}

/// One measured figure.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Its stable name.
    pub name: &'static str,
    /// What came out.
    pub value: f64,
    /// In which unit.
    pub unit: &'static str,
    /// What `docs/performance.md` wants of it.
    pub target: f64,
    /// Which way it is better.
    pub better: Better,
    /// What others came to, in the same unit.
    pub peers: Peers,
}

impl Figure {
    /// Prints it.
    pub fn print(&self, as_json: bool) {
        let better = if self.better == Better::Higher { "higher" } else { "lower" };
        if as_json {
            let line = json!({
                "figure": self.name,
                "value": self.value,
                "unit": self.unit,
                "target": self.target,
                "better": better,
                "peers": self.peers,
            });
            println!("{line}");
            return;
        }
        let met = match self.better {
            Better::Higher => self.value >= self.target,
            Better::Lower => self.value <= self.target,
        };
        let (name, value, unit, target) = (self.name, self.value, self.unit, self.target);
        let word = if met { "met" } else { "missed" };
        // Of small figures the fraction counts.
        let places = match target {
            ..1.0 => 2,
            1.0..100.0 => 1,
            _ => 0,
        };
        println!(
            "{name:<32} {value:>12.places$} {unit:<12} target {target:>10.places$} \
             ({better} is better): {word}"
        );
        for (peer, of_peer) in &self.peers {
            let factor = match self.better {
                Better::Higher => value / of_peer,
                Better::Lower => of_peer / value,
            };
            println!(
                "  {peer:<30} {of_peer:>12.places$} {unit:<12} ours is {factor:.1} times as good"
            );
        }
    }
}

/// How a chain's rows are sealed: whether, entries, bytes.
type Rows = Vec<(bool, i64, i64)>;

/// Waits until as much of the readings is sealed as will be, and tells what that takes.
async fn until_sealed(edge: &Edge) -> io::Result<Rows> {
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
            .and_then(|rows| rows.collect::<Result<Rows, _>>());
        let rows = rows.map_err(io::Error::other)?;
        still = if rows == before { still + 1 } else { 0 };
        before = rows;
    }
    Ok(before)
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

/// Waits until the pipeline has read what was posted, so that it does not take its share of the
/// cores.
async fn until_read(edge: &Edge) -> io::Result<()> {
    let mut client = Client::new(edge.http()).with_token(edge.admin_token()?);
    let started = Instant::now();
    while started.elapsed() < LIMIT {
        let status = client.get("/v1/status").await.map_err(io::Error::other)?.json();
        if status["pipeline"]["lag"] == 0 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Err(io::Error::other("the pipeline does not catch up"))
}
