//! The fleet: who is a member, who may join, who was removed.
//!
//! Members and invitations are records of the store; a copy of the members in memory answers the
//! question that every session asks. A removed member's record stays, so that it is told so.

use futures::FutureExt;
use futures::future::BoxFuture;
use holdfast_core::codec::{Reader, Sink};
use holdfast_core::log::events::{Event, Severity};
use holdfast_core::{NodeId, Reject, Timestamp};
use holdfast_node::api::Nodes;
use holdfast_sync::Fault;
use holdfast_sync::identity::{
    FleetId, Grant, Invitation, Membership, NodeKey, Proof, Role, valid_name,
};
use holdfast_sync::net::{Enroller, Joined, Refusal};
use holdfast_sync::session::{Admission, Policy, RefusalCode};
use holdfast_sync::store::{Snapshot, Store, Table, WriteError, WriteTx};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// What the hub itself is called; a gateway has a site before its name.
const HUB: &str = "hub";
const META_SERIAL: &[u8] = b"serial";
const NAME_MAX: usize = 64;
const HUB_YEARS_S: i64 = 30 * 365 * 86_400;

/// A member, or one that was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its newest membership.
    pub membership: Membership,
    /// When it joined.
    pub joined: Timestamp,
    /// When it was removed, if it was.
    pub removed: Option<Timestamp>,
}

impl Member {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut put = || -> Result<(), Reject> {
            out.put_int(self.joined.0)?;
            out.put_int(self.removed.map_or(i64::MIN, |time| time.0))?;
            out.put(&self.membership.encode())
        };
        put().expect("a growing buffer is never full");
        out
    }

    fn decode(value: &[u8]) -> Result<Self, Fault> {
        let damaged = |text: String| Fault::damaged("member record", text);
        let mut reader = Reader::new(value);
        let mut time = || reader.int().map_err(|reject| damaged(reject.to_string()));
        let (joined, removed) = (Timestamp(time()?), time()?);
        let removed = Some(removed).filter(|at| *at != i64::MIN).map(Timestamp);
        let membership = Membership::decode(reader.rest()).map_err(|e| damaged(e.to_string()))?;
        Ok(Self { membership, joined, removed })
    }

    /// `site/name`.
    #[must_use]
    pub fn called(&self) -> String {
        let grant = self.membership.grant();
        format!("{}/{}", grant.site, grant.name)
    }
}

/// An invitation that was given out.
struct Invited {
    key: [u8; 32],
    site: String,
    name: String,
    expires: Timestamp,
    used_by: Option<NodeId>,
}

impl Invited {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut put = || -> Result<(), Reject> {
            out.put(&self.key)?;
            out.put_bytes(self.site.as_bytes())?;
            out.put_bytes(self.name.as_bytes())?;
            out.put_int(self.expires.0)?;
            match &self.used_by {
                Some(node) => out.put(&node.0),
                None => Ok(()),
            }
        };
        put().expect("a growing buffer is never full");
        out
    }

    fn decode(value: &[u8]) -> Result<Self, Fault> {
        let read = || -> Result<Self, Reject> {
            let mut reader = Reader::new(value);
            Ok(Self {
                key: reader.array()?,
                site: reader.str(NAME_MAX)?.to_owned(),
                name: reader.str(NAME_MAX)?.to_owned(),
                expires: Timestamp(reader.int()?),
                used_by: match reader.rest() {
                    [] => None,
                    _ => Some(NodeId(reader.array()?)),
                },
            })
        };
        read().map_err(|reject| Fault::damaged("invitation record", reject.code()))
    }
}

/// Why a change of the fleet was not made.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// A name that cannot name a site or node.
    #[error("`{0}` is not a name: 1 to 64 characters of A-Z a-z 0-9 . _ -")]
    Name(String),
    /// A name that is taken.
    #[error("{0} is a member already: remove it first, or take another name")]
    Taken(String),
    /// Nobody is called so.
    #[error("there is no node {0}")]
    Unknown(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] WriteError),
}

/// The fleet's book; clones share it.
#[derive(Clone)]
pub struct Fleet {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    root: NodeKey,
    hub: Membership,
    life: Duration,
    invitation_life: Duration,
    members: RwLock<HashMap<NodeId, Member>>,
}

fn after(now: Timestamp, life: Duration) -> Timestamp {
    now.saturating_add(i64::try_from(life.as_nanos()).unwrap_or(i64::MAX))
}

