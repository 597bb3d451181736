//! A whole document, resolved: what each of its paths shows.
//!
//! Paths and their cells go in, in the order of paths, and outcomes come out one by one. A path and
//! a path below it cannot both hold a value: the one that was written last hides the other, pair by
//! pair, so a path that is hidden itself goes on hiding what it replaced. Nothing is collected: of
//! the paths above one stays a stamp, and the paths below are looked at ahead of time.

use super::Author;
use super::concurrent::Concurrent;
use super::path::Path;
use super::policy::Rule;
use super::resolve::{Outcome, resolve};
use crate::hlc::Stamp;
use crate::limits::PATH_MAX_SEGMENTS;

/// A path of a document with what became of its cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolved<'p, 'c, 'a> {
    /// The path.
    pub path: Path<'p>,
    /// What became of its cells.
    pub outcome: Outcome<'c, 'a>,
    /// Whether a later write above or below the path hides it.
    pub is_hidden: bool,
}

impl Resolved<'_, '_, '_> {
    /// Whether the path is part of the view: it shows something, or somebody has to choose.
    #[must_use]
    pub fn is_in_view(&self) -> bool {
        !self.is_hidden && (self.outcome.is_live() || self.outcome.is_open())
    }
}

/// Resolves a document, path by path, the hidden and the deleted ones included.
#[derive(Clone, Debug)]
pub struct View<'p, I, R> {
    entries: I,
    rule: R,
    /// The live paths above the present one with their last writes.
    above: heapless::Vec<(Path<'p>, (Stamp, Author)), PATH_MAX_SEGMENTS>,
}

impl<'p, 'c, 'a: 'c, I, R> View<'p, I, R>
where
    I: Iterator<Item = (Path<'p>, Concurrent<'c, 'a>)> + Clone,
    R: Fn(Path<'p>) -> Rule,
{
    /// A view of `entries`, which ascend by path, each path once; `rule` says how a path is
    /// resolved.
    pub const fn new(entries: I, rule: R) -> Self {
        Self { entries, rule, above: heapless::Vec::new() }
    }

    fn is_hidden(&self, path: Path<'p>, write: (Stamp, Author)) -> bool {
        let by_above = self.above.iter().any(|(_, other)| *other > write);
        by_above || {
            let below = self.entries.clone().take_while(|(other, _)| other.is_below(path));
            let mut writes =
                below.filter_map(|(other, cells)| resolve(cells, (self.rule)(other)).last_write());
            // Of one author's writes at one time the more precise one stays.
            writes.any(|other| other >= write)
        }
    }
}

impl<'p, 'c, 'a: 'c, I, R> Iterator for View<'p, I, R>
where
    I: Iterator<Item = (Path<'p>, Concurrent<'c, 'a>)> + Clone,
    R: Fn(Path<'p>) -> Rule,
{
    type Item = Resolved<'p, 'c, 'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (path, cells) = self.entries.next()?;
        let outcome = resolve(cells, (self.rule)(path));
        while self.above.last().is_some_and(|(above, _)| !path.is_below(*above)) {
            self.above.pop();
        }
        let write = outcome.last_write();
        let is_hidden = write.is_some_and(|write| self.is_hidden(path, write));
        if let Some(write) = write {
            let pushed = self.above.push((path, write));
            debug_assert!(pushed.is_ok(), "no more paths lie above one than it has names");
        }
        Some(Resolved { path, outcome, is_hidden })
    }
}
