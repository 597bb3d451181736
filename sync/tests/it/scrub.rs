//! What nobody reads rots unseen; the scrub reads it, and says where.

use crate::support::{Hand, batch, key, options};
use holdfast_sync::env::{Env, Source};
use holdfast_sync::identity::NodeKey;
use holdfast_sync::store::{SCRUB_EVERY, Scrubbed, Snapshot, Store, Table, WriteError};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const WEEK_MS: u64 = 7 * 86_400_000;
/// Well under the pause between two steps of these stores.
const MINUTE_MS: u64 = 60_000;

/// A store with its clock.
struct Lab {
    store: Store,
    hand: Arc<Hand>,
}

impl Lab {
    fn open(dir: &Path, key: &NodeKey, from_ms: u64) -> Self {
        let hand = Arc::new(Hand::at(from_ms));
        let mut options = options(dir, key);
        options.scrub_every = SCRUB_EVERY;
        let (store, report) = Store::open(options, Arc::clone(&hand) as Env).unwrap();
        assert!(report.findings.is_empty(), "{report:?}");
        Self { store, hand }
    }

    /// Lets a minute pass and says whether a step was due.
    fn minute(&self) -> bool {
        self.hand.pass(MINUTE_MS);
        self.store.scrub_if_due().unwrap()
    }

    /// Lets time pass until a round is over; gives the steps and the minutes that it took.
    fn round(&self) -> (u64, u64) {
        let (before, mut steps) = (self.store.scrubbed().finished, 0);
        for minute in 1..=2 * WEEK_MS / MINUTE_MS {
            steps += u64::from(self.minute());
            if self.store.scrubbed().finished != before {
                return (steps, minute);
            }
        }
        panic!("no round ends within two weeks: {:?}", self.store.scrubbed());
    }

    fn now(&self) -> u64 {
        self.hand.monotonic_ms()
    }
}

