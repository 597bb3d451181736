//! `cargo xtask firmware`: builds what runs on a device, weighs it, and runs it under an emulator.
//!
//! `firmware/` is a workspace of its own, because its target is another. Its tests are a lane of
//! `cargo xtask test`; `test` here is that lane by a shorter name.

mod elf;
mod emulator;
mod size;

use crate::cross;
use crate::needs::{self, Need, need};
use crate::test::{self, Lane};
use crate::workspace::{self, Problem};
use clap::Subcommand;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub use emulator::DeviceOptions;

/// The emulator.
pub const EMULATOR: &[Need] = &[need("qemu-system-arm", "qemu-system-arm")];
/// The processor of the emulated board.
pub const TARGET: &str = "thumbv7m-none-eabi";
/// The package of the programs for the emulated board.
const PROGRAMS: &str = "holdfast-firmware-an385";
/// What the emulator starts, which starts an image.
const LOADER: &str = "loader";
/// An image: what of the node's program lies in flash.
const IMAGE: &str = "node.bin";

/// `cargo xtask firmware`.
#[derive(Subcommand)]
pub enum Firmware {
    /// Build all programs for the emulated board
    #[command(after_help = "Example:\n  cargo xtask firmware build")]
    Build,
    /// Run the tests of the firmware; the same as `cargo xtask test firmware`
    #[command(after_help = "Example:\n  cargo xtask firmware test")]
    Test,
    /// Build as for a device and compare what each program takes with its budget
    #[command(after_help = "Example:\n  cargo xtask firmware size")]
    Size,
    /// Run one emulated device against a gateway, until it is interrupted
    #[command(after_help = "Example:\n  cargo xtask firmware run --device ps-1 \
                      --token \"$(holdfast-edge token new --device ps-1 | tail -n 1)\"")]
    Run(DeviceOptions),
}

/// Does it.
pub fn run(command: &Firmware) -> Result<ExitCode, Problem> {
    let root = workspace::root();
    if let Err(line) = cross::bring_library(TARGET) {
        return Err(format!("the library for {TARGET} is missing; to have it: {line}"));
    }
    match command {
        Firmware::Build => {
            let programs = build(&root)?;
            println!("The programs lie in {}.", programs.display());
            println!("{IMAGE} is the image that devices are flashed with, and updated to.");
            Ok(ExitCode::SUCCESS)
        }
        Firmware::Test => test::run(&test::Options::of(Lane::Firmware)),
        Firmware::Size => weigh(&root),
        Firmware::Run(options) => emulator::become_device(&build(&root)?, options),
    }
}

/// The folder of the workspace.
pub fn folder(root: &Path) -> PathBuf {
    root.join("firmware")
}

/// Where the programs for the emulated board are once they are built.
pub fn programs_dir(root: &Path) -> PathBuf {
    root.join("target/firmware").join(TARGET).join("release")
}

/// Builds the programs as they run on a device, which has no room for others; the folder in which
/// they are.
pub fn build(root: &Path) -> Result<PathBuf, Problem> {
    let mut cargo = workspace::cargo();
    cargo.current_dir(folder(root)).args(["build", "--quiet", "--release", "-p", PROGRAMS]);
    cargo.arg("--target-dir").arg(root.join("target/firmware"));
    let status = cargo.status().map_err(|error| format!("cannot run cargo: {error}"))?;
    if !status.success() {
        return Err("the firmware cannot be built".to_owned());
    }
    let programs = programs_dir(root);
    let image = elf::image(&elf::segments(&programs.join("node"))?);
    let path = programs.join(IMAGE);
    // Who publishes it, or flashes a device with it, finds one that is whole.
    let part = path.with_extension("part");
    let written = std::fs::write(&part, image).and_then(|()| std::fs::rename(&part, &path));
    written.map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(programs)
}

/// Builds the programs where they can be run; where not, says what is missing.
pub fn build_if_it_can_run() -> Result<(), Problem> {
    let missing = needs::missing(EMULATOR);
    let brought = match missing.is_empty() {
        true => cross::bring_library(TARGET),
        false => Err(needs::line_to_install(&missing)),
    };
    match brought {
        Ok(()) => build(&workspace::root()).map(drop),
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
const BUDGETS: [Budget; 2] = [
    Budget {
        program: "node",
        what: "flash log, twin, commands, signed workflows and firmware, DHCP, DNS, MQTT",
        // 100 KB and 24 KB for the device, 40 KB and 4 KB for what it fetches and checks.
        flash: 140 << 10,
        memory: 28 << 10,
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
    let folder = build(root)?;
    println!("program  bytes of flash              bytes of memory             what it does");
    let mut over = 0;
    for budget in &BUDGETS {
        let size = size::of(&folder.join(budget.program))?;
        let told = |takes: u32, may: u32| {
            let side = if takes > may { "OVER" } else { "left" };
            format!("{takes} of {may}, {} {side}", takes.abs_diff(may))
        };
        let (flash, memory) = (told(size.flash, budget.flash), told(size.memory, budget.memory));
        println!("{:<7}  {flash:<26}  {memory:<26}  {}", budget.program, budget.what);
        over += u32::from(size.flash > budget.flash || size.memory > budget.memory);
    }
    Ok(if over > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
