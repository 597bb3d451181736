//! Restore: a gateway, then the hub, are lost and come back from backups that are older than much
//! of what they had.
//!
//! Both are backed up under load. Then readings go on, a gateway is killed and started, another one
//! joins. The first gateway's disk is lost: restored, it gets back from the hub what it had said
//! since, and says that it is an earlier state of itself. Then the hub's disk is lost: restored, it
//! gets everything from the gateways, the one it has never heard of too. At last a gateway's
//! directory is copied and run twice, which the hub has to notice, and started on another machine,
//! which it has to refuse.

use std::fs;
use std::path::{Path, PathBuf};

use super::audit::{Report, audit, edge_client, hub_client, look, rest};
use super::load::{self, SOON, block_on, online, progress};
use super::{Scale, tell};
use crate::faults::Tally;
use crate::net::Proxy;
use crate::process::{Edge, Fleet, FleetPlan, Hub, Service, Settings};
use crate::rng::hash;
use crate::wait::until_async;
use crate::waterworks::{Account, Shift};

const FULL: u64 = 10;
const FLOOR: u64 = 1;
const WIDTHS_S: [u32; 2] = [1, 5];

const EDGE: &str = "gateway restored from an older backup";
const HUB: &str = "hub restored from an older backup";
const AHEAD: &str = "restored gateway that found the hub ahead of it";
const ADOPTED: &str = "gateway let in by its membership alone";
const TWICE: &str = "two gateways with one key noticed";
const MOVED: &str = "gateway on another machine refused";

/// Restores a gateway and the hub, then audits.
///
/// # Panics
/// When a node does not come back, or the audit finds anything.
pub fn restore(scale: Scale) {
    let tally = Tally::of(&[EDGE, HUB, AHEAD, ADOPTED, TWICE, MOVED]);
    let rounds = scale.of(FULL, FLOOR);
    for number in 0..rounds {
        let report = block_on(round(hash(scale.seed, &[number]), &tally));
        println!("restore: {report}");
        tell("restore", number + 1, rounds);
    }
    tally.finish().expect("everything struck");
}

struct Campaign {
    seed: u64,
    settings: Settings,
    fleet: Fleet,
    accounts: Vec<Account>,
    boots: u32,
}

async fn round(seed: u64, tally: &Tally) -> Report {
    let plan = FleetPlan::new(2, seed);
    let widths = WIDTHS_S.map(|width| format!("{width}s")).join(",");
    let settings = plan.edge.clone().with(
        &Settings::default()
            .env("HOLDFAST_SYNC_BACKOFF_MIN", "50ms")
            .env("HOLDFAST_SYNC_BACKOFF_MAX", "500ms")
            .env("HOLDFAST_ROLLUPS_WIDTHS", widths),
    );
    let fleet = FleetPlan { edge: settings.clone(), ..plan }.build().expect("the fleet starts");
    let mut campaign = Campaign { seed, settings, fleet, accounts: Vec::new(), boots: 0 };
    let backups = campaign.back_up_and_go_on().await;
    campaign.restore_edge(&backups.0, tally).await;
    campaign.restore_hub(&backups.1, tally).await;
    campaign.run_twice(tally).await;
    campaign.move_away(tally);
    audit(&mut campaign.fleet, &campaign.accounts, &WIDTHS_S).await
}

impl Campaign {
    fn path(&self, name: &str) -> PathBuf {
        self.fleet.dir().join(name)
    }

    fn shift(&mut self, index: usize) -> Shift {
        self.boots += 1;
        load::start(&self.fleet.edges[index], self.seed, self.boots, 6, 50)
    }

    async fn end(&mut self, shift: Shift) {
        self.accounts.push(shift.stop().await);
    }

    /// Backs the first gateway and the hub up under load; then much more happens.
    async fn back_up_and_go_on(&mut self) -> (PathBuf, PathBuf) {
        let (first, second) = (self.shift(0), self.shift(1));
        progress(&first, 0, 60).await;
        let backups = (self.path("edge-backup"), self.path("hub-backup"));
        back_up(&self.fleet.edges[0], &backups.0);
        back_up(&self.fleet.hub, &backups.1);
        progress(&first, first.acknowledged(), 60).await;
        let edge = &mut self.fleet.edges[0];
        edge.kill9().expect("the gateway dies");
        edge.start().expect("the gateway starts again");
        first.move_to(edge.http());
        self.join("late");
        let third = self.shift(2);
        progress(&first, first.acknowledged(), 60).await;
        progress(&third, 0, 40).await;
        for shift in [first, second, third] {
            self.end(shift).await;
        }
        rest(&self.fleet).await;
        backups
    }

