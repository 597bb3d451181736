//! Each format against the others, what is refused and where, and the laws of batches.

use super::*;
use crate::formats::json;
use holdfast_core::{Quality, Value};
use holdfast_node::time_text;
use proptest::prelude::*;
use std::io::Write;

const NOW: Timestamp = Timestamp(1_800_000_000_000_000_000);

fn options(format: FileFormat) -> Options {
    Options { format, now: NOW, precision: Precision::Seconds }
}

fn read_all(bytes: &[u8], format: FileFormat) -> (Portion, Option<String>) {
    let mut all = Portion::default();
    let done = read(io::Cursor::new(bytes.to_vec()), options(format), &mut |portion| {
        all.entries.extend(portion.entries);
        all.refused.extend(portion.refused);
        ControlFlow::Continue(())
    });
    (all, done.err().map(|error| error.to_string()))
}

fn good(bytes: impl AsRef<[u8]>, format: FileFormat) -> Vec<Entry> {
    let (all, error) = read_all(bytes.as_ref(), format);
    assert_eq!((all.refused, error), (Vec::new(), None));
    all.entries
}

/// Place, device, time, and metric, unit and value of each reading.
fn show(entry: &Entry) -> String {
    let time = entry.time().map_or_else(|| "-".to_owned(), time_text::format);
    let device = entry.device.as_deref().unwrap_or("-");
    let mut out = format!("{} {device} {time}", entry.place);
    for reading in &entry.readings {
        let value = match reading.value.get() {
            Value::Float(number) => number.get().to_string(),
            Value::Int(int) => format!("{int}i"),
            Value::Bool(on) => on.to_string(),
            Value::Text(text) => format!("{:?}", text.as_str()),
        };
        out += &format!(" {} {} {value}", reading.metric, reading.unit);
    }
    out
}

fn shown(bytes: impl AsRef<[u8]>, format: FileFormat) -> Vec<String> {
    good(bytes, format).iter().map(show).collect()
}

fn refused(bytes: impl AsRef<[u8]>, format: FileFormat) -> Vec<String> {
    let (all, error) = read_all(bytes.as_ref(), format);
    assert_eq!(error, None);
    all.refused.iter().map(|refusal| refusal.in_file("f").to_string()).collect()
}

