//! Golden items, every kind of error, and the laws of the JSON decoder.

use super::*;
use crate::formats::{ITEMS_MAX, ItemError};
use holdfast_core::Value;
use proptest::prelude::*;

const NOW: Timestamp = Timestamp(1_800_000_000_000_000_000);

fn one(body: &str) -> Result<(ItemHead<'_>, Vec<DecodedReading<'_>>), ItemError> {
    let decoded = decode(body.as_bytes(), NOW).unwrap();
    assert_eq!(decoded.items.len(), 1);
    let item = decoded.items[0].clone()?;
    let readings = decoded.readings_of(&item).to_vec();
    Ok(((item.device, item.source), readings))
}

fn error(body: &str) -> (&'static str, String) {
    let error = one(body).unwrap_err();
    (error.code, error.at)
}

#[test]
fn one_reading_with_everything() {
    let body = r#"{"device":"ps-017","metric":"level","value":2.35,"unit":"m",
        "time":"2026-11-20T16:38:00.5Z","quality":"uncertain","boot":7,"seq":42}"#;
    let ((device, source), readings) = one(body).unwrap();
    assert_eq!(device.as_deref(), Some("ps-017"));
    assert_eq!(source, Some(DeviceSeq { boot: 7, seq: 42 }));
    let [reading] = &readings[..] else { panic!("one reading") };
    assert!(matches!(reading.metric, Cow::Borrowed("level")));
    assert_eq!(reading.unit, "m");
    assert_eq!(reading.value.get(), Value::float(2.35).unwrap());
    assert_eq!(reading.time, time_text::parse("2026-11-20T16:38:00.5Z").ok());
    assert_eq!(reading.quality, Quality::UNCERTAIN);
}

#[test]
fn several_values_share_time_and_quality() {
    let body = r#"{"units":{"flow":"l/s"},"values":{"level":{"value":2,"unit":"m"},"flow":3.5,
        "on":true,"state":"f\u00fcll"},"time":1500,"quality":"bad"}"#;
    let ((device, source), readings) = one(body).unwrap();
    assert_eq!((device, source), (None, None));
    let got: Vec<_> = readings.iter().map(|r| (&*r.metric, &*r.unit, r.value.get())).collect();
    let text = Value::Text(holdfast_core::reading::Text::new("füll").unwrap());
    assert_eq!(
        got,
        [
            ("level", "m", Value::float(2.0).unwrap()),
            ("flow", "l/s", Value::float(3.5).unwrap()),
            ("on", "", Value::Bool(true)),
            ("state", "", text),
        ]
    );
    assert!(readings.iter().all(|r| r.time == Some(Timestamp(1_500_000_000))));
    assert!(readings.iter().all(|r| r.quality == Quality::BAD));
}

