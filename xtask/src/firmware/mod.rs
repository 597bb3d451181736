//! `cargo xtask firmware`: builds what runs on a device, weighs it, counts what it costs, and runs
//! it under an emulator.
//!
//! `firmware/` is a workspace of its own, because its target is another. Its tests are a lane of
//! `cargo xtask test`; `test` here is that lane by a shorter name.

pub mod bench;
mod elf;
mod emulator;
mod size;

use crate::cross;
use crate::needs::{self, Need, need};
use crate::test::{self, Lane};
use crate::workspace::{self, Problem};
use clap::{Args, Subcommand, ValueEnum};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub use emulator::DeviceOptions;

/// The emulator.
pub const EMULATOR: &[Need] = &[need("qemu-system-arm", "qemu-system-arm")];
/// The processor of the emulated board.
pub const TARGET: &str = Board::Mps2An385.target();
/// What a board starts first, which starts an image.
const LOADER: &str = "loader";
/// A whole device, and one that measures only and posts by HTTP, which is for the emulated board.
const NODE: &str = "node";
const POSTING: &str = "node-http";

/// A board that there are programs for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Board {
    /// The emulated one
    #[value(name = "mps2-an385")]
    Mps2An385,
    /// The STM32H743ZI Nucleo-144
    #[value(name = "nucleo-h743")]
    NucleoH743,
}

impl Board {
    /// What images for it are called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mps2An385 => "mps2-an385",
            Self::NucleoH743 => "nucleo-h743",
        }
    }

    /// What rustc calls its processor.
    pub const fn target(self) -> &'static str {
        match self {
            Self::Mps2An385 => "thumbv7m-none-eabi",
            Self::NucleoH743 => "thumbv7em-none-eabihf",
        }
    }

    /// The package of its programs.
    pub const fn package(self) -> &'static str {
        match self {
            Self::Mps2An385 => "holdfast-firmware-an385",
            Self::NucleoH743 => "holdfast-firmware-nucleo-h743",
        }
    }
}

/// `cargo xtask firmware build`.
#[derive(Args)]
pub struct BuildOptions {
    /// The board to build for
    #[arg(long, value_enum, default_value = "mps2-an385")]
    board: Board,
}

/// `cargo xtask firmware`.
#[derive(Subcommand)]
pub enum Firmware {
    /// Build the programs for a board
    #[command(after_help = "Examples:\n  cargo xtask firmware build\n  \
                      cargo xtask firmware build --board nucleo-h743")]
    Build(BuildOptions),
    /// Run the tests of the firmware; the same as `cargo xtask test firmware`
    #[command(after_help = "Example:\n  cargo xtask firmware test")]
    Test,
    /// Build as for a device and compare what each program takes with its budget
    #[command(after_help = "Example:\n  cargo xtask firmware size")]
    Size,
    /// Count the instructions that a device takes for what it does, and print each figure
    ///
    /// They are counted by the emulator: the same in every run and on every machine.
    #[command(after_help = "Examples:\n  cargo xtask firmware bench\n  \
                      cargo xtask firmware bench --json")]
    Bench(bench::BenchOptions),
    /// Run one emulated device against a gateway, until it is interrupted
    #[command(after_help = "Example:\n  cargo xtask firmware run --device ps-1 \
                      --token \"$(holdfast-edge token new --device ps-1 | tail -n 1)\"\n  \
                      cargo xtask firmware run --http --device ps-2 --token TOKEN")]
    Run(DeviceOptions),
}

/// Does it.
pub fn run(command: &Firmware) -> Result<ExitCode, Problem> {
    let root = workspace::root();
    let board = match command {
        Firmware::Build(options) => options.board,
        _ => Board::Mps2An385,
    };
    if let Err(line) = cross::bring_library(board.target()) {
        return Err(format!("the library for {} is missing; to have it: {line}", board.target()));
    }
    match command {
        Firmware::Build(_) => {
            let programs = build(&root, board)?;
            println!("The programs for {} lie in {}.", board.name(), programs.display());
            println!("{NODE}.bin is the image that devices are flashed with, and updated to.");
            Ok(ExitCode::SUCCESS)
        }
        Firmware::Test => test::run(&test::Options::of(Lane::Firmware)),
        Firmware::Size => weigh(&root),
        Firmware::Bench(options) => bench::run(&root, options),
        Firmware::Run(options) => emulator::become_device(&build(&root, board)?, options),
    }
}

/// The folder of the workspace.
pub fn folder(root: &Path) -> PathBuf {
    root.join("firmware")
}

/// Where the programs for a board are once they are built.
pub fn programs_dir(root: &Path, board: Board) -> PathBuf {
    root.join("target/firmware").join(board.target()).join("release")
}

