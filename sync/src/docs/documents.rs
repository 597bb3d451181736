//! Documents as a node uses them: written, read, compacted, in the store's transactions.
//!
//! Everything that opens a document happens inside a transaction of the store's writer. Its results
//! leave only when that transaction is on disk, so nothing that could still be undone is ever
//! answered, sent or signed for. Reads take the stored cells and open nothing.

use super::actor::Introduction;
use super::change::Change;
use super::chunk::Hash;
use super::contents::{Contents, Size};
use super::cursor;
use super::cut::Confirmed;
use super::edit::{Edit, Plan, Writer};
use super::engine::{Broken, Engine};
use super::limits::{
    CUT_CHANGES, FOLD_CHANGES, OWN_CHANGES_MAX, REMEMBERED_MS, SOFT_BYTES, TAIL_BYTES, TAIL_RECORDS,
};
use super::open::{Open, Shelf};
use super::recent::Recent;
use super::records::{Book, Status, last_place, status};
use super::signed::SignedHead;
use super::{DocumentName, Refusal};
use crate::Fault;
use crate::counts::OfDocuments;
use crate::identity::NodeKey;
use crate::store::{ReadRecords, Records, Snapshot, Store, Table, WriteError};
use holdfast_core::hlc::Stamp;
use holdfast_core::state::{Author, Cell, Policy, Role};
use holdfast_core::{Incarnation, NodeId};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The documents of a node.
pub struct Documents {
    key: NodeKey,
    me: Introduction,
    role: Role,
    shelf: Mutex<Shelf>,
    recent: Mutex<Recent>,
    confirmed: Mutex<Confirmed>,
    /// Changes from which on a history is cut.
    pub(super) cut_at: u64,
    /// How often each document was folded in this start.
    folded: Mutex<HashMap<DocumentName, u64>>,
    /// Changes from which on one is folded.
    pub(super) fold_at: u64,
    /// For how long deletions outlive cuts.
    pub(super) remembered_ms: u64,
}

/// What a local write did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The change that it made; nothing when all was as it should be.
    pub change: Option<Hash>,
    /// The document's place in the sequence of document changes.
    pub position: u64,
    /// Whether the document is larger than people should make one.
    pub large: bool,
}

impl Documents {
    /// The documents in `store`, written with the node's `key`, which is the store's, as `role`.
    #[must_use]
    pub fn new(store: &Store, key: NodeKey, role: Role) -> Self {
        Self::of_start(store.incarnation(), key, role)
    }

    /// The documents of the start `incarnation` of a node, whatever its records lie in.
    #[must_use]
    pub fn of_start(incarnation: Incarnation, key: NodeKey, role: Role) -> Self {
        let me = Introduction { node: key.id(), incarnation };
        let (shelf, recent, confirmed, folded) = Default::default();
        let (cut_at, fold_at, remembered_ms) = (CUT_CHANGES, FOLD_CHANGES, REMEMBERED_MS);
        Self { key, me, role, shelf, recent, confirmed, cut_at, folded, fold_at, remembered_ms }
    }

    /// The same, cutting histories of so many changes, where this node is the hub.
    #[must_use]
    pub const fn cutting_at(mut self, changes: u64) -> Self {
        self.cut_at = changes;
        self
    }

