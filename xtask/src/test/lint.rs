//! What needs no test to run: format, clippy, tidy, and proof that core needs no system below it.

use super::{Lane, Run};
use crate::child;
use crate::cross;
use crate::needs;
use crate::report::{Record, Verdict};
use crate::tidy;
use crate::workspace::{self, Problem};
use std::process::Command;
use std::time::Instant;

/// A target without an operating system: whatever builds for it uses neither clock nor socket.
const BARE_TARGET: &str = "thumbv7m-none-eabi";

/// Runs the checks, all of them even when one fails.
pub fn run(run: &mut Run<'_>) -> Result<(), Problem> {
    let cargo = |arguments: &[&str]| {
        let mut cargo = workspace::cargo();
        cargo.args(arguments);
        cargo
    };
    check(run, "format", cargo(&["fmt", "--all", "--check"]))?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    check(run, "clippy", cargo(&clippy))?;
    core_without_a_system(run, cargo(&["build", "-p", "holdfast-core", "--target", BARE_TARGET]))?;
    for (check, findings) in tidy::checks(&run.root)? {
        for finding in &findings {
            eprintln!("{finding}");
        }
        let name = format!("tidy: {check}");
        run.records.push(Record::check(Lane::Lint, name, findings.is_empty()));
    }
    Ok(())
}

fn check(run: &mut Run<'_>, name: &str, mut command: Command) -> Result<(), Problem> {
    if child::interrupted() {
        return Ok(());
    }
    let started = Instant::now();
    let end = child::run(&mut command, None).map_err(|e| format!("cannot run cargo: {e}"))?;
    let took = Some(started.elapsed());
    run.records.push(Record { took, ..Record::check(Lane::Lint, name, end.success()) });
    Ok(())
}

fn core_without_a_system(run: &mut Run<'_>, build: Command) -> Result<(), Problem> {
    let name = format!("core builds for {BARE_TARGET}");
    let Err(line) = cross::bring_library(BARE_TARGET) else {
        return check(run, &name, build);
    };
    eprintln!("{name}: left out; to have it: {line}");
    let verdict = if needs::on_build_machine() { Verdict::Failed } else { Verdict::Skipped };
    run.records.push(Record::new(Lane::Lint, format!("{name}; it needs: {line}"), verdict));
    Ok(())
}
