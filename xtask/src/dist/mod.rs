//! `cargo xtask dist`: both nodes for each machine, as stripped programs and as Debian packages.
//!
//! What a package holds lies beside the node it is of, in `edge-node/dist` and `cloud-hub/dist`;
//! here it is put together. `--try` installs the packages in a root of their own and goes through
//! the life of a node there.

mod package;
mod trial;

use crate::child;
use crate::cross::{self, Machine};
use crate::needs::{Need, need};
use crate::workspace::{self, Executable, Metadata, Problem};
use clap::Args;
use std::path::Path;
use std::process::ExitCode;

/// What a stripped program may weigh: it goes over thin links to boards with little flash.
const BUDGET_BYTES: u64 = 15_000_000;
/// To make packages.
const NEEDS: &[Need] = &[need("dpkg-deb", "dpkg")];

/// A node as a package.
struct Node {
    /// Its package, its program and its unit.
    name: &'static str,
    /// Where its package's files lie.
    folder: &'static str,
    /// What its configuration and its folder of data are called.
    short: &'static str,
}

const NODES: [Node; 2] = [
    Node { name: "holdfast-edge", folder: "edge-node/dist", short: "edge" },
    Node { name: "holdfast-hub", folder: "cloud-hub/dist", short: "hub" },
];

/// `cargo xtask dist`.
#[derive(Args)]
pub struct Options {
    /// The machines to build for; all of them when none is named
    machines: Vec<Machine>,
    /// Install the packages in a fresh Debian root and go through the life of a node (as root)
    #[arg(long = "try")]
    try_out: bool,
}

/// Builds and packs, then tries if asked; fails when a program is over its budget.
pub fn run(options: &Options) -> Result<ExitCode, Problem> {
    child::catch_signals();
    let root = workspace::root();
    let metadata = workspace::metadata(&root.join("Cargo.toml"))?;
    let here = Machine::ALL.into_iter().find(|machine| machine.is_here());
    let machines = match &options.machines[..] {
        [] if options.try_out => here.into_iter().collect(),
        [] => Machine::ALL.to_vec(),
        named => named.to_vec(),
    };
    let needs = if options.try_out { [NEEDS, trial::NEEDS].concat() } else { NEEDS.to_vec() };
    cross::prepare(&machines, &needs)?;
    let mut heavy = Vec::new();
    let mut lines = Vec::new();
    let mut here_packages = Vec::new();
    for machine in machines {
        let programs = build(&metadata, machine)?;
        for node in &NODES {
            let program = find(&programs, node.name)?;
            let package = package::make(&root, &metadata, machine, node, program)?;
            let bytes = size(program)?;
            if bytes > BUDGET_BYTES {
                heavy.push(format!("{} for {}", node.name, machine.name()));
            }
            lines.push(line(machine, node.name, bytes, &package));
            if machine.is_here() {
                describes_itself(&root, node, program)?;
                here_packages.push(package);
            }
        }
    }
    println!("machine  program         size      budget of {} MB", BUDGET_BYTES / 1_000_000);
    println!("{}", lines.join("\n"));
    if options.try_out {
        trial::run(&metadata.target_directory, &here_packages)?;
    }
    if heavy.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    // The packages are made and work; it is the build machine that must not overlook it.
    Err(format!("over the budget: {}", heavy.join(", ")))
}

/// Release builds without symbols; those for campaigns and measurements keep their line numbers.
fn build(metadata: &Metadata, machine: Machine) -> Result<Vec<Executable>, Problem> {
    eprintln!("-- {}", machine.name());
    let mut arguments = vec!["--release", "--target", machine.triple(), "--bins"];
    // They carry the description of their routes, and not what makes it; the rules of time zones
    // are those of the system, on which the packages depend.
    arguments.push("--no-default-features");
    arguments.extend(["--config", "profile.release.debug=false"]);
    // Slower to build and a tenth smaller; nobody measures or debugs these.
    arguments.extend(["--config", r#"profile.release.lto="fat""#]);
    arguments.extend(["--config", "profile.release.codegen-units=1"]);
    let flags = cross::link_flags()?.map(|flag| format!("{flag:?}")).join(", ");
    let flags = format!("target.{}.rustflags=[{flags}]", machine.triple());
    arguments.extend(["--config", &flags]);
    arguments.extend(NODES.iter().flat_map(|node| ["-p", node.name]));
    workspace::build_with(metadata, &arguments, &machine.variables())
}

fn find<'a>(programs: &'a [Executable], name: &str) -> Result<&'a Path, Problem> {
    let found = programs.iter().find(|program| program.target.name == name);
    found.map(|program| program.path.as_path()).ok_or_else(|| format!("cargo built no `{name}`"))
}

/// The program carries the description that was reviewed: one that was built from an older one, or
/// that makes its own, is not what is to be packed.
fn describes_itself(root: &Path, node: &Node, program: &Path) -> Result<(), Problem> {
    let fail = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let told = child::command(program, root).arg("openapi").output();
    let told = told.map_err(|error| fail(program, error))?.stdout;
    let reviewed = root.join("docs/openapi").join(node.short).with_extension("json");
    match std::fs::read(&reviewed).map_err(|error| fail(&reviewed, error))? == told {
        true => Ok(()),
        false => Err(format!("`{} openapi` is not {}", node.name, reviewed.display())),
    }
}

fn size(path: &Path) -> Result<u64, Problem> {
    let bytes = std::fs::metadata(path).map(|metadata| metadata.len());
    bytes.map_err(|error| format!("{}: {error}", path.display()))
}

fn line(machine: Machine, program: &str, bytes: u64, package: &Path) -> String {
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let (left, word) = match BUDGET_BYTES.checked_sub(bytes) {
        Some(left) => (left, "below"),
        None => (bytes - BUDGET_BYTES, "OVER"),
    };
    let package_bytes = size(package).unwrap_or_default();
    format!(
        "{:<8} {program:<14} {:>5.1} MB  {:>5.1} MB {word}  {} ({:.1} MB)",
        machine.name(),
        megabytes(bytes),
        megabytes(left),
        package.display(),
        megabytes(package_bytes)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_a_program_is_from_its_budget() {
        let package = Path::new("/no/such.deb");
        let below = line(Machine::Armv7, "holdfast-hub", BUDGET_BYTES - 1_500_000, package);
        assert!(below.contains(" 13.5 MB    1.5 MB below"), "{below}");
        let over = line(Machine::Armv7, "holdfast-hub", BUDGET_BYTES + 1_500_000, package);
        assert!(over.contains(" 16.5 MB    1.5 MB OVER"), "{over}");
    }
}
