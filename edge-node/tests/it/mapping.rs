//! Messages that a seeded mutator has spoiled, held against rules: what a topic brings is told
//! without allocating, what comes of a payload is valid throughout and the same each time, and
//! nothing holds or in all asks for more than a multiple of what came.

use crate::mutations::{ASKED, HELD, PEAK, SLACK};
use crate::sessions::simulation::Rng;
use holdfast_core::reading::{Device, Finite};
use holdfast_core::{Metric, Timestamp, Unit};
use holdfast_edge::formats::DecodedValue;
use holdfast_edge::mqtt::rules::{Mappings, Purpose, Rules};
use holdfast_edge::mqtt::topic::Topic;
use serde::Deserialize;

/// Messages per set of rules; there are two.
const INPUTS: u32 = 60_000;
/// What decoding may hold per byte of a payload: a reading takes more room than `"a":1,` does.
const HELD_PER_BYTE: isize = 64;

/// What decoding may ask for in all, per byte of a payload and for the thousand readings that a
/// message may have: were any work done per member and per byte, this would be passed.
const ASKED_PER_BYTE: usize = 256;
const ASKED_SLACK: usize = 1 << 20;

const TOPICS: &[&str] = &[
    "devices/ps-017/readings",
    "devices/ps-017/readings/level",
    "devices/ps-017/envelope",
    "zigbee2mqtt/Living room",
    "zigbee2mqtt/kitchen/lamp",
    "tele/tasmota_C59B5E/SENSOR",
    "shellies/shelly1pm-98F4AB/relay/0/power",
    "shellies/shelly1pm-98F4AB/ext_temperature/0",
    "shellyplus1pm-a8032a/status/switch:0",
    "shellyplus1pm-a8032a/events/rpc",
    "plant/north/3/state",
    "$SYS/broker/uptime",
];
const PAYLOADS: &[&str] = &[
    r#"{"values":{"level":3.2,"on":true},"time":"2026-11-20T16:00:00Z","boot":1,"seq":7}"#,
    r#"[{"bn":"ps-017/","bt":1795192680,"n":"level","u":"m","v":3.2},{"n":"flow","v":1}]"#,
    "\u{1}\u{2}\u{3}",
    "-21.5e3",
    "\"a\\u00e9\"",
    "on",
    r#"{"battery":97,"temperature":22.75,"state":"ON","last_seen":"2026-11-20T16:38:00Z"}"#,
    r#"{"Time":"2021-06-13T06:59:52","ENERGY":{"Total":284.5,"Power":[2,3]},"TempUnit":"C"}"#,
    r#"{"id":0,"output":false,"apower":8.9,"aenergy":{"total":6.5,"by_minute":[1,2]}}"#,
    r#"{"src":"s","method":"NotifyStatus","params":{"ts":1795192680.43,"switch:0":{"apower":1}}}"#,
    r#"{"temp":215,"at":1795192680,"name":"n","deep":{"a":{"b":[[[{"c":1}]]]}},"":{"~/":"off"}}"#,
    "level,unit=m value=3.2 1795192680000000000",
];
const CONTENT_TYPES: &[Option<&str>] = &[
    None,
    None,
    None,
    Some("application/json"),
    Some("application/x-ndjson"),
    Some("application/senml+json"),
    Some("application/senml+cbor"),
    Some("text/plain; charset=utf-8"),
    Some("application/octet-stream"),
];
const OWN: &str = r##"
mappings = [
    { topic = "plant/+/+/state", device = "{1}-{/name}", rest = "flatten", texts = true,
      time = { path = "/at", format = ["unix_s", "unix_ms", "rfc3339"] }, lowercase = true,
      fields = [{ path = "/temp", metric = "temperature", unit = "{/unit}", scale = 0.1 }] },
    { topic = "#", device = "{#}", metric = "{#}", rest = "flatten", root = "/ENERGY",
      none = [3], units = { total = "kW.h" } },
]
"##;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Became {
    /// It was not for us.
    Nothing,
    /// It was refused.
    Refused,
    /// It was taken, with so many readings.
    Readings(usize),
}

