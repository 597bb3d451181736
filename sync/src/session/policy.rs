//! Who is let in: decided outside the session, asked once per hello.

use super::frame::RefusalCode;
use crate::identity::Membership;
use holdfast_core::NodeId;

/// What is decided about a peer.
#[derive(Clone, Debug)]
pub enum Admission {
    /// It is a peer.
    Admit,
    /// It is a peer and gets a fresh membership.
    Renew(Box<Membership>),
    /// It is refused, with the reason for both logs.
    Refuse(RefusalCode, String),
}

/// Decides who is let in.
pub trait Policy: Send + Sync {
    /// Judges a peer whose key the transport has proven, by the membership it shows.
    fn admit(&self, peer: NodeId, membership: &Membership) -> Admission;
}
