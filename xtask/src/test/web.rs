//! The pages, tested by `node --test` on `web/tests/*.test.js`, with the real binaries and
//! a browser at hand.

use super::{Lane, Run};
use crate::child;
use crate::report::{Record, Verdict};
use crate::workspace::Problem;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// What all pages together may take before something must be wrong.
const LIMIT: Duration = Duration::from_secs(600);

/// The files that hold tests of pages. They are named one by one because versions of node differ
/// in what they make of a folder.
pub fn files(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(root.join("web/tests")).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let tests = names.filter(|name| name.ends_with(".test.js") || name.ends_with(".test.mjs"));
    let mut files: Vec<String> = tests.map(|name| format!("web/tests/{name}")).collect();
    files.sort();
    files
}

/// Runs the tests of the pages.
pub fn run(run: &mut Run<'_>) -> Result<(), Problem> {
    let log = run.logs(Lane::Web)?.join("web.tap");
    let cannot = |e: std::io::Error| format!("cannot run the tests of the pages: {e}");
    let file = std::fs::File::create(&log).map_err(cannot)?;
    let mut node = child::command("node", &run.root);
    node.args(["--test", "--test-reporter=tap"]).args(files(&run.root));
    if let Some(dir) = run.bin_dir() {
        node.env("HOLDFAST_BIN_DIR", dir);
    }
    let end = child::run(node.stdin(Stdio::null()).stdout(file), Some(LIMIT)).map_err(cannot)?;
    let text = std::fs::read_to_string(&log).map_err(cannot)?;
    let records = results(&text);
    let failed = records.iter().any(|record| record.verdict == Verdict::Failed);
    if failed || !end.success() {
        eprintln!("{text}");
    }
    if !end.success() && !failed {
        return Err("node --test failed without naming a test".into());
    }
    run.records.extend(records.into_iter().map(|r| Record { log: Some(log.clone()), ..r }));
    Ok(())
}

/// The tests at the top level of a TAP stream; those inside are part of theirs.
fn results(tap: &str) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    for line in tap.lines() {
        let (failed, rest) = match line.strip_prefix("not ") {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        if let Some(rest) = rest.strip_prefix("ok ") {
            let name = rest.split_once(" - ").map_or(rest, |(_, name)| name);
            let (name, skipped) = match name.split_once(" # SKIP") {
                Some((name, _)) => (name, true),
                None => (name, false),
            };
            let verdict = match (failed, skipped) {
                (true, _) => Verdict::Failed,
                (false, true) => Verdict::Skipped,
                (false, false) => Verdict::Passed,
            };
            records.push(Record::new(Lane::Web, name, verdict));
        } else if let Some(took) = line.strip_prefix("  duration_ms: ") {
            let seconds = took.parse::<f64>().ok().map(|ms| ms / 1_000.0);
            let seconds = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            if let Some(last) = records.last_mut() {
                last.took = seconds;
            }
        }
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tap_stream_becomes_one_record_per_top_level_test() {
        let tap = "TAP version 13\n    ok 1 - inner\nok 1 - page\n  ---\n  duration_ms: 12.5\n  \
                   ...\nnot ok 2 - other\nok 3 - later # SKIP no browser\n# pass 1\n";
        let records = results(tap);
        let verdicts: Vec<Verdict> = records.iter().map(|record| record.verdict).collect();
        assert_eq!(verdicts, vec![Verdict::Passed, Verdict::Failed, Verdict::Skipped]);
        assert_eq!(records[2].name, "later");
        assert_eq!(records[0].took, Some(Duration::from_micros(12_500)));
    }
}
