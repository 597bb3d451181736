//! Makes the fixture of a release: a gateway's and a hub's store that later releases have to open.

use std::path::PathBuf;

use clap::Parser;

/// Makes the fixture of this release from the binaries beside this program.
#[derive(Parser)]
#[command(
    name = "holdfast-fixture",
    after_help = "Example:\n  cargo build && target/debug/holdfast-fixture tests/fixtures/0.1.0\n"
)]
struct Cli {
    /// A new directory.
    dir: PathBuf,
}

fn main() {
    holdfast_tests::scenarios::fixture::make(&Cli::parse().dir);
}
