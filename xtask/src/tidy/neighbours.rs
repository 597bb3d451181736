//! Who may know whom: one direction between packages, one room per foreign library.

use super::source::{Source, mask};
use crate::workspace::Package;

/// What each package may depend on among ours. A package without a row here is a finding.
const OURS: &[(&str, &[&str])] = &[
    ("holdfast-core", &[]),
    ("holdfast-sync", &["holdfast-core"]),
    ("holdfast-node", &["holdfast-core", "holdfast-sync"]),
    ("holdfast-edge", &["holdfast-core", "holdfast-sync", "holdfast-node"]),
    ("holdfast-hub", &["holdfast-core", "holdfast-sync", "holdfast-node"]),
    (
        "holdfast-tests",
        &["holdfast-core", "holdfast-sync", "holdfast-node", "holdfast-edge", "holdfast-hub"],
    ),
    // Preloaded into a node's process, it must bring nothing of ours with it.
    ("holdfast-shim", &[]),
    ("holdfast-firmware", &["holdfast-core"]),
    ("holdfast-bsp-an385", &[]),
    ("holdfast-firmware-net", &["holdfast-firmware"]),
    (
        "holdfast-firmware-an385",
        &["holdfast-core", "holdfast-bsp-an385", "holdfast-firmware", "holdfast-firmware-net"],
    ),
    (
        "holdfast-firmware-nucleo-h743",
        &["holdfast-core", "holdfast-firmware", "holdfast-firmware-net"],
    ),
    ("holdfast-firmware-tests", &["holdfast-core", "holdfast-bsp-an385", "holdfast-firmware"]),
    // In the place of a public one that libp2p asks for.
    ("if-watch", &[]),
    ("xtask", &[]),
];

/// What `core` may use of others: no_std, no clock, no randomness, no I/O.
const CORE_MAY_USE: &[&str] =
    &["blake3", "crc", "ed25519-dalek", "heapless", "libm", "postcard", "serde"];

/// Where handlers become routes: beside the table of routes only what is no part of the interface.
const ROUTERS: &[&str] = &["node/src/routes", "node/src/pages"];

/// A foreign library and the only places that may name it.
struct Room {
    library: &'static str,
    folders: &'static [&'static str],
}

const ROOMS: &[Room] = &[
    // The fleet harness looks into stores from outside, and the store's own tests damage them.
    Room { library: "rusqlite", folders: &["sync/src/store", "sync/tests", "tests"] },
    Room { library: "libp2p", folders: &["sync/src/net"] },
    Room { library: "quinn", folders: &["sync/src/net"] },
    // A peer of the benches is a program of its own, which nothing of ours is built from.
    Room { library: "automerge", folders: &["sync/src/docs", "tests/peers"] },
    Room { library: "saphyr_parser", folders: &["node/src/flow"] },
    Room { library: "lettre", folders: &["node/src/notify"] },
];

/// Judges the declared dependencies.
pub fn packages(packages: &[Package]) -> Vec<String> {
    let mut findings = Vec::new();
    for package in packages {
        let name = &package.name;
        let Some((_, may)) = OURS.iter().find(|(known, _)| known == name) else {
            findings.push(format!("{name}: has no row in xtask/src/tidy/neighbours.rs"));
            continue;
        };
        for dependency in &package.dependencies {
            let other = dependency.name.as_str();
            let ours = OURS.iter().any(|(known, _)| *known == other);
            if ours && !may.contains(&other) {
                findings.push(format!("{name}: must not know {other}"));
            }
            let of_the_product = dependency.kind.as_deref() != Some("dev");
            let foreign = !ours && !CORE_MAY_USE.contains(&other);
            if name == "holdfast-core" && of_the_product && foreign {
                findings.push(format!("{name}: {other} is not on the list of what core may use"));
            }
        }
    }
    findings
}

/// Judges which files name a foreign library.
pub fn rooms(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        let masked = mask(&source.text);
        for room in ROOMS.iter().filter(|room| !room.holds(&source.path)) {
            let named = |line: &str| words(line).any(|word| room.is_named(word));
            for (number, _) in (1..).zip(masked.lines()).filter(|(_, line)| named(line)) {
                let (path, library) = (&source.path, room.library);
                let folders = room.folders.join(", ");
                findings.push(format!("{path}:{number}: names {library}; only {folders} may"));
            }
        }
    }
    findings
}

