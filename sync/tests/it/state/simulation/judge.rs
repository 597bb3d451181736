//! What must hold at any time and in the end, written against the model and not against the code.

use super::fleet::HUB;
use super::node::{Node, journal_key};
use holdfast_core::codec::Reader;
use holdfast_core::hlc::Stamp;
use holdfast_core::state::{Cell, ConflictId, Content, Key, Policy, ViewDigest, conflict_id};
use holdfast_sync::Fault;
use holdfast_sync::docs::exchange::Steward as _;
use holdfast_sync::docs::{Contents, DocumentName, Documents, Hash};
use holdfast_sync::session::{End, RefusalCode};
use holdfast_sync::store::{ReadRecords as _, Table};
use std::collections::{BTreeMap, BTreeSet};

/// A write that its writer was told to be on disk.
struct Acknowledged {
    node: usize,
    document: DocumentName,
    change: Hash,
    /// What it put.
    puts: Vec<Put>,
    /// No replica had it any more.
    lost: bool,
}

/// A key and the cell that a write put there.
pub type Put = (String, Vec<u8>);

/// Watches a world and remembers what was wrong first.
#[derive(Default)]
pub struct Judge {
    pub wrong: Option<String>,
    pub struck: BTreeMap<&'static str, u64>,
    acknowledged: Vec<Acknowledged>,
    /// For each number of an actor the change that has it.
    numbers: BTreeMap<(Vec<u8>, u64), Vec<u8>>,
    /// Cells that were knowingly hidden by who wrote above or below them.
    knowingly: BTreeSet<Vec<u8>>,
    /// The last deletion at each key of a document, which a cut makes forgotten.
    deleted: BTreeMap<(DocumentName, String), Stamp>,
    /// All that was ever put, in the order in which it was written.
    written: BTreeMap<(DocumentName, Put), usize>,
}

impl Judge {
    pub fn find(&mut self, wrong: String) {
        self.wrong.get_or_insert(wrong);
    }

    pub fn strike(&mut self, what: &'static str, times: u64) {
        *self.struck.entry(what).or_default() += times;
    }

    pub fn refused_locally(&mut self, code: &'static str) {
        if !matches!(code, "document-type" | "document-exhausted") {
            self.find(format!("a write was refused: {code}"));
        }
    }

    /// At any time: no two changes have one number of one actor.
    pub fn chunks(&mut self, chunks: Vec<Vec<u8>>) {
        for chunk in chunks {
            let mut rest = chunk.as_slice();
            while !rest.is_empty() {
                let (change, after) = split_change(rest);
                rest = after;
                let (actor, seq) = actor_and_number(change);
                if actor[..15] == [0; 15] {
                    // What an epoch begins with is by no node.
                    continue;
                }
                let known = self.numbers.entry((actor.clone(), seq));
                if *known.or_insert_with(|| change.to_vec()) != change {
                    self.find(format!("actor {actor:02x?} has two changes of number {seq}"));
                }
            }
        }
    }

    /// At any time: a write exceeds what it has seen.
    pub fn wrote(
        &mut self,
        node: &Node,
        name: &DocumentName,
        before: &Contents,
    ) -> Result<Vec<Put>, Fault> {
        let mut puts = Vec::new();
        let after = Contents::read(&node.disk, name)?;
        let old: BTreeMap<&str, &[Vec<u8>]> = before.iter().collect();
        for (text, cells) in after.iter().filter(|(text, cells)| old.get(text) != Some(cells)) {
            let (key, new) = (Key::parse(text).unwrap(), Cell::from_bytes(&cells[0]).unwrap());
            let exceeds = before.iter().all(|(other, cells)| {
                let other = Key::parse(other).unwrap();
                let seen = other == key || (new.is_live() && other.path.meets(key.path));
                let stamps = cells.iter().map(|cell| Cell::from_bytes(cell).unwrap().stamp);
                !seen || stamps.max() < Some(new.stamp)
            });
            if cells.len() != 1 || !exceeds {
                self.find(format!("node {}: a write at {text} is not the last", node.number));
            }
            if !new.is_live() {
                let last = self.deleted.entry((name.clone(), text.to_owned())).or_insert(new.stamp);
                *last = new.stamp.max(*last);
            }
            let put = (text.to_owned(), cells[0].clone());
            let order = self.written.len();
            self.written.entry((name.clone(), put.clone())).or_insert(order);
            puts.push(put);
        }
        for (path, cell) in losers(node, name, &after) {
            let key = journal_key(name, &path, &cell);
            if node.disk.get(Table::Event, &key)?.is_none() {
                self.knowingly.insert(key);
            }
        }
        Ok(puts)
    }

