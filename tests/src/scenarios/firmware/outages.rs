//! Power, cables, the gateway, its disk and the hub fail while devices measure and people order
//! them about: no sample that a device has said is in its flash is missing at the gateway in the
//! end, and none is there twice; device, gateway and hub say the same of what each device should be
//! and is; no device has begun a command twice; and each run of a workflow that devices run by
//! themselves did what it is to do.

use super::people::People;
use super::site::Nodes;
use super::{Mcu, flows};
use crate::faults::Tally;
use crate::process::{Edge, LIMIT as NODE_LIMIT};
use crate::rng::Rng;
use crate::scenarios::{Scale, tell};
use crate::tmpfs::{Skipped, Tmpfs};
use crate::wait;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

const POWER: &str = "device without power";
const CABLE: &str = "cable pulled";
const GATEWAY: &str = "gateway killed";
const DISK: &str = "gateway's disk full";
const HUB: &str = "hub away";
/// Devices at full size.
const DEVICES: u64 = 8;
/// Faults at full size.
const FAULTS: u64 = 400;
/// Bytes of the gateway's disk.
const DISK_BYTES: u64 = 256 << 20;
/// How long all samples may take to get to the gateway behind the last fault.
const LIMIT: Duration = Duration::from_secs(120);

/// The samples of each device, by boot and number.
type Samples = BTreeMap<String, BTreeSet<(u64, u64)>>;

/// A hub, a gateway on a disk of its own where that can be had, and devices.
struct Site {
    tally: Tally,
    nodes: Nodes,
    /// Whether the hub is away, and for how many more faults.
    away: u64,
    disk: Option<Tmpfs>,
    devices: Vec<Mcu>,
}

/// Lets things fail, in turn and at random moments.
///
/// # Panics
/// When a promise is broken, or a device does not come back.
pub fn outages(scale: Scale) {
    let mut rng = Rng::new(scale.seed);
    let dir = tempfile::tempdir().expect("a directory");
    let mut site = Site::new(dir.path(), scale);
    let mut people = People::default();
    let faults = scale.of(FAULTS, 20);
    for fault in 0..faults {
        std::thread::sleep(Duration::from_millis(50 + rng.below(700)));
        let hub = (site.away == 0).then_some(&site.nodes.hub);
        people.act(&mut rng, &site.nodes.edge, hub, &site.devices);
        site.strike(&mut rng, fault, faults);
        site.devices.iter_mut().for_each(Mcu::note);
        tell("firmware-outages", fault, faults);
    }
    site.bring_back_hub();
    let (edge, hub) = (&site.nodes.edge, &site.nodes.hub);
    let there = arrived(edge, &site.devices);
    people.judge(edge, hub, &mut site.devices, LIMIT);
    judge(&site.devices, &there);
    let runs = site.devices.iter().map(|device| flows::judge(edge, hub, device, LIMIT));
    println!("{} runs on the devices, each as it is to be", runs.sum::<usize>());
    site.tally.finish().expect("every fault happened");
}

impl Site {
    fn new(dir: &Path, scale: Scale) -> Self {
        let tally = Tally::of(&[POWER, CABLE, GATEWAY, HUB]);
        let (disk, home) = disk(dir, &tally);
        let nodes = Nodes::new(dir, &home);
        flows::assign(&nodes.hub, dir, &flows::of_the_lamp());
        let fleet = flows::fleet_of(&nodes.edge);
        let mut devices: Vec<Mcu> = (0..scale.of(DEVICES, 2))
            .map(|number| {
                let name = format!("mcu-{number}");
                let token = nodes.edge.device_token(&name).expect("a token");
                let mut device = Mcu::new(&name, dir, nodes.edge.mqtt(), &token);
                device.trust(fleet.clone());
                device
            })
            .collect();
        devices.iter_mut().for_each(|device| device.start().expect("it starts"));
        for device in &devices {
            flows::has(&nodes.edge, &device.name, LIMIT);
        }
        Self { tally, nodes, away: 0, disk, devices }
    }

