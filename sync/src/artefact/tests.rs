//! Artefacts between two nodes without a session, through cuts and by hands that change them.

use super::message::{ASKED_MAX, PIECE_BYTES, Part, Said};
use super::shelf::{self, Stored};
use super::*;
use crate::identity::NodeKey;
use crate::store::memory::Memory;
use crate::store::{ReadRecords, Records, Table};
use holdfast_core::artefact::limits::BLOCK_BYTES;
use holdfast_core::artefact::{ArtefactId, Manifest, Publisher};
use holdfast_core::id::FleetId;
use std::sync::Arc;

const HUB: NodeId = NodeId([1; 32]);
const EDGE: NodeId = NodeId([2; 32]);
const BYTES: usize = 40_000;

fn root() -> NodeKey {
    NodeKey::for_test(9)
}

fn fleet() -> FleetId {
    FleetId::of(&root().id())
}

fn publishing(root: &NodeKey) -> Publishing {
    let key = NodeKey::for_test(7);
    let grant = Grant {
        key_id: 1,
        serial: 7,
        key: key.id(),
        name: "works",
        kinds: &["flow"],
        not_after_s: 1_900_000_000,
    };
    Publishing::new(key, Publishing::certify(root, &grant).unwrap()).unwrap()
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 % 251) as u8).collect()
}

fn made(len: usize) -> (ArtefactId, Vec<u8>, Vec<u8>) {
    let content = bytes(len);
    let named = ("flow", "pump-guard", "1.2.0");
    let (id, manifest) = publishing(&root()).sign(named, 1_800_000_000, &content).unwrap();
    (id, manifest, content)
}

/// A node that wants some artefacts, or keeps all and gives some to whoever asks.
struct Wishes {
    wanted: Option<Vec<ArtefactId>>,
    gives: Vec<ArtefactId>,
}

impl Librarian for Wishes {
    fn fleet(&self) -> Option<FleetId> {
        Some(fleet())
    }

    fn wanted(&self, _: &dyn ReadRecords) -> Result<Option<Vec<ArtefactId>>, Fault> {
        Ok(self.wanted.clone())
    }

    fn may_have(&self, _: &dyn ReadRecords, peer: &NodeId, id: &ArtefactId) -> Result<bool, Fault> {
        Ok(*peer == EDGE && self.gives.contains(id))
    }
}

fn giver(gives: &[ArtefactId]) -> Trade {
    Trade::new(Arc::new(Wishes { wanted: None, gives: gives.to_vec() }), EDGE)
}

fn taker(wanted: &[ArtefactId]) -> Trade {
    Trade::new(Arc::new(Wishes { wanted: Some(wanted.to_vec()), gives: Vec::new() }), HUB)
}

fn parts(answer: Answer) -> Vec<Vec<u8>> {
    let Answer::Parts(parts) = answer else { panic!("{answer:?}") };
    parts
}

/// Both sides with their stores, and what passed between them.
struct Pair {
    hub: (Trade, Memory),
    edge: (Trade, Memory),
    /// Bytes of blocks that were sent.
    sent: usize,
}

impl Pair {
    fn new(gives: &[ArtefactId], wanted: &[ArtefactId]) -> Self {
        let (hub, edge) = ((giver(gives), Memory::default()), (taker(wanted), Memory::default()));
        Self { hub, edge, sent: 0 }
    }

    /// Runs until nothing more is said or `messages` have reached the edge; `spoil` sees each
    /// before it arrives.
    fn run(&mut self, messages: usize, mut spoil: impl FnMut(&mut Vec<u8>)) {
        let mut asked: Vec<_> = self.edge.0.next(&mut self.edge.1).unwrap().into_iter().collect();
        let mut arrived = 0;
        while let Some(ask) = asked.pop() {
            let ask = Message::read(&ask).unwrap();
            for mut said in parts(self.hub.0.take(&mut self.hub.1, ask).unwrap()) {
                if arrived == messages {
                    return;
                }
                arrived += 1;
                if let Ok(Said::Piece { bytes, .. }) = Said::read(&said) {
                    self.sent += bytes.len();
                }
                spoil(&mut said);
                if let Ok(said) = Message::read(&said) {
                    let answer = self.edge.0.take(&mut self.edge.1, said).unwrap();
                    let Answer::Ask(ask) = answer else { panic!("it was asked for nothing") };
                    asked.extend(ask);
                }
            }
        }
    }

    fn content(&self, id: &ArtefactId) -> Option<Vec<u8>> {
        let stored = shelf::find(&self.edge.1, id).unwrap()?;
        shelf::content(&self.edge.1, &stored).unwrap()
    }
}

