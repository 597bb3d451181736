//! Stores of nodes that do not run, opened as a node would: filled, which is quicker than over
//! HTTP, and comparing their documents message by message, without a session between them, so that
//! each message can be told by its kind.

use holdfast_core::NodeId;
use holdfast_core::hlc::Stamp;
use holdfast_core::state::{self, Author, Path, Policy, Value};
use holdfast_sync::Fault;
use holdfast_sync::docs::exchange::{Batch, Exchange, Incoming, Steward};
use holdfast_sync::docs::{
    Applied, Class, DocumentName, Documents, Edit, Hash, Roster, What, Writer,
};
use holdfast_sync::env::System;
use holdfast_sync::identity::{Membership, NodeKey};
use holdfast_sync::store::{Options, Overflow, Records, Store, WriteError, WriteTx};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::ops::{Range, RangeInclusive};
use std::path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Comparisons, each under a key of its own: how many symbols tell a difference is chance.
const ROUNDS: u64 = 20;
/// Documents made in one transaction.
const FILLED: usize = 500;
/// Kinds of the messages of a comparison, from *root* to *differ* (`docs/formats/exchange.md`).
const COMPARING: RangeInclusive<u8> = 10..=14;
const KINDS: [(u8, &str); 11] = [
    (3, "push"),
    (4, "have"),
    (5, "want"),
    (6, "talk"),
    (7, "upto"),
    (9, "member"),
    (10, "root"),
    (11, "sketch"),
    (12, "symbols"),
    (13, "list"),
    (14, "differ"),
];

/// What one comparison took.
#[derive(Debug, Default)]
pub struct Found {
    /// Bytes until both know what differs.
    pub finding: usize,
    /// Bytes of what follows from it.
    pub rest: usize,
    /// The longest chain of messages that answer each other until then; two are a round trip.
    pub hops: usize,
    kinds: BTreeMap<u8, (usize, usize)>,
}

impl Found {
    fn count(&mut self, record: &[u8], hop: usize) {
        let kind = record[0];
        let (count, bytes) = self.kinds.entry(kind).or_default();
        (*count, *bytes) = (*count + 1, *bytes + record.len());
        if COMPARING.contains(&kind) {
            self.finding += record.len();
            self.hops = self.hops.max(hop);
        } else {
            self.rest += record.len();
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, (count, bytes)) in &self.kinds {
            let word = KINDS.iter().find(|(known, _)| known == kind).map_or("other", |of| of.1);
            write!(f, "{count} {word} {bytes} B, ")?;
        }
        write!(f, "{} one after the other", self.hops)
    }
}

/// Everything of a device is for both, and both may write it.
struct Devices {
    hub: NodeId,
}

impl Roster for Devices {
    fn role(&self, node: &NodeId, _: &DocumentName) -> Option<state::Role> {
        Some(if *node == self.hub { state::Role::Hub } else { state::Role::Edge })
    }
}

