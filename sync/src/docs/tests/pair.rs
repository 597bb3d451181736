//! Two nodes that exchange their documents, message by message, without a session between them.

use crate::Fault;
use crate::docs::chunk::Hash;
use crate::docs::exchange::{Batch, Exchange, Incoming, Steward};
use crate::docs::{Applied, Contents, Cursor, DocumentName, Documents, Edit, Roster, What, Writer};
use crate::identity::{Membership, NodeKey};
use crate::store::memory::Memory;
use crate::store::{ReadRecords, Records, Table, WriteError, WriteTx};
use holdfast_core::hlc::Stamp;
use holdfast_core::state::{Author, Path, Policy, Role, Text, Value};
use holdfast_core::{Incarnation, NodeId};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A hub and a gateway may write everything; all is for everybody, or nothing is.
pub(super) struct Two {
    pub hub: NodeId,
    pub edge: NodeId,
    shares: bool,
}

impl Two {
    pub(super) fn of(nodes: &[Node; 2]) -> Self {
        let [hub, edge] = [0, 1].map(|at| nodes[at].key.id());
        Self { hub, edge, shares: true }
    }
}

impl Roster for Two {
    fn role(&self, node: &NodeId, _: &DocumentName) -> Option<Role> {
        Some(if *node == self.hub { Role::Hub } else { Role::Edge })
    }
}

impl Steward for Two {
    fn met(&self, _: &Membership) {}
    fn shares(&self, _: &NodeId, _: &DocumentName) -> bool {
        self.shares
    }
    fn members(&self, _: &DocumentName) -> Option<Vec<NodeId>> {
        Some(vec![self.edge])
    }
    fn policy(&self, _: &DocumentName) -> Arc<[u8]> {
        Policy::LWW.as_bytes().into()
    }
    fn vouch(&self, _: &NodeId) -> Option<Vec<u8>> {
        None
    }
    fn learn(&self, _: &mut dyn Records, _: &NodeId, _: &[u8]) -> Result<(), Fault> {
        Ok(())
    }
    fn keeps(&self, _: &DocumentName) -> bool {
        true
    }
    fn written(&self, _: &mut WriteTx<'_>, _: &DocumentName) -> Result<(), WriteError> {
        Ok(())
    }
    fn applied(
        &self,
        _: &mut WriteTx<'_>,
        _: &NodeId,
        _: &DocumentName,
        _: &Applied,
    ) -> Result<(), WriteError> {
        Ok(())
    }
}

pub(super) struct Node {
    pub key: NodeKey,
    pub role: Role,
    boot: u64,
    pub documents: Arc<Documents>,
    pub records: Memory,
    /// Changes from which on the hub cuts a history.
    cut_at: u64,
    /// Changes from which on a gateway folds one.
    fold_at: u64,
    /// What its clock says.
    pub clock_ms: u64,
}

impl Node {
    pub(super) fn new(seed: u8, role: Role) -> Self {
        let key = NodeKey::for_test(seed);
        let documents = Arc::new(Documents::of_start(start(1), key.clone(), role));
        let (records, never) = (Memory::default(), 1_000_000);
        let (cut_at, fold_at, clock_ms) = (never, never, 1_790_000_000_000);
        Self { key, role, boot: 1, documents, records, cut_at, fold_at, clock_ms }
    }

    pub(super) fn folding_at(mut self, changes: u64) -> Self {
        self.fold_at = changes;
        self.restart();
        self
    }

    pub(super) fn cutting_at(mut self, changes: u64) -> Self {
        self.cut_at = changes;
        self.restart();
        self
    }

    /// Starts anew over what is on disk.
    pub(super) fn restart(&mut self) {
        self.boot += 1;
        // No two starts have one nonce, the one after a restore of a copy included.
        let incarnation = Incarnation { boot: self.boot, nonce: rand(&mut self.boot.clone()) };
        let documents = Documents::of_start(incarnation, self.key.clone(), self.role);
        self.documents = Arc::new(documents.cutting_at(self.cut_at).folding_at(self.fold_at));
    }

