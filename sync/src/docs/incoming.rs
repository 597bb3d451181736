//! Changes from elsewhere: judged against the document, then applied, all in one transaction.
//!
//! A parcel that a member may not send is refused whole, and nothing changes. What depends on
//! changes that have not come waits. What passes every check and breaks the engine all the same
//! goes into quarantine, and the document is what it was before.

use super::actor::{Actor, Introduction};
use super::change::Change;
use super::chunk::Hash;
use super::contents::Contents;
use super::documents::{Documents, keep, unusable};
use super::limits::{ACTORS_MAX, CHANGES_MAX, FOREIGN_BYTES, HEADS_MAX, HEADS_OF_AUTHOR, KEYS_MAX};
use super::open::Open;
use super::parcel::Parcel;
use super::records::{Book, Status};
use super::settled::{Settled, settled};
use super::waiting::Arrival;
use super::{DocumentName, Refusal};
use crate::Fault;
use crate::counts::OfDocuments;
use crate::store::{Records, WriteError};
use holdfast_core::NodeId;
use holdfast_core::state::{Author, Cell, Key, Policy, Role};
use std::collections::{BTreeMap, BTreeSet};

/// Who may write what.
pub trait Roster {
    /// What `node` is as a writer of `document`; nothing when it may not write it. A member that
    /// has left goes on being what it was: what it wrote before is part of the history, and who
    /// keeps the roster decides when it may bring no more.
    fn role(&self, node: &NodeId, document: &DocumentName) -> Option<Role>;

    /// Whether `node` may cut the history of `document`: the hub, though it may not write it.
    fn may_cut(&self, node: &NodeId, document: &DocumentName) -> bool {
        self.role(node, document) == Some(Role::Hub)
    }
}

/// By what changes from elsewhere are judged and settled.
pub struct Judge<'a> {
    /// Who may write what.
    pub roster: &'a dyn Roster,
    /// How cells are resolved.
    pub policy: &'a Policy<'a>,
    /// Which cells count as this node's own, for the labels of settled conflicts.
    pub is_local: &'a dyn Fn(&Cell<'_>) -> bool,
}

/// What came of a parcel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Changes that were new and are stored now.
    pub changes: usize,
    /// Changes that wait for others.
    pub waiting: usize,
    /// The document's place in the sequence of document changes.
    pub position: u64,
    /// Conflicts that were settled where changes touched them.
    pub settled: Vec<Settled>,
    /// Whether a change broke the engine and is in quarantine. The state of the sync with whoever
    /// sent it must be given up.
    pub quarantined: bool,
}

impl Documents {
    /// Applies what `from` sent of a document.
    ///
    /// # Errors
    /// [`WriteError::Document`] when `from` may not send it, [`Fault::Damaged`] when the document
    /// cannot be opened, or a database fault.
    pub fn apply<R: Records>(
        &self,
        tx: &mut R,
        from: &NodeId,
        name: &DocumentName,
        parcel: Parcel,
        judge: &Judge<'_>,
    ) -> Result<Applied, WriteError> {
        let mut book = Book { records: tx, name };
        let mut status = book.status()?.unwrap_or_default();
        if parcel.epoch != status.epoch {
            return Err(Refusal::Epoch.into());
        }
        let mut open = self.open(&book, &status)?;
        admit(&book, &status, &mut open, from, parcel, judge)?;
        let ready = open.waiting.ready(|hash| open.engine.history.has(hash));
        admit_all(&mut open, &ready)?;
        let mut out = Applied { position: status.position, ..Applied::default() };
        if !ready.is_empty() {
            let taken = match open.engine.apply(&ready) {
                Ok(()) => ready,
                Err(broken) => {
                    tracing::error!(document = %name, %from, reason = broken.0, "quarantined");
                    out.quarantined = true;
                    let (reloaded, taken) = one_by_one(&mut book, &status, ready)?;
                    open = reloaded;
                    taken
                }
            };
            let was_new = status.changes == 0;
            if !taken.is_empty() {
                self.note_start(book.records, &status)?;
                keep(&mut book, &mut status, &open.engine, &taken, check_bounds)?;
            }
            out.changes = taken.len();
            out.position = status.position;
            out.settled = settle(&book, judge, &taken, was_new)?;
        }
        book.records.note(OfDocuments::Received, out.changes);
        book.records.note(OfDocuments::Settled, out.settled.len());
        book.records.note(OfDocuments::Quarantined, usize::from(out.quarantined));
        note_actors(&mut book, &open)?;
        note_heads(&mut book, &mut open)?;
        open.waiting.bound();
        out.waiting = open.waiting.arrivals.len();
        self.close(name, open, &status);
        Ok(out)
    }
}

