//! Membership: the fleet's root key vouches for a node, its site, its name and its role.
//!
//! A membership says which key signed it, has a serial number and an end. A node shows it in the
//! handshake of our protocol; whoever knows the fleet can check it without any network. Byte-exact
//! page: `docs/formats/identity.md`.

use super::NodeKey;
use ed25519_dalek::{Signature, VerifyingKey};
use holdfast_core::codec::{Reader, Sink};
use holdfast_core::id::FleetId;
use holdfast_core::{NodeId, Reject, Timestamp};
use std::fmt;

const FORMAT: u8 = 1;
const CONTEXT: &[u8] = b"holdfast membership\x01";
const NAME_MAX: usize = 64;

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    /// The hub.
    Hub = 1,
    /// A gateway.
    Edge = 2,
}

/// What a membership grants, before it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Which of the fleet's root keys signs, counted from 1.
    pub key_id: u32,
    /// Counts the memberships signed; a node's later one replaces its earlier one.
    pub serial: u64,
    /// The member.
    pub node: NodeId,
    /// What it may do.
    pub role: Role,
    /// Its site.
    pub site: String,
    /// Its name within the site.
    pub name: String,
    /// The end of its validity, in whole seconds since 1970.
    pub not_after_s: i64,
}

/// The root key's word for a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    root: NodeId,
    grant: Grant,
    signature: [u8; 64],
}

/// Why a membership does not make its bearer a peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// The bytes are not a membership.
    #[error("the membership cannot be read: {0}")]
    Malformed(#[from] Reject),
    /// The signature is not the root key's.
    #[error("the membership's signature is wrong")]
    Signature,
    /// It belongs to another fleet.
    #[error("the membership is of fleet {found}, not of ours, {ours}")]
    Foreign {
        /// The other fleet.
        found: String,
        /// Our fleet.
        ours: String,
    },
    /// It was made for another node.
    #[error("the membership was made for node {made_for}, not for {bearer}")]
    Bearer {
        /// Whom it was made for.
        made_for: String,
        /// Who showed it.
        bearer: String,
    },
    /// It has another role than is needed here.
    #[error("the membership is for another role")]
    Role,
}

/// Whether `name` can name a site or a node: 1 to 64 characters of `A-Z a-z 0-9 . _ -`.
#[must_use]
pub fn valid_name(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

impl Membership {
    /// Signs `grant` with the fleet's root key.
    ///
    /// # Errors
    /// [`Reject::Device`] when site or name is not a [`valid_name`].
    pub fn sign(root: &NodeKey, grant: Grant) -> Result<Self, Reject> {
        if !valid_name(&grant.site) || !valid_name(&grant.name) {
            return Err(Reject::Device);
        }
        let mut member = Self { root: root.id(), grant, signature: [0; 64] };
        member.signature = root.sign(&member.signed_bytes());
        Ok(member)
    }

    /// What it grants.
    #[must_use]
    pub const fn grant(&self) -> &Grant {
        &self.grant
    }

    /// The member.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.grant.node
    }

    /// The fleet it belongs to.
    #[must_use]
    pub fn fleet(&self) -> FleetId {
        FleetId::of(&self.root)
    }

    /// Whether its time is over. Judge it only by a clock that is known to be right.
    #[must_use]
    pub const fn expired(&self, now: Timestamp) -> bool {
        now.seconds() > self.grant.not_after_s
    }

    fn put(&self, out: &mut Vec<u8>) -> Result<(), Reject> {
        out.put_u8(FORMAT)?;
        out.put(&self.root.0)?;
        out.put_uint(u64::from(self.grant.key_id))?;
        out.put_uint(self.grant.serial)?;
        out.put(&self.grant.node.0)?;
        out.put_u8(self.grant.role as u8)?;
        out.put_bytes(self.grant.site.as_bytes())?;
        out.put_bytes(self.grant.name.as_bytes())?;
        out.put_int(self.grant.not_after_s)
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let mut out = CONTEXT.to_vec();
        self.put(&mut out).expect("a growing buffer is never full");
        out
    }

    /// The membership as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(220);
        self.put(&mut out).expect("a growing buffer is never full");
        out.extend_from_slice(&self.signature);
        out
    }

    /// Reads a membership and checks its signature, but not whose fleet it is.
    ///
    /// # Errors
    /// [`MembershipError::Malformed`] or [`MembershipError::Signature`].
    pub fn decode(bytes: &[u8]) -> Result<Self, MembershipError> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != FORMAT {
            return Err(Reject::Version.into());
        }
        let root = NodeId(reader.array()?);
        let key_id = u32::try_from(reader.uint()?).map_err(|_| Reject::Malformed)?;
        let serial = reader.uint()?;
        let node = NodeId(reader.array()?);
        let role = match reader.u8()? {
            1 => Role::Hub,
            2 => Role::Edge,
            _ => return Err(Reject::Malformed.into()),
        };
        let site = reader.str(NAME_MAX)?.to_owned();
        let name = reader.str(NAME_MAX)?.to_owned();
        let not_after_s = reader.int()?;
        let signature = reader.array()?;
        reader.finish()?;
        if !valid_name(&site) || !valid_name(&name) {
            return Err(Reject::Malformed.into());
        }
        let grant = Grant { key_id, serial, node, role, site, name, not_after_s };
        let member = Self { root, grant, signature };
        let key = VerifyingKey::from_bytes(&root.0).map_err(|_| MembershipError::Signature)?;
        key.verify_strict(&member.signed_bytes(), &Signature::from_bytes(&signature))
            .map_err(|_| MembershipError::Signature)?;
        Ok(member)
    }

    /// Checks that it makes `bearer` a member of `fleet` in `role`. Its end is not judged here.
    ///
    /// # Errors
    /// Why it does not.
    pub fn check(&self, fleet: FleetId, bearer: NodeId, role: Role) -> Result<(), MembershipError> {
        if self.fleet() != fleet {
            let (found, ours) = (self.fleet().short().to_string(), fleet.short().to_string());
            return Err(MembershipError::Foreign { found, ours });
        }
        if self.node() != bearer {
            let made_for = self.node().short().to_string();
            return Err(MembershipError::Bearer { made_for, bearer: bearer.short().to_string() });
        }
        if self.grant.role == role { Ok(()) } else { Err(MembershipError::Role) }
    }
}

