//! What a start makes of a damaged store, damage by damage.

use crate::support::{batch, key, open};
use holdfast_core::log::events::{self, Event, GapReason, start_body};
use holdfast_core::log::{Link, readings};
use holdfast_core::ranges::{Range, RangeSet};
use holdfast_core::{ChainId, Incarnation, Stream, Timestamp};
use holdfast_sync::Fault;
use holdfast_sync::identity::NodeKey;
use holdfast_sync::store::verify::{Severity, request_repair};
use holdfast_sync::store::{
    ChainInfo, ItemOutcome, PIPELINE, Received, Snapshot, Store, Table, verify,
};
use rusqlite::Connection;
use std::fs;
use std::path::Path;

fn database(dir: &Path) -> Connection {
    Connection::open(dir.join("holdfast.db")).unwrap()
}

async fn close(store: Store) {
    store.close().await;
}

/// A stopped store with five commits of ten readings each; returns its key.
async fn stopped(dir: &Path) -> NodeKey {
    let key = key();
    let (store, _) = open(dir, &key);
    for i in 0..5 {
        store.ingest(batch(&store, "d", 1 + i * 10, 10)).await.unwrap();
    }
    store.write(|tx| Ok(tx.put(Table::Cursor, PIPELINE, &6u64.to_be_bytes())?)).await.unwrap();
    close(store).await;
    key
}

/// Flips a bit in the middle of the body of the commit at `pos`.
fn rot(dir: &Path, pos: u64) {
    let db = database(dir);
    let sql = "SELECT body FROM commits WHERE pos=?1";
    let mut body: Vec<u8> = db.query_row(sql, [pos as i64], |row| row.get(0)).unwrap();
    let middle = body.len() / 2;
    body[middle] ^= 4;
    db.execute("UPDATE commits SET body=?2 WHERE pos=?1", (pos as i64, body)).unwrap();
}

fn repaired(dir: &Path, key: &NodeKey) -> (Store, Vec<String>) {
    let report = verify(dir, &mut |_| {}).unwrap();
    assert!(request_repair(dir, &report), "{report:?}");
    let (store, report) = open(dir, key);
    (store, report.findings)
}

async fn sound(store: Store) {
    let dir = store.dir().to_owned();
    close(store).await;
    let report = verify(&dir, &mut |_| {}).unwrap();
    assert!(report.worst() <= Some(Severity::Info), "{:#?}", report.findings);
}

fn sequences(store: &Store) -> Vec<u64> {
    let chain = reading_chain(store);
    let commits = store.read_blocking(|view| view.commits_from(chain.no, 1, usize::MAX)).unwrap();
    let rows = |body: &[u8]| {
        let body = readings::Body::new(body).unwrap();
        body.rows().map(|row| row.unwrap().source.unwrap().seq).collect::<Vec<_>>()
    };
    commits.iter().flat_map(|commit| rows(&commit.body)).collect()
}

