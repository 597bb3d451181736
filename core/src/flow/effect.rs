//! What a run asks for: a kind of effect, what goes into it, and what is taken from its answer.
//!
//! An effect is described by the image and filled in from the registers of the run when it is asked
//! for, by the same code on a microcontroller and on the hub. Its *arguments* are templates: pieces
//! of text with registers between them, which know whether they stand in JSON.

use super::field::{Field, Fields};
use super::image::{Image, Slot, Type};
use super::memory::Memory;
use super::op::Reg;
use super::{PIECES_MAX, decimal};
use crate::Reject;
use crate::codec::{Reader, Sink};
use core::fmt;

/// It may be done twice: what comes of it is the same.
pub const IDEMPOTENT: u8 = 0x01;
/// Fields that an answer or a signal may bring.
pub const ANSWERS_MAX: usize = 8;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// A message on a topic.
    Publish = 1,
    /// What a device should be.
    Twin = 2,
    /// Something that a device is to do, and to answer.
    Command = 3,
    /// A request over HTTP.
    Http = 4,
    /// An alert begins.
    Raise = 5,
    /// An alert ends.
    Clear = 6,
    /// Somebody is told, until they say so.
    Notify = 7,
    /// A reading of the node's own.
    Emit = 8,
    /// The hub is to go on with it.
    Forward = 9,
    /// Another workflow, and its end.
    Flow = 10,
    /// The newest value of a series.
    Reading = 11,
    /// What is reported or desired of a device.
    State = 12,
    /// The time at the site.
    Clock = 13,
    /// An output of the device that it runs on.
    Actuate = 14,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Publish,
        Self::Twin,
        Self::Command,
        Self::Http,
        Self::Raise,
        Self::Clear,
        Self::Notify,
        Self::Emit,
        Self::Forward,
        Self::Flow,
        Self::Reading,
        Self::State,
        Self::Clock,
        Self::Actuate,
    ];

    /// Reads the number under which a kind is stored.
    #[must_use]
    pub fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// The word in definitions and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Twin => "set",
            Self::Command => "command",
            Self::Http => "http",
            Self::Raise => "raise",
            Self::Clear => "clear",
            Self::Notify => "notify",
            Self::Emit => "emit",
            Self::Forward => "forward",
            Self::Flow => "run",
            Self::Reading => "reading",
            Self::State => "twin",
            Self::Clock => "clock",
            Self::Actuate => "actuate",
        }
    }

    /// What has to be said of it.
    #[must_use]
    pub const fn needs(self) -> &'static [Argument] {
        match self {
            Self::Publish => &[Argument::Topic, Argument::Payload],
            Self::Twin => &[Argument::Device, Argument::Path, Argument::Value],
            Self::Command | Self::Flow | Self::Forward => &[Argument::Name],
            Self::Http => &[Argument::Method, Argument::Url],
            Self::Raise | Self::Clear => &[Argument::Name],
            Self::Notify => &[Argument::Target, Argument::Text],
            Self::Emit => &[Argument::Metric, Argument::Value],
            Self::Reading => &[Argument::Device, Argument::Metric],
            Self::State => &[Argument::Device, Argument::Path],
            Self::Clock => &[],
            Self::Actuate => &[Argument::Name, Argument::Value],
        }
    }

    /// Whether an expression asks for it, and has no value without the answer.
    #[must_use]
    pub const fn is_question(self) -> bool {
        matches!(self, Self::Reading | Self::State | Self::Clock)
    }

    /// The bit of this kind in a set of kinds.
    #[must_use]
    pub const fn bit(self) -> u32 {
        1 << self as u8
    }
}

/// What can be said of an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Argument {
    /// Which topic.
    Topic = 1,
    /// With which content.
    Payload = 2,
    /// Of which device.
    Device = 3,
    /// Which path of a document.
    Path = 4,
    /// Which value.
    Value = 5,
    /// What it is called.
    Name = 6,
    /// With what, as JSON.
    Args = 7,
    /// The method of HTTP.
    Method = 8,
    /// Where to.
    Url = 9,
    /// The body of a request.
    Body = 10,
    /// Which metric.
    Metric = 11,
    /// In which unit.
    Unit = 12,
    /// How much it matters.
    Severity = 13,
    /// What people read.
    Text = 14,
    /// Who is told.
    Target = 15,
    /// Quality of service.
    Qos = 16,
    /// Whether it is kept.
    Retain = 17,
    /// Seconds until it is not to be begun any more.
    Lasts = 18,
    /// What kind of content it is.
    ContentType = 19,
}

