//! The exchange of artefacts with one peer, as a machine over the store's records.
//!
//! A node fetches what its own documents refer to and nothing else, one artefact after the other:
//! manifest, outline, blocks. What is asked for is always what the store lacks, so a cut link, a
//! crash or a full disk costs at most what was under way. Whoever is asked answers from the store
//! and remembers nothing; it gives only what the asker's documents refer to.

use super::ArtefactError;
use super::message::{ASKED_MAX, HASHES, PIECE_BYTES, Part, Said};
use super::shelf::{self, HASH_BYTES, Stored};
use crate::Fault;
use crate::store::{ReadRecords, Records};
use holdfast_core::artefact::{ArtefactId, Manifest, block_len};
use holdfast_core::id::FleetId;
use holdfast_core::{NodeId, Reject};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a service decides about artefacts.
pub trait Librarian: Send + Sync {
    /// The fleet whose publishers are believed, once the node is of one.
    fn fleet(&self) -> Option<FleetId>;

    /// What this node fetches and keeps; `None` when it keeps whatever it is given.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    fn wanted(&self, records: &dyn ReadRecords) -> Result<Option<Vec<ArtefactId>>, Fault>;

    /// Whether `peer` may have an artefact.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    fn may_have(
        &self,
        records: &dyn ReadRecords,
        peer: &NodeId,
        id: &ArtefactId,
    ) -> Result<bool, Fault>;
}

/// A message of a peer whose form has been checked.
#[derive(Debug)]
pub struct Message(Said);

impl Message {
    /// Reads a record of the session's stream.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(record: &[u8]) -> Result<Self, Reject> {
        Said::read(record).map(Self)
    }
}

/// What a message brings to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What is needed next, if anything.
    Ask(Option<Vec<u8>>),
    /// What the peer asked for.
    Parts(Vec<Vec<u8>>),
}

/// What is being fetched.
#[derive(Debug)]
struct Fetching {
    id: ArtefactId,
    asked: Part,
    /// What has come of the outline, or of a block.
    part: Vec<u8>,
}

/// The exchange with one peer, for as long as a session lasts.
pub struct Trade {
    librarian: Arc<dyn Librarian>,
    peer: NodeId,
    fetching: Option<Fetching>,
    /// What the peer does not have, or what it gave for it cannot be taken.
    lacking: BTreeSet<ArtefactId>,
}

impl Trade {
    /// An exchange with `peer` in which nothing was said yet.
    #[must_use]
    pub fn new(librarian: Arc<dyn Librarian>, peer: NodeId) -> Self {
        Self { librarian, peer, fetching: None, lacking: BTreeSet::new() }
    }

