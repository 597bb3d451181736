//! A hub and one gateway, written to over HTTP, and between them a link that counts and can be cut.

use super::LIMIT;
use crate::bench::wire::{SENT, counted, until_quiet};
use crate::client::{Answer, Client};
use crate::net::{Profile, Proxy};
use crate::process::{Edge, Hub, Settings};
use hyper::Method;
use serde_json::{Value, json};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::task::JoinSet;

/// Writers at a time.
const WRITERS: usize = 16;
/// Devices that are given tokens in one request.
const REGISTERED: u64 = 10_000;
const RECEIVED: &str = "holdfast_sync_received_bytes_total";
const CONNECTED: &str = "holdfast_sync_connected_total";

/// What went over the link.
#[derive(Clone, Copy, Debug, Default)]
pub struct Carried {
    /// Bytes of sessions above QUIC, both ways.
    pub session: f64,
    /// Bytes of datagrams, both ways.
    pub datagrams: f64,
}

impl Carried {
    /// What was carried since then.
    pub fn since(self, before: Self) -> Self {
        let session = self.session - before.session;
        Self { session, datagrams: self.datagrams - before.datagrams }
    }
}

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of the session, {} of datagrams", self.session, self.datagrams)
    }
}

/// A hub and its gateway.
pub struct Site {
    pub hub: Hub,
    pub edge: Edge,
    link: Proxy,
    at_hub: Client,
    at_edge: Client,
    /// How often something was changed.
    rounds: u64,
    _dir: TempDir,
}

pub fn name(device: u64) -> String {
    format!("ps-{device:05}")
}

fn desired(device: u64) -> String {
    format!("/v1/devices/{}/twin/desired", name(device))
}

fn refused(answer: &Answer) -> io::Error {
    io::Error::other(format!("{}: {}", answer.status, answer.text()))
}

impl Site {
    /// Starts both, the gateway a member of the hub's fleet.
    pub async fn start() -> io::Result<Self> {
        let dir = tempfile::tempdir()?;
        let quick = Settings::default()
            .env("HOLDFAST_SYNC_BACKOFF_MIN", "50ms")
            .env("HOLDFAST_SYNC_BACKOFF_MAX", "500ms");
        let mut hub = Hub::init(&dir.path().join("hub"), Settings::default())?;
        hub.start()?;
        let link = Proxy::start(hub.sync(), 1)?;
        let mut edge = Edge::init("bench", &dir.path().join("edge"), quick)?;
        edge.join(&hub.enrolment("north", "bench", link.address())?)?;
        edge.start()?;
        let at_hub = Client::new(hub.http()).with_token(hub.admin_token()?);
        let at_edge = Client::new(edge.http()).with_token(edge.admin_token()?);
        let mut site = Self { hub, edge, link, at_hub, at_edge, rounds: 0, _dir: dir };
        site.until_connected(0.0).await?;
        site.quiet().await?;
        Ok(site)
    }

    pub fn stop(&mut self) -> io::Result<()> {
        self.edge.stop()?;
        self.hub.stop()
    }

    /// Gives devices tokens, so that the gateway knows them.
    pub async fn register(&mut self, from: u64, to: u64) -> io::Result<()> {
        for first in (from..to).step_by(REGISTERED as usize) {
            let numbers = first..to.min(first + REGISTERED);
            let devices: Vec<_> = numbers.map(|n| json!({ "device": name(n) })).collect();
            let body = json!({ "devices": devices });
            let answer = self.at_edge.post_json("/v1/tokens/devices", &body).await;
            let answer = answer.map_err(io::Error::other)?;
            answer.status.is_success().then_some(()).ok_or_else(|| refused(&answer))?;
        }
        Ok(())
    }

    /// The hub is started anew, behind a link that is cut; the gateway knows that it is gone.
    pub fn part(&mut self) -> io::Result<()> {
        self.hub.stop()?;
        self.link.cut();
        self.hub.start()?;
        self.link.set_target(self.hub.sync());
        self.at_hub.move_to(self.hub.http());
        Ok(())
    }

    /// Lets the two meet; what was carried until then.
    pub fn join_link(&self) -> Carried {
        let datagrams = self.datagrams();
        self.link.set_profile(Profile::default());
        Carried { session: 0.0, datagrams }
    }

    /// Starts the gateway, which counts from nothing.
    pub fn start_edge(&mut self) -> io::Result<()> {
        self.edge.start()?;
        self.at_edge.move_to(self.edge.http());
        Ok(())
    }

    /// What the two parting and meeting again takes, so many documents being changed meanwhile at
    /// the hub.
    pub async fn reconnect(&mut self, changed: u64) -> io::Result<Carried> {
        self.part()?;
        self.change_at_hub(changed).await?;
        let (session, connected) =
            (self.session().await?, counted(&mut self.at_edge, &[CONNECTED]).await?);
        let before = self.join_link();
        self.until_connected(connected).await?;
        self.until_same(changed).await?;
        Ok(self.quiet().await?.since(Carried { session, ..before }))
    }

