//! The documents' and artefacts' side of a session's driver: runs the exchange inside the store's
//! transactions.
//!
//! Messages are read where they arrive and wait in their order; each is then taken in a savepoint
//! of its own, so that one that cannot be stored undoes no other. Whoever runs first takes the
//! first that waits: the order is that of arrival whatever the tasks do.

use super::driver::why_not;
use crate::Fault;
use crate::artefact::{self, Answer, Librarian, Trade};
use crate::docs::Documents;
use crate::docs::exchange::{Batch, Exchange, Incoming, Pushed, Steward};
use crate::identity::Membership;
use crate::session::{HeldDocuments, Input, RefusalCode};
use crate::store::{Snapshot, Store, WriteError, WriteTx};
use futures::future::join_all;
use holdfast_core::{NodeId, Reject};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The documents of a node and whoever decides about them.
#[derive(Clone)]
pub struct Library {
    /// The documents.
    pub documents: Arc<Documents>,
    /// Who decides about them.
    pub steward: Arc<dyn Steward>,
    /// Who decides about artefacts; without anybody none are exchanged.
    pub librarian: Option<Arc<dyn Librarian>>,
}

/// A message as it was read.
enum Said {
    Document(Incoming),
    Artefact(artefact::Message),
}

impl Said {
    fn read(record: &[u8]) -> Result<Self, Reject> {
        match record.first() {
            Some(kind) if artefact::is_message(*kind) => {
                artefact::Message::read(record).map(Self::Artefact)
            }
            _ => Incoming::read(record).map(Self::Document),
        }
    }
}

/// The exchange of documents and artefacts with one peer.
pub(super) struct Desk {
    exchange: Mutex<Exchange>,
    trade: Option<Mutex<Trade>>,
    inbox: Mutex<VecDeque<Said>>,
    steward: Arc<dyn Steward>,
    peer: NodeId,
}

impl Desk {
    pub(super) fn new(library: &Library, peer: NodeId) -> Self {
        let Library { documents, steward, librarian } = library;
        let exchange = Exchange::new(Arc::clone(documents), Arc::clone(steward), peer);
        let trade = librarian.as_ref().map(|one| Mutex::new(Trade::new(Arc::clone(one), peer)));
        let (exchange, inbox) = (Mutex::new(exchange), Mutex::default());
        Self { exchange, trade, inbox, steward: Arc::clone(steward), peer }
    }

    fn exchange(&self) -> MutexGuard<'_, Exchange> {
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trade(&self) -> Option<MutexGuard<'_, Trade>> {
        self.trade.as_ref().map(|trade| trade.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn inbox(&self) -> MutexGuard<'_, VecDeque<Said>> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn met(&self, membership: &Membership) {
        self.steward.met(membership);
    }

    pub(super) fn held(&self, view: &Snapshot<'_>) -> Result<HeldDocuments, Fault> {
        let held = self.exchange().held(view)?;
        Ok(held.map_or(HeldDocuments::Unknown, HeldDocuments::Upto))
    }

    /// Reads messages as they arrive; says how many there are.
    pub(super) fn arrived(&self, messages: Vec<Vec<u8>>) -> Result<usize, Reject> {
        let read: Result<Vec<_>, _> = messages.iter().map(|bytes| Said::read(bytes)).collect();
        let read = read?;
        let count = read.len();
        self.inbox().extend(read);
        Ok(count)
    }

    pub(super) async fn begin(self: Arc<Self>, store: Store, theirs: HeldDocuments) -> Input {
        let cursor = match theirs {
            HeldDocuments::Upto(cursor) => Some(cursor),
            HeldDocuments::None | HeldDocuments::Unknown => None,
        };
        let mut key = [0; 16];
        store.env().fill(&mut key);
        let begun = store.write(move |tx| {
            let batch = self.exchange().begin(tx, cursor, key)?;
            self.fetch(tx, batch)
        });
        gathered(begun.await.map(|(_, batch)| batch))
    }

    pub(super) async fn gather(self: Arc<Self>, store: Store, max_bytes: usize) -> Input {
        let next = store.write(move |tx| {
            let batch = self.exchange().next(tx, max_bytes)?;
            self.fetch(tx, batch)
        });
        gathered(next.await.map(|(_, batch)| batch))
    }

    /// Takes the next `count` messages; what they answer leaves when they are on disk.
    pub(super) async fn take(
        self: Arc<Self>,
        store: &Store,
        count: usize,
    ) -> Result<Vec<Batch>, (RefusalCode, String)> {
        let one = || {
            let desk = Arc::clone(&self);
            store.write(move |tx| desk.take_next(tx))
        };
        let mut out = Vec::with_capacity(count);
        for taken in join_all((0..count).map(|_| one())).await {
            match taken {
                Ok((_, answer)) => out.push(answer),
                Err(WriteError::Fault(fault)) if fault.is_damage() => {
                    tracing::error!(peer = %self.peer, %fault, "a document was not taken");
                    self.exchange().failed();
                }
                Err(WriteError::Reject(reject)) => {
                    return Err((RefusalCode::Protocol, format!("about documents: {reject}")));
                }
                Err(error) => return Err(why_not(&error)),
            }
        }
        Ok(out)
    }

    /// Adds what is to be asked for of artefacts.
    fn fetch(&self, tx: &mut WriteTx<'_>, mut batch: Batch) -> Result<Batch, WriteError> {
        if let Some(mut trade) = self.trade() {
            batch.records.extend(trade.next(tx)?);
        }
        Ok(batch)
    }

    fn take_next(&self, tx: &mut WriteTx<'_>) -> Result<Batch, WriteError> {
        let message = match self.inbox().pop_front() {
            Some(Said::Document(message)) => message,
            Some(Said::Artefact(message)) => {
                let taken = self.trade().map(|mut trade| trade.take(tx, message)).transpose()?;
                let mut batch = Batch::default();
                match taken {
                    Some(Answer::Ask(ask)) => batch.records.extend(ask),
                    Some(Answer::Parts(parts)) => batch.parts = Some(parts),
                    None => {}
                }
                return Ok(batch);
            }
            None => return Ok(Batch::default()),
        };
        let taken = self.exchange().take(tx, message)?;
        if let Some((document, applied)) = &taken.applied {
            self.steward.applied(tx, &self.peer, document, applied)?;
        }
        Ok(taken.answer)
    }

    pub(super) fn delivered(&self, tx: &mut WriteTx<'_>, pushed: &Pushed) -> Result<(), Fault> {
        self.exchange().acked(tx, pushed)
    }
}

fn gathered(batch: Result<Batch, WriteError>) -> Input {
    match batch {
        Ok(batch) => Input::Documents(batch),
        Err(error) => {
            let (code, reason) = why_not(&error);
            Input::NotStored(code, reason)
        }
    }
}
