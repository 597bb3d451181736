//! What a change from elsewhere settled: which cells lost, and to what.
//!
//! The caller keeps these in its journal, named by the conflict, so that the same settlement told
//! twice is one entry.

use super::DocumentName;
use super::contents::Contents;
use holdfast_core::state::{Cell, ConflictId, Label, Path, Policy, Resolved, Rule, conflict_id};
use std::collections::BTreeSet;

/// A conflict that has an outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Its name, the same on every node.
    pub id: ConflictId,
    /// The path.
    pub path: String,
    /// The rule by which it was settled.
    pub rule: Rule,
    /// How it ended, seen from here; nothing when a write above or below the path hides it.
    pub label: Option<Label>,
    /// The cell that stays, if one does.
    pub winner: Option<Vec<u8>>,
    /// The cells that lost.
    pub losers: Vec<Vec<u8>>,
}

fn bytes(cell: &Cell<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    cell.encode(&mut out).expect("a growing buffer is never full");
    out
}

fn settle(
    name: &DocumentName,
    resolved: &Resolved<'_, '_, '_>,
    is_local: &dyn Fn(&Cell<'_>) -> bool,
) -> Option<Settled> {
    let Resolved { path, outcome, is_hidden } = resolved;
    let hidden = *is_hidden && outcome.is_live();
    let losers: Vec<_> = if hidden {
        outcome.cells().iter().filter(|cell| cell.is_live()).map(bytes).collect()
    } else {
        outcome.losers().map(bytes).collect()
    };
    if losers.is_empty() {
        return None;
    }
    Some(Settled {
        id: conflict_id(name.path(), resolved),
        path: path.as_str().to_owned(),
        rule: outcome.rule(),
        label: if hidden { None } else { outcome.label(is_local) },
        winner: if hidden { None } else { outcome.winner().map(bytes) },
        losers,
    })
}

/// The conflicts among paths that meet one of `touched`.
pub(super) fn settled(
    name: &DocumentName,
    contents: &Contents,
    policy: &Policy<'_>,
    touched: &BTreeSet<String>,
    is_local: &dyn Fn(&Cell<'_>) -> bool,
) -> Vec<Settled> {
    let touched: Vec<_> = touched.iter().filter_map(|path| Path::new(path).ok()).collect();
    let meant = |path: Path<'_>| touched.iter().any(|other| other.meets(path));
    contents.view(name, policy, |view| {
        let some = view.filter(|resolved| meant(resolved.path));
        some.filter_map(|resolved| settle(name, &resolved, is_local)).collect()
    })
}
