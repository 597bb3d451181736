//! Histories that are cut and folded: nothing changes but that they are short, whoever was late or
//! put back.

use super::pair::{Cost, Link, Node, Two, device, exchange, pair, rand};
use crate::docs::cut::{Cut, base};
use crate::docs::engine::Engine;
use crate::docs::epoch::Taken;
use crate::docs::exchange::Incoming;
use crate::docs::limits::{DELETIONS_REMEMBERED, REMEMBERED_MS};
use crate::docs::records::{Keyed, cells};
use crate::docs::{Contents, DocumentName, Documents, Judge, Refusal, What, audit, mend};
use crate::identity::NodeKey;
use crate::store::memory::Memory;
use crate::store::{ReadRecords as _, Records as _, Table, WriteError};
use holdfast_core::hlc::Stamp;
use holdfast_core::state::{Author, Cell, Content, Path, Policy, Role, Value};

const CUT_AT: u64 = 20;

fn cutting() -> [Node; 2] {
    let [hub, edge] = pair();
    [hub.cutting_at(CUT_AT), edge.cutting_at(CUT_AT)]
}

fn name() -> DocumentName {
    DocumentName::new(&device(0)).unwrap()
}

fn epoch(node: &Node) -> u64 {
    Documents::status(&node.records, &name()).unwrap().map_or(0, |status| status.epoch)
}

/// What is there but for keys at which all is deleted.
fn live(node: &Node) -> Vec<(String, Vec<Vec<u8>>)> {
    let contents = Contents::read(&node.records, &name()).unwrap();
    let is_live = |cell: &Vec<u8>| Cell::from_bytes(cell).unwrap().is_live();
    let kept = contents.iter().filter(|(_, cells)| cells.iter().any(is_live));
    kept.map(|(key, cells)| (key.to_owned(), cells.to_vec())).collect()
}

fn at(node: &Node, path: &str) -> Vec<Vec<u8>> {
    live(node).into_iter().find(|(key, _)| key == path).map(|(_, cells)| cells).unwrap_or_default()
}

/// Until both have the same and nothing is cut any more.
fn rest(nodes: &mut [Node; 2]) {
    exchange(nodes);
    exchange(nodes);
    assert_eq!(exchange(nodes), Cost::default());
    assert_eq!(nodes[0].contents(), nodes[1].contents());
    assert_eq!(epoch(&nodes[0]), epoch(&nodes[1]));
    for node in nodes {
        audit(&mut node.records, name().as_str()).unwrap();
    }
}

/// The same writes with and without cuts leave the same cells, stamps and authors included, those
/// that have not seen each other too.
#[test]
fn what_is_there_is_the_same_as_if_nothing_had_been_cut() {
    let (mut cut, mut whole) = (cutting(), pair());
    for round in 0..60 {
        for nodes in [&mut cut, &mut whole] {
            let mut random = round;
            for node in nodes.iter_mut() {
                // A deletion that is forgotten no longer drives the stamps above its own.
                node.clock_ms += 1_000;
                for _ in 0..3 {
                    let path = format!("p{}", rand(&mut random) % 7);
                    let value = rand(&mut random) as i64 % 100;
                    match rand(&mut random) % 4 {
                        0 => node.edit(&device(0), &path, What::Delete),
                        _ => node.put(&device(0), &path, value),
                    }
                }
            }
            exchange(nodes);
            exchange(nodes);
        }
        assert_eq!(live(&cut[0]), live(&whole[0]));
    }
    rest(&mut cut);
    rest(&mut whole);
    assert_eq!(live(&cut[0]), live(&whole[0]));
    assert!(epoch(&cut[0]) > 5, "{}", epoch(&cut[0]));
    assert!(changes(&cut[0]) < 2 * CUT_AT && changes(&whole[0]) > 100);
}

/// A history of exactly as many changes as are needed for a cut, in both.
fn nearly_cut() -> [Node; 2] {
    let mut nodes = cutting();
    for n in 1..CUT_AT as i64 {
        nodes[0].put(&device(0), "a", n);
    }
    nodes[0].put(&device(0), "b", 1);
    nodes[0].put(&device(0), "keep", 1);
    nodes
}

/// The gateway has said that it has just what the hub has, and writes on before the hub cuts.
#[test]
fn what_was_written_beyond_a_cut_is_there_after_it_as_it_was() {
    let mut nodes = nearly_cut();
    let mut link = Link::new(&mut nodes, 1);
    link.gather(&mut nodes, 0);
    while link.deliver(&mut nodes, 0) {}
    nodes[1].put(&device(0), "a", 100);
    nodes[1].edit(&device(0), "keep", What::Delete);
    nodes[1].put(&device(0), "new", 5);
    let paths = ["a", "b", "new"];
    let before: Vec<_> = paths.map(|path| at(&nodes[1], path)).into();
    while epoch(&nodes[0]) == 0 {
        assert!(link.deliver(&mut nodes, 1), "it is cut when the gateway's word arrives");
    }
    assert_eq!(at(&nodes[0], "new").len(), 0);
    link.settle(&mut nodes);
    rest(&mut nodes);
    assert_eq!(epoch(&nodes[1]), 1);
    let after: Vec<_> = paths.map(|path| at(&nodes[0], path)).into();
    assert_eq!(after, before);
    assert_eq!(after.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1]);
    assert_eq!(at(&nodes[0], "keep").len(), 0);
}