    pub(super) fn put(&mut self, name: &str, path: &str, value: i64) {
        self.write(name, path, Value::Int(value));
    }

    fn write(&mut self, name: &str, path: &str, value: Value<'_>) {
        self.edit(name, path, What::Put(value));
    }

    pub(super) fn edit(&mut self, name: &str, path: &str, what: What<'_>) {
        let author = Author::node(&self.key.id());
        let writer = Writer { author, role: self.role, clock: Stamp::new(self.clock_ms, 0) };
        let edit = Edit { path: Path::new(path).unwrap(), what };
        let name = DocumentName::new(name).unwrap();
        self.documents.write(&mut self.records, &name, &Policy::LWW, writer, &[edit]).unwrap();
    }

    pub(super) fn contents(&self) -> BTreeMap<DocumentName, Contents> {
        let names = Documents::list(&self.records, "").unwrap();
        let read = |name: DocumentName| {
            let contents = Contents::read(&self.records, &name).unwrap();
            (name, contents)
        };
        names.into_iter().map(read).collect()
    }
}

fn start(boot: u64) -> Incarnation {
    Incarnation { boot, nonce: boot }
}

pub(super) fn rand(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 16
}

/// What a connection cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    pub bytes: usize,
    messages: usize,
    /// The longest chain of messages that answer each other; two are a round trip.
    hops: usize,
}

type Pushed = Vec<(DocumentName, Vec<Hash>)>;

/// A connection of two nodes.
pub(super) struct Link {
    pub ends: [Exchange; 2],
    pub under_way: [VecDeque<(Vec<u8>, usize)>; 2],
    pushed: [Pushed; 2],
    cost: Cost,
}

impl Link {
    pub(super) fn new(nodes: &mut [Node; 2], shuffle: u64) -> Self {
        Self::sharing(nodes, shuffle, true)
    }

    fn sharing(nodes: &mut [Node; 2], shuffle: u64, shares: bool) -> Self {
        let ids = [nodes[0].key.id(), nodes[1].key.id()];
        let steward: Arc<dyn Steward> = Arc::new(Two { shares, ..Two::of(nodes) });
        let exchange = |at: usize| {
            Exchange::new(Arc::clone(&nodes[at].documents), Arc::clone(&steward), ids[1 - at])
        };
        let mut link = Self {
            ends: [exchange(0), exchange(1)],
            under_way: Default::default(),
            pushed: Default::default(),
            cost: Cost::default(),
        };
        let held: Vec<Option<Cursor>> =
            (0..2).map(|at| link.ends[at].held(&nodes[at].records).unwrap()).collect();
        for at in 0..2 {
            let key = [shuffle as u8; 16];
            let batch = link.ends[at].begin(&mut nodes[at].records, held[1 - at], key).unwrap();
            link.send(at, batch, 0);
        }
        link
    }

    fn send(&mut self, at: usize, batch: Batch, hop: usize) {
        for record in batch.records {
            self.cost.bytes += record.len();
            self.cost.messages += 1;
            self.cost.hops = self.cost.hops.max(hop + 1);
            self.under_way[at].push_back((record, hop + 1));
        }
        self.pushed[at].extend(batch.pushed);
    }

    /// Lets each side say what it has to.
    pub(super) fn gather(&mut self, nodes: &mut [Node; 2], at: usize) -> bool {
        let batch = self.ends[at].next(&mut nodes[at].records, 64 << 10).unwrap();
        let some = !batch.records.is_empty() || batch.more;
        self.send(at, batch, 0);
        some
    }

    /// Delivers what `at` sent first.
    pub(super) fn deliver(&mut self, nodes: &mut [Node; 2], at: usize) -> bool {
        let Some((record, hop)) = self.under_way[at].pop_front() else { return false };
        let to = 1 - at;
        let message = Incoming::read(&record).unwrap();
        let taken = self.ends[to].take(&mut nodes[to].records, message).unwrap();
        self.send(to, taken.answer, hop);
        if self.under_way[at].is_empty() {
            let pushed = std::mem::take(&mut self.pushed[at]);
            self.ends[at].acked(&mut nodes[at].records, &pushed).unwrap();
        }
        true
    }

