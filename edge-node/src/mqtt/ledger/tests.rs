//! The bytes of records, and queues over a store.

use super::*;
use crate::mqtt::message::Delivery;
use crate::mqtt::packet::{Publish, PublishProperties, Utf8};
use data_encoding::HEXLOWER;
use holdfast_sync::env::System;
use holdfast_sync::identity::NodeKey;
use holdfast_sync::store::{Options, Overflow, Snapshot, Store, Table};

const AT: Moment = Moment { wall_ms: 1_800_000_000_000, boot: 3, steady_ms: 1_500 };

fn message(topic: &str, payload: &[u8], qos: QoS) -> Message {
    let publish = Publish {
        dup: true,
        qos,
        retain: true,
        topic: Topic::try_from(topic).unwrap(),
        packet_id: PacketId::new(77),
        payload: Bytes::copy_from_slice(payload),
        properties: PublishProperties {
            expiry_s: Some(60),
            content_type: Some(Utf8::try_from("text/plain").unwrap()),
            subscription_ids: vec![NonZeroU32::new(9).unwrap()],
            ..PublishProperties::default()
        },
    };
    Message::new(&publish, AT)
}

fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// The vectors of `docs/formats/mqtt.md`.
#[test]
fn golden_vectors() {
    let kept = message("a/b", b"on", QoS::AtLeastOnce);
    let record = SessionRecord {
        no: 7,
        owner: "device d".to_owned(),
        expiry_s: 3_600,
        away: Some(AT),
        will: Some(KeptWill { delay_s: 5, message: kept.clone() }),
    };
    let session = record.encode().unwrap();
    assert_eq!(hex(&session), SESSION);
    let read = SessionRecord::decode(&session).unwrap();
    assert_eq!(read.will.as_ref().unwrap().message.as_publish(), kept.as_publish());
    assert_eq!((read.no, read.owner, read.expiry_s, read.away), (7, record.owner, 3_600, Some(AT)));

    let options = SubscriptionOptions {
        qos: QoS::ExactlyOnce,
        no_local: true,
        retain_as_published: false,
        retain_handling: RetainHandling::SendIfNew,
    };
    let filter = Filter::try_from("a/#").unwrap();
    let record = SubscriptionRecord { filter: filter.clone(), options, id: NonZeroU32::new(300) };
    assert_eq!(hex(&record.encode()), "16ac02");
    assert_eq!(SubscriptionRecord::decode(filter, &record.encode()).unwrap(), record);

    let mut pack = Pack::new(10);
    assert_eq!((pack.push(&kept).unwrap(), pack.push(&kept).unwrap()), (0, 1));
    let (place, next, value) = pack.finish().unwrap();
    assert_eq!((place, next, hex(&value).as_str()), (10, 12, MESSAGES));
    assert_eq!(unpack(value).unwrap(), [kept.clone(), kept.clone()]);

    let entry = |index, retain, ids: &[u32]| Entry {
        index,
        qos: QoS::AtLeastOnce,
        retain,
        ids: ids.iter().filter_map(|id| NonZeroU32::new(*id)).collect(),
    };
    let entries = vec![entry(0, false, &[]), entry(1, true, &[5, 300])];
    let record = QueueRecord { place: 10, before: 200, bytes: 74, entries };
    assert_eq!(hex(&record.encode()), "0ac8014a0001010d0205ac02");
    assert_eq!(QueueRecord::decode(&record.encode()).unwrap(), record);

    let progress =
        Progress { done: 5, above: BTreeSet::from([7, 300]), received: BTreeSet::from([6]) };
    assert_eq!(hex(&progress.encode()), "050207a5020106");
    assert_eq!(Progress::decode(&progress.encode()).unwrap(), progress);

    assert_eq!(hex(&retained(&kept).unwrap()), RETAINED);
    assert_eq!(decode_retained(&retained(&kept).unwrap()).unwrap(), kept);

    let seen = Seen::of(PacketId::MIN, &Topic::try_from("a").unwrap(), b"1");
    assert_eq!(hex(&encode_seen(&[seen])), SEEN);
}

