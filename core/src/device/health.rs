//! What a device says of itself: which start this is, why it started, what it runs, what it lost.
//!
//! It is said after each connect and now and then. Counters only grow; each has a number that is
//! never used for another, and a reader keeps those that it does not know.

use crate::Reject;
use crate::codec::{Reader, Sink};
use crate::limits::TEXT_MAX_BYTES;

/// Counters in one message.
pub const COUNTERS_MAX: usize = 16;
/// Bytes of the firmware's version.
pub const VERSION_MAX_BYTES: usize = 64;

const _: () = assert!(VERSION_MAX_BYTES <= TEXT_MAX_BYTES);

/// Why a device started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason(pub u8);

impl Reason {
    /// It does not know.
    pub const UNKNOWN: Self = Self(0);
    /// Power came.
    pub const POWER: Self = Self(1);
    /// Its voltage was too low.
    pub const BROWN_OUT: Self = Self(2);
    /// Its watchdog found it hanging.
    pub const WATCHDOG: Self = Self(3);
    /// It asked for it.
    pub const SOFTWARE: Self = Self(4);
    /// It had a fault.
    pub const FAULT: Self = Self(5);

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::POWER => "power",
            Self::BROWN_OUT => "brown-out",
            Self::WATCHDOG => "watchdog",
            Self::SOFTWARE => "software",
            Self::FAULT => "fault",
            _ => "unknown",
        }
    }
}

/// What a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter(pub u8);

impl Counter {
    /// Samples given up because the flash was full.
    pub const DROPPED: Self = Self(1);
    /// Samples that could not be read back.
    pub const DAMAGED: Self = Self(2);
    /// Messages from the gateway that did not follow the format.
    pub const REJECTED: Self = Self(3);
    /// Bytes of flash that samples take, roughly.
    pub const WAITING: Self = Self(4);

    /// The word for it, if it is known here.
    #[must_use]
    pub const fn word(self) -> Option<&'static str> {
        Some(match self {
            Self::DROPPED => "dropped",
            Self::DAMAGED => "damaged",
            Self::REJECTED => "rejected",
            Self::WAITING => "waiting",
            _ => return None,
        })
    }
}

/// What a device says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health<'a> {
    /// Its starts, this one included.
    pub boot: u64,
    /// Milliseconds since this one.
    pub uptime_ms: u64,
    /// Why it started.
    pub reason: Reason,
    /// What it runs.
    pub firmware: &'a str,
    /// What it counted.
    pub counters: heapless::Vec<(Counter, u64), COUNTERS_MAX>,
}

impl<'a> Health<'a> {
    /// Appends it.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room.
    pub fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        out.put_uint(self.boot)?;
        out.put_uint(self.uptime_ms)?;
        out.put_u8(self.reason.0)?;
        out.put_bytes(self.firmware.as_bytes())?;
        out.put_uint(self.counters.len() as u64)?;
        for (counter, value) in &self.counters {
            out.put_u8(counter.0)?;
            out.put_uint(*value)?;
        }
        Ok(())
    }

    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(payload: &'a [u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(payload);
        let boot = reader.uint()?;
        let uptime_ms = reader.uint()?;
        let reason = Reason(reader.u8()?);
        let firmware = reader.str(VERSION_MAX_BYTES)?;
        let mut counters = heapless::Vec::new();
        for _ in 0..reader.uint()? {
            let counter = (Counter(reader.u8()?), reader.uint()?);
            counters.push(counter).map_err(|_| Reject::Full)?;
        }
        reader.finish()?;
        Ok(Self { boot, uptime_ms, reason, firmware, counters })
    }
}
