//! Under which key a cell stands in a document: its path, and for a part of a counter or a set its
//! author as well.
//!
//! A value stands at its path, `net/ip`, and whoever writes it anew replaces it. A part of a
//! counter or a set stands at `starts#0123456789abcdef` and is written by that author alone, so
//! that nobody's write can replace the part of another.

use super::author::Author;
use super::cell::{Cell, Content};
use super::path::Path;
use crate::Reject;
use core::fmt;

/// A key of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key<'a> {
    /// The path.
    pub path: Path<'a>,
    /// The author, for its part of a counter or a set.
    pub author: Option<Author>,
}

impl<'a> Key<'a> {
    /// Reads what `Display` writes.
    ///
    /// # Errors
    /// [`Reject::Path`] for a path that is not valid, [`Reject::Malformed`] for an author that is
    /// not.
    pub fn parse(text: &'a str) -> Result<Self, Reject> {
        let Some((path, author)) = text.split_once('#') else {
            return Ok(Self { path: Path::new(text)?, author: None });
        };
        Ok(Self { path: Path::new(path)?, author: Some(Author::from_hex(author)?) })
    }

    /// The key under which `cell` stands at `path`.
    #[must_use]
    pub const fn of(path: Path<'a>, cell: &Cell<'_>) -> Self {
        let is_part = matches!(cell.content, Content::Counter(_) | Content::Set(_));
        Self { path, author: if is_part { Some(cell.author) } else { None } }
    }

    /// Whether `cell` may stand here. A part is never deleted, it is only counted back or emptied:
    /// its tombstone could not be told from that of a value at the same path.
    #[must_use]
    pub fn admits(&self, cell: &Cell<'_>) -> bool {
        let is_part = matches!(cell.content, Content::Counter(_) | Content::Set(_));
        match self.author {
            None => !is_part,
            Some(author) => is_part && author == cell.author,
        }
    }
}

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path)?;
        self.author.map_or(Ok(()), |author| write!(f, "#{author}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Role, Tally, Value};
    use super::*;
    use crate::hlc::Stamp;
    use std::string::ToString;

    #[test]
    fn a_key_reads_back_what_it_shows() {
        for text in ["net/ip", "starts#0123456789abcdef", "a/b#ffffffffffffffff"] {
            assert_eq!(Key::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Key::parse("#0123456789abcdef"), Err(Reject::Path));
        for wrong in ["a#", "a#0123", "a#0123456789ABCDEF", "a#0123456789abcdef#"] {
            assert_eq!(Key::parse(wrong), Err(Reject::Malformed), "{wrong}");
        }
    }

    #[test]
    fn nobody_writes_the_part_of_another() {
        let (mine, other) = (Author([1; 8]), Author([2; 8]));
        let cell = |content| Cell { stamp: Stamp(1), author: mine, role: Role::Edge, content };
        let part = cell(Content::Counter(Tally::default()));
        let value = cell(Content::Value(Value::Int(1)));
        let gone = cell(Content::Tombstone);
        let path = Path::new("n").unwrap();
        let key = |author| Key { path, author };
        assert_eq!(Key::of(path, &part), key(Some(mine)));
        assert_eq!(Key::of(path, &value), key(None));
        assert!(key(Some(mine)).admits(&part) && !key(Some(mine)).admits(&gone));
        assert!(key(None).admits(&value) && key(None).admits(&gone));
        assert!(!key(Some(other)).admits(&part));
        assert!(!key(None).admits(&part) && !key(Some(mine)).admits(&value));
    }
}
