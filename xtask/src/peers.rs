//! The programs that benches measure ours beside, from Debian's packages.
//!
//! They are downloaded and unpacked below `target/`, not installed: installing them would start
//! services on the ports of this machine, and needs root.

use crate::child;
use crate::workspace::{self, Metadata, Problem};
use std::fs;
use std::path::{Path, PathBuf};

/// Packages with nothing but the C library behind them.
const PACKAGES: [&str; 2] = ["influxdb", "nats-server"];

/// Where they are unpacked.
pub fn dir(metadata: &Metadata) -> PathBuf {
    metadata.target_directory.join("peers")
}

/// Downloads and unpacks what is not there yet.
pub fn fetch() -> Result<(), Problem> {
    let metadata = workspace::metadata(&workspace::root().join("Cargo.toml"))?;
    let dir = dir(&metadata);
    for package in PACKAGES {
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
    command.args(&words[1..]).stdout(std::io::stderr());
    let failed = |why: String| {
        format!(
            "`{}` {why}; peers are Debian's packages: on Debian try `sudo apt-get update` and \
             again, elsewhere put `influxd` and `nats-server` into PATH",
            words.join(" ")
        )
    };
    let end = child::run(&mut command, None).map_err(|error| failed(error.to_string()))?;
    end.success().then_some(()).ok_or_else(|| failed("failed".into()))
}
