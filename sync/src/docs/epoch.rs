//! The passage of a document from one epoch to the next, at the hub that cuts and at the others.

use super::DocumentName;
use super::change::Change;
use super::chunk::Hash;
use super::contents::Contents;
use super::cut::{Anew, Cut, base, check_base, is_due};
use super::documents::{Documents, compact, keep, sorted, unusable};
use super::engine::Engine;
use super::incoming::{Applied, Judge};
use super::limits::CHANGE_OPERATIONS;
use super::open::Open;
use super::records::{Book, Keyed, Status, cells};
use super::settled::settled;
use super::signed::SignedHead;
use super::waiting::Waiting;
use super::{Refusal, records};
use crate::Fault;
use crate::counts::OfDocuments;
use crate::store::{ReadRecords, Records, Table, WriteError};
use holdfast_core::NodeId;
use holdfast_core::state::{Cell, Key, Role};
use std::collections::{BTreeMap, BTreeSet};

/// What came of a cut that another node has told of.
#[derive(Debug)]
pub(super) enum Taken {
    /// The document is in that epoch now.
    Begun(Applied),
    /// It was in it already.
    Here,
    /// It is in a later one.
    Passed,
    /// The base is needed.
    Lacks,
}

impl Documents {
    /// Whether a document is on the way to being so long that its history is cut.
    pub(super) const fn may_be_cut(&self, status: &Status) -> bool {
        is_due(status, self.cut_at / 2)
    }

    /// Notes that `node` has a document at just `heads`, where that may lead to a cut.
    pub(super) fn confirm(
        &self,
        records: &(impl ReadRecords + ?Sized),
        node: &NodeId,
        name: &DocumentName,
        heads: &[Hash],
    ) -> Result<(), Fault> {
        if self.role() == Role::Hub
            && let Some(status) = records::status(records, name)?
            && status.heads == heads
            && self.may_be_cut(&status)
        {
            self.confirmed().note(*node, name, heads);
        }
        Ok(())
    }

    /// Cuts the history of a document, if it is long and all of `members` have just what is here.
    pub(super) fn cut_if_due<R: Records>(
        &self,
        tx: &mut R,
        name: &DocumentName,
        members: impl FnOnce() -> Option<Vec<NodeId>>,
    ) -> Result<bool, Fault> {
        if self.role() != Role::Hub {
            return Ok(false);
        }
        let mut book = Book { records: tx, name };
        let Some(status) = book.status()?.filter(|status| is_due(status, self.cut_at)) else {
            return Ok(false);
        };
        let agreed = |members: &Vec<NodeId>| self.confirmed().all(members, name, &status);
        if members().filter(agreed).is_none() {
            return Ok(false);
        }
        let held = cells(&*book.records, name)?;
        let Some(base) =
            base(&held, self.remembered_ms).map_err(|broken| unusable(name, &broken))?
        else {
            return Ok(false);
        };
        let open = self.open(&book, &status)?;
        let covers = Cut::covers(book.cut()?.as_ref(), &open.engine.history);
        let heads = status.heads.clone();
        let cut = Cut::sign(self.key(), name, status.epoch + 1, heads, &base, covers);
        let (before, changes) = (status.epoch, status.changes);
        self.begin_epoch(&mut book, status, &cut, &base, Anew::default())?;
        self.confirmed().forget(name);
        tracing::info!(document = %name, epoch = before + 1, changes, "a history was cut");
        Ok(true)
    }

    /// The chunks of the base that `cut` names.
    pub(super) fn base<R: Records>(
        &self,
        records: &mut R,
        name: &DocumentName,
        cut: &Cut,
    ) -> Result<Vec<u8>, Fault> {
        let book = Book { records, name };
        let status = book.status()?.unwrap_or_default();
        let open = self.open(&book, &status)?;
        let found = open.engine.chunks(&cut.base).map_err(|broken| unusable(name, &broken));
        self.close(name, open, &status);
        found
    }