    /// What changes of so many documents at the hub take over the session that is there.
    pub async fn changes(&mut self, changed: u64) -> io::Result<Carried> {
        let before = self.quiet().await?;
        self.change_at_hub(changed).await?;
        self.until_same(changed).await?;
        Ok(self.quiet().await?.since(before))
    }

    /// Sets what is desired of the first `count` devices at the gateway, the last one last.
    pub async fn write_at_edge(&self, count: u64, of: fn(u64) -> Value) -> io::Result<()> {
        let (to, token) = (self.edge.http(), self.edge.admin_token()?);
        write_all(to, &token, count - 1, of).await?;
        let mut client = Client::new(to).with_token(token);
        patch(&mut client, count - 1, &of(count - 1)).await
    }

    /// Sets one key of the first `count` devices at the hub to what it never was before.
    pub async fn change_at_hub(&mut self, count: u64) -> io::Result<()> {
        self.rounds += 1;
        for number in 0..count {
            let value = json!({ "k07": 2_000_000 + self.rounds });
            patch(&mut self.at_hub, number, &value).await?;
        }
        Ok(())
    }

    /// Waits until the hub has what is desired of a device.
    pub async fn until_at_hub(&mut self, device: u64) -> io::Result<()> {
        let started = Instant::now();
        while !self
            .at_hub
            .get(&desired(device))
            .await
            .map_err(io::Error::other)?
            .status
            .is_success()
        {
            pause(started, "a twin does not arrive at the hub").await?;
        }
        Ok(())
    }

    /// Waits until both have the twins of the first `count` devices in one version.
    pub async fn until_same(&mut self, count: u64) -> io::Result<()> {
        let started = Instant::now();
        for device in 0..count {
            loop {
                let there = self.at_hub.get(&desired(device)).await.map_err(io::Error::other)?;
                let here = self.at_edge.get(&desired(device)).await.map_err(io::Error::other)?;
                if here.headers.get("etag") == there.headers.get("etag") {
                    break;
                }
                pause(started, "a change does not arrive at the gateway").await?;
            }
        }
        Ok(())
    }

    /// Fails unless the hub lists so many twins, at most as many as one page has.
    pub async fn expect_twins_at_hub(&mut self, count: u64) -> io::Result<()> {
        let page = self.at_hub.get("/v1/twins?prefix=ps-&limit=1000").await;
        let page = page.map_err(io::Error::other)?.json();
        let found = page["twins"].as_array().map_or(0, Vec::len) as u64;
        let wrong = || io::Error::other(format!("the hub has {found} twins of {count}"));
        (found == count).then_some(()).ok_or_else(wrong)
    }

    async fn until_connected(&mut self, before: f64) -> io::Result<()> {
        let started = Instant::now();
        while counted(&mut self.at_edge, &[CONNECTED]).await? <= before {
            pause(started, "no session comes about").await?;
        }
        Ok(())
    }

    /// Waits until next to nothing was carried for five seconds; all that was so far.
    pub async fn quiet(&mut self) -> io::Result<Carried> {
        let before = until_quiet(&mut self.at_edge, &[SENT, RECEIVED]).await?;
        Ok(Carried { session: before, datagrams: self.datagrams() })
    }

    fn datagrams(&self) -> f64 {
        let counts = self.link.counts();
        (counts.up.bytes + counts.down.bytes) as f64
    }

    /// Bytes of the gateway's sessions so far.
    async fn session(&mut self) -> io::Result<f64> {
        counted(&mut self.at_edge, &[SENT, RECEIVED]).await
    }
}

async fn pause(started: Instant, why: &str) -> io::Result<()> {
    if started.elapsed() > LIMIT {
        return Err(io::Error::other(why.to_owned()));
    }
    tokio::time::sleep(Duration::from_millis(5)).await;
    Ok(())
}

async fn patch(client: &mut Client, device: u64, value: &Value) -> io::Result<()> {
    let headers = [("content-type", "application/merge-patch+json")];
    let path = desired(device);
    let sent = client.send(Method::PATCH, &path, &headers, value.to_string().into()).await;
    let answer = sent.map_err(io::Error::other)?;
    answer.status.is_success().then_some(()).ok_or_else(|| refused(&answer))
}

/// Sets what is desired of the first `count` devices, several writers at a time.
async fn write_all(
    to: SocketAddr,
    token: &str,
    count: u64,
    of: fn(u64) -> Value,
) -> io::Result<()> {
    let (next, mut writers) = (Arc::new(AtomicU64::new(0)), JoinSet::<io::Result<()>>::new());
    for _ in 0..WRITERS {
        let (mut client, next) = (Client::new(to).with_token(token), Arc::clone(&next));
        writers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok(());
                }
                patch(&mut client, number, &of(number)).await?;
            }
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended.map_err(io::Error::other)??;
    }
    Ok(())
}
