//! One gateway by itself, once through everything a user does. Short enough to run under an
//! emulator, too: the `arm` lane does that with the gateway built for ARM.

use holdfast_tests::client::Client;
use holdfast_tests::process::{Edge, LIMIT, Settings};
use holdfast_tests::wait::until_async;
use serde_json::json;
use std::os::unix::net::UnixDatagram;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const LEVEL: &str = "device=tank-1&metric=level&unit=m";
const FLOW: &str = "device=pump-1&metric=flow";

/// Hears what a node tells its service manager. It reads all the time, as systemd does: the queue
/// of such a socket takes ten words, and on a slow machine ten watchdogs had filled it, so that
/// `STOPPING=1` was told to nobody.
struct Manager {
    words: mpsc::Receiver<Vec<u8>>,
    dir: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = UnixDatagram::bind(dir.path().join("notify")).expect("a socket");
        let (tell, words) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok(length) = socket.recv(&mut buffer) {
                if tell.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { words, dir }
    }

    fn settings(&self) -> Settings {
        let every = Duration::from_millis(90).as_micros().to_string();
        Settings::default()
            .env("NOTIFY_SOCKET", self.dir.path().join("notify"))
            .env("WATCHDOG_USEC", every)
    }

    fn hears(&self, word: &str) {
        while self.words.recv_timeout(LIMIT).expect("a word in time") != word.as_bytes() {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_gateway_takes_keeps_answers_verifies_and_stops() {
    let dir = tempfile::tempdir().expect("a directory");
    let manager = Manager::new();
    let mut edge = Edge::init("smoke", dir.path(), Settings::default()).expect("a node");
    edge.start_with(&manager.settings()).expect("the node starts");
    manager.hears("READY=1");

    let mut client = Client::new(edge.http()).with_token(edge.admin_token().expect("its token"));
    let batch = json!([
        {"device": "tank-1", "metric": "level", "value": 2.25, "unit": "m", "boot": 1, "seq": 1},
        {"device": "tank-1", "metric": "level", "value": 2.5, "unit": "m", "boot": 1, "seq": 2},
    ]);
    let answer = client.post_json("/v1/readings", &batch).await.expect("an answer");
    assert_eq!(answer.json()["accepted"], 2, "{}", answer.text());
    let lines = "flow,device=pump-1 value=0.75\nflow,device=pump-1 value=1e300\n";
    let answer = client.post("/v1/write", "text/plain", lines).await.expect("an answer");
    assert_eq!(answer.status, 204, "{}", answer.text());
    manager.hears("WATCHDOG=1");

    assert_eq!(both(&mut client, LEVEL).await, [2.25, 2.5]);
    assert_eq!(both(&mut client, FLOW).await, [0.75, 1e300]);

    edge.stop().expect("it stops in good order");
    manager.hears("STOPPING=1");
    let found = edge.command("verify", []).expect("nothing is damaged");
    println!("verify: {}", found.join(" / "));

    edge.start().expect("it starts again");
    client.move_to(edge.http());
    assert_eq!(both(&mut client, LEVEL).await, [2.25, 2.5]);
    edge.stop().expect("it stops again");
}

/// Both values of a series, once the pipeline has read them.
async fn both(client: &mut Client, series: &str) -> Vec<f64> {
    let path = format!("/v1/readings?{series}");
    until_async(&path, LIMIT, async || {
        let answer = client.get(&path).await.expect("an answer").json();
        let readings = answer["readings"].as_array().cloned().unwrap_or_default();
        let values = readings.iter().filter_map(|reading| reading["value"].as_f64());
        Some(values.collect::<Vec<_>>()).filter(|values| values.len() == 2)
    })
    .await
}