impl Argument {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Topic,
        Self::Payload,
        Self::Device,
        Self::Path,
        Self::Value,
        Self::Name,
        Self::Args,
        Self::Method,
        Self::Url,
        Self::Body,
        Self::Metric,
        Self::Unit,
        Self::Severity,
        Self::Text,
        Self::Target,
        Self::Qos,
        Self::Retain,
        Self::Lasts,
        Self::ContentType,
    ];

    /// Reads the number under which an argument is stored.
    #[must_use]
    pub fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }
}

/// A piece of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// As it stands.
    Literal(&'a str),
    /// A number; in JSON it is one, too.
    Number(Reg),
    /// A text as it is.
    Text(Reg),
    /// A text as a string of JSON, in quotes.
    Quoted(Reg),
    /// A text inside of a string of JSON.
    Escaped(Reg),
}

impl<'a> Piece<'a> {
    /// Appends the piece.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room.
    pub fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        match *self {
            Self::Literal(text) => {
                out.put_u8(0)?;
                out.put_bytes(text.as_bytes())
            }
            Self::Number(reg) => out.put(&[1, reg]),
            Self::Text(reg) => out.put(&[2, reg]),
            Self::Quoted(reg) => out.put(&[3, reg]),
            Self::Escaped(reg) => out.put(&[4, reg]),
        }
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, Reject> {
        Ok(match reader.u8()? {
            0 => Self::Literal(reader.str(super::LITERAL_MAX_BYTES)?),
            1 => Self::Number(reader.u8()?),
            2 => Self::Text(reader.u8()?),
            3 => Self::Quoted(reader.u8()?),
            4 => Self::Escaped(reader.u8()?),
            _ => return Err(Reject::Malformed),
        })
    }

    /// The register that it reads.
    #[must_use]
    pub const fn slot(&self) -> Option<Slot> {
        match *self {
            Self::Literal(_) => None,
            Self::Number(reg) => Some(Slot::Number(reg)),
            Self::Text(reg) | Self::Quoted(reg) | Self::Escaped(reg) => Some(Slot::Text(reg)),
        }
    }
}

/// The pieces of an argument, read in place.
#[derive(Clone, Copy, Debug)]
pub struct Template<'a> {
    reader: Reader<'a>,
    left: u64,
}

impl<'a> Template<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Reject> {
        let left = reader.uint()?;
        if left > PIECES_MAX {
            return Err(Reject::Full);
        }
        let template = Self { reader: *reader, left };
        for _ in 0..left {
            Piece::read(reader)?;
        }
        Ok(template)
    }

    /// Appends the text that the pieces make with the registers of a run.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room, [`Reject::Malformed`] for a register that is not
    /// there.
    pub fn render(
        self,
        image: &Image<'_>,
        memory: &Memory<'_>,
        out: &mut impl Sink,
    ) -> Result<(), Reject> {
        for piece in self {
            match piece {
                Piece::Literal(text) => out.put(text.as_bytes())?,
                Piece::Number(reg) => {
                    let of = image.type_of(reg).ok_or(Reject::Malformed)?;
                    put_number(out, of, memory.number(reg))?;
                }
                Piece::Text(reg) => out.put(memory.text(reg).as_bytes())?,
                Piece::Quoted(reg) => {
                    out.put_u8(b'"')?;
                    put_escaped(out, memory.text(reg))?;
                    out.put_u8(b'"')?;
                }
                Piece::Escaped(reg) => put_escaped(out, memory.text(reg))?,
            }
        }
        Ok(())
    }
}

impl<'a> Iterator for Template<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        self.left = self.left.checked_sub(1)?;
        Piece::read(&mut self.reader).ok()
    }
}

/// An effect, read in place.
#[derive(Clone, Copy, Debug)]
pub struct Effect<'a> {
    /// What is to be done.
    pub kind: Kind,
    /// [`IDEMPOTENT`], or nothing.
    pub flags: u8,
    /// How long one attempt may take, milliseconds; 0 for as long as it takes.
    pub timeout_ms: u64,
    /// The first of the rules by which it is repeated.
    pub retry_first: u16,
    /// How many rules there are.
    pub retry_count: u16,
    /// What is taken from its answer.
    pub answers: Fields<'a>,
    arguments: Reader<'a>,
    count: u64,
}

