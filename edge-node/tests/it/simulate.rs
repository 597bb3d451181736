//! What a simulation plays beside readings: messages, emitted readings, twins, answers and signals,
//! and what it says of what is wrong.

use holdfast_core::Timestamp;
use holdfast_edge::simulate::{Line, Setup, Signal, Simulation};
use holdfast_node::flow::compile;
use serde_json::{Map, Value as Json, json};
use std::io::Read;
use std::process::{Command, Stdio};

const MINUTE_NS: i64 = 60_000_000_000;
/// 2026-03-02T06:00:00Z.
const FROM: Timestamp = Timestamp(1_772_431_200 * 1_000_000_000);

/// A setup of definitions, for two hours, in which runs of these begin.
fn setup(definitions: &[&str], starts: &[(&str, Json)]) -> Setup {
    let compiled = |text: &&str| {
        let compiled = compile(text).unwrap_or_else(|wrong| panic!("{}", wrong[0]));
        (format!("{}.yaml", compiled.id), compiled)
    };
    let start = |(name, input): &(&str, Json)| {
        ((*name).to_owned(), input.as_object().cloned().unwrap_or_default())
    };
    Setup {
        workflows: definitions.iter().map(compiled).collect(),
        from: FROM,
        until: FROM.saturating_add(120 * MINUTE_NS),
        zone: Some(jiff::tz::TimeZone::UTC),
        starts: starts.iter().map(start).collect(),
        ..Setup::default()
    }
}

