//! Cuts: a document begins a new epoch with what its cells are, and forgets how they came about.
//!
//! Only the hub cuts, and only once every node that has the document has said that it has just what
//! the hub has. Whatever any of them has written since then has seen all that is cut, so it comes
//! after it: the node writes it anew into the next epoch, as the cells they are. The first changes
//! of an epoch, its *base*, are a function of the cells at the heads where the epoch before it
//! ended, so whoever holds those heads makes the base itself and need not believe the hub; who does
//! not is given it, under the hub's signature.
//! Byte-exact page: `docs/formats/document.md`.

use super::actor::Actor;
use super::change::{Change, actor, hashes};
use super::chunk::Hash;
use super::engine::{Broken, Engine};
use super::history::History;
use super::limits::{
    ACTORS_MAX, BASE_CHANGES, CHANGE_OPERATIONS, COVERED_ACTORS, CUT_KEYS, DELETIONS_REMEMBERED,
    FOREIGN_BYTES, HARD_BYTES, KEYS_MAX,
};
use super::records::{Keyed, Status};
use super::{DocumentName, Refusal};
use crate::identity::NodeKey;
use ed25519_dalek::{Signature, VerifyingKey};
use holdfast_core::codec::{Reader, Sink};
use holdfast_core::hlc::Stamp;
use holdfast_core::state::{Cell, Key};
use holdfast_core::{NodeId, Reject};
use std::collections::{BTreeMap, BTreeSet};

/// Separates this message from everything else that is signed; part of the format.
const CONTEXT: &[u8] = b"holdfast document cut\x01";

/// Where one epoch of a document ended and the next began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The hub that cut.
    pub hub: NodeId,
    /// The epoch that begins.
    pub epoch: u64,
    /// The heads where the one before it ended, ascending.
    pub heads: Vec<Hash>,
    /// The changes with which it begins, by their hashes, ascending.
    pub base: Vec<Hash>,
    /// How many changes of each actor are behind the cut, and behind the cuts before it.
    covers: Vec<(Actor, u64)>,
    signature: [u8; 64],
}

