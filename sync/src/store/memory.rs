//! Records without a database, for tests of what works on records alone.

use super::record::{ReadRecords, Records, Table};
use super::snapshot::Record;
use crate::Fault;
use std::collections::BTreeMap;

/// Records in memory; a copy is what a disk would have at that moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(BTreeMap<(Table, Vec<u8>), Vec<u8>>);

impl ReadRecords for Memory {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.0.get(&(table, key.to_vec())).cloned())
    }

    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Record>, Fault> {
        let found = self.0.range((table, prefix.to_vec())..);
        let found = found.take_while(|((t, key), _)| *t == table && key.starts_with(prefix));
        Ok(found.map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }

    fn scan_after(&self, table: Table, after: &[u8], limit: usize) -> Result<Vec<Record>, Fault> {
        let found = self.0.range((table, after.to_vec())..);
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
        Ok(self.back(table, before).take(limit).collect())
    }
}

impl Memory {
    fn back(&self, table: Table, before: Option<&[u8]>) -> impl Iterator<Item = Record> {
        let below = move |key: &[u8]| before.is_none_or(|before| key < before);
        let of = self.0.iter().rev().filter(move |((t, key), _)| *t == table && below(key));
        of.map(|((_, key), value)| (key.clone(), value.clone()))
    }
}

impl Records for Memory {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        self.0.insert((table, key.to_vec()), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<bool, Fault> {
        Ok(self.0.remove(&(table, key.to_vec())).is_some())
    }
}
