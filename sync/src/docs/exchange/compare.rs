//! Comparing all that two sides share, where the cursor of one means nothing any more.
//!
//! The side whose sequence it is *answers*: it says its collection as one hash. The other *asks*:
//! where its own hash is equal nothing differs; else it wants symbols of a sketch, twice as many
//! each time, until it can take the difference apart, or beyond a bound the list. It then names the
//! items that it does not have, and its own documents whose items the answering side does not
//! have. What follows are pushes, wants and talks as ever, in both directions.

use super::collection::Collection;
use super::message::{Checked, ITEMS, Message, Root, SYMBOLS_MAX};
use super::{Batch, Exchange, Steward};
use crate::Fault;
use crate::docs::DocumentName;
use crate::docs::chunk::Hash;
use crate::docs::cursor::Cursor;
use crate::docs::records::status;
use crate::docs::sketch::{Difference, Item, SketchKey, Symbol, difference, symbols};
use crate::store::{ReadRecords, Records, WriteError};
use holdfast_core::{NodeId, Reject};
use std::collections::{BTreeMap, BTreeSet};

/// Symbols asked for first: ten documents that differ are twenty items, which so many nearly
/// always tell.
const SYMBOLS_FIRST: usize = 96;
/// Items in a list: a peer's collection is as large as a fleet at most.
const LIST_MAX: usize = 1 << 20;

/// The side whose sequence it is.
pub(super) struct Answering {
    pub root: Root,
    items: BTreeMap<Item, DocumentName>,
    /// Symbols that were asked for last; [`ALL`] once the list was.
    asked: usize,
}

/// Behind the last sketch there is the list, and behind the list nothing more to ask.
const ALL: usize = usize::MAX;

impl Answering {
    pub(super) fn new(
        records: &(impl ReadRecords + ?Sized),
        steward: &dyn Steward,
        peer: &NodeId,
        at: Cursor,
        key: SketchKey,
    ) -> Result<Self, Fault> {
        let collection = Collection::read(records, steward, peer)?;
        Ok(Self { root: collection.root(at, key), items: collection.under(&key), asked: 0 })
    }
}

/// The side that wants to know what it lacks.
pub(super) struct Asking {
    root: Root,
    items: BTreeMap<Item, DocumentName>,
    symbols: Vec<Symbol>,
    wanted: usize,
    list: Vec<Item>,
}

impl Exchange {
    /// Takes a message of a comparison.
    pub(super) fn compare<R: Records>(
        &mut self,
        records: &mut R,
        message: Checked,
        answer: &mut Batch,
    ) -> Result<(), WriteError> {
        match message {
            Message::Root(root) => self.root(records, root, answer)?,
            Message::Sketch(count) => self.sketch(count, answer)?,
            Message::Symbols(from, more) => self.symbols(records, from, &more, answer)?,
            Message::List(last, items) => self.list(records, last, items, answer)?,
            Message::Differ(last, items, have) => {
                self.differ(records, last, &items, have, answer)?;
            }
            _ => unreachable!("the caller hands on what belongs here"),
        }
        Ok(())
    }

    fn root<R: Records>(
        &mut self,
        records: &mut R,
        root: Root,
        answer: &mut Batch,
    ) -> Result<(), WriteError> {
        let collection = Collection::read(records, self.steward.as_ref(), &self.peer)?;
        if collection.root(root.at, root.key) == root {
            self.upto = Some(root.at);
            answer.say(&Message::Differ(true, Vec::new(), Vec::new()));
            return Ok(());
        }
        answer.say(&Message::Sketch(SYMBOLS_FIRST));
        let (items, wanted) = (collection.under(&root.key), SYMBOLS_FIRST);
        let (symbols, list) = (Vec::new(), Vec::new());
        self.asking = Some(Asking { root, items, symbols, wanted, list });
        Ok(())
    }

    fn sketch(&mut self, count: usize, answer: &mut Batch) -> Result<(), Reject> {
        let answering = self.answering.as_mut().ok_or(Reject::Malformed)?;
        let wanted = if count == 0 { ALL } else { count };
        if wanted <= answering.asked {
            // Each answer is large: none is given twice.
            return Err(Reject::Malformed);
        }
        answering.asked = wanted;
        let items = &answering.items;
        if count > 0 {
            let all = symbols(items.keys().copied(), &answering.root.key, count);
            // The first half was sent when it was asked for.
            let from = if count <= SYMBOLS_FIRST { 0 } else { count / 2 };
            answer.say(&Message::Symbols(from, all[from..].to_vec()));
            return Ok(());
        }
        let all: Vec<Item> = items.keys().copied().collect();
        let mut parts = all.chunks(ITEMS).peekable();
        while let Some(part) = parts.next() {
            answer.say(&Message::List(parts.peek().is_none(), part.to_vec()));
        }
        if all.is_empty() {
            answer.say(&Message::List(true, Vec::new()));
        }
        Ok(())
    }

