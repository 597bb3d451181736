//! The soak: all campaigns of an issue at their full numbers, two at a time.
//!
//! Each campaign has a process of its own: what it measures of itself is its own, and one that
//! fails does not keep the others from running. Each tells what it did and how often each fault
//! really struck; at the end come the seconds of each and what failed, with the line that runs it
//! again.

use std::collections::VecDeque;
use std::io::{self, BufRead as _, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser;
use holdfast_sync::net::Transport;
use holdfast_tests::scenarios::{Campaign, SETS, Scale, TRANSPORT};

#[derive(Parser)]
#[command(name = "holdfast-soak", about = "Campaigns of faults with their full numbers")]
struct Options {
    /// Which set of campaigns.
    #[arg(value_parser = SETS.map(|(name, _)| name))]
    set: String,
    /// Only this campaign; may be given several times.
    #[arg(long)]
    only: Vec<String>,
    /// Seed of all draws.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    seed: u64,
    /// Run a part: one over this number, as the test command does.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    part: u64,
    /// What carries the sync of all nodes.
    #[arg(long, env = TRANSPORT, default_value = "libp2p")]
    #[arg(value_parser = Transport::ALL.map(Transport::name))]
    transport: String,
    /// How many campaigns run at a time.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..))]
    at_once: u8,
    /// Run the one campaign in this process.
    #[arg(long, hide = true)]
    here: bool,
}

struct Done {
    name: &'static str,
    took: Duration,
    passed: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let set = SETS.iter().find(|(name, _)| *name == options.set);
    let all = set.expect("the argument names a set").1;
    let known = |name: &String| all.iter().any(|campaign| campaign.name == name);
    if let Some(name) = options.only.iter().find(|name| !known(name)) {
        let names: Vec<_> = all.iter().map(|campaign| campaign.name).collect();
        eprintln!("there is no campaign `{name}`: {}", names.join(", "));
        return ExitCode::FAILURE;
    }
    let wanted =
        |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    let campaigns = all.iter().filter(|campaign| wanted(campaign.name));
    if options.here {
        let transport = Transport::ALL.into_iter().find(|one| one.name() == options.transport);
        let transport = transport.expect("the argument names one");
        let scale = Scale { seed: options.seed, part: options.part, transport };
        campaigns.for_each(|campaign| (campaign.run)(scale));
        return ExitCode::SUCCESS;
    }
    let began = Instant::now();
    let done = run_all(&options, campaigns.collect());
    report(&options, &done, began.elapsed())
}

fn run_all(options: &Options, campaigns: VecDeque<&'static Campaign>) -> Vec<Done> {
    let (waiting, done) = (Mutex::new(campaigns), Mutex::new(Vec::new()));
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    std::thread::scope(|scope| {
        for _ in 0..options.at_once {
            scope.spawn(|| {
                while let Some(campaign) = next() {
                    let ended = run(options, campaign);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push(ended);
                }
            });
        }
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn run(options: &Options, campaign: &'static Campaign) -> Done {
    let Campaign { name, about, .. } = *campaign;
    println!("== {name}: {about}");
    let began = Instant::now();
    let passed = in_a_process(options, name).unwrap_or_else(|error| {
        println!("{name}: it cannot be run: {error}");
        false
    });
    let took = began.elapsed();
    println!("== {name} took {:.0} s", took.as_secs_f64());
    Done { name, took, passed }
}

/// Runs a campaign in a process of its own, and says whose each line is.
fn in_a_process(options: &Options, name: &str) -> io::Result<bool> {
    let (seed, part) = (options.seed.to_string(), options.part.to_string());
    let mut process = Command::new(std::env::current_exe()?)
        .args([&options.set, "--here", "--only", name, "--seed", &seed, "--part", &part])
        // All nodes that it starts inherit the variable.
        .env(TRANSPORT, &options.transport)
        .stdout(Stdio::piped())
        .spawn()?;
    if let Some(said) = process.stdout.take() {
        for line in BufReader::new(said).lines() {
            println!("{name:<16} {}", line?);
        }
    }
    Ok(process.wait()?.success())
}

fn report(options: &Options, done: &[Done], took: Duration) -> ExitCode {
    println!("\n{:<16} {:>8}", "CAMPAIGN", "SECONDS");
    for Done { name, took, passed } in done {
        let word = if *passed { "" } else { "FAILED" };
        println!("{name:<16} {:>8.0} {word}", took.as_secs_f64());
    }
    println!("{:<16} {:>8.0}", "all", took.as_secs_f64());
    let failed: Vec<_> = done.iter().filter(|done| !done.passed).collect();
    for done in &failed {
        let Options { set, seed, part, transport, .. } = options;
        let name = done.name;
        println!(
            "replay: cargo xtask soak {set} --only {name} --seed {seed} --part {part} \
             --transport {transport}"
        );
    }
    println!("{} passed, {} failed", done.len() - failed.len(), failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
