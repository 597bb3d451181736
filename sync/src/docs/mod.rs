//! Documents: state that several nodes change at once, for weeks without a link.
//!
//! A *document* is one flat map of cells ([`holdfast_core::state`]). The engine, Automerge, carries
//! the *changes*: which cells each writer put, and which changes it had seen. From them every
//! replica has, for each key, the same set of cells that have not seen each other, and `core` makes
//! of a set what is shown. The engine decides nothing, and nothing outside this folder names it.
//!
//! A local write is one change, made and stored in the transaction of its cause
//! ([`Documents::write`]): the change, the cells it touched, the heads, the author's signed head
//! and the document's new place in the sequence of changes. Reads take the stored cells
//! ([`Contents`]). Cells that a device has stamped itself are joined as they are
//! ([`Documents::join`]). What comes from elsewhere is checked twice before the engine sees it: its
//! form, off the writer's thread ([`Parcel::check`], [`SyncMessage::check`]), and its fit, in the
//! transaction ([`Documents::apply`]): who wrote it, whether they may, in whose name the cells are,
//! whether anything is missing. What breaks the engine all the same is caught and put into
//! quarantine.
//!
//! A history that has become long is *cut*: the document begins its next *epoch* with the cells it
//! has, once all who have it agree ([`cut`]).
//!
//! Who writes is an *actor*: a node in one of its starts, for one document ([`Introduction`]). No
//! number of an actor can be given twice, because no actor outlives its start.
//!
//! There is no clock but the one that is handed in, and no randomness. What users see of a document
//! besides its cells is its past ([`Documents::history`]) and what changed behind a place
//! ([`Documents::changed_since`]). Byte-exact page: `docs/formats/document.md`.

mod actor;
mod audit;
mod change;
mod chunk;
mod clock;
mod columns;
mod contents;
mod cursor;
mod cut;
mod documents;
mod edit;
mod engine;
mod epoch;
pub mod exchange;
mod fold;
mod history;
mod incoming;
mod join;
pub mod limits;
mod listing;
mod message;
mod name;
mod open;
mod parcel;
mod past;
mod recent;
mod records;
mod refusal;
mod settled;
mod signed;
pub mod sketch;
mod syncing;
mod waiting;
mod whole;

#[cfg(test)]
mod tests;

pub use actor::Introduction;
pub(crate) use audit::{audit, document_of, mend};
pub use chunk::Hash;
pub use clock::Clock;
pub use contents::{Contents, Size};
pub use cursor::Cursor;
pub use documents::{Documents, Written};
pub use edit::{Edit, What, Writer};
pub use incoming::{Applied, Judge, Roster};
pub use join::Joined;
pub use message::SyncMessage;
pub use name::{Class, DocumentName};
pub use parcel::Parcel;
pub use past::{Page, PastChange, PastPut};
pub use records::Status;
pub use refusal::Refusal;
pub use settled::Settled;
pub use signed::SignedHead;
pub use syncing::SyncState;

/// Separates this hash from every other use of BLAKE3; part of the format.
const CONTEXT: &str = "holdfast 2026-11 document heads v1";

/// The digest of a document: equal where the same changes are held.
#[must_use]
pub fn digest(heads: &[Hash]) -> [u8; 16] {
    let mut sorted = heads.to_vec();
    sorted.sort_unstable();
    let mut hash = blake3::Hasher::new_derive_key(CONTEXT);
    for head in &sorted {
        hash.update(head);
    }
    let mut out = [0; 16];
    hash.finalize_xof().fill(&mut out);
    out
}
