//! What is sent of a document: pushed after known heads, or asked for message by message.
//!
//! Where the peer's heads are known and held here, what is behind them is pushed. Else the two
//! sides exchange the engine's messages, each with a state for the other that outlives the
//! connection: what both are known to have, so that the history before it costs nothing.

use super::actor::{Actor, Introduction};
use super::chunk::Hash;
use super::documents::{Documents, unusable};
use super::engine::{Engine, read_raw};
use super::incoming::{Applied, Judge};
use super::limits::PARCEL_BYTES;
use super::message::SyncMessage;
use super::open::Open;
use super::parcel::{MESSAGE, head_bytes, pack, wrap};
use super::records::{Book, Status};
use super::signed::SignedHead;
use super::{DocumentName, Refusal};
use crate::Fault;
use crate::store::{ReadRecords, Records, Table, WriteError};
use automerge::sync::{Message, MessageVersion, State};
use holdfast_core::NodeId;
use std::collections::BTreeSet;

/// How far the exchange of a document with a peer is.
#[derive(Clone, Debug, Default)]
pub struct SyncState(State);

impl SyncState {
    /// Whether the peer said last that it has just `heads`, which ascend.
    #[must_use]
    pub fn agrees(&self, heads: &[Hash]) -> bool {
        let said = self.0.their_heads.iter().flatten().map(|hash| hash.0);
        self.0.their_heads.is_some() && said.collect::<BTreeSet<_>>().iter().eq(heads)
    }
}

fn state_key(peer: &NodeId, name: &DocumentName) -> Vec<u8> {
    [peer.0.as_slice(), name.as_str().as_bytes()].concat()
}

impl Documents {
    /// The changes of a document behind `known`, as a parcel for [`Parcel::check`]; nothing when
    /// there are none.
    ///
    /// # Errors
    /// [`Refusal::Diverged`] when one of `known` is not held or there is more than a parcel holds:
    /// then messages are exchanged. [`Fault::Damaged`] when the document cannot be opened.
    ///
    /// [`Parcel::check`]: super::Parcel::check
    pub fn after<R: Records>(
        &self,
        tx: &mut R,
        name: &DocumentName,
        known: &[Hash],
    ) -> Result<Option<Vec<u8>>, WriteError> {
        let book = Book { records: tx, name };
        let Some(status) = book.status()? else {
            return if known.is_empty() { Ok(None) } else { Err(Refusal::Diverged.into()) };
        };
        if known.is_empty() && status.changes > 0 && status.snapshot == 0 {
            return Ok(Some(whole(&book, &status)?));
        }
        let open = self.open(&book, &status)?;
        let found = if known.iter().all(|hash| open.engine.history.has(hash)) {
            open.engine.after(known).map_err(|broken| unusable(name, &broken)).map(Some)
        } else {
            Ok(None)
        };
        self.close(name, open, &status);
        let found = found?.ok_or(Refusal::Diverged)?;
        if found.is_empty() {
            return Ok(None);
        }
        let actors: BTreeSet<Actor> = found.iter().map(|(actor, _)| *actor).collect();
        let (actors, heads) = behind(&book, &actors)?;
        let changes: Vec<u8> = found.into_iter().flat_map(|(_, chunk)| chunk).collect();
        Ok(Some(fitting_parcel(status.epoch, &actors, &heads, &changes)?))
    }

