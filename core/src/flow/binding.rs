//! Bindings: what a run is given by the trigger that begins it.

use super::trigger::Fact;
use super::{NAME_MAX_BYTES, TEXT_MAX_BYTES};
use crate::Reject;
use crate::codec::{Reader, Sink};

/// Where a value comes from that a run is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source<'a> {
    /// A number that is known beforehand, as its register has it.
    Number(i64),
    /// A text that is known beforehand.
    Text(&'a str),
    /// A fact.
    Fact(Fact),
    /// A way through the content of a message.
    Path(&'a str),
}

/// What a field that a run is given gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding<'a> {
    /// Which of the fields, from 0.
    pub input: u8,
    /// What.
    pub source: Source<'a>,
}

impl<'a> Binding<'a> {
    /// Appends it.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room.
    pub fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        out.put_u8(self.input)?;
        match self.source {
            Source::Number(number) => {
                out.put_u8(0)?;
                out.put_int(number)
            }
            Source::Text(text) => {
                out.put_u8(1)?;
                out.put_bytes(text.as_bytes())
            }
            Source::Fact(fact) => out.put(&[2, fact.code()]),
            Source::Path(path) => {
                out.put_u8(3)?;
                out.put_bytes(path.as_bytes())
            }
        }
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, Reject> {
        let [input, source] = reader.array()?;
        let source = match source {
            0 => Source::Number(reader.int()?),
            1 => Source::Text(reader.str(TEXT_MAX_BYTES)?),
            2 => Source::Fact(Fact::from_code(reader.u8()?).ok_or(Reject::Malformed)?),
            3 => Source::Path(reader.str(NAME_MAX_BYTES)?),
            _ => return Err(Reject::Malformed),
        };
        Ok(Self { input, source })
    }
}

/// What a run is given, read in place.
#[derive(Clone, Copy, Debug)]
pub struct Bindings<'a>(Reader<'a>);

impl<'a> Bindings<'a> {
    /// All that is left.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn read(reader: Reader<'a>) -> Result<Self, Reject> {
        let mut rest = reader;
        while !rest.rest().is_empty() {
            Binding::read(&mut rest)?;
        }
        Ok(Self(reader))
    }
}

impl<'a> Iterator for Bindings<'a> {
    type Item = Binding<'a>;

    fn next(&mut self) -> Option<Binding<'a>> {
        Binding::read(&mut self.0).ok()
    }
}
