//! `bench mqtt`: messages a second that are acknowledged, fan-out, durable sessions, memory; of
//! ours and of other brokers.
//!
//! All clients are on one thread, which leaves the other processor to the broker and shares its own
//! with it. Each round has a broker of its own, started anew, so that nothing is left of the round
//! before. Messages are readings of 100 bytes; ours has to have stored each that it acknowledged,
//! and a subscription that is not granted ends the round: both would look fast.

mod brokers;
mod connection;
mod disk;
mod durable;
mod fan_out;
pub(in crate::bench) mod histogram;
mod idle;
mod publish;
mod reading;
mod wire;

pub use self::brokers::System;

use self::brokers::Broker;
use self::histogram::Histogram;
use self::publish::{Load, Outcome, publish};
use super::{Better, Figure, Peers};
use crate::process::allow_connections;
use clap::ValueEnum;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_blocking};

const CONNECTIONS: usize = 50;
/// Messages under way of each connection that does not wait for every single one.
const WINDOW: u16 = 20;
/// What fills caches first and is not counted.
const WARM_UP: Duration = Duration::from_secs(1);
const TIME: Duration = Duration::from_secs(6);
/// Bytes of a MiB in MB.
const MB_IN_MIB: f64 = 1.048_576;

const SINGLE: &str = "mqtt_single_ingest";
const WINDOWED: &str = "mqtt_windowed_ingest";
const ACK_P99: &str = "mqtt_ack_p99";
const FAN_OUT: &str = "mqtt_fan_out";
const IDLE_RSS: &str = "mqtt_idle_rss";
const CROWDED_RSS: &str = "mqtt_crowded_rss";
const DRAIN: &str = "mqtt_drain";

/// Name, unit, target and which way it is better.
const FIGURES: [(&str, &str, f64, Better); 7] = [
    (SINGLE, "messages/s", 15_000.0, Better::Higher),
    (WINDOWED, "messages/s", 100_000.0, Better::Higher),
    (ACK_P99, "ms", 10.0, Better::Lower),
    (FAN_OUT, "deliveries/s", 300_000.0, Better::Higher),
    (IDLE_RSS, "MB", 20.0, Better::Lower),
    (CROWDED_RSS, "MB", 150.0, Better::Lower),
    (DRAIN, "messages/s", 80_000.0, Better::Higher),
];

/// Runs the bench, of all systems or of one.
///
/// # Errors
/// When ours does not start, or breaks what it promises. A peer that does is left out, and named.
pub async fn mqtt(only: Option<System>, as_json: bool) -> io::Result<()> {
    let clients = move || {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, measure(only, as_json))
    };
    spawn_blocking(clients).await.map_err(io::Error::other)?
}

async fn measure(only: Option<System>, as_json: bool) -> io::Result<()> {
    allow_connections(idle::CONNECTIONS.into())?;
    let (mut ours, mut peers) = (BTreeMap::new(), Vec::new());
    let wanted = |system: &&System| only.is_none_or(|only| only == **system);
    for &system in System::value_variants().iter().filter(wanted) {
        let mut rounds = Rounds { system, quiet: as_json, name: None, figures: BTreeMap::new() };
        let measured = rounds.all().await;
        let Rounds { name, figures, .. } = rounds;
        if system == System::Ours {
            measured?;
            ours = figures;
            continue;
        }
        let name = name.unwrap_or_else(|| format!("{system:?}"));
        if let Err(error) = measured {
            eprintln!("{name} is left out of what follows: {error}");
        }
        peers.push((name, figures));
    }
    // Without ours there is nothing to hold against a target.
    let measured = |(name, ..): &(&str, _, _, _)| ours.contains_key(name);
    for (name, unit, target, better) in FIGURES.into_iter().filter(measured) {
        let of_peer = |(peer, figures): &(String, BTreeMap<&str, f64>)| {
            figures.get(name).map(|value| (peer.clone(), *value))
        };
        let peers: Peers = peers.iter().filter_map(of_peer).collect();
        let value = ours[name];
        Figure { name, value, unit, target, better, peers }.print(as_json);
    }
    Ok(())
}

/// The rounds of one system.
struct Rounds {
    system: System,
    /// Whether only figures are wanted.
    quiet: bool,
    /// Once it was started.
    name: Option<String>,
    figures: BTreeMap<&'static str, f64>,
}

