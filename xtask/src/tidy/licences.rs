//! Licences of everything that is built, and packages that must not be among it.
//!
//! What is judged is what cargo resolves for the targets we ship, not the lock file: that one also
//! lists packages behind features nobody asked for.

use super::source::Source;
use crate::workspace::{self, Problem};
use std::path::Path;

/// Licences that let anyone use, change and ship the whole.
const ALLOWED: &[&str] = &[
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "CC0-1.0",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
    "MIT-0",
    "0BSD",
];

/// One TLS provider, ring: see docs/adr/0002-libp2p-0.56-and-ring.md.
const BANNED: &[&str] = &["openssl-sys", "aws-lc-sys", "aws-lc-rs"];

const TARGETS: &[&str] = &[
    "x86_64-unknown-linux-gnu",
    "aarch64-unknown-linux-gnu",
    "armv7-unknown-linux-gnueabihf",
    "thumbv7m-none-eabi",
    "thumbv7em-none-eabihf",
];

/// A package that takes part in a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InUse {
    /// Name and version.
    pub package: String,
    /// Its SPDX expression, empty where it declares none.
    pub licence: String,
}

/// Asks cargo what is built for the targets we ship, tests included.
pub fn packages_in_use() -> Result<Vec<InUse>, Problem> {
    let root = workspace::root();
    let mut all = in_use_in(&root)?;
    let firmware = root.join("firmware");
    if firmware.exists() {
        all.extend(in_use_in(&firmware)?);
    }
    Ok(all)
}

fn in_use_in(workspace: &Path) -> Result<Vec<InUse>, Problem> {
    let mut cargo = workspace::cargo();
    cargo.current_dir(workspace);
    cargo.args(["tree", "--quiet", "--workspace", "--prefix=none", "--format={p}\t{l}"]);
    cargo.args(["--edges=normal,build,dev"]);
    cargo.args(TARGETS.iter().flat_map(|target| ["--target", target]));
    let output = cargo.output().map_err(|e| format!("cannot run cargo: {e}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(parse_tree(&String::from_utf8_lossy(&output.stdout)))
}

fn parse_tree(tree: &str) -> Vec<InUse> {
    let mut all: Vec<InUse> = Vec::new();
    for line in tree.lines() {
        let Some((package, licence)) = line.split_once('\t') else { continue };
        // `name v1.2.3 (path or proc-macro)` and, for a repeated one, ` (*)` at the end.
        let package: Vec<&str> = package.split(' ').take(2).collect();
        let licence = licence.trim_end_matches("(*)").trim();
        let found = InUse { package: package.join(" "), licence: licence.into() };
        if !all.contains(&found) {
            all.push(found);
        }
    }
    all
}

/// Packages whose licence does not allow what we do.
pub fn licences(packages: &[InUse]) -> Vec<String> {
    let refused = packages.iter().filter(|in_use| !is_allowed(&in_use.licence));
    refused.map(|p| format!("{}: licence `{}` is not allowed", p.package, p.licence)).collect()
}

/// Differences between the list here and the one cargo-deny reads.
pub fn agrees_with_deny(sources: &[Source]) -> Vec<String> {
    let file = sources.iter().find(|source| source.path == "deny.toml");
    let list = file.and_then(|file| file.text.split_once("\nallow = [")?.1.split_once(']'));
    let Some((list, _)) = list else { return vec!["deny.toml: has no list `allow`".into()] };
    let theirs: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
    let only_ours = ALLOWED.iter().filter(|ours| !theirs.contains(ours));
    let only_theirs = theirs.iter().filter(|theirs| !ALLOWED.contains(theirs));
    let ours = only_ours.map(|name| format!("deny.toml: does not allow {name}, tidy does"));
    let theirs = only_theirs.map(|name| format!("deny.toml: allows {name}, tidy does not"));
    ours.chain(theirs).collect()
}

/// Packages that must not be there at all.
pub fn banned(packages: &[InUse]) -> Vec<String> {
    let name = |in_use: &InUse| in_use.package.split(' ').next().map(str::to_owned);
    let names = packages.iter().filter_map(name);
    let found = names.filter(|name| BANNED.contains(&name.as_str()));
    found.map(|name| format!("{name}: is banned, ring is the one TLS provider")).collect()
}

/// Evaluates an SPDX expression: of `OR` one side must be allowed, of `AND` both. A `/` is how
/// older packages wrote `OR`.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Parser { tokens: &tokens };
    parser.any_of() == Some(true) && parser.tokens.is_empty()
}

/// Reads `any := all (OR all)*`, `all := one (AND one)*`, `one := ( any ) | name [WITH name]`.
struct Parser<'a> {
    tokens: &'a [&'a str],
}

