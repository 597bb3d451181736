//! samod and PouchDB: documents that two sides bring to agree.
//!
//! Each is a program of its own below `tests/peers`, so that neither is among what this workspace
//! builds or ships; `cargo xtask bench docs --install-peers` builds the one and fetches the
//! packages of the other. What they print is a line for each figure.

use super::{say_once, unpacked};
use crate::process::Launch;
use std::collections::BTreeMap;
use std::env;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Longer than either takes.
const LIMIT: Duration = Duration::from_secs(300);

/// What a peer came to.
pub struct Measured {
    /// What it is called.
    pub name: String,
    /// Its figures by their names.
    pub figures: BTreeMap<String, f64>,
}

/// Runs those that are here.
///
/// # Errors
/// When one fails.
pub fn measure() -> io::Result<Vec<Measured>> {
    let mut all = Vec::new();
    for (name, launch) in [("samod", samod()), ("pouchdb", pouchdb())] {
        let Some(launch) = launch else {
            say_once(format!(
                "{name} is not here and left out; `cargo xtask bench docs --install-peers` \
                 brings it"
            ));
            continue;
        };
        let lines = launch.run(LIMIT)?.expect_success()?;
        all.push(Measured { name: name.to_owned(), figures: figures(&lines)? });
    }
    Ok(all)
}

fn samod() -> Option<Launch> {
    let program = unpacked()?.join("samod/release/holdfast-peer-samod");
    program.is_file().then(|| Launch::program(program))
}

fn pouchdb() -> Option<Launch> {
    let packages = unpacked()?.join("pouchdb");
    let path = env::var_os("PATH")?;
    let node = env::split_paths(&path).map(|dir| dir.join("node")).find(|path| path.is_file())?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/pouchdb/measure.mjs");
    let here = packages.join("node_modules/pouchdb-core").is_dir();
    here.then(|| Launch::program(node).args([script, packages]))
}

/// Reads lines of a name, a blank and a number.
fn figures(lines: &[String]) -> io::Result<BTreeMap<String, f64>> {
    let figure = |line: &String| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    let read: Option<BTreeMap<_, _>> = lines.iter().map(figure).collect();
    read.ok_or_else(|| io::Error::other(format!("no figures: {}", lines.join("\n"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_and_anything_else_is_an_error() {
        let lines = ["idle_bytes 3639".to_owned(), "first_sync_s 0.776".to_owned()];
        let read = figures(&lines).unwrap();
        assert_eq!(read["idle_bytes"], 3639.0);
        assert_eq!(read["first_sync_s"], 0.776);
        assert!(figures(&["Error: no such module".to_owned()]).is_err());
    }
}
