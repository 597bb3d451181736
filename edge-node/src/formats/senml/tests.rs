//! The examples of RFC 8428, every kind of error, and the laws of both representations.

use super::*;
use crate::formats::{ITEMS_MAX, ItemError, SYNTAX};
use holdfast_node::time_text::Time;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

/// 2027-01-15T08:00:00Z.
const NOW: Timestamp = Timestamp(1_800_000_000_000_000_000);

fn show(decoded: &Decoded<'_>) -> Vec<String> {
    let mut out = Vec::new();
    for item in decoded.items.iter().flatten() {
        for reading in decoded.readings_of(item) {
            let device = item.device.as_deref().unwrap_or("-");
            let time = reading.time.map_or("-".to_owned(), |time| Time(time).to_string());
            let value = match &reading.value {
                DecodedValue::Float(number) => number.get().to_string(),
                other => format!("{other:?}"),
            };
            let DecodedReading { metric, unit, .. } = reading;
            out.push(format!("{device} {metric} {unit} {value} {time}"));
        }
    }
    out
}

fn read(body: &str) -> Vec<String> {
    let decoded = decode_json(body.as_bytes(), NOW).unwrap();
    assert_eq!(decoded.errors().next(), None, "{body}");
    show(&decoded)
}

fn error(body: &str) -> ItemError {
    let decoded = decode_json(body.as_bytes(), NOW).unwrap();
    let mut errors = decoded.errors();
    errors.next().unwrap_or_else(|| panic!("no error in {body}")).clone()
}

/// The pack of 5.1.2 and of section 6.
const CURRENTS: &str = r#"[
    {"bn":"urn:dev:ow:10e2073a0108006:","bt":1.276020076001e+09,"bu":"A","bver":5,
     "n":"voltage","u":"V","v":120.1},
    {"n":"current","t":-5,"v":1.2}, {"n":"current","t":-4,"v":1.3},
    {"n":"current","t":-3,"v":1.4}, {"n":"current","t":-2,"v":1.5},
    {"n":"current","t":-1,"v":1.6}, {"n":"current","v":1.7}]"#;

const CURRENTS_READ: [&str; 7] = [
    "urn:dev:ow:10e2073a0108006 voltage V 120.1 2010-06-08T18:01:16.001Z",
    "urn:dev:ow:10e2073a0108006 current A 1.2 2010-06-08T18:01:11.001Z",
    "urn:dev:ow:10e2073a0108006 current A 1.3 2010-06-08T18:01:12.001Z",
    "urn:dev:ow:10e2073a0108006 current A 1.4 2010-06-08T18:01:13.001Z",
    "urn:dev:ow:10e2073a0108006 current A 1.5 2010-06-08T18:01:14.001Z",
    "urn:dev:ow:10e2073a0108006 current A 1.6 2010-06-08T18:01:15.001Z",
    "urn:dev:ow:10e2073a0108006 current A 1.7 2010-06-08T18:01:16.001Z",
];

#[test]
fn each_field_is_found_by_its_own_labels() {
    for (index, (field, label, number)) in LABELS.into_iter().enumerate() {
        assert_eq!(field as usize, index);
        assert_eq!((Field::named(label), Field::numbered(number)), (Some(field), Some(field)));
        assert_eq!((field.label(), field.is_base()), (label, label.starts_with('b')));
    }
}