impl fmt::Display for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} ({})", self.grant.site, self.grant.name, self.grant.node.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{Env, Source, System};
    use std::sync::Arc;

    fn member(root: &NodeKey, node: NodeId) -> Membership {
        let grant = Grant {
            key_id: 1,
            serial: 7,
            node,
            role: Role::Edge,
            site: "north".to_owned(),
            name: "ps-017".to_owned(),
            not_after_s: 1_900_000_000,
        };
        Membership::sign(root, grant).unwrap()
    }

    #[test]
    fn a_membership_reads_back_and_every_flipped_bit_is_noticed() {
        let env = System::env();
        let (root, node) = (NodeKey::generate(&env), NodeKey::generate(&env).id());
        let member = member(&root, node);
        let bytes = member.encode();
        assert_eq!(Membership::decode(&bytes).unwrap(), member);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Membership::decode(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn only_the_bearer_of_the_fleet_in_its_role_passes() {
        let env = System::env();
        let (root, other) = (NodeKey::generate(&env), NodeKey::generate(&env));
        let node = NodeKey::generate(&env).id();
        let member = member(&root, node);
        let fleet = FleetId::of(&root.id());
        assert_eq!(member.check(fleet, node, Role::Edge), Ok(()));
        assert_eq!(member.check(fleet, node, Role::Hub), Err(MembershipError::Role));
        let foreign = member.check(FleetId::of(&other.id()), node, Role::Edge);
        assert!(matches!(foreign, Err(MembershipError::Foreign { .. })));
        let stolen = member.check(fleet, other.id(), Role::Edge);
        assert!(matches!(stolen, Err(MembershipError::Bearer { .. })));
    }

    #[test]
    fn it_ends_after_its_last_second() {
        let root = NodeKey::generate(&System::env());
        let member = member(&root, root.id());
        assert!(!member.expired(Timestamp(1_900_000_000_999_999_999)));
        assert!(member.expired(Timestamp(1_900_000_001_000_000_000)));
    }

    struct Nines;

    impl Source for Nines {
        fn now(&self) -> Timestamp {
            Timestamp(0)
        }
        fn monotonic_ms(&self) -> u64 {
            0
        }
        fn entropy(&self) -> u64 {
            0
        }
        fn fill(&self, out: &mut [u8]) {
            out.fill(9);
        }
    }

    /// The vector of `docs/formats/identity.md`.
    #[test]
    fn golden_vector() {
        let env: Env = Arc::new(Nines);
        let bytes = member(&NodeKey::generate(&env), NodeId([7; 32])).encode();
        assert_eq!(data_encoding::HEXLOWER.encode(blake3::hash(&bytes).as_bytes()), GOLDEN);
    }

    const GOLDEN: &str = "185cf3cb3dc87494f433b535d4c1d51a396a716243d6711ac40012c73669da77";
}
