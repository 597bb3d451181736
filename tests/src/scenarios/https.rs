//! HTTPS through the built program: a certificate made by the node, one from files that change, a
//! broken one, and clients that speak something else.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value as Json;

use super::load::{SOON, block_on};
use crate::client::{Client, RawRequest};
use crate::faults::Tally;
use crate::process::{Edge, Settings, bin_dir};

const PLAIN: &str = "requests in plain HTTP turned away";
const SILENT: &str = "handshakes that never came";
const RENEWED: &str = "certificates replaced under a running node";
const BROKEN: &str = "certificates that could not be served";

/// Runs a gateway with HTTPS of both kinds.
///
/// # Panics
/// When it serves another certificate than it says, or none.
pub fn https() {
    let tally = Tally::of(&[PLAIN, SILENT, RENEWED, BROKEN]);
    block_on(async {
        let dir = tempfile::tempdir().expect("a directory");
        let one = own_certificate(&dir.path().join("one"), &tally).await;
        let two = own_certificate(&dir.path().join("two"), &tally).await;
        assert_ne!(one, two, "each node makes its own");
        from_files(dir.path(), [&one, &two], &tally);
    });
    tally.finish().expect("everything happened");
}

fn with_tls(word: &str) -> Settings {
    Settings::default().env("HOLDFAST_HTTP_TLS", word)
}

/// The fingerprint of a running gateway, as its own command gets it over HTTPS and as it announced.
fn fingerprint(edge: &mut Edge, kind: &str) -> String {
    let told = edge.command("status", ["--json"]).expect("the command recognises its node");
    let status: Json = serde_json::from_str(&told.join("\n")).expect("JSON");
    assert_eq!(status["http"]["tls"], kind);
    status["http"]["fingerprint"].as_str().expect("a fingerprint").to_owned()
}

async fn own_certificate(dir: &Path, tally: &Tally) -> String {
    let mut edge = Edge::init("own", dir, with_tls("self")).expect("a node");
    edge.start().expect("it starts");
    let first = fingerprint(&mut edge, "self");
    let announced = edge.process().stdout();
    assert!(announced.contains(&format!("fingerprint {first}")), "{announced:?}");

    let answer = Client::new(edge.http()).get("/healthz").await.expect("an answer in plain HTTP");
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("This port speaks HTTPS"), "{}", answer.text());
    tally.strike(PLAIN);
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(RawRequest::open(edge.http()).await.expect("a connection"));
        tally.strike(SILENT);
    }
    let csv = dir.join("readings.csv");
    fs::write(&csv, "device,level [m]\ntank-1,2.5\n").expect("a file");
    edge.command("import", [csv.to_str().expect("a path")]).expect("an import over HTTPS");
    drop(silent);
    edge.kill9().expect("it is killed");
    edge.start().expect("it starts again");
    assert_eq!(fingerprint(&mut edge, "self"), first, "a certificate stays");
    edge.stop().expect("it stops in good order");
    first
}

/// Uses the certificates of `one` and `two` as files that somebody renews.
fn from_files(dir: &Path, [one, two]: [&str; 2], tally: &Tally) {
    let own = |name: &str| fs::read(dir.join(name).join("data/http.pem")).expect("a certificate");
    let file = dir.join("site.pem");
    fs::write(&file, own("one")).expect("a file");
    let settings =
        with_tls("files").env("HOLDFAST_HTTP_CERTIFICATE", &file).env("HOLDFAST_HTTP_KEY", &file);
    let mut edge = Edge::init("files", &dir.join("files"), settings.clone()).expect("a node");
    edge.start().expect("it starts");
    assert_eq!(fingerprint(&mut edge, "files"), one);

    fs::write(&file, own("two")).expect("a file");
    edge.process().signal(libc::SIGHUP).expect("a signal");
    edge.process().logged("another certificate is served", SOON).expect("it takes the new one");
    assert_eq!(fingerprint(&mut edge, "files"), two);
    tally.strike(RENEWED);

    fs::write(&file, "nothing of the kind").expect("a file");
    edge.process().signal(libc::SIGHUP).expect("a signal");
    let line =
        edge.process().logged("the certificate before it is kept", SOON).expect("it says so");
    assert!(line.contains("site.pem") && line.contains("BEGIN CERTIFICATE"), "{line}");
    assert_eq!(fingerprint(&mut edge, "files"), two);
    tally.strike(BROKEN);
    edge.stop().expect("it stops in good order");
    let refused = edge.start().expect_err("a start needs a certificate").to_string();
    assert!(refused.contains("site.pem"), "{refused}");
}

/// Makes nodes that are open to their site, and reads what they say about it.
///
/// # Panics
/// When they do not say it.
pub fn open_to_the_site() {
    for (program, port) in [("holdfast-edge", 8484), ("holdfast-hub", 8585)] {
        for (tls, words) in [("self", "fingerprint: "), ("off", "can read and use the tokens")] {
            let dir = tempfile::tempdir().expect("a directory");
            let mut command = Command::new(bin_dir().join(program));
            command.current_dir(&dir).args(["init", "--listen", "lan"]);
            if tls == "off" {
                command.args(["--tls", "off"]);
            }
            let output = command.output().expect("it runs");
            let told = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert!(told.contains(&format!("TCP port {port}.")), "{told}");
            assert!(told.contains(words), "{told}");
            let config = fs::read_to_string(dir.path().join(program).with_extension("toml"));
            let config = config.expect("a configuration");
            assert!(config.contains(&format!("\nlisten = \"0.0.0.0:{port}\"\n")), "{config}");
            assert!(config.contains(&format!("\ntls = \"{tls}\"\n")), "{config}");
        }
    }
}
