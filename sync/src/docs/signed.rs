//! A signed head: an author's word for all it has written of a document so far.
//!
//! A change names its dependencies by hash, so the hash of the newest change covers every change
//! behind it. What does not come from its author is taken only under such a head, so nobody who
//! relays a change can alter it, and nobody can write in another's name.

use super::chunk::Hash;
use super::{DocumentName, Refusal};
use crate::identity::NodeKey;
use ed25519_dalek::{Signature, VerifyingKey};
use holdfast_core::codec::{Reader, Sink};
use holdfast_core::{NodeId, Reject};

/// Separates this message from everything else that is signed; part of the format.
const CONTEXT: &[u8] = b"holdfast document head\x01";

/// An author's newest change of a document, signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHead {
    /// The author.
    pub author: NodeId,
    /// The hash of its newest change.
    pub head: Hash,
    pub(super) signature: [u8; 64],
}

impl SignedHead {
    /// Signs `head` of `document` with the author's key.
    #[must_use]
    pub fn sign(key: &NodeKey, document: &DocumentName, epoch: u64, head: Hash) -> Self {
        let author = key.id();
        let signature = key.sign(&message(document, epoch, &head, &author));
        Self { author, head, signature }
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// [`Refusal::Signature`] when it is not the author's for this document and epoch.
    pub fn check(&self, document: &DocumentName, epoch: u64) -> Result<(), Refusal> {
        let key = VerifyingKey::from_bytes(&self.author.0).map_err(|_| Refusal::Signature)?;
        let message = message(document, epoch, &self.head, &self.author);
        let checked = key.verify_strict(&message, &Signature::from_bytes(&self.signature));
        checked.map_err(|_| Refusal::Signature)
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) -> Result<(), Reject> {
        out.put(&self.author.0)?;
        out.put(&self.head)?;
        out.put(&self.signature)
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Refusal> {
        let author = NodeId(reader.array()?);
        Ok(Self { author, head: reader.array()?, signature: reader.array()? })
    }
}

fn message(document: &DocumentName, epoch: u64, head: &Hash, author: &NodeId) -> Vec<u8> {
    let mut out = CONTEXT.to_vec();
    let put = |out: &mut Vec<u8>| -> Result<(), Reject> {
        out.put_bytes(document.as_str().as_bytes())?;
        out.put_uint(epoch)?;
        out.put(head)?;
        out.put(&author.0)
    };
    put(&mut out).expect("a growing buffer is never full");
    out
}