fn fatal(bytes: impl AsRef<[u8]>, format: FileFormat) -> String {
    read_all(bytes.as_ref(), format).1.expect("an error")
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let level = flate2::Compression::default();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_name_tells_the_format() {
    for (name, format) in [
        ("a.csv", Some(FileFormat::Csv)),
        ("dir.x/A.CSV.gz", Some(FileFormat::Csv)),
        ("a.ndjson", Some(FileFormat::Ndjson)),
        ("a.jsonl.gz", Some(FileFormat::Ndjson)),
        ("a.lp", Some(FileFormat::Line)),
        ("a.senml", Some(FileFormat::SenmlJson)),
        ("a.senmlc.gz", Some(FileFormat::SenmlCbor)),
        ("a.json", None),
        ("a.gz", None),
        ("csv", None),
    ] {
        assert_eq!(FileFormat::of(Path::new(name)), format, "{name}");
    }
}

#[test]
fn the_same_readings_in_each_format() {
    let time = "2026-11-20T16:38:00Z";
    let rows = [
        format!("- t-1 {time} level m 2.5"),
        format!("- t-1 {time} on  true"),
        format!("- t-1 {time} state  \"up\""),
    ];
    let unix = time_text::parse(time).unwrap().0 / 1_000_000_000;
    let csv = format!(
        "device,metric,unit,value,time\nt-1,level,m,2.5,{time}\nt-1,on,,TRUE,{}\n\
         t-1,state,,up,{time}\n",
        unix * 1000
    );
    let ndjson = format!(
        "{{\"device\":\"t-1\",\"metric\":\"level\",\"unit\":\"m\",\"value\":2.5,\
         \"time\":\"{time}\"}}\n\n\
         {{\"device\":\"t-1\",\"metric\":\"on\",\"value\":true,\"time\":\"{time}\"}}\r\n\
         {{\"device\":\"t-1\",\"metric\":\"state\",\"value\":\"up\",\"time\":\"{time}\"}}"
    );
    let line = format!(
        "# a comment\nlevel,device=t-1,unit=m value=2.5 {unix}\non,device=t-1 value=t {unix}\n\
         state,device=t-1 value=\"up\" {unix}\n"
    );
    let senml = format!(
        r#"[{{"bn":"t-1/","bt":{unix}}},{{"n":"level","u":"m","v":2.5}},{{"n":"on","vb":true}},
            {{"n":"state","vs":"up"}}]"#
    );
    let mut cbor = b"\x84\xa2\x21\x64t-1/\x22\x1a".to_vec();
    cbor.extend((unix as u32).to_be_bytes());
    cbor.extend(b"\xa3\x00\x65level\x01\x61m\x02\xf9\x41\x00\xa2\x00\x62on\x04\xf5");
    cbor.extend(b"\xa2\x00\x65state\x03\x62up");
    let without_place = |bytes: &[u8], format| -> Vec<String> {
        let strip = |mut entry: Entry| {
            entry.place = Place::Body;
            format!("-{}", show(&entry))
        };
        good(bytes, format).into_iter().map(strip).collect()
    };
    for (bytes, format) in [
        (csv.as_bytes(), FileFormat::Csv),
        (ndjson.as_bytes(), FileFormat::Ndjson),
        (line.as_bytes(), FileFormat::Line),
        (senml.as_bytes(), FileFormat::SenmlJson),
        (&cbor, FileFormat::SenmlCbor),
    ] {
        assert_eq!(without_place(bytes, format), rows, "{format:?}");
        assert_eq!(without_place(&gzip(bytes), format), rows, "{format:?}, compressed");
        let broken = fatal(&gzip(bytes)[..30], format);
        assert!(!broken.is_empty(), "{format:?}");
    }
    assert_eq!(good(line, FileFormat::Line)[2].place, Place::Line(4));
    assert_eq!(good(csv, FileFormat::Csv)[2].place, Place::Line(4));
    assert_eq!(good(ndjson, FileFormat::Ndjson)[2].place, Place::Line(4));
    assert_eq!(good(senml, FileFormat::SenmlJson)[2].place, Place::Element(3));
}

#[test]
fn wide_rows_have_a_metric_per_column() {
    let csv = "\u{feff}Time,device,level [m],pump,\"flow [m3/h]\"\n\
        2026-11-20T16:38:00Z,t-1,2.5,true,\n\
        2026-11-20T17:38:00+01:00,t-2,,,7\n\
        ,t-3,1,,\n\
        2026-11-20T16:38:00Z,t-4,,,\n";
    assert_eq!(
        shown(csv, FileFormat::Csv),
        [
            "line 2 t-1 2026-11-20T16:38:00Z level m 2.5 pump  true",
            "line 3 t-2 2026-11-20T16:38:00Z flow m3/h 7",
            "line 4 t-3 - level m 1",
        ]
    );
    assert_eq!(shown("level\n2.5\n", FileFormat::Csv), ["line 2 - - level  2.5"]);
}

#[test]
fn cells_are_numbers_booleans_or_texts() {
    let csv =
        "metric,value\na,1e3\nb,-7\nc,9007199254740993\nd,False\ne,\"x, \"\"y\"\"\nz\"\nf,12 m\n";
    assert_eq!(
        shown(csv, FileFormat::Csv),
        [
            "line 2 - - a  1000",
            "line 3 - - b  -7",
            "line 4 - - c  9007199254740993i",
            "line 5 - - d  false",
            "line 6 - - e  \"x, \\\"y\\\"\\nz\"",
            "line 8 - - f  \"12 m\"",
        ]
    );
}

