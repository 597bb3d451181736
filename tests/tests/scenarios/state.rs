//! State that agrees, between the built programs; the campaigns of `soak state`, in small.

use holdfast_tests::faults::Replay;
use holdfast_tests::scenarios::{Scale, artefacts, state};

#[test]
fn both_sides_change_one_twin_and_agree_by_its_policy() {
    let name = "state::both_sides_change_one_twin_and_agree_by_its_policy";
    state::agree(Scale::test(Replay::new("scenarios", name, 21).seed()));
}

#[test]
fn a_clock_a_year_ahead_wins_until_somebody_has_seen_it() {
    let name = "state::a_clock_a_year_ahead_wins_until_somebody_has_seen_it";
    state::clock(Scale::test(Replay::new("scenarios", name, 22).seed()));
}

#[test]
fn writes_to_twins_survive_kills_on_both_sides() {
    let name = "state::writes_to_twins_survive_kills_on_both_sides";
    state::kills(Scale::test(Replay::new("scenarios", name, 23).seed()));
}

#[test]
fn an_artefact_arrives_whole_whatever_is_killed_or_cut() {
    let name = "state::an_artefact_arrives_whole_whatever_is_killed_or_cut";
    artefacts::artefacts(Scale::test(Replay::new("scenarios", name, 24).seed()));
}
