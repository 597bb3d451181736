//! Manifests under every flipped bit, and outlines beside the hash of the whole.

use super::limits::{BLOCK_BYTES, CONTENT_BYTES};
use super::*;
use crate::Reject;
use crate::id::FleetId;
use proptest::prelude::*;
use std::vec::Vec;

/// A signature that a test can make: the key and the message, one behind the other.
fn sign(key: u8) -> impl FnOnce(&[u8; 32]) -> [u8; 64] {
    move |message| {
        let mut out = [key; 64];
        out[32..].copy_from_slice(message);
        out
    }
}

fn verify(key: &NodeId, message: &[u8; 32], signature: &[u8; 64]) -> bool {
    signature[..32] == key.0 && signature[32..] == *message
}

fn certificate(kinds: &[&str]) -> Vec<u8> {
    let publisher = Publisher {
        root: NodeId([9; 32]),
        key_id: 1,
        serial: 7,
        key: NodeId([7; 32]),
        name: "works",
        kinds: Kinds::of(kinds).unwrap(),
        not_after_s: 1_900_000_000,
    };
    let mut out = Vec::new();
    publisher.encode(&mut out, sign(9)).unwrap();
    assert_eq!(Publisher::decode(&out).unwrap(), publisher);
    out
}

fn content() -> Content<'static> {
    Content {
        kind: "flow",
        name: "pump-guard",
        version: "1.2.0",
        made_s: 1_800_000_000,
        size: 40_000,
        hash: [3; 32],
    }
}

fn manifest(content: &Content<'_>, kinds: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    let id = Manifest::encode(&mut out, content, &certificate(kinds), sign(7)).unwrap();
    assert_eq!(Manifest::decode(&out).unwrap().id, id);
    out
}

fn fleet() -> FleetId {
    FleetId::of(&NodeId([9; 32]))
}

#[test]
fn a_manifest_reads_back_and_every_flipped_bit_is_noticed() {
    let bytes = manifest(&content(), &["flow"]);
    let read = Manifest::decode(&bytes).unwrap();
    assert_eq!((read.content, read.publisher.name), (content(), "works"));
    assert_eq!(read.check(fleet(), &verify), Ok(()));
    assert_eq!(ArtefactId::from_hex(&std::format!("{}", read.id)), Some(read.id));
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let taken = Manifest::decode(&flipped).is_ok_and(|m| m.check(fleet(), &verify).is_ok());
        assert!(!taken, "bit {bit}");
    }
    for len in 0..bytes.len() {
        assert!(Manifest::decode(&bytes[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn only_a_publisher_of_the_fleet_publishes_and_only_what_it_may() {
    let any = manifest(&content(), &[]);
    assert_eq!(Manifest::decode(&any).unwrap().check(fleet(), &verify), Ok(()));
    let firmware = manifest(&content(), &["bundle", "firmware"]);
    let read = Manifest::decode(&firmware).unwrap();
    assert_eq!(read.check(fleet(), &verify), Err(Distrust::Kind));
    let foreign = FleetId::of(&NodeId([8; 32]));
    assert_eq!(read.check(foreign, &verify), Err(Distrust::Foreign));
    let certificate = certificate(&[]);
    let mut forged = Vec::new();
    Manifest::encode(&mut forged, &content(), &certificate, sign(6)).unwrap();
    let read = Manifest::decode(&forged).unwrap();
    assert_eq!(read.check(fleet(), &verify), Err(Distrust::Signature));
    assert!(!read.publisher.expired(1_900_000_000) && read.publisher.expired(1_900_000_001));
}

#[test]
fn what_no_artefact_is_called_is_refused() {
    let certificate = certificate(&[]);
    let refused = |content: Content<'_>| {
        Manifest::encode(&mut Vec::new(), &content, &certificate, sign(7)).unwrap_err()
    };
    assert_eq!(refused(Content { kind: "Flow", ..content() }), Reject::Malformed);
    assert_eq!(refused(Content { name: "a/b", ..content() }), Reject::Malformed);
    assert_eq!(refused(Content { version: "", ..content() }), Reject::Malformed);
    assert_eq!(refused(Content { size: 0, ..content() }), Reject::Long);
    assert_eq!(refused(Content { size: CONTENT_BYTES + 1, ..content() }), Reject::Long);
    assert_eq!(Kinds::of(&["a", "b", "c", "d", "e"]), Err(Reject::Full));
    assert_eq!(Kinds::of(&["flow", "flow"]).unwrap().as_slice(), ["flow"]);
}

fn outline(content: &[u8]) -> Vec<[u8; 32]> {
    let size = content.len() as u64;
    let each = content.chunks(BLOCK_BYTES).enumerate();
    each.map(|(index, block)| block_hash(size, index as u64, block).unwrap()).collect()
}

fn joined(hashes: &[[u8; 32]]) -> Option<[u8; 32]> {
    let mut outline = Outline::new();
    assert!(hashes.iter().all(|hash| outline.push(*hash)));
    outline.finish()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_outline_leads_to_the_hash_of_the_content(
        whole in 0usize..40,
        rest in 0usize..BLOCK_BYTES,
        seed in any::<u8>(),
    ) {
        let size = (whole * BLOCK_BYTES + rest).max(1);
        let content: Vec<u8> = (0..size).map(|i| (i % 251) as u8 ^ seed).collect();
        let hashes = outline(&content);
        prop_assert_eq!(hashes.len() as u64, blocks(size as u64));
        prop_assert_eq!(joined(&hashes), Some(*blake3::hash(&content).as_bytes()));
    }
}

#[test]
fn a_block_is_what_it_is_in_its_place_only() {
    let content: Vec<u8> = (0..40_000).map(|i| (i % 251) as u8).collect();
    let (first, size) = (&content[..BLOCK_BYTES], content.len() as u64);
    let hash = block_hash(size, 0, first);
    assert!(hash.is_some() && hash != block_hash(size, 1, first));
    assert_eq!(block_hash(size, 2, first), None, "the last one is shorter");
    assert_eq!(block_hash(size, 3, &[]), None, "there is none");
    assert_eq!(block_hash(size, u64::MAX, &[]), None);
    let mut other = outline(&content);
    other.swap(0, 1);
    assert_ne!(joined(&other), Some(*blake3::hash(&content).as_bytes()));
    assert_eq!(joined(&[]), None);
}

/// As many blocks as there may be, and not one more than there is memory for.
#[test]
fn the_longest_content_has_room() {
    let mut outline = Outline::new();
    for index in 0..blocks(CONTENT_BYTES) {
        assert!(outline.push([index as u8; 32]), "block {index}");
    }
    assert!(outline.finish().is_some());
}