/// Builds programs for a board as they run on a device, which has no room for others; the folder in
/// which they are. Which ones is for cargo to read.
fn build_programs(root: &Path, board: Board, which: &[&str]) -> Result<PathBuf, Problem> {
    let mut cargo = workspace::cargo();
    cargo.current_dir(folder(root)).args(["build", "--quiet", "--release"]);
    cargo.args(["-p", board.package(), "--target", board.target()]).args(which);
    cargo.arg("--target-dir").arg(root.join("target/firmware"));
    let status = cargo.status().map_err(|error| format!("cannot run cargo: {error}"))?;
    if !status.success() {
        return Err("the firmware cannot be built".to_owned());
    }
    Ok(programs_dir(root, board))
}

/// Builds all programs of a device for a board, and makes images of those that have one; the folder
/// in which they are.
pub fn build(root: &Path, board: Board) -> Result<PathBuf, Problem> {
    let programs = build_programs(root, board, &[])?;
    let images: &[&str] = match board {
        Board::Mps2An385 => &[NODE, POSTING],
        Board::NucleoH743 => &[NODE],
    };
    images.iter().try_for_each(|program| write_image(&programs.join(program)))?;
    Ok(programs)
}

/// Writes the image of a program beside it: what of it lies in flash.
fn write_image(program: &Path) -> Result<(), Problem> {
    let image = elf::image(&elf::segments(program)?);
    let path = program.with_extension("bin");
    // Who publishes it, or flashes a device with it, finds one that is whole.
    let part = path.with_extension("part");
    let written = std::fs::write(&part, image).and_then(|()| std::fs::rename(&part, &path));
    written.map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Builds the programs where they can be run; where not, says what is missing.
pub fn build_if_it_can_run() -> Result<(), Problem> {
    let missing = needs::missing(EMULATOR);
    let brought = match missing.is_empty() {
        true => cross::bring_library(TARGET),
        false => Err(needs::line_to_install(&missing)),
    };
    match brought {
        Ok(()) => build(&workspace::root(), Board::Mps2An385).map(drop),
        Err(line) => {
            eprintln!("without an emulated device; to have one: {line}");
            Ok(())
        }
    }
}

/// A program with what it may take of a device.
struct Budget {
    program: &'static str,
    what: &'static str,
    flash: u32,
    memory: u32,
}

/// What devices that these programs are meant for have to give.
const BUDGETS: [Budget; 3] = [
    Budget {
        program: NODE,
        what: "flash log, twin, commands, signed workflows and firmware, DHCP, DNS, MQTT",
        // 100 KB and 24 KB for the device, 40 KB and 4 KB for what it fetches and checks.
        flash: 140 << 10,
        memory: 28 << 10,
    },
    Budget {
        program: POSTING,
        what: "flash log, DHCP, DNS, HTTP",
        flash: 100 << 10,
        memory: 24 << 10,
    },
    Budget {
        program: LOADER,
        what: "swaps two images, whenever the power goes",
        flash: 16 << 10,
        memory: 4 << 10,
    },
];

/// Builds for a device, and prints what each program takes beside what it may.
fn weigh(root: &Path) -> Result<ExitCode, Problem> {
    let folder = build(root, Board::Mps2An385)?;
    println!("program    bytes of flash              bytes of memory             what it does");
    let mut over = 0;
    for budget in &BUDGETS {
        let size = size::of(&folder.join(budget.program))?;
        let told = |takes: u32, may: u32| {
            let side = if takes > may { "OVER" } else { "left" };
            format!("{takes} of {may}, {} {side}", takes.abs_diff(may))
        };
        let (flash, memory) = (told(size.flash, budget.flash), told(size.memory, budget.memory));
        println!("{:<9}  {flash:<26}  {memory:<26}  {}", budget.program, budget.what);
        over += u32::from(size.flash > budget.flash || size.memory > budget.memory);
    }
    Ok(if over > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_is_known_by_one_name_and_its_processor_to_all_tools() {
        let read = |path: &str| std::fs::read_to_string(workspace::root().join(path)).unwrap();
        let places = ["firmware/bsp-an385/src/places.rs", "firmware/nucleo-h743/src/places.rs"];
        for (board, places) in Board::value_variants().iter().zip(places) {
            let called = board.to_possible_value().unwrap();
            assert_eq!(called.get_name(), board.name());
            let image = format!("BOARD: &str = \"{}\";", board.name());
            assert!(read(places).contains(&image), "{places} has no {image}");
            let tools = ["rust-toolchain.toml", "deny.toml", "firmware/.cargo/config.toml"];
            for tool in tools.into_iter().chain(["xtask/src/tidy/licences.rs"]) {
                assert!(read(tool).contains(board.target()), "{tool} has no {}", board.target());
            }
        }
    }
}
