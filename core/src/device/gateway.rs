//! What a gateway says to a device: up to where its samples are on disk, and what time it is.

use crate::Reject;
use crate::codec::{Reader, Sink};

/// All samples of a boot up to this one that were handed on are on the gateway's disk, or were
/// refused for good: the device may let go of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermark {
    /// The boot.
    pub boot: u64,
    /// The sequence number.
    pub sequence: u64,
}

impl Watermark {
    /// Appends it.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room.
    pub fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        out.put_uint(self.boot)?;
        out.put_uint(self.sequence)
    }

    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(payload: &[u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(payload);
        let watermark = Self { boot: reader.uint()?, sequence: reader.uint()? };
        reader.finish()?;
        Ok(watermark)
    }
}

/// What time it is at the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// Milliseconds since 1970.
    pub unix_ms: i64,
    /// Whether the gateway believes its clock. A device does not follow one that does not.
    pub is_trusted: bool,
}

impl Time {
    /// Appends it.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room.
    pub fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        out.put_int(self.unix_ms)?;
        out.put_u8(u8::from(self.is_trusted))
    }

    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(payload: &[u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(payload);
        let unix_ms = reader.int()?;
        let is_trusted = match reader.u8()? {
            0 => false,
            1 => true,
            _ => return Err(Reject::Malformed),
        };
        reader.finish()?;
        Ok(Self { unix_ms, is_trusted })
    }
}
