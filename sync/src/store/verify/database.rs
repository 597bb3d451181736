//! The database's structure and records.

use super::commits::Commits;
use super::{Check, Place, Severity};
use crate::Fault;
use crate::docs;
use crate::store::chains::{ChainInfo, ChainNo, Frontier};
use crate::store::ingest::Outcome;
use crate::store::mark::Mark;
use crate::store::record::{Table, unseal};
use crate::store::rescue::{self, RawRecord, Trouble};
use crate::store::snapshot::Snapshot;
use crate::store::{DATABASE, schema, tx};
use holdfast_core::codec::Reader;
use holdfast_core::limits::DEVICE_RANGES;
use holdfast_core::log::events::Gap;
use holdfast_core::ranges::RangeSet;
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Complaints of SQLite that are listed at most.
const COMPLAINTS: usize = 100;

/// What the records say of the chains.
#[derive(Debug, Default)]
pub(super) struct Claims {
    pub chains: BTreeMap<ChainNo, ChainInfo>,
    pub gaps: BTreeMap<ChainNo, Vec<Gap>>,
    /// The hashes of the access tokens.
    pub tokens: BTreeSet<Vec<u8>>,
    /// The names of documents, those of damaged records included.
    pub documents: BTreeSet<String>,
}

pub(super) fn check(check: &mut Check<'_>, dir: &Path, mark: Option<&Mark>) -> Result<(), Fault> {
    let path = dir.join(DATABASE);
    let connection = match rescue::open(&path).and_then(|connection| {
        connection.execute_batch("BEGIN").map_err(schema::fault)?;
        schema::pragma::<i64>(&connection, "schema_version")?;
        Ok(connection)
    }) {
        Ok(connection) => connection,
        Err(fault) => {
            check.damaged(DATABASE, Place::File, fault.to_string(), "a database of SQLite");
            return Ok(());
        }
    };
    if let Err(fault) = plain_look(&path) {
        check.damaged(DATABASE, Place::Structure, fault.to_string(), "a readable database");
    }
    if !header(check, &connection) {
        return Ok(());
    }
    pages(check, &connection);
    let mut claims = Claims::default();
    let trouble = rescue::records(&connection, |found| {
        record(check, &mut claims, &found);
        Ok(())
    })?;
    troubles(check, "records", &trouble);
    super::files::admin_token(check, dir, &claims.tokens)?;
    documents(check, &connection, &claims.documents);
    let mut commits = Commits::new(check, &connection, &claims).expect(mark);
    let trouble = rescue::commits(&connection, |row| {
        commits.row(&row);
        Ok(())
    })?;
    commits.finish(mark);
    troubles(check, "commits", &trouble);
    for pos in trouble.unreadable {
        let place = Place::Commit { pos, chain: None, range: None };
        check.damaged(DATABASE, place, "a row that makes no sense", "a commit");
    }
    Ok(())
}

/// Opens the database as the node does, which refuses more than the rescue connection.
fn plain_look(path: &Path) -> Result<(), Fault> {
    let connection = crate::store::snapshot::open_reader(path, "FULL")?;
    let sql = "SELECT count(*) FROM sqlite_schema";
    connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(schema::fault).map(drop)
}

fn troubles(check: &mut Check<'_>, table: &str, trouble: &Trouble) {
    for error in &trouble.errors {
        let found = format!("reading the {table}: {error}");
        check.damaged(DATABASE, Place::Structure, found, "to be read from end to end");
    }
    if table == "records" {
        for _ in &trouble.unreadable {
            check.damaged(DATABASE, Place::Structure, "a record that makes no sense", "a record");
        }
    }
}

