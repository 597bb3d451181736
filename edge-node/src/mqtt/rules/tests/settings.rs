//! Wrong mappings: each is told with its line and what was expected.

use super::*;
use crate::settings::Settings;
use holdfast_node::config::Layers;
use std::io::Write as _;

/// What is wrong with a configuration, behind the name of its file.
fn wrong(text: &str) -> String {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let layers = Layers::default().file(file.path()).unwrap();
    let error = layers.load::<Settings>().unwrap_err();
    let line = error.place.rsplit(':').next().unwrap();
    format!("{line}: {}", error.detail)
}

#[test]
fn a_wrong_value_is_told_with_its_line() {
    let start = "[[mqtt.mappings]]\ntopic = \"a/+\"\ndevice = \"{1}\"\nrest = \"flatten\"\n";
    for (line, told) in [
        ("metrik = 1", "5: unknown field `metrik`, expected one of `name`, `like`"),
        ("except = \"a\"", "5: `except`: invalid type: string \"a\", expected a sequence"),
        ("except = [\"a/#/b\"]", "5: `except`: `a/#/b` is no topic of a mapping: `#` at byte 2"),
        ("except = [\"$SYS/#\"]", "5: `except`: `$SYS/#` is no topic of a mapping: topics that"),
        ("metric = \"{0}\"", "5: `metric`: `{0}` stands for nothing: expected `{1}` for the first"),
        ("metric = \"{x\"", "5: `metric`: `{x` has a brace without its other one"),
        (
            "time = { path = \"/t\", format = \"iso\" }",
            "5: `time`: unknown variant `iso`, expected",
        ),
        ("time = { path = \"/t\" }", "5: `time`: missing field `format`"),
        ("fields = [{ path = \"/a\" }]", "5: `fields`: missing field `metric`"),
        ("none = [\"x\"]", "5: `none`: invalid type: string \"x\", expected f64"),
    ] {
        let found = wrong(&format!("{start}{line}\n"));
        assert!(found.starts_with(told), "{line}: {found}");
    }
    let found = wrong("[mqtt]\nmapings = []\n");
    assert_eq!(found, "2: unknown key `mqtt.mapings`; did you mean `mqtt.mappings`?");
}

#[test]
fn what_does_not_fit_together_is_told_with_the_line_of_its_table() {
    for (keys, told) in [
        ("device = \"a\"", "`topic` is missing: expected a filter such as \"plant/+/state\""),
        ("topic = \"a\"", "`device` is missing: expected a template such as \"{1}\""),
        (
            "topic = \"a\"\ndevice = \"a\"",
            "it makes no readings: expected `fields`, `rest = \"flatten\"`, or a `metric` for",
        ),
        (
            "topic = [\"a/+/+\", \"b/+\"]\ndevice = \"{2}\"\nmetric = \"m\"",
            "`device` has `{2}`: expected 2 `+` in `b/+`",
        ),
        (
            "topic = \"a/+\"\ndevice = \"{1}\"\nmetric = \"{#}\"",
            "`metric` has `{#}`: expected a `#`",
        ),
        ("topic = \"a\"\ndevice = \"a\"\nmetric = \"{/m}\"", "`metric` is made of the topic alone"),
        (
            "topic = \"a\"\ndevice = \"a\"\nmetric = \"m\"\nbegins = \"x\"",
            "`begins` is about the first `+`: expected one in each topic",
        ),
        (
            "topic = \"a\"\ndevice = \"{/a~2}\"\nmetric = \"m\"",
            "`/a~2` of `device` is no path: expected a JSON pointer such as",
        ),
        (
            "topic = \"a\"\ndevice = \"a\"\nfields = [{ path = \"t\", metric = \"m\" }]",
            "`t` of `fields` is no path: expected a JSON pointer such as",
        ),
        (
            "topic = \"a\"\ndevice = \"a\"\nfields = [{ path = \"/t\", metric = \"\" }]",
            "the metric ``: a metric has 1 to 128 bytes",
        ),
        (
            "topic = \"a\"\ndevice = \"a\"\n\
             fields = [{ path = \"/t\", metric = \"m\", scale = 0 }]",
            "the scale of `m`: expected a number that is not 0",
        ),
        (
            "topic = \"a\"\ndevice = \"a\"\nskip = [\"t\"]\n\
             fields = [{ path = \"/t\", metric = \"m\" }]",
            "`/t` is asked for, but a name of it is in `skip`",
        ),
        (
            "like = \"shelly\"\ntopic = \"a/+\"",
            "`shelly` is no shipped mapping: expected one of zigbee2mqtt/device, zigbee2mqtt/",
        ),
    ] {
        let found = wrong(&format!("[node]\n\n[[mqtt.mappings]]\n{keys}\n"));
        assert!(found.starts_with("3: ") && found.contains(told), "{keys}: {found}");
    }
    let twice = "mappings = [{ topic = \"a\", device = \"a\", fields = [\n  \
                 { path = \"/t\", metric = \"m\" }, { path = \"/u\", metric = \"m\" }] }]";
    let told = mappings(twice).unwrap_err();
    assert_eq!(told, "two `fields` are called `m`: expected different metrics");
    let found = wrong("[mqtt]\nmappings = [\"zigbee\"]\n");
    assert_eq!(
        found,
        "2: `mappings`: `zigbee` is no shipped mapping: expected one of zigbee2mqtt, tasmota, \
         shelly"
    );
}

