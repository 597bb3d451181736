//! Folding: what nobody else has seen of a node's own changes becomes one change.
//!
//! A gateway that is alone for weeks would fill a document with changes that only it has, and
//! nobody could cut them ([`cut`](super::cut)). Changes that were never offered to anybody are its
//! own affair: it puts the cells that they left into one change and forgets how it came to them.
//! That change is made by another actor, since no number of an actor may be given twice, not even
//! where only a copy of this store still has the first.

use super::DocumentName;
use super::actor::Introduction;
use super::change::Change;
use super::chunk::Hash;
use super::cut::is_of_base;
use super::documents::{Documents, says_the_same, sorted_cells, unusable};
use super::engine::{Engine, read_raw};
use super::open::Open;
use super::records::{Book, Status, cells};
use super::signed::SignedHead;
use crate::Fault;
use crate::counts::OfDocuments;
use crate::store::Records;
use holdfast_core::Incarnation;
use holdfast_core::state::Role;
use std::collections::BTreeSet;

type Puts = Vec<(String, Vec<u8>)>;

/// A history in two parts.
struct Parts {
    /// What others have or may have, each change behind those it depends on.
    shared: Vec<Change>,
    /// The heads of that.
    heads: Vec<Hash>,
    /// How many changes nobody else has.
    own: u64,
}

impl Documents {
    /// Who this node is in `name`: another one after each folding of it.
    pub(super) fn writer_of(&self, name: &DocumentName) -> Introduction {
        let Introduction { node, incarnation: Incarnation { boot, nonce } } = *self.introduction();
        let folded = self.folded().get(name).copied().unwrap_or_default();
        Introduction { node, incarnation: Incarnation { boot, nonce: nonce.wrapping_add(folded) } }
    }

    /// Notes that others have a document at `heads`, or may have it.
    pub(super) fn note_offered<R: Records>(
        &self,
        records: &mut R,
        name: &DocumentName,
        heads: &[Hash],
    ) -> Result<(), Fault> {
        if self.role() == Role::Hub { Ok(()) } else { Book { records, name }.put_offered(heads) }
    }

    /// Folds a document that is open, if it is due; says which change is the last then.
    pub(super) fn fold_if_due<R: Records + ?Sized>(
        &self,
        book: &mut Book<'_, R>,
        status: &mut Status,
        open: &mut Open,
    ) -> Result<Option<Hash>, Fault> {
        let is_due = self.role() == Role::Edge
            && status.changes >= self.fold_at
            && status.changes.is_multiple_of(self.fold_at.div_ceil(4));
        let is_due = is_due && open.waiting.arrivals.is_empty();
        if let Some(parts) = is_due.then(|| self.parts(book, &open.engine)).transpose()?.flatten()
            && 4 * parts.own >= self.fold_at
            && let Some(puts) = puts(book, &open.engine, &parts.heads)?
        {
            return self.fold(book, status, open, &parts, &puts);
        }
        Ok(None)
    }

    /// Parts a history into what others may have and what nobody has.
    fn parts<R: Records + ?Sized>(
        &self,
        book: &Book<'_, R>,
        engine: &Engine,
    ) -> Result<Option<Parts>, Fault> {
        let broken = |broken| unusable(book.name, &broken);
        let offered = book.offered()?;
        let offered: Vec<Hash> = offered.into_iter().filter(|h| engine.history.has(h)).collect();
        let mut own = BTreeSet::new();
        for (actor, chunk) in engine.after(&offered).map_err(broken)? {
            let is_own = !is_of_base(&actor)
                && book.actor(&actor)?.is_some_and(|who| who.node == self.node());
            if is_own && let Ok(change) = read_raw(&chunk) {
                own.insert(change.hash);
            }
        }
        let (mut shared, mut heads) = (Vec::new(), BTreeSet::new());
        for (_, chunk) in engine.after(&[]).map_err(broken)? {
            let Ok(change) = read_raw(&chunk) else { return Ok(None) };
            if own.contains(&change.hash) {
                continue;
            }
            if change.deps.iter().any(|dep| own.contains(dep)) {
                // Somebody else has it after all.
                return Ok(None);
            }
            change.deps.iter().for_each(|dep| {
                heads.remove(dep);
            });
            heads.insert(change.hash);
            shared.push(change);
        }
        Ok(Some(Parts { shared, heads: heads.into_iter().collect(), own: own.len() as u64 }))
    }

    fn fold<R: Records + ?Sized>(
        &self,
        book: &mut Book<'_, R>,
        status: &mut Status,
        open: &mut Open,
        parts: &Parts,
        puts: &[(String, Vec<u8>)],
    ) -> Result<Option<Hash>, Fault> {
        let name = book.name;
        let broken = |broken| unusable(name, &broken);
        let mut engine = Engine::new();
        engine.take(&parts.shared).map_err(broken)?;
        *self.folded().entry(name.clone()).or_default() += 1;
        let last = self.put_anew(&mut engine, name, status.epoch, puts)?;
        for (key, cells) in cells(&*book.records, name)? {
            if sorted_cells(&engine, name, &key)? != cells {
                tracing::error!(document = %name, "folded it is another document: left as it is");
                return Ok(None);
            }
        }
        let saved = engine.save().map_err(broken)?;
        let Some(last) = last.filter(|_| says_the_same(&engine, &saved)) else {
            tracing::error!(document = %name, "a snapshot differs from its document: not folded");
            return Ok(None);
        };
        let who = self.writer_of(name);
        book.put_actor(&who.actor(name, status.epoch), &who)?;
        let head = SignedHead::sign(self.key(), name, status.epoch, last);
        book.put_signed(&self.node(), &[head])?;
        book.put_snapshot(status.next, &saved)?;
        status.next += 1;
        (status.snapshot, status.tail, status.tail_records) = (saved.len() as u64, 0, 0);
        (status.changes, status.heads) = (engine.history.changes(), engine.heads());
        open.engine = engine;
        book.put_status(status)?;
        book.records.note(OfDocuments::Folded, 1);
        Ok(Some(last))
    }
}

/// What the changes that nobody else has have left, which has to be all there is at each key;
/// nothing where something of others stands beside it, which one change could not say.
fn puts<R: Records + ?Sized>(
    book: &Book<'_, R>,
    engine: &Engine,
    shared: &[Hash],
) -> Result<Option<Puts>, Fault> {
    let mut out = Vec::new();
    for (key, now) in cells(&*book.records, book.name)? {
        let before =
            engine.cells_at(&key, shared).map_err(|broken| unusable(book.name, &broken))?;
        let is_as_before = now.len() == before.len() && now.iter().all(|c| before.contains(c));
        match now.as_slice() {
            _ if is_as_before => {}
            [cell] if !before.contains(cell) => out.push((key, cell.clone())),
            _ => return Ok(None),
        }
    }
    Ok(Some(out).filter(|puts| !puts.is_empty()))
}
