//! How artefacts lie in the store: the manifest, the outline, and the blocks in their order.
//!
//! Nothing is written that its publisher has not signed: a manifest is checked against the fleet,
//! an outline against the manifest, a block against the outline. Blocks are taken in their order,
//! so one number says what is lacking.

use super::{ArtefactError, publish, verify};
use crate::Fault;
use crate::store::{ReadRecords, Records, Table};
use holdfast_core::artefact::limits::{BLOCK_BYTES, MANIFEST_BYTES};
use holdfast_core::artefact::{ArtefactId, Manifest, Outline, block_hash, blocks};
use holdfast_core::codec::{Reader, Sink};
use holdfast_core::id::FleetId;

const FORMAT: u8 = 1;
/// Bytes of a hash in an outline.
pub(super) const HASH_BYTES: usize = 32;

/// An artefact as far as it is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Which one.
    pub id: ArtefactId,
    /// Its manifest.
    pub manifest: Vec<u8>,
    /// Blocks that are here, from the first on.
    pub held: u64,
    /// Bytes of its content.
    pub size: u64,
}

impl Stored {
    /// Blocks that it has.
    #[must_use]
    pub const fn blocks(&self) -> u64 {
        blocks(self.size)
    }

    /// Whether all of it is here.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.held == self.blocks()
    }

    /// The manifest.
    ///
    /// # Errors
    /// [`Fault::Damaged`]: what was stored could be read.
    pub fn manifest(&self) -> Result<Manifest<'_>, Fault> {
        Manifest::decode(&self.manifest).map_err(|reject| damaged(&self.id, &reject))
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        out.put_uint(self.held).expect("a growing buffer is never full");
        out.extend_from_slice(&self.manifest);
        out
    }

    fn decode(key: &[u8], value: &[u8]) -> Result<Self, Fault> {
        let id = key.try_into().map(ArtefactId);
        let id = id.map_err(|_| Fault::damaged("record of an artefact", "its key is no id"))?;
        let mut reader = Reader::new(value);
        let mut read = || (reader.u8(), reader.uint());
        let (Ok(FORMAT), Ok(held)) = read() else {
            return Err(damaged(&id, &"its record cannot be read"));
        };
        let manifest = reader.rest().to_vec();
        let size =
            Manifest::decode(&manifest).map_err(|reject| damaged(&id, &reject))?.content.size;
        Ok(Self { id, manifest, held, size })
    }
}

fn damaged(id: &ArtefactId, what: &dyn std::fmt::Display) -> Fault {
    Fault::damaged(format!("artefact {id}"), what.to_string())
}

fn block_key(id: &ArtefactId, index: u64) -> Vec<u8> {
    [id.0.as_slice(), &(index as u32).to_be_bytes()].concat()
}

/// An artefact, if anything of it is here.
///
/// # Errors
/// A database fault, or [`Fault::Damaged`].
pub fn find(records: &dyn ReadRecords, id: &ArtefactId) -> Result<Option<Stored>, Fault> {
    let value = records.get(Table::Artefact, &id.0)?;
    value.map(|value| Stored::decode(&id.0, &value)).transpose()
}

/// All artefacts of which anything is here, by id.
///
/// # Errors
/// A database fault, or [`Fault::Damaged`].
pub fn list(records: &dyn ReadRecords) -> Result<Vec<Stored>, Fault> {
    let all = records.scan(Table::Artefact, &[])?;
    all.iter().map(|(key, value)| Stored::decode(key, value)).collect()
}

/// Takes the manifest of an artefact of which nothing may be here yet.
///
/// # Errors
/// Why it is not one that this fleet takes, or a database fault.
pub fn take_manifest(
    records: &mut dyn Records,
    fleet: FleetId,
    manifest: &[u8],
) -> Result<Stored, ArtefactError> {
    if manifest.len() > MANIFEST_BYTES {
        return Err(holdfast_core::Reject::Long.into());
    }
    let read = Manifest::decode(manifest)?;
    read.check(fleet, &verify)?;
    if let Some(known) = find(&*records, &read.id)? {
        return Ok(known);
    }
    let (id, size) = (read.id, read.content.size);
    let stored = Stored { id, manifest: manifest.to_vec(), held: 0, size };
    records.put(Table::Artefact, &id.0, &stored.encode())?;
    Ok(stored)
}

/// The hashes of an artefact's blocks, once they are here.
///
/// # Errors
/// A database fault, or [`Fault::Damaged`].
pub fn outline(records: &dyn ReadRecords, id: &ArtefactId) -> Result<Option<Vec<u8>>, Fault> {
    records.get(Table::ArtefactOutline, &id.0)
}

/// Takes the hashes of all blocks.
///
/// # Errors
/// [`ArtefactError::Content`] when they do not lead to the hash in the manifest, or a database
/// fault.
pub fn take_outline(
    records: &mut dyn Records,
    stored: &Stored,
    outline: &[u8],
) -> Result<(), ArtefactError> {
    let (hashes, rest) = outline.as_chunks::<HASH_BYTES>();
    let mut joined = Outline::new();
    let fits = rest.is_empty()
        && hashes.len() as u64 == stored.blocks()
        && hashes.iter().all(|hash| joined.push(*hash));
    if !fits || joined.finish() != Some(stored.manifest()?.content.hash) {
        return Err(ArtefactError::Content("the outline"));
    }
    Ok(records.put(Table::ArtefactOutline, &stored.id.0, outline)?)
}

