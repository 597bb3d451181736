//! Power, cables, the gateway, its disk and the hub fail while devices measure and people order
//! them about: no sample that a device has said is in its flash is missing at the gateway in the
//! end, and none is there twice; device, gateway and hub say the same of what each device should be
//! and is; and no device has begun a command twice.

use super::Mcu;
use super::people::People;
use crate::faults::Tally;
use crate::process::{Edge, Hub, LIMIT as NODE_LIMIT, Settings};
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
    edge: Edge,
    hub: Hub,
    /// Whether the hub is away, and for how many more faults.
    away: u64,
    disk: Option<Tmpfs>,
    /// Where nodes that start again are to be found: each looks where the other was.
    stays: Settings,
    hub_stays: Settings,
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
        people.act(&mut rng, &site.edge, (site.away == 0).then_some(&site.hub), &site.devices);
        site.strike(&mut rng, fault, faults);
        site.devices.iter_mut().for_each(Mcu::note);
        tell("firmware-outages", fault, faults);
    }
    site.bring_back_hub();
    let there = arrived(&site.edge, &site.devices);
    people.judge(&site.edge, &site.hub, &mut site.devices, LIMIT);
    judge(&site.devices, &there);
    site.tally.finish().expect("every fault happened");
}

impl Site {
    fn new(dir: &Path, scale: Scale) -> Self {
        let tally = Tally::of(&[POWER, CABLE, GATEWAY, HUB]);
        let (disk, home) = disk(dir, &tally);
        let mut hub = Hub::init(&dir.join("hub"), Settings::default()).expect("the hub is made");
        hub.start().expect("it starts");
        let enrolment = hub.enrolment("north", "ps-000", hub.sync()).expect("an enrolment");
        let edge = Edge::init("ps-000", &home, Settings::default());
        let mut edge = edge.expect("the gateway is made");
        edge.join(&enrolment).expect("it joins");
        edge.start().expect("it starts");
        let stays = Settings::default().env("HOLDFAST_MQTT_LISTEN", edge.mqtt().to_string());
        let hub_stays = Settings::default().env("HOLDFAST_SYNC_LISTEN", hub.sync().to_string());
        let mut devices: Vec<Mcu> = (0..scale.of(DEVICES, 2))
            .map(|number| {
                let name = format!("mcu-{number}");
                let token = edge.device_token(&name).expect("a token");
                Mcu::new(&name, dir, edge.mqtt(), &token)
            })
            .collect();
        devices.iter_mut().for_each(|device| device.start().expect("it starts"));
        Self { tally, edge, hub, away: 0, disk, stays, hub_stays, devices }
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
            self.edge.kill9().expect("the gateway is killed");
            std::thread::sleep(Duration::from_millis(rng.below(1_500)));
            self.edge.start_with(&self.stays).expect("it starts again");
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
        self.hub.kill9().expect("the hub is killed");
        self.tally.strike(HUB);
        self.away = faults;
    }

    fn bring_back_hub(&mut self) {
        if self.away > 0 {
            self.hub.start_with(&self.hub_stays).expect("the hub starts again");
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
fn arrived(edge: &Edge, devices: &[Mcu]) -> Samples {
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
fn judge(devices: &[Mcu], there: &Samples) {
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