const SESSION: &str = "0107086465766963652064901c0180c0e285e36803dc0b0105331c0003612f62\
    000112020000003c03000a746578742f706c61696e6f6e";
const MESSAGES: &str = "80c0e285e36803dc0b331c0003612f62000112020000003c03000a746578742f\
    706c61696e6f6e331c0003612f62000112020000003c03000a746578742f706c61696e6f6e";
const RETAINED: &str =
    "80c0e285e36803dc0b331c0003612f62000112020000003c03000a746578742f706c61696e6f6e";
const SEEN: &str = "01006f7aefde0b83538f";

#[test]
fn packet_identifiers_go_round_and_are_never_zero() {
    let ids = [0, 1, 65_533, 65_534, 65_535, 131_070].map(|number| packet_id(number).get());
    assert_eq!(ids, [1, 2, 65_534, 65_535, 1, 1]);
}

fn store(dir: &std::path::Path) -> Store {
    let options = Options {
        dir: dir.to_owned(),
        key: NodeKey::generate(&System::env()),
        quota_bytes: 1 << 30,
        overflow: Overflow::Refuse,
        max_series: 10,
        seal_after: 1_000,
        scrub_every: std::time::Duration::ZERO,
        version: "1",
        unsafe_normal_sync: false,
    };
    Store::open(options, System::env()).unwrap().0
}

async fn change(store: &Store, changes: Vec<Change>) -> Applied {
    let applied = store.write(move |tx| Ok(apply(tx, &changes)?)).await;
    applied.unwrap().1
}

/// A commit with `count` messages for a session's queue, from `number` on.
fn part(no: SessionNo, place: u64, number: u64, count: u32, before: u64) -> Vec<Change> {
    let mut pack = Pack::new(place);
    let mut entries = Vec::new();
    for n in 0..u64::from(count) {
        let payload = (number + n).to_string();
        let index = pack.push(&message("a", payload.as_bytes(), QoS::AtLeastOnce)).unwrap();
        entries.push(Entry { index, qos: QoS::AtLeastOnce, retain: false, ids: Vec::new() });
    }
    let (place, _, value) = pack.finish().unwrap();
    let record = QueueRecord { place, before, bytes: u64::from(count) * 100, entries };
    vec![Change::Messages(place, value), Change::Queue(no, number, record)]
}

fn progress(no: SessionNo, done: u64, next: u64, below: u64) -> Change {
    let progress = Progress { done, ..Progress::default() };
    Change::Progress { no, progress, next, below }
}

fn texts(messages: &[(u64, Delivery)]) -> Vec<(u64, String)> {
    let text = |d: &Delivery| String::from_utf8(d.message.payload().to_vec()).unwrap();
    messages.iter().map(|(number, delivery)| (*number, text(delivery))).collect()
}

fn count(store: &Store, table: Table) -> usize {
    let read = |view: &Snapshot<'_>| Ok(view.scan(table, &[], &[], usize::MAX)?.len());
    store.read_blocking(read).unwrap()
}

#[tokio::test]
async fn a_queue_is_read_from_any_number_on_and_goes_as_it_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    change(&store, part(1, 0, 0, 3, 0)).await;
    change(&store, part(1, 3, 3, 3, 300)).await;
    change(&store, part(2, 6, 0, 1, 0)).await;
    for from in 0..6 {
        let read = store.read_blocking(|view| queued(view, 1, from, usize::MAX)).unwrap();
        let expected: Vec<_> = (from..6).map(|n| (n, n.to_string())).collect();
        assert_eq!((texts(&read.messages), read.next), (expected, 6));
    }
    let some = store.read_blocking(|view| queued(view, 1, 1, 1)).unwrap();
    assert_eq!((some.messages.len(), some.next), (2, 3), "a part at a time");
    let moved = change(&store, vec![progress(1, 2, 6, 0)]).await.queues[0];
    assert_eq!((moved.first, moved.before, moved.dropped), (2, Some(0), 0));
    let moved = change(&store, vec![progress(1, 4, 6, 0)]).await.queues[0];
    assert_eq!((moved.first, moved.before, moved.dropped), (4, Some(300), 0));
    assert_eq!((count(&store, Table::MqttMessages), count(&store, Table::MqttHolder)), (2, 2));
    let moved = change(&store, vec![progress(1, 6, 6, 0)]).await.queues[0];
    assert_eq!((moved.first, moved.before), (6, None));
    assert_eq!((count(&store, Table::MqttMessages), count(&store, Table::MqttQueue)), (1, 1));
}

