//! Who a node is and who may join a fleet.
//!
//! A node is its Ed25519 [`NodeKey`]. The fleet's root key, kept by the hub, signs a [`Membership`]
//! for each node; two members of one fleet trust each other by it alone. A node becomes a member by
//! an [`Invitation`]: one string with the hub's addresses, the fleet's identity and a secret.

mod enrolment;
mod key;
mod membership;

pub use enrolment::{Invitation, Proof, SECRET_BYTES};
pub use holdfast_core::id::FleetId;
pub use key::NodeKey;
pub use membership::{Grant, Membership, MembershipError, Role, valid_name};
