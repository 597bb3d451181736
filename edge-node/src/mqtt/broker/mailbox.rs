//! What waits for one connection: answers of the broker, and messages.
//!
//! The broker and other connections put in, the connection takes out, and is woken. Messages with
//! QoS 1 and 2 have numbers. Where they are kept on disk, what is here is a copy of the newest that
//! saves reading them: one that did not fit is read from there. Else what does not fit is dropped
//! and counted, so a client that does not take what it is sent costs a bounded amount of memory.

use super::routes::SessionKey;
use crate::mqtt::connection::{Accepted, Outcome};
use crate::mqtt::ledger::{Progress, SessionNo};
use crate::mqtt::message::Delivery;
use crate::mqtt::packet::{Filter, PacketId};
use crate::mqtt::reason::Reason;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Bytes of messages that wait in memory for one connection.
pub const WAITING_MAX: usize = 512 << 10;

/// What the broker says to a connection.
#[derive(Debug)]
pub enum Answer {
    /// The client is let in.
    Opened(Box<Opened>),
    /// It is not.
    Refused(Reason, Cow<'static, str>),
    /// What became of a message.
    Published(u64, Outcome),
    /// A message of QoS 2 is forgotten.
    Released(PacketId),
    /// What became of a SUBSCRIBE.
    Subscribed(PacketId, Granted),
    /// What became of an UNSUBSCRIBE.
    Unsubscribed(PacketId, Vec<Reason>),
    /// It is on disk that the client has a message of QoS 2.
    Noted(PacketId),
    /// The connection is to end.
    End(Reason, Cow<'static, str>),
}

/// What became of the filters of a SUBSCRIBE.
#[derive(Debug)]
pub struct Granted {
    /// Of each of them, in a word.
    pub reasons: Vec<Reason>,
    /// Why some were refused.
    pub text: Option<Cow<'static, str>>,
    /// Those that the session did not have before.
    pub new: Vec<Filter>,
}

/// How a connection begins.
#[derive(Debug)]
pub struct Opened {
    /// Its session.
    pub key: SessionKey,
    /// What the client is told.
    pub accepted: Accepted,
    /// Its identifier.
    pub client: String,
    /// The number of its session on disk, if its queue is kept.
    pub kept: Option<SessionNo>,
    /// How far the client is with its queue.
    pub progress: Progress,
    /// Messages below this number may have been sent before.
    pub sent: u64,
}

#[derive(Debug, Default)]
struct Inner {
    answers: VecDeque<Answer>,
    plain: VecDeque<Delivery>,
    numbered: VecDeque<(u64, Delivery)>,
    bytes: usize,
    next: u64,
    is_kept: bool,
    dropped: u64,
}

/// What waits for one connection.
#[derive(Debug, Default)]
pub struct Mailbox {
    inner: Mutex<Inner>,
    wake: Notify,
    heard_ms: AtomicU64,
}

impl Mailbox {
    /// An empty one, of a session whose next message has this number.
    #[must_use]
    pub fn new(is_kept: bool, next: u64) -> Self {
        let mailbox = Self::default();
        mailbox.begin(is_kept, next);
        mailbox
    }

    /// It is that of a session whose next message has this number, and is kept on disk or not.
    pub fn begin(&self, is_kept: bool, next: u64) {
        let mut inner = self.inner();
        (inner.is_kept, inner.next) = (is_kept, next);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says something. What is unanswered is bounded by what a connection may ask.
    pub fn answer(&self, answer: Answer) {
        self.inner().answers.push_back(answer);
        self.wake.notify_one();
    }

    /// Puts in a message that is not kept: of QoS 0, or of a session that is not. `false` when it
    /// was dropped.
    pub fn put(&self, delivery: Delivery) -> bool {
        let mut inner = self.inner();
        let size = delivery.size();
        if inner.bytes + size > WAITING_MAX {
            inner.dropped += 1;
            return false;
        }
        inner.bytes += size;
        if delivery.packet_needed() {
            debug_assert!(!inner.is_kept, "that gets its number from the broker");
            let number = inner.next;
            inner.next += 1;
            inner.numbered.push_back((number, delivery));
        } else {
            inner.plain.push_back(delivery);
        }
        drop(inner);
        self.wake.notify_one();
        true
    }

    /// Tells that a message is on disk, which memory may have room for.
    pub fn kept(&self, number: u64, delivery: Delivery) {
        let mut inner = self.inner();
        inner.next = number + 1;
        let size = delivery.size();
        let follows = inner.numbered.back().is_none_or(|(last, _)| last + 1 == number);
        if follows && inner.bytes + size <= WAITING_MAX {
            inner.bytes += size;
            inner.numbered.push_back((number, delivery));
        }
        drop(inner);
        self.wake.notify_one();
    }

    /// Waits until something was put in.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// The next thing the broker has to say.
    pub fn next_answer(&self) -> Option<Answer> {
        self.inner().answers.pop_front()
    }

    /// The next message of QoS 0.
    pub fn next_plain(&self) -> Option<Delivery> {
        let mut inner = self.inner();
        let delivery = inner.plain.pop_front()?;
        inner.bytes -= delivery.size();
        Some(delivery)
    }

    /// The next message with a number, `from` or later, and where it is.
    pub fn next_numbered(&self, from: u64) -> Next {
        let mut inner = self.inner();
        while let Some((number, _)) = inner.numbered.front() {
            if *number > from && inner.is_kept {
                return Next::OnDisk(*number);
            }
            let Some((number, delivery)) = inner.numbered.pop_front() else { break };
            inner.bytes -= delivery.size();
            if number >= from {
                return Next::Here(number, delivery);
            }
        }
        if inner.is_kept && from < inner.next { Next::OnDisk(inner.next) } else { Next::None }
    }

    /// The client was heard, in steady milliseconds.
    pub fn heard(&self, now_ms: u64) {
        self.heard_ms.store(now_ms, Ordering::Relaxed);
    }

    /// When it was heard last.
    #[must_use]
    pub fn heard_ms(&self) -> u64 {
        self.heard_ms.load(Ordering::Relaxed)
    }

    /// Messages that were dropped because the client did not take them.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.inner().dropped
    }

    /// Bytes of messages that wait here.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.inner().bytes
    }
}

/// Where the next message is.
#[derive(Debug)]
pub enum Next {
    /// Here, with its number.
    Here(u64, Delivery),
    /// On disk only: what waits there is below this number.
    OnDisk(u64),
    /// There is none.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::message::{Message, Moment};
    use crate::mqtt::packet::{Publish, PublishProperties, QoS, Topic};
    use bytes::Bytes;
    use std::sync::Arc;

