//! Kill: gateways and hub die by SIGKILL at random moments under load, and nothing is lost.
//!
//! The stations of two gateways post without a break. Hub and gateways are killed in turn: at
//! moments drawn from the seed, just when a gateway's log grew, and while they start. Where each
//! kill struck is told by what it left behind: posts without an answer, posts that were stored and
//! not answered (their repetition is recognised), packets that were on the link. Kills go on beyond
//! their number until each kind has struck.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::audit::audit;
use super::load::{self, SOON, block_on, carried, online, progress};
use super::{Scale, tell};
use crate::faults::Tally;
use crate::process::{Fleet, FleetPlan, Settings};
use crate::rng::Rng;
use crate::waterworks::Shift;

const FULL: u64 = 200;
const FLOOR: u64 = 12;
/// Kills at most, as a multiple of their number, until each kind has struck.
const CAP: u64 = 6;
const EDGES: usize = 2;
/// Windows short enough to close many times in a run.
const WIDTHS_S: [u32; 2] = [1, 5];
/// Packets within so long before a kill mean that something was on its way.
const MOVING: Duration = Duration::from_millis(25);
/// A node starts in about this time; kills in the start are drawn from it.
const STARTING_US: u64 = 12_000;

const EDGE: &str = "gateway killed";
const HUB: &str = "hub killed";
const UNANSWERED: &str = "gateway killed while posts waited for their answer";
const BETWEEN: &str = "gateway killed between commit and answer";
const EDGE_SYNC: &str = "gateway killed while a sync was under way";
const HUB_SYNC: &str = "hub killed while a sync was under way";
const EDGE_START: &str = "gateway killed while it started";
const HUB_START: &str = "hub killed while it started";
const ALL: [&str; 8] = [EDGE, HUB, UNANSWERED, BETWEEN, EDGE_SYNC, HUB_SYNC, EDGE_START, HUB_START];

struct Campaign {
    fleet: Fleet,
    shifts: Vec<Shift>,
    rng: Rng,
    tally: Tally,
}

/// Kills hub and gateways under load, then audits.
///
/// # Panics
/// When a node does not come back, or the audit finds anything.
pub fn kills(scale: Scale) {
    block_on(campaign(scale));
}

async fn campaign(scale: Scale) {
    let plan = FleetPlan::new(EDGES, scale.seed).with(&scale.node());
    let widths = WIDTHS_S.map(|width| format!("{width}s")).join(",");
    let edge = plan.edge.clone().with(
        &Settings::default()
            .env("HOLDFAST_SYNC_BACKOFF_MIN", "50ms")
            .env("HOLDFAST_SYNC_BACKOFF_MAX", "500ms")
            .env("HOLDFAST_ROLLUPS_WIDTHS", widths),
    );
    let fleet = FleetPlan { edge, ..plan }.build().expect("the fleet starts");
    let shifts = fleet.edges.iter().zip(1..);
    let shifts = shifts.map(|(edge, boot)| load::start(edge, scale.seed, boot, 12, 100)).collect();
    let (rng, tally) = (Rng::keyed(scale.seed, &[1]), Tally::of(&ALL));
    let mut campaign = Campaign { fleet, shifts, rng, tally };
    let wanted = scale.of(FULL, FLOOR);
    let mut number = 0;
    while number < wanted || (!campaign.each_struck() && number < CAP * wanted) {
        match number % 2 {
            0 => campaign.kill_edge((number / 2) as usize % EDGES).await,
            _ => campaign.kill_hub().await,
        }
        number += 1;
        tell("kills", number, wanted);
    }
    let Campaign { mut fleet, shifts, tally, .. } = campaign;
    let mut accounts = Vec::new();
    for shift in shifts {
        accounts.push(shift.stop().await);
    }
    let told: u64 = accounts.iter().map(|account| account.readings()).sum();
    let report = audit(&mut fleet, &accounts, &WIDTHS_S).await;
    println!("kills: {number} kills, {told} readings acknowledged; {report}");
    assert!(report.segments > 0, "nothing was sealed meanwhile");
    tally.finish().expect("every kind of kill struck");
}

impl Campaign {
    fn each_struck(&self) -> bool {
        ALL.iter().all(|kind| self.tally.count(kind) > 0)
    }

    async fn kill_edge(&mut self, index: usize) {
        let (shift, edge) = (&self.shifts[index], &self.fleet.edges[index]);
        online(edge).await;
        progress(shift, shift.acknowledged(), 20).await;
        let moment = Duration::from_micros(self.rng.below(300_000));
        if self.rng.chance(0.5) {
            let after = Duration::from_micros(self.rng.below(2_000));
            tokio::time::sleep(moment).await;
            log_growth(&edge.data().join("holdfast.db-wal"), after);
        } else {
            let moving = self.moving_after(moment).await;
            self.tally.add(EDGE_SYNC, u64::from(moving));
        }
        let edge = &mut self.fleet.edges[index];
        edge.kill9().expect("the gateway dies");
        let shift = &self.shifts[index];
        self.tally.strike(EDGE);
        self.tally.add(UNANSWERED, u64::from(shift.waiting() > 0));
        let duplicates = shift.duplicates();
        if self.rng.chance(0.4) {
            let moment = Duration::from_micros(self.rng.below(STARTING_US));
            let struck = edge.kill_in_start(moment).expect("the gateway starts and dies");
            self.tally.add(EDGE_START, u64::from(struck));
        }
        edge.start().expect("the gateway starts again");
        shift.move_to(edge.http());
        progress(shift, shift.acknowledged(), 40).await;
        self.tally.add(BETWEEN, u64::from(shift.duplicates() > duplicates));
    }

    async fn kill_hub(&mut self) {
        let moment = Duration::from_micros(self.rng.below(300_000));
        let moving = self.moving_after(moment).await;
        self.fleet.hub.kill9().expect("the hub dies");
        self.tally.strike(HUB);
        self.tally.add(HUB_SYNC, u64::from(moving));
        if self.rng.chance(0.4) {
            let moment = Duration::from_micros(self.rng.below(STARTING_US));
            let struck = self.fleet.hub.kill_in_start(moment).expect("the hub starts and dies");
            self.tally.add(HUB_START, u64::from(struck));
        }
        self.fleet.restart_hub().expect("the hub starts again");
    }

    /// Lets `moment` pass and says whether packets were on the links at its end.
    async fn moving_after(&self, moment: Duration) -> bool {
        tokio::time::sleep(moment).await;
        let before = carried(&self.fleet);
        tokio::time::sleep(MOVING).await;
        carried(&self.fleet) > before
    }
}

/// Waits for the next write to a log and lets `after` pass.
fn log_growth(log: &Path, after: Duration) {
    let state =
        || fs::metadata(log).ok().and_then(|found| Some((found.len(), found.modified().ok()?)));
    let (before, deadline) = (state(), Instant::now() + SOON);
    while state() == before {
        assert!(Instant::now() < deadline, "nothing was written to {}", log.display());
        std::hint::spin_loop();
    }
    let moment = Instant::now() + after;
    while Instant::now() < moment {
        std::hint::spin_loop();
    }
}
