//! Peers that are libraries: programs around them lie below `tests/peers`, so that none of them is
//! among what this workspace builds or ships. `cargo xtask bench NAME --install-peers` builds those
//! in Rust and fetches the packages of those for Node.js. They print a line for each figure.

use super::{say_once, unpacked};
use crate::process::{Launch, Settings};
use std::collections::BTreeMap;
use std::env;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Longer than any takes.
const LIMIT: Duration = Duration::from_secs(300);

/// What a peer came to.
pub struct Measured {
    /// What it is called.
    pub name: String,
    /// Its figures by their names.
    pub figures: BTreeMap<String, f64>,
}

/// Runs those that are here; `bench` is the bench that brings the others.
///
/// # Errors
/// When one fails.
pub fn measure(
    bench: &str,
    peers: impl IntoIterator<Item = (&'static str, Option<Launch>)>,
) -> io::Result<Vec<Measured>> {
    let mut all = Vec::new();
    for (name, launch) in peers {
        let Some(launch) = launch else {
            say_once(format!(
                "{name} is not here and left out; `cargo xtask bench {bench} --install-peers` \
                 brings it"
            ));
            continue;
        };
        // What it says beside its figures, a library may say where they are.
        let quiet = Settings::default().env("RUST_LOG", "off");
        let lines = launch.settings(&quiet).run(LIMIT)?.expect_success()?;
        all.push(Measured { name: name.to_owned(), figures: figures(&lines)? });
    }
    Ok(all)
}

/// One in Rust.
pub fn rust(peer: &str) -> Option<Launch> {
    let program = unpacked()?.join(format!("{peer}/release/holdfast-peer-{peer}"));
    program.is_file().then(|| Launch::program(program))
}

/// One for Node.js, with a package by which it is known that all are there.
pub fn node(peer: &str, package: &str) -> Option<Launch> {
    let packages = unpacked()?.join(peer);
    let path = env::var_os("PATH")?;
    let node = env::split_paths(&path).map(|dir| dir.join("node")).find(|path| path.is_file())?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("peers/{peer}/measure.mjs"));
    let here = packages.join("node_modules").join(package).is_dir();
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