    /// Lets one thing fail. Each kind has its turns, whatever is drawn.
    fn strike(&mut self, rng: &mut Rng, fault: u64, faults: u64) {
        let device = rng.index(self.devices.len());
        let turn = |part: u64| fault == faults * part / 8;
        let drawn = rng.below(12);
        if turn(3) || turn(6) {
            self.fill_disk(turn(6));
        } else if self.away == 0 && (turn(2) || drawn == 4) {
            self.send_hub_away(4 + rng.below(6));
        } else if turn(4) || drawn < 2 {
            self.nodes.edge.kill9().expect("the gateway is killed");
            std::thread::sleep(Duration::from_millis(rng.below(1_500)));
            self.nodes.edge.start_with(&self.nodes.stays).expect("it starts again");
            self.tally.strike(GATEWAY);
        } else if turn(5) || drawn < 4 {
            self.devices[device].plug(false).expect("the cable is pulled");
            std::thread::sleep(Duration::from_millis(100 + rng.below(1_500)));
            self.devices[device].plug(true).expect("the cable is put in");
            self.tally.strike(CABLE);
        } else {
            self.devices[device].kill();
            self.devices[device].start().expect("it starts again");
            self.tally.strike(POWER);
        }
        match self.away {
            0 => {}
            1 => self.bring_back_hub(),
            _ => self.away -= 1,
        }
    }

    fn send_hub_away(&mut self, faults: u64) {
        self.nodes.hub.kill9().expect("the hub is killed");
        self.tally.strike(HUB);
        self.away = faults;
    }

    fn bring_back_hub(&mut self) {
        if self.away > 0 {
            self.nodes.hub.start_with(&self.nodes.hub_stays).expect("the hub starts again");
            self.away = 0;
        }
    }

    /// Takes the gateway's disk away for some seconds.
    fn fill_disk(&self, is_long: bool) {
        let Some(disk) = &self.disk else { return };
        // What the gateway writes meanwhile is in the way of taking all that is free.
        wait::until("the disk to be filled", NODE_LIMIT, || disk.fill(0).ok());
        disk.fill_more().expect("what became free is taken");
        std::thread::sleep(Duration::from_secs(if is_long { 10 } else { 2 }));
        disk.relieve().expect("there is room again");
        self.tally.strike(DISK);
    }
}

/// A disk that can be filled, where that is allowed, and the gateway's place on it.
fn disk(dir: &Path, tally: &Tally) -> (Option<Tmpfs>, PathBuf) {
    match Tmpfs::mount(DISK_BYTES) {
        Ok(disk) => {
            tally.add(DISK, 0);
            let home = disk.path().join("edge");
            (Some(disk), home)
        }
        Err(Skipped(reason)) => {
            println!("{reason}");
            (None, dir.join("edge"))
        }
    }
}

/// Waits until the gateway has everything that the devices had in flash at this moment.
pub(super) fn arrived(edge: &Edge, devices: &[Mcu]) -> Samples {
    wait::until("all samples to be at the gateway", LIMIT, || {
        std::thread::sleep(Duration::from_millis(500));
        let there = exported(edge);
        let has_all = devices.iter().all(|device| {
            there.get(&device.name).is_some_and(|there| device.kept().is_subset(there))
        });
        has_all.then_some(there)
    })
}

/// What the gateway has of messages with a name.
///
/// # Panics
/// When something is there twice.
pub(in crate::scenarios) fn exported(edge: &Edge) -> Samples {
    let (mut there, mut all) = (Samples::new(), BTreeSet::new());
    let each = |line: &str| {
        let reading: Json = serde_json::from_str(line).expect("a line of JSON");
        let (Some(boot), Some(seq)) = (reading["boot"].as_u64(), reading["seq"].as_u64()) else {
            return;
        };
        let text = |name: &str| reading[name].as_str().expect("a text").to_owned();
        let (device, name) = (text("device"), (boot, seq));
        let is_new = all.insert((device.clone(), text("metric"), name));
        assert!(is_new, "{device} has {name:?} twice");
        there.entry(device).or_default().insert(name);
    };
    edge.export(each).expect("the gateway's data can be exported");
    there
}

/// Sees to it that what is there is what devices have measured: of each boot all from the first on.
pub(super) fn judge(devices: &[Mcu], there: &Samples) {
    let mut count = 0;
    for device in devices {
        let there = &there[&device.name];
        let last = there.iter().next_back().map_or(0, |(boot, _)| *boot);
        assert!(last <= device.starts(), "{} has not started so often", device.name);
        for (boot, sequence) in there {
            let is_first = *sequence == 1;
            let has_one_before = || there.contains(&(*boot, sequence - 1));
            assert!(is_first || has_one_before(), "{} lacks one", device.name);
        }
        count += there.len();
    }
    println!("{count} samples of {} devices, each there once", devices.len());
}
