//! People who say what devices should be, at the gateway and at the hub, and have them do things.

use super::Mcu;
use crate::process::{Edge, Hub};
use crate::rng::Rng;
use crate::wait;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Seconds until a command is not to be begun any more.
const LASTS: &str = "600";

/// What was ordered.
#[derive(Debug, Default)]
pub(super) struct People {
    /// Commands, by device.
    ordered: BTreeMap<String, u64>,
    wishes: u64,
    /// Of a gateway or hub that has failed, and so asks nobody.
    refused: u64,
}

impl People {
    /// Says what one device should be, at the gateway or at a hub that is there, and has another
    /// do something.
    pub(super) fn act(&mut self, rng: &mut Rng, edge: &Edge, hub: Option<&Hub>, devices: &[Mcu]) {
        let (one, other) = (&devices[rng.index(devices.len())], &devices[rng.index(devices.len())]);
        let valve = format!("valve={}", rng.below(101));
        let said = match hub.filter(|_| rng.below(2) == 0) {
            Some(hub) => hub.command("twin", ["set", &one.name, &valve]),
            None => edge.command("twin", ["set", &one.name, &valve]),
        };
        self.wishes += u64::from(said.is_ok());
        let arguments = format!("{{\"percent\":{}}}", rng.below(101));
        let words = ["send", &other.name, "open", &arguments, "--lasts", LASTS];
        match edge.command("command", words) {
            Ok(_) => *self.ordered.entry(other.name.clone()).or_default() += 1,
            Err(_) => self.refused += 1,
        }
    }

    /// Waits until all sides agree, and looks what became of the commands.
    ///
    /// # Panics
    /// When they do not come to agree, or a command was lost or begun twice.
    pub(super) fn judge(&self, edge: &Edge, hub: &Hub, devices: &mut [Mcu], limit: Duration) {
        let (mut done, mut failed) = (0, 0);
        for device in devices.iter_mut() {
            let name = device.name.clone();
            let answered = |command: &Json| command["state"] != "waiting";
            let commands = wait::until("all commands to be answered", limit, || {
                std::thread::sleep(Duration::from_millis(200));
                let commands = json(edge.command("command", ["list", &name, "--json"]))?;
                let commands = commands["commands"].as_array()?.clone();
                commands.iter().all(answered).then_some(commands)
            });
            let ordered = self.ordered.get(&name).copied().unwrap_or(0);
            assert_eq!(commands.len() as u64, ordered, "{name} has every command once");
            device.note();
            for command in &commands {
                let id = command["id"].as_str().expect("an id");
                let begun = device.begun().iter().filter(|begun| *begun == id).count();
                match command["state"].as_str() {
                    Some("done") => {
                        assert_eq!(begun, 1, "{name} has done {id}");
                        done += 1;
                    }
                    Some("failed") => {
                        assert!(begun <= 1, "{name} has begun {id} {begun} times");
                        failed += 1;
                    }
                    other => panic!("{name}: {id} is {other:?}"),
                }
            }
            // The last word is that of a person, so what is reported has to become that.
            let valve = format!("valve={}", 100 - name.len());
            edge.command("twin", ["set", &name, &valve]).expect("it is taken");
            agree(edge, hub, &name, limit);
        }
        println!(
            "{} wishes, all sides agree; of {} commands {done} done, {failed} cut off, none twice",
            self.wishes,
            done + failed
        );
    }
}

/// Waits until what a device is, is what it should be, and the hub says the same as the gateway.
fn agree(edge: &Edge, hub: &Hub, name: &str, limit: Duration) {
    let sections =
        |said| json(said).map(|twin| [twin["desired"].clone(), twin["reported"].clone()]);
    let deadline = Instant::now() + limit;
    loop {
        let at_edge = sections(edge.command("twin", ["get", name, "--json"]));
        let at_hub = sections(hub.command("twin", ["get", name, "--json"]));
        let valve = |section: &Json| section["values"]["valve"].clone();
        let is_so = |[desired, reported]: &[Json; 2]| {
            valve(desired).is_u64() && valve(desired) == valve(reported)
        };
        if at_edge.as_ref().is_some_and(is_so) && at_edge == at_hub {
            return;
        }
        assert!(Instant::now() < deadline, "{name}: at the gateway {at_edge:?}, hub {at_hub:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn json(said: std::io::Result<Vec<String>>) -> Option<Json> {
    serde_json::from_str(&said.ok()?.join("\n")).ok()
}
