//! What the engine must never see, each tried at the door that a peer's bytes come through.
//!
//! Inputs that would take all memory run in a process of their own under a limit of memory. That
//! the limit and the inputs are real is shown once: without the door, the process does not survive
//! them.

use super::*;
use crate::docs::Refusal;
use crate::docs::chunk::frame_change;
use crate::docs::documents::says_the_same;
use crate::docs::message::SyncMessage;
use crate::docs::parcel::{MESSAGE, wrap};
use crate::store::{Table, WriteError};
use automerge::sync::{Message, State, SyncDoc as _};
use automerge::transaction::Transactable as _;
use automerge::{ActorId, Automerge, ROOT};
use data_encoding::HEXLOWER;
use holdfast_core::codec::Sink as _;
use rustix::process::{Resource, Rlimit, setrlimit};
use std::io::Write as _;
use std::process::Command;

const CHILD: &str = "HOLDFAST_HOSTILE_INPUT";
/// Far above what any checked input takes, far below what these take unchecked.
const MEMORY: u64 = 384 << 20;

/// A filter with no bits per entry: the engine divides by its length.
const NO_BITS: &str = "42000001000301000700";
/// A filter with 2^32 probes: the engine makes room for them.
const PROBES: &str = "4200000100080108ffffffff0fff00";

fn message(hex: &str) -> Vec<u8> {
    wrap(MESSAGE, 0, &[], &[], &HEXLOWER.decode(hex.as_bytes()).unwrap())
}

/// A few bytes that inflate to 512 MiB.
fn deflated_zeros() -> Vec<u8> {
    let mut out = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = vec![0; 1 << 20];
    (0..512).for_each(|_| out.write_all(&zeros).unwrap());
    out.finish().unwrap()
}

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0x85, 0x6f, 0x4a, 0x83, 0, 0, 0, 0, kind];
    out.put_bytes(body).unwrap();
    out
}

fn inflating() -> Vec<u8> {
    frame(2, &deflated_zeros())
}

/// A change whose few bytes stand for 2^60 operations.
fn endless() -> Vec<u8> {
    let mut body = vec![0];
    body.put_bytes(&[1; 16]).unwrap();
    body.extend([1, 1, 0, 0, 0]);
    let columns: [(u8, Vec<u8>); 5] = [
        (0x15, [&RUNS[..9], &[1, b'k']].concat()),
        (0x34, RUNS[..9].to_vec()),
        (0x42, RUNS.to_vec()),
        (0x56, [&RUNS[..9], &[0]].concat()),
        (0x70, [&RUNS[..9], &[0]].concat()),
    ];
    body.push(columns.len() as u8);
    columns.iter().for_each(|(spec, bytes)| body.extend([*spec, bytes.len() as u8]));
    columns.iter().for_each(|(_, bytes)| body.extend(bytes));
    frame_change(&body).1
}

/// A document with one column of operations.
fn document(spec: u16, column: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 0, 0, 1];
    body.put_uint(u64::from(spec)).unwrap();
    body.put_uint(column.len() as u64).unwrap();
    body.extend(column);
    frame(0, &body)
}

/// Ten bytes that stand for 2^60 rows.
const RUNS: [u8; 10] = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10, 0x01];

/// What the child process does with the input that its environment names.
fn child(input: &str) {
    setrlimit(Resource::As, Rlimit { current: Some(MEMORY), maximum: Some(MEMORY) }).unwrap();
    let parcel = |changes: &[u8]| Parcel::check(&pack(0, &[], &[], changes)).map(drop).unwrap_err();
    let decoded = |hex: &str| SyncMessage::check(&message(hex)).map(drop).unwrap_err();
    match input {
        "filter without bits" => assert_eq!(decoded(NO_BITS), Refusal::Filter),
        "filter of endless probes" => assert_eq!(decoded(PROBES), Refusal::Filter),
        "inflating change" => assert_eq!(parcel(&inflating()), Refusal::Inflates),
        "endless change" => assert_eq!(parcel(&endless()), Refusal::Count),
        "inflating document" => {
            assert_eq!(parcel(&document(0x5f, &deflated_zeros())), Refusal::Inflates);
        }
        "endless document" => assert_eq!(parcel(&document(0x42, &RUNS)), Refusal::Count),
        "unchecked probes" => {
            let bytes = HEXLOWER.decode(PROBES.as_bytes()).unwrap();
            let mut document = Automerge::new();
            document.set_actor(ActorId::from([1; 16]));
            let mut transaction = document.transaction();
            transaction.put(ROOT, "k", 1).unwrap();
            transaction.commit();
            let mut state = State::new();
            document.receive_sync_message(&mut state, Message::decode(&bytes).unwrap()).unwrap();
            drop(document.generate_sync_message(&mut state));
        }
        other => panic!("{other} is no input"),
    }
}

