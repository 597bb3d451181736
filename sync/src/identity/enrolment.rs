//! Enrolment by one string: where the hub is, whose fleet it is, and a secret that works once.
//!
//! The secret never travels. The hub first shows a membership of its own that the fleet's root key
//! signed; only then does the node prove by a keyed hash over both identities that it knows the
//! secret.

use super::FleetId;
use crate::env::Env;
use data_encoding::BASE32_NOPAD;
use holdfast_core::codec::{Reader, Sink};
use holdfast_core::{NodeId, Reject};
use std::fmt;

/// Bytes of an enrolment secret.
pub const SECRET_BYTES: usize = 20;
const FORMAT: u8 = 1;
const PREFIX: &str = "holdfast-";
const ADDRESSES_MAX: u64 = 8;
const ADDRESS_MAX: usize = 255;

/// What the enrolment string says.
#[derive(Clone, PartialEq, Eq)]
pub struct Invitation {
    /// The fleet that invites.
    pub fleet: FleetId,
    /// Where its hub listens, as `host:port`.
    pub addresses: Vec<String>,
    /// Proves the right to join, once.
    pub secret: [u8; SECRET_BYTES],
}

impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Invitation to {} at {:?}", self.fleet.short(), self.addresses)
    }
}

/// Proof of knowing a secret, bound to the two nodes and to nonces of both.
#[derive(Clone, Copy, Debug)]
pub struct Proof(pub [u8; 32]);

impl PartialEq for Proof {
    /// Compares in constant time.
    fn eq(&self, other: &Self) -> bool {
        blake3::Hash::from_bytes(self.0) == blake3::Hash::from_bytes(other.0)
    }
}

impl Proof {
    /// The proof by which `node` shows `hub` that it knows the secret behind `key`.
    #[must_use]
    pub fn new(key: &[u8; 32], node: &NodeId, hub: &NodeId, nonces: &[[u8; 16]; 2]) -> Self {
        let mut hash = blake3::Hasher::new_keyed(key);
        for part in [node.0.as_slice(), &hub.0, &nonces[0], &nonces[1]] {
            hash.update(part);
        }
        Self(*hash.finalize().as_bytes())
    }
}

impl Invitation {
    /// A new invitation with a fresh secret.
    #[must_use]
    pub fn new(fleet: FleetId, addresses: Vec<String>, env: &Env) -> Self {
        let mut secret = [0; SECRET_BYTES];
        env.fill(&mut secret);
        Self { fleet, addresses, secret }
    }

    /// The string that is handed to whoever sets up the node.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = Vec::new();
        let mut put = || -> Result<(), Reject> {
            out.put_u8(FORMAT)?;
            out.put(&self.fleet.0)?;
            out.put(&self.secret)?;
            out.put_uint(self.addresses.len() as u64)?;
            for address in &self.addresses {
                out.put_bytes(address.as_bytes())?;
            }
            let check = crc32fast::hash(&out);
            out.put(&check.to_le_bytes())
        };
        put().expect("a growing buffer is never full");
        format!("{PREFIX}{}", BASE32_NOPAD.encode(&out).to_ascii_lowercase())
    }

    /// Reads the string; spaces and line breaks that a mail program put in are ignored.
    ///
    /// # Errors
    /// [`Reject::Malformed`] when it is not such a string, [`Reject::Checksum`] when it is
    /// mistyped.
    pub fn from_text(text: &str) -> Result<Self, Reject> {
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let code = text.strip_prefix(PREFIX).ok_or(Reject::Malformed)?.to_ascii_uppercase();
        let bytes = BASE32_NOPAD.decode(code.as_bytes()).map_err(|_| Reject::Malformed)?;
        let (content, check) = bytes.split_last_chunk::<4>().ok_or(Reject::Truncated)?;
        if crc32fast::hash(content).to_le_bytes() != *check {
            return Err(Reject::Checksum);
        }
        let mut reader = Reader::new(content);
        if reader.u8()? != FORMAT {
            return Err(Reject::Version);
        }
        let fleet = FleetId(reader.array()?);
        let secret = reader.array()?;
        let count = reader.uint()?;
        if count == 0 || count > ADDRESSES_MAX {
            return Err(Reject::Malformed);
        }
        let addresses = (0..count).map(|_| reader.str(ADDRESS_MAX).map(str::to_owned));
        let addresses = addresses.collect::<Result<_, _>>()?;
        reader.finish()?;
        Ok(Self { fleet, addresses, secret })
    }

    /// The name under which the hub remembers the secret.
    #[must_use]
    pub fn secret_id(&self) -> [u8; 16] {
        let hash = blake3::derive_key("holdfast 2026-11 enrolment id v1", &self.secret);
        *hash.first_chunk().expect("a hash has 32 bytes")
    }

    /// The key made of the secret, which is what the hub keeps.
    #[must_use]
    pub fn proof_key(&self) -> [u8; 32] {
        blake3::derive_key("holdfast 2026-11 enrolment proof v1", &self.secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::System;

    fn invitation() -> Invitation {
        let addresses = vec!["hub.example:4585".to_owned(), "192.0.2.1:4585".to_owned()];
        Invitation::new(FleetId([3; 32]), addresses, &System::env())
    }

    #[test]
    fn the_string_reads_back_even_when_a_mail_program_broke_it() {
        let invitation = invitation();
        let text = invitation.to_text();
        assert_eq!(Invitation::from_text(&text).unwrap(), invitation);
        let (head, tail) = text.split_at(30);
        let broken = format!(" {head}\r\n  {tail}\n");
        assert_eq!(Invitation::from_text(&broken).unwrap(), invitation);
    }

    #[test]
    fn a_mistyped_string_is_refused() {
        let text = invitation().to_text();
        let mut wrong = text.clone();
        let other = if text.as_bytes()[20] == b'a' { "b" } else { "a" };
        wrong.replace_range(20..21, other);
        assert_eq!(Invitation::from_text(&wrong), Err(Reject::Checksum));
        assert_eq!(Invitation::from_text("hello"), Err(Reject::Malformed));
        assert!(Invitation::from_text(&text[..40]).is_err());
        assert!(Invitation::from_text("holdfast-").is_err());
    }

    #[test]
    fn a_proof_holds_for_its_nodes_nonces_and_secret_only() {
        let key = invitation().proof_key();
        let (node, hub) = (NodeId([4; 32]), NodeId([5; 32]));
        let nonces = [[6; 16], [7; 16]];
        let proof = Proof::new(&key, &node, &hub, &nonces);
        assert!(proof == Proof::new(&key, &node, &hub, &nonces));
        for other in [
            Proof::new(&invitation().proof_key(), &node, &hub, &nonces),
            Proof::new(&key, &hub, &node, &nonces),
            Proof::new(&key, &node, &hub, &[[6; 16], [8; 16]]),
        ] {
            assert!(proof != other);
        }
    }
}
