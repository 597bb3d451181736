//! Power cuts: a node runs under a shim that journals its writes and syncs, and any point of that
//! journal can be turned into a directory as a disk might hold it after the power went there.
//!
//! What a file's sync covered stays. Every other write may be there, missing, torn at 512 bytes
//! or out of order; every other change of a directory may be there or undone. Two readings of the
//! standards are drawn per seed, see [`NameRule`].
//!
//! The way of a campaign: [`Recording::begin`] copies the data directory as it is (that much is on
//! disk), a process runs with [`Recording::environment`], the loader notes [`Recording::len`]
//! after each acknowledgement, and then [`Journal::cut`] builds as many aftermaths as wanted.
//! First of all, [`Journal::unseen`] must find nothing: it proves that the shim saw every change.

mod content;
mod cut;
mod history;
mod journal;
mod recording;
mod shim;
mod tree;

/// The record format, compiled from the shim's own source: a `cdylib` cannot be linked as a
/// library, and its C symbols must not get into this process.
#[path = "../../shim/src/format.rs"]
mod format;

pub use cut::{Aftermath, DataRule, NameRule};
pub use journal::Journal;
pub use recording::Recording;
pub use shim::library;
