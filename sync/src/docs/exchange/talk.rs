//! The engines' talk about a document whose histories have parted, message by message.
//!
//! The engine says what it has, as a filter, and what it lacks, until both have the same heads.
//! Changes may be pushed beside it. A talk is done when one side has seen that the other is where
//! it is itself, and the other has heard of it.

use super::message::Message;
use super::{Batch, Exchange, Owed, Taken};
use crate::Fault;
use crate::docs::chunk::Hash;
use crate::docs::records::status;
use crate::docs::{DocumentName, Documents, Refusal, SyncMessage, SyncState};
use crate::store::{Records, WriteError};
use std::sync::Arc;

/// The engines' talk about a document.
#[derive(Debug, Default)]
pub(super) struct Talk {
    pub state: SyncState,
    /// The epoch of the document.
    pub epoch: u64,
    /// Both sides have had the same heads; from there on changes are pushed again.
    pub done: bool,
    /// Our heads when something was said last.
    pub said: Vec<Hash>,
}

impl Exchange {
    pub(super) fn is_talking(&self, name: &DocumentName) -> bool {
        self.talks.get(name).is_some_and(|talk| !talk.done)
    }

    /// A talk that begins, where the last one with this peer ended.
    pub(super) fn new_talk<R: Records>(
        &self,
        records: &mut R,
        name: &DocumentName,
    ) -> Result<Talk, Fault> {
        let epoch = status(records, name)?.map_or(0, |known| known.epoch);
        let known = Documents::known(records, &self.peer, name)?;
        // What both had in an epoch before means nothing to the engine.
        let state = match self.documents.holds(records, name, &known)? {
            true => Documents::sync_state(records, &self.peer, name)?,
            false => SyncState::default(),
        };
        Ok(Talk { state, epoch, ..Talk::default() })
    }

    /// Gives up a talk about a document whose history has been cut meanwhile.
    pub(super) fn drop_talk_of_before<R: Records>(
        &mut self,
        records: &mut R,
        name: &DocumentName,
    ) -> Result<(), Fault> {
        if let Some(talk) = self.talks.get(name)
            && status(records, name)?.is_some_and(|known| known.epoch != talk.epoch)
        {
            self.talks.remove(name);
        }
        Ok(())
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
            self.documents.note_offered(records, name, &talk.said)?;
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
        if let Ok(said) = &said
            && !self.is_of_now(records, name, said.epoch(), &mut taken.answer)?
        {
            return Ok(());
        }
        let documents = Arc::clone(&self.documents);
        let peer = self.peer;
        self.drop_talk_of_before(records, name)?;
        let Talk { mut state, epoch, said: before, .. } = match self.talks.remove(name) {
            Some(talk) => talk,
            None => self.new_talk(records, name)?,
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
        self.talks.insert(name.clone(), Talk { state, epoch, done: false, said: before });
        self.wanted.entry(name.clone()).or_default();
        self.owe(name, Owed::Reply, &mut taken.answer);
        self.note(name, applied, taken);
        Ok(())
    }

    /// Answers what the peer's engine has said of a document.
    pub(super) fn reply<R: Records>(
        &mut self,
        records: &mut R,
        name: &DocumentName,
        batch: &mut Batch,
    ) -> Result<(), WriteError> {
        self.drop_talk_of_before(records, name)?;
        let ours = status(records, name)?.map(|known| known.heads).unwrap_or_default();
        let Some(talk) = self.talks.get(name) else { return Ok(()) };
        let agreed = talk.state.agrees(&ours);
        self.talk(records, name, batch)?;
        if agreed && let Some(talk) = self.talks.get_mut(name) {
            talk.done = true;
            if talk.said != ours {
                // The engine says no more where a push has made both the same, but the peer waits.
                batch.say(&Message::Have(name.clone(), ours.clone()));
            }
            self.wanted.remove(name);
            self.known(records, name, &ours)?;
        }
        Ok(())
    }
}
