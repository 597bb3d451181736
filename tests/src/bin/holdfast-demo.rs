//! `holdfast-demo`: the demonstration, as `cargo xtask demo` runs it.

use clap::Parser;
use holdfast_tests::scenarios::demo::Demo;
use std::process::ExitCode;

/// One hub, two gateways, twenty simulated devices, an outage and a crash.
#[derive(Parser)]
#[command(after_help = "Example:\n  cargo xtask demo --quick\n")]
struct Options {
    /// The short one, under a minute.
    #[arg(long)]
    quick: bool,
    /// Leaves it running at the end, with the addresses of the pages and how to sign in.
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Options { quick, keep } = Options::parse();
    match (Demo { quick, keep }).run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
