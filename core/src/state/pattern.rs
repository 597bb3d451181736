//! Which paths a line of a policy is about.
//!
//! A pattern is written like a path. `*` stands for any one name; `**` at the end stands for
//! whatever follows, nothing included: `net/**` is `net` and all that lies below it.

use super::path::{Path, is_segment};
use crate::Reject;
use crate::limits::{PATH_MAX_BYTES, PATH_MAX_SEGMENTS};
use core::fmt;

/// A pattern of paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pattern<'a>(&'a str);

const ONE: &str = "*";
const REST: &str = "**";

impl<'a> Pattern<'a> {
    /// The pattern of every path.
    pub const ALL: Pattern<'static> = Pattern(REST);

    /// Checks `text`.
    ///
    /// # Errors
    /// [`Reject::Path`] when it is not a pattern.
    pub fn new(text: &'a str) -> Result<Self, Reject> {
        let short = text.len() <= PATH_MAX_BYTES && text.split('/').count() <= PATH_MAX_SEGMENTS;
        let names =
            text.strip_suffix(REST).map_or(text, |head| head.strip_suffix('/').unwrap_or(head));
        let bare = text == REST;
        let each = |name: &str| name == ONE || is_segment(name);
        let ends = text == names || bare || text.len() == names.len() + 1 + REST.len();
        let valid = short && ends && (bare || names.split('/').all(each));
        if valid { Ok(Self(text)) } else { Err(Reject::Path) }
    }

    /// The text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// Whether `path` is one of those meant.
    #[must_use]
    pub fn matches(self, path: Path<'_>) -> bool {
        let mut names = path.segments();
        for part in self.0.split('/') {
            if part == REST {
                return true;
            }
            match names.next() {
                Some(name) if part == ONE || part == name => {}
                _ => return false,
            }
        }
        names.next().is_none()
    }
}

impl fmt::Display for Pattern<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        Pattern::new(pattern).unwrap().matches(Path::new(path).unwrap())
    }

    #[test]
    fn patterns_are_checked() {
        for good in ["a", "*", "**", "a/*/b", "a/**", "*/**", "a/b.c-d"] {
            assert!(Pattern::new(good).is_ok(), "{good}");
        }
        for wrong in
            ["", "/", "a/", "**/a", "a**", "a*", "*a", "***", "/**", "a//**", "a#b", "../*"]
        {
            assert_eq!(Pattern::new(wrong), Err(Reject::Path), "{wrong}");
        }
        assert!(Pattern::new("1/2/3/4/5/6/7/8/**").is_err());
    }

    #[test]
    fn one_star_is_one_name_and_two_are_the_rest() {
        assert!(matches("net/ip", "net/ip") && !matches("net/ip", "net/ip/v4"));
        assert!(matches("net/*", "net/ip") && !matches("net/*", "net"));
        assert!(!matches("net/*", "net/ip/v4") && matches("*/ip", "net/ip"));
        assert!(matches("net/**", "net") && matches("net/**", "net/ip/v4"));
        assert!(!matches("net/**", "network") && !matches("net/**", "a/net"));
        assert!(matches("**", "net/ip/v4") && matches("*/**", "net"));
    }
}