#[test]
fn a_wrong_row_is_named_and_the_others_are_kept() {
    let csv = "device,metric,value,time,boot,seq\nok,m,1,,,\na b,m,1,,,\nd,m,NaN,,,\n\
        d,m,1e999,,,\nd,m,1,yesterday,,\nd,m,1,,,7\nd,m,1,,1,0\nd,,1,,,\nd,m\nok,m,2,,1,9\n";
    assert_eq!(
        refused(csv, FileFormat::Csv),
        [
            "f:3: device: a device id has 1 to 64 characters of A-Z a-z 0-9 . _ : -",
            "f:4: m: a number must be finite and fit a 64-bit float",
            "f:5: m: a number must be finite and fit a 64-bit float",
            "f:6: time: a time is RFC 3339 with offset, or whole Unix milliseconds",
            "f:7: seq: a sequence number is an integer from 1 to 2^64-1",
            "f:8: seq: a sequence number is an integer from 1 to 2^64-1",
            "f:9: a metric has 1 to 128 bytes without control characters",
            "f:10: 2 cells under a header of 6",
        ]
    );
    let (all, _) = read_all(csv.as_bytes(), FileFormat::Csv);
    assert_eq!(all.entries.len(), 2);
    let latin = b"metric,value\na,1\nb\xe9,2\nc,3\n";
    assert_eq!(refused(latin, FileFormat::Csv), ["f:3: the row is not UTF-8"]);
    let ndjson = "{\"metric\":\"a\",\"value\":1e999}\nnonsense\n{\"metric\":\"a\",\"value\":1}\n";
    assert_eq!(
        refused(ndjson, FileFormat::Ndjson),
        [
            "f:1: value: a number must be finite and fit a 64-bit float",
            "f:2: not JSON at column 1: expected a value",
        ]
    );
    assert_eq!(
        refused("a value=1\nb\n", FileFormat::Line),
        ["f:2: the fields are missing: a space and `field=value` must follow the tags"]
    );
    let record = r#"[{"n":"a/b","v":1},{"n":"a/b","vd":"aGk"}]"#;
    assert!(refused(record, FileFormat::SenmlJson)[0].starts_with("f: record 1: vd: binary"));
}

#[test]
fn a_header_that_means_nothing_is_refused() {
    assert!(fatal("", FileFormat::Csv).contains("neither"));
    for (header, words) in [
        ("device,time", "neither"),
        ("metric,time", "neither"),
        ("level,value", "neither"),
        ("device,metric,value,colour", "`colour`"),
        ("node,device,metric,value", "`node`"),
        ("device,device,level", "two columns of the header are called `device`"),
        ("level,level [m]", "two columns of the header are called `level`"),
        ("time,level,", "column 3"),
    ] {
        let error = fatal(format!("{header}\n1,2\n"), FileFormat::Csv);
        assert!(error.contains(words), "{header}: {error}");
    }
}

#[test]
fn exported_lines_of_one_item_are_one_item_again() {
    let line = |metric: &str, value: &str, boot: &str, seq: &str, quality: &str| {
        format!(
            "{{\"boot\":{boot},\"device\":\"t-1\",\"log\":[1,2],\"metric\":\"{metric}\",\
             \"node\":\"ab\",\"quality\":[{quality}],\"received\":\"2026-11-20T16:38:01Z\",\
             \"seq\":{seq},\"time\":\"2026-11-20T16:38:00Z\",\"unit\":\"\",\"value\":{value}}}\n"
        )
    };
    let text = [
        line("a", "1.5", "4", "17", ""),
        line("b", "\"x\"", "4", "17", ""),
        line("a", "2", "4", "18", "\"uncertain\",\"device-clock\""),
        line("a", "3", "null", "null", "\"anchored\""),
        line("b", "true", "null", "null", ""),
        line("a", "9007199254740993", "4", "18", ""),
    ];
    let entries = good(text.concat(), FileFormat::Ndjson);
    let shown: Vec<_> = entries.iter().map(show).collect();
    let head = "t-1 2026-11-20T16:38:00Z";
    assert_eq!(
        shown,
        [
            format!("line 1 {head} a  1.5 b  \"x\""),
            format!("line 3 {head} a  2i"),
            format!("line 4 {head} a  3i"),
            format!("line 5 {head} b  true"),
            format!("line 6 {head} a  9007199254740993i"),
        ]
    );
    assert_eq!(entries[0].source, Some(DeviceSeq { boot: 4, seq: 17 }));
    let qualities: Vec<_> = entries.iter().map(|entry| entry.readings[0].quality).collect();
    assert_eq!(qualities[..3], [Quality::GOOD, Quality::UNCERTAIN, Quality::GOOD]);

    let csv = "node,device,metric,unit,time,received,value,quality,boot,seq,start,entry\n\
        ab,t-1,a,,2026-11-20T16:38:00Z,2026-11-20T16:38:01Z,1.5,,4,17,1,2\n\
        ab,t-1,b,,2026-11-20T16:38:00Z,2026-11-20T16:38:01Z,x,,4,17,1,3\n\
        ab,t-1,a,,2026-11-20T16:38:00Z,2026-11-20T16:38:01Z,3,bad anchored,,,1,4\n";
    let entries = good(csv, FileFormat::Csv);
    assert_eq!(show(&entries[0]), format!("line 2 {head} a  1.5 b  \"x\""));
    assert_eq!(entries[1].readings[0].quality, Quality::BAD);
}

