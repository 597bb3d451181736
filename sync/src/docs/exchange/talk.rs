//! The engines' talk about a document whose histories have parted, message by message.
//!
//! The engine says what it has, as a filter, and what it lacks, until both have the same heads.
//! Changes may be pushed beside it. A talk is done when one side has seen that the other is where
//! it is itself, and the other has heard of it.

use super::message::Message;
use super::{Batch, Exchange, Taken};
use crate::docs::chunk::Hash;
use crate::docs::records::status;
use crate::docs::{DocumentName, Documents, Refusal, SyncMessage, SyncState};
use crate::store::{Records, WriteError};
use std::sync::Arc;

/// The engines' talk about a document.
#[derive(Debug, Default)]
pub(super) struct Talk {
    pub state: SyncState,
    /// Both sides have had the same heads; from there on changes are pushed again.
    pub done: bool,
    /// Our heads when something was said last.
    pub said: Vec<Hash>,
}

impl Exchange {
    pub(super) fn is_talking(&self, name: &DocumentName) -> bool {
        self.talks.get(name).is_some_and(|talk| !talk.done)
    }

    /// Adds what the engine says next of a document.
    pub(super) fn talk<R: Records>(
        &mut self,
        records: &mut R,
        name: &DocumentName,
        batch: &mut Batch,
    ) -> Result<(), WriteError> {
        let Some(talk) = self.talks.get_mut(name) else { return Ok(()) };
        talk.done = false;
        if let Some(said) = self.documents.next_message(records, name, &mut talk.state)? {
            talk.said = status(records, name)?.map(|known| known.heads).unwrap_or_default();
            self.introduce(&said, batch);
            batch.say(&Message::Talk(name.clone(), said));
        }
        Ok(())
    }

    pub(super) fn talked<R: Records>(
        &mut self,
        records: &mut R,
        name: &DocumentName,
        said: Result<SyncMessage, Refusal>,
        taken: &mut Taken,
    ) -> Result<(), WriteError> {
        let documents = Arc::clone(&self.documents);
        let peer = self.peer;
        let Talk { mut state, said: before, .. } = match self.talks.remove(name) {
            Some(talk) => talk,
            None => Talk { state: Documents::sync_state(records, &peer, name)?, ..Talk::default() },
        };
        let applied = match said {
            Ok(said) => self.judged(name, |judge| {
                documents.take_message(records, &peer, name, &mut state, said, judge)
            }),
            Err(refusal) => Err(refusal.into()),
        };
        let Some(applied) = self.unless_refused(name, applied, taken)? else { return Ok(()) };
        if applied.quarantined {
            self.failed = true;
            self.note(name, applied, taken);
            return Ok(());
        }
        let ours = status(records, name)?.map(|known| known.heads).unwrap_or_default();
        let agreed = state.agrees(&ours);
        self.talks.insert(name.clone(), Talk { state, done: false, said: before });
        self.talk(records, name, &mut taken.answer)?;
        let talk = self.talks.entry(name.clone()).or_default();
        if agreed {
            talk.done = true;
            if talk.said != ours {
                // The engine says no more where a push has made both the same, but the peer waits.
                taken.answer.say(&Message::Have(name.clone(), ours.clone()));
            }
            self.wanted.remove(name);
            self.known(records, name, &ours)?;
        } else {
            self.wanted.entry(name.clone()).or_default();
        }
        self.note(name, applied, taken);
        Ok(())
    }
}
