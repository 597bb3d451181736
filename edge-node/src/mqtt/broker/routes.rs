//! Who gets a message: subscriptions by their filters, and clients by their mailboxes.
//!
//! It is shared: connections look up whom a message of QoS 0 goes to, which waits for nobody. The
//! broker changes it, and a page that watched takes itself away. A client that is found by several
//! subscriptions gets a message once, with the greatest QoS of them and all their identifiers. Of a
//! shared subscription one client is chosen, in turn, and one that is connected before one that is
//! away.

use super::mailbox::Mailbox;
use crate::mqtt::packet::{Filter, QoS, SubscriptionOptions, Topic};
use crate::mqtt::topic::tree::Tree;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// A session, for as long as the process runs.
pub type SessionKey = u64;

/// Who may be sent messages: a session, connected or not.
#[derive(Debug)]
pub struct Subscriber {
    /// Its session.
    pub key: SessionKey,
    /// Whether messages of QoS 1 and 2 wait on disk for it.
    pub is_kept: bool,
    /// Whether it is no client, but somebody who watches.
    pub is_watcher: bool,
    mailbox: RwLock<Option<Arc<Mailbox>>>,
}

impl Subscriber {
    /// One that is not connected.
    #[must_use]
    pub const fn new(key: SessionKey, is_kept: bool) -> Self {
        Self { key, is_kept, is_watcher: false, mailbox: RwLock::new(None) }
    }

    /// One that watches, without a session.
    #[must_use]
    pub const fn watcher(key: SessionKey, mailbox: Arc<Mailbox>) -> Self {
        let mailbox = RwLock::new(Some(mailbox));
        Self { key, is_kept: false, is_watcher: true, mailbox }
    }

