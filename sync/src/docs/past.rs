//! The past of a document: its changes, the newest first, and what each put in the place of what.
//!
//! Read by an instance of its own from a snapshot of the store, beside the writer, and dropped. The
//! order is the same on every replica: no change comes before one that had seen it, and of those
//! that had not seen each other the one that says a later time comes first.

use super::DocumentName;
use super::actor::Actor;
use super::change::{Change, Put};
use super::chunk::Hash;
use super::cut::is_of_base;
use super::documents::{Documents, unusable};
use super::engine::read_raw;
use super::open::Open;
use super::records::{Book, status};
use crate::Fault;
use crate::store::{ReadRecords, Snapshot};
use holdfast_core::NodeId;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

/// Bytes of cells that one page tells, but for its first change: what an answer may hold.
const PAGE_BYTES: usize = 1 << 20;

/// A change of a document, as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastChange {
    /// Its hash.
    pub hash: Hash,
    /// The node that made it.
    pub node: NodeId,
    /// When, by the node's clock: milliseconds since 1970.
    pub time_ms: i64,
    /// What it put.
    pub puts: Vec<PastPut>,
}

/// A cell that was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastPut {
    /// The key.
    pub key: String,
    /// The cells that it replaced.
    pub before: Vec<Vec<u8>>,
    /// The cell.
    pub after: Vec<u8>,
}

/// Some changes, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The changes.
    pub changes: Vec<PastChange>,
    /// Whether there are older ones.
    pub more: bool,
}

impl Documents {
    /// At most `limit` changes of a document, the newest first, or those older than `before`;
    /// nothing when that is no change of it.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    pub fn history(
        view: &Snapshot<'_>,
        name: &DocumentName,
        before: Option<Hash>,
        limit: usize,
    ) -> Result<Option<Page>, Fault> {
        let Some(status) = status(view, name)? else {
            return Ok(before.is_none().then(Page::default));
        };
        let mut view = *view;
        let book = Book { records: &mut view, name };
        let past = Past::read(&Open::load(&book, &status)?, name)?;
        // A base says what was there when a history was cut, not who wrote it when.
        let mut order = past.newest_first();
        order.retain(|at| !is_of_base(&past.changes[*at].actor));
        let from = match before {
            None => 0,
            Some(hash) => match order.iter().position(|at| past.changes[*at].hash == hash) {
                Some(at) => at + 1,
                None => return Ok(None),
            },
        };
        let (mut page, mut bytes) = (Page::default(), 0);
        for at in &order[from..] {
            let told = past.tell(&book, *at)?;
            let cells = |put: &PastPut| {
                put.key.len() + put.after.len() + put.before.iter().map(Vec::len).sum::<usize>()
            };
            bytes += told.puts.iter().map(cells).sum::<usize>();
            let is_first = page.changes.is_empty();
            if page.changes.len() >= limit || (bytes > PAGE_BYTES && !is_first) {
                page.more = true;
                break;
            }
            page.changes.push(told);
        }
        Ok(Some(page))
    }
}

/// The changes of a document, each behind those it depends on.
struct Past {
    changes: Vec<Change>,
    /// The changes of each actor by their first operations.
    made: HashMap<Actor, BTreeMap<u64, usize>>,
}

impl Past {
    fn read(open: &Open, name: &DocumentName) -> Result<Self, Fault> {
        let all = open.engine.after(&[]).map_err(|broken| unusable(name, &broken))?;
        let read = |(_, chunk): &(Actor, Vec<u8>)| read_raw(chunk);
        let changes: Result<Vec<Change>, _> = all.iter().map(read).collect();
        let changes = changes.map_err(|refusal| {
            Fault::damaged(format!("document {name}"), format!("a change of it: {refusal}"))
        })?;
        let mut made: HashMap<Actor, BTreeMap<u64, usize>> = HashMap::new();
        for (at, change) in changes.iter().enumerate() {
            made.entry(change.actor).or_default().insert(change.start, at);
        }
        Ok(Self { changes, made })
    }

    /// The changes in the order in which they are told.
    fn newest_first(&self) -> Vec<usize> {
        let places: HashMap<Hash, usize> =
            self.changes.iter().enumerate().map(|(at, change)| (change.hash, at)).collect();
        let mut dependants = vec![0usize; self.changes.len()];
        let deps = |at: usize| self.changes[at].deps.iter().filter_map(|dep| places.get(dep));
        for at in 0..self.changes.len() {
            deps(at).for_each(|dep| dependants[*dep] += 1);
        }
        let ranked = |at: usize| (self.changes[at].time_ms, self.changes[at].hash, at);
        let free = (0..self.changes.len()).filter(|at| dependants[*at] == 0);
        let mut next: BinaryHeap<_> = free.map(ranked).collect();
        let mut out = Vec::with_capacity(self.changes.len());
        while let Some((_, _, at)) = next.pop() {
            out.push(at);
            for dep in deps(at) {
                dependants[*dep] -= 1;
                if dependants[*dep] == 0 {
                    next.push(ranked(*dep));
                }
            }
        }
        out
    }

    fn tell<R: ReadRecords + ?Sized>(
        &self,
        book: &Book<'_, R>,
        at: usize,
    ) -> Result<PastChange, Fault> {
        let change = &self.changes[at];
        let unknown = || Fault::damaged(format!("document {}", book.name), "an actor is unknown");
        let node = book.actor(&change.actor)?.ok_or_else(unknown)?.node;
        let puts = change.puts.iter().map(|put| PastPut {
            key: put.key.clone(),
            before: put.replaces.iter().filter_map(|by| self.cell(by)).collect(),
            after: change.cell(put).to_vec(),
        });
        let puts = puts.collect();
        Ok(PastChange { hash: change.hash, node, time_ms: change.time_ms, puts })
    }

    /// The cell that an operation put.
    fn cell(&self, (number, actor): &(u64, Actor)) -> Option<Vec<u8>> {
        let (start, at) = self.made.get(actor)?.range(..=number).next_back()?;
        let change = &self.changes[*at];
        let put: &Put = change.puts.get(usize::try_from(number - start).ok()?)?;
        Some(change.cell(put).to_vec())
    }
}
