//! Where one is in another's sequence of document changes, and whether that still means something.
//!
//! A place is counted by one store. After a restore, or a disk that lost its last writes, the same
//! numbers are given again to other changes, and a cursor into the lost ones would pass over them.
//! So a cursor names the start in which its place was given, and a store remembers its last starts
//! with the place at which each began: a place that its start never reached, as far as is known
//! here, belongs to something lost, and the two sides compare all they have instead.

use crate::Fault;
use crate::store::{ReadRecords, Records, Table};
use holdfast_core::codec::{Reader, Sink};
use holdfast_core::{Incarnation, NodeId, Reject};

/// The starts in which documents changed, in [`Table::Meta`].
const STARTS: &[u8] = b"document starts";
/// How many are remembered; whoever has not been here for so many starts compares once.
const STARTS_MAX: usize = 64;

/// A place in a sequence of document changes, and the start that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The start.
    pub start: Incarnation,
    /// The place.
    pub place: u64,
}

impl Cursor {
    /// Before the first change: whoever is there has nothing.
    pub const BEGINNING: Self = Self { start: Incarnation { boot: 0, nonce: 0 }, place: 0 };

    pub(crate) fn put(&self, out: &mut Vec<u8>) -> Result<(), Reject> {
        out.put_uint(self.start.boot)?;
        out.put(&self.start.nonce.to_le_bytes())?;
        out.put_uint(self.place)
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Reject> {
        let boot = reader.uint()?;
        let nonce = u64::from_le_bytes(reader.array()?);
        Ok(Self { start: Incarnation { boot, nonce }, place: reader.uint()? })
    }
}

fn starts(records: &(impl ReadRecords + ?Sized)) -> Result<Vec<Cursor>, Fault> {
    let Some(value) = records.get(Table::Meta, STARTS)? else { return Ok(Vec::new()) };
    let mut reader = Reader::new(&value);
    let read = |reader: &mut Reader<'_>| -> Result<Vec<Cursor>, Reject> {
        let count = reader.uint()?;
        (0..count.min(STARTS_MAX as u64)).map(|_| Cursor::read(reader)).collect()
    };
    read(&mut reader).map_err(|reject| Fault::damaged("document starts", reject.code()))
}

/// Remembers that documents change in `start`, the last place before being `place`.
pub(super) fn note_start(
    records: &mut (impl Records + ?Sized),
    start: Incarnation,
    place: u64,
) -> Result<(), Fault> {
    let mut known = starts(records)?;
    if known.last().is_some_and(|last| last.start == start) {
        return Ok(());
    }
    known.push(Cursor { start, place });
    let surplus = known.len().saturating_sub(STARTS_MAX);
    known.drain(..surplus);
    let mut value = Vec::new();
    let put = |out: &mut Vec<u8>| -> Result<(), Reject> {
        out.put_uint(known.len() as u64)?;
        known.iter().try_for_each(|start| start.put(out))
    };
    put(&mut value).expect("a growing buffer is never full");
    records.put(Table::Meta, STARTS, &value)
}

/// The end of this store's sequence; nothing before the first change.
pub(super) fn end(
    records: &(impl ReadRecords + ?Sized),
    place: u64,
) -> Result<Option<Cursor>, Fault> {
    Ok(starts(records)?.last().map(|last| Cursor { start: last.start, place }))
}

/// Whether `cursor` is a place of this store's own past, the last one given being `last`.
pub(super) fn is_ours(
    records: &(impl ReadRecords + ?Sized),
    cursor: &Cursor,
    last: u64,
) -> Result<bool, Fault> {
    if cursor.place == 0 {
        return Ok(true);
    }
    let known = starts(records)?;
    let Some(at) = known.iter().position(|start| start.start == cursor.start) else {
        return Ok(false);
    };
    let end = known.get(at + 1).map_or(last, |next| next.place);
    Ok((known[at].place..=end).contains(&cursor.place))
}

/// Up to where the sequence of `peer` is held here.
pub(super) fn of_peer(
    records: &(impl ReadRecords + ?Sized),
    peer: &NodeId,
) -> Result<Option<Cursor>, Fault> {
    let value = records.get(Table::DocumentCursor, &peer.0)?;
    // One that cannot be read means comparing once.
    Ok(value.and_then(|value| Cursor::read(&mut Reader::new(&value)).ok()))
}