#[test]
fn single_and_multiple_data_points_of_the_rfc() {
    let one = r#"[{"n":"urn:dev:ow:10e2073a01080063","u":"Cel","v":23.1}]"#;
    assert_eq!(read(one), ["urn:dev:ow 10e2073a01080063 Cel 23.1 -"]);
    let two = r#"[{"n":"urn:dev:ow:10e2073a01080063","u":"Cel","t":1.276020076e+09,"v":23.5},
        {"n":"urn:dev:ow:10e2073a01080063","u":"Cel","t":1.276020091e+09,"v":23.6}]"#;
    let based = r#"[{"bn":"urn:dev:ow:10e2073a01080063","u":"Cel","t":1.276020076e+09,"v":23.5},
        {"u":"Cel","t":1.276020091e+09,"v":23.6}]"#;
    let read_two = [
        "urn:dev:ow 10e2073a01080063 Cel 23.5 2010-06-08T18:01:16Z",
        "urn:dev:ow 10e2073a01080063 Cel 23.6 2010-06-08T18:01:31Z",
    ];
    assert_eq!(
        (read(two), read(based)),
        (read_two.map(Into::into).into(), read_two.map(Into::into).into())
    );
    let named = r#"[{"bn":"urn:dev:ow:10e2073a01080063:","n":"voltage","u":"V","v":120.1},
        {"n":"current","u":"A","v":1.2}]"#;
    assert_eq!(
        read(named),
        [
            "urn:dev:ow:10e2073a01080063 voltage V 120.1 -",
            "urn:dev:ow:10e2073a01080063 current A 1.2 -"
        ]
    );
    assert_eq!(read(CURRENTS), CURRENTS_READ);
    let stream = r#"[{"bn":"urn:dev:ow:10e2073a01080063","bt":1.320067464e+09,"bu":"%RH","v":21.2},
        {"t":10,"v":21.3},{"t":20,"v":21.4},{"t":30,"v":21.4},{"t":40,"v":21.5},
        {"t":50,"v":21.5},{"t":60,"v":21.5},{"t":70,"v":21.6},{"t":80,"v":21.7}]"#;
    let readings = read(stream);
    assert_eq!(readings.len(), 9);
    assert_eq!(readings[8], "urn:dev:ow 10e2073a01080063 %RH 21.7 2011-10-31T13:25:44Z");
}

#[test]
fn multiple_measurements_of_the_rfc_and_their_resolved_form() {
    let pack = r#"[
        {"bn":"urn:dev:ow:10e2073a01080063","bt":1.320067464e+09,"bu":"%RH","v":20},
        {"u":"lon","v":24.30621}, {"u":"lat","v":60.07965},
        {"t":60,"v":20.3}, {"u":"lon","t":60,"v":24.30622}, {"u":"lat","t":60,"v":60.07965},
        {"t":120,"v":20.7}, {"u":"lon","t":120,"v":24.30623}, {"u":"lat","t":120,"v":60.07966},
        {"u":"%EL","t":150,"v":98},
        {"t":180,"v":21.2}, {"u":"lon","t":180,"v":24.30628}, {"u":"lat","t":180,"v":60.07967}]"#;
    let rows = [
        ("%RH", "1.320067464e+09", "20"),
        ("lon", "1.320067464e+09", "24.30621"),
        ("lat", "1.320067464e+09", "60.07965"),
        ("%RH", "1.320067524e+09", "20.3"),
        ("lon", "1.320067524e+09", "24.30622"),
        ("lat", "1.320067524e+09", "60.07965"),
        ("%RH", "1.320067584e+09", "20.7"),
        ("lon", "1.320067584e+09", "24.30623"),
        ("lat", "1.320067584e+09", "60.07966"),
        ("%EL", "1.320067614e+09", "98"),
        ("%RH", "1.320067644e+09", "21.2"),
        ("lon", "1.320067644e+09", "24.30628"),
        ("lat", "1.320067644e+09", "60.07967"),
    ];
    let resolved = rows.map(|(unit, time, value)| {
        format!(r#"{{"n":"urn:dev:ow:10e2073a01080063","u":"{unit}","t":{time},"v":{value}}}"#)
    });
    assert_eq!(read(pack), read(&format!("[{}]", resolved.join(","))));
    assert_eq!(read(pack)[0], "urn:dev:ow 10e2073a01080063 %RH 20 2011-10-31T13:24:24Z");
    assert_eq!(read(pack)[12], "urn:dev:ow 10e2073a01080063 lat 60.07967 2011-10-31T13:27:24Z");
}

