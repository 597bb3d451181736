//! Workflows on gateways and the hub, at the size of the test command.

use holdfast_tests::scenarios::{Scale, workflows};

#[test]
fn no_kill_loses_a_run_or_does_anything_twice() {
    workflows::kills(Scale::test(0xf10));
}

#[test]
fn no_kill_loses_or_doubles_what_begins_a_run() {
    workflows::finds(Scale::test(0xf11));
}

#[test]
fn no_kill_loses_or_doubles_a_run_that_a_twin_begins() {
    workflows::twins(Scale::test(0xf14));
}

#[test]
fn runs_for_the_hub_are_done_there_once_whatever_is_killed_or_cut() {
    workflows::fleet(Scale::test(0xf12));
}

#[test]
fn a_kill_at_any_write_of_the_journal_loses_no_run_and_repeats_nothing() {
    workflows::journal(Scale::test(0xf13));
}