#[test]
fn what_is_wanted_arrives_and_what_is_not_is_dropped() {
    let (large, small) = (made(700_001), made(5));
    let mut pair = Pair::new(&[large.0, small.0], &[large.0, small.0]);
    for (_, manifest, content) in [&large, &small] {
        shelf::shelve(&mut pair.hub.1, fleet(), manifest, content).unwrap();
    }
    pair.run(usize::MAX, |_| {});
    assert_eq!(pair.content(&large.0).as_ref(), Some(&large.2));
    assert_eq!(pair.content(&small.0).as_ref(), Some(&small.2));
    assert_eq!(pair.sent, 700_006, "each byte once");
    pair.edge.0 = taker(&[small.0]);
    pair.run(usize::MAX, |_| {});
    assert_eq!(shelf::list(&pair.edge.1).unwrap().len(), 1);
    assert_eq!(pair.edge.1.scan(Table::ArtefactBlock, &[]).unwrap().len(), 1);
    assert_eq!(pair.edge.1.scan(Table::ArtefactOutline, &[]).unwrap().len(), 1);
    assert_eq!(pair.sent, 700_006, "what is there is not asked for");
}

/// The link is cut behind every single message, and both sides begin anew.
#[test]
fn a_cut_costs_no_more_than_the_block_that_was_under_way() {
    let (id, manifest, content) = made(20 * BLOCK_BYTES + 1);
    for cut in 0..100 {
        let mut pair = Pair::new(&[id], &[id]);
        shelf::shelve(&mut pair.hub.1, fleet(), &manifest, &content).unwrap();
        pair.run(cut, |_| {});
        (pair.hub.0, pair.edge.0) = (giver(&[id]), taker(&[id]));
        pair.run(usize::MAX, |_| {});
        assert_eq!(pair.content(&id).as_ref(), Some(&content), "cut behind {cut}");
        assert!(pair.sent < content.len() + BLOCK_BYTES, "{} bytes after {cut}", pair.sent);
    }
}

/// A bit of each message is flipped on its way, one message at a time.
#[test]
fn nothing_is_kept_that_was_not_signed() {
    let (id, manifest, content) = made(BYTES);
    let mut spoiled = 0;
    for at in 0..12 {
        for bit in [0, 1, 33 * 8, 35 * 8 + 3, 101 * 8] {
            let mut pair = Pair::new(&[id], &[id]);
            shelf::shelve(&mut pair.hub.1, fleet(), &manifest, &content).unwrap();
            let mut count = 0;
            pair.run(usize::MAX, |said| {
                if count == at && bit / 8 < said.len() {
                    said[bit / 8] ^= 1 << (bit % 8);
                    spoiled += 1;
                }
                count += 1;
            });
            let kept = shelf::find(&pair.edge.1, &id).unwrap();
            let blocks = kept.map_or(0, |stored| stored.held);
            for index in 0..blocks {
                let block = shelf::block(&pair.edge.1, &id, index).unwrap().unwrap();
                let from = index as usize * BLOCK_BYTES;
                let sound = block == content[from..from + block.len()];
                assert!(sound, "block {index} after bit {bit} of message {at}");
            }
            pair.edge.0 = taker(&[id]);
            pair.run(usize::MAX, |_| {});
            assert_eq!(pair.content(&id).as_ref(), Some(&content), "message {at}, bit {bit}");
        }
    }
    assert!(spoiled > 40, "{spoiled}");
}

#[test]
fn a_peer_without_it_or_with_one_of_a_stranger_is_asked_once() {
    let (id, manifest, content) = made(BYTES);
    let mut pair = Pair::new(&[], &[id]);
    shelf::shelve(&mut pair.hub.1, fleet(), &manifest, &content).unwrap();
    pair.run(usize::MAX, |_| {});
    assert_eq!(shelf::find(&pair.edge.1, &id).unwrap(), None, "it is not for this gateway");
    assert_eq!(pair.edge.0.next(&mut pair.edge.1).unwrap(), None);

    let stranger = publishing(&NodeKey::for_test(5));
    let (id, manifest) = stranger.sign(("flow", "pump-guard", "1"), 0, &content).unwrap();
    let mut records = Memory::default();
    let refused = shelf::shelve(&mut records, fleet(), &manifest, &content).unwrap_err();
    assert!(matches!(refused, ArtefactError::Distrust(Distrust::Foreign)), "{refused}");
    let mut edge = (taker(&[id]), Memory::default());
    assert!(edge.0.next(&mut edge.1).unwrap().is_some());
    let said = Message::read(&Said::Manifest(manifest).encode()).unwrap();
    assert_eq!(edge.0.take(&mut edge.1, said).unwrap(), Answer::Ask(None));
    assert_eq!(shelf::list(&edge.1).unwrap(), []);
}

