//! What is known of an artefact before any of its content is there.

use super::{Distrust, Publisher, Verify, is_kind, is_name, limits};
use crate::Reject;
use crate::codec::{Reader, Sink};
use crate::id::{FleetId, hex, hex_digits};
use core::fmt;

const FORMAT: u8 = 1;
const CONTEXT: &str = "holdfast 2026-11 artefact v1";

/// The name of an artefact: the hash of its manifest, but for the signature.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArtefactId(pub [u8; 32]);

impl ArtefactId {
    /// Reads the 64 hexadecimal digits that `Display` writes.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        hex(text).map(Self)
    }
}

impl fmt::Display for ArtefactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex_digits(f, &self.0)
    }
}

impl fmt::Debug for ArtefactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ArtefactId(")?;
        hex_digits(f, &self.0[..4])?;
        f.write_str(")")
    }
}

/// What an artefact is, as its publisher says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content<'a> {
    /// What it is for.
    pub kind: &'a str,
    /// Its name, the same in all versions.
    pub name: &'a str,
    /// Its version, as people write it; nothing follows from how two compare.
    pub version: &'a str,
    /// When it was made by the publisher's clock, in whole seconds since 1970.
    pub made_s: i64,
    /// Bytes of content.
    pub size: u64,
    /// BLAKE3 of the content.
    pub hash: [u8; 32],
}

/// A manifest being read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest<'a> {
    /// The artefact.
    pub id: ArtefactId,
    /// What it is.
    pub content: Content<'a>,
    /// Who published it.
    pub publisher: Publisher<'a>,
    certificate: &'a [u8],
    signature: &'a [u8; 64],
}

impl<'a> Manifest<'a> {
    /// Writes the manifest of `content` by the publisher with this certificate; `sign` makes the
    /// publisher's signature. Gives the id.
    ///
    /// # Errors
    /// [`Reject::Malformed`] when kind, name or version is not one, [`Reject::Long`] when there is
    /// no content or too much, [`Reject::Full`] when the sink has no room.
    pub fn encode(
        out: &mut impl Sink,
        content: &Content<'_>,
        certificate: &[u8],
        sign: impl FnOnce(&[u8; 32]) -> [u8; 64],
    ) -> Result<ArtefactId, Reject> {
        content.check()?;
        let mut fields = heapless::Vec::<u8, { limits::MANIFEST_BYTES - 64 }>::new();
        fields.put_u8(FORMAT)?;
        fields.put_bytes(certificate)?;
        for text in [content.kind, content.name, content.version] {
            fields.put_bytes(text.as_bytes())?;
        }
        fields.put_int(content.made_s)?;
        fields.put_uint(content.size)?;
        fields.put(&content.hash)?;
        let id = blake3::derive_key(CONTEXT, &fields);
        out.put(&fields)?;
        out.put(&sign(&id))?;
        Ok(ArtefactId(id))
    }

    /// Reads a manifest; who signed it is for [`Self::check`].
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Reject> {
        if bytes.len() > limits::MANIFEST_BYTES {
            return Err(Reject::Long);
        }
        let (fields, signature) = bytes.split_last_chunk::<64>().ok_or(Reject::Truncated)?;
        let mut reader = Reader::new(fields);
        if reader.u8()? != FORMAT {
            return Err(Reject::Version);
        }
        let certificate = reader.bytes(limits::PUBLISHER_BYTES)?;
        let content = Content {
            kind: reader.str(limits::KIND_BYTES)?,
            name: reader.str(limits::NAME_BYTES)?,
            version: reader.str(limits::VERSION_BYTES)?,
            made_s: reader.int()?,
            size: reader.uint()?,
            hash: reader.array()?,
        };
        reader.finish()?;
        content.check()?;
        let publisher = Publisher::decode(certificate)?;
        let id = ArtefactId(blake3::derive_key(CONTEXT, fields));
        Ok(Self { id, content, publisher, certificate, signature })
    }

    /// Checks that a publisher whom the root key of `fleet` has named may publish it and did.
    ///
    /// # Errors
    /// Why it is not to be taken.
    pub fn check(&self, fleet: FleetId, verify: &impl Verify) -> Result<(), Distrust> {
        self.publisher.check(self.certificate, fleet, verify)?;
        if !self.publisher.kinds.has(self.content.kind) {
            return Err(Distrust::Kind);
        }
        let signed = verify.verify(&self.publisher.key, &self.id.0, self.signature);
        if signed { Ok(()) } else { Err(Distrust::Signature) }
    }
}

impl Content<'_> {
    fn check(&self) -> Result<(), Reject> {
        let named = is_kind(self.kind)
            && is_name(self.name, limits::NAME_BYTES)
            && is_name(self.version, limits::VERSION_BYTES);
        match self.size {
            _ if !named => Err(Reject::Malformed),
            1..=limits::CONTENT_BYTES => Ok(()),
            _ => Err(Reject::Long),
        }
    }
}
