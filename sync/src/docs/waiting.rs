//! Changes that came before what they depend on, or before the signed head that covers them.
//!
//! The engine would queue them without bound and save them with the document. Here they wait in
//! memory within a bound, beside the document; when they grow beyond it all of them go, and a later
//! exchange brings them again.

use super::actor::{Actor, Introduction};
use super::change::Change;
use super::chunk::Hash;
use super::limits::{ACTORS_MAX, WAITING_BYTES};
use super::signed::SignedHead;
use holdfast_core::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// A change that waits.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub change: Change,
    /// Who wrote it.
    pub owner: NodeId,
    /// Whether it came from its author.
    pub direct: bool,
}

/// What waits for a document.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting {
    pub arrivals: Vec<Arrival>,
    pub heads: BTreeMap<(NodeId, Hash), SignedHead>,
    pub introduced: BTreeMap<Actor, Introduction>,
}

impl Waiting {
    /// Bytes of what waits.
    pub(super) fn bytes(&self) -> usize {
        self.arrivals.iter().map(|arrival| arrival.change.raw.len()).sum()
    }

    /// Lets all go when it is too much.
    pub(super) fn bound(&mut self) {
        if self.arrivals.is_empty() {
            self.introduced.clear();
        }
        let many = self.heads.len().max(self.introduced.len()) > ACTORS_MAX;
        if self.bytes() > WAITING_BYTES || many {
            *self = Self::default();
        }
    }

    /// What has to come before anything that waits can be applied, for a peer with `heads`.
    pub(super) fn needs(&self, heads: &[Hash], has: impl Fn(&Hash) -> bool) -> Vec<Hash> {
        let here: BTreeSet<Hash> = self.arrivals.iter().map(|a| a.change.hash).collect();
        let deps = self.arrivals.iter().flat_map(|arrival| &arrival.change.deps);
        let needs = deps.chain(heads).filter(|hash| !here.contains(*hash) && !has(hash));
        needs.copied().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Orders what waits: those that can be applied now, each behind what it depends on. The rest
    /// goes on waiting.
    pub(super) fn ready(&mut self, has: impl Fn(&Hash) -> bool) -> Vec<Change> {
        let covered = self.covered();
        let mut arrivals: BTreeMap<Hash, Arrival> =
            self.arrivals.drain(..).map(|arrival| (arrival.change.hash, arrival)).collect();
        let mut lacks: BTreeMap<Hash, usize> = BTreeMap::new();
        let mut behind: BTreeMap<Hash, Vec<Hash>> = BTreeMap::new();
        let mut next: BTreeSet<Hash> = BTreeSet::new();
        for (hash, arrival) in &arrivals {
            let missing: Vec<_> = arrival.change.deps.iter().filter(|dep| !has(dep)).collect();
            missing.iter().for_each(|dep| behind.entry(**dep).or_default().push(*hash));
            if missing.is_empty() {
                next.insert(*hash);
            }
            lacks.insert(*hash, missing.len());
        }
        let mut out = Vec::new();
        while let Some(hash) = next.pop_first() {
            let Some(arrival) = arrivals.get(&hash) else { continue };
            if !arrival.direct && !covered.contains(&(arrival.owner, hash)) {
                continue;
            }
            out.extend(arrivals.remove(&hash).map(|arrival| arrival.change));
            for follower in behind.remove(&hash).unwrap_or_default() {
                let lack = lacks.entry(follower).or_default();
                *lack = lack.saturating_sub(1);
                if *lack == 0 {
                    next.insert(follower);
                }
            }
        }
        self.arrivals = arrivals.into_values().collect();
        out
    }

    /// Which changes are covered by a signed head of which author.
    fn covered(&self) -> BTreeSet<(NodeId, Hash)> {
        let by_hash: BTreeMap<&Hash, &Change> =
            self.arrivals.iter().map(|arrival| (&arrival.change.hash, &arrival.change)).collect();
        let mut out = BTreeSet::new();
        for head in self.heads.values() {
            let mut next = vec![&head.head];
            while let Some(hash) = next.pop() {
                let Some(change) = by_hash.get(hash) else { continue };
                if out.insert((head.author, change.hash)) {
                    next.extend(&change.deps);
                }
            }
        }
        out
    }
}