#[test]
fn a_quoted_value_may_cross_from_one_chunk_to_the_next() {
    let mut text = String::new();
    while text.len() < (64 << 10) - 20 {
        text += "m value=1\n";
    }
    let lines = text.lines().count();
    text += "m text=\"one\ntwo\nthree\" 5\nm value=2\nm text=\"open\nm value=3\n";
    let (all, error) = read_all(text.as_bytes(), FileFormat::Line);
    assert_eq!(error, None);
    let tail: Vec<_> = all.entries[lines..].iter().map(show).collect();
    assert_eq!(
        tail[0],
        format!("line {} - 1970-01-01T00:00:05Z m.text  \"one\\ntwo\\nthree\"", lines + 1)
    );
    assert_eq!(tail[1], format!("line {} - - m  2", lines + 4));
    assert_eq!(tail[2], format!("line {} - - m  3", lines + 6));
    assert_eq!(all.refused[0].place, Place::Line(lines + 5));
}

/// An input that goes on for ever; reading all of it would never end.
struct Endless(&'static [u8], u64);

impl Read for Endless {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        assert!(self.1 < 16 << 20, "the reader does not stop");
        let length = out.len().min(self.0.len());
        out[..length].copy_from_slice(&self.0[..length]);
        self.1 += length as u64;
        Ok(length)
    }
}

#[test]
fn what_has_no_end_is_given_up() {
    let given_up = |first: &'static [u8], rest: &'static [u8], format| {
        let input = first.chain(Endless(rest, 0));
        let done = read(input, options(format), &mut |_| ControlFlow::Continue(()));
        done.unwrap_err().to_string()
    };
    for format in [FileFormat::Ndjson, FileFormat::Line] {
        assert!(given_up(b"", b"aaaaaaaa", format).contains("line 1 is longer"));
    }
    assert!(given_up(b"level,\"", b"a,\n", FileFormat::Csv).contains("row is longer"));
    assert!(given_up(b"level\n1\n\"", b"a,\n", FileFormat::Csv).contains("row is longer"));
    let pack = read(
        (&b"["[..]).chain(io::repeat(b' ').take(PACK_MAX + 5)),
        options(FileFormat::SenmlJson),
        &mut |_| ControlFlow::Continue(()),
    );
    assert!(pack.unwrap_err().to_string().contains("64 MiB"));
}