impl Rounds {
    /// All of them; none when the system is not here.
    async fn all(&mut self) -> io::Result<()> {
        let Some(single) = self.acknowledged(1, false, None).await? else { return Ok(()) };
        self.figures.insert(SINGLE, rate(&single));
        self.say(&format!("one under way: {}", told(&single)));
        let Some(windowed) = self.acknowledged(WINDOW, true, None).await? else { return Ok(()) };
        let most = rate(&windowed);
        self.figures.insert(WINDOWED, most);
        self.say(&format!("{WINDOW} under way: {}", told(&windowed)));
        let pace = most / 2.0;
        let half = self.acknowledged(WINDOW, true, Some(pace)).await?;
        let Some(half) = half else { return Ok(()) };
        self.figures.extend(half.latency.quantile(0.99).map(|p99| (ACK_P99, ms(p99))));
        // Fewer were acknowledged only if the machine is too busy for the pace.
        self.say(&format!("{pace:.0} a second: {}", told(&half)));
        if self.system == System::Ours && !self.quiet {
            let alone = quantiles(&disk::alone(TIME)?);
            self.say(&format!("the disk alone, behind it: a message waits {alone}"));
        }
        if self.system.is_measured_whole() {
            self.fan_out().await?;
            self.idle().await?;
            self.drain().await?;
        }
        Ok(())
    }

    /// Starts the system, and tells what it promises when that is the first time.
    fn start(&mut self) -> io::Result<Option<Broker>> {
        let broker = self.system.start()?;
        if let (None, Some(Broker { name, promise, .. })) = (&self.name, &broker) {
            if !self.quiet {
                println!("{name}: acknowledged means that {promise}");
            }
            self.name = Some(name.clone());
        }
        Ok(broker)
    }

    /// Publishes readings with QoS 1 to where they are kept.
    async fn acknowledged(
        &mut self,
        window: u16,
        numbered: bool,
        pace: Option<f64>,
    ) -> io::Result<Option<Outcome>> {
        let Some(broker) = self.start()? else { return Ok(None) };
        if !self.system.stores_readings() {
            durable::leave_session(&broker.endpoint, "devices/#").await?;
        }
        let load = Load {
            connections: CONNECTIONS,
            window,
            numbered,
            topic: |number| format!("devices/ps-{number:03}/readings"),
            pace,
            warm_up: WARM_UP,
            time: TIME,
            most: u64::MAX,
        };
        let outcome = publish(&broker.endpoint, load).await?;
        if let Some(stored) = broker.stored()?
            && stored < outcome.acknowledged
        {
            let acknowledged = outcome.acknowledged;
            let what = format!("{acknowledged} were acknowledged and {stored} are stored");
            return Err(io::Error::other(what));
        }
        broker.stop()?;
        Ok(Some(outcome))
    }

    async fn fan_out(&mut self) -> io::Result<()> {
        let Some(broker) = self.start()? else { return Ok(()) };
        let fanned_out = fan_out::fan_out(&broker.endpoint).await?;
        broker.stop()?;
        self.figures.insert(FAN_OUT, fanned_out.rate);
        let (rate, lost) = (fanned_out.rate, fanned_out.lost);
        self.say(&format!("fan-out: {rate:.0} deliveries/s, {lost} lost"));
        Ok(())
    }

    async fn idle(&mut self) -> io::Result<()> {
        let Some(mut broker) = self.start()? else { return Ok(()) };
        let pid = broker.pid();
        let idle = idle::idle(&broker.endpoint, pid).await?;
        broker.stop()?;
        let (alone, crowded) = (idle.alone * MB_IN_MIB, idle.crowded * MB_IN_MIB);
        self.figures.extend([(IDLE_RSS, alone), (CROWDED_RSS, crowded)]);
        let (rate, latency) = (idle.rate, quantiles(&idle.latency));
        self.say(&format!(
            "memory: {alone:.1} MB alone, {crowded:.1} MB with 10,000 connections, which came at \
             {rate:.0}/s; let in {latency}"
        ));
        Ok(())
    }

    async fn drain(&mut self) -> io::Result<()> {
        let Some(broker) = self.start()? else { return Ok(()) };
        let messages = self.system.backlog();
        let drained = durable::drain(&broker.endpoint, messages).await?;
        broker.stop()?;
        let messages = drained.filled.acknowledged as f64;
        let rate = messages / drained.took.as_secs_f64();
        self.figures.insert(DRAIN, rate);
        let filled = messages / drained.filled.took.as_secs_f64();
        let (repeated, misordered) = (drained.repeated, drained.misordered);
        self.say(&format!(
            "durable session: {messages} messages came in at {filled:.0}/s and left at \
             {rate:.0}/s, {repeated} twice, {misordered} behind a later one"
        ));
        Ok(())
    }

    fn say(&self, what: &str) {
        if !self.quiet {
            println!("  {what}");
        }
    }
}

/// Messages a second that were acknowledged.
fn rate(outcome: &Outcome) -> f64 {
    outcome.counted as f64 / TIME.as_secs_f64()
}

fn told(outcome: &Outcome) -> String {
    let (rate, latency) = (rate(outcome), quantiles(&outcome.latency));
    format!("{rate:.0} messages/s, acknowledged {latency}")
}

fn quantiles(latency: &Histogram) -> String {
    let of = |share| latency.quantile(share).map_or(f64::NAN, ms);
    format!("within {:.2} ms (p50), {:.2} ms (p99)", of(0.5), of(0.99))
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}
