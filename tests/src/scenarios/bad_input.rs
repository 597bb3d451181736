//! Bad input: everything a device, a scanner or a broken network can send.
//!
//! Each request must be answered with a problem that says what, where and what was expected; a good
//! client posts all the while and must never notice; in the end the gateway is the same process,
//! has not grown, and holds the good client's readings and nothing else.

use super::Scale;
use super::hands::{admin_of_edge, block_on, equal_exports, get, reading};
use crate::client::{Answer, Client, RawRequest, Reply};
use crate::contract;
use crate::faults::Tally;
use crate::process::{Fleet, FleetPlan, LIMIT, Memory};
use crate::rng::Rng;
use crate::wait::until_async;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::Method;
use serde_json::{Value, json};
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

/// What the gateway may grow by over the rounds after the first, which warms it up. What an
/// allocator keeps of oversized bodies is in it.
const GROWTH_MAX_KIB: u64 = 24 << 10;
const SILENT: usize = 600;
const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";
const LINES: &str = "text/plain";
const SENML: &str = "application/senml+json";
const SENML_CBOR: &str = "application/senml+cbor";

/// A request, and what must come back.
struct Case {
    name: &'static str,
    path: &'static str,
    content_type: &'static str,
    coding: Option<&'static str>,
    body: Vec<u8>,
    status: u16,
    /// What must be in the text of the problem: where it is, or what was expected.
    says: &'static str,
}

fn case(name: &'static str, body: impl Into<Vec<u8>>, status: u16, says: &'static str) -> Case {
    let (path, content_type) = ("/v1/readings", JSON);
    Case { name, path, content_type, coding: None, body: body.into(), status, says }
}

fn senml(body: impl Into<Vec<u8>>, status: u16, says: &'static str) -> Case {
    Case { content_type: SENML, ..case("SenML", body, status, says) }
}

fn cbor(body: impl Into<Vec<u8>>, status: u16, says: &'static str) -> Case {
    Case { content_type: SENML_CBOR, ..case("SenML in CBOR", body, status, says) }
}

fn coded(coding: &'static str, body: impl Into<Vec<u8>>, status: u16, says: &'static str) -> Case {
    Case { coding: Some(coding), ..case("compressed body", body, status, says) }
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).expect("a vector takes all");
    encoder.finish().expect("a vector takes all")
}

fn text(name: &'static str, body: &str, status: u16, says: &'static str) -> Case {
    Case { path: "/v1/write", content_type: LINES, ..case(name, body, status, says) }
}

fn as_type(name: &'static str, content_type: &'static str) -> Case {
    let body = reading("bad", 1, 1.0).to_string();
    Case { content_type, ..case(name, body, 415, "application/json") }
}

