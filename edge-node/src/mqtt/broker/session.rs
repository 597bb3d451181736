//! A session, as the broker has it in memory.
//!
//! While its client is away it is what the disk has. A *kept* one outlives its connection, and its
//! messages of QoS 1 and 2 stand on disk until the client has them. One that is not kept has a
//! record on disk only for its will.

use super::mailbox::Mailbox;
use super::routes::{SessionKey, Subscriber};
use super::{ConnectionId, Limits};
use crate::mqtt::ledger::{KeptSession, KeptWill, NEVER, Progress, SessionNo, SessionRecord};
use crate::mqtt::message::{Message, Moment};
use crate::mqtt::packet::{Filter, PacketId, SubscriptionOptions, Version};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

/// Numbers that may be on their way to a client at a time: one that never answers the first of them
/// gets no more.
pub const SPAN: u64 = 4_096;

/// How long clients have to come back after this node was away, as their wills would tell of its
/// restart and not of theirs; and how long a will waits that the store has no room for.
const GRACE_MS: u64 = 30_000;

/// What waits for a client on disk.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    /// How far the client is.
    pub progress: Progress,
    /// The number of its next message.
    pub next: u64,
    /// Bytes that were ever queued.
    pub queued: u64,
    /// Those of them that wait no more.
    pub gone: u64,
    /// Messages below this number may have been sent before.
    pub sent: u64,
}

impl Queue {
    /// Bytes that wait.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.queued.saturating_sub(self.gone)
    }

    /// As much may have been sent as may be on its way at a time.
    pub fn may_all_be_sent(&mut self) {
        self.sent = self.sent.max(self.next.min(self.progress.done + SPAN));
    }
}

/// A session.
#[derive(Debug)]
pub struct Session {
    /// Its client.
    pub client: String,
    /// Whose it is.
    pub owner: String,
    /// Its number on disk, if it has a record there.
    pub no: Option<SessionNo>,
    /// Whether it outlives its connection.
    pub is_kept: bool,
    /// Seconds by which it does.
    pub expiry_s: u32,
    /// Its connection.
    pub connection: Option<ConnectionId>,
    /// From where its client connected last.
    pub peer: Option<SocketAddr>,
    /// And in which version.
    pub version: Option<Version>,
    /// Where messages for it go.
    pub subscriber: Arc<Subscriber>,
    /// What it has subscribed to.
    pub subscriptions: BTreeMap<Filter, (SubscriptionOptions, Option<NonZeroU32>)>,
    /// What is published when its client is lost.
    pub will: Option<KeptWill>,
    /// Since when its client is away.
    pub away: Option<Moment>,
    /// Its client was there when the process ended, and has until then, in steady milliseconds, to
    /// come back as if nothing had been.
    pub grace_ms: Option<u64>,
    /// What waits for it.
    pub queue: Queue,
    /// Identifiers of messages of QoS 2 that are not released.
    pub held: BTreeSet<PacketId>,
    /// Messages that were dropped because the queue was full.
    pub dropped: u64,
}

impl Session {
    /// A new one.
    #[must_use]
    pub fn new(key: SessionKey, client: String, owner: String, expiry_s: u32) -> Self {
        let is_kept = expiry_s > 0;
        Self {
            client,
            owner,
            no: None,
            is_kept,
            expiry_s,
            connection: None,
            peer: None,
            version: None,
            subscriber: Arc::new(Subscriber::new(key, is_kept)),
            subscriptions: BTreeMap::new(),
            will: None,
            away: None,
            grace_ms: None,
            queue: Queue::default(),
            held: BTreeSet::new(),
            dropped: 0,
        }
    }

    /// One that was found on disk. If its client was there when the process ended, it is lost now.
    #[must_use]
    pub fn found(key: SessionKey, kept: KeptSession, now: Moment) -> Self {
        let KeptSession { client, record, subscriptions, progress, next, bytes, held } = kept;
        let mut out = Self::new(key, client, record.owner, record.expiry_s);
        out.queue = Queue { progress, next, queued: bytes.0, gone: bytes.1, sent: 0 };
        out.queue.may_all_be_sent();
        out.no = Some(record.no);
        if out.is_kept {
            // One that was to end with its connection is here for its will alone.
            let subscriptions = subscriptions.into_iter();
            out.subscriptions = subscriptions.map(|s| (s.filter, (s.options, s.id))).collect();
        }
        out.will = record.will;
        out.grace_ms = record.away.is_none().then_some(now.steady_ms + GRACE_MS);
        out.away = Some(record.away.unwrap_or(now));
        out.held = held;
        out
    }

    /// Its record.
    #[must_use]
    pub fn record(&self, no: SessionNo) -> SessionRecord {
        SessionRecord {
            no,
            owner: self.owner.clone(),
            expiry_s: self.expiry_s,
            away: self.away,
            will: self.will.clone(),
        }
    }

    /// Its connection's mailbox.
    #[must_use]
    pub fn mailbox(&self) -> Option<Arc<Mailbox>> {
        self.subscriber.mailbox()
    }

    /// When it ends, in steady milliseconds, if its client stays away.
    #[must_use]
    pub fn ends_at(&self, now: &Moment) -> Option<u64> {
        let away = self.away.as_ref()?;
        if self.expiry_s == NEVER {
            return None;
        }
        let lasts = u64::from(self.expiry_s) * 1_000;
        let end = now.steady_ms + lasts.saturating_sub(away.until(now));
        Some(self.grace_ms.map_or(end, |grace| end.max(grace)))
    }

    /// When its will is due: after its delay, and no later than the session's end.
    #[must_use]
    pub fn will_at(&self, now: &Moment) -> Option<u64> {
        let (away, will) = (self.away.as_ref()?, self.will.as_ref()?);
        let delay = u64::from(will.delay_s) * 1_000;
        let due = now.steady_ms + delay.saturating_sub(away.until(now));
        let due = self.grace_ms.map_or(due, |grace| due.max(grace));
        Some(self.ends_at(now).map_or(due, |end| end.min(due)))
    }

    /// Its will has to wait for room in the store.
    pub const fn put_off_will(&mut self, now: Moment) {
        self.grace_ms = Some(now.steady_ms + GRACE_MS);
    }

    /// The message of its will, as it is published now.
    #[must_use]
    pub fn will_of(&self, now: Moment) -> Option<Message> {
        // Its life begins with its publication, however long its client was there.
        self.will.as_ref().map(|will| will.message.clone().published_at(now))
    }

    /// What it may last of what its client asks for.
    #[must_use]
    pub fn allowed_expiry(asked_s: u32, limits: &Limits) -> u32 {
        asked_s.min(limits.session_expiry_s)
    }
}
