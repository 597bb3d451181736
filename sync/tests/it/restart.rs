//! A start costs the same with an empty store and with a full one.

use crate::support::{batch, key, open};
use holdfast_core::ranges::Range;
use holdfast_sync::store::{Snapshot, Table};
use std::fs;
use std::path::Path;

const PAGE: usize = 4096;

/// Overwrites every page that can only be the continuation of a commit's body: all but the first,
/// the pages of tables and indexes, which begin with their kind, and the free ones.
fn garble_bodies(path: &Path) -> usize {
    let mut bytes = fs::read(path).unwrap();
    let word = |at: usize| u32::from_be_bytes(*bytes[at..].first_chunk().unwrap()) as usize;
    let (mut keep, mut trunk) = (vec![1], word(32));
    while trunk != 0 {
        let at = (trunk - 1) * PAGE;
        keep.push(trunk);
        keep.extend((0..word(at + 4)).map(|i| word(at + 8 + 4 * i)));
        trunk = word(at);
    }
    let mut garbled = 0;
    for (i, page) in bytes.chunks_mut(PAGE).enumerate() {
        if !keep.contains(&(i + 1)) && !matches!(page[0], 2 | 5 | 10 | 13) {
            page.fill(0xff);
            garbled += 1;
        }
    }
    fs::write(path, bytes).unwrap();
    garbled
}

/// SQLite empties its log when the last connection closes. A store that was read keeps connections
/// for the next reader, so a clean stop left up to eight mebibytes, and each start read them twice.
#[tokio::test]
async fn a_clean_stop_leaves_no_log_to_read_through() {
    let dir = tempfile::tempdir().unwrap();
    let key = key();
    let (store, _) = open(dir.path(), &key);
    for i in 0..10 {
        store.ingest(batch(&store, "d", 1 + i * 2_000, 2_000)).await.unwrap();
    }
    store.read_blocking(|view: &Snapshot<'_>| view.chains()).unwrap();
    let log = dir.path().join("holdfast.db-wal");
    assert!(fs::metadata(&log).unwrap().len() > 0);
    store.close().await;
    assert_eq!(fs::metadata(&log).map_or(0, |meta| meta.len()), 0);
}

/// The proof is by cause: with every long body unreadable a start finds, writes and reports the
/// same, and only who asks for a body meets the damage.
#[tokio::test]
async fn opening_a_full_store_reads_no_commit_bodies() {
    let dir = tempfile::tempdir().unwrap();
    let key = key();
    let (store, _) = open(dir.path(), &key);
    let commits = 40;
    for i in 0..commits {
        store.ingest(batch(&store, "d", 1 + i * 2_000, 2_000)).await.unwrap();
    }
    store.write(|tx| Ok(tx.put(Table::Cursor, b"pipeline", &9u64.to_be_bytes())?)).await.unwrap();
    store.close().await;
    let chains = store.read_blocking(|view: &Snapshot<'_>| view.chains()).unwrap();
    drop(store);
    let garbled = garble_bodies(&dir.path().join("holdfast.db"));
    assert!(garbled as u64 > commits, "{garbled} pages of bodies");
    let (store, report) = open(dir.path(), &key);
    assert!(report.findings.is_empty(), "{report:?}");
    let again = store.read_blocking(|view: &Snapshot<'_>| view.chains()).unwrap();
    assert_eq!(again[..chains.len()], chains);
    // It takes readings, too, and knows which it has.
    store.ingest(batch(&store, "d", commits * 2_000, 2)).await.unwrap();
    assert!(!dir.path().join("damaged").exists(), "nobody has met the damage yet");
    let reading = chains.iter().find(|chain| chain.last() == commits * 2_000).unwrap();
    let all = Range { from: 1, to: reading.last() };
    let read = store.read_blocking(|view| view.rows_back(reading.no, all, usize::MAX));
    assert!(read.is_err_and(|fault| fault.is_damage()), "the bodies are indeed unreadable");
    store.close().await;
}