#[test]
fn a_sink_that_has_enough_ends_the_reading() {
    for (line, format) in [
        (&b"{\"metric\":\"a\",\"value\":1}\n"[..], FileFormat::Ndjson),
        (b"a value=1\n", FileFormat::Line),
    ] {
        let mut portions = 0;
        let input = line.chain(Endless(line, 0));
        read(input, options(format), &mut |portion| {
            assert!(portion.entries.len() <= PORTION);
            portions += 1;
            if portions == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
        assert_eq!(portions, 4, "three and what was held back, {format:?}");
    }
}

fn batches(text: &str, device: Option<&str>) -> Vec<Batch> {
    let mut batcher = Batcher::new(device.map(str::to_owned));
    let mut out: Vec<_> =
        good(text, FileFormat::Line).iter().filter_map(|entry| batcher.push(entry)).collect();
    out.extend(batcher.take());
    out
}

#[test]
fn keys_follow_from_content_and_place() {
    let text = "m value=1\n".repeat(2_500);
    let once = batches(&text, Some("d"));
    assert_eq!(
        once.iter().map(|batch| batch.places.len()).collect::<Vec<_>>(),
        [1_000, 1_000, 500]
    );
    assert_eq!(once[0].body, once[1].body);
    assert_ne!(once[0].key, once[1].key, "equal stretches are different readings");
    assert_eq!(once, batches(&text, Some("d")), "the same file gives the same");
    let longer = batches(&(text.clone() + "m value=2\n"), Some("d"));
    assert_eq!(once[..2], longer[..2], "what was full stays as it was");
    assert_ne!(once[0].key, batches(&text, Some("e"))[0].key);
    let key = once[0].key.to_string();
    assert!(key.len() <= 128 && key.starts_with("file-"), "{key}");
    let first = String::from_utf8_lossy(&once[0].body);
    assert!(
        first.starts_with("{\"device\":\"d\",\"values\":{\"m\":{\"value\":1.0}}}\n"),
        "{first}"
    );
}

/// The vector of docs/formats/files.md.
#[test]
fn golden_key() {
    let [batch] = &batches("m value=1\n", Some("d"))[..] else { panic!("one batch") };
    assert_eq!(batch.body, b"{\"device\":\"d\",\"values\":{\"m\":{\"value\":1.0}}}\n");
    assert_eq!(
        batch.key.to_string(),
        "file-689c55f88780357ad6d30e60131ea18ebfd28a5afa6ef468981c265a90e7fff6"
    );
}

proptest! {
    #[test]
    fn a_batch_says_what_its_entries_say(
        device in "[A-Za-z0-9._:-]{1,20}", metric in "[ -~é]{1,30}", unit in "[!-~]{0,8}",
        number in any::<f64>(), int in any::<i64>(), text in "[ -~é\\n]{0,40}", on in any::<bool>(),
        time in proptest::option::of(any::<i64>()), seq in proptest::option::of(1u64..),
        quality in 0u8..3,
    ) {
        prop_assume!(number.is_finite());
        let values = [
            DecodedValue::Float(holdfast_core::reading::Finite::new(number).unwrap()),
            DecodedValue::Int(int), DecodedValue::Text(text.into()), DecodedValue::Bool(on),
        ];
        let readings: Vec<_> = (0..).zip(values).map(|(index, value)| DecodedReading {
            metric: format!("{metric}{index}").into(),
            unit: unit.clone().into(),
            time: time.map(Timestamp),
            value,
            quality: Quality(quality),
        }).collect();
        let source = seq.map(|seq| DeviceSeq { boot: seq, seq });
        let entry = Entry { place: Place::Body, device: Some(device), source, readings };
        let mut batcher = Batcher::default();
        prop_assert!(batcher.push(&entry).is_none());
        let batch = batcher.take().unwrap();
        let decoded = json::decode_lines(&batch.body, NOW).unwrap();
        let refused = |e: &ItemError| TestCaseError::fail(e.detail.to_string());
        let item = decoded.items[0].as_ref().map_err(refused)?;
        let again = Entry::of(&decoded, item, Place::Body);
        prop_assert_eq!(again.readings.len(), entry.readings.len());
        for (a, b) in again.readings.iter().zip(&entry.readings) {
            prop_assert_eq!((&a.metric, &a.unit), (&b.metric, &b.unit));
            prop_assert_eq!((a.time, a.quality), (b.time, b.quality));
            // An integer that a double holds is one.
            prop_assert_eq!(a.value.get().number(), b.value.get().number());
        }
        prop_assert_eq!((again.device, again.source), (entry.device, entry.source));
    }

    #[test]
    fn any_bytes_are_judged_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let formats = [
            FileFormat::Csv, FileFormat::Ndjson, FileFormat::Line, FileFormat::SenmlJson,
            FileFormat::SenmlCbor,
        ];
        for format in formats {
            let _ = (read_all(&bytes, format), read_all(&gzip(&bytes), format));
        }
    }

    #[test]
    fn near_rows_are_judged_without_panic(
        header in "(device,|time,|metric,|value,|level,|\"){0,4}", rows in "[a-c0-9,\"\n.:-]{0,80}",
    ) {
        let _ = read_all(format!("{header}\n{rows}").as_bytes(), FileFormat::Csv);
    }
}
