//! A view in bytes, and its hash: equal documents under equal policies have equal digests.
//!
//! The bytes say what the view shows and who wrote it when, open conflicts included, and neither
//! what lost nor what was deleted, so a document keeps its digest when an epoch drops those.
//! Byte-exact page: `docs/formats/cell.md`.

use super::Reject;
use super::cell::Cell;
use super::path::Path;
use super::policy::PolicyId;
use super::resolve::Shown;
use super::view::Resolved;
use crate::codec::Sink;
use core::fmt;

/// The format written today.
const FORMAT: u8 = 1;
/// Separates these hashes from every other use of BLAKE3; part of the format.
const VIEW_CONTEXT: &str = "holdfast 2026-11 state view v1";
const CONFLICT_CONTEXT: &str = "holdfast 2026-11 state conflict v1";

const VALUE: u8 = 0;
const COUNTER: u8 = 1;
const SET: u8 = 2;
const OPEN: u8 = 3;
/// Stands where the kind of one more element would.
const END: u8 = 255;

/// The hash of a view.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewDigest(pub [u8; 32]);

/// The name of a conflict: a hash of where it is and which writes take part.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConflictId(pub [u8; 16]);

macro_rules! shown_in_hex {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

shown_in_hex!(ViewDigest);
shown_in_hex!(ConflictId);

/// A sink that keeps nothing but the hash.
struct Hashing(blake3::Hasher);

impl Sink for Hashing {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Reject> {
        self.0.update(bytes);
        Ok(())
    }
}

/// The digest of a view of `document` that was resolved with `policy`.
#[must_use]
pub fn digest<'p, 'c, 'a: 'c>(
    document: Path<'_>,
    policy: PolicyId,
    view: impl Iterator<Item = Resolved<'p, 'c, 'a>>,
) -> ViewDigest {
    let mut hashing = Hashing(blake3::Hasher::new_derive_key(VIEW_CONTEXT));
    let hashed = encode_view(document, policy, view, &mut hashing);
    debug_assert!(hashed.is_ok(), "a hash never runs out of room");
    ViewDigest(*hashing.0.finalize().as_bytes())
}

/// Appends the bytes of a view of `document` that was resolved with `policy`.
///
/// # Errors
/// [`Reject::Full`] when the sink has no room.
pub fn encode_view<'p, 'c, 'a: 'c>(
    document: Path<'_>,
    policy: PolicyId,
    view: impl Iterator<Item = Resolved<'p, 'c, 'a>>,
    out: &mut impl Sink,
) -> Result<(), Reject> {
    out.put_u8(FORMAT)?;
    out.put(&policy.0)?;
    out.put_bytes(document.as_str().as_bytes())?;
    view.filter(Resolved::is_in_view).try_for_each(|resolved| put_entry(out, &resolved))
}

fn put_entry(out: &mut impl Sink, resolved: &Resolved<'_, '_, '_>) -> Result<(), Reject> {
    let Resolved { path, outcome, .. } = resolved;
    out.put_bytes(path.as_str().as_bytes())?;
    if outcome.is_open() {
        out.put_u8(OPEN)?;
        out.put_uint(outcome.choices().count() as u64)?;
        return outcome.choices().try_for_each(|cell| put_cell(out, cell));
    }
    match outcome.shown() {
        Shown::Value(_) => {
            out.put_u8(VALUE)?;
            outcome.winner().into_iter().try_for_each(|cell| put_cell(out, cell))
        }
        Shown::Counter(total) => {
            put_last_write(out, COUNTER, resolved)?;
            out.put_int(total)
        }
        Shown::Set => {
            put_last_write(out, SET, resolved)?;
            outcome.union().present().try_for_each(|value| {
                out.put_u8(value.kind())?;
                value.put(out)
            })?;
            out.put_u8(END)
        }
        // What shows nothing and is not open is not in the view.
        Shown::Absent => Ok(()),
    }
}

fn put_cell(out: &mut impl Sink, cell: &Cell<'_>) -> Result<(), Reject> {
    out.put_uint(cell.encoded_len() as u64)?;
    cell.encode(out)
}

fn put_last_write(out: &mut impl Sink, tag: u8, from: &Resolved<'_, '_, '_>) -> Result<(), Reject> {
    out.put_u8(tag)?;
    from.outcome.last_write().into_iter().try_for_each(|(stamp, author)| {
        out.put(&stamp.0.to_le_bytes())?;
        out.put(&author.0)
    })
}

/// The name of the conflict between the cells of `resolved` in `document`.
#[must_use]
pub fn conflict_id(document: Path<'_>, resolved: &Resolved<'_, '_, '_>) -> ConflictId {
    let mut hashing = Hashing(blake3::Hasher::new_derive_key(CONFLICT_CONTEXT));
    let hashed = put_conflict(&mut hashing, document, resolved);
    debug_assert!(hashed.is_ok(), "a hash never runs out of room");
    let mut id = [0; 16];
    hashing.0.finalize_xof().fill(&mut id);
    ConflictId(id)
}

fn put_conflict(
    out: &mut impl Sink,
    document: Path<'_>,
    resolved: &Resolved<'_, '_, '_>,
) -> Result<(), Reject> {
    out.put_bytes(document.as_str().as_bytes())?;
    out.put_bytes(resolved.path.as_str().as_bytes())?;
    resolved.outcome.cells().iter().try_for_each(|cell| {
        out.put(&cell.stamp.0.to_le_bytes())?;
        out.put(&cell.author.0)
    })
}
