//! Messages on their way to one client.
//!
//! Numbered ones leave in the order of their numbers, as many at a time as the client takes, each
//! until the client has answered it. They come from the mailbox, or from disk where the mailbox has
//! them no more.

use super::Server;
use crate::mqtt::broker::{Command, ConnectionId, Mailbox, Next, SPAN};
use crate::mqtt::connection::{Connection, Delivered};
use crate::mqtt::ledger::{self, Progress, Queued, SessionNo, packet_id};
use crate::mqtt::message::{Delivery, Sent};
use crate::mqtt::packet::{PacketId, QoS};
use holdfast_sync::Fault;
use std::collections::{BTreeSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Bytes of messages that are read from disk at a time.
const FETCH: usize = 256 << 10;

type Fetch = Pin<Box<dyn Future<Output = Result<Queued, Fault>> + Send>>;

/// What is on its way.
#[derive(Default)]
pub(super) struct Outbox {
    id: ConnectionId,
    kept: Option<SessionNo>,
    /// What the client was done with, or had, when the connection began.
    progress: Progress,
    /// The number of the next message.
    next: u64,
    /// Messages below may have been sent by an earlier connection.
    sent_before: u64,
    in_flight: BTreeSet<u64>,
    fetched: VecDeque<(u64, Delivery)>,
    fetching: Option<Fetch>,
    /// What is being read is below this number.
    upto: u64,
}

impl Outbox {
    /// Takes up where a session is.
    pub(super) fn begin(
        &mut self,
        id: ConnectionId,
        kept: Option<SessionNo>,
        progress: Progress,
        sent: u64,
        connection: &mut Connection,
    ) {
        self.id = id;
        (self.kept, self.next, self.sent_before) = (kept, progress.done, sent);
        for number in &progress.received {
            connection.release_anew(packet_id(*number));
            self.in_flight.insert(*number);
        }
        self.progress = progress;
    }

    /// Messages below may have been sent.
    pub(super) fn sent(&self) -> u64 {
        self.next.max(self.sent_before)
    }

    /// What was read from disk, once it has been; never, while nothing is read.
    pub(super) async fn fetched(&mut self) -> Result<Queued, Fault> {
        match &mut self.fetching {
            Some(fetch) => fetch.await,
            None => std::future::pending().await,
        }
    }

    /// Takes what was read from disk.
    ///
    /// # Errors
    /// When it cannot be read: to ask again at once would be to ask for ever.
    pub(super) fn take(
        &mut self,
        fetched: Result<Queued, Fault>,
        server: &Server,
    ) -> Result<(), Fault> {
        self.fetching = None;
        let queued = fetched?;
        if queued.lost > 0 {
            server.reach.counts.lost.add(queued.lost);
            tracing::error!(lost = queued.lost, "messages of a queue are damaged on disk");
        }
        self.fetched.extend(queued.messages);
        if self.fetched.is_empty() {
            // What was told to be there and is not waits no longer: it was dropped meanwhile.
            self.next = self.next.max(queued.next).max(self.upto);
        }
        Ok(())
    }

    /// The number of a message that was sent under this identifier.
    pub(super) fn number_of(&self, id: PacketId) -> Option<u64> {
        self.in_flight.iter().copied().find(|number| packet_id(*number) == id)
    }

    /// The client is done with a message; gives its number.
    pub(super) fn acked(&mut self, id: PacketId) -> Option<u64> {
        let number = self.number_of(id)?;
        self.in_flight.remove(&number);
        Some(number)
    }

    /// Sends what there is and the client takes.
    pub(super) async fn fill(
        &mut self,
        connection: &mut Connection,
        mailbox: &Mailbox,
        server: &Arc<Server>,
    ) {
        while connection.takes_more() {
            let Some(delivery) = mailbox.next_plain() else { break };
            self.send(connection, None, &delivery, server).await;
        }
        while connection.room() > 0 && self.fetching.is_none() {
            let first = self.in_flight.first().copied().unwrap_or(self.next);
            if self.next.saturating_sub(first) >= SPAN {
                return;
            }
            let (number, delivery) = match self.fetched.pop_front() {
                Some(found) => found,
                None => match mailbox.next_numbered(self.next) {
                    Next::Here(number, delivery) => (number, delivery),
                    Next::None => return,
                    Next::OnDisk(upto) => {
                        let Some(no) = self.kept else { return };
                        self.upto = upto;
                        let (store, from) = (server.reach.store().clone(), self.next);
                        self.fetching = Some(Box::pin(async move {
                            store.read(move |view| ledger::queued(view, no, from, FETCH)).await
                        }));
                        return;
                    }
                },
            };
            self.next = number + 1;
            if !self.progress.is_settled(number) {
                self.send(connection, Some(number), &delivery, server).await;
            }
        }
    }

    async fn send(
        &mut self,
        connection: &mut Connection,
        number: Option<u64>,
        delivery: &Delivery,
        server: &Arc<Server>,
    ) {
        let reach = &server.reach;
        let now = reach.now();
        let may_be_known = number.is_some_and(|number| number < self.sent_before);
        let is_sent = if delivery.is_given_up(may_be_known, &now) {
            reach.counts.expired.add(1);
            false
        } else {
            let sent = Sent {
                qos: delivery.qos,
                packet_id: number.map(packet_id),
                dup: delivery.qos > QoS::AtMostOnce && may_be_known,
                retain: delivery.retain,
                ids: &delivery.ids,
            };
            match connection.deliver(delivery.message.publish(&sent, &now)) {
                Delivered::Sent => {
                    reach.counts.sent[delivery.qos as usize].add(1);
                    true
                }
                Delivered::TooLarge => {
                    reach.counts.too_large.add(1);
                    false
                }
                Delivered::Over => true,
            }
        };
        let Some(number) = number else { return };
        if is_sent {
            self.in_flight.insert(number);
        } else if self.kept.is_some() {
            reach.send(Command::Done(self.id, number)).await;
        }
    }
}
