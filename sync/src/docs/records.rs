//! How a document lies in the store: what is known of it, its chunks, its cells, who wrote it.
//!
//! Cells are stored beside the changes they came from, key by key, so a read, a view and a write
//! of few keys open no engine. All of it changes in one transaction with whatever else its cause
//! writes. Byte-exact page: `docs/formats/document.md`.

use super::actor::{Actor, Introduction};
use super::chunk::Hash;
use super::contents::Size;
use super::cut::Cut;
use super::documents::{sorted_cells, unusable};
use super::engine::Engine;
use super::signed::SignedHead;
use super::{DocumentName, Refusal};
use crate::Fault;
use crate::store::{ReadRecords, Record, Records, Table};
use holdfast_core::codec::{Reader, Sink};
use holdfast_core::state::CELL_MAX_BYTES;
use holdfast_core::{NodeId, Reject};

/// The format written today.
const FORMAT: u8 = 1;
/// The last position given in the sequence of document changes, in [`Table::Meta`].
const POSITION: &[u8] = b"documents";
const SNAPSHOT: u8 = 0;
const CHANGES: u8 = 1;

/// What is known of a document without opening it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// How often its history was cut.
    pub epoch: u64,
    /// Its place in the sequence of document changes.
    pub position: u64,
    /// How large it is.
    pub size: Size,
    /// Its changes.
    pub changes: u64,
    /// Bytes of the snapshot.
    pub snapshot: u64,
    /// Bytes of the changes since.
    pub tail: u64,
    /// Records of changes since.
    pub(super) tail_records: u64,
    /// The number of the next chunk.
    pub(super) next: u64,
    /// The heads, ascending.
    pub heads: Vec<Hash>,
    /// The keys that were changed since it was read; not stored.
    pub(super) touched: Vec<String>,
}

impl Status {
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        let put = |out: &mut Vec<u8>| -> Result<(), Reject> {
            let numbers = [
                self.epoch,
                self.position,
                self.size.bytes,
                self.size.keys,
                self.size.live,
                self.size.contested,
                self.changes,
                self.snapshot,
                self.tail,
                self.tail_records,
                self.next,
            ];
            numbers.iter().try_for_each(|number| out.put_uint(*number))?;
            out.put_uint(self.heads.len() as u64)?;
            self.heads.iter().try_for_each(|head| out.put(head))
        };
        put(&mut out).expect("a growing buffer is never full");
        out
    }

    fn decode(value: &[u8]) -> Result<Self, Refusal> {
        let mut reader = Reader::new(value);
        if reader.u8()? != FORMAT {
            return Err(Refusal::Framing);
        }
        let mut number = || reader.uint();
        let mut out = Self {
            epoch: number()?,
            position: number()?,
            size: Size { bytes: number()?, keys: number()?, live: number()?, contested: number()? },
            changes: number()?,
            snapshot: number()?,
            tail: number()?,
            tail_records: number()?,
            next: number()?,
            heads: Vec::new(),
            touched: Vec::new(),
        };
        out.heads = super::change::hashes(&mut reader)?;
        reader.finish()?;
        Ok(out)
    }
}

/// A key and the cells there.
pub(super) type Keyed = (String, Vec<Vec<u8>>);

/// The records of one document.
pub(super) struct Book<'r, R: ?Sized> {
    pub records: &'r mut R,
    pub name: &'r DocumentName,
}

fn under(name: &DocumentName, rest: &[u8]) -> Vec<u8> {
    [name.as_str().as_bytes(), &[0], rest].concat()
}

fn damaged(name: &DocumentName, what: &str) -> Fault {
    Fault::damaged(format!("document {name}"), what)
}

/// Reads what is known of a document; nothing of one that was never written.
pub(super) fn status(
    records: &(impl ReadRecords + ?Sized),
    name: &DocumentName,
) -> Result<Option<Status>, Fault> {
    let value = records.get(Table::Document, name.as_str().as_bytes())?;
    let decode = |value: Vec<u8>| {
        Status::decode(&value).map_err(|_| damaged(name, "what is known of it cannot be read"))
    };
    value.map(decode).transpose()
}

/// The last place given in the sequence of document changes.
pub(super) fn last_place(records: &(impl ReadRecords + ?Sized)) -> Result<u64, Fault> {
    let number = |bytes: &[u8]| bytes.first_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes));
    let last = match records.get(Table::Meta, POSITION)? {
        Some(value) => number(&value),
        // Lost, or never written: no place may be given twice, or a cursor passes over it.
        None => records.scan(Table::DocumentChange, &[])?.last().and_then(|r| number(&r.0)),
    };
    Ok(last.unwrap_or(0))
}

