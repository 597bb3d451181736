//! The waterworks as a program: simulated stations that post to a gateway until they are stopped.
//!
//! At the end it says what was acknowledged, and writes it to a file if asked to.

use std::error::Error;
use std::fs::File;
use std::io::BufWriter;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use holdfast_tests::waterworks::{Account, Backlog, Habits, Pace, Patience, Shift, Works};

#[derive(Parser)]
#[command(name = "holdfast-sim", about = "Simulated pumping stations that post to a gateway")]
struct Options {
    /// Address of the gateway's HTTP listener.
    #[arg(long, default_value = "127.0.0.1:8484")]
    gateway: SocketAddr,
    /// Ingest token of the gateway.
    #[arg(long, env = "HOLDFAST_TOKEN", hide_env_values = true)]
    token: String,
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

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let now = jiff::Timestamp::now();
    let start_ms = now.as_millisecond();
    let boot = options.boot.unwrap_or_else(|| u32::try_from(now.as_second()).unwrap_or(u32::MAX));
    let patience = Patience { limit: Some(Duration::from_secs(60)), ..Patience::default() };
    if let Some(days) = options.backlog_days {
        let backlog =
            Backlog { devices: options.stations, ..Backlog::days(options.seed, days, start_ms) };
        println!("posting a backlog of {} readings", backlog.readings());
        Backlog { boot, ..backlog }.post(options.gateway, &options.token, 500, patience).await?;
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
    let shift = works.start(options.gateway, &options.token, patience);
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