#[test]
fn input_of_the_child() {
    if let Ok(input) = std::env::var(CHILD) {
        child(&input);
    }
}

fn survives(input: &str) -> bool {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "docs::tests::hostile::input_of_the_child", "--nocapture"]);
    let done = command.env(CHILD, input).output().unwrap();
    if !done.status.success() {
        println!("{input}: {}", String::from_utf8_lossy(&done.stderr));
    }
    done.status.success()
}

#[test]
fn what_would_take_all_memory_is_refused_under_a_limit_of_memory() {
    for input in [
        "filter without bits",
        "filter of endless probes",
        "inflating change",
        "endless change",
        "inflating document",
        "endless document",
    ] {
        assert!(survives(input), "{input}");
    }
    assert!(!survives("unchecked probes"));
    println!("struck: inputs that end a process without the door 1");
}

/// Ten bytes made `generate_sync_message` divide by nothing. Should the engine ever panic behind
/// the door, its instance is dropped and the document is still there.
#[test]
fn a_panic_of_the_engine_is_caught() {
    let mut hand = Hand::new(1);
    hand.put("k", 1, 1);
    let bytes = HEXLOWER.decode(NO_BITS.as_bytes()).unwrap();
    let mut state = State::new();
    hand.engine.take_message(&mut state, Message::decode(&bytes).unwrap()).unwrap();
    let broken = hand.engine.next_message(&mut state).unwrap_err();
    assert!(broken.0.starts_with("panic: "), "{broken:?}");
}

#[tokio::test]
async fn changes_that_lack_others_wait_within_a_bound() {
    let node = Node::new();
    let mut hand = Hand::new(1);
    let first = hand.put("k", 1, 1);
    // More than may wait, none of which can be applied.
    let text = "x".repeat(4000);
    let author = Author::node(&hand.key.id());
    let (mut sent, mut waited) = (0, 0);
    for i in 0..400u64 {
        let content = Content::Value(Value::text(&text).unwrap());
        let put = cell("k", 2 + i, author, content);
        let change = hand.engine.commit(hand.who.actor(&name(), 0), 7, &[put]).unwrap();
        let parcel = Parcel::check(&hand.parcel(&change.raw)).unwrap();
        let applied = node.apply(hand.key.id(), parcel).await.unwrap();
        assert_eq!(applied.changes, 0);
        sent += change.raw.len();
        waited = waited.max(applied.waiting);
        let (_, bytes) = node.documents.held_open();
        assert!(bytes < 2 << 20, "{bytes}");
    }
    println!("struck: bytes of changes without what they depend on {sent}");
    assert!(sent > 1 << 20 && waited > 100);
    // What they waited for brings back those that still do.
    let parcel = Parcel::check(&hand.parcel(&first.raw)).unwrap();
    assert_eq!(node.apply(hand.key.id(), parcel).await.unwrap().changes, 1);
}

