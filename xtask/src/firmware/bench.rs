//! `cargo xtask firmware bench`: what the rules cost on a microcontroller.
//!
//! The program of the same name says a line for each figure, its name and how many instructions
//! one takes. The emulator counts time by instructions, so the lines are the same in every run and
//! on every machine; here they get their words.

use super::{Board, build_programs, emulator};
use crate::workspace::Problem;
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The program, and the feature that it wants.
pub const PROGRAM: &str = "bench";
/// How the emulator runs it: an instruction is a nanosecond, and nobody waits for time to pass.
pub const DEVICES: [&str; 4] = ["-serial", "stdio", "-icount", "shift=0,sleep=off"];

/// Instructions in a millisecond at 64 MHz, which is usual, if each takes one cycle.
const PER_MS: f64 = 64_000.0;

/// The figures, in their order, each with what one is.
const FIGURES: [(&str, &str); 8] = [
    ("sample_into_log", "a sample kept in flash, without what the flash takes"),
    ("sample_into_message", "a sample read from flash and put into a message"),
    ("checksum_of_kib", "the checksum of an envelope, for a KiB"),
    ("blake3_of_kib", "the hash of a workflow or of firmware, for a KiB"),
    ("cell_into_map", "a cell joined into a map of 16"),
    ("signature", "an Ed25519 signature checked"),
    ("workflow_judged", "an image of 921 bytes, with one of everything, verified"),
    ("step_of_run", "a step of a run of that image"),
];

/// `cargo xtask firmware bench`.
#[derive(Args)]
pub struct BenchOptions {
    /// Print one JSON object for each figure instead of a table
    #[arg(long)]
    json: bool,
}

/// Builds the program; where it is.
pub fn build(root: &Path) -> Result<PathBuf, Problem> {
    let only = ["--bin", PROGRAM, "--features", PROGRAM];
    Ok(build_programs(root, Board::Mps2An385, &only)?.join(PROGRAM))
}

/// Builds and runs the program, and prints the figures.
pub fn run(root: &Path, options: &BenchOptions) -> Result<ExitCode, Problem> {
    emulator::check_is_there()?;
    let mut qemu = emulator::board(&build(root)?, &[]);
    let output = qemu.args(DEVICES).output();
    let output = output.map_err(|error| format!("cannot run qemu-system-arm: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        return Err(format!("the program failed ({}):\n{said}{told}", output.status));
    }
    let figures = read(&said)?;
    if options.json {
        for (name, _, value) in figures {
            println!("{}", json!({"figure": name, "value": value, "unit": "instructions"}));
        }
    } else {
        print!("{}", table(&figures));
    }
    Ok(ExitCode::SUCCESS)
}

/// A figure: its name, what it is, and instructions.
type Figure = (&'static str, &'static str, u64);

/// Reads what the program has said: all figures, in their order.
pub fn read(said: &str) -> Result<Vec<Figure>, Problem> {
    let mut lines = said.lines();
    let each = FIGURES.iter().map(|(name, what)| {
        let line = lines.next().unwrap_or_default();
        let value = line.strip_prefix(name).and_then(|rest| rest.trim_start().parse().ok());
        let value = value.filter(|value| *value > 0);
        let value = value.ok_or_else(|| format!("the program says {line:?}, and not {name}"))?;
        Ok((*name, *what, value))
    });
    let figures = each.collect::<Result<_, Problem>>()?;
    match lines.next() {
        None => Ok(figures),
        Some(line) => Err(format!("the program says {line:?}, which is no figure")),
    }
}

/// The figures for people.
fn table(figures: &[Figure]) -> String {
    let mut out = "Instructions of a Cortex-M3, counted; ms at 64 MHz if each takes one cycle, \
                   which is an estimate.\n\
                   figure               instructions         ms  what one is\n"
        .to_owned();
    for (name, what, value) in figures {
        let ms = *value as f64 / PER_MS;
        out += &format!("{name:<19}  {value:>12}  {ms:>9.3}  {what}\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said() -> String {
        FIGURES.iter().map(|(name, _)| format!("{name} 64000\n")).collect()
    }

    #[test]
    fn all_figures_are_there_in_their_order_and_nothing_else() {
        assert_eq!(read(&said()).unwrap().len(), FIGURES.len());
        let last = said().lines().count() - 1;
        let without_last: Vec<_> = said().lines().take(last).map(str::to_owned).collect();
        assert!(read(&without_last.join("\n")).unwrap_err().contains("step_of_run"));
        assert!(read(&said().replacen("64000", "0", 1)).is_err(), "nothing costs nothing");
        assert!(read(&(said() + "a fault at 0x00000100\n")).unwrap_err().contains("a fault"));
    }

    #[test]
    fn a_table_has_a_line_for_each_with_its_estimate() {
        let table = table(&read(&said()).unwrap());
        assert_eq!(table.lines().count(), 2 + FIGURES.len());
        let line = table.lines().find(|line| line.starts_with("signature ")).unwrap();
        assert!(line.ends_with("64000      1.000  an Ed25519 signature checked"), "{line}");
    }

    #[test]
    fn the_program_says_every_figure_by_its_name() {
        let source = crate::workspace::root().join("firmware/bin/src/bench.rs");
        let source = std::fs::read_to_string(source).unwrap();
        for (name, _) in FIGURES {
            assert!(source.contains(&format!("measure(\"{name}\",")), "{name}");
        }
    }
}
