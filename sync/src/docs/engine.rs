//! The engine, contained: the one file that holds an Automerge instance.
//!
//! Every call runs under a guard. Should the engine panic all the same, the guard gives
//! [`Broken`], the instance must not be used again, and its owner drops it and loads another from
//! the store. The engine is given actors and times and draws none of its own.

use super::Refusal;
use super::actor::Actor;
use super::change::Change;
use super::chunk::{Chunk, Hash};
use super::history::History;
use automerge::sync::{Message, State, SyncDoc as _};
use automerge::transaction::{CommitOptions, Transactable as _};
use automerge::{ActorId, Automerge, ChangeHash, ROOT, ReadDoc as _, ScalarValue, Value};
use holdfast_core::codec::Reader;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Who an instance is that only reads; no change is ever made under it.
const NOBODY: Actor = [0; 16];

/// The engine failed: its instance is of no more use.
#[derive(Debug)]
pub(super) struct Broken(pub String);

fn broken(error: impl std::fmt::Display) -> Broken {
    Broken(error.to_string())
}

fn guard<T>(call: impl FnOnce() -> Result<T, Broken>) -> Result<T, Broken> {
    let caught = catch_unwind(AssertUnwindSafe(call));
    caught.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(Broken(format!("panic: {}", text.unwrap_or_default())))
    })
}

/// An open document.
pub(super) struct Engine {
    document: Automerge,
    /// What is held; a change that was admitted is on its way into the engine.
    pub history: History,
}

impl Engine {
    /// An empty document.
    pub(super) fn new() -> Self {
        let mut document = Automerge::new();
        document.set_actor(ActorId::from(NOBODY));
        Self { document, history: History::default() }
    }

    /// Loads what was stored: a snapshot and changes, one behind the other.
    pub(super) fn load(bytes: &[u8]) -> Result<Self, Broken> {
        guard(|| {
            let mut engine = Self::new();
            engine.document = Automerge::load(bytes).map_err(broken)?;
            engine.document.set_actor(ActorId::from(NOBODY));
            for change in engine.document.get_changes(&[]) {
                let change = read_raw(change.raw_bytes()).map_err(broken)?;
                engine.history.admit(&change).map_err(broken)?;
            }
            Ok(engine)
        })
    }

    /// Loads whatever of `chunks` can be loaded, for a repair; says which could not.
    pub(super) fn salvage(chunks: &[Vec<u8>]) -> (Self, Vec<usize>) {
        let (mut kept, mut lost) = (Vec::new(), Vec::new());
        let mut engine = Self::new();
        for (at, chunk) in chunks.iter().enumerate() {
            let with: Vec<u8> = [kept.as_slice(), chunk].concat();
            match Self::load(&with) {
                Ok(loaded) if loaded.is_whole() => {
                    kept = with;
                    engine = loaded;
                }
                _ => lost.push(at),
            }
        }
        (engine, lost)
    }

    /// Whether every change has what it depends on.
    pub(super) fn is_whole(&self) -> bool {
        self.document.get_missing_deps(&[]).is_empty()
    }

    /// The heads, ascending.
    pub(super) fn heads(&self) -> Vec<Hash> {
        self.document.get_heads().into_iter().map(|hash| hash.0).collect()
    }

    /// Puts cells as `actor` in one change.
    pub(super) fn commit(
        &mut self,
        actor: Actor,
        time_ms: i64,
        puts: &[(String, Vec<u8>)],
    ) -> Result<Change, Broken> {
        let change = guard(|| {
            self.document.set_actor(ActorId::from(actor));
            let mut transaction = self.document.transaction();
            for (key, cell) in puts {
                let value = ScalarValue::Bytes(cell.clone());
                transaction.put(ROOT, key.as_str(), value).map_err(broken)?;
            }
            let options = CommitOptions::default().with_time(time_ms);
            transaction.commit_with(options).0.ok_or_else(|| broken("it made no change"))?;
            let change = self.document.get_last_local_change();
            let change = change.ok_or_else(|| broken("the change is not there"))?;
            // What is made here has to be what is taken elsewhere.
            read_raw(change.raw_bytes()).map_err(broken)
        })?;
        self.history.admit(&change).map_err(broken)?;
        Ok(change)
    }

    /// Admits and applies changes that are known to fit, each behind those it depends on.
    pub(super) fn take(&mut self, changes: &[Change]) -> Result<(), Broken> {
        changes.iter().try_for_each(|change| self.history.admit(change)).map_err(broken)?;
        self.apply(changes)
    }

