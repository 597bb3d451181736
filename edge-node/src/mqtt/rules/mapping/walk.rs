//! The members of a JSON object, one after the other, each with its path as a JSON pointer.
//!
//! Objects and lists within are entered, so what is handed out are plain values. What lies deeper
//! than [`DEPTH_MAX`] or under a longer path than [`PATH_MAX`] is passed over; so no payload costs
//! more than its length times a constant.

use crate::formats::scanner::{Json, Scanner, Syntax};
use std::fmt::Write as _;

/// Levels that are entered. The deepest of the known payloads has four.
pub(in crate::mqtt::rules) const DEPTH_MAX: usize = 8;
/// Bytes of a path: room for [`DEPTH_MAX`] long names, and above what a metric may have.
pub(in crate::mqtt::rules) const PATH_MAX: usize = 512;

/// A place in a payload.
pub(super) struct Walk<'a, 'r> {
    scanner: Scanner<'a>,
    /// Names whose members are passed over, sorted.
    skip: &'r [Box<str>],
    path: String,
    open: Vec<Level>,
}

/// An object or a list that was entered.
struct Level {
    is_object: bool,
    /// Members so far.
    members: usize,
    /// How much of the path is its own.
    path: usize,
}

impl<'a, 'r> Walk<'a, 'r> {
    /// Enters the object that `text` is.
    pub(super) fn new(text: &'a str, skip: &'r [Box<str>]) -> Result<Self, Syntax> {
        let mut scanner = Scanner::new(text);
        scanner.open_object()?;
        let root = Level { is_object: true, members: 0, path: 0 };
        Ok(Self { scanner, skip, path: String::new(), open: vec![root] })
    }

    /// The path of the value that was handed out last.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The next plain value; `None` when the text is over.
    pub(super) fn next(&mut self) -> Result<Option<Json<'a>>, Syntax> {
        while let Some(level) = self.open.last_mut() {
            let is_first = level.members == 0;
            let number = level.members;
            level.members += 1;
            self.path.truncate(level.path);
            let wanted = if level.is_object {
                match self.scanner.next_key(is_first)? {
                    Some(name) => {
                        let skipped = self.skip.binary_search_by(|s| (**s).cmp(&name)).is_ok();
                        Some(!skipped && push_name(&mut self.path, &name))
                    }
                    None => None,
                }
            } else if self.scanner.next_element(is_first)? {
                Some(push_number(&mut self.path, number))
            } else {
                None
            };
            let Some(wanted) = wanted else {
                self.open.pop();
                continue;
            };
            let next = self.scanner.peek();
            match next {
                Some(b'{' | b'[') if wanted && self.open.len() < DEPTH_MAX => {
                    let is_object = next == Some(b'{');
                    if is_object {
                        self.scanner.open_object()?;
                    } else {
                        self.scanner.open_array()?;
                    }
                    self.open.push(Level { is_object, members: 0, path: self.path.len() });
                }
                Some(b'{' | b'[') => self.scanner.skip()?,
                _ => {
                    let value = self.scanner.value()?;
                    if wanted {
                        return Ok(Some(value));
                    }
                }
            }
        }
        self.scanner.end()?;
        Ok(None)
    }
}

/// Adds a member's name, escaped as RFC 6901 says; `false` when the path gets too long.
fn push_name(path: &mut String, name: &str) -> bool {
    if path.len() + name.len() >= PATH_MAX {
        return false;
    }
    path.push('/');
    for character in name.chars() {
        match character {
            '~' => path.push_str("~0"),
            '/' => path.push_str("~1"),
            _ => path.push(character),
        }
    }
    path.len() <= PATH_MAX
}

fn push_number(path: &mut String, number: usize) -> bool {
    write!(path, "/{number}").expect("a string takes any text");
    path.len() <= PATH_MAX
}

/// The names of a path, escapes resolved.
pub(super) fn names(path: &str) -> impl Iterator<Item = String> {
    path.split('/').skip(1).map(|name| name.replace("~1", "/").replace("~0", "~"))
}
