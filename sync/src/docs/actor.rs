//! Who stands behind an actor: a node in one of its starts, for one document and epoch.
//!
//! The engine names writers by actors, and an actor's changes are numbered. A number that is given
//! twice wedges two replicas for good, so an actor never outlives a start of its node. It is a hash
//! of node and start: whoever knows both can work it out, and nobody has to believe a claim.

use super::{DocumentName, Refusal};
use holdfast_core::codec::{Reader, Sink};
use holdfast_core::{Incarnation, NodeId, Reject};
use sha2::{Digest as _, Sha256};

/// Separates this hash from every other use of SHA-256; part of the format.
const CONTEXT: &[u8] = b"holdfast document actor\x01";

/// An actor.
pub(super) type Actor = [u8; 16];

/// A node and one of its starts, for which an actor stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Introduction {
    /// The node.
    pub node: NodeId,
    /// Its start.
    pub incarnation: Incarnation,
}

impl Introduction {
    /// The actor of this node and start in `document`.
    #[must_use]
    pub fn actor(&self, document: &DocumentName, epoch: u64) -> [u8; 16] {
        let mut named = CONTEXT.to_vec();
        let put = |out: &mut Vec<u8>| -> Result<(), Reject> {
            out.put(&self.node.0)?;
            out.put_bytes(document.as_str().as_bytes())?;
            out.put_uint(epoch)?;
            out.put_uint(self.incarnation.boot)?;
            out.put(&self.incarnation.nonce.to_le_bytes())
        };
        put(&mut named).expect("a growing buffer is never full");
        let hash: [u8; 32] = Sha256::digest(&named).into();
        *hash.first_chunk().expect("32 bytes begin with 16")
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) -> Result<(), Reject> {
        out.put(&self.node.0)?;
        out.put_uint(self.incarnation.boot)?;
        out.put(&self.incarnation.nonce.to_le_bytes())
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Refusal> {
        let node = NodeId(reader.array()?);
        let boot = reader.uint()?;
        let nonce = u64::from_le_bytes(reader.array()?);
        Ok(Self { node, incarnation: Incarnation { boot, nonce } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of `docs/formats/document.md`.
    #[test]
    fn golden_vector() {
        let incarnation = Incarnation { boot: 3, nonce: 0x0807_0605_0403_0201 };
        let who = Introduction { node: NodeId([7; 32]), incarnation };
        let document = DocumentName::new("device/pump-1/desired").unwrap();
        let actor = who.actor(&document, 0);
        assert_eq!(data_encoding::HEXLOWER.encode(&actor), "1e461b6e0f82ba33d718dc4ab965c5e9");
        let other = DocumentName::new("device/pump-2/desired").unwrap();
        assert_ne!(who.actor(&other, 0), actor);
        assert_ne!(who.actor(&document, 1), actor);
        let mut bytes = Vec::new();
        who.put(&mut bytes).unwrap();
        assert_eq!(Introduction::read(&mut Reader::new(&bytes)), Ok(who));
    }
}
