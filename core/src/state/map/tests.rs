//! Tests of the packed map of a device: what writes replace, and that it never runs over.

use super::super::tests::{OwnedCell, plain_cell};
use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::string::{String, ToString};
use std::vec::Vec;

fn path(text: &str) -> Path<'_> {
    Path::new(text).unwrap()
}

fn at(ms: u64) -> Writer {
    Writer { local: Stamp::new(ms, 0), author: Author([1; 8]), role: Role::Device }
}

fn live<const BYTES: usize>(map: &LwwMap<BYTES>) -> Vec<(&str, Value<'_>)> {
    map.iter().filter_map(|(path, cell)| Some((path.as_str(), cell.value()?))).collect()
}

/// The vector of `docs/formats/cell.md`.
#[test]
fn golden_vector() {
    let mut map = LwwMap::<128>::new();
    let writer = Writer {
        local: Stamp::new(1_700_000_000_000, 3),
        author: Author([1, 2, 3, 4, 5, 6, 7, 8]),
        role: Role::Device,
    };
    map.put(path("on"), Value::Bool(true), writer).unwrap();
    map.put(path("net/ip"), Value::text("::1").unwrap(), writer).unwrap();
    map.delete(path("on"), writer).unwrap();
    let head = b"\x00\x00\x68\xe5\xcf\x8b\x01\x01\x02\x03\x04\x05\x06\x07\x08";
    let golden =
        [&b"\x06net/ip\x16\x01\x12\x03"[..], head, b"\x03::1", b"\x02on\x12\x01\x4a\x04", head]
            .concat();
    assert_eq!(map.as_bytes(), golden);
    assert_eq!(LwwMap::from_bytes(&golden), Ok(map));
}

#[test]
fn a_write_beats_what_it_replaces_whatever_its_clock_says() {
    let mut map = LwwMap::<256>::new();
    let far = map.put(path("mode"), Value::Int(1), at(1 << 45)).unwrap();
    let stamp = map.put(path("mode"), Value::Int(2), at(5)).unwrap();
    assert_eq!(stamp, far.next());
    let stamp = map.delete(path("mode"), at(5)).unwrap();
    assert_eq!(stamp, far.next().next());
    assert_eq!(map.put(path("other"), Value::Int(3), at(5)), Ok(Stamp::new(5, 0)));
}

/// A text written over an object hid what lay below it; once the text was deleted, the object
/// was there again.
#[test]
fn what_was_replaced_from_above_or_below_does_not_come_back() {
    let mut map = LwwMap::<512>::new();
    map.put(path("net/ip"), Value::Int(1), at(1)).unwrap();
    map.put(path("net/gw"), Value::Int(2), at(2)).unwrap();
    map.put(path("net-x"), Value::Int(3), at(3)).unwrap();
    map.put(path("net"), Value::Bool(true), at(1)).unwrap();
    assert_eq!(live(&map), [("net", Value::Bool(true)), ("net-x", Value::Int(3))]);
    let written = map.put(path("net/ip/v4"), Value::Int(4), at(1)).unwrap();
    assert_eq!(live(&map), [("net/ip/v4", Value::Int(4)), ("net-x", Value::Int(3))]);
    assert_eq!(map.delete(path("net"), at(1)), Some(written.next()));
    assert_eq!(live(&map), [("net-x", Value::Int(3))]);
}

#[test]
fn deleting_what_is_not_there_changes_nothing() {
    let mut map = LwwMap::<256>::new();
    map.put(path("net"), Value::Int(1), at(1)).unwrap();
    let before = map.clone();
    assert_eq!(map.delete(path("net/ip"), at(9)), None, "above it is not meant");
    assert_eq!(map.delete(path("mode"), at(9)), None);
    assert_eq!(map, before);
    let first = map.delete(path("net"), at(9));
    assert!(first.is_some());
    assert_eq!(map.delete(path("net"), at(99)), None, "it is gone already");
}

