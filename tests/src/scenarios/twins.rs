//! Twins by the thousand: what a gateway takes for them, and that none is lost by a kill.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::Method;
use serde_json::{Value, json};

use super::Scale;
use super::audit::edge_client;
use super::load::block_on;
use crate::client::{Answer, Client};
use crate::process::{Edge, Memory, Settings};

/// Devices of a large site.
const DEVICES: u64 = 10_000;
/// Writers at a time.
const WRITERS: u64 = 16;
/// Bytes that a gateway with so many twins may have in memory.
const RSS_MAX: u64 = 60 << 20;

/// Asks for a change of a section.
///
/// # Panics
/// When there is no answer.
pub async fn patch(
    client: &mut Client,
    path: &str,
    patch: &Value,
    more: &[(&str, &str)],
) -> Answer {
    let content = ("content-type", "application/merge-patch+json");
    let headers: Vec<_> = [content].into_iter().chain(more.iter().copied()).collect();
    let body = patch.to_string().into();
    client.send(Method::PATCH, path, &headers, body).await.expect("an answer")
}

fn device(number: u64) -> String {
    format!("ps-{number:05}")
}

/// What is desired of a device.
fn wanted(number: u64) -> Value {
    json!({
        "mode": if number.is_multiple_of(2) { "auto" } else { "manual" },
        "number": number,
        "net": {"ip": format!("10.0.{}.{}", number / 256, number % 256), "mtu": 1400},
        "limits": [1, 5.5, number],
    })
}

/// Gives devices a token each, so that the gateway knows them.
async fn register(client: &mut Client, count: u64) {
    let devices: Vec<_> = (0..count).map(|number| json!({ "device": device(number) })).collect();
    let answer = client.post_json("/v1/tokens/devices", &json!({ "devices": devices })).await;
    assert_eq!(answer.expect("an answer").status, 201);
}

/// Sets what is desired of each device, several writers at a time.
async fn set_all(edge: &Edge, count: u64) {
    let next = Arc::new(AtomicU64::new(0));
    let writers = (0..WRITERS).map(|_| {
        let (mut client, next) = (edge_client(edge), Arc::clone(&next));
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return;
                }
                let path = format!("/v1/devices/{}/twin/desired", device(number));
                let answer = patch(&mut client, &path, &wanted(number), &[]).await;
                assert_eq!(answer.status, 200, "{}", answer.text());
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("the writer writes all");
    }
}

/// Reads all twins, page by page.
async fn read_all(client: &mut Client) -> u64 {
    let (mut seen, mut after) = (0, String::new());
    loop {
        let path = format!("/v1/twins?prefix=ps-&limit=1000{after}");
        let page = client.get(&path).await.expect("an answer").json();
        let twins = page["twins"].as_array().expect("a list");
        for twin in twins {
            let named = twin["device"].as_str().expect("an id");
            assert_eq!(named, device(seen), "each once and in order");
            seen += 1;
        }
        if page["more"] != true {
            return seen;
        }
        after = format!("&after={}", device(seen - 1));
    }
}

/// Writes the twins of a large site, kills the gateway, and reads them.
///
/// # Panics
/// When a twin is lost or another than it was, or the gateway takes too much memory.
pub fn many(scale: Scale) {
    let count = scale.of(DEVICES, 500);
    block_on(async {
        let dir = tempfile::tempdir().expect("a directory");
        let mut edge = Edge::init("twins", dir.path(), Settings::default()).expect("a node");
        edge.start().expect("the node starts");
        let mut client = edge_client(&edge);
        register(&mut client, count).await;
        set_all(&edge, count).await;
        assert_eq!(read_all(&mut client).await, count);
        let Memory { resident, peak } = Memory::of(edge.process().pid()).expect("it runs");
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        println!("{count} twins: {:.1} MiB, at most {:.1} MiB", mib(resident), mib(peak));
        assert!(peak <= RSS_MAX, "{count} twins take {peak} bytes");

        edge.kill9().expect("it is reaped");
        println!("struck: killed after the last answer 1");
        edge.start().expect("it starts again");
        client.move_to(edge.http());
        assert_eq!(read_all(&mut client).await, count);
        for number in (0..count).step_by(7) {
            let path = format!("/v1/devices/{}/twin/desired", device(number));
            let answer = client.get(&path).await.expect("an answer");
            assert_eq!(answer.json(), wanted(number), "{path}");
        }
        let again = Memory::of(edge.process().pid()).expect("it runs");
        println!("{count} twins after a start: {:.1} MiB", again.mib());
        edge.stop().expect("it stops in good order");
        edge.command("verify", []).expect("nothing is damaged");
    });
}
