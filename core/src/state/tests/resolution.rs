//! Resolution: each rule by example, and that no order or repeat of cells changes an outcome.

use super::super::{
    Author, Cell, Concurrent, Content, Elements, Label, Outcome, Path, PolicyId, Resolved, Role,
    Rule, Shown, Tally, Value, conflict_id, encode_view, resolve,
};
use super::{OwnedCell, some_cell};
use crate::codec::Reader;
use crate::hlc::Stamp;
use proptest::prelude::*;
use std::vec::Vec;

fn cell(stamp: u64, author: u8, role: Role, content: Content<'_>) -> Cell<'_> {
    Cell { stamp: Stamp(stamp), author: Author([author; 8]), role, content }
}

fn int(stamp: u64, author: u8, role: Role, value: i64) -> Cell<'static> {
    cell(stamp, author, role, Content::Value(Value::Int(value)))
}

fn gone(stamp: u64, author: u8) -> Cell<'static> {
    cell(stamp, author, Role::Edge, Content::Tombstone)
}

/// The cells by number: which one is shown, which ones lost, and whether somebody has to choose.
fn outcome(rule: Rule, cells: &[Cell<'_>]) -> (Option<usize>, Vec<usize>, bool) {
    let mut sorted = cells.to_vec();
    let outcome = resolve(Concurrent::sort(&mut sorted), rule);
    let number = |cell: &Cell<'_>| cells.iter().position(|other| other == cell).unwrap();
    let mut losers: Vec<usize> = outcome.losers().map(number).collect();
    losers.sort_unstable();
    (outcome.winner().map(number), losers, outcome.is_open())
}

const HUB: Role = Role::Hub;
const EDGE: Role = Role::Edge;
const DEVICE: Role = Role::Device;

#[test]
fn the_last_writer_wins_by_stamp_then_by_author() {
    let cells = [int(5, 1, HUB, 10), int(7, 1, EDGE, 20), int(7, 2, DEVICE, 5)];
    assert_eq!(outcome(Rule::Lww, &cells), (Some(2), [0, 1].into(), false));
    assert_eq!(outcome(Rule::Lww, &cells[..2]), (Some(1), [0].into(), false));
    assert_eq!(outcome(Rule::Lww, &[int(5, 1, HUB, 1), gone(6, 2)]), (Some(1), [0].into(), false));
    assert_eq!(outcome(Rule::Lww, &[]), (None, [].into(), false));
}

#[test]
fn the_greatest_and_the_least_value_win_whenever_they_were_written() {
    let cells = [int(5, 1, HUB, 10), int(7, 1, EDGE, 20), int(9, 2, DEVICE, 5), gone(99, 3)];
    assert_eq!(outcome(Rule::Max, &cells), (Some(1), [0, 2, 3].into(), false));
    assert_eq!(outcome(Rule::Min, &cells), (Some(2), [0, 1, 3].into(), false));
    assert_eq!(outcome(Rule::Min, &[gone(1, 1), gone(2, 2)]).0, Some(1), "all deleted it");
    let float = |stamp, value| cell(stamp, 1, EDGE, Content::Value(Value::float(value).unwrap()));
    // Equal as numbers: then the last writer's stays.
    assert_eq!(outcome(Rule::Max, &[int(5, 1, EDGE, 3), float(4, 3.0)]).0, Some(0));
    assert_eq!(outcome(Rule::Min, &[int(5, 1, EDGE, 3), float(6, 3.0)]).0, Some(1));
    assert_eq!(outcome(Rule::Min, &[int(5, 1, EDGE, 3), float(4, 2.5)]).0, Some(1));
}

#[test]
fn one_side_wins_where_that_is_declared_and_the_last_of_it_where_there_are_two() {
    let cells = [int(1, 1, HUB, 1), int(2, 2, HUB, 2), int(8, 3, EDGE, 3), int(9, 4, DEVICE, 4)];
    assert_eq!(outcome(Rule::HubWins, &cells), (Some(1), [0, 2, 3].into(), false));
    assert_eq!(outcome(Rule::HubWins, &cells[2..]).0, Some(1), "no hub took part");
    assert_eq!(outcome(Rule::EdgeWins, &cells[..3]), (Some(2), [0, 1].into(), false));
    assert_eq!(outcome(Rule::EdgeWins, &cells).0, Some(3), "a device is at the site, too");
    let late_hub = [int(99, 1, HUB, 1), int(2, 3, EDGE, 3)];
    assert_eq!(outcome(Rule::EdgeWins, &late_hub).0, Some(1));
}

#[test]
fn what_is_to_be_chosen_by_a_person_stays_open_until_all_say_the_same() {
    let cells = [int(5, 1, HUB, 10), int(7, 2, EDGE, 20), gone(6, 3)];
    assert_eq!(outcome(Rule::KeepAll, &cells), (Some(1), [].into(), true));
    let mut sorted = cells;
    let outcome_of = resolve(Concurrent::sort(&mut sorted), Rule::KeepAll);
    let choices: Vec<_> = outcome_of.choices().copied().collect();
    assert_eq!(choices, [cells[1], cells[2], cells[0]], "the shown one first, then the latest");
    let agreed = [int(5, 1, HUB, 10), int(7, 2, EDGE, 10)];
    assert_eq!(outcome(Rule::KeepAll, &agreed), (Some(1), [].into(), false));
    assert_eq!(outcome(Rule::Lww, &agreed), (Some(1), [].into(), false), "nothing was lost");
}

#[test]
fn counters_are_summed_over_their_authors() {
    let part = |stamp, author, plus, minus| {
        cell(stamp, author, EDGE, Content::Counter(Tally { plus, minus }))
    };
    let shown = |cells: &[Cell<'static>]| {
        let mut cells = cells.to_vec();
        match resolve(Concurrent::sort(&mut cells), Rule::Counter).shown() {
            Shown::Counter(total) => Some(total),
            _ => None,
        }
    };
    assert_eq!(shown(&[part(1, 1, 5, 0), part(2, 2, 3, 4)]), Some(4));
    // A restored copy of author 1 counted on from an old state: both are states of one tally.
    assert_eq!(shown(&[part(1, 1, 5, 1), part(9, 1, 4, 2), part(2, 2, 3, 0)]), Some(6));
    assert_eq!(shown(&[part(1, 1, 5, 0), gone(3, 2)]), Some(5), "a counter is not deleted");
    assert_eq!(shown(&[gone(3, 2)]), None);
    assert_eq!(shown(&[]), None);
    let misfit = int(9, 2, HUB, 77);
    assert_eq!(shown(&[part(1, 1, 5, 0), misfit]), Some(5));
    assert_eq!(outcome(Rule::Counter, &[part(1, 1, 5, 0), misfit]), (None, [1].into(), false));
    assert_eq!(outcome(Rule::Lww, &[part(11, 1, 5, 0), misfit]), (Some(1), [0].into(), false));
}

fn set(items: &[(i64, u16)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let items = items.iter().map(|(int, length)| (Value::Int(*int), *length));
    Elements::encode(items, &mut bytes).unwrap();
    bytes
}

fn elements(bytes: &[u8]) -> Content<'_> {
    Content::Set(Elements::read(&mut Reader::new(bytes)).unwrap())
}

#[test]
fn sets_are_joined_over_their_authors() {
    let (a, b) = (set(&[(1, 1), (2, 1), (3, 3)]), set(&[(2, 2), (4, 1), (5, 2)]));
    let mut cells = [cell(1, 1, EDGE, elements(&a)), cell(2, 2, HUB, elements(&b))];
    let outcome = resolve(Concurrent::sort(&mut cells), Rule::Set);
    assert_eq!(outcome.shown(), Shown::Set);
    let union = outcome.union();
    let lengths: Vec<_> = union.clone().map(|(_, length)| length).collect();
    assert_eq!(lengths, [1, 2, 3, 1, 2]);
    let present: Vec<_> = union.present().collect();
    assert_eq!(present, [1, 3, 4].map(Value::Int));
    assert_eq!(outcome.label(|_| true), Some(Label::Merge));
}

#[test]
fn a_conflict_is_labelled_as_its_node_sees_it() {
    let cells = [int(5, 1, HUB, 10), int(7, 2, EDGE, 20)];
    let label = |rule, cells: &[Cell<'static>], local: u8| {
        let mut cells = cells.to_vec();
        let outcome: Outcome<'_, '_> = resolve(Concurrent::sort(&mut cells), rule);
        outcome.label(|cell| cell.author == Author([local; 8])).map(Label::name)
    };
    assert_eq!(label(Rule::Lww, &cells, 2), Some("use_local"));
    assert_eq!(label(Rule::Lww, &cells, 1), Some("use_remote"));
    assert_eq!(label(Rule::HubWins, &cells, 1), Some("use_local"));
    assert_eq!(label(Rule::KeepAll, &cells, 1), None, "it is still open");
    assert_eq!(label(Rule::Lww, &cells[..1], 1), None, "there was none");
}

#[test]
fn a_conflict_is_named_by_its_place_and_its_writes() {
    let id = |document: &str, path: &str, cells: &[Cell<'static>]| {
        let mut cells = cells.to_vec();
        let outcome = resolve(Concurrent::sort(&mut cells), Rule::Lww);
        let path = Path::new(path).unwrap();
        let resolved = Resolved { path, outcome, is_hidden: false };
        conflict_id(Path::new(document).unwrap(), &resolved)
    };
    let cells = [int(5, 1, HUB, 10), int(7, 2, EDGE, 20)];
    let name = id("device/p1/desired", "net/ip", &cells);
    assert_eq!(std::format!("{name}"), "a52688db2457f6ed99a9f20a3d191101");
    assert_eq!(name, id("device/p1/desired", "net/ip", &[cells[1], cells[0], cells[1]]));
    assert_ne!(name, id("device/p1/desired", "net/gw", &cells));
    assert_ne!(name, id("device/p1/reported", "net/ip", &cells));
    assert_ne!(name, id("device/p1/desired", "net/ip", &cells[..1]));
}

fn rule() -> impl Strategy<Value = Rule> {
    prop::sample::select(&Rule::ALL[..])
}

fn shuffled() -> impl Strategy<Value = (Vec<OwnedCell>, Vec<usize>)> {
    let cells = prop::collection::vec(some_cell(), 1..7);
    cells.prop_flat_map(|cells| {
        let order: Vec<usize> = (0..cells.len()).chain(0..cells.len()).collect();
        // Every cell once or twice, in any order.
        let extra = 0..=cells.len();
        let order = (Just(order), extra)
            .prop_map(|(order, extra)| order[..order.len() / 2 + extra].to_vec());
        (Just(cells), order.prop_shuffle())
    })
}

fn bytes_of(cells: Concurrent<'_, '_>, rule: Rule) -> Vec<u8> {
    let resolved =
        Resolved { path: Path::new("p").unwrap(), outcome: resolve(cells, rule), is_hidden: false };
    let mut out = Vec::new();
    let document = Path::new("d").unwrap();
    encode_view(document, PolicyId([0; 16]), core::iter::once(resolved), &mut out).unwrap();
    out
}

proptest! {
    #[test]
    fn order_and_repeats_change_nothing((cells, order) in shuffled(), rule in rule()) {
        let mut straight: Vec<_> = cells.iter().map(OwnedCell::get).collect();
        let mut other: Vec<_> = order.iter().map(|&at| cells[at].get()).collect();
        let (a, b) = (Concurrent::sort(&mut straight), Concurrent::sort(&mut other));
        prop_assert_eq!(a.as_slice(), b.as_slice());
        prop_assert_eq!(resolve(a, rule), resolve(b, rule));
        prop_assert_eq!(bytes_of(a, rule), bytes_of(b, rule));
    }

    #[test]
    fn every_cell_is_shown_or_lost_or_to_be_chosen_or_says_the_same(
        cells in prop::collection::vec(some_cell(), 1..7), rule in rule(),
    ) {
        let mut cells: Vec<_> = cells.iter().map(OwnedCell::get).collect();
        let outcome = resolve(Concurrent::sort(&mut cells), rule);
        let lost: Vec<_> = outcome.losers().collect();
        let chosen: Vec<_> = outcome.choices().collect();
        for cell in outcome.cells() {
            let winner = outcome.winner();
            let says_the_same = winner.is_some_and(|winner| winner.content == cell.content);
            let is_part = rule.is_type() && !matches!(cell.content, Content::Value(_));
            let places = [lost.contains(&cell), chosen.contains(&cell), says_the_same || is_part];
            prop_assert!(places.contains(&true), "{:?} is nowhere", cell);
            prop_assert!(!(places[0] && (places[1] || winner == Some(cell))), "{:?}", cell);
        }
    }

    #[test]
    fn unions_are_what_a_plain_map_says(
        parts in prop::collection::vec(prop::collection::btree_map(-9i64..9, 1u16..9, 0..9), 1..9),
    ) {
        let bytes: Vec<_> = parts
            .iter()
            .map(|part| set(&part.iter().map(|(int, length)| (*int, *length)).collect::<Vec<_>>()))
            .collect();
        let cells = bytes.iter().zip(1u8..);
        let mut cells: Vec<_> =
            cells.map(|(bytes, n)| cell(u64::from(n), n, EDGE, elements(bytes))).collect();
        let mut model = std::collections::BTreeMap::new();
        for (int, length) in parts.iter().flatten() {
            let held = model.entry(*int).or_insert(0);
            *held = (*length).max(*held);
        }
        let outcome = resolve(Concurrent::sort(&mut cells), Rule::Set);
        let expected: Vec<_> =
            model.into_iter().map(|(int, length)| (Value::Int(int), length)).collect();
        prop_assert_eq!(outcome.union().collect::<Vec<_>>(), expected);
    }
}

/// The 65th author cannot be told to have written nothing, so all replicas leave out the same one.
#[test]
fn one_author_too_many_is_left_out_alike_everywhere() {
    let bytes: Vec<_> = (0..65).map(|n| set(&[(n, 1)])).collect();
    let cells = bytes.iter().zip(1u8..);
    let cells: Vec<_> =
        cells.map(|(bytes, n)| cell(u64::from(n), n, EDGE, elements(bytes))).collect();
    let shown = |mut cells: Vec<Cell<'_>>| {
        let outcome = resolve(Concurrent::sort(&mut cells), Rule::Set);
        outcome.union().present().map(|value| std::format!("{value:?}")).collect::<Vec<_>>()
    };
    let straight = shown(cells.clone());
    assert_eq!(straight.len(), 64);
    assert_eq!(straight, shown(cells.into_iter().rev().collect()));
}