/// Takes the next block.
///
/// # Errors
/// [`ArtefactError::Order`] when it is another one, [`ArtefactError::Unfounded`] without an
/// outline, [`ArtefactError::Content`] when it is not what the outline says, or a database fault.
pub fn take_block(
    records: &mut dyn Records,
    stored: &mut Stored,
    index: u64,
    bytes: &[u8],
) -> Result<(), ArtefactError> {
    if index != stored.held || stored.is_whole() {
        return Err(ArtefactError::Order { got: index, expected: stored.held });
    }
    let outline = outline(&*records, &stored.id)?;
    let outline = outline.ok_or(ArtefactError::Unfounded)?;
    let hash = outline.as_chunks::<HASH_BYTES>().0.get(index as usize).copied();
    if hash.is_none() || block_hash(stored.size, index, bytes) != hash {
        return Err(ArtefactError::Content("a block"));
    }
    records.put(Table::ArtefactBlock, &block_key(&stored.id, index), bytes)?;
    stored.held += 1;
    Ok(records.put(Table::Artefact, &stored.id.0, &stored.encode())?)
}

/// A block that is here.
///
/// # Errors
/// A database fault, or [`Fault::Damaged`].
pub fn block(
    records: &dyn ReadRecords,
    id: &ArtefactId,
    index: u64,
) -> Result<Option<Vec<u8>>, Fault> {
    records.get(Table::ArtefactBlock, &block_key(id, index))
}

/// The content of an artefact that is whole, checked once more: whoever uses it must not rely on a
/// disk.
///
/// # Errors
/// [`Fault::Damaged`] when it is not what its publisher has signed, or a database fault.
pub fn content(records: &dyn ReadRecords, stored: &Stored) -> Result<Option<Vec<u8>>, Fault> {
    if !stored.is_whole() {
        return Ok(None);
    }
    let mut out = Vec::with_capacity(stored.size as usize);
    for index in 0..stored.blocks() {
        let block = block(records, &stored.id, index)?;
        out.extend(block.ok_or_else(|| damaged(&stored.id, &format!("no block {index}")))?);
    }
    let sound = *blake3::hash(&out).as_bytes() == stored.manifest()?.content.hash;
    if sound { Ok(Some(out)) } else { Err(damaged(&stored.id, &"its content has changed")) }
}

/// At most `most` bytes of the content of an artefact that is whole, from `from` on; none behind
/// its end. Only the blocks that they lie in are read, and each is checked once more.
///
/// # Errors
/// [`Fault::Damaged`] when a block is not what its publisher has signed, or a database fault.
pub fn part(
    records: &dyn ReadRecords,
    stored: &Stored,
    from: u64,
    most: usize,
) -> Result<Vec<u8>, Fault> {
    const BLOCK: u64 = BLOCK_BYTES as u64;
    let end = from.saturating_add(most as u64).min(stored.size);
    if !stored.is_whole() || from >= end {
        return Ok(Vec::new());
    }
    let outline = outline(records, &stored.id)?.unwrap_or_default();
    let hashes = outline.as_chunks::<HASH_BYTES>().0;
    let mut out = Vec::with_capacity((end - from) as usize);
    for index in from / BLOCK..end.div_ceil(BLOCK) {
        let lacks = || damaged(&stored.id, &format!("no block {index}"));
        let bytes = block(records, &stored.id, index)?.ok_or_else(lacks)?;
        let hash = hashes.get(index as usize).copied();
        if hash.is_none() || block_hash(stored.size, index, &bytes) != hash {
            return Err(damaged(&stored.id, &format!("block {index} has changed")));
        }
        let begin = index * BLOCK;
        let first = from.saturating_sub(begin) as usize;
        out.extend_from_slice(&bytes[first..(end - begin).min(BLOCK) as usize]);
    }
    Ok(out)
}

/// Puts a whole artefact on the shelf, as its publisher made it.
///
/// # Errors
/// Why it is not one that this fleet takes, or a database fault.
pub fn shelve(
    records: &mut dyn Records,
    fleet: FleetId,
    manifest: &[u8],
    content: &[u8],
) -> Result<Stored, ArtefactError> {
    let mut stored = take_manifest(records, fleet, manifest)?;
    if stored.size != content.len() as u64 {
        return Err(ArtefactError::Content("the content"));
    }
    take_outline(records, &stored, &publish::outline(content))?;
    for (index, block) in content.chunks(BLOCK_BYTES).enumerate().skip(stored.held as usize) {
        take_block(records, &mut stored, index as u64, block)?;
    }
    Ok(stored)
}

/// Takes an artefact off the shelf; `false` when nothing of it was there.
///
/// # Errors
/// A database fault, or [`Fault::Damaged`].
pub fn remove(records: &mut dyn Records, id: &ArtefactId) -> Result<bool, Fault> {
    let Some(stored) = find(&*records, id)? else { return Ok(false) };
    for index in 0..stored.held {
        records.delete(Table::ArtefactBlock, &block_key(id, index))?;
    }
    records.delete(Table::ArtefactOutline, &id.0)?;
    records.delete(Table::Artefact, &id.0)
}
