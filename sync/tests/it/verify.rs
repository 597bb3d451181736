//! What `verify` says of each file, and that it disturbs nobody.

use crate::support::{batch, key, open};
use holdfast_core::ranges::Range;
use holdfast_sync::identity::{FleetId, Invitation};
use holdfast_sync::store::verify::{Place, Severity, VerifyReport, request_repair};
use holdfast_sync::store::{ADMIN_TOKEN, INVITATION, Table, verify};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn look(dir: &Path) -> VerifyReport {
    verify(dir, &mut |_| {}).unwrap()
}

/// The severity and the text of what was found in a file.
fn of(report: &VerifyReport, file: &str) -> (Severity, String) {
    let found = report.findings.iter().find(|finding| finding.file == file);
    let found = found.unwrap_or_else(|| panic!("nothing in {file}: {report:#?}"));
    (found.severity, found.to_string())
}

#[tokio::test]
async fn a_running_store_is_verified_without_being_disturbed() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), &key());
    for i in 0..20 {
        store.ingest(batch(&store, "d", 1 + i * 10, 10)).await.unwrap();
        let report = look(dir.path());
        assert_eq!(report.worst(), None, "{:#?}", report.findings);
        // The start and what was committed so far.
        assert_eq!((report.summary.entries, report.summary.commits), (11 + i * 10, 2 + i));
    }
    let report = look(dir.path());
    assert_eq!((report.summary.chains, report.summary.unproven), (2, 0));
    assert!(report.summary.signatures >= 2 && report.summary.records > 2);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_store_gives_no_false_alarm() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), &key());
    let done = Arc::new(AtomicBool::new(false));
    let (writer, stop) = (store.clone(), Arc::clone(&done));
    let writing = tokio::spawn(async move {
        let mut from = 1;
        while !stop.load(Ordering::Relaxed) {
            writer.ingest(batch(&writer, "d", from, 300)).await.unwrap();
            from += 300;
        }
        from
    });
    let mut seen = 0;
    let deadline = Instant::now() + Duration::from_secs(60);
    while seen < 50 {
        assert!(Instant::now() < deadline, "nothing is written");
        let report = look(dir.path());
        assert_eq!(report.worst(), None, "{:#?}", report.findings);
        assert!(report.summary.commits >= seen);
        seen = report.summary.commits;
    }
    done.store(true, Ordering::Relaxed);
    assert!(writing.await.unwrap() > 1);
    store.close().await;
}

#[tokio::test]
async fn every_file_is_looked_at_for_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let key = key();
    key.write(&dir.path().join("node.key")).unwrap();
    let (store, _) = open(dir.path(), &key);
    store.ingest(batch(&store, "d", 1, 10)).await.unwrap();
    store.close().await;
    drop(store);
    assert_eq!(look(dir.path()).findings, []);
    let change = |name: &str, with: &dyn Fn(&mut Vec<u8>)| {
        let path = dir.path().join(name);
        let mut bytes = fs::read(&path).unwrap_or_default();
        with(&mut bytes);
        fs::write(path, bytes).unwrap();
    };
    change("ballast", &|bytes| bytes[70_000] = 0x5b);
    change("lock", &|bytes| bytes.push(1));
    change("mark", &|bytes| bytes[9] ^= 1);
    change("node.key", &|bytes| bytes.truncate(39));
    change("damaged", &|bytes| bytes.extend(b"a page"));
    change("notes.txt", &|bytes| bytes.extend(b"hello"));
    change("mark.new", &|_| {});
    change("holdfast.db.damaged-3", &|_| {});
    let report = look(dir.path());
    assert!(of(&report, "ballast").1.contains("byte 70000 is 0x5b"));
    let expected = [
        ("ballast", Severity::Harmless),
        ("lock", Severity::Harmless),
        ("mark", Severity::Damaged),
        ("node.key", Severity::Damaged),
        ("damaged", Severity::Suspect),
        ("notes.txt", Severity::Info),
        ("mark.new", Severity::Info),
        ("holdfast.db.damaged-3", Severity::Info),
    ];
    for (file, severity) in expected {
        assert_eq!(of(&report, file).0, severity, "{file}");
    }
    assert_eq!(report.findings.len(), expected.len());
    assert!(!report.wants_repair() && !request_repair(dir.path(), &report));
}

#[tokio::test]
async fn entries_that_are_gone_are_missed_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let key = key();
    let (store, _) = open(dir.path(), &key);
    store.ingest(batch(&store, "d", 1, 10)).await.unwrap();
    store.ingest(batch(&store, "d", 11, 10)).await.unwrap();
    store.close().await;
    drop(store);
    let db = rusqlite::Connection::open(dir.path().join("holdfast.db")).unwrap();
    db.execute("DELETE FROM commits WHERE pos=3", []).unwrap();
    drop(db);
    let report = look(dir.path());
    let gone = Range { from: 11, to: 20 };
    let mut places = report.findings.iter().map(|finding| &finding.place);
    let missed = |place| matches!(place, &Place::Entries { range, .. } if range == gone);
    assert!(places.any(missed), "{report:#?}");
    let database = dir.path().join("holdfast.db");
    fs::remove_file(&database).unwrap();
    assert_eq!(of(&look(dir.path()), "holdfast.db").0, Severity::Damaged);
}

#[tokio::test]
async fn an_admin_token_or_an_invitation_that_is_not_whole_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path(), &key());
    let hash = *blake3::hash(b"hf_adm_secret").as_bytes();
    store.write(move |tx| Ok(tx.put(Table::Token, &hash, b"grant")?)).await.unwrap();
    fs::write(dir.path().join(ADMIN_TOKEN), "hf_adm_secret\n").unwrap();
    let env = holdfast_sync::env::System::env();
    let invitation = Invitation::new(FleetId([3; 32]), vec!["192.0.2.1:4585".to_owned()], &env);
    fs::write(dir.path().join(INVITATION), invitation.to_text()).unwrap();
    let report = look(dir.path());
    assert_eq!(report.worst(), None, "{:#?}", report.findings);

    fs::write(dir.path().join(ADMIN_TOKEN), "hf_adm_sacret\n").unwrap();
    fs::write(dir.path().join(INVITATION), &invitation.to_text()[..40]).unwrap();
    let report = look(dir.path());
    let (severity, text) = of(&report, ADMIN_TOKEN);
    assert!(severity == Severity::Damaged && text.contains("token renew"), "{text}");
    let (severity, text) = of(&report, INVITATION);
    assert!(severity == Severity::Suspect && text.contains("join"), "{text}");
    assert!(!report.wants_repair(), "no repair makes tokens");
    store.close().await;
}
