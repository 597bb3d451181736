//! Golden lines, every kind of error, and the laws of the line protocol decoder.

use super::*;
use crate::formats::{BodyFault, ITEMS_MAX};
use proptest::prelude::*;

/// Device, metric, unit, value and time of each reading, as text.
fn read(body: &str) -> Vec<String> {
    let decoded = decode(body.as_bytes(), Precision::Nanos).unwrap();
    let mut out = Vec::new();
    for item in &decoded.items {
        let item = item.as_ref().unwrap();
        for reading in decoded.readings_of(item) {
            let device = item.device.as_deref().unwrap_or("-");
            let time = reading.time.map_or("-".into(), |t| t.0.to_string());
            let value = match &reading.value {
                DecodedValue::Float(number) => format!("{:?}", number.get()),
                DecodedValue::Int(int) => format!("{int}i"),
                DecodedValue::Bool(on) => on.to_string(),
                DecodedValue::Text(text) => format!("{text:?}"),
            };
            out.push(format!(
                "{device} | {} | {} | {value} | {time}",
                reading.metric, reading.unit
            ));
        }
    }
    out
}

fn errors(body: &[u8]) -> Vec<(usize, &'static str, String)> {
    let decoded = decode(body, Precision::Nanos).unwrap();
    decoded.errors().map(|e| (e.index, e.code, e.at.clone())).collect()
}