    /// The node.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.me.node
    }

    /// The same, where deletions outlive cuts for so long: the same in a whole fleet.
    #[must_use]
    pub const fn remembering_for(mut self, ms: u64) -> Self {
        self.remembered_ms = ms;
        self
    }

    /// The same, folding histories of so many changes, where this node is a gateway.
    #[must_use]
    pub const fn folding_at(mut self, changes: u64) -> Self {
        self.fold_at = changes;
        self
    }

    pub(super) const fn role(&self) -> Role {
        self.role
    }

    pub(super) const fn key(&self) -> &NodeKey {
        &self.key
    }

    pub(super) const fn introduction(&self) -> &Introduction {
        &self.me
    }

    /// Whether the node is a gateway, which speaks for its devices.
    #[must_use]
    pub fn is_edge(&self) -> bool {
        self.role == Role::Edge
    }

    /// Remembers that documents change in this start, so that cursors know its places.
    pub(super) fn note_start<R: Records>(
        &self,
        records: &mut R,
        status: &Status,
    ) -> Result<(), Fault> {
        let last = last_place(records)?.max(status.position);
        cursor::note_start(records, self.me.incarnation, last)
    }

    /// Writes `edits` to a document as one change.
    ///
    /// # Errors
    /// [`WriteError::Document`] when the document does not take them, [`Fault::Damaged`] when it
    /// cannot be opened, or a database fault.
    pub fn write<R: Records>(
        &self,
        tx: &mut R,
        name: &DocumentName,
        policy: &Policy<'_>,
        writer: Writer,
        edits: &[Edit<'_>],
    ) -> Result<Written, WriteError> {
        self.check_writer(name, &writer)?;
        let contents = Contents::read(tx, name)?;
        let puts = Plan::new(name, policy, writer, contents).puts(edits)?;
        self.commit(tx, name, writer.clock, &puts)
    }

    /// Puts cells into a document as one change of this node.
    pub(super) fn commit<R: Records>(
        &self,
        tx: &mut R,
        name: &DocumentName,
        clock: Stamp,
        puts: &[(String, Vec<u8>)],
    ) -> Result<Written, WriteError> {
        let mut book = Book { records: tx, name };
        let mut status = book.status()?.unwrap_or_default();
        if puts.is_empty() {
            return Ok(written(None, &status));
        }
        if status.changes >= OWN_CHANGES_MAX {
            return Err(Refusal::History.into());
        }
        let mut open = self.open(&book, &status)?;
        let me = self.writer_of(name);
        let actor = me.actor(name, status.epoch);
        let is_new = open.engine.history.seq(&actor) == 0;
        if is_new && book.actor(&actor)?.is_some() {
            // It would count from 1 again, and no two replicas would ever agree.
            let lost = "changes of this start are gone";
            return Err(Fault::damaged(format!("document {name}"), lost).into());
        }
        let time_ms = i64::try_from(clock.millis()).expect("a stamp has 47 bits of time");
        let change =
            open.engine.commit(actor, time_ms, puts).map_err(|broken| unusable(name, &broken))?;
        if is_new {
            book.put_actor(&actor, &me)?;
        }
        // All that is here is behind the change, so its head covers what this node wrote before.
        let head = SignedHead::sign(&self.key, name, status.epoch, change.hash);
        book.put_signed(&self.me.node, &[head])?;
        let made = std::slice::from_ref(&change);
        self.note_start(book.records, &status)?;
        keep(&mut book, &mut status, &open.engine, made, |_| Ok(()))?;
        book.records.note(OfDocuments::Written, 1);
        let folded = self.fold_if_due(&mut book, &mut status, &mut open)?;
        self.close(name, open, &status);
        Ok(written(folded.or(Some(change.hash)), &status))
    }

    /// Moves a document to the end of the sequence of document changes, as if it had changed. To be
    /// done when it is for more peers than before: their cursors may have passed it.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    pub fn offer_anew<R: Records>(&self, tx: &mut R, name: &DocumentName) -> Result<(), Fault> {
        let mut book = Book { records: tx, name };
        let Some(mut status) = book.status()? else { return Ok(()) };
        self.note_start(book.records, &status)?;
        status.position = book.advance(status.position)?;
        book.put_status(&status)
    }

    /// Checks that other nodes will take what `writer` writes here.
    fn check_writer(&self, name: &DocumentName, writer: &Writer) -> Result<(), Refusal> {
        let own = (writer.author, writer.role) == (Author::node(&self.me.node), self.role);
        let of_device = writer.role == Role::Device && self.role == Role::Edge;
        if own || (of_device && name.device_author() == Some(writer.author)) {
            Ok(())
        } else {
            Err(Refusal::Author)
        }
    }

    /// What is known of a document; nothing of one that was never written.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    pub fn status(
        records: &(impl ReadRecords + ?Sized),
        name: &DocumentName,
    ) -> Result<Option<Status>, Fault> {
        status(records, name)
    }

    /// The names of documents that begin with `prefix`, ascending.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    pub fn list(
        records: &(impl ReadRecords + ?Sized),
        prefix: &str,
    ) -> Result<Vec<DocumentName>, Fault> {
        let found = records.scan(Table::Document, prefix.as_bytes())?;
        found.iter().map(|(key, _)| stored_name(key)).collect()
    }

    /// At most `limit` documents that changed behind place `after` of the sequence of document
    /// changes, each with its place: whoever has seen all up to there needs no others.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    pub fn changed_since(
        view: &Snapshot<'_>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, DocumentName)>, Fault> {
        let mut found = Vec::new();
        view.scan_from(Table::DocumentChange, &after.to_be_bytes(), true, None, |key, value| {
            found.push((key, value));
            found.len() < limit
        })?;
        found.iter().map(|(key, value)| Ok((stored_position(key)?, stored_name(value)?))).collect()
    }

    /// The keys that changes of a document behind place `after` touched; nothing when that is not
    /// known any more. A key may be named that was not changed in the end.
    #[must_use]
    pub fn touched_since(&self, name: &DocumentName, after: u64) -> Option<BTreeSet<String>> {
        self.recent().touched(name, after)
    }

    /// The last place that was given in the sequence of document changes.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    pub fn last_place(records: &(impl ReadRecords + ?Sized)) -> Result<u64, Fault> {
        last_place(records)
    }

    /// How many documents are held open, and about how many bytes they take.
    #[must_use]
    pub fn held_open(&self) -> (usize, usize) {
        self.shelf().size()
    }

    /// The signed heads that are held of an author: more than one where its starts have not seen
    /// each other's changes.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    pub fn signed_heads<R: Records>(
        tx: &mut R,
        name: &DocumentName,
        author: &NodeId,
    ) -> Result<Vec<SignedHead>, Fault> {
        Book { records: tx, name }.signed(author)
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // A panic while it was held left it as it was: documents go in and out whole.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn confirmed(&self) -> MutexGuard<'_, Confirmed> {
        // A panic while it was held left it whole: notes go in one by one.
        self.confirmed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn folded(&self) -> MutexGuard<'_, HashMap<DocumentName, u64>> {
        // A panic while it was held left it whole: numbers are changed in one step.
        self.folded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        // A panic while it was held left it whole: changes go in one by one.
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a document off the shelf, or loads it. Whoever fails while it is open drops it.
    pub(super) fn open<R: Records + ?Sized>(
        &self,
        book: &Book<'_, R>,
        status: &Status,
    ) -> Result<Open, Fault> {
        let held = self.shelf().take(book.name, status);
        held.map_or_else(|| Open::load(book, status), Ok)
    }

    pub(super) fn close(&self, name: &DocumentName, open: Open, status: &Status) {
        if !status.touched.is_empty() {
            self.recent().note(status.position, name, status.touched.clone());
        }
        self.shelf().put(name, open, status);
    }
}

