//! Who wrote a cell, in eight bytes: a hash of a node's key or of a device's id.
//!
//! A key has 32 bytes and a device id up to 64; a microcontroller that keeps sixty cells cannot
//! afford either in each of them. A document has few authors, so 64 bits never meet by accident; to
//! meet a given one on purpose takes 2^64 hashes, and gains no right: where a cell enters, its
//! author is worked out anew from the certificate or the token of whoever brings it.

use crate::{Device, NodeId, Reject};
use core::fmt;

/// Separates these hashes from every other use of BLAKE3; part of the format.
const CONTEXT: &str = "holdfast 2026-11 cell author v1";
const NODE: u8 = 1;
const DEVICE: u8 = 2;

/// The author of a cell; ordered as its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Author(pub [u8; 8]);

impl Author {
    /// A node.
    #[must_use]
    pub fn node(node: &NodeId) -> Self {
        Self::derive(NODE, &node.0)
    }

    /// A device that writes its own cells.
    #[must_use]
    pub fn device(device: Device<'_>) -> Self {
        Self::derive(DEVICE, device.as_str().as_bytes())
    }

    fn derive(kind: u8, name: &[u8]) -> Self {
        let mut hash = blake3::Hasher::new_derive_key(CONTEXT);
        hash.update(&[kind]);
        hash.update(name);
        // The first bytes of the longer output are the same, and need code of their own.
        let [a, b, c, d, e, f, g, h, ..] = *hash.finalize().as_bytes();
        Self([a, b, c, d, e, f, g, h])
    }

    /// Reads the 16 lower-case hexadecimal digits that `Display` writes.
    ///
    /// # Errors
    /// [`Reject::Malformed`] for anything else.
    pub fn from_hex(text: &str) -> Result<Self, Reject> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(Reject::Malformed),
        };
        let digits: &[u8; 16] = text.as_bytes().try_into().map_err(|_| Reject::Malformed)?;
        let mut out = [0; 8];
        for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(out))
    }
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Author({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    /// The vectors of `docs/formats/cell.md`.
    #[test]
    fn golden_vectors() {
        assert_eq!(Author::node(&NodeId([7; 32])).to_string(), "8d1ac568ad8c42d5");
        let device = Device::new("pump-1").unwrap();
        assert_eq!(Author::device(device).to_string(), "033fa78f11731c4e");
    }

    #[test]
    fn a_device_is_never_a_node_of_the_same_bytes() {
        let name = "abcdefghijklmnopqrstuvwxyz012345";
        let node = NodeId(name.as_bytes().try_into().unwrap());
        assert_ne!(Author::node(&node), Author::device(Device::new(name).unwrap()));
    }

    #[test]
    fn an_author_reads_back_what_it_shows() {
        let author = Author([0, 1, 0xab, 0xff, 9, 0x10, 0x7f, 0x80]);
        assert_eq!(Author::from_hex(&author.to_string()), Ok(author));
        for wrong in ["", "0001abff09107f8", "0001ABFF09107F80", "+001abff09107f80"] {
            assert_eq!(Author::from_hex(wrong), Err(Reject::Malformed), "{wrong}");
        }
    }
}