#[test]
fn golden_lines() {
    for (line, readings) in [
        ("level,device=ps-1,unit=m value=2.5 17", &["ps-1 | level | m | 2.5 | 17"][..]),
        ("cpu,host=gw usage=1i", &["gw | cpu.usage |  | 1i | -"]),
        (
            "cpu,device=a,host=gw,zone=2,core=0 value=1,load=-2e3",
            &[
                "a | cpu{core=0,host=gw,zone=2} |  | 1.0 | -",
                "a | cpu.load{core=0,host=gw,zone=2} |  | -2000.0 | -",
            ],
        ),
        ("m value=1", &["- | m |  | 1.0 | -"]),
        ("  m value=18446744073709551i 5 ", &["- | m |  | 18446744073709551i | 5"]),
        ("m value=7u -5\r\n", &["- | m |  | 7i | -5"]),
        (r"my\ mea\,s,t\=g=v\ 1\,2 a\ b=t", &[r"- | my mea,s.a b{t\=g=v 1\,2} |  | true | -"]),
        (
            r#"m s="a \"q\" \\ \x, =",b=F"#,
            &[r#"- | m.s |  | "a \"q\" \\ \\x, =" | -"#, "- | m.b |  | false | -"],
        ),
        (
            "m s=\"two\nlines\" 3\nn value=1",
            &["- | m.s |  | \"two\\nlines\" | 3", "- | n |  | 1.0 | -"],
        ),
        ("# comment\n\n \n# m value=1\nm value=1\n", &["- | m |  | 1.0 | -"]),
        (r"m\n value=1", &[r"- | m\n |  | 1.0 | -"]),
        ("wetter,ort=köln value=1", &["- | wetter{ort=köln} |  | 1.0 | -"]),
    ] {
        assert_eq!(read(line), readings, "{line}");
    }
    for (word, value) in [("t", "true"), ("True", "true"), ("FALSE", "false"), ("f", "false")] {
        assert_eq!(read(&format!("m value={word}")), [format!("- | m |  | {value} | -")]);
    }
}

#[test]
fn tags_that_look_alike_are_different_metrics() {
    let one = read(r"m,a=1,b=2 value=1");
    let other = read(r"m,a=1\,b\=2 value=1");
    assert_ne!(one, other);
}

#[test]
fn the_precision_scales_the_timestamp() {
    for (name, nanos) in [
        ("n", 7),
        ("ns", 7),
        ("u", 7_000),
        ("us", 7_000),
        ("µ", 7_000),
        ("ms", 7_000_000),
        ("s", 7_000_000_000),
        ("m", 420_000_000_000),
        ("h", 25_200_000_000_000),
    ] {
        let precision = Precision::named(name).unwrap();
        let decoded = decode(b"m value=1 7", precision).unwrap();
        assert_eq!(decoded.readings[0].time, Some(Timestamp(nanos)), "{name}");
    }
    assert_eq!(Precision::named("d"), None);
    let decoded = decode(b"m value=1 9223372036854775807", Precision::Seconds).unwrap();
    assert_eq!(decoded.errors().next().unwrap().code, "invalid-time");
}

#[test]
fn a_wrong_line_says_what_is_wrong() {
    let long = format!("{} value=1", "m".repeat(129));
    for (line, code) in [
        ("m", SYNTAX),
        ("m,", SYNTAX),
        (",a=b value=1", SYNTAX),
        ("m,a value=1", SYNTAX),
        ("m,a= value=1", SYNTAX),
        ("m,a=b=c value=1", SYNTAX),
        ("m value", SYNTAX),
        ("m =1", SYNTAX),
        ("m value=1,", SYNTAX),
        ("m value=1 2 3", SYNTAX),
        ("m value=\"a", SYNTAX),
        ("m value=\"a\"b", SYNTAX),
        ("m value=1\r2", SYNTAX),
        ("m value=", MISSING_MEMBER),
        ("m value=abc", INVALID_VALUE),
        ("m value=NaN", INVALID_VALUE),
        ("m value=-inf", INVALID_VALUE),
        ("m value=1.5i", INVALID_VALUE),
        ("m value=1e400", "invalid-number"),
        ("m value=9223372036854775808i", "invalid-number"),
        ("m value=18446744073709551615u", "invalid-number"),
        ("m value=1 soon", "invalid-time"),
        ("m value=1 1.5", "invalid-time"),
        ("m,a=1,a=2 value=1", DUPLICATE_MEMBER),
        ("m value=1,value=2", DUPLICATE_MEMBER),
        ("m,device=a\\ b value=1", "invalid-device"),
        ("m,unit=a\tb value=1", "invalid-unit"),
        (&long, "invalid-metric"),
    ] {
        let body = format!("ok value=1\n{line}\nok value=2\n");
        assert_eq!(errors(body.as_bytes()), [(1, code, "line 2".to_owned())], "{line}");
        let decoded = decode(body.as_bytes(), Precision::Nanos).unwrap();
        assert_eq!(decoded.readings.len(), 2, "{line}");
    }
    let text = format!("m value=\"{}\"", "x".repeat(257));
    assert_eq!(errors(text.as_bytes())[0].1, "text-too-long");
    let endless = format!("m value=\"{}", "x".repeat(1 << 20));
    assert_eq!(errors(endless.as_bytes())[0].1, "text-too-long");
}

#[test]
fn bytes_that_are_no_text_concern_their_line() {
    let body = b"a value=1\nb value=\xff\nc value=1\n\xc3\nd value=4\ne value=\xe9";
    let lines = ["line 2", "line 4", "line 6"];
    let found = errors(body);
    assert_eq!(found.iter().map(|e| &*e.2).collect::<Vec<_>>(), lines);
    let decoded = decode(body, Precision::Nanos).unwrap();
    let metrics: Vec<_> = decoded.readings.iter().map(|r| &*r.metric).collect();
    assert_eq!(metrics, ["a", "c", "d"]);
}

#[test]
fn lines_and_fields_are_bounded() {
    let over = decode("m value=1\n".repeat(ITEMS_MAX + 1).as_bytes(), Precision::Nanos)
        .map(|decoded| decoded.items.len());
    assert_eq!(over.unwrap_err().fault, BodyFault::TooManyItems);
    let fields = |n: usize| {
        let fields: Vec<_> = (0..n).map(|i| format!("f{i}=1")).collect();
        format!("m {}", fields.join(","))
    };
    assert_eq!(read(&fields(ITEM_READINGS_MAX)).len(), ITEM_READINGS_MAX);
    assert_eq!(errors(fields(ITEM_READINGS_MAX + 1).as_bytes())[0].1, TOO_MANY_READINGS);
}

fn escape(text: &str, escapable: &[char]) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if escapable.contains(&c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

proptest! {
    #[test]
    fn any_bytes_are_judged_without_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&body, Precision::Seconds);
    }

    #[test]
    fn near_lines_are_judged_without_panic(body in "[a-c,= \\\\\"\n\r0-9i.#é]{0,60}") {
        let decoded = decode(body.as_bytes(), Precision::Nanos).unwrap();
        let kept: usize = decoded.items.iter().flatten().map(|item| item.readings.len()).sum();
        prop_assert_eq!(kept, decoded.readings.len());
    }

    #[test]
    fn valid_lines_read_back(
        measurement in "[a-z ,=é.]{1,12}", field in "[a-z ,=é.]{1,12}",
        device in "[A-Za-z0-9._:-]{1,20}",
        text in "[ -~\n]{0,30}", number in any::<f64>(), int in any::<i64>(), time in any::<i64>(),
    ) {
        prop_assume!(number.is_finite() && field != "n" && field != "i" && field != "value");
        let line = format!(
            "{},device={device} {}=\"{}\",n={number:e},i={int}i {time}",
            escape(&measurement, &[',', ' ']),
            escape(&field, &[',', '=', ' ']),
            escape(&text, &['"', '\\']),
        );
        let decoded = decode(line.as_bytes(), Precision::Nanos).unwrap();
        let item = decoded.items[0].as_ref().unwrap();
        prop_assert_eq!(item.device.as_deref(), Some(&*device));
        let [a, b, c] = decoded.readings_of(item) else { panic!("three readings") };
        prop_assert_eq!(&*a.metric, format!("{measurement}.{field}"));
        prop_assert_eq!(&a.value, &DecodedValue::Text(text.into()));
        prop_assert_eq!(b.value.get().number(), Some(number));
        prop_assert_eq!(&c.value, &DecodedValue::Int(int));
        prop_assert_eq!(c.time, Some(Timestamp(time)));
    }
}
