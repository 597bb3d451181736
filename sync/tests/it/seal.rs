//! Sealing: whatever is sealed or not, the log is the same, here, at a peer and after a restart.

use crate::net::{held, hub, until, uplink};
use crate::support::{batch, key, options};
use holdfast_core::log::Link;
use holdfast_core::ranges::Range;
use holdfast_core::reading::Finite;
use holdfast_core::{ChainId, Reject, Stream};
use holdfast_sync::env::System;
use holdfast_sync::identity::NodeKey;
use holdfast_sync::store::verify::verify;
use holdfast_sync::store::{
    ChainInfo, IngestBatch, Item, OwnedValue, PIPELINE, Received, Snapshot, Store, StoredCommit,
    Table, WriteError,
};
use std::path::Path;

const SEAL_AFTER: u64 = 200;

fn open(dir: &Path, key: &NodeKey) -> Store {
    Store::open(options(dir, key), System::env()).unwrap().0
}

/// Posts `n` batches of 25 readings of some devices, and has the pipeline read them.
async fn post(store: &Store, from: u64, n: u64) {
    for i in 0..n {
        let (device, before) = (format!("ps-{}", (from + i) % 3), (from + i) / 3);
        store.ingest(batch(store, &device, 1 + before * 25, 25)).await.unwrap();
    }
    pipeline_reads(store).await;
}

async fn pipeline_reads(store: &Store) {
    let head = store.read_blocking(|view: &Snapshot<'_>| view.head()).unwrap();
    let read = move |tx: &mut holdfast_sync::store::WriteTx<'_>| {
        Ok(tx.put(Table::Cursor, PIPELINE, &head.to_be_bytes())?)
    };
    store.write(read).await.unwrap();
}