impl<'a> Effect<'a> {
    /// Reads an effect, all of it.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(bytes);
        let [kind, flags] = reader.array()?;
        let kind = Kind::from_u8(kind).ok_or(Reject::Malformed)?;
        if flags & !IDEMPOTENT != 0 {
            return Err(Reject::Malformed);
        }
        let timeout_ms = reader.uint()?;
        let mut word = || u16::try_from(reader.uint()?).map_err(|_| Reject::Malformed);
        let (retry_first, retry_count) = (word()?, word()?);
        let count = reader.uint()?;
        let arguments = reader;
        let mut before = 0;
        for _ in 0..count {
            let number = reader.u8()?;
            // Ascending, so that there is one way to write them.
            if number <= before || Argument::from_u8(number).is_none() {
                return Err(Reject::Malformed);
            }
            before = number;
            Template::read(&mut reader)?;
        }
        let answers = Fields::read(&mut reader, ANSWERS_MAX)?;
        reader.finish()?;
        let effect =
            Self { kind, flags, timeout_ms, retry_first, retry_count, answers, arguments, count };
        let has_all = kind.needs().iter().all(|needed| effect.argument(*needed).is_some());
        if has_all { Ok(effect) } else { Err(Reject::Malformed) }
    }

    /// What is said of it.
    pub fn arguments(&self) -> impl Iterator<Item = (Argument, Template<'a>)> + use<'a> {
        let mut reader = self.arguments;
        (0..self.count).map_while(move |_| {
            let argument = Argument::from_u8(reader.u8().ok()?)?;
            Some((argument, Template::read(&mut reader).ok()?))
        })
    }

    /// One of them.
    #[must_use]
    pub fn argument(&self, argument: Argument) -> Option<Template<'a>> {
        self.arguments().find(|(known, _)| *known == argument).map(|(_, template)| template)
    }

    /// Whether it may be done twice.
    #[must_use]
    pub const fn is_idempotent(&self) -> bool {
        self.flags & IDEMPOTENT != 0
    }
}

/// What stands of an effect before its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What is to be done.
    pub kind: Kind,
    /// [`IDEMPOTENT`], or nothing.
    pub flags: u8,
    /// How long one attempt may take, milliseconds; 0 for as long as it takes.
    pub timeout_ms: u64,
    /// The first of the rules by which it is repeated, and how many there are.
    pub retries: (u16, u16),
}

/// Appends an effect. Its arguments are to be in the order of their numbers.
///
/// # Errors
/// [`Reject::Full`] when the sink has no room.
pub fn encode(
    out: &mut impl Sink,
    head: &Head,
    arguments: &[(Argument, &[Piece<'_>])],
    answers: &[Field<'_>],
) -> Result<(), Reject> {
    out.put(&[head.kind as u8, head.flags])?;
    out.put_uint(head.timeout_ms)?;
    out.put_uint(u64::from(head.retries.0))?;
    out.put_uint(u64::from(head.retries.1))?;
    out.put_uint(arguments.len() as u64)?;
    for (argument, pieces) in arguments {
        out.put_u8(*argument as u8)?;
        out.put_uint(pieces.len() as u64)?;
        for piece in *pieces {
            piece.encode(out)?;
        }
    }
    out.put_uint(answers.len() as u64)?;
    for field in answers {
        field.encode(out)?;
    }
    Ok(())
}

/// Appends a number as people and JSON write it.
///
/// # Errors
/// [`Reject::Full`] when the sink has no room.
pub fn put_number(out: &mut impl Sink, of: Type, number: i64) -> Result<(), Reject> {
    struct Into<'s, S>(&'s mut S);
    impl<S: Sink> fmt::Write for Into<'_, S> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.put(text.as_bytes()).map_err(|_| fmt::Error)
        }
    }
    let mut out = Into(out);
    let written = match of {
        Type::Int => fmt::write(&mut out, format_args!("{number}")),
        Type::Decimal => fmt::write(&mut out, format_args!("{}", decimal::Shown(number))),
        Type::Bool => fmt::write(&mut out, format_args!("{}", number != 0)),
    };
    written.map_err(|_| Reject::Full)
}

/// Appends a text as it stands inside of a string of JSON (RFC 8259, section 7).
fn put_escaped(out: &mut impl Sink, text: &str) -> Result<(), Reject> {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.put(&[b'\\', byte])?,
            b'\n' => out.put(b"\\n")?,
            b'\r' => out.put(b"\\r")?,
            b'\t' => out.put(b"\\t")?,
            0..0x20 => {
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                out.put(&[b'\\', b'u', b'0', b'0', high, low])?;
            }
            _ => out.put_u8(byte)?,
        }
    }
    Ok(())
}
