//! What needs no test to run: format, clippy, tidy, and proof that core needs no system below it.

use super::{Lane, Run};
use crate::child;
use crate::needs;
use crate::report::{Record, Verdict};
use crate::tidy;
use crate::workspace::{self, Problem};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

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
    if has_target() || add_target() {
        return check(run, &name, build);
    }
    let line = format!("rustup target add {BARE_TARGET}");
    eprintln!("{name}: left out; to have it: {line}");
    let verdict = if needs::on_build_machine() { Verdict::Failed } else { Verdict::Skipped };
    run.records.push(Record::new(Lane::Lint, format!("{name}; it needs: {line}"), verdict));
    Ok(())
}

fn has_target() -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = child::command(rustc, &workspace::root()).args(["--print", "sysroot"]).output();
    let Ok(output) = output else { return false };
    let sysroot = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Path::new(&sysroot).join("lib/rustlib").join(BARE_TARGET).join("lib").exists()
}

/// The target is part of the toolchain file, so rustup may bring it without being asked again.
fn add_target() -> bool {
    let mut rustup = child::command("rustup", &workspace::root());
    rustup.args(["target", "add", BARE_TARGET]);
    let end = child::run(&mut rustup, Some(Duration::from_secs(300)));
    end.is_ok_and(child::End::success) && has_target()
}