/// The settings in the header and the text of the tables; `false` when there are no tables to read.
fn header(check: &mut Check<'_>, connection: &Connection) -> bool {
    let expected = [
        ("user_version", schema::VERSION.to_string()),
        ("application_id", schema::APPLICATION_ID.to_string()),
        ("journal_mode", "wal".to_owned()),
    ];
    for (name, expected) in expected {
        let sql = format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}");
        let found = connection.query_row(&sql, [], |row| row.get::<_, String>(0));
        let found = found.unwrap_or_else(|error| error.to_string());
        if found != expected {
            let found = format!("{name} is {found}");
            check.damaged(DATABASE, Place::Structure, found, expected);
        }
    }
    match schema::matches(connection) {
        Ok(true) => {}
        Ok(false) => {
            check.damaged(
                DATABASE,
                Place::Structure,
                "other tables",
                "the tables as they were made",
            );
        }
        Err(fault) => {
            check.damaged(DATABASE, Place::Structure, fault.to_string(), "the tables");
        }
    }
    let readable = ["commits", "records"]
        .iter()
        .all(|table| connection.prepare(&format!("SELECT * FROM {table}")).is_ok());
    if !readable {
        check.damaged(DATABASE, Place::File, "the tables cannot be found", "commits and records");
    }
    readable
}

fn pages(check: &mut Check<'_>, connection: &Connection) {
    let mut complain = |text: String| {
        check.damaged(DATABASE, Place::Structure, text, "sound pages and indexes");
    };
    let sql = format!("PRAGMA integrity_check({COMPLAINTS})");
    let mut look = || -> rusqlite::Result<()> {
        let mut statement = connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let text: String = row.get(0)?;
            if text != "ok" {
                complain(text);
            }
        }
        Ok(())
    };
    if let Err(error) = look() {
        complain(error.to_string());
    }
}

/// Loads each document, one at a time.
fn documents(check: &mut Check<'_>, connection: &Connection, names: &BTreeSet<String>) {
    for name in names {
        if let Err(fault) = docs::audit(&mut Snapshot { connection }, name) {
            let place = Place::Record { table: Table::Document as u8, key: name.clone().into() };
            check.damaged(DATABASE, place, fault.to_string(), "a document as it was written");
        }
    }
}

/// Checks a record's seal and, where the store knows it, its form.
fn record(check: &mut Check<'_>, claims: &mut Claims, found: &RawRecord) {
    check.report.summary.records += 1;
    check.advance((found.key.len() + found.sealed.len()) as u64);
    let place = || Place::Record { table: found.table, key: found.key.clone() };
    let known = Table::ALL.into_iter().find(|table| *table as u8 == found.table);
    claims.documents.extend(known.and_then(|table| docs::document_of(table, &found.key)));
    let Ok(value) = unseal(found.table, &found.key, found.sealed.clone()) else {
        let text = "its checksum does not match";
        return check.damaged(DATABASE, place(), text, "the record as it was written");
    };
    let Some(table) = known else {
        let text = "a table of a later version";
        return check.find(Severity::Info, DATABASE, place(), text, "a table that is known");
    };
    if let Err(fault) = decode(claims, table, &found.key, &value) {
        check.damaged(DATABASE, place(), fault.to_string(), "a record that can be read");
    }
}

/// Whether the value of a record has the form that its table wants.
pub(in crate::store) fn check_value(table: Table, key: &[u8], value: &[u8]) -> Result<(), Fault> {
    decode(&mut Claims::default(), table, key, value)
}

fn decode(claims: &mut Claims, table: Table, key: &[u8], value: &[u8]) -> Result<(), Fault> {
    let bad = |what: &str| Fault::damaged(what, "it does not follow the format");
    match table {
        Table::Chain => {
            let info = ChainInfo::decode(key, value)?;
            claims.chains.insert(info.no, info);
        }
        Table::Gap => {
            let no = key.first_chunk::<4>().ok_or_else(|| bad("gap record"))?;
            let gap = tx::decode_gap(value)?;
            claims.gaps.entry(ChainNo(u32::from_be_bytes(*no))).or_default().push(gap);
        }
        Table::Acked => {
            let mut reader = Reader::new(value);
            let set = Frontier::decode(&mut reader).and_then(|_| reader.finish());
            set.map_err(|_| bad("acknowledgement"))?;
        }
        Table::Seen => {
            let mut reader = Reader::new(value);
            let set = RangeSet::<DEVICE_RANGES>::decode(&mut reader);
            set.and_then(|_| reader.finish()).map_err(|_| bad("sequences of a device"))?;
        }
        Table::Cursor if value.len() < 8 => return Err(bad("cursor")),
        Table::Idempotency => drop(Outcome::decode(value)?),
        Table::Token => {
            claims.tokens.insert(key.to_vec());
        }
        _ => {}
    }
    Ok(())
}
