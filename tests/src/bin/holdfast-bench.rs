//! `holdfast-bench`: the figures, as `cargo xtask bench` runs it.

use clap::{Parser, ValueEnum};
use holdfast_tests::bench;
use std::process::ExitCode;

/// Measures the release build on this machine; the load generator shares its cores.
#[derive(Parser)]
#[command(after_help = "Example:\n  cargo xtask bench ingest --json\n")]
struct Options {
    /// What to measure.
    name: Name,
    /// One JSON object for each figure instead of a table.
    #[arg(long)]
    json: bool,
    /// Of `mqtt`, measure only this broker.
    #[arg(long)]
    only: Option<bench::System>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// Readings a second over HTTP, and the memory of an idle gateway.
    Ingest,
    /// Catching up after an outage.
    Sync,
    /// A day of one series out of a thousand, and a start with that store.
    Query,
    /// Bytes of a connect and of an idle day, over each transport.
    Link,
    /// Bytes of a reading on disk, sealed.
    Size,
    /// Twins on their way: time and bytes of a sync, and cells a second.
    Docs,
    /// Messages over MQTT: acknowledged, fanned out, kept for who is away; memory.
    Mqtt,
    /// Workflows: durable steps, from a reading to a message, rules, runs that wait.
    Workflow,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let ran = match options.name {
        Name::Ingest => bench::ingest(options.json).await,
        Name::Sync => bench::sync(options.json).await,
        Name::Query => bench::query(options.json).await,
        Name::Link => bench::link(options.json).await,
        Name::Size => bench::size(options.json).await,
        Name::Docs => bench::docs(options.json).await,
        Name::Mqtt => bench::mqtt(options.only, options.json).await,
        Name::Workflow => bench::workflow(options.json).await,
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