fn refused(result: Result<crate::docs::Applied, WriteError>) -> Refusal {
    match result {
        Err(WriteError::Document(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

/// Whatever else the engine's format can say is refused by its form.
#[test]
fn operations_that_are_no_puts_of_cells_are_refused() {
    let made = |edit: &dyn Fn(&mut automerge::transaction::Transaction<'_>)| {
        let mut document = Automerge::new();
        document.set_actor(ActorId::from([1; 16]));
        let mut transaction = document.transaction();
        transaction.put(ROOT, "k", vec![1u8]).unwrap();
        edit(&mut transaction);
        let options = automerge::transaction::CommitOptions::default().with_time(0);
        transaction.commit_with(options);
        let change = document.get_last_local_change().unwrap();
        Parcel::check(&pack(0, &[], &[], change.raw_bytes())).map(drop)
    };
    assert_eq!(made(&|_| {}), Ok(()));
    use automerge::ObjType;
    let refused = [
        made(&|tx| tx.put(ROOT, "n", 5).unwrap()),
        made(&|tx| tx.put(ROOT, "t", "text").unwrap()),
        made(&|tx| tx.put(ROOT, "z", ()).unwrap()),
        made(&|tx| tx.delete(ROOT, "k").unwrap()),
        made(&|tx| drop(tx.put_object(ROOT, "m", ObjType::Map).unwrap())),
        made(&|tx| {
            let list = tx.put_object(ROOT, "l", ObjType::List).unwrap();
            tx.insert(&list, 0, vec![1u8]).unwrap();
        }),
        made(&|tx| {
            let map = tx.put_object(ROOT, "m", ObjType::Map).unwrap();
            tx.put(&map, "k", vec![1u8]).unwrap();
        }),
        made(&|tx| tx.put(ROOT, "c", automerge::ScalarValue::counter(1)).unwrap()),
    ];
    assert_eq!(refused, [Err(Refusal::Operation); 8]);
    let twice = made(&|tx| tx.put(ROOT, "k", vec![2u8]).unwrap());
    assert_eq!(twice, Err(Refusal::Framing), "one key twice");
}

#[tokio::test]
async fn what_a_member_may_not_write_is_refused_and_changes_nothing() {
    let node = Node::new();
    let mut hand = Hand::new(1);
    let mut other = Hand::new(2);
    let good = hand.put("k", 1, 1);
    let from = hand.key.id();
    let check = |bytes: &[u8]| Parcel::check(bytes).unwrap();
    // Nobody was introduced; somebody else was.
    let alone = check(&pack(0, &[], &[], &good.raw));
    assert_eq!(refused(node.apply(from, alone).await), Refusal::Actor);
    let wrong = check(&pack(0, &[other.who], &[], &good.raw));
    assert_eq!(refused(node.apply(from, wrong).await), Refusal::Actor);
    // A cell in another's name.
    let forged = cell("k", 9, Author::node(&other.key.id()), Content::Tombstone);
    let mut forger = Hand::new(1);
    let forged = forger.engine.commit(forger.who.actor(&name(), 0), 0, &[forged]).unwrap();
    let parcel = check(&forger.parcel(&forged.raw));
    assert_eq!(refused(node.apply(from, parcel).await), Refusal::Author);
    // A change from somebody else than its author, under no head, or a head that is not signed so.
    let relayed = check(&pack(0, &[hand.who], &[], &good.raw));
    let applied = node.apply(other.key.id(), relayed).await.unwrap();
    assert_eq!((applied.changes, applied.waiting), (0, 1));
    let mut head = SignedHead::sign(&hand.key, &name(), 0, good.hash);
    head.signature[5] ^= 1;
    let relayed = check(&pack(0, &[hand.who], &[head.clone()], &good.raw));
    assert_eq!(refused(node.apply(other.key.id(), relayed).await), Refusal::Signature);
    let elsewhere = DocumentName::new("device/pump-2/desired").unwrap();
    let moved = SignedHead::sign(&hand.key, &elsewhere, 0, good.hash);
    let relayed = check(&pack(0, &[hand.who], &[moved], &good.raw));
    assert!(relayed.clone().signed_for(&name()).is_err());
    let relayed = relayed.signed_for(&elsewhere).unwrap();
    assert_eq!(refused(node.apply(other.key.id(), relayed).await), Refusal::Signature);
    let of_other = SignedHead::sign(&other.key, &name(), 0, good.hash);
    let relayed = check(&pack(0, &[hand.who], &[of_other], &good.raw));
    assert_eq!(node.apply(other.key.id(), relayed).await.unwrap().changes, 0);
    // Under its author's head it is taken from anybody.
    let relayed = check(&hand.parcel(&good.raw));
    assert_eq!(node.apply(other.key.id(), relayed).await.unwrap().changes, 1);
    // The same number of an actor for something else, as a copied disk would give it.
    let mut copy = Hand::new(1);
    let again = copy.put("k", 5, 5);
    let parcel = check(&copy.parcel(&again.raw));
    assert_eq!(refused(node.apply(from, parcel).await), Refusal::Sequence);
    other.put("k", 1, 1);
    assert_eq!(node.store.noted_damage(), None);
}

/// Nothing that is known breaks the engine behind the door, so a change is made here that does: it
/// was judged by one form and reaches the engine in another.
#[tokio::test]
async fn what_breaks_the_engine_is_quarantined_and_the_document_stays() {
    let node = Node::new();
    let mut hand = Hand::new(1);
    let (first, second) = (hand.put("a", 1, 1), hand.put("b", 2, 2));
    let third = hand.put("c", 3, 3);
    let parcel = |changes: Vec<Change>| {
        let empty = Parcel::check(&hand.parcel(&[])).unwrap();
        Parcel { changes, ..empty }
    };
    let mut broken = second.clone();
    let end = broken.raw.len() - 1;
    broken.raw.truncate(end);
    let from = hand.key.id();
    let applied = node.apply(from, parcel(vec![third.clone(), broken, first])).await.unwrap();
    assert_eq!((applied.changes, applied.waiting, applied.quarantined), (1, 0, true));
    let count = |table| {
        node.store.read_blocking(|view| Ok(view.scan(table, &[], &[], usize::MAX)?.len())).unwrap()
    };
    assert_eq!((count(Table::DocumentQuarantine), count(Table::DocumentCell)), (1, 1));
    let applied = node.apply(from, parcel(vec![second, third])).await.unwrap();
    assert_eq!((applied.changes, applied.quarantined), (2, false));
    assert_eq!((count(Table::DocumentCell), node.store.noted_damage()), (3, None));
}

/// A snapshot takes the place of changes only when it loads and says what they say.
#[test]
fn a_snapshot_that_says_something_else_is_not_taken() {
    let (mut hand, mut other) = (Hand::new(1), Hand::new(1));
    hand.put("a", 1, 1);
    other.put("a", 1, 2);
    let saved = hand.engine.save().unwrap();
    assert!(says_the_same(&hand.engine, &saved));
    assert!(!says_the_same(&other.engine, &saved));
    for at in 0..saved.len() {
        let mut flipped = saved.clone();
        flipped[at] ^= 1;
        assert!(!says_the_same(&hand.engine, &flipped), "byte {at}");
    }
    hand.put("a", 2, 2);
    assert!(!says_the_same(&hand.engine, &saved), "a change behind");
}

/// Changes with one bit or byte wrong and the checksum made right again: one in thirty broke the
/// engine when it was the first to look. Behind the door none does, and whatever is taken can be
/// stored and loaded again.
#[test]
fn mutated_changes_are_refused_or_harmless() {
    let mut hand = Hand::new(1);
    let base = hand.put("net/ip", 1, 1);
    let change = hand.put("net/ip", 2, 300);
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let body = change.raw[10..].to_vec();
    assert_eq!(frame_change(&body).1, change.raw);
    let (mut refused, mut taken, mut broke) = (0, 0, 0);
    for _ in 0..30_000 {
        let mut mutated = body.clone();
        for _ in 0..=random(3) {
            let at = random(mutated.len());
            match random(4) {
                0 => mutated[at] ^= 1 << random(8),
                1 => mutated[at] = random(256) as u8,
                2 => drop(mutated.remove(at)),
                _ => mutated.insert(at, random(256) as u8),
            }
        }
        let Ok(found) = Change::read(&mutated) else {
            refused += 1;
            continue;
        };
        let author = Author::node(&hand.key.id());
        let fits =
            found.actor == change.actor && found.check_cells(&name(), author, Role::Hub).is_ok();
        if !fits {
            refused += 1;
            continue;
        }
        let mut engine = Engine::load(&base.raw).unwrap();
        if engine.history.admit(&found).is_err() {
            refused += 1;
            continue;
        }
        match engine.apply(std::slice::from_ref(&found)) {
            Ok(()) => {
                let stored = [base.raw.as_slice(), &found.raw].concat();
                assert_eq!(Engine::load(&stored).unwrap().heads(), engine.heads());
                assert_eq!(Engine::load(&engine.save().unwrap()).unwrap().heads(), engine.heads());
                taken += 1;
            }
            Err(_) => broke += 1,
        }
    }
    println!("struck: refused {refused}, taken {taken}, caught {broke}");
    assert!(refused > 20_000 && taken > 0);
}

#[test]
fn mutated_documents_and_messages_never_panic() {
    let mut hand = Hand::new(1);
    (1..20).for_each(|i| drop(hand.put(["a", "b", "net/ip"][i as usize % 3], i, i as i64)));
    let saved = hand.engine.save().unwrap();
    let mut state = 0x1234_5678_9abc_def1u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut refused = 0;
    for _ in 0..5_000 {
        let mut bytes = saved.clone();
        let at = 4 + random(bytes.len() - 4);
        bytes[at] = random(256) as u8;
        refused += u32::from(Parcel::check(&pack(0, &[], &[], &bytes)).is_err());
    }
    let said = hand.engine.next_message(&mut State::new()).unwrap().unwrap().encode();
    let whole = wrap(MESSAGE, 0, &[], &[], &said);
    SyncMessage::check(&whole).unwrap();
    for _ in 0..20_000 {
        let mut bytes = whole.clone();
        let at = random(bytes.len());
        bytes[at] = random(256) as u8;
        if let Ok(message) = SyncMessage::check(&bytes) {
            let mut engine = Engine::new();
            let mut state = State::new();
            engine.take_message(&mut state, message.inner).unwrap();
            engine.next_message(&mut state).unwrap();
            let _ = state.encode();
        } else {
            refused += 1;
        }
    }
    println!("struck: mutated documents and messages refused {refused}");
    assert!(refused > 5_000);
}