#[test]
fn an_age_is_anchored_at_the_receipt() {
    let (_, readings) = one(r#"{"metric":"a","value":1,"age_ms":2500}"#).unwrap();
    assert_eq!(readings[0].time, Some(Timestamp(NOW.0 - 2_500_000_000)));
    assert_eq!(readings[0].quality, Quality::ANCHORED);
}

#[test]
fn numbers_are_doubles_unless_only_64_bits_hold_them() {
    let value = |text: &str| {
        let body = format!(r#"{{"metric":"a","value":{text}}}"#);
        one(&body).map(|(_, readings)| readings[0].value.clone().get().number())
    };
    assert_eq!(value("9007199254740992"), Ok(Some(9_007_199_254_740_992.0)));
    let big = one(r#"{"metric":"a","value":-9007199254740993}"#).unwrap().1;
    assert_eq!(big[0].value, DecodedValue::Int(-9_007_199_254_740_993));
    for bad in ["1e400", "-1e999", "9223372036854775808", "-9223372036854775809"] {
        let error = value(bad).unwrap_err();
        assert_eq!((error.code, &*error.at), ("invalid-number", "/value"), "{bad}");
    }
    assert_eq!(value("1e-400"), Ok(Some(0.0)));
}

#[test]
fn a_wrong_item_says_what_and_where() {
    for (body, code, at) in [
        (r#"{"metric":"a","value":null}"#, INVALID_VALUE, "/value"),
        (r#"{"metric":"a","value":[1]}"#, INVALID_VALUE, "/value"),
        (r#"{"metric":"a","value":1,"unti":"m"}"#, UNKNOWN_MEMBER, "/unti"),
        (r#"{"metric":"a","value":1,"value":2}"#, DUPLICATE_MEMBER, "/value"),
        (r#"{"metric":"a","value":1,"boot":1}"#, MISSING_MEMBER, ""),
        (r#"{"metric":"a","value":1,"seq":1}"#, MISSING_MEMBER, ""),
        (r#"{"metric":"a","value":1,"boot":1,"seq":0}"#, "invalid-sequence", "/seq"),
        (r#"{"metric":"a","value":1,"boot":-1,"seq":1}"#, "invalid-sequence", "/boot"),
        (r#"{"metric":"a"}"#, MISSING_MEMBER, ""),
        (r#"{"value":1}"#, MISSING_MEMBER, ""),
        (r#"{}"#, MISSING_MEMBER, ""),
        (r#"{"metric":7,"value":1}"#, WRONG_TYPE, "/metric"),
        (r#"{"metric":"","value":1}"#, "invalid-metric", "/metric"),
        (r#"{"device":"a b","metric":"a","value":1}"#, "invalid-device", "/device"),
        (r#"{"metric":"a","value":1,"unit":"\n"}"#, "invalid-unit", "/unit"),
        (r#"{"metric":"a","value":1,"time":"now"}"#, "invalid-time", "/time"),
        (r#"{"metric":"a","value":1,"time":1.5}"#, "invalid-time", "/time"),
        (r#"{"metric":"a","value":1,"time":1e300}"#, "invalid-time", "/time"),
        (r#"{"metric":"a","value":1,"time":null}"#, "invalid-time", "/time"),
        (r#"{"metric":"a","value":1,"age_ms":-1}"#, "invalid-time", "/age_ms"),
        (r#"{"metric":"a","value":1,"age_ms":99999999999999}"#, "invalid-time", "/age_ms"),
        (r#"{"metric":"a","value":1,"age_ms":1,"time":1}"#, CONFLICTING_MEMBERS, "/age_ms"),
        (r#"{"metric":"a","value":1,"quality":"fine"}"#, INVALID_QUALITY, "/quality"),
        (r#"{"metric":"a","value":1,"values":{"b":1}}"#, CONFLICTING_MEMBERS, "/metric"),
        (r#"{"metric":"a","value":1,"units":{}}"#, CONFLICTING_MEMBERS, "/units"),
        (r#"{"values":{}}"#, MISSING_MEMBER, "/values"),
        (r#"{"values":[]}"#, WRONG_TYPE, "/values"),
        (r#"{"values":{"a":1,"a":2}}"#, DUPLICATE_MEMBER, "/values/a"),
        (r#"{"values":{"a/b":null}}"#, INVALID_VALUE, "/values/a~1b"),
        (r#"{"values":{"a":{"unit":"m"}}}"#, MISSING_MEMBER, "/values/a"),
        (r#"{"values":{"a":{"value":1,"u":"m"}}}"#, UNKNOWN_MEMBER, "/values/a/u"),
        (r#"{"values":{"a":{"value":1,"value":1}}}"#, DUPLICATE_MEMBER, "/values/a/value"),
        (r#"{"values":{"a":1},"units":{"b":"m"}}"#, UNKNOWN_MEMBER, "/units/b"),
        (r#"{"values":{"a":1},"units":{"a":"m","a":"m"}}"#, DUPLICATE_MEMBER, "/units/a"),
        (
            r#"{"values":{"a":{"value":1,"unit":"m"}},"units":{"a":"s"}}"#,
            CONFLICTING_MEMBERS,
            "/units/a",
        ),
    ] {
        assert_eq!(error(body), (code, at.to_owned()), "{body}");
    }
    let unknown = one(r#"{"metric":"a","value":1,"unti":"m"}"#).unwrap_err();
    assert!(unknown.detail.contains("`unti`") && unknown.detail.contains("units"));
}

#[test]
fn a_wrong_item_leaves_its_neighbours_alone() {
    let body = br#"[{"metric":"a","value":1},{"values":{"x":1,"y":null}},7,
        {"metric":"b","value":1e400,"time":5},{"metric":"c","value":2}]"#;
    let decoded = decode(body, NOW).unwrap();
    let errors: Vec<_> = decoded.errors().map(|e| (e.index, e.code, &*e.at)).collect();
    assert_eq!(
        errors,
        [
            (1, INVALID_VALUE, "/1/values/y"),
            (2, WRONG_TYPE, "/2"),
            (3, "invalid-number", "/3/value")
        ]
    );
    let metrics: Vec<_> = decoded.readings.iter().map(|r| &*r.metric).collect();
    assert_eq!(metrics, ["a", "c"]);
    assert_eq!(decoded.items[4].as_ref().unwrap().readings, 1..2);
}

#[test]
fn a_syntax_error_in_an_array_concerns_all_of_it() {
    let at = |body: &str| decode(body.as_bytes(), NOW).unwrap_err().at;
    assert_eq!(
        at("[{\"metric\":\"a\",\"value\":1},\n {\"metric\":\"a\",\"value\":NaN}]"),
        "line 2, column 24"
    );
    assert_eq!(at("[{\"metric\":\"a\",\"value\":1}"), "line 1, column 26");
    assert_eq!(at("7"), "line 1, column 1");
    assert_eq!(at(""), "line 1, column 1");
    assert_eq!(at("{} x"), "line 1, column 4");
    let nested = decode("[".repeat(1 << 20).as_bytes(), NOW).unwrap_err();
    assert!(nested.detail.contains("32 levels"), "{}", nested.detail);
    let latin = decode(b"{\"metric\":\"\xe9\"}", NOW).unwrap_err();
    assert!(latin.detail.contains("UTF-8") && latin.at == "line 1, column 12");
}

#[test]
fn a_syntax_error_in_a_line_concerns_that_line() {
    let body = b"{\"metric\":\"a\",\"value\":1}\r\n\nnonsense\n\
        {\"metric\":\"b\",\"value\":1} x\n\xff\n\
        {\"metric\":\"c\",\"value\":[]}\n{\"metric\":\"d\",\"value\":4}";
    let decoded = decode_lines(body, NOW).unwrap();
    let errors: Vec<_> = decoded.errors().map(|e| (e.index, e.code, &*e.at)).collect();
    assert_eq!(
        errors,
        [
            (1, SYNTAX, "line 3"),
            (2, SYNTAX, "line 4"),
            (3, SYNTAX, "line 5"),
            (4, INVALID_VALUE, "line 6/value")
        ]
    );
    let metrics: Vec<_> = decoded.readings.iter().map(|r| &*r.metric).collect();
    assert_eq!(metrics, ["a", "d"]);
}

#[test]
fn items_and_readings_are_bounded() {
    let item = r#"{"metric":"a","value":1}"#;
    let body = |n: usize| format!("[{}]", vec![item; n].join(","));
    assert_eq!(decode(body(ITEMS_MAX).as_bytes(), NOW).unwrap().items.len(), ITEMS_MAX);
    let over = body(ITEMS_MAX + 1);
    assert_eq!(decode(over.as_bytes(), NOW).unwrap_err().fault, BodyFault::TooManyItems);
    let lines = vec![item; ITEMS_MAX + 1].join("\n");
    assert_eq!(decode_lines(lines.as_bytes(), NOW).unwrap_err().fault, BodyFault::TooManyItems);

    let values = |n: usize| {
        let members: Vec<_> = (0..n).map(|i| format!("\"m{i}\":{i}")).collect();
        format!("{{\"values\":{{{}}}}}", members.join(","))
    };
    assert_eq!(one(&values(ITEM_READINGS_MAX)).unwrap().1.len(), ITEM_READINGS_MAX);
    assert_eq!(error(&values(ITEM_READINGS_MAX + 1)).0, TOO_MANY_READINGS);
}

/// Any JSON, made mostly of the names that mean something here.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let name =
        prop::sample::select(vec!["device", "metric", "value", "values", "time", "units", "x"]);
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        "[a-z\\n\"\\\\é]{0,6}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        let members = prop::collection::vec((name.clone(), inner.clone()), 0..6);
        prop_oneof![
            prop::collection::vec(inner, 0..6).prop_map(Into::into),
            members.prop_map(|m| m.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_are_judged_without_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = (decode(&body, NOW), decode_lines(&body, NOW));
    }

    #[test]
    fn any_json_gives_one_result_per_item(items in prop::collection::vec(json(), 0..8)) {
        let lines: Vec<_> = items.iter().map(ToString::to_string).collect();
        let array = format!("[{}]", lines.join(","));
        let whole = decode(array.as_bytes(), NOW).unwrap();
        prop_assert_eq!(whole.items.len(), items.len());
        let body = lines.join("\n");
        let by_line = decode_lines(body.as_bytes(), NOW).unwrap();
        prop_assert_eq!(&whole.readings, &by_line.readings);
        let kept: usize = whole.items.iter().flatten().map(|item| item.readings.len()).sum();
        prop_assert_eq!(kept, whole.readings.len());
    }

    #[test]
    fn valid_items_read_back(
        device in "[A-Za-z0-9._:-]{1,64}", metric in "[ -~]{1,40}", value in any::<f64>(),
        ms in -9_000_000_000_000i64..9_000_000_000_000, seq in 1u64..,
    ) {
        prop_assume!(value.is_finite());
        let body = serde_json::json!(
            {"device": device, "metric": metric, "value": value, "time": ms, "boot": 1, "seq": seq}
        ).to_string();
        let (head, readings) = one(&body).unwrap();
        prop_assert_eq!(head.0.as_deref(), Some(&*device));
        prop_assert_eq!(head.1, Some(DeviceSeq { boot: 1, seq }));
        prop_assert_eq!(&*readings[0].metric, &*metric);
        prop_assert_eq!(readings[0].value.get().number(), Some(value));
        prop_assert_eq!(readings[0].time, Timestamp::from_millis(ms));
    }
}