/// The next serial number; it never repeats, whatever is removed.
fn next_serial(tx: &mut WriteTx<'_>) -> Result<u64, Fault> {
    let stored = tx.view().get(Table::Meta, META_SERIAL)?;
    let last = stored.as_deref().and_then(|value| value.first_chunk::<8>());
    let next = last.map_or(0, |bytes| u64::from_be_bytes(*bytes)) + 1;
    tx.put(Table::Meta, META_SERIAL, &next.to_be_bytes())?;
    Ok(next)
}

impl Fleet {
    /// Loads the members of a store.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn load(
        store: Store,
        root: NodeKey,
        life: Duration,
        invitation_life: Duration,
    ) -> Result<Self, Fault> {
        let members = store.read_blocking(|view: &Snapshot<'_>| {
            let records = view.scan(Table::Member, &[], &[], usize::MAX)?;
            let members = records.iter().map(|(_, value)| {
                let member = Member::decode(value)?;
                Ok((member.membership.node(), member))
            });
            members.collect::<Result<HashMap<_, _>, Fault>>()
        })?;
        let grant = Grant {
            key_id: 1,
            serial: 0,
            node: store.node(),
            role: Role::Hub,
            site: HUB.to_owned(),
            name: HUB.to_owned(),
            not_after_s: store.env().now().seconds().saturating_add(HUB_YEARS_S),
        };
        let hub = Membership::sign(&root, grant).expect("`hub` is a valid name");
        let members = RwLock::new(members);
        let inner = Inner { store, root, hub, life, invitation_life, members };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The fleet's identity.
    #[must_use]
    pub fn id(&self) -> FleetId {
        self.inner.hub.fleet()
    }

    fn read<T>(&self, look: impl FnOnce(&HashMap<NodeId, Member>) -> T) -> T {
        look(&self.inner.members.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn keep(&self, member: Member) {
        let mut members = self.inner.members.write().unwrap_or_else(PoisonError::into_inner);
        members.insert(member.membership.node(), member);
    }

    /// The members, by site and name; removed ones are left out.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        let mut out: Vec<_> = self.read(|members| {
            members.values().filter(|member| member.removed.is_none()).cloned().collect()
        });
        out.sort_by_key(Member::called);
        out
    }

    /// The sites of its members.
    #[must_use]
    pub fn sites(&self) -> Vec<String> {
        let sites: BTreeSet<String> =
            self.members().into_iter().map(|m| m.membership.grant().site.clone()).collect();
        sites.into_iter().collect()
    }

    /// Whether any gateway is of this site.
    #[must_use]
    pub fn has_site(&self, site: &str) -> bool {
        self.read(|members| members.values().any(|m| m.membership.grant().site == site))
    }

    /// The newest membership of a member, or of one that was.
    #[must_use]
    pub fn membership_of(&self, node: &NodeId) -> Option<Membership> {
        self.read(|members| members.get(node).map(|member| member.membership.clone()))
    }

    /// What a member, one that was, or this hub has been granted.
    #[must_use]
    pub fn grant(&self, node: &NodeId) -> Option<Grant> {
        if *node == self.inner.store.node() {
            return Some(self.inner.hub.grant().clone());
        }
        self.read(|members| members.get(node).map(|member| member.membership.grant().clone()))
    }

    /// The member called `site/name`.
    #[must_use]
    pub fn called(&self, name: &str) -> Option<Member> {
        self.members().into_iter().find(|member| member.called() == name)
    }

    /// Invites a node by name; the secret is in the string and nowhere else.
    ///
    /// # Errors
    /// [`FleetError`].
    pub async fn invite(
        &self,
        site: &str,
        name: &str,
        addresses: Vec<String>,
    ) -> Result<Invitation, FleetError> {
        for part in [site, name] {
            if !valid_name(part) {
                return Err(FleetError::Name(part.to_owned()));
            }
        }
        let called = format!("{site}/{name}");
        if self.called(&called).is_some() {
            return Err(FleetError::Taken(called));
        }
        let env = self.inner.store.env();
        let invitation = Invitation::new(self.id(), addresses, env);
        let invited = Invited {
            key: invitation.proof_key(),
            site: site.to_owned(),
            name: name.to_owned(),
            expires: after(env.now(), self.inner.invitation_life),
            used_by: None,
        };
        let key = invitation.secret_id();
        let write =
            move |tx: &mut WriteTx<'_>| Ok(tx.put(Table::Enrolment, &key, &invited.encode())?);
        self.inner.store.write(write).await?;
        Ok(invitation)
    }

    /// Removes a member: it is told so and not let in any more. Its history stays.
    ///
    /// # Errors
    /// [`FleetError`].
    pub async fn remove(&self, name: &str) -> Result<NodeId, FleetError> {
        let Some(mut member) = self.called(name) else {
            return Err(FleetError::Unknown(name.to_owned()));
        };
        let node = member.membership.node();
        member.removed = Some(self.inner.store.env().now());
        let value = member.encode();
        let write = move |tx: &mut WriteTx<'_>| Ok(tx.put(Table::Member, &node.0, &value)?);
        self.inner.store.write(write).await?;
        self.keep(member);
        Ok(node)
    }

    /// A fresh membership for a member whose time runs out; it is stored behind the session's back.
    fn renew(&self, member: &Member, now: Timestamp) -> Option<Membership> {
        let grant = member.membership.grant();
        let left = grant.not_after_s.saturating_sub(now.seconds());
        let life = i64::try_from(self.inner.life.as_secs()).unwrap_or(i64::MAX);
        if left > life / 3 {
            return None;
        }
        let not_after_s = after(now, self.inner.life).seconds();
        let grant = Grant { serial: grant.serial + 1, not_after_s, ..grant.clone() };
        let membership = Membership::sign(&self.inner.root, grant).ok()?;
        let member = Member { membership: membership.clone(), ..member.clone() };
        self.keep_stored(member, None);
        Some(membership)
    }

    /// Takes a node in that shows a membership of this fleet and is not in the book. The root key
    /// has signed it and no member ever leaves the book, so the book is older: the hub was restored
    /// or repaired.
    fn adopt(&self, membership: &Membership) -> Result<(), String> {
        let now = self.inner.store.env().now();
        let member = Member { membership: membership.clone(), joined: now, removed: None };
        let called = member.called();
        if self.called(&called).is_some() {
            return Err(format!(
                "this hub has lost its record of the node, and another one is called {called} by \
                 now: remove one of them"
            ));
        }
        let text = format!(
            "gateway {called} was let in by its membership alone, which this hub has no record of: \
             the hub was restored from a backup of before it joined; if it had been removed since, \
             remove it again"
        );
        tracing::warn!("{text}");
        self.keep_stored(member, Some(text));
        Ok(())
    }

    /// Keeps a member, and stores it behind the session's back, with a notice for the log.
    fn keep_stored(&self, member: Member, notice: Option<String>) {
        self.keep(member.clone());
        let store = self.inner.store.clone();
        tokio::spawn(async move {
            let node = member.membership.node();
            let value = member.encode();
            let write = move |tx: &mut WriteTx<'_>| {
                if let Some(text) = &notice {
                    let (severity, code) = (Severity::Warning, "member-adopted");
                    tx.append_events(&[Event::Notice { severity, code, text }])?;
                }
                Ok(tx.put(Table::Member, &node.0, &value)?)
            };
            if let Err(error) = store.write(write).await {
                tracing::warn!(%error, "a member was not stored: it is kept anew when it comes");
            }
        });
    }

    fn admit_node(&self, request: Joined) -> BoxFuture<'static, Result<Membership, Refusal>> {
        let this = self.clone();
        async move {
            let (root, life) = (this.inner.root.clone(), this.inner.life);
            let hub = this.inner.store.node();
            let written = this.inner.store.write(move |tx| join(tx, &request, &root, hub, life));
            match written.await {
                Ok((_committed, member)) => {
                    let membership = member.membership.clone();
                    this.keep(member);
                    Ok(membership)
                }
                Err(WriteError::Refused(reason)) => Err(Refusal(reason)),
                Err(error) => {
                    tracing::error!(%error, "an enrolment could not be stored");
                    Err(Refusal("the hub cannot store it at the moment".to_owned()))
                }
            }
        }
        .boxed()
    }
}