    /// At any time: what lost without its loser's knowledge is in the journal.
    pub fn took(&mut self, node: &Node, name: &DocumentName) -> Result<(), Fault> {
        let contents = Contents::read(&node.disk, name)?;
        for (path, cell) in losers(node, name, &contents) {
            let key = journal_key(name, &path, &cell);
            if node.disk.get(Table::Event, &key)?.is_some() {
                self.strike("losing cell in a journal", 1);
            } else if !self.knowingly.contains(&key) {
                let number = node.number;
                self.find(format!("node {number}: a cell at {path} of {name} lost unheard"));
            }
        }
        Ok(())
    }

    /// At any time: two honest nodes never find fault with each other.
    pub fn ended(&mut self, end: &End) {
        if end.code != RefusalCode::Unavailable {
            self.find(format!("a session ended: {end:?}"));
        }
        self.strike("silence noticed", u64::from(end.reason.contains("nothing was heard")));
    }

    pub fn says(&mut self, record: &[u8]) {
        if record[0] == 8 {
            self.find(format!("refused: {}", String::from_utf8_lossy(record)));
        }
        if record[0] == 21 {
            // Chunks begin with these bytes.
            let with_base = record.windows(4).any(|bytes| bytes == [0x85, 0x6f, 0x4a, 0x83]);
            let how =
                if with_base { "cut told with its base" } else { "cut told without its base" };
            self.strike(how, 1);
        }
        let known = [(5, "something wanted"), (6, "engines talked"), (10, "all compared")];
        let kind = known.iter().find(|(kind, _)| *kind == record[0]);
        kind.iter().for_each(|(_, what)| self.strike(what, 1));
    }

    pub fn acknowledged(
        &mut self,
        node: usize,
        document: DocumentName,
        change: Hash,
        puts: Vec<Put>,
    ) {
        self.acknowledged.push(Acknowledged { node, document, change, puts, lost: false });
    }

    pub fn writes(&self) -> u64 {
        self.acknowledged.len() as u64
    }

    /// A node has forgotten something: notes what no replica has any more.
    pub fn forgotten(&mut self, nodes: &mut [Node]) {
        for write in &mut self.acknowledged {
            write.lost |=
                nodes[write.node].restores > 0 && !nodes.iter_mut().any(|node| has(node, write));
        }
    }

    pub fn lost(&self) -> u64 {
        self.acknowledged.iter().filter(|write| write.lost).count() as u64
    }

