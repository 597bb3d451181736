//! The firmware of a device: what it runs, and how an update of it stands.
//!
//! Which one it is to have is told as state, like its workflows, and it comes in the same pieces. A
//! device has room for two images: it runs one and writes the next into the other place, judges it
//! once it is whole, and runs it on trial until a gateway has heard from it. Whatever ends before
//! that brings the old one back.

use crate::Reject;
use crate::artefact::{ArtefactId, limits};
use crate::codec::{Reader, Sink};

/// The kind of artefacts that are images of firmware. Their name is the board that they are for.
pub const KIND: &str = "firmware";

/// No artefact.
const NONE: ArtefactId = ArtefactId([0; 32]);

/// How an update stands on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Progress {
    /// Pieces of it are still to come.
    Fetching = 0,
    /// It runs, and a gateway has heard from it since.
    Runs = 1,
    /// It runs, and goes again if no gateway is heard from.
    Trial = 3,
    /// No publisher whom the device trusts has signed it.
    Untrusted = 16,
    /// It is not what its publisher signed.
    Damaged = 17,
    /// It is for another board, is larger than its place, or was made before what runs.
    Unfit = 18,
    /// It ran, and no gateway heard from it: the one before is back.
    FellBack = 19,
}

impl Progress {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Fetching,
        Self::Runs,
        Self::Trial,
        Self::Untrusted,
        Self::Damaged,
        Self::Unfit,
        Self::FellBack,
    ];

    /// Reads the number under which it is written.
    #[must_use]
    pub fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|progress| *progress as u8 == number)
    }

    /// In words, for people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Fetching => "fetching",
            Self::Runs => "runs",
            Self::Trial => "on trial",
            Self::Untrusted => {
                "refused: no publisher of the fleet that this device knows signed it"
            }
            Self::Damaged => "refused: it is not what its publisher signed",
            Self::Unfit => "refused: it is for another board, too large, or made before what runs",
            Self::FellBack => "fell back: it ran, and no gateway heard from it in time",
        }
    }
}

/// An update that a device is at, or was at last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update {
    /// Which artefact.
    pub id: ArtefactId,
    /// How it stands.
    pub progress: Progress,
    /// Bytes of it that are in flash.
    pub done: u64,
}

/// What a device says of its firmware. It calls for what it is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Firmware<'a> {
    /// The board: the name of artefacts that are for it.
    pub board: &'a str,
    /// Bytes that an image may have.
    pub room: u64,
    /// The artefact that it runs; none for what it was made with.
    pub runs: Option<ArtefactId>,
    /// The update that it is at, or was at last.
    pub update: Option<Update>,
}

impl<'a> Firmware<'a> {
    /// Appends it.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room.
    pub fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        out.put_bytes(self.board.as_bytes())?;
        out.put_uint(self.room)?;
        out.put(&self.runs.unwrap_or(NONE).0)?;
        let Some(update) = &self.update else { return Ok(()) };
        out.put(&update.id.0)?;
        out.put_u8(update.progress as u8)?;
        out.put_uint(update.done)
    }

    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(payload: &'a [u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(payload);
        let board = reader.str(limits::NAME_BYTES)?;
        let room = reader.uint()?;
        let runs = artefact(&mut reader)?;
        if reader.rest().is_empty() {
            return Ok(Self { board, room, runs, update: None });
        }
        let id = ArtefactId(reader.array()?);
        let progress = Progress::from_u8(reader.u8()?).ok_or(Reject::Malformed)?;
        let update = Some(Update { id, progress, done: reader.uint()? });
        reader.finish()?;
        Ok(Self { board, room, runs, update })
    }
}

/// The firmware that a device is to have; none: it stays with what it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted(pub Option<ArtefactId>);

impl Wanted {
    /// Appends it.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room.
    pub fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        out.put(&self.0.unwrap_or(NONE).0)
    }

    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(payload: &[u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(payload);
        let wanted = Self(artefact(&mut reader)?);
        reader.finish()?;
        Ok(wanted)
    }
}

/// An artefact, or zeros for none.
fn artefact(reader: &mut Reader<'_>) -> Result<Option<ArtefactId>, Reject> {
    let id = ArtefactId(reader.array()?);
    Ok((id != NONE).then_some(id))
}
