//! A gateway that is killed at each write of its journal, one after the other.
//!
//! A run of the workflow of [`super::kills`] is begun on a gateway that is ended at its first sync
//! to disk, the next one on a gateway that is at its second, and so on, until a run comes to its
//! end before that. So there is no write behind which nobody has killed it. Each run goes on with
//! the next start, and has done everything once.

use super::kills::{Shared, begin_run, definition, judge};
use super::receiver::Receiver;
use super::unguarded;
use crate::faults::Tally;
use crate::process::{Edge, Settings};
use crate::scenarios::hands::block_on;
use crate::scenarios::{Scale, tell};
use serde_json::json;
use std::time::{Duration, Instant};

const KILLED: &str = "gateway killed at a write";
/// More writes than a start and a run have together.
const WRITES: u64 = 400;
/// How long a run takes that nobody kills, on a slow machine.
const LONG: Duration = Duration::from_secs(60);

/// Kills at each write, whatever the scale: there are some twenty.
///
/// # Panics
/// When a run is lost or stuck, or something was done twice.
pub fn journal(_: Scale) {
    block_on(async {
        let dir = tempfile::tempdir().expect("a directory");
        let edge = Edge::init("ps-000", dir.path(), unguarded());
        let mut edge = edge.expect("the gateway is made");
        edge.start().expect("it starts");
        let (address, receiver) = Receiver::start().await.expect("a port");
        let shared = Shared::of(&edge, Tally::of(&[KILLED]));
        let mut client = shared.client();
        let new = json!({ "definition": definition(address) });
        let installed = client.post_json("/v1/workflows", &new).await.expect("an answer");
        assert!(installed.status.is_success(), "{}", installed.text());
        edge.stop().expect("it stops");
        let log = dir.path().join("injected");
        for n in 1..WRITES {
            let kill = format!("fdatasync,fsync:signal=KILL:when={n}");
            let killing = Settings::default().inject(&kill, &log);
            let was_killed = edge.start_with(&killing).is_err() || {
                shared.moved(&edge);
                begin_run(&shared, n, || edge_ended(&mut edge)).await;
                ended(&mut edge, &shared, n).await
            };
            if !was_killed {
                println!("{n} runs, the last of which came to its end before that write");
                // A stop would write, too.
                edge.kill9().expect("the gateway is killed");
                return shared.tally().finish().expect("the fault happened");
            }
            shared.tally().strike(KILLED);
            edge.start().expect("it starts again");
            shared.moved(&edge);
            begin_run(&shared, n, || false).await;
            judge(&shared, n, &receiver).await;
            edge.stop().expect("it stops");
            tell("workflows-journal", n, WRITES);
        }
        panic!("after {WRITES} writes a run is still not over");
    });
}

fn edge_ended(edge: &mut Edge) -> bool {
    !edge.process().is_running().expect("its process is known")
}

/// Waits for the end of the gateway, or of the run; whether it was the gateway's.
async fn ended(edge: &mut Edge, shared: &Shared, n: u64) -> bool {
    let began = Instant::now();
    while began.elapsed() < LONG {
        if edge_ended(edge) {
            return true;
        }
        if shared.is_over(n).await {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("run {n} neither ends nor ends the gateway");
}
