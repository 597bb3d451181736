//! Artefacts on a full node: how they are published, kept, and brought to those who refer to them.
//!
//! What an artefact is, and whom to believe, says [`holdfast_core::artefact`]. [`Publishing`] makes
//! one of a file. The [`shelf`] keeps them in the store, block by block, each checked before it is
//! written, so what was fetched of one is not fetched again. [`Trade`] is what two nodes say to
//! each other about them: a node asks for what its documents refer to, and gets it if theirs do.
//! Byte-exact pages: `docs/formats/artefact.md`, and `docs/formats/exchange.md` for the messages.

mod message;
mod publish;
pub mod shelf;
mod trade;

pub use message::is_message;
pub use publish::{Grant, Publishing, outline};
pub use shelf::Stored;
pub use trade::{Answer, Librarian, Message, Trade};

use crate::Fault;
use ed25519_dalek::{Signature, VerifyingKey};
use holdfast_core::artefact::Distrust;
use holdfast_core::{NodeId, Reject};

/// Why an artefact, or a part of one, is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArtefactError {
    /// Our own fault.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// It does not follow the format.
    #[error(transparent)]
    Reject(#[from] Reject),
    /// Nobody whom the fleet trusts has signed it.
    #[error(transparent)]
    Distrust(#[from] Distrust),
    /// What came is not what its publisher has signed.
    #[error("{0} is not what its publisher has signed")]
    Content(&'static str),
    /// The publisher may publish no more.
    #[error("the certificate of its publisher has ended")]
    Ended,
    /// This node is of no fleet whose publishers it could believe.
    #[error("this node has joined no fleet")]
    NoFleet,
    /// The peer does not have it, or not for this node.
    #[error("the peer does not have it for this node")]
    Lacking,
    /// What has to be here before is not.
    #[error("its manifest or its outline is not here")]
    Unfounded,
    /// It is not the next part.
    #[error("block {got} came where block {expected} was expected")]
    Order {
        /// What came.
        got: u64,
        /// What is lacking.
        expected: u64,
    },
}

/// Whether `signature` is that of `key` over `message`.
#[must_use]
pub fn verify(key: &NodeId, message: &[u8; 32], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(&key.0)
        .is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
}

#[cfg(test)]
mod tests;
