//! Whom the hub lets write documents, and for which gateways they are.
//!
//! A document is for the gateways of its site. A device is of the site whose gateway named it
//! first, by a document or by a reading, so that no gateway can take over another site's device by
//! its name alone.

use crate::fleet::Fleet;
use holdfast_core::NodeId;
use holdfast_core::artefact::ArtefactId;
use holdfast_core::codec::{Reader, Sink};
use holdfast_core::state;
use holdfast_node::artefacts;
use holdfast_node::conflicts::journal;
use holdfast_node::entitled::entitled;
use holdfast_node::pipeline::Catalog;
use holdfast_node::policies::Policies;
use holdfast_node::twins::Section;
use holdfast_sync::Fault;
use holdfast_sync::artefact::Librarian;
use holdfast_sync::docs::exchange::Steward;
use holdfast_sync::docs::{Applied, Class, DocumentName, Documents, Roster};
use holdfast_sync::identity::{FleetId, Membership, Role};
use holdfast_sync::store::{ReadRecords, Records, Snapshot, Store, Table, WriteError, WriteTx};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

const SITE_MAX: usize = 64;

/// What the hub knows of nodes, devices and sites.
pub struct FleetSteward {
    documents: Arc<Documents>,
    fleet: Fleet,
    catalog: Arc<Catalog>,
    /// Sites of devices, as stored, or as the catalog says of those that have no document.
    homes: RwLock<HashMap<String, String>>,
    policies: Policies,
}

impl FleetSteward {
    /// Loads what is known of the devices.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn load(
        store: &Store,
        documents: Arc<Documents>,
        fleet: Fleet,
        catalog: Arc<Catalog>,
    ) -> Result<Self, Fault> {
        let (homes, policies) = store.read_blocking(|view: &Snapshot<'_>| {
            let records = view.scan(Table::Home, &[], &[], usize::MAX)?;
            let homes = records.iter().map(|(key, value)| decode(key, value));
            Ok((homes.collect::<Result<_, Fault>>()?, Policies::load(view)?))
        })?;
        Ok(Self { documents, fleet, catalog, homes: RwLock::new(homes), policies })
    }

    /// The site of a device, if any gateway has named it.
    #[must_use]
    pub fn home(&self, device: &str) -> Option<String> {
        let known = self.homes.read().unwrap_or_else(PoisonError::into_inner).get(device).cloned();
        known.or_else(|| {
            let first = self.catalog.list(|series| *series.device == *device);
            let first = first.into_iter().min_by_key(|(series, _)| series.no)?;
            let site = self.fleet.grant(&first.0.origin)?.site;
            self.keep(device, &site);
            Some(site)
        })
    }

    fn keep(&self, device: &str, site: &str) {
        let mut homes = self.homes.write().unwrap_or_else(PoisonError::into_inner);
        homes.insert(device.to_owned(), site.to_owned());
    }

    fn home_of(&self, document: &DocumentName) -> Option<String> {
        document.device().and_then(|device| self.home(device))
    }
}

fn decode(key: &[u8], value: &[u8]) -> Result<(String, String), Fault> {
    let device = std::str::from_utf8(key).map_err(|_| Fault::damaged("home record", "its key"))?;
    let mut reader = Reader::new(value);
    let site =
        reader.str(SITE_MAX).map_err(|reject| Fault::damaged("home record", reject.code()))?;
    Ok((device.to_owned(), site.to_owned()))
}

fn encode(site: &str) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_bytes(site.as_bytes()).expect("a growing buffer is never full");
    out
}

impl Roster for FleetSteward {
    fn role(&self, node: &NodeId, document: &DocumentName) -> Option<state::Role> {
        let grant = self.fleet.grant(node)?;
        entitled(&grant, document, self.home_of(document).as_deref())
    }

    fn may_cut(&self, node: &NodeId, _: &DocumentName) -> bool {
        self.fleet.grant(node).is_some_and(|grant| grant.role == Role::Hub)
    }
}

