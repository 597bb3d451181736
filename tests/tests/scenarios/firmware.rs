//! Devices on emulated microcontrollers lose nothing, whatever fails.

use holdfast_tests::faults::Replay;
use holdfast_tests::scenarios::{Scale, firmware};

#[test]
fn no_sample_of_a_device_is_lost_or_doubled_whatever_fails() {
    let name = "firmware::no_sample_of_a_device_is_lost_or_doubled_whatever_fails";
    let replay = Replay::new("scenarios", name, 0xC0FFEE);
    firmware::outages(Scale::test(replay.seed()));
}

#[test]
fn a_workflow_of_the_hub_moves_a_valve_while_the_gateway_is_off() {
    firmware::alone();
}

#[test]
fn a_device_gets_other_firmware_and_always_starts_whatever_ends_in_the_middle() {
    let name =
        "firmware::a_device_gets_other_firmware_and_always_starts_whatever_ends_in_the_middle";
    let replay = Replay::new("scenarios", name, 0xC0FFEE);
    firmware::update(Scale::test(replay.seed()));
}

#[test]
fn no_sample_of_a_device_that_posts_by_http_is_lost_or_doubled() {
    let name = "firmware::no_sample_of_a_device_that_posts_by_http_is_lost_or_doubled";
    let replay = Replay::new("scenarios", name, 0xC0FFEE);
    firmware::post(Scale::test(replay.seed()));
}
