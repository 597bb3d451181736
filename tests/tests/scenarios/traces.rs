//! A trace from the post of a reading to the hub's disk, over an outage.

use holdfast_tests::client::Client;
use holdfast_tests::collector::{Collector, Span};
use holdfast_tests::net::Link;
use holdfast_tests::process::{Fleet, FleetPlan, LIMIT};
use holdfast_tests::scenarios::audit::edge_client;
use holdfast_tests::wait::until_async;
use hyper::Method;
use serde_json::json;
use std::net::SocketAddr;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

fn fleet(collector: SocketAddr) -> Fleet {
    let plan = FleetPlan::new(1, 0x7ace);
    let endpoint = format!("http://{collector}");
    let hub = plan.hub.clone().env("HOLDFAST_TRACE_ENDPOINT", &endpoint);
    let edge = plan.edge.clone().env("HOLDFAST_TRACE_ENDPOINT", &endpoint);
    FleetPlan { hub, edge, ..plan }.build().expect("a fleet")
}

async fn post(edge: &mut Client, seq: u64, flags: &str) {
    let body = json!({"device": "d1", "metric": "level", "value": 1, "boot": 1, "seq": seq});
    let context = format!("00-{TRACE}-{CALLER}-{flags}");
    let headers = [("content-type", "application/json"), ("traceparent", context.as_str())];
    let answer = edge.send(Method::POST, "/v1/readings", &headers, body.to_string().into()).await;
    assert_eq!(answer.expect("an answer").json()["accepted"], 1);
}

/// Waits for so many spans, and gives them as service, name.
async fn spans(collector: &Collector, count: usize) -> Vec<Span> {
    until_async("the spans at the collector", LIMIT, async || {
        let spans = collector.spans();
        assert!(spans.len() <= count, "more spans than expected: {spans:#?}");
        (spans.len() == count).then_some(spans)
    })
    .await
}

fn find<'a>(spans: &'a [Span], service: &str, name: &str) -> &'a Span {
    let found = spans.iter().find(|span| span.service == service && span.name == name);
    found.unwrap_or_else(|| panic!("no span {name} of {service}: {spans:#?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_goes_on_at_the_hub_after_an_outage() {
    let (address, collector) = Collector::start().await.expect("a collector");
    let fleet = fleet(address);
    let mut edge = edge_client(&fleet.edges[0]);
    fleet.links[0].cut();
    post(&mut edge, 1, "00").await;
    post(&mut edge, 2, "01").await;

    let before = spans(&collector, 3).await;
    let ingest = find(&before, "holdfast-edge", "ingest").clone();
    assert_eq!(ingest.parent, CALLER);
    let parts = ["commit", "pipeline"].map(|name| find(&before, "holdfast-edge", name));
    assert!(parts.iter().all(|span| span.parent == ingest.id), "{before:#?}");
    until_async("packets that the cut struck", LIMIT, async || {
        (fleet.links[0].counts().up.cut > 0).then_some(())
    })
    .await;
    println!("struck: packets dropped by a cut {}", fleet.links[0].counts().up.cut);

    fleet.links[0].set_link(Link::Perfect);
    let all = spans(&collector, 6).await;
    assert!(all.iter().all(|span| span.trace == TRACE && span.start <= span.end), "{all:#?}");
    let way = find(&all, "holdfast-edge", "sync");
    let hub = ["receive", "pipeline"].map(|name| find(&all, "holdfast-hub", name));
    assert!([way, hub[0], hub[1]].iter().all(|span| span.parent == ingest.id), "{all:#?}");
    assert!(way.end > ingest.end, "it was on its way for as long as the link was down");
    let mut ids: Vec<_> = all.iter().map(|span| &span.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 6, "{all:#?}");
    let told = edge.get("/metrics").await.expect("an answer").text();
    assert!(told.contains("\nholdfast_trace_dropped_spans_total 0\n"), "{told}");
}
