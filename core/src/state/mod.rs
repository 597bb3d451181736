//! State: documents that several writers change at once and that every replica shows alike.
//!
//! A *document* is one flat map. Its keys are [`Path`]s (`net/ip`), and under each stands a
//! [`Cell`]: a value or the tombstone of one, with its stamp, its [`Author`] and the author's
//! [`Role`]. Cells are never changed, only replaced. The stamp of a write exceeds the stamps of all
//! it replaces ([`Stamp::over`]), so what has seen another write beats it, whatever the clocks say;
//! clocks only decide between writes that have not seen each other.
//!
//! Whoever carries a document keeps, for each path, the *set* of cells that have not seen each
//! other ([`Concurrent`]). [`resolve`] makes of such a set one [`Outcome`] by the [`Rule`] that the
//! [`Policy`] has for the path, and a [`View`] does so for a whole document. These are pure
//! functions of sets: the same cells give the same bytes ([`digest`]) on every replica.
//!
//! A microcontroller has no room for sets of cells and sends deltas instead of changes. For it
//! there are bounded types that merge by themselves, each a [`Lattice`]: [`Register`], [`LwwMap`],
//! [`Counter`], [`CausalSet`], [`MultiValue`] and [`VersionVector`]. [`Deltas`] remembers what a
//! peer has not acknowledged. Parts of counters and sets are contents of cells, so what a device
//! counts or collects goes into a document unchanged.
//!
//! Nothing here grows beyond its bound: what does not fit is refused with [`Reject::Full`] before
//! anything has changed. Byte-exact page: `docs/formats/cell.md`.

mod array;
mod author;
mod cell;
mod concurrent;
mod counter;
mod deltas;
mod digest;
mod elements;
mod key;
mod map;
mod multi;
mod packed;
mod path;
mod pattern;
mod policy;
mod register;
mod resolve;
mod role;
mod set;
#[cfg(target_pointer_width = "32")]
mod sizes;
mod tally;
mod union;
mod value;
#[cfg(any(test, feature = "vectors"))]
pub mod vectors;
mod version;
mod view;

#[cfg(test)]
mod tests;

pub use array::Array;
pub use author::Author;
pub use cell::{CELL_MAX_BYTES, Cell, Content};
pub use concurrent::Concurrent;
pub use counter::Counter;
pub use deltas::{Deltas, Lack, Mark};
pub use digest::{ConflictId, ViewDigest, conflict_id, digest, encode_view};
pub use elements::{Elements, Items};
pub use key::Key;
pub use map::{LwwMap, Records, Writer, put_record};
pub use multi::MultiValue;
pub use path::Path;
pub use pattern::Pattern;
pub use policy::{Line, Policy, PolicyId, Rule};
pub use register::Register;
pub use resolve::{Label, Outcome, Shown, resolve};
pub use role::Role;
pub use set::CausalSet;
pub use tally::Tally;
pub use union::Union;
pub use value::{Text, Value};
pub use version::{Causality, Dot, VersionVector};
pub use view::{Resolved, View};

use crate::Reject;
#[cfg(doc)]
use crate::hlc::Stamp;

/// A state that only grows by joining: in any order, any number of times, to the same end.
pub trait Lattice {
    /// Joins `other` into this state; whether that changed anything.
    ///
    /// # Errors
    /// [`Reject::Full`] when the join has no room; the state is then unchanged.
    fn join(&mut self, other: &Self) -> Result<bool, Reject>;
}
