//! Whom the gateway lets write its documents, and for whom they are.
//!
//! All documents of a gateway are for its hub. It takes what the hub has written, and what other
//! gateways of its site have, whose memberships the hub shows: the root key has signed them, so the
//! hub's word is as good as theirs.

use holdfast_core::NodeId;
use holdfast_core::state;
use holdfast_node::entitled::entitled;
use holdfast_sync::Fault;
use holdfast_sync::docs::exchange::Steward;
use holdfast_sync::docs::{Applied, DocumentName, Roster};
use holdfast_sync::identity::{FleetId, Grant, Membership, Role};
use holdfast_sync::store::{Records, WriteError, WriteTx};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// The members that the gateway has heard of since its start.
#[derive(Default)]
pub struct SiteSteward {
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    fleet: Option<FleetId>,
    members: HashMap<NodeId, Grant>,
}

impl SiteSteward {
    /// Learns of a member of the fleet: the gateway itself, before its hub is met.
    pub fn know(&self, membership: &Membership) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.fleet != Some(membership.fleet()) {
            // It has joined another fleet, whose members are others.
            *known = Known { fleet: Some(membership.fleet()), ..Known::default() };
        }
        known.members.insert(membership.node(), membership.grant().clone());
    }
}

impl Roster for SiteSteward {
    fn role(&self, node: &NodeId, document: &DocumentName) -> Option<state::Role> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        // A device is where its documents are: whoever is of this site may write them.
        known.members.get(node).and_then(|grant| entitled(grant, document, None))
    }
}

impl Steward for SiteSteward {
    fn met(&self, membership: &Membership) {
        self.know(membership);
    }

    fn shares(&self, _: &NodeId, _: &DocumentName) -> bool {
        true
    }

    fn policy(&self, _: &DocumentName) -> Arc<[u8]> {
        state::Policy::LWW.as_bytes().into()
    }

    fn vouch(&self, _: &NodeId) -> Option<Vec<u8>> {
        None
    }

    fn learn(&self, _: &mut dyn Records, peer: &NodeId, bytes: &[u8]) -> Result<(), Fault> {
        let Ok(membership) = Membership::decode(bytes) else {
            tracing::warn!(%peer, "a membership that was shown for another node cannot be read");
            return Ok(());
        };
        let fleet = self.known.read().unwrap_or_else(PoisonError::into_inner).fleet;
        let Some(fleet) = fleet else { return Ok(()) };
        match membership.check(fleet, membership.node(), Role::Edge) {
            Ok(()) => self.know(&membership),
            Err(error) => tracing::warn!(%peer, %error, "a membership shown for another node"),
        }
        Ok(())
    }

    fn applied(
        &self,
        _: &mut WriteTx<'_>,
        _: &NodeId,
        _: &DocumentName,
        _: &Applied,
    ) -> Result<(), WriteError> {
        Ok(())
    }
}