    /// Where its connection takes messages from, while it has one.
    #[must_use]
    pub fn mailbox(&self) -> Option<Arc<Mailbox>> {
        self.mailbox.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// It has a connection, or none any more.
    pub fn attach(&self, mailbox: Option<Arc<Mailbox>>) {
        *self.mailbox.write().unwrap_or_else(PoisonError::into_inner) = mailbox;
    }

    fn is_online(&self) -> bool {
        self.mailbox.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

/// A subscription of a session.
#[derive(Clone, Debug)]
struct Entry {
    subscriber: Arc<Subscriber>,
    options: SubscriptionOptions,
    id: Option<NonZeroU32>,
}

/// The subscriptions with one pattern.
#[derive(Debug, Default)]
struct Entries {
    own: BTreeMap<SessionKey, Entry>,
    shared: BTreeMap<Box<str>, Group>,
}

/// A shared subscription: whose turn it is.
#[derive(Debug, Default)]
struct Group {
    members: BTreeMap<SessionKey, Entry>,
    turn: AtomicUsize,
}

impl Group {
    /// The next member in turn, of those that are connected if there are any.
    fn next(&self) -> Option<&Entry> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let in_turn = |all: usize| turn % all;
        let online = || self.members.values().filter(|member| member.subscriber.is_online());
        match online().count() {
            0 if self.members.is_empty() => None,
            0 => self.members.values().nth(in_turn(self.members.len())),
            all => online().nth(in_turn(all)),
        }
    }
}

/// Somebody who gets a message.
#[derive(Clone, Debug)]
pub struct Target {
    /// Who.
    pub subscriber: Arc<Subscriber>,
    /// With which QoS at most.
    pub qos: QoS,
    /// Whether RETAIN is passed on.
    pub retain_as_published: bool,
    /// The identifiers of the subscriptions that match.
    pub ids: Vec<NonZeroU32>,
}

/// All subscriptions.
#[derive(Debug, Default)]
pub struct Routes {
    tree: Tree<Entries>,
}

impl Routes {
    /// Adds a subscription, or changes it; whether it is new.
    pub fn insert(
        &mut self,
        filter: &Filter,
        subscriber: &Arc<Subscriber>,
        options: SubscriptionOptions,
        id: Option<NonZeroU32>,
    ) -> bool {
        if self.tree.get_filter(filter).is_none() {
            self.tree.insert_filter(filter, Entries::default());
        }
        let entries = self.tree.get_filter_mut(filter).expect("it was just put there");
        let members = match filter.share() {
            None => &mut entries.own,
            Some(name) => &mut entries.shared.entry(name.into()).or_default().members,
        };
        let entry = Entry { subscriber: Arc::clone(subscriber), options, id };
        members.insert(subscriber.key, entry).is_none()
    }

    /// Takes a subscription away; whether there was one.
    pub fn remove(&mut self, filter: &Filter, key: SessionKey) -> bool {
        let Some(entries) = self.tree.get_filter_mut(filter) else { return false };
        let removed = match filter.share() {
            None => entries.own.remove(&key).is_some(),
            Some(name) => {
                let group = entries.shared.get_mut(name);
                let removed = group.and_then(|group| group.members.remove(&key)).is_some();
                entries.shared.retain(|_, group| !group.members.is_empty());
                removed
            }
        };
        if entries.own.is_empty() && entries.shared.is_empty() {
            self.tree.remove_filter(filter);
        }
        removed
    }

    /// Who gets a message of this topic that the session `from` published.
    #[must_use]
    pub fn matching(&self, topic: &Topic, from: Option<SessionKey>) -> Vec<Target> {
        let mut out: Vec<Target> = Vec::new();
        let mut is_sorted = true;
        self.tree.matching(topic, |entries| {
            let own = entries.own.values();
            let own = own.filter(|e| !(e.options.no_local && Some(e.subscriber.key) == from));
            let shared = entries.shared.values().filter_map(Group::next);
            for entry in own.chain(shared) {
                let last = out.last().map(|target| target.subscriber.key);
                is_sorted &= last.is_none_or(|last| last < entry.subscriber.key);
                out.push(Target {
                    subscriber: Arc::clone(&entry.subscriber),
                    qos: entry.options.qos,
                    retain_as_published: entry.options.retain_as_published,
                    ids: entry.id.into_iter().collect(),
                });
            }
        });
        if !is_sorted {
            out.sort_by_key(|target| target.subscriber.key);
            out.dedup_by(|next, first| {
                let is_same = first.subscriber.key == next.subscriber.key;
                if is_same {
                    first.qos = first.qos.max(next.qos);
                    first.retain_as_published |= next.retain_as_published;
                    first.ids.append(&mut next.ids);
                }
                is_same
            });
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscriber(key: SessionKey) -> Arc<Subscriber> {
        Arc::new(Subscriber::new(key, false))
    }

    fn filter(text: &str) -> Filter {
        Filter::try_from(text).unwrap()
    }

    fn options(qos: QoS) -> SubscriptionOptions {
        SubscriptionOptions { qos, ..SubscriptionOptions::default() }
    }

    fn found(routes: &Routes, topic: &str) -> Vec<(SessionKey, QoS, Vec<u32>)> {
        let targets = routes.matching(&Topic::try_from(topic).unwrap(), None);
        let ids = |target: &Target| target.ids.iter().map(|id| id.get()).collect();
        targets.iter().map(|t| (t.subscriber.key, t.qos, ids(t))).collect()
    }

    #[test]
    fn a_client_found_twice_gets_a_message_once_with_the_greatest_qos_and_all_identifiers() {
        let (mut routes, one, two) = (Routes::default(), subscriber(1), subscriber(2));
        let id = NonZeroU32::new;
        assert!(routes.insert(&filter("a/+"), &one, options(QoS::AtMostOnce), id(7)));
        assert!(routes.insert(&filter("a/b"), &two, options(QoS::AtMostOnce), None));
        assert!(routes.insert(&filter("a/#"), &one, options(QoS::ExactlyOnce), id(8)));
        assert!(!routes.insert(&filter("a/#"), &one, options(QoS::AtLeastOnce), id(9)), "changed");
        let mut both = found(&routes, "a/b");
        both[0].2.sort_unstable();
        assert_eq!(both, [(1, QoS::AtLeastOnce, vec![7, 9]), (2, QoS::AtMostOnce, vec![])]);
        assert!(routes.remove(&filter("a/#"), 1) && !routes.remove(&filter("a/#"), 1));
        assert_eq!(found(&routes, "a/b/c"), []);
    }

    #[test]
    fn of_a_shared_subscription_one_gets_a_message_in_turn_and_who_is_there_before_who_is_not() {
        let (mut routes, one, two) = (Routes::default(), subscriber(1), subscriber(2));
        for member in [&one, &two] {
            routes.insert(&filter("$share/g/a"), member, options(QoS::AtLeastOnce), None);
        }
        let next = |routes: &Routes| found(routes, "a")[0].0;
        assert_eq!(found(&routes, "a").len(), 1);
        assert_ne!(next(&routes), next(&routes), "in turn while both are away");
        two.attach(Some(Arc::new(Mailbox::new(false, 0))));
        assert!((0..4).all(|_| next(&routes) == 2), "only one is there");
        assert!(routes.remove(&filter("$share/g/a"), 2) && routes.remove(&filter("$share/g/a"), 1));
        assert!(routes.tree.is_empty());
    }

    #[test]
    fn who_wants_no_local_messages_gets_those_of_others() {
        let (mut routes, one) = (Routes::default(), subscriber(1));
        let options = SubscriptionOptions { no_local: true, ..SubscriptionOptions::default() };
        routes.insert(&filter("a"), &one, options, None);
        let topic = Topic::try_from("a").unwrap();
        assert_eq!(routes.matching(&topic, Some(1)).len(), 0);
        assert_eq!(routes.matching(&topic, Some(2)).len(), 1);
    }
}
