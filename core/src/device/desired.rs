//! What a device should be: pulled as state, never a queued message.
//!
//! A device says which version of its desired section it holds, after each connect and now and
//! then; the gateway answers with the section as it shows, or that this is it already. The section
//! is resolved by the gateway, from cells and by a policy that a device has no room for, so the
//! device puts it in the place of the one before, all of it or nothing. The records are those of
//! [`LwwMap`](crate::state::LwwMap), which takes them as they are.

use crate::Reject;
use crate::codec::{Reader, Sink};
use crate::state::Records;

/// What a device holds: 16 bytes that mean nothing to it but that they are the same.
pub type Version = [u8; 16];
/// That of a device that holds no section yet.
pub const NONE: Version = [0; 16];

const WHOLE: u8 = 0;
const SAME: u8 = 1;
const TOO_LARGE: u8 = 2;

/// Which section a device holds. It calls for all that the gateway has for the device: the section
/// and its commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Its version, or [`NONE`].
    pub version: Version,
}

impl Ask {
    /// Appends it.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room.
    pub fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        out.put(&self.version)
    }

    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(payload: &[u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(payload);
        let version = reader.array()?;
        reader.finish()?;
        Ok(Self { version })
    }
}

/// What a gateway says of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section<'a> {
    /// All that it shows: live values, ascending by path.
    Whole(Records<'a>),
    /// It is what the device holds.
    Same,
    /// It has so many bytes of records, more than a message takes.
    TooLarge(u64),
}

/// What a device should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Desired<'a> {
    /// The section's version.
    pub version: Version,
    /// The section.
    pub section: Section<'a>,
}

impl<'a> Desired<'a> {
    /// Appends it.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room.
    pub fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        out.put(&self.version)?;
        match &self.section {
            Section::Whole(records) => {
                out.put_u8(WHOLE)?;
                out.put(records.as_bytes())
            }
            Section::Same => out.put_u8(SAME),
            Section::TooLarge(bytes) => {
                out.put_u8(TOO_LARGE)?;
                out.put_uint(*bytes)
            }
        }
    }

    /// Reads it, all records included.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(payload: &'a [u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(payload);
        let version = reader.array()?;
        let section = match reader.u8()? {
            WHOLE => {
                let mut records = Records::read(reader.rest())?;
                let section = Section::Whole(records);
                // A tombstone shows nothing.
                if records.any(|(_, cell)| !cell.is_live()) {
                    return Err(Reject::Malformed);
                }
                return Ok(Self { version, section });
            }
            SAME => Section::Same,
            TOO_LARGE => Section::TooLarge(reader.uint()?),
            _ => return Err(Reject::Malformed),
        };
        reader.finish()?;
        Ok(Self { version, section })
    }
}