impl Parser<'_> {
    fn any_of(&mut self) -> Option<bool> {
        let mut allowed = self.all_of()?;
        while self.take("OR") {
            allowed |= self.all_of()?;
        }
        Some(allowed)
    }

    fn all_of(&mut self) -> Option<bool> {
        let mut allowed = self.one()?;
        while self.take("AND") {
            allowed &= self.one()?;
        }
        Some(allowed)
    }

    fn one(&mut self) -> Option<bool> {
        if self.take("(") {
            let inner = self.any_of()?;
            return self.take(")").then_some(inner);
        }
        let mut name = self.next()?.to_owned();
        if self.take("WITH") {
            name = format!("{name} WITH {}", self.next()?);
        }
        Some(ALLOWED.contains(&name.as_str()))
    }

    fn next(&mut self) -> Option<&str> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    fn take(&mut self, token: &str) -> bool {
        let here = self.tokens.first() == Some(&token);
        if here {
            self.tokens = &self.tokens[1..];
        }
        here
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_evaluated_and_not_searched() {
        for allowed in [
            "MIT",
            "MIT/Apache-2.0",
            "Apache-2.0 / MIT",
            "Unlicense OR MIT",
            "(MIT OR GPL-3.0-only) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0-only",
            "MIT OR GPL-2.0-only AND ISC",
        ] {
            assert!(is_allowed(allowed), "{allowed}");
        }
        for refused in [
            "",
            "MPL-2.0",
            "Unlicense",
            "MIT AND GPL-3.0-only",
            "(MIT OR Apache-2.0) AND LGPL-2.1-or-later",
            "GPL-2.0-only WITH LLVM-exception",
            "MIT WITH Some-exception",
            "MIT OR",
            "(MIT",
            "MIT MIT",
        ] {
            assert!(!is_allowed(refused), "{refused}");
        }
    }

    #[test]
    fn a_package_is_judged_once_however_often_it_is_used() {
        let tree = "a v1.0.0\tMIT\nb v2.0.0 (proc-macro)\tMPL-2.0\nb v2.0.0 (proc-macro)\t\
                    MPL-2.0 (*)\n\naws-lc-sys v0.1.0\tISC AND MIT\n";
        let packages = parse_tree(tree);
        assert_eq!(packages.len(), 3);
        assert_eq!(licences(&packages), ["b v2.0.0: licence `MPL-2.0` is not allowed"]);
        assert_eq!(banned(&packages).len(), 1);
    }

    #[test]
    fn the_list_of_cargo_deny_is_the_same() {
        let quoted: Vec<String> = ALLOWED.iter().map(|name| format!("\"{name}\"")).collect();
        let deny = |names: &[String]| {
            let text = format!("[licenses]\nallow = [{}]\n", names.join(", "));
            agrees_with_deny(&[Source { path: "deny.toml".into(), text }])
        };
        assert!(deny(&quoted).is_empty());
        assert_eq!(deny(&quoted[1..]), ["deny.toml: does not allow MIT, tidy does"]);
        let more = [&quoted[..], &["\"MPL-2.0\"".into()]].concat();
        assert_eq!(deny(&more), ["deny.toml: allows MPL-2.0, tidy does not"]);
        assert_eq!(agrees_with_deny(&[]).len(), 1);
    }
}