/// The chain of readings of the first start.
fn reading_chain(store: &Store) -> ChainInfo {
    let chains = store.read_blocking(|view: &Snapshot<'_>| view.chains()).unwrap();
    let mut own = chains.into_iter().filter(|chain| chain.id.stream == Stream::Reading);
    own.next().unwrap()
}

/// The gaps declared in the event streams.
fn declared(store: &Store) -> Vec<events::Gap> {
    let commits = store.read_blocking(|view| view.commits_after(0, usize::MAX)).unwrap();
    let chains = store.read_blocking(|view: &Snapshot<'_>| view.chains()).unwrap();
    let mut out = Vec::new();
    for commit in commits {
        let chain = chains.iter().find(|chain| chain.no == commit.chain).unwrap();
        if chain.id.stream == Stream::Event {
            for event in events::read(&commit.body).unwrap().1 {
                if let Event::Gap(gap) = event.unwrap() {
                    out.push(gap);
                }
            }
        }
    }
    out
}

#[tokio::test]
async fn a_damaged_commit_becomes_a_declared_gap_once_and_the_rest_stays() {
    let dir = tempfile::tempdir().unwrap();
    let key = stopped(dir.path()).await;
    rot(dir.path(), 4);
    let (store, findings) = repaired(dir.path(), &key);
    assert!(findings.iter().any(|text| text.contains("21 to 30")), "{findings:?}");
    assert_eq!(sequences(&store), (1..=20).chain(31..=50).collect::<Vec<_>>());
    let gaps = declared(&store);
    assert_eq!(gaps.len(), 1);
    assert_eq!((gaps[0].range, gaps[0].reason), (Range { from: 21, to: 30 }, GapReason::Damaged));
    let chain = reading_chain(&store);
    assert_eq!(chain.frontier.as_slice(), [Range { from: 1, to: 50 }]);
    sound(store).await;
    let (store, report) = open(dir.path(), &key);
    assert!(report.findings.is_empty(), "{report:?}");
    assert_eq!(declared(&store).len(), 1, "told once");
    sound(store).await;
}

#[tokio::test]
async fn the_end_of_a_chain_can_be_lost_and_be_explained_too() {
    let dir = tempfile::tempdir().unwrap();
    let key = stopped(dir.path()).await;
    rot(dir.path(), 6);
    let (store, _) = repaired(dir.path(), &key);
    assert_eq!(sequences(&store), (1..=40).collect::<Vec<_>>());
    assert_eq!(declared(&store)[0].range, Range { from: 41, to: 50 });
    sound(store).await;
}

#[tokio::test]
async fn what_a_peer_has_is_not_declared_lost() {
    let dir = tempfile::tempdir().unwrap();
    let key = stopped(dir.path()).await;
    let (store, _) = open(dir.path(), &key);
    let (no, peer) = (reading_chain(&store).no, self::key().id());
    let mut held = RangeSet::new();
    held.add(Range { from: 1, to: 35 }).unwrap();
    store.write(move |tx| tx.set_acked(&peer, no, &held)).await.unwrap();
    close(store).await;
    rot(dir.path(), 4);
    rot(dir.path(), 5);
    let (store, _) = repaired(dir.path(), &key);
    assert_eq!(declared(&store).len(), 1, "of 21 to 40 the peer has only a part");
    close(store).await;
    let dir = tempfile::tempdir().unwrap();
    let key = stopped(dir.path()).await;
    let (store, _) = open(dir.path(), &key);
    let mut held = RangeSet::new();
    held.add(Range { from: 1, to: 35 }).unwrap();
    store.write(move |tx| tx.set_acked(&peer, no, &held)).await.unwrap();
    close(store).await;
    rot(dir.path(), 4);
    let (store, findings) = repaired(dir.path(), &key);
    assert!(findings.iter().any(|text| text.contains("a peer has them")), "{findings:?}");
    assert!(declared(&store).is_empty());
    let gaps = store.read_blocking(|view| view.gaps(no)).unwrap();
    assert_eq!(gaps[0].reason, GapReason::Acknowledged);
    sound(store).await;
}

#[tokio::test]
async fn a_lost_chain_record_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let key = stopped(dir.path()).await;
    let sql = "UPDATE records SET value=zeroblob(length(value)) WHERE tab=2";
    assert!(database(dir.path()).execute(sql, []).unwrap() > 1);
    let (store, report) = open(dir.path(), &key);
    assert!(report.findings.iter().any(|text| text.contains("Chain")), "{report:?}");
    assert_eq!(sequences(&store), (1..=50).collect::<Vec<_>>());
    sound(store).await;
}

#[tokio::test]
async fn device_sequences_are_derived_anew_from_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let key = stopped(dir.path()).await;
    let sql = "UPDATE records SET value=zeroblob(length(value)) WHERE tab=5";
    assert_eq!(database(dir.path()).execute(sql, []).unwrap(), 1);
    let (store, _) = open(dir.path(), &key);
    let damaged = store.ingest(batch(&store, "d", 1, 1));
    let other = store.ingest(batch(&store, "e", 1, 1));
    let (damaged, other) = tokio::join!(damaged, other);
    assert!(damaged.is_err(), "never stored twice");
    assert_eq!(other.unwrap().1.items, [ItemOutcome::Accepted], "nobody else is harmed");
    close(store).await;
    assert!(dir.path().join("damaged").exists());
    let (store, _) = open(dir.path(), &key);
    let (_, outcome) = store.ingest(batch(&store, "d", 50, 2)).await.unwrap();
    assert_eq!(outcome.items, [ItemOutcome::Duplicate, ItemOutcome::Accepted]);
    let cursor = store.read_blocking(|view| view.get(Table::Cursor, PIPELINE)).unwrap();
    assert_eq!(cursor, None, "windows may be lost: the pipeline reads the log again");
    sound(store).await;
}