#[test]
fn data_types_of_the_rfc_binary_data_is_refused() {
    let body = r#"[{"bn":"urn:dev:ow:10e2073a01080063:","n":"temp","u":"Cel","v":23.1},
        {"n":"label","vs":"Machine Room"}, {"n":"open","vb":false},
        {"n":"nfv-reader","vd":"aGkgCg"}]"#;
    let decoded = decode_json(body.as_bytes(), NOW).unwrap();
    assert_eq!(
        show(&decoded),
        [
            "urn:dev:ow:10e2073a01080063 temp Cel 23.1 -",
            "urn:dev:ow:10e2073a01080063 label  Text(\"Machine Room\") -",
            "urn:dev:ow:10e2073a01080063 open  Bool(false) -",
        ]
    );
    let errors: Vec<_> = decoded.errors().map(|e| (e.index, e.code, &*e.at)).collect();
    assert_eq!(errors, [(3, INVALID_VALUE, "/3/vd")]);
    assert!(decoded.errors().next().unwrap().detail.contains("binary"));
}

#[test]
fn collections_and_actuators_of_the_rfc() {
    let collection = r#"[
        {"bn":"2001:db8::2/","bt":1.320078429e+09,"n":"temperature","u":"Cel","v":25.2},
        {"n":"humidity","u":"%RH","v":30},
        {"bn":"2001:db8::1/","n":"temperature","u":"Cel","v":12.3},
        {"n":"humidity","u":"%RH","v":67}]"#;
    assert_eq!(
        read(collection),
        [
            "2001:db8::2 temperature Cel 25.2 2011-10-31T16:27:09Z",
            "2001:db8::2 humidity %RH 30 2011-10-31T16:27:09Z",
            "2001:db8::1 temperature Cel 12.3 2011-10-31T16:27:09Z",
            "2001:db8::1 humidity %RH 67 2011-10-31T16:27:09Z",
        ]
    );
    let thermostat = r#"[{"bn":"urn:dev:ow:10e2073a01080063:"},
        {"n":"temp","u":"Cel","v":23.1},{"n":"heat","u":"/","v":1},{"n":"fan","u":"/","v":0}]"#;
    let decoded = decode_json(thermostat.as_bytes(), NOW).unwrap();
    assert_eq!(decoded.items.len(), 4);
    assert_eq!(decoded.items[0].as_ref().unwrap().readings, 0..0);
    assert_eq!(
        show(&decoded),
        [
            "urn:dev:ow:10e2073a01080063 temp Cel 23.1 -",
            "urn:dev:ow:10e2073a01080063 heat / 1 -",
            "urn:dev:ow:10e2073a01080063 fan / 0 -",
        ]
    );
    let lights = r#"[{"bt":1.320078429e+09,"bu":"/","n":"2001:db8::3","v":1},
        {"n":"2001:db8::4","v":1}]"#;
    assert_eq!(
        read(lights),
        ["2001:db8: 3 / 1 2011-10-31T16:27:09Z", "2001:db8: 4 / 1 2011-10-31T16:27:09Z"]
    );
    let dimmed = r#"[{"bt":1.320078429e+09,"bu":"/","n":"2001:db8::3","v":0.5},
        {"n":"2001:db8::4","v":0.5},{"n":"2001:db8::3","t":0.1,"v":0},
        {"n":"2001:db8::4","t":0.1,"v":0}]"#;
    assert_eq!(read(dimmed)[3], "2001:db8: 4 / 0 2011-10-31T16:27:09.100Z");
}