/// Checks all that holds for any message. Panics where it does not.
fn exercise(rules: &Rules, topic: &Topic, payload: &[u8], content_type: Option<&str>) -> Became {
    const RECEIVED: Timestamp = Timestamp(1_795_192_680_000_000_000);
    PEAK.set(HELD.get());
    let before = HELD.get();
    let purpose = rules.purpose(topic);
    let peak = PEAK.get();
    let Ok(purpose) = purpose else { return Became::Refused };
    assert_eq!(peak, before, "what {topic} brings is told without allocating");
    let asked_before = ASKED.get();
    let decoded = purpose.decode(topic, payload, content_type, RECEIVED);
    let (held, asked) = (PEAK.get() - before, ASKED.get() - asked_before);
    let allowed = payload.len().cast_signed() * HELD_PER_BYTE + SLACK;
    assert!(held <= allowed, "{held} bytes for {topic} {payload:?}");
    let allowed = payload.len() * ASKED_PER_BYTE + ASKED_SLACK;
    assert!(asked <= allowed, "{asked} bytes asked for, {} came for {topic}", payload.len());
    let again = purpose.decode(topic, payload, content_type, RECEIVED);
    assert_eq!(decoded, again, "{topic} {payload:?}");
    let Ok(decoded) = decoded else { return Became::Refused };
    for item in decoded.items.iter().filter_map(|item| item.as_ref().ok()) {
        let readings = decoded.readings_of(item);
        let device = item.device.as_deref();
        let named = readings.is_empty() || device.is_some_and(|device| Device::new(device).is_ok());
        assert!(named, "{topic} {payload:?}: device {device:?}");
        for reading in readings {
            let names = Metric::new(&reading.metric).is_ok() && Unit::new(&reading.unit).is_ok();
            let finite = match reading.value {
                DecodedValue::Float(number) => Finite::new(number.get()).is_ok(),
                _ => true,
            };
            assert!(names && finite, "{topic} {payload:?}: {reading:?}");
        }
    }
    match purpose {
        Purpose::Readings { .. } | Purpose::Mapped(_) => Became::Readings(decoded.readings.len()),
        _ => Became::Nothing,
    }
}

/// Changes a few characters or pieces of one of `corpus`.
fn spoil(random: &mut Rng, corpus: &[&str], out: &mut Vec<u8>) {
    const INTERESTING: &[u8] = b"\0\"\\/{}[]:,.-+eE0189ntf~#$\x80\xc3\xff \n_=";
    out.clear();
    out.extend_from_slice(corpus[random.below(corpus.len())].as_bytes());
    for _ in 0..random.below(4) {
        let at = random.below(out.len());
        let other = corpus[random.below(corpus.len())].as_bytes();
        let from = random.below(other.len());
        let piece = &other[from..from + random.below(other.len() - from)];
        match random.below(5) {
            _ if out.is_empty() => {}
            0 => out[at] = INTERESTING[random.below(INTERESTING.len())],
            1 => out.insert(at, INTERESTING[random.below(INTERESTING.len())]),
            2 => drop(out.remove(at)),
            3 => drop(out.splice(at..at, piece.iter().copied())),
            _ => out.truncate(at),
        }
    }
}

fn mutate(seed: u64, rules: &Rules) {
    let mut random = Rng::new(seed);
    let (mut name, mut payload) = (Vec::new(), Vec::new());
    let (mut refused, mut taken, mut readings) = (0_u32, 0_u32, 0);
    for _ in 0..INPUTS {
        if random.below(4) == 0 {
            spoil(&mut random, TOPICS, &mut name);
        } else {
            name = TOPICS[random.below(TOPICS.len())].as_bytes().to_vec();
        }
        let Ok(topic) = Topic::new(name.clone()) else { continue };
        spoil(&mut random, PAYLOADS, &mut payload);
        let content_type = CONTENT_TYPES[random.below(CONTENT_TYPES.len())];
        match exercise(rules, &topic, &payload, content_type) {
            Became::Refused => refused += 1,
            Became::Readings(count) => (taken, readings) = (taken + 1, readings + count),
            Became::Nothing => {}
        }
    }
    println!("struck: {INPUTS} messages, {refused} refused, {taken} taken, {readings} readings");
    let struck = refused > INPUTS / 10 && taken > INPUTS / 5 && readings > INPUTS as usize / 20;
    assert!(struck, "{refused} refused, {taken} taken, {readings} readings");
}

#[derive(Deserialize)]
struct Section {
    mappings: Mappings,
}

fn own() -> Rules {
    let section: Section = toml::from_str(OWN).expect("a list of mappings");
    Rules::new(&section.mappings)
}

