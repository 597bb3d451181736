//! Stores in temporary directories and readings to put into them.

use holdfast_core::reading::{DeviceSeq, Finite};
use holdfast_core::{NodeId, Quality, SeriesKey, Timestamp, state};
use holdfast_sync::Fault;
use holdfast_sync::docs::exchange::Steward;
use holdfast_sync::docs::{Applied, DocumentName, Documents, Roster};
use holdfast_sync::env::{Env, Source, System};
use holdfast_sync::identity::{Membership, NodeKey, Role};
use holdfast_sync::net::Library;
use holdfast_sync::store::{
    Draft, IngestBatch, Item, OpenReport, Options, Overflow, OwnedValue, Records, Store,
    WriteError, WriteTx,
};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

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

/// Everybody may write everything and everything is for everybody; the hub is whoever showed a
/// hub's membership, or this node.
struct Open {
    hub: Mutex<Option<NodeId>>,
}

impl Roster for Open {
    fn role(&self, node: &NodeId, _: &DocumentName) -> Option<state::Role> {
        let hub = *self.hub.lock().unwrap() == Some(*node);
        Some(if hub { state::Role::Hub } else { state::Role::Edge })
    }
}

impl Steward for Open {
    fn met(&self, membership: &Membership) {
        if membership.grant().role == Role::Hub {
            *self.hub.lock().unwrap() = Some(membership.node());
        }
    }
    fn shares(&self, _: &NodeId, _: &DocumentName) -> bool {
        true
    }
    fn policy(&self, _: &DocumentName) -> Arc<[u8]> {
        state::Policy::LWW.as_bytes().into()
    }
    fn vouch(&self, _: &NodeId) -> Option<Vec<u8>> {
        None
    }
    fn learn(&self, _: &mut dyn Records, _: &NodeId, _: &[u8]) -> Result<(), Fault> {
        Ok(())
    }
    fn keeps(&self, _: &DocumentName) -> bool {
        true
    }
    fn written(&self, _: &mut WriteTx<'_>, _: &DocumentName) -> Result<(), WriteError> {
        Ok(())
    }
    fn applied(
        &self,
        _: &mut WriteTx<'_>,
        _: &NodeId,
        _: &DocumentName,
        _: &Applied,
    ) -> Result<(), WriteError> {
        Ok(())
    }
}

/// The documents of a node that exchanges all of them.
pub fn library(store: &Store, key: &NodeKey, role: state::Role) -> Library {
    let hub = Mutex::new((role == state::Role::Hub).then(|| key.id()));
    let documents = Arc::new(Documents::new(store, key.clone(), role));
    Library { documents, steward: Arc::new(Open { hub }), librarian: None }
}

/// A batch of `n` items of one device, each with a sequence from `from` on.
pub fn batch(store: &Store, device: &str, from: u64, n: usize) -> IngestBatch {
    let series = SeriesKey::new(device, "level", "m").expect("valid names");
    let series = store.interner().intern(&series).expect("room for a name");
    let mut batch = IngestBatch::default();
    for i in 0..n {
        let seq = from + i as u64;
        batch.drafts.push(Draft {
            series: Arc::clone(&series),
            time: Some(Timestamp(1_790_000_000_000_000_000 + seq as i64 * 1_000_000_000)),
            value: OwnedValue::Float(Finite::new(seq as f64 / 100.0).expect("finite")),
            quality: Quality::GOOD,
        });
        let source = Some(DeviceSeq { boot: 1, seq });
        batch.items.push(Item { drafts: i..i + 1, source });
    }
    batch
}
