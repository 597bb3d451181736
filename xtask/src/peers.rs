//! The programs that benches measure ours beside, and the clients of others that the interop lane
//! tries.
//!
//! Those that keep readings or messages are Debian's packages, downloaded and unpacked below
//! `target/`, not installed: installing them would start services on the ports of this machine, and
//! needs root.
//! Those that keep documents, and those clients, are libraries: small programs around them lie
//! below `tests/peers`, and are built, or their packages fetched, into `target/` too, so that
//! nothing of them is ever among what the workspace builds. No script of a fetched package is run.

use crate::child;
use crate::workspace::{self, Metadata, Problem};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Packages with nothing but the C library behind them.
const PACKAGES: [&str; 2] = ["influxdb", "nats-server"];
/// Brokers, and of what they depend on that which few systems have: the libraries of Mosquitto, the
/// parts of Erlang for RabbitMQ.
const BROKERS: [&str; 23] = [
    "nats-server",
    "mosquitto",
    "libcjson1",
    "libdlt2",
    "libwrap0",
    "rabbitmq-server",
    "erlang-asn1",
    "erlang-base",
    "erlang-crypto",
    "erlang-eldap",
    "erlang-ftp",
    "erlang-inets",
    "erlang-mnesia",
    "erlang-os-mon",
    "erlang-parsetools",
    "erlang-public-key",
    "erlang-runtime-tools",
    "erlang-snmp",
    "erlang-ssl",
    "erlang-syntax-tools",
    "erlang-tftp",
    "erlang-tools",
    "erlang-xmerl",
];

/// Where they are unpacked.
pub fn dir(metadata: &Metadata) -> PathBuf {
    metadata.target_directory.join("peers")
}

/// Brings the peers of a bench that are not there yet.
pub fn fetch(bench: &str) -> Result<(), Problem> {
    let metadata = workspace::metadata(&workspace::root().join("Cargo.toml"))?;
    let dir = dir(&metadata);
    match bench {
        "docs" => documents(&dir),
        "workflow" => flows(&dir),
        "mqtt" => packages(&dir, &BROKERS),
        _ => packages(&dir, &PACKAGES),
    }
}

/// Brings the clients of MQTT that Debian does not have, or has of long ago.
pub fn clients(dir: &Path) -> Result<(), Problem> {
    build(dir, "rumqttc", &[])?;
    let lock = |place: PathBuf| fs::read(place.join("package-lock.json")).ok();
    let place = dir.join("mqttjs");
    // npm leaves its own list when it is done.
    let is_there = place.join("node_modules/.package-lock.json").exists();
    if is_there && lock(place) == lock(sources().join("mqttjs")) {
        return Ok(());
    }
    packages_of(dir, "mqttjs", &["package.json", "package-lock.json"], &["ci"])
}

/// Builds the one that is Rust, and fetches what the one for Node.js needs.
fn documents(dir: &Path) -> Result<(), Problem> {
    build(dir, "samod", &["--release"])?;
    packages_of(dir, "pouchdb", &["package.json"], &["install", "--no-package-lock"])
}

/// Builds the one that is Rust, and fetches what the ones for Node.js are.
fn flows(dir: &Path) -> Result<(), Problem> {
    build(dir, "duroxide", &["--release"])?;
    packages_of(dir, "node-red", &["package.json"], &["install", "--no-package-lock"])
}

fn sources() -> PathBuf {
    workspace::root().join("tests/peers")
}

/// Builds a program around a library in Rust.
fn build(dir: &Path, peer: &str, arguments: &[&str]) -> Result<(), Problem> {
    let mut cargo = workspace::cargo();
    cargo.current_dir(sources().join(peer)).args(["build", "--locked"]).args(arguments);
    cargo.arg("--target-dir").arg(dir.join(peer));
    // What our own store leaves out of SQLite is for the store alone: a peer is built as it is.
    cargo.env("LIBSQLITE3_FLAGS", "");
    end_well(cargo, &format!("cargo build in tests/peers/{peer}"), "it needs the registry once")
}

/// Fetches the packages that a program for Node.js needs.
fn packages_of(dir: &Path, peer: &str, lists: &[&str], arguments: &[&str]) -> Result<(), Problem> {
    let place = dir.join(peer);
    let cannot = |e: std::io::Error| format!("cannot make {}: {e}", place.display());
    fs::create_dir_all(&place).map_err(cannot)?;
    for list in lists {
        fs::copy(sources().join(peer).join(list), place.join(list)).map_err(cannot)?;
    }
    let mut npm = child::command("npm", &place);
    npm.args(arguments).args(["--ignore-scripts", "--no-audit", "--no-fund"]);
    end_well(npm, &format!("npm {}", arguments[0]), "it needs Node.js, npm and the registry once")
}

/// Downloads and unpacks those that are Debian's.
fn packages(dir: &Path, packages: &[&str]) -> Result<(), Problem> {
    for package in packages {
        // Debian's packages all bring this folder, so it tells what was unpacked to its end.
        if dir.join("usr/share/doc").join(package).exists() {
            continue;
        }
        let work = dir.join(package);
        fs::create_dir_all(&work).map_err(|e| format!("cannot make {}: {e}", work.display()))?;
        run(&["apt-get", "download", "--quiet", package], &work)?;
        let entries = fs::read_dir(&work).map_err(|e| format!("{}: {e}", work.display()))?;
        let mut files = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let file = files.find(|path| path.extension().is_some_and(|end| end == "deb"));
        let file = file.ok_or_else(|| format!("apt-get downloaded no {package}"))?;
        run(&["dpkg-deb", "--extract", &file.to_string_lossy(), &dir.to_string_lossy()], &work)?;
    }
    Ok(())
}

fn run(words: &[&str], dir: &Path) -> Result<(), Problem> {
    let mut command = child::command(words[0], dir);
    command.args(&words[1..]);
    let advice = "peers are Debian's packages: on Debian try `sudo apt-get update` and again, \
                  elsewhere put their programs into PATH";
    end_well(command, &words.join(" "), advice)
}

/// Runs a command that has to succeed; `called` and `advice` are for whoever reads that it did not.
fn end_well(mut command: Command, called: &str, advice: &str) -> Result<(), Problem> {
    let failed = |why: String| format!("`{called}` {why}; {advice}");
    command.stdout(std::io::stderr());
    let end = child::run(&mut command, None).map_err(|error| failed(error.to_string()))?;
    end.success().then_some(()).ok_or_else(|| failed("failed".into()))
}
