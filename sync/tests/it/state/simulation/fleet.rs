//! Who is who: a hub and gateways in one or two sites, their documents and their stewards.
//!
//! The stewards decide as those of the services do: a hub knows the fleet, gives each site its own
//! documents and shows the memberships of those who wrote them; a gateway knows itself, its hub,
//! and whom the hub has shown to it since its start.

use super::Bug;
use super::rng::Rng;
use holdfast_core::state::{self, Line, Pattern, Policy, Rule};
use holdfast_core::{NodeId, Timestamp};
use holdfast_sync::Fault;
use holdfast_sync::docs::exchange::Steward;
use holdfast_sync::docs::{Applied, Class, DocumentName, Documents, Roster};
use holdfast_sync::env::{Env, Source};
use holdfast_sync::identity::{FleetId, Grant, Membership, NodeKey, Role};
use holdfast_sync::session::{self, Admission, RefusalCode};
use holdfast_sync::store::{ReadRecords, Records, Table, WriteError, WriteTx};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, RwLock};

/// The hub's number among the nodes; all others are gateways.
pub const HUB: usize = 0;
const SITES: [&str; 2] = ["north", "south"];

struct Seeded(Mutex<Rng>);

impl Source for Seeded {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }
    fn monotonic_ms(&self) -> u64 {
        0
    }
    fn entropy(&self) -> u64 {
        self.0.lock().unwrap().next()
    }
    fn fill(&self, out: &mut [u8]) {
        out.fill_with(|| self.entropy() as u8);
    }
}

fn key(seed: u64) -> NodeKey {
    let env: Env = Arc::new(Seeded(Mutex::new(Rng(seed))));
    NodeKey::generate(&env)
}

/// The rule of each first name of a path.
const RULES: [(&str, Rule); 8] = [
    ("last/**", Rule::Lww),
    ("max/**", Rule::Max),
    ("min/**", Rule::Min),
    ("hub/**", Rule::HubWins),
    ("edge/**", Rule::EdgeWins),
    ("keep/**", Rule::KeepAll),
    ("count/*", Rule::Counter),
    ("set/*", Rule::Set),
];

/// The policy of all documents.
pub fn policy() -> Arc<[u8]> {
    let pattern = |text| Pattern::new(text).unwrap();
    let line = |(path, rule)| Line { document: pattern("**"), path: pattern(path), rule };
    let mut out = Vec::new();
    Policy::encode(&RULES.map(line), &mut out).unwrap();
    out.into()
}

/// A fleet.
pub struct Fleet {
    root: NodeId,
    pub keys: Vec<NodeKey>,
    pub memberships: Vec<Membership>,
    numbers: BTreeMap<NodeId, usize>,
}

impl Fleet {
    /// A hub and `gateways` others in `sites` sites.
    pub fn new(seed: u64, gateways: usize, sites: usize) -> Self {
        let root = key(seed);
        let keys: Vec<_> = (0..=gateways as u64).map(|n| key(seed ^ ((n + 1) << 32))).collect();
        let grant = |(n, key): (usize, &NodeKey)| Grant {
            key_id: 1,
            serial: n as u64,
            node: key.id(),
            role: if n == HUB { Role::Hub } else { Role::Edge },
            site: if n == HUB { "hub" } else { SITES[n % sites] }.to_owned(),
            name: format!("node-{n}"),
            not_after_s: 4_000_000_000,
        };
        let memberships =
            keys.iter().enumerate().map(|node| Membership::sign(&root, grant(node)).unwrap());
        let numbers = keys.iter().enumerate().map(|(n, key)| (key.id(), n)).collect();
        Self { root: root.id(), memberships: memberships.collect(), numbers, keys }
    }

    pub fn id(&self) -> FleetId {
        FleetId::of(&self.root)
    }

    pub fn grant(&self, node: usize) -> &Grant {
        self.memberships[node].grant()
    }

    fn find(&self, node: &NodeId) -> Option<&Grant> {
        self.numbers.get(node).map(|number| self.grant(*number))
    }

    /// The documents that `node` writes.
    pub fn documents(&self, node: usize) -> Vec<DocumentName> {
        let mut out = Vec::new();
        let mut sites: Vec<&str> = self.memberships[1..].iter().map(|m| &*m.grant().site).collect();
        sites.sort_unstable();
        sites.dedup();
        for site in sites {
            out.push(format!("site/{site}"));
            for device in ["pump", "door"] {
                out.extend(
                    ["desired", "reported"].map(|class| format!("device/{site}-{device}/{class}")),
                );
            }
        }
        out.extend(self.keys[1..].iter().map(|key| format!("node/{}", key.id())));
        let names = out.into_iter().map(|name| DocumentName::new(&name).unwrap());
        names.filter(|name| entitled(self.grant(node), name, home(name)).is_some()).collect()
    }

    /// Lets in the members of this fleet that are the other role than `role`.
    pub fn policy(&self, role: Role) -> Arc<dyn session::Policy> {
        let other = if role == Role::Hub { Role::Edge } else { Role::Hub };
        Arc::new(Members(self.id(), other))
    }
}

struct Members(FleetId, Role);

impl session::Policy for Members {
    fn admit(&self, peer: NodeId, membership: &Membership) -> Admission {
        match membership.check(self.0, peer, self.1) {
            Ok(()) => Admission::Admit,
            Err(error) => Admission::Refuse(RefusalCode::ForeignFleet, error.to_string()),
        }
    }
}

/// The site that a device's document belongs to, by its name.
fn home(document: &DocumentName) -> Option<&str> {
    document.device().and_then(|device| device.split('-').next())
}

