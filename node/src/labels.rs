//! Labels: what people call a device or a node, beside the id that never changes.
//!
//! An id is in every reading, token and certificate; a label is only shown. It is a record of the
//! store of the node where it was given, and does not travel.

use crate::problem::Problem;
use holdfast_sync::Fault;
use holdfast_sync::store::{Snapshot, Store, Table, WriteError};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Bytes of a label: what fits beside an id in a table.
pub const MAX_BYTES: usize = 64;
/// What the keys of labels begin with, in the table Meta.
const PREFIX: &[u8] = b"label/";

/// The labels of a store, by id; clones share them.
#[derive(Clone)]
pub struct Labels {
    store: Store,
    known: Arc<RwLock<BTreeMap<String, String>>>,
    changes: Arc<AtomicU64>,
}

/// Makes sense of what somebody wrote: `None` takes the label away.
///
/// # Errors
/// A sentence about what is wrong.
pub fn parse(text: Option<&str>) -> Result<Option<String>, String> {
    let text = text.unwrap_or_default().trim();
    if text.len() > MAX_BYTES || text.chars().any(char::is_control) {
        return Err(format!("a label has at most {MAX_BYTES} bytes of printable text"));
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

fn key(id: &str) -> Vec<u8> {
    [PREFIX, id.as_bytes()].concat()
}

impl Labels {
    /// Loads the labels of a store.
    ///
    /// # Errors
    /// A fault of the store.
    pub fn load(store: Store) -> Result<Self, Fault> {
        let read = |view: &Snapshot<'_>| view.scan(Table::Meta, PREFIX, &[], usize::MAX);
        let records = store.read_blocking(read)?;
        let known = records.into_iter().filter_map(|(key, value)| {
            let id = String::from_utf8(key[PREFIX.len()..].to_vec()).ok()?;
            Some((id, String::from_utf8(value).ok()?))
        });
        let known = Arc::new(RwLock::new(known.collect()));
        Ok(Self { store, known, changes: Arc::default() })
    }

    /// The label of `id`.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<String> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// How often a label was changed since the start: a page that has an older number asks again.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Gives `id` the label `text`, or takes it away, as a request says it.
    ///
    /// # Errors
    /// The problem that the request is answered with.
    pub async fn set(&self, id: &str, text: Option<&str>) -> Result<(), Problem> {
        let label =
            parse(text).map_err(|reason| Problem::invalid("invalid-label", reason).at("/label"))?;
        self.write(id, label).await.map_err(|error| {
            tracing::error!(%error, "a label could not be stored");
            Problem::no_room("the label could not be stored")
        })
    }

    async fn write(&self, id: &str, label: Option<String>) -> Result<(), WriteError> {
        let (key, value) = (key(id), label.clone());
        self.store
            .write(move |tx| match &value {
                Some(label) => Ok(tx.put(Table::Meta, &key, label.as_bytes())?),
                None => Ok(tx.delete(Table::Meta, &key).map(drop)?),
            })
            .await?;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        match label {
            Some(label) => known.insert(id.to_owned(), label),
            None => known.remove(id),
        };
        self.changes.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// The body of a request that changes a label.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLabel {
    /// The label; `null` takes it away.
    pub label: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_short_printable_and_may_be_taken_away() {
        assert_eq!(parse(Some(" Tank, north gate \u{e9} ")), Ok(Some("Tank, north gate é".into())));
        for nothing in [None, Some(""), Some("  ")] {
            assert_eq!(parse(nothing), Ok(None));
        }
        for bad in ["a\nb", "\u{1b}[31m", &"x".repeat(65)] {
            assert!(parse(Some(bad)).unwrap_err().contains("at most 64 bytes"), "{bad:?}");
        }
    }
}
