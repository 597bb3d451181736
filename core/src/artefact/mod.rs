//! Artefacts: files that never change, signed by a publisher whom the fleet's root key has named.
//!
//! A [`Manifest`] says what an artefact is, how long it is and what it hashes to, and carries the
//! root key's word for its [`Publisher`]. The content travels in blocks; the [`Outline`] of their
//! hashes leads to the hash in the manifest, so each block is checked as it comes, whoever sends
//! it. Byte-exact page: `docs/formats/artefact.md`.

mod blocks;
mod manifest;
mod publisher;

pub use blocks::{Hasher, Outline, block_hash, block_len, blocks};
pub use manifest::{ArtefactId, Content, Manifest};
pub use publisher::{Kinds, Publisher};

use crate::NodeId;
use core::fmt;

/// Bounds of the formats, each with its reason.
pub mod limits {
    /// Bytes of a block: one page of a microcontroller's large flash sectors, and few enough that
    /// an alert does not wait long behind one on a thin link.
    pub const BLOCK_BYTES: usize = 16 << 10;
    /// Bytes of content: a firmware image of a gateway-sized board.
    pub const CONTENT_BYTES: u64 = 64 << 20;
    /// Bytes of a publisher's certificate.
    pub const PUBLISHER_BYTES: usize = 256;
    /// Bytes of a manifest.
    pub const MANIFEST_BYTES: usize = 512;
    /// Bytes of the name of an artefact or a publisher: as those of sites and nodes.
    pub const NAME_BYTES: usize = 64;
    /// Bytes of the name of a kind.
    pub const KIND_BYTES: usize = 16;
    /// Bytes of a version.
    pub const VERSION_BYTES: usize = 32;
    /// Kinds that a certificate may list.
    pub const KINDS: usize = 4;
}

/// Says whether a key's signature of 32 bytes is right.
pub trait Verify {
    /// Whether `signature` is that of `key` over `message`.
    fn verify(&self, key: &NodeId, message: &[u8; 32], signature: &[u8; 64]) -> bool;
}

impl<F: Fn(&NodeId, &[u8; 32], &[u8; 64]) -> bool> Verify for F {
    fn verify(&self, key: &NodeId, message: &[u8; 32], signature: &[u8; 64]) -> bool {
        self(key, message, signature)
    }
}

/// Why an artefact is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// The publisher was named by the root key of another fleet.
    Foreign,
    /// The signature of the publisher's certificate is not the root key's.
    Certificate,
    /// The publisher may not publish this kind.
    Kind,
    /// The signature of the manifest is not the publisher's.
    Signature,
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Foreign => "its publisher is of another fleet",
            Self::Certificate => "the root key has not signed its publisher's certificate",
            Self::Kind => "its publisher may not publish this kind",
            Self::Signature => "its publisher has not signed it",
        })
    }
}

impl core::error::Error for Distrust {}

/// Whether `name` can name an artefact or a publisher, or be a version.
fn is_name(name: &str, max: usize) -> bool {
    (1..=max).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn is_kind(kind: &str) -> bool {
    (1..=limits::KIND_BYTES).contains(&kind.len())
        && kind.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests;