/// A table of mappings as somebody might write it, of keys and values that need not go together.
fn drawn(random: &mut Rng) -> String {
    const TOPICS: &[(&str, &[&str])] = &[
        ("plant/+/+/state", &["{1}", "{2}-{1}", "{1}-{/name}", "pump"]),
        ("#", &["{#}", "pump", "{/deep/a}"]),
        ("+/+/#", &["{1}", "{2}-{#}"]),
        ("tele/+/SENSOR", &["{1}", "{1}-{/deep/a}"]),
        ("zigbee2mqtt/#", &["{#}", "{1}"]),
    ];
    const KEYS: &[&[&str]] = &[
        &["rest = 'flatten'"],
        &["texts = true"],
        &["lowercase = true"],
        &["metric = '{#}'", "metric = '{2}'", "metric = 'm'"],
        &["root = '/ENERGY'", "root = '/deep/a'"],
        &["skip = ['Time', 'a']"],
        &["none = [3, 0, -1e9]"],
        &["units = { total = 'kW.h', temperature = 'Cel' }"],
        &["begins = 'tasmota'"],
        &["except = ['+/+/b', 'plant/#']"],
        &["like = 'tasmota/tele'", "like = 'zigbee2mqtt/device'"],
        &[
            "time = { path = '/at', format = ['unix_s', 'unix_ms', 'rfc3339'] }",
            "time = { path = '/Time', format = 'rfc3339', otherwise = 'receipt' }",
        ],
        &[
            "fields = [{ path = '/temp', metric = 'temperature', scale = 0.1 }]",
            "fields = [{ path = '/values/level', metric = 'l', unit = '{/unit}' }]",
        ],
        &["when = { path = '/method', is = 'NotifyStatus' }"],
    ];
    let tables = (0..1 + random.below(2)).map(|_| {
        let (topic, devices) = TOPICS[random.below(TOPICS.len())];
        let device = devices[random.below(devices.len())];
        let mut keys = vec![format!("topic = '{topic}'"), format!("device = '{device}'")];
        for (at, key) in KEYS.iter().enumerate() {
            // Most tables flatten, as without that few bring readings.
            if random.below(if at == 0 { 2 } else { 5 }) == 0 {
                keys.push(key[random.below(key.len())].to_owned());
            }
        }
        format!("{{ {} }}", keys.join(", "))
    });
    let tables: Vec<String> = tables.collect();
    format!("mappings = [{}]", tables.join(", "))
}

#[test]
fn spoiled_messages_do_drawn_mappings_no_harm() {
    const TABLES: u32 = 400;
    const EACH: u32 = 500;
    let mut random = Rng::new(13);
    let (mut name, mut payload) = (Vec::new(), Vec::new());
    let (mut accepted, mut taken, mut refused) = (0, 0, 0);
    for _ in 0..TABLES {
        let text = drawn(&mut random);
        let Ok(section) = toml::from_str::<Section>(&text) else { continue };
        let rules = Rules::new(&section.mappings);
        accepted += 1;
        for _ in 0..EACH {
            spoil(&mut random, TOPICS, &mut name);
            let Ok(topic) = Topic::new(name.clone()) else { continue };
            spoil(&mut random, PAYLOADS, &mut payload);
            match exercise(&rules, &topic, &payload, None) {
                Became::Refused => refused += 1,
                Became::Readings(_) => taken += 1,
                Became::Nothing => {}
            }
        }
    }
    println!("struck: {accepted} tables, {taken} messages taken, {refused} refused");
    let struck = accepted > TABLES / 4 && taken > 1_000 && refused > 1_000;
    assert!(struck, "{accepted} tables, {taken} taken, {refused} refused");
}

#[test]
fn spoiled_messages_do_shipped_mappings_no_harm() {
    mutate(11, &Rules::shipped());
}

#[test]
fn spoiled_messages_do_own_mappings_no_harm() {
    mutate(12, &own());
}

/// Each of many members under a name of 100 KB would cost 100 KB if its path were written out.
#[test]
fn long_names_and_deep_levels_hold_no_more_than_is_allowed() {
    let topic = Topic::new("plant/north/3/state").unwrap();
    let long = "x".repeat(100_000);
    let leaves = "\"a\":{\"b\":[1,2,3]},\"c\":1,".repeat(10_000);
    for payload in [
        format!("{{\"{long}\":{{{leaves}\"z\":1}}}}"),
        format!("{{{leaves}\"z\":1}}"),
        "{\"a\":".repeat(100_000),
        format!("{{\"name\":\"{long}\",\"v\":1}}"),
        format!("{{\"name\":\"n\",\"v\":[{}1]}}", "1,".repeat(100_000)),
        format!("{{\"at\":{}}}", "9".repeat(100_000)),
    ] {
        let became = exercise(&own(), &topic, payload.as_bytes(), None);
        let few = !matches!(became, Became::Readings(count) if count > 1_000);
        assert!(few, "{became:?} for {} bytes", payload.len());
    }
}
