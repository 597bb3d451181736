//! The engine's frame around bytes: magic, checksum, kind, length.
//!
//! Nothing is inflated here but within a bound, and a checksum is compared before anything behind
//! it is looked at.

use super::Refusal;
use super::limits::CHANGE_BYTES;
use holdfast_core::codec::{Reader, Sink};
use sha2::{Digest as _, Sha256};
use std::io::Read as _;

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
const DOCUMENT: u8 = 0;
const CHANGE: u8 = 1;
const COMPRESSED: u8 = 2;

/// The hash of a change.
pub type Hash = [u8; 32];

/// A chunk whose checksum fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Chunk<'a> {
    /// A change: its body.
    Change(Vec<u8>),
    /// A whole document: the chunk and its body.
    Document(&'a [u8], &'a [u8]),
}

impl<'a> Chunk<'a> {
    /// Reads the next chunk.
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, Refusal> {
        let start = reader.rest();
        if reader.array()? != MAGIC {
            return Err(Refusal::Framing);
        }
        let checksum: [u8; 4] = reader.array()?;
        let kind = reader.u8()?;
        let body = reader.bytes(start.len())?;
        let all = &start[..start.len() - reader.rest().len()];
        let (chunk, hash) = match kind {
            CHANGE => (Self::Change(body.to_vec()), hash(CHANGE, body)),
            COMPRESSED => {
                let body = inflate(body, CHANGE_BYTES)?;
                let hash = hash(CHANGE, &body);
                (Self::Change(body), hash)
            }
            // The checksum is over the columns once inflated, which the engine compares.
            DOCUMENT => return Ok(Self::Document(all, body)),
            _ => return Err(Refusal::Kind),
        };
        if hash.first_chunk() == Some(&checksum) { Ok(chunk) } else { Err(Refusal::Checksum) }
    }
}

/// Inflates `bytes`, or refuses as soon as there are more than `max`.
pub(super) fn inflate(bytes: &[u8], max: usize) -> Result<Vec<u8>, Refusal> {
    let mut out = Vec::new();
    let limit = max as u64 + 1;
    let inflated = flate2::bufread::DeflateDecoder::new(bytes).take(limit).read_to_end(&mut out);
    inflated.map_err(|_| Refusal::Framing)?;
    if out.len() > max { Err(Refusal::Inflates) } else { Ok(out) }
}

fn hash(kind: u8, body: &[u8]) -> Hash {
    let mut head = vec![kind];
    head.put_uint(body.len() as u64).expect("a growing buffer is never full");
    let mut hash = Sha256::new();
    hash.update(&head);
    hash.update(body);
    hash.finalize().into()
}

/// The hash of a change with this body, and the change as a chunk.
pub(super) fn frame_change(body: &[u8]) -> (Hash, Vec<u8>) {
    let hash = hash(CHANGE, body);
    let mut out = Vec::with_capacity(body.len() + 16);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&hash[..4]);
    out.push(CHANGE);
    out.put_bytes(body).expect("a growing buffer is never full");
    (hash, out)
}
