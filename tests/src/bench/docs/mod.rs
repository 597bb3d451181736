//! `bench docs`: what twins take on the way between a gateway and its hub, in time and bytes.
//!
//! A site has 1,000 devices. What is desired of each, 20 keys, is written at the gateway over HTTP
//! while its hub cannot be reached; the first sync carries it up. All later changes are made at the
//! hub and come down. Bytes are those of the session above QUIC, both ways, everything in them: the
//! hello, the lists of history, events, pings; datagrams are told beside them. What a session takes
//! that has no document at all is measured first, and called the connect.

mod cells;
mod compare;
mod large;
mod site;

use super::peers::documents;
use super::peers::programs::Measured;
use super::{Better, Figure};
use serde_json::json;
use site::{Carried, Site};
use std::io;
use std::time::{Duration, Instant};

const DEVICES: u64 = 1_000;
const KEYS: u64 = 20;
const CHANGED: u64 = 100;

/// Runs the bench.
///
/// # Errors
/// When a node does not start, or what was written does not arrive.
pub async fn docs(as_json: bool) -> io::Result<()> {
    let told = Told { peers: documents::measure()?, as_json };
    let mut site = Site::start().await?;
    site.register(0, DEVICES).await?;
    let connect = site.reconnect(0).await?;
    told.detail(&format!("a connect without documents: {connect}"));
    first_sync(&mut site, &told).await?;
    reconnects(&mut site, connect, &told).await?;
    while_connected(&mut site, &told).await?;
    site.stop()?;
    large::measure(&told).await?;
    cells::measure(&told).await
}

/// How figures are told, and what the peers came to.
struct Told {
    peers: Vec<Measured>,
    as_json: bool,
}

impl Told {
    /// A figure of which less is better; `peers` is what the peers call it.
    fn figure(&self, name: &'static str, value: f64, unit: &'static str, target: f64, peers: &str) {
        let of = |one: &Measured| Some((one.name.clone(), *one.figures.get(peers)?));
        let (peers, better) = (self.peers.iter().filter_map(of).collect(), Better::Lower);
        Figure { name, value, unit, target, better, peers }.print(self.as_json);
    }

    /// A figure without a target.
    fn seen(&self, name: &str, value: f64, unit: &str) {
        if self.as_json {
            println!("{}", json!({ "figure": name, "value": value, "unit": unit }));
        } else {
            println!("{name:<32} {value:>12.0} {unit}");
        }
    }

    fn detail(&self, text: &str) {
        if !self.as_json {
            println!("  {text}");
        }
    }
}

/// What stands under a key of a document; the same in every peer.
fn value(number: u64, key: u64) -> u64 {
    (number * 7_919 + key * 104_729) % 1_000_003
}

/// What is desired of a device.
fn wanted(number: u64) -> serde_json::Value {
    (0..KEYS).map(|key| (format!("k{key:02}"), json!(value(number, key)))).collect()
}

/// From the start of a gateway that is a member of its fleet until the hub has all twins.
async fn first_sync(site: &mut Site, told: &Told) -> io::Result<()> {
    site.part()?;
    site.write_at_edge(DEVICES, wanted).await?;
    site.edge.stop()?;
    let before = site.join_link();
    let started = Instant::now();
    site.start_edge()?;
    let serving = started.elapsed();
    site.until_at_hub(DEVICES - 1).await?;
    let took = started.elapsed();
    let carried = site.quiet().await?.since(before);
    site.expect_twins_at_hub(DEVICES).await?;
    told.figure("docs_first_sync", took.as_secs_f64(), "s", 0.5, "first_sync_s");
    let serving = serving.as_secs_f64();
    told.detail(&format!("of which {serving:.2} s until the gateway serves, connecting beside it"));
    let bytes = carried.session;
    told.figure("docs_first_sync_bytes", bytes, "bytes", 450_000.0, "first_sync_bytes");
    told.detail(&format!("{DEVICES} documents of {KEYS} keys; {carried}"));
    Ok(())
}

/// The two meet again after nothing, one change, or a hundred.
async fn reconnects(site: &mut Site, connect: Carried, told: &Told) -> io::Result<()> {
    // What came up moved the hub's sequence, of which the gateway is told once.
    site.reconnect(0).await?;
    let idle = site.reconnect(0).await?;
    let beyond = |all: Carried| (all.session - connect.session).max(0.0);
    let name = "docs_idle_reconnect_bytes";
    told.figure(name, beyond(idle), "bytes", 500.0, "idle_bytes");
    told.detail(&format!("beyond the connect; with it {idle}"));
    let one = site.reconnect(1).await?;
    let name = "docs_offline_change_bytes";
    told.figure(name, beyond(one), "bytes", 1_000.0, "offline_change_bytes");
    told.detail(&format!("beyond the connect; with it {one}"));
    let many = site.reconnect(CHANGED).await?;
    let name = "docs_100_offline_changes_bytes";
    told.figure(name, beyond(many), "bytes", 30_000.0, "");
    told.detail(&format!("beyond the connect; with it {many}"));
    Ok(())
}

/// Changes over a session that is there.
async fn while_connected(site: &mut Site, told: &Told) -> io::Result<()> {
    let one = site.changes(1).await?;
    told.figure("docs_live_change_bytes", one.session, "bytes", 450.0, "live_change_bytes");
    told.detail(&format!("{one}"));
    let many = site.changes(CHANGED).await?;
    told.figure("docs_100_changed_bytes", many.session, "bytes", 30_000.0, "changed_100_bytes");
    told.detail(&format!("{CHANGED} documents, one key each, while connected; {many}"));
    Ok(())
}

/// Longer than any of this takes.
const LIMIT: Duration = Duration::from_secs(300);