/// Uses an invitation: proof, name and secret are checked and used up in one transaction.
fn join(
    tx: &mut WriteTx<'_>,
    request: &Joined,
    root: &NodeKey,
    hub: NodeId,
    life: Duration,
) -> Result<Member, WriteError> {
    let refuse = |reason: &str| WriteError::Refused(reason.to_owned());
    let found = tx.view().get(Table::Enrolment, &request.secret_id)?;
    let mut invited = match found {
        Some(value) => Invited::decode(&value)?,
        None => return Err(refuse("this invitation is not known here: ask for a new one")),
    };
    let expected = Proof::new(&invited.key, &request.node, &hub, &request.nonces);
    if expected != request.proof {
        return Err(refuse("the proof of the invitation's secret is wrong"));
    }
    let now = tx.now();
    let earlier = tx.view().get(Table::Member, &request.node.0)?;
    let earlier = earlier.map(|value| Member::decode(&value)).transpose()?;
    match invited.used_by {
        // The answer was lost on its way: it is given again.
        Some(node) if node == request.node => {
            let same = earlier.filter(|member| member.removed.is_none());
            return same.ok_or_else(|| refuse("this node was removed from the fleet"));
        }
        Some(_) => return Err(refuse("this invitation was used by another node")),
        None if now > invited.expires => return Err(refuse("this invitation has expired")),
        None => {}
    }
    for (_, value) in tx.view().scan(Table::Member, &[], &[], usize::MAX)? {
        let member = Member::decode(&value)?;
        let same_name = member.called() == format!("{}/{}", invited.site, invited.name);
        if same_name && member.removed.is_none() && member.membership.node() != request.node {
            return Err(refuse("the name was taken by another node meanwhile"));
        }
    }
    let grant = Grant {
        key_id: 1,
        serial: next_serial(tx)?,
        node: request.node,
        role: Role::Edge,
        site: invited.site.clone(),
        name: invited.name.clone(),
        not_after_s: after(now, life).seconds(),
    };
    let membership = Membership::sign(root, grant)?;
    let member = Member { membership, joined: now, removed: None };
    tx.put(Table::Member, &request.node.0, &member.encode())?;
    invited.used_by = Some(request.node);
    tx.put(Table::Enrolment, &request.secret_id, &invited.encode())?;
    Ok(member)
}

