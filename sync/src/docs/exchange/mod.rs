//! The exchange of documents with one peer, as a machine over the store's records.
//!
//! Each side sends what changed behind the place up to which the peer holds its sequence of
//! changes: for each document the changes behind the heads that both are known to have. *Upto*
//! then moves the peer's cursor, in the transaction that stored what went before it. So a
//! connection that finds nothing new says nothing at all.
//!
//! What does not go that way is rare and costs more: a document whose histories have parted (one
//! side was restored) is settled by the engine's messages; where the cursor itself means nothing
//! any more, the two compare all they share by one hash, then by a sketch, then by the list.
//!
//! There is no socket, clock or task here. [`Exchange::take`] and [`Exchange::next`] run inside
//! transactions, and what they return leaves when these are on disk. Byte-exact page:
//! `docs/formats/exchange.md`.

mod collection;
mod compare;
mod epoch;
mod message;
mod owed;
mod talk;

pub use message::is_message;

use super::chunk::Hash;
use super::cursor::{self, Cursor};
use super::parcel;
use super::records::{last_place, status};
use super::sketch::SketchKey;
use super::{Applied, DocumentName, Documents, Judge, Parcel, Refusal, Roster};
use crate::Fault;
use crate::counts::OfDocuments;
use crate::identity::Membership;
use crate::store::{ReadRecords, Records, Table, WriteError, WriteTx};
use collection::Collection;
use compare::{Answering, Asking};
use holdfast_core::state::{Author, Cell, Policy};
use holdfast_core::{NodeId, Reject};
use message::{Checked, Message, Outgoing};
use owed::{Owed, unless_damaged};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use talk::Talk;

/// Changed documents that are looked at in one transaction.
const PAGE: usize = 64;
/// Documents about which something is open between two nodes: more than any fleet has.
const OPEN_MAX: usize = 1 << 18;

/// What a service decides about documents, and what it hears of them.
pub trait Steward: Roster + Send + Sync {
    /// A peer was let in by its membership; what follows is about its documents.
    fn met(&self, membership: &Membership);

    /// Whether `document` is for `peer`.
    fn shares(&self, peer: &NodeId, document: &DocumentName) -> bool;

    /// All nodes that have `document` besides this one, where this one may cut its history; nothing
    /// where it may not, or does not know them all.
    fn members(&self, document: &DocumentName) -> Option<Vec<NodeId>> {
        let _ = document;
        None
    }

    /// How the cells of `document` are resolved: the bytes of a [`Policy`].
    fn policy(&self, document: &DocumentName) -> Arc<[u8]>;

    /// The membership of `node`, where this node's word about it counts with others.
    fn vouch(&self, node: &NodeId) -> Option<Vec<u8>>;

    /// Takes the membership of a node that has written what follows, if `peer`'s word counts.
    ///
    /// # Errors
    /// A database fault.
    fn learn(
        &self,
        records: &mut dyn Records,
        peer: &NodeId,
        membership: &[u8],
    ) -> Result<(), Fault>;

    /// Whether this node has use for `document`.
    fn keeps(&self, document: &DocumentName) -> bool;

    /// Hears of a change that was made here and is being stored in `tx`.
    ///
    /// # Errors
    /// Any; the change is then not stored either.
    fn written(&self, tx: &mut WriteTx<'_>, document: &DocumentName) -> Result<(), WriteError>;

    /// Hears what came of changes that are being stored in `tx`: whatever follows from them is
    /// stored with them.
    ///
    /// # Errors
    /// Any; the changes are then not stored either.
    fn applied(
        &self,
        tx: &mut WriteTx<'_>,
        peer: &NodeId,
        document: &DocumentName,
        applied: &Applied,
    ) -> Result<(), WriteError>;
}

/// Checked bytes of a peer, for [`Exchange::take`].
#[derive(Debug)]
pub struct Incoming(Checked);

impl Incoming {
    /// Reads a record of the session's stream. This is where foreign bytes are looked through: it
    /// takes time, and no store.
    ///
    /// # Errors
    /// [`Reject`] when it does not follow the format.
    pub fn read(record: &[u8]) -> Result<Self, Reject> {
        Checked::read(record).map(Self)
    }
}

/// Documents and the heads up to which the peer has them once it acknowledges what was sent.
pub type Pushed = Vec<(DocumentName, Vec<Hash>)>;

/// What to send.
#[derive(Debug, Default)]
pub struct Batch {
    /// The records.
    pub records: Vec<Vec<u8>>,
    /// What the peer has once it has acknowledged them, for [`Exchange::acked`].
    pub pushed: Pushed,
    /// The parts of an artefact that were asked for last: nothing of a document waits for them, and
    /// they take the place of those asked for before.
    pub parts: Option<Vec<Vec<u8>>>,
    /// Whether there is more.
    pub more: bool,
}

impl Batch {
    fn say(&mut self, message: &Outgoing) {
        self.records.push(message.encode());
    }