    /// Takes a cut that another node has told of, with its base or nothing.
    ///
    /// # Errors
    /// [`WriteError::Document`] when it is not the hub's or does not fit, [`Fault::Damaged`] when
    /// the document cannot be opened, or a database fault.
    pub(super) fn take_cut<R: Records>(
        &self,
        tx: &mut R,
        name: &DocumentName,
        (cut, given): (&Cut, Vec<Change>),
        judge: &Judge<'_>,
    ) -> Result<Taken, WriteError> {
        let mut book = Book { records: tx, name };
        let status = book.status()?.unwrap_or_default();
        if status.epoch > cut.epoch {
            return Ok(Taken::Passed);
        }
        if !judge.roster.may_cut(&cut.hub, name) {
            return Err(Refusal::Entitled.into());
        }
        cut.check(name)?;
        if !given.is_empty() {
            check_base(cut, &given)?;
        }
        let open = self.open(&book, &status)?;
        if status.epoch == cut.epoch {
            return self.bring_back(&mut book, status, open, cut, given);
        }
        let history = &open.engine.history;
        let holds = status.epoch + 1 == cut.epoch && cut.heads.iter().all(|head| history.has(head));
        let held = cells(&*book.records, name)?;
        let (base, before) = if holds {
            let before = cells_at(&open.engine, name, &held, &cut.heads)?;
            let made = base(&before, self.remembered_ms);
            let made = made.map_err(|broken| unusable(name, &broken))?;
            let made = made.filter(|made| cut.begins_with(made)).ok_or(Refusal::Cut)?;
            (made, before)
        } else if given.is_empty() && !cut.base.is_empty() {
            self.close(name, open, &status);
            return Ok(Taken::Lacks);
        } else {
            let before = cells_at(&open.engine, name, &held, &cut.seen(history))?;
            (given, before)
        };
        let anew = Passage { judge, held: &held, before, base: &base, holds }.anew();
        let (mut applied, touched) = self.begin_epoch(&mut book, status, cut, &base, anew)?;
        let paths = touched.iter().filter_map(|key| Key::parse(key).ok());
        let paths: BTreeSet<String> = paths.map(|key| key.path.as_str().to_owned()).collect();
        let contents = Contents::read(&*book.records, name)?;
        applied.settled = settled(name, &contents, judge.policy, &paths, judge.is_local);
        tracing::info!(document = %name, epoch = cut.epoch, "a history was cut at the hub");
        Ok(Taken::Begun(applied))
    }

    /// Brings back what a damaged store has lost of the base of the epoch that it is in.
    fn bring_back<R: Records>(
        &self,
        book: &mut Book<'_, R>,
        mut status: Status,
        mut open: Open,
        cut: &Cut,
        given: Vec<Change>,
    ) -> Result<Taken, WriteError> {
        let name = book.name;
        if book.cut()?.is_some_and(|held| held.base != cut.base) {
            tracing::error!(document = %name, epoch = cut.epoch, "it was cut twice at one place");
            return Err(Refusal::Cut.into());
        }
        book.put_cut(cut)?;
        let lost: Vec<Change> =
            given.into_iter().filter(|change| !open.engine.history.has(&change.hash)).collect();
        let is_whole = cut.base.iter().all(|hash| {
            open.engine.history.has(hash) || lost.iter().any(|change| change.hash == *hash)
        });
        if !is_whole {
            self.close(name, open, &status);
            return Ok(Taken::Lacks);
        }
        if lost.is_empty() {
            self.close(name, open, &status);
            return Ok(Taken::Here);
        }
        open.engine.take(&lost).map_err(|broken| unusable(name, &broken))?;
        self.note_start(book.records, &status)?;
        keep(book, &mut status, &open.engine, &lost, |_| Ok(()))?;
        let applied =
            Applied { changes: lost.len(), position: status.position, ..Applied::default() };
        self.close(name, open, &status);
        Ok(Taken::Begun(applied))
    }

