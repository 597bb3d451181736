//! Two hundred devices get their tokens from one list, and labels stay with what they name.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value as Json, json};

use super::audit::{edge_client, hub_client, look};
use super::load::{block_on, online};
use crate::client::Client;
use crate::faults::Tally;
use crate::process::{Edge, FleetPlan, Settings};

const COUNT: usize = 200;
const WRONG: &str = "lists with a wrong line";
const AGAIN: &str = "devices asked for again";

/// Makes tokens by the list.
///
/// # Panics
/// When a token is missing, too many, or readable for others.
pub fn lists() {
    let tally = Tally::of(&[WRONG, AGAIN]);
    block_on(async {
        let dir = tempfile::tempdir().expect("a directory");
        let mut edge = Edge::init("e", &dir.path().join("edge"), Settings::default());
        let edge = edge.as_mut().expect("a node");
        edge.start().expect("it starts");
        wrong_line(edge, dir.path(), &tally).await;
        whole_list(edge, dir.path(), &tally).await;
    });
    tally.finish().expect("everything happened");
}

async fn tokens(edge: &Edge) -> usize {
    let listed = look(&mut edge_client(edge), "/v1/tokens").await;
    listed["tokens"].as_array().map_or(0, Vec::len)
}

fn list(path: &Path, devices: impl Iterator<Item = String>) -> String {
    let lines: String = devices.map(|device| device + "\n").collect();
    fs::write(path, format!("device,name\n{lines}")).expect("a file");
    path.to_str().expect("a path").to_owned()
}

async fn wrong_line(edge: &Edge, dir: &Path, tally: &Tally) {
    let out = dir.join("none.csv");
    let name = |number| if number == 150 { "ps 150".to_owned() } else { format!("ps-{number}") };
    let csv = list(&dir.join("wrong.csv"), (0..COUNT).map(name));
    let out_text = out.to_str().expect("a path");
    let refused = edge.command("token", ["new", "--csv", &csv, "--out", out_text]);
    let refused = refused.expect_err("a wrong line is refused").to_string();
    assert!(refused.contains("wrong.csv:152: `ps 150` is no device"), "{refused}");
    assert_eq!(tokens(edge).await, 1, "only the first administrator's");
    assert!(!out.exists(), "nothing was made, not even a file");
    tally.strike(WRONG);
}

async fn whole_list(edge: &Edge, dir: &Path, tally: &Tally) {
    let csv = list(&dir.join("devices.csv"), (0..COUNT).map(|n| format!("ps-{n:03},pump {n}")));
    let out = dir.join("tokens.csv");
    let out_text = out.to_str().expect("a path");
    edge.command("token", ["new", "--csv", &csv, "--out", out_text]).expect("tokens");
    let mode = fs::metadata(&out).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "tokens are for their owner only");
    let made = fs::read_to_string(&out).expect("a file");
    let made: Vec<_> = made.lines().collect();
    assert_eq!((made[0], made.len()), ("device,token", COUNT + 1));
    assert_eq!(tokens(edge).await, COUNT + 1);
    for line in made[1..].iter().step_by(40) {
        let (device, token) = line.split_once(',').expect("two columns");
        let mut client = Client::new(edge.http()).with_token(token);
        for (named, status) in [(device, 200), ("another", 403)] {
            let reading = json!({"device": named, "metric": "level", "value": 1});
            let answer = client.post_json("/v1/readings", &reading).await.expect("an answer");
            assert_eq!(answer.status, status, "{}", answer.text());
        }
    }
    let told = edge.command("token", ["new", "--csv", &csv, "--out", out_text]);
    let told = told.expect_err("a file that is there is not overwritten").to_string();
    assert!(told.contains("tokens.csv"), "{told}");
    let rows = edge.command("token", ["new", "--csv", &csv]).expect("it says what exists");
    assert_eq!(rows, Vec::<String>::new(), "no device gets a second token");
    assert_eq!(tokens(edge).await, COUNT + 1);
    tally.add(AGAIN, COUNT as u64);
    let longer = list(&dir.join("longer.csv"), (0..=COUNT).map(|n| format!("ps-{n:03}")));
    let rows = edge.command("token", ["new", "--csv", &longer]).expect("the new one");
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(rows[1].starts_with("ps-200,hf_dev_"), "{rows:?}");
}

/// Gives a device and a gateway labels, and looks for them after a restart.
///
/// # Panics
/// When one is lost, or shows where it should not.
pub fn labels() {
    block_on(async {
        let mut fleet = FleetPlan::new(1, 11).build().expect("the fleet starts");
        online(&fleet.edges[0]).await;
        let edge = &mut fleet.edges[0];
        let reading = json!({"device": "ps-017", "metric": "level", "value": 1});
        let mut client = edge_client(edge);
        client.post_json("/v1/readings", &reading).await.expect("an answer");
        edge.command("device", ["label", "ps-017", "Pump, north gate"]).expect("a label");
        for (device, label) in [("unheard", "x"), ("ps-017", "two\nlines")] {
            edge.command("device", ["label", device, label]).expect_err("it is refused");
        }
        fleet.hub.command("node", ["label", "north/ps-000", "Mill Road"]).expect("a label");
        edge.stop().expect("it stops");
        edge.start().expect("it starts again");
        fleet.hub.stop().expect("it stops");
        fleet.restart_hub().expect("it starts again");
        shown(&fleet.edges[0], "/v1/devices", "Pump, north gate").await;
        let nodes = look(&mut hub_client(&fleet.hub), "/v1/nodes").await;
        assert_eq!(nodes["nodes"][0]["label"], "Mill Road", "{nodes}");
        let listed = fleet.hub.command("node", ["list"]).expect("a list").join("\n");
        assert!(listed.contains("Mill Road"), "{listed}");
        fleet.hub.command("node", ["label", "north/ps-000"]).expect("no label");
        let nodes = look(&mut hub_client(&fleet.hub), "/v1/nodes").await;
        assert_eq!(nodes["nodes"][0]["label"], Json::Null, "{nodes}");
    });
}

async fn shown(edge: &Edge, path: &str, label: &str) {
    let devices = look(&mut edge_client(edge), path).await;
    assert_eq!(devices["devices"][0]["label"], label, "{devices}");
    let listed = edge.command("device", ["list"]).expect("a list").join("\n");
    assert!(listed.contains(label) && listed.contains("ps-017"), "{listed}");
}
