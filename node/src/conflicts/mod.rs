//! Conflicts: what was written at once in two places, and what became of it.
//!
//! A *settled* conflict has an outcome by its rule; the cells that lost are in the [`journal`], so
//! that a person can read why a value won and take back the other. An *open* one waits for a
//! person: its values are in the document side by side, equal on every node, and whoever chooses
//! writes a value that has seen them all.

pub mod journal;
pub mod open;

pub use journal::Entry;
pub use open::Open;