/// The one rule of who may write what, which the services have in `node`.
fn entitled(grant: &Grant, document: &DocumentName, home: Option<&str>) -> Option<state::Role> {
    let class = document.class();
    if grant.role == Role::Hub {
        return (class != Class::Reported).then_some(state::Role::Hub);
    }
    let may = match class {
        Class::Node => document.as_str() == format!("node/{}", grant.node),
        Class::Site => document.as_str() == format!("site/{}", grant.site),
        _ => home.is_none_or(|home| home == grant.site),
    };
    may.then_some(state::Role::Edge)
}

/// What a start of a node decides about documents.
pub struct Stew {
    fleet: Arc<Fleet>,
    is_hub: bool,
    /// A gateway: whom it has heard of.
    members: RwLock<BTreeMap<NodeId, Grant>>,
    /// The hub: which site a device is of, as stored.
    homes: RwLock<BTreeMap<String, String>>,
    policy: Arc<[u8]>,
    bug: Bug,
}

impl Stew {
    /// The steward of a start of `node` over what is on its disk.
    pub fn of_start(
        fleet: &Arc<Fleet>,
        node: usize,
        records: &impl ReadRecords,
        policy: Arc<[u8]>,
        bug: Bug,
    ) -> Self {
        let own = fleet.grant(node).clone();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let homes = records.scan(Table::Home, &[]).unwrap();
        Self {
            fleet: Arc::clone(fleet),
            is_hub: node == HUB,
            members: RwLock::new(BTreeMap::from([(own.node, own)])),
            homes: RwLock::new(homes.into_iter().map(|(k, v)| (text(k), text(v))).collect()),
            policy,
            bug,
        }
    }

    fn home_of(&self, document: &DocumentName) -> Option<String> {
        self.homes.read().unwrap().get(document.device()?).cloned()
    }

    /// What the hub's steward does when changes of `peer` are stored: the first gateway that names
    /// a device says of which site it is.
    pub fn note_home(
        &self,
        documents: &Documents,
        records: &mut impl Records,
        peer: &NodeId,
        document: &DocumentName,
    ) {
        let Some(device) = document.device().filter(|_| self.is_hub) else { return };
        if records.get(Table::Home, device.as_bytes()).unwrap().is_some() {
            return;
        }
        let Some(grant) = self.fleet.find(peer) else { return };
        records.put(Table::Home, device.as_bytes(), grant.site.as_bytes()).unwrap();
        self.homes.write().unwrap().insert(device.to_owned(), grant.site.clone());
        // What the hub has written of it was for nobody until now.
        for class in ["desired", "reported"] {
            let name = DocumentName::new(&format!("device/{device}/{class}")).unwrap();
            documents.offer_anew(records, &name).unwrap();
        }
    }
}

impl Roster for Stew {
    fn role(&self, node: &NodeId, document: &DocumentName) -> Option<state::Role> {
        if self.is_hub {
            let grant = self.fleet.find(node)?;
            return entitled(grant, document, self.home_of(document).as_deref());
        }
        self.members.read().unwrap().get(node).and_then(|grant| entitled(grant, document, None))
    }

    fn may_cut(&self, node: &NodeId, _: &DocumentName) -> bool {
        self.fleet.find(node).is_some_and(|grant| grant.role == Role::Hub)
    }
}

impl Steward for Stew {
    fn met(&self, membership: &Membership) {
        let grant = membership.grant().clone();
        self.members.write().unwrap().insert(grant.node, grant);
    }

    fn shares(&self, peer: &NodeId, document: &DocumentName) -> bool {
        if !self.is_hub {
            return true;
        }
        let Some(grant) = self.fleet.find(peer) else { return false };
        let id = document.as_str().split_once('/').map(|(_, id)| id).unwrap_or_default();
        match document.class() {
            Class::Site => id == grant.site,
            Class::Node => {
                let node = NodeId::from_hex(id).and_then(|node| self.fleet.find(&node));
                node.is_some_and(|node| node.site == grant.site)
            }
            _ => self.home_of(document).as_ref() == Some(&grant.site),
        }
    }

    fn members(&self, document: &DocumentName) -> Option<Vec<NodeId>> {
        let first = if self.bug == Bug::CutsAlone { self.fleet.keys.len() } else { 1 };
        let gateways = || self.fleet.keys[first..].iter().map(NodeKey::id);
        self.is_hub.then(|| gateways().filter(|node| self.shares(node, document)).collect())
    }

    fn policy(&self, _: &DocumentName) -> Arc<[u8]> {
        Arc::clone(&self.policy)
    }

    fn vouch(&self, node: &NodeId) -> Option<Vec<u8>> {
        let number = self.fleet.numbers.get(node)?;
        let shows = self.is_hub && self.bug != Bug::VouchesForNobody;
        shows.then(|| self.fleet.memberships[*number].encode())
    }

    fn learn(&self, _: &mut dyn Records, _: &NodeId, bytes: &[u8]) -> Result<(), Fault> {
        let shown = Membership::decode(bytes).ok().filter(|_| !self.is_hub);
        let Some(membership) = shown else { return Ok(()) };
        if membership.check(self.fleet.id(), membership.node(), Role::Edge).is_ok() {
            self.met(&membership);
        }
        Ok(())
    }

    fn keeps(&self, _: &DocumentName) -> bool {
        true
    }

    fn written(&self, _: &mut WriteTx<'_>, _: &DocumentName) -> Result<(), WriteError> {
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