    pub(super) fn settle(mut self, nodes: &mut [Node; 2]) -> Cost {
        for _ in 0..100_000 {
            let gathered = [self.gather(nodes, 0), self.gather(nodes, 1)];
            let delivered = [self.deliver(nodes, 0), self.deliver(nodes, 1)];
            if gathered == [false; 2] && delivered == [false; 2] {
                return self.cost;
            }
        }
        panic!("the two never come to an end");
    }
}

pub(super) fn exchange(nodes: &mut [Node; 2]) -> Cost {
    Link::new(nodes, 7).settle(nodes)
}

pub(super) fn pair() -> [Node; 2] {
    [Node::new(1, Role::Hub), Node::new(2, Role::Edge)]
}

fn assert_equal(nodes: &[Node; 2]) {
    assert_eq!(nodes[0].contents(), nodes[1].contents());
    assert!(!nodes[0].contents().is_empty());
}

pub(super) fn device(n: usize) -> String {
    format!("device/pump-{n}/desired")
}

#[test]
fn both_come_to_the_same_and_an_idle_connection_says_nothing() {
    let mut nodes = pair();
    for n in 0..30 {
        nodes[n % 2].put(&device(n), "level", n as i64);
    }
    exchange(&mut nodes);
    assert_equal(&nodes);
    assert_eq!(nodes[0].contents().len(), 30);
    // What came from the other side moved the sequence here: its end has to be told once.
    exchange(&mut nodes);
    assert_eq!(exchange(&mut nodes), Cost::default());
}

#[test]
fn what_changed_while_it_was_away_is_all_that_is_sent() {
    let mut nodes = pair();
    for n in 0..200 {
        nodes[0].put(&device(n), "level", n as i64);
    }
    exchange(&mut nodes);
    exchange(&mut nodes);
    nodes.iter_mut().for_each(Node::restart);
    nodes[1].put(&device(7), "level", 70);
    let cost = exchange(&mut nodes);
    assert_equal(&nodes);
    assert!(cost.bytes < 500 && cost.hops <= 1, "{cost:?}");
}

#[test]
fn both_sides_of_one_document_come_together() {
    let mut nodes = pair();
    nodes[0].put(&device(0), "level", 1);
    exchange(&mut nodes);
    nodes[0].put(&device(0), "level", 2);
    nodes[1].put(&device(0), "level", 3);
    nodes[1].put(&device(0), "speed", 4);
    exchange(&mut nodes);
    assert_equal(&nodes);
    let contents = &nodes[0].contents()[&DocumentName::new(&device(0)).unwrap()];
    assert_eq!(contents.at(Path::new("level").unwrap()).len(), 2, "both are kept");
}

/// A cursor that counted on after a restore passed over what the restored side wrote since.
#[test]
fn a_restored_side_comes_back_into_agreement() {
    for restored in 0..2 {
        let mut nodes = pair();
        for n in 0..40 {
            nodes[n % 2].put(&device(n), "level", n as i64);
        }
        exchange(&mut nodes);
        let copy = nodes[restored].records.clone();
        for n in 0..20 {
            nodes[n % 2].put(&device(n), "level", 1_000 + n as i64);
            nodes[n % 2].put(&device(100 + n), "level", n as i64);
        }
        exchange(&mut nodes);
        let before = nodes[1 - restored].contents();
        nodes[restored].records = copy;
        nodes[restored].restart();
        // As many changes as were lost, so that places are given again.
        for n in 0..40 {
            nodes[restored].put(&device(200 + n), "level", n as i64);
        }
        exchange(&mut nodes);
        assert_equal(&nodes);
        let after = nodes[0].contents();
        assert_eq!(after.len(), before.len() + 40, "restored: {restored}");
        for (name, contents) in before {
            assert_eq!(after[&name], contents, "what was acknowledged comes back");
        }
        exchange(&mut nodes);
        assert_eq!(exchange(&mut nodes), Cost::default());
    }
}