impl Cut {
    /// Signs a cut with the hub's key.
    pub(super) fn sign(
        key: &NodeKey,
        name: &DocumentName,
        epoch: u64,
        heads: Vec<Hash>,
        base: &[Change],
        covers: Vec<(Actor, u64)>,
    ) -> Self {
        let base = hashes_of(base);
        let mut cut = Self { hub: key.id(), epoch, heads, base, covers, signature: [0; 64] };
        cut.signature = key.sign(&cut.message(name));
        cut
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// [`Refusal::Signature`] when it is not the hub's for this document.
    pub(super) fn check(&self, name: &DocumentName) -> Result<(), Refusal> {
        let key = VerifyingKey::from_bytes(&self.hub.0).map_err(|_| Refusal::Signature)?;
        let checked =
            key.verify_strict(&self.message(name), &Signature::from_bytes(&self.signature));
        checked.map_err(|_| Refusal::Signature)
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) -> Result<(), Reject> {
        out.put(&self.hub.0)?;
        self.put_named(out)?;
        out.put(&self.signature)
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Refusal> {
        let hub = NodeId(reader.array()?);
        let epoch = reader.uint()?;
        let (heads, base) = (hashes(reader)?, hashes(reader)?);
        let count = reader.uint()?;
        if epoch == 0 || base.len() > BASE_CHANGES || count > ACTORS_MAX as u64 {
            return Err(Refusal::Count);
        }
        let pair = |_| Ok((actor(reader)?, reader.uint()?));
        let covers = (0..count).map(pair).collect::<Result<_, Refusal>>()?;
        Ok(Self { hub, epoch, heads, base, covers, signature: reader.array()? })
    }

    fn put_named(&self, out: &mut Vec<u8>) -> Result<(), Reject> {
        out.put_uint(self.epoch)?;
        for hashes in [&self.heads, &self.base] {
            out.put_uint(hashes.len() as u64)?;
            hashes.iter().try_for_each(|hash| out.put(hash))?;
        }
        out.put_uint(self.covers.len() as u64)?;
        self.covers.iter().try_for_each(|(actor, count)| {
            out.put_bytes(actor)?;
            out.put_uint(*count)
        })
    }

    fn message(&self, name: &DocumentName) -> Vec<u8> {
        let mut out = CONTEXT.to_vec();
        let named = out.put_bytes(name.as_str().as_bytes()).and_then(|()| self.put_named(&mut out));
        named.expect("a growing buffer is never full");
        out
    }

    /// The changes of `history` behind which all lies that is behind the cut.
    pub(super) fn seen(&self, history: &History) -> Vec<Hash> {
        self.covers.iter().filter_map(|(actor, count)| history.last_of(actor, *count)).collect()
    }

    /// What the next cut covers: all of `history`, and of what this one covers the latest.
    pub(super) fn covers(last: Option<&Self>, history: &History) -> Vec<(Actor, u64)> {
        let mut out: Vec<_> = history.counts().filter(|(actor, _)| !is_of_base(actor)).collect();
        out.sort_unstable();
        let before = last.map(|cut| cut.covers.as_slice()).unwrap_or_default();
        let room = COVERED_ACTORS.saturating_sub(out.len());
        out.extend(before.iter().take(room));
        out
    }

    /// Whether `base` is the base that this cut names.
    pub(super) fn begins_with(&self, base: &[Change]) -> bool {
        hashes_of(base) == self.base
    }
}

fn hashes_of(changes: &[Change]) -> Vec<Hash> {
    let found: BTreeSet<Hash> = changes.iter().map(|change| change.hash).collect();
    found.into_iter().collect()
}

/// Whether a history is so long that it is to be cut.
pub(super) const fn is_due(status: &Status, cut_at: u64) -> bool {
    let deleted = status.size.keys >= CUT_KEYS && 2 * status.size.live < status.size.keys;
    status.changes >= cut_at || (deleted && status.changes >= cut_at / 64)
}

/// Whether `actor` is one of those that make a base and nothing else: their numbers are small.
pub(super) fn is_of_base(actor: &Actor) -> bool {
    let number = u128::from_be_bytes(*actor);
    (1..=BASE_CHANGES as u128).contains(&number)
}

/// The base of an epoch, from the cells at the end of the one before it, the greatest at each key
/// first; nothing when there are too many that have not seen each other. Deletions that are older
/// than `remembered_ms`, by the stamps of the document, are left out.
pub(super) fn base(cells: &[Keyed], remembered_ms: u64) -> Result<Option<Vec<Change>>, Broken> {
    let forgotten = forgotten(cells, remembered_ms);
    let kept: Vec<&Keyed> = cells.iter().filter(|(key, _)| !forgotten.contains(key)).collect();
    let most = kept.iter().map(|(_, cells)| cells.len()).max().unwrap_or_default();
    let mut out = Vec::new();
    for round in 0..most {
        let of_round = kept.iter().filter_map(|(key, cells)| Some((key, cells.get(round)?)));
        let (mut puts, mut bytes) = (Vec::new(), 0);
        for (key, cell) in of_round {
            let size = key.len() + cell.len();
            if puts.len() == CHANGE_OPERATIONS || bytes + size > HARD_BYTES as usize {
                out.push(begin(out.len(), &std::mem::take(&mut puts))?);
                bytes = 0;
            }
            puts.push((key.clone(), cell.clone()));
            bytes += size;
        }
        out.push(begin(out.len(), &puts)?);
        if out.len() > BASE_CHANGES {
            return Ok(None);
        }
    }
    Ok(Some(out))
}

/// The keys at which all is deleted, and has been for long or longer than at many others. A node
/// that is put back to a copy may bring again what it wrote before such a deletion.
fn forgotten(cells: &[Keyed], remembered_ms: u64) -> BTreeSet<&String> {
    let stamp = |cell: &Vec<u8>| Cell::from_bytes(cell).map_or(Stamp(0), |cell| cell.stamp);
    let newest = cells.iter().flat_map(|(_, cells)| cells).map(stamp).max().unwrap_or_default();
    let is_deleted = |cell: &Vec<u8>| Cell::from_bytes(cell).is_ok_and(|cell| !cell.is_live());
    let deleted = cells.iter().filter(|(_, cells)| cells.iter().all(is_deleted));
    let mut deleted: Vec<_> = deleted.map(|(key, cells)| (stamp(&cells[0]), key)).collect();
    deleted.sort_unstable_by(|a, b| b.cmp(a));
    let is_old = |at: Stamp| at.millis().saturating_add(remembered_ms) <= newest.millis();
    let gone = deleted.iter().enumerate();
    let gone = gone.filter(|(place, (at, _))| *place >= DELETIONS_REMEMBERED || is_old(*at));
    gone.map(|(_, (_, key))| *key).collect()
}

fn begin(made: usize, puts: &[(String, Vec<u8>)]) -> Result<Change, Broken> {
    let actor: Actor = (made as u128 + 1).to_be_bytes();
    Engine::new().commit(actor, 0, puts)
}

/// Checks a base that somebody sent: that it has the form of one, and names what `cut` does.
pub(super) fn check_base(cut: &Cut, base: &[Change]) -> Result<(), Refusal> {
    if !cut.begins_with(base) || base.len() != cut.base.len() {
        return Err(Refusal::Cut);
    }
    let (mut keys, mut bytes) = (BTreeSet::new(), 0);
    for change in base {
        let begins = change.deps.is_empty() && change.seq == 1 && change.time_ms == 0;
        if !begins || !is_of_base(&change.actor) {
            return Err(Refusal::Cut);
        }
        for put in &change.puts {
            let key = Key::parse(&put.key).map_err(Refusal::Cell)?;
            let cell = Cell::from_bytes(change.cell(put)).map_err(Refusal::Cell)?;
            if !key.admits(&cell) {
                return Err(Refusal::Key);
            }
            keys.insert(put.key.as_str());
            bytes += put.key.len() + change.cell(put).len();
        }
    }
    let fits = bytes as u64 <= FOREIGN_BYTES && keys.len() as u64 <= KEYS_MAX;
    if fits { Ok(()) } else { Err(Refusal::Full) }
}

/// What a node writes anew into an epoch.
#[derive(Debug, Default)]
pub(super) struct Anew {
    /// Cells of a node that was put back to a copy, which may not have seen the base.
    pub beside: Vec<(String, Vec<u8>)>,
    /// Cells that have seen the base.
    pub behind: Vec<(String, Vec<u8>)>,
}

/// Who has said in this start that it has just what is here of a document whose history is long.
#[derive(Debug, Default)]
pub(super) struct Confirmed(BTreeMap<DocumentName, (Vec<Hash>, BTreeSet<NodeId>)>);

impl Confirmed {
    /// `node` has the document at just `heads`.
    pub(super) fn note(&mut self, node: NodeId, name: &DocumentName, heads: &[Hash]) {
        let (at, nodes) = self.0.entry(name.clone()).or_default();
        if at != heads {
            (*at, *nodes) = (heads.to_vec(), BTreeSet::new());
        }
        nodes.insert(node);
    }

    /// Whether all of `nodes` have the document as it is here.
    pub(super) fn all(&self, nodes: &[NodeId], name: &DocumentName, status: &Status) -> bool {
        let noted = self.0.get(name).filter(|(heads, _)| *heads == status.heads);
        noted.is_some_and(|(_, noted)| nodes.iter().all(|node| noted.contains(node)))
    }

    pub(super) fn forget(&mut self, name: &DocumentName) {
        self.0.remove(name);
    }
}
