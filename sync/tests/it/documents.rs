//! Documents from outside: replicas that agree, transactions that fail, bounds, damage.

use crate::support::{key, open};
use holdfast_core::hlc::{Hlc, Stamp};
use holdfast_core::state::{Author, Label, Line, Path, Pattern, Policy, Role, Rule, Value};
use holdfast_core::{Incarnation, NodeId};
use holdfast_sync::Fault;
use holdfast_sync::counts::OfDocuments;
use holdfast_sync::docs::{
    Applied, Contents, DocumentName, Documents, Edit, Hash, Judge, Parcel, Refusal, Roster,
    SyncMessage, SyncState, What, Writer, Written, digest, limits,
};
use holdfast_sync::identity::NodeKey;
use holdfast_sync::store::verify::{Severity, request_repair};
use holdfast_sync::store::{Store, Table, WriteError, verify};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const PATHS: [&str; 6] = ["mode", "net", "net/ip", "net/dns/first", "starts", "tags"];

fn policy() -> Vec<u8> {
    let line = |path, rule| Line {
        document: Pattern::new("**").unwrap(),
        path: Pattern::new(path).unwrap(),
        rule,
    };
    let lines = [
        line("mode", Rule::KeepAll),
        line("net/ip", Rule::HubWins),
        line("starts", Rule::Counter),
        line("tags", Rule::Set),
    ];
    let mut out = Vec::new();
    Policy::encode(&lines, &mut out).unwrap();
    out
}

fn document() -> DocumentName {
    DocumentName::new("device/pump-1/desired").unwrap()
}

/// Members and what they are.
#[derive(Clone, Debug, Default)]
struct Members(Arc<BTreeMap<NodeId, Role>>);

impl Roster for Members {
    fn role(&self, node: &NodeId, _: &DocumentName) -> Option<Role> {
        self.0.get(node).copied()
    }
}

/// An edit that owns what it says.
#[derive(Clone, Debug)]
enum Step {
    Put(String, i64),
    Text(String, String),
    Delete(String),
    Count(String, i64),
    Add(String, i64),
    Remove(String, i64),
}

impl Step {
    fn edit(&self) -> Edit<'_> {
        let (path, what) = match self {
            Self::Put(path, value) => (path, What::Put(Value::Int(*value))),
            Self::Text(path, text) => (path, What::Put(Value::text(text).unwrap())),
            Self::Delete(path) => (path, What::Delete),
            Self::Count(path, by) => (path, What::Count(*by)),
            Self::Add(path, element) => (path, What::Add(Value::Int(*element))),
            Self::Remove(path, element) => (path, What::Remove(Value::Int(*element))),
        };
        Edit { path: Path::new(path).unwrap(), what }
    }
}

fn put(path: &str, value: i64) -> Vec<Step> {
    vec![Step::Put(path.to_owned(), value)]
}

struct Node {
    dir: tempfile::TempDir,
    key: NodeKey,
    role: Role,
    members: Members,
    store: Store,
    documents: Arc<Documents>,
    clock: Hlc,
    wall_ms: u64,
}

impl Node {
    fn new(key: NodeKey, role: Role, members: &Members, wall_ms: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = open(dir.path(), &key);
        let documents = Arc::new(Documents::new(&store, key.clone(), role));
        let members = members.clone();
        Self { dir, key, role, members, store, documents, clock: Hlc::default(), wall_ms }
    }

    fn id(&self) -> NodeId {
        self.key.id()
    }

    async fn restarted(self) -> Self {
        self.store.close().await;
        let Self { dir, key, role, members, store, wall_ms, .. } = self;
        drop(store);
        let (store, _) = open(dir.path(), &key);
        let documents = Arc::new(Documents::new(&store, key.clone(), role));
        Self { dir, key, role, members, store, documents, clock: Hlc::default(), wall_ms }
    }