    fn symbols<R: Records>(
        &mut self,
        records: &mut R,
        from: usize,
        more: &[Symbol],
        answer: &mut Batch,
    ) -> Result<(), WriteError> {
        let asking = self.asking.as_mut().ok_or(Reject::Malformed)?;
        asking.symbols.extend(more);
        if from + more.len() != asking.wanted || asking.symbols.len() != asking.wanted {
            return Err(Reject::Malformed.into());
        }
        let key = &asking.root.key;
        let ours = symbols(asking.items.keys().copied(), key, asking.wanted);
        if let Some(found) = difference(&asking.symbols, &ours, key) {
            return self.tell(records, &found, answer);
        }
        asking.wanted = if asking.wanted * 2 <= SYMBOLS_MAX { asking.wanted * 2 } else { 0 };
        answer.say(&Message::Sketch(asking.wanted));
        Ok(())
    }

    fn list<R: Records>(
        &mut self,
        records: &mut R,
        last: bool,
        items: Vec<Item>,
        answer: &mut Batch,
    ) -> Result<(), WriteError> {
        let asking = self.asking.as_mut().ok_or(Reject::Malformed)?;
        asking.list.extend(items);
        if asking.list.len() > LIST_MAX || asking.wanted != 0 {
            return Err(Reject::Malformed.into());
        }
        if !last {
            return Ok(());
        }
        let theirs: BTreeSet<Item> = std::mem::take(&mut asking.list).into_iter().collect();
        let ours: BTreeSet<Item> = asking.items.keys().copied().collect();
        let found = Difference {
            theirs: theirs.difference(&ours).copied().collect(),
            ours: ours.difference(&theirs).copied().collect(),
        };
        self.tell(records, &found, answer)
    }

    /// Tells the answering side in what the two differ.
    fn tell<R: Records>(
        &mut self,
        records: &mut R,
        found: &Difference,
        answer: &mut Batch,
    ) -> Result<(), WriteError> {
        let Some(asking) = self.asking.take() else { return Ok(()) };
        let mut have = Vec::new();
        for item in &found.ours {
            // An item that is not ours came of symbols that do not belong together.
            let name = asking.items.get(item).ok_or(Reject::Malformed)?;
            if let Some(known) = status(records, name)? {
                have.push((name.clone(), known.heads));
            }
        }
        // What is had in another state goes first, so that nothing of it is sent as if it were new.
        for part in have.chunks(ITEMS / 8) {
            answer.say(&Message::Differ(false, Vec::new(), part.to_vec()));
        }
        let theirs: Vec<Item> = found.theirs.iter().copied().collect();
        for part in theirs.chunks(ITEMS) {
            answer.say(&Message::Differ(false, part.to_vec(), Vec::new()));
        }
        answer.say(&Message::Differ(true, Vec::new(), Vec::new()));
        Ok(())
    }

    /// The asking side has found out: brings it what it lacks, and asks for what is lacking here.
    fn differ<R: Records>(
        &mut self,
        records: &mut R,
        last: bool,
        items: &[Item],
        have: Vec<(DocumentName, Vec<Hash>)>,
        answer: &mut Batch,
    ) -> Result<(), WriteError> {
        for (name, theirs) in have {
            self.wants(records, &name, &theirs, answer)?;
        }
        let answering = self.answering.as_ref().ok_or(Reject::Malformed)?;
        let names: Vec<DocumentName> =
            items.iter().filter_map(|item| answering.items.get(item)).cloned().collect();
        for name in names {
            // One that the peer has in another state was among those it named, now or before.
            let is_named = self.under_way.contains_key(&name)
                || self.talks.contains_key(&name)
                || self.owed.contains_key(&name);
            if !is_named {
                self.wants(records, &name, &[], answer)?;
            }
        }
        if last && self.answering.take().is_some() {
            // What changed while the two compared has been sent meanwhile, and nobody was told.
            self.owes_upto = true;
            answer.more = true;
        }
        Ok(())
    }
}
