//! Clients of MQTT while the gateway is killed, at the size of the test command.

use holdfast_tests::scenarios::{Scale, mqtt};

#[test]
fn what_was_acknowledged_over_mqtt_is_there_once_whatever_is_killed() {
    mqtt::kills(Scale::test(0x1883));
}
