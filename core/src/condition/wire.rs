//! A condition as bytes, so that it survives a restart.

use super::{Condition, Phase};
use crate::codec::{Reader, Sink};
use crate::{Reject, Timestamp};

/// The format written today.
const FORMAT: u8 = 1;
/// Bytes of the longest encoding: two bytes and six times.
pub const ENCODED_MAX: usize = 2 + 6 * 10;

const PHASE: u8 = 0x03;
const NEWEST: u8 = 0x04;
const HEARD: u8 = 0x08;
const LATE: u8 = 0x10;

impl Condition {
    /// Appends the state; `docs/formats/condition.md` has every byte.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room.
    pub fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        let phase = match self.phase {
            Phase::Normal => 0,
            Phase::Pending { .. } => 1,
            Phase::Raised { .. } => 2,
            Phase::Clearing { .. } => 3,
        };
        let known = [(NEWEST, self.newest), (HEARD, self.heard), (LATE, self.late)];
        let bits = known.iter().filter(|(_, time)| time.is_some());
        out.put(&[FORMAT, bits.fold(phase, |all, (bit, _)| all | bit)])?;
        for time in known.iter().filter_map(|(_, time)| *time) {
            out.put_int(time.0)?;
        }
        match self.phase {
            Phase::Normal => Ok(()),
            Phase::Raised { since } => out.put_int(since.0),
            Phase::Pending { since, seen } => {
                out.put_int(since.0)?;
                out.put_int(seen.0)
            }
            Phase::Clearing { since, from, seen } => {
                out.put_int(since.0)?;
                out.put_int(from.0)?;
                out.put_int(seen.0)
            }
        }
    }

    /// Reads what [`Condition::encode`] wrote.
    ///
    /// # Errors
    /// [`Reject::Version`] for another format, else what is wrong with the bytes.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Reject> {
        if reader.u8()? != FORMAT {
            return Err(Reject::Version);
        }
        let tag = reader.u8()?;
        if tag & !(PHASE | NEWEST | HEARD | LATE) != 0 {
            return Err(Reject::Malformed);
        }
        let mut known = [None; 3];
        for (time, bit) in known.iter_mut().zip([NEWEST, HEARD, LATE]) {
            if tag & bit != 0 {
                *time = Some(Timestamp(reader.int()?));
            }
        }
        let mut time = || reader.int().map(Timestamp);
        let phase = match tag & PHASE {
            0 => Phase::Normal,
            1 => Phase::Pending { since: time()?, seen: time()? },
            2 => Phase::Raised { since: time()? },
            _ => Phase::Clearing { since: time()?, from: time()?, seen: time()? },
        };
        let [newest, heard, late] = known;
        Ok(Self { phase, newest, heard, late })
    }
}
