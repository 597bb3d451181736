//! A whole document as one chunk: a transfer of many changes in little.
//!
//! Its columns are inflated and their rows counted here, within bounds, before the engine makes
//! anything of them. The changes that the engine then finds in it are judged like any others.

use super::Refusal;
use super::change::{KEY_BYTES, actor, ascending, hashes};
use super::chunk::inflate;
use super::columns::{Spec, scan, signed, specs, switches};
use super::limits::{ACTORS_MAX, CHANGES_MAX, INFLATED_BYTES, OPERATIONS_MAX};
use holdfast_core::Reject;
use holdfast_core::codec::Reader;

/// Set in a column's number when its bytes are deflated.
const DEFLATED: u64 = 8;
/// Rows of what a row refers to, for each row: replaced operations, dependencies.
const REFERENCES: u64 = 4;

/// What a column holds.
#[derive(Clone, Copy)]
enum Kind {
    Unsigned,
    Signed,
    Switches,
    Keys,
    /// How many rows of another column belong to each row.
    Groups,
    /// Nothing but absent rows: for what our changes never have.
    Absent,
    /// Types and lengths of values; those of changes are empty.
    Empty,
    Raw,
}

const CHANGES: &[(u64, Kind, u64)] = &[
    (0x01, Kind::Unsigned, 1),
    (0x03, Kind::Signed, 1),
    (0x13, Kind::Signed, 1),
    (0x23, Kind::Signed, 1),
    (0x35, Kind::Absent, 1),
    (0x40, Kind::Groups, 1),
    (0x43, Kind::Signed, REFERENCES),
    (0x56, Kind::Empty, 1),
];

const OPERATIONS: &[(u64, Kind, u64)] = &[
    (0x01, Kind::Absent, 1),
    (0x02, Kind::Absent, 1),
    (0x11, Kind::Absent, 1),
    (0x13, Kind::Absent, 1),
    (0x15, Kind::Keys, 1),
    (0x21, Kind::Unsigned, 1),
    (0x23, Kind::Signed, 1),
    (0x34, Kind::Switches, 1),
    (0x42, Kind::Unsigned, 1),
    (0x56, Kind::Unsigned, 1),
    (0x57, Kind::Raw, 1),
    (0x80, Kind::Groups, 1),
    (0x81, Kind::Unsigned, REFERENCES),
    (0x83, Kind::Signed, REFERENCES),
    (0x94, Kind::Switches, 1),
    (0xa5, Kind::Absent, 1),
];

/// Checks the body of a document chunk.
pub(super) fn check(body: &[u8]) -> Result<(), Refusal> {
    let mut reader = Reader::new(body);
    ascending(&mut reader, ACTORS_MAX, actor)?;
    let heads = hashes(&mut reader)?;
    let changes = specs(&mut reader, DEFLATED)?;
    let operations = specs(&mut reader, DEFLATED)?;
    let mut room = INFLATED_BYTES;
    columns(&mut reader, &changes, CHANGES, CHANGES_MAX, &mut room)?;
    columns(&mut reader, &operations, OPERATIONS, OPERATIONS_MAX, &mut room)?;
    for _ in heads {
        if reader.uint()? >= CHANGES_MAX {
            return Err(Refusal::Count);
        }
    }
    Ok(reader.finish()?)
}

fn columns(
    reader: &mut Reader<'_>,
    specs: &[Spec],
    known: &[(u64, Kind, u64)],
    max: u64,
    room: &mut usize,
) -> Result<(), Refusal> {
    for (spec, length) in specs {
        let found = known.iter().find(|(number, ..)| *number == spec & !DEFLATED);
        let (_, kind, factor) = found.ok_or(Refusal::Operation)?;
        let stored = reader.take(*length)?;
        if spec & DEFLATED == 0 {
            *room = room.checked_sub(stored.len()).ok_or(Refusal::Inflates)?;
            column(stored, *kind, max * factor)?;
        } else {
            let inflated = inflate(stored, *room)?;
            *room -= inflated.len();
            column(&inflated, *kind, max * factor)?;
        }
    }
    Ok(())
}

fn column(bytes: &[u8], kind: Kind, max: u64) -> Result<(), Refusal> {
    let unsigned = |reader: &mut Reader<'_>| reader.uint();
    match kind {
        Kind::Raw => {}
        Kind::Switches => drop(switches(bytes, max)?),
        Kind::Unsigned => drop(scan(bytes, max, unsigned, |_, _| Ok(()))?),
        Kind::Signed => drop(scan(bytes, max, signed, |_, _| Ok(()))?),
        Kind::Keys => {
            let key = |reader: &mut Reader<'_>| reader.str(KEY_BYTES).map(drop);
            scan(bytes, max, key, |_, _| Ok(()))?;
        }
        Kind::Absent => {
            let nothing = |_: &mut Reader<'_>| Err::<(), _>(Reject::Malformed);
            scan(bytes, max, nothing, |_, _| Ok(()))?;
        }
        Kind::Empty => {
            let empty = |value: Option<u64>, _| match value {
                Some(meta) if meta >> 4 != 0 => Err(Refusal::Operation),
                _ => Ok(()),
            };
            scan(bytes, max, unsigned, empty)?;
        }
        Kind::Groups => {
            let mut total = 0u64;
            scan(bytes, max, unsigned, |value, rows| {
                let more = value.unwrap_or(0).checked_mul(rows);
                let sum = more.and_then(|more| total.checked_add(more));
                total = sum.filter(|sum| *sum <= max * REFERENCES).ok_or(Refusal::Count)?;
                Ok(())
            })?;
        }
    }
    Ok(())
}
