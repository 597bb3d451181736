//! The power goes: which unsynced changes survive, by rules drawn from a seed.

use std::io;
use std::path::Path;

use super::content;
use super::history::{History, NameChange, NameOp, Names, move_names, parent};
use super::tree::{at, make_directory, write_file};
use crate::rng::Rng;

/// What makes a change of a directory durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameRule {
    /// As on ext4: names change in order, a sync of a directory or of the file itself covers all
    /// changes up to that one, and of the rest a prefix survives.
    Ordered,
    /// As POSIX promises: only a sync of the directory covers a change in it; each other change
    /// survives or not on its own.
    Strict,
}

/// What becomes of the unsynced changes of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataRule {
    /// All survive.
    Kept,
    /// None survives.
    Lost,
    /// The first few survive, the next one is torn.
    Prefix,
    /// Each is kept, lost or torn on its own, perhaps in another order.
    Scattered,
}

/// What a cut did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Aftermath {
    /// Whether names followed [`NameRule::Strict`].
    pub strict: bool,
    /// Changes of content that no sync covered.
    pub unsynced: u64,
    /// Of these, how many are gone altogether.
    pub lost: u64,
    /// Of these, how many are there in part.
    pub torn: u64,
    /// Files whose unsynced changes were applied in another order.
    pub reordered: u64,
    /// Creations, renames and removals that did not survive.
    pub names_undone: u64,
}

/// The rules of one cut; without a data rule each file draws its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub names: NameRule,
    pub data: Option<DataRule>,
}

impl Rules {
    /// Either reading of the standards, by the seed.
    pub fn drawn(seed: u64) -> Self {
        let strict = Rng::keyed(seed, &[0]).chance(0.5);
        Self { names: if strict { NameRule::Strict } else { NameRule::Ordered }, data: None }
    }

    /// Everything survives: the directory as processes saw it.
    pub fn kept() -> Self {
        Self { names: NameRule::Ordered, data: Some(DataRule::Kept) }
    }
}

/// Writes to `out` what survives of `history`.
pub(super) fn build(
    history: &History<'_>,
    seed: u64,
    rules: Rules,
    out: &Path,
) -> io::Result<Aftermath> {
    let mut aftermath =
        Aftermath { strict: rules.names == NameRule::Strict, ..Aftermath::default() };
    let mut rng = Rng::keyed(seed, &[1]);
    let survivors = surviving_names(history, rules, &mut rng);
    aftermath.names_undone = survivors.iter().filter(|kept| !**kept).count() as u64;
    let mut names = history.first.clone();
    for (op, _) in history.name_ops.iter().zip(&survivors).filter(|(_, kept)| **kept) {
        apply(&mut names, op, history);
    }
    for (path, id) in &names {
        let (node, target) = (&history.nodes[*id], at(out, path));
        if node.directory {
            make_directory(&target, node.mode)?;
            continue;
        }
        let mut rng = Rng::keyed(seed, &[2, *id as u64]);
        let rule = rules.data.unwrap_or_else(|| draw_data_rule(&mut rng));
        let content = content::surviving(node, rule, &mut rng, &mut aftermath)?;
        write_file(&target, &content, node.mode)?;
    }
    Ok(aftermath)
}

fn draw_data_rule(rng: &mut Rng) -> DataRule {
    match rng.index(6) {
        0 => DataRule::Kept,
        1 => DataRule::Lost,
        2 | 3 => DataRule::Prefix,
        _ => DataRule::Scattered,
    }
}

/// For each change of a name whether it survives.
fn surviving_names(history: &History<'_>, rules: Rules, rng: &mut Rng) -> Vec<bool> {
    let ops = &history.name_ops;
    if rules.data == Some(DataRule::Kept) {
        return vec![true; ops.len()];
    }
    match rules.names {
        NameRule::Ordered => {
            let covered = |op: &NameOp<'_>| op.directory_synced || op.node_synced;
            let durable = ops.iter().rposition(covered).map_or(0, |last| last + 1);
            let kept = durable + rng.index(ops.len() - durable + 1);
            (0..ops.len()).map(|n| n < kept).collect()
        }
        NameRule::Strict => {
            // Whole directories that survive or vanish are as likely as a mixture.
            let odds = [0.0, 0.5, 1.0][rng.index(3)];
            ops.iter().map(|op| op.directory_synced || rng.chance(odds)).collect()
        }
    }
}

/// Applies a surviving change, unless what it builds on did not survive.
fn apply(names: &mut Names, op: &NameOp<'_>, history: &History<'_>) {
    let in_directory = |names: &Names, path: &[u8]| {
        names.get(parent(path)).is_some_and(|id| history.nodes[*id].directory)
    };
    match op.change {
        NameChange::Add { path } if in_directory(names, path) => {
            names.insert(path.to_vec(), op.node);
        }
        NameChange::Move { from, to }
            if in_directory(names, to) && names.get(from) == Some(&op.node) =>
        {
            move_names(names, from, to);
        }
        NameChange::Remove { path } if names.get(path) == Some(&op.node) => {
            // A directory goes with what is left in it, since its removal came after theirs.
            let below = [path, b"/"].concat();
            names.retain(|name, _| name != path && !name.starts_with(&below));
        }
        _ => {}
    }
}
