//! The waterworks as a program: simulated stations that post to a gateway until they are stopped.
//!
//! At the end it says what was acknowledged, and writes it to a file if asked to. `replay` posts
//! recorded readings instead.

use std::error::Error;
use std::fs::File;
use std::io::BufWriter;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use holdfast_edge::files::{FileFormat, Source};
use holdfast_edge::formats::line::Precision;
use holdfast_tests::waterworks::{Account, Backlog, Habits, Pace, Patience, Replay, Shift, Works};

#[derive(Parser)]
#[command(
    name = "holdfast-sim",
    about = "Simulated pumping stations that post to a gateway",
    after_help = "Example:\n  holdfast-sim --token hf_ing_... --stations 5 --speed 60\n"
)]
struct Options {
    /// Address of the gateway's HTTP listener.
    #[arg(long, global = true, default_value = "127.0.0.1:8484")]
    gateway: SocketAddr,
    /// Ingest token of the gateway; needed.
    #[arg(long, global = true, env = "HOLDFAST_TOKEN", hide_env_values = true)]
    token: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
    /// Number of stations.
    #[arg(long, default_value_t = 20)]
    stations: u64,
    /// Seconds between two moments of measuring.
    #[arg(long, default_value_t = 10.0)]
    every: f64,
    /// How many times as fast as real time; 0 is as fast as the gateway answers.
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// Seconds of the stations' time to run for; without it until Ctrl-C.
    #[arg(long)]
    seconds: Option<f64>,
    /// Post a regular backlog of this many days first.
    #[arg(long)]
    backlog_days: Option<u32>,
    /// Seed of everything the stations measure and do.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Boot count of the stations; take a higher one for each run on the same gateway. Without
    /// it, seconds since 1970.
    #[arg(long)]
    boot: Option<u32>,
    /// Write what was acknowledged to this file, one item per line.
    #[arg(long)]
    account: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Posts recorded readings again, with their own times.
    #[command(
        after_help = "It reads what `holdfast-edge import` and `export` know.\n\nExamples:\n  \
        holdfast-sim replay day.csv --speed 60x --token hf_ing_...\n  \
        holdfast-edge export | holdfast-sim replay - --format ndjson --speed max\n"
    )]
    Replay {
        /// The files, compressed with gzip or not; - is standard input.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// How many times as fast as they were measured, such as 1x or 10x; max is as fast as the
        /// gateway answers.
        #[arg(long, default_value = "1x")]
        speed: Pace,
        /// Their format; without it the ending of the name tells.
        #[arg(long, value_enum)]
        format: Option<FileFormat>,
        /// The device of readings that name none.
        #[arg(long, value_name = "ID")]
        device: Option<String>,
        /// The unit of timestamps in line protocol: ns, us, ms or s.
        #[arg(long, default_value = "ns", value_parser = precision)]
        precision: Precision,
    },
}

fn precision(text: &str) -> Result<Precision, String> {
    Precision::named(text).ok_or_else(|| format!("there are {}", Precision::NAMES))
}

async fn replay(gateway: SocketAddr, token: &str, command: Command) -> Result<(), Box<dyn Error>> {
    let Command::Replay { files, speed, format, device, precision } = command;
    let patience = Patience { limit: Some(Duration::from_secs(60)), ..Patience::default() };
    let mut replay = Replay::new(gateway, token, speed, patience);
    let mut end = Ok(());
    for file in files {
        let source = Source::open(&file, format, precision)?;
        end = tokio::select! {
            done = replay.file(source, device.clone()) => done,
            _ = tokio::signal::ctrl_c() => Err("interrupted".to_owned()),
        };
        if end.is_err() {
            break;
        }
    }
    println!("{}", replay.told());
    Ok(end?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let token = options.token.ok_or("--token or HOLDFAST_TOKEN is needed")?;
    if let Some(command) = options.command {
        return replay(options.gateway, &token, command).await;
    }
    let now = jiff::Timestamp::now();
    let start_ms = now.as_millisecond();
    let boot = options.boot.unwrap_or_else(|| u32::try_from(now.as_second()).unwrap_or(u32::MAX));
    let patience = Patience { limit: Some(Duration::from_secs(60)), ..Patience::default() };
    if let Some(days) = options.backlog_days {
        let backlog =
            Backlog { devices: options.stations, ..Backlog::days(options.seed, days, start_ms) };
        println!("posting a backlog of {} readings", backlog.readings());
        Backlog { boot, ..backlog }.post(options.gateway, &token, 500, patience).await?;
    }
    let every_ms = (options.every.max(0.001) * 1000.0) as i64;
    let habits = Habits { every_ms, jitter_ms: every_ms / 12, ..Habits::default() };
    let works = Works {
        seed: options.seed,
        stations: options.stations,
        // The backlog has used the sequences of its own boot count.
        boot: boot.saturating_add(u32::from(options.backlog_days.is_some())),
        habits,
        start_ms,
        end_ms: options.seconds.map(|s| start_ms + (s * 1000.0) as i64),
        pace: if options.speed > 0.0 { Pace::Times(options.speed) } else { Pace::Flat },
    };
    let shift = works.start(options.gateway, &token, patience);
    println!("{} stations post to {}", options.stations, options.gateway);
    let account = until_done(shift, options.seconds.is_some()).await?;
    report(&account);
    if let Some(path) = options.account {
        account.write_ndjson(BufWriter::new(File::create(path)?))?;
    }
    Ok(())
}

/// Waits for the end of the stations' time, if it has one, or for Ctrl-C.
async fn until_done(shift: Shift, ends: bool) -> std::io::Result<Account> {
    if ends {
        return Ok(shift.finish().await);
    }
    tokio::signal::ctrl_c().await?;
    Ok(shift.stop().await)
}

fn report(account: &Account) {
    println!(
        "acknowledged {} items with {} readings; {} repeated posts, {} duplicates",
        account.acknowledged().len(),
        account.readings(),
        account.retries,
        account.duplicates
    );
    println!("in doubt {}, refused {}", account.in_doubt().len(), account.refused().len());
    for (key, code) in account.refused().iter().take(5) {
        println!("refused {key:?}: {code}");
    }
}
