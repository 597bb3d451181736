//! One connection with both its ends: the client's codec, the exchange, and what waits for it.
//!
//! What the driver does with sockets and a store is done here at once: requests become commands,
//! and what waits in the mailbox or on disk is sent as far as the client takes it.

use super::disk::Disk;
use bytes::BytesMut;
use holdfast_edge::mqtt::broker::{Answer, Mailbox, Next, Opened, SessionKey};
use holdfast_edge::mqtt::codec::{Codec, Limits};
use holdfast_edge::mqtt::connection::{Connection, Delivered, Options};
use holdfast_edge::mqtt::ledger::{Progress, SessionNo, packet_id};
use holdfast_edge::mqtt::message::{Delivery, Moment, Sent};
use holdfast_edge::mqtt::packet::{Packet, PacketId, QoS, Version};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// A connection.
pub struct Link {
    pub connection: Connection,
    pub mailbox: Arc<Mailbox>,
    pub session: Option<(SessionKey, Option<SessionNo>)>,
    codec: Codec,
    progress: Progress,
    next: u64,
    sent_before: u64,
    in_flight: BTreeSet<u64>,
    fetched: VecDeque<(u64, Delivery)>,
}

impl Link {
    pub fn new(options: Options, version: Version, now: Moment) -> Self {
        Self {
            connection: Connection::new(options, now.steady_ms),
            mailbox: Arc::default(),
            session: None,
            codec: Codec::for_client(version, Limits::default()),
            progress: Progress::default(),
            next: 0,
            sent_before: 0,
            in_flight: BTreeSet::new(),
            fetched: VecDeque::new(),
        }
    }

    /// What the client says, as the server reads it.
    pub fn say(&mut self, packet: &Packet, now: Moment) {
        let mut bytes = BytesMut::new();
        self.codec.encode(packet, &mut bytes).unwrap();
        self.connection.receive(now.steady_ms, &mut bytes);
    }

    /// What the client hears.
    pub fn heard(&mut self) -> Vec<Packet> {
        let decode = || self.codec.decode(self.connection.output()).unwrap();
        std::iter::from_fn(decode).collect()
    }

    /// The number of its session on disk, if its queue is kept.
    pub fn kept(&self) -> Option<SessionNo> {
        self.session.and_then(|(_, kept)| kept)
    }

    /// Messages below this number may have been sent.
    pub fn sent(&self) -> u64 {
        self.next.max(self.sent_before)
    }

    /// A fault: what was sent before is taken for new.
    pub const fn forget_what_was_sent(&mut self) {
        self.sent_before = 0;
    }

    pub fn number_of(&self, id: PacketId) -> Option<u64> {
        self.in_flight.iter().copied().find(|number| packet_id(*number) == id)
    }

    pub fn acked(&mut self, id: PacketId) -> Option<u64> {
        let number = self.number_of(id)?;
        self.in_flight.remove(&number);
        Some(number)
    }

    /// Hands on what the broker has to say; whether there was anything.
    pub fn answers(&mut self) -> bool {
        let mut has_any = false;
        while let Some(answer) = self.mailbox.next_answer() {
            has_any = true;
            match answer {
                Answer::Opened(opened) => self.opened(*opened),
                Answer::Refused(reason, text) => self.connection.refuse(reason, &text),
                Answer::Published(serial, outcome) => self.connection.published(serial, outcome),
                Answer::Released(id) => self.connection.released(id),
                Answer::Subscribed(id, granted) => {
                    let text = granted.text.as_deref();
                    self.connection.subscribed(id, granted.reasons, text);
                }
                Answer::Unsubscribed(id, reasons) => self.connection.unsubscribed(id, reasons),
                Answer::Noted(id) => self.connection.noted(id),
                Answer::End(reason, text) => self.connection.end(reason, &text),
            }
        }
        has_any
    }

    fn opened(&mut self, opened: Opened) {
        self.session = Some((opened.key, opened.kept));
        self.connection.accept(opened.accepted);
        (self.next, self.sent_before) = (opened.progress.done, opened.sent);
        for number in &opened.progress.received {
            self.connection.release_anew(packet_id(*number));
            self.in_flight.insert(*number);
        }
        self.progress = opened.progress;
    }

    /// Sends what waits, as far as the client takes it; the numbers that are done with unsent.
    pub fn fill(&mut self, disk: &Disk, now: Moment) -> Vec<u64> {
        let mut done = Vec::new();
        while self.session.is_some() && self.connection.takes_more() {
            let Some(delivery) = self.mailbox.next_plain() else { break };
            self.send(None, &delivery, now);
        }
        while self.session.is_some() && self.connection.room() > 0 {
            let (number, delivery) = match self.fetched.pop_front() {
                Some(found) => found,
                None => match self.mailbox.next_numbered(self.next) {
                    Next::Here(number, delivery) => (number, delivery),
                    Next::None => break,
                    Next::OnDisk(upto) => {
                        let Some(no) = self.kept() else { break };
                        let waits = disk.queued(no, self.next).into_iter();
                        self.fetched = waits.filter(|(number, _)| *number < upto).collect();
                        if self.fetched.is_empty() {
                            self.next = upto;
                        }
                        continue;
                    }
                },
            };
            self.next = number + 1;
            if !self.progress.is_settled(number) && !self.send(Some(number), &delivery, now) {
                done.push(number);
            }
        }
        done
    }

    fn send(&mut self, number: Option<u64>, delivery: &Delivery, now: Moment) -> bool {
        let may_be_known = number.is_some_and(|number| number < self.sent_before);
        if delivery.is_given_up(may_be_known, &now) {
            return false;
        }
        let sent = Sent {
            qos: delivery.qos,
            packet_id: number.map(packet_id),
            dup: delivery.qos > QoS::AtMostOnce && may_be_known,
            retain: delivery.retain,
            ids: &delivery.ids,
        };
        let publish = delivery.message.publish(&sent, &now);
        let is_sent = self.connection.deliver(publish) != Delivered::TooLarge;
        if is_sent {
            self.in_flight.extend(number);
        }
        is_sent
    }
}
