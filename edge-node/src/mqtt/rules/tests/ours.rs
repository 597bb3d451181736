//! Topics below `devices/`, and the payloads of readings.

use super::*;

fn purpose(name: &str) -> String {
    let (rules, topic) = (Rules::default(), topic(name));
    match rules.purpose(&topic) {
        Ok(Purpose::Readings { device, metric: None }) => format!("readings of {device}"),
        Ok(Purpose::Readings { device, metric: Some(metric) }) => format!("{metric} of {device}"),
        Ok(Purpose::Envelope { device }) => format!("envelope of {device}"),
        Ok(Purpose::Reported { device }) => format!("reported of {device}"),
        Ok(Purpose::Reply { device }) => format!("reply of {device}"),
        Ok(Purpose::Event { device }) => format!("event of {device}"),
        Ok(Purpose::Reserved) => "reserved".to_owned(),
        Ok(Purpose::Ordinary) => "ordinary".to_owned(),
        Ok(Purpose::Mapped(mapping)) => format!("mapped by {}", mapping.name()),
        Err(error) => format!("! {error}"),
    }
}

#[test]
fn a_topic_says_what_it_brings() {
    for (topic, brings) in [
        ("devices/ps-017/readings", "readings of ps-017"),
        ("devices/ps-017/readings/level", "level of ps-017"),
        ("devices/ps-017/readings/tank 1/level", "tank 1/level of ps-017"),
        ("devices/ps-017/envelope", "envelope of ps-017"),
        ("devices/ps-017/twin/reported", "reported of ps-017"),
        ("devices/ps-017/replies", "reply of ps-017"),
        ("devices/ps-017/events", "event of ps-017"),
        ("devices/ps-017/twin/desired", "reserved"),
        ("devices/ps-017/watermark", "reserved"),
        ("devices/p s/watermark", "reserved"),
        ("$SYS/broker/uptime", "reserved"),
        ("$", "reserved"),
        ("devices", "ordinary"),
        ("devices/ps-017", "ordinary"),
        ("devices/p s", "ordinary"),
        ("devices/ps-017/commands/open", "ordinary"),
        ("devices/ps-017/envelope/more", "ordinary"),
        ("devices/ps-017/Readings", "ordinary"),
        ("Devices/ps-017/readings", "ordinary"),
        ("/devices/ps-017/readings", "ordinary"),
        ("plant/north/state", "ordinary"),
    ] {
        assert_eq!(purpose(topic), brings, "{topic}");
    }
}

/// A device that called itself `p s` would publish for months and nobody would miss anything.
#[test]
fn a_wrong_name_in_a_topic_of_ours_is_told() {
    let device = "a device id has 1 to 64 characters of A-Z a-z 0-9 . _ : -";
    let metric = "a metric has 1 to 128 bytes without control characters";
    let long = "m".repeat(129);
    for (topic, told) in [
        ("devices/p s/readings", format!("! `p s` in the topic, second level: {device}")),
        ("devices/p s/readings/x", format!("! `p s` in the topic, second level: {device}")),
        ("devices//envelope", format!("! `` in the topic, second level: {device}")),
        ("devices/ü/twin/reported", format!("! `ü` in the topic, second level: {device}")),
        ("devices/p s/events", format!("! `p s` in the topic, second level: {device}")),
        ("devices/a/readings/", format!("! `` in the topic, behind `readings`: {metric}")),
        (
            &format!("devices/a/readings/{long}"),
            format!("! `{}` in the topic, behind `readings`: {metric}", &long[..64]),
        ),
    ] {
        assert_eq!(purpose(topic), told);
    }
}

#[test]
fn a_plain_value_is_a_number_a_switch_or_a_text() {
    for (payload, value) in [
        ("21", "21"),
        ("21.5", "21.5"),
        (" -0.5\n", "-0.5"),
        ("+3", "3"),
        (".5", "0.5"),
        ("5.", "5"),
        ("1e3", "1000"),
        ("007", "7"),
        ("9007199254740993", "9007199254740993i"),
        ("on", "true"),
        ("ON", "true"),
        ("True", "true"),
        ("off", "false"),
        ("FALSE", "false"),
        ("\"on\"", "\"on\""),
        ("\"a\\n\"", "\"a\\n\""),
        ("auto", "\"auto\""),
        ("1,5", "\"1,5\""),
        ("2026-11-20", "\"2026-11-20\""),
        (".", "\".\""),
        ("-", "\"-\""),
        ("0x10", "\"0x10\""),
        ("nano", "\"nano\""),
    ] {
        let found = lines(&Rules::default(), "devices/a/readings/m", payload);
        assert_eq!(found, [format!("a m {value} - -")], "{payload}");
    }
}

#[test]
fn a_plain_value_that_cannot_be_is_refused_with_what_was_expected() {
    let long = "x".repeat(257);
    for (payload, told) in [
        ("", "invalid-value: empty: expected a number, a switch or a text"),
        (" ", "invalid-value: empty: expected a number, a switch or a text"),
        ("NaN", "invalid-number: a number must be finite and fit a 64-bit float"),
        ("-inf", "invalid-number: a number must be finite and fit a 64-bit float"),
        ("Infinity", "invalid-number: a number must be finite and fit a 64-bit float"),
        ("1e400", "invalid-number: a number must be finite and fit a 64-bit float"),
        ("9223372036854775808", "invalid-number: a number must be finite and fit a 64-bit float"),
        ("null", "invalid-value: `null` is no value: expected a number, a switch or a text"),
        ("{\"value\":1}", "wrong-type: an object or a list: expected a number, a switch or a text"),
        ("[1]", "wrong-type: an object or a list: expected a number, a switch or a text"),
        ("\"a", "syntax: not a JSON text: expected `\"` at the end of a text (at byte 2)"),
        ("\"a\" b", "syntax: not a JSON text: expected the end of the text (at byte 4)"),
        (&long, "text-too-long: a text value has at most 256 bytes"),
    ] {
        let found = error(&Rules::default(), "devices/a/readings/m", payload);
        assert!(found.starts_with(told), "{payload}: {found}");
    }
    let found = taken(&Rules::default(), "devices/a/readings/m", b"a\xff", None).unwrap_err();
    assert!(found.starts_with("syntax: not UTF-8") && found.ends_with("(at byte 1)"), "{found}");
}

