//! The benches: figures of the real binaries, under their stable names.
//!
//! The load generator shares the machine's cores with what it measures; it writes prepared requests
//! to raw sockets and reads only as much of the answers as it must. `--json` prints one object for
//! each figure, otherwise a table.

mod ingest;
mod load;
mod sync;

pub use ingest::ingest;
pub use sync::sync;

use serde_json::json;

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
        println!(
            "{name:<24} {value:>12.0} {unit:<12} target {target:>10.0} ({better} is better): {word}"
        );
    }
}