#[test]
fn the_cbor_dump_of_the_rfc() {
    let mut body = vec![0x87, 0xa7, 0x21, 0x78, 0x1b];
    body.extend(b"urn:dev:ow:10e2073a0108006:");
    body.extend([0x22, 0xfb, 0x41, 0xd3, 0x03, 0xa1, 0x5b, 0x00, 0x10, 0x62]);
    body.extend([0x23, 0x61, b'A', 0x20, 0x05, 0x00, 0x67]);
    body.extend(b"voltage");
    body.extend([0x01, 0x61, b'V', 0x02, 0xfb, 0x40, 0x5e, 0x06, 0x66, 0x66, 0x66, 0x66, 0x66]);
    let values: [(u8, &[u8]); 6] = [
        (0x24, &[0xfb, 0x3f, 0xf3, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33]),
        (0x23, &[0xfb, 0x3f, 0xf4, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcd]),
        (0x22, &[0xfb, 0x3f, 0xf6, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66]),
        (0x21, &[0xf9, 0x3e, 0x00]),
        (0x20, &[0xfb, 0x3f, 0xf9, 0x99, 0x99, 0x99, 0x99, 0x99, 0x9a]),
        (0x00, &[0xfb, 0x3f, 0xfb, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33]),
    ];
    for (time, value) in values {
        body.extend([0xa3, 0x00, 0x67]);
        body.extend(b"current");
        body.extend([0x06, time, 0x02]);
        body.extend(value);
    }
    assert_eq!(body.len(), 0xc3);
    let decoded = decode_cbor(&body, NOW).unwrap();
    assert_eq!(show(&decoded), CURRENTS_READ);
    assert_eq!(decoded, decode_json(CURRENTS.as_bytes(), NOW).unwrap());
    let shortest = decode_cbor(b"\x81\xa2\x00\x63a/b\x02\x01", NOW).unwrap();
    assert_eq!(shortest, decode_json(br#"[{"n":"a/b","v":1}]"#, NOW).unwrap());
}

#[test]
fn times_below_two_to_the_28th_count_from_now() {
    let time = |t: &str| {
        let body = format!(r#"[{{"n":"a/b","v":1,"t":{t}}}]"#);
        let decoded = decode_json(body.as_bytes(), NOW).unwrap();
        let reading = &decoded.readings[0];
        (reading.time.map(|time| time.0 - NOW.0), reading.quality == Quality::ANCHORED)
    };
    assert_eq!(time("0"), (None, false));
    assert_eq!(time("-0.25"), (Some(-250_000_000), true));
    assert_eq!(time("60"), (Some(60_000_000_000), true));
    assert_eq!(time("268435455"), (Some(268_435_455_000_000_000), true));
    assert_eq!(time("268435456"), (Some(268_435_456_000_000_000 - NOW.0), false));
    // Base time and time together decide.
    assert_eq!(
        read(r#"[{"bt":268435450,"n":"a/b","v":1,"t":6}]"#),
        ["a b  1 1978-07-04T21:24:16Z"]
    );
    for far in ["1e11", "-1e11", "1e300", "-1e300", "9007199254740993"] {
        let error = error(&format!(r#"[{{"n":"a/b","v":1,"t":{far}}}]"#));
        assert_eq!((error.code, &*error.at), ("invalid-time", "/0/t"), "{far}");
    }
}

#[test]
fn values_and_sums_are_added_to_their_bases() {
    let value = r#"[{"bn":"m:","bv":100,"n":"a","v":0.5},{"n":"b"},{"n":"c","vs":"x"},
        {"n":"s","vb":true},{"bv":0,"n":"d","v":9}]"#;
    assert_eq!(
        read(value),
        ["m a  100.5 -", "m b  100 -", "m c  Text(\"x\") -", "m s  Bool(true) -", "m d  9 -"]
    );
    let sum = r#"[{"bn":"m:","bu":"W","n":"a","v":5,"s":20},{"n":"b","s":7},
        {"bs":1000,"n":"c","v":2},{"n":"d","s":5},{"n":"e","vb":true},{"bu":"","n":"f","s":1}]"#;
    assert_eq!(
        read(sum),
        [
            "m a.sum W.s 20 -",
            "m a W 5 -",
            "m b.sum W.s 7 -",
            "m c.sum W.s 1000 -",
            "m c W 2 -",
            "m d.sum W.s 1005 -",
            "m e W Bool(true) -",
            "m f.sum  1001 -",
        ]
    );
    let big = decode_json(br#"[{"n":"a/b","v":9007199254740993}]"#, NOW).unwrap();
    assert_eq!(big.readings[0].value, DecodedValue::Int(9_007_199_254_740_993));
}

#[test]
fn names_are_split_at_their_last_separator() {
    for (name, device, metric) in [
        ("tank-1/level", Some("tank-1"), "level"),
        ("urn:dev:x:temp", Some("urn:dev:x"), "temp"),
        ("a:b/c", Some("a:b"), "c"),
        ("tank-1/", Some("tank-1"), "value"),
        ("level", None, "level"),
    ] {
        let body = format!(r#"[{{"n":"{name}","v":1}}]"#);
        let decoded = decode_json(body.as_bytes(), NOW).unwrap();
        assert_eq!(decoded.items[0].as_ref().unwrap().device.as_deref(), device, "{name}");
        assert_eq!(decoded.readings[0].metric, metric, "{name}");
    }
}

#[test]
fn a_wrong_record_says_what_and_where() {
    let long = format!(r#"{{"n":"a/{}","v":1}}"#, "m".repeat(129));
    let far_sum = format!(r#"{{"n":"a/{}","s":1}}"#, "m".repeat(126));
    let text = format!(r#"{{"n":"a/b","vs":"{}"}}"#, "x".repeat(257));
    for (record, code, at) in [
        ("7", WRONG_TYPE, ""),
        ("[]", WRONG_TYPE, ""),
        (r#"{"n":"a/b"}"#, MISSING_MEMBER, ""),
        (r#"{"t":5}"#, MISSING_MEMBER, ""),
        (r#"{"n":"a/b","v":1,"vs":"x"}"#, CONFLICTING_MEMBERS, "/vs"),
        (r#"{"n":"a/b","v":1,"v":1}"#, DUPLICATE_MEMBER, "/v"),
        (r#"{"n":"a/b","v":"1"}"#, WRONG_TYPE, "/v"),
        (r#"{"n":"a/b","v":null}"#, WRONG_TYPE, "/v"),
        (r#"{"n":"a/b","v":[1]}"#, WRONG_TYPE, "/v"),
        (r#"{"n":"a/b","v":1e400}"#, "invalid-number", "/v"),
        (r#"{"n":"a/b","vb":1}"#, WRONG_TYPE, "/vb"),
        (r#"{"n":"a/b","vs":true}"#, WRONG_TYPE, "/vs"),
        (r#"{"n":"a/b","vd":"aGk"}"#, INVALID_VALUE, "/vd"),
        (r#"{"n":"a/b","v":1,"s":"x"}"#, WRONG_TYPE, "/s"),
        (r#"{"n":"a/b","v":1,"t":"now"}"#, WRONG_TYPE, "/t"),
        (r#"{"n":"a/b","v":1,"ut":true}"#, WRONG_TYPE, "/ut"),
        (r#"{"n":7,"v":1}"#, WRONG_TYPE, "/n"),
        (r#"{"v":1}"#, INVALID_NAME, "/n"),
        (r#"{"n":"_a/b","v":1}"#, INVALID_NAME, "/n"),
        (r#"{"n":"a b","v":1}"#, INVALID_NAME, "/n"),
        (r#"{"n":"a/é","v":1}"#, INVALID_NAME, "/n"),
        (r#"{"n":"a/b/c","v":1}"#, "invalid-device", "/n"),
        (r#"{"n":"a/b","v":1,"u":"\n"}"#, "invalid-unit", "/u"),
        (r#"{"n":"a/b","v":1,"mode_":2}"#, UNKNOWN_MEMBER, "/mode_"),
        (&long, "invalid-metric", "/n"),
        (&far_sum, "invalid-metric", "/n"),
        (&text, "text-too-long", "/vs"),
    ] {
        let body = format!(r#"[{{"n":"ok/a","v":1}},{record},{{"n":"ok/b","v":2}}]"#);
        let decoded = decode_json(body.as_bytes(), NOW).unwrap();
        let errors: Vec<_> = decoded.errors().map(|e| (e.index, e.code, &*e.at)).collect();
        assert_eq!(errors, [(1, code, &*format!("/1{at}"))], "{record}");
        assert_eq!(show(&decoded), ["ok a  1 -", "ok b  2 -"], "{record}");
    }
    let ignored = r#"[{"n":"a/b","v":1,"mode":{"_":[1]},"l_x":2}]"#;
    assert_eq!(read(ignored), ["a b  1 -"]);
    // Base fields of a wrong record hold all the same.
    let body = br#"[{"bn":"m/","v":[]},{"n":"a","v":1}]"#;
    assert_eq!(show(&decode_json(body, NOW).unwrap()), ["m a  1 -"]);
}

#[test]
fn a_wrong_base_field_concerns_the_pack() {
    for (record, at) in [
        (r#"{"bn":7}"#, "/1/bn"),
        (r#"{"bt":"x"}"#, "/1/bt"),
        (r#"{"bt":1e999}"#, "/1/bt"),
        (r#"{"bu":"\u0001"}"#, "/1/bu"),
        (r#"{"bv":true}"#, "/1/bv"),
        (r#"{"bs":null}"#, "/1/bs"),
        (r#"{"bn":"a","bn":"b"}"#, "/1/bn"),
        (r#"{"bver":11}"#, "/1/bver"),
        (r#"{"bver":0}"#, "/1/bver"),
        (r#"{"bver":9.5}"#, "/1/bver"),
        (r#"{"bver":9}"#, "/1/bver"),
    ] {
        let body = format!(r#"[{{"bver":10,"n":"a/b","v":1}},{record}]"#);
        let error = decode_json(body.as_bytes(), NOW).unwrap_err();
        assert_eq!((error.fault, &*error.at), (BodyFault::Malformed, at), "{record}");
    }
    let at = |body: &str| decode_json(body.as_bytes(), NOW).unwrap_err().at;
    assert_eq!(at(r#"{"n":"a/b","v":1}"#), "line 1, column 1");
    assert_eq!(at(r#"[{"n":"a/b","v":NaN}]"#), "line 1, column 17");
    assert_eq!(at(r#"[] x"#), "line 1, column 4");
    assert_eq!(at(""), "line 1, column 1");
}

#[test]
fn records_are_bounded() {
    let body = |n: usize| format!("[{}]", vec![r#"{"n":"a/b","v":1}"#; n].join(","));
    assert_eq!(decode_json(body(ITEMS_MAX).as_bytes(), NOW).unwrap().items.len(), ITEMS_MAX);
    let over = body(ITEMS_MAX + 1);
    assert_eq!(decode_json(over.as_bytes(), NOW).unwrap_err().fault, BodyFault::TooManyItems);
    let mut empty = vec![0x9f];
    empty.resize(ITEMS_MAX + 2, 0xa0);
    assert_eq!(decode_cbor(&empty, NOW).unwrap_err().fault, BodyFault::TooManyItems);
}

#[test]
fn cbor_that_is_none_says_where_it_ends() {
    let at = |body: &[u8]| decode_cbor(body, NOW).unwrap_err().at;
    for (body, byte) in [
        (&b""[..], 0),
        (b"\xa1\x00\x01", 0),
        (b"\x63[ ]", 0),
        // Lengths that lie: an array, a map and a text of 2^64-1.
        (b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", 9),
        (b"\x81\xbb\xff\xff\xff\xff\xff\xff\xff\xff", 10),
        (b"\x81\xa1\x00\x7b\xff\xff\xff\xff\xff\xff\xff\xff", 12),
        (b"\x81\xa1\x61z\x5b\x00\x00\x00\x00\x80\x00\x00\x00", 13),
        (b"\x81\xa1\x00\x62\xc3\x28", 4),
        (b"\x81\xa1\x00\x1c", 3),
        (b"\x81\xff", 2),
        (b"\x80\x00", 1),
        (b"\x9f\xa0", 2),
        (b"\x81\xa1\x61z\x81\xff", 6),
    ] {
        assert_eq!(at(body), format!("byte {byte}"), "{body:02x?}");
    }
    let mut nested = b"\x81\xa1\x61z".to_vec();
    nested.resize(1 << 20, 0x81);
    let error = decode_cbor(&nested, NOW).unwrap_err();
    assert!(error.detail.contains("32 levels"), "{}", error.detail);
    let mut tags = b"\x81\xa1\x61z".to_vec();
    tags.resize(1 << 20, 0xc1);
    assert!(decode_cbor(&tags, NOW).unwrap_err().detail.contains("ends too early"));
}

#[test]
fn cbor_has_numbers_of_its_own() {
    let value = |value: &[u8]| {
        let mut body = b"\x81\xa2\x00\x63a/b\x02".to_vec();
        body.extend(value);
        let decoded = decode_cbor(&body, NOW).unwrap();
        let error = decoded.errors().next().map(|error| (error.code, error.at.clone()));
        error.map_or_else(|| Ok(decoded.readings[0].value.get().number().unwrap()), Err)
    };
    assert_eq!(value(b"\x18\x64"), Ok(100.0));
    assert_eq!(value(b"\x38\x63"), Ok(-100.0));
    assert_eq!(value(b"\xf9\x3e\x00"), Ok(1.5));
    assert_eq!(value(b"\xfa\x3f\xc0\x00\x00"), Ok(1.5));
    // 27315 * 10^-2, as in RFC 8949.
    assert_eq!(value(b"\xc4\x82\x21\x19\x6a\xb3"), Ok(273.15));
    let number = || Err(("invalid-number", "/0/v".to_owned()));
    assert_eq!(value(b"\xf9\x7e\x00"), number());
    assert_eq!(value(b"\xf9\x7c\x00"), number());
    assert_eq!(value(b"\x1b\xff\xff\xff\xff\xff\xff\xff\xff"), number());
    assert_eq!(value(b"\xc4\x82\x1b\x7f\xff\xff\xff\xff\xff\xff\xff\x01"), number());
    let kind = || Err((WRONG_TYPE, "/0/v".to_owned()));
    for wrong in [
        &b"\xc4\x81\x01"[..],
        b"\xc4\x82\x01\x61x",
        b"\xc4\x01",
        b"\xc1\x01",
        b"\xf6",
        b"\x7f\x61x\x61y\xff",
        b"\xf4",
        b"\x9f\x01\xff",
        b"\xbf\x01\x02\xff",
        b"\x5f\x41x\xff",
    ] {
        assert_eq!(value(wrong), kind(), "{wrong:02x?}");
    }
    // Self-described, of indefinite length, with labels as text and an unknown number.
    let body = b"\xd9\xd9\xf7\x9f\xbf\x61n\x63a/b\x61v\x01\x18\x63\x82\x01\x02\xff\xff";
    assert_eq!(show(&decode_cbor(body, NOW).unwrap()), ["a b  1 -"]);
    let data = b"\x82\xa2\x00\x63a/b\x08\x42hi\xa1\x61x_\x01";
    let decoded = decode_cbor(b"\x81\xa2\x00\x63a/b\x08\x42hi", NOW).unwrap();
    assert_eq!(decoded.errors().next().unwrap().at, "/0/vd");
    assert!(decode_cbor(data, NOW).is_err());
}

/// The head of a data item with the longest argument there is.
fn head(out: &mut Vec<u8>, major: u8, argument: u64) {
    out.push(major << 5 | 27);
    out.extend(argument.to_be_bytes());
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    head(out, 3, text.len() as u64);
    out.extend(text.as_bytes());
}

fn push_int(out: &mut Vec<u8>, int: i64) {
    if int < 0 { head(out, 1, !int as u64) } else { head(out, 0, int as u64) }
}

/// The same value in CBOR, with numbers where the RFC has numbers.
fn push(out: &mut Vec<u8>, value: &Json) {
    match value {
        Json::Array(items) => {
            head(out, 4, items.len() as u64);
            items.iter().for_each(|item| push(out, item));
        }
        Json::Object(members) => {
            head(out, 5, members.len() as u64);
            for (name, member) in members {
                match LABELS.iter().find(|label| label.1 == name) {
                    Some((_, _, label)) => push_int(out, i64::try_from(*label).unwrap()),
                    None => push_text(out, name),
                }
                push(out, member);
            }
        }
        Json::String(text) => push_text(out, text),
        Json::Bool(on) => out.push(if *on { 0xf5 } else { 0xf4 }),
        Json::Null => out.push(0xf6),
        Json::Number(number) => match number.as_i64() {
            Some(int) => push_int(out, int),
            None => {
                out.push(0xfb);
                out.extend(number.as_f64().unwrap().to_be_bytes());
            }
        },
    }
}

fn cbor(value: &Json) -> Vec<u8> {
    let mut out = Vec::new();
    push(&mut out, value);
    out
}

fn records() -> impl Strategy<Value = Json> {
    let number = || {
        prop_oneof![
            (-1000i64..1000).prop_map(|n| json!(n)),
            any::<i64>().prop_map(|n| json!(n)),
            (-1e12..1e12f64).prop_map(|n| json!(n)),
        ]
    };
    let odd = || prop_oneof![Just(json!(null)), Just(json!(true)), Just(json!("x")), number()];
    let label = prop::sample::select(vec!["n", "u", "v", "vs", "vb", "s", "t", "ut", "x", "y_"]);
    let base = prop::sample::select(vec!["bn", "bt", "bu", "bv", "bs"]);
    let member = prop_oneof![
        6 => ("n|bn", "[a-c/:_]{0,4}").prop_map(|(label, name)| (label, json!(name))),
        4 => ("v|t|s", number()),
        1 => (label.prop_map(str::to_owned), odd()),
        1 => (base.prop_map(str::to_owned), odd()),
        1 => ("vs|u", "[a-zé]{0,5}").prop_map(|(label, text)| (label, json!(text))),
    ];
    let record = prop::collection::vec(member, 0..5)
        .prop_map(|members| Json::Object(members.into_iter().collect()));
    prop::collection::vec(record, 0..8).prop_map(Json::Array)
}

proptest! {
    #[test]
    fn both_representations_say_the_same(pack in records()) {
        let text = pack.to_string();
        let bytes = cbor(&pack);
        let (json, cbor) = (decode_json(text.as_bytes(), NOW), decode_cbor(&bytes, NOW));
        if let Ok(decoded) = &json {
            prop_assert_eq!(decoded.items.len(), pack.as_array().unwrap().len());
            let kept: usize = decoded.items.iter().flatten().map(|i| i.readings.len()).sum();
            prop_assert_eq!(kept, decoded.readings.len());
        }
        prop_assert_eq!(json, cbor);
    }

    #[test]
    fn any_bytes_are_judged_without_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = (decode_json(&body, NOW), decode_cbor(&body, NOW));
    }

    #[test]
    fn damaged_packs_are_judged_without_panic(
        pack in records(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut text = pack.to_string().into_bytes();
        let mut bytes = cbor(&pack);
        for body in [&mut text, &mut bytes] {
            let position = at.index(body.len());
            body[position] = byte;
            body.truncate(1 + cut.index(body.len()));
        }
        let json = (decode_json(&text, NOW), &text);
        for (decoded, body) in [json, (decode_cbor(&bytes, NOW), &bytes)] {
            if let Ok(decoded) = decoded {
                prop_assert!(decoded.items.len() <= body.len());
                prop_assert!(decoded.errors().all(|error| error.code != SYNTAX));
            }
        }
    }
}
