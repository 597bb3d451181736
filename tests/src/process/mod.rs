//! The real binaries as processes: started, listened to, ended by their own number.
//!
//! A node says on standard output where it listens and when it serves; the harness waits for those
//! lines and for nothing else. What it writes to standard error is kept, the end of it, and
//! printed when something is waited for in vain. Each process leads its own group and dies with
//! the harness, so a failed test leaves nothing behind.

mod edge;
mod fleet;
mod hub;
mod launch;
mod machine;
mod output;
mod running;
mod service;
mod spawner;

pub use edge::Edge;
pub use fleet::{Fleet, FleetPlan};
pub use hub::Hub;
pub use launch::{Finished, Launch, Settings};
pub use machine::{Memory, allow_connections};
pub use running::Running;
pub use service::Service;

use std::env;
use std::path::PathBuf;
use std::time::Duration;

/// Names the directory of the binaries under test; without it they are where cargo puts them.
pub const BIN_DIR_ENV: &str = "HOLDFAST_BIN_DIR";

/// How long anything may take before it counts as hung, on a slow machine under load.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The directory of the binaries under test.
///
/// # Panics
/// When the running executable has no path, which Linux always gives.
#[must_use]
pub fn bin_dir() -> PathBuf {
    if let Some(dir) = env::var_os(BIN_DIR_ENV) {
        return PathBuf::from(dir);
    }
    let own = env::current_exe().expect("the running executable has a path");
    // Tests run in `deps` below the directory of the binaries.
    let dir = own.parent().expect("an executable lies in a directory");
    let above = dir.parent().filter(|_| dir.ends_with("deps"));
    above.unwrap_or(dir).to_owned()
}
