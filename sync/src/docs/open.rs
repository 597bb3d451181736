//! The documents that are held open: a bounded number of them, those used last.
//!
//! An open document may be ahead of the store only within the transaction that changes both. If
//! that transaction fails, the heads here and there differ, and the document is loaded anew.

use super::DocumentName;
use super::engine::Engine;
use super::limits::{OPEN_BASE, OPEN_BYTES, OPEN_FACTOR, OPEN_MAX};
use super::records::{Book, Status};
use super::waiting::Waiting;
use crate::Fault;
use crate::store::ReadRecords;
use std::collections::HashMap;

/// An open document and what waits for it.
pub(super) struct Open {
    pub engine: Engine,
    pub waiting: Waiting,
}

impl Open {
    /// Loads a document.
    pub(super) fn load<R: ReadRecords + ?Sized>(
        book: &Book<'_, R>,
        status: &Status,
    ) -> Result<Self, Fault> {
        let damaged = |what: &str| Fault::damaged(format!("document {}", book.name), what);
        let chunks = book.chunks()?;
        let bytes: Vec<u8> = chunks.into_iter().flat_map(|(_, chunk)| chunk).collect();
        let engine = if bytes.is_empty() {
            Engine::new()
        } else {
            Engine::load(&bytes).map_err(|broken| damaged(&broken.0))?
        };
        if engine.heads() == status.heads {
            Ok(Self { engine, waiting: Waiting::default() })
        } else {
            Err(damaged("its chunks lead to other heads than it has"))
        }
    }
}

struct Held {
    open: Open,
    used: u64,
    weight: usize,
}

/// The open documents.
#[derive(Default)]
pub(super) struct Shelf {
    held: HashMap<DocumentName, Held>,
    clock: u64,
}

impl Shelf {
    /// Takes a document out, if it is open and where the store is.
    pub(super) fn take(&mut self, name: &DocumentName, status: &Status) -> Option<Open> {
        let held = self.held.remove(name)?;
        (held.open.engine.heads() == status.heads).then_some(held.open)
    }

    /// Puts a document back; those not used for longest make room.
    pub(super) fn put(&mut self, name: &DocumentName, open: Open, status: &Status) {
        self.clock += 1;
        let stored = usize::try_from(status.snapshot + status.tail).unwrap_or(usize::MAX);
        let weight = OPEN_BASE + stored.saturating_mul(OPEN_FACTOR) + open.waiting.bytes();
        self.held.insert(name.clone(), Held { open, used: self.clock, weight });
        while self.held.len() > OPEN_MAX || self.bytes() > OPEN_BYTES {
            let oldest = self.held.iter().min_by_key(|(_, held)| held.used);
            let Some(oldest) = oldest.map(|(name, _)| name.clone()) else { break };
            self.held.remove(&oldest);
        }
    }

    /// How many documents are open, and about how many bytes they take.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.held.len(), self.bytes())
    }

    fn bytes(&self) -> usize {
        self.held.values().map(|held| held.weight).sum()
    }
}
