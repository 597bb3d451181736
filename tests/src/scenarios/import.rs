//! Files of readings: imported once, whatever interrupts, and exported so that they can be again.
//!
//! A file is imported while the command is interrupted and the gateway is killed under it, again
//! and again until it is through: each reading must be there exactly once. What one gateway
//! exports, in either shape, another imports, and holds the same.

use super::Scale;
use super::audit::{edge_client, readings};
use super::hands::{block_on, reading};
use crate::faults::Tally;
use crate::process::{Edge, Fleet, FleetPlan, LIMIT, Launch, Settings};
use crate::rng::Rng;
use crate::wait::until_async;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

const INTERRUPTED: &str = "import interrupted by SIGINT";
const KILLED: &str = "gateway killed under an import";
/// The exit code of a command that SIGINT ended.
const BY_SIGINT: i32 = 130;

/// Imports files under interruptions, and exports again.
///
/// # Panics
/// When a reading is lost, doubled or changed.
pub fn imports(scale: Scale) {
    let tally = Tally::of(&[INTERRUPTED, KILLED]);
    block_on(async {
        let mut fleet = FleetPlan::new(2, scale.seed).build().expect("the fleet starts");
        for round in 0..scale.of(10, 1) {
            interrupted(&mut fleet, &mut Rng::keyed(scale.seed, &[round]), round, &tally).await;
        }
        exported(&fleet).await;
        wrong_rows(&fleet.edges[0], fleet.dir());
        replayed(&fleet).await;
    });
    tally.finish().expect("each interruption happened");
}

/// A file of rows of three metrics each, and the readings in it.
fn rows(path: &Path, round: u64, rng: &mut Rng) -> u64 {
    let count = 40_000;
    let mut text = "device,time,level [m],\"flow, in [l/s]\",state\n".to_owned();
    for row in 0..count {
        let (device, level, flow) = (row % 7, rng.index(1_000), rng.index(100));
        let time = 1_795_000_000_000 + row * 1_000;
        let row = writeln!(text, "r{round}-{device},{time},{level}.5,{flow},\"on, {flow}\"");
        row.expect("a text takes all");
    }
    fs::write(path, text).expect("the file can be written");
    count * 3
}

async fn interrupted(fleet: &mut Fleet, rng: &mut Rng, round: u64, tally: &Tally) {
    let path = fleet.dir().join(format!("rows-{round}.csv"));
    let expected = readings_of(&fleet.edges[0]).await + rows(&path, round, rng);
    let file = path.to_str().expect("a plain path").to_owned();
    let edge = &mut fleet.edges[0];
    // The file may be through before the signal comes; then it is simply imported again.
    while tally.count(INTERRUPTED) <= round {
        let mut import = edge.command_started("import", [&file]).expect("the command starts");
        tokio::time::sleep(moment(rng)).await;
        import.signal(libc::SIGINT).expect("the signal is sent");
        let code = import.wait(LIMIT).expect("the command ends").code();
        if code == Some(BY_SIGINT) {
            let hint = "Run the same command again";
            let told = import.line(hint, LIMIT, |line| line.contains(hint).then_some(()));
            told.expect("it says how to go on");
            tally.strike(INTERRUPTED);
        }
    }
    while tally.count(KILLED) <= round {
        let mut import = edge.command_started("import", [&file]).expect("the command starts");
        tokio::time::sleep(moment(rng)).await;
        let address = edge.http().to_string();
        edge.kill9().expect("the gateway is killed");
        if import.is_running().expect("its state") {
            tally.strike(KILLED);
        }
        // Where the command looks for it.
        let same = Settings::default().env("HOLDFAST_HTTP_LISTEN", address);
        edge.start_with(&same).expect("the gateway starts again");
        import.wait(LIMIT).expect("the command ends");
    }
    let said = edge.command("import", [&file]).expect("the file is imported").join("\n");
    assert!(said.contains(" 0 refused"), "{said}");
    let again = edge.command("import", [&file]).expect("the file is imported again").join("\n");
    assert!(again.contains(": 0 items accepted, 40000 stored before, 0 refused"), "{again}");
    assert_eq!(readings_of(edge).await, expected, "each reading once");
}

/// Up to half a second: long enough to find the command at its start, its end and in between.
fn moment(rng: &mut Rng) -> std::time::Duration {
    std::time::Duration::from_millis(5 + rng.index(500) as u64)
}

/// How many readings a gateway has, once its pipeline has seen all.
async fn readings_of(edge: &Edge) -> u64 {
    let mut client = edge_client(edge);
    until_async("the pipeline to have read all", LIMIT, async || {
        let status = client.get("/v1/status").await.ok()?.json();
        (status["pipeline"]["lag"] == 0).then_some(())
    })
    .await;
    readings(&mut client).await.expect("the gateway answers")
}