fn item(name: &'static str, change: &str, status: u16, says: &'static str) -> Case {
    let body = format!(r#"{{"device":"bad","metric":"level",{change}}}"#);
    case(name, body, status, says)
}

fn nested(open: &str) -> Vec<u8> {
    let mut body = br#"{"device":"bad","metric":"level","value":"#.to_vec();
    body.extend(open.as_bytes().iter().cycle().take(1 << 20));
    body
}

fn cases() -> Vec<Case> {
    let mut latin = br#"{"device":"bad","metric":"niveau d'eau "#.to_vec();
    latin.extend(b"\xe9lev\xe9\",\"value\":1}");
    let wide: Vec<u8> =
        reading("bad", 1, 1.0).to_string().encode_utf16().flat_map(u16::to_le_bytes).collect();
    let many = vec![reading("bad", 1, 1.0); 10_001];
    vec![
        item("wrong type", r#""value":{"a":1}"#, 422, "value"),
        item("wrong type", r#""value":null"#, 422, "value"),
        item("wrong type", r#""value":1,"boot":"one","seq":1"#, 422, "boot"),
        item("NaN", r#""value":NaN"#, 400, "column 42"),
        item("wrong type", r#""value":1,"unit":3"#, 422, "unit"),
        item("1e400", r#""value":1e400"#, 422, "value"),
        item("1e400", r#""value":-1e400"#, 422, "value"),
        item("negative", r#""value":1,"boot":1,"seq":-7"#, 422, "seq"),
        item("negative", r#""value":1,"age_ms":-5"#, 422, "age_ms"),
        item("absurd time", r#""value":1,"time":"yesterday""#, 422, "time"),
        item("absurd time", r#""value":1,"time":"2026-02-30T00:00:00Z""#, 422, "time"),
        item("absurd time", r#""value":1,"time":1e300"#, 422, "time"),
        item("absurd time", r#""value":1,"time":"99999-01-01T00:00:00Z""#, 422, "time"),
        item("unknown member", r#""value":1,"valeu":2"#, 422, "valeu"),
        item("missing member", r#""unit":"m""#, 422, "value"),
        item("bad name", r#""value":1,"device":"x""#, 422, "device"),
        case("bad name", r#"{"device":"a b","metric":"m","value":1}"#, 422, "device"),
        case("nesting", nested("["), 400, ""),
        case("nesting", nested("{\"a\":"), 400, ""),
        case("wrong encoding", latin, 400, ""),
        case("wrong encoding", wide, 400, ""),
        case("not JSON", "", 400, ""),
        case("not JSON", "level=1", 400, ""),
        case("not JSON", "[{},", 400, ""),
        case("too many items", json!(many).to_string(), 413, "10000"),
        Case { content_type: NDJSON, ..case("not JSON", "{]\n\n}[\n", 422, "") },
        text("line protocol", "weather temp=", 400, "line 1"),
        text("line protocol", "weather,host=a temp=NaN", 400, "line 1"),
        text("line protocol", "weather,host=a temp=1 99999999999999999999", 400, "line 1"),
        text("line protocol", "\u{0}\u{1}\u{2}", 400, "line 1"),
        as_type("unknown content type", "application/xml"),
        as_type("unknown content type", "application/json; charset=latin1"),
        as_type("unknown content type", ""),
        Case { path: "/v1/nothing", ..case("unknown path", "{}", 404, "/v1/nothing") },
    ]
}

fn all_cases() -> Vec<Case> {
    cases().into_iter().chain(packs()).chain(compressed()).collect()
}

/// Packs of SenML that are wrong, that lie about lengths, or never end.
fn packs() -> Vec<Case> {
    let record = r#"{"n":"bad/x","v":1}"#;
    let many = format!("[{}]", vec![record; 10_001].join(","));
    let repeated = |first: &[u8], byte: u8| {
        let mut body = first.to_vec();
        body.resize(1 << 20, byte);
        body
    };
    vec![
        senml(record, 400, "an array of SenML records"),
        senml(r#"[{"bn":7,"n":"bad/x","v":1}]"#, 400, "/0/bn"),
        senml(r#"[{"bver":11,"n":"bad/x","v":1}]"#, 400, "/0/bver"),
        senml(r#"[{"n":"bad/x","v":1e999}]"#, 422, "/0/v"),
        senml(r#"[{"n":"_bad/x","v":1}]"#, 422, "/0/n"),
        senml(r#"[{"n":"bad/x","vd":"aGk"}]"#, 422, "binary"),
        senml(r#"[{"n":"bad/x","v":1,"t":-1e300}]"#, 422, "/0/t"),
        senml(r#"[{"n":"bad/x","v":1,"must_":1}]"#, 422, "must_"),
        senml(r#"[{"n":"level","v":1}]"#, 422, "no device is named"),
        senml(r#"[{"n":"bad/x","v":1},"#, 400, "line 1"),
        senml(repeated(br#"[{"x":"#, b'['), 400, "32 levels"),
        senml(many, 413, "10000"),
        cbor("", 400, "byte 0"),
        cbor(&b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff"[..], 400, "too early"),
        cbor(&b"\x81\xbb\xff\xff\xff\xff\xff\xff\xff\xff"[..], 400, "too early"),
        cbor(&b"\x81\xa1\x00\x7b\x7f\xff\xff\xff\xff\xff\xff\xff"[..], 400, "byte 12"),
        cbor(&b"\x81\xa1\x61x\x5b\x00\x00\x00\x00\xff\xff\xff\xff"[..], 400, "byte 13"),
        cbor(&b"\x81\xa2\x00\x65bad/x\x02\xf9\x7e\x00"[..], 422, "/0/v"),
        cbor(&b"\x81\xa1\x21\x07"[..], 400, "/0/bn"),
        cbor(repeated(b"\x81\xa1\x61x", 0x81), 400, "32 levels"),
        cbor(repeated(b"\x81\xa1\x61x", 0xc1), 400, "too early"),
        cbor(repeated(b"\x9f", 0xa0), 413, "10000"),
    ]
}

/// Bodies that inflate to too much or not at all, in codings known and unknown.
fn compressed() -> Vec<Case> {
    let item = reading("bad", 1, 1.0).to_string();
    let whole = gzip(item.as_bytes());
    let mut checksum = whole.clone();
    checksum[whole.len() - 8] ^= 1;
    let bomb = gzip(&vec![b' '; 32 << 20]);
    vec![
        coded("gzip", bomb, 413, "when inflated"),
        coded("gzip", &whole[..whole.len() / 2], 400, "body: byte"),
        coded("gzip", checksum, 400, "checksum"),
        coded("gzip", item.as_bytes(), 400, "not gzip at byte"),
        coded("gzip", "", 400, "byte 0"),
        coded("gzip", gzip(b"{]"), 400, "line 1, column 2"),
        coded("gzip, gzip", gzip(&whole), 415, "gzip, identity"),
        coded("br", item.as_bytes(), 415, "gzip, identity"),
    ]
}

/// Noise as each format that is not text: never stored, never an error of the gateway's own.
async fn noise_as_content(tally: &Tally, client: &mut Client, rng: &mut Rng) {
    for round in 0..40 {
        let len = 1 + rng.index(2_000);
        let mut body: Vec<u8> = (0..len).map(|_| rng.next_u64() as u8).collect();
        let mut headers = vec![("content-type", SENML_CBOR)];
        match round % 4 {
            0 => {}
            // Where a pack and its first record begin, so that the noise is deeper in it.
            1 => drop(body.splice(0..1, *b"\x9f\xbf")),
            2 => body = gzip(&body),
            _ => drop(body.splice(0..1, *b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff")),
        }
        if round % 4 > 1 {
            headers.push(("content-encoding", "gzip"));
        }
        let answer = client.send(Method::POST, "/v1/readings", &headers, body.into()).await;
        let answer = answer.expect("an answer");
        let stored = answer.json()["accepted"].as_u64().unwrap_or(0);
        assert!(answer.status.as_u16() < 500 && stored == 0, "{}", answer.text());
        tally.strike("random content");
    }
}

/// Wrong lines as clients of InfluxDB hear of them.
async fn influx(tally: &Tally, client: &mut Client) {
    for (path, told, code) in
        [("/write", "error", "malformed"), ("/api/v2/write", "message", "invalid")]
    {
        let answer = client.post(path, LINES, "level,host=a value=\n\n").await.expect("an answer");
        let body = answer.json();
        let said = body[told].as_str().unwrap_or_default();
        assert!(said.starts_with("partial write: line 1: ") && answer.status == 400, "{body}");
        assert_eq!((&body["code"], &body["line"]), (&json!(code), &json!(1)), "{body}");
        let many = client.post(path, LINES, "m value=1\n".repeat(10_001)).await;
        let many = many.expect("an answer");
        assert!(many.status == 413 && many.json()[told].is_string(), "{}", many.text());
        tally.strike("line protocol of InfluxDB");
    }
}

/// Checks that an answer is a problem of `status` that says what is wrong, and gives it.
fn problem(name: &str, answer: &Answer, status: u16) -> Value {
    let told = answer.text();
    assert_eq!(answer.status.as_u16(), status, "{name}: {told}");
    let kind = answer.headers.get("content-type").and_then(|value| value.to_str().ok());
    assert_eq!(kind, Some("application/problem+json"), "{name}: {told}");
    let body = answer.json();
    assert_eq!(body["status"], status, "{name}: {told}");
    for member in ["code", "detail", "title", "type"] {
        assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{name}: {told}");
    }
    body
}

async fn malformed(tally: &Tally, client: &mut Client, admin: &mut Client, rng: &mut Rng) {
    let mut cases = all_cases();
    rng.shuffle(&mut cases);
    for case in cases {
        let mut headers = vec![("content-type", case.content_type)];
        headers.extend(case.coding.map(|coding| ("content-encoding", coding)));
        let body = case.body.into();
        let answer = client.send(Method::POST, case.path, &headers, body).await;
        let answer = answer.unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let body = problem(case.name, &answer, case.status);
        let told = body.to_string();
        assert!(told.contains(case.says), "{} does not say `{}`: {told}", case.name, case.says);
        // What is wrong within a body is somewhere in it.
        let within = [400, 422].contains(&case.status);
        assert!(!within || told.contains("\"at\""), "{}: {told}", case.name);
        tally.strike(case.name);
    }
    let method = client.send(Method::PATCH, "/v1/readings", &[], Bytes::new()).await;
    problem("wrong method", &method.expect("an answer"), 405);
    for query in ["device=d&metric=m&limit=-1", "device=d&metric=m&from=noon", "metric=m", "x=%ff"]
    {
        let answer = admin.get(&format!("/v1/readings?{query}")).await.expect("an answer");
        problem(query, &answer, 400);
        tally.strike("bad query");
    }
}

/// Tokens that are none, of another, or over.
async fn strangers(tally: &Tally, fleet: &Fleet, admin: &mut Client) {
    let address = fleet.edges[0].http();
    let body = reading("bad", 1, 1.0);
    let post = async |token: Option<&str>| {
        let client = Client::new(address).held_to(&contract::EDGE).with_limit(LIMIT);
        let mut client = match token {
            Some(token) => client.with_token(token),
            None => client,
        };
        client.post_json("/v1/readings", &body).await.expect("an answer")
    };
    let code = |answer: &Answer, status, name: &str| {
        let body = problem(name, answer, status);
        tally.strike(name);
        body["code"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(code(&post(None).await, 401, "missing token"), "no-token");
    let unknown = post(Some("hf_ing_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")).await;
    assert_eq!(code(&unknown, 401, "unknown token"), "unknown-token");
    let mut make = async |request: Value| {
        let made = admin.post_json("/v1/tokens", &request).await.expect("an answer");
        assert!(made.status.is_success(), "{}", made.text());
        made.json()["token"].as_str().expect("a token").to_owned()
    };
    let other = make(json!({"scope": "device", "device": "good", "name": ""})).await;
    let foreign = post(Some(&other)).await;
    assert_eq!(code(&foreign, 403, "foreign device"), "foreign-device");
    assert!(foreign.text().contains("good"), "{}", foreign.text());
    let viewer = make(json!({"scope": "viewer", "name": ""})).await;
    assert_eq!(code(&post(Some(&viewer)).await, 403, "token of another kind"), "out-of-scope");
    let mut device = Client::new(address).held_to(&contract::EDGE).with_token(other);
    let nosy = device.get("/v1/tokens").await.expect("an answer");
    assert_eq!(code(&nosy, 403, "token of another kind"), "out-of-scope");
    let now = jiff::Timestamp::now();
    let soon = now.checked_add(jiff::SignedDuration::from_millis(1500)).expect("a time");
    let expiring = json!({"scope": "viewer", "name": "", "expires": soon.to_string()});
    let mut over = Client::new(address).held_to(&contract::EDGE).with_token(make(expiring).await);
    let over = until_async("a token to expire", LIMIT, async || {
        let answer = over.get("/v1/status").await.expect("an answer");
        (answer.status != 200).then_some(answer)
    });
    assert_eq!(code(&over.await, 401, "expired token"), "token-expired");
}

/// Requests that do not follow HTTP, or stop in the middle. hyper answers some of them itself, with
/// a bare 400 or 431, or by closing the connection.
async fn broken(tally: &Tally, address: SocketAddr, token: &str, rng: &mut Rng) {
    // The answer comes before the body, which a client that only writes would never see.
    let raw = RawRequest::post_head(address, "/v1/readings", Some(token), JSON, (8 << 20) + 1);
    let told = raw.await.expect("a connection").answer(LIMIT).await;
    let told = String::from_utf8_lossy(&told);
    assert!(told.starts_with("HTTP/1.1 413") && told.contains(r#""max":8388608"#), "{told}");
    tally.strike("oversized body");
    let truncated = async {
        let raw = RawRequest::post_head(address, "/v1/readings", Some(token), JSON, 500).await;
        let mut raw = raw.expect("a connection");
        raw.send(br#"{"device":"bad","metric":"level","val"#).await.expect("sent");
        raw.truncate().await.expect("closed");
        raw.reply(LIMIT).await
    };
    let reply = truncated.await;
    assert!(reply.is_refusal(), "{reply:?}");
    tally.strike("truncated body");
    for _ in 0..20 {
        let mut raw = RawRequest::open(address).await.expect("a connection");
        let len = 1 + rng.index(40_000);
        let noise: Vec<u8> = (0..len).map(|_| rng.next_u64() as u8).collect();
        // The node may have had enough before the end.
        let _ = raw.send(&noise).await;
        let _ = raw.truncate().await;
        let reply = raw.reply(LIMIT).await;
        assert!(reply.is_refusal(), "{reply:?}");
        tally.strike("random bytes");
    }
    let heads = [
        format!("GET /v1/status HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(100_000)),
        format!("GET /v1/status HTTP/1.1\r\nhost: x\r\n{}\r\n", "x: y\r\n".repeat(500)),
        "GET /v1/status SPDY/9\r\n\r\n".to_owned(),
        "POST /v1/readings HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n".to_owned(),
        "POST /v1/readings HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\
         transfer-encoding: chunked\r\n\r\nzz\r\n"
            .to_owned(),
    ];
    for head in heads {
        let mut raw = RawRequest::open(address).await.expect("a connection");
        let _ = raw.send(head.as_bytes()).await;
        let reply = raw.reply(LIMIT).await;
        assert!(reply.is_refusal(), "{reply:?} to {head}");
        tally.strike("broken head");
    }
}

/// Clients that take their time. Each must be shown out: by 408 or by the end of the connection.
fn slow(tally: &Arc<Tally>, address: SocketAddr, token: &str, scale: Scale) -> JoinSet<()> {
    let mut waiting = JoinSet::new();
    let out = |mut raw: RawRequest, tally: Arc<Tally>, name: &'static str| async move {
        let reply = raw.reply(2 * LIMIT).await;
        assert!(matches!(reply, Reply::Status(408) | Reply::Closed), "{name}: {reply:?}");
        assert!(raw.answer(LIMIT).await.len() < 10_000, "{name}");
        tally.strike(name);
    };
    let (told, token) = (Arc::clone(tally), token.to_owned());
    waiting.spawn(async move {
        let raw = RawRequest::post_head(address, "/v1/readings", Some(&token), JSON, 100).await;
        out(raw.expect("a connection"), told, "body that stalls").await;
    });
    let told = Arc::clone(tally);
    waiting.spawn(async move {
        let mut raw = RawRequest::open(address).await.expect("a connection");
        raw.trickle(b"GET /v1/status HTTP/1.1\r\nhost: x\r\nx: yyyy", Duration::from_millis(500))
            .await;
        out(raw, told, "slow headers").await;
    });
    for _ in 0..scale.of(SILENT as u64 * 2, SILENT as u64) {
        let told = Arc::clone(tally);
        waiting.spawn(async move {
            let raw = RawRequest::open(address).await.expect("a connection");
            out(raw, told, "connection that asks nothing").await;
        });
    }
    waiting
}

/// Posts all the time, over a kept connection and over new ones, and counts what was accepted.
async fn good_client(
    address: SocketAddr,
    token: String,
    stop: Arc<AtomicBool>,
    posted: Arc<AtomicU64>,
) {
    let new = || {
        Client::new(address).held_to(&contract::EDGE).with_token(token.clone()).with_limit(LIMIT)
    };
    let mut kept = new();
    while !stop.load(Ordering::Relaxed) {
        let seq = posted.load(Ordering::Relaxed) + 1;
        let body = reading("good", seq, seq as f64);
        let answer = if seq.is_multiple_of(5) {
            new().post_json("/v1/readings", &body).await
        } else {
            kept.post_json("/v1/readings", &body).await
        };
        let answer = answer.unwrap_or_else(|error| panic!("the good client was harmed: {error}"));
        assert_eq!(answer.status, 200, "the good client was harmed: {}", answer.text());
        assert_eq!(answer.json()["accepted"], 1, "{}", answer.text());
        posted.store(seq, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Datagrams of noise at the hub's port for gateways.
fn noise(hub: SocketAddr, rng: &mut Rng, count: u64) {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for _ in 0..count {
        let bytes: Vec<u8> = (0..1 + rng.index(1400)).map(|_| rng.next_u64() as u8).collect();
        // A full buffer drops some, as it would from anybody.
        let _ = socket.send_to(&bytes, hub);
    }
}

fn rss_kib(pid: u32) -> u64 {
    Memory::of(pid).expect("the node runs").resident >> 10
}

/// Runs the campaign: all kinds of bad input, in `20` rounds at full size.
///
/// # Panics
/// When a promise is broken, or a fault never struck.
pub fn bad_input(scale: Scale) {
    block_on(campaign(scale));
}

async fn campaign(scale: Scale) {
    let names: Vec<_> = all_cases().iter().map(|case| case.name).collect();
    let others = [
        "bad query",
        "missing token",
        "unknown token",
        "foreign device",
        "token of another kind",
        "expired token",
        "oversized body",
        "truncated body",
        "random bytes",
        "random content",
        "line protocol of InfluxDB",
        "broken head",
        "body that stalls",
        "slow headers",
        "connection that asks nothing",
        "noise at the hub",
    ];
    let tally = Arc::new(Tally::of(&[names.as_slice(), &others].concat()));
    let mut rng = Rng::keyed(scale.seed, &[0xbad]);
    let mut fleet = FleetPlan::new(1, scale.seed).build().expect("a fleet");
    let (address, sync) = (fleet.edges[0].http(), fleet.hub.sync());
    let pid = fleet.edges[0].process().pid();
    let token = fleet.edges[0].ingest_token().expect("a token");
    let mut admin = admin_of_edge(&fleet.edges[0]);
    let started = get(&mut admin, "/v1/status").await["node"]["started"].clone();
    let (stop, posted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let good = good_client(address, token.clone(), Arc::clone(&stop), Arc::clone(&posted));
    let good = tokio::spawn(good);
    let mut waiting = slow(&tally, address, &token, scale);
    let mut bad =
        Client::new(address).held_to(&contract::EDGE).with_token(token.clone()).with_limit(LIMIT);
    let mut before = 0;
    for round in 0..scale.of(20, 3) {
        malformed(&tally, &mut bad, &mut admin, &mut rng).await;
        noise_as_content(&tally, &mut bad, &mut rng).await;
        influx(&tally, &mut bad).await;
        broken(&tally, address, &token, &mut rng).await;
        if round == 0 {
            strangers(&tally, &fleet, &mut admin).await;
            before = rss_kib(pid);
        }
        noise(sync, &mut rng, 200);
        tally.add("noise at the hub", 200);
    }
    while let Some(shown_out) = waiting.join_next().await {
        shown_out.expect("a slow client was shown out");
    }
    stop.store(true, Ordering::Relaxed);
    good.await.expect("the good client was never harmed");
    let after = rss_kib(pid);
    println!("struck: {} good posts meanwhile", posted.load(Ordering::Relaxed));
    println!("resident memory: {before} KiB after the first round, {after} KiB after the last");
    assert!(after < before + GROWTH_MAX_KIB, "the gateway grew from {before} to {after} KiB");
    assert_eq!(fleet.edges[0].process().pid(), pid);
    assert!(fleet.edges[0].process().is_running().expect("its state"), "the gateway ended");
    assert_eq!(get(&mut admin, "/v1/status").await["node"]["started"], started, "it restarted");
    let lines = equal_exports(&fleet.edges[0], &fleet.hub).await;
    assert_eq!(lines.len() as u64, posted.load(Ordering::Relaxed), "each good reading once");
    assert!(lines.iter().all(|line| line.contains(r#""device":"good""#)), "nothing bad is stored");
    fleet.edges[0].stop().expect("the gateway stops in good order");
    tally.finish().expect("every fault struck");
}