    /// In the end: what was acknowledged and not lost by all is everywhere.
    pub fn finish(&mut self, nodes: &mut [Node]) {
        if let Some(differs) = differs(nodes) {
            return self.find(differs);
        }
        let mut missing = None;
        for write in self.acknowledged.iter().filter(|write| !write.lost) {
            let without = (0..nodes.len()).find(|&at| {
                let shares = at == HUB || at == write.node || shares(nodes, at, &write.document);
                shares && !has(&mut nodes[at], write) && !self.is_over(&nodes[at], write)
            });
            let lost = |node: &Node| {
                let name = &write.document;
                write.puts.iter().all(|(key, cell)| {
                    let path = Key::parse(key).unwrap().path;
                    let key = journal_key(name, path.as_str(), cell);
                    node.disk.get(Table::Event, &key).unwrap().is_some()
                })
            };
            if let Some(at) = without
                && !nodes.iter().any(lost)
            {
                let (node, document) = (write.node, &write.document);
                missing = Some(format!("node {at} lacks a write of {document} by node {node}"));
            }
        }
        missing.into_iter().for_each(|missing| self.find(missing));
        if let Some(back) = self.came_back(&nodes[HUB]) {
            self.find(back);
        }
        for name in Documents::list(&nodes[HUB].disk, "").unwrap() {
            let status = Documents::status(&nodes[HUB].disk, &name).unwrap();
            self.strike("history cut", status.map_or(0, |status| status.epoch));
        }
        for node in nodes.iter() {
            for name in Documents::list(&node.disk, "").unwrap() {
                let took = self.took(node, &name);
                took.unwrap();
            }
        }
    }
}

impl Judge {
    /// Whether a node may have nothing of a write any more: it deleted something or was deleted,
    /// and a cut has forgotten that. What came after it may be of any time.
    fn is_over(&self, node: &Node, write: &Acknowledged) -> bool {
        let name = &write.document;
        let Ok(contents) = Contents::read(&node.disk, name) else { return false };
        write.puts.iter().all(|(key, cell)| {
            let Cell { stamp, content, .. } = Cell::from_bytes(cell).unwrap();
            let here = || contents.iter().filter(|(other, _)| other == key).flat_map(|(_, c)| c);
            let order =
                |cell: &Vec<u8>| self.written.get(&(name.clone(), (key.clone(), cell.clone())));
            here().any(|other| Cell::from_bytes(other).unwrap().stamp >= stamp)
                || match content {
                    Content::Tombstone => here().all(|other| order(other) > order(cell)),
                    _ => self.deleted.get(&(name.clone(), key.clone())) >= Some(&stamp),
                }
        })
    }

    /// What was deleted and stands there again, though it was written before and is earlier.
    fn came_back(&self, hub: &Node) -> Option<String> {
        let last = |key: &str| key.starts_with("last/");
        let deletions = self.acknowledged.iter().filter(|write| !write.lost).flat_map(|write| {
            let puts = write.puts.iter().filter(|(key, _)| last(key));
            puts.map(|put| (&write.document, put))
        });
        for (name, put) in deletions {
            let deletion = Cell::from_bytes(&put.1).unwrap();
            let contents = Contents::read(&hub.disk, name).unwrap();
            let here = contents.iter().find(|(key, _)| *key == put.0);
            let Some(first) = here.map(|(_, cells)| &cells[0]) else { continue };
            let standing = Cell::from_bytes(first).unwrap();
            let order = |put: &Put| self.written.get(&(name.clone(), put.clone()));
            let was_before = order(&(put.0.clone(), first.clone())) < order(put);
            let is_back = !deletion.is_live() && standing.is_live() && was_before;
            if is_back && standing.stamp < deletion.stamp {
                return Some(format!("{} of {name} was deleted and came back", put.0));
            }
        }
        None
    }
}

/// Whether a node has a write, or a later one of what it put. A history that was cut or folded has
/// forgotten the write itself.
fn has(node: &mut Node, write: &Acknowledged) -> bool {
    let Node { documents, disk, .. } = node;
    let name = &write.document;
    if documents.holds(disk, name, &[write.change]).unwrap_or_default() {
        return true;
    }
    let Ok(contents) = Contents::read(disk, name) else { return false };
    write.puts.iter().all(|(key, cell)| {
        let stamp = Cell::from_bytes(cell).unwrap().stamp;
        let mut here = contents.iter().filter(|(other, _)| other == key).flat_map(|(_, c)| c);
        here.any(|cell| Cell::from_bytes(cell).unwrap().stamp >= stamp)
    })
}

