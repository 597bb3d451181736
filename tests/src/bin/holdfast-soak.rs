//! The soak: all campaigns of an issue at their full numbers, one after the other.
//!
//! A campaign that fails does not keep the others from running. Each tells what it did and how
//! often each fault really struck; at the end come the seconds of each and what failed, with the
//! line that runs it again.

use std::os::unix::process::CommandExt as _;
use std::panic::catch_unwind;
use std::process::{Command, ExitCode};
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
}

struct Done {
    name: &'static str,
    took: Duration,
    passed: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if std::env::var(TRANSPORT).as_ref() != Ok(&options.transport) {
        return begin_over(&options.transport);
    }
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
    let transport = Transport::ALL.into_iter().find(|one| one.name() == options.transport);
    let transport = transport.expect("the argument names one");
    let scale = Scale { seed: options.seed, part: options.part, transport };
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
        let Options { set, seed, part, transport, .. } = &options;
        let name = done.name;
        println!(
            "replay: cargo xtask soak {set} --only {name} --seed {seed} --part {part} \
             --transport {transport}"
        );
    }
    println!("{} passed, {} failed", done.len() - failed.len(), failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Begins anew with the variable set: all nodes that a campaign starts inherit it.
fn begin_over(transport: &str) -> ExitCode {
    let itself = std::env::current_exe().expect("the running executable has a path");
    let arguments = std::env::args_os().skip(1);
    let error = Command::new(itself).args(arguments).env(TRANSPORT, transport).exec();
    eprintln!("the soak cannot begin: {error}");
    ExitCode::FAILURE
}

fn run(campaign: &Campaign, scale: Scale) -> Done {
    println!("\n== {}: {}", campaign.name, campaign.about);
    let began = Instant::now();
    let passed = catch_unwind(|| (campaign.run)(scale)).is_ok();
    let took = began.elapsed();
    println!("== {} took {:.0} s", campaign.name, took.as_secs_f64());
    Done { name: campaign.name, took, passed }
}