/// The cells of a document: key and the cells there, the greatest first.
pub(super) fn cells(
    records: &(impl ReadRecords + ?Sized),
    name: &DocumentName,
) -> Result<Vec<Keyed>, Fault> {
    let prefix = under(name, &[]);
    let found = records.scan(Table::DocumentCell, &prefix)?;
    found.into_iter().map(|(key, value)| decode_cells(name, &key[prefix.len()..], &value)).collect()
}

fn decode_cells(name: &DocumentName, key: &[u8], value: &[u8]) -> Result<Keyed, Fault> {
    let read = || -> Result<_, Refusal> {
        let key = std::str::from_utf8(key).map_err(|_| Refusal::Framing)?;
        let mut reader = Reader::new(value);
        let mut cells = Vec::new();
        for _ in 0..reader.uint()? {
            cells.push(reader.bytes(CELL_MAX_BYTES)?.to_vec());
        }
        reader.finish()?;
        Ok((key.to_owned(), cells))
    };
    read().map_err(|_| damaged(name, "a cell of it cannot be read"))
}

impl<R: ReadRecords + ?Sized> Book<'_, R> {
    pub(super) fn status(&self) -> Result<Option<Status>, Fault> {
        status(self.records, self.name)
    }

    /// The stored chunks in their order, with their keys.
    pub(super) fn chunks(&self) -> Result<Vec<Record>, Fault> {
        let found = self.records.scan(Table::DocumentChunk, &under(self.name, &[]))?;
        let open = |(key, mut value): Record| match value.first() {
            Some(&(SNAPSHOT | CHANGES)) => Ok((key, value.split_off(1))),
            _ => Err(damaged(self.name, "a chunk of it is of no known kind")),
        };
        found.into_iter().map(open).collect()
    }

    /// Where the history was cut last.
    pub(super) fn cut(&self) -> Result<Option<Cut>, Fault> {
        let value = self.records.get(Table::DocumentCut, self.name.as_str().as_bytes())?;
        let read = |value: Vec<u8>| Cut::read(&mut Reader::new(&value));
        value.map(read).transpose().map_err(|_| damaged(self.name, "its cut cannot be read"))
    }

    /// The heads up to which others may have the document.
    pub(super) fn offered(&self) -> Result<Vec<Hash>, Fault> {
        let value = self.records.get(Table::DocumentOffered, self.name.as_str().as_bytes())?;
        let read = |value: Vec<u8>| super::change::hashes(&mut Reader::new(&value));
        let heads = value.map(read).transpose();
        Ok(heads.map_err(|_| damaged(self.name, "what was offered of it"))?.unwrap_or_default())
    }

    /// The cells at a key.
    pub(super) fn cells_at(&self, key: &str) -> Result<Vec<Vec<u8>>, Fault> {
        let value = self.records.get(Table::DocumentCell, &under(self.name, key.as_bytes()))?;
        let value = value.map(|value| decode_cells(self.name, key.as_bytes(), &value));
        Ok(value.transpose()?.map(|(_, cells)| cells).unwrap_or_default())
    }

    /// Who an actor is.
    pub(super) fn actor(&self, actor: &Actor) -> Result<Option<Introduction>, Fault> {
        let value = self.records.get(Table::DocumentActor, &under(self.name, actor))?;
        let read = |value: Vec<u8>| {
            let mut reader = Reader::new(&value);
            Introduction::read(&mut reader).map_err(|_| damaged(self.name, "an actor of it"))
        };
        value.map(read).transpose()
    }

    /// The signed heads of an author of which none covers another, ascending.
    pub(super) fn signed(&self, author: &NodeId) -> Result<Vec<SignedHead>, Fault> {
        let value = self.records.get(Table::DocumentHead, &under(self.name, &author.0))?;
        let value = value.unwrap_or_default();
        let mut reader = Reader::new(&value);
        let mut out = Vec::new();
        while !reader.rest().is_empty() {
            let head = SignedHead::read(&mut reader);
            out.push(head.map_err(|_| damaged(self.name, "a signed head of it"))?);
        }
        Ok(out)
    }
}

