//! Clients say what they want, and get what is retained of it.

use super::mailbox::{Answer, Granted, Mailbox};
use super::routes::SessionKey;
use super::state::State;
use super::work::{Effect, Failing, Work};
use super::{Asked, ConnectionId};
use crate::mqtt::ledger::{Change, SubscriptionRecord};
use crate::mqtt::message::Delivery;
use crate::mqtt::packet::{QoS, RetainHandling, Subscription, Unsubscribe};
use crate::mqtt::reason::Reason;
use std::num::NonZeroU32;
use std::sync::{Arc, PoisonError};

impl State {
    pub(super) fn subscribe(&mut self, asked: Asked, work: &mut Work) {
        let Asked { id, subscribe, refused } = asked;
        let Some(session) = self.connected(id) else { return };
        let (key, client) = (session.subscriber.key, session.client.clone());
        let Some(mailbox) = session.mailbox() else { return };
        let mut reasons = Vec::with_capacity(subscribe.subscriptions.len());
        let (mut retained, mut new) = (Vec::new(), Vec::new());
        let mut text = None;
        let answer_at = work.effects.len();
        for (subscription, refused) in subscribe.subscriptions.iter().zip(refused) {
            if let Some(reason) = refused {
                text = text.or(Some("this user may not subscribe to that".into()));
                reasons.push(reason);
                continue;
            }
            let has_room = self.sessions[&key].subscriptions.len() < self.limits.subscriptions
                || self.sessions[&key].subscriptions.contains_key(&subscription.filter);
            if !has_room {
                let most = self.limits.subscriptions;
                text = Some(format!("a client has at most {most} subscriptions").into());
                reasons.push(Reason::QuotaExceeded);
                continue;
            }
            let is_new = self.add(key, subscription, subscribe.subscription_id, work);
            if is_new {
                new.push(subscription.filter.detached());
            }
            reasons.push(Reason::granted(subscription.options.qos));
            let wanted = match subscription.options.retain_handling {
                RetainHandling::Send => true,
                RetainHandling::SendIfNew => is_new,
                RetainHandling::DoNotSend => false,
            };
            if wanted && subscription.filter.share().is_none() {
                retained.push(subscription);
            }
        }
        for subscription in retained {
            self.send_retained(key, subscription, subscribe.subscription_id, work);
        }
        work.failing.push(Failing::Session(client, Some(id)));
        let answer = Answer::Subscribed(subscribe.packet_id, Granted { reasons, text, new });
        work.effects.insert(answer_at, Effect::Answer(mailbox, answer));
    }

    /// Adds a subscription; whether it is new.
    fn add(
        &mut self,
        key: SessionKey,
        subscription: &Subscription,
        id: Option<NonZeroU32>,
        work: &mut Work,
    ) -> bool {
        let (filter, options) = (subscription.filter.detached(), subscription.options);
        let session = self.sessions.get_mut(&key).expect("the caller has it");
        let subscriber = Arc::clone(&session.subscriber);
        if session.is_kept
            && let Some(no) = session.no
        {
            let record = SubscriptionRecord { filter: filter.clone(), options, id };
            work.changes.push(Change::Subscribe(no, record));
        }
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        routes.insert(&filter, &subscriber, options, id);
        drop(routes);
        session.subscriptions.insert(filter, (options, id)).is_none()
    }

    /// Sends what is retained of a subscription's topics.
    fn send_retained(
        &mut self,
        key: SessionKey,
        subscription: &Subscription,
        id: Option<NonZeroU32>,
        work: &mut Work,
    ) {
        let found = self.retained_for(&subscription.filter);
        let session = &self.sessions[&key];
        let (is_kept, subscriber) = (session.is_kept, Arc::clone(&session.subscriber));
        for message in found {
            let qos = message.qos().min(subscription.options.qos);
            let ids = id.into_iter().collect();
            let delivery = Delivery { message, qos, retain: true, ids };
            if is_kept && qos > QoS::AtMostOnce {
                self.keep_for(key, delivery, &mut None, work);
            } else {
                work.effects.push(Effect::Put(Arc::clone(&subscriber), delivery));
            }
        }
    }

    pub(super) fn unsubscribe(
        &mut self,
        id: ConnectionId,
        unsubscribe: &Unsubscribe,
        work: &mut Work,
    ) {
        let Some(session) = self.connected(id) else { return };
        let (key, client) = (session.subscriber.key, session.client.clone());
        let Some(mailbox): Option<Arc<Mailbox>> = session.mailbox() else { return };
        let mut reasons = Vec::with_capacity(unsubscribe.filters.len());
        for filter in &unsubscribe.filters {
            let session = self.sessions.get_mut(&key).expect("it is connected");
            if session.subscriptions.remove(filter).is_none() {
                reasons.push(Reason::NoSubscriptionExisted);
                continue;
            }
            if let Some(no) = session.no.filter(|_| session.is_kept) {
                work.changes.push(Change::Unsubscribe(no, filter.clone()));
            }
            let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
            routes.remove(filter, key);
            reasons.push(Reason::Success);
        }
        work.failing.push(Failing::Session(client, Some(id)));
        work.answer(&mailbox, Answer::Unsubscribed(unsubscribe.packet_id, reasons));
    }
}
