//! Messages that begin runs of workflows: those on a topic that a trigger names.
//!
//! Such a message goes to disk, whatever its quality of service, as a record of the run that it
//! begins, in the transaction of everything else that comes of it; its acknowledgement follows.

use super::message::Message;
use super::topic::tree::Tree;
use super::topic::{Filter, Topic};
use holdfast_core::Timestamp;
use holdfast_core::flow::trigger::On;
use holdfast_node::runs::{Begins, Desk, Due, FACTS_MAX_BYTES, Facts};
use holdfast_sync::env::Env;
use std::fmt;
use std::sync::{PoisonError, RwLock};

/// What topics begin.
#[derive(Default)]
pub struct Starts {
    source: Option<(Desk, Env)>,
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    /// How often the workflows had changed when this was made.
    changes: Option<u64>,
    begins: Tree<Vec<Begins>>,
}

impl fmt::Debug for Starts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Starts")
    }
}

impl Starts {
    /// What the workflows of a desk say.
    #[must_use]
    pub fn new(desk: Desk, env: Env) -> Self {
        Self { source: Some((desk, env)), known: RwLock::default() }
    }

    /// Whether a message on this topic begins anything.
    #[must_use]
    pub fn has(&self, topic: &Topic) -> bool {
        let mut any = false;
        self.look(topic, |_| any = true);
        any
    }

    /// What a message begins.
    #[must_use]
    pub fn of(&self, message: &Message) -> Vec<Due> {
        let Some((_, env)) = &self.source else { return Vec::new() };
        let mut out = Vec::new();
        self.look(message.topic(), |begins| {
            for Begins { flow, trigger } in begins {
                let facts = facts(message, env.now());
                out.push(Due::begin(flow, *trigger, facts, env));
            }
        });
        out
    }

    /// Hands in what a message begins, which is on disk.
    pub fn found(&self, due: Due) {
        if let Some((desk, _)) = &self.source {
            desk.found([due]);
        }
    }

    fn look(&self, topic: &Topic, visit: impl FnMut(&Vec<Begins>)) {
        let Some((desk, _)) = &self.source else { return };
        let changes = desk.changes();
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        if known.changes == Some(changes) {
            return known.begins.matching(topic, visit);
        }
        drop(known);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        *known = Known { changes: Some(changes), begins: filters(desk) };
        known.begins.matching(topic, visit);
    }
}

fn filters(desk: &Desk) -> Tree<Vec<Begins>> {
    let mut tree: Tree<Vec<Begins>> = Tree::new();
    for begins in desk.triggers(|on| matches!(on, On::Message { .. })) {
        let On::Message { filter } = begins.trigger().on else { continue };
        let filter = match Filter::try_from(filter) {
            Ok(filter) => filter,
            Err(error) => {
                tracing::error!(filter, %error, "a trigger is left out");
                continue;
            }
        };
        match tree.get_filter_mut(&filter) {
            Some(all) => all.push(begins),
            None => drop(tree.insert_filter(&filter, vec![begins])),
        }
    }
    tree
}

/// What is known of a message. A content that is no text, or too long to be kept, is left out.
fn facts(message: &Message, now: Timestamp) -> Facts {
    let payload = std::str::from_utf8(message.payload()).unwrap_or_default();
    let payload = if payload.len() > FACTS_MAX_BYTES / 2 { "" } else { payload };
    Facts::message(message.topic().as_str(), payload, now)
}