    /// How far the exchange of a document with `peer` was at the end of the last connection.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    pub fn sync_state(
        records: &(impl ReadRecords + ?Sized),
        peer: &NodeId,
        name: &DocumentName,
    ) -> Result<SyncState, Fault> {
        let value = records.get(Table::DocumentSync, &state_key(peer, name))?;
        // Without it the exchange costs more and comes to the same.
        let state = value.and_then(|value| State::decode(&value).ok());
        Ok(state.map(SyncState).unwrap_or_default())
    }

    /// The heads up to which `peer` is known to have a document, ascending.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    pub fn known(
        records: &(impl ReadRecords + ?Sized),
        peer: &NodeId,
        name: &DocumentName,
    ) -> Result<Vec<Hash>, Fault> {
        let state = Self::sync_state(records, peer, name)?;
        let heads: BTreeSet<Hash> = state.0.shared_heads.iter().map(|hash| hash.0).collect();
        Ok(heads.into_iter().collect())
    }

    /// Notes up to which heads, all held here, `peer` has a document.
    ///
    /// # Errors
    /// A database fault.
    pub fn set_known(
        records: &mut (impl Records + ?Sized),
        peer: &NodeId,
        name: &DocumentName,
        heads: &[Hash],
    ) -> Result<(), Fault> {
        let shared_heads = heads.iter().copied().map(automerge::ChangeHash).collect();
        let state = State { shared_heads, ..State::default() };
        records.put(Table::DocumentSync, &state_key(peer, name), &state.encode())
    }

    /// Whether all of `heads` are held.
    ///
    /// # Errors
    /// [`Fault::Damaged`] when the document cannot be opened, or a database fault.
    pub fn holds<R: Records>(
        &self,
        records: &mut R,
        name: &DocumentName,
        heads: &[Hash],
    ) -> Result<bool, Fault> {
        let book = Book { records, name };
        let Some(status) = book.status()? else { return Ok(heads.is_empty()) };
        if status.heads == heads {
            return Ok(true);
        }
        let open = self.open(&book, &status)?;
        let holds = heads.iter().all(|hash| open.engine.history.has(hash));
        self.close(name, open, &status);
        Ok(holds)
    }

    /// The next message of the exchange with a peer, for [`SyncMessage::check`]; nothing when there
    /// is nothing to say before the peer does.
    ///
    /// # Errors
    /// [`Fault::Damaged`] when the document cannot be opened, or a database fault.
    pub fn next_message<R: Records>(
        &self,
        tx: &mut R,
        name: &DocumentName,
        state: &mut SyncState,
    ) -> Result<Option<Vec<u8>>, WriteError> {
        let book = Book { records: tx, name };
        let status = book.status()?.unwrap_or_default();
        let open = self.open(&book, &status)?;
        let before = state.0.clone();
        let next = match open.engine.next_message(&mut state.0) {
            Ok(next) => next,
            Err(broken) => {
                // It was asked with what a peer had said, so that is what has to go.
                tracing::error!(document = %name, reason = broken.0, "no message can be made");
                *state = SyncState::default();
                return Err(Refusal::Engine.into());
            }
        };
        let message = next.map(|message| self.fit(&book, &status, &open, message, state, &before));
        let message = message.transpose()?;
        self.close(name, open, &status);
        Ok(message)
    }

    /// Makes a message of what the engine would say, within the bounds of one.
    fn fit<R: Records + ?Sized>(
        &self,
        book: &Book<'_, R>,
        status: &Status,
        open: &Open,
        mut message: Message,
        state: &mut SyncState,
        before: &State,
    ) -> Result<Vec<u8>, WriteError> {
        let theirs: Vec<Hash> = state.0.their_heads.iter().flatten().map(|hash| hash.0).collect();
        let needs = open.waiting.needs(&theirs, |hash| open.engine.history.has(hash));
        message.need = needs.into_iter().map(automerge::ChangeHash).collect();
        let chunks: Vec<Vec<u8>> = message.changes.iter().map(<[u8]>::to_vec).collect();
        let whole = message.version == MessageVersion::V2;
        message.changes = Vec::<Vec<u8>>::new().into();
        message.version = MessageVersion::V1;
        if chunks.is_empty() {
            return Ok(wrap(MESSAGE, status.epoch, &[], &[], &message.encode()));
        }
        let room = PARCEL_BYTES - message.clone().encode().len();
        if whole {
            let all = all_actors(book)?;
            let (actors, heads) = behind(book, &all)?;
            let size = chunks[0].len() + head_bytes(actors.len(), heads.len()) + 16;
            if size <= room {
                message.version = MessageVersion::V2;
                message.changes = chunks.into();
                return Ok(wrap(MESSAGE, status.epoch, &actors, &heads, &message.encode()));
            }
        }
        let chunks = if whole { unsent(open, book, before, &theirs)? } else { chunks };
        let (chunks, actors, hashes) = fitting(book, status, chunks, room)?;
        Engine::unsend(&mut state.0, before, &hashes);
        message.changes = chunks.into();
        let (actors, heads) = behind(book, &actors)?;
        Ok(wrap(MESSAGE, status.epoch, &actors, &heads, &message.encode()))
    }

    /// Takes a message of `from` and applies what it brings.
    ///
    /// # Errors
    /// As [`Documents::apply`].
    pub fn take_message<R: Records>(
        &self,
        tx: &mut R,
        from: &NodeId,
        name: &DocumentName,
        state: &mut SyncState,
        message: SyncMessage,
        judge: &Judge<'_>,
    ) -> Result<Applied, WriteError> {
        let SyncMessage { parcel, inner } = message;
        let mut applied = self.apply(tx, from, name, parcel, judge)?;
        let key = state_key(from, name);
        if !applied.quarantined {
            let book = Book { records: tx, name };
            let status = book.status()?.unwrap_or_default();
            let mut open = self.open(&book, &status)?;
            match open.engine.take_message(&mut state.0, inner) {
                Ok(()) => self.close(name, open, &status),
                Err(broken) => {
                    tracing::error!(document = %name, %from, reason = broken.0, "not taken");
                    applied.quarantined = true;
                }
            }
        }
        if applied.quarantined {
            *state = SyncState::default();
            tx.delete(Table::DocumentSync, &key)?;
        } else {
            tx.put(Table::DocumentSync, &key, &state.0.encode())?;
        }
        Ok(applied)
    }
}

