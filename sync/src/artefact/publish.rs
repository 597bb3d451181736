//! Publishing: a key, the root key's word for it, and what they make of a file.

use crate::identity::NodeKey;
use holdfast_core::artefact::limits::BLOCK_BYTES;
use holdfast_core::artefact::{
    ArtefactId, Content, Kinds, Manifest, Publisher, block_hash, limits,
};
use holdfast_core::{NodeId, Reject};

/// What the root key grants a publisher.
#[derive(Clone, Debug)]
pub struct Grant<'a> {
    /// Which of the fleet's root keys signs, counted from 1.
    pub key_id: u32,
    /// Counts the certificates of a publisher; a later one replaces an earlier one.
    pub serial: u64,
    /// The publisher's key.
    pub key: NodeId,
    /// The publisher's name.
    pub name: &'a str,
    /// What it may publish; none are all.
    pub kinds: &'a [&'a str],
    /// The end of its validity, in whole seconds since 1970.
    pub not_after_s: i64,
}

/// A publisher's key and its certificate.
#[derive(Clone, Debug)]
pub struct Publishing {
    key: NodeKey,
    certificate: Vec<u8>,
}

impl Publishing {
    /// Has the root key sign a publisher's certificate.
    ///
    /// # Errors
    /// [`Reject::Malformed`] when a name is not one, [`Reject::Full`] when there are too many
    /// kinds.
    pub fn certify(root: &NodeKey, grant: &Grant<'_>) -> Result<Vec<u8>, Reject> {
        let Grant { key_id, serial, key, name, not_after_s, .. } = *grant;
        let kinds = Kinds::of(grant.kinds)?;
        let publisher =
            Publisher { root: root.id(), key_id, serial, key, name, kinds, not_after_s };
        let mut out = Vec::new();
        publisher.encode(&mut out, |digest| root.sign(digest))?;
        Ok(out)
    }

    /// A publisher with its certificate.
    ///
    /// # Errors
    /// What is wrong with the certificate; [`Reject::Checksum`] when it is for another key.
    pub fn new(key: NodeKey, certificate: Vec<u8>) -> Result<Self, Reject> {
        if Publisher::decode(&certificate)?.key != key.id() {
            return Err(Reject::Checksum);
        }
        Ok(Self { key, certificate })
    }

    /// The root key's word for it.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Signs the manifest of a file.
    ///
    /// # Errors
    /// [`Reject::Malformed`] when kind, name or version is not one, [`Reject::Long`] when there is
    /// no content or too much.
    pub fn sign(
        &self,
        (kind, name, version): (&str, &str, &str),
        made_s: i64,
        content: &[u8],
    ) -> Result<(ArtefactId, Vec<u8>), Reject> {
        let (size, hash) = (content.len() as u64, *blake3::hash(content).as_bytes());
        let what = Content { kind, name, version, made_s, size, hash };
        let mut out = Vec::with_capacity(limits::MANIFEST_BYTES);
        let sign = |id: &[u8; 32]| self.key.sign(id);
        let id = Manifest::encode(&mut out, &what, &self.certificate, sign)?;
        Ok((id, out))
    }
}

/// The hashes of the blocks of some content, one behind the other.
#[must_use]
pub fn outline(content: &[u8]) -> Vec<u8> {
    let size = content.len() as u64;
    let blocks = content.chunks(BLOCK_BYTES).enumerate();
    blocks
        .flat_map(|(index, bytes)| {
            block_hash(size, index as u64, bytes).expect("a chunk is a block of its length")
        })
        .collect()
}