/// Notes up to where the sequence of `peer` is held here, for an exchange that has `found` or left
/// its cursor so. Within a start it goes back only if it still is so, because the peer was put back
/// to a copy: an exchange that was given up may still deliver when a newer one has come further.
pub(super) fn keep(
    records: &mut (impl Records + ?Sized),
    peer: &NodeId,
    cursor: &Cursor,
    found: Option<&Cursor>,
) -> Result<(), Fault> {
    let held = of_peer(records, peer)?;
    let is_behind = |held: Cursor| held.start == cursor.start && held.place > cursor.place;
    if held.as_ref() != found && held.is_some_and(is_behind) {
        return Ok(());
    }
    let mut value = Vec::new();
    cursor.put(&mut value).expect("a growing buffer is never full");
    records.put(Table::DocumentCursor, &peer.0, &value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::Memory;

    fn start(boot: u64) -> Incarnation {
        Incarnation { boot, nonce: boot }
    }

    fn cursor(boot: u64, place: u64) -> Cursor {
        Cursor { start: start(boot), place }
    }

    #[test]
    fn a_place_that_was_lost_with_a_start_is_not_ours() {
        let mut records = Memory::default();
        note_start(&mut records, start(1), 0).unwrap();
        // Start 1 went on to place 9; then the disk was put back to place 5, and start 3 writes on.
        note_start(&mut records, start(3), 5).unwrap();
        let ours = |cursor| is_ours(&records, &cursor, 8).unwrap();
        assert!(ours(cursor(1, 0)) && ours(cursor(1, 5)), "start 1 as far as it is known here");
        assert!(!ours(cursor(1, 6)), "given by start 1 after the copy was made");
        assert!(ours(cursor(3, 5)) && ours(cursor(3, 8)));
        assert!(!ours(cursor(3, 9)), "not given yet");
        assert!(!ours(cursor(2, 5)), "a start that is not known here");
    }

    #[test]
    fn a_cursor_that_another_has_moved_does_not_go_back_within_a_start() {
        let (mut records, peer) = (Memory::default(), NodeId([1; 32]));
        let mut keep = |found: Option<Cursor>, kept| {
            keep(&mut records, &peer, &kept, found.as_ref()).unwrap();
            of_peer(&records, &peer).unwrap().unwrap()
        };
        let old = Some(cursor(1, 5));
        assert_eq!(keep(None, cursor(1, 5)), cursor(1, 5));
        assert_eq!(keep(old, cursor(1, 9)), cursor(1, 9));
        // What a connection that had been given up still delivered moved the cursor back behind
        // what the next one had brought, and all of that was told once more.
        assert_eq!(keep(old, cursor(1, 7)), cursor(1, 9));
        assert_eq!(keep(old, cursor(1, 12)), cursor(1, 12));
        // The peer was put back to a copy of its start and had nothing to write since: with the
        // cursor as it was, each connection compared all.
        assert_eq!(keep(Some(cursor(1, 12)), cursor(1, 3)), cursor(1, 3));
        assert_eq!(keep(Some(cursor(1, 3)), cursor(1, 4)), cursor(1, 4));
        // What the newest exchange has is kept, whatever one of an earlier start did meanwhile.
        assert_eq!(keep(Some(cursor(1, 3)), cursor(2, 2)), cursor(2, 2));
    }

    #[test]
    fn the_last_starts_are_remembered() {
        let mut records = Memory::default();
        for boot in 1..=200 {
            note_start(&mut records, start(boot), boot * 10).unwrap();
            note_start(&mut records, start(boot), boot * 10 + 5).unwrap();
        }
        assert_eq!(starts(&records).unwrap().len(), STARTS_MAX);
        assert_eq!(end(&records, 2_007).unwrap(), Some(cursor(200, 2_007)));
        assert!(is_ours(&records, &cursor(150, 1_505), 2_007).unwrap());
        assert!(!is_ours(&records, &cursor(100, 1_005), 2_007).unwrap());
    }
}