fn shares(nodes: &[Node], gateway: usize, name: &DocumentName) -> bool {
    nodes[HUB].steward.shares(&nodes[gateway].id(), name)
}

/// In what the nodes differ that share a document, if in anything.
pub fn differs(nodes: &[Node]) -> Option<String> {
    for gateway in 1..nodes.len() {
        let mut names: BTreeSet<_> =
            Documents::list(&nodes[gateway].disk, "").unwrap().into_iter().collect();
        let at_hub = Documents::list(&nodes[HUB].disk, "").unwrap().into_iter();
        names.extend(at_hub.filter(|name| shares(nodes, gateway, name)));
        for name in names {
            let both = [HUB, gateway].map(|at| shown(&nodes[at], &name));
            if both[0] != both[1] {
                let what = both.map(|held| held.map(|held| held.summary()));
                return Some(format!("hub and node {gateway} differ in {name}: {what:?}"));
            }
        }
    }
    None
}

/// What a node has of a document and makes of it.
#[derive(Debug, PartialEq)]
struct Held {
    heads: Vec<Hash>,
    contents: Contents,
    digest: ViewDigest,
    open: Vec<ConflictId>,
}

impl Held {
    fn summary(&self) -> String {
        let heads: Vec<_> =
            self.heads.iter().map(|h| format!("{:02x}{:02x}", h[0], h[1])).collect();
        let cells = self.contents.iter().map(|(_, cells)| cells.len()).sum::<usize>();
        format!("heads {heads:?}, {cells} cells, view {}, open {:?}", self.digest, self.open)
    }
}

fn shown(node: &Node, name: &DocumentName) -> Option<Held> {
    let heads = Documents::status(&node.disk, name).ok()??.heads;
    let contents = Contents::read(&node.disk, name).ok()?;
    let policy = node.steward.policy(name);
    let policy = Policy::from_bytes(&policy).unwrap();
    let digest = contents.digest(name, &policy);
    let open = contents.view(name, &policy, |view| {
        let open = view.filter(|resolved| resolved.outcome.is_open());
        open.map(|resolved| conflict_id(name.path(), &resolved)).collect()
    });
    Some(Held { heads, contents, digest, open })
}

/// The cells of a document that lost, each with its path.
fn losers(node: &Node, name: &DocumentName, contents: &Contents) -> Vec<(String, Vec<u8>)> {
    let policy = node.steward.policy(name);
    let policy = Policy::from_bytes(&policy).unwrap();
    let mut out = Vec::new();
    contents.view(name, &policy, |view| {
        for resolved in view {
            let (outcome, path) = (&resolved.outcome, resolved.path.as_str());
            let hidden = resolved.is_hidden && outcome.is_live();
            let lost: Vec<_> = match hidden {
                true => outcome.cells().iter().filter(|cell| cell.is_live()).collect(),
                false => outcome.losers().collect(),
            };
            out.extend(lost.into_iter().map(|cell| {
                let mut bytes = Vec::new();
                cell.encode(&mut bytes).unwrap();
                (path.to_owned(), bytes)
            }));
        }
    });
    out
}

/// Splits off the first of several change chunks.
fn split_change(chunks: &[u8]) -> (&[u8], &[u8]) {
    assert_eq!(chunks[8], 1, "a change");
    let mut reader = Reader::new(&chunks[9..]);
    let length = reader.uint().unwrap() as usize;
    chunks.split_at(chunks.len() - reader.rest().len() + length)
}

fn actor_and_number(change: &[u8]) -> (Vec<u8>, u64) {
    let mut reader = Reader::new(&change[9..]);
    reader.uint().unwrap();
    for _ in 0..reader.uint().unwrap() {
        reader.array::<32>().unwrap();
    }
    let actor = reader.bytes(16).unwrap().to_vec();
    (actor, reader.uint().unwrap())
}
