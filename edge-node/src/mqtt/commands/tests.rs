//! What `mqtt map test` says, word for word.

use super::*;
use crate::mqtt::rules::Mappings;
use serde::Deserialize;

fn told(list: &str, topic: &str, payload: &str) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Section {
        mappings: Mappings,
    }
    let section: Section = toml::from_str(list).unwrap();
    let message = Message { topic, payload: payload.as_bytes(), content_type: None };
    explain(&Rules::new(&section.mappings), &message, Timestamp(1_795_192_680_000_000_000))
}

#[test]
fn readings_are_shown_as_a_table() {
    let list = r#"mappings = ["zigbee2mqtt"]"#;
    let payload = r#"{"temperature":21.5,"state":"ON","last_seen":"2026-11-20T16:38:00Z"}"#;
    assert_eq!(
        told(list, "zigbee2mqtt/hall", payload).unwrap(),
        "topic   zigbee2mqtt/hall\n\
         taken   by the mapping `zigbee2mqtt/device`\n\
         DEVICE  METRIC       VALUE  UNIT  TIME\n\
         hall    temperature  21.5   Cel   2026-11-20T16:38:00Z\n\
         hall    state        true   -     2026-11-20T16:38:00Z\n"
    );
    assert_eq!(
        told("mappings = []", "devices/ps-017/readings", r#"[{"metric":"a","value":1},{}]"#)
            .unwrap(),
        "topic   devices/ps-017/readings\n\
         taken   by the node, as readings\n\
         DEVICE  METRIC  VALUE  UNIT  TIME\n\
         ps-017  a       1      -     of receipt\n\
         refused `metric` is missing (at /1)\n"
    );
}

#[test]
fn whoever_is_told_nothing_is_told_what_to_do() {
    let own = r#"mappings = [{ topic = "m/+", device = "{1}", fields = [
        { path = "/t", metric = "t" }] }]"#;
    for (list, topic, payload, error) in [
        (
            "mappings = []",
            "tele/boiler/SENSOR",
            "{}",
            "nothing takes `tele/boiler/SENSOR`: it is an ordinary message of the site\n  the \
             mapping `tasmota` would take it: add it to the list `mqtt.mappings`",
        ),
        (
            "mappings = []",
            "a/b",
            "{}",
            "nothing takes `a/b`: it is an ordinary message of the site\n  a table in \
             `mqtt.mappings` with this topic would make readings of it; readings of our own \
             format go to devices/ID/readings",
        ),
        (
            own,
            "m/d",
            r#"{"t":[1]}"#,
            "the mapping `m/+` takes the topic, but nothing of this payload becomes a \
             reading\n  it takes `/t`",
        ),
        (
            own,
            "m/d",
            "1",
            "the mapping `m/+` takes the topic, but not this payload: a plain value: expected a \
             JSON object; a mapping takes plain values when it has a `metric`\n  correct the \
             mapping if it is wrong, or leave the topic out with `except`",
        ),
        (
            own,
            "devices/p s/readings",
            "1",
            "`p s` in the topic, second level: a device id has 1 to 64 characters of A-Z a-z 0-9 \
             . _ : -\n  a message there is refused; correct the topic of whatever publishes it",
        ),
        (
            own,
            "devices/a/watermark",
            "1",
            "only the node itself publishes here; clients may subscribe",
        ),
        (own, "a/#", "1", "`a/#` is no topic: wildcard at byte 2, expected none in a topic name"),
    ] {
        assert_eq!(told(list, topic, payload).unwrap_err(), error);
    }
}

#[test]
fn what_is_taken_and_makes_no_readings_is_named() {
    assert_eq!(
        told("mappings = []", "devices/ps-017/replies", "{}").unwrap(),
        "topic   devices/ps-017/replies\nbrings  what device ps-017 answers to a command\n"
    );
    let kept = told("mappings = []", "devices/ps-017/events", "{}").unwrap_err();
    assert_eq!(kept, "a message like any other: this name is kept for later use");
}
