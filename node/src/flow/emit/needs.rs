//! What steps need of the run before they are written: branches at once, places to undo, and which
//! variables branches set beside each other.

use super::super::definition::step::{Action, Step};
use std::collections::BTreeSet;

/// What steps need of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// Branches at once.
    pub(super) fibers: u32,
    /// Undo places.
    pub(super) undos: u32,
}

impl Needs {
    /// One thing and then another.
    fn then(self, other: Self) -> Self {
        Self { fibers: self.fibers.max(other.fibers), undos: self.undos + other.undos }
    }

    /// One thing or another.
    fn or(self, other: Self) -> Self {
        Self { fibers: self.fibers.max(other.fibers), undos: self.undos.max(other.undos) }
    }

    /// So many branches that need this each.
    fn branches(self, count: u32) -> Self {
        Self {
            fibers: count.saturating_mul(1 + self.fibers),
            undos: count.saturating_mul(self.undos),
        }
    }
}

/// What steps need, one behind the other.
pub(super) fn of(steps: &[Step]) -> Needs {
    steps.iter().fold(Needs::default(), |needs, step| needs.then(of_step(step)))
}

fn of_step(step: &Step) -> Needs {
    let needs = match &step.action {
        Action::Effect(effect) => Needs { fibers: 0, undos: u32::from(effect.undo.is_some()) },
        Action::Choose { arms, otherwise } => {
            arms.iter().fold(of(otherwise), |needs, (_, steps)| needs.or(of(steps)))
        }
        Action::Parallel(branches) => branches.iter().fold(Needs::default(), |needs, steps| {
            let branch = of(steps).branches(1);
            Needs { fibers: needs.fibers + branch.fibers, undos: needs.undos + branch.undos }
        }),
        Action::Each { items, at_once, body, .. } => {
            let count = (*at_once).min(u32::try_from(items.count).unwrap_or(u32::MAX));
            if count == 1 { of(body) } else { of(body).branches(count) }
        }
        Action::Repeat { body, .. } | Action::Forever(body) | Action::Try(body) => of(body),
        _ => Needs::default(),
    };
    let caught = step.catches.iter().map(|clause| of(&clause.steps));
    needs.then(caught.fold(Needs::default(), Needs::or))
}

/// The names of variables that are set in branches, where another branch may be under way.
pub(super) fn set_in_branches(steps: &[Step]) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    collect(steps, false, &mut out);
    out
}

fn collect(steps: &[Step], inside: bool, out: &mut BTreeSet<String>) {
    for step in steps {
        match &step.action {
            Action::Let(values) if inside => {
                out.extend(values.iter().map(|(name, _)| name.text.clone()));
            }
            Action::Effect(effect) if inside => {
                out.extend(effect.results.iter().map(|answer| answer.name.text.clone()));
            }
            Action::Choose { arms, otherwise } => {
                arms.iter().for_each(|(_, steps)| collect(steps, inside, out));
                collect(otherwise, inside, out);
            }
            Action::Parallel(branches) => {
                branches.iter().for_each(|steps| collect(steps, true, out));
            }
            Action::Each { at_once, body, .. } => collect(body, inside || *at_once > 1, out),
            Action::Repeat { body, .. } | Action::Forever(body) | Action::Try(body) => {
                collect(body, inside, out);
            }
            _ => {}
        }
        step.catches.iter().for_each(|clause| collect(&clause.steps, inside, out));
    }
}
