//! What two peers say to each other when they do not know each other's heads.
//!
//! The engine's messages: heads, wishes, a Bloom filter of what the sender has, changes. The
//! engine believes the parameters of a filter that it is sent, and ten bytes can so make it
//! divide by nothing and fifteen take all memory; here only the parameters that all nodes send are
//! let through, at the length that belongs to them.

use super::change::{Change, hashes};
use super::limits::CHANGES_MAX;
use super::parcel::{MESSAGE, Opened, Parcel, open, read_chunks};
use super::{DocumentName, Refusal};
use automerge::sync;
use holdfast_core::codec::Reader;

const FIRST: u8 = 0x42;
const SECOND: u8 = 0x43;
const BITS_PER_ENTRY: u64 = 10;
const PROBES: u64 = 7;
/// Bytes of flags: the engine writes two.
const FLAGS_BYTES: usize = 8;

/// A message that has been checked as far as it can be without its document.
#[derive(Clone, Debug)]
pub struct SyncMessage {
    pub(super) parcel: Parcel,
    /// The message without its changes.
    pub(super) inner: sync::Message,
}

impl SyncMessage {
    /// The epoch of the document in which it was said.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.parcel.epoch
    }

    /// As [`Parcel::signed_for`].
    ///
    /// # Errors
    /// [`Refusal::Signature`].
    pub fn signed_for(self, document: &DocumentName) -> Result<Self, Refusal> {
        Ok(Self { parcel: self.parcel.signed_for(document)?, inner: self.inner })
    }

    /// Checks the bytes of a message.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn check(bytes: &[u8]) -> Result<Self, Refusal> {
        let Opened { epoch, actors, heads, payload } = open(bytes, MESSAGE)?;
        let changes = read(payload)?;
        let mut inner = sync::Message::decode(payload).map_err(|_| Refusal::Framing)?;
        if !inner.changes.is_empty() {
            // That something came matters to the engine; what came is applied apart from it.
            inner.changes = Vec::<u8>::new().into();
        }
        let parcel = Parcel { epoch, actors, heads, changes, signed_for: None };
        Ok(Self { parcel, inner })
    }
}

fn read(bytes: &[u8]) -> Result<Vec<Change>, Refusal> {
    let mut reader = Reader::new(bytes);
    if !matches!(reader.u8()?, FIRST | SECOND) {
        return Err(Refusal::Framing);
    }
    hashes(&mut reader)?;
    hashes(&mut reader)?;
    if reader.uint()? != 1 {
        return Err(Refusal::Count);
    }
    hashes(&mut reader)?;
    check_filter(reader.bytes(bytes.len())?)?;
    let count = reader.uint()?;
    if count > CHANGES_MAX {
        return Err(Refusal::Count);
    }
    let mut changes = Vec::new();
    for _ in 0..count {
        read_chunks(reader.bytes(bytes.len())?, &mut changes)?;
    }
    if !reader.rest().is_empty() {
        reader.bytes(FLAGS_BYTES)?;
    }
    reader.finish()?;
    Ok(changes)
}

fn check_filter(bytes: &[u8]) -> Result<(), Refusal> {
    if bytes.is_empty() {
        return Ok(());
    }
    let mut reader = Reader::new(bytes);
    let entries = reader.uint()?;
    let parameters = (reader.uint()?, reader.uint()?);
    if parameters != (BITS_PER_ENTRY, PROBES) {
        return Err(Refusal::Filter);
    }
    if entries == 0 || entries > CHANGES_MAX {
        return Err(Refusal::Count);
    }
    let length = (entries * BITS_PER_ENTRY).div_ceil(8);
    if reader.rest().len() as u64 == length { Ok(()) } else { Err(Refusal::Filter) }
}
