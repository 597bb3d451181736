//! The broker of a gateway, at the size of the test command.

use holdfast_tests::scenarios::{Scale, mqtt};

#[test]
fn what_was_acknowledged_over_mqtt_is_there_once_whatever_is_killed() {
    mqtt::kills(Scale::test(0x1883));
}

#[test]
fn what_was_acknowledged_over_mqtt_is_there_after_a_power_cut() {
    mqtt::power_cuts(Scale::test(0x1884));
}

#[test]
fn a_crowd_at_the_broker_harms_nobody_else() {
    mqtt::crowd(Scale::test(0x1885));
}

#[test]
fn a_bad_disk_and_a_wrong_clock_lose_nothing_over_mqtt() {
    mqtt::disks(Scale::test(0x1886));
}

#[test]
fn a_device_is_told_over_mqtt_what_it_should_be_and_says_what_it_is() {
    mqtt::twins();
}

#[test]
fn a_command_is_asked_of_a_device_once_and_its_answer_is_kept() {
    mqtt::commands();
}

#[test]
fn a_device_with_our_firmware_gets_the_section_that_is_desired_of_it() {
    mqtt::sections();
}

#[test]
fn a_device_with_our_firmware_reports_under_its_own_stamps() {
    mqtt::reports();
}

#[test]
fn a_device_with_our_firmware_is_asked_until_its_answer_is_safe() {
    mqtt::orders();
}
