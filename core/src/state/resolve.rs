//! How the concurrent cells of a path become one outcome, by a rule.
//!
//! A pure function of the set of cells and the rule: every replica that has the same cells comes to
//! the same, in whatever order they arrived and whatever the clocks said. A cell whose content does
//! not fit the rule (a value where a counter is declared) is not shown and counts as a loser.

use super::cell::{Cell, Content};
use super::concurrent::Concurrent;
use super::policy::Rule;
use super::tally::{Tally, sum};
use super::union::Union;
use super::value::Value;
use super::{Author, Lattice, Role};
use crate::hlc::Stamp;
use core::cmp::Ordering;

/// What a path shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown<'a> {
    /// Nothing: it was deleted, or nothing there fits its rule.
    Absent,
    /// A value.
    Value(Value<'a>),
    /// The sum of a counter.
    Counter(i64),
    /// A set; [`Outcome::union`] reads its elements.
    Set,
}

/// How a conflict ended, seen from one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// What was written here stays.
    UseLocal,
    /// What was written elsewhere stays.
    UseRemote,
    /// All of it is in the result.
    Merge,
}

impl Label {
    /// The word used in the journal, in answers and on pages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UseLocal => "use_local",
            Self::UseRemote => "use_remote",
            Self::Merge => "merge",
        }
    }
}

/// What became of the cells of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome<'c, 'a> {
    cells: Concurrent<'c, 'a>,
    rule: Rule,
    winner: Option<usize>,
}

/// Resolves `cells` by `rule`.
#[must_use]
pub fn resolve<'c, 'a>(cells: Concurrent<'c, 'a>, rule: Rule) -> Outcome<'c, 'a> {
    let slice = cells.as_slice();
    let better = |a: &Cell<'_>, b: &Cell<'_>| match rule {
        Rule::Max => prefer(a, b, |order| order),
        Rule::Min => prefer(a, b, Ordering::reverse),
        Rule::HubWins => (a.role == Role::Hub).cmp(&(b.role == Role::Hub)),
        Rule::EdgeWins => a.role.is_at_site().cmp(&b.role.is_at_site()),
        Rule::Lww | Rule::KeepAll | Rule::Counter | Rule::Set => Ordering::Equal,
    };
    let fitting = (0..slice.len()).filter(|&at| !rule.is_type() && fits(rule, &slice[at]));
    // Cells come greatest first, so among equals the first one is the last writer's.
    let winner =
        fitting.reduce(|best, at| if better(&slice[at], &slice[best]).is_gt() { at } else { best });
    Outcome { cells, rule, winner }
}