    /// Drops what is not wanted any more and asks for what is, unless something is under way. Call
    /// it at the beginning of a session and whenever documents have changed.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    pub fn next(&mut self, records: &mut dyn Records) -> Result<Option<Vec<u8>>, Fault> {
        let Some(wanted) = self.librarian.wanted(&*records)? else { return Ok(None) };
        for stored in shelf::list(&*records)? {
            if !wanted.contains(&stored.id) {
                shelf::remove(records, &stored.id)?;
                tracing::info!(artefact = %stored.id, "dropped: nothing refers to it any more");
            }
        }
        if let Some(fetching) = &self.fetching {
            if wanted.contains(&fetching.id) {
                return Ok(None);
            }
            self.fetching = None;
        }
        for id in wanted {
            if self.lacking.contains(&id) {
                continue;
            }
            let stored = shelf::find(&*records, &id)?;
            if !stored.as_ref().is_some_and(Stored::is_whole) {
                return self.ask(&*records, id, stored.as_ref()).map(Some);
            }
        }
        Ok(None)
    }

    /// Asks for what the store lacks of an artefact.
    fn ask(
        &mut self,
        records: &dyn ReadRecords,
        id: ArtefactId,
        stored: Option<&Stored>,
    ) -> Result<Vec<u8>, Fault> {
        let asked = match stored {
            None => Part::Manifest,
            Some(_) if shelf::outline(records, &id)?.is_none() => Part::Outline,
            Some(stored) => {
                Part::Blocks(stored.held, (stored.blocks() - stored.held).min(ASKED_MAX))
            }
        };
        self.fetching = Some(Fetching { id, asked, part: Vec::new() });
        Ok(Said::Fetch(id, asked).encode())
    }

    /// Takes a message. What could not be stored is asked for again.
    ///
    /// # Errors
    /// A database fault, or [`Fault::Damaged`].
    pub fn take(&mut self, records: &mut dyn Records, message: Message) -> Result<Answer, Fault> {
        let said = match message.0 {
            Said::Fetch(id, part) => return self.give(&*records, id, part).map(Answer::Parts),
            said => said,
        };
        let Some(mut fetching) = self.fetching.take() else { return Ok(Answer::Ask(None)) };
        let id = fetching.id;
        match self.came(records, &mut fetching, said) {
            Ok(false) => {
                self.fetching = Some(fetching);
                return Ok(Answer::Ask(None));
            }
            Ok(true) | Err(ArtefactError::Order { .. }) => {}
            Err(ArtefactError::Fault(fault)) => return Err(fault),
            Err(error) => {
                tracing::warn!(peer = %self.peer, artefact = %id, %error, "not taken");
                self.lacking.insert(id);
            }
        }
        self.next(records).map(Answer::Ask)
    }

    /// Takes what came for what was asked; `true` when that is all of it.
    fn came(
        &self,
        records: &mut dyn Records,
        fetching: &mut Fetching,
        said: Said,
    ) -> Result<bool, ArtefactError> {
        match (fetching.asked, said) {
            (_, Said::Lacks(id)) if id == fetching.id => Err(ArtefactError::Lacking),
            (Part::Manifest, Said::Manifest(manifest)) => {
                if Manifest::decode(&manifest)?.id != fetching.id {
                    return Err(ArtefactError::Content("the manifest"));
                }
                let fleet = self.librarian.fleet();
                let fleet = fleet.ok_or(ArtefactError::NoFleet)?;
                shelf::take_manifest(records, fleet, &manifest)?;
                Ok(true)
            }
            (Part::Outline, Said::Outline(id, first, hashes)) if id == fetching.id => {
                let stored = find(&*records, &id)?;
                if first * HASH_BYTES as u64 != fetching.part.len() as u64 || hashes.is_empty() {
                    return Err(ArtefactError::Content("the outline"));
                }
                fetching.part.extend(hashes);
                if ((fetching.part.len() / HASH_BYTES) as u64) < stored.blocks() {
                    return Ok(false);
                }
                shelf::take_outline(records, &stored, &fetching.part)?;
                Ok(true)
            }
            (Part::Blocks(from, count), Said::Piece { id, block, at, bytes })
                if id == fetching.id =>
            {
                let mut stored = find(&*records, &id)?;
                if block != stored.held || at != fetching.part.len() || bytes.is_empty() {
                    return Err(ArtefactError::Order { got: block, expected: stored.held });
                }
                fetching.part.extend(bytes);
                if fetching.part.len() < block_len(stored.size, block) {
                    return Ok(false);
                }
                let part = std::mem::take(&mut fetching.part);
                shelf::take_block(records, &mut stored, block, &part)?;
                if stored.is_whole() {
                    tracing::info!(artefact = %id, bytes = stored.size, "fetched");
                }
                Ok(stored.held >= from + count)
            }
            // Said before what is asked now was, or by one that was not asked.
            _ => Ok(false),
        }
    }

    fn give(
        &self,
        records: &dyn ReadRecords,
        id: ArtefactId,
        part: Part,
    ) -> Result<Vec<Vec<u8>>, Fault> {
        let lacks = || Ok(vec![Said::Lacks(id).encode()]);
        if !self.librarian.may_have(records, &self.peer, &id)? {
            return lacks();
        }
        let Some(stored) = shelf::find(records, &id)? else { return lacks() };
        match part {
            Part::Manifest => Ok(vec![Said::Manifest(stored.manifest).encode()]),
            Part::Outline => {
                let Some(outline) = shelf::outline(records, &id)? else { return lacks() };
                let parts = outline.chunks(HASHES * HASH_BYTES).enumerate();
                let said = |(at, part): (usize, &[u8])| {
                    Said::Outline(id, (at * HASHES) as u64, part.to_vec())
                };
                Ok(parts.map(said).map(|said| said.encode()).collect())
            }
            Part::Blocks(from, count) => {
                let end = from.saturating_add(count.min(ASKED_MAX)).min(stored.held);
                if from >= end {
                    return lacks();
                }
                let mut out = Vec::new();
                for block in from..end {
                    let Some(bytes) = shelf::block(records, &id, block)? else { return lacks() };
                    for (at, piece) in bytes.chunks(PIECE_BYTES).enumerate() {
                        let (at, bytes) = (at * PIECE_BYTES, piece.to_vec());
                        out.push(Said::Piece { id, block, at, bytes }.encode());
                    }
                }
                Ok(out)
            }
        }
    }
}

fn find(records: &dyn ReadRecords, id: &ArtefactId) -> Result<Stored, ArtefactError> {
    let stored = shelf::find(records, id)?;
    stored.ok_or(ArtefactError::Unfounded)
}