/// Judges what is in a parcel and lets it wait.
fn admit<R: Records + ?Sized>(
    book: &Book<'_, R>,
    status: &Status,
    open: &mut Open,
    from: &NodeId,
    parcel: Parcel,
    judge: &Judge<'_>,
) -> Result<(), WriteError> {
    let introduced: BTreeMap<Actor, Introduction> =
        parcel.actors.iter().map(|who| (who.actor(book.name, status.epoch), *who)).collect();
    parcel.check_heads(book.name)?;
    for head in parcel.heads {
        judge.roster.role(&head.author, book.name).ok_or(Refusal::Entitled)?;
        open.waiting.heads.insert((head.author, head.head), head);
    }
    let mut here: BTreeMap<Hash, usize> = BTreeMap::new();
    for (at, arrival) in open.waiting.arrivals.iter().enumerate() {
        here.insert(arrival.change.hash, at);
    }
    let mut owners: BTreeMap<Actor, (NodeId, Role)> = BTreeMap::new();
    for change in parcel.changes {
        if open.engine.history.has(&change.hash) {
            continue;
        }
        let (owner, role) = match owners.get(&change.actor) {
            Some(known) => *known,
            None => owner(book, &introduced, &change.actor, judge)?,
        };
        owners.insert(change.actor, (owner, role));
        change.check_cells(book.name, Author::node(&owner), role)?;
        let direct = owner == *from;
        match here.get(&change.hash) {
            Some(at) => open.waiting.arrivals[*at].direct |= direct,
            None => {
                here.insert(change.hash, open.waiting.arrivals.len());
                open.waiting.arrivals.push(Arrival { change, owner, direct });
            }
        }
    }
    open.waiting.introduced.extend(introduced);
    Ok(())
}

/// Stores who stands behind actors that have written the document and were not known.
fn note_actors<R: Records + ?Sized>(book: &mut Book<'_, R>, open: &Open) -> Result<(), Fault> {
    for (actor, who) in &open.waiting.introduced {
        if open.engine.history.seq(actor) > 0 && book.actor(actor)?.is_none() {
            book.put_actor(actor, who)?;
        }
    }
    Ok(())
}

/// Who stands behind an actor, and as what.
fn owner<R: Records + ?Sized>(
    book: &Book<'_, R>,
    introduced: &BTreeMap<Actor, Introduction>,
    actor: &Actor,
    judge: &Judge<'_>,
) -> Result<(NodeId, Role), WriteError> {
    let who = match introduced.get(actor) {
        Some(who) => *who,
        None => book.actor(actor)?.ok_or(Refusal::Actor)?,
    };
    let role = judge.roster.role(&who.node, book.name).ok_or(Refusal::Entitled)?;
    Ok((who.node, role))
}

/// Takes changes into the history, if they fit it and do not make the document too long.
fn admit_all(open: &mut Open, ready: &[Change]) -> Result<(), Refusal> {
    ready.iter().try_for_each(|change| open.engine.history.admit(change))?;
    let history = &open.engine.history;
    if history.changes() > CHANGES_MAX || history.actors() > ACTORS_MAX {
        return Err(Refusal::Count);
    }
    Ok(())
}

fn check_bounds(status: &Status) -> Result<(), Refusal> {
    if status.size.bytes > FOREIGN_BYTES || status.size.keys > KEYS_MAX {
        return Err(Refusal::Full);
    }
    if status.heads.len() > HEADS_MAX { Err(Refusal::Count) } else { Ok(()) }
}

/// Loads the document anew and applies changes one after another up to the one that breaks the
/// engine, which goes into quarantine.
fn one_by_one<R: Records + ?Sized>(
    book: &mut Book<'_, R>,
    status: &Status,
    changes: Vec<Change>,
) -> Result<(Open, Vec<Change>), Fault> {
    let mut open = Open::load(book, status)?;
    let mut taken: Vec<Change> = Vec::new();
    for change in changes {
        open.engine.history.admit(&change).map_err(|refusal| refused(book.name, refusal))?;
        let Err(broken) = open.engine.apply(std::slice::from_ref(&change)) else {
            taken.push(change);
            continue;
        };
        book.quarantine(&change.raw, &broken.0)?;
        // The instance that broke is of no more use; what went before it is known to go.
        open = Open::load(book, status)?;
        admit_all(&mut open, &taken).map_err(|refusal| refused(book.name, refusal))?;
        let again = open.engine.apply(&taken);
        again.map_err(|broken| unusable(book.name, &broken))?;
        break;
    }
    Ok((open, taken))
}

/// What the history admitted once it admits again, or the document is not what it was.
fn refused(name: &DocumentName, refusal: Refusal) -> Fault {
    Fault::damaged(format!("document {name}"), refusal.code())
}

/// Keeps signed heads that cover what none before did, and lets go those that they cover.
fn note_heads<R: Records + ?Sized>(book: &mut Book<'_, R>, open: &mut Open) -> Result<(), Fault> {
    let Open { engine, waiting } = open;
    let held: Vec<_> =
        waiting.heads.values().filter(|head| engine.history.has(&head.head)).cloned().collect();
    for head in held {
        waiting.heads.remove(&(head.author, head.head));
        let author = head.author;
        let mut known = book.signed(&author)?;
        if known.iter().any(|known| engine.history.covers(&known.head, &head.head)) {
            continue;
        }
        known.retain(|known| !engine.history.covers(&head.head, &known.head));
        known.push(head);
        if known.len() > HEADS_OF_AUTHOR {
            known.sort_by_key(|known| engine.history.last_operation(&known.head));
            known.remove(0);
        }
        known.sort_by_key(|known| known.head);
        book.put_signed(&author, &known)?;
    }
    Ok(())
}

fn settle<R: Records + ?Sized>(
    book: &Book<'_, R>,
    judge: &Judge<'_>,
    changes: &[Change],
    was_new: bool,
) -> Result<Vec<Settled>, Fault> {
    let puts = changes.iter().flat_map(|change| &change.puts);
    let paths = puts.filter_map(|put| Key::parse(&put.key).ok());
    let touched: BTreeSet<String> = paths.map(|key| key.path.as_str().to_owned()).collect();
    let contents = match changes {
        [first] if was_new => Contents::of_first(first),
        _ => Contents::read(&*book.records, book.name)?,
    };
    Ok(settled(book.name, &contents, judge.policy, &touched, judge.is_local))
}
