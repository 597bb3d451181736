//! Power, cables and the gateway fail while devices measure: no sample that a device has said is in
//! its flash is missing at the gateway in the end, and none is there twice.

use super::Mcu;
use crate::faults::Tally;
use crate::process::{Edge, Settings};
use crate::rng::Rng;
use crate::scenarios::{Scale, tell};
use crate::wait;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const POWER: &str = "device without power";
const CABLE: &str = "cable pulled";
const GATEWAY: &str = "gateway killed";
/// Devices at full size.
const DEVICES: u64 = 8;
/// Faults at full size.
const FAULTS: u64 = 400;
/// How long all samples may take to get to the gateway behind the last fault.
const LIMIT: Duration = Duration::from_secs(120);

/// The samples of each device, by boot and number.
type Samples = BTreeMap<String, BTreeSet<(u64, u64)>>;

/// Lets things fail, in turn and at random moments.
///
/// # Panics
/// When a sample is missing or there twice, or a device does not come back.
pub fn outages(scale: Scale) {
    let tally = Tally::of(&[POWER, CABLE, GATEWAY]);
    let mut rng = Rng::new(scale.seed);
    let dir = tempfile::tempdir().expect("a directory");
    let edge = Edge::init("ps-000", &dir.path().join("edge"), Settings::default());
    let mut edge = edge.expect("the gateway is made");
    edge.start().expect("it starts");
    // A device finds its gateway where it was.
    let stays = Settings::default().env("HOLDFAST_MQTT_LISTEN", edge.mqtt().to_string());
    let mut devices: Vec<Mcu> = (0..scale.of(DEVICES, 2))
        .map(|number| {
            let name = format!("mcu-{number}");
            let token = edge.device_token(&name).expect("a token");
            Mcu::new(&name, dir.path(), edge.mqtt(), &token)
        })
        .collect();
    devices.iter_mut().for_each(|device| device.start().expect("it starts"));
    let faults = scale.of(FAULTS, 20);
    for fault in 0..faults {
        std::thread::sleep(Duration::from_millis(50 + rng.below(700)));
        let device = rng.index(devices.len());
        match rng.below(10) {
            0 => {
                edge.kill9().expect("the gateway is killed");
                std::thread::sleep(Duration::from_millis(rng.below(1_500)));
                edge.start_with(&stays).expect("it starts again");
                tally.strike(GATEWAY);
            }
            1 | 2 => {
                devices[device].plug(false).expect("the cable is pulled");
                std::thread::sleep(Duration::from_millis(100 + rng.below(1_500)));
                devices[device].plug(true).expect("the cable is put in");
                tally.strike(CABLE);
            }
            _ => {
                devices[device].kill();
                devices[device].start().expect("it starts again");
                tally.strike(POWER);
            }
        }
        devices.iter_mut().for_each(Mcu::note);
        tell("firmware-outages", fault, faults);
    }
    let there = arrived(&edge, &devices);
    judge(&devices, &there);
    tally.finish().expect("every fault happened");
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
