//! Whom the gateway lets write its documents, and for whom they are.
//!
//! All documents of a gateway are for its hub. It takes what the hub has written, and what other
//! gateways of its site have, whose memberships the hub shows: the root key has signed them, so the
//! hub's word is as good as theirs.

use crate::uplink::Fleet;
use holdfast_core::NodeId;
use holdfast_core::artefact::ArtefactId;
use holdfast_core::state;
use holdfast_node::artefacts;
use holdfast_node::conflicts::journal;
use holdfast_node::entitled::{entitled, is_of_node};
use holdfast_node::policies::Policies;
use holdfast_sync::Fault;
use holdfast_sync::artefact::Librarian;
use holdfast_sync::docs::exchange::Steward;
use holdfast_sync::docs::{Applied, Class, DocumentName, Roster};
use holdfast_sync::identity::{FleetId, Grant, Membership, Role};
use holdfast_sync::store::{ReadRecords, Records, Snapshot, Store, WriteError, WriteTx};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// The members that the gateway has heard of since its start, and its site's policy.
pub struct SiteSteward {
    node: NodeId,
    policies: Policies,
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    fleet: Option<FleetId>,
    members: HashMap<NodeId, Grant>,
}

impl SiteSteward {
    /// Loads the policy that the site's document says, and of which site the gateway is.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn load(store: &Store) -> Result<Self, Fault> {
        let (policies, fleet) = store
            .read_blocking(|view: &Snapshot<'_>| Ok((Policies::load(view)?, Fleet::load(view)?)))?;
        let steward = Self { node: store.node(), policies, known: RwLock::default() };
        if let Some(fleet) = fleet {
            steward.know(&fleet.membership);
        }
        Ok(steward)
    }

    /// The gateway's site, once it has joined a fleet.
    #[must_use]
    pub fn site(&self) -> Option<String> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.members.get(&self.node).map(|grant| grant.site.clone())
    }

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

    fn may_cut(&self, node: &NodeId, _: &DocumentName) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.members.get(node).is_some_and(|grant| grant.role == Role::Hub)
    }
}

impl Librarian for SiteSteward {
    fn fleet(&self) -> Option<FleetId> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).fleet
    }

    fn wanted(&self, records: &dyn ReadRecords) -> Result<Option<Vec<ArtefactId>>, Fault> {
        let site = self.site();
        site.map(|site| artefacts::ids(records, &site)).transpose()
    }

    fn may_have(&self, _: &dyn ReadRecords, _: &NodeId, _: &ArtefactId) -> Result<bool, Fault> {
        Ok(false)
    }
}

impl Steward for SiteSteward {
    fn met(&self, membership: &Membership) {
        self.know(membership);
    }

    fn shares(&self, _: &NodeId, _: &DocumentName) -> bool {
        true
    }

    fn policy(&self, document: &DocumentName) -> Arc<[u8]> {
        self.policies.of(self.site().as_deref(), document)
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

    fn keeps(&self, document: &DocumentName) -> bool {
        match document.class() {
            Class::Site => {
                self.site().is_some_and(|site| document.as_str() == format!("site/{site}"))
            }
            Class::Node => is_of_node(document, &self.node),
            _ => true,
        }
    }

    fn written(&self, tx: &mut WriteTx<'_>, document: &DocumentName) -> Result<(), WriteError> {
        Ok(self.policies.learn(tx, document)?)
    }

    fn applied(
        &self,
        tx: &mut WriteTx<'_>,
        _: &NodeId,
        document: &DocumentName,
        applied: &Applied,
    ) -> Result<(), WriteError> {
        self.policies.learn(tx, document)?;
        let now = tx.now();
        Ok(journal::add(tx, document, now, &applied.settled)?)
    }
}
