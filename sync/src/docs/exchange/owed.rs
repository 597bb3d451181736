//! What a peer has asked for and is given when there is room for it.
//!
//! It waits as a name, not as the bytes of an answer: whoever asks again and again and takes
//! nothing is owed one answer for each document, and does not fill the memory of this node.

use super::message::Message;
use super::{Batch, Exchange};
use crate::docs::DocumentName;
use crate::docs::chunk::Hash;
use crate::docs::records::status;
use crate::store::{Records, WriteError};

/// What a peer is given of a document when there is room for it.
#[derive(Debug)]
pub(super) enum Owed {
    /// What is behind these heads.
    Behind(Vec<Hash>),
    /// What the engine answers.
    Reply,
}

impl Exchange {
    /// Gives the peer what it is owed, about `max_bytes` of it.
    pub(super) fn pay<R: Records>(
        &mut self,
        records: &mut R,
        max_bytes: usize,
        batch: &mut Batch,
    ) -> Result<(), WriteError> {
        let mut bytes = 0;
        while bytes < max_bytes
            && let Some((name, owed)) = self.owed.pop_first()
        {
            let first = batch.records.len();
            let paid = match owed {
                Owed::Reply => self.reply(records, &name, batch),
                Owed::Behind(theirs) => match status(records, &name)? {
                    Some(known) => self.offer(records, &name, &theirs, &known.heads, batch),
                    None => Ok(()),
                },
            };
            unless_damaged(&name, paid)?;
            bytes += batch.bytes_from(first);
        }
        self.settle(records)?;
        Ok(())
    }

    pub(super) fn owe(&mut self, name: &DocumentName, owed: Owed, answer: &mut Batch) {
        self.owed.insert(name.clone(), owed);
        answer.more = true;
    }

    /// The peer has a document up to `theirs` and wants what is behind.
    pub(super) fn wants<R: Records>(
        &mut self,
        records: &mut R,
        name: &DocumentName,
        theirs: &[Hash],
        answer: &mut Batch,
    ) -> Result<(), WriteError> {
        if !self.steward.shares(&self.peer, name) {
            return Ok(());
        }
        self.under_way.remove(name);
        match status(records, name)? {
            None if theirs.is_empty() => {}
            None => self.want(records, name, answer)?,
            Some(known) if known.heads == theirs => {
                // It wanted what it was told of in an epoch before, and went over meanwhile.
                answer.say(&Message::Have(name.clone(), known.heads));
                self.known(records, name, theirs)?;
            }
            Some(_) => self.owe(name, Owed::Behind(theirs.to_vec()), answer),
        }
        Ok(())
    }
}

/// Leaves out what cannot be opened, with a word in the log.
pub(super) fn unless_damaged(
    document: &DocumentName,
    sent: Result<(), WriteError>,
) -> Result<(), WriteError> {
    match sent {
        Err(WriteError::Fault(fault)) if fault.is_damage() => {
            tracing::error!(%document, %fault, "a document cannot be sent");
            Ok(())
        }
        other => other,
    }
}
