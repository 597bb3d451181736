//! What travels of one document: who wrote it, under which signed heads, and the changes.
//!
//! A parcel is checked without looking at any document: sizes, counts, framing, checksums, and the
//! form of every change in it. What depends on the document is judged where it is applied.

use super::actor::Introduction;
use super::change::{Change, ascending};
use super::chunk::Chunk;
use super::limits::{ACTORS_MAX, PARCEL_BYTES};
use super::signed::SignedHead;
use super::{DocumentName, Refusal, engine, whole};
use holdfast_core::codec::{Reader, Sink};
use holdfast_core::{NodeId, Reject};
use std::collections::BTreeSet;

/// The format of the first epoch, and of those after it.
const FIRST_EPOCH: u8 = 1;
const LATER_EPOCH: u8 = 2;
const CHANGES: u8 = 0;
pub(super) const MESSAGE: u8 = 1;

/// A parcel that has been checked as far as it can be without its document.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// The epoch of the document in which its changes were made.
    pub(super) epoch: u64,
    pub(super) actors: Vec<Introduction>,
    pub(super) heads: Vec<SignedHead>,
    pub(super) changes: Vec<Change>,
    /// The document for which the signatures of its heads were checked.
    pub(super) signed_for: Option<DocumentName>,
}

impl Parcel {
    /// Checks what a peer pushes: changes after heads that it knows of us.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn check(bytes: &[u8]) -> Result<Self, Refusal> {
        let Opened { epoch, actors, heads, payload } = open(bytes, CHANGES)?;
        let mut changes = Vec::new();
        read_chunks(payload, &mut changes)?;
        Ok(Self { epoch, actors, heads, changes, signed_for: None })
    }

    /// Checks the signatures of its heads. Where it is applied they are checked if they were not
    /// before: here it is off the writer's thread.
    ///
    /// # Errors
    /// [`Refusal::Signature`] when one is not its author's for this document and epoch.
    pub fn signed_for(mut self, document: &DocumentName) -> Result<Self, Refusal> {
        self.check_heads(document)?;
        self.signed_for = Some(document.clone());
        Ok(self)
    }

    pub(super) fn check_heads(&self, document: &DocumentName) -> Result<(), Refusal> {
        if self.signed_for.as_ref() == Some(document) {
            return Ok(());
        }
        self.heads.iter().try_for_each(|head| head.check(document, self.epoch))
    }

    /// The epoch of the document in which its changes were made.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many changes are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there is no change in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// Reads the chunks of `bytes` to its end; a whole document becomes its changes.
pub(super) fn read_chunks(bytes: &[u8], out: &mut Vec<Change>) -> Result<(), Refusal> {
    let mut reader = Reader::new(bytes);
    while !reader.rest().is_empty() {
        match Chunk::read(&mut reader)? {
            Chunk::Change(body) => out.push(Change::read(&body)?),
            Chunk::Document(all, body) => {
                whole::check(body)?;
                out.extend(engine::changes_of(all)?);
            }
        }
    }
    Ok(())
}

/// The parts of a parcel.
pub(super) struct Opened<'a> {
    pub epoch: u64,
    pub actors: Vec<Introduction>,
    pub heads: Vec<SignedHead>,
    pub payload: &'a [u8],
}

/// Takes a parcel apart.
pub(super) fn open(bytes: &[u8], kind: u8) -> Result<Opened<'_>, Refusal> {
    if bytes.len() > PARCEL_BYTES {
        return Err(Refusal::Size);
    }
    let mut reader = Reader::new(bytes);
    let epoch = match reader.array()? {
        [FIRST_EPOCH, found] if found == kind => 0,
        [LATER_EPOCH, found] if found == kind => {
            reader.uint().ok().filter(|epoch| *epoch > 0).ok_or(Refusal::Framing)?
        }
        _ => return Err(Refusal::Framing),
    };
    let actors = ascending(&mut reader, ACTORS_MAX, Introduction::read)?;
    let count = reader.uint()?;
    if count > ACTORS_MAX as u64 {
        return Err(Refusal::Count);
    }
    let mut heads: Vec<SignedHead> = Vec::new();
    for _ in 0..count {
        let head = SignedHead::read(&mut reader)?;
        if heads.last().is_some_and(|last| (last.author, last.head) >= (head.author, head.head)) {
            return Err(Refusal::Framing);
        }
        heads.push(head);
    }
    Ok(Opened { epoch, actors, heads, payload: reader.rest() })
}

/// Who is introduced in a parcel of our own making.
pub(super) fn authors(bytes: &[u8]) -> BTreeSet<NodeId> {
    let opened = open(bytes, CHANGES).or_else(|_| open(bytes, MESSAGE));
    let nodes = |opened: Opened<'_>| opened.actors.into_iter().map(|who| who.node).collect();
    opened.map(nodes).unwrap_or_default()
}

/// Makes a parcel of changes.
pub(super) fn pack(
    epoch: u64,
    actors: &[Introduction],
    heads: &[SignedHead],
    changes: &[u8],
) -> Vec<u8> {
    wrap(CHANGES, epoch, actors, heads, changes)
}

/// Makes a parcel of either kind. Introductions and heads ascend.
pub(super) fn wrap(
    kind: u8,
    epoch: u64,
    actors: &[Introduction],
    heads: &[SignedHead],
    payload: &[u8],
) -> Vec<u8> {
    let mut out = vec![if epoch == 0 { FIRST_EPOCH } else { LATER_EPOCH }, kind];
    let put = |out: &mut Vec<u8>| -> Result<(), Reject> {
        if epoch > 0 {
            out.put_uint(epoch)?;
        }
        out.put_uint(actors.len() as u64)?;
        actors.iter().try_for_each(|actor| actor.put(out))?;
        out.put_uint(heads.len() as u64)?;
        heads.iter().try_for_each(|head| head.put(out))?;
        out.put(payload)
    };
    put(&mut out).expect("a growing buffer is never full");
    out
}

/// Bytes of a parcel besides its payload.
pub(super) const fn head_bytes(actors: usize, heads: usize) -> usize {
    const INTRODUCTION: usize = size_of::<NodeId>() + 10 + 8;
    const HEAD: usize = 32 + 32 + 64;
    2 + 10 + 2 * 3 + actors * INTRODUCTION + heads * HEAD
}
