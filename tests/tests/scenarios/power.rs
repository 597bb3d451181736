//! The power goes, and what was acknowledged stays.

use holdfast_tests::faults::Replay;
use holdfast_tests::scenarios::Scale;
use holdfast_tests::scenarios::power_cut;

#[test]
fn what_was_acknowledged_survives_a_power_cut() {
    let replay =
        Replay::new("scenarios", "power::what_was_acknowledged_survives_a_power_cut", 0xC0FFEE);
    power_cut::power_cut(Scale::test(replay.seed()));
}

#[test]
fn weaker_durability_would_be_noticed() {
    let replay = Replay::new("scenarios", "power::weaker_durability_would_be_noticed", 0xC0FFEE);
    power_cut::power_cut_is_noticed(Scale::test(replay.seed()));
}

#[test]
fn a_power_cut_during_init_leaves_a_node_or_says_what_to_do() {
    let name = "power::a_power_cut_during_init_leaves_a_node_or_says_what_to_do";
    let replay = Replay::new("scenarios", name, 0xC0FFEE);
    power_cut::power_cut_during_init(Scale::test(replay.seed()));
}
