//! What two nodes say to each other about artefacts: records of a session's stream.
//!
//! Whoever needs an artefact asks for its parts, a few at a time; the other side keeps nothing in
//! mind. No message is larger than an alert may wait for. Byte-exact page:
//! `docs/formats/exchange.md`.

use super::shelf::HASH_BYTES;
use holdfast_core::Reject;
use holdfast_core::artefact::ArtefactId;
use holdfast_core::artefact::limits::{BLOCK_BYTES, MANIFEST_BYTES};
use holdfast_core::codec::{Reader, Sink};

const FETCH: u8 = 16;
const MANIFEST: u8 = 17;
const OUTLINE: u8 = 18;
const PIECE: u8 = 19;
const LACKS: u8 = 20;

const OF_MANIFEST: u8 = 0;
const OF_OUTLINE: u8 = 1;
const OF_BLOCKS: u8 = 2;

/// Bytes of a block that travel in one message: two seconds of the thinnest link.
pub(super) const PIECE_BYTES: usize = 4 << 10;
/// Hashes of an outline that travel in one message.
pub(super) const HASHES: usize = PIECE_BYTES / HASH_BYTES;
/// Blocks that are asked for at once: what a link with a second of delay carries in it.
pub(super) const ASKED_MAX: u64 = 16;

const _: () = assert!(BLOCK_BYTES.is_multiple_of(PIECE_BYTES));

/// Whether a record of this kind is a message about artefacts.
#[must_use]
pub fn is_message(kind: u8) -> bool {
    (FETCH..=LACKS).contains(&kind)
}

/// A part of an artefact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Its manifest.
    Manifest,
    /// The hashes of its blocks.
    Outline,
    /// So many blocks from this one on.
    Blocks(u64, u64),
}

/// A message, with its bytes as it was read or is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// The sender asks for a part.
    Fetch(ArtefactId, Part),
    /// The manifest.
    Manifest(Vec<u8>),
    /// Hashes from this one on.
    Outline(ArtefactId, u64, Vec<u8>),
    /// Bytes of a block from this byte on.
    Piece {
        /// The artefact.
        id: ArtefactId,
        /// Which block.
        block: u64,
        /// The first byte.
        at: usize,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// The sender has no such artefact for the peer.
    Lacks(ArtefactId),
}

impl Said {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(PIECE_BYTES + 64);
        self.put(&mut out).expect("a growing buffer is never full");
        out
    }

    fn put(&self, out: &mut Vec<u8>) -> Result<(), Reject> {
        match self {
            Self::Fetch(id, part) => {
                out.put_u8(FETCH)?;
                out.put(&id.0)?;
                match part {
                    Part::Manifest => out.put_u8(OF_MANIFEST),
                    Part::Outline => out.put_u8(OF_OUTLINE),
                    Part::Blocks(from, count) => {
                        out.put_u8(OF_BLOCKS)?;
                        out.put_uint(*from)?;
                        out.put_uint(*count)
                    }
                }
            }
            Self::Manifest(manifest) => {
                out.put_u8(MANIFEST)?;
                out.put(manifest)
            }
            Self::Outline(id, first, hashes) => {
                out.put_u8(OUTLINE)?;
                out.put(&id.0)?;
                out.put_uint(*first)?;
                out.put(hashes)
            }
            Self::Piece { id, block, at, bytes } => {
                out.put_u8(PIECE)?;
                out.put(&id.0)?;
                out.put_uint(*block)?;
                out.put_uint(*at as u64)?;
                out.put(bytes)
            }
            Self::Lacks(id) => {
                out.put_u8(LACKS)?;
                out.put(&id.0)
            }
        }
    }

    pub(super) fn read(record: &[u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(record);
        let kind = reader.u8()?;
        if kind == MANIFEST {
            return Ok(Self::Manifest(bounded(&reader, MANIFEST_BYTES)?));
        }
        let id = ArtefactId(reader.array()?);
        match kind {
            FETCH => {
                let part = match reader.u8()? {
                    OF_MANIFEST => Part::Manifest,
                    OF_OUTLINE => Part::Outline,
                    OF_BLOCKS => Part::Blocks(reader.uint()?, reader.uint()?),
                    _ => return Err(Reject::Malformed),
                };
                reader.finish()?;
                Ok(Self::Fetch(id, part))
            }
            OUTLINE => {
                let first = reader.uint()?;
                Ok(Self::Outline(id, first, bounded(&reader, PIECE_BYTES)?))
            }
            PIECE => {
                let block = reader.uint()?;
                let at = usize::try_from(reader.uint()?).map_err(|_| Reject::Malformed)?;
                Ok(Self::Piece { id, block, at, bytes: bounded(&reader, PIECE_BYTES)? })
            }
            LACKS => {
                reader.finish()?;
                Ok(Self::Lacks(id))
            }
            _ => Err(Reject::Malformed),
        }
    }
}

/// The rest of a message.
fn bounded(reader: &Reader<'_>, max: usize) -> Result<Vec<u8>, Reject> {
    let rest = reader.rest();
    if rest.len() <= max { Ok(rest.to_vec()) } else { Err(Reject::Full) }
}
