//! All documents that are exchanged with a peer, as entries that are equal where the documents are,
//! and for a sketch as items: half as long, and hashed under its key, so that nobody can make two
//! that are the same.

use super::Steward;
use super::message::Root;
use crate::Fault;
use crate::docs::cursor::Cursor;
use crate::docs::sketch::{Item, SketchKey, hash_of};
use crate::docs::{DocumentName, digest, records};
use crate::store::{ReadRecords, Table};
use holdfast_core::NodeId;
use std::collections::BTreeMap;

/// Separate these hashes from every other use of BLAKE3; part of the format.
const ENTRY: &str = "holdfast 2026-11 document entry v1";
const ROOT: &str = "holdfast 2026-11 document collection v1";
/// Names read from the store at a time.
const PAGE: usize = 1024;

/// A collection at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Collection {
    entries: BTreeMap<[u8; 16], DocumentName>,
}

impl Collection {
    /// Reads the documents that `steward` shares with `peer`.
    pub(super) fn read(
        records: &(impl ReadRecords + ?Sized),
        steward: &dyn Steward,
        peer: &NodeId,
    ) -> Result<Self, Fault> {
        let mut out = Self::default();
        each(records, |name| {
            if steward.shares(peer, &name)
                && let Some(status) = records::status(records, &name)?
            {
                out.entries.insert(entry(&name, &digest(&status.heads)), name);
            }
            Ok(true)
        })?;
        Ok(out)
    }

    /// Whether there is any document that `steward` shares with `peer`.
    pub(super) fn any(
        records: &(impl ReadRecords + ?Sized),
        steward: &dyn Steward,
        peer: &NodeId,
    ) -> Result<bool, Fault> {
        let mut found = false;
        each(records, |name| {
            found = steward.shares(peer, &name);
            Ok(!found)
        })?;
        Ok(found)
    }

    /// The collection as one hash, under a key for its sketch.
    pub(super) fn root(&self, at: Cursor, key: SketchKey) -> Root {
        let mut hash = blake3::Hasher::new_derive_key(ROOT);
        self.entries.keys().for_each(|entry| {
            hash.update(entry);
        });
        Root { at, count: self.entries.len() as u64, hash: first16(&hash), key }
    }

    /// The documents by their items under the key of a sketch.
    pub(super) fn under(self, key: &SketchKey) -> BTreeMap<Item, DocumentName> {
        self.entries.into_iter().map(|(entry, name)| (hash_of(key, &entry), name)).collect()
    }
}

/// Hands the names of all documents to `look` until it says `false`.
fn each(
    records: &(impl ReadRecords + ?Sized),
    mut look: impl FnMut(DocumentName) -> Result<bool, Fault>,
) -> Result<(), Fault> {
    let mut after = Vec::new();
    loop {
        let page = records.scan_after(Table::Document, &after, PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after.clone_from(last);
        for (key, _) in page {
            let text = std::str::from_utf8(&key).ok();
            // A record that names no document is told by `verify`, not by a peer.
            let Some(name) = text.and_then(|text| DocumentName::new(text).ok()) else { continue };
            if !look(name)? {
                return Ok(());
            }
        }
    }
}

fn entry(name: &DocumentName, digest: &[u8; 16]) -> [u8; 16] {
    let mut hash = blake3::Hasher::new_derive_key(ENTRY);
    hash.update(digest);
    hash.update(name.as_str().as_bytes());
    first16(&hash)
}

fn first16(hash: &blake3::Hasher) -> [u8; 16] {
    let mut out = [0; 16];
    hash.finalize_xof().fill(&mut out);
    out
}
