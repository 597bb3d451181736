//! Named values going into registers and coming out of them.
//!
//! What a run is given, what it leaves, what an effect answers and what a signal brings are all
//! lists of fields: a name, the register that it goes to, and what stands there if it is missing.

use super::NAME_MAX_BYTES;
use super::image::Slot;
use crate::Reject;
use crate::codec::{Reader, Sink};

const TEXT: u8 = 0x01;
const DEFAULT: u8 = 0x02;

/// What stands in a register where nothing came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default<'a> {
    /// A number.
    Number(i64),
    /// A text.
    Text(&'a str),
}

/// A value that is looked for by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name, or the way through an answer (`state/level`).
    pub name: &'a str,
    /// Where it goes.
    pub slot: Slot,
    /// What stands there if it is missing; without one, that is an error.
    pub default: Option<Default<'a>>,
}

impl<'a> Field<'a> {
    /// Appends the field.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room.
    pub fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        let (number, text) = match self.slot {
            Slot::Number(number) => (number, 0),
            Slot::Text(number) => (number, TEXT),
        };
        let default = if self.default.is_some() { DEFAULT } else { 0 };
        out.put(&[number, text | default])?;
        out.put_bytes(self.name.as_bytes())?;
        match self.default {
            Some(Default::Number(number)) => out.put_int(number),
            Some(Default::Text(text)) => out.put_bytes(text.as_bytes()),
            None => Ok(()),
        }
    }

    /// Reads a field.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, Reject> {
        let [number, flags] = reader.array()?;
        if flags & !(TEXT | DEFAULT) != 0 {
            return Err(Reject::Malformed);
        }
        let is_text = flags & TEXT != 0;
        let name = reader.str(NAME_MAX_BYTES)?;
        let default = match (flags & DEFAULT != 0, is_text) {
            (false, _) => None,
            (true, false) => Some(Default::Number(reader.int()?)),
            (true, true) => Some(Default::Text(reader.str(super::TEXT_MAX_BYTES)?)),
        };
        let slot = if is_text { Slot::Text(number) } else { Slot::Number(number) };
        Ok(Self { name, slot, default })
    }
}

/// A list of fields, read in place.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a>(Reader<'a>);

impl<'a> Fields<'a> {
    /// The fields in these bytes.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(Reader::new(bytes))
    }

    /// Reads a count and as many fields, and gives them.
    ///
    /// # Errors
    /// What is wrong with the bytes; [`Reject::Full`] for more than `max`.
    pub fn read(reader: &mut Reader<'a>, max: usize) -> Result<Self, Reject> {
        let before = *reader;
        let count = reader.uint()?;
        if count > max as u64 {
            return Err(Reject::Full);
        }
        let mut start = before;
        start.uint()?;
        for _ in 0..count {
            Field::read(reader)?;
        }
        let len = start.rest().len() - reader.rest().len();
        Ok(Self::new(&start.rest()[..len]))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        Field::read(&mut self.0).ok()
    }
}
