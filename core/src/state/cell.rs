//! A cell: what one author wrote at one path, and when.
//!
//! The same bytes lie in a device's flash, in a document and on the wire. A cell is never changed
//! on its way, so what it says of itself is all a reader needs to resolve it. Byte-exact page:
//! `docs/formats/cell.md`.

use super::author::Author;
use super::elements::Elements;
use super::role::Role;
use super::tally::Tally;
use super::value::{ARRAY, RAW, Value};
use crate::Reject;
use crate::codec::{Count, Reader, Sink};
use crate::hlc::{MAX_MILLIS, Stamp};
use crate::limits::CELL_VALUE_MAX_BYTES;

/// The format written today.
const FORMAT: u8 = 1;
/// Format, tag, stamp and author.
const HEAD_BYTES: usize = 2 + 8 + 8;
/// Bytes of the longest cell: a value of the greatest length behind its own length.
pub const CELL_MAX_BYTES: usize = HEAD_BYTES + 2 + CELL_VALUE_MAX_BYTES;

const COUNTER: u8 = 16;
const SET: u8 = 17;
const TOMBSTONE: u8 = 18;

/// What a cell holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Content<'a> {
    /// The path was deleted.
    Tombstone,
    /// A value.
    Value(Value<'a>),
    /// The author's part of a counter.
    Counter(Tally),
    /// The author's part of a set.
    Set(Elements<'a>),
}

/// A cell. Cells are ordered by stamp, then author, then the rest: the greatest is the last
/// writer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell<'a> {
    /// When it was written; greater than the stamp of everything it replaced.
    pub stamp: Stamp,
    /// Who wrote it.
    pub author: Author,
    /// What the author was then.
    pub role: Role,
    /// What was written.
    pub content: Content<'a>,
}