/// What two exports have in common that belong to different nodes: the readings themselves.
fn lines(edge: &Edge) -> Vec<String> {
    let mut lines = Vec::new();
    edge.export(|line| {
        let line: Value = serde_json::from_str(line).expect("a line of JSON");
        let names = ["device", "metric", "unit", "time", "value", "boot", "seq"];
        lines.push(names.map(|name| line[name].to_string()).join(" "));
    })
    .expect("the export succeeds");
    lines.sort_unstable();
    lines
}

async fn exported(fleet: &Fleet) {
    let (from, to) = (&fleet.edges[0], &fleet.edges[1]);
    let mut client = edge_client(from);
    let odd = json!([
        {"device": "odd", "values": {"a": 9_007_199_254_740_993i64, "b{x=\"1\",y=2}": true,
            "c": "two\nlines, \"quoted\""}, "boot": 4, "seq": 17, "quality": "uncertain"},
        {"device": "odd", "values": {"a": 0.1, "d": {"value": -1e-300, "unit": "m"}}, "boot": 4,
            "seq": 18, "time": "2026-11-20T16:38:00.123456789Z"},
    ]);
    let answer = client.post_json("/v1/readings", &odd).await.expect("an answer");
    assert_eq!(answer.json()["accepted"], 2, "{}", answer.text());
    let posted = client.post_json("/v1/readings", &reading("plain", 1, 1.0)).await;
    assert!(posted.expect("an answer").status.is_success());
    let export = |shape: &str| {
        let path = fleet.dir().join(format!("export.{shape}"));
        let mut text = String::new();
        from.export_as(shape, |line| text += &format!("{line}\n")).expect("the export succeeds");
        fs::write(&path, text).expect("the file can be written");
        path.to_str().expect("a plain path").to_owned()
    };
    let (ndjson, csv) = (export("ndjson"), export("csv"));
    let expected = lines(from);
    let said = to.command("import", [&ndjson]).expect("the export is imported").join("\n");
    assert!(said.contains(" 0 stored before, 0 refused"), "{said}");
    assert_eq!(lines(to), expected, "an export of lines is imported as it was");
    // Both shapes say the same, so they are the same requests.
    let said = to.command("import", [&csv]).expect("the export is imported").join("\n");
    assert!(said.contains(": 0 items accepted, ") && said.contains(" 0 refused"), "{said}");
    assert_eq!(lines(to), expected, "an export of rows says the same");
}

fn wrong_rows(edge: &Edge, dir: &Path) {
    let path = dir.join("wrong.csv");
    fs::write(&path, "device,metric,value\nw,m,1\nw w,m,2\nw,m,1e999\n").expect("a file");
    let file = path.to_str().expect("a plain path");
    let said = edge.command("import", [file]).expect_err("some rows are refused").to_string();
    assert!(said.contains("wrong.csv:3: device: a device id has 1 to 64"), "{said}");
    assert!(said.contains("wrong.csv:4: m: a number must be finite"), "{said}");
    let none = edge.command("import", ["nothing.csv"]).expect_err("no such file").to_string();
    assert!(none.contains("nothing.csv: No such file"), "{none}");
}

/// The simulator posts the same file; as it does not post the same batches, these are new readings.
async fn replayed(fleet: &Fleet) {
    let edge = &fleet.edges[1];
    let path = fleet.dir().join("day.lp");
    let lines: Vec<_> =
        (0..500).map(|n| format!("level,device=re value={n} {}\n", 1_795_000_000 + n)).collect();
    fs::write(&path, lines.concat()).expect("the file can be written");
    let before = readings_of(edge).await;
    let token = edge.ingest_token().expect("a token");
    let sim = |speed: &str| {
        let to = edge.http().to_string();
        let sim = Launch::binary("holdfast-sim").args(["replay", "--precision", "s"]);
        let sim = sim.args([path.as_os_str()]).args(["--gateway", &to, "--token", &token]);
        let sim = sim.args(["--speed", speed]);
        tokio::task::spawn_blocking(move || sim.run(LIMIT).and_then(|done| done.expect_success()))
    };
    for speed in ["max", "1000x"] {
        let said = sim(speed).await.expect("it runs").expect("the replay succeeds").join("\n");
        assert!(said.starts_with("500 items accepted, 0 stored before, 0 refused"), "{said}");
    }
    assert_eq!(readings_of(edge).await, before + 1_000);
}