    /// The bytes of the records from number `first` on.
    fn bytes_from(&self, first: usize) -> usize {
        self.records[first..].iter().map(Vec::len).sum()
    }
}

/// What came of a message.
#[derive(Debug, Default)]
pub struct Taken {
    /// What to answer.
    pub answer: Batch,
    /// The document that changed, and how.
    pub applied: Option<(DocumentName, Applied)>,
}

/// The exchange with one peer, for as long as a session lasts.
pub struct Exchange {
    documents: Arc<Documents>,
    steward: Arc<dyn Steward>,
    peer: NodeId,
    /// Up to where its sequence is held, as this exchange found and left it.
    cursor: Option<Cursor>,
    /// Where our sequence ended when the session began. What is noted of the peer from before may
    /// be more than it has now.
    began: u64,
    /// Up to where our sequence was looked through.
    after: u64,
    /// Up to where the peer was told to have it.
    told: u64,
    /// Heads that are on their way to the peer.
    under_way: BTreeMap<DocumentName, Vec<Hash>>,
    /// Heads that the peer itself has told of in this exchange, of documents whose last change is
    /// still to be looked through.
    told_here: BTreeMap<DocumentName, Vec<Hash>>,
    /// Documents about which the engines talk.
    talks: BTreeMap<DocumentName, Talk>,
    /// Documents of which the peer still owes something, with the heads up to which they were here
    /// when it was asked, and the cursor that waits for it.
    wanted: BTreeMap<DocumentName, Option<Vec<Hash>>>,
    upto: Option<Cursor>,
    /// Something could not be stored: the cursor stays where it is.
    failed: bool,
    answering: Option<Answering>,
    asking: Option<Asking>,
    /// What the peer asked for and was not given yet.
    owed: BTreeMap<DocumentName, Owed>,
    /// The end of our sequence is to be told once nothing is owed.
    owes_upto: bool,
    /// Nodes that the peer was told of.
    vouched: BTreeSet<NodeId>,
}

impl Exchange {
    /// An exchange with `peer` that has not begun.
    #[must_use]
    pub fn new(documents: Arc<Documents>, steward: Arc<dyn Steward>, peer: NodeId) -> Self {
        let vouched = BTreeSet::from([peer, documents.node()]);
        Self {
            documents,
            steward,
            peer,
            cursor: None,
            began: 0,
            after: 0,
            told: 0,
            under_way: BTreeMap::new(),
            told_here: BTreeMap::new(),
            talks: BTreeMap::new(),
            wanted: BTreeMap::new(),
            upto: None,
            failed: false,
            answering: None,
            asking: None,
            owed: BTreeMap::new(),
            owes_upto: false,
            vouched,
        }
    }

    /// Up to where the peer's sequence is held here, for the hello: the beginning when there is
    /// nothing that both could have, nothing when that has to be found out.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    pub fn held(&mut self, records: &impl ReadRecords) -> Result<Option<Cursor>, Fault> {
        self.cursor = cursor::of_peer(records, &self.peer)?;
        if self.cursor.is_some() {
            return Ok(self.cursor);
        }
        let shared = Collection::any(records, self.steward.as_ref(), &self.peer)?;
        Ok((!shared).then_some(Cursor::BEGINNING))
    }

