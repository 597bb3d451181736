//! The root key's word for a publisher.

use super::{Distrust, Verify, is_kind, is_name, limits};
use crate::codec::{Reader, Sink};
use crate::id::FleetId;
use crate::{NodeId, Reject};

const FORMAT: u8 = 1;
const CONTEXT: &str = "holdfast 2026-11 publisher v1";

/// Kinds of artefacts that a publisher may publish.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kinds<'a>(heapless::Vec<&'a str, { limits::KINDS }>);

impl<'a> Kinds<'a> {
    /// Any kind.
    #[must_use]
    pub const fn any() -> Self {
        Self(heapless::Vec::new())
    }

    /// These; none of them are all.
    ///
    /// # Errors
    /// [`Reject::Malformed`] when one is not the name of a kind, [`Reject::Full`] when there are
    /// too many.
    pub fn of(kinds: &[&'a str]) -> Result<Self, Reject> {
        let mut out = heapless::Vec::new();
        for kind in kinds {
            if !is_kind(kind) {
                return Err(Reject::Malformed);
            }
            if !out.contains(kind) {
                out.push(*kind).map_err(|_| Reject::Full)?;
            }
        }
        out.sort_unstable();
        Ok(Self(out))
    }

    /// Whether `kind` is one of them.
    #[must_use]
    pub fn has(&self, kind: &str) -> bool {
        self.0.is_empty() || self.0.contains(&kind)
    }

    /// The kinds, ascending; none are all.
    #[must_use]
    pub fn as_slice(&self) -> &[&'a str] {
        &self.0
    }
}

/// What the root key says of a publisher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publisher<'a> {
    /// The root key that signs.
    pub root: NodeId,
    /// Which of the fleet's root keys it is, counted from 1.
    pub key_id: u32,
    /// A later word replaces an earlier one.
    pub serial: u64,
    /// The publisher's key.
    pub key: NodeId,
    /// The publisher's name.
    pub name: &'a str,
    /// What it may publish.
    pub kinds: Kinds<'a>,
    /// The end of its validity, in whole seconds since 1970.
    pub not_after_s: i64,
}

impl<'a> Publisher<'a> {
    fn put(&self, out: &mut impl Sink) -> Result<(), Reject> {
        if !is_name(self.name, limits::NAME_BYTES) {
            return Err(Reject::Malformed);
        }
        out.put_u8(FORMAT)?;
        out.put(&self.root.0)?;
        out.put_uint(u64::from(self.key_id))?;
        out.put_uint(self.serial)?;
        out.put(&self.key.0)?;
        out.put_bytes(self.name.as_bytes())?;
        out.put_uint(self.kinds.0.len() as u64)?;
        self.kinds.0.iter().try_for_each(|kind| out.put_bytes(kind.as_bytes()))?;
        out.put_int(self.not_after_s)
    }

    /// Writes the certificate; `sign` makes the root key's signature.
    ///
    /// # Errors
    /// [`Reject::Malformed`] when the name is not one, [`Reject::Full`] when the sink has no room.
    pub fn encode(
        &self,
        out: &mut impl Sink,
        sign: impl FnOnce(&[u8; 32]) -> [u8; 64],
    ) -> Result<(), Reject> {
        let mut fields = heapless::Vec::<u8, { limits::PUBLISHER_BYTES - 64 }>::new();
        self.put(&mut fields)?;
        out.put(&fields)?;
        out.put(&sign(&digest(&fields)))
    }

    /// Reads a certificate; who signed it is for [`Self::check`].
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Reject> {
        if bytes.len() > limits::PUBLISHER_BYTES {
            return Err(Reject::Long);
        }
        let mut reader = Reader::new(bytes);
        if reader.u8()? != FORMAT {
            return Err(Reject::Version);
        }
        let root = NodeId(reader.array()?);
        let key_id = u32::try_from(reader.uint()?).map_err(|_| Reject::Malformed)?;
        let serial = reader.uint()?;
        let key = NodeId(reader.array()?);
        let name = reader.str(limits::NAME_BYTES)?;
        let mut kinds = heapless::Vec::new();
        for _ in 0..reader.uint()? {
            let kind = reader.str(limits::KIND_BYTES)?;
            let ascends = kinds.last().is_none_or(|last| *last < kind);
            if !is_kind(kind) || !ascends {
                return Err(Reject::Malformed);
            }
            kinds.push(kind).map_err(|_| Reject::Full)?;
        }
        let not_after_s = reader.int()?;
        reader.array::<64>()?;
        reader.finish()?;
        if !is_name(name, limits::NAME_BYTES) {
            return Err(Reject::Malformed);
        }
        Ok(Self { root, key_id, serial, key, name, kinds: Kinds(kinds), not_after_s })
    }

    /// Checks that `bytes`, of which this was read, are the word of the root key of `fleet`. The
    /// end of its validity is not judged here.
    ///
    /// # Errors
    /// [`Distrust::Foreign`] or [`Distrust::Certificate`].
    pub fn check(
        &self,
        bytes: &[u8],
        fleet: FleetId,
        verify: &impl Verify,
    ) -> Result<(), Distrust> {
        if FleetId::of(&self.root) != fleet {
            return Err(Distrust::Foreign);
        }
        let (fields, signature) = bytes.split_last_chunk::<64>().ok_or(Distrust::Certificate)?;
        let signed = verify.verify(&self.root, &digest(fields), signature);
        if signed { Ok(()) } else { Err(Distrust::Certificate) }
    }

    /// Whether its time is over. Judge it only by a clock that is known to be right.
    #[must_use]
    pub const fn expired(&self, now_s: i64) -> bool {
        now_s > self.not_after_s
    }
}

fn digest(fields: &[u8]) -> [u8; 32] {
    blake3::derive_key(CONTEXT, fields)
}
