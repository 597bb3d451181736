//! Workflows on a device: which it is to have, how they come to it, and what its runs do.
//!
//! Which ones is told as state: the whole set, and the device gives up what is not in it. It asks
//! for each in pieces, one after the other, and takes none that a publisher of its fleet has not
//! signed. Whatever its runs do is told step by step, each with the memory that it left: a run is
//! its memory, so who has the image needs nothing else to show it.

use super::samples::Clock;
use crate::Reject;
use crate::Value;
use crate::artefact::ArtefactId;
use crate::codec::{Reader, Sink};
use crate::flow::Code;
use crate::log::runs::RunId;
use crate::log::{put_value, read_value};

/// Workflows that a device has at once, versions of one counted each.
pub const FLOWS_MAX: usize = 4;
/// Bytes of a piece: with what is around it a message has room for it.
pub const PIECE_BYTES: usize = 896;
/// Bytes of the memory of a run on a device.
pub const MEMORY_MAX_BYTES: usize = 128;
/// Bytes of a step: its memory, what it was told and what it is called by.
pub const STEP_MAX_BYTES: usize = MEMORY_MAX_BYTES + 96;

/// How a workflow stands on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stands {
    /// Pieces of it are still to come.
    Fetching = 0,
    /// Its runs may begin.
    On = 1,
    /// It is given up, and runs of it go on.
    Ends = 2,
    /// No publisher whom the device trusts has signed it.
    Untrusted = 16,
    /// It is not what its publisher signed.
    Damaged = 17,
    /// The verifier does not accept it, or it does what the device cannot do.
    Unfit = 18,
}

impl Stands {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Fetching, Self::On, Self::Ends, Self::Untrusted, Self::Damaged, Self::Unfit];

    /// Reads the number under which it is written.
    #[must_use]
    pub fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|stands| *stands as u8 == number)
    }

    /// Whether the device will not have it, however often it is offered.
    #[must_use]
    pub const fn is_refused(self) -> bool {
        matches!(self, Self::Untrusted | Self::Damaged | Self::Unfit)
    }

    /// In words, for people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Fetching => "fetching",
            Self::On => "on",
            Self::Ends => "ends",
            Self::Untrusted => {
                "refused: no publisher of the fleet that this device knows signed it"
            }
            Self::Damaged => "refused: it is not what its publisher signed",
            Self::Unfit => "refused: this device cannot do what it does",
        }
    }
}

/// The workflows that a device has, and how they stand. It calls for the set that it is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held(pub heapless::Vec<(ArtefactId, Stands), FLOWS_MAX>);

impl Held {
    /// Appends it.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room.
    pub fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        self.0.iter().try_for_each(|(id, stands)| {
            out.put(&id.0)?;
            out.put_u8(*stands as u8)
        })
    }

    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(payload: &[u8]) -> Result<Self, Reject> {
        let (mut reader, mut held) = (Reader::new(payload), Self::default());
        while !reader.rest().is_empty() {
            let id = ArtefactId(reader.array()?);
            let stands = Stands::from_u8(reader.u8()?).ok_or(Reject::Malformed)?;
            held.0.push((id, stands)).map_err(|_| Reject::Full)?;
        }
        Ok(held)
    }
}

/// The workflows that a device is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted(pub heapless::Vec<ArtefactId, FLOWS_MAX>);

impl Wanted {
    /// Appends it.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room.
    pub fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        self.0.iter().try_for_each(|id| out.put(&id.0))
    }

    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(payload: &[u8]) -> Result<Self, Reject> {
        let (mut reader, mut wanted) = (Reader::new(payload), Self::default());
        while !reader.rest().is_empty() {
            wanted.0.push(ArtefactId(reader.array()?)).map_err(|_| Reject::Full)?;
        }
        Ok(wanted)
    }
}

/// A piece of an artefact that a device asks for. Part 0 is the manifest, part `n` the content from
/// `(n - 1) * PIECE_BYTES` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Of which artefact.
    pub id: ArtefactId,
    /// Which part.
    pub part: u64,
}

impl Fetch {
    /// Appends it.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room.
    pub fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        out.put(&self.id.0)?;
        out.put_uint(self.part)
    }

    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(payload: &[u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(payload);
        let fetch = Self { id: ArtefactId(reader.array()?), part: reader.uint()? };
        reader.finish()?;
        Ok(fetch)
    }
}

/// What a gateway hands out of an artefact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Which piece.
    pub of: Fetch,
    /// Its bytes; none where the gateway does not have it.
    pub bytes: &'a [u8],
}

impl<'a> Piece<'a> {
    /// Appends it.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room.
    pub fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        self.of.encode(out)?;
        out.put(self.bytes)
    }

    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it; [`Reject::Long`] for more than [`PIECE_BYTES`].
    pub fn decode(payload: &'a [u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(payload);
        let of = Fetch { id: ArtefactId(reader.array()?), part: reader.uint()? };
        let bytes = reader.rest();
        if bytes.len() > PIECE_BYTES { Err(Reject::Long) } else { Ok(Self { of, bytes }) }
    }
}

/// What made a run step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cause<'a> {
    /// It began: a trigger of the image found this.
    Began {
        /// Which trigger.
        trigger: u8,
        /// What was measured.
        value: Value<'a>,
    },
    /// Time has passed.
    Time,
    /// An effect is done.
    Done {
        /// Which.
        serial: u32,
    },
    /// An effect failed.
    Failed {
        /// Which.
        serial: u32,
        /// With which error.
        error: Code,
    },
    /// A condition came true.
    Condition {
        /// The number of its signal.
        signal: u8,
    },
    /// It was ended, for a newer one takes its place.
    Replaced,
    /// The clock of the device was set by so many milliseconds.
    ClockSet {
        /// So many.
        by_ms: i64,
    },
}

