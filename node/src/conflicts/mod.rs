//! Conflicts: what was written at once in two places, and what became of it.
//!
//! A *settled* conflict has an outcome by its rule; the cells that lost are in the [`journal`], so
//! that a person can read why a value won and take back the other. An [`open`] one waits for a
//! person: its values are in the document side by side, equal on every node, and whoever
//! [`resolve`]s it writes a value that has seen them all.

pub mod journal;
pub mod open;
pub mod resolve;

pub use journal::Entry;
pub use open::Open;
pub use resolve::{Choice, ResolveError, resolve};

use holdfast_core::state::{Cell, Label, Rule};

fn encode(cell: &Cell<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    cell.encode(&mut out).expect("a growing buffer is never full");
    out
}

/// Why a conflict ended as it did, in words; nothing of an outcome means that it is open.
#[must_use]
pub const fn why(rule: Rule, outcome: Option<Option<Label>>) -> &'static str {
    match (outcome, rule) {
        (None, _) => "all values are kept until somebody chooses",
        (Some(None), _) => "a later write above or below the path took its place",
        (Some(_), Rule::Lww) => "the last write wins",
        (Some(_), Rule::Max) => "of values written at once the greatest stays",
        (Some(_), Rule::Min) => "of values written at once the least stays",
        (Some(_), Rule::HubWins) => "what the hub wrote wins over the site",
        (Some(_), Rule::EdgeWins) => "what was written at the site wins over the hub",
        (Some(_), Rule::KeepAll) => "somebody has chosen",
        (Some(_), Rule::Counter | Rule::Set) => {
            "what each author counted or added is put together; anything else is left out"
        }
    }
}