#[tokio::test]
async fn a_full_queue_loses_its_oldest_and_says_how_many() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    for n in 0..4 {
        change(&store, part(1, n * 3, n * 3, 3, n * 300)).await;
    }
    // 1,200 bytes were queued and 500 may wait: the first two parts go, one message of which is
    // done.
    let moved = change(&store, vec![progress(1, 1, 12, 700)]).await.queues[0];
    assert_eq!((moved.first, moved.before, moved.dropped), (6, Some(600), 5));
    let read = store.read_blocking(|view| queued(view, 1, 1, usize::MAX)).unwrap();
    assert_eq!(read.messages[0].0, 6);
    assert_eq!(count(&store, Table::MqttMessages), 2);
}

#[tokio::test]
async fn messages_stand_once_until_the_last_session_is_done_and_an_ended_one_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let mut changes = part(1, 0, 0, 2, 0);
    let shared = part(2, 0, 0, 2, 0).remove(1);
    let filter = Filter::try_from("a").unwrap();
    let options = SubscriptionOptions::default();
    changes.push(shared);
    changes.push(Change::Subscribe(2, SubscriptionRecord { filter, options, id: None }));
    changes.push(Change::Held(2, BTreeSet::from([PacketId::MIN])));
    change(&store, changes).await;
    assert_eq!(count(&store, Table::MqttMessages), 1);
    change(&store, vec![progress(1, 2, 2, 0)]).await;
    assert_eq!(count(&store, Table::MqttMessages), 1, "the other session needs them");
    let applied = change(&store, vec![Change::End("c".to_owned(), 2), Change::Sweep(2)]).await;
    assert_eq!(applied.swept, [2]);
    let left = [
        Table::MqttMessages,
        Table::MqttHolder,
        Table::MqttQueue,
        Table::MqttSubscription,
        Table::MqttHeld,
        Table::MqttEnded,
    ];
    assert!(left.iter().all(|table| count(&store, *table) == 0));
}

#[tokio::test]
async fn the_newest_messages_of_qos_1_are_known_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let seen = |n: u64| Seen { packet_id: packet_id(n), hash: n };
    for n in 0..60 {
        let some = (n * 40..n * 40 + 40).map(seen).collect();
        change(&store, vec![Change::Recent(1, some), Change::Recent(2, vec![seen(n)])]).await;
    }
    let recent = store.read_blocking(|view| recent(view, 1)).unwrap();
    assert_eq!(recent.last(), Some(&seen(2_399)));
    assert!((1_024..1_100).contains(&recent.len()), "{}", recent.len());
    assert_eq!(count(&store, Table::MqttRecent), recent.len() / 40 + 60);
}

#[tokio::test]
async fn a_damaged_record_of_messages_is_left_out_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    change(&store, part(1, 0, 0, 2, 0)).await;
    change(&store, part(1, 2, 2, 2, 200)).await;
    change(&store, vec![Change::Messages(0, b"nonsense".to_vec())]).await;
    let read = store.read_blocking(|view| queued(view, 1, 0, usize::MAX)).unwrap();
    assert_eq!((read.lost, read.next), (2, 4));
    assert_eq!(texts(&read.messages), [(2, "2".to_owned()), (3, "3".to_owned())]);
}