impl Librarian for FleetSteward {
    fn fleet(&self) -> Option<FleetId> {
        Some(self.fleet.id())
    }

    fn wanted(&self, _: &dyn ReadRecords) -> Result<Option<Vec<ArtefactId>>, Fault> {
        Ok(None)
    }

    fn may_have(
        &self,
        records: &dyn ReadRecords,
        peer: &NodeId,
        id: &ArtefactId,
    ) -> Result<bool, Fault> {
        let Some(site) = self.fleet.grant(peer).map(|grant| grant.site) else { return Ok(false) };
        Ok(artefacts::ids(records, &site)?.contains(id))
    }
}

impl Steward for FleetSteward {
    fn met(&self, _: &Membership) {}

    fn shares(&self, peer: &NodeId, document: &DocumentName) -> bool {
        let Some(site) = self.fleet.grant(peer).map(|grant| grant.site) else { return false };
        let id = document.as_str().split_once('/').map(|(_, id)| id).unwrap_or_default();
        match document.class() {
            Class::Site => id == site,
            Class::Node => {
                let node = NodeId::from_hex(id).and_then(|node| self.fleet.grant(&node));
                node.is_some_and(|grant| grant.site == site)
            }
            _ => self.home_of(document) == Some(site),
        }
    }

    fn members(&self, document: &DocumentName) -> Option<Vec<NodeId>> {
        let nodes = self.fleet.members().into_iter().map(|member| member.membership.node());
        Some(nodes.filter(|node| self.shares(node, document)).collect())
    }

    fn policy(&self, document: &DocumentName) -> Arc<[u8]> {
        let home = match document.class() {
            Class::Node => {
                let node = document.as_str().strip_prefix("node/").and_then(NodeId::from_hex);
                node.and_then(|node| self.fleet.grant(&node)).map(|grant| grant.site)
            }
            _ => self.home_of(document),
        };
        self.policies.of(home.as_deref(), document)
    }

    fn vouch(&self, node: &NodeId) -> Option<Vec<u8>> {
        self.fleet.membership_of(node).map(|membership| membership.encode())
    }

    fn learn(&self, _: &mut dyn Records, peer: &NodeId, _: &[u8]) -> Result<(), Fault> {
        tracing::warn!(%peer, "a gateway vouches for another node, which is the hub's to do");
        Ok(())
    }

    fn keeps(&self, document: &DocumentName) -> bool {
        let id = document.as_str().split_once('/').map(|(_, id)| id).unwrap_or_default();
        match document.class() {
            Class::Site => self.fleet.has_site(id),
            Class::Node => {
                NodeId::from_hex(id).is_some_and(|node| self.fleet.grant(&node).is_some())
            }
            _ => self.home_of(document).is_some(),
        }
    }

    fn written(&self, tx: &mut WriteTx<'_>, document: &DocumentName) -> Result<(), WriteError> {
        Ok(self.policies.learn(tx, document)?)
    }

    fn applied(
        &self,
        tx: &mut WriteTx<'_>,
        peer: &NodeId,
        document: &DocumentName,
        applied: &Applied,
    ) -> Result<(), WriteError> {
        self.policies.learn(tx, document)?;
        let now = tx.now();
        journal::add(tx, document, now, &applied.settled)?;
        let Some(device) = document.device() else { return Ok(()) };
        if ReadRecords::get(tx, Table::Home, device.as_bytes())?.is_some() {
            return Ok(());
        }
        let site = self.home(device).or_else(|| Some(self.fleet.grant(peer)?.site));
        if let Some(site) = site {
            tx.put(Table::Home, device.as_bytes(), &encode(&site))?;
            self.keep(device, &site);
            // What was here of the device before it had a site was for nobody, and the cursors of
            // the site's gateways have passed it.
            for section in Section::ALL {
                if let Some(name) = section.document(device) {
                    self.documents.offer_anew(tx, &name)?;
                }
            }
        }
        Ok(())
    }
}
