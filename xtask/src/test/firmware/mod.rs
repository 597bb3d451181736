//! What runs on a microcontroller, built for one and run under an emulator.
//!
//! `firmware/` is a workspace of its own, because its target is another. Each program of its tests
//! prints what it did and leaves the emulator with an exit code. Most run by themselves; those that
//! need something of this machine, a file or somebody to talk to, have a row in `hosted`. Behind
//! them come whole devices at the real gateway, which are scenarios. The programs for real boards,
//! which nothing here can run, are looked over and built.

mod emulator;
mod hosted;

use super::{Lane, Run, suite};
use crate::child;
use crate::cross;
use crate::firmware::{self, Board, TARGET, bench};
use crate::needs;
use crate::report::{Record, Verdict};
use crate::workspace::{self, Executable, Metadata, Problem};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What one program may take before something must be wrong: it takes a second.
const LIMIT: Duration = Duration::from_secs(120);

/// The package of the tests on target.
const TESTS: &str = "holdfast-firmware-tests";
/// The package of what is the same on every board, which is tested on this machine, too.
const DEVICE: &str = "holdfast-firmware";

/// The programs of its tests.
fn programs(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(firmware::folder(root).join("tests/src")).into_iter().flatten();
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut found: Vec<String> =
        names.filter_map(|name| name.strip_suffix(".rs").map(str::to_owned)).collect();
    found.sort();
    found
}

/// Looks the workspace over, builds its tests and runs them.
pub fn run(run: &mut Run<'_>) -> Result<(), Problem> {
    if let Err(line) = cross::bring_library(TARGET) {
        left_out(run, "the whole lane", &line);
        return Ok(());
    }
    let cargo = |arguments: &[&str]| {
        let mut cargo = workspace::cargo();
        cargo.current_dir(firmware::folder(&run.root)).args(arguments);
        cargo
    };
    let here = ["-p", DEVICE, "--target", &workspace::host()?];
    let all = format!("{}/{}", Board::Mps2An385.package(), bench::PROGRAM);
    let mut steps = vec![
        ("format".to_owned(), cargo(&["fmt", "--all", "--check"])),
        ("clippy".to_owned(), cargo(&["clippy", "--features", &all, "--", "-D", "warnings"])),
        ("device".to_owned(), cargo(&[&["test", "--quiet"], &here[..]].concat())),
    ];
    let programs = programs(&run.root);
    for program in programs.iter().filter(|program| hosted::program(program).is_none()) {
        steps.push((program.clone(), cargo(&["run", "--quiet", "--bin", program])));
    }
    let filter = run.options.filter.clone().unwrap_or_default();
    for (name, mut command) in steps.into_iter().filter(|(name, _)| name.contains(&filter)) {
        step(run, name, &mut command, Some(LIMIT))?;
    }
    let hosted = programs.iter().filter(|program| program.contains(&filter));
    let hosted: Vec<_> = hosted.filter_map(|program| hosted::program(program)).collect();
    if !hosted.is_empty() && !child::interrupted() {
        let images = build(run)?;
        for (name, work) in hosted {
            let image = images.iter().find(|image| image.target.name == *name);
            let image = image.ok_or_else(|| format!("cargo built no `{name}`"))?;
            hosted_step(run, name, || work(&image.path));
        }
    }
    if bench::PROGRAM.contains(&filter) {
        let root = run.root.clone();
        hosted_step(run, bench::PROGRAM, || hosted::bench(&bench::build(&root)?));
    }
    real_board(run, Board::NucleoH743, &filter)?;
    devices(run)
}

/// Looks over and builds the programs for a real board. Each board is a build of its own: what is
/// built together shares the features of its packages.
fn real_board(run: &mut Run<'_>, board: Board, filter: &str) -> Result<(), Problem> {
    let clippy = format!("clippy {}", board.name());
    if !clippy.contains(filter) {
        return Ok(());
    }
    if let Err(line) = cross::bring_library(board.target()) {
        left_out(run, board.name(), &line);
        return Ok(());
    }
    let mut cargo = workspace::cargo();
    cargo.current_dir(firmware::folder(&run.root));
    // In the profile of the build behind it, which then finds the tools that it needs.
    cargo.args(["clippy", "--release", "-p", board.package(), "--target", board.target()]);
    step(run, clippy, cargo.args(["--", "-D", "warnings"]), None)?;
    if board.name().contains(filter) {
        let root = run.root.clone();
        hosted_step(run, board.name(), || firmware::build(&root, board).map(drop));
    }
    Ok(())
}

/// Takes note that something cannot be done before `line` was.
fn left_out(run: &mut Run<'_>, what: &str, line: &str) {
    eprintln!("{what}: left out; to have it: {line}");
    let verdict = if needs::on_build_machine() { Verdict::Failed } else { Verdict::Skipped };
    run.records.push(Record::new(Lane::Firmware, format!("{what}; it needs: {line}"), verdict));
}

/// Whole devices at the real gateway.
fn devices(run: &mut Run<'_>) -> Result<(), Problem> {
    if child::interrupted() {
        return Ok(());
    }
    firmware::build(&run.root, Board::Mps2An385)?;
    let (before, bin_dir) = (run.records.len(), run.bin_dir().map(Path::to_path_buf));
    suite::run_with(run, Lane::Firmware, bin_dir, |test| test.is_scenario(suite::DEVICES))?;
    if run.records.len() == before && run.options.filter.is_none() && !child::interrupted() {
        return Err(format!("there is no test in the module {} of the scenarios", suite::DEVICES));
    }
    Ok(())
}

/// Builds the tests and says where the images are.
fn build(run: &Run<'_>) -> Result<Vec<Executable>, Problem> {
    let folder = firmware::folder(&run.root);
    let own = workspace::metadata(&folder.join("Cargo.toml"))?;
    let target_directory = run.metadata.target_directory.clone();
    workspace::build_in(
        &folder,
        &Metadata { target_directory, ..own },
        &["-p", TESTS, "--bins"],
        &[],
    )
}

fn hosted_step(run: &mut Run<'_>, name: &str, work: impl FnOnce() -> Result<(), Problem>) {
    if child::interrupted() {
        return;
    }
    let started = Instant::now();
    let result = work();
    if let Err(problem) = &result {
        eprintln!("{name}: {problem}");
    }
    let took = Some(started.elapsed());
    run.records.push(Record { took, ..Record::check(Lane::Firmware, name, result.is_ok()) });
}

fn step(
    run: &mut Run<'_>,
    name: String,
    command: &mut Command,
    limit: Option<Duration>,
) -> Result<(), Problem> {
    if child::interrupted() {
        return Ok(());
    }
    let started = Instant::now();
    command.stdin(Stdio::null()).stdout(std::io::stderr());
    let end = child::run(command, limit);
    let end = end.map_err(|error| format!("cannot run cargo: {error}"))?;
    let took = Some(started.elapsed());
    run.records.push(Record { took, ..Record::check(Lane::Firmware, name, end.success()) });
    Ok(())
}
