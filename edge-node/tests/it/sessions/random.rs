//! The simulation in the test command; `cargo xtask soak mqtt` runs 10,000 seeds of it.

use super::simulation::{Bug, campaign, run};
use std::ops::Range;

/// Seeds of the test command.
const SEEDS: u64 = 1_000;
/// Seeds within which each planted bug has to be found.
const BUG_SEEDS: u64 = 1_000;
const BUGS: [Bug; 8] = [
    Bug::HeldIsLost,
    Bug::QueueIsLost,
    Bug::Disordered,
    Bug::Unmarked,
    Bug::RetainedComesBack,
    Bug::ProgressIsLost,
    Bug::WillIsLost,
    Bug::SubscriptionComesBack,
];

fn seeds() -> Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("HOLDFAST_SEED") {
        return seed..seed + 1;
    }
    0..number("HOLDFAST_SEEDS").unwrap_or(SEEDS).max(SEEDS)
}

#[test]
fn sessions_keep_what_they_promise_whatever_happens() {
    campaign(seeds(), |_| {});
}

#[test]
fn every_planted_bug_is_found() {
    for bug in BUGS {
        let wrong = |seed| run(seed, bug).wrong.map(|wrong| (seed, wrong));
        let found = (0..BUG_SEEDS).find_map(wrong);
        let (seed, wrong) = found.unwrap_or_else(|| panic!("{bug:?} is not found"));
        let wrong: String = wrong.chars().take(160).collect();
        println!("struck: {bug:?} found by seed {seed}: {wrong}");
    }
}
