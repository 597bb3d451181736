//! What the event stream says of runs of workflows: what was done, what became of it, and which
//! runs a gateway wants the hub to begin.
//!
//! Nothing is computed from what was done: a run is its memory ([`crate::flow`]). It is for people,
//! who see on the hub what a gateway did while nobody could look. What is wanted of the hub travels
//! like everything else that happened, so it arrives after an outage of any length, and once.

use crate::codec::{Reader, Sink};
use crate::limits::NOTE_MAX_BYTES;
use crate::{Reject, id};
use core::fmt;

/// Bytes of the name of a workflow, and of a version.
const NAME_MAX_BYTES: usize = 64;
/// Bytes of the name of who wants a run.
pub const BY_MAX_BYTES: usize = 128;
/// Bytes of what a run is given, as JSON.
pub const INPUT_MAX_BYTES: usize = 8 << 10;

/// The name of a run: milliseconds of its start and random bits, so that later runs are greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub [u8; 16]);

impl RunId {
    /// One for a run that begins at `now_ms`.
    #[must_use]
    pub fn new(now_ms: i64, entropy: [u64; 2]) -> Self {
        let mut out = [0; 16];
        out[..6].copy_from_slice(&now_ms.max(0).to_be_bytes()[2..]);
        out[6..8].copy_from_slice(&entropy[0].to_be_bytes()[..2]);
        out[8..].copy_from_slice(&entropy[1].to_be_bytes());
        Self(out)
    }

    /// Reads the 32 hexadecimal digits that `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 32 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(|number| Self(number.to_be_bytes()))
    }

    /// When it began, Unix milliseconds.
    #[must_use]
    pub fn began_ms(&self) -> i64 {
        let [a, b, c, d, e, f, ..] = self.0;
        i64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        id::hex_digits(f, &self.0)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunId({self})")
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum What {
    /// The run began.
    Started = 0,
    /// An effect was asked for, and will leave this node.
    Asked = 1,
    /// An effect is done.
    Done = 2,
    /// An effect failed; it may be tried again.
    Failed = 3,
    /// A signal came.
    Signal = 4,
    /// Something waits for somebody who decides.
    Parked = 5,
    /// Somebody has decided.
    Decided = 6,
    /// What was done is being undone.
    Undoing = 7,
    /// The run is over, and well.
    Succeeded = 8,
    /// The run is over, with an error.
    Ended = 9,
    /// The run is over, because somebody ended it.
    Cancelled = 10,
    /// The run is for the hub to begin.
    Forwarded = 11,
    /// The run goes on as one of another version.
    Migrated = 12,
}

impl What {
    const ALL: [Self; 13] = [
        Self::Started,
        Self::Asked,
        Self::Done,
        Self::Failed,
        Self::Signal,
        Self::Parked,
        Self::Decided,
        Self::Undoing,
        Self::Succeeded,
        Self::Ended,
        Self::Cancelled,
        Self::Forwarded,
        Self::Migrated,
    ];

    /// Reads the number under which it is stored.
    #[must_use]
    pub fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The word in answers and on pages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Asked => "asked",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Signal => "signal",
            Self::Parked => "parked",
            Self::Decided => "decided",
            Self::Undoing => "undoing",
            Self::Succeeded => "succeeded",
            Self::Ended => "ended",
            Self::Cancelled => "cancelled",
            Self::Forwarded => "forwarded",
            Self::Migrated => "migrated",
        }
    }
}

/// A line of the history of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunStep<'a> {
    /// The run.
    pub run: RunId,
    /// What happened.
    pub what: What,
    /// The workflow.
    pub workflow: &'a str,
    /// Its version.
    pub version: &'a str,
    /// The line of the source; 0 where it is about the whole run.
    pub line: u32,
    /// What people read.
    pub text: &'a str,
}

impl<'a> RunStep<'a> {
    /// Appends it.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room.
    pub fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        out.put(&self.run.0)?;
        out.put_u8(self.what as u8)?;
        out.put_bytes(self.workflow.as_bytes())?;
        out.put_bytes(self.version.as_bytes())?;
        out.put_uint(u64::from(self.line))?;
        out.put_bytes(self.text.as_bytes())
    }

    /// Reads what [`RunStep::encode`] wrote.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, Reject> {
        let run = RunId(reader.array()?);
        let what = What::from_u8(reader.u8()?).ok_or(Reject::Malformed)?;
        let (workflow, version) = (reader.str(NAME_MAX_BYTES)?, reader.str(NAME_MAX_BYTES)?);
        let line = u32::try_from(reader.uint()?).map_err(|_| Reject::Malformed)?;
        Ok(Self { run, what, workflow, version, line, text: reader.str(NOTE_MAX_BYTES)? })
    }
}

/// A run that the hub is to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunWanted<'a> {
    /// The run.
    pub run: RunId,
    /// Of which workflow.
    pub workflow: &'a str,
    /// Of which version; empty for the newest.
    pub version: &'a str,
    /// Who or what wants it.
    pub by: &'a str,
    /// What it is given, as JSON.
    pub input: &'a str,
}

impl<'a> RunWanted<'a> {
    /// Appends it.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room.
    pub fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        out.put(&self.run.0)?;
        for text in [self.workflow, self.version, self.by, self.input] {
            out.put_bytes(text.as_bytes())?;
        }
        Ok(())
    }

    /// Reads what [`RunWanted::encode`] wrote.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, Reject> {
        let run = RunId(reader.array()?);
        let (workflow, version) = (reader.str(NAME_MAX_BYTES)?, reader.str(NAME_MAX_BYTES)?);
        let by = reader.str(BY_MAX_BYTES)?;
        Ok(Self { run, workflow, version, by, input: reader.str(INPUT_MAX_BYTES)? })
    }
}
