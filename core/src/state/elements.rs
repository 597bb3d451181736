//! The elements of one author's set with their causal lengths, as they stand in a cell.
//!
//! A causal length counts how often an element was added and removed: odd is present, even is
//! gone, and of two lengths the greater one has seen more (Yu and Rostad, "A Low-Cost Set CRDT
//! Based on Causal Lengths", 2020). Nothing else has to be remembered of what was removed. The
//! bytes are checked once and then read in place.

use super::value::{ARRAY, Value};
use crate::Reject;
use crate::codec::{Count, Reader, Sink};
use crate::limits::CELL_VALUE_MAX_BYTES;

/// Checked elements: ascending, each with a causal length of at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    /// No elements.
    pub const EMPTY: Elements<'static> = Elements(&[0]);

    /// Appends `items` as a cell has them; [`Elements::read`] makes elements of the bytes.
    ///
    /// # Errors
    /// [`Reject::Malformed`] when they are not ascending, or one is an array or was never added;
    /// [`Reject::Long`] above 4096 bytes; [`Reject::Full`] when the sink has no room.
    pub fn encode<'v>(
        items: impl Iterator<Item = (Value<'v>, u16)> + Clone,
        out: &mut impl Sink,
    ) -> Result<(), Reject> {
        let mut size = Count::default();
        let mut last = None;
        let count = items.clone().try_fold(0u64, |count, (value, length)| {
            put_item(&mut size, &value, length)?;
            let ascends = last.replace(value).is_none_or(|last| last < value);
            let valid = ascends && length > 0 && !matches!(value, Value::Array(_));
            if valid { Ok(count + 1) } else { Err(Reject::Malformed) }
        })?;
        size.put_uint(count)?;
        if size.bytes() > CELL_VALUE_MAX_BYTES {
            return Err(Reject::Long);
        }
        out.put_uint(count)?;
        items.into_iter().try_for_each(|(value, length)| put_item(out, &value, length))
    }

    /// Reads and checks what [`Elements::encode`] wrote.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, Reject> {
        let start = reader.rest();
        let mut last = None;
        for _ in 0..reader.uint()? {
            let (value, length) = read_item(reader)?;
            let ascends = last.replace(value).is_none_or(|last| last < value);
            if !ascends || length == 0 {
                return Err(Reject::Malformed);
            }
        }
        let bytes = &start[..start.len() - reader.rest().len()];
        if bytes.len() > CELL_VALUE_MAX_BYTES { Err(Reject::Long) } else { Ok(Self(bytes)) }
    }

    /// The elements with their causal lengths, ascending.
    #[must_use]
    pub fn iter(&self) -> Items<'a> {
        let mut rest = Reader::new(self.0);
        let counted = rest.uint();
        debug_assert!(counted.is_ok(), "checked elements begin with their number");
        Items { rest }
    }

    pub(super) fn put(&self, out: &mut impl Sink) -> Result<(), Reject> {
        out.put(self.0)
    }
}

/// Iterates over [`Elements`].
#[derive(Clone, Copy, Debug)]
pub struct Items<'a> {
    rest: Reader<'a>,
}

impl<'a> Items<'a> {
    /// The next element, which stays the next one.
    pub(super) fn peek(&self) -> Option<(Value<'a>, u16)> {
        Items::next(&mut self.clone())
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = (Value<'a>, u16);

    fn next(&mut self) -> Option<Self::Item> {
        // Of checked bytes only their end cannot be read.
        read_item(&mut self.rest).ok()
    }
}

fn put_item(out: &mut impl Sink, value: &Value<'_>, length: u16) -> Result<(), Reject> {
    out.put_u8(value.kind())?;
    value.put(out)?;
    out.put_uint(u64::from(length))
}

fn read_item<'a>(reader: &mut Reader<'a>) -> Result<(Value<'a>, u16), Reject> {
    let kind = reader.u8()?;
    if kind == ARRAY {
        return Err(Reject::Malformed);
    }
    let value = Value::read(reader, kind)?;
    let length = u16::try_from(reader.uint()?).map_err(|_| Reject::Malformed)?;
    Ok((value, length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn encoded(items: &[(Value<'_>, u16)]) -> Result<Vec<u8>, Reject> {
        let mut out = Vec::new();
        Elements::encode(items.iter().copied(), &mut out).map(|()| out)
    }

    #[test]
    fn elements_read_back_in_their_order() {
        let items = [
            (Value::Bool(true), 1),
            (Value::Int(-3), 2),
            (Value::float(0.5).unwrap(), 7),
            (Value::text("north").unwrap(), u16::MAX),
        ];
        let bytes = encoded(&items).unwrap();
        let mut reader = Reader::new(&bytes);
        let elements = Elements::read(&mut reader).unwrap();
        assert_eq!(reader.finish(), Ok(()));
        assert_eq!(elements.iter().collect::<Vec<_>>(), items);
        assert_eq!(Elements::read(&mut Reader::new(&[0])), Ok(Elements::EMPTY));
        assert_eq!(Elements::EMPTY.iter().next(), None);
    }

    #[test]
    fn what_is_not_ascending_or_was_never_added_is_malformed() {
        let (one, two) = (Value::Int(1), Value::Int(2));
        for wrong in [
            &[(two, 1), (one, 1)][..],
            &[(one, 1), (one, 3)],
            &[(one, 0)],
            &[(Value::array("[]").unwrap(), 1)],
        ] {
            assert_eq!(encoded(wrong), Err(Reject::Malformed), "{wrong:?}");
        }
        for bytes in [&[2, 1, 4, 1, 1, 2, 1][..], &[1, 1, 2, 0], &[1, 15, 2, b'[', b']', 1]] {
            let read = Elements::read(&mut Reader::new(bytes));
            assert_eq!(read, Err(Reject::Malformed), "{bytes:?}");
        }
    }

    #[test]
    fn a_set_that_is_too_long_for_a_cell_is_refused_both_ways() {
        let items: Vec<_> = (0..2000).map(|n| (Value::Int(n), 1)).collect();
        assert_eq!(encoded(&items), Err(Reject::Long));
        let mut bytes = Vec::new();
        bytes.put_uint(2000).unwrap();
        items.iter().for_each(|(value, length)| put_item(&mut bytes, value, *length).unwrap());
        assert_eq!(Elements::read(&mut Reader::new(&bytes)), Err(Reject::Long));
    }
}
