//! The nodes seen from outside: metrics that equal what was done, and a description that is true.

use holdfast_tests::client::{Answer, Client};
use holdfast_tests::contract::{self, Contract};
use holdfast_tests::net::Link;
use holdfast_tests::process::{Fleet, FleetPlan, LIMIT, Service, Settings};
use holdfast_tests::scenarios::audit::{edge_client, hub_client};
use holdfast_tests::wait::until_async;
use hyper::Method;
use prometheus_parse::{Scrape, Value as Sampled};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Metrics as a reader of the format sees them.
struct Metrics(Scrape);

impl Metrics {
    fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let lines = answer.text().lines().map(|line| Ok(line.to_owned())).collect::<Vec<_>>();
        let metrics = Self(Scrape::parse(lines.into_iter()).expect("the text format"));
        metrics.keeps_to_conventions(&answer.text());
        metrics
    }

    /// The value of a counter or gauge.
    fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let fits = |sample: &&prometheus_parse::Sample| {
            sample.metric == name
                && labels.iter().all(|(label, value)| sample.labels.get(label) == Some(value))
        };
        self.0.samples.iter().find(fits).map(|sample| match &sample.value {
            Sampled::Counter(value) | Sampled::Gauge(value) | Sampled::Untyped(value) => *value,
            Sampled::Histogram(buckets) => buckets.last().expect("+Inf").count,
            Sampled::Summary(_) => panic!("{name} is a summary, of which there are none"),
        })
    }

    fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let value =
            self.get(name, labels).unwrap_or_else(|| panic!("{name} {labels:?} is missing"));
        value as u64
    }

    /// Base units, `_total` on counters alone, one line for each set of labels, rising histograms.
    fn keeps_to_conventions(&self, text: &str) {
        let mut seen = BTreeSet::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (series, _) = line.rsplit_once(' ').expect("a series and its value");
            assert!(seen.insert(series), "{series} comes twice");
        }
        for sample in &self.0.samples {
            let name = &sample.metric;
            assert!(name.starts_with("holdfast_") || name.starts_with("process_"), "{name}");
            let is_counter = matches!(sample.value, Sampled::Counter(_));
            assert_eq!(name.ends_with("_total"), is_counter, "{name}");
            assert!(!name.ends_with("_ms") && !name.ends_with("_kib"), "{name}");
            if let Sampled::Histogram(buckets) = &sample.value {
                assert!(buckets.windows(2).all(|two| two[0].count <= two[1].count), "{name}");
            }
        }
        assert!(text.len() < 100_000, "{} bytes", text.len());
    }
}

async fn scrape(client: &mut Client) -> Metrics {
    Metrics::of(&client.get("/metrics").await.expect("an answer"))
}

/// `count` readings of a device, from `seq` on.
fn readings(seq: u64, count: u64) -> Value {
    let each = (seq..seq + count).map(|seq| {
        json!({"device": "d1", "metric": "level", "unit": "m", "value": 1.5, "boot": 1, "seq": seq})
    });
    each.collect()
}

async fn post(client: &mut Client, body: &Value) -> Answer {
    client.post_json("/v1/readings", body).await.expect("an answer")
}

