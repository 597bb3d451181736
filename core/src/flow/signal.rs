//! Signals: what a run can wait for that comes from outside.
//!
//! A signal has a name, under which somebody sends it, or a *condition* over readings, which the
//! node looks for while a fiber waits for it. At most one of each kind is kept until somebody waits
//! for it; a later one takes its place.

use super::field::Fields;
use super::image::{Image, Part};
use super::op::Reg;
use super::{ANSWERS_MAX, NAME_MAX_BYTES};
use crate::Reject;
use crate::codec::{Reader, Sink};
use crate::condition::{Rule, Test};

/// Where a signal comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Source<'a> {
    /// Somebody sends it.
    Outside,
    /// A condition over a series.
    Condition {
        /// Of which device: a text of the image, or a register.
        device: Word<'a>,
        /// Of which metric.
        metric: Word<'a>,
        /// What is looked for.
        rule: Rule,
    },
}

/// A text that is known beforehand, or the register that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word<'a> {
    /// As it stands.
    Literal(&'a str),
    /// In a text register.
    Register(Reg),
}

impl<'a> Word<'a> {
    fn encode(self, out: &mut impl Sink) -> Result<(), Reject> {
        match self {
            Self::Literal(text) => {
                out.put_u8(0)?;
                out.put_bytes(text.as_bytes())
            }
            Self::Register(reg) => out.put(&[1, reg]),
        }
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, Reject> {
        match reader.u8()? {
            0 => Ok(Self::Literal(reader.str(crate::limits::METRIC_MAX_BYTES)?)),
            1 => Ok(Self::Register(reader.u8()?)),
            _ => Err(Reject::Malformed),
        }
    }
}

/// A signal, read in place.
#[derive(Clone, Copy, Debug)]
pub struct Signal<'a> {
    /// What it is called.
    pub name: &'a str,
    /// Where it comes from.
    pub source: Source<'a>,
    /// What it brings.
    pub values: Fields<'a>,
}

impl<'a> Signal<'a> {
    /// Reads a signal.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, Reject> {
        let name = reader.str(NAME_MAX_BYTES)?;
        let source = match reader.u8()? {
            0 => Source::Outside,
            1 => Source::Condition {
                device: Word::read(reader)?,
                metric: Word::read(reader)?,
                rule: read_rule(reader)?,
            },
            _ => return Err(Reject::Malformed),
        };
        Ok(Self { name, source, values: Fields::read(reader, ANSWERS_MAX)? })
    }
}

/// Appends what stands before the fields of a signal.
///
/// # Errors
/// [`Reject::Full`] when the sink has no room.
pub fn put_head(out: &mut impl Sink, name: &str, source: &Source<'_>) -> Result<(), Reject> {
    out.put_bytes(name.as_bytes())?;
    match source {
        Source::Outside => out.put_u8(0),
        Source::Condition { device, metric, rule } => {
            out.put_u8(1)?;
            device.encode(out)?;
            metric.encode(out)?;
            put_rule(out, rule)
        }
    }
}

/// One of the signals of an image.
#[must_use]
pub fn signal<'a>(image: &Image<'a>, index: u8) -> Option<Signal<'a>> {
    let mut reader = Reader::new(image.part(Part::Signals));
    for _ in 0..index {
        Signal::read(&mut reader).ok()?;
    }
    Signal::read(&mut reader).ok().filter(|_| index < image.sizes.signals)
}

const ABOVE: u8 = 0;
const BELOW: u8 = 1;
const EQUALS: u8 = 2;
const SILENT: u8 = 3;

/// Appends a rule.
///
/// # Errors
/// [`Reject::Full`] when the sink has no room.
pub fn put_rule(out: &mut impl Sink, rule: &Rule) -> Result<(), Reject> {
    match rule.test {
        Test::Above { limit, clear } => {
            out.put_u8(ABOVE)?;
            put_double(out, limit)?;
            put_double(out, clear)?;
        }
        Test::Below { limit, clear } => {
            out.put_u8(BELOW)?;
            put_double(out, limit)?;
            put_double(out, clear)?;
        }
        Test::Equals(value) => {
            out.put_u8(EQUALS)?;
            put_double(out, value)?;
        }
        Test::Silent { for_ns } => {
            out.put_u8(SILENT)?;
            out.put_int(for_ns)?;
        }
    }
    out.put_int(rule.hold_ns)?;
    out.put_int(rule.clear_hold_ns)
}

/// Reads a rule.
///
/// # Errors
/// What is wrong with the bytes; [`Reject::NonFinite`] for a limit that is no number.
pub fn read_rule(reader: &mut Reader<'_>) -> Result<Rule, Reject> {
    let test = match reader.u8()? {
        ABOVE => Test::Above { limit: double(reader)?, clear: double(reader)? },
        BELOW => Test::Below { limit: double(reader)?, clear: double(reader)? },
        EQUALS => Test::Equals(double(reader)?),
        SILENT => Test::Silent { for_ns: reader.int()? },
        _ => return Err(Reject::Malformed),
    };
    let is_ordered = match test {
        Test::Above { limit, clear } => clear <= limit,
        Test::Below { limit, clear } => clear >= limit,
        Test::Equals(_) => true,
        Test::Silent { for_ns } => for_ns > 0,
    };
    let rule = Rule { test, hold_ns: reader.int()?, clear_hold_ns: reader.int()? };
    let is_sound = is_ordered && rule.hold_ns >= 0 && rule.clear_hold_ns >= 0;
    if is_sound { Ok(rule) } else { Err(Reject::Malformed) }
}

fn put_double(out: &mut impl Sink, value: f64) -> Result<(), Reject> {
    out.put(&value.to_bits().to_le_bytes())
}

fn double(reader: &mut Reader<'_>) -> Result<f64, Reject> {
    let value = f64::from_bits(u64::from_le_bytes(reader.array()?));
    if value.is_finite() { Ok(value) } else { Err(Reject::NonFinite) }
}
