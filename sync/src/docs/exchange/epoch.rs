//! Epochs between two nodes: who is in a later one tells of the cut and gives what it began with.

use super::message::Message;
use super::{Batch, Exchange, Owed, Taken};
use crate::Fault;
use crate::docs::change::Change;
use crate::docs::chunk::Hash;
use crate::docs::cut::Cut;
use crate::docs::epoch;
use crate::docs::records::{Book, status};
use crate::docs::{DocumentName, Documents, Refusal};
use crate::store::{Records, WriteError};
use std::cmp::Ordering;
use std::sync::Arc;

impl Exchange {
    /// Tells a peer that has a document at `theirs` of its last cut, if it may not know of it; says
    /// from which heads on it can be given the rest.
    pub(super) fn across<R: Records>(
        &mut self,
        records: &mut R,
        name: &DocumentName,
        theirs: &[Hash],
        batch: &mut Batch,
    ) -> Result<Vec<Hash>, WriteError> {
        let Some(cut) = (Book { records: &mut *records, name }).cut()? else {
            return Ok(theirs.to_vec());
        };
        if !theirs.is_empty() && self.documents.holds(records, name, theirs)? {
            return Ok(theirs.to_vec());
        }
        let was_there = theirs == cut.heads;
        let chunks =
            if was_there { Vec::new() } else { self.documents.base(records, name, &cut)? };
        let from = if was_there || theirs.is_empty() { &cut.base[..] } else { theirs }.to_vec();
        batch.pushed.push((name.clone(), cut.base.clone()));
        self.under_way.insert(name.clone(), cut.base.clone());
        // What was wanted is of an epoch that the peer leaves now; it brings the rest by itself.
        self.wanted.remove(name);
        batch.say(&Message::Cut { name: name.clone(), cut, base: chunks });
        Ok(from)
    }

    /// Takes a cut of which the peer has told.
    pub(super) fn cut<R: Records>(
        &mut self,
        records: &mut R,
        name: &DocumentName,
        cut: &Cut,
        base: Result<Vec<Change>, Refusal>,
        taken: &mut Taken,
    ) -> Result<(), WriteError> {
        let documents = Arc::clone(&self.documents);
        let came = match base {
            Ok(base) => {
                self.judged(name, |judge| documents.take_cut(records, name, (cut, base), judge))
            }
            Err(refusal) => Err(refusal.into()),
        };
        match self.unless_refused(name, came, taken)? {
            None | Some(epoch::Taken::Here) => {}
            Some(epoch::Taken::Passed) => {
                self.owe(name, Owed::Behind(Vec::new()), &mut taken.answer);
            }
            Some(epoch::Taken::Lacks) => self.ask(name, Vec::new(), &mut taken.answer),
            Some(epoch::Taken::Begun(applied)) => {
                self.talks.remove(name);
                self.owed.remove(name);
                self.under_way.remove(name);
                self.wanted.remove(name);
                // It has the base, and may have more: that it has just this it has not said.
                Documents::set_known(records, &self.peer, name, &cut.base)?;
                self.note(name, applied, taken);
            }
        }
        Ok(())
    }

    /// Whether something that was said of a document in `epoch` can be taken. Who is behind is told
    /// of the cut, and who is ahead is asked for it.
    pub(super) fn is_of_now<R: Records>(
        &mut self,
        records: &mut R,
        name: &DocumentName,
        epoch: u64,
        answer: &mut Batch,
    ) -> Result<bool, Fault> {
        let ours = status(records, name)?.map_or(0, |known| known.epoch);
        match epoch.cmp(&ours) {
            Ordering::Less => self.owe(name, Owed::Behind(Vec::new()), answer),
            Ordering::Equal => {}
            Ordering::Greater => self.want(records, name, answer)?,
        }
        Ok(epoch == ours)
    }

    /// Says that a document is here just as the peer has pushed it, where a cut may wait for that:
    /// that the push was stored does not say that nothing else was written here.
    pub(super) fn confirm<R: Records>(
        &self,
        records: &R,
        name: &DocumentName,
        theirs: &[Hash],
        answer: &mut Batch,
    ) -> Result<(), Fault> {
        if self.documents.is_edge()
            && let Some(known) = status(records, name)?
            && known.heads == theirs
            && self.documents.may_be_cut(&known)
        {
            answer.say(&Message::Have(name.clone(), known.heads));
        }
        Ok(())
    }

    /// The peer says that it has a document at `heads`, which may be what a cut has waited for.
    pub(super) fn known<R: Records>(
        &mut self,
        records: &mut R,
        name: &DocumentName,
        heads: &[Hash],
    ) -> Result<(), Fault> {
        Documents::set_known(records, &self.peer, name, heads)?;
        if status(records, name)?.is_some_and(|status| status.position > self.after) {
            self.told_here.insert(name.clone(), heads.to_vec());
        }
        self.documents.confirm(records, &self.peer, name, heads)?;
        let cut = self.documents.cut_if_due(records, name, || self.steward.members(name));
        match cut {
            Err(fault) if fault.is_damage() => {
                tracing::error!(document = %name, %fault, "a history cannot be cut");
            }
            other => {
                other?;
            }
        }
        Ok(())
    }
}
