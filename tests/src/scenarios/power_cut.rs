//! Power cut: what a gateway acknowledged is there after the power went at any moment.
//!
//! A gateway runs under a shim that records each write and sync of its data directory. Afterwards
//! the directory is rebuilt as a disk might hold it if the power had gone after some operation:
//! what no sync covered is dropped, torn at 512 bytes or reordered. The gateway is started on the
//! result and must have every reading that was acknowledged before that operation. The same
//! campaign with weakened durability must find losses, or it could not find any.

use super::Scale;
use crate::faults::Tally;
use crate::powercut::{Journal, Recording};
use crate::process::{Edge, Settings};
use crate::rng::Rng;
use crate::waterworks::{Account, Habits, Key, Pace, Patience, Works};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const FULL_CUTS: u64 = 1_000;
const FLOOR_CUTS: u64 = 50;
const LOST: &str = "unsynced writes lost";
const TORN: &str = "unsynced writes torn";
const REORDERED: &str = "unsynced writes reordered";
const NAMES: &str = "names undone";

/// The load of one recording.
const WORKS: Works = Works {
    seed: 7,
    stations: 8,
    boot: 1,
    habits: Habits { every_ms: 1_000, jitter_ms: 80, gap: 0.03, late: 0.10 },
    start_ms: 1_793_900_000_000,
    end_ms: None,
    pace: Pace::Times(20.0),
};

/// A recorded run of a gateway and what its devices were told.
struct Run {
    journal: Journal,
    account: Account,
    configuration: String,
}

/// Cuts the power of a durable gateway: nothing acknowledged may be missing.
///
/// # Panics
/// When an acknowledged reading is missing or the gateway does not start.
pub fn power_cut(scale: Scale) {
    // Names change only once a second and are synced at once: they are counted, not demanded.
    let tally = Tally::of(&[LOST, TORN, REORDERED]);
    let dir = tempfile::tempdir().expect("a directory for the run");
    let run = record(dir.path(), scale.seed, &Settings::default());
    let cuts = scale.of(FULL_CUTS, FLOOR_CUTS);
    let mut rng = Rng::keyed(scale.seed, &[1]);
    for number in 0..cuts {
        let cut = rng.index(run.journal.ops() + 1);
        let missing = missing_after(&run, cut, rng.next_u64(), dir.path(), &tally);
        assert!(missing.is_empty(), "cut {number} after operation {cut}: lost {missing:?}");
    }
    let told = run.account.acknowledged().len();
    println!("power_cut: {cuts} cuts of {} operations, {told} acknowledged", run.journal.ops());
    tally.finish().expect("every kind of loss struck");
}

/// The same with `synchronous=NORMAL`: the campaign must notice what that loses.
///
/// # Panics
/// When no loss is found.
pub fn power_cut_is_noticed(scale: Scale) {
    let tally = Tally::default();
    let dir = tempfile::tempdir().expect("a directory for the run");
    let weak = Settings::default().env("HOLDFAST_UNSAFE_SYNC", "normal");
    let run = record(dir.path(), scale.seed, &weak);
    let mut rng = Rng::keyed(scale.seed, &[2]);
    let cuts = scale.of(FULL_CUTS / 10, 20);
    let losing = (0..cuts).filter(|_| {
        let cut = rng.index(run.journal.ops() + 1);
        !missing_after(&run, cut, rng.next_u64(), dir.path(), &tally).is_empty()
    });
    let losing = losing.count();
    println!("power_cut_is_noticed: {losing} of {cuts} cuts lost acknowledged readings");
    assert!(losing > 0, "weakened durability lost nothing: the campaign proves nothing");
}

/// Cuts the power during `init`: the gateway then starts, or says that it has to be made again.
///
/// # Panics
/// When a half-made gateway starts without its key, or a made one does not.
pub fn power_cut_during_init(scale: Scale) {
    let dir = tempfile::tempdir().expect("a directory for the run");
    let (home, work) = (dir.path().join("made"), dir.path().join("work"));
    fs::create_dir_all(home.join("data")).expect("an empty data directory");
    let recording = Recording::begin(&home.join("data"), &work).expect("the recording begins");
    let settings = Settings::default().envs(recording.environment());
    let made = Edge::init("made", &home, settings).expect("init works");
    drop(made);
    let journal = recording.load().expect("the journal is readable");
    let configuration = fs::read_to_string(home.join("edge.toml")).expect("a configuration");
    let mut rng = Rng::keyed(scale.seed, &[3]);
    let (mut started, mut refused) = (0, 0);
    for number in 0..scale.of(200, 15) {
        let whole = number % 5 == 0;
        let cut = if whole { journal.ops() } else { rng.index(journal.ops() + 1) };
        let at = dir.path().join(format!("cut-{number}"));
        fs::create_dir_all(&at).expect("a directory for the cut");
        journal.cut(cut, rng.next_u64(), &at.join("data")).expect("the cut is built");
        fs::write(at.join("edge.toml"), &configuration).expect("the configuration");
        let mut edge = at_cut(&at);
        match edge.start() {
            Ok(()) => started += 1,
            Err(error) if !whole => {
                let text = error.to_string();
                assert!(text.contains("init") || text.contains("node.key"), "{text}");
                refused += 1;
            }
            Err(error) => panic!("init had ended, yet the gateway does not start: {error}"),
        }
        drop(edge);
        fs::remove_dir_all(&at).expect("the cut is removed");
    }
    println!("power_cut_during_init: {started} started, {refused} said what to do");
}

