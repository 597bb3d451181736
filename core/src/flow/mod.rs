//! Workflows: what is to be done when something happens, and what if that fails.
//!
//! A workflow is compiled to an [`image`]: operations of eight bytes, numbers, texts, descriptions
//! of effects. [`mod@verify`] accepts an image or says what is wrong with it and where; from then
//! on it is known how much memory a run takes and how long a step can be. A run is its [`memory`],
//! and [`machine`] makes the next memory from it and an input: purely, so that a microcontroller, a
//! gateway and the hub come to the same from the same. What a run wants done stands in its memory
//! ([`view`]); whoever runs it writes the memory down first and does it then.
//!
//! Byte-exact page: `docs/formats/flow.md`.

pub mod about;
pub mod binding;
mod compute;
pub mod decimal;
#[cfg(any(test, feature = "alloc"))]
pub mod draft;
pub mod effect;
pub mod error;
pub mod field;
pub mod image;
pub mod machine;
pub mod memory;
pub mod migrate;
pub mod op;
pub mod schedule;
pub mod signal;
pub mod trigger;
#[cfg(any(test, feature = "vectors"))]
pub mod vectors;
pub mod verify;
pub mod view;

pub use effect::ANSWERS_MAX;
pub use error::Code;
pub use image::{Image, Slot, Type};
pub use machine::{Given, Input, Moment, Outcome, Refusal, Resolution, clock_set, start, step};
pub use memory::{Memory, NEVER, Phase};
pub use migrate::{Obstacle, Version, migrate};
pub use op::{Op, Pc, Reg};
pub use verify::{Rejection, Tier, Why, verify};

/// Bytes of a text register: a device id has as many.
pub const TEXT_MAX_BYTES: usize = 64;
/// Bytes of the name of a field, a label or a signal, and of the way through an answer.
pub const NAME_MAX_BYTES: usize = 64;
/// Bytes of a piece of text in an argument.
pub const LITERAL_MAX_BYTES: usize = 4096;
/// Pieces of an argument.
pub const PIECES_MAX: u64 = 64;

#[cfg(test)]
mod tests;
