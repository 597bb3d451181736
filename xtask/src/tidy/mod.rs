//! `cargo xtask tidy`: rules of the house that the compiler does not know.
//!
//! Each check takes what it judges as an argument, so its tests can show it something wrong, and
//! gives back one line per finding. `docs/ARCHITECTURE.md` says why each rule is there.

mod layout;
mod licences;
mod neighbours;
mod promises;
mod shape;
mod source;

use crate::workspace::{self, Problem};
pub use source::read_sources;
use std::path::Path;
use std::process::ExitCode;

/// The name of a check, and what it found.
pub type Check = (&'static str, Vec<String>);

/// Runs every check on the workspace in `root`.
pub fn checks(root: &Path) -> Result<Vec<Check>, Problem> {
    let sources = read_sources(root);
    let metadata = workspace::metadata(&root.join("Cargo.toml"))?;
    let mut packages = metadata.packages;
    let firmware = root.join("firmware/Cargo.toml");
    if firmware.exists() {
        packages.extend(workspace::metadata(&firmware)?.packages);
    }
    let in_use = licences::packages_in_use()?;
    Ok(vec![
        ("packages know whom they may", neighbours::packages(&packages)),
        ("one room per foreign library", neighbours::rooms(&sources)),
        ("no route outside of the table", neighbours::routers(&sources)),
        ("file sizes", shape::sizes(&sources)),
        ("line widths", shape::widths(&sources)),
        ("leftover marks", shape::marks(&sources)),
        ("prose at the top of modules", shape::prose(&sources)),
        ("licences", licences::licences(&in_use)),
        ("deny.toml agrees", licences::agrees_with_deny(&sources)),
        ("banned packages", licences::banned(&in_use)),
        ("top-level entries", layout::top_level(&sources)),
        ("no host or machine is named", layout::hosts(&sources, root)),
        ("promises name their tests", promises::check(&sources)),
    ])
}

/// Prints what the checks find.
pub fn run() -> Result<ExitCode, Problem> {
    let checks = checks(&workspace::root())?;
    for finding in checks.iter().flat_map(|(_, findings)| findings) {
        println!("{finding}");
    }
    let found: usize = checks.iter().map(|(_, findings)| findings.len()).sum();
    println!("{} checks, {found} findings", checks.len());
    Ok(if found == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