fn written(change: Option<Hash>, status: &Status) -> Written {
    Written { change, position: status.position, large: status.size.bytes > SOFT_BYTES }
}

pub(super) fn stored_name(bytes: &[u8]) -> Result<DocumentName, Fault> {
    let text = std::str::from_utf8(bytes).ok();
    let name = text.and_then(|text| DocumentName::new(text).ok());
    name.ok_or_else(|| Fault::damaged("documents", "a record names no document"))
}

pub(super) fn stored_position(bytes: &[u8]) -> Result<u64, Fault> {
    let position = bytes.try_into().map(u64::from_be_bytes);
    position.map_err(|_| Fault::damaged("documents", "a place in the sequence is not a number"))
}

pub(super) fn unusable(name: &DocumentName, broken: &Broken) -> Fault {
    Fault::damaged(format!("document {name}"), &broken.0)
}

/// The cells of an open document at `key`, the greatest first.
pub(super) fn sorted_cells(
    engine: &Engine,
    name: &DocumentName,
    key: &str,
) -> Result<Vec<Vec<u8>>, Fault> {
    let cells = engine.cells(key).map_err(|broken| unusable(name, &broken))?;
    sorted(name, cells)
}

/// Cells that have not seen each other in their order, none twice.
pub(super) fn sorted(name: &DocumentName, mut cells: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, Fault> {
    if cells.iter().any(|cell| Cell::from_bytes(cell).is_err()) {
        return Err(Fault::damaged(format!("document {name}"), "a value that is no cell"));
    }
    cells.sort_by(|a, b| Cell::from_bytes(b).ok().cmp(&Cell::from_bytes(a).ok()));
    cells.dedup();
    Ok(cells)
}

/// Stores what `changes` made of an open document: the changes, the cells they touched, its heads,
/// its place in the sequence. Nothing is stored of what `check` refuses.
pub(super) fn keep<R: Records + ?Sized>(
    book: &mut Book<'_, R>,
    status: &mut Status,
    engine: &Engine,
    changes: &[Change],
    check: impl FnOnce(&Status) -> Result<(), Refusal>,
) -> Result<(), WriteError> {
    let new = match changes {
        [first] if status.changes == 0 => cells_of_first(status, first),
        _ => touched_cells(book, status, engine, changes)?,
    };
    status.changes = engine.history.changes();
    status.heads = engine.heads();
    check(status)?;
    for (key, cells) in new {
        book.put_cells(key, &cells)?;
        status.touched.push(key.to_owned());
    }
    let chunk: Vec<u8> = changes.iter().flat_map(|change| change.raw.iter().copied()).collect();
    book.put_changes(status.next, &chunk)?;
    status.next += 1;
    status.tail += chunk.len() as u64;
    status.tail_records += 1;
    status.position = book.advance(status.position)?;
    if status.tail > TAIL_BYTES.max(status.snapshot) || status.tail_records > TAIL_RECORDS {
        compact(book, status, engine)?;
    }
    Ok(book.put_status(status)?)
}

type Touched<'a> = Vec<(&'a str, Vec<Vec<u8>>)>;