    fn writer(&mut self) -> Writer {
        self.wall_ms += 1;
        let clock = self.clock.tick(self.wall_ms);
        Writer { author: Author::node(&self.id()), role: self.role, clock }
    }

    async fn write_to(
        &mut self,
        name: DocumentName,
        steps: Vec<Step>,
        fail: bool,
    ) -> Result<Written, WriteError> {
        let (writer, documents) = (self.writer(), Arc::clone(&self.documents));
        let written = self.store.write(move |tx| {
            let edits: Vec<_> = steps.iter().map(Step::edit).collect();
            let bytes = policy();
            let policy = Policy::from_bytes(&bytes).unwrap();
            let written = documents.write(tx, &name, &policy, writer, &edits)?;
            if fail { Err(WriteError::Refused("undone".into())) } else { Ok(written) }
        });
        written.await.map(|(_, written)| written)
    }

    async fn write(&mut self, steps: Vec<Step>) -> Written {
        self.write_to(document(), steps, false).await.unwrap()
    }

    async fn refusal(&mut self, steps: Vec<Step>) -> Refusal {
        match self.write_to(document(), steps, false).await {
            Err(WriteError::Document(refusal)) => refusal,
            other => panic!("{other:?}"),
        }
    }

    fn heads(&self) -> Vec<Hash> {
        let status = self.store.read_blocking(|view| Documents::status(view, &document())).unwrap();
        status.map(|status| status.heads).unwrap_or_default()
    }

    fn contents(&self) -> Contents {
        self.store.read_blocking(|view| Contents::read(view, &document())).unwrap()
    }

    fn view(&self) -> String {
        let bytes = policy();
        self.contents().digest(&document(), &Policy::from_bytes(&bytes).unwrap()).to_string()
    }

    async fn after(&self, known: Vec<Hash>) -> Result<Option<Vec<u8>>, WriteError> {
        let documents = Arc::clone(&self.documents);
        let sent = self.store.write(move |tx| documents.after(tx, &document(), &known));
        sent.await.map(|(_, sent)| sent)
    }

    async fn apply(&self, from: NodeId, bytes: &[u8]) -> Result<Applied, WriteError> {
        let parcel = Parcel::check(bytes)?;
        let (documents, members) = (Arc::clone(&self.documents), self.members.clone());
        let me = Author::node(&self.id());
        let applied = self.store.write(move |tx| {
            let bytes = policy();
            let policy = Policy::from_bytes(&bytes).unwrap();
            let is_local = |cell: &holdfast_core::state::Cell<'_>| cell.author == me;
            let judge = Judge { roster: &members, policy: &policy, is_local: &is_local };
            documents.apply(tx, &from, &document(), parcel, &judge)
        });
        applied.await.map(|(_, applied)| applied)
    }

    async fn say(&self, mut state: SyncState) -> (Option<Vec<u8>>, SyncState) {
        let documents = Arc::clone(&self.documents);
        let said = self.store.write(move |tx| {
            let message = documents.next_message(tx, &document(), &mut state)?;
            Ok((message, state))
        });
        said.await.unwrap().1
    }

    async fn hear(&self, from: NodeId, mut state: SyncState, bytes: &[u8]) -> (Applied, SyncState) {
        let message = SyncMessage::check(bytes).unwrap();
        let (documents, members) = (Arc::clone(&self.documents), self.members.clone());
        let heard = self.store.write(move |tx| {
            let bytes = policy();
            let policy = Policy::from_bytes(&bytes).unwrap();
            let judge = Judge { roster: &members, policy: &policy, is_local: &|_| false };
            let name = document();
            let applied = documents.take_message(tx, &from, &name, &mut state, message, &judge)?;
            Ok((applied, state))
        });
        heard.await.unwrap().1
    }

    fn state(&self, peer: NodeId) -> SyncState {
        let look = self.store.read_blocking(|view| Documents::sync_state(view, &peer, &document()));
        look.unwrap()
    }
}