/// All changes of a document as they are stored, none of which is in a snapshot: whoever sends
/// 1,000 new documents opens none of them.
fn whole<R: Records + ?Sized>(book: &Book<'_, R>, status: &Status) -> Result<Vec<u8>, WriteError> {
    let (actors, heads) = behind(book, &all_actors(book)?)?;
    let chunks = book.chunks()?;
    let changes: Vec<u8> = chunks.into_iter().flat_map(|(_, chunk)| chunk).collect();
    Ok(fitting_parcel(status.epoch, &actors, &heads, &changes)?)
}

fn fitting_parcel(
    epoch: u64,
    actors: &[Introduction],
    heads: &[SignedHead],
    changes: &[u8],
) -> Result<Vec<u8>, Refusal> {
    let parcel = pack(epoch, actors, heads, changes);
    if parcel.len() > PARCEL_BYTES { Err(Refusal::Diverged) } else { Ok(parcel) }
}

/// Who stands behind `actors`, and the signed heads of those nodes, both ascending.
fn behind<R: Records + ?Sized>(
    book: &Book<'_, R>,
    actors: &BTreeSet<Actor>,
) -> Result<(Vec<Introduction>, Vec<SignedHead>), Fault> {
    let mut who = BTreeSet::new();
    for actor in actors {
        // Whose introduction was lost with a damaged record has to be known to the peer.
        who.extend(book.actor(actor)?);
    }
    let nodes: BTreeSet<NodeId> = who.iter().map(|who| who.node).collect();
    let mut heads = Vec::new();
    for node in &nodes {
        heads.extend(book.signed(node)?);
    }
    Ok((who.into_iter().collect(), heads))
}

fn all_actors<R: Records + ?Sized>(book: &Book<'_, R>) -> Result<BTreeSet<Actor>, Fault> {
    let prefix = [book.name.as_str().as_bytes(), &[0]].concat();
    let found = book.records.scan(Table::DocumentActor, &prefix)?;
    Ok(found.iter().filter_map(|(key, _)| key.last_chunk::<16>().copied()).collect())
}

/// The changes that were not sent yet and are not behind the heads `theirs`, each as a chunk.
fn unsent<R: Records + ?Sized>(
    open: &Open,
    book: &Book<'_, R>,
    before: &State,
    theirs: &[Hash],
) -> Result<Vec<Vec<u8>>, Fault> {
    let held: Vec<_> = theirs.iter().copied().filter(|h| open.engine.history.has(h)).collect();
    let all = open.engine.after(&held).map_err(|broken| unusable(book.name, &broken))?;
    let chunks = all.into_iter().map(|(_, chunk)| chunk);
    let sent = |chunk: &Vec<u8>| {
        read_raw(chunk).is_ok_and(|c| before.sent_hashes.iter().any(|hash| hash.0 == c.hash))
    };
    Ok(chunks.filter(|chunk| !sent(chunk)).collect())
}

/// As many of `chunks` as fit into `room`, with their actors and hashes.
type Fitting = (Vec<Vec<u8>>, BTreeSet<Actor>, Vec<Hash>);

fn fitting<R: Records + ?Sized>(
    book: &Book<'_, R>,
    status: &Status,
    chunks: Vec<Vec<u8>>,
    room: usize,
) -> Result<Fitting, Fault> {
    debug_assert!(status.changes > 0, "an empty document has nothing to send");
    let (mut out, mut actors, mut hashes, mut used) = (Vec::new(), BTreeSet::new(), Vec::new(), 0);
    let (mut nodes, mut heads) = (BTreeSet::new(), 0);
    for chunk in chunks {
        let change = read_raw(&chunk).map_err(|_| {
            Fault::damaged(format!("document {}", book.name), "a change is not as it was made")
        })?;
        let is_new = actors.insert(change.actor);
        if is_new
            && let Some(who) = book.actor(&change.actor)?
            && nodes.insert(who.node)
        {
            heads += book.signed(&who.node)?.len();
        }
        used += chunk.len() + 4;
        if used + head_bytes(actors.len(), heads) > room {
            if is_new {
                actors.remove(&change.actor);
            }
            break;
        }
        out.push(chunk);
        hashes.push(change.hash);
    }
    Ok((out, actors, hashes))
}
