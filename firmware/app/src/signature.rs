//! Whether a publisher has signed something: Ed25519 (RFC 8032), checked only.

use holdfast_core::NodeId;

/// Whether `signature` is that of `key` over `message`.
#[must_use]
pub fn is_by(key: &NodeId, message: &[u8; 32], signature: &[u8; 64]) -> bool {
    let Ok(key) = salty::PublicKey::try_from(&key.0) else { return false };
    key.verify(message, &salty::Signature::from(signature)).is_ok()
}