/// What it tells: minute, run, word and text.
async fn told(setup: Setup) -> Vec<String> {
    let mut simulation = Simulation::new(setup).unwrap();
    let mut out = Vec::new();
    let mut tell = |line: &Line| {
        let minute = (line.at.0 - FROM.0) as f64 / MINUTE_NS as f64;
        out.push(format!("{minute} {} {} {}", line.name, line.what, line.text).trim().to_owned());
        Ok(())
    };
    simulation.play(&mut tell).await.unwrap();
    simulation.close().await;
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_bring_about_begins_other_runs() {
    let first = r#"
workflow: first
version: "1"
steps:
  - publish: farm/north/start
    payload: {level: 4.5}
  - set: {device: valve-1, path: open, value: true}
"#;
    let by_message = r#"
workflow: by-message
version: "1"
on:
  - message: farm/+/start
    with: {farm: "${level(2)}", level: {path: level}}
input: {farm: text, level: decimal}
steps:
  - emit: level
    device: ${farm}
    value: ${level}
    unit: m
"#;
    let by_reading = r#"
workflow: by-reading
version: "1"
on:
  - reading: {device: "*", metric: level, above: 4.0, clear: 3.0}
input: {device: text, value: decimal}
steps:
  - publish: high
    payload: {device: "${device}", value: "${value}"}
"#;
    let by_twin = r#"
workflow: by-twin
version: "1"
on:
  - twin: {device: "valve-*", path: desired/open, tags: {kind: inlet}}
input: {device: text, text: text}
steps:
  - publish: set
    payload: {device: "${device}", open: "${text}"}
"#;
    let all = [first, by_message, by_reading, by_twin];
    let mut setup = setup(&all, &[("first", json!({}))]);
    setup.twins = vec!["valve-1/tags/kind=inlet".parse().unwrap()];
    let told = told(setup).await;
    let has = |line: &str| assert!(told.iter().any(|told| told == line), "{line}: {told:#?}");
    has("0 first 1 does set open of valve-1 true");
    has("0 by-message 1 begins by message farm/north/start");
    has("0 by-message 1 does emit level of north 4.5 m");
    has("0 by-reading 1 begins by reading north level 4.5 m");
    has("0 by-reading 1 does publish high {\"device\":\"north\",\"value\":4.5}");
    has("0 by-twin 1 begins by twin valve-1 desired/open true");
    has("0 by-twin 1 does publish set {\"device\":\"valve-1\",\"open\":\"true\"}");
    assert_eq!(told.iter().filter(|told| told.ends_with("succeeded")).count(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_fill_variables_and_silence_ends_by_the_clock() {
    let asks = r#"
workflow: asks
version: "1"
output: {percent: percent}
steps:
  - let: {percent: 0}
  - http: {method: GET, url: "http://10.0.0.5/valve?id=3"}
    result: {percent: {path: state/percent, type: int}}
  - notify: on-call
    text: It is at ${percent} percent
    catch: [{on: timeout, do: [{publish: unheard, payload: {}}]}]
  - command: open
    device: valve-3
    retry: {attempts: 2, first: 5s, jitter: 0%}
"#;
    let mut setup = setup(&[asks], &[("asks", json!({}))]);
    let answers = [
        r#"http:http://10.0.0.5/*={"state":{"percent":40}}"#,
        "notify:*=never",
        "command:open@valve-3=never,ok",
    ];
    setup.answers = answers.iter().map(|answer| answer.parse().unwrap()).collect();
    let told = told(setup).await;
    let answered = r#"answered {"state":{"percent":40}}"#;
    // Without a limit of its own an effect is given up after an hour, and a command after a minute.
    let wanted = [
        "0 asks 1 begins by the command line".to_owned(),
        format!("0 asks 1 does http GET http://10.0.0.5/valve?id=3: {answered}"),
        "0 asks 1 does notify on-call \"It is at 40 percent\": no answer".to_owned(),
        "60 asks 1 error notify on-call \"It is at 40 percent\": timeout: no answer in time".into(),
        "60 asks 1 does publish unheard {}".to_owned(),
        "60 asks 1 does command open of valve-3: no answer".to_owned(),
    ];
    assert_eq!(told[..wanted.len()], wanted);
    assert!(told[6].starts_with("61 asks 1 error command open of valve-3: timeout"), "{told:#?}");
    assert_eq!(told.last().unwrap(), "61.083333333333336 asks 1 succeeded {\"percent\":40}");
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_are_left_out_and_signals_that_nobody_knows_are_told() {
    let one = r#"
workflow: one
version: "1"
runs: {at_once: 1, then: skip}
on:
  - schedule: every 15m
signals: {go: {by: text}}
output: {by: by}
steps:
  - let: {by: "''"}
  - wait_for: go
  - let: {by: go.by}
"#;
    let signal = |minute: i64, by: &str| Signal {
        at: FROM.saturating_add(minute * MINUTE_NS),
        name: "go".to_owned(),
        values: Map::from_iter([("by".to_owned(), json!(by))]),
    };
    let mut setup = setup(&[one], &[]);
    setup.signals = vec![signal(5, "ann"), signal(35, "bob")];
    let told = told(setup).await;
    let wanted = [
        "5  signal `go`: no run is under way that knows it",
        "15 one 1 begins by schedule",
        "15 one 1 waits for `go`",
        "30 one no run schedule: as many runs of it are under way as may be, and it says to leave \
         further ones out",
        "35 one 1 signal go from the command line",
        "35 one 1 succeeded {\"by\":\"bob\"}",
        "45 one 2 begins by schedule",
    ];
    assert_eq!(told[..wanted.len()], wanted);
}

/// Standard output and standard error of a command in a folder with these files.
fn run(files: &[(&str, &str)], words: &[&str]) -> (bool, String, String) {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(dir.path().join(name), content).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast-edge"));
    command.args(["workflow", "simulate"]).args(words).current_dir(dir.path());
    let done = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (done.status.success(), text(done.stdout), text(done.stderr))
}

const GOOD: &str = "workflow: a\nversion: '1'\non: [{schedule: every 10m}]\nsteps: [{wait: 1s}]\n";
const LEVELS: &str = "device,time,level [m]\nps-1,2026-03-02T06:00:00Z,1.5\n";

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let wrong = |files: &[(&str, &str)], words: &[&str]| {
        let (is_done, _, wrong) = run(files, words);
        assert!(!is_done, "{words:?}");
        wrong
    };
    let bad = "workflow: a\nversion: '1'\nsteps: [{wait: 1}]\n";
    let told = wrong(&[("a.yaml", bad)], &["a.yaml", "--from", "2026-03-02T06:00:00Z"]);
    assert!(told.starts_with("a.yaml:3:16: "), "{told}");
    let rows = "device,time,level [m]\nps-1,2026-03-02T06:00:00Z,1.5\nps-1,yesterday,1.6\n";
    let files = [("a.yaml", GOOD), ("r.csv", rows)];
    let told = wrong(&files, &["a.yaml", "--readings", "r.csv"]);
    assert!(told.starts_with("error: r.csv:3: "), "{told}");
    let rows = "device,level [m]\nps-1,1.5\n";
    let files = [("a.yaml", GOOD), ("r.csv", rows)];
    let told = wrong(&files, &["a.yaml", "--readings", "r.csv"]);
    assert!(told.contains("r.csv:2: it has no time, and a recording is played"), "{told}");
    let told = wrong(&[("a.yaml", GOOD)], &["a.yaml"]);
    assert!(told.contains("there is no reading: --readings names files"), "{told}");
    let files = [("a.yaml", GOOD), ("r.csv", LEVELS)];
    let with = |more: &[&str]| wrong(&files, &[&["a.yaml", "--readings", "r.csv"], more].concat());
    let told = with(&["--answer", "command:stop=perhaps"]);
    assert!(told.contains("expected KIND:NAME=ok|fail|never|JSON"), "{told}");
    let told = with(&["--signal", "soon go"]);
    assert!(told.contains("expected WHEN NAME [JSON]"), "{told}");
    let told = with(&["--start", "{\"b\":1}"]);
    assert!(told.contains("a: `b` is not among what it takes: nothing"), "{told}");
    let device = "workflow: d\nversion: '1'\nplacement: device\nsteps: [{actuate: a, value: 0}]\n";
    let files = [("d.yaml", device), ("r.csv", LEVELS)];
    let told = wrong(&files, &["d.yaml", "--readings", "r.csv"]);
    let text = "d.yaml: its placement is `device`, and what is played here is a gateway";
    assert!(told.contains(text), "{told}");
}

#[test]
fn the_same_input_tells_the_same_to_the_ids_of_its_runs() {
    let words = ["a.yaml", "--from", "2026-03-02T06:00:00Z", "--for", "48h", "--json"];
    let (is_done, first, wrong) = run(&[("a.yaml", GOOD)], &words);
    assert!(is_done, "{wrong}");
    let (_, second, _) = run(&[("a.yaml", GOOD)], &words);
    assert_eq!(first, second);
    let lines: Vec<Json> = first.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let begun = lines.iter().filter(|line| line["what"] == "begins").count();
    assert_eq!(begun, 48 * 6);
    assert_eq!(lines[0]["run"].as_str().unwrap().len(), 32);
    let ended = &lines.last().unwrap()["runs"]["a"];
    // The last one has just begun.
    assert_eq!(*ended, json!({ "begun": begun, "ended": { "succeeded": begun - 1 } }));
}

#[test]
fn who_interrupts_a_simulation_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.yaml"), GOOD).unwrap();
    let scratch = dir.path().join("scratch");
    std::fs::create_dir(&scratch).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast-edge"));
    command.args(["workflow", "simulate", "a.yaml", "--from", "2026-01-01T00:00:00Z"]);
    command.args(["--for", "9000d"]).current_dir(dir.path()).env("TMPDIR", &scratch);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut simulation = command.spawn().unwrap();
    // It has come far enough to tell something.
    simulation.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 1);
    let id = simulation.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let done = simulation.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(130));
    assert_eq!(String::from_utf8_lossy(&done.stderr), "Interrupted; nothing is left behind.\n");
    assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 0);
}
