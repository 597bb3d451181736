//! Whether a stored document is whole, and what a repair makes of one that is not.
//!
//! A document is checked by loading it: its chunks must lead to its heads, and the stored cells
//! must be those that the changes leave. A repair keeps whatever still loads and puts the rest into
//! quarantine; what is missing then comes back from a peer. That is safe because a repair belongs
//! to a start, and a start writes as a new actor. The damage of one document touches no other.

use super::DocumentName;
use super::contents::Size;
use super::documents::{compact, sorted_cells};
use super::engine::Engine;
use super::open::Open;
use super::records::{Book, Status, cells};
use crate::Fault;
use crate::store::{ReadRecords, Records, Table};

/// The document that a record of `table` under `key` belongs to, if it makes one up.
pub(crate) fn document_of(table: Table, key: &[u8]) -> Option<String> {
    if !matches!(table, Table::Document | Table::DocumentChunk | Table::DocumentCell) {
        return None;
    }
    let name = key.split(|byte| *byte == 0).next().unwrap_or_default();
    Some(String::from_utf8_lossy(name).into_owned())
}

/// Loads a document and compares it with what is stored beside it.
///
/// # Errors
/// [`Fault::Damaged`] says what is wrong; a database fault.
pub(crate) fn audit(records: &mut impl ReadRecords, name: &str) -> Result<(), Fault> {
    let damaged = |what: &str| Fault::damaged(format!("document {name}"), what);
    let name = DocumentName::new(name).map_err(|_| damaged("it has no document's name"))?;
    let book = Book { records, name: &name };
    let status = book.status()?.ok_or_else(|| damaged("nothing is known of it"))?;
    let open = Open::load(&book, &status)?;
    let stored = cells(&*book.records, &name)?;
    let sizes = stored.iter().map(|(key, cells)| Size::of(key, cells));
    let size = sizes.fold(Size::default(), Size::plus);
    for (key, cells) in &stored {
        if sorted_cells(&open.engine, &name, key)? != *cells {
            return Err(damaged("its cells are not those that its changes leave"));
        }
    }
    let keys = open.engine.keys().map_err(|broken| damaged(&broken.0))?;
    if keys.len() != stored.len()
        || status.size != size
        || status.changes != open.engine.history.changes()
    {
        return Err(damaged("it is counted wrong"));
    }
    let place = book.records.get(Table::DocumentChange, &status.position.to_be_bytes())?;
    if place.as_deref() != Some(name.as_str().as_bytes()) {
        return Err(damaged("it is not at its place in the sequence of changes"));
    }
    Ok(())
}

/// Makes a document whole of what still loads; says what was done when there was need.
///
/// # Errors
/// A database fault.
pub(crate) fn mend(records: &mut impl Records, text: &str) -> Result<Option<String>, Fault> {
    let fault = match audit(records, text) {
        Ok(()) => return Ok(None),
        Err(fault) if fault.is_damage() => fault,
        Err(fault) => return Err(fault),
    };
    let Ok(name) = DocumentName::new(text) else {
        return Ok(Some(format!("{fault}: left as it is")));
    };
    let old = Book { records: &mut *records, name: &name }.status().ok().flatten();
    let epoch = old.unwrap_or_default().epoch;
    forget_places(records, &name)?;
    // What is lost here has to be compared: nobody would send it again by itself.
    for (peer, _) in records.scan(Table::DocumentCursor, &[])? {
        records.delete(Table::DocumentCursor, &peer)?;
    }
    let mut book = Book { records, name: &name };
    let chunks: Vec<Vec<u8>> = book.chunks()?.into_iter().map(|(_, chunk)| chunk).collect();
    let (engine, lost) = Engine::salvage(&chunks);
    for at in &lost {
        book.quarantine(&chunks[*at], "it could not be loaded")?;
    }
    book.remove_all(Table::DocumentCell)?;
    book.remove_all(Table::DocumentChunk)?;
    let mut status = Status { epoch, heads: engine.heads(), ..Status::default() };
    status.changes = engine.history.changes();
    status.size = book.put_all_cells(&engine)?;
    status.position = book.advance(0)?;
    if status.changes > 0 {
        compact(&mut book, &mut status, &engine)?;
    }
    book.put_status(&status)?;
    let (kept, lost) = (status.changes, lost.len());
    Ok(Some(format!("{fault}: changes kept {kept}, chunks put into quarantine {lost}")))
}

fn forget_places(records: &mut impl Records, name: &DocumentName) -> Result<(), Fault> {
    for (key, value) in records.scan(Table::DocumentChange, &[])? {
        if value == name.as_str().as_bytes() {
            records.delete(Table::DocumentChange, &key)?;
        }
    }
    Ok(())
}