fn readings(store: &Store) -> ChainInfo {
    let chains = store.read_blocking(|view: &Snapshot<'_>| view.chains()).unwrap();
    let own = |c: &&ChainInfo| c.id.stream == Stream::Reading && c.last() > 0;
    chains.iter().find(own).unwrap().clone()
}

fn rows(store: &Store) -> Vec<StoredCommit> {
    let chain = readings(store).no;
    store.read_blocking(|view: &Snapshot<'_>| view.rows_from(chain, 1, usize::MAX)).unwrap()
}

fn commits(store: &Store) -> Vec<(u64, u32, Link, Vec<u8>)> {
    let chain = readings(store).no;
    let commits = store.read_blocking(|view| view.commits_from(chain, 1, usize::MAX)).unwrap();
    commits.into_iter().map(|c| (c.first, c.count, c.link, c.body)).collect()
}

fn assert_sound(dir: &Path) {
    let report = verify(dir, &mut |_| {}).unwrap();
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
}

#[tokio::test]
async fn sealed_commits_are_the_same_log() {
    let (dir, key) = (tempfile::tempdir().unwrap(), key());
    let store = open(dir.path(), &key);
    post(&store, 0, 40).await;
    let before = commits(&store);
    let head = store.read_blocking(|view: &Snapshot<'_>| view.head()).unwrap();
    store.seal_all(SEAL_AFTER).unwrap();
    let sealed = rows(&store);
    assert!(sealed[0].sealed && sealed.len() < 10, "{} rows", sealed.len());
    assert_eq!(commits(&store), before);
    let now = store.read_blocking(|view: &Snapshot<'_>| view.head()).unwrap();
    assert_eq!(now, head, "no position is given anew");
    assert_sound(dir.path());
    post(&store, 40, 40).await;
    let before = commits(&store);
    store.seal_all(SEAL_AFTER).unwrap();
    assert_eq!(commits(&store), before);
    store.close().await;
    drop(store);
    let store = open(dir.path(), &key);
    assert_eq!(commits(&store), before);
    assert_sound(dir.path());
}

#[tokio::test]
async fn what_the_pipeline_has_not_read_is_not_sealed() {
    let (dir, key) = (tempfile::tempdir().unwrap(), key());
    let store = open(dir.path(), &key);
    post(&store, 0, 20).await;
    let read = store.read_blocking(|view: &Snapshot<'_>| view.head()).unwrap();
    for i in 0..40 {
        store.ingest(batch(&store, "later", 1 + i * 25, 25)).await.unwrap();
    }
    store.seal_all(SEAL_AFTER).unwrap();
    let (sealed, open): (Vec<_>, Vec<_>) = rows(&store).into_iter().partition(|row| row.sealed);
    assert!(!sealed.is_empty());
    assert!(sealed.iter().all(|row| row.pos <= read) && open.iter().any(|row| row.pos > read));
}

/// A backlog arrives its newest part first, so what the pipeline has not read lies before what it
/// has, and between. A hub took its store for damaged: it sealed across what it left out.
#[tokio::test]
async fn what_the_pipeline_has_not_read_parts_what_it_has() {
    let dirs = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, peer) = (open(dirs.0.path(), &key()), open(dirs.1.path(), &key()));
    post(&store, 0, 60).await;
    let (plain, chain) = (rows(&store), readings(&store).id);
    let accept = async |held: std::ops::Range<usize>| {
        let before = held.start.checked_sub(1).map_or(Link::START, |at| plain[at].link);
        let part = run(chain, before, &plain[held]).unwrap();
        peer.write(move |tx| tx.accept(&part)).await.unwrap();
    };
    accept(50..60).await;
    accept(20..40).await;
    pipeline_reads(&peer).await;
    let read = peer.read_blocking(|view: &Snapshot<'_>| view.head()).unwrap();
    accept(40..50).await;
    accept(0..20).await;
    peer.seal_all(SEAL_AFTER).unwrap();
    assert_sound(dirs.1.path());
    let sealed: Vec<_> = rows(&peer).into_iter().filter(|row| row.sealed).collect();
    assert!(!sealed.is_empty() && sealed.iter().all(|row| row.pos <= read), "{}", sealed.len());
    pipeline_reads(&peer).await;
    peer.seal_all(SEAL_AFTER).unwrap();
    assert_sound(dirs.1.path());
    assert!(rows(&peer)[0].sealed);
    assert_eq!(commits(&peer), commits(&store));
    assert_eq!(peer.noted_damage(), None);
}

#[tokio::test]
async fn small_segments_become_large_ones() {
    let (dir, key) = (tempfile::tempdir().unwrap(), key());
    let store = open(dir.path(), &key);
    for round in 0..20 {
        post(&store, round * 12, 12).await;
        store.seal_all(SEAL_AFTER).unwrap();
    }
    let before = commits(&store);
    let segments = rows(&store).iter().filter(|row| row.sealed).count();
    assert!(segments <= 9, "{segments} segments of 6,000 entries");
    assert_eq!(before.len(), 240);
    assert_sound(dir.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_backlog_travels_as_it_is_and_arrives_whole() {
    let dirs = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (hub, key) = (hub(dirs.0.path()).await, key());
    let store = open(dirs.1.path(), &key);
    for round in 0..20 {
        post(&store, round * 80, 80).await;
        store.seal_all(SEAL_AFTER).unwrap();
    }
    let expected = commits(&store);
    let uplink = uplink(&store, &key, hub.book.invitation.clone());
    let all = readings(&store).last();
    until("the backlog is there", || held(&hub.store, key.id(), Stream::Reading) == all).await;
    assert_eq!(commits(&hub.store), expected);
    let arrived = rows(&hub.store);
    assert!(arrived.iter().any(|row| row.sealed), "none of {} rows is sealed", arrived.len());
    assert_sound(dirs.0.path());
    drop(uplink);
}

/// A run of a chain as a peer would send it.
fn run(chain: ChainId, before: Link, rows: &[StoredCommit]) -> Result<Received, Reject> {
    let mut run = Received::new(chain, before);
    for row in rows {
        run.push(row.first, row.count, row.signature, row.sealed, row.body.clone())?;
    }
    Ok(run)
}

#[tokio::test]
async fn of_a_segment_that_is_partly_held_the_rest_is_stored() {
    let dirs = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, peer) = (open(dirs.0.path(), &key()), open(dirs.1.path(), &key()));
    post(&store, 0, 40).await;
    let plain = rows(&store);
    let chain = readings(&store).id;
    store.seal_all(SEAL_AFTER).unwrap();
    let sealed: Vec<_> = rows(&store).into_iter().filter(|row| row.sealed).collect();
    assert_eq!(sealed[0].first, 1);
    let middle = run(chain, plain[6].link, &plain[7..9]).unwrap();
    peer.write(move |tx| tx.accept(&middle)).await.unwrap();
    let whole = run(chain, Link::START, &sealed[..1]).unwrap();
    let (_, (_, frontier)) = peer.write(move |tx| tx.accept(&whole)).await.unwrap();
    assert!(frontier.covers(Range::new(1, sealed[0].last()).unwrap()));
    let parts = sealed[0].parts().unwrap().len();
    assert_eq!(commits(&peer), commits(&store)[..parts]);
    assert_sound(dirs.1.path());
}

/// A peer that has some commits of what is a segment here lacks the link before the rest: it is in
/// the middle of the segment.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_holds_part_of_a_segment_gets_the_rest() {
    let dirs = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (hub, key) = (hub(dirs.0.path()).await, key());
    let store = open(dirs.1.path(), &key);
    post(&store, 0, 60).await;
    let (plain, chain) = (rows(&store), readings(&store));
    store.seal_all(SEAL_AFTER).unwrap();
    for held in [6..9, 20..21, 40..44] {
        let part = run(chain.id, plain[held.start - 1].link, &plain[held]).unwrap();
        hub.store.write(move |tx| tx.accept(&part)).await.unwrap();
    }
    let uplink = uplink(&store, &key, hub.book.invitation.clone());
    let all = chain.last();
    until("the rest is there", || held(&hub.store, key.id(), Stream::Reading) == all).await;
    assert_eq!(commits(&hub.store), commits(&store));
    assert_sound(dirs.0.path());
    drop(uplink);
}

#[tokio::test]
async fn a_segment_that_is_not_what_it_claims_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &key());
    post(&store, 0, 40).await;
    let chain = readings(&store).id;
    store.seal_all(SEAL_AFTER).unwrap();
    let good = rows(&store).remove(0);
    assert!(run(chain, Link::START, std::slice::from_ref(&good)).is_ok());
    let refused = |row: StoredCommit| assert!(run(chain, Link::START, &[row]).is_err());
    refused(StoredCommit { first: 26, ..good.clone() });
    refused(StoredCommit { count: good.count - 1, ..good.clone() });
    refused(StoredCommit { sealed: false, ..good.clone() });
    refused(StoredCommit { signature: Some([7; 64]), ..good.clone() });
    let mut torn = good.clone();
    torn.body.truncate(good.body.len() - 1);
    refused(torn);
    for at in (0..good.body.len()).step_by(97) {
        let mut flipped = good.clone();
        flipped.body[at] ^= 1;
        refused(flipped);
    }
    assert!(run(chain, Link([1; 32]), std::slice::from_ref(&good)).is_err(), "another link before");
    let other = ChainId { stream: Stream::Rollup, ..chain };
    assert!(run(other, Link::START, &[good]).is_err(), "another chain");
}

#[tokio::test]
async fn retention_drops_a_segment_as_a_whole_and_says_so() {
    let (dir, key) = (tempfile::tempdir().unwrap(), key());
    let quota_bytes = 2 << 20;
    let tight =
        holdfast_sync::store::Options { seal_after: 0, quota_bytes, ..options(dir.path(), &key) };
    let (store, _) = Store::open(tight, System::env()).unwrap();
    for round in 0..2_000 {
        let mut noise = batch(&store, "noise", 1 + round * 500, 500);
        for draft in &mut noise.drafts {
            // Full entropy: nothing makes it small.
            let bits = 0x3ff0_0000_0000_0000 | store.env().entropy() >> 12;
            draft.value = OwnedValue::Float(Finite::new(f64::from_bits(bits)).unwrap());
        }
        match store.ingest(noise).await {
            Ok(_) => {}
            Err(WriteError::Fault(fault)) if fault.is_full() => {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{error}"),
        }
        if round % 10 == 0 {
            post(&store, round / 10, 1).await;
            store.seal_all(SEAL_AFTER).unwrap();
        }
        if store.usage().shed_unacknowledged > 20_000 {
            break;
        }
    }
    let usage = store.usage();
    assert!(usage.shed_unacknowledged > 20_000, "{usage:?}");
    let chain = readings(&store);
    assert_eq!(chain.frontier.as_slice().len(), 1, "what went is in a gap");
    let gaps = store.read_blocking(|view: &Snapshot<'_>| view.gaps(chain.no)).unwrap();
    assert!(!gaps.is_empty());
    store.close().await;
    assert_sound(dir.path());
}

/// Live entries came before the backlog, so behind a segment there is a hole and then the rest. The
/// segment was taken for damaged whenever more of the rest came, and the hub started anew to repair
/// what was whole.
#[tokio::test]
async fn behind_a_segment_there_may_be_a_hole() {
    let dirs = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, peer) = (open(dirs.0.path(), &key()), open(dirs.1.path(), &key()));
    post(&store, 0, 40).await;
    let plain = rows(&store);
    let chain = readings(&store).id;
    let first = run(chain, Link::START, &plain[..12]).unwrap();
    peer.write(move |tx| tx.accept(&first)).await.unwrap();
    pipeline_reads(&peer).await;
    peer.seal_all(SEAL_AFTER).unwrap();
    assert!(rows(&peer)[0].sealed, "nothing was sealed");
    let last = run(chain, plain[29].link, &plain[30..]).unwrap();
    peer.write(move |tx| tx.accept(&last)).await.unwrap();
    let hole = run(chain, plain[11].link, &plain[12..30]).unwrap();
    peer.write(move |tx| tx.accept(&hole)).await.unwrap();
    assert_eq!(commits(&peer), commits(&store));
    assert_eq!(peer.noted_damage(), None);
    assert_sound(dirs.1.path());
}

/// A day of a thousand series, posted faster than it was sealed, stayed in segments of a quarter of
/// their size for good: how large they may be was taken from the one sealed last, which held the
/// few series of devices that were late.
#[tokio::test]
async fn segments_are_put_together_whatever_was_sealed_last() {
    const SERIES: usize = 300;
    let (dir, key) = (tempfile::tempdir().unwrap(), key());
    let store = open(dir.path(), &key);
    let names: Vec<_> = (0..SERIES).map(|n| format!("d{n}")).collect();
    // Twenty commits of all series, two of three series, 6,000 readings each.
    for (names, each, rounds) in [(names.as_slice(), 20, 20), (&names[..3], 2_000, 2)] {
        for round in 0..rounds {
            let mut all = IngestBatch::default();
            for name in names {
                let at = all.drafts.len();
                all.drafts.extend(batch(&store, name, 1 + round * each as u64, each).drafts);
                all.items.push(Item { drafts: at..at + each, source: None });
            }
            store.ingest(all).await.unwrap();
        }
    }
    post(&store, 0, 1).await;
    let before = commits(&store);
    store.seal_all(8_192).unwrap();
    let sealed: Vec<_> =
        rows(&store).iter().filter(|row| row.sealed).map(|row| row.count).collect();
    assert_eq!(sealed.iter().sum::<u32>(), 22 * 6_000 + 25);
    assert!(sealed.len() <= 2, "{sealed:?}");
    assert_eq!(commits(&store), before);
    assert_sound(dir.path());
}

/// Of the threads of this process that seal, how far each gives way.
#[cfg(target_os = "linux")]
fn nice_of_sealers() -> Vec<i32> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let stats =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok());
    let nice = |stat: String| {
        let behind = stat.split_once("(store-sealer) ")?.1;
        behind.split(' ').nth(16)?.parse().ok()
    };
    stats.filter_map(nice).collect()
}

/// A second of much work once in a while would else be in the way of each acknowledgement.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn sealing_gives_way_to_those_that_wait_for_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        holdfast_sync::store::Options { seal_after: SEAL_AFTER, ..options(dir.path(), &key()) };
    let _store = Store::open(options, System::env()).unwrap();
    until("a thread that gives way", || nice_of_sealers().contains(&10)).await;
}