impl<'a> Cell<'a> {
    /// Whether it is more than the mark of a deletion.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        !matches!(self.content, Content::Tombstone)
    }

    /// Its value, if it holds one.
    #[must_use]
    pub const fn value(&self) -> Option<Value<'a>> {
        match self.content {
            Content::Value(value) => Some(value),
            _ => None,
        }
    }

    /// Appends the cell.
    ///
    /// # Errors
    /// [`Reject::Full`] when the sink has no room.
    pub fn encode(&self, out: &mut impl Sink) -> Result<(), Reject> {
        let kind = match &self.content {
            Content::Value(value) => value.kind(),
            Content::Counter(_) => COUNTER,
            Content::Set(_) => SET,
            Content::Tombstone => TOMBSTONE,
        };
        out.put(&[FORMAT, kind << 2 | self.role as u8])?;
        out.put(&self.stamp.0.to_le_bytes())?;
        out.put(&self.author.0)?;
        match &self.content {
            Content::Value(value) => value.put(out),
            Content::Counter(tally) => tally.put(out),
            Content::Set(elements) => elements.put(out),
            Content::Tombstone => Ok(()),
        }
    }

    /// How many bytes [`Cell::encode`] appends.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let mut count = Count::default();
        let counted = self.encode(&mut count);
        debug_assert!(counted.is_ok(), "counting never runs out of room");
        count.bytes()
    }

    /// Reads one cell off the front of `reader`.
    ///
    /// # Errors
    /// [`Reject::Version`] for a format or a kind that is not known, else what is wrong with the
    /// bytes.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, Reject> {
        let [format, tag] = reader.array()?;
        if format != FORMAT {
            return Err(Reject::Version);
        }
        let role = Role::from_u8(tag & 3).ok_or(Reject::Malformed)?;
        let stamp = Stamp(u64::from_le_bytes(reader.array()?));
        if stamp.millis() > MAX_MILLIS {
            return Err(Reject::Malformed);
        }
        let author = Author(reader.array()?);
        let content = match tag >> 2 {
            kind @ RAW..=ARRAY => Content::Value(Value::read(reader, kind)?),
            COUNTER => Content::Counter(Tally::read(reader)?),
            SET => Content::Set(Elements::read(reader)?),
            TOMBSTONE => Content::Tombstone,
            _ => return Err(Reject::Version),
        };
        Ok(Self { stamp, author, role, content })
    }

    /// Reads one cell that is all of `bytes`, as it stands in a document.
    ///
    /// # Errors
    /// As [`Cell::decode`], and [`Reject::Malformed`] when bytes are left.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, Reject> {
        let mut reader = Reader::new(bytes);
        let cell = Self::decode(&mut reader)?;
        reader.finish().map(|()| cell)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::some_cell;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const HEAD: [u8; 16] = [3, 0, 0, 0x68, 0xe5, 0xcf, 0x8b, 1, 1, 2, 3, 4, 5, 6, 7, 8];

    fn cell(role: Role, content: Content<'_>) -> Cell<'_> {
        let stamp = Stamp::new(1_700_000_000_000, 3);
        Cell { stamp, author: Author([1, 2, 3, 4, 5, 6, 7, 8]), role, content }
    }

    fn golden(tag: u8, rest: &[u8]) -> Vec<u8> {
        [&[1, tag], &HEAD[..], rest].concat()
    }

    /// The vectors of `docs/formats/cell.md`.
    #[test]
    fn golden_vectors() {
        let value = |value| Content::Value(value);
        let set = Elements::read(&mut Reader::new(b"\x02\x01\x0e\x01\x04\x01n\x02")).unwrap();
        for (role, content, tag, rest) in [
            (Role::Edge, value(Value::float(21.5).unwrap()), 0x19, &b"\xae\x03"[..]),
            (
                Role::Hub,
                value(Value::float(1e300).unwrap()),
                0x00,
                b"\x9c\x75\x00\x88\x3c\xe4\x37\x7e",
            ),
            (Role::Device, value(Value::Int(-3)), 0x06, b"\x05"),
            (Role::Hub, value(Value::Bool(false)), 0x08, b""),
            (Role::Device, value(Value::Bool(true)), 0x0e, b""),
            (Role::Edge, value(Value::text("auto").unwrap()), 0x11, b"\x04auto"),
            (Role::Hub, value(Value::array("[1,\"a\"]").unwrap()), 0x3c, b"\x07[1,\"a\"]"),
            (Role::Device, Content::Counter(Tally { plus: 300, minus: 2 }), 0x42, b"\xac\x02\x02"),
            (Role::Edge, Content::Set(set), 0x45, b"\x02\x01\x0e\x01\x04\x01n\x02"),
            (Role::Hub, Content::Tombstone, 0x48, b""),
        ] {
            let cell = cell(role, content);
            let mut out = Vec::new();
            cell.encode(&mut out).unwrap();
            assert_eq!(out, golden(tag, rest), "{content:?}");
            assert_eq!(Cell::from_bytes(&out), Ok(cell));
        }
    }

    #[test]
    fn what_is_not_known_is_told_from_what_is_wrong() {
        let tombstone = golden(0x48, b"");
        let with = |at: usize, byte: u8| {
            let mut bytes = tombstone.clone();
            bytes[at] = byte;
            bytes
        };
        assert_eq!(Cell::from_bytes(&with(0, 2)), Err(Reject::Version));
        assert_eq!(Cell::from_bytes(&with(1, 19 << 2)), Err(Reject::Version));
        assert_eq!(Cell::from_bytes(&with(1, 0x4b)), Err(Reject::Malformed), "no such role");
        assert_eq!(Cell::from_bytes(&with(9, 0x80)), Err(Reject::Malformed), "the top bit");
        assert_eq!(Cell::from_bytes(&golden(0x48, b"\0")), Err(Reject::Malformed), "bytes left");
        for len in 0..tombstone.len() {
            assert_eq!(Cell::from_bytes(&tombstone[..len]), Err(Reject::Truncated), "{len}");
        }
    }

    #[test]
    fn the_longest_value_makes_the_longest_cell() {
        let text = "x".repeat(CELL_VALUE_MAX_BYTES);
        let cell = cell(Role::Hub, Content::Value(Value::text(&text).unwrap()));
        assert_eq!(cell.encoded_len(), CELL_MAX_BYTES);
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(cell in some_cell()) {
            let mut out = Vec::new();
            cell.get().encode(&mut out).unwrap();
            prop_assert_eq!(Cell::from_bytes(&out), Ok(cell.get()));
            prop_assert_eq!(out.len(), cell.get().encoded_len());
        }

        #[test]
        fn what_is_read_has_one_encoding(
            tag in 0u8..80, rest in prop::collection::vec(any::<u8>(), 0..24),
        ) {
            let bytes = golden(tag, &rest);
            if let Ok(cell) = Cell::from_bytes(&bytes) {
                let mut out = Vec::new();
                cell.encode(&mut out).unwrap();
                prop_assert_eq!(out, bytes);
            }
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Cell::from_bytes(&bytes);
        }
    }
}