impl Policy for Fleet {
    fn admit(&self, peer: NodeId, membership: &Membership) -> Admission {
        // The end of its session is logged, with this reason.
        let refuse = Admission::Refuse;
        if let Err(error) = membership.check(self.id(), peer, Role::Edge) {
            let foreign = membership.fleet() != self.id();
            let code = if foreign { RefusalCode::ForeignFleet } else { RefusalCode::Membership };
            return refuse(code, error.to_string());
        }
        let Some(member) = self.read(|members| members.get(&peer).cloned()) else {
            return match self.adopt(membership) {
                Ok(()) => Admission::Admit,
                Err(reason) => refuse(RefusalCode::Unknown, reason),
            };
        };
        if let Some(at) = member.removed {
            let when = holdfast_node::time_text::format(at);
            let reason = format!("{} was removed from the fleet at {when}", member.called());
            return refuse(RefusalCode::Removed, reason);
        }
        let mut member = member;
        if membership.grant().serial > member.membership.grant().serial {
            // It was renewed by a state of this hub that is lost.
            member.membership = membership.clone();
            self.keep_stored(member.clone(), None);
        }
        let now = self.inner.store.env().now();
        if let Some(fresh) = self.renew(&member, now) {
            return Admission::Renew(Box::new(fresh));
        }
        if member.membership.grant().serial > membership.grant().serial {
            return Admission::Renew(Box::new(member.membership));
        }
        Admission::Admit
    }
}

impl Enroller for Fleet {
    fn membership(&self) -> Vec<u8> {
        self.inner.hub.encode()
    }

    fn enrol(&self, request: Joined) -> BoxFuture<'static, Result<Membership, Refusal>> {
        self.admit_node(request)
    }
}

impl Nodes for Fleet {
    fn name(&self, node: &NodeId) -> String {
        if *node == self.inner.store.node() {
            return HUB.to_owned();
        }
        self.read(|members| members.get(node).map(Member::called))
            .unwrap_or_else(|| node.to_string())
    }

    fn find(&self, name: &str) -> Option<NodeId> {
        if name == HUB {
            return Some(self.inner.store.node());
        }
        if let Some(node) = NodeId::from_hex(name) {
            return Some(node);
        }
        self.called(name).map(|member| member.membership.node())
    }
}
