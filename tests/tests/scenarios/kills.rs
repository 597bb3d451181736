//! Gateways and hub killed under load.

use holdfast_sync::net::Transport;
use holdfast_tests::faults::Replay;
use holdfast_tests::scenarios::{Scale, kills};

#[test]
fn no_kill_loses_or_doubles_a_reading() {
    let replay = Replay::new("scenarios", "kills::no_kill_loses_or_doubles_a_reading", 7);
    kills::kills(Scale::test(replay.seed()));
}

#[test]
fn no_kill_loses_or_doubles_a_reading_over_quic() {
    let name = "kills::no_kill_loses_or_doubles_a_reading_over_quic";
    let replay = Replay::new("scenarios", name, 8);
    kills::kills(Scale::test(replay.seed()).over(Transport::Quic));
}
