//! Alerts over kills, outages and clocks that are set.

use holdfast_tests::faults::Replay;
use holdfast_tests::scenarios::{Scale, alerts};

#[test]
fn each_crossing_is_said_once_and_ends_once_whatever_is_killed() {
    let name = "alerts::each_crossing_is_said_once_and_ends_once_whatever_is_killed";
    let replay = Replay::new("scenarios", name, 11);
    alerts::kills(Scale::test(replay.seed()));
}

#[test]
fn an_alert_of_an_outage_reaches_the_hub_before_any_backlog() {
    alerts::outage(Scale::test(12));
}

#[test]
fn clocks_that_are_set_and_silence_over_restarts_raise_once() {
    alerts::clocks(Scale::test(13));
}