/// Judges which files make routes: one that is not in the table has no description.
pub fn routers(sources: &[Source]) -> Vec<String> {
    let mut findings = Vec::new();
    let is_free = |path: &str| ROUTERS.iter().any(|place| is_below(path, place));
    let product = |source: &&Source| {
        let services = ["node/", "edge-node/", "cloud-hub/"];
        source.is_rust() && !source.is_test() && services.iter().any(|s| source.path.starts_with(s))
    };
    for source in sources.iter().filter(product).filter(|source| !is_free(&source.path)) {
        let masked = mask(&source.text);
        let own = masked.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in (1..).zip(own.lines()) {
            if line.contains("axum::routing") || line.contains(".route(") {
                let path = &source.path;
                findings.push(format!("{path}:{number}: a route outside of the table of routes"));
            }
        }
    }
    findings
}

fn is_below(path: &str, folder: &str) -> bool {
    let rest = path.strip_prefix(folder);
    rest.is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
}

impl Room {
    fn holds(&self, path: &str) -> bool {
        self.folders.iter().any(|folder| is_below(path, folder))
    }

    /// A library comes with crates of its family: `libp2p_stream`, `quinn_proto`.
    fn is_named(&self, word: &str) -> bool {
        let rest = word.strip_prefix(self.library);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    }
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !(c.is_alphanumeric() || c == '_'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Package {
        let dependency = |(name, kind): &(&str, Option<&str>)| Dependency {
            name: (*name).into(),
            kind: kind.map(Into::into),
        };
        Package {
            name: name.into(),
            version: "0.1.0".into(),
            manifest_path: "Cargo.toml".into(),
            dependencies: dependencies.iter().map(dependency).collect(),
            targets: Vec::new(),
        }
    }

    fn rust(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.into() }
    }

    #[test]
    fn core_uses_only_what_is_listed_but_tests_with_what_it_likes() {
        let fine = [("heapless", None), ("proptest", Some("dev"))];
        assert!(packages(&[package("holdfast-core", &fine)]).is_empty());
        assert_eq!(packages(&[package("holdfast-core", &[("tokio", None)])]).len(), 1);
        assert_eq!(packages(&[package("holdfast-core", &[("cc", Some("build"))])]).len(), 1);
    }

    #[test]
    fn no_package_knows_its_neighbour_or_the_tests() {
        let to_hub = package("holdfast-edge", &[("holdfast-hub", None)]);
        let to_tests = package("holdfast-sync", &[("holdfast-tests", Some("dev"))]);
        let up = package("holdfast-sync", &[("holdfast-node", None)]);
        let from_device = package("holdfast-firmware", &[("holdfast-sync", None)]);
        assert_eq!(packages(&[to_hub, to_tests, up, from_device]).len(), 4);
    }

    #[test]
    fn a_new_package_needs_a_row() {
        assert_eq!(packages(&[package("holdfast-new", &[])]).len(), 1);
    }

    #[test]
    fn a_library_is_named_in_its_room_only() {
        let text = "use libp2p::PeerId;\n";
        assert!(rooms(&[rust("sync/src/net/driver.rs", text)]).is_empty());
        assert!(rooms(&[rust("sync/src/net.rs", text)]).is_empty());
        let found = rooms(&[rust("sync/src/network.rs", text)]);
        assert_eq!(found, ["sync/src/network.rs:1: names libp2p; only sync/src/net may"]);
        assert_eq!(rooms(&[rust("node/src/a.rs", "\nlet x = libp2p_stream::new();")]).len(), 1);
        assert_eq!(rooms(&[rust("edge-node/src/a.rs", "fn a(_: &rusqlite::Row) {}")]).len(), 1);
        let text = "use automerge::ROOT;\n";
        assert!(rooms(&[rust("tests/peers/samod/src/main.rs", text)]).is_empty());
        assert_eq!(rooms(&[rust("tests/src/bench/docs/mod.rs", text)]).len(), 1);
    }

    #[test]
    fn prose_and_strings_may_speak_of_a_library() {
        let text = "//! Nothing of libp2p here.\nconst A: &str = \"quinn\"; // automerge\n";
        assert!(rooms(&[rust("node/src/a.rs", text)]).is_empty());
        assert!(rooms(&[rust("node/src/a.rs", "let quinny = 1;")]).is_empty());
    }

    #[test]
    fn a_route_comes_from_the_table() {
        let makes = "use axum::routing::get;\nfn f() { Router::new().route(\"/a\", get(a)) }";
        let tested = format!("fn f() {{}}\n#[cfg(test)]\nmod tests {{ {makes} }}");
        assert_eq!(routers(&[rust("edge-node/src/routes.rs", makes)]).len(), 2);
        let free = [
            rust("node/src/routes/mod.rs", makes),
            rust("node/src/pages.rs", makes),
            rust("node/src/http/tests.rs", makes),
            rust("node/src/events.rs", &tested),
            rust("tests/src/lib.rs", makes),
        ];
        assert_eq!(routers(&free), Vec::<String>::new());
    }
}
