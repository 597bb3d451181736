//! A device that reports with its own stamps, wherever it is.

use super::pair::{Node, exchange};
use crate::docs::limits::{KEYS_MAX, LIVE_KEYS};
use crate::docs::{Contents, DocumentName, Documents, Joined, Refusal};
use crate::store::WriteError;
use holdfast_core::hlc::Stamp;
use holdfast_core::state::{
    Author, Cell, Content, LwwMap, Path, Policy, Records, Resolved, Role, Value, Writer, put_record,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What the clock of the gateway that is right says.
const NOW: u64 = 1_790_000_000_000;
const YEAR: u64 = 365 * 86_400_000;

fn name() -> DocumentName {
    DocumentName::new("device/pump-1/reported").unwrap()
}

fn device() -> Author {
    name().device_author().unwrap()
}

fn gateway(seed: u8, clock_ms: u64) -> Node {
    let mut node = Node::new(seed, Role::Edge);
    node.clock_ms = clock_ms;
    node
}

/// A cell of the device, a tombstone where no value is given.
fn cell(stamp: u64, value: Option<i64>) -> Cell<'static> {
    let content = value.map_or(Content::Tombstone, |int| Content::Value(Value::Int(int)));
    Cell { stamp: Stamp(stamp), author: device(), role: Role::Device, content }
}

