//! An image in the making: tables that grow, written down as one image at the end.
//!
//! Whoever compiles fills the tables; how many bytes they take, where parts end and how long a turn
//! can be is worked out here. What comes out is not verified yet.

use super::about::About;
use super::field::Field;
use super::image::{
    Counts, FORMAT, Handler, IMAGE_MAX_BYTES, Image, PARTS, Part, Retry, Sizes, Type,
};
use super::op::{Op, Pc};
use super::verify;
use crate::Reject;
use crate::codec::Sink;
use alloc::string::String;
use alloc::vec::Vec;

/// An image in the making.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// The types of the number registers.
    pub types: Vec<Type>,
    /// Registers of texts.
    pub texts: u8,
    /// Branches at once, the first included.
    pub fibers: u8,
    /// What can be undone at once.
    pub undos: u8,
    /// Loops.
    pub counters: u8,
    /// Signals.
    pub signals: u8,
    /// [`super::image::PARKS`], or nothing.
    pub flags: u8,
    /// For how many seconds a run may go on; 0 for ever.
    pub lasts_s: u32,
    /// The operations.
    pub ops: Vec<Op>,
    /// The numbers.
    pub constants: Vec<i64>,
    /// The texts.
    pub strings: Vec<String>,
    /// The names of errors of its own.
    pub errors: Vec<String>,
    /// The handlers, in the order in which they are asked.
    pub handlers: Vec<Handler>,
    /// The rules for repeating.
    pub retries: Vec<Retry>,
    /// The effects, as [`super::effect::encode`] writes them.
    pub effects: Vec<Vec<u8>>,
    /// The triggers.
    pub triggers: Vec<Vec<u8>>,
    /// The parts that are there once, in the order of [`Part`].
    pub parts: [Vec<u8>; PARTS],
}

impl Draft {
    /// One without anything, but that a run has one fiber.
    #[must_use]
    pub fn new(about: &About<'_>) -> Self {
        let mut draft = Self { fibers: 1, ..Self::default() };
        // A vector takes whatever comes.
        let _ = about.encode(&mut draft.parts[Part::About as usize]);
        draft
    }

    /// Adds an operation and gives its place.
    pub fn push(&mut self, op: Op) -> Pc {
        self.ops.push(op);
        (self.ops.len() - 1) as Pc
    }

    /// A new register of numbers.
    pub fn number(&mut self, of: Type) -> u8 {
        self.types.push(of);
        (self.types.len() - 1) as u8
    }

    /// The place of a number among those of the image.
    pub fn constant(&mut self, number: i64) -> u16 {
        place_of(&mut self.constants, number)
    }

    /// The place of a text among those of the image.
    pub fn string(&mut self, text: &str) -> u16 {
        place_of(&mut self.strings, String::from(text))
    }

    /// Adds a field to a part.
    pub fn field(&mut self, part: Part, field: &Field<'_>) {
        // A vector takes whatever comes.
        let _ = field.encode(&mut self.parts[part as usize]);
    }

    /// Adds a label.
    pub fn label(&mut self, pc: Pc, name: &str) {
        let part = &mut self.parts[Part::Labels as usize];
        let _ = part.put_uint(u64::from(pc)).and_then(|()| part.put_bytes(name.as_bytes()));
    }

    /// The image.
    ///
    /// # Errors
    /// [`Reject::Long`] where it is longer than an image can be, or a table has more entries than
    /// it can have.
    pub fn encode(&self) -> Result<Vec<u8>, Reject> {
        let mut bytes = self.encode_with(u32::MAX)?;
        let fuel = verify::fuel_of(&Image::parse(&bytes)?);
        let fuel = u32::try_from(fuel).unwrap_or(u32::MAX);
        bytes[28..32].copy_from_slice(&fuel.to_le_bytes());
        Ok(bytes)
    }

    fn encode_with(&self, fuel: u32) -> Result<Vec<u8>, Reject> {
        let byte = |count: usize| u8::try_from(count).map_err(|_| Reject::Long);
        let word = |count: usize| u16::try_from(count).map_err(|_| Reject::Long);
        let sizes = Sizes {
            numbers: byte(self.types.len())?,
            texts: self.texts,
            fibers: self.fibers,
            undos: self.undos,
            counters: self.counters,
            signals: self.signals,
            fuel,
        };
        let counts = Counts {
            ops: word(self.ops.len())?,
            constants: word(self.constants.len())?,
            texts: word(self.strings.len())?,
            errors: word(self.errors.len())?,
            handlers: word(self.handlers.len())?,
            retries: word(self.retries.len())?,
            effects: word(self.effects.len())?,
            triggers: word(self.triggers.len())?,
        };
        let mut out = header(self.flags, &sizes, &counts, self.lasts_s);
        out.extend(self.types.iter().map(|of| *of as u8));
        out.extend(self.ops.iter().flat_map(|op| op.encode()));
        out.extend(self.constants.iter().flat_map(|number| number.to_le_bytes()));
        out.extend(self.handlers.iter().flat_map(Handler::encode));
        out.extend(self.retries.iter().flat_map(Retry::encode));
        let mut end = 0;
        for part in self.all_parts() {
            end += part.len();
            out.extend_from_slice(&word(end)?.to_le_bytes());
        }
        for part in self.all_parts() {
            out.extend_from_slice(part);
        }
        if out.len() > IMAGE_MAX_BYTES { Err(Reject::Long) } else { Ok(out) }
    }

    fn all_parts(&self) -> impl Iterator<Item = &[u8]> {
        let fixed = self.parts.iter().map(Vec::as_slice);
        let strings = self.strings.iter().chain(&self.errors).map(String::as_bytes);
        let described = self.effects.iter().chain(&self.triggers).map(Vec::as_slice);
        fixed.chain(strings).chain(described)
    }
}

fn header(flags: u8, sizes: &Sizes, counts: &Counts, lasts_s: u32) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend([FORMAT, flags, sizes.numbers, sizes.texts, sizes.fibers, sizes.undos]);
    out.extend([sizes.counters, sizes.signals]);
    let words = [
        counts.ops,
        counts.constants,
        counts.texts,
        counts.errors,
        counts.handlers,
        counts.retries,
        counts.effects,
        counts.triggers,
    ];
    out.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    out.extend(lasts_s.to_le_bytes());
    out.extend(sizes.fuel.to_le_bytes());
    out
}

fn place_of<T: PartialEq>(table: &mut Vec<T>, entry: T) -> u16 {
    let known = table.iter().position(|known| *known == entry);
    known.unwrap_or_else(|| {
        table.push(entry);
        table.len() - 1
    }) as u16
}
