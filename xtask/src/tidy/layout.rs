//! What lies at the top of the repository, and names that must not be written into it.

use super::source::Source;
use std::collections::BTreeSet;
use std::path::Path;

/// The house; a new room needs a decision in docs/adr/.
const TOP_LEVEL: &[&str] = &[
    ".cargo",
    ".ci",
    ".gitignore",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "SECURITY.md",
    "clippy.toml",
    "cloud-hub",
    "core",
    "deny.toml",
    "docs",
    "edge-node",
    "firmware",
    "node",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "sync",
    "tests",
    "web",
    "xtask",
];

/// Hosts of package registries, split so that this file does not name them. Which one serves a
/// package is for the machine that builds to say.
const REGISTRIES: &[&str] = &[
    concat!("crates", ".io"),
    concat!("registry.", "npmjs.org"),
    concat!("static.", "rust-lang.org"),
    concat!("deb.", "debian.org"),
    concat!("proxy.", "golang.org"),
    concat!("pypi", ".org"),
];

/// Folders that belong to somebody's machine.
const HOMES: &[&str] = &[concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];

/// Where a checkout may lie without its path meaning anything in a text.
const COMMON: &[&str] = &["/tmp", "/opt", "/srv", "/var", "/usr", "/mnt", "/etc"];

/// Entries that have no place at the top.
pub fn top_level(sources: &[Source]) -> Vec<String> {
    let first = |source: &Source| source.path.split('/').next().map(str::to_owned);
    let entries: BTreeSet<String> = sources.iter().filter_map(first).collect();
    let unknown = entries.into_iter().filter(|entry| !TOP_LEVEL.contains(&entry.as_str()));
    unknown.map(|entry| format!("{entry}: has no place at the top of the repository")).collect()
}

/// Files that name a package registry or a path of the machine they were written on.
pub fn hosts(sources: &[Source], root: &Path) -> Vec<String> {
    let machine = machine_paths(root);
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| !source.path.ends_with("Cargo.lock")) {
        for (number, line) in (1..).zip(source.text.lines()) {
            let registry = REGISTRIES.iter().find(|host| line.contains(**host));
            let path = machine.iter().find(|path| names_path(line, path));
            if registry.is_some() {
                findings.push(format!("{}:{number}: names a package registry", source.path));
            }
            if path.is_some() {
                findings.push(format!("{}:{number}: names a path of one machine", source.path));
            }
        }
    }
    findings
}

fn machine_paths(root: &Path) -> Vec<String> {
    let mut paths: Vec<String> = HOMES.iter().map(|home| (*home).to_owned()).collect();
    let checkout = [Some(root), root.parent()].into_iter().flatten();
    for path in checkout.filter(|path| path.is_absolute() && path.parent().is_some()) {
        if !COMMON.iter().any(|common| path.starts_with(common)) {
            paths.push(format!("{}/", path.display()));
        }
    }
    paths
}

/// Whether `line` holds `path` as an absolute path and not as the end of another.
fn names_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "._-~*})>".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.into() }
    }

    #[test]
    fn only_known_entries_lie_at_the_top() {
        assert!(top_level(&[source("core/src/lib.rs", ""), source("Cargo.toml", "")]).is_empty());
        let found = top_level(&[source("scripts/a.sh", ""), source("scripts/b.sh", "")]);
        assert_eq!(found, ["scripts: has no place at the top of the repository"]);
    }

    #[test]
    fn registries_and_machines_are_not_named() {
        let judge = |text: &str| hosts(&[source("README.md", text)], Path::new("/place/holdfast"));
        assert_eq!(judge(&format!("see https://{}/x", REGISTRIES[0])).len(), 1);
        assert_eq!(judge(&format!("in {}me", HOMES[0])).len(), 1);
        assert_eq!(judge("cd /place/holdfast/core").len(), 1);
        assert_eq!(judge("cd /place/other").len(), 1);
        assert!(judge("cargo run; ls sync/place/holdfast/core; /placement/x").is_empty());
        assert!(hosts(&[source("Cargo.lock", REGISTRIES[0])], Path::new("/")).is_empty());
        let in_tmp = hosts(&[source("README.md", "ls /tmp/x")], Path::new("/tmp/holdfast"));
        assert!(in_tmp.is_empty());
    }
}