fn join(node: &mut Node, cells: &[(&str, Cell<'_>)]) -> Result<Joined, WriteError> {
    let mut bytes = Vec::new();
    for (path, cell) in cells {
        put_record(&mut bytes, Path::new(path).unwrap(), cell).unwrap();
    }
    let clock = Stamp::new(node.clock_ms, 0);
    let cells = Records::read(&bytes).unwrap();
    node.documents.join(&mut node.records, &name(), clock, cells)
}

/// What a node shows, each value with its stamp.
fn shown(node: &Node) -> BTreeMap<String, (i64, u64)> {
    let contents = Contents::read(&node.records, &name()).unwrap();
    contents.view(&name(), &Policy::LWW, |view| {
        let live = view.filter(Resolved::is_in_view);
        live.map(|resolved| {
            let cell = resolved.outcome.winner().unwrap();
            let Some(Value::Int(int)) = cell.value() else { panic!("all are integers") };
            (resolved.path.as_str().to_owned(), (int, cell.stamp.0))
        })
        .collect()
    })
}

fn of(rows: &[(&str, i64, u64)]) -> BTreeMap<String, (i64, u64)> {
    rows.iter().map(|(path, int, stamp)| ((*path).to_owned(), (*int, *stamp))).collect()
}

/// Under the gateways' clocks, what the device had said at the one that is a year ahead would have
/// won over what it said later.
#[test]
fn a_device_that_moves_between_gateways_comes_to_what_it_said_last() {
    let mut hub = Node::new(1, Role::Hub);
    let (mut ahead, mut right) = (gateway(2, NOW + YEAR), gateway(3, NOW));
    join(&mut ahead, &[("gone", cell(10, Some(1))), ("level", cell(10, Some(1)))]).unwrap();
    join(&mut ahead, &[("first", cell(11, Some(1)))]).unwrap();
    let joined =
        join(&mut right, &[("gone", cell(20, None)), ("level", cell(21, Some(2)))]).unwrap();
    assert!(!joined.is_stale, "nothing of it is here yet");
    // It goes back before the two have heard of each other.
    join(&mut ahead, &[("level", cell(22, Some(3)))]).unwrap();
    join(&mut right, &[("last", cell(23, Some(4)))]).unwrap();
    for _ in 0..2 {
        let mut nodes = [hub, ahead];
        exchange(&mut nodes);
        [hub, ahead] = nodes;
        let mut nodes = [hub, right];
        exchange(&mut nodes);
        [hub, right] = nodes;
    }
    let expected = of(&[("first", 1, 11), ("last", 4, 23), ("level", 3, 22)]);
    for node in [&hub, &ahead, &right] {
        assert_eq!(shown(node), expected);
    }
    // What it says next is joined wherever it is.
    let joined = join(&mut right, &[("level", cell(30, Some(5)))]).unwrap();
    assert_eq!((joined.is_stale, joined.above), (false, Stamp(30)));
    assert_eq!(shown(&right)["level"], (5, 30));
}

#[test]
fn what_comes_again_changes_nothing_and_is_not_stale() {
    let mut node = gateway(2, NOW);
    let cells = [("a", cell(10, Some(1))), ("b", cell(11, None))];
    let first = join(&mut node, &cells).unwrap();
    assert!(first.written.change.is_some() && !first.is_stale);
    let again = join(&mut node, &cells).unwrap();
    assert_eq!((again.written.change, again.is_stale, again.above), (None, false, Stamp(11)));
    assert_eq!(again.written.position, first.written.position);
    // In pieces as well.
    let half = join(&mut node, &cells[..1]).unwrap();
    assert_eq!((half.written.change, half.is_stale), (None, false));
}

#[test]
fn a_device_that_began_anew_is_told_above_what_to_stamp() {
    let mut node = gateway(2, NOW);
    join(&mut node, &[("a", cell(1_000, Some(1))), ("net", cell(900, Some(2)))]).unwrap();
    let joined = join(&mut node, &[("a", cell(5, Some(7))), ("b", cell(6, Some(8)))]).unwrap();
    assert_eq!((joined.is_stale, joined.above), (true, Stamp(1_000)));
    assert_eq!(shown(&node), of(&[("a", 1, 1_000), ("b", 8, 6), ("net", 2, 900)]));
    // The same content is nothing to be stamped anew.
    assert!(!join(&mut node, &[("a", cell(7, Some(1)))]).unwrap().is_stale);
    // What a later value above it hides is not seen, and so is told too.
    let hidden = join(&mut node, &[("net/ip", cell(8, Some(9)))]).unwrap();
    assert_eq!((hidden.is_stale, hidden.above), (true, Stamp(1_000)));
    let anew = [("a", cell(1_001, Some(7))), ("net/ip", cell(1_001, Some(9)))];
    let joined = join(&mut node, &anew).unwrap();
    assert_eq!((joined.is_stale, joined.above), (false, Stamp(1_001)));
    assert_eq!(shown(&node), of(&[("a", 7, 1_001), ("b", 8, 6), ("net/ip", 9, 1_001)]));
}

#[test]
fn only_the_device_s_own_cells_are_taken_and_only_at_a_gateway() {
    let mut node = gateway(2, NOW);
    let own = cell(1, Some(1));
    for foreign in [
        Cell { author: Author::node(&node.key.id()), ..own },
        Cell { role: Role::Edge, ..own },
        Cell { author: Author([7; 8]), ..own },
    ] {
        let refused = join(&mut node, &[("a", own), ("b", foreign)]);
        assert!(matches!(refused, Err(WriteError::Document(Refusal::Author))), "{refused:?}");
    }
    assert!(Documents::status(&node.records, &name()).unwrap().is_none(), "nothing of it");
    let mut hub = Node::new(1, Role::Hub);
    let refused = join(&mut hub, &[("a", own)]);
    assert!(matches!(refused, Err(WriteError::Document(Refusal::Author))), "{refused:?}");
}

/// More keys than others take would keep the document from them for good.
#[test]
fn a_document_stays_one_that_others_take() {
    let mut node = gateway(2, NOW);
    let fill = |node: &mut Node, what: Option<i64>, first: u64, count: u64| {
        let paths: Vec<_> = (first..first + count).map(|n| format!("p{n:05}")).collect();
        let cells: Vec<_> = paths.iter().map(|path| (path.as_str(), cell(1, what))).collect();
        join(node, &cells).map(drop)
    };
    fill(&mut node, Some(1), 0, LIVE_KEYS).unwrap();
    let more = fill(&mut node, Some(1), LIVE_KEYS, 1);
    assert!(matches!(more, Err(WriteError::Document(Refusal::Keys))), "{more:?}");
    for first in (LIVE_KEYS..KEYS_MAX).step_by(100) {
        fill(&mut node, None, first, 100).unwrap();
    }
    let more = fill(&mut node, None, KEYS_MAX, 1);
    assert!(matches!(more, Err(WriteError::Document(Refusal::Count))), "{more:?}");
    let mut nodes = [Node::new(1, Role::Hub), node];
    exchange(&mut nodes);
    assert_eq!(nodes[0].contents(), nodes[1].contents());
}

/// A write or a deletion at one of a few paths, and at which of two gateways it is handed on.
type Step = (u8, Option<i64>, bool);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Whatever a device does, and at whichever gateway, they come to its own map.
    #[test]
    fn gateways_come_to_the_map_of_the_device(
        steps in prop::collection::vec((0u8..5, any::<Option<i64>>(), any::<bool>()), 1..12),
    ) {
        let steps: Vec<Step> = steps;
        let mut map = LwwMap::<2048>::new();
        let mut hub = Node::new(1, Role::Hub);
        let (mut ahead, mut right) = (gateway(2, NOW + YEAR), gateway(3, NOW));
        for (number, (path, what, at)) in steps.iter().enumerate() {
            let path = Path::new(["a", "a/b", "a/b/c", "d", "d/e"][usize::from(*path)]).unwrap();
            let local = Stamp(number as u64 + 1);
            let writer = Writer { local, author: device(), role: Role::Device };
            let stamp = match what {
                Some(int) => Some(map.put(path, Value::Int(*int), writer).unwrap()),
                None => map.delete(path, writer),
            };
            let changed: Vec<_> =
                map.iter().filter(|(_, cell)| Some(cell.stamp) == stamp).collect();
            let cells: Vec<_> = changed.iter().map(|(path, cell)| (path.as_str(), *cell)).collect();
            let joined = join(if *at { &mut ahead } else { &mut right }, &cells).unwrap();
            prop_assert!(!joined.is_stale);
        }
        for _ in 0..2 {
            let mut nodes = [hub, ahead];
            exchange(&mut nodes);
            [hub, ahead] = nodes;
            let mut nodes = [hub, right];
            exchange(&mut nodes);
            [hub, right] = nodes;
        }
        let own: BTreeMap<_, _> = map
            .iter()
            .filter_map(|(path, cell)| match cell.value()? {
                Value::Int(int) => Some((path.as_str().to_owned(), (int, cell.stamp.0))),
                _ => None,
            })
            .collect();
        for node in [&hub, &ahead, &right] {
            prop_assert_eq!(&shown(node), &own);
        }
    }
}
