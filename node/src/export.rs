//! Readings as lines of JSON or CSV, straight from the log of a data directory.
//!
//! It reads a snapshot and disturbs no running node; the order is that of arrival. Each line names
//! the place of its reading in the log of the node that received it: start and entry.

use crate::time_text::Time;
use holdfast_core::log::readings;
use holdfast_core::{ChainId, NodeId, Stream, Value as Measured};
use holdfast_sync::Fault;
use holdfast_sync::store::{ChainNo, Snapshot, StoredCommit};
use serde_json::json;
use std::collections::HashMap;
use std::io::{self, Write};

/// The shape of the lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// One JSON object for each reading.
    #[default]
    Ndjson,
    /// A header and one row for each reading.
    Csv,
}

/// What is exported.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only this device.
    pub device: Option<String>,
    /// Only this node.
    pub node: Option<NodeId>,
    /// The shape of the lines.
    pub shape: Shape,
}

const BATCH_BYTES: usize = 1 << 20;

/// Writes the readings of a store to `out` and says how many there were.
///
/// # Errors
/// A fault of the store or of `out`.
pub fn export(
    view: &Snapshot<'_>,
    wanted: &Wanted,
    out: &mut impl Write,
) -> Result<u64, ExportError> {
    let chains: HashMap<ChainNo, ChainId> =
        view.chains()?.into_iter().map(|chain| (chain.no, chain.id)).collect();
    if wanted.shape == Shape::Csv {
        writeln!(out, "node,device,metric,unit,time,received,value,quality,boot,seq,start,entry")?;
    }
    let (mut pos, mut count) = (0, 0);
    loop {
        let commits = view.commits_after(pos, BATCH_BYTES)?;
        let Some(last) = commits.last() else { break };
        pos = last.pos;
        for commit in &commits {
            let chain = chains.get(&commit.chain).filter(|id| id.stream == Stream::Reading);
            let asked = |id: &&ChainId| wanted.node.is_none_or(|node| node == id.origin);
            if let Some(chain) = chain.filter(asked) {
                count += lines(commit, chain, wanted, out)?;
            }
        }
    }
    out.flush()?;
    Ok(count)
}

/// Why an export ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The store.
    #[error(transparent)]
    Store(#[from] Fault),
    /// The output.
    #[error("the output: {0}")]
    Output(#[from] io::Error),
}

fn lines(
    commit: &StoredCommit,
    chain: &ChainId,
    wanted: &Wanted,
    out: &mut impl Write,
) -> Result<u64, ExportError> {
    let damaged = |reject: holdfast_core::Reject| {
        Fault::damaged(format!("commit at {}", commit.pos), reject.code())
    };
    let body = readings::Body::new(&commit.body).map_err(damaged)?;
    let series: Vec<_> = body.series().collect();
    let (node, start) = (chain.origin.to_string(), chain.incarnation.boot);
    let mut count = 0;
    for (row, entry) in body.rows().zip(commit.first..) {
        let row = row.map_err(damaged)?;
        let key = &series[row.series as usize];
        if wanted.device.as_deref().is_some_and(|device| device != key.device.as_str()) {
            continue;
        }
        count += 1;
        let time = Time(row.effective_time(body.received()));
        let received = Time(body.received());
        let quality: Vec<_> = row.quality.words().collect();
        let value = match row.value {
            Measured::Float(number) => json!(number.get()),
            Measured::Int(int) => json!(int),
            Measured::Bool(on) => json!(on),
            Measured::Text(text) => json!(text.as_str()),
        };
        let (device, metric, unit) = (key.device.as_str(), key.metric.as_str(), key.unit.as_str());
        let (boot, seq) = (row.source.map(|s| s.boot), row.source.map(|s| s.seq));
        match wanted.shape {
            Shape::Ndjson => {
                let line = json!({
                    "node": node,
                    "device": device,
                    "metric": metric,
                    "unit": unit,
                    "time": time,
                    "received": received,
                    "value": value,
                    "quality": quality,
                    "boot": boot,
                    "seq": seq,
                    "log": [start, entry],
                });
                writeln!(out, "{line}")?;
            }
            Shape::Csv => {
                let number = |n: Option<u64>| n.map(|n| n.to_string()).unwrap_or_default();
                let value = value.as_str().map_or_else(|| value.to_string(), quote);
                let (boot, seq, quality) = (number(boot), number(seq), quality.join(" "));
                let (metric, unit) = (quote(metric), quote(unit));
                write!(out, "{node},{device},{metric},{unit},{time},{received},{value},")?;
                writeln!(out, "{quality},{boot},{seq},{start},{entry}")?;
            }
        }
    }
    Ok(count)
}

/// A CSV field, quoted where it must be (RFC 4180).
fn quote(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn csv_fields_are_quoted_where_they_must_be() {
        assert_eq!(quote("plain"), "plain");
        assert_eq!(quote("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}