#[test]
fn a_lost_cursor_costs_what_differs() {
    let mut nodes = pair();
    for n in 0..2_000 {
        nodes[0].put(&device(n), "level", n as i64);
    }
    exchange(&mut nodes);
    exchange(&mut nodes);
    for n in 0..10 {
        nodes[0].put(&device(n * 7), "level", -1);
    }
    let hub = nodes[0].key.id();
    nodes[1].records.delete(crate::store::Table::DocumentCursor, &hub.0).unwrap();
    let cost = exchange(&mut nodes);
    assert_equal(&nodes);
    // Ten pushes of some 330 bytes each, and two kilobytes to find out which.
    assert!(cost.bytes < 2_048 + 10 * 400, "{cost:?}");
    assert!(cost.hops <= 5, "{cost:?}");
}

#[test]
fn what_differs_widely_is_found_by_the_list() {
    let mut nodes = pair();
    for n in 0..3_000 {
        nodes[n % 2].put(&device(n), "level", n as i64);
    }
    // Both have something, and neither knows how far the other has it.
    for (at, n) in [(0, 1), (1, 0)] {
        nodes[at].put(&device(n), "level", 5);
    }
    exchange(&mut nodes);
    assert_equal(&nodes);
    assert_eq!(nodes[0].contents().len(), 3_000);
}

/// A document that one side has lost a part of, while the other believes that it has all.
#[test]
fn histories_that_have_parted_are_settled_by_the_engines() {
    let mut nodes = pair();
    for n in 0..50 {
        nodes[0].put(&device(0), "level", n);
    }
    exchange(&mut nodes);
    let copy = nodes[1].records.clone();
    for n in 0..50 {
        nodes[n as usize % 2].put(&device(0), &format!("part-{n}"), n);
        exchange(&mut nodes);
    }
    nodes[1].records = copy;
    nodes[1].restart();
    nodes[1].put(&device(0), "after", 1);
    nodes[0].put(&device(0), "after", 2);
    exchange(&mut nodes);
    assert_equal(&nodes);
    exchange(&mut nodes);
    assert_eq!(exchange(&mut nodes), Cost::default());
}

/// The hub wrote what a device should be before any gateway had named the device. When one did, its
/// cursor had passed the document, and it never came.
#[test]
fn what_was_not_for_a_peer_can_be_offered_anew() {
    let mut nodes = pair();
    nodes[0].put(&device(0), "level", 1);
    nodes[0].put(&device(1), "level", 1);
    Link::sharing(&mut nodes, 7, false).settle(&mut nodes);
    exchange(&mut nodes);
    assert!(nodes[1].contents().is_empty());
    let Node { documents, records, .. } = &mut nodes[0];
    for n in 0..3 {
        documents.offer_anew(records, &DocumentName::new(&device(n)).unwrap()).unwrap();
    }
    exchange(&mut nodes);
    assert_equal(&nodes);
    assert_eq!(nodes[1].contents().len(), 2);
    exchange(&mut nodes);
    assert_eq!(exchange(&mut nodes), Cost::default());
}