/// The cells of a document that has this change only: whoever has 1,000 of them to store asks
/// neither the engine nor the store for what is in the change.
fn cells_of_first<'a>(status: &mut Status, first: &'a Change) -> Touched<'a> {
    let cells: Touched<'a> = first.cells().map(|(key, cell)| (key, vec![cell.to_vec()])).collect();
    let sizes = cells.iter().map(|(key, cells)| Size::of(key, cells));
    status.size = sizes.fold(Size::default(), Size::plus);
    cells
}

/// The cells that are at the keys of `changes` now.
fn touched_cells<'a, R: Records + ?Sized>(
    book: &Book<'_, R>,
    status: &mut Status,
    engine: &Engine,
    changes: &'a [Change],
) -> Result<Touched<'a>, Fault> {
    let puts = changes.iter().flat_map(|change| &change.puts);
    let keys: BTreeSet<&str> = puts.map(|put| put.key.as_str()).collect();
    let mut out = Vec::new();
    for key in keys {
        let before = Size::of(key, &book.cells_at(key)?);
        let cells = sorted_cells(engine, book.name, key)?;
        status.size = status.size.less(before).plus(Size::of(key, &cells));
        out.push((key, cells));
    }
    Ok(out)
}

/// Puts a snapshot in the place of the changes, once it has been loaded and found to be the same.
pub(super) fn compact<R: Records + ?Sized>(
    book: &mut Book<'_, R>,
    status: &mut Status,
    engine: &Engine,
) -> Result<(), Fault> {
    let saved = engine.save().map_err(|broken| unusable(book.name, &broken))?;
    if !says_the_same(engine, &saved) {
        tracing::error!(document = %book.name, "a snapshot differs from its document: not taken");
        return Ok(());
    }
    book.put_snapshot(status.next, &saved)?;
    status.next += 1;
    status.snapshot = saved.len() as u64;
    status.tail = 0;
    status.tail_records = 0;
    Ok(())
}

/// Whether `saved` loads and then has the heads and the cells of an open document.
pub(super) fn says_the_same(engine: &Engine, saved: &[u8]) -> bool {
    let Ok(loaded) = Engine::load(saved) else { return false };
    let cells = |engine: &Engine| -> Result<Vec<_>, Broken> {
        engine.keys()?.into_iter().map(|key| Ok((engine.cells(&key)?, key))).collect()
    };
    let same = match (cells(&loaded), cells(engine)) {
        (Ok(loaded), Ok(open)) => loaded == open,
        _ => false,
    };
    same && loaded.heads() == engine.heads() && loaded.history.changes() == engine.history.changes()
}
