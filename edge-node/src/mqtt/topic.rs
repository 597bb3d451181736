//! Topic names and topic filters: which are valid, and which match.
//!
//! Both are levels between slashes; an empty level is a level. In a filter, a level `+` stands for
//! any one level, and a last level `#` for any levels, none included. Neither stands for a first
//! level that begins with `$`. The filter `$share/NAME/FILTER` is FILTER, of which each message
//! goes to one member of the group NAME. [`Tree`] finds what matches among many.
//!
//! A topic or filter of more than [`LEVELS_MAX`] levels is refused, which bounds the tree's depth
//! and what a message costs; the standard sets no limit but lets a server have one.

pub mod tree;

pub use tree::Tree;

use super::text::{TextFault, Utf8};
use bytes::Bytes;
use std::fmt;

/// Levels of a topic or filter. No layout that is known has more than a dozen.
pub const LEVELS_MAX: usize = 128;

/// What a shared subscription begins with.
const SHARE: &[u8] = b"$share/";

/// Why a text is no topic name or no filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicFault {
    /// It is no string of MQTT.
    #[error(transparent)]
    Text(#[from] TextFault),
    /// It has no character.
    #[error("empty, expected at least one character")]
    Empty,
    /// More than [`LEVELS_MAX`] levels.
    #[error("{0} levels, expected at most 128")]
    TooDeep(usize),
    /// A wildcard in a topic name.
    #[error("wildcard at byte {0}, expected none in a topic name")]
    Wildcard(usize),
    /// A `+` beside other characters of its level.
    #[error("`+` at byte {0}, expected alone in its level")]
    Plus(usize),
    /// A `#` beside other characters or before the last level.
    #[error("`#` at byte {0}, expected alone in the last level")]
    Hash(usize),
    /// A share without a name, with a wildcard in it, or without a filter.
    #[error("expected `$share/NAME/FILTER` with a name without wildcards, and a filter")]
    Share,
}

/// A valid topic name; empty only where a topic alias stands for it.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Utf8);

impl Topic {
    /// Checks a topic name.
    ///
    /// # Errors
    /// [`TopicFault`]
    pub fn new(name: impl Into<Bytes>) -> Result<Self, TopicFault> {
        Self::of(Utf8::new(name)?)
    }

    /// Checks a string that is to be a topic name.
    ///
    /// # Errors
    /// [`TopicFault`]
    pub fn of(name: Utf8) -> Result<Self, TopicFault> {
        if name.is_empty() {
            return Err(TopicFault::Empty);
        }
        if let Some(at) = name.bytes().iter().position(|byte| matches!(byte, b'+' | b'#')) {
            return Err(TopicFault::Wildcard(at));
        }
        check_depth(name.bytes())?;
        Ok(Self(name))
    }

    /// What stands in a publish whose topic is given by its alias.
    #[must_use]
    pub fn by_alias() -> Self {
        Self::default()
    }

    /// Whether an alias stands for it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Its bytes, which cost nothing.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        self.0.bytes()
    }

    /// A copy that holds on to nothing else.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(self.0.detached())
    }
}

/// A valid topic filter.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Filter {
    text: Utf8,
    /// Where the pattern begins: after `$share/NAME/`, or at 0.
    pattern_at: u16,
}

impl Filter {
    /// Checks a filter; one that begins with `$share/` has to be a shared one.
    ///
    /// # Errors
    /// [`TopicFault`]
    pub fn new(filter: impl Into<Bytes>) -> Result<Self, TopicFault> {
        Self::of(Utf8::new(filter)?)
    }

    /// Checks a string that is to be a filter.
    ///
    /// # Errors
    /// [`TopicFault`]
    pub fn of(text: Utf8) -> Result<Self, TopicFault> {
        let Some(shared) = text.bytes().strip_prefix(SHARE) else {
            return Self::plain(text);
        };
        let name = shared.iter().position(|byte| *byte == b'/').ok_or(TopicFault::Share)?;
        let wild = shared[..name].iter().any(|byte| matches!(byte, b'+' | b'#'));
        let at = SHARE.len() + name + 1;
        if name == 0 || wild || at == text.bytes().len() {
            return Err(TopicFault::Share);
        }
        check_pattern(text.bytes(), at)?;
        let pattern_at = u16::try_from(at).expect("no string is longer");
        Ok(Self { text, pattern_at })
    }