#[test]
fn readings_come_in_every_format_of_http() {
    let rules = Rules::default();
    let topic = "devices/t/readings";
    let one = |payload: &[u8], kind| taken(&rules, topic, payload, kind).unwrap();
    assert_eq!(
        one(br#"{"values":{"level":3.2,"on":true},"time":"2026-11-20T16:00:00Z"}"#, None),
        ["t level 3.2 - 2026-11-20T16:00:00Z", "t on true - 2026-11-20T16:00:00Z"]
    );
    assert_eq!(
        one(br#"[{"metric":"a","value":1},{"metric":"b","value":2,"unit":"m"}]"#, None),
        ["t a 1 - -", "t b 2 m -"]
    );
    let pack = br#"[{"bn":"t/","n":"level","u":"m","v":3.2},{"n":"flow","v":1}]"#;
    assert_eq!(one(pack, None), ["t level 3.2 m -", "t flow 1 - -"]);
    assert_eq!(one(pack, Some("application/senml+json")), ["t level 3.2 m -", "t flow 1 - -"]);
    let cbor = b"\x81\xa2\x00\x65level\x02\x01";
    assert_eq!(one(cbor, None), ["t level 1 - -"]);
    assert_eq!(one(cbor, Some("application/senml+cbor")), ["t level 1 - -"]);
    assert_eq!(one(&[b"\xd9\xd9\xf7", &cbor[..]].concat(), None), ["t level 1 - -"]);
    let ndjson = b"{\"metric\":\"a\",\"value\":1}\n{\"metric\":\"b\",\"value\":2}\n";
    assert_eq!(one(ndjson, Some("application/x-ndjson")), ["t a 1 - -", "t b 2 - -"]);
    assert_eq!(
        one(b"level,unit=m value=3.2 1795192680000000000", Some("text/plain")),
        ["t level 3.2 m 2026-11-20T16:38:00Z"]
    );
}

#[test]
fn a_list_is_senml_when_its_first_object_begins_with_a_label() {
    let rules = Rules::default();
    let at = |payload: &str| lines(&rules, "devices/t/readings", payload);
    assert_eq!(at(r#" [ { "n" : "a" , "v" : 1 } ]"#), ["t a 1 - -"]);
    assert_eq!(at(r#"[{"t":0,"n":"a","vs":"x"}]"#), ["t a \"x\" - -"]);
    assert_eq!(at("[]"), [""; 0]);
    // An object is never a pack, and neither is what says that it is JSON.
    let object = error(&rules, "devices/t/readings", r#"{"n":"a","v":1}"#);
    assert!(object.starts_with("unknown-member: `n` is not a member"), "{object}");
    let kind = Some("application/json");
    let said = taken(&rules, "devices/t/readings", br#"[{"n":"a","v":1}]"#, kind).unwrap_err();
    assert!(said.starts_with("unknown-member: `n` is not a member"), "{said}");
}

#[test]
fn a_wrong_item_stands_beside_its_good_neighbours() {
    let payload = r#"[{"metric":"a","value":1},{"metric":"b"},{"metric":"c","value":null}]"#;
    assert_eq!(
        lines(&Rules::default(), "devices/t/readings", payload),
        ["t a 1 - -", "! missing-member /1", "! invalid-value /2/value"]
    );
    let alone = error(&Rules::default(), "devices/t/readings", r#"{"metric":"c","value":null}"#);
    assert!(alone.starts_with("invalid-value: ") && alone.ends_with("(at /value)"), "{alone}");
}

/// A gateway posted the readings of all its devices to the topic of one.
#[test]
fn an_item_of_another_device_refuses_the_payload() {
    let rules = Rules::default();
    let same = r#"{"device":"t","metric":"a","value":1}"#;
    assert_eq!(lines(&rules, "devices/t/readings", same), ["t a 1 - -"]);
    for (payload, at) in [
        (r#"{"device":"u","metric":"a","value":1}"#, "/device"),
        (r#"[{"metric":"a","value":1},{"device":"u","metric":"a","value":1}]"#, "/1/device"),
        (r#"[{"n":"t/a","v":1},{"n":"u/a","v":1}]"#, "/1/device"),
    ] {
        let found = error(&rules, "devices/t/readings", payload);
        let told = format!(
            "other-device: device `u` in the payload, expected `t` as in the topic (at {at})"
        );
        assert_eq!(found, told);
    }
}

#[test]
fn what_follows_no_format_is_refused_with_the_place() {
    let rules = Rules::default();
    for (payload, kind, told) in [
        (&b"{\"metric\":"[..], None, "malformed: not JSON at line 1, column 11: expected a value"),
        (b"21.5", None, "malformed: not JSON at line 1, column 1: expected an object or an array"),
        (b"", None, "malformed: not JSON at line 1, column 1: expected an object or an array"),
        (b"\x9f", None, "malformed: "),
        (b"{}", Some("image/png"), "unsupported-content-type: `image/png` is not accepted here; "),
        (b"{}", Some(""), "unsupported-content-type: "),
    ] {
        let found = taken(&rules, "devices/t/readings", payload, kind).unwrap_err();
        assert!(found.starts_with(told), "{found}");
    }
}
