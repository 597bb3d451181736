//! Devices get other firmware from the hub: whatever ends in the middle of it, a device starts,
//! with one image or the other, and loses no sample; an image that hangs goes again.

use super::device::IMAGE;
use super::site::Nodes;
use super::{FIRMWARE_DIR, Mcu, flows, outages};
use crate::faults::Tally;
use crate::process::{Edge, Hub};
use crate::rng::Rng;
use crate::scenarios::{Scale, tell};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

/// What was under way when the power went.
type Fault = &'static str;

const FETCH: &str = "device without power while it fetches";
const SWAP: &str = "device without power while images are swapped";
const TRIAL: &str = "device without power while an image is on trial";
const HANG: &str = "image that hangs";
/// Kills at full size.
const KILLS: u64 = 150;
/// Looks at the console between two at what the gateway shows.
const LOOKS_OF_A_LOOK: u32 = 100;
/// Between two looks at the gateway.
const LOOK: Duration = Duration::from_millis(200);
/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(120);
/// What images for the emulated board are called.
const BOARD: &str = "mps2-an385";
/// Where an image is linked.
const LINKED: usize = 0x8000;
/// What stands before the version in an image.
const HEAD: &[u8] = b"holdfast-firmware ";
/// What a device says that can fetch, that has made an image ready for its next start, and that
/// runs one on trial.
const CONNECTED: &str = "connected to the gateway";
const READY: &str = "it starts again, for other firmware";
const TRYING: &str = ", on trial";
/// A branch to itself, in Thumb.
const HANGS: [u8; 2] = [0xfe, 0xe7];

/// The image that was built, under another version.
fn image(version: &str) -> Vec<u8> {
    let dir = std::env::var_os(FIRMWARE_DIR).expect("the folder of the programs");
    let mut image = std::fs::read(Path::new(&dir).join(IMAGE)).expect("the image");
    let at = image.windows(HEAD.len()).position(|some| some == HEAD).expect("a version");
    image[at + HEAD.len()..][..version.len()].copy_from_slice(version.as_bytes());
    image
}

/// An image that does nothing, for ever.
fn hanging(version: &str) -> Vec<u8> {
    let mut image = image(version);
    let start = u32::from_le_bytes(image[4..8].try_into().expect("four bytes")) as usize;
    image[start - 1 - LINKED..][..2].copy_from_slice(&HANGS);
    image
}

/// Who makes firmware, at the hub.
struct Works<'s> {
    hub: &'s Hub,
    dir: &'s Path,
}

impl<'s> Works<'s> {
    fn new(hub: &'s Hub, dir: &'s Path) -> Self {
        let out = dir.to_str().expect("a path of our own making");
        let made = hub.command("publisher", ["new", "makers", "--kind", "firmware", "--out", out]);
        made.expect("a publisher is named");
        Self { hub, dir }
    }

    /// Publishes an image; its artefact.
    fn publish(&self, version: &str, image: &[u8]) -> String {
        let path = |name: &str| self.dir.join(name).to_str().expect("a path").to_owned();
        let (file, key) = (path(&format!("{version}.bin")), path("makers.key"));
        std::fs::write(&file, image).expect("the file is written");
        let what = [
            "publish",
            &file,
            "--key",
            &key,
            "--kind",
            "firmware",
            "--name",
            BOARD,
            "--version",
            version,
        ];
        let told = self.hub.command("artefact", what);
        let told = told.expect("it is published");
        let id = told.iter().find_map(|line| Some(line.split_once(": ")?.1.to_owned()));
        id.unwrap_or_else(|| panic!("{told:?}"))
    }

    fn assign(&self, id: &str) {
        self.hub.command("artefact", ["assign", "north", BOARD, id]).expect("the site uses it");
    }

    fn unassign(&self) {
        self.hub.command("artefact", ["unassign", "north", BOARD]).expect("it uses it no more");
    }
}

/// What a device reports below `device` at a path.
fn reported(edge: &Edge, device: &str, path: &[&str]) -> Option<String> {
    let twin = edge.command("twin", ["get", device, "--json"]).ok()?;
    let twin: serde_json::Value = serde_json::from_str(&twin.join("\n")).ok()?;
    let mut at = &twin["reported"]["values"]["device"];
    for name in path {
        at = &at[*name];
    }
    at.as_str().map(str::to_owned)
}

/// A device at a gateway, as its makers see it.
struct Bench<'s> {
    works: Works<'s>,
    edge: &'s Edge,
    device: Mcu,
}

