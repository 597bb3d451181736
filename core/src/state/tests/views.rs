//! Views of whole documents: what hides what, and digests that tell apart what shows differently
//! and nothing else.

use super::super::{
    Author, Cell, Concurrent, Content, Line, LwwMap, Path, Pattern, Policy, PolicyId, Resolved,
    Role, Rule, Tally, Value, View, Writer, digest, encode_view, resolve,
};
use super::{OwnedCell, some_cell};
use crate::hlc::Stamp;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::format;
use std::string::String;
use std::vec::Vec;

const DOCUMENT: &str = "device/pump-1/desired";

fn path(text: &str) -> Path<'_> {
    Path::new(text).unwrap()
}

fn int(stamp: u64, value: i64) -> Cell<'static> {
    cell(stamp, Content::Value(Value::Int(value)))
}

fn cell(stamp: u64, content: Content<'_>) -> Cell<'_> {
    Cell { stamp: Stamp(stamp), author: Author([1; 8]), role: Role::Edge, content }
}

/// The visible paths of a document with one cell each.
fn visible(cells: &[(&'static str, Cell<'static>)]) -> Vec<&'static str> {
    let mut cells = cells.to_vec();
    cells.sort_unstable_by_key(|(at, _)| path(at));
    let entries = cells.iter().map(|(at, cell)| (path(at), Concurrent::one(*cell)));
    let view = View::new(entries, |_| Rule::Lww);
    view.filter(Resolved::is_in_view).map(|resolved| resolved.path.as_str()).collect()
}

#[test]
fn the_later_one_of_a_path_and_a_path_below_it_is_seen() {
    assert_eq!(visible(&[("net", int(5, 1)), ("net/ip", int(7, 2))]), ["net/ip"]);
    assert_eq!(visible(&[("net", int(9, 1)), ("net/ip", int(7, 2))]), ["net"]);
    assert_eq!(visible(&[("net", int(9, 1)), ("net-x", int(7, 2))]), ["net", "net-x"]);
    assert_eq!(visible(&[("a", int(7, 1)), ("a/b/c/d", int(7, 2))]), ["a/b/c/d"], "more precise");
}

/// `a` was an object with `c`, then a number, then an object with `b`: nobody wants `c` back.
#[test]
fn what_is_hidden_itself_goes_on_hiding_what_it_replaced() {
    let cells = [("a", int(5, 1)), ("a/b", int(7, 2)), ("a/c", int(4, 3)), ("a/d", int(6, 4))];
    assert_eq!(visible(&cells), ["a/b", "a/d"]);
}

#[test]
fn a_deletion_hides_nothing_above_or_below() {
    let gone = |stamp| cell(stamp, Content::Tombstone);
    assert_eq!(visible(&[("a", gone(9)), ("a/b", int(7, 2))]), ["a/b"]);
    assert_eq!(visible(&[("a", int(7, 2)), ("a/b", gone(9))]), ["a"]);
}

/// Under `max` a cell wins that is older than one it has not seen. The path was still written by
/// both, so a path above that was written in between does not hide it.
#[test]
fn a_path_is_as_late_as_the_last_of_its_live_cells() {
    let mut below = [int(5, 9), int(7, 3)];
    let entries =
        [(path("a"), Concurrent::one(int(6, 1))), (path("a/b"), Concurrent::sort(&mut below))];
    let view = View::new(entries.iter().copied(), |_| Rule::Max);
    let seen: Vec<_> = view.filter(Resolved::is_in_view).collect();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].path, path("a/b"));
    assert_eq!(seen[0].outcome.winner(), Some(&int(5, 9)));
}

/// The vector of `docs/formats/cell.md`.
#[test]
fn golden_vectors() {
    let head = |stamp| (Stamp::new(1_700_000_000_000, stamp), Author([1, 2, 3, 4, 5, 6, 7, 8]));
    let cell = |counter, role, content| {
        let (stamp, author) = head(counter);
        Cell { stamp, author, role, content }
    };
    let value = |value| Content::Value(Value::Int(value));
    let mut open = [cell(1, Role::Hub, value(1)), cell(2, Role::Edge, value(2))];
    let entries = [
        (path("mode"), Concurrent::sort(&mut open)),
        (path("off"), Concurrent::one(cell(4, Role::Hub, Content::Tombstone))),
        (
            path("starts"),
            Concurrent::one(cell(3, Role::Device, Content::Counter(Tally { plus: 7, minus: 2 }))),
        ),
    ];
    let lines = [
        Line { document: Pattern::ALL, path: Pattern::new("mode").unwrap(), rule: Rule::KeepAll },
        Line { document: Pattern::ALL, path: Pattern::new("starts").unwrap(), rule: Rule::Counter },
    ];
    let mut bytes = Vec::new();
    Policy::encode(&lines, &mut bytes).unwrap();
    let policy = Policy::from_bytes(&bytes).unwrap();
    let view = View::new(entries.iter().copied(), |at| policy.rule(path(DOCUMENT), at));
    let mut out = Vec::new();
    encode_view(path(DOCUMENT), policy.id(), view.clone(), &mut out).unwrap();
    let time = b"\x00\x68\xe5\xcf\x8b\x01\x01\x02\x03\x04\x05\x06\x07\x08";
    let golden = [
        b"\x01",
        &policy.id().0[..],
        b"\x15device/pump-1/desired",
        b"\x04mode\x03\x02",
        b"\x13\x01\x05\x02\x00",
        time,
        b"\x04",
        b"\x13\x01\x04\x01\x00",
        time,
        b"\x02",
        b"\x06starts\x01\x03\x00",
        time,
        b"\x0a",
    ]
    .concat();
    assert_eq!(out, golden);
    let hashed = digest(path(DOCUMENT), policy.id(), view);
    assert_eq!(
        format!("{hashed}"),
        "c643d3ef9be40470872e310092e506e9657b353344618d76ee0c31c0a04270c8"
    );
}