/// A gateway that holds what the hub has, and something of its own beside it, holds up the cut: it
/// may have written beside a deletion that the cut would forget.
#[test]
fn nothing_is_cut_while_somebody_has_more_than_the_hub() {
    let mut nodes = nearly_cut();
    nodes[0].edit(&device(0), "keep", What::Delete);
    let mut link = Link::new(&mut nodes, 1);
    link.gather(&mut nodes, 0);
    nodes[1].put(&device(0), "keep", 9);
    while link.deliver(&mut nodes, 0) {}
    while link.deliver(&mut nodes, 1) {}
    assert_eq!(epoch(&nodes[0]), 0);
    link.settle(&mut nodes);
    rest(&mut nodes);
    assert_eq!(epoch(&nodes[0]), 1, "now both have the same");
    assert_eq!(at(&nodes[0], "keep").len(), 2, "neither has seen the other");
}

#[test]
fn who_has_been_away_for_epochs_or_is_new_is_given_the_base() {
    let mut nodes = cutting();
    nodes[1].put(&device(0), "mine", 1);
    exchange(&mut nodes);
    let copy = nodes[1].records.clone();
    for n in 0..100 {
        nodes[0].put(&device(0), "a", n);
        nodes[1].put(&device(0), "mine", 2 + n);
        exchange(&mut nodes);
    }
    rest(&mut nodes);
    assert!(epoch(&nodes[0]) >= 3);
    let there = live(&nodes[0]);
    // A gateway that is new.
    let old = std::mem::replace(&mut nodes[1], Node::new(3, Role::Edge));
    exchange(&mut nodes);
    rest(&mut nodes);
    assert_eq!(live(&nodes[1]), there);
    // The first one, put back to its copy; what it wrote then was long replaced.
    nodes[1] = old;
    nodes[1].records = copy;
    nodes[1].restart();
    nodes[1].put(&device(0), "after", 1);
    rest(&mut nodes);
    let mut expected = there;
    expected.push(("after".to_owned(), at(&nodes[1], "after")));
    expected.sort();
    assert_eq!(live(&nodes[0]), expected);
}

/// The hub is put back to before a cut that the gateway has: the gateway tells of it.
#[test]
fn a_hub_that_has_forgotten_its_cut_is_told_of_it() {
    let mut nodes = nearly_cut();
    let copy = nodes[0].records.clone();
    exchange(&mut nodes);
    nodes[1].put(&device(0), "late", 1);
    rest(&mut nodes);
    assert_eq!(epoch(&nodes[0]), 1);
    nodes[0].records = copy;
    nodes[0].restart();
    nodes[0].put(&device(0), "since", 1);
    rest(&mut nodes);
    assert_eq!(epoch(&nodes[0]), 1);
    assert_eq!([at(&nodes[0], "late").len(), at(&nodes[1], "since").len()], [1, 1]);
}

#[test]
fn what_a_damaged_store_has_lost_of_an_epoch_comes_back() {
    for table in [Table::DocumentChunk, Table::DocumentCut, Table::DocumentCell] {
        let mut nodes = nearly_cut();
        rest(&mut nodes);
        nodes[1].put(&device(0), "later", 1);
        rest(&mut nodes);
        assert_eq!(epoch(&nodes[1]), 1);
        for (key, _) in nodes[1].records.scan(table, &[]).unwrap() {
            nodes[1].records.delete(table, &key).unwrap();
        }
        mend(&mut nodes[1].records, name().as_str()).unwrap();
        nodes[1].restart();
        nodes[1].put(&device(0), "since", 1);
        rest(&mut nodes);
        let lengths = ["a", "later", "since"].map(|path| at(&nodes[0], path).len());
        assert_eq!(lengths, [1, 1, 1], "{table:?}");
    }
}

