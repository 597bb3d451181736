//! A change as a member may send one: cells put at keys of the root map, and nothing else.
//!
//! The engine's format can say much more (nested objects, lists, texts, marks, messages). All of it
//! is read here first and refused, so what reaches the engine has a shape that it is tested with.

use super::actor::Actor;
use super::chunk::{Hash, frame_change};
use super::columns::{Spec, signed, specs, switches, values};
use super::limits::{
    ACTORS_MAX, CHANGE_BYTES, CHANGE_OPERATIONS, CHANGE_REPLACES, HEADS_MAX, OPERATIONS_MAX,
};
use super::{DocumentName, Refusal};
use holdfast_core::codec::Reader;
use holdfast_core::limits::PATH_MAX_BYTES;
use holdfast_core::state::{Author, CELL_MAX_BYTES, Cell, Key, Role};
use std::collections::HashSet;
use std::ops::Range;

const KEY: u64 = 0x15;
const INSERT: u64 = 0x34;
const ACTION: u64 = 0x42;
const VALUE_META: u64 = 0x56;
const VALUE: u64 = 0x57;
const REPLACED_COUNT: u64 = 0x70;
const REPLACED_ACTOR: u64 = 0x71;
const REPLACED_COUNTER: u64 = 0x73;

/// The action that puts a value, and the type of a value that is bytes.
const PUT: u64 = 1;
const BYTES: u64 = 7;

/// Bytes of a key: a path and, behind `#`, an author.
pub(super) const KEY_BYTES: usize = PATH_MAX_BYTES + 17;

/// A change whose form has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub hash: Hash,
    /// The chunk, not compressed: what is stored and relayed.
    pub raw: Vec<u8>,
    pub deps: Vec<Hash>,
    pub actor: Actor,
    pub seq: u64,
    pub start: u64,
    /// What its author's clock said: shown, and decides nothing.
    pub time_ms: i64,
    pub puts: Vec<Put>,
}

/// A cell put at a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Put {
    pub key: String,
    /// The operations whose cells it replaces: number and actor, ascending.
    pub replaces: Vec<(u64, Actor)>,
    cell: Range<usize>,
}

impl Change {
    /// The bytes of a cell that it puts.
    pub(super) fn cell(&self, put: &Put) -> &[u8] {
        &self.raw[put.cell.clone()]
    }

    /// The keys that it puts something at, each with its cell.
    pub(super) fn cells(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.puts.iter().map(|put| (put.key.as_str(), self.cell(put)))
    }

    /// Reads the body of a change chunk.
    pub(super) fn read(body: &[u8]) -> Result<Self, Refusal> {
        if body.len() > CHANGE_BYTES {
            return Err(Refusal::Size);
        }
        let mut reader = Reader::new(body);
        let deps = hashes(&mut reader)?;
        let actor = actor(&mut reader)?;
        let seq = reader.uint()?;
        let start = reader.uint()?;
        let time_ms = signed(&mut reader)?;
        if reader.uint()? != 0 {
            return Err(Refusal::Operation);
        }
        let others = ascending(&mut reader, ACTORS_MAX, self::actor)?;
        if others.contains(&actor) {
            return Err(Refusal::Framing);
        }
        let specs = specs(&mut reader, 0)?;
        let columns = reader.rest();
        let (hash, raw) = frame_change(body);
        let base = raw.len() - columns.len();
        let columns = Columns::split(&specs, columns)?;
        let mut puts = columns.puts(base, &raw)?;
        let limit = OPERATIONS_MAX.saturating_sub(puts.len() as u64);
        if seq == 0 || start == 0 || start > limit {
            return Err(Refusal::Counter);
        }
        let named: Vec<Actor> = [actor].into_iter().chain(others).collect();
        columns.replaced(&mut puts, start, &named)?;
        Ok(Self { hash, raw, deps, actor, seq, start, time_ms, puts })
    }

    /// Checks that every cell is whole and was written by `owner`, who was `role`, or by the device
    /// whose document this is, for which a gateway writes.
    pub(super) fn check_cells(
        &self,
        document: &DocumentName,
        owner: Author,
        role: Role,
    ) -> Result<(), Refusal> {
        let device = document.device_author().filter(|_| role == Role::Edge);
        for put in &self.puts {
            let key = Key::parse(&put.key).map_err(Refusal::Cell)?;
            let cell = Cell::from_bytes(self.cell(put)).map_err(Refusal::Cell)?;
            if !key.admits(&cell) {
                return Err(Refusal::Key);
            }
            let own = (cell.author, cell.role) == (owner, role);
            let of_device = cell.role == Role::Device && device == Some(cell.author);
            if !own && !of_device {
                return Err(Refusal::Author);
            }
        }
        Ok(())
    }
}

/// Hashes, ascending, none twice, as many as a document may have heads.
pub(super) fn hashes(reader: &mut Reader<'_>) -> Result<Vec<Hash>, Refusal> {
    ascending(reader, HEADS_MAX, |reader| Ok(reader.array()?))
}

pub(super) fn actor(reader: &mut Reader<'_>) -> Result<Actor, Refusal> {
    if reader.uint()? != size_of::<Actor>() as u64 {
        return Err(Refusal::Actor);
    }
    Ok(reader.array()?)
}

