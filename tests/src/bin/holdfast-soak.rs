//! The soak: all campaigns of an issue at their full numbers, one after the other.
//!
//! A campaign that fails does not keep the others from running. Each tells what it did and how
//! often each fault really struck; at the end come the seconds of each and what failed, with the
//! line that runs it again.

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use holdfast_tests::scenarios::{Campaign, SETS, Scale};

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
    let scale = Scale { seed: options.seed, part: options.part };
    let done: Vec<_> = campaigns.map(|campaign| run(campaign, scale)).collect();
    let total: Duration = done.iter().map(|done| done.took).sum();
    println!("\n{:<16} {:>8}", "CAMPAIGN", "SECONDS");
    for Done { name, took, passed } in &done {
        let word = if *passed { "" } else { "FAILED" };
        println!("{name:<16} {:>8.0} {word}", took.as_secs_f64());
    }
    println!("{:<16} {:>8.0}", "all", total.as_secs_f64());
    let failed: Vec<_> = done.iter().filter(|done| !done.passed).collect();
    for done in &failed {
        let Options { set, seed, part, .. } = &options;
        let name = done.name;
        println!("replay: cargo xtask soak {set} --only {name} --seed {seed} --part {part}");
    }
    println!("{} passed, {} failed", done.len() - failed.len(), failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(campaign: &Campaign, scale: Scale) -> Done {
    println!("\n== {}: {}", campaign.name, campaign.about);
    let began = Instant::now();
    let passed = catch_unwind(|| (campaign.run)(scale)).is_ok();
    let took = began.elapsed();
    println!("== {} took {:.0} s", campaign.name, took.as_secs_f64());
    Done { name: campaign.name, took, passed }
}
