//! The demonstration: one hub, two gateways, twenty devices, a workflow, an outage and a crash,
//! told as it goes.
//!
//! It is a scenario like the others, with words for whoever watches: what was acknowledged is
//! counted on the devices' side, and in the end the records of both sides are compared line by
//! line.

mod mcu;
mod valve;

use super::twins::patch;
use crate::client::Client;
use crate::net::{Direction, Profile};
use crate::process::{Fleet, FleetPlan, Settings};
use crate::waterworks::{Account, Habits, Pace, Patience, Shift, Works};
use mcu::Emulated;
use serde_json::{Value, json};
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use valve::Valve;

const GATEWAYS: usize = 2;
const STATIONS: u64 = 10;
const LIMIT: Duration = Duration::from_secs(120);
/// The link after the outage: a thin one, so that one sees live data overtake the backlog.
const THIN_BYTES_PER_SECOND: u64 = 12_000;

/// How the demonstration runs.
#[derive(Clone, Copy, Debug)]
pub struct Demo {
    /// The short one.
    pub quick: bool,
    /// Whether it is left running at the end.
    pub keep: bool,
}

type Failure = Box<dyn std::error::Error>;

impl Demo {
    /// Runs it to its end; the fleet is ended and removed with the return, Ctrl-C included.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub async fn run(self) -> Result<(), Failure> {
        tokio::select! {
            told = self.tell() => told,
            _ = tokio::signal::ctrl_c() => {
                println!("\nInterrupted: everything is ended and removed.");
                Ok(())
            }
        }
    }

    fn seconds(self, full: u64) -> Duration {
        Duration::from_secs(if self.quick { full.div_ceil(4) } else { full })
    }

    async fn tell(self) -> Result<(), Failure> {
        say("A hub and two gateways, each behind a link of its own, start on this machine.");
        let widths = Settings::default()
            .env("HOLDFAST_ROLLUPS_WIDTHS", "10s,1m")
            .env("HOLDFAST_SYNC_BACKOFF_MAX", "1s");
        let mut fleet = {
            let mut plan = FleetPlan::new(GATEWAYS, 1);
            plan.edge = plan.edge.with(&widths);
            plan.build()?
        };
        let mut eyes = Eyes::of(&fleet)?;
        self.show_addresses(&fleet)?;

        say("Twenty devices of a waterworks post to them, half over HTTP and half over MQTT.");
        let shifts = start_devices(&fleet)?;
        let mut mcu = Emulated::start(&fleet.edges[0], &fleet.hub)?;
        self.watch("posting", self.seconds(24), &mut eyes, &shifts).await?;
        mcu.has_workflow(&fleet.edges[0]);

        say("On ps-000 a workflow looks after the inlet of a tank.");
        let mut valve = Valve::install(&fleet.edges[0], &mut eyes.edges[0]).await?;

        say("The uplink of north/ps-000 is cut. Its devices go on, and so does the gateway.");
        fleet.links[0].cut();
        self.watch("cut off", self.seconds(40), &mut eyes, &shifts).await?;
        let found = eyes.local_query().await?;
        println!(
            "    asked itself, ps-000 answers a query with {found} readings, without any link"
        );

        say("At the gateway and at the hub somebody sets the mode of one device, each otherwise.");
        let device = eyes.both_set_a_mode().await?;

        say("The tank runs over, and nobody can be asked: the workflow closes the inlet.");
        let command = valve.overflow(&mut eyes.edges[0]).await?;

        say("kill -9 of ps-000, in the middle of it. Its devices keep what was not acknowledged.");
        fleet.edges[0].kill9()?;
        mcu.without_power();
        tokio::time::sleep(Duration::from_secs(1)).await;
        mcu.alone()?;
        fleet.edges[0].start()?;
        shifts[0].move_both_to(fleet.edges[0].http(), fleet.edges[0].mqtt());
        eyes.edges[0].move_to(fleet.edges[0].http());
        println!("    started again: it found everything it had acknowledged and goes on");
        mcu.with_power(&fleet.edges[0])?;
        valve.close(&command, &fleet.edges[0], &mut eyes.edges[0]).await?;
        self.watch("cut off", self.seconds(16), &mut eyes, &shifts).await?;

        say("The link is back, at 12 kB/s: new readings go first, the backlog follows behind.");
        let thin = Direction { rate: Some(THIN_BYTES_PER_SECOND), ..Direction::default() };
        fleet.links[0].set_profile(Profile::both(thin));
        eyes.watch_backlog().await?;
        fleet.links[0].set_profile(Profile::default());

        say("What was set on both sides at once: both show the same, and why.");
        eyes.agree_on_the_mode(&device).await?;

        say("What the workflow did meanwhile, as the hub tells it.");
        valve::told_at_the_hub(&mut eyes.hub).await?;

        say("The devices stop; hub and gateways are compared, line by line.");
        let mut accounts = Vec::new();
        for shift in shifts {
            accounts.push(shift.stop().await);
        }
        mcu.stop(&fleet.edges[0], &fleet.hub).await?;
        eyes.settle().await?;
        compare(&fleet, &accounts)?;
        if self.keep {
            self.keep_running(&fleet).await?;
        }
        Ok(())
    }

    fn show_addresses(self, fleet: &Fleet) -> Result<(), Failure> {
        if self.keep {
            println!("    hub page     http://{}/", fleet.hub.http());
            println!("      sign in with {}", fleet.hub.admin_token()?);
            for edge in &fleet.edges {
                println!("    {} page  http://{}/", edge.name(), edge.http());
                println!("      sign in with {}", edge.admin_token()?);
            }
        }
        Ok(())
    }

    async fn watch(
        self,
        what: &str,
        time: Duration,
        eyes: &mut Eyes,
        shifts: &[Shift],
    ) -> Result<(), Failure> {
        let end = tokio::time::Instant::now() + time;
        while tokio::time::Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let told: usize = shifts.iter().map(Shift::acknowledged).sum();
            let hub = eyes.hub_readings().await?;
            progress(&format!("{what}: {told} messages acknowledged, {hub} readings at the hub"));
        }
        end_progress();
        Ok(())
    }

    async fn keep_running(self, fleet: &Fleet) -> Result<(), Failure> {
        say("Left running, with the devices posting again. Ctrl-C ends and removes everything.");
        self.show_addresses(fleet)?;
        let _posting = start_devices_again(fleet)?;
        std::future::pending::<()>().await;
        Ok(())
    }
}