/// Exchanges messages until nobody has more to say; gives their bytes.
async fn exchange(a: &Node, b: &Node) -> usize {
    let (mut of_a, mut of_b) = (a.state(b.id()), b.state(a.id()));
    let mut bytes = 0;
    for _ in 0..100 {
        let (said, state) = a.say(of_a).await;
        of_a = state;
        if let Some(said) = &said {
            bytes += said.len();
            of_b = b.hear(a.id(), of_b, said).await.1;
        }
        let (answer, state) = b.say(of_b).await;
        of_b = state;
        if let Some(answer) = &answer {
            bytes += answer.len();
            of_a = a.hear(b.id(), of_a, answer).await.1;
        }
        if said.is_none() && answer.is_none() {
            return bytes;
        }
    }
    panic!("two nodes never end to talk");
}

fn fleet(roles: &[Role]) -> Vec<Node> {
    let keys: Vec<_> = roles.iter().map(|_| key()).collect();
    let members = keys.iter().zip(roles).map(|(key, role)| (key.id(), *role)).collect();
    let members = Members(Arc::new(members));
    let nodes = keys.into_iter().zip(roles).enumerate();
    // Clocks that differ by hours.
    nodes.map(|(i, (key, role))| Node::new(key, *role, &members, 1 << (20 + i))).collect()
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

fn verified(node: &Node) {
    let report = verify(node.dir.path(), &mut |_| {}).unwrap();
    // Beside a repaired database lies the damaged one.
    assert!(report.worst() <= Some(Severity::Info), "{:#?}", report.findings);
}

#[derive(Clone, Debug)]
enum Move {
    Write(usize, Vec<Step>),
    Undone(usize, Vec<Step>),
    Push(usize, usize),
    Talk(usize, usize),
    Restart(usize),
}

fn some_step() -> impl Strategy<Value = Step> {
    let values = prop::sample::select(PATHS[..4].to_vec()).prop_map(str::to_owned);
    prop_oneof![
        4 => (values.clone(), 0i64..4).prop_map(|(path, value)| Step::Put(path, value)),
        2 => values.prop_map(Step::Delete),
        1 => (-3i64..4).prop_map(|by| Step::Count("starts".into(), by)),
        1 => (0i64..3).prop_map(|element| Step::Add("tags".into(), element)),
        1 => (0i64..3).prop_map(|element| Step::Remove("tags".into(), element)),
    ]
}

fn some_move() -> impl Strategy<Value = Move> {
    let steps = || prop::collection::vec(some_step(), 1..4);
    prop_oneof![
        5 => (0usize..3, steps()).prop_map(|(node, steps)| Move::Write(node, steps)),
        1 => (0usize..3, steps()).prop_map(|(node, steps)| Move::Undone(node, steps)),
        2 => (0usize..3, 1usize..3).prop_map(|(from, by)| Move::Push(from, (from + by) % 3)),
        2 => (0usize..3, 1usize..3).prop_map(|(from, by)| Move::Talk(from, (from + by) % 3)),
        1 => (0usize..3).prop_map(Move::Restart),
    ]
}

async fn played(moves: Vec<Move>) {
    let mut nodes: Vec<Option<Node>> =
        fleet(&[Role::Hub, Role::Edge, Role::Edge]).into_iter().map(Some).collect();
    for next in moves {
        match next {
            Move::Write(at, steps) => {
                nodes[at].as_mut().unwrap().write(steps).await;
            }
            Move::Undone(at, steps) => {
                let node = nodes[at].as_mut().unwrap();
                let (heads, contents) = (node.heads(), node.contents());
                assert!(node.write_to(document(), steps, true).await.is_err());
                assert_eq!((node.heads(), node.contents()), (heads, contents));
            }
            Move::Push(from, to) => {
                let (from, to) = (nodes[from].as_ref().unwrap(), nodes[to].as_ref().unwrap());
                match from.after(to.heads()).await {
                    Ok(Some(parcel)) => drop(to.apply(from.id(), &parcel).await.unwrap()),
                    Ok(None) | Err(WriteError::Document(Refusal::Diverged)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            Move::Talk(from, to) => {
                let (from, to) = (nodes[from].as_ref().unwrap(), nodes[to].as_ref().unwrap());
                exchange(from, to).await;
                assert_eq!(digest(&from.heads()), digest(&to.heads()));
            }
            Move::Restart(at) => nodes[at] = Some(nodes[at].take().unwrap().restarted().await),
        }
    }
    let nodes: Vec<Node> = nodes.into_iter().flatten().collect();
    exchange(&nodes[0], &nodes[1]).await;
    exchange(&nodes[1], &nodes[2]).await;
    exchange(&nodes[2], &nodes[0]).await;
    exchange(&nodes[0], &nodes[1]).await;
    for node in &nodes {
        assert_eq!(node.heads(), nodes[0].heads());
        assert_eq!(node.contents(), nodes[0].contents());
        assert_eq!(node.view(), nodes[0].view());
        verified(node);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// In whatever order changes travel, pushed, asked for or relayed, over restarts and undone
    /// transactions, and whatever the clocks say.
    #[test]
    fn replicas_with_the_same_changes_show_the_same_bytes(
        moves in prop::collection::vec(some_move(), 1..25),
    ) {
        run(played(moves));
    }
}

#[tokio::test]
async fn a_change_that_was_undone_was_never_there_and_a_restart_writes_as_somebody_new() {
    let mut nodes = fleet(&[Role::Hub, Role::Edge]);
    let other = nodes.pop().unwrap();
    let mut node = nodes.pop().unwrap();
    node.write(put("mode", 1)).await;
    assert!(node.write_to(document(), put("mode", 2), true).await.is_err());
    let second = node.write(put("mode", 3)).await;
    assert_eq!(node.heads(), [second.change.unwrap()]);
    let counted = |node: &Node, what| node.store.counts().documents.of(what).get();
    assert_eq!(counted(&node, OfDocuments::Written), 2);
    let parcel = node.after(Vec::new()).await.unwrap().unwrap();
    assert_eq!(other.apply(node.id(), &parcel).await.unwrap().changes, 2);
    assert_eq!(counted(&other, OfDocuments::Received), 2);
    let seen = |node: &Node| -> BTreeSet<Vec<u8>> {
        let look = |view: &holdfast_sync::store::Snapshot<'_>| {
            view.scan(Table::DocumentActor, &[], &[], usize::MAX)
        };
        node.store.read_blocking(look).unwrap().into_iter().map(|(key, _)| key).collect()
    };
    let before = seen(&node);
    let mut node = node.restarted().await;
    node.write(put("mode", 4)).await;
    assert_eq!((before.len(), seen(&node).len()), (1, 2));
    let parcel = node.after(other.heads()).await.unwrap().unwrap();
    assert_eq!(other.apply(node.id(), &parcel).await.unwrap().changes, 1);
    assert_eq!(other.view(), node.view());
    // The same again changes nothing.
    assert_eq!(other.apply(node.id(), &parcel).await.unwrap().changes, 0);
    verified(&node);
}

#[tokio::test]
async fn a_conflict_is_handed_back_once_it_is_settled() {
    let mut nodes = fleet(&[Role::Hub, Role::Edge]);
    let (mut edge, mut hub) = (nodes.pop().unwrap(), nodes.pop().unwrap());
    hub.write(put("net/ip", 1)).await;
    edge.write(put("net/ip", 2)).await;
    let parcel = hub.after(Vec::new()).await.unwrap().unwrap();
    let applied = edge.apply(hub.id(), &parcel).await.unwrap();
    let [settled] = applied.settled.as_slice() else { panic!("{:?}", applied.settled) };
    assert_eq!((settled.path.as_str(), settled.rule), ("net/ip", Rule::HubWins));
    assert_eq!((settled.label, settled.losers.len()), (Some(Label::UseRemote), 1));
    let parcel = edge.after(hub.heads()).await.unwrap().unwrap();
    let there = hub.apply(edge.id(), &parcel).await.unwrap();
    assert_eq!(there.settled[0].id, settled.id);
    assert_eq!(there.settled[0].label, Some(Label::UseLocal));
    // Whoever has seen both ends it.
    edge.write(put("net/ip", 3)).await;
    let parcel = edge.after(hub.heads()).await.unwrap().unwrap();
    assert_eq!(hub.apply(edge.id(), &parcel).await.unwrap().settled, []);
    assert_eq!(hub.contents().at(Path::new("net/ip").unwrap()).len(), 1);
}

#[tokio::test]
async fn a_relay_passes_on_what_others_signed() {
    let mut nodes = fleet(&[Role::Edge, Role::Hub, Role::Edge]);
    let (third, hub) = (nodes.pop().unwrap(), nodes.pop().unwrap());
    let mut first = nodes.pop().unwrap();
    first.write(put("mode", 1)).await;
    first.write(put("net", 2)).await;
    exchange(&first, &hub).await;
    exchange(&hub, &third).await;
    assert_eq!(third.view(), first.view());
    // A member that is none any more may not have written it.
    let outside = fleet(&[Role::Edge]).pop().unwrap();
    let parcel = hub.after(Vec::new()).await.unwrap().unwrap();
    let refused = outside.apply(hub.id(), &parcel).await.unwrap_err();
    assert!(matches!(refused, WriteError::Document(Refusal::Entitled)), "{refused}");
    assert!(outside.contents().is_empty());
}

#[tokio::test]
async fn one_changed_key_costs_little_whatever_the_history() {
    let mut nodes = fleet(&[Role::Hub, Role::Edge]);
    let (mut edge, hub) = (nodes.pop().unwrap(), nodes.pop().unwrap());
    for i in 0..200 {
        edge.write(put("mode", i)).await;
    }
    exchange(&edge, &hub).await;
    edge.write(put("mode", 1000)).await;
    let parcel = edge.after(hub.heads()).await.unwrap().unwrap();
    println!("bytes of one pushed change {}", parcel.len());
    assert!(parcel.len() < 450, "{}", parcel.len());
    // With the states of the last connection, from the store.
    let bytes = exchange(&edge, &hub).await;
    println!("bytes of one change that is asked for {bytes}");
    assert!(bytes < 1500, "{bytes}");
    assert_eq!(edge.view(), hub.view());
}

#[tokio::test]
async fn a_write_beyond_the_bounds_is_refused_and_what_makes_room_is_taken() {
    let mut node = fleet(&[Role::Hub]).pop().unwrap();
    let text = "x".repeat(4096);
    let fill = |i: usize| Step::Text(format!("t{i}"), text.clone());
    assert!(!node.write((0..10).map(fill).collect()).await.large);
    assert!(node.write((10..62).map(fill).collect()).await.large);
    assert_eq!(node.refusal((62..64).map(fill).collect()).await, Refusal::Full);
    node.write(vec![Step::Delete("t0".into()), Step::Delete("t1".into())]).await;
    node.write((62..64).map(fill).collect()).await;
    node.write((0..64).map(|i| Step::Delete(format!("t{i}"))).collect()).await;
    let keys = |from: usize, to: usize| (from..to).map(|i| Step::Put(format!("k{i}"), 1)).collect();
    node.write(keys(0, limits::LIVE_KEYS as usize)).await;
    assert_eq!(node.refusal(keys(200, 201)).await, Refusal::Keys);
    assert_eq!(node.refusal(put("starts", 1)).await, Refusal::Type);
    assert_eq!(node.refusal(vec![Step::Count("mode".into(), 1)]).await, Refusal::Type);
    let same = node.write(keys(0, 10)).await;
    assert_eq!(same.change, None, "all is as it should be");
    verified(&node);
}

/// Loading each of 1,000 documents to send them to a peer that had none took longer than sending.
#[tokio::test]
async fn a_document_that_the_peer_has_nothing_of_is_sent_without_opening_it() {
    let mut nodes = fleet(&[Role::Hub, Role::Edge]);
    let other = nodes.pop().unwrap();
    let mut node = nodes.pop().unwrap();
    node.write(put("mode", 1)).await;
    let mut node = node.restarted().await;
    node.write(put("level", 2)).await;
    let node = node.restarted().await;
    let parcel = node.after(Vec::new()).await.unwrap().unwrap();
    assert_eq!(node.documents.held_open(), (0, 0));
    assert_eq!(other.apply(node.id(), &parcel).await.unwrap().changes, 2);
    assert_eq!((other.heads(), other.contents()), (node.heads(), node.contents()));
    verified(&other);
}

#[tokio::test]
async fn few_documents_are_open_and_the_sequence_of_changes_names_what_is_new() {
    let mut node = fleet(&[Role::Hub]).pop().unwrap();
    let name = |i: usize| DocumentName::new(&format!("device/d{i:03}/desired")).unwrap();
    for i in 0..100 {
        node.write_to(name(i), put("mode", i as i64), false).await.unwrap();
    }
    let (open, bytes) = node.documents.held_open();
    assert!(open <= limits::OPEN_MAX && bytes <= limits::OPEN_BYTES, "{open} {bytes}");
    let since = |after: u64| {
        let look = |view: &holdfast_sync::store::Snapshot<'_>| {
            Documents::changed_since(view, after, usize::MAX)
        };
        node.store.read_blocking(look).unwrap()
    };
    assert_eq!(since(0).len(), 100);
    let (cursor, last) = since(0).pop().unwrap();
    assert_eq!((last, since(cursor).len()), (name(99), 0));
    let node = &mut node;
    for (value, i) in [(1000, 7), (1001, 3), (1002, 7)] {
        node.write_to(name(i), put("mode", value), false).await.unwrap();
    }
    let look =
        |view: &holdfast_sync::store::Snapshot<'_>| Documents::changed_since(view, cursor, 10);
    let new = node.store.read_blocking(look).unwrap();
    let names: Vec<_> = new.iter().map(|(_, name)| name.clone()).collect();
    assert_eq!(names, [name(3), name(7)], "each once, where it changed last");
    let list = node.store.read_blocking(|view| Documents::list(view, "device/d00")).unwrap();
    assert_eq!(list.len(), 10);
    verified(node);
}

#[tokio::test]
async fn history_is_compacted_by_bytes_and_says_the_same() {
    let mut nodes = fleet(&[Role::Hub, Role::Edge]);
    let (other, mut node) = (nodes.pop().unwrap(), nodes.pop().unwrap());
    for i in 0..300 {
        node.write(put(PATHS[i % 3], i as i64)).await;
    }
    let status = node.store.read_blocking(|view| Documents::status(view, &document()));
    let status = status.unwrap().unwrap();
    println!("struck: 300 changes in {} + {} bytes", status.snapshot, status.tail);
    assert!(status.snapshot > 0 && status.tail <= limits::TAIL_BYTES.max(status.snapshot));
    assert!(status.changes == 300 && status.snapshot + status.tail < 30_000);
    verified(&node);
    let view = node.view();
    let node = node.restarted().await;
    exchange(&node, &other).await;
    assert_eq!((node.view(), other.view()), (view.clone(), view));
}

/// Damages the newest chunk of a document behind its seal, or its cells.
async fn damage(node: &Node, table: Table) {
    let change = node.store.write(move |tx| {
        let prefix = [document().as_str().as_bytes(), &[0]].concat();
        let found = tx.view().scan(table, &prefix, &[], usize::MAX)?;
        let (key, mut value) = found.last().unwrap().clone();
        let at = value.len() / 2;
        value[at] ^= 1;
        tx.put(table, &key, &value)?;
        Ok(())
    });
    change.await.unwrap();
}

#[tokio::test]
async fn damage_stays_with_its_document_and_a_peer_heals_it() {
    for table in [Table::DocumentChunk, Table::DocumentCell] {
        let mut nodes = fleet(&[Role::Hub, Role::Edge]);
        let (peer, mut node) = (nodes.pop().unwrap(), nodes.pop().unwrap());
        let whole = DocumentName::new("site/north").unwrap();
        node.write_to(whole.clone(), put("mode", 7), false).await.unwrap();
        for i in 0..5 {
            node.write(put(PATHS[i % 2], i as i64)).await;
        }
        exchange(&node, &peer).await;
        let view = node.view();
        damage(&node, table).await;
        let mut node = node.restarted().await;
        let report = verify(node.dir.path(), &mut |_| {}).unwrap();
        assert_eq!(report.findings.len(), 1, "{:#?}", report.findings);
        assert!(report.findings[0].to_string().contains("document device/pump-1/desired"));
        if table == Table::DocumentChunk {
            let written = node.write_to(document(), put("mode", 9), false).await;
            assert!(matches!(written, Err(WriteError::Fault(Fault::Damaged { .. }))));
        }
        node.write_to(whole, put("mode", 8), false).await.unwrap();
        request_repair(node.dir.path(), &report);
        let node = node.restarted().await;
        verified(&node);
        exchange(&node, &peer).await;
        assert_eq!((node.view(), peer.view()), (view.clone(), view));
        let kept = node
            .store
            .read_blocking(|view| view.scan(Table::DocumentQuarantine, &[], &[], usize::MAX));
        let lost = usize::from(table == Table::DocumentChunk);
        assert_eq!(kept.unwrap().len(), lost);
    }
}

/// A gateway writes for the device whose document it is; a hub, or for another device, nobody does.
#[tokio::test]
async fn cells_of_a_device_come_from_gateways_only() {
    let mut nodes = fleet(&[Role::Hub, Role::Edge]);
    let (edge, hub) = (nodes.pop().unwrap(), nodes.pop().unwrap());
    async fn write(node: &Node, device: &str) -> Result<(), WriteError> {
        let author = Author::device(holdfast_core::Device::new(device).unwrap());
        let writer = Writer { author, role: Role::Device, clock: Stamp(1) };
        let documents = Arc::clone(&node.documents);
        let written = node.store.write(move |tx| {
            let step = Step::Put("mode".into(), 1);
            documents.write(tx, &document(), &Policy::LWW, writer, &[step.edit()])
        });
        written.await.map(drop)
    }
    let author = WriteError::Document(Refusal::Author).to_string();
    assert_eq!(write(&hub, "pump-1").await.unwrap_err().to_string(), author);
    assert_eq!(write(&edge, "pump-2").await.unwrap_err().to_string(), author);
    write(&edge, "pump-1").await.unwrap();
    exchange(&edge, &hub).await;
    assert_eq!(hub.contents().at(Path::new("mode").unwrap())[0].role, Role::Device);
}

#[test]
fn a_start_is_part_of_who_an_actor_is() {
    let who = |boot, nonce| holdfast_sync::docs::Introduction {
        node: NodeId([1; 32]),
        incarnation: Incarnation { boot, nonce },
    };
    let actors: BTreeSet<_> = [(1, 1), (1, 2), (2, 1)]
        .map(|(boot, nonce)| who(boot, nonce).actor(&document(), 0))
        .into_iter()
        .collect();
    assert_eq!(actors.len(), 3);
    assert!(Stamp::default() < Stamp(1));
}
