//! A node's disk: records, what is not yet synced, and copies.
//!
//! Whatever is written goes into an undo log until it is synced. A transaction that fails is taken
//! back to where it began, a power cut takes back all that was not synced, a copy is what a disk
//! would hold that had lost its power at that moment.

use super::Bug;
use holdfast_sync::Fault;
use holdfast_sync::store::{ReadRecords, Record, Records, Table};
use std::collections::BTreeMap;

type Key = (Table, Vec<u8>);

/// The disk of one node.
#[derive(Clone, Default)]
pub struct Disk {
    records: BTreeMap<Key, Vec<u8>>,
    /// What was there before each write that is not synced.
    undo: Vec<(Key, Option<Vec<u8>>)>,
    /// The boot count of the last start, synced before anything else of it.
    pub boot: u64,
    pub bug: Bug,
    writes: u64,
    /// Chunks of changes that were written since they were last looked at.
    pub chunks: Vec<Vec<u8>>,
    /// A document changed since that was last looked at.
    pub moved: bool,
}

impl Disk {
    pub fn mark(&self) -> usize {
        self.undo.len()
    }

    /// Takes back all that was written since `mark`.
    pub fn undo(&mut self, mark: usize) {
        for (key, before) in self.undo.drain(mark..).rev() {
            match before {
                Some(value) => self.records.insert(key, value),
                None => self.records.remove(&key),
            };
        }
    }

    /// All that was written is synced. Returns whether that was anything.
    pub fn sync(&mut self) -> bool {
        let some = !self.undo.is_empty();
        self.undo.clear();
        some
    }

    pub fn unsynced(&self) -> bool {
        !self.undo.is_empty()
    }

    /// What the disk would hold if its power went now.
    pub fn copy(&self) -> Self {
        let mut copy = self.clone();
        copy.undo(0);
        copy
    }

    /// Puts a copy in the place of what is here.
    pub fn restore(&mut self, copy: Self) {
        let kept: Vec<_> = match self.bug {
            Bug::RestoreKeepsCursors => {
                let cursors = self.records.iter().filter(|((t, _), _)| *t == Table::DocumentCursor);
                cursors.map(|(key, value)| (key.clone(), value.clone())).collect()
            }
            _ => Vec::new(),
        };
        *self = copy;
        self.records.extend(kept);
    }

    fn change(&mut self, key: Key, value: Option<Vec<u8>>) -> bool {
        let before = match value {
            Some(value) => self.records.insert(key.clone(), value),
            None => self.records.remove(&key),
        };
        let some = before.is_some();
        self.undo.push((key, before));
        some
    }
}

impl ReadRecords for Disk {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.records.get(&(table, key.to_vec())).cloned())
    }

    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Record>, Fault> {
        let found = self.records.range((table, prefix.to_vec())..);
        let found = found.take_while(|((t, key), _)| *t == table && key.starts_with(prefix));
        Ok(found.map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }

    fn scan_after(&self, table: Table, after: &[u8], limit: usize) -> Result<Vec<Record>, Fault> {
        let found = self.records.range((table, after.to_vec())..);
        let found = found.take_while(|((t, _), _)| *t == table);
        let found = found.filter(|((_, key), _)| key.as_slice() > after).take(limit);
        Ok(found.map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }

    fn scan_back(
        &self,
        table: Table,
        before: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Record>, Fault> {
        let below = |key: &[u8]| before.is_none_or(|before| key < before);
        let found = self.records.iter().rev();
        let found = found.filter(|((t, key), _)| *t == table && below(key)).take(limit);
        Ok(found.map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }
}

impl Records for Disk {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        self.writes += 1;
        match table {
            Table::DocumentChunk if value.first() == Some(&1) => {
                self.chunks.push(value[1..].to_vec());
            }
            Table::DocumentChange => self.moved = true,
            Table::DocumentCell
                if self.bug == Bug::LosesCells && self.writes.is_multiple_of(50) =>
            {
                return Ok(());
            }
            _ => {}
        }
        self.change((table, key.to_vec()), Some(value.to_vec()));
        Ok(())
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<bool, Fault> {
        Ok(self.change((table, key.to_vec()), None))
    }
}
