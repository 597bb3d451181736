//! Mappings of one's own: what each key does.

use super::*;

const PLANT: &str = r#"
[[mappings]]
topic = "plant/+/+/state"
device = "{1}-{2}"
time = { path = "/at", format = "unix_s" }
fields = [
    { path = "/temp", metric = "temperature", unit = "Cel", scale = 0.1 },
    { path = "/pump/on", metric = "pump" },
    { path = "/mode", metric = "mode" },
    { path = "/meter", metric = "energy", unit = "kW.h", scale = 1 },
]
"#;

#[test]
fn named_members_become_readings_and_all_else_is_left() {
    let rules = rules(PLANT);
    let payload = r#"{"temp":215,"pump":{"on":"ON","h":3},"mode":"auto","meter":"545.70","x":1,
                      "at":1795192680.25}"#;
    let time = "2026-11-20T16:38:00.250Z";
    assert_eq!(
        lines(&rules, "plant/north/3/state", payload),
        [
            format!("north-3 temperature 21.5 Cel {time}"),
            format!("north-3 pump true - {time}"),
            format!("north-3 mode \"auto\" - {time}"),
            format!("north-3 energy 545.7 kW.h {time}"),
        ]
    );
    assert_eq!(
        lines(&rules, "plant/north/3/state", r#"{"temp":3}"#),
        ["north-3 temperature 0.3 Cel -"]
    );
    for (payload, why) in [("{}", "none"), (r#"{"temp":null}"#, "null"), ("", "nothing at all")] {
        assert_eq!(lines(&rules, "plant/north/3/state", payload), [""; 0], "{why}");
    }
}

#[test]
fn a_named_member_that_is_wrong_is_told_with_its_path() {
    let rules = rules(PLANT);
    let long = format!(r#"{{"mode":"{}"}}"#, "x".repeat(257));
    for (payload, told) in [
        (r#"{"temp":"warm"}"#, "wrong-type: expected a number, got a text (at /temp)"),
        (r#"{"temp":true}"#, "wrong-type: expected a number, got a switch (at /temp)"),
        (
            r#"{"temp":1e400}"#,
            "invalid-number: a number must be finite and fit a 64-bit float (at /temp)",
        ),
        (r#"{"temp":1,"temp":2}"#, "duplicate-member: it comes twice (at /temp)"),
        (&long, "text-too-long: a text value has at most 256 bytes (at /mode)"),
        (
            r#"{"temp":1,"at":"noon"}"#,
            "invalid-time: no time between 1678 and 2262: expected seconds since 1970 (at /at)",
        ),
        (
            r#"{"temp":1"#,
            "malformed: not JSON at line 1, column 10: expected `,` or `}` (at line 1, column 10)",
        ),
        (
            "21.5",
            "wrong-type: a plain value: expected a JSON object; a mapping takes plain values when \
             it has a `metric`",
        ),
        ("[]", "wrong-type: a list: expected a JSON object or a plain value"),
    ] {
        assert_eq!(error(&rules, "plant/north/3/state", payload), told);
    }
}

#[test]
fn flattened_members_are_called_by_their_path() {
    let flat = r#"
        [[mappings]]
        topic = "m/+"
        device = "{1}"
        rest = "flatten"
        skip = ["noise", "id"]
        none = [999]
        units = { t = "Cel", "b.t" = "K", p = "{/unit}" }
    "#;
    let payload = r#"{"t":1,"a":{"t":2,"b":{"t":3}},"p":[4,{"q":5}],"noise":{"x":[1,{"y":2}]},
        "id":7,"bad":999,"big":1e400,"n":null,"text":"x","s":"off","a/b":6,"c~d":8,"":9,
        "unit":"C","l\n":1}"#;
    assert_eq!(
        lines(&rules(flat), "m/d", payload),
        [
            "d t 1 Cel -",
            "d a.t 2 Cel -",
            "d a.b.t 3 K -",
            "d p.0 4 Cel -",
            "d p.1.q 5 - -",
            "d s false - -",
            "d a/b 6 - -",
            "d c~d 8 - -",
        ]
    );
}

#[test]
fn what_is_too_deep_or_has_too_long_a_name_is_passed_over() {
    let flat = r#"mappings = [{ topic = "m/+", device = "{1}", rest = "flatten" }]"#;
    let deep = format!("{}1{}", r#"{"a":"#.repeat(8), "}".repeat(8));
    assert_eq!(lines(&rules(flat), "m/d", &deep), ["d a.a.a.a.a.a.a.a 1 - -"]);
    let deeper = format!(r#"{{"a":{deep},"b":2}}"#);
    assert_eq!(lines(&rules(flat), "m/d", &deeper), ["d b 2 - -"]);
    let long = format!(r#"{{"{}":1,"{}":2,"b":3}}"#, "x".repeat(129), "y".repeat(9_000));
    assert_eq!(lines(&rules(flat), "m/d", &long), ["d b 3 - -"]);
    let many: Vec<String> = (0..1_001).map(|n| format!("\"m{n}\":{n}")).collect();
    let told = error(&rules(flat), "m/d", &format!("{{{}}}", many.join(",")));
    assert_eq!(told, "too-many-readings: a message has at most 1000 readings (at /m1000)");
}

#[test]
fn two_members_of_one_name_are_refused() {
    let flat =
        r#"mappings = [{ topic = "m/+", device = "{1}", rest = "flatten", lowercase = true }]"#;
    let told = error(&rules(flat), "m/d", r#"{"A":1,"a":2}"#);
    assert_eq!(told, "duplicate-member: two members become the metric `a`");
    let told = error(&rules(flat), "m/d", r#"{"a.b":1,"a":{"b":2}}"#);
    assert_eq!(told, "duplicate-member: two members become the metric `a.b`");
}

#[test]
fn a_device_may_be_named_by_the_payload() {
    let radio = r#"
        [[mappings]]
        topic = "rtl_433/#"
        device = "{/model}-{/id}"
        rest = "flatten"
        texts = true
    "#;
    let payload = r#"{"model":"Acurite 606TX","id":187,"temperature_C":2.1,"mic":"CRC"}"#;
    assert_eq!(
        lines(&rules(radio), "rtl_433/attic/events", payload),
        ["Acurite_606TX-187 temperature_C 2.1 - -", "Acurite_606TX-187 mic \"CRC\" - -"]
    );
    let told = error(&rules(radio), "rtl_433", r#"{"id":187,"a":1}"#);
    assert_eq!(told, "missing-member: missing: expected a text that names the device (at /model)");
    let long = format!(r#"{{"model":"{}","id":1,"a":1}}"#, "ü".repeat(70));
    let told = error(&rules(radio), "rtl_433", &long);
    assert!(told.starts_with("invalid-device: `______"), "{told}");
    assert!(told.ends_with("a device id has 1 to 64 characters of A-Z a-z 0-9 . _ : -"), "{told}");
}

#[test]
fn a_plain_value_is_called_by_the_topic() {
    let plain = r#"
        [[mappings]]
        topic = "meter/+/#"
        except = ["meter/+/set/#"]
        device = "{1}"
        metric = "{#}"
        units = { power = "W" }

        [[mappings]]
        topic = "water/+"
        device = "{1}"
        fields = [{ path = "", metric = "volume", unit = "m3", scale = 0.001 }]

        [[mappings]]
        topic = "mode/+"
        device = "{1}"
        metric = "mode"
        texts = true
    "#;
    let rules = rules(plain);
    for (topic, payload, line) in [
        ("meter/a/phase/1/power", "230.5", "a phase.1.power 230.5 W -"),
        ("meter/a/on", "off", "a on false - -"),
        ("water/w", "1234", "w volume 1.234 m3 -"),
        ("mode/m", "auto", "m mode \"auto\" - -"),
    ] {
        assert_eq!(lines(&rules, topic, payload), [line]);
    }
    assert_eq!(lines(&rules, "meter/a/state", "running"), [""; 0]);
    assert_eq!(lines(&rules, "meter/a/state", r#"{"power":3}"#), [""; 0]);
    let told = error(&rules, "meter/a", "1");
    assert_eq!(
        told,
        "invalid-metric: `` would be the metric: a metric has 1 to 128 bytes without control \
         characters"
    );
    let told = error(&rules, "water/w", "full");
    assert_eq!(told, "wrong-type: expected a number, got a text");
    assert!(matches!(rules.purpose(&topic("meter/a/set/x")), Ok(Purpose::Ordinary)));
}

#[test]
fn times_are_read_to_the_nanosecond_in_the_first_format_that_fits() {
    let timed = |format: &str, otherwise: &str| {
        rules(&format!(
            "[[mappings]]\ntopic = \"m/+\"\ndevice = \"{{1}}\"\nrest = \"flatten\"\n\
             time = {{ path = \"/t\", format = {format}, otherwise = \"{otherwise}\" }}"
        ))
    };
    for (format, time, read) in [
        ("\"unix_s\"", "1795192680", "2026-11-20T16:38:00Z"),
        ("\"unix_s\"", "1795192680.123456789123", "2026-11-20T16:38:00.123456789Z"),
        ("\"unix_s\"", "\"1795192680.5\"", "2026-11-20T16:38:00.500Z"),
        ("\"unix_s\"", "-1.5", "1969-12-31T23:59:58.500Z"),
        ("\"unix_ms\"", "1795192680123.4", "2026-11-20T16:38:00.123400Z"),
        ("\"rfc3339\"", "\"2026-11-20T17:38:00+01:00\"", "2026-11-20T16:38:00Z"),
        ("[\"rfc3339\", \"unix_ms\"]", "1795192680000", "2026-11-20T16:38:00Z"),
        ("\"unix_s\"", "null", "-"),
        ("\"rfc3339\"", "\"2026-11-20T17:38:00\"", "-"),
        ("\"unix_s\"", "1e9", "-"),
        ("\"unix_s\"", "99999999999999", "-"),
        ("\"unix_s\"", "\"\"", "-"),
        ("\"unix_s\"", "true", "-"),
    ] {
        let payload = format!(r#"{{"a":1,"t":{time}}}"#);
        let line = format!("d a 1 - {read}");
        assert_eq!(lines(&timed(format, "receipt"), "m/d", &payload), [line], "{time}");
    }
    let told = error(&timed("[\"rfc3339\", \"unix_ms\"]", "refuse"), "m/d", r#"{"a":1,"t":"x"}"#);
    assert_eq!(
        told,
        "invalid-time: no time between 1678 and 2262: expected an RFC 3339 text with offset or \
         milliseconds since 1970 (at /t)"
    );
}

#[test]
fn the_first_mapping_that_takes_a_topic_has_it() {
    let both = r#"mappings = [
        { name = "mine", topic = "zigbee2mqtt/hall", device = "hall", rest = "flatten" },
        "zigbee2mqtt",
    ]"#;
    let rules = rules(both);
    for (name, mapping) in [
        ("zigbee2mqtt/hall", "mine"),
        ("zigbee2mqtt/attic", "zigbee2mqtt/device"),
        ("zigbee2mqtt/attic/lamp", "zigbee2mqtt/folder"),
    ] {
        let topic = topic(name);
        let Ok(Purpose::Mapped(found)) = rules.purpose(&topic) else { panic!("{name}") };
        assert_eq!(found.name(), mapping);
    }
}

#[test]
fn a_wildcard_in_the_first_level_leaves_our_topics_alone() {
    let all = r##"mappings = [{ topic = "#", device = "all", rest = "flatten", metric = "{#}" }]"##;
    let rules = rules(all);
    assert!(matches!(rules.purpose(&topic("a/b")), Ok(Purpose::Mapped(_))));
    assert!(matches!(rules.purpose(&topic("devices/a/other")), Ok(Purpose::Ordinary)));
    assert!(matches!(rules.purpose(&topic("$SYS/x")), Ok(Purpose::Reserved)));
}
