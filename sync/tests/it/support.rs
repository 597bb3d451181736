//! Stores in temporary directories and readings to put into them.

use holdfast_core::reading::{DeviceSeq, Finite};
use holdfast_core::{Quality, SeriesKey, Timestamp};
use holdfast_sync::env::{Env, Source, System};
use holdfast_sync::identity::NodeKey;
use holdfast_sync::store::{
    Draft, IngestBatch, Item, OpenReport, Options, Overflow, OwnedValue, Store,
};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where the clock by hand begins.
const BEGIN_MS: u64 = 1_790_000_000_000;

/// A clock that is moved by hand.
#[derive(Default)]
pub struct Hand(AtomicU64);

impl Hand {
    pub fn at(ms: u64) -> Self {
        Self(AtomicU64::new(ms))
    }

    pub fn pass(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Source for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis((BEGIN_MS + self.monotonic_ms()) as i64).expect("a time")
    }
    fn monotonic_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
    fn entropy(&self) -> u64 {
        System::env().entropy()
    }
    fn fill(&self, out: &mut [u8]) {
        System::env().fill(out);
    }
}

pub fn options(dir: &Path, key: &NodeKey) -> Options {
    Options {
        dir: dir.to_owned(),
        key: key.clone(),
        quota_bytes: 1 << 30,
        overflow: Overflow::DropOldestRaw,
        max_series: 10_000,
        // By hand, where a test wants it.
        seal_after: 0,
        version: "test",
        scrub_every: std::time::Duration::ZERO,
        unsafe_normal_sync: false,
    }
}

pub fn open(dir: &Path, key: &NodeKey) -> (Store, OpenReport) {
    Store::open(options(dir, key), System::env()).expect("the store opens")
}

pub fn key() -> NodeKey {
    let env: Env = System::env();
    NodeKey::generate(&env)
}

/// A batch of `n` items of one device, each with a sequence from `from` on.
pub fn batch(store: &Store, device: &str, from: u64, n: usize) -> IngestBatch {
    let series = SeriesKey::new(device, "level", "m").expect("valid names");
    let series = store.interner().intern(&series).expect("room for a name");
    let mut batch = IngestBatch::default();
    for i in 0..n {
        let seq = from + i as u64;
        batch.drafts.push(Draft {
            series: std::sync::Arc::clone(&series),
            time: Some(Timestamp(1_790_000_000_000_000_000 + seq as i64 * 1_000_000_000)),
            value: OwnedValue::Float(Finite::new(seq as f64 / 100.0).expect("finite")),
            quality: Quality::GOOD,
        });
        let source = Some(DeviceSeq { boot: 1, seq });
        batch.items.push(Item { drafts: i..i + 1, source });
    }
    batch
}
