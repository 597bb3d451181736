//! Where a value stands in a document: names from the root down, split by `/`.
//!
//! A document is one flat map, and an object of JSON is the paths of its leaves: of
//! `{"net": {"ip": 1}}` that is `net/ip`. Paths are ordered name by name, so everything below a
//! path follows it at once, before any neighbour.

use crate::Reject;
use crate::limits::{PATH_MAX_BYTES, PATH_MAX_SEGMENTS};
use core::cmp::Ordering;
use core::fmt;

/// A path: 1 to 8 names, 128 bytes in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path<'a>(&'a str);

/// Whether `text` can be a name in a path. `#` and `*` have meanings around paths; `.` and `..`
/// would not survive in an address.
pub(super) fn is_segment(text: &str) -> bool {
    let taken = |c: char| c.is_control() || matches!(c, '/' | '#' | '*');
    !text.is_empty() && text != "." && text != ".." && !text.chars().any(taken)
}

impl<'a> Path<'a> {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`Reject::Path`] when it is too long, too deep, or has a name that is empty or not allowed.
    pub fn new(text: &'a str) -> Result<Self, Reject> {
        let short = text.len() <= PATH_MAX_BYTES && text.split('/').count() <= PATH_MAX_SEGMENTS;
        if short && text.split('/').all(is_segment) { Ok(Self(text)) } else { Err(Reject::Path) }
    }

    /// The text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// The names, from the root down.
    pub fn segments(self) -> core::str::Split<'a, char> {
        self.0.split('/')
    }

    /// Whether this path lies below `other`.
    #[must_use]
    pub fn is_below(self, other: Path<'_>) -> bool {
        self.0.strip_prefix(other.0).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Whether both cannot hold a value at once: they are equal, or one lies below the other. A
    /// write replaces all that its path meets.
    #[must_use]
    pub fn meets(self, other: Path<'_>) -> bool {
        self.0 == other.0 || self.is_below(other) || other.is_below(self)
    }
}

impl Ord for Path<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        // No name has a byte below a blank: with 0 for the split, a name ends before it goes on.
        let weight = |byte: u8| if byte == b'/' { 0 } else { byte };
        self.0.bytes().map(weight).cmp(other.0.bytes().map(weight))
    }
}

impl PartialOrd for Path<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::String;
    use std::vec::Vec;

    fn path(text: &str) -> Path<'_> {
        Path::new(text).unwrap()
    }

    #[test]
    fn names_are_checked() {
        for good in ["a", "net/ip", "Zähler 1", "$schema", "a-b/c.d", "1/2/3/4/5/6/7/8", "..."] {
            assert!(Path::new(good).is_ok(), "{good}");
        }
        let long = "x".repeat(129);
        for wrong in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "a#b",
            "a/*",
            "a\n",
            "a/\u{85}",
            ".",
            "a/../b",
            &long,
            "1/2/3/4/5/6/7/8/9",
        ] {
            assert_eq!(Path::new(wrong), Err(Reject::Path), "{wrong:?}");
        }
        assert!(Path::new(&long[1..]).is_ok());
    }

    /// `-` and `.` sort before `/`: by bytes, `a-b` stood between `a` and `a/b`.
    #[test]
    fn what_lies_below_a_path_follows_it_at_once() {
        let mut paths = ["b", "a/b", "a-b", "a", "a.c/d", "a/b/c", "a!"].map(path);
        paths.sort_unstable();
        let sorted: Vec<&str> = paths.iter().map(|path| path.as_str()).collect();
        assert_eq!(sorted, ["a", "a/b", "a/b/c", "a!", "a-b", "a.c/d", "b"]);
    }

    #[test]
    fn paths_meet_on_one_line_from_the_root() {
        assert!(path("a/b").is_below(path("a")));
        assert!(!path("ab").is_below(path("a")));
        assert!(!path("a").is_below(path("a")));
        assert!(path("a").meets(path("a/b/c")) && path("a/b/c").meets(path("a")));
        assert!(path("a").meets(path("a")));
        assert!(!path("a/b").meets(path("a/c")));
    }

    fn some_path() -> impl Strategy<Value = String> {
        prop::collection::vec("[a-c.!-]{1,2}", 1..4)
            .prop_map(|names| names.join("/"))
            .prop_filter("names", |text| Path::new(text).is_ok())
    }

    proptest! {
        #[test]
        fn order_is_by_names(a in some_path(), b in some_path()) {
            let names: (Vec<&str>, Vec<&str>) =
                (path(&a).segments().collect(), path(&b).segments().collect());
            prop_assert_eq!(path(&a).cmp(&path(&b)), names.0.cmp(&names.1));
        }

        #[test]
        fn any_text_is_judged_without_panic(text in ".{0,140}") {
            let _ = Path::new(&text);
        }
    }
}
