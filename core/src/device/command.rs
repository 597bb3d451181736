//! Something that a device is to do once, and what came of it.
//!
//! A command comes again until its answer is on the gateway's disk, so a device remembers what it
//! has done by the command's id, and keeps an answer until it hears that it is safe. The gateway
//! says now and then which is the oldest that may still come; what lies below it need not be
//! remembered. Arguments are values at paths, as a twin's are.

use crate::codec::{Reader, Sink};
use crate::limits::PATH_MAX_BYTES;
use crate::log::{put_value, read_value};
use crate::reading::Text;
use crate::state::Path;
use crate::{Reject, Value};

/// What a command is called. Later ones are greater, unless the gateway's clock was set back.
pub type CommandId = [u8; 16];
/// Stands in [`COMMANDS`](super::COMMANDS) where none waits: none that came before comes again.
pub const NO_COMMAND: CommandId = [0; 16];
/// Bytes of what is to be done.
pub const NAME_MAX_BYTES: usize = 64;

const DONE: u8 = 1;
const FAILED: u8 = 2;

/// Values at paths, ascending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arguments<'a> {
    rest: Reader<'a>,
}

impl<'a> Arguments<'a> {
    /// Those in `bytes`.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(bytes);
        let mut last = None;
        while !reader.rest().is_empty() {
            let (path, _) = argument(&mut reader)?;
            if last.is_some_and(|last| last >= path) {
                return Err(Reject::Malformed);
            }
            last = Some(path);
        }
        Ok(Self { rest: Reader::new(bytes) })
    }

    /// The bytes of those that were not iterated over yet.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.rest.rest()
    }

    /// The value at `path`.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<Value<'a>> {
        let mut all = *self;
        all.find(|(at, _)| at.as_str() == path).map(|(_, value)| value)
    }
}

impl<'a> Iterator for Arguments<'a> {
    type Item = (Path<'a>, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        // They were checked when they were read: only their end cannot be.
        argument(&mut self.rest).ok()
    }
}

fn argument<'a>(reader: &mut Reader<'a>) -> Result<(Path<'a>, Value<'a>), Reject> {
    let path = Path::new(reader.str(PATH_MAX_BYTES)?)?;
    Ok((path, read_value(reader)?))
}

/// Appends an argument.
///
/// # Errors
/// [`Reject::Full`] when the sink has no room.
pub fn put_argument(out: &mut impl Sink, path: Path<'_>, value: &Value<'_>) -> Result<(), Reject> {
    out.put_bytes(path.as_str().as_bytes())?;
    put_value(out, value)
}

/// Something to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command<'a> {
    /// What it is called.
    pub id: CommandId,
    /// Milliseconds in which it may be begun, from when it comes.
    pub expires_ms: u64,
    /// What is to be done.
    pub name: &'a str,
    /// With what.
    pub arguments: Arguments<'a>,
}

impl<'a> Command<'a> {
    /// Appends it.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room.
    pub fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        out.put(&self.id)?;
        out.put_uint(self.expires_ms)?;
        out.put_bytes(self.name.as_bytes())?;
        out.put(self.arguments.as_bytes())
    }

    /// Reads it, all arguments included.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(payload: &'a [u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(payload);
        let id = reader.array()?;
        let expires_ms = reader.uint()?;
        let name = reader.str(NAME_MAX_BYTES)?;
        let arguments = Arguments::read(reader.rest())?;
        Ok(Self { id, expires_ms, name, arguments })
    }
}

/// What came of a command.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome<'a> {
    /// It is done, and this came of it, if anything did.
    Done(Option<Value<'a>>),
    /// It is not done, and this is why.
    Failed(Text<'a>),
}

/// A device's answer to a command.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reply<'a> {
    /// Which command.
    pub id: CommandId,
    /// What came of it.
    pub outcome: Outcome<'a>,
}

impl<'a> Reply<'a> {
    /// Appends it.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room.
    pub fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        out.put(&self.id)?;
        match &self.outcome {
            Outcome::Done(value) => {
                out.put_u8(DONE)?;
                value.iter().try_for_each(|value| put_value(out, value))
            }
            Outcome::Failed(text) => {
                out.put_u8(FAILED)?;
                put_value(out, &Value::Text(*text))
            }
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(payload: &'a [u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(payload);
        let id = reader.array()?;
        let state = reader.u8()?;
        let is_over = reader.rest().is_empty();
        let value = if is_over { None } else { Some(read_value(&mut reader)?) };
        reader.finish()?;
        let outcome = match (state, value) {
            (DONE, value) => Outcome::Done(value),
            (FAILED, Some(Value::Text(text))) => Outcome::Failed(text),
            (FAILED, None) => return Err(Reject::Truncated),
            _ => return Err(Reject::Malformed),
        };
        Ok(Self { id, outcome })
    }
}

/// A gateway's word about one command: in an envelope of the kind [`REPLIED`](super::REPLIED) that
/// it needs no more answers to it, in one of [`COMMANDS`](super::COMMANDS) that it is the oldest
/// that may still come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// The command.
    pub id: CommandId,
}

impl Named {
    /// Appends it.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room.
    pub fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        out.put(&self.id)
    }

    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(payload: &[u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(payload);
        let id = reader.array()?;
        reader.finish()?;
        Ok(Self { id })
    }
}
