//! Peers: other programs that keep readings or documents, measured beside ours in the same run.
//!
//! A peer is asked for the same work on the same machine: as many connections, batches of the same
//! size, the same data. It runs on the loopback at a port of its own choice, in a temporary
//! directory, and is ended by its own number. What is not installed is left out, with a line that
//! says how to get it. What a peer promises with its answer is said, since they differ.

pub mod documents;
pub mod flows;
pub mod influx;
pub mod nats;
pub mod programs;
pub mod rows;

use crate::process::Launch;
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Names the folder that `cargo xtask bench --install-peers` unpacks peers to.
const DIR_ENV: &str = "HOLDFAST_PEERS_DIR";
/// Longer than a peer takes to start, to stop or to say its version.
pub const LIMIT: Duration = Duration::from_secs(60);

/// What peers came to, by their names.
pub type Peers = BTreeMap<String, f64>;

/// A program that is here.
struct Program {
    path: PathBuf,
    /// Major, minor.
    version: (u32, u32),
}

/// Looks for a program and asks for its version.
fn find(name: &str, ask: &str) -> io::Result<Option<Program>> {
    let Some(path) = locate(name) else { return Ok(None) };
    let said = Launch::program(&path).args([ask]).run(LIMIT)?.expect_success()?.join(" ");
    let version = version(&said);
    let unknown = || io::Error::other(format!("{}: no version in `{said}`", path.display()));
    Ok(Some(Program { version: version.ok_or_else(unknown)?, path }))
}

/// Looks for a program where `--install-peers` puts it, in `PATH`, and where Debian keeps
/// services, which is not in everybody's `PATH`.
pub fn locate(name: &str) -> Option<PathBuf> {
    let unpacked = unpacked();
    let unpacked = unpacked.iter().flat_map(|dir| [dir.join("usr/bin"), dir.join("usr/sbin")]);
    let path = env::var_os("PATH").unwrap_or_default();
    let mut places = unpacked.chain(env::split_paths(&path)).chain(["/usr/sbin".into()]);
    let found = places.find_map(|dir| Some(dir.join(name)).filter(|path| path.is_file()));
    if found.is_none() {
        not_here(name);
    }
    found
}

/// The last folder whose path begins so, among what was unpacked or else on the system.
pub fn below(path: &str) -> Option<PathBuf> {
    let (folder, begins) = path.rsplit_once('/')?;
    let places = unpacked().into_iter().chain([PathBuf::from("/")]);
    places.filter_map(|place| fs::read_dir(place.join(folder)).ok()).find_map(|entries| {
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let named = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(begins))
        };
        paths.filter(named).max()
    })
}

/// The folders of the libraries that were unpacked, as the dynamic linker wants them.
pub fn libraries() -> OsString {
    let folders = unpacked().and_then(|dir| fs::read_dir(dir.join("usr/lib")).ok());
    let paths = folders.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let folders = paths.filter(|path| path.to_string_lossy().ends_with("-linux-gnu"));
    // No name of Debian's has the colon that cannot be joined.
    env::join_paths(folders).unwrap_or_default()
}

fn unpacked() -> Option<PathBuf> {
    env::var_os(DIR_ENV).map(PathBuf::from)
}

/// Says that a peer is left out.
pub fn not_here(name: &str) {
    say_once(format!("{name} is not here and left out; on Debian `--install-peers` fetches it"));
}

/// A bench asks for a peer several times; why it is left out is said once.
fn say_once(why: String) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if !said.contains(&why) {
        eprintln!("{why}");
        said.insert(why);
    }
}

/// The first `vMAJOR.MINOR` of what a program says of itself.
fn version(said: &str) -> Option<(u32, u32)> {
    let words = said.split_whitespace();
    words.filter_map(|word| word.strip_prefix('v')).find_map(|word| {
        let mut parts = word.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    })
}

/// What lies in files of a folder whose names end so, bytes.
fn bytes_of(dir: &Path, ending: &str) -> io::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sum += bytes_of(&entry.path(), ending)?;
        } else if entry.file_name().to_string_lossy().ends_with(ending) {
            sum += entry.metadata()?.len();
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_what_programs_say() {
        assert_eq!(version("InfluxDB v1.6.7~rc0 (git: unknown unknown)"), Some((1, 6)));
        assert_eq!(version("nats-server: v2.10.27"), Some((2, 10)));
        assert_eq!(version("server: very good"), None);
    }

    #[test]
    fn bytes_are_those_of_the_files_meant() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("a")).unwrap();
        std::fs::write(dir.path().join("a/1.tsm"), [0; 30]).unwrap();
        std::fs::write(dir.path().join("2.tsm"), [0; 12]).unwrap();
        std::fs::write(dir.path().join("3.wal"), [0; 7]).unwrap();
        assert_eq!(bytes_of(dir.path(), ".tsm").unwrap(), 42);
    }
}
