//! Somebody watches messages: a subscriber without a session, as a page needs one.
//!
//! It stands among the subscriptions like a client of QoS 0 that is connected, with a mailbox of
//! its own. So nobody pays for it while nobody watches, no publisher waits for it, and what it does
//! not take is dropped and counted, apart from what clients lose. A [`Watch`] is all there is of
//! it: however its owner goes away, the subscription goes with it.

use super::mailbox::Mailbox;
use super::routes::{Routes, Subscriber};
use super::state::State;
use crate::mqtt::counts::MqttCounts;
use crate::mqtt::message::Message;
use crate::mqtt::packet::{Filter, QoS, RetainHandling, SubscriptionOptions};
use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

/// Watchers at a time: each may have a full mailbox, and 32 of them 16 MiB.
pub const WATCHERS_MAX: u64 = 32;
/// Retained messages that a watcher is shown first: no page can show more.
pub const RETAINED_MAX: usize = 5_000;
/// Messages after which a watcher that is always behind is told how many it missed.
const TELL_MISSED_EVERY: u32 = 100;

/// What a watcher is shown.
#[derive(Debug)]
pub enum Shown {
    /// A message; whether it is retained.
    Message(Arc<Message>, bool),
    /// All that was retained has been shown: how many, and how many more there are.
    Ready(usize, usize),
    /// Messages that were dropped because they were not taken.
    Missed(u64),
}

/// A subscription for as long as somebody watches.
#[derive(Debug)]
pub struct Watch {
    routes: Arc<RwLock<Routes>>,
    counts: Arc<MqttCounts>,
    filter: Filter,
    subscriber: Arc<Subscriber>,
    mailbox: Arc<Mailbox>,
    retained: VecDeque<Arc<Message>>,
    /// What is said once the retained messages have been shown.
    ready: Option<(usize, usize)>,
    missed: u64,
    since_told: u32,
}

impl State {
    /// Begins to watch what a filter matches; nothing when as many do as may.
    ///
    /// # Panics
    /// When the filter is shared: a watcher takes no message away from the clients of a group.
    pub fn watch(&mut self, filter: Filter) -> Option<Watch> {
        assert!(filter.share().is_none(), "whoever asks has looked");
        if self.counts.watchers() >= WATCHERS_MAX {
            return None;
        }
        let mut retained = self.retained_for(&filter);
        retained.sort_by(|a, b| a.topic().cmp(b.topic()));
        let left_out = retained.len().saturating_sub(RETAINED_MAX);
        retained.truncate(RETAINED_MAX);
        let mailbox = Arc::new(Mailbox::new(false, 0));
        let subscriber = Arc::new(Subscriber::watcher(self.new_key(), Arc::clone(&mailbox)));
        let options = SubscriptionOptions {
            qos: QoS::AtMostOnce,
            no_local: false,
            retain_as_published: true,
            retain_handling: RetainHandling::Send,
        };
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        routes.insert(&filter, &subscriber, options, None);
        drop(routes);
        self.counts.watcher_came();
        Some(Watch {
            routes: Arc::clone(&self.routes),
            counts: Arc::clone(&self.counts),
            filter,
            subscriber,
            mailbox,
            ready: Some((retained.len(), left_out)),
            retained: retained.into(),
            missed: 0,
            since_told: 0,
        })
    }
}

impl Watch {
    /// What is shown next; it waits until there is something.
    pub async fn next(&mut self) -> Shown {
        loop {
            if let Some(shown) = self.take() {
                return shown;
            }
            self.mailbox.woken().await;
        }
    }

    fn take(&mut self) -> Option<Shown> {
        if let Some(message) = self.retained.pop_front() {
            return Some(Shown::Message(message, true));
        }
        if let Some((shown, left_out)) = self.ready.take() {
            return Some(Shown::Ready(shown, left_out));
        }
        if self.since_told >= TELL_MISSED_EVERY
            && let Some(missed) = self.missed()
        {
            return Some(missed);
        }
        match self.mailbox.next_plain() {
            Some(delivery) => {
                self.since_told = self.since_told.saturating_add(1);
                Some(Shown::Message(delivery.message, delivery.retain))
            }
            None => self.missed(),
        }
    }

    fn missed(&mut self) -> Option<Shown> {
        let dropped = self.mailbox.dropped();
        let missed = dropped - std::mem::replace(&mut self.missed, dropped);
        self.since_told = 0;
        (missed > 0).then_some(Shown::Missed(missed))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.subscriber.attach(None);
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        routes.remove(&self.filter, self.subscriber.key);
        drop(routes);
        self.counts.watcher_went();
    }
}