#[test]
fn a_tombstone_is_forgotten_only_by_its_own_stamp() {
    let mut map = LwwMap::<256>::new();
    let written = map.put(path("a"), Value::Int(1), at(1)).unwrap();
    assert!(!map.forget(path("a"), written), "it is live");
    let gone = map.delete(path("a"), at(2)).unwrap();
    assert!(!map.forget(path("a"), written));
    assert!(map.forget(path("a"), gone));
    assert!(map.as_bytes().is_empty());
}

#[test]
fn parts_of_counters_are_refused() {
    let content = Content::Counter(super::super::Tally::default());
    let part = Cell { stamp: Stamp(1), author: Author([1; 8]), role: Role::Device, content };
    let mut map = LwwMap::<256>::new();
    assert_eq!(map.join_cell(path("n"), &part), Err(Reject::Malformed));
    let mut bytes = Vec::new();
    put_path(&mut bytes, path("n"));
    put_cell(&mut bytes, &part);
    assert_eq!(LwwMap::<256>::from_bytes(&bytes), Err(Reject::Malformed));
}

#[test]
fn bytes_of_a_map_are_checked() {
    let mut map = LwwMap::<256>::new();
    map.put(path("a"), Value::Int(1), at(1)).unwrap();
    let one = map.as_bytes().to_vec();
    assert_eq!(LwwMap::<256>::from_bytes(&[&one[..], &one].concat()), Err(Reject::Malformed));
    assert_eq!(LwwMap::<8>::from_bytes(&one), Err(Reject::Full));
    for len in 1..one.len() {
        assert_eq!(LwwMap::<256>::from_bytes(&one[..len]), Err(Reject::Truncated), "{len}");
    }
}

/// What may be done to a map.
#[derive(Clone, Debug)]
enum Act {
    Put(&'static str, OwnedCell),
    Delete(&'static str, u64),
    Join(&'static str, OwnedCell),
}

const PATHS: [&str; 7] = ["a", "a/b", "a/b/c", "a/d", "a-b", "e/f", "g"];

fn some_path() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&PATHS[..])
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (some_path(), plain_cell()).prop_map(|(path, cell)| Act::Put(path, cell)),
        1 => (some_path(), 1u64..9).prop_map(|(path, stamp)| Act::Delete(path, stamp)),
        3 => (some_path(), plain_cell()).prop_map(|(path, cell)| Act::Join(path, cell)),
    ]
}

/// The same map as a tree of owned bytes, made without any packing.
type Model = BTreeMap<Vec<String>, Vec<u8>>;

fn key(path: Path<'_>) -> Vec<String> {
    path.segments().map(ToString::to_string).collect()
}

fn bytes(cell: &Cell<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    cell.encode(&mut out).unwrap();
    out
}

fn model_put(model: &mut Model, held: Path<'_>, value: Option<Value<'_>>, writer: Writer) {
    let above_or_below = |other: &[String]| {
        let mine = key(held);
        other.starts_with(&mine) || (value.is_some() && mine.starts_with(other))
    };
    let cell = |bytes: &[u8]| Cell::from_bytes(bytes).map(|cell| (cell.stamp, cell.is_live()));
    let met: Vec<_> = model.iter().filter(|(other, _)| above_or_below(other)).collect();
    let met: Vec<_> =
        met.into_iter().map(|(other, old)| (other.clone(), cell(old).unwrap())).collect();
    let counts = |live: bool| live || value.is_some();
    let seen = met.iter().filter(|(_, (_, live))| counts(*live)).map(|(_, (stamp, _))| *stamp);
    let stamp = writer.local.over(seen);
    let Writer { author, role, .. } = writer;
    let new = |content| bytes(&Cell { stamp, author, role, content });
    for (other, _) in met.iter().filter(|(_, (_, live))| *live) {
        model.insert(other.clone(), new(Content::Tombstone));
    }
    if let Some(value) = value {
        model.insert(key(held), new(Content::Value(value)));
    }
}