    fn delivery(qos: QoS, payload: usize) -> Delivery {
        let publish = Publish {
            dup: false,
            qos,
            retain: false,
            topic: Topic::try_from("a").unwrap(),
            packet_id: None,
            payload: Bytes::from(vec![0; payload]),
            properties: PublishProperties::default(),
        };
        let at = Moment { wall_ms: 0, boot: 1, steady_ms: 0 };
        let message = Arc::new(Message::new(&publish, at));
        Delivery { message, qos, retain: false, ids: Vec::new() }
    }

    #[test]
    fn who_does_not_take_loses_what_is_too_much_and_it_is_counted() {
        let mailbox = Mailbox::new(false, 0);
        for _ in 0..12 {
            mailbox.put(delivery(QoS::AtLeastOnce, 50_000));
        }
        assert_eq!(mailbox.dropped(), 2);
        let mut from = 0;
        while let Next::Here(number, _) = mailbox.next_numbered(from) {
            assert_eq!(number, from);
            from += 1;
        }
        assert_eq!((from, mailbox.bytes()), (10, 0));
        assert!(mailbox.put(delivery(QoS::AtMostOnce, 1)));
        assert!(mailbox.next_plain().is_some() && mailbox.next_plain().is_none());
    }

    #[test]
    fn what_is_kept_and_did_not_fit_is_on_disk() {
        let mailbox = Mailbox::new(true, 5);
        assert!(matches!(mailbox.next_numbered(3), Next::OnDisk(_)), "from before the connection");
        assert!(matches!(mailbox.next_numbered(5), Next::None));
        for number in 5..25 {
            mailbox.kept(number, delivery(QoS::AtLeastOnce, 50_000));
        }
        for number in 5..15 {
            assert!(matches!(mailbox.next_numbered(number), Next::Here(n, _) if n == number));
        }
        assert!(matches!(mailbox.next_numbered(15), Next::OnDisk(_)));
        mailbox.kept(25, delivery(QoS::AtLeastOnce, 1));
        assert!(matches!(mailbox.next_numbered(15), Next::OnDisk(_)), "what is here comes later");
        assert!(matches!(mailbox.next_numbered(25), Next::Here(25, _)));
        assert!(matches!(mailbox.next_numbered(26), Next::None));
        assert_eq!(mailbox.dropped(), 0);
    }
}