#[test]
fn nobody_is_made_to_read_more_than_was_agreed() {
    let (id, manifest, content) = made(60 * BLOCK_BYTES);
    let (hub, mut records) = (giver(&[id]), Memory::default());
    shelf::shelve(&mut records, fleet(), &manifest, &content).unwrap();
    let mut hub = hub;
    let mut ask = |part| {
        let ask = Message::read(&Said::Fetch(id, part).encode()).unwrap();
        parts(hub.take(&mut records, ask).unwrap())
    };
    let all = ask(Part::Blocks(0, u64::MAX));
    assert_eq!(all.len() as u64, ASKED_MAX * (BLOCK_BYTES / PIECE_BYTES) as u64);
    assert!(all.iter().all(|said| said.len() <= PIECE_BYTES + 64));
    assert_eq!(ask(Part::Blocks(60, 1)), [Said::Lacks(id).encode()]);
    assert_eq!(ask(Part::Blocks(u64::MAX, u64::MAX)), [Said::Lacks(id).encode()]);
    for record in [&[][..], &[16], &[19, 1, 2], &[21; 60], &[17; 700]] {
        assert!(Message::read(record).is_err(), "{record:?}");
    }
}

#[test]
fn a_part_of_the_content_is_read_from_the_blocks_that_it_lies_in_and_from_no_others() {
    let (id, manifest, content) = made(BYTES);
    let mut records = Memory::default();
    let stored = shelf::shelve(&mut records, fleet(), &manifest, &content).unwrap();
    let end = BYTES as u64;
    let block = BLOCK_BYTES as u64;
    for (from, most, expected) in [
        (0, 896, &content[..896]),
        (block - 1, 1, &content[BLOCK_BYTES - 1..BLOCK_BYTES]),
        (block, 1, &content[BLOCK_BYTES..=BLOCK_BYTES]),
        (block - 10, 896, &content[BLOCK_BYTES - 10..BLOCK_BYTES + 886]),
        (5, BYTES, &content[5..]),
        (end - 3, 896, &content[BYTES - 3..]),
        (0, 0, &[]),
        (end, 896, &[]),
        (end + 1, 896, &[]),
        (u64::MAX, usize::MAX, &[]),
    ] {
        let part = shelf::part(&records, &stored, from, most).unwrap();
        assert_eq!(part, expected, "{most} from {from}");
    }
    // Who reads a block that has changed is told so, and nobody else reads it.
    let last = [&id.0[..], &2_u32.to_be_bytes()].concat();
    let mut changed = records.get(Table::ArtefactBlock, &last).unwrap().unwrap();
    changed[7] ^= 1;
    records.put(Table::ArtefactBlock, &last, &changed).unwrap();
    let before = shelf::part(&records, &stored, 2 * block - 896, 896).unwrap();
    assert_eq!(before, content[2 * BLOCK_BYTES - 896..2 * BLOCK_BYTES]);
    for from in [2 * block - 895, end - 1] {
        let fault = shelf::part(&records, &stored, from, 896).unwrap_err().to_string();
        assert!(fault.contains("block 2 has changed"), "{fault}");
    }
    records.delete(Table::ArtefactBlock, &last).unwrap();
    let fault = shelf::part(&records, &stored, end - 1, 1).unwrap_err().to_string();
    assert!(fault.contains("no block 2"), "{fault}");
    let half = Stored { held: 2, ..stored };
    assert_eq!(shelf::part(&records, &half, 0, 896).unwrap(), [], "not before all of it is here");
}

/// The vectors of `docs/formats/artefact.md`.
#[test]
fn golden_vectors() {
    let (id, manifest, content) = made(BYTES);
    let publisher = publishing(&root());
    let hash = |bytes: &[u8]| blake3::hash(bytes).to_string();
    assert_eq!(Publisher::decode(publisher.certificate()).unwrap().name, "works");
    assert_eq!(Manifest::decode(&manifest).unwrap().check(fleet(), &verify), Ok(()));
    assert_eq!(hash(publisher.certificate()), GOLDEN[0]);
    assert_eq!(id.to_string(), GOLDEN[1]);
    assert_eq!(hash(&manifest), GOLDEN[2]);
    assert_eq!(hash(&content), GOLDEN[3]);
    assert_eq!(hash(&publish::outline(&content)), GOLDEN[4]);
    let mut records = Memory::default();
    let stored = shelf::shelve(&mut records, fleet(), &manifest, &content).unwrap();
    assert_eq!(stored, Stored { id, manifest, held: 3, size: BYTES as u64 });
    assert_eq!(records.get(Table::Artefact, &id.0).unwrap().unwrap()[..2], [1, 3]);
    assert!(shelf::remove(&mut records, &id).unwrap());
    assert!(!records.delete(Table::Artefact, &id.0).unwrap());
}

const GOLDEN: [&str; 5] = [
    "e7834044f910f75944fcc3e96ebf6def354561131be6691f296e78a24be5202c",
    "e67a962bacaecf15279abec2e39cdea0a32644e4b7ff535c1574787da76f9ef5",
    "f5ea37b5c4ce805f135261fe025d492abc3770fc79e0d4c9ce6dfadb96e30bc5",
    "b29ed9e08029905e58afbc0b657d08fc084222999ef7e9e56bae43cb65fe4230",
    "a0badd2fe2be188a1520c5e21781452c2f6396faae1a401e496d9d726ac287e9",
];
