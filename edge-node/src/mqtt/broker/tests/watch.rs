//! Who watches messages: what it is shown, what it misses, and that nothing is left of it.

use super::kills::Node;
use crate::mqtt::broker::watch::WATCHERS_MAX;
use crate::mqtt::broker::*;
use crate::mqtt::message::Message;
use crate::mqtt::packet::{Filter, Publish, PublishProperties, QoS, Topic};

fn publish(topic: &str, payload: &str, retain: bool) -> Publish {
    Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain,
        topic: Topic::try_from(topic).unwrap(),
        packet_id: None,
        payload: payload.to_owned().into(),
        properties: PublishProperties::default(),
    }
}

/// A broker that runs on a store of its own.
struct Running {
    reach: Reach,
    _node: Arc<Node>,
    _dir: tempfile::TempDir,
}

impl Running {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::new(dir.path());
        node.start();
        Self { reach: node.reach(), _node: node, _dir: dir }
    }

    async fn watch(&self, filter: &str) -> Option<Watch> {
        let filter = Filter::try_from(filter).unwrap();
        self.reach.look(move |state, _| state.watch(filter)).await.unwrap()
    }

    /// As a client's message of QoS 0 that nobody keeps.
    fn publish(&self, topic: &str, payload: &str) {
        let message = Message::new(&publish(topic, payload, false), self.reach.now());
        self.reach.put_now(&Arc::new(message), None);
    }

    /// Returns once it is on disk.
    async fn retain(&self, topic: &str, payload: &str) {
        let outcome = self.reach.publish(&publish(topic, payload, true), None).await.unwrap();
        assert!(!outcome.reason.is_failure(), "{outcome:?}");
    }
}

/// What is shown next, in words.
async fn shown(watch: &mut Watch) -> String {
    match watch.next().await {
        Shown::Message(message, retain) => {
            let payload = std::str::from_utf8(message.payload()).unwrap();
            format!("{} {payload}{}", message.topic(), if retain { " retained" } else { "" })
        }
        Shown::Ready(retained, left_out) => format!("ready {retained} {left_out}"),
        Shown::Missed(missed) => format!("missed {missed}"),
    }
}

#[tokio::test]
async fn who_watches_is_shown_what_is_retained_and_then_what_comes() {
    let broker = Running::start();
    broker.retain("site/light", "on").await;
    broker.retain("site/door", "shut").await;
    broker.retain("else/where", "1").await;
    let mut watch = broker.watch("site/#").await.unwrap();
    broker.publish("site/light", "off");
    broker.publish("else/where", "2");
    broker.retain("site/door", "").await;
    for expected in [
        "site/door shut retained",
        "site/light on retained",
        "ready 2 0",
        "site/light off",
        "site/door  retained",
    ] {
        assert_eq!(shown(&mut watch).await, expected);
    }
}

#[tokio::test]
async fn what_the_node_tells_of_itself_is_shown_only_to_who_asks_for_it() {
    let broker = Running::start();
    let mut all = broker.watch("#").await.unwrap();
    assert_eq!(shown(&mut all).await, "ready 0 0");
    let mut own = broker.watch("$SYS/broker/version").await.unwrap();
    let version = shown(&mut own).await;
    assert!(version.starts_with("$SYS/broker/version holdfast-edge"), "{version}");
    assert_eq!(shown(&mut own).await, "ready 1 0");
    broker.publish("$SYS/broker/version", "2");
    broker.publish("a", "1");
    assert_eq!(shown(&mut own).await, "$SYS/broker/version 2");
    assert_eq!(shown(&mut all).await, "a 1");
}

#[tokio::test]
async fn who_does_not_keep_up_is_told_what_it_missed_and_no_client_has_lost_anything() {
    let broker = Running::start();
    let (mut slow, mut quick) =
        (broker.watch("#").await.unwrap(), broker.watch("#").await.unwrap());
    assert_eq!(
        (shown(&mut slow).await, shown(&mut quick).await),
        ("ready 0 0".into(), "ready 0 0".into())
    );
    let payload = "x".repeat(50_000);
    for number in 0..12 {
        broker.publish(&format!("a/{number:02}"), &payload);
        assert!(shown(&mut quick).await.starts_with(&format!("a/{number:02}")));
    }
    for number in 0..10 {
        assert!(shown(&mut slow).await.starts_with(&format!("a/{number:02}")));
    }
    assert_eq!(shown(&mut slow).await, "missed 2");
    broker.publish("a/last", "1");
    assert_eq!(shown(&mut slow).await, "a/last 1");
    assert_eq!(shown(&mut quick).await, "a/last 1");
    let counts = &broker.reach.counts;
    assert_eq!((counts.unseen.get(), counts.dropped.get()), (2, 0));
}

/// A busy site never lets the mailbox of a slow page run empty.
#[tokio::test]
async fn who_is_always_behind_is_told_all_the_same() {
    let broker = Running::start();
    let mut slow = broker.watch("#").await.unwrap();
    assert_eq!(shown(&mut slow).await, "ready 0 0");
    let payload = "x".repeat(50_000);
    let mut missed = 0;
    for _ in 0..300 {
        broker.publish("a", &payload);
        broker.publish("a", &payload);
        let shown = shown(&mut slow).await;
        missed += shown.strip_prefix("missed ").map_or(0, |number| number.parse::<u64>().unwrap());
    }
    assert!(missed >= 190, "{missed} of {}", broker.reach.counts.unseen.get());
}

#[tokio::test]
async fn nothing_is_left_of_who_has_gone_and_there_are_no_more_than_may() {
    let broker = Running::start();
    let mut all = Vec::new();
    for _ in 0..WATCHERS_MAX {
        all.push(broker.watch("a").await.unwrap());
    }
    assert!(broker.watch("a").await.is_none());
    all.pop();
    assert!(broker.watch("a").await.is_some(), "one has gone, and this one goes at once");
    all.clear();
    let a = Topic::try_from("a").unwrap();
    let left =
        broker.reach.look(move |state, _| state.routes.read().unwrap().matching(&a, None).len());
    assert_eq!(left.await.unwrap(), 0);
    assert_eq!(broker.reach.counts.watchers(), 0);
}
