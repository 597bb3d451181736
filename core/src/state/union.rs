//! The union of the sets of several authors, read side by side.
//!
//! Each author's part is ascending, so the next element of the union is the least that any of them
//! has next. Nothing is collected; the memory is one place per author.

use super::cell::{Cell, Content};
use super::elements::Items;
use super::set::is_present;
use super::value::Value;
use crate::limits::SET_MAX_AUTHORS;

/// The elements of a merged set with their causal lengths, ascending.
#[derive(Clone, Debug)]
pub struct Union<'a> {
    parts: heapless::Vec<Items<'a>, SET_MAX_AUTHORS>,
}

impl<'a> Union<'a> {
    /// Joins the parts among `cells`, of which the first 64 count. Who writes refuses to be the
    /// 65th; if it comes to that all the same, every replica leaves out the same ones.
    pub(super) fn of(cells: &[Cell<'a>]) -> Self {
        let elements = cells.iter().filter_map(|cell| match cell.content {
            Content::Set(elements) => Some(elements.iter()),
            _ => None,
        });
        Self { parts: elements.take(SET_MAX_AUTHORS).collect() }
    }

    /// The elements that are present.
    pub fn present(self) -> impl Iterator<Item = Value<'a>> {
        self.filter(|(_, length)| is_present(*length)).map(|(value, _)| value)
    }
}

impl<'a> Iterator for Union<'a> {
    type Item = (Value<'a>, u16);

    fn next(&mut self) -> Option<Self::Item> {
        let least = self.parts.iter().filter_map(Items::peek).map(|(value, _)| value).min()?;
        let mut length = 0;
        for part in &mut self.parts {
            if let Some((value, found)) = part.peek()
                && value == least
            {
                length = length.max(found);
                part.next();
            }
        }
        Some((least, length))
    }
}
