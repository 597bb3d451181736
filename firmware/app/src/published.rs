//! For tests: what a publisher of a fleet signs.

use holdfast_core::NodeId;
use holdfast_core::artefact::{ArtefactId, Content, Hasher, Kinds, Manifest, Publisher};
use holdfast_core::device::flows::PIECE_BYTES;
use holdfast_core::id::FleetId;
use std::vec::Vec;

/// The seed of the fleet's root key, and of a publisher's that it has named.
const ROOT: u8 = 9;
pub const WORKS: u8 = 7;

fn key(seed: u8) -> salty::Keypair {
    salty::Keypair::from(&[seed; 32])
}

fn public(seed: u8) -> NodeId {
    NodeId(key(seed).public.to_bytes())
}

fn sign(seed: u8) -> impl FnOnce(&[u8; 32]) -> [u8; 64] {
    move |message| key(seed).sign(message).to_bytes()
}

/// The fleet.
pub fn fleet() -> FleetId {
    FleetId::of(&public(ROOT))
}

/// An artefact.
#[derive(Clone)]
pub struct Published {
    pub id: ArtefactId,
    pub manifest: Vec<u8>,
    pub bytes: Vec<u8>,
}

impl Published {
    /// What the key `seed` signs as one of the publisher's, made `made_s` after it was named.
    pub fn new(kind: &str, name: &str, made_s: i64, bytes: &[u8], seed: u8) -> Self {
        let publisher = Publisher {
            root: public(ROOT),
            key_id: 1,
            serial: 1,
            key: public(WORKS),
            name: "works",
            kinds: Kinds::of(&["firmware", "flow"]).unwrap(),
            not_after_s: 1_900_000_000,
        };
        let mut certificate = Vec::new();
        publisher.encode(&mut certificate, sign(ROOT)).unwrap();
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        let content = Content {
            kind,
            name,
            version: "1",
            made_s: 1_800_000_000 + made_s,
            size: bytes.len() as u64,
            hash: hasher.finish(),
        };
        let mut manifest = Vec::new();
        let id = Manifest::encode(&mut manifest, &content, &certificate, sign(seed)).unwrap();
        Self { id, manifest, bytes: bytes.to_vec() }
    }

    /// A part of it, as a gateway hands it out.
    pub fn part(&self, part: u64) -> &[u8] {
        match part {
            0 => &self.manifest,
            part => self.bytes.chunks(PIECE_BYTES).nth(part as usize - 1).unwrap_or_default(),
        }
    }
}
