//! `demo`, `soak` and `bench`: build the real binaries, then become the program that drives them.
//!
//! The driver replaces this process, so Ctrl-C, the terminal and the exit code are its own and it
//! alone is responsible for what it starts.

use crate::firmware::{self, Board};
use crate::peers;
use crate::workspace::{self, Executable, Metadata, Problem};
use clap::Args;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::ExitCode;

/// The binaries of the two services.
const NODES: [&str; 2] = ["holdfast-edge", "holdfast-hub"];
/// The simulator of devices, which campaigns start too.
const SIMULATOR: &str = "holdfast-sim";
/// The package whose tests hold the reference of the step machine.
const REFERENCE: &str = "holdfast-node";
/// The package that holds the drivers.
const DRIVERS: &str = "holdfast-tests";
/// The shared library that records writes for the power-cut campaign.
const SHIM: &str = "holdfast-shim";

/// `cargo xtask demo`.
#[derive(Args)]
pub struct DemoOptions {
    /// Handed to the demo as they are: --quick for the short one, --keep to leave it running
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// `cargo xtask soak`.
#[derive(Args)]
pub struct NamedOptions {
    /// Which one: first-light, alerts, state, mqtt, workflow or firmware
    name: String,
    /// Handed on as they are
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// `cargo xtask bench`.
#[derive(Args)]
pub struct BenchOptions {
    /// Which one: ingest, sync, query, link, size, docs, mqtt or workflow
    name: String,
    /// Print one JSON object for each figure instead of a table
    #[arg(long)]
    json: bool,
    /// Fetch the peers of this bench first, or build them, below target/; nothing is installed
    #[arg(long)]
    install_peers: bool,
    /// Of mqtt, measure only this broker: ours, mosquitto, mosquitto-saving, nats or rabbitmq
    #[arg(long)]
    only: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Profile {
    Dev,
    Release,
}

/// Builds and becomes the demo. The quick one is in a hurry: it takes the profile of the tests.
pub fn demo(options: &DemoOptions) -> Result<ExitCode, Problem> {
    let quick = options.arguments.iter().any(|argument| argument == "--quick");
    let profile = if quick { Profile::Dev } else { Profile::Release };
    firmware::build_if_it_can_run()?;
    become_driver("holdfast-demo", profile, &options.arguments, &[])
}

/// Builds and becomes a campaign.
pub fn soak(options: &NamedOptions) -> Result<ExitCode, Problem> {
    let mut variables = Vec::new();
    match options.name.as_str() {
        "firmware" => drop(firmware::build(&workspace::root(), Board::Mps2An385)?),
        "workflow" => variables.push(("HOLDFAST_NODE_TESTS", build_reference()?)),
        _ => {}
    }
    become_driver("holdfast-soak", Profile::Release, &options.all(), &variables)
}

/// Builds the reference that the step machine is compared with, which is part of tests that see
/// inside of its compiler; where it is.
fn build_reference() -> Result<PathBuf, Problem> {
    let metadata = workspace::metadata(&workspace::root().join("Cargo.toml"))?;
    let built = workspace::build(&metadata, &["-p", REFERENCE, "--tests"])?;
    let is_lib =
        |built: &Executable| built.test && built.target.kind.iter().any(|kind| kind == "lib");
    let tests = built.into_iter().find(is_lib);
    tests.map(|tests| tests.path).ok_or_else(|| format!("{REFERENCE} has no tests"))
}

/// Builds and becomes a measurement.
pub fn bench(options: &BenchOptions) -> Result<ExitCode, Problem> {
    if options.install_peers {
        peers::fetch(&options.name)?;
    }
    let mut arguments = vec![options.name.clone()];
    arguments.extend(options.json.then(|| "--json".to_owned()));
    arguments.extend(options.only.iter().map(|broker| format!("--only={broker}")));
    become_driver("holdfast-bench", Profile::Release, &arguments, &[])
}

impl NamedOptions {
    fn all(&self) -> Vec<String> {
        std::iter::once(&self.name).chain(&self.arguments).cloned().collect()
    }
}

fn become_driver(
    driver: &str,
    profile: Profile,
    arguments: &[String],
    variables: &[(&str, PathBuf)],
) -> Result<ExitCode, Problem> {
    let metadata = workspace::metadata(&workspace::root().join("Cargo.toml"))?;
    let wanted = [NODES[0], NODES[1], SIMULATOR, driver];
    for binary in wanted {
        if !has_binary(&metadata, binary) {
            return Err(format!("no package of this workspace has a binary `{binary}` yet"));
        }
    }
    let mut options = vec!["-p", NODES[0], "-p", NODES[1], "-p", DRIVERS, "-p", SHIM, "--lib"];
    options.extend(wanted.iter().flat_map(|binary| ["--bin", *binary]));
    if profile == Profile::Release {
        options.push("--release");
    }
    let executables = workspace::build(&metadata, &options)?;
    let built = executables.iter().find(|executable| executable.target.name == driver);
    let path = &built.ok_or_else(|| format!("cargo built no `{driver}`"))?.path;
    let dir = path.parent().expect("an executable lies in a folder");
    let error = crate::child::command(path, &workspace::root())
        .args(arguments)
        .envs(variables.iter().map(|(name, path)| (name, path)))
        .env("HOLDFAST_BIN_DIR", dir)
        .env("HOLDFAST_PEERS_DIR", peers::dir(&metadata))
        .env("HOLDFAST_FIRMWARE_DIR", firmware::programs_dir(&workspace::root(), Board::Mps2An385))
        .exec();
    Err(format!("cannot run {}: {error}", path.display()))
}

fn has_binary(metadata: &Metadata, name: &str) -> bool {
    let mut targets = metadata.packages.iter().flat_map(|package| &package.targets);
    targets.any(|target| target.name == name && target.kind.iter().any(|kind| kind == "bin"))
}