impl<R: Records + ?Sized> Book<'_, R> {
    pub(super) fn put_status(&mut self, status: &Status) -> Result<(), Fault> {
        let name = self.name.as_str().as_bytes();
        if status.size.contested > 0 {
            self.records.put(Table::DocumentContested, name, &[])?;
        } else {
            self.records.delete(Table::DocumentContested, name)?;
        }
        self.records.put(Table::Document, self.name.as_str().as_bytes(), &status.encode())
    }

    pub(super) fn put_changes(&mut self, number: u64, chunk: &[u8]) -> Result<(), Fault> {
        self.put_chunk(number, CHANGES, chunk)
    }

    /// Puts a snapshot in the place of all chunks.
    pub(super) fn put_snapshot(&mut self, number: u64, chunk: &[u8]) -> Result<(), Fault> {
        self.remove_all(Table::DocumentChunk)?;
        self.put_chunk(number, SNAPSHOT, chunk)
    }

    fn put_chunk(&mut self, number: u64, kind: u8, chunk: &[u8]) -> Result<(), Fault> {
        let value = [&[kind], chunk].concat();
        self.records.put(Table::DocumentChunk, &under(self.name, &number.to_be_bytes()), &value)
    }

    pub(super) fn remove_all(&mut self, table: Table) -> Result<(), Fault> {
        for (key, _) in self.records.scan(table, &under(self.name, &[]))? {
            self.records.delete(table, &key)?;
        }
        Ok(())
    }

    pub(super) fn put_cells(&mut self, key: &str, cells: &[Vec<u8>]) -> Result<(), Fault> {
        let mut value = Vec::new();
        let put = |out: &mut Vec<u8>| -> Result<(), Reject> {
            out.put_uint(cells.len() as u64)?;
            cells.iter().try_for_each(|cell| out.put_bytes(cell))
        };
        put(&mut value).expect("a growing buffer is never full");
        self.records.put(Table::DocumentCell, &under(self.name, key.as_bytes()), &value)
    }

    /// Puts all cells of an open document; says how large it is.
    pub(super) fn put_all_cells(&mut self, engine: &Engine) -> Result<Size, Fault> {
        let mut size = Size::default();
        for key in engine.keys().map_err(|broken| unusable(self.name, &broken))? {
            let cells = sorted_cells(engine, self.name, &key)?;
            size = size.plus(Size::of(&key, &cells));
            self.put_cells(&key, &cells)?;
        }
        Ok(size)
    }

    pub(super) fn put_actor(&mut self, actor: &Actor, who: &Introduction) -> Result<(), Fault> {
        let mut value = Vec::new();
        who.put(&mut value).expect("a growing buffer is never full");
        self.records.put(Table::DocumentActor, &under(self.name, actor), &value)
    }

    pub(super) fn put_offered(&mut self, heads: &[Hash]) -> Result<(), Fault> {
        let mut value = Vec::new();
        let put = |out: &mut Vec<u8>| -> Result<(), Reject> {
            out.put_uint(heads.len() as u64)?;
            heads.iter().try_for_each(|head| out.put(head))
        };
        put(&mut value).expect("a growing buffer is never full");
        self.records.put(Table::DocumentOffered, self.name.as_str().as_bytes(), &value)
    }

    pub(super) fn put_cut(&mut self, cut: &Cut) -> Result<(), Fault> {
        let mut value = Vec::new();
        cut.put(&mut value).expect("a growing buffer is never full");
        self.records.put(Table::DocumentCut, self.name.as_str().as_bytes(), &value)
    }

    /// Puts the signed heads of an author in the place of those before.
    pub(super) fn put_signed(
        &mut self,
        author: &NodeId,
        heads: &[SignedHead],
    ) -> Result<(), Fault> {
        let mut value = Vec::new();
        let put = heads.iter().try_for_each(|head| head.put(&mut value));
        put.expect("a growing buffer is never full");
        self.records.put(Table::DocumentHead, &under(self.name, &author.0), &value)
    }

    /// Moves the document to the end of the sequence of changes; says where that is.
    pub(super) fn advance(&mut self, from: u64) -> Result<u64, Fault> {
        let last = last_place(self.records)?.max(from);
        let position = last + 1;
        self.records.put(Table::Meta, POSITION, &position.to_be_bytes())?;
        self.records.delete(Table::DocumentChange, &from.to_be_bytes())?;
        let name = self.name.as_str().as_bytes();
        self.records.put(Table::DocumentChange, &position.to_be_bytes(), name)?;
        Ok(position)
    }

    /// Puts a chunk into quarantine, with the reason; the oldest beyond the bound go.
    pub(super) fn quarantine(&mut self, chunk: &[u8], why: &str) -> Result<(), Fault> {
        let held = self.records.scan(Table::DocumentQuarantine, &[])?;
        let last = held.last().and_then(|(key, _)| key.first_chunk::<8>().copied());
        let next = last.map_or(0, u64::from_be_bytes) + 1;
        let surplus = (held.len() + 1).saturating_sub(super::limits::QUARANTINE_MAX);
        for (key, _) in held.iter().take(surplus) {
            self.records.delete(Table::DocumentQuarantine, key)?;
        }
        let mut value = Vec::new();
        let why = &why[..why.floor_char_boundary(200)];
        let chunk = &chunk[..chunk.len().min(super::limits::CHANGE_BYTES)];
        let put = |out: &mut Vec<u8>| -> Result<(), Reject> {
            out.put_bytes(self.name.as_str().as_bytes())?;
            out.put_bytes(why.as_bytes())?;
            out.put(chunk)
        };
        put(&mut value).expect("a growing buffer is never full");
        self.records.put(Table::DocumentQuarantine, &next.to_be_bytes(), &value)
    }
}
