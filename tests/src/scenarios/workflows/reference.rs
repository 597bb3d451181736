//! The step machine against an interpreter that was written apart from it, with the full number of
//! random definitions.
//!
//! The interpreter is part of the tests of `holdfast-node`, which see inside of the compiler; so it
//! is their program that plays, and the test command runs it with the first of the same seeds.

use crate::scenarios::Scale;
use std::process::Command;

/// The variable that names the program with the tests of `holdfast-node`.
const TESTS: &str = "HOLDFAST_NODE_TESTS";
/// Definitions of a soak.
const SEEDS: u64 = 100_000;

/// Plays random definitions and whatever comes to their runs: equal journals.
///
/// # Panics
/// When two journals differ, or the program is not there.
pub fn reference(scale: Scale) {
    let program = std::env::var_os(TESTS).expect("`cargo xtask soak` names the program");
    let seeds = scale.of(SEEDS, 5_000);
    let mut play = Command::new(program);
    play.args(["flow::tests::reference", "--nocapture"]).env("HOLDFAST_SEEDS", seeds.to_string());
    let ended = play.status().expect("the program can be run");
    assert!(ended.success(), "the machine and the reference differ");
    println!("{seeds} definitions, each with equal journals");
}