    fn join(&mut self, name: &str) {
        let link = Proxy::start(self.fleet.hub.sync(), self.seed).expect("a link can be made");
        let invitation = self.fleet.hub.enrolment("north", name, link.address());
        let invitation = invitation.expect("the hub invites");
        let edge = Edge::init(name, &self.path(name), self.settings.clone());
        let mut edge = edge.expect("a gateway is made");
        edge.join(&invitation).expect("it takes the invitation");
        edge.start().expect("it starts");
        self.fleet.edges.push(edge);
        self.fleet.links.push(link);
    }

    async fn restore_edge(&mut self, backup: &Path, tally: &Tally) {
        self.fleet.edges[0].kill9().expect("the gateway dies");
        let home = self.path("edge-restored");
        let mut edge = Edge::at("ps-000", &home, self.settings.clone());
        bring_back(&edge, &home, backup);
        edge.start().expect("the restored gateway starts");
        self.fleet.edges[0] = edge;
        tally.strike(EDGE);
        let shift = self.shift(0);
        progress(&shift, 0, 40).await;
        self.end(shift).await;
        rest(&self.fleet).await;
        let status = look(&mut edge_client(&self.fleet.edges[0]), "/v1/status").await;
        let ahead = status["uplink"]["ahead"].as_u64().unwrap_or_default();
        assert!(ahead > 0, "the gateway does not know that it is an earlier state: {status}");
        tally.strike(AHEAD);
    }

    async fn restore_hub(&mut self, backup: &Path, tally: &Tally) {
        self.fleet.hub.kill9().expect("the hub dies");
        let home = self.path("hub-restored");
        let hub = Hub::at(&home, FleetPlan::new(0, 0).hub);
        bring_back(&hub, &home, backup);
        self.fleet.hub = hub;
        self.fleet.restart_hub().expect("the restored hub starts");
        tally.strike(HUB);
        rest(&self.fleet).await;
        let listed = look(&mut hub_client(&self.fleet.hub), "/v1/nodes").await;
        let nodes = listed["nodes"].as_array().expect("a list");
        let late = nodes.iter().find(|node| node["name"] == "late");
        assert_eq!(late.map(|node| &node["state"]), Some(&"online".into()), "{listed}");
        tally.strike(ADOPTED);
    }

    /// Runs a copy of a gateway beside it until the hub says so.
    async fn run_twice(&mut self, tally: &Tally) {
        let copied = self.path("copied");
        let edge = &mut self.fleet.edges[1];
        edge.stop().expect("the gateway stops");
        fs::create_dir(&copied).expect("a directory");
        for entry in fs::read_dir(edge.data()).expect("its files").flatten() {
            fs::copy(entry.path(), copied.join(entry.file_name())).expect("a file is copied");
        }
        edge.start().expect("the gateway starts again");
        online(&self.fleet.edges[1]).await;
        let mut twin = Edge::at("ps-001", &self.path("ps-001"), self.settings.clone());
        let twin_data = Settings::default().env("HOLDFAST_NODE_DATA", copied.as_os_str());
        twin.start_with(&twin_data).expect("the copy starts");
        let active = "/v1/alerts?state=active&rule=key-twice";
        until_async("the hub to tell that a key is in use twice", SOON, || async {
            let alerts = look(&mut hub_client(&self.fleet.hub), active).await;
            (alerts["alerts"].as_array()?.len() == 1).then_some(())
        })
        .await;
        twin.kill9().expect("the copy dies");
        tally.strike(TWICE);
        online(&self.fleet.edges[1]).await;
    }

    /// Starts a gateway on a machine that is not its own.
    fn move_away(&mut self, tally: &Tally) {
        let ids = ["this-machine", "other-machine"].map(|name| {
            let path = self.path(name);
            fs::write(&path, name).expect("an id");
            Settings::default().env("HOLDFAST_NODE_MACHINE_ID", path)
        });
        let edge = &mut self.fleet.edges[1];
        edge.stop().expect("the gateway stops");
        edge.command_with("adopt", [], &ids[0]).expect("the machine becomes its own");
        let refused = edge.start_with(&ids[1]).expect_err("it must not start elsewhere");
        assert!(refused.to_string().contains("belongs to another machine"), "{refused}");
        edge.command_with("adopt", [], &ids[1]).expect("it has moved");
        edge.start_with(&ids[1]).expect("it starts where it has moved to");
        tally.strike(MOVED);
    }
}

fn back_up(node: &Service, to: &Path) {
    let told = node.command("backup", [&*to.to_string_lossy()]).expect("a backup is made");
    assert!(told.iter().any(|line| line.starts_with("Verified.")), "{told:#?}");
}

fn bring_back(node: &Service, home: &Path, backup: &Path) {
    fs::create_dir(home).expect("a directory");
    let data = node.data().to_string_lossy();
    node.command("restore", [&*backup.to_string_lossy(), "--data", &data])
        .expect("the backup is restored");
}