/// A device and a gateway hold the same document in different ways.
#[test]
fn a_device_shows_what_its_gateway_shows() {
    let mut map = LwwMap::<512>::new();
    let writer = Writer { local: Stamp(5), author: Author([1; 8]), role: Role::Device };
    for (at, value) in [("a", 1), ("a/b", 2), ("c", 3)] {
        map.put(path(at), Value::Int(value), writer).unwrap();
    }
    map.join_cell(path("c/d"), &int(1, 4)).unwrap();
    let of_device = map.iter().map(|(at, cell)| (at, Concurrent::one(cell)));
    let of_device = View::new(of_device, |_| Rule::Lww);
    let mut cells: Vec<_> = map.iter().map(|(at, cell)| (at, [cell, cell])).collect();
    let of_gateway: Vec<_> =
        cells.iter_mut().map(|(at, cells)| (*at, Concurrent::sort(cells))).collect();
    let of_gateway = View::new(of_gateway.iter().copied(), |_| Rule::Lww);
    let policy = Policy::LWW.id();
    let shown: Vec<_> =
        of_device.clone().filter(Resolved::is_in_view).map(|seen| seen.path.as_str()).collect();
    assert_eq!(shown, ["a/b", "c"]);
    assert_eq!(
        digest(path(DOCUMENT), policy, of_device),
        digest(path(DOCUMENT), policy, of_gateway)
    );
}

type Drawn = BTreeMap<usize, Vec<OwnedCell>>;

const PATHS: [&str; 8] = ["a", "a/b", "a/b/c", "a/b/d", "a/e", "a-b", "f", "f/a"];

fn drawn() -> impl Strategy<Value = Drawn> {
    prop::collection::btree_map(0..PATHS.len(), prop::collection::vec(some_cell(), 1..4), 0..8)
}

/// Rules that differ from path to path.
fn rule_of(path: Path<'_>) -> Rule {
    Rule::ALL[path.as_str().bytes().map(usize::from).sum::<usize>() % 8]
}

/// Cells of each path in the order `turn` gives them.
fn documents(drawn: &Drawn, turn: bool) -> Vec<(Path<'static>, Vec<Cell<'_>>)> {
    let mut all: Vec<_> = drawn
        .iter()
        .map(|(at, cells)| {
            let mut cells: Vec<_> = cells.iter().map(OwnedCell::get).collect();
            if turn {
                cells.reverse();
                cells.push(cells[0]);
            }
            (path(PATHS[*at]), cells)
        })
        .collect();
    all.sort_unstable_by_key(|(at, _)| *at);
    all
}

fn digest_of(document: &mut [(Path<'static>, Vec<Cell<'_>>)]) -> String {
    let entries: Vec<_> =
        document.iter_mut().map(|(at, cells)| (*at, Concurrent::sort(cells))).collect();
    let view = View::new(entries.iter().copied(), rule_of);
    format!("{}", digest(path(DOCUMENT), PolicyId([1; 16]), view))
}

proptest! {
    #[test]
    fn a_path_is_hidden_by_any_later_one_above_or_below(drawn in drawn()) {
        let mut document = documents(&drawn, false);
        let entries: Vec<_> =
            document.iter_mut().map(|(at, cells)| (*at, Concurrent::sort(cells))).collect();
        let write = |at: Path<'static>| {
            let (_, cells) = entries.iter().find(|(other, _)| *other == at).unwrap();
            resolve(*cells, rule_of(at)).last_write()
        };
        for resolved in View::new(entries.iter().copied(), rule_of) {
            let mine = write(resolved.path);
            let hides = |(other, _): &(Path<'static>, _)| {
                let later = (write(*other), other.is_below(resolved.path)) > (mine, false);
                mine.is_some() && *other != resolved.path && other.meets(resolved.path) && later
            };
            prop_assert_eq!(resolved.is_hidden, entries.iter().any(hides), "{}", resolved.path);
        }
    }

    #[test]
    fn order_and_repeats_of_cells_leave_the_digest(drawn in drawn()) {
        let digest = digest_of(&mut documents(&drawn, false));
        prop_assert_eq!(digest, digest_of(&mut documents(&drawn, true)));
    }

    #[test]
    fn what_is_deleted_or_lost_is_not_in_the_digest_and_what_is_seen_is(drawn in drawn()) {
        let mut document = documents(&drawn, false);
        let before = digest_of(&mut document);
        let entries: Vec<_> =
            document.iter_mut().map(|(at, cells)| (*at, Concurrent::sort(cells))).collect();
        // As an epoch would keep it: what is in the view, and its winners.
        let mut kept = Vec::new();
        for resolved in View::new(entries.iter().copied(), rule_of).filter(Resolved::is_in_view) {
            let lost: Vec<_> = resolved.outcome.losers().collect();
            let stays = |cell: &&Cell<'_>| !lost.contains(cell);
            let cells: Vec<_> = resolved.outcome.cells().iter().filter(stays).copied().collect();
            kept.push((resolved.path, cells));
        }
        prop_assert_eq!(&digest_of(&mut kept.clone()), &before);
        if let Some((at, _)) = kept.first() {
            let fewer: Vec<_> = kept.iter().filter(|(other, _)| other != at).cloned().collect();
            prop_assert_ne!(&digest_of(&mut fewer.clone()), &before, "a path is missing");
        }
    }
}
