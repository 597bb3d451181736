//! How many branches steps have at once, and how much there can be to undo behind them.

use super::super::definition::step::{Action, Step};

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
