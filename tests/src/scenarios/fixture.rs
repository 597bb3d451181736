//! The store of an earlier release: kept in the repository, opened by every later one.
//!
//! A fixture is a backup of a gateway and of its hub, the database packed, with what was in it. It
//! is restored, verified, started and compared: a release that cannot read the disk of an earlier
//! one, or its backups, does not pass.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

use super::audit::{Copy, edge_client, hub_client, look, readings, rest};
use super::load::{self, block_on, progress};
use crate::client::Client;
use crate::process::{Edge, FleetPlan, Hub, Service, Settings};
use crate::wait::until_async;

const DATABASE: &str = "holdfast.db";
const PACKED: &str = "holdfast.db.gz";
const EXPECTED: &str = "expected.json";
/// Every fixture was made between these.
const FROM: &str = "2026-01-01T00:00:00Z";
const TO: &str = "2200-01-01T00:00:00Z";

/// What was in a fixture.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Expected {
    /// The digest over all exported readings.
    digest: String,
    /// Readings counted over all series.
    readings: u64,
    /// Series.
    series: u64,
    /// Windows of a second over all series.
    windows: usize,
}

/// Where the fixtures lie, a directory for each release.
#[must_use]
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// Makes the fixture of this release in the new directory `to`.
///
/// # Panics
/// When a node does not do what it should.
pub fn make(to: &Path) {
    block_on(async {
        let plan = FleetPlan::new(1, 1);
        let widths = Settings::default().env("HOLDFAST_ROLLUPS_WIDTHS", "1s,5m");
        let edge = plan.edge.clone().with(&widths);
        let fleet = FleetPlan { edge, ..plan }.build().expect("a fleet");
        let shift = load::start(&fleet.edges[0], 1, 1, 6, 50);
        progress(&shift, 0, 1_500).await;
        let told = shift.stop().await;
        rest(&fleet).await;
        let edge = &fleet.edges[0];
        let of_edge = expected(&mut edge_client(edge), Copy::of_edge(edge)).await;
        let of_hub = until_async("as many windows on the hub", load::SOON, || async {
            let there = expected(&mut hub_client(&fleet.hub), Copy::of_hub(&fleet.hub)).await;
            (there == of_edge).then_some(there)
        })
        .await;
        keep(edge, &to.join("edge"), &of_edge).expect("the gateway's fixture is written");
        keep(&fleet.hub, &to.join("hub"), &of_hub).expect("the hub's fixture is written");
        println!("{} readings in {}", told.readings(), to.display());
    });
}

async fn expected(client: &mut Client, copy: io::Result<Copy>) -> Expected {
    let status = look(client, "/v1/status").await;
    let mut windows = 0;
    let listed = look(client, "/v1/series?limit=100000").await;
    for series in listed["series"].as_array().expect("a list") {
        let [device, metric, unit] =
            ["device", "metric", "unit"].map(|key| series[key].as_str().unwrap_or_default());
        let of_series = format!("device={device}&metric={metric}&unit={unit}&width=1s");
        let path = format!("/v1/rollups?{of_series}&from={FROM}&to={TO}");
        let nodes = look(client, &path).await;
        let of_node = |node: &serde_json::Value| node["windows"].as_array().map_or(0, Vec::len);
        windows += nodes["nodes"].as_array().into_iter().flatten().map(of_node).sum::<usize>();
    }
    Expected {
        digest: copy.expect("the node exports").digest.to_string(),
        readings: readings(client).await.expect("a number"),
        series: status["series"].as_u64().expect("a number"),
        windows,
    }
}

fn keep(node: &Service, to: &Path, expected: &Expected) -> io::Result<()> {
    node.command("backup", [&*to.to_string_lossy()])?;
    let mut packer = GzEncoder::new(File::create(to.join(PACKED))?, Compression::best());
    packer.write_all(&fs::read(to.join(DATABASE))?)?;
    packer.finish()?;
    fs::remove_file(to.join(DATABASE))?;
    fs::write(to.join(EXPECTED), serde_json::to_string_pretty(expected)? + "\n")
}

/// Opens the fixtures of all releases.
///
/// # Panics
/// When one cannot be restored, verified or started, or shows something else than it held.
pub fn opened() {
    block_on(async {
        let mut releases = 0;
        for release in fs::read_dir(fixtures()).expect("there are fixtures").flatten() {
            println!("fixture of {}", release.file_name().display());
            open_edge(&release.path().join("edge")).await;
            open_hub(&release.path().join("hub")).await;
            releases += 1;
        }
        assert!(releases > 0, "no fixture was opened");
    });
}

async fn open_edge(fixture: &Path) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut edge = Edge::at("fixture", dir.path(), Settings::default());
    bring_back(&edge, fixture, dir.path());
    edge.start().expect("it starts");
    let shown = expected(&mut edge_client(&edge), Copy::of_edge(&edge)).await;
    assert_eq!(shown, held(fixture), "what it shows (left), what it held (right)");
    edge.stop().expect("it stops");
}

async fn open_hub(fixture: &Path) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut hub = Hub::at(dir.path(), Settings::default());
    bring_back(&hub, fixture, dir.path());
    hub.start().expect("it starts");
    let shown = expected(&mut hub_client(&hub), Copy::of_hub(&hub)).await;
    assert_eq!(shown, held(fixture), "what it shows (left), what it held (right)");
    let nodes = look(&mut hub_client(&hub), "/v1/nodes").await;
    assert_eq!(nodes["nodes"][0]["name"], "ps-000", "it knows its gateway: {nodes}");
    hub.stop().expect("it stops");
}

fn held(fixture: &Path) -> Expected {
    let text = fs::read(fixture.join(EXPECTED)).expect("the fixture says what it held");
    serde_json::from_slice(&text).expect("in the form that this release writes")
}

/// Unpacks the fixture and has the program restore and verify it.
fn bring_back(node: &Service, fixture: &Path, dir: &Path) {
    let backup = dir.join("backup");
    fs::create_dir(&backup).expect("a directory");
    for entry in fs::read_dir(fixture).expect("its files").flatten() {
        let name = entry.file_name();
        if name == PACKED {
            let mut packed = GzDecoder::new(File::open(entry.path()).expect("the database"));
            let mut plain = File::create(backup.join(DATABASE)).expect("a file");
            io::copy(&mut packed, &mut plain).expect("the database is whole");
        } else if name != EXPECTED {
            fs::copy(entry.path(), backup.join(&name)).expect("a file is copied");
        }
    }
    let data = node.data().to_string_lossy();
    let words = [&*backup.to_string_lossy(), "--data", &data];
    node.command("restore", words).expect("a backup of an earlier release can be restored");
    node.command("verify", []).expect("`verify` finds nothing");
}
