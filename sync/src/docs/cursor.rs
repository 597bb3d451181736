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

/// Notes up to where the sequence of `peer` is held here. Within a start it goes back only where
/// the two have `compared` all, because the peer was put back to a copy of that start: an older
/// connection may still deliver when a newer one has come further.
pub(super) fn keep(
    records: &mut (impl Records + ?Sized),
    peer: &NodeId,
    cursor: &Cursor,
    compared: bool,
) -> Result<(), Fault> {
    let further = |held: Cursor| held.start == cursor.start && held.place > cursor.place;
    if !compared && of_peer(records, peer)?.is_some_and(further) {
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

    /// What a connection that had been given up still delivered moved the cursor back behind what
    /// the next connection had brought, and all of that was told once more.
    #[test]
    fn a_cursor_goes_back_only_with_another_start() {
        let (mut records, peer) = (Memory::default(), NodeId([1; 32]));
        for (kept, held) in [(cursor(1, 5), 5), (cursor(1, 9), 9), (cursor(1, 7), 9)] {
            keep(&mut records, &peer, &kept, false).unwrap();
            assert_eq!(of_peer(&records, &peer).unwrap(), Some(cursor(1, held)));
        }
        keep(&mut records, &peer, &cursor(2, 3), false).unwrap();
        assert_eq!(of_peer(&records, &peer).unwrap(), Some(cursor(2, 3)));
        // The peer was put back to a copy of its start, and had nothing to write since: with the
        // cursor as it was each connection compared anew.
        keep(&mut records, &peer, &cursor(2, 2), true).unwrap();
        assert_eq!(of_peer(&records, &peer).unwrap(), Some(cursor(2, 2)));
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