pub(super) fn ascending<T: Ord>(
    reader: &mut Reader<'_>,
    max: usize,
    read: impl Fn(&mut Reader<'_>) -> Result<T, Refusal>,
) -> Result<Vec<T>, Refusal> {
    let count = reader.uint()?;
    if count > max as u64 {
        return Err(Refusal::Count);
    }
    let mut out: Vec<T> = Vec::new();
    for _ in 0..count {
        let next = read(reader)?;
        if out.last().is_some_and(|last| *last >= next) {
            return Err(Refusal::Framing);
        }
        out.push(next);
    }
    Ok(out)
}

/// The columns of a change's operations; one that is not there is empty.
#[derive(Debug, Default)]
struct Columns<'a> {
    key: &'a [u8],
    insert: &'a [u8],
    action: &'a [u8],
    value_meta: &'a [u8],
    value: &'a [u8],
    replaced_count: &'a [u8],
    replaced_actor: &'a [u8],
    replaced_counter: &'a [u8],
    /// Where the values begin, from the first column on.
    value_at: usize,
}

impl<'a> Columns<'a> {
    /// Takes `bytes` apart. A column of anything else is one of an operation that is not allowed.
    fn split(specs: &[Spec], bytes: &'a [u8]) -> Result<Self, Refusal> {
        let mut out = Self::default();
        let mut reader = Reader::new(bytes);
        for (spec, length) in specs {
            let at = bytes.len() - reader.rest().len();
            let column = match *spec {
                KEY => &mut out.key,
                INSERT => &mut out.insert,
                ACTION => &mut out.action,
                VALUE_META => &mut out.value_meta,
                VALUE => {
                    out.value_at = at;
                    &mut out.value
                }
                REPLACED_COUNT => &mut out.replaced_count,
                REPLACED_ACTOR => &mut out.replaced_actor,
                REPLACED_COUNTER => &mut out.replaced_counter,
                _ => return Err(Refusal::Operation),
            };
            *column = reader.take(*length)?;
        }
        // What follows would be an author as the engine knows it, whom nobody sets.
        reader.finish().map_err(|_| Refusal::Operation)?;
        Ok(out)
    }

    /// The puts; `base` is where the columns begin in `raw`, the whole chunk.
    fn puts(&self, base: usize, raw: &[u8]) -> Result<Vec<Put>, Refusal> {
        let actions = values(self.action, CHANGE_OPERATIONS, |reader| reader.uint())?;
        let (inserts, inserted) = switches(self.insert, CHANGE_OPERATIONS as u64)?;
        let keys = values(self.key, CHANGE_OPERATIONS, |reader| reader.str(KEY_BYTES))?;
        let metas = values(self.value_meta, CHANGE_OPERATIONS, |reader| reader.uint())?;
        let count = actions.len();
        if actions.iter().any(|action| *action != PUT) || inserted > 0 {
            return Err(Refusal::Operation);
        }
        if count == 0 || inserts != count as u64 || keys.len() != count || metas.len() != count {
            return Err(Refusal::Framing);
        }
        let mut at = base + self.value_at;
        let end = at + self.value.len();
        let mut seen = HashSet::new();
        let mut puts = Vec::with_capacity(count);
        for (key, meta) in keys.into_iter().zip(metas) {
            let length = usize::try_from(meta >> 4).map_err(|_| Refusal::Framing)?;
            if meta & 15 != BYTES || length > CELL_MAX_BYTES {
                return Err(Refusal::Operation);
            }
            let cell = at..at + length;
            at = cell.end;
            if at > end || !seen.insert(key) {
                return Err(Refusal::Framing);
            }
            puts.push(Put { key: key.to_owned(), replaces: Vec::new(), cell });
        }
        debug_assert!(end <= raw.len(), "columns are the end of the chunk");
        if at == end { Ok(puts) } else { Err(Refusal::Framing) }
    }

    /// Reads what the puts replace: operations of actors that are named, numbered before them.
    fn replaced(&self, puts: &mut [Put], start: u64, named: &[Actor]) -> Result<(), Refusal> {
        let counts = values(self.replaced_count, CHANGE_OPERATIONS, |reader| reader.uint())?;
        let actors = values(self.replaced_actor, CHANGE_REPLACES, |reader| reader.uint())?;
        let steps = values(self.replaced_counter, CHANGE_REPLACES, signed)?;
        let total = counts.iter().try_fold(0u64, |sum, count| sum.checked_add(*count));
        if counts.len() != puts.len() || actors.len() != steps.len() {
            return Err(Refusal::Framing);
        }
        if total != Some(actors.len() as u64) {
            return Err(Refusal::Framing);
        }
        let mut counter = 0i64;
        let mut rows = actors.into_iter().zip(steps);
        for (put, count) in puts.iter_mut().zip(counts) {
            for (actor, step) in rows.by_ref().take(count as usize) {
                counter = counter.checked_add(step).ok_or(Refusal::Counter)?;
                let number = u64::try_from(counter).map_err(|_| Refusal::Counter)?;
                let actor = usize::try_from(actor).ok().and_then(|at| named.get(at));
                let replaced = (number, *actor.ok_or(Refusal::Actor)?);
                if number >= start || put.replaces.last().is_some_and(|last| *last >= replaced) {
                    return Err(Refusal::Counter);
                }
                put.replaces.push(replaced);
            }
        }
        Ok(())
    }
}