    /// Begins to send: behind `held`, up to where the peer says that it holds our sequence.
    /// `key` is drawn for this session.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    pub fn begin<R: Records>(
        &mut self,
        records: &mut R,
        held: Option<Cursor>,
        key: SketchKey,
    ) -> Result<Batch, Fault> {
        let mut batch = Batch::default();
        let last = last_place(records)?;
        self.began = last;
        let Some(end) = cursor::end(records, last)? else { return Ok(batch) };
        if let Some(held) = held
            && cursor::is_ours(records, &held, last)?
        {
            (self.after, self.told) = (held.place, held.place);
            batch.more = held.place < last;
            return Ok(batch);
        }
        (self.after, self.told) = (last, last);
        let answering = Answering::new(records, self.steward.as_ref(), &self.peer, end, key)?;
        batch.say(&Message::Root(answering.root));
        self.answering = Some(answering);
        Ok(batch)
    }

    /// What is to be sent next, about `max_bytes` of it.
    ///
    /// # Errors
    /// A database fault. A document that cannot be opened is noted and left out.
    pub fn next<R: Records>(
        &mut self,
        records: &mut R,
        max_bytes: usize,
    ) -> Result<Batch, WriteError> {
        let mut batch = Batch::default();
        self.pay(records, max_bytes, &mut batch)?;
        if !self.owed.is_empty() {
            batch.more = true;
            return Ok(batch);
        }
        let mut bytes = batch.bytes_from(0);
        let changed = records.scan_after(Table::DocumentChange, &self.after.to_be_bytes(), PAGE)?;
        batch.more = changed.len() == PAGE;
        for (key, value) in changed {
            if bytes >= max_bytes {
                batch.more = true;
                break;
            }
            let (place, name) = place_and_name(&key, &value)?;
            let first = batch.records.len();
            let offered = self.offer_change(records, place, &name, &mut batch);
            unless_damaged(&name, offered)?;
            self.after = place;
            bytes += batch.bytes_from(first);
        }
        if (self.after > self.told || self.owes_upto)
            && self.answering.is_none()
            && let Some(upto) = cursor::end(records, self.after)?
        {
            (self.told, self.owes_upto) = (self.after, false);
            batch.say(&Message::Upto(upto));
        }
        Ok(batch)
    }

    fn offer_change<R: Records>(
        &mut self,
        records: &mut R,
        place: u64,
        name: &DocumentName,
        batch: &mut Batch,
    ) -> Result<(), WriteError> {
        let Some(known) = status(records, name)? else { return Ok(()) };
        if known.position != place || !self.steward.shares(&self.peer, name) {
            return Ok(());
        }
        let told_here = self.told_here.remove(name);
        let (theirs, is_sure) = match self.under_way.get(name) {
            Some(heads) => (heads.clone(), true),
            None => {
                let theirs = Documents::known(records, &self.peer, name)?;
                let is_sure = told_here.as_ref() == Some(&theirs);
                (theirs, is_sure)
            }
        };
        if theirs == known.heads && !self.is_talking(name) {
            if place <= self.began || !is_sure {
                // It is behind what the peer says it holds: it was lost there, or came from there.
                // Or an older connection brought it, from before the peer was put back to a copy.
                batch.say(&Message::Have(name.clone(), known.heads));
            }
            return Ok(());
        }
        self.offer(records, name, &theirs, &known.heads, batch)
    }

    /// Adds what brings the peer from `theirs` to `ours`: a push, or the beginning of a talk.
    fn offer<R: Records>(
        &mut self,
        records: &mut R,
        name: &DocumentName,
        theirs: &[Hash],
        ours: &[Hash],
        batch: &mut Batch,
    ) -> Result<(), WriteError> {
        self.drop_talk_of_before(records, name)?;
        if self.is_talking(name) {
            return self.talk(records, name, batch);
        }
        let theirs = self.across(records, name, theirs, batch)?;
        match self.documents.after(records, name, &theirs) {
            Ok(None) => Ok(()),
            Ok(Some(parcel)) => {
                self.introduce(&parcel, batch);
                let heads = ours.to_vec();
                batch.pushed.push((name.clone(), heads.clone()));
                self.under_way.insert(name.clone(), heads.clone());
                self.documents.note_offered(records, name, &heads)?;
                records.note(OfDocuments::Sent, 1);
                batch.say(&Message::Push { name: name.clone(), heads, parcel });
                Ok(())
            }
            Err(WriteError::Document(Refusal::Diverged)) => {
                if !self.talks.contains_key(name) {
                    let talk = self.new_talk(records, name)?;
                    self.talks.insert(name.clone(), talk);
                }
                self.talk(records, name, batch)
            }
            Err(error) => Err(error),
        }
    }

    /// Adds the memberships of those who wrote what is in a parcel and are new to the peer.
    fn introduce(&mut self, parcel: &[u8], batch: &mut Batch) {
        for node in parcel::authors(parcel) {
            if self.vouched.insert(node)
                && let Some(membership) = self.steward.vouch(&node)
            {
                batch.say(&Message::Member(membership));
            }
        }
    }

    /// The peer has stored a batch: notes what it is known to have.
    ///
    /// # Errors
    /// A database fault.
    pub fn acked<R: Records>(
        &mut self,
        records: &mut R,
        pushed: &[(DocumentName, Vec<Hash>)],
    ) -> Result<(), Fault> {
        for (name, heads) in pushed {
            if self.under_way.get(name) == Some(heads) {
                self.under_way.remove(name);
                Documents::set_known(records, &self.peer, name, heads)?;
            }
        }
        Ok(())
    }

    /// Takes a message of the peer. After an error nothing of it is stored; the session goes on
    /// once [`Exchange::failed`] knows.
    ///
    /// # Errors
    /// [`Fault::Damaged`] when a document cannot be opened, or a database fault.
    pub fn take<R: Records>(
        &mut self,
        records: &mut R,
        message: Incoming,
    ) -> Result<Taken, WriteError> {
        if self.wanted.len() + self.owed.len() + self.talks.len() > OPEN_MAX {
            return Err(Reject::Full.into());
        }
        let mut taken = Taken::default();
        match message.0 {
            Message::Push { name, heads, parcel } => {
                self.push(records, &name, &heads, parcel, &mut taken)?;
            }
            Message::Cut { name, cut, base } => {
                self.cut(records, &name, &cut, base, &mut taken)?;
            }
            Message::Talk(name, said) => self.talked(records, &name, said, &mut taken)?,
            Message::Want(name, theirs) => {
                self.wants(records, &name, &theirs, &mut taken.answer)?;
            }
            Message::Have(name, theirs) => {
                self.held_there(records, &name, &theirs, &mut taken.answer)?;
            }
            Message::Upto(upto) => self.upto = Some(upto),
            Message::Refused(document, code) => {
                tracing::warn!(peer = %self.peer, %document, code, "a document was refused there");
                self.under_way.remove(&document);
                Documents::set_known(records, &self.peer, &document, &[])?;
            }
            Message::Member(membership) => {
                self.steward.learn(records, &self.peer, &membership)?;
            }
            other => self.compare(records, other, &mut taken.answer)?,
        }
        self.settle(records)?;
        Ok(taken)
    }

    /// Something that the peer sent could not be stored: what it told to be complete is not.
    pub fn failed(&mut self) {
        self.failed = true;
    }

    /// Moves the cursor once everything before it is here.
    fn settle<R: Records>(&mut self, records: &mut R) -> Result<(), Fault> {
        let complete = self.wanted.is_empty() && self.asking.is_none() && !self.failed;
        if complete && let Some(upto) = self.upto.take() {
            cursor::keep(records, &self.peer, &upto, self.cursor.as_ref())?;
            self.cursor = Some(upto);
        }
        Ok(())
    }

    fn push<R: Records>(
        &mut self,
        records: &mut R,
        name: &DocumentName,
        heads: &[Hash],
        parcel: Result<Parcel, Refusal>,
        taken: &mut Taken,
    ) -> Result<(), WriteError> {
        if let Ok(parcel) = &parcel
            && !self.is_of_now(records, name, parcel.epoch(), &mut taken.answer)?
        {
            return Ok(());
        }
        let documents = Arc::clone(&self.documents);
        let peer = self.peer;
        let applied = match parcel {
            Ok(parcel) => {
                self.judged(name, |judge| documents.apply(records, &peer, name, parcel, judge))
            }
            Err(refusal) => Err(refusal.into()),
        };
        let Some(applied) = self.unless_refused(name, applied, taken)? else { return Ok(()) };
        if applied.quarantined {
            self.failed = true;
        } else {
            self.held_there(records, name, heads, &mut taken.answer)?;
            self.confirm(records, name, heads, &mut taken.answer)?;
        }
        self.note(name, applied, taken);
        Ok(())
    }

    /// The peer has a document up to `theirs`: asks for what is lacking here.
    fn held_there<R: Records>(
        &mut self,
        records: &mut R,
        name: &DocumentName,
        theirs: &[Hash],
        answer: &mut Batch,
    ) -> Result<(), WriteError> {
        if self.documents.holds(records, name, theirs)? {
            self.wanted.remove(name);
            self.known(records, name, theirs)?;
            let same = status(records, name)?.is_some_and(|known| known.heads == theirs);
            if let Some(talk) = self.talks.get_mut(name).filter(|_| same) {
                talk.done = true;
            }
        } else {
            // The peer thought that something was here which is not: it was lost with a restore.
            self.want(records, name, answer)?;
        }
        Ok(())
    }

    /// Asks for what the peer has of a document. What it could not bring for these very heads it
    /// will not bring now: then the next connection asks again.
    fn want<R: Records>(
        &mut self,
        records: &mut R,
        name: &DocumentName,
        answer: &mut Batch,
    ) -> Result<(), Fault> {
        let ours = status(records, name)?.map(|known| known.heads).unwrap_or_default();
        self.ask(name, ours, answer);
        Ok(())
    }

    fn ask(&mut self, name: &DocumentName, ours: Vec<Hash>, answer: &mut Batch) {
        let asked = self.wanted.insert(name.clone(), Some(ours.clone())).flatten();
        if asked.as_ref() != Some(&ours) {
            answer.say(&Message::Want(name.clone(), ours));
        }
    }

    fn judged<T>(
        &self,
        name: &DocumentName,
        apply: impl FnOnce(&Judge<'_>) -> Result<T, WriteError>,
    ) -> Result<T, WriteError> {
        let policy = self.steward.policy(name);
        let policy = Policy::from_bytes(&policy).unwrap_or(Policy::LWW);
        let (node, device) = (Author::node(&self.documents.node()), name.device_author());
        let at_edge = self.documents.is_edge();
        let is_local =
            |cell: &Cell<'_>| cell.author == node || (at_edge && device == Some(cell.author));
        let roster: &dyn Roster = self.steward.as_ref();
        apply(&Judge { roster, policy: &policy, is_local: &is_local })
    }

    /// What came of it, or nothing when it was refused, which the peer is told.
    fn unless_refused<T>(
        &mut self,
        name: &DocumentName,
        applied: Result<T, WriteError>,
        taken: &mut Taken,
    ) -> Result<Option<T>, WriteError> {
        match applied {
            Ok(applied) => Ok(Some(applied)),
            Err(WriteError::Document(refusal)) => {
                let (peer, reason) = (self.peer, refusal.code());
                tracing::warn!(%peer, document = %name, reason, "a document was refused");
                self.talks.remove(name);
                self.wanted.remove(name);
                taken.answer.say(&Message::Refused(name.clone(), reason.to_owned()));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn note(&self, name: &DocumentName, applied: Applied, taken: &mut Taken) {
        if applied.changes > 0 || applied.quarantined {
            taken.applied = Some((name.clone(), applied));
        }
    }
}

fn place_and_name(key: &[u8], value: &[u8]) -> Result<(u64, DocumentName), Fault> {
    Ok((super::documents::stored_position(key)?, super::documents::stored_name(value)?))
}
