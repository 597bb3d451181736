//! The hash chain over commits, and what a checkpoint signs.

use crate::{ChainId, Seq};

/// Separates our hashes from every other use of BLAKE3; part of the format.
const LINK_CONTEXT: &str = "holdfast 2026-11 log link v1";
/// What every signed checkpoint starts with; part of the format.
pub const CHECKPOINT_CONTEXT: &[u8; 24] = b"holdfast log checkpoint\x01";
/// Bytes of the message a checkpoint signs.
pub const CHECKPOINT_BYTES: usize = 24 + 32 + 8 + 8 + 1 + 8 + 32;

/// The running hash of a chain after some commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Link(pub [u8; 32]);

impl Link {
    /// The link before the first commit of any chain.
    pub const START: Self = Self([0; 32]);

    /// The link after a commit: BLAKE3 over this link, the chain's name, first sequence, count and
    /// canonical body, integers as little-endian words.
    #[must_use]
    pub fn next(self, chain: &ChainId, first: Seq, count: u32, body: &[u8]) -> Self {
        let mut hash = blake3::Hasher::new_derive_key(LINK_CONTEXT);
        hash.update(&self.0);
        hash.update(&chain.origin.0);
        hash.update(&chain.incarnation.boot.to_le_bytes());
        hash.update(&chain.incarnation.nonce.to_le_bytes());
        hash.update(&[chain.stream as u8]);
        hash.update(&first.to_le_bytes());
        hash.update(&count.to_le_bytes());
        hash.update(body);
        Self(*hash.finalize().as_bytes())
    }
}

/// The message that the origin signs with its node key to vouch for a chain up to `seq`.
#[must_use]
pub fn checkpoint_message(chain: &ChainId, seq: Seq, link: &Link) -> [u8; CHECKPOINT_BYTES] {
    let mut out = [0; CHECKPOINT_BYTES];
    let mut at = 0;
    for part in [
        CHECKPOINT_CONTEXT.as_slice(),
        &chain.origin.0,
        &chain.incarnation.boot.to_le_bytes(),
        &chain.incarnation.nonce.to_le_bytes(),
        &[chain.stream as u8],
        &seq.to_le_bytes(),
        &link.0,
    ] {
        out[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Incarnation, NodeId, Stream};
    use std::format;
    use std::string::String;

    fn chain(stream: Stream) -> ChainId {
        ChainId {
            origin: NodeId([7; 32]),
            incarnation: Incarnation { boot: 3, nonce: 0x0102_0304_0506_0708 },
            stream,
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn golden_vectors() {
        let link = Link::START.next(&chain(Stream::Reading), 1, 2, b"body");
        assert_eq!(hex(&link.0), GOLDEN_LINK);
        let message = checkpoint_message(&chain(Stream::Reading), 2, &link);
        assert_eq!(hex(blake3::hash(&message).as_bytes()), GOLDEN_MESSAGE_HASH);
    }

    #[test]
    fn every_part_counts() {
        let base = Link::START.next(&chain(Stream::Reading), 1, 2, b"body");
        for other in [
            Link([1; 32]).next(&chain(Stream::Reading), 1, 2, b"body"),
            Link::START.next(&chain(Stream::Event), 1, 2, b"body"),
            Link::START.next(&chain(Stream::Reading), 2, 2, b"body"),
            Link::START.next(&chain(Stream::Reading), 1, 3, b"body"),
            Link::START.next(&chain(Stream::Reading), 1, 2, b"bodY"),
        ] {
            assert_ne!(base, other);
        }
    }

    const GOLDEN_LINK: &str = "a9a2374fe0d488ca8d36114f2773bc7663a296a2f469f0b7cdd766b2c8185d32";
    const GOLDEN_MESSAGE_HASH: &str =
        "8b801781c6f81d085237508b38eaeadec99d82c4e9b404a29ba4fb66fc6dd490";
}
