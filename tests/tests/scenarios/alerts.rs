//! Alerts over kills, outages, clocks that are set, silent gateways and a full disk.

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

#[test]
fn a_gateway_that_is_stopped_is_told_and_told_to_be_back() {
    alerts::silence(Scale::test(14));
}

#[test]
fn a_full_disk_is_told_and_ends_when_the_hub_has_what_fills_it() {
    alerts::filling(Scale::test(15));
}

#[test]
fn who_took_note_at_the_hub_is_told_to_the_gateway() {
    alerts::notice(Scale::test(16));
}