#[tokio::test]
async fn a_reader_that_meets_damage_notes_it_and_the_next_start_repairs() {
    let dir = tempfile::tempdir().unwrap();
    let key = stopped(dir.path()).await;
    let sql = "UPDATE records SET value=zeroblob(length(value)) WHERE tab=4";
    database(dir.path()).execute(sql, []).unwrap();
    let (store, _) = {
        // A cursor is read at the start, which repairs at once; so harm it behind its back.
        let (store, report) = open(dir.path(), &key);
        assert!(!report.findings.is_empty());
        store.write(|tx| Ok(tx.put(Table::Device, b"d", b"x")?)).await.unwrap();
        close(store).await;
        let sql = "UPDATE records SET value=zeroblob(length(value)) WHERE tab=10";
        assert_eq!(database(dir.path()).execute(sql, []).unwrap(), 1);
        open(dir.path(), &key)
    };
    assert!(!dir.path().join("damaged").exists());
    let met = store.read_blocking(|view| view.get(Table::Device, b"d")).unwrap_err();
    assert!(met.is_damage() && dir.path().join("damaged").exists());
    assert_eq!(sequences(&store).len(), 50, "the rest is served");
    close(store).await;
    let (store, report) = open(dir.path(), &key);
    assert!(report.findings.iter().any(|text| text.contains("Device: 1")), "{report:?}");
    sound(store).await;
}

#[tokio::test]
async fn a_commit_that_is_not_intact_is_told_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let key = stopped(dir.path()).await;
    rot(dir.path(), 4);
    let (store, report) = open(dir.path(), &key);
    assert!(report.findings.is_empty(), "a start reads no bodies");
    let chain = reading_chain(&store);
    let intact = |view: &Snapshot<'_>| {
        let mut out = Vec::new();
        for commit in view.commits_from(chain.no, 1, usize::MAX)? {
            let before = view.link_before(chain.no, commit.first)?;
            out.push(commit.intact(&chain.id, before.unwrap()));
        }
        Ok(out)
    };
    let all = store.read_blocking(intact).unwrap();
    assert_eq!(all, [true, true, false, true, true]);
    store.note_damage(&Fault::damaged("commit 4", "its link does not follow"));
    close(store).await;
    let (store, report) = open(dir.path(), &key);
    assert!(!report.findings.is_empty());
    sound(store).await;
}

#[tokio::test]
async fn without_a_header_the_store_begins_anew_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let key = stopped(dir.path()).await;
    let path = dir.path().join("holdfast.db");
    let mut bytes = fs::read(&path).unwrap();
    bytes[..100].fill(0x55);
    fs::write(&path, &bytes).unwrap();
    let (store, report) = open(dir.path(), &key);
    assert!(report.findings.iter().any(|text| text.contains("nothing")), "{report:?}");
    assert!(report.findings.iter().any(|text| text.contains("entries 1 to 50")), "{report:?}");
    assert_eq!(store.incarnation().boot, 2, "the mark remembers");
    assert_eq!(fs::read(dir.path().join("holdfast.db.damaged-1")).unwrap(), bytes);
    sound(store).await;
}

/// On a hub: what is damaged of a received chain leaves the frontier and can arrive again.
#[tokio::test]
async fn damaged_commits_of_a_peer_are_asked_for_again() {
    let dir = tempfile::tempdir().unwrap();
    let key = key();
    let origin = self::key();
    let incarnation = Incarnation { boot: 4, nonce: 44 };
    let chain = ChainId { origin: origin.id(), incarnation, stream: Stream::Event };
    let run = || {
        let mut run = Received::new(chain, Link::START);
        for first in 1..=9 {
            let mut body = Vec::new();
            start_body(&mut body, Timestamp(first as i64 * 1_000_000)).unwrap();
            let event = Event::Notice {
                severity: events::Severity::Info,
                code: "test",
                text: "a text that is long enough to be hit by a flipped bit",
            };
            event.encode(&mut body, Vec::new()).unwrap();
            run.push(first, 1, None, false, body).unwrap();
        }
        run
    };
    let (store, _) = open(dir.path(), &key);
    let whole = run();
    store.write(move |tx| tx.accept(&whole)).await.unwrap();
    close(store).await;
    rot(dir.path(), 5);
    let (store, _) = repaired(dir.path(), &key);
    assert!(declared(&store).is_empty(), "it is not ours to declare");
    let of_peer = |store: &Store| {
        let chains = store.read_blocking(|view: &Snapshot<'_>| view.chains()).unwrap();
        chains.into_iter().find(|info| info.id == chain).unwrap()
    };
    let hole = [Range { from: 1, to: 3 }, Range { from: 5, to: 9 }];
    assert_eq!(of_peer(&store).frontier.as_slice(), hole);
    let again = run();
    store.write(move |tx| tx.accept(&again)).await.unwrap();
    assert_eq!(of_peer(&store).frontier.as_slice(), [Range { from: 1, to: 9 }]);
    sound(store).await;
}