impl Bench<'_> {
    /// How its update stands.
    fn stands(&self) -> String {
        reported(self.edge, &self.device.name, &["update", "progress"]).unwrap_or_default()
    }

    /// What it runs.
    fn version(&self) -> String {
        reported(self.edge, &self.device.name, &["firmware"]).unwrap_or_default()
    }

    /// Waits for something that is seen at the gateway.
    fn until(&self, what: &str, is_it: impl Fn() -> bool) {
        self.until_some(what, || {
            std::thread::sleep(LOOK);
            is_it().then_some(())
        });
    }

    /// Waits for something; in vain, it says how the device is.
    fn until_some<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(found) = look() {
                return found;
            }
            if Instant::now() > deadline {
                let (stands, version) = (self.stands(), self.version());
                let said = self.device.said_last(20).join("\n");
                panic!("waited in vain for {what}: {version}, update `{stands}`; it said\n{said}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Has it try an update once more that fell back.
    fn again(&self, id: &str) {
        if self.stands().starts_with("fell back") {
            self.works.unassign();
            self.until("the device to have no update", || self.stands().is_empty());
            self.works.assign(id);
        }
    }

    /// Whether it runs a version for good.
    fn runs(&self, version: &str) -> bool {
        (self.version().as_str(), self.stands().as_str()) == (version, "runs")
    }

    /// Takes the power away while the device is at what `line` says, and gives it back; what was
    /// struck, or nothing when it is through with the update.
    fn strike(&mut self, id: &str, version: &str, line: &str, within: Duration) -> Option<Fault> {
        let mut looks = 0;
        let is_there = self.until_some(line, || {
            if self.device.has_said(line) {
                return Some(true);
            }
            looks += 1;
            if looks % LOOKS_OF_A_LOOK == 0 {
                self.again(id);
                return self.runs(version).then_some(false);
            }
            None
        });
        if !is_there {
            return None;
        }
        std::thread::sleep(within);
        let struck = match [TRYING, READY].map(|line| self.device.has_said(line)) {
            [true, _] => TRIAL,
            [_, true] => SWAP,
            _ => FETCH,
        };
        self.device.kill();
        self.device.start().expect("it starts with one image or the other");
        self.device.note();
        Some(struck)
    }
}

/// Updates a device again and again, whose power goes all the time; then once more, to an image
/// that hangs.
///
/// # Panics
/// When a promise is broken, or a device does not come back.
pub fn update(scale: Scale) {
    let mut rng = Rng::new(scale.seed);
    let dir = tempfile::tempdir().expect("a directory");
    let tally = Tally::of(&[FETCH, SWAP, TRIAL, HANG]);
    let site = Nodes::new(dir.path(), &dir.path().join("edge"));
    let token = site.edge.device_token("mcu-0").expect("a token");
    let mut device = Mcu::new("mcu-0", dir.path(), site.edge.mqtt(), &token);
    device.trust(flows::fleet_of(&site.edge));
    device.start().expect("it starts");
    let works = Works::new(&site.hub, dir.path());
    let mut bench = Bench { works, edge: &site.edge, device };
    bench.until("the device to say what it runs", || bench.version() == "0.1.0");
    let kills = scale.of(KILLS, 12);
    let (mut done, mut rounds, mut version) = (0, 0, String::new());
    while done < kills {
        rounds += 1;
        // As long as the one that was built.
        version = format!("1.{}.{}", rounds / 10, rounds % 10);
        let id = bench.works.publish(&version, &image(&version));
        bench.works.assign(&id);
        for (line, within_ms) in [(CONNECTED, 1_200), (READY, 300), (TRYING, 40)] {
            let within = Duration::from_millis(rng.below(within_ms));
            let Some(struck) = bench.strike(&id, &version, line, within) else { break };
            tally.strike(struck);
            done += 1;
            tell("firmware-update", done - 1, kills);
        }
        bench.until("the update to be through", || {
            bench.again(&id);
            bench.runs(&version)
        });
    }
    let bad = bench.works.publish("9.9.9", &hanging("9.9.9"));
    bench.works.assign(&bad);
    bench.until("the image that hangs to go again", || bench.stands().starts_with("fell back"));
    tally.strike(HANG);
    assert_eq!(bench.version(), version, "the one before is back");
    let Bench { mut device, .. } = bench;
    device.note();
    let lacking = || -> BTreeSet<_> {
        let there = outages::exported(&site.edge).remove(&device.name).unwrap_or_default();
        device.kept().difference(&there).copied().collect()
    };
    let deadline = Instant::now() + LIMIT;
    loop {
        let lacking = lacking();
        if lacking.is_empty() {
            break;
        }
        if Instant::now() > deadline {
            let twin = site.edge.command("twin", ["get", &device.name]);
            let (said, twin) = (device.said_last(20).join("\n"), twin.expect("it").join("\n"));
            let (number, first) = (lacking.len(), lacking.first());
            panic!("the gateway lacks {number} from {first:?} on; it said\n{said}\n{twin}");
        }
    }
    println!("{} samples of {rounds} updates, each there once", device.kept().len());
    tally.finish().expect("every fault happened");
}
