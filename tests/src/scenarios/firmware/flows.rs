//! Workflows that devices run by themselves: written and signed at the hub, assigned to a site,
//! fetched by devices from their gateway, and run there whether it is on or not.

use super::Mcu;
use crate::process::{Edge, Hub, LIMIT};
use crate::wait;
use serde_json::Value as Json;
use std::path::Path;
use std::time::{Duration, Instant};

/// What moves an output one way, and half a second later another way, once the tank begins to fill,
/// which it does with each start of a device.
fn fills(output: &str, [first, then]: [&str; 2]) -> String {
    format!(
        "workflow: {NAME}
version: \"1\"
placement: device
on:
  - reading: {{device: \"mcu-*\", metric: level, above: 0.51, clear: 0.505}}
steps:
  - actuate: {output}
    value: {first}
  - wait: 500ms
  - actuate: {output}
    value: {then}
"
    )
}

/// The workflow that moves the valve, which nobody else does.
pub(in crate::scenarios) fn of_the_valve() -> String {
    fills("valve", ["40", "60"])
}

/// The workflow that lights a lamp, where people move the valve.
pub(in crate::scenarios) fn of_the_lamp() -> String {
    fills("lamp", ["true", "false"])
}

const NAME: &str = "fills";
/// Steps of one run of it: it begins, moves the valve, has waited, and moves it again.
const STEPS: usize = 4;

/// The fleet of a gateway, as devices are told it, once it has joined one.
pub(in crate::scenarios) fn fleet_of(edge: &Edge) -> String {
    wait::until("the gateway to be in a fleet", LIMIT, || {
        let status = json(edge.command("status", ["--json"]))?;
        status["node"]["fleet"].as_str().map(str::to_owned)
    })
}

/// Has the site use a workflow on its devices.
pub(in crate::scenarios) fn assign(hub: &Hub, dir: &Path, definition: &str) {
    let path = |path: &Path| path.to_str().expect("a path of our own making").to_owned();
    let out = path(dir);
    let made = hub.command("publisher", ["new", "works", "--kind", "flow", "--out", &out]);
    made.expect("a publisher is named");
    let (key, file) = (path(&dir.join("works.key")), dir.join("fills.yaml"));
    std::fs::write(&file, definition).expect("the file is written");
    let words = ["publish", &path(&file), "--kind", "flow", "--key", &key];
    let told = hub.command("artefact", words).expect("it is published");
    let id = told.iter().find_map(|line| Some(line.split_once(": ")?.1.to_owned()));
    let id = id.unwrap_or_else(|| panic!("{told:?}"));
    hub.command("artefact", ["assign", "north", NAME, &id]).expect("the site uses it");
}

/// Waits until a device has the workflow.
pub(in crate::scenarios) fn has(edge: &Edge, device: &str, limit: Duration) {
    wait::until("the device to have its workflow", limit, || {
        std::thread::sleep(Duration::from_millis(200));
        let twin = json(edge.command("twin", ["get", device, "--json"]))?;
        let stands = &twin["reported"]["values"]["device"]["workflows"][NAME]["1"];
        (stands == "on").then_some(())
    });
}

/// Waits until a device has done all steps of a run since its start.
pub(in crate::scenarios) fn has_run(device: &Mcu, limit: Duration) {
    wait::until("the device to do all steps of a run", limit, || {
        std::thread::sleep(Duration::from_millis(100));
        (device.heard("a run did a step") >= STEPS).then_some(())
    });
}

/// The runs that a node tells of.
fn runs(said: std::io::Result<Vec<String>>) -> Option<Vec<Json>> {
    json(said)?["runs"].as_array().cloned()
}

/// Waits until all runs of a device that the gateway knows of are over, and looks whether each did
/// what it is to do, once and in order; how many there are.
///
/// # Panics
/// When one did not.
pub(in crate::scenarios) fn judge(edge: &Edge, hub: &Hub, device: &Mcu, limit: Duration) -> usize {
    let name = &device.name;
    let of_device = |run: &&Json| run["device"] == name.as_str();
    let list = ["runs", "--limit", "1000", "--json"];
    let deadline = Instant::now() + limit;
    let all = loop {
        std::thread::sleep(Duration::from_millis(200));
        let Some(all) = runs(edge.command("workflow", list)) else { continue };
        let all: Vec<Json> = all.iter().filter(of_device).cloned().collect();
        let under_way: Vec<_> = all.iter().filter(|run| run["state"] == "running").collect();
        if under_way.is_empty() {
            break all;
        }
        assert!(Instant::now() < deadline, "{name} goes on with {under_way:?}");
    };
    for run in &all {
        assert_eq!(run["state"], "succeeded", "{name}: {run}");
        let id = run["id"].as_str().expect("an id");
        let told = json(edge.command("workflow", ["show", id, "--json"])).expect("the run");
        let history = told["history"].as_array().expect("a history");
        let what: Vec<&str> = history.iter().filter_map(|line| line["what"].as_str()).collect();
        let expected = ["started", "asked", "done", "asked", "done", "succeeded"];
        assert_eq!(what, expected, "{name}: {told}");
        let at_hub = wait::until("the hub to hear of the run", limit, || {
            std::thread::sleep(Duration::from_millis(200));
            let told = json(hub.command("workflow", ["show", id, "--json"]))?;
            (told["state"] == "succeeded").then_some(told)
        });
        assert_eq!(at_hub["history"].as_array().map(Vec::len), Some(expected.len()), "{at_hub}");
    }
    assert!(all.len() as u64 <= device.starts(), "{name} has one run for a start at most");
    all.len()
}

/// The positions of the valve that a device measured in one of its starts, in order.
fn positions(edge: &Edge, device: &str, boot: u64) -> Vec<u64> {
    let mut all = Vec::new();
    let each = |line: &str| {
        let reading: Json = serde_json::from_str(line).expect("a line of JSON");
        let is_it = reading["device"] == device && reading["metric"] == "valve";
        if is_it && reading["boot"] == boot {
            all.push((reading["seq"].as_u64(), reading["value"].as_u64().expect("percent")));
        }
    };
    edge.export(each).expect("the gateway's data can be exported");
    all.sort_unstable();
    let mut positions: Vec<u64> = all.into_iter().map(|(_, percent)| percent).collect();
    positions.dedup();
    positions
}

/// A workflow that somebody wrote at the hub moves a valve while the gateway is off.
///
/// # Panics
/// When it does not, or nobody hears of it afterwards.
pub fn alone() {
    let limit = Duration::from_secs(60);
    let dir = tempfile::tempdir().expect("a directory");
    let mut site = super::site::Nodes::new(dir.path(), &dir.path().join("edge"));
    assign(&site.hub, dir.path(), &of_the_valve());
    let token = site.edge.device_token("mcu-0").expect("a token");
    let mut device = Mcu::new("mcu-0", dir.path(), site.edge.mqtt(), &token);
    device.trust(fleet_of(&site.edge));
    device.start().expect("it starts");
    has(&site.edge, &device.name, limit);
    has_run(&device, limit);
    device.kill();
    site.edge.kill9().expect("the gateway is switched off");
    device.start().expect("it starts again");
    has_run(&device, limit);
    site.edge.start_with(&site.stays).expect("it starts again");
    wait::until("the gateway to hear of the run", limit, || {
        std::thread::sleep(Duration::from_millis(200));
        let all = runs(site.edge.command("workflow", ["runs", "--limit", "1000", "--json"]))?;
        let began = all.iter().filter(|run| run["device"] == "mcu-0").count();
        (began as u64 == device.starts()).then_some(())
    });
    assert_eq!(judge(&site.edge, &site.hub, &device, limit), 2);
    let moved = wait::until("what the device measured meanwhile", limit, || {
        std::thread::sleep(Duration::from_millis(500));
        Some(positions(&site.edge, "mcu-0", 2)).filter(|all| all.contains(&60))
    });
    assert_eq!(moved, [0, 40, 60], "it was where the run wanted it");
}

fn json(said: std::io::Result<Vec<String>>) -> Option<Json> {
    serde_json::from_str(&said.ok()?.join("\n")).ok()
}