    /// Checks a string that is to be a filter and takes it literally, as version 3.1.1 has it:
    /// `$share` is a level there like any other.
    ///
    /// # Errors
    /// [`TopicFault`]
    pub fn plain(text: Utf8) -> Result<Self, TopicFault> {
        if text.is_empty() {
            return Err(TopicFault::Empty);
        }
        check_pattern(text.bytes(), 0)?;
        Ok(Self { text, pattern_at: 0 })
    }

    /// All of it, as the client wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.text.as_str()
    }

    /// Its bytes, which cost nothing.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        self.text.bytes()
    }

    /// The group of a shared subscription.
    #[must_use]
    pub fn share(&self) -> Option<&str> {
        let end = usize::from(self.pattern_at).checked_sub(1)?;
        Some(&self.as_str()[SHARE.len()..end])
    }

    /// What topics are compared with: the filter without `$share/NAME/`.
    #[must_use]
    pub fn pattern(&self) -> &str {
        &self.as_str()[usize::from(self.pattern_at)..]
    }

    fn pattern_bytes(&self) -> &[u8] {
        &self.bytes()[usize::from(self.pattern_at)..]
    }

    /// Whether it has a wildcard.
    #[must_use]
    pub fn is_wild(&self) -> bool {
        self.pattern_bytes().iter().any(|byte| matches!(byte, b'+' | b'#'))
    }

    /// Whether it matches `topic`.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        let mut levels = levels(topic.bytes());
        let pattern = self.pattern_bytes();
        if is_reserved(topic.bytes()) && matches!(pattern[0], b'+' | b'#') {
            return false;
        }
        for wanted in pattern.split(|byte| *byte == b'/') {
            if wanted == b"#" {
                return true;
            }
            match levels.next() {
                Some(level) if wanted == b"+" || wanted == level => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }

    /// Whether it matches all topics that `other` matches. Of a shared filter its pattern counts.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let (own, other) = (self.pattern_bytes(), other.pattern_bytes());
        if is_reserved(other) && matches!(own[0], b'+' | b'#') {
            return false;
        }
        let mut wanted = levels(other);
        for level in levels(own) {
            if level == b"#" {
                return true;
            }
            match wanted.next() {
                Some(b"#") | None => return false,
                Some(other) if level == b"+" || level == other => {}
                Some(_) => return false,
            }
        }
        wanted.next().is_none()
    }

    /// A copy that holds on to nothing else.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self { text: self.text.detached(), pattern_at: self.pattern_at }
    }
}

/// The levels of a topic or pattern; there is at least one.
fn levels(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'/')
}

/// Whether wildcards in the first level leave the topic alone.
fn is_reserved(topic: &[u8]) -> bool {
    topic.first() == Some(&b'$')
}

fn check_depth(text: &[u8]) -> Result<(), TopicFault> {
    let depth = levels(text).count();
    if depth > LEVELS_MAX { Err(TopicFault::TooDeep(depth)) } else { Ok(()) }
}

/// Checks the wildcards of the pattern that begins at `at`.
fn check_pattern(text: &[u8], at: usize) -> Result<(), TopicFault> {
    let pattern = &text[at..];
    check_depth(pattern)?;
    let edge = |index: usize| pattern.get(index).is_none_or(|byte| *byte == b'/');
    for (index, byte) in pattern.iter().enumerate() {
        let begins = index.checked_sub(1).is_none_or(edge);
        match byte {
            b'+' if !begins || !edge(index + 1) => return Err(TopicFault::Plus(at + index)),
            b'#' if !begins || index + 1 < pattern.len() => {
                return Err(TopicFault::Hash(at + index));
            }
            _ => {}
        }
    }
    Ok(())
}

macro_rules! shown {
    ($($name:ty),*) => {
        $(
            impl fmt::Debug for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    fmt::Debug::fmt(self.as_str(), f)
                }
            }

            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str(self.as_str())
                }
            }

            impl TryFrom<&str> for $name {
                type Error = TopicFault;

                fn try_from(text: &str) -> Result<Self, TopicFault> {
                    Self::of(Utf8::try_from(text)?)
                }
            }
        )*
    };
}

shown!(Topic, Filter);

#[cfg(test)]
mod tests;