    /// Puts the beginning of an epoch in the place of all that is stored of a document; says at
    /// which keys the cells are others now.
    fn begin_epoch<R: Records>(
        &self,
        book: &mut Book<'_, R>,
        old: Status,
        cut: &Cut,
        base: &[Change],
        anew: Anew,
    ) -> Result<(Applied, Vec<String>), Fault> {
        let name = book.name;
        let before: BTreeMap<_, _> = cells(&*book.records, name)?.into_iter().collect();
        let mut engine = Engine::new();
        let mut last = self.put_anew(&mut engine, name, cut.epoch, &anew.beside)?;
        engine.take(base).map_err(|broken| unusable(name, &broken))?;
        last = self.put_anew(&mut engine, name, cut.epoch, &anew.behind)?.or(last);

        let tables =
            [Table::DocumentChunk, Table::DocumentCell, Table::DocumentActor, Table::DocumentHead];
        tables.into_iter().try_for_each(|table| book.remove_all(table))?;
        let mut status = Status {
            epoch: cut.epoch,
            position: old.position,
            next: old.next,
            changes: engine.history.changes(),
            heads: engine.heads(),
            ..Status::default()
        };
        status.size = book.put_all_cells(&engine)?;
        let after: BTreeMap<_, _> = cells(&*book.records, name)?.into_iter().collect();
        let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let changed = keys.into_iter().filter(|key| before.get(*key) != after.get(*key));
        status.touched = changed.cloned().collect();
        if let Some(head) = last {
            let who = self.writer_of(name);
            book.put_actor(&who.actor(name, cut.epoch), &who)?;
            let head = SignedHead::sign(self.key(), name, cut.epoch, head);
            book.put_signed(&self.node(), &[head])?;
        }
        book.put_cut(cut)?;
        book.records.note(OfDocuments::Cut, 1);
        self.note_start(book.records, &status)?;
        status.position = book.advance(status.position)?;
        if status.changes > 0 {
            compact(book, &mut status, &engine)?;
        }
        book.put_status(&status)?;
        let changes = usize::try_from(status.changes).unwrap_or(usize::MAX);
        let applied = Applied { changes, position: status.position, ..Applied::default() };
        self.close(name, Open { engine, waiting: Waiting::default() }, &status);
        Ok((applied, status.touched))
    }

    /// Writes cells anew, as they are; says which change was the last.
    pub(super) fn put_anew(
        &self,
        engine: &mut Engine,
        name: &DocumentName,
        epoch: u64,
        puts: &[(String, Vec<u8>)],
    ) -> Result<Option<Hash>, Fault> {
        let actor = self.writer_of(name).actor(name, epoch);
        let mut last = None;
        for puts in puts.chunks(CHANGE_OPERATIONS) {
            let stamps = puts.iter().filter_map(|(_, cell)| Cell::from_bytes(cell).ok());
            let time = stamps.map(|cell| cell.stamp.millis()).max().unwrap_or_default();
            let time_ms = i64::try_from(time).expect("a stamp has 47 bits of time");
            let made = engine.commit(actor, time_ms, puts);
            last = Some(made.map_err(|broken| unusable(name, &broken))?.hash);
        }
        Ok(last)
    }
}

/// The cells at the keys of `held` as they were at `heads`, which are held.
fn cells_at(
    engine: &Engine,
    name: &DocumentName,
    held: &[Keyed],
    heads: &[Hash],
) -> Result<Vec<Keyed>, Fault> {
    let mut out = Vec::new();
    for (key, _) in held {
        let found = engine.cells_at(key, heads).map_err(|broken| unusable(name, &broken))?;
        let found = sorted(name, found)?;
        if !found.is_empty() {
            out.push((key.clone(), found));
        }
    }
    Ok(out)
}

/// What a node has of a document as it goes over to another epoch.
struct Passage<'a> {
    judge: &'a Judge<'a>,
    /// What it has now.
    held: &'a [Keyed],
    /// What of it the next epoch knows of.
    before: Vec<Keyed>,
    base: &'a [Change],
    /// Whether it has all that the base was made of.
    holds: bool,
}

impl Passage<'_> {
    /// The node's own cells of which the next epoch does not know.
    fn anew(&self) -> Anew {
        let mut known: BTreeSet<(&str, &[u8])> = BTreeSet::new();
        for change in self.base {
            known.extend(change.puts.iter().map(|put| (put.key.as_str(), change.cell(put))));
        }
        for (key, cells) in &self.before {
            known.extend(cells.iter().map(|cell| (key.as_str(), cell.as_slice())));
        }
        let mut out = Anew::default();
        for (key, cells) in self.held {
            let is_new = |cell: &&Vec<u8>| {
                let own = Cell::from_bytes(cell).is_ok_and(|cell| (self.judge.is_local)(&cell));
                own && !known.contains(&(key.as_str(), cell.as_slice()))
            };
            // Of several of its own, from starts that had not seen each other, the last counts.
            let Some(cell) = cells.iter().find(is_new) else { continue };
            let put = (key.clone(), cell.clone());
            if self.holds { out.behind.push(put) } else { out.beside.push(put) }
        }
        out
    }
}