fn act_on<const BYTES: usize>(map: &mut LwwMap<BYTES>, act: &Act) -> Result<(), Reject> {
    match act {
        Act::Put(at, cell) => {
            let Cell { stamp: local, author, role, .. } = cell.get();
            let value = cell.get().value().unwrap_or(Value::Bool(false));
            map.put(path(at), value, Writer { local, author, role }).map(|_| ())
        }
        Act::Delete(at, stamp) => {
            let local = Stamp(*stamp);
            map.delete(path(at), Writer { local, author: Author([3; 8]), role: Role::Edge });
            Ok(())
        }
        Act::Join(at, cell) => map.join_cell(path(at), &cell.get()).map(|_| ()),
    }
}

fn act_on_model(model: &mut Model, act: &Act) {
    match act {
        Act::Put(at, cell) => {
            let Cell { stamp: local, author, role, .. } = cell.get();
            let value = cell.get().value().unwrap_or(Value::Bool(false));
            model_put(model, path(at), Some(value), Writer { local, author, role });
        }
        Act::Delete(at, stamp) => {
            let writer = Writer { local: Stamp(*stamp), author: Author([3; 8]), role: Role::Edge };
            model_put(model, path(at), None, writer);
        }
        Act::Join(at, cell) => {
            let new = bytes(&cell.get());
            let old = model.entry(key(path(at))).or_insert_with(|| new.clone());
            if Cell::from_bytes(old).unwrap() < cell.get() {
                *old = new;
            }
        }
    }
}

fn as_model<const BYTES: usize>(map: &LwwMap<BYTES>) -> Model {
    map.iter().map(|(path, cell)| (key(path), bytes(&cell))).collect()
}

proptest! {
    #[test]
    fn a_map_does_what_a_plain_tree_does(acts in prop::collection::vec(act(), 0..30)) {
        let (mut map, mut model) = (LwwMap::<4096>::new(), Model::new());
        for act in &acts {
            act_on(&mut map, act).unwrap();
            act_on_model(&mut model, act);
            prop_assert_eq!(&as_model(&map), &model, "after {:?}", act);
        }
        prop_assert!(map.iter().map(|(path, _)| path).is_sorted());
        prop_assert_eq!(LwwMap::from_bytes(map.as_bytes()), Ok(map));
    }

    #[test]
    fn what_does_not_fit_leaves_the_map_as_it_was(acts in prop::collection::vec(act(), 0..30)) {
        let mut map = LwwMap::<100>::new();
        let mut roomy = LwwMap::<4096>::new();
        for act in &acts {
            let before = map.clone();
            roomy.clone_from(&LwwMap::from_bytes(map.as_bytes()).unwrap());
            act_on(&mut roomy, act).unwrap();
            match act_on(&mut map, act) {
                Ok(()) => prop_assert_eq!(map.as_bytes(), roomy.as_bytes()),
                Err(reject) => {
                    prop_assert_eq!(reject, Reject::Full);
                    prop_assert_eq!(&map, &before);
                    prop_assert!(roomy.as_bytes().len() > 100, "there was room");
                }
            }
        }
    }

    #[test]
    fn a_join_that_does_not_fit_changes_nothing_and_one_that_fits_is_whole(
        mine in prop::collection::vec(act(), 0..8), others in prop::collection::vec(act(), 0..8),
    ) {
        let (mut a, mut b) = (LwwMap::<140>::new(), LwwMap::<140>::new());
        mine.iter().for_each(|act| { let _ = act_on(&mut a, act); });
        others.iter().for_each(|act| { let _ = act_on(&mut b, act); });
        let mut roomy = LwwMap::<4096>::from_bytes(a.as_bytes()).unwrap();
        roomy.join(&LwwMap::from_bytes(b.as_bytes()).unwrap()).unwrap();
        let before = a.clone();
        if a.join(&b).is_ok() {
            prop_assert_eq!(a.as_bytes(), roomy.as_bytes());
        } else {
            prop_assert_eq!(a, before);
            prop_assert!(roomy.as_bytes().len() > 140);
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = LwwMap::<64>::from_bytes(&bytes);
    }
}
