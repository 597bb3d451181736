//! Pieces of what devices may have, at each boundary and beyond.

use super::gateway::{Gateway, fetch};
use holdfast_core::artefact::ArtefactId;
use holdfast_core::artefact::limits::BLOCK_BYTES;
use holdfast_core::device;
use holdfast_core::device::flows::{Fetch, PIECE_BYTES, Piece};

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 % 251) as u8).collect()
}

/// What a device is told that asks for one piece after the other.
async fn told(gateway: &mut Gateway, expected: &[(ArtefactId, u64, &[u8])]) {
    let mut attached = gateway.downlink.attach("tank-1");
    for (of, part, bytes) in expected {
        gateway.says(&mut attached, "tank-1", &fetch(*of, *part)).await;
        let told = gateway.told().await;
        let [(device::TIME, _), (device::PIECE, payload)] = &told[..] else { panic!("{told:?}") };
        let expected = Piece { of: Fetch { id: *of, part: *part }, bytes };
        assert_eq!(Piece::decode(payload).unwrap(), expected, "part {part} of {of}");
    }
}

/// What a device can make of a number to lead a gateway astray.
const BEYOND: [u64; 6] = [
    u64::MAX,
    u64::MAX - 1,
    u64::MAX / PIECE_BYTES as u64,
    u64::MAX / PIECE_BYTES as u64 + 1,
    u64::MAX / PIECE_BYTES as u64 + 2,
    u32::MAX as u64 + 2,
];

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_comes_in_pieces_and_nothing_does_that_is_not_for_devices() {
    let mut gateway = Gateway::new().await;
    let content = bytes(PIECE_BYTES + 4);
    let (id, manifest) = gateway.shelve(("flow", "guard"), &content).await;
    let (secret, _) = gateway.shelve(("bundle", "secret"), &content).await;
    let (large, _) = gateway.shelve(("flow", "large"), &[7; 5_000]).await;
    let mut expected: Vec<(ArtefactId, u64, &[u8])> = vec![
        (id, 0, &manifest),
        (id, 1, &content[..PIECE_BYTES]),
        (id, 2, &content[PIECE_BYTES..]),
        (id, 3, &[]),
        (secret, 0, &[]),
        (secret, 1, &[]),
        (large, 0, &[]),
        (ArtefactId([9; 32]), 0, &[]),
    ];
    expected.extend(BEYOND.map(|part| (id, part, &[][..])));
    told(&mut gateway, &expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_comes_in_pieces_across_its_blocks_to_its_last_byte() {
    let mut gateway = Gateway::new().await;
    // Two blocks, and a third that ends within a piece.
    let content = bytes(2 * BLOCK_BYTES + 2_000);
    let (id, manifest) = gateway.shelve(("firmware", "mps2-an385"), &content).await;
    let pieces: Vec<&[u8]> = content.chunks(PIECE_BYTES).collect();
    let mut expected: Vec<(ArtefactId, u64, &[u8])> = vec![(id, 0, &manifest)];
    expected.extend((1..).zip(&pieces).map(|(part, piece)| (id, part, *piece)));
    let across = BLOCK_BYTES / PIECE_BYTES;
    assert!(across * PIECE_BYTES < BLOCK_BYTES && (across + 1) * PIECE_BYTES > BLOCK_BYTES);
    let end = pieces.len() as u64;
    expected.extend([(id, end + 1, &[][..]), (id, end + 2, &[])]);
    expected.extend(BEYOND.map(|part| (id, part, &[][..])));
    told(&mut gateway, &expected).await;
    // One that ends where a piece does has none behind it.
    let content = bytes(3 * PIECE_BYTES);
    let (id, _) = gateway.shelve(("firmware", "even"), &content).await;
    told(&mut gateway, &[(id, 3, &content[2 * PIECE_BYTES..]), (id, 4, &[])]).await;
}
