//! Upkeep: a gateway seals, prunes and is backed up without a break, and is killed meanwhile.
//!
//! One device posts as fast as it is answered into a small quota, so segments are made and what the
//! hub has is removed all the time. Backups run one after another. Gateway and backup are killed in
//! turn at random moments. After each kill the gateway comes back; a backup that was not killed is
//! whole and verifies when it is restored, one that was is refused. In the end the hub has what was
//! acknowledged exactly once, the gateway a part of it, and neither has any damage.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::audit::verify;
use super::hands::{
    SYNC_LIMIT, admin_of_edge, block_on, caught_up, export_edge, export_hub, get, reading,
};
use super::{Scale, tell};
use crate::client::Client;
use crate::faults::Tally;
use crate::process::{Edge, Fleet, FleetPlan, Service, Settings};
use crate::rng::{Rng, hash};
use crate::wait::until_async;

const FULL: u64 = 200;
const FLOOR: u64 = 10;
const BATCH: u64 = 250;
/// Between two batches: the campaign is about kills, not about volume.
const PAUSE: Duration = Duration::from_millis(5);
const QUOTA: &str = "2MiB";

const EDGE: &str = "gateway killed while a backup of it ran";
const BACKUP: &str = "backup killed";
const WHOLE: &str = "backup finished beside the load, restored and verified";
const REFUSED: &str = "backup that was cut off refused";
const PRUNED: &str = "readings removed because the hub had them";
const ALL: [&str; 5] = [EDGE, BACKUP, WHOLE, REFUSED, PRUNED];

/// Kills a gateway and its backups, then compares what is left.
///
/// # Panics
/// When anything is lost, doubled or damaged.
pub fn upkeep(scale: Scale) {
    block_on(campaign(scale));
}

/// Posts numbered readings until it is told to stop; what is not acknowledged is posted again.
struct Device {
    address: std::net::SocketAddr,
    token: String,
    acknowledged: AtomicU64,
    stop: AtomicBool,
    moved: std::sync::Mutex<Option<std::net::SocketAddr>>,
}