const READINGS: &[(&str, &str)] = &[("stream", "reading")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_equal_what_was_done_over_sync_and_restarts() {
    let mut fleet = FleetPlan::new(1, 0x5ee).build().expect("a fleet");
    let mut edge = edge_client(&fleet.edges[0]);
    let mut hub = hub_client(&fleet.hub);
    let before = scrape(&mut edge).await;
    assert_eq!(before.count("holdfast_ingest_accepted_items_total", &[]), 0);

    assert_eq!(post(&mut edge, &readings(1, 25)).await.json()["accepted"], 25);
    assert_eq!(post(&mut edge, &readings(24, 4)).await.json()["duplicates"], 2);
    let bad = json!([{"device": "d1"}, {"device": "d1", "metric": "level", "value": null}]);
    assert_eq!(post(&mut edge, &bad).await.status, 422);
    let keyed = [("content-type", "application/json"), ("idempotency-key", "k1")];
    for _ in 0..3 {
        let body = readings(28, 1).to_string().into();
        let answer =
            edge.send(Method::POST, "/v1/readings", &keyed, body).await.expect("an answer");
        assert_eq!(answer.json()["accepted"], 1);
    }
    assert_eq!(edge.get("/v1/nothing").await.expect("an answer").status, 404);

    let here = scrape(&mut edge).await;
    assert_eq!(here.count("holdfast_ingest_accepted_items_total", &[]), 28);
    assert_eq!(here.count("holdfast_ingest_duplicate_items_total", &[]), 2);
    assert_eq!(here.count("holdfast_ingest_replayed_requests_total", &[]), 2);
    let rejected = "holdfast_ingest_rejected_items_total";
    assert_eq!(here.count(rejected, &[("code", "missing-member")]), 1);
    assert_eq!(here.count(rejected, &[("code", "invalid-value")]), 1);
    assert_eq!(here.count("holdfast_log_appended_entries_total", READINGS), 28);
    let asked = |class| [("method", "POST"), ("route", "/v1/readings"), ("status", class)];
    assert_eq!(here.count("holdfast_http_requests_total", &asked("2xx")), 5);
    assert_eq!(here.count("holdfast_http_requests_total", &asked("4xx")), 1);
    assert_eq!(here.count("holdfast_http_requests_total", &[("route", "none")]), 1);
    let posts = &asked("2xx")[..2];
    assert_eq!(here.count("holdfast_http_request_duration_seconds", posts), 6);
    assert_eq!(here.count("holdfast_http_problems_total", &[("code", "not-found")]), 1);
    assert!(here.count("holdfast_store_commit_duration_seconds", &[]) >= 3);
    assert!(here.count("holdfast_store_bytes", &[("kind", "used")]) > 0);
    assert!(here.count("process_resident_memory_bytes", &[]) > 1_000_000);

    let there = until_async("all readings at the hub", LIMIT, async || {
        let there = scrape(&mut hub).await;
        let came = there.count("holdfast_sync_received_entries_total", READINGS);
        assert!(came <= 28, "{came} of 28 entries were new");
        (came == 28).then_some(there)
    })
    .await;
    let gateway = [("gateway", "north/ps-000")];
    assert_eq!(there.count("holdfast_gateway_connected", &gateway), 1);
    assert_eq!(there.count("holdfast_gateways", &[("state", "online")]), 1);
    assert_eq!(there.count("holdfast_sync_connected_total", &[("peer", "edge")]), 1);
    assert_eq!(there.count("holdfast_log_appended_entries_total", READINGS), 0);
    let here = scrape(&mut edge).await;
    assert_eq!(here.count("holdfast_sync_sent_entries_total", READINGS), 28);
    assert!(here.count("holdfast_sync_sent_bytes_total", &[]) > 0);
    assert_eq!(here.count("holdfast_sync_connected", &[]), 1);
    assert_eq!(here.count("holdfast_sync_connected_total", &[("peer", "hub")]), 1);

    restarts_and_outages(&mut fleet, &mut edge, &mut hub).await;
}

/// A restart begins at zero, a session that ends is counted on both sides.
async fn restarts_and_outages(fleet: &mut Fleet, edge: &mut Client, hub: &mut Client) {
    fleet.edges[0].stop().expect("it stops");
    fleet.edges[0].start().expect("it starts");
    edge.move_to(fleet.edges[0].http());
    assert_eq!(post(edge, &readings(27, 6)).await.json()["accepted"], 4);
    let here = scrape(edge).await;
    assert_eq!(here.count("holdfast_ingest_accepted_items_total", &[]), 4);
    assert_eq!(here.count("holdfast_ingest_duplicate_items_total", &[]), 2);
    assert_eq!(here.count("holdfast_log_appended_entries_total", READINGS), 4);
    until_async("the rest at the hub", LIMIT, async || {
        let there = scrape(hub).await;
        let peer = [("peer", "edge")];
        (there.count("holdfast_sync_received_entries_total", READINGS) == 32
            && there.count("holdfast_sync_connected_total", &peer) == 2
            && there.count("holdfast_sync_disconnected_total", &peer) == 1)
            .then_some(())
    })
    .await;
    fleet.hub.stop().expect("the hub stops");
    until_async("the outage in the counts", LIMIT, async || {
        let here = scrape(edge).await;
        (here.count("holdfast_sync_connected", &[]) == 0
            && here.count("holdfast_sync_disconnected_total", &[("peer", "hub")]) == 1
            && here.count("holdfast_sync_failures_total", &[]) >= 1)
            .then_some(())
    })
    .await;
    fleet.links.iter().for_each(|link| link.set_link(Link::Perfect));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_is_explained_and_every_explanation_is_of_a_metric() {
    let fleet = FleetPlan::new(1, 0x0c).build().expect("a fleet");
    let mut told = BTreeSet::new();
    for mut client in [edge_client(&fleet.edges[0]), hub_client(&fleet.hub)] {
        let text = client.get("/metrics").await.expect("an answer").text();
        let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        told.extend(names.filter_map(|line| Some(line.split_once(' ')?.0.to_owned())));
    }
    let page = include_str!("../../../docs/metrics.md");
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|row| row.split('|').nth(1)).flat_map(|cell| cell.split('`'));
    let names = cells.map(|name| name.split('{').next().unwrap_or(name).to_owned());
    let explained = names.filter(|name| name.contains('_')).collect();
    assert_eq!(told, explained);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn metrics_need_a_token_unless_they_are_opened() {
    let fleet = FleetPlan::new(0, 1).build().expect("a hub");
    let mut stranger = Client::new(fleet.hub.http()).held_to(&contract::HUB);
    assert_eq!(stranger.get("/metrics").await.expect("an answer").status, 401);
    let plan = FleetPlan::new(0, 1);
    let open = Settings::default().env("HOLDFAST_HTTP_METRICS", "open");
    let fleet = FleetPlan { hub: open, ..plan }.build().expect("a hub");
    let mut stranger = Client::new(fleet.hub.http()).held_to(&contract::HUB);
    let metrics = scrape(&mut stranger).await;
    assert_eq!(metrics.count("holdfast_build_info", &[("role", "hub")]), 1);
    assert_eq!(stranger.get("/v1/status").await.expect("an answer").status, 401);
}

/// What a node serves as its description is what was reviewed, and valid.
async fn served(service: &Service, reviewed: &str) {
    let answer = Client::new(service.http()).get("/openapi.json").await.expect("an answer");
    let document = answer.json();
    assert_eq!(format!("{document:#}\n"), reviewed, "see docs/openapi");
    let mut schemas = boon::Schemas::new();
    let mut compiler = boon::Compiler::new();
    let name = "http://holdfast.test/schema.json";
    let schema = include_str!("../../data/openapi-3.1.schema.json");
    let schema = serde_json::from_str(schema).expect("the schema is JSON");
    compiler.add_resource(name, schema).expect("the schema is one");
    let schema = compiler.compile(name, &mut schemas).expect("the schema is valid");
    let valid = schemas.validate(&document, schema).map_err(|error| format!("{error:#}"));
    valid.expect("the document is one of OpenAPI 3.1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_is_described_and_every_description_is_of_a_route() {
    let fleet = FleetPlan::new(1, 0x0a).build().expect("a fleet");
    served(&fleet.edges[0], include_str!("../../../docs/openapi/edge.json")).await;
    served(&fleet.hub, include_str!("../../../docs/openapi/hub.json")).await;
    let clients = [
        (edge_client(&fleet.edges[0]), &*contract::EDGE),
        (hub_client(&fleet.hub), &*contract::HUB),
    ];
    for (mut client, contract) in clients {
        methods_are_those_described(&mut client, contract).await;
    }
}

/// The node itself says which methods a path has, when it is asked for one that it has not.
async fn methods_are_those_described(client: &mut Client, contract: &Contract) {
    let mut described: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (method, path) in contract.routes() {
        described.entry(path).or_default().insert(method);
    }
    assert!(described.len() >= 10);
    for (path, methods) in described {
        let place = path.replace(['{', '}'], "x");
        let answer = client.send(Method::PUT, &place, &[], Vec::new().into()).await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 405, "PUT {path}: {}", answer.text());
        let allowed = answer.headers["allow"].to_str().expect("methods");
        let allowed = allowed.split(',').map(str::trim).filter(|method| *method != "HEAD");
        assert_eq!(allowed.collect::<BTreeSet<_>>(), methods, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_as_they_are_described() {
    let fleet = FleetPlan::new(1, 0x0b).build().expect("a fleet");
    let (mut edge, mut hub) = (edge_client(&fleet.edges[0]), hub_client(&fleet.hub));
    let ways = [
        json!({"device": "d1", "metric": "level", "unit": "m", "value": 1.5}),
        json!([{"device": "d1", "values": {"on": true, "flow": {"value": 2, "unit": "m3/h"}}}]),
        json!([{"device": "d1", "metric": "word", "value": "x", "quality": "bad", "age_ms": 5}]),
        json!([{"device": "d1", "metric": "level", "value": 2, "time": 1_700_000_000_000_i64}]),
        json!({"device": "d1", "metric": "level", "unit": "m", "value": 1, "boot": 1, "seq": 1}),
        json!([{"device": "d1", "metric": "level", "value": 2, "boot": 1, "seq": 0}]),
        json!([{"device": "d 1", "metric": "level", "value": 2}]),
        json!([{"device": "d1", "metric": "level", "value": null}]),
        json!([{"device": "d1", "metric": "level", "valu": 1}]),
        json!([{"device": "d1", "metric": "level", "value": 1, "quality": "fine"}]),
    ];
    for body in &ways {
        let answer = post(&mut edge, body).await;
        let taken = contract::EDGE.takes(&Method::POST, "/v1/readings", "application/json", body);
        assert_eq!(answer.status.is_success(), taken.is_ok(), "{body}: {taken:?}");
    }
    let series = "device=d1&metric=level&unit=m";
    let at_hub = format!("/v1/readings?{series}");
    until_async("a reading at the hub", LIMIT, async || {
        let answer = hub.get(&at_hub).await.expect("an answer");
        (answer.json()["readings"][0]["value"] == 1.5).then_some(())
    })
    .await;
    let both = [
        "/healthz",
        "/readyz",
        "/openapi.json",
        "/metrics",
        "/v1/status",
        "/v1/session",
        "/v1/series",
        "/v1/series?limit=0",
        "/v1/alerts?state=all",
        "/v1/tokens",
        &format!("/v1/readings?{series}"),
        &format!("/v1/readings?{series}&points=4"),
        &format!("/v1/rollups?{series}&width=5m"),
        "/v1/readings?device=none&metric=none",
        "/v1/rollups?metric=none",
    ];
    for path in both {
        edge.get(path).await.expect("an answer");
        hub.get(path).await.expect("an answer");
    }
    edge.get("/v1/devices").await.expect("an answer");
    for path in ["/v1/nodes", "/v1/nodes/north/ps-000", "/v1/nodes/north/none", "/v1/lag"] {
        hub.get(path).await.expect("an answer");
    }
    writes_and_tokens(&mut edge).await;
    let invite = json!({"site": "north", "name": "ps-001"});
    assert_eq!(hub.post_json("/v1/enrolments", &invite).await.expect("an answer").status, 201);
    let taken = json!({"site": "north", "name": "ps-000"});
    assert_eq!(hub.post_json("/v1/enrolments", &taken).await.expect("an answer").status, 409);
    hub.post_json("/v1/alerts/none/ack", &json!({})).await.expect("an answer");
    let gone = hub.send(Method::DELETE, "/v1/nodes/north/ps-000", &[], Vec::new().into()).await;
    assert_eq!(gone.expect("an answer").status, 204);
}

/// The three dialects of line protocol, and tokens with sessions, well and badly used.
async fn writes_and_tokens(edge: &mut Client) {
    let lines = "level,device=d2 value=1\nlevel,device=d2 value=x";
    for path in ["/v1/write", "/api/v2/write", "/write", "/write?precision=d"] {
        edge.post(path, "text/plain", lines).await.expect("an answer");
        edge.post(path, "text/plain", "level,device=d2 value=1").await.expect("an answer");
    }
    let token = json!({"scope": "viewer", "name": "page"});
    let made = edge.post_json("/v1/tokens", &token).await.expect("an answer").json();
    let sign_in = json!({"token": made["token"]});
    edge.post_json("/v1/session", &sign_in).await.expect("an answer");
    edge.post_json("/v1/session", &json!({"token": "none"})).await.expect("an answer");
    let path = format!("/v1/tokens/{}", made["id"].as_str().expect("an id"));
    for path in [path.as_str(), path.as_str(), "/v1/session"] {
        edge.send(Method::DELETE, path, &[], Vec::new().into()).await.expect("an answer");
    }
}
