//! Bytes rot: one flipped bit or a lost tail anywhere in a gateway's data directory.
//!
//! `verify` names it, or it is shown to be harmless: the gateway then holds exactly what it held.
//! Either way it starts, takes readings, and brings the undamaged rest to the hub; only a damaged
//! key keeps it from starting, with an error that says so. What is lost is what was named, and
//! nothing is invented. The finer oracle, commit by commit, is the store's own campaign.

use super::Scale;
use super::hands::{SYNC_LIMIT, block_on, caught_up, client_status, export, reading};
use crate::client::Client;
use crate::damage::{Damage, cut_tail, flip_bit};
use crate::faults::Tally;
use crate::net::{Profile, Proxy};
use crate::process::{Edge, FleetPlan, Hub, LIMIT, Launch, Settings};
use crate::rng::hash;
use crate::wait::{until, until_async};
use rusqlite::Connection;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// Items in a post, and so readings in a commit at most.
const BATCH: u64 = 60;
/// The device of the reading that shows that a damaged gateway takes readings.
const AFTER: &str = "after";

const FAULTS: [&str; 8] = [
    "a bit was flipped",
    "a tail was lost",
    "named by verify",
    "harmless",
    "a damaged key refused",
    "the rest is at the hub",
    "started anew by itself",
    "started anew while it started",
];

const IN_A_BODY: &str = "in the body of a commit";
const IN_A_SERIES: &str = "in the record of a series";

/// A gateway and its hub as they lie on disk, to be copied for each trial.
struct Base {
    dir: TempDir,
    link: Proxy,
    token: String,
    lines: BTreeSet<String>,
}

impl Base {
    /// A gateway with two starts of readings that its hub has none of: stopped in good order, or
    /// killed at rest.
    async fn build(seed: u64, clean: bool) -> Self {
        let mut plan = FleetPlan::new(1, seed);
        if !clean {
            // One of the two with segments, one without.
            plan.edge = plan.edge.env("HOLDFAST_STORE_SEAL_AFTER", "0");
        }
        let mut fleet = plan.build().expect("a fleet");
        let mut edge = fleet.edges.remove(0);
        let link = fleet.links.remove(0);
        let token = edge.admin_token().expect("the admin token");
        let mut client = Client::new(edge.http()).with_token(token.clone()).with_limit(LIMIT);
        caught_up(&mut client).await;
        link.cut();
        fleet.hub.stop().expect("the hub stops");
        for start in 0..2 {
            client.move_to(edge.http());
            for batch in 0..12 {
                let from = start * 10_000 + batch * BATCH;
                let device = if batch % 3 == 0 { "tank" } else { "pump" };
                let items: Vec<_> =
                    (from + 1..=from + BATCH).map(|n| reading(device, n, n as f64 / 3.0)).collect();
                let answer = client.post_json("/v1/readings", &items.into()).await;
                let answer = answer.expect("an answer");
                assert_eq!(answer.json()["accepted"], BATCH, "{}", answer.text());
            }
            if start == 0 {
                edge.stop().expect("the gateway stops");
                edge.start().expect("the gateway starts");
            }
        }
        at_rest(edge.data());
        if clean { edge.stop() } else { edge.kill9() }.expect("the gateway ends");
        let dir = TempDir::new().expect("a directory");
        if clean {
            // What is old lies in the database itself; a log that was never full would hide it.
            let database = Connection::open(edge.data().join("holdfast.db")).expect("a database");
            database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("moved");
        }
        copy(&fleet.dir().join("ps-000"), &dir.path().join("edge"));
        copy(&fleet.dir().join("hub"), &dir.path().join("hub"));
        let lines = exported(&dir.path().join("edge/data")).expect("the base can be exported");
        assert_eq!(lines.len() as u64, 24 * BATCH);
        Self { dir, link, token, lines }
    }
}