impl Device {
    async fn run(self: Arc<Self>) {
        let mut client = Client::new(self.address).with_token(self.token.clone());
        let mut next = 1;
        while !self.stop.load(Ordering::Relaxed) {
            if let Some(address) = self.moved.lock().expect("no panic").take() {
                client = Client::new(address).with_token(self.token.clone());
            }
            let lines: Vec<_> = (next..next + BATCH)
                .map(|seq| reading("pump", seq, value(seq)).to_string() + "\n")
                .collect();
            let answer = client.post("/v1/readings", "application/x-ndjson", lines.concat()).await;
            match answer {
                Ok(answer) if answer.status.is_success() => {
                    next += BATCH;
                    self.acknowledged.store(next - 1, Ordering::Relaxed);
                }
                // It is down, or full for the moment.
                _ => {}
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Full of entropy, so that a small quota is soon used up.
fn value(seq: u64) -> f64 {
    (hash(seq, &[]) >> 11) as f64 / (1_u64 << 53) as f64
}

struct Campaign {
    fleet: Fleet,
    device: Arc<Device>,
    rng: Rng,
    tally: Tally,
    /// Backups so far.
    number: u64,
}

async fn campaign(scale: Scale) {
    let mut plan = FleetPlan::new(1, scale.seed);
    plan.edge = plan.edge.env("HOLDFAST_STORE_QUOTA", QUOTA);
    let fleet = plan.build().expect("the fleet starts");
    let device = Arc::new(Device {
        address: fleet.edges[0].http(),
        token: fleet.edges[0].admin_token().expect("init made one"),
        acknowledged: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        moved: std::sync::Mutex::default(),
    });
    let posting = tokio::spawn(Arc::clone(&device).run());
    let rng = Rng::keyed(scale.seed, &[7]);
    let mut campaign = Campaign { fleet, device, rng, tally: Tally::of(&ALL), number: 0 };
    campaign.wait_for_pruning().await;
    let wanted = scale.of(FULL, FLOOR);
    for number in 0..wanted {
        match number % 3 {
            0 | 1 => campaign.kill_edge().await,
            _ => campaign.kill_backup().await,
        }
        tell("upkeep", number + 1, wanted);
    }
    campaign.let_one_finish();
    campaign.device.stop.store(true, Ordering::Relaxed);
    posting.await.expect("the device posts to the end");
    campaign.finish(wanted).await;
}

impl Campaign {
    fn edge(&self) -> &Edge {
        &self.fleet.edges[0]
    }

    async fn wait_for_pruning(&self) {
        let store = until_async("readings to be pruned", SYNC_LIMIT, async || {
            let status = get(&mut admin_of_edge(self.edge()), "/v1/status").await;
            let store = status["store"].clone();
            (store["shed_acknowledged"].as_u64()? > 0).then_some(store)
        })
        .await;
        let [used, quota] = ["used_bytes", "quota_bytes"].map(|key| store[key].as_u64());
        assert!(used > quota.map(|quota| quota / 2), "more went than makes room: {store}");
        self.tally.strike(PRUNED);
    }

    fn backup_dir(&mut self) -> PathBuf {
        self.number += 1;
        self.fleet.dir().join(format!("backup-{}", self.number))
    }

    /// Lets a backup begin, and a moment pass.
    async fn begin(&mut self) -> (crate::process::Running, PathBuf) {
        let to = self.backup_dir();
        let running = self.edge().command_started("backup", [&*to.to_string_lossy()]);
        let moment = Duration::from_micros(self.rng.below(120_000));
        tokio::time::sleep(moment).await;
        (running.expect("a backup starts"), to)
    }

    async fn kill_edge(&mut self) {
        let (mut backup, to) = self.begin().await;
        let running = backup.is_running().expect("its state can be read");
        let before = self.device.acknowledged.load(Ordering::Relaxed);
        self.fleet.edges[0].kill9().expect("the gateway dies");
        self.tally.add(EDGE, u64::from(running));
        let status = backup.wait(SYNC_LIMIT).expect("the backup ends");
        assert!(status.success(), "a backup does not need the gateway: {}", backup.told());
        self.fleet.edges[0].start().expect("the gateway starts again");
        *self.device.moved.lock().expect("no panic") = Some(self.edge().http());
        until_async("readings to be acknowledged again", SYNC_LIMIT, async || {
            (self.device.acknowledged.load(Ordering::Relaxed) > before).then_some(())
        })
        .await;
        self.is_whole(&to);
    }

    async fn kill_backup(&mut self) {
        let (mut backup, to) = self.begin().await;
        let running = backup.is_running().expect("its state can be read");
        backup.kill9().expect("the backup dies");
        self.tally.add(BACKUP, u64::from(running));
        if to.join("backup.json").exists() && !to.join("unfinished").exists() {
            return self.is_whole(&to);
        }
        let refused = self.restored(&to).expect_err("half a backup is none");
        assert!(refused.contains("is not a whole backup"), "{refused}");
        self.tally.strike(REFUSED);
        // The same directory may be named again.
        if to.exists() {
            self.edge().command("backup", [&*to.to_string_lossy()]).expect("a backup is made");
            self.is_whole(&to);
        }
    }

    fn let_one_finish(&mut self) {
        let to = self.backup_dir();
        self.edge().command("backup", [&*to.to_string_lossy()]).expect("a backup is made");
        self.is_whole(&to);
    }

    fn restored(&self, backup: &Path) -> Result<Edge, String> {
        let home = self.fleet.dir().join("restored");
        if home.exists() {
            fs::remove_dir_all(&home).expect("it can be removed");
        }
        fs::create_dir(&home).expect("a directory");
        let edge = Edge::at("restored", &home, Settings::default());
        let data = edge.data().to_string_lossy().into_owned();
        let done = edge.command("restore", [&*backup.to_string_lossy(), "--data", &data]);
        done.map(|_| edge).map_err(|error| error.to_string())
    }

    /// Restores a backup and has it verified.
    fn is_whole(&self, backup: &Path) {
        let edge = self.restored(backup).expect("a whole backup can be restored");
        let service: &Service = &edge;
        service.command("verify", []).expect("`verify` finds nothing");
        self.tally.strike(WHOLE);
        fs::remove_dir_all(backup).expect("it can be removed");
    }

    async fn finish(self, kills: u64) {
        let Self { mut fleet, device, tally, .. } = self;
        caught_up(&mut admin_of_edge(&fleet.edges[0])).await;
        let acknowledged = device.acknowledged.load(Ordering::Relaxed);
        let there = until_async("all acknowledged readings on the hub", SYNC_LIMIT, async || {
            let there = sequences(&export_hub(&fleet.hub));
            (there.len() as u64 >= acknowledged).then_some(there)
        })
        .await;
        assert_eq!(there.first(), Some(&1));
        // The last batch may have been stored and not acknowledged.
        let last = there.last().copied().unwrap_or_default();
        assert!([acknowledged, acknowledged + BATCH].contains(&last), "{acknowledged} {last}");
        assert_eq!(there.len() as u64, last, "no sequence is missing");
        let here = sequences(&export_edge(&fleet.edges[0]));
        assert!(here.len() < there.len(), "nothing was pruned");
        assert!(here.is_subset(&there), "the hub has what the gateway has");
        let segments = verify(&mut fleet);
        println!(
            "upkeep: {kills} kills, {acknowledged} readings acknowledged, {} of them left on the \
             gateway, {segments} segments",
            here.len()
        );
        assert!(segments > 0, "nothing was sealed");
        tally.finish().expect("every kind of kill struck");
    }
}

/// The sequences of exported readings, each once.
fn sequences(lines: &[String]) -> BTreeSet<u64> {
    let seq = |line: &String| serde_json::from_str::<Value>(line).ok()?["seq"].as_u64();
    let all: BTreeSet<_> = lines.iter().filter_map(seq).collect();
    assert_eq!(all.len(), lines.len(), "each reading once");
    all
}