/// Compares values; a deletion stands behind every value, because somebody still wants the path.
fn prefer(a: &Cell<'_>, b: &Cell<'_>, turned: fn(Ordering) -> Ordering) -> Ordering {
    match (a.value(), b.value()) {
        (Some(a), Some(b)) => turned(a.weigh(&b)),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

/// Whether a cell can take part under a rule. A tombstone can under each, though a counter or a set
/// takes no notice of it.
const fn fits(rule: Rule, cell: &Cell<'_>) -> bool {
    match cell.content {
        Content::Tombstone => true,
        Content::Value(_) => !rule.is_type(),
        Content::Counter(_) => matches!(rule, Rule::Counter),
        Content::Set(_) => matches!(rule, Rule::Set),
    }
}

impl<'c, 'a> Outcome<'c, 'a> {
    /// All cells of the path, the greatest first.
    #[must_use]
    pub const fn cells(&self) -> &[Cell<'a>] {
        self.cells.as_slice()
    }

    /// The rule by which they were resolved.
    #[must_use]
    pub const fn rule(&self) -> Rule {
        self.rule
    }

    /// The cell that stays, and that is shown while a conflict is open. Parts of counters and sets
    /// all stay.
    #[must_use]
    pub fn winner(&self) -> Option<&Cell<'a>> {
        self.winner.map(|at| &self.cells()[at])
    }

    /// What the path shows.
    #[must_use]
    pub fn shown(&self) -> Shown<'a> {
        if !self.is_live() {
            return Shown::Absent;
        }
        match self.rule {
            Rule::Counter => Shown::Counter(self.total()),
            Rule::Set => Shown::Set,
            _ => self.winner().and_then(Cell::value).map_or(Shown::Absent, Shown::Value),
        }
    }

    /// The elements of a set; none under another rule.
    #[must_use]
    pub fn union(&self) -> Union<'a> {
        Union::of(if self.rule == Rule::Set { self.cells() } else { &[] })
    }

    /// Whether the path shows something.
    #[must_use]
    pub fn is_live(&self) -> bool {
        match self.rule {
            Rule::Counter | Rule::Set => self.live_parts().next().is_some(),
            _ => self.winner().is_some_and(Cell::is_live),
        }
    }

    /// Whether a person has to choose: values that say different things are kept side by side.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.rule == Rule::KeepAll && self.differing().next().is_some()
    }

    /// What there is to choose from in an open conflict, the shown one first; else nothing.
    pub fn choices(&self) -> impl Iterator<Item = &Cell<'a>> {
        let open = self.is_open();
        self.winner().into_iter().chain(self.differing()).filter(move |_| open)
    }

    /// The cells that are neither shown nor kept nor part of what is shown. One that says the same
    /// as the winner has lost nothing.
    pub fn losers(&self) -> impl Iterator<Item = &Cell<'a>> {
        let misfits = self.cells().iter().filter(|cell| !fits(self.rule, cell));
        let settled = self.differing().filter(|_| self.rule != Rule::KeepAll);
        settled.chain(misfits)
    }

    /// How the conflict ended for a node that counts the cells as its own of which `is_local` says
    /// so; `None` when there was none, or it is still open.
    #[must_use]
    pub fn label(&self, is_local: impl Fn(&Cell<'a>) -> bool) -> Option<Label> {
        if self.rule.is_type() {
            return (self.live_parts().count() > 1).then_some(Label::Merge);
        }
        let settled = !self.is_open() && self.losers().next().is_some();
        let winner = self.winner().filter(|_| settled)?;
        Some(if is_local(winner) { Label::UseLocal } else { Label::UseRemote })
    }

    /// When and by whom the path was last written, among the live cells that fit its rule. This is
    /// what counts between a path and one below it: whoever saw both exceeds all cells of both.
    #[must_use]
    pub fn last_write(&self) -> Option<(Stamp, Author)> {
        let live = self.is_live();
        let mut fitting =
            self.cells().iter().filter(|cell| cell.is_live() && fits(self.rule, cell));
        fitting.next().filter(|_| live).map(|cell| (cell.stamp, cell.author))
    }

    /// The fitting cells that say something else than the winner.
    fn differing(&self) -> impl Iterator<Item = &Cell<'a>> {
        let winner = self.winner();
        let differs = move |cell: &&Cell<'a>| winner.is_some_and(|w| w.content != cell.content);
        self.cells().iter().filter(|cell| fits(self.rule, cell)).filter(differs)
    }

    fn live_parts(&self) -> impl Iterator<Item = &Cell<'a>> {
        let is_type = self.rule.is_type();
        let part = move |cell: &&Cell<'a>| is_type && cell.is_live() && fits(self.rule, cell);
        self.cells().iter().filter(part)
    }

    /// The sum over authors. A fork of one author (a store restored from a copy) may have left
    /// several of its tallies; they are states of one tally, and joined.
    fn total(&self) -> i64 {
        let parts = self.cells();
        let tally = |cell: &Cell<'_>| match cell.content {
            Content::Counter(tally) => Some(tally),
            _ => None,
        };
        sum(parts.iter().enumerate().filter_map(|(at, cell)| {
            let mine = |other: &&Cell<'_>| other.author == cell.author;
            tally(cell)?;
            let is_first = !parts[..at].iter().filter(mine).any(|other| tally(other).is_some());
            let join = |mut joined: Tally, other: Tally| {
                // Two tallies always have room for each other.
                let _ = joined.join(&other);
                joined
            };
            let all = parts[at..].iter().filter(mine).filter_map(tally);
            is_first.then(|| all.fold(Tally::default(), join))
        }))
    }
}
