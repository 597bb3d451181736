//! The benches: figures of the real binaries, under their stable names.
//!
//! The load generator shares the machine's cores with what it measures; it writes prepared requests
//! to raw sockets and reads only as much of the answers as it must. `--json` prints one object for
//! each figure, otherwise a table.

mod ingest;
mod load;
mod size;
mod sync;

pub use ingest::ingest;
pub use size::size;
pub use sync::sync;

use crate::client::Client;
use crate::process::Edge;
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
                "peers": {},
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
        let places = if target < 100.0 { 1 } else { 0 };
        println!(
            "{name:<32} {value:>12.places$} {unit:<12} target {target:>10.places$} \
             ({better} is better): {word}"
        );
    }
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