/// Whatever is wrong with a cut, the document stays as it was.
#[test]
fn a_cut_that_is_not_the_hubs_or_does_not_lead_there_is_refused() {
    let mut nodes = nearly_cut();
    exchange(&mut nodes);
    let mut other = pair();
    for n in 0..30 {
        other[0].put(&device(0), "a", n);
    }
    let two = Two::of(&nodes);
    let heads = |node: &Node| Documents::status(&node.records, &name()).unwrap().unwrap().heads;
    let changes = |records: &Memory, without: usize| {
        let held: Vec<Keyed> = cells(records, &name()).unwrap();
        base(&held[without..], REMEMBERED_MS).unwrap().unwrap()
    };
    let [right, short] = [0, 1].map(|without| changes(&nodes[0].records, without));
    let held = heads(&nodes[1]);
    let next = epoch(&nodes[1]) + 1;
    let sign = |key: &NodeKey, epoch, heads: &[_], base: &[_]| {
        Cut::sign(key, &name(), epoch, heads.to_vec(), base, Vec::new())
    };
    let hub = nodes[0].key.clone();
    let gateway = nodes[1].key.clone();
    let mut forged = sign(&hub, next, &held, &right);
    forged.hub = gateway.id();
    let mut early = sign(&hub, next, &held, &right);
    early.epoch += 1;
    let cases = [
        (sign(&gateway, next, &held, &right), vec![], Refusal::Entitled),
        (forged, vec![], Refusal::Entitled),
        (early, vec![], Refusal::Signature),
        // It holds the heads and comes to another base.
        (sign(&hub, next, &held, &short), short.clone(), Refusal::Cut),
        // It does not hold them, and is given another base than the cut names.
        (sign(&hub, next, &heads(&other[0]), &right), short.clone(), Refusal::Cut),
    ];
    let before = live(&nodes[1]);
    for (number, (cut, given, refusal)) in cases.into_iter().enumerate() {
        let Node { documents, records, .. } = &mut nodes[1];
        let judge = Judge { roster: &two, policy: &Policy::LWW, is_local: &|_| false };
        let taken = documents.take_cut(records, &name(), (&cut, given), &judge);
        assert!(
            matches!(taken, Err(WriteError::Document(found)) if found == refusal),
            "case {number}: {taken:?}"
        );
        assert_eq!(live(&nodes[1]), before, "case {number}");
    }
    // A change that is no cell, and one that says it was made by a node.
    let mut hand = Engine::new();
    let strange = hand.commit([0; 16].map(|_: u8| 9), 0, &[("a".to_owned(), vec![1])]).unwrap();
    let cut = sign(&hub, next + 1, &held, std::slice::from_ref(&strange));
    let Node { documents, records, .. } = &mut nodes[1];
    let judge = Judge { roster: &two, policy: &Policy::LWW, is_local: &|_| false };
    let taken = documents.take_cut(records, &name(), (&cut, vec![strange]), &judge);
    assert!(matches!(taken, Err(WriteError::Document(Refusal::Cut))), "{taken:?}");
    let cut = sign(&hub, next + 1, &held, &right);
    let taken = documents.take_cut(records, &name(), (&cut, Vec::new()), &judge).unwrap();
    assert!(matches!(taken, Taken::Lacks), "it is two epochs behind");
}

/// Every bit of a cut with its base: refused, or no message at all; the document stays as it was.
#[test]
fn every_flipped_bit_of_a_cut_is_noticed() {
    let mut nodes = nearly_cut();
    exchange(&mut nodes);
    nodes[1] = Node::new(3, Role::Edge);
    let mut link = Link::new(&mut nodes, 1);
    link.gather(&mut nodes, 0);
    let records: Vec<_> = link.under_way[0].iter().map(|(record, _)| record.clone()).collect();
    let record = records.iter().find(|record| record[0] == 21).expect("a cut");
    for bit in 0..record.len() * 8 {
        let mut wrong = record.clone();
        wrong[bit / 8] ^= 1 << (bit % 8);
        let Ok(message) = Incoming::read(&wrong) else { continue };
        let taken = link.ends[1].take(&mut nodes[1].records, message);
        assert!(taken.is_err() || taken.unwrap().applied.is_none(), "bit {bit}");
        assert_eq!(live(&nodes[1]), Vec::new(), "bit {bit}");
    }
    link.settle(&mut nodes);
    rest(&mut nodes);
    assert_eq!(live(&nodes[1]), live(&nodes[0]));
}

/// The gateway wrote alone, and what it wrote went to the hub with another change than that in its
/// copy: put back to the copy it brought again what had been deleted since.
#[test]
fn what_was_deleted_stays_so_when_a_node_is_put_back_to_a_copy() {
    let mut nodes = nearly_cut();
    let mut link = Link::new(&mut nodes, 1);
    link.gather(&mut nodes, 0);
    while link.deliver(&mut nodes, 0) {}
    nodes[1].put(&device(0), "beyond", 1);
    let copy = nodes[1].records.clone();
    while epoch(&nodes[0]) == 0 {
        assert!(link.deliver(&mut nodes, 1), "it is cut without what the gateway wrote beyond");
    }
    link.settle(&mut nodes);
    nodes[0].edit(&device(0), "beyond", What::Delete);
    for n in 0..2 * CUT_AT as i64 {
        nodes[0].put(&device(0), "a", n);
        exchange(&mut nodes);
    }
    assert!(epoch(&nodes[0]) >= 2);
    nodes[1].records = copy;
    nodes[1].restart();
    rest(&mut nodes);
    let contents = Contents::read(&nodes[1].records, &name()).unwrap();
    let beyond = contents.at(Path::new("beyond").unwrap());
    assert!(!beyond[0].is_live(), "{beyond:?}");
}