fn say(text: &str) {
    println!("\n{text}");
}

/// One line that is written over on a terminal, and not at all elsewhere.
fn progress(text: &str) {
    if io::stdout().is_terminal() {
        print!("\r    {text}\x1b[K");
        // A terminal that went away is noticed by the next line.
        let _ = io::stdout().flush();
    } else {
        LAST.with_borrow_mut(|last| text.clone_into(last));
    }
}

fn end_progress() {
    if io::stdout().is_terminal() {
        println!();
    } else {
        LAST.with_borrow_mut(|last| println!("    {}", std::mem::take(last)));
    }
}

thread_local! {
    /// The last progress, which is all that a log wants of it.
    static LAST: std::cell::RefCell<String> = const { std::cell::RefCell::new(String::new()) };
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn devices(fleet: &Fleet, boot: u32) -> Result<Vec<Shift>, Failure> {
    let habits = Habits { every_ms: 200, jitter_ms: 20, ..Habits::default() };
    let mut shifts = Vec::new();
    for (n, edge) in fleet.edges.iter().enumerate() {
        let works = Works {
            seed: 1 + n as u64,
            stations: STATIONS,
            boot,
            habits,
            start_ms: now_ms(),
            end_ms: None,
            pace: Pace::Times(1.0),
        };
        let (gateway, broker, token) = (edge.http(), edge.mqtt(), edge.ingest_token()?);
        shifts.push(works.start_half_over_mqtt(gateway, broker, &token, Patience::default()));
    }
    Ok(shifts)
}

fn start_devices(fleet: &Fleet) -> Result<Vec<Shift>, Failure> {
    devices(fleet, 1)
}

fn start_devices_again(fleet: &Fleet) -> Result<Vec<Shift>, Failure> {
    devices(fleet, 2)
}

/// Clients of the hub and the gateways, as a person's browser would be.
struct Eyes {
    hub: Client,
    edges: Vec<Client>,
}

impl Eyes {
    fn of(fleet: &Fleet) -> Result<Self, Failure> {
        let hub = Client::new(fleet.hub.http()).with_token(fleet.hub.admin_token()?);
        let edges = fleet
            .edges
            .iter()
            .map(|edge| Ok(Client::new(edge.http()).with_token(edge.admin_token()?)));
        Ok(Self { hub, edges: edges.collect::<Result<_, Failure>>()? })
    }

    async fn node(&mut self, name: &str) -> Result<Value, Failure> {
        Ok(self.hub.get(&format!("/v1/nodes/north/{name}")).await?.json())
    }

    async fn hub_readings(&mut self) -> Result<u64, Failure> {
        let nodes = self.hub.get("/v1/nodes").await?.json();
        let each = nodes["nodes"].as_array().into_iter().flatten();
        Ok(each.filter_map(|node| node["readings"].as_u64()).sum())
    }

    /// Readings of one series, as the cut-off gateway answers for them.
    async fn local_query(&mut self) -> Result<usize, Failure> {
        let listed = self.edges[0].get("/v1/series?metric=level&limit=1").await?.json();
        let device = listed["series"][0]["device"].as_str().unwrap_or_default().to_owned();
        let unit = listed["series"][0]["unit"].as_str().unwrap_or_default().to_owned();
        let path = format!("/v1/readings?device={device}&metric=level&unit={unit}&limit=10000");
        let answer = self.edges[0].get(&path).await?.json();
        Ok(answer["readings"].as_array().map_or(0, Vec::len))
    }

    /// Gateway and hub each say what a device should be, without having heard of the other; gives
    /// the device.
    async fn both_set_a_mode(&mut self) -> Result<String, Failure> {
        let listed = self.edges[0].get("/v1/series?metric=level&limit=1").await?.json();
        let device = listed["series"][0]["device"].as_str().unwrap_or_default().to_owned();
        let path = format!("/v1/devices/{device}/twin/desired");
        for (client, at, mode) in
            [(&mut self.edges[0], "ps-000", "auto"), (&mut self.hub, "the hub", "manual")]
        {
            let answer = patch(client, &path, &json!({ "mode": mode }), &[]).await;
            if !answer.status.is_success() {
                return Err(answer.text().into());
            }
            println!("    at {at}: twin set {device} mode={mode}");
        }
        Ok(device)
    }

    /// Waits until both sides show the same mode, and tells it with the reason.
    async fn agree_on_the_mode(&mut self, device: &str) -> Result<(), Failure> {
        let deadline = tokio::time::Instant::now() + LIMIT;
        let path = format!("/v1/devices/{device}/twin/desired");
        loop {
            let there = self.hub.get(&path).await?;
            let here = self.edges[0].get(&path).await?;
            if here.headers.get("etag") == there.headers.get("etag") {
                println!("    both show {} of {device}", here.json());
                break;
            }
            if tokio::time::Instant::now() >= deadline {
                return Err("the two sides do not agree".into());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let path = format!("/v1/conflicts?state=settled&prefix=device/{device}/");
        for client in [&mut self.edges[0], &mut self.hub] {
            let listed = client.get(&path).await?.json();
            for one in listed["conflicts"].as_array().into_iter().flatten() {
                let (shown, lost) = (&one["shown"]["value"], &one["others"][0]["value"]);
                let why = one["why"].as_str().unwrap_or_default();
                println!("    told by conflict list --settled: {shown} over {lost}: {why}");
            }
        }
        Ok(())
    }

    /// Shows how the backlog drains while the newest reading at the hub stays fresh.
    async fn watch_backlog(&mut self) -> Result<(), Failure> {
        let deadline = tokio::time::Instant::now() + LIMIT;
        let (mut most, mut fresh_while_behind) = (0, None);
        loop {
            let node = self.node("ps-000").await?;
            let behind = node["behind"].as_u64().unwrap_or(0);
            most = most.max(behind);
            let received = node["last_received"].as_str().and_then(|t| t.parse().ok());
            let age = received.map(|time: jiff::Timestamp| now_ms() - time.as_millisecond());
            let online = node["state"] == "online";
            if let Some(age) = age.filter(|age| online && *age < 3_000) {
                fresh_while_behind = fresh_while_behind.or(Some((behind, age)));
            }
            let age = age.unwrap_or(0);
            progress(&format!("{behind} entries to go, newest reading at the hub {age} ms old"));
            if online && most > 0 && behind * 20 < most && fresh_while_behind.is_some() {
                break;
            }
            if tokio::time::Instant::now() >= deadline {
                return Err("the backlog did not drain".into());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        end_progress();
        if let Some((behind, age)) = fresh_while_behind {
            println!("    the hub had a reading {age} ms old while {behind} older ones were to go");
        }
        Ok(())
    }

    /// Waits until nothing is under way.
    async fn settle(&mut self) -> Result<(), Failure> {
        let deadline = tokio::time::Instant::now() + LIMIT;
        let mut quiet = 0;
        while quiet < 3 {
            if tokio::time::Instant::now() >= deadline {
                return Err("the fleet does not come to rest".into());
            }
            let nodes = self.hub.get("/v1/nodes").await?.json();
            let each: Vec<_> = nodes["nodes"].as_array().into_iter().flatten().collect();
            let done = each.iter().all(|node| node["state"] == "online" && node["behind"] == 0);
            quiet = if done { quiet + 1 } else { 0 };
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Ok(())
    }
}

fn compare(fleet: &Fleet, accounts: &[Account]) -> Result<(), Failure> {
    let mut all = Vec::new();
    fleet.hub.export(|line| all.push(line.to_owned()))?;
    let mut equal = true;
    for (edge, account) in fleet.edges.iter().zip(accounts) {
        let mut here = Vec::new();
        edge.export(|line| here.push(line.to_owned()))?;
        let id = here.first().map(|line| node_of(line)).unwrap_or_default();
        let mut there: Vec<_> = all.iter().filter(|line| node_of(line) == id).cloned().collect();
        here.sort();
        there.sort();
        let (told, readings) = (account.acknowledged().len(), account.readings());
        println!(
            "    {}: {told} messages acknowledged to its devices, {readings} readings",
            edge.name()
        );
        println!("      gateway {:>8} readings  {}", here.len(), digest(&here));
        println!("      hub     {:>8} readings  {}", there.len(), digest(&there));
        equal &= here == there && here.len() as u64 >= readings;
    }
    if equal {
        println!("    Equal, to the last byte. Nothing was lost, nothing was doubled.");
        Ok(())
    } else {
        Err("hub and gateways differ".into())
    }
}

fn node_of(line: &str) -> String {
    let line: Value = serde_json::from_str(line).unwrap_or_default();
    line["node"].as_str().unwrap_or_default().to_owned()
}

fn digest(lines: &[String]) -> String {
    let mut hash = blake3::Hasher::new();
    for line in lines {
        hash.update(line.as_bytes());
        hash.update(b"\n");
    }
    hash.finalize().to_hex()[..16].to_owned()
}