/// One signed head was kept of an author. A gateway whose newest change had reached only the hub
/// when it was put back to a copy had then written on beside that change, and no other gateway of
/// its site ever took both: the hub pushed, the gateway wanted, as fast as the link could carry it.
#[test]
fn both_branches_of_an_author_that_was_restored_reach_others() {
    let mut nodes = pair();
    let copy = nodes[1].records.clone();
    nodes[1].put(&device(0), "level", 1);
    nodes[1].put(&device(0), "level", 2);
    exchange(&mut nodes);
    nodes[1].records = copy;
    nodes[1].restart();
    nodes[1].put(&device(0), "level", 3);
    exchange(&mut nodes);
    assert_equal(&nodes);
    let author = std::mem::replace(&mut nodes[1], Node::new(3, Role::Edge));
    exchange(&mut nodes);
    assert_equal(&nodes);
    let other = std::mem::replace(&mut nodes[1], author);
    nodes[1].put(&device(0), "level", 4);
    exchange(&mut nodes);
    let name = DocumentName::new(&device(0)).unwrap();
    let author = nodes[1].key.id();
    let heads = |node: &mut Node| Documents::signed_heads(&mut node.records, &name, &author);
    assert_eq!(heads(&mut nodes[0]).unwrap().len(), 1, "one that covers both takes their place");
    nodes[1] = other;
    exchange(&mut nodes);
    assert_equal(&nodes);
}

/// A change whose signed head was lost with a damaged record was pushed and wanted without end.
#[test]
fn what_cannot_be_taken_is_not_wanted_again_and_again() {
    let mut nodes = pair();
    nodes[1].put(&device(0), "level", 1);
    exchange(&mut nodes);
    for (key, _) in nodes[0].records.scan(Table::DocumentHead, &[]).unwrap() {
        nodes[0].records.delete(Table::DocumentHead, &key).unwrap();
    }
    let author = std::mem::replace(&mut nodes[1], Node::new(3, Role::Edge));
    let cost = exchange(&mut nodes);
    assert!(cost.messages < 10, "{cost:?}");
    assert!(nodes[1].contents().is_empty());
    // Each connection tries anew, and once the author has written again it succeeds.
    assert_ne!(exchange(&mut nodes), Cost::default());
    let other = std::mem::replace(&mut nodes[1], author);
    nodes[1].put(&device(0), "level", 2);
    exchange(&mut nodes);
    nodes[1] = other;
    exchange(&mut nodes);
    assert_equal(&nodes);
}

/// The change that did not fit took with it the introduction of its author, who had written those
/// that did: the peer knew nobody by that name and refused them all. With the introduction, the
/// first megabyte was sent again and again, whatever the peer said to have.
#[test]
fn a_history_of_more_than_a_parcel_is_told_in_several() {
    let mut nodes = pair();
    let mut random = 1;
    for _ in 0..400 {
        let letter = |_| char::from(33 + (rand(&mut random) % 90) as u8);
        let text: String = (0..4_000).map(letter).collect();
        nodes[0].write(&device(0), "text", Value::Text(Text::new(&text).unwrap()));
    }
    let cost = exchange(&mut nodes);
    assert!(nodes[0].contents() == nodes[1].contents(), "{cost:?}");
    assert!(cost.bytes > 1_300_000, "{cost:?}");
}

/// Any order of writes, connections that break at any message, restarts and restored copies.
#[test]
fn whatever_happens_they_agree_in_the_end() {
    for seed in 0..150u64 {
        let mut random = seed;
        let [hub, edge] = pair();
        let cut_at = [3, 12, 1_000_000][seed as usize % 3];
        let mut nodes = [hub.cutting_at(cut_at), edge.cutting_at(cut_at)];
        let mut copies: [Option<Memory>; 2] = [None, None];
        let keeps = (rand(&mut random) % 2) as usize;
        for _ in 0..12 {
            for _ in 0..rand(&mut random) % 8 {
                let at = (rand(&mut random) % 2) as usize;
                let name = device((rand(&mut random) % 6) as usize);
                let path = format!("p{}", rand(&mut random) % 4);
                nodes[at].put(&name, &path, (rand(&mut random) % 1_000) as i64);
            }
            let at = (rand(&mut random) % 2) as usize;
            match rand(&mut random) % 5 {
                0 => nodes[at].restart(),
                // One side only: two that both forget cannot get it back.
                1 => copies[keeps] = Some(nodes[keeps].records.clone()),
                2 if copies[keeps].is_some() => {
                    nodes[keeps].records = copies[keeps].clone().unwrap();
                    nodes[keeps].restart();
                }
                _ => {}
            }
            let mut link = Link::new(&mut nodes, seed);
            for _ in 0..rand(&mut random) % 40 {
                let at = (rand(&mut random) % 2) as usize;
                match rand(&mut random) % 3 {
                    0 => drop(link.gather(&mut nodes, at)),
                    _ => drop(link.deliver(&mut nodes, at)),
                }
            }
        }
        exchange(&mut nodes);
        assert_eq!(nodes[0].contents(), nodes[1].contents(), "seed {seed}");
        assert_eq!(exchange(&mut nodes), Cost::default(), "seed {seed}");
    }
}

