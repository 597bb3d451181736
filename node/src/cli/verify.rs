//! `verify`: what is damaged in a data directory, for people and for programs.

use super::Failure;
use clap::Args;
use holdfast_sync::store::verify::{Severity, VerifyReport, request_repair, verify as verify_dir};
use serde_json::{Value, json};
use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::process::ExitCode;

/// How `verify` reports.
#[derive(Args)]
pub struct VerifyArgs {
    /// As JSON, one object.
    #[arg(long)]
    pub json: bool,
    /// Lets the next start repair what is damaged in the database.
    #[arg(long)]
    pub repair: bool,
}

/// Verifies a data directory and says what is not as it should be. The exit code is 1 when
/// something is damaged.
///
/// # Errors
/// When it cannot be read at all.
pub fn verify(dir: &Path, args: &VerifyArgs) -> Result<ExitCode, Failure> {
    if !dir.exists() {
        let dir = dir.display();
        return Err(format!("{dir} does not exist: name the node with --config or --data").into());
    }
    let terminal = io::stderr().is_terminal() && !args.json;
    let mut shown = 0;
    let report = verify_dir(dir, &mut |progress| {
        let percent = progress.bytes.saturating_mul(100) / progress.bytes_total.max(1);
        if terminal && percent != shown {
            shown = percent;
            eprint!("\r{percent:>3} %, {} commits", progress.commits);
        }
    })?;
    if terminal && shown > 0 {
        eprintln!();
    }
    let damaged = report.findings.iter().any(|f| f.severity >= Severity::Suspect);
    let requested = args.repair && request_repair(dir, &report);
    if args.json {
        let mut out = report_json(&report);
        out["repair_requested"] = requested.into();
        println!("{out}");
    } else {
        for finding in &report.findings {
            println!("{finding}");
        }
        let summary = &report.summary;
        println!(
            "{} files, {} chains, {} commits and {} segments, {} entries, {} bytes: {}",
            summary.files,
            summary.chains,
            summary.commits - summary.segments,
            summary.segments,
            summary.entries,
            summary.bytes,
            match (damaged, requested) {
                (false, _) => "all is well",
                (true, true) => "DAMAGED; the next start repairs the database",
                (true, false) if report.wants_repair() => {
                    "DAMAGED; with --repair the next start repairs the database"
                }
                (true, false) => "DAMAGED",
            }
        );
    }
    Ok(if damaged { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn report_json(report: &VerifyReport) -> Value {
    let findings = report.findings.iter().map(|finding| {
        json!({
            "severity": finding.severity.name(),
            "file": finding.file,
            "place": finding.place.to_string(),
            "found": finding.found,
            "expected": finding.expected,
        })
    });
    let summary = &report.summary;
    json!({
        "findings": findings.collect::<Vec<_>>(),
        "left_out": report.left_out,
        "files": summary.files,
        "chains": summary.chains,
        "commits": summary.commits - summary.segments,
        "segments": summary.segments,
        "entries": summary.entries,
        "bytes": summary.bytes,
    })
}