impl<'a> Cause<'a> {
    fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        match self {
            Self::Began { trigger, value } => {
                out.put(&[0, *trigger])?;
                put_value(out, value)
            }
            Self::Time => out.put_u8(1),
            Self::Done { serial } => {
                out.put_u8(2)?;
                out.put_uint(u64::from(*serial))
            }
            Self::Failed { serial, error } => {
                out.put_u8(3)?;
                out.put_uint(u64::from(*serial))?;
                out.put_uint(u64::from(error.0))
            }
            Self::Condition { signal } => out.put(&[4, *signal]),
            Self::Replaced => out.put_u8(5),
            Self::ClockSet { by_ms } => {
                out.put_u8(6)?;
                out.put_int(*by_ms)
            }
        }
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, Reject> {
        let number =
            |reader: &mut Reader<'a>| u32::try_from(reader.uint()?).map_err(|_| Reject::Malformed);
        Ok(match reader.u8()? {
            0 => Self::Began { trigger: reader.u8()?, value: read_value(reader)? },
            1 => Self::Time,
            2 => Self::Done { serial: number(reader)? },
            3 => {
                let serial = number(reader)?;
                let error = u16::try_from(reader.uint()?).map_err(|_| Reject::Malformed)?;
                Self::Failed { serial, error: Code(error) }
            }
            4 => Self::Condition { signal: reader.u8()? },
            5 => Self::Replaced,
            6 => Self::ClockSet { by_ms: reader.int()? },
            _ => return Err(Reject::Malformed),
        })
    }
}

/// A step of a run, as it stands in flash and travels, but for when it was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step<'a> {
    /// Its number among all steps of the device: those up to one are let go of together.
    pub number: u64,
    /// The run.
    pub run: RunId,
    /// Its number in the run, from 1.
    pub count: u32,
    /// By which the run knows its image.
    pub tag: u32,
    /// What made it.
    pub cause: Cause<'a>,
    /// What it left.
    pub memory: &'a [u8],
}

impl<'a> Step<'a> {
    /// Appends it.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room, [`Reject::Long`] for a memory that no device
    /// has.
    pub fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        if self.memory.len() > MEMORY_MAX_BYTES {
            return Err(Reject::Long);
        }
        out.put_uint(self.number)?;
        out.put(&self.run.0)?;
        out.put_uint(u64::from(self.count))?;
        out.put(&self.tag.to_le_bytes())?;
        self.cause.encode(out)?;
        out.put(self.memory)
    }

    /// Reads it, to the end.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(bytes);
        let (number, run) = (reader.uint()?, RunId(reader.array()?));
        let count = u32::try_from(reader.uint()?).map_err(|_| Reject::Malformed)?;
        let tag = u32::from_le_bytes(reader.array()?);
        let cause = Cause::read(&mut reader)?;
        let memory = reader.rest();
        if memory.len() > MEMORY_MAX_BYTES {
            return Err(Reject::Long);
        }
        Ok(Self { number, run, count, tag, cause, memory })
    }
}

/// Appends what stands before the steps of a message.
///
/// # Errors
/// [`Reject::Full`] when the sink has no room.
pub fn put_head(out: &mut impl Sink, clock: Clock) -> Result<(), Reject> {
    out.put_u8(clock as u8)
}

/// Appends a step, as [`Step::encode`] wrote it, with when it was by the clock of its message; 0
/// where that says nothing.
///
/// # Errors
/// [`Reject::Full`] when the sink has no room.
pub fn put_step(out: &mut impl Sink, time: i64, step: &[u8]) -> Result<(), Reject> {
    out.put_int(time)?;
    out.put_bytes(step)
}

/// The steps of a message, oldest first.
#[derive(Clone, Copy, Debug)]
pub struct Steps<'a> {
    /// What their times are.
    pub clock: Clock,
    reader: Reader<'a>,
}

impl<'a> Steps<'a> {
    /// Those in `payload`, all of which are read once here.
    ///
    /// # Errors
    /// What is wrong with them; [`Reject::Sequence`] for a number that is not greater than the one
    /// before.
    pub fn read(payload: &'a [u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(payload);
        let clock = Clock::from_u8(reader.u8()?).ok_or(Reject::Malformed)?;
        let steps = Self { clock, reader };
        let mut last = 0;
        while !reader.rest().is_empty() {
            let (_, step) = one(&mut reader)?;
            if step.number <= last {
                return Err(Reject::Sequence);
            }
            last = step.number;
        }
        Ok(steps)
    }
}

impl<'a> Iterator for Steps<'a> {
    type Item = (i64, Step<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        // They were read before: only their end cannot be.
        one(&mut self.reader).ok()
    }
}

fn one<'a>(reader: &mut Reader<'a>) -> Result<(i64, Step<'a>), Reject> {
    let time = reader.int()?;
    Ok((time, Step::decode(reader.bytes(STEP_MAX_BYTES)?)?))
}

/// A gateway's word that all steps up to this number are on its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stepped {
    /// The number.
    pub number: u64,
}

impl Stepped {
    /// Appends it.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room.
    pub fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        out.put_uint(self.number)
    }

    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(payload: &[u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(payload);
        let number = reader.uint()?;
        reader.finish()?;
        Ok(Self { number })
    }
}