    /// Applies changes that the history has admitted, each behind those it depends on.
    pub(super) fn apply(&mut self, changes: &[Change]) -> Result<(), Broken> {
        let mut heads = self.heads();
        for change in changes {
            heads.retain(|head| !change.deps.contains(head));
            heads.push(change.hash);
        }
        heads.sort_unstable();
        guard(|| {
            let of = |change: &Change| automerge::Change::from_bytes(change.raw.clone());
            let parsed: Result<Vec<_>, _> = changes.iter().map(of).collect();
            self.document.apply_changes(parsed.map_err(broken)?).map_err(broken)
        })?;
        if self.heads() == heads { Ok(()) } else { Err(broken("other heads than expected")) }
    }

    /// The keys that are there.
    pub(super) fn keys(&self) -> Result<Vec<String>, Broken> {
        guard(|| Ok(self.document.keys(ROOT).collect()))
    }

    /// The cells at a key that have not seen each other, in no order that means anything.
    pub(super) fn cells(&self, key: &str) -> Result<Vec<Vec<u8>>, Broken> {
        guard(|| {
            let found = self.document.get_all(ROOT, key).map_err(broken)?;
            found.into_iter().map(|(value, _)| cell_of(value)).collect()
        })
    }

    /// The same as it was at `heads`, all of which are held.
    pub(super) fn cells_at(&self, key: &str, heads: &[Hash]) -> Result<Vec<Vec<u8>>, Broken> {
        let heads: Vec<_> = heads.iter().copied().map(ChangeHash).collect();
        guard(|| {
            let found = self.document.get_all_at(ROOT, key, &heads).map_err(broken)?;
            found.into_iter().map(|(value, _)| cell_of(value)).collect()
        })
    }

    /// The whole document as one chunk.
    pub(super) fn save(&self) -> Result<Vec<u8>, Broken> {
        guard(|| Ok(self.document.save()))
    }

    /// The changes that are not behind `known`, all of which are held, in an order in which they
    /// can be applied: actor and chunk of each.
    pub(super) fn after(&self, known: &[Hash]) -> Result<Vec<(Actor, Vec<u8>)>, Broken> {
        let known: Vec<_> = known.iter().copied().map(ChangeHash).collect();
        guard(|| self.document.get_changes(&known).iter().map(actor_and_bytes).collect())
    }

    /// The chunks of changes that are held, one behind the other.
    pub(super) fn chunks(&self, hashes: &[Hash]) -> Result<Vec<u8>, Broken> {
        let chunk = |hash: &Hash| {
            let found = self.document.get_change_by_hash(&ChangeHash(*hash));
            found.map(|change| change.raw_bytes().to_vec())
        };
        let chunks = guard(|| Ok(hashes.iter().map(chunk).collect::<Option<Vec<_>>>()))?;
        chunks.map(|chunks| chunks.concat()).ok_or_else(|| broken("a change is gone"))
    }

    /// What to say next to a peer in `state`, if anything.
    pub(super) fn next_message(&self, state: &mut State) -> Result<Option<Message>, Broken> {
        guard(|| Ok(self.document.generate_sync_message(state)))
    }

    /// Takes what a peer said; its changes have been applied before.
    pub(super) fn take_message(
        &mut self,
        state: &mut State,
        message: Message,
    ) -> Result<(), Broken> {
        guard(|| self.document.receive_sync_message(state, message).map_err(broken))
    }

    /// The changes of `state` that were counted as sent and are not in `sent`.
    pub(super) fn unsend(state: &mut State, before: &State, sent: &[Hash]) {
        let was = |hash: &ChangeHash| before.sent_hashes.contains(hash) || sent.contains(&hash.0);
        state.sent_hashes.retain(was);
    }
}

fn cell_of(value: Value<'_>) -> Result<Vec<u8>, Broken> {
    match value.into_scalar() {
        Ok(ScalarValue::Bytes(bytes)) => Ok(bytes),
        _ => Err(broken("a value that is no cell")),
    }
}

fn actor_and_bytes(change: &automerge::Change) -> Result<(Actor, Vec<u8>), Broken> {
    let actor = change.actor_id().to_bytes().try_into();
    let actor = actor.map_err(|_| broken("an actor of another length"))?;
    Ok((actor, change.raw_bytes().to_vec()))
}

/// The changes of a document chunk whose form has been checked.
pub(super) fn changes_of(chunk: &[u8]) -> Result<Vec<Change>, Refusal> {
    let found = guard(|| {
        let document = Automerge::load(chunk).map_err(broken)?;
        Ok(document.get_changes(&[]).iter().map(|change| change.raw_bytes().to_vec()).collect())
    });
    let found: Vec<Vec<u8>> = found.map_err(|_| Refusal::Engine)?;
    found.iter().map(|raw| read_raw(raw)).collect()
}

/// Reads a change of our own or the engine's making.
pub(super) fn read_raw(chunk: &[u8]) -> Result<Change, Refusal> {
    match Chunk::read(&mut Reader::new(chunk))? {
        Chunk::Change(body) => Change::read(&body),
        Chunk::Document(..) => Err(Refusal::Kind),
    }
}