/// What a connection that had been given up still delivered moved the cursor back behind what the
/// next one had brought, and all of that was told once more; or to a place of a start before the
/// peer was put back to a copy, and all was compared.
#[test]
fn a_connection_that_was_given_up_moves_no_cursor() {
    let mut nodes = pair();
    nodes[0].put(&device(0), "level", 1);
    let mut old = Link::new(&mut nodes, 1);
    old.gather(&mut nodes, 0);
    nodes[0].put(&device(0), "level", 2);
    exchange(&mut nodes);
    exchange(&mut nodes);
    while old.deliver(&mut nodes, 0) {}
    assert_eq!(exchange(&mut nodes), Cost::default());
}

/// Every question was answered at once, whatever of the answers before had left: a gateway that
/// asked again and again and took nothing had the hub keep a document for each question.
#[test]
fn whoever_asks_again_and_again_is_owed_one_answer() {
    let mut nodes = pair();
    for n in 0..200 {
        nodes[0].put(&device(0), &format!("part-{}", n % 50), n);
    }
    let mut link = Link::new(&mut nodes, 1);
    let name = device(0);
    let want = [&[5, name.len() as u8], name.as_bytes(), &[0]].concat();
    let mut answers = 0;
    for _ in 0..1_000 {
        let message = Incoming::read(&want).unwrap();
        let taken = link.ends[0].take(&mut nodes[0].records, message).unwrap();
        answers += taken.answer.records.len();
        assert!(taken.answer.more);
    }
    let batch = link.ends[0].next(&mut nodes[0].records, 1 << 20).unwrap();
    let kinds: Vec<u8> = batch.records.iter().map(|record| record[0]).collect();
    assert_eq!((answers, kinds.as_slice()), (0, [3, 4, 7].as_slice()), "one push, have, upto");
    // The list of all that is here is given once.
    let mut nodes = [Node::new(4, Role::Hub), Node::new(5, Role::Edge)];
    nodes[0].put(&device(0), "level", 1);
    nodes[1].put(&device(1), "level", 1);
    let mut link = Link::new(&mut nodes, 1);
    let mut ask = |count: &[u8]| {
        let message = Incoming::read(&[&[11], count].concat()).unwrap();
        link.ends[0].take(&mut nodes[0].records, message).map(|taken| taken.answer.records.len())
    };
    assert_eq!(ask(&[48]).unwrap(), 1);
    assert!(ask(&[48]).is_err(), "the same symbols once more");
    assert_eq!(ask(&[0]).unwrap(), 1);
    assert!(ask(&[0]).is_err() && ask(&[96]).is_err());
}

#[test]
fn a_push_that_is_refused_holds_nothing_up() {
    let mut nodes = pair();
    nodes[0].put(&device(0), "level", 1);
    nodes[0].put(&device(1), "level", 1);
    let mut link = Link::new(&mut nodes, 1);
    link.gather(&mut nodes, 0);
    // A bit of the first parcel is flipped behind its head, in the change itself.
    let (record, _) = link.under_way[0].front_mut().unwrap();
    let last = record.len() - 1;
    record[last] ^= 1;
    link.settle(&mut nodes);
    assert_eq!(nodes[1].contents().len(), 1);
    // It changes again, and the push begins from nothing.
    nodes[0].put(&device(0), "level", 2);
    exchange(&mut nodes);
    assert_equal(&nodes);
    assert_eq!(nodes[1].contents().len(), 2);
}
