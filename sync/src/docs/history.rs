//! Which changes a document holds: who made each, what it depends on, which operations it has.
//!
//! The engine takes a change at its word: that its actor counts on, that its operations are
//! numbered behind those it depends on, that what it replaces is there, at the same key, and had
//! been seen. A change that lies about one of these is applied without a word, and the document
//! then cannot be saved and loaded again. So it is checked here, first.

use super::Refusal;
use super::actor::Actor;
use super::change::{Change, Put};
use super::chunk::Hash;
use std::collections::{BTreeMap, HashMap, HashSet};

struct Entry {
    actor: Actor,
    start: u64,
    deps: Vec<Hash>,
    /// The keys of its operations, by their numbers in the list of keys.
    keys: Vec<u32>,
}

impl Entry {
    fn last(&self) -> u64 {
        self.start + self.keys.len() as u64 - 1
    }
}

/// The changes of a document.
#[derive(Default)]
pub(super) struct History {
    entries: HashMap<Hash, Entry>,
    /// The changes of each actor by their first operations, in the order in which it made them.
    actors: HashMap<Actor, BTreeMap<u64, Hash>>,
    keys: HashMap<String, u32>,
}

impl History {
    /// How many changes there are.
    pub(super) fn changes(&self) -> u64 {
        self.entries.len() as u64
    }

    /// How many actors have made them.
    pub(super) fn actors(&self) -> usize {
        self.actors.len()
    }

    /// Whether a change is held.
    pub(super) fn has(&self, hash: &Hash) -> bool {
        self.entries.contains_key(hash)
    }

    /// The number of the last operation of a change that is held.
    pub(super) fn last_operation(&self, hash: &Hash) -> Option<u64> {
        self.entries.get(hash).map(Entry::last)
    }

    /// Whether change `below` is `head` or behind it, both being held.
    pub(super) fn covers(&self, head: &Hash, below: &Hash) -> bool {
        let least = self.last_operation(below);
        let (mut seen, mut next) = (HashSet::new(), vec![*head]);
        while let Some(hash) = next.pop() {
            if hash == *below {
                return true;
            }
            // Numbers grow along dependencies, so it is not behind a change with lower ones.
            let Some(entry) = self.entries.get(&hash) else { continue };
            if Some(entry.last()) > least && seen.insert(hash) {
                next.extend(&entry.deps);
            }
        }
        false
    }

    /// How many changes an actor has made.
    pub(super) fn seq(&self, actor: &Actor) -> u64 {
        self.actors.get(actor).map_or(0, |made| made.len() as u64)
    }

    /// How many changes each actor has made.
    pub(super) fn counts(&self) -> impl Iterator<Item = (Actor, u64)> {
        self.actors.iter().map(|(actor, made)| (*actor, made.len() as u64))
    }

    /// The last of the first `count` changes of an actor that are held.
    pub(super) fn last_of(&self, actor: &Actor, count: u64) -> Option<Hash> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        self.actors.get(actor)?.values().take(count).next_back().copied()
    }

    /// Takes a change in, if it says nothing that is not so.
    pub(super) fn admit(&mut self, change: &Change) -> Result<(), Refusal> {
        if change.seq != self.seq(&change.actor) + 1 {
            return Err(Refusal::Sequence);
        }
        let mut before = 0;
        for dep in &change.deps {
            before = self.last_operation(dep).ok_or(Refusal::Diverged)?.max(before);
        }
        if change.start != before + 1 {
            return Err(Refusal::Counter);
        }
        self.check_seen(change)?;
        let keys = change.puts.iter().map(|put| self.number(&put.key)).collect();
        let Change { hash, actor, start, ref deps, .. } = *change;
        self.actors.entry(actor).or_default().insert(start, hash);
        self.entries.insert(hash, Entry { actor, start, deps: deps.clone(), keys });
        Ok(())
    }

    fn number(&mut self, key: &str) -> u32 {
        if let Some(number) = self.keys.get(key) {
            return *number;
        }
        let number = self.keys.len() as u32;
        self.keys.insert(key.to_owned(), number);
        number
    }

    /// Checks that an actor's own last change is behind the new one, and all that is replaced.
    fn check_seen(&self, change: &Change) -> Result<(), Refusal> {
        let own = self.actors.get(&change.actor).and_then(|made| made.last_key_value());
        let mut must: HashSet<Hash> = own.map(|(_, hash)| *hash).into_iter().collect();
        for put in &change.puts {
            for (number, actor) in &put.replaces {
                must.insert(self.maker(put, *number, actor)?);
            }
        }
        let least = must.iter().filter_map(|hash| self.last_operation(hash)).min();
        let (mut seen, mut next) = (HashSet::new(), change.deps.clone());
        while let (false, Some(hash)) = (must.is_empty(), next.pop()) {
            // Numbers grow along dependencies, so nothing that is looked for is behind a lower one.
            let Some(entry) = self.entries.get(&hash) else { continue };
            if Some(entry.last()) >= least && seen.insert(hash) {
                must.remove(&hash);
                next.extend(&entry.deps);
            }
        }
        if must.is_empty() { Ok(()) } else { Err(Refusal::Unseen) }
    }

    /// The change that made an operation at the key of `put`.
    fn maker(&self, put: &Put, number: u64, actor: &Actor) -> Result<Hash, Refusal> {
        let made = self.actors.get(actor).and_then(|made| made.range(..=number).next_back());
        let (start, hash) = made.ok_or(Refusal::Unseen)?;
        let entry = self.entries.get(hash).ok_or(Refusal::Unseen)?;
        debug_assert_eq!(entry.actor, *actor, "changes are listed under their actors");
        let at = usize::try_from(number - start).map_err(|_| Refusal::Unseen)?;
        let key = entry.keys.get(at).ok_or(Refusal::Unseen)?;
        if self.keys.get(&put.key) == Some(key) { Ok(*hash) } else { Err(Refusal::Unseen) }
    }
}
