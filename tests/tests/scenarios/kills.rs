//! Gateways and hub killed under load.

use holdfast_tests::faults::Replay;
use holdfast_tests::scenarios::{Scale, kills};

#[test]
fn no_kill_loses_or_doubles_a_reading() {
    let replay = Replay::new("scenarios", "kills::no_kill_loses_or_doubles_a_reading", 7);
    kills::kills(Scale::test(replay.seed()));
}