impl Steward for Devices {
    fn met(&self, _: &Membership) {}
    fn shares(&self, _: &NodeId, document: &DocumentName) -> bool {
        !matches!(document.class(), Class::Site | Class::Node)
    }
    fn policy(&self, _: &DocumentName) -> Arc<[u8]> {
        Policy::LWW.as_bytes().into()
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

/// One of the two.
struct Side {
    store: Store,
    documents: Arc<Documents>,
    key: NodeKey,
}

type Pushed = Vec<(DocumentName, Vec<Hash>)>;

/// Makes `count` documents of one key in the store of a gateway that does not run.
pub async fn fill(edge: &path::Path, count: u64) -> io::Result<()> {
    let side = Side::open(edge, state::Role::Edge)?;
    for first in (0..count).step_by(FILLED) {
        side.change(first..count.min(first + FILLED as u64), 0).await?;
    }
    side.store.close().await;
    Ok(())
}

/// Changes `differ` documents at the hub and compares, again and again.
pub async fn compare(hub: &path::Path, edge: &path::Path, differ: u64) -> io::Result<Vec<Found>> {
    let sides = [Side::open(hub, state::Role::Hub)?, Side::open(edge, state::Role::Edge)?];
    let mut found = Vec::new();
    for round in 0..ROUNDS {
        let first = round * differ;
        sides[0].change(first..first + differ, round + 1).await?;
        found.push(Meeting::new(&sides).run(round).await?);
    }
    for side in sides {
        side.store.close().await;
    }
    Ok(found)
}

impl Side {
    fn open(dir: &path::Path, role: state::Role) -> io::Result<Self> {
        let key = NodeKey::read(&dir.join("node.key")).map_err(io::Error::other)?;
        let key = key.ok_or_else(|| io::Error::other("a node without a key"))?;
        let options = Options {
            dir: dir.to_owned(),
            key: key.clone(),
            quota_bytes: 8 << 30,
            overflow: Overflow::DropOldestRaw,
            max_series: 1_000,
            seal_after: 0,
            version: "bench",
            scrub_every: Duration::ZERO,
            unsafe_normal_sync: false,
        };
        let (store, _) = Store::open(options, System::env()).map_err(io::Error::other)?;
        let documents = Arc::new(Documents::new(&store, key.clone(), role));
        Ok(Self { store, documents, key })
    }

    /// Sets a key of these documents, in one transaction.
    async fn change(&self, numbers: Range<u64>, to: u64) -> io::Result<()> {
        let (documents, node) = (Arc::clone(&self.documents), self.key.id());
        let role = if documents.is_edge() { state::Role::Edge } else { state::Role::Hub };
        let changed = self.store.write(move |tx| {
            let clock = Stamp::new(tx.now().0.unsigned_abs() / 1_000_000, 0);
            let writer = Writer { author: Author::node(&node), role, clock };
            let path = Path::new("k07").expect("a path of one name");
            let edit = Edit { path, what: What::Put(Value::Int(1_000_000 + to as i64)) };
            for number in numbers {
                let name = format!("device/{}/desired", super::site::name(number));
                let name = DocumentName::new(&name).expect("a device makes a name");
                documents.write(tx, &name, &Policy::LWW, writer, &[edit])?;
            }
            Ok(())
        });
        changed.await.map(|_| ()).map_err(io::Error::other)
    }
}

/// The two in one connection: the hub's sequence has to be compared, the gateway's is known.
struct Meeting<'a> {
    sides: &'a [Side; 2],
    ends: [Arc<Mutex<Exchange>>; 2],
    under_way: [VecDeque<(Vec<u8>, usize)>; 2],
    pushed: [Pushed; 2],
    found: Found,
}

impl<'a> Meeting<'a> {
    fn new(sides: &'a [Side; 2]) -> Self {
        let ids = [sides[0].key.id(), sides[1].key.id()];
        let steward: Arc<dyn Steward> = Arc::new(Devices { hub: ids[0] });
        let end = |at: usize| {
            let documents = Arc::clone(&sides[at].documents);
            Arc::new(Mutex::new(Exchange::new(documents, Arc::clone(&steward), ids[1 - at])))
        };
        Self {
            sides,
            ends: [end(0), end(1)],
            under_way: Default::default(),
            pushed: Default::default(),
            found: Found::default(),
        }
    }

    async fn run(mut self, round: u64) -> io::Result<Found> {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&round.to_le_bytes());
        let hold = |end: &mut Exchange, tx: &mut WriteTx<'_>| Ok(end.held(tx)?);
        let of_edge = self.with(0, hold).await?;
        for (at, held) in [(0, None), (1, of_edge)] {
            let begin =
                move |end: &mut Exchange, tx: &mut WriteTx<'_>| Ok(end.begin(tx, held, key)?);
            let batch = self.with(at, begin).await?;
            self.send(at, batch, 0);
        }
        loop {
            let mut quiet = true;
            for at in 0..2 {
                let next = |end: &mut Exchange, tx: &mut WriteTx<'_>| end.next(tx, 64 << 10);
                let batch = self.with(at, next).await?;
                quiet &= batch.records.is_empty() && !batch.more;
                self.send(at, batch, 0);
                quiet &= !self.deliver(at).await?;
            }
            if quiet {
                return Ok(self.found);
            }
        }
    }

    /// Does something with an end in a transaction of its store.
    async fn with<T: Send + 'static>(
        &self,
        at: usize,
        act: impl FnOnce(&mut Exchange, &mut WriteTx<'_>) -> Result<T, WriteError> + Send + 'static,
    ) -> io::Result<T> {
        let end = Arc::clone(&self.ends[at]);
        let done = self.sides[at]
            .store
            .write(move |tx| act(&mut end.lock().unwrap_or_else(PoisonError::into_inner), tx));
        done.await.map(|(_, out)| out).map_err(io::Error::other)
    }

    fn send(&mut self, at: usize, batch: Batch, hop: usize) {
        for record in batch.records {
            self.found.count(&record, hop + 1);
            self.under_way[at].push_back((record, hop + 1));
        }
        self.pushed[at].extend(batch.pushed);
    }

    /// Delivers what `at` sent first.
    async fn deliver(&mut self, at: usize) -> io::Result<bool> {
        let Some((record, hop)) = self.under_way[at].pop_front() else { return Ok(false) };
        let message =
            Incoming::read(&record).map_err(|_| io::Error::other("a malformed message"))?;
        let take = |end: &mut Exchange, tx: &mut WriteTx<'_>| end.take(tx, message);
        let taken = self.with(1 - at, take).await?;
        self.send(1 - at, taken.answer, hop);
        if self.under_way[at].is_empty() {
            let pushed = std::mem::take(&mut self.pushed[at]);
            let acked = move |end: &mut Exchange, tx: &mut WriteTx<'_>| Ok(end.acked(tx, &pushed)?);
            self.with(at, acked).await?;
        }
        Ok(true)
    }
}