fn record(dir: &Path, seed: u64, settings: &Settings) -> Run {
    let home = dir.join("recorded");
    let mut edge = Edge::init("recorded", &home, settings.clone()).expect("init works");
    let token = edge.admin_token().expect("init made a token");
    let recording = Recording::begin(edge.data(), &dir.join("work")).expect("it begins");
    let shim = Settings::default().envs(recording.environment());
    let recording = Arc::new(recording);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let account = runtime.block_on(async {
        edge.start_with(&shim).expect("the gateway starts");
        let noting = Arc::clone(&recording);
        let works = Works { seed, ..WORKS };
        let note = move || noting.len().expect("the journal is there");
        let shift = works.start_noting(edge.http(), &token, Patience::default(), note);
        for seconds in [3, 2] {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            // The journal has a start on a killed directory too.
            edge.kill9().expect("it is killed");
            edge.start_with(&shim).expect("it starts again");
            shift.move_to(edge.http());
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        shift.stop().await
    });
    edge.stop().expect("the gateway stops");
    let journal = recording.load().expect("the journal is readable");
    let unseen = journal.unseen(edge.data(), &dir.join("scratch")).expect("it can be compared");
    assert!(unseen.is_empty(), "the shim did not see changes of {unseen:?}");
    assert!(account.acknowledged().len() > 100, "there was hardly any load");
    let configuration = fs::read_to_string(home.join("edge.toml")).expect("a configuration");
    Run { journal, account, configuration }
}

/// What was acknowledged before operation `cut` and is missing when the power goes after it.
fn missing_after(run: &Run, cut: usize, seed: u64, dir: &Path, tally: &Tally) -> Vec<Key> {
    let at = dir.join("cut");
    fs::create_dir_all(&at).expect("a directory for the cut");
    let aftermath = run.journal.cut(cut, seed, &at.join("data")).expect("the cut is built");
    tally.add(LOST, aftermath.lost);
    tally.add(TORN, aftermath.torn);
    tally.add(REORDERED, aftermath.reordered);
    if aftermath.names_undone > 0 {
        tally.add(NAMES, aftermath.names_undone);
    }
    fs::write(at.join("edge.toml"), &run.configuration).expect("the configuration");
    let mut edge = at_cut(&at);
    edge.start().expect("the gateway starts after a power cut");
    let held = held(&edge);
    edge.kill9().expect("it is killed");
    let acknowledged = run.account.acknowledged().values();
    let before = acknowledged.filter(|told| run.journal.ops_within(told.note) <= cut);
    let missing = before.filter(|told| {
        let key = &told.item.key;
        let every = |metric: &&str| {
            !held.contains(&(
                key.device.to_string(),
                key.boot.into(),
                key.seq,
                (*metric).to_owned(),
            ))
        };
        told.item.readings.iter().map(|reading| reading.metric).any(|metric| every(&metric))
    });
    let missing = missing.map(|told| told.item.key.clone()).collect();
    fs::remove_dir_all(&at).expect("the cut is removed");
    missing
}

/// The gateway on a directory built by a cut; its configuration names the recorded one.
fn at_cut(at: &Path) -> Edge {
    Edge::at("cut", at, Settings::default().env("HOLDFAST_NODE_DATA", at.join("data")))
}

/// Device, boot, sequence and metric of every reading a gateway holds.
fn held(edge: &Edge) -> BTreeSet<(String, u64, u64, String)> {
    let mut held = BTreeSet::new();
    let exported = edge.export(|line| {
        let line: Value = serde_json::from_str(line).expect("a line of JSON");
        let text = |key: &str| line[key].as_str().expect("a text").to_owned();
        let number = |key: &str| line[key].as_u64().expect("a number");
        held.insert((text("device"), number("boot"), number("seq"), text("metric")));
    });
    exported.expect("export works");
    held
}