#[test]
fn there_are_limits() {
    let table = "{ topic = \"a\", device = \"a\", metric = \"m\" },".repeat(65);
    let told = mappings(&format!("mappings = [{table}]")).unwrap_err();
    assert_eq!(told, "65 mappings: expected at most 64");
    let fields: Vec<String> =
        (0..65).map(|n| format!("{{ path = \"/{n}\", metric = \"{n}\" }}")).collect();
    let list = format!(
        "mappings = [{{ topic = \"a\", device = \"a\", fields = [{}] }}]",
        fields.join(",")
    );
    assert_eq!(mappings(&list).unwrap_err(), "`fields` has 65 entries: expected at most 64");
    let deep = "/a".repeat(9);
    let list = format!("mappings = [{{ topic = \"a\", device = \"{{{deep}}}\", metric = \"m\" }}]");
    assert!(mappings(&list).unwrap_err().contains("with at most 8 levels"));
}

#[test]
fn shipped_mappings_may_be_named_by_a_variable() {
    let variables = [("HOLDFAST_MQTT_MAPPINGS".to_owned(), "tasmota, shelly/rpc".to_owned())];
    let loaded = Layers::default().environment(variables).load::<Settings>().unwrap();
    let names: Vec<_> = loaded.config.mqtt.mappings.compiled().map(|one| one.name()).collect();
    assert_eq!(names, ["tasmota/tele", "shelly/rpc"]);
}

/// With `[[mqtt.mappings]]` the list has tables only, and a name has no place in it.
#[test]
fn a_table_that_is_only_like_a_family_is_the_family() {
    let tables = "[[mappings]]\nlike = \"shelly\"\n\n[[mappings]]\nlike = \"tasmota/tele\"\n";
    let tables = mappings(tables).unwrap();
    let names: Vec<_> = tables.compiled().map(|one| one.name()).collect();
    assert_eq!(names[..2], ["shelly/status", "shelly/rpc"]);
    assert_eq!(names[names.len() - 1], "tasmota/tele");
}

#[test]
fn a_mapping_may_be_like_a_shipped_one() {
    let upstairs = r#"
        [[mappings]]
        like = "zigbee2mqtt/device"
        topic = "upstairs/+"
        device = "up.{1}"
    "#;
    assert_eq!(
        lines(&rules(upstairs), "upstairs/bath", r#"{"humidity":61,"update":{"a":1}}"#),
        ["up.bath humidity 61 % -"]
    );
}
