//! Documents: each is loaded, and one that is not whole is made of what still loads.

use super::notes::Notes;
use crate::Fault;
use crate::docs;
use crate::store::record::{ReadRecords, Records, Table, seal};
use crate::store::schema::fault;
use crate::store::snapshot::{Record, Snapshot};
use rusqlite::{Connection, params};
use std::collections::BTreeSet;

/// The records of a database that is being built.
struct Building<'a> {
    connection: &'a Connection,
}

impl ReadRecords for Building<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        Snapshot { connection: self.connection }.get(table, key)
    }

    fn scan(&self, table: Table, prefix: &[u8]) -> Result<Vec<Record>, Fault> {
        Snapshot { connection: self.connection }.scan(table, prefix, &[], usize::MAX)
    }

    fn scan_after(&self, table: Table, after: &[u8], limit: usize) -> Result<Vec<Record>, Fault> {
        Snapshot { connection: self.connection }.scan(table, &[], after, limit)
    }

    fn scan_back(
        &self,
        table: Table,
        before: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Record>, Fault> {
        Snapshot { connection: self.connection }.scan_back(table, before, limit)
    }
}

impl Records for Building<'_> {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        let sql = "INSERT OR REPLACE INTO records (tab, key, value) VALUES (?1, ?2, ?3)";
        let row = params![table as u8, key, seal(table, key, value)];
        self.connection.execute(sql, row).map_err(fault).map(drop)
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<bool, Fault> {
        let sql = "DELETE FROM records WHERE tab=?1 AND key=?2";
        let gone = self.connection.execute(sql, params![table as u8, key]).map_err(fault)?;
        Ok(gone > 0)
    }
}

/// Mends the documents that need it and notes what was lost.
pub(super) fn mend(
    connection: &Connection,
    names: &BTreeSet<String>,
    notes: &mut Notes,
) -> Result<(), Fault> {
    for name in names {
        if let Some(done) = docs::mend(&mut Building { connection }, name)? {
            notes.find(done);
        }
    }
    Ok(())
}
