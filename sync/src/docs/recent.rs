//! Which keys the latest changes touched, so that whoever follows them is told no more than that.
//!
//! Kept in memory, within a bound, of this start only: whoever asks for what came earlier reads the
//! document as a whole. A change is noted inside its transaction, before it is certain; of one that
//! is undone a key too many is told, never one too few.

use super::DocumentName;
use std::collections::{BTreeSet, VecDeque};

/// Bytes of names and keys that are remembered: some thousand changes of a few keys.
const RECENT_BYTES: usize = 256 << 10;

struct Change {
    position: u64,
    name: DocumentName,
    keys: Vec<String>,
}

impl Change {
    fn bytes(&self) -> usize {
        self.name.as_str().len() + self.keys.iter().map(|key| key.len() + 32).sum::<usize>() + 64
    }
}

/// The latest changes.
#[derive(Default)]
pub(super) struct Recent {
    changes: VecDeque<Change>,
    bytes: usize,
    /// Every change behind this place is here; nothing is known before the first one is noted.
    complete_after: Option<u64>,
}

impl Recent {
    /// Notes what the change at `position` touched.
    pub(super) fn note(&mut self, position: u64, name: &DocumentName, keys: Vec<String>) {
        self.complete_after.get_or_insert(position.saturating_sub(1));
        let change = Change { position, name: name.clone(), keys };
        self.bytes += change.bytes();
        self.changes.push_back(change);
        while self.bytes > RECENT_BYTES {
            let Some(gone) = self.changes.pop_front() else { break };
            self.bytes -= gone.bytes();
            let complete_after = self.complete_after.get_or_insert(gone.position);
            *complete_after = gone.position.max(*complete_after);
        }
    }

    /// The keys that changes of a document behind place `after` touched, while that is known.
    pub(super) fn touched(&self, name: &DocumentName, after: u64) -> Option<BTreeSet<String>> {
        self.complete_after.filter(|complete| *complete <= after)?;
        let of_it = |change: &&Change| change.position > after && change.name == *name;
        let keys = self.changes.iter().filter(of_it).flat_map(|change| &change.keys);
        Some(keys.cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(device: &str) -> DocumentName {
        DocumentName::new(&format!("device/{device}/desired")).unwrap()
    }

    fn keys(keys: &[&str]) -> Vec<String> {
        keys.iter().map(|key| (*key).to_owned()).collect()
    }

    #[test]
    fn only_what_came_behind_a_place_is_told_and_nothing_of_before_the_start() {
        let mut recent = Recent::default();
        assert_eq!(recent.touched(&name("a"), 9), None);
        recent.note(10, &name("a"), keys(&["x"]));
        recent.note(11, &name("b"), keys(&["y"]));
        recent.note(12, &name("a"), keys(&["z", "x"]));
        let told = |after| recent.touched(&name("a"), after).map(Vec::from_iter);
        assert_eq!(told(8), None, "place 9 was before the start");
        assert_eq!(told(9), Some(keys(&["x", "z"])));
        assert_eq!(told(12), Some(Vec::new()));
    }

    #[test]
    fn the_oldest_are_forgotten_and_that_is_known() {
        let mut recent = Recent::default();
        let long = "k".repeat(1000);
        for position in 1..=1000 {
            recent.note(position, &name("a"), keys(&[&long]));
        }
        assert!(recent.bytes <= RECENT_BYTES && recent.changes.len() > 100);
        assert_eq!(recent.touched(&name("a"), 0), None);
        let oldest = recent.changes.front().unwrap().position;
        assert!(recent.touched(&name("a"), oldest - 1).is_some());
        assert_eq!(recent.touched(&name("a"), oldest - 2), None);
    }
}