/// Readings as segments and others, some megabytes of bodies.
async fn fill(store: &Store) {
    for i in 0..60 {
        store.ingest(batch(store, "ps-1", 1 + i * 2_000, 2_000)).await.unwrap();
    }
    let read = store.read_blocking(|view: &Snapshot<'_>| view.head()).unwrap();
    let cursor = read.to_be_bytes();
    store.write(move |tx| Ok(tx.put(Table::Cursor, b"pipeline", &cursor)?)).await.unwrap();
    store.seal_all(1_000).unwrap();
    for i in 0..60 {
        store.ingest(batch(store, "ps-2", 1 + i * 2_000, 2_000)).await.unwrap();
    }
}

/// Flips a bit in the middle of the body that a row has, as a disk does: past the database.
fn flip(dir: &Path, sql: &str) -> u64 {
    let path = dir.join("holdfast.db");
    let (pos, body): (i64, Vec<u8>) = {
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    };
    let mut bytes = fs::read(&path).unwrap();
    let piece = &body[body.len() / 2..][..64.min(body.len() / 4)];
    let all = bytes.windows(piece.len()).enumerate();
    let places: Vec<_> = all.filter(|(_, found)| *found == piece).map(|(at, _)| at).collect();
    assert!(!places.is_empty(), "the body is in the file, and in pages that are free again");
    places.into_iter().for_each(|at| bytes[at + 1] ^= 0x10);
    fs::write(&path, bytes).unwrap();
    pos as u64
}

#[tokio::test]
async fn a_bit_that_flips_where_nobody_reads_is_named_within_one_round() {
    for sealed in [1, 0] {
        let (dir, key) = (tempfile::tempdir().unwrap(), key());
        let lab = Lab::open(dir.path(), &key, 0);
        fill(&lab.store).await;
        lab.round();
        assert_eq!(lab.store.scrubbed().findings, 0);
        assert_eq!(lab.store.noted_damage(), None);
        let largest = format!(
            "SELECT pos, body FROM commits WHERE sealed={sealed} ORDER BY length(body) DESC LIMIT 1"
        );
        let pos = flip(dir.path(), &largest);
        lab.round();
        assert_eq!(lab.store.scrubbed().findings, 1, "of a commit that is sealed: {sealed}");
        assert_eq!(lab.store.counts().scrub_findings.get(), 1);
        let noted = lab.store.noted_damage().expect("it is noted for the next start");
        assert!(noted.contains(&format!("commit {pos} (")), "{noted}");
        lab.store.close().await;
        drop(lab.store);
        // The next start repairs it, and what was found is not forgotten.
        let (store, report) =
            Store::open(options(dir.path(), &key), Arc::<Hand>::default()).unwrap();
        assert!(!report.findings.is_empty());
        assert_eq!((store.noted_damage(), store.scrubbed().findings), (None, 1));
        store.close().await;
    }
}

#[tokio::test]
async fn a_record_that_rots_is_named_too() {
    let (dir, key) = (tempfile::tempdir().unwrap(), key());
    let lab = Lab::open(dir.path(), &key, 0);
    let content = [0x5c; 1_000];
    lab.store.write(move |tx| Ok(tx.put(Table::Device, b"tank", &content)?)).await.unwrap();
    let sql = format!("SELECT 0, value FROM records WHERE tab={}", Table::Device as u8);
    flip(dir.path(), &sql);
    lab.round();
    let noted = lab.store.noted_damage().expect("it is noted");
    assert!(noted.contains("record 10/tank"), "{noted}");
    assert_eq!(lab.store.scrubbed().findings, 1);
}

/// A round takes about the time that was set, whatever is read in a step, and the next one begins
/// with the first commit again.
#[tokio::test]
async fn a_round_takes_its_time_goes_on_after_a_restart_and_begins_anew() {
    let (dir, key) = (tempfile::tempdir().unwrap(), key());
    let lab = Lab::open(dir.path(), &key, 0);
    fill(&lab.store).await;
    lab.round();
    let read = |lab: &Lab| lab.store.counts().scrubbed.get();
    let before = read(&lab);
    let (steps, minutes) = lab.round();
    let whole = read(&lab) - before;
    assert!(steps >= 6, "{steps} steps");
    let week = WEEK_MS / MINUTE_MS;
    assert!((week / 2..=week * 3 / 2).contains(&minutes), "{minutes} minutes");
    // Half of the next round, then the node stops.
    while read(&lab) - before - whole < whole / 2 {
        lab.minute();
    }
    let (half, finished) = (read(&lab) - before - whole, lab.store.scrubbed().finished);
    let now = lab.now();
    lab.store.close().await;
    drop(lab);
    let lab = Lab::open(dir.path(), &key, now);
    assert_eq!(lab.store.scrubbed(), Scrubbed { finished, findings: 0 }, "it is kept");
    lab.round();
    let rest = read(&lab);
    assert!(rest < whole * 3 / 4, "{half} bytes before the stop, {rest} behind it, of {whole}");
    let before = read(&lab);
    lab.round();
    assert!(read(&lab) - before > whole * 9 / 10, "the next round reads everything again");
    lab.store.close().await;
}

#[tokio::test]
async fn it_is_done_in_the_background_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let lab = Lab::open(dir.path(), &key(), 0);
    for _ in 0..6_000 {
        // Two steps for the log and one for the records: then there is nothing behind them.
        if lab.store.scrubbed().finished.is_some() {
            return lab.store.close().await;
        }
        lab.hand.pass(WEEK_MS);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("nobody scrubs: {:?}", lab.store.scrubbed());
}

#[tokio::test]
async fn a_store_that_is_not_to_be_scrubbed_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let hand: Arc<Hand> = Arc::default();
    let (store, _) = Store::open(options(dir.path(), &key()), Arc::clone(&hand) as Env).unwrap();
    hand.pass(10 * WEEK_MS);
    assert!(!store.scrub_if_due().unwrap());
    store.close().await;
    assert!(matches!(
        store.write(|_| Ok(())).await,
        Err(WriteError::Fault(holdfast_sync::Fault::Stopping))
    ));
}
