//! What a workflow is called and how its runs are to be handled.

use super::NAME_MAX_BYTES;
use crate::Reject;
use crate::codec::{Reader, Sink};

/// Where runs of a workflow belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Placement {
    /// Wherever its trigger fires.
    Any = 0,
    /// On a device.
    Device = 1,
    /// On a gateway.
    Edge = 2,
    /// On the hub.
    Hub = 3,
}

impl Placement {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Any, Self::Device, Self::Edge, Self::Hub];

    /// The word in definitions.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Device => "device",
            Self::Edge => "edge",
            Self::Hub => "hub",
        }
    }
}

/// What becomes of a run that is to begin while as many are under way as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Overlap {
    /// It waits.
    Queue = 0,
    /// It is left out, and counted.
    Skip = 1,
    /// The oldest is cancelled.
    Replace = 2,
}

impl Overlap {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Queue, Self::Skip, Self::Replace];

    /// The word in definitions.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Skip => "skip",
            Self::Replace => "replace",
        }
    }
}

/// The part of an image that is about the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About<'a> {
    /// By which it is known, the same in all versions.
    pub id: &'a str,
    /// Which version.
    pub version: &'a str,
    /// What people read.
    pub title: &'a str,
    /// Where it runs.
    pub placement: Placement,
    /// How many runs may be under way on a node.
    pub concurrent: u16,
    /// What becomes of the next one then.
    pub overlap: Overlap,
    /// 0 to 9; those with a greater number go first.
    pub priority: u8,
}

/// The greatest priority.
pub const PRIORITY_MAX: u8 = 9;

impl<'a> About<'a> {
    /// Appends it.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room.
    pub fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        for text in [self.id, self.version, self.title] {
            out.put_bytes(text.as_bytes())?;
        }
        out.put(&[self.placement as u8, self.overlap as u8, self.priority])?;
        out.put_uint(u64::from(self.concurrent))
    }

    /// Reads it, all of it.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(bytes);
        let mut text = || reader.str(NAME_MAX_BYTES);
        let (id, version, title) = (text()?, text()?, text()?);
        let [placement, overlap, priority] = reader.array()?;
        let concurrent = u16::try_from(reader.uint()?).map_err(|_| Reject::Malformed)?;
        reader.finish()?;
        let placement = Placement::ALL.get(usize::from(placement)).copied();
        let overlap = Overlap::ALL.get(usize::from(overlap)).copied();
        let is_sound = !id.is_empty() && priority <= PRIORITY_MAX && concurrent > 0;
        match (placement, overlap, is_sound) {
            (Some(placement), Some(overlap), true) => {
                Ok(Self { id, version, title, placement, concurrent, overlap, priority })
            }
            _ => Err(Reject::Malformed),
        }
    }
}