/// Waits until nothing is under way: the log is signed, and the mark was written after its end. A
/// tail that is lost before that is what a power cut may take, and cannot be told from one.
fn at_rest(data: &Path) {
    let written = |name: &str| fs::metadata(data.join(name)).and_then(|meta| meta.modified());
    until("the gateway to be at rest", LIMIT, || {
        let (log, mark) = (written("holdfast.db-wal").ok()?, written("mark").ok()?);
        let quiet = SystemTime::now().duration_since(log).ok()? > Duration::from_millis(2_500);
        (mark >= log && quiet).then_some(())
    });
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let (entry, to) = entry.map(|e| (e.path(), to.join(e.file_name()))).expect("an entry");
        if entry.is_dir() {
            copy(&entry, &to);
        } else {
            fs::copy(&entry, &to).expect("a copy");
        }
    }
}

/// The configuration was written for the original, and names its directory.
fn at(data: &Path) -> Settings {
    Settings::default().env("HOLDFAST_NODE_DATA", data)
}

/// The exported readings but the one posted after the damage.
fn exported(data: &Path) -> Result<BTreeSet<String>, String> {
    let after = format!(r#""device":"{AFTER}""#);
    let lines = export("holdfast-edge", data)?;
    Ok(lines.into_iter().filter(|line| !line.contains(&after)).collect())
}

/// What `verify --json` found, but for what is only worth knowing.
fn verify(data: &Path, repair: bool) -> Vec<Value> {
    let launch = Launch::binary("holdfast-edge").args(["verify", "--json", "--data"]).args([data]);
    let launch = if repair { launch.args(["--repair"]) } else { launch };
    let done = launch.run(LIMIT).expect("verify ends");
    let report: Value = serde_json::from_str(&done.stdout.join("\n"))
        .unwrap_or_else(|error| panic!("{error} in {:?}; {:?}", done.stdout, done.stderr));
    let findings = report["findings"].as_array().expect("findings").clone();
    let real: Vec<_> = findings.into_iter().filter(|f| f["severity"] != "info").collect();
    let bad = real.iter().any(|f| f["severity"] != "harmless");
    assert_eq!(done.success, !bad, "the exit code tells: {real:?}");
    real
}

/// Where a reading is in the log of its node: start and entry.
fn place(line: &str) -> (u64, u64) {
    let line: Value = serde_json::from_str(line).expect("a line of JSON");
    let number = |at: usize| line["log"][at].as_u64().expect("a place in the log");
    (number(0), number(1))
}

/// The entries of readings that a finding names: start, first, last.
fn named(finding: &Value) -> Option<(u64, u64, u64)> {
    let text = finding["place"].as_str()?;
    let words = text.split([' ', '(', ')']).filter(|word| !word.is_empty());
    let chain = words.clone().find(|word| word.ends_with("/reading"))?;
    let range = words.clone().find(|word| word.contains(".."))?;
    let start = chain.split('/').nth(1)?.split('-').next()?.parse().ok()?;
    let (first, last) = range.split_once("..")?;
    Some((start, first.parse().ok()?, last.parse().ok()?))
}

/// Checks that the readings that are gone are those that the findings speak of.
fn excused(findings: &[Value], base: &BTreeSet<String>, held: &BTreeSet<String>, what: &str) {
    let whole = |f: &Value| {
        f["file"] == "holdfast.db" && f["place"] == "file" && f["severity"] == "damaged"
    };
    if findings.iter().any(whole) {
        return;
    }
    let newest = held.iter().map(|line| place(line)).max();
    let log = findings.iter().any(|finding| finding["file"] == "holdfast.db-wal");
    let ranges: Vec<_> = findings.iter().filter_map(named).collect();
    let unsaid = findings.iter().filter(|f| {
        let row = f["place"].as_str().is_some_and(|place| place.starts_with("commit "));
        row && named(f).is_none()
    });
    let mut allowance = unsaid.count() as u64 * BATCH;
    for line in base.difference(held) {
        let (start, entry) = place(line);
        let within =
            ranges.iter().any(|(s, from, to)| *s == start && (*from..=*to).contains(&entry));
        // The end of a damaged log is lost with it, and named as such.
        let tail = log && newest.is_none_or(|newest| (start, entry) > newest);
        if !within && !tail {
            assert!(allowance > 0, "{what}: {line} is lost and not named: {findings:#?}");
            allowance -= 1;
        }
    }
}

/// Flips a bit of a reading where nothing of the database's own form is touched, in the middle of
/// the log: no page and no index shows it, only the chain does.
fn flip_in_a_body(data: &Path) {
    let database = Connection::open(data.join("holdfast.db")).expect("the database");
    let sql = "SELECT pos, body FROM commits WHERE count>=?1 ORDER BY sealed, pos LIMIT 1
               OFFSET (SELECT count(*) / 3 FROM commits WHERE count>=?1)";
    let row = database.query_row(sql, [BATCH as i64], |row| Ok((row.get(0)?, row.get(1)?)));
    let (pos, mut body): (i64, Vec<u8>) = row.expect("a commit");
    let at = body.len() - 3;
    body[at] ^= 1;
    let sql = "UPDATE commits SET body=?2 WHERE pos=?1";
    database.execute(sql, rusqlite::params![pos, body]).expect("it is changed");
}

/// Changes a byte of what a start reads before it serves.
fn change_a_series(data: &Path) {
    const SERIES: i64 = 8;
    let database = Connection::open(data.join("holdfast.db")).expect("the database");
    let sql = "SELECT key, value FROM records WHERE tab=?1 LIMIT 1";
    let row = database.query_row(sql, [SERIES], |row| Ok((row.get(0)?, row.get(1)?)));
    let (key, mut value): (Vec<u8>, Vec<u8>) = row.expect("a series");
    let at = value.len() - 1;
    value[at] ^= 1;
    let sql = "UPDATE records SET value=?3 WHERE tab=?1 AND key=?2";
    database.execute(sql, rusqlite::params![SERIES, key, value]).expect("it is changed");
}

fn describe(damage: &Result<Damage, &str>, tally: &Tally) -> String {
    let fault = match damage {
        Ok(Damage::FlippedBit { .. }) | Err(_) => FAULTS[0],
        Ok(Damage::LostTail { .. }) => FAULTS[1],
    };
    tally.strike(fault);
    let damage = match damage {
        Ok(damage) => damage,
        Err(place) => {
            tally.strike(place);
            return (*place).to_owned();
        }
    };
    tally.add(&format!("in {}", damage.file().display()), 1);
    format!("{damage:?}")
}

/// Starts a copy of the gateway and waits until it has read what it has.
async fn serves(edge: &mut Edge, base: &Base, what: &str) -> Client {
    edge.start().unwrap_or_else(|error| panic!("{what}: it does not start: {error}"));
    let mut client = Client::new(edge.http()).with_token(base.token.clone()).with_limit(LIMIT);
    until_async(&format!("the gateway to work ({what})"), SYNC_LIMIT, async || {
        // Its book of tokens may be what was damaged; a new token is made while it is stopped.
        if let Ok(answer) = client.get("/v1/status").await
            && answer.status == 401
        {
            edge.stop().expect("it stops");
            edge.command("token", ["renew"]).expect("a new admin token");
            edge.start().expect("it starts");
            let token = edge.admin_token().expect("the admin token");
            client = Client::new(edge.http()).with_token(token).with_limit(LIMIT);
        }
        let status = client_status(&mut client).await?;
        (status["pipeline"]["lag"] == 0).then_some(())
    })
    .await;
    client
}

async fn trial(base: &Base, number: u64, seed: u64, with_hub: bool, tally: &Tally) {
    let dir = TempDir::new().expect("a directory");
    let (home, hub_home) = (dir.path().join("edge"), dir.path().join("hub"));
    copy(&base.dir.path().join("edge"), &home);
    let data = home.join("data");
    if !number.is_multiple_of(10) {
        // Most of the bytes, and nothing depends on them; the gateway makes it anew.
        fs::remove_file(data.join("ballast")).expect("there is a ballast");
    }
    let damage = if number.is_multiple_of(25) {
        flip_in_a_body(&data);
        Err(IN_A_BODY)
    } else if number % 25 == 5 {
        change_a_series(&data);
        Err(IN_A_SERIES)
    } else {
        let seed = hash(seed, &[number]);
        let struck = if number % 4 == 3 { cut_tail(&data, seed) } else { flip_bit(&data, seed) };
        Ok(struck.expect("files can be damaged").expect("there is a file"))
    };
    let what = format!("trial {number}: {}", describe(&damage, tally));
    // With a hub in reach the gateway has to find out by itself.
    let findings = verify(&data, !with_hub);
    tally.strike(if findings.is_empty() { FAULTS[3] } else { FAULTS[2] });
    let settings = at(&data).env("HOLDFAST_SYNC_BACKOFF_MAX", "2s");
    let mut edge = Edge::at("ps-000", &home, settings);
    let key = damage.is_ok_and(|damage| damage.file() == Path::new("node.key"));
    if key && !findings.is_empty() {
        let refused = edge.start().expect_err("a gateway does not start with a damaged key");
        assert!(refused.to_string().contains("node.key"), "{what}: {refused}");
        return tally.strike(FAULTS[4]);
    }
    let mut client = serves(&mut edge, base, &what).await;
    if what.ends_with(IN_A_SERIES) {
        edge.process().logged("starting anew", LIMIT).expect("it repairs itself");
        tally.strike(FAULTS[7]);
    }
    let body = reading(AFTER, 1, 1.0);
    let answer = client.post_json("/v1/readings", &body).await.expect("an answer");
    assert_eq!(answer.status, 200, "{what}: {}", answer.text());
    if with_hub {
        copy(&base.dir.path().join("hub"), &hub_home);
        if !reaches(&mut edge, client, base, &hub_home, &what, tally).await {
            assert!(!findings.is_empty(), "{what}: it left its fleet");
        }
    }
    let held = exported(&data).unwrap_or_else(|error| panic!("{what}: {error}"));
    let invented: Vec<_> = held.difference(&base.lines).collect();
    assert!(invented.is_empty(), "{what}: {invented:?} was never posted");
    if findings.is_empty() {
        assert!(held == base.lines, "{what}: not named, and not harmless");
    }
    excused(&findings, &base.lines, &held, &what);
    edge.stop().unwrap_or_else(|error| panic!("{what}: {error}"));
    let left = verify(&data, false);
    let left: Vec<_> = left.iter().filter(|f| f["file"] == "holdfast.db").collect();
    assert!(left.is_empty(), "{what}: still damaged: {left:#?}");
}

/// Lets the gateway sync with a copy of its hub; `false` if it no longer knows of one.
async fn reaches(
    edge: &mut Edge,
    mut client: Client,
    base: &Base,
    home: &Path,
    what: &str,
    tally: &Tally,
) -> bool {
    let mut hub = Hub::at(home, at(&home.join("data")));
    hub.start().expect("the hub starts");
    base.link.set_target(hub.sync());
    base.link.set_profile(Profile::default());
    let joined = client_status(&mut client).await.is_some_and(|s| s["node"]["joined"] == true);
    if what.ends_with(IN_A_BODY) {
        edge.process().logged("starting anew", SYNC_LIMIT).expect("it repairs itself");
        tally.strike(FAULTS[6]);
        edge.process().logged("found on opening the store", SYNC_LIMIT).expect("it is repaired");
    }
    // What only an export or `verify` reads may still be damaged.
    if exported(edge.data()).is_err() || !verify(edge.data(), true).is_empty() {
        edge.stop().unwrap_or_else(|error| panic!("{what}: {error}"));
        serves(edge, base, what).await;
    }
    if joined {
        until_async(
            &format!("the hub to hold what the gateway does ({what})"),
            SYNC_LIMIT,
            async || {
                let here = export("holdfast-edge", edge.data()).ok()?;
                let there: BTreeSet<_> =
                    export("holdfast-hub", hub.data()).ok()?.into_iter().collect();
                here.iter().all(|line| there.contains(line)).then_some(())
            },
        )
        .await;
        tally.strike(FAULTS[5]);
    }
    hub.stop().expect("the hub stops in good order");
    base.link.cut();
    joined
}

/// Runs the campaign: 1,000 trials at full size, half of them on a killed gateway.
///
/// # Panics
/// When a promise is broken, or a fault never struck.
pub fn rot(scale: Scale) {
    block_on(async {
        let tally = Tally::of(&FAULTS);
        let trials = scale.of(1_000, 50);
        for clean in [true, false] {
            let base = Base::build(scale.seed, clean).await;
            let half = if clean { 0..trials / 2 } else { trials / 2..trials };
            for number in half {
                trial(&base, number, scale.seed, number.is_multiple_of(5), &tally).await;
            }
        }
        tally.finish().expect("every fault struck");
    });
}