#[test]
fn old_deletions_are_forgotten_and_so_are_the_oldest_of_many() {
    let cell = |path: String, ms: u64, content: Content<'_>| {
        let (key, cell) = super::cell(&path, Stamp::new(ms, 0).0, Author([1; 8]), content);
        (key, vec![cell])
    };
    let (now, tombstone) = (1_790_000_000_000, Content::Tombstone);
    let live = Content::Value(Value::Int(1));
    let mut cells = vec![
        cell("live".to_owned(), now, live),
        cell("old".to_owned(), now - REMEMBERED_MS, tombstone),
        cell("young".to_owned(), now - REMEMBERED_MS + 1, tombstone),
    ];
    let kept = |cells: &[Keyed]| {
        let changes = base(cells, REMEMBERED_MS).unwrap().unwrap();
        let puts = changes.into_iter().flat_map(|change| change.puts);
        puts.map(|put| put.key).collect::<Vec<_>>()
    };
    assert_eq!(kept(&cells), ["live", "young"]);
    cells.extend(
        (0..DELETIONS_REMEMBERED as u64).map(|n| cell(format!("deleted-{n}"), now - n, tombstone)),
    );
    assert_eq!(kept(&cells).len(), 1 + DELETIONS_REMEMBERED);
    assert!(!kept(&cells).contains(&"young".to_owned()));
}

fn changes(node: &Node) -> u64 {
    Documents::status(&node.records, &name()).unwrap().unwrap().changes
}

/// A gateway that was alone took 8,192 changes of a document, then none.
#[test]
fn a_gateway_that_is_alone_writes_on_for_ever() {
    let [hub, edge] = pair();
    let mut nodes = [hub, edge.folding_at(64)];
    nodes[0].put(&device(0), "of the hub", 1);
    nodes[1].put(&device(0), "shared", 1);
    exchange(&mut nodes);
    let (met, alone) = (changes(&nodes[1]), pair()[1].key.id());
    assert_eq!(nodes[1].key.id(), alone);
    for n in 0..2_000 {
        nodes[1].put(&device(0), &format!("p{}", n % 5), n);
        assert!(changes(&nodes[1]) <= met + 64 + 16, "{} after {n}", changes(&nodes[1]));
        if n % 300 == 0 {
            nodes[1].restart();
        }
    }
    audit(&mut nodes[1].records, name().as_str()).unwrap();
    assert_eq!(at(&nodes[1], "p4").len(), 1);
    let cost = exchange(&mut nodes);
    rest(&mut nodes);
    assert_eq!(at(&nodes[0], "p4"), at(&nodes[1], "p4"));
    assert!(cost.bytes < 16_000, "{cost:?}");
    assert!(live(&nodes[0]).iter().all(|(_, cells)| cells.len() == 1), "all have seen the others");
}

/// What was offered may be with the hub, though it never said so; folded it would come back from
/// there and stand beside what had replaced it.
#[test]
fn what_was_offered_is_not_folded() {
    let [hub, edge] = pair();
    let mut nodes = [hub, edge.folding_at(16)];
    for n in 0..8 {
        nodes[1].put(&device(0), "p", n);
    }
    let mut link = Link::new(&mut nodes, 1);
    while link.gather(&mut nodes, 1) && link.deliver(&mut nodes, 1) {}
    assert_eq!(at(&nodes[0], "p").len(), 1);
    drop(link);
    for n in 0..100 {
        nodes[1].put(&device(0), "p", 100 + n);
    }
    assert!((9..32).contains(&changes(&nodes[1])), "{}", changes(&nodes[1]));
    rest(&mut nodes);
    assert_eq!(at(&nodes[0], "p").len(), 1, "the last one has seen all before");
    // Beside something of the hub's at the same key nothing is folded, and nothing is lost.
    nodes[0].put(&device(0), "p", -1);
    let mut link = Link::new(&mut nodes, 1);
    link.gather(&mut nodes, 0);
    nodes[1].put(&device(0), "p", 1_000);
    while link.deliver(&mut nodes, 0) {}
    drop(link);
    for n in 0..100 {
        nodes[1].put(&device(0), "q", n);
    }
    assert_eq!(at(&nodes[1], "p").len(), 2);
    rest(&mut nodes);
    assert_eq!(at(&nodes[0], "p").len(), 2);
}
