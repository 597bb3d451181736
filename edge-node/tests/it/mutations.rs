//! Packets that a seeded mutator has spoiled: the codec refuses or reads them, never panics, never
//! reserves more than what came and a constant, and does the same however the bytes are cut.
//!
//! The allocator of this program counts what the thread of the test holds, and all that it ever
//! asked for. What one call may hold is judged by its peak, so that a length that is believed shows
//! even if it is refused later. What it asks for in all tells work that outgrows the input.

use crate::sessions::simulation::Rng;
use bytes::BytesMut;
use holdfast_edge::mqtt::codec::{Codec, Limits, Violation};
use holdfast_edge::mqtt::packet::{Packet, Version};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Inputs per codec; there are three.
const INPUTS: u32 = 80_000;
/// What decoding may reserve beyond the length of the input.
pub const SLACK: isize = 64 * 1024;
/// Of the inputs that are fed a second time in pieces, one in so many.
const CUT_ONE_IN: u64 = 16;

thread_local! {
    pub static HELD: Cell<isize> = const { Cell::new(0) };
    pub static PEAK: Cell<isize> = const { Cell::new(0) };
    pub static ASKED: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

fn count(change: isize) {
    let held = HELD.get() + change;
    HELD.set(held);
    PEAK.set(PEAK.get().max(held));
}

// SAFETY: all is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        ASKED.set(ASKED.get() + layout.size());
        // SAFETY: the caller keeps to the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: the caller keeps to the contract of `dealloc`.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CONNECT_311: &[u8] =
    b"\x10\x1a\0\x04MQTT\x04\xec\0\0\0\x01c\0\x01t\0\x02\xde\xad\0\x01u\0\x01p";
const CONNECT_5: &[u8] = b"\x10\x2a\0\x04MQTT\x05\x06\0\x3c\x0c\x11\0\0\0\x3c\x26\0\x01k\0\x01v\
    \0\x01c\x09\x18\0\0\0\x05\x08\0\x01r\0\x01w\0\x01x";
const CORPUS_311: &[&[u8]] = &[
    b"\x30\x06\0\x03a/bx",
    b"\x3b\x07\0\x01a\0\x0ahi",
    b"\x40\x02\0\x01",
    b"\x62\x02\0\x01",
    b"\x82\x10\0\x01\0\x01a\x01\0\x01#\x02\0\x03+/b\0",
    b"\xa2\x08\0\x01\0\x01a\0\x01b",
    b"\xc0\0",
    b"\xe0\0",
];
const CORPUS_5: &[&[u8]] = &[
    b"\x32\x2e\0\x03a/b\0\x07\x24\x01\x01\x02\0\0\0\0\x23\0\x05\x08\0\x01r\x09\0\x01\xab\x03\0\x01t\
        \x26\0\x01k\0\x01v\x26\0\x01k\0\x01whi",
    b"\x30\x0b\0\0\x03\x23\0\x01hello",
    b"\x40\x08\0\x01\x10\x04\x1f\0\x01x",
    b"\x62\x03\0\x01\x92",
    b"\x82\x16\0\x0a\x02\x0b\x07\0\x0a$share/g/a\x01\0\x01#\x2d",
    b"\xa2\x0d\0\x0a\x07\x26\0\x01k\0\x01v\0\x01#",
    b"\xe0\x07\x04\x05\x11\0\0\x0e\x10",
    b"\xf0\x0a\x18\x08\x15\0\x01m\x16\0\x01d",
];

/// Changes a few bits, bytes or pieces of one of `corpus`, often behind a length that fits again.
fn spoil(random: &mut Rng, corpus: &[&[u8]], input: &mut Vec<u8>) {
    const INTERESTING: &[u8] = &[0, 1, 2, 3, 0x7F, 0x80, 0x81, 0xC0, 0xFF, b'+', b'#', b'$', b'/'];
    input.clear();
    for _ in 0..1 + random.below(2) {
        input.extend_from_slice(corpus[random.below(corpus.len())]);
    }
    for _ in 0..1 + random.below(3) {
        let at = random.below(input.len());
        let other = corpus[random.below(corpus.len())];
        let piece = &other[random.below(other.len())..];
        match random.below(6) {
            _ if input.is_empty() => {}
            0 => input[at] ^= 1 << random.below(8),
            1 => input[at] = INTERESTING[random.below(INTERESTING.len())],
            2 => input.insert(at, INTERESTING[random.below(INTERESTING.len())]),
            3 => drop(input.remove(at)),
            4 => drop(input.splice(at..at, piece.iter().copied())),
            _ => input.truncate(at),
        }
    }
    let body = input.len().saturating_sub(2);
    if body < 128 && input.len() > 1 && random.below(2) == 0 {
        input[1] = body as u8;
    }
}

/// Reads all of `pieces`; what decoding held at most beyond them comes third.
fn read(mut codec: Codec, input: &[u8], step: usize) -> (Vec<Packet>, Option<Violation>, isize) {
    let mut packets = Vec::with_capacity(8);
    let mut buffer = BytesMut::with_capacity(input.len());
    let mut most = 0;
    for piece in input.chunks(step) {
        buffer.extend_from_slice(piece);
        loop {
            PEAK.set(HELD.get());
            let before = HELD.get();
            let read = codec.decode(&mut buffer);
            most = most.max(PEAK.get() - before);
            match read {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => break,
                Err(violation) => return (packets, Some(violation), most),
            }
        }
    }
    (packets, None, most)
}

fn mutate(seed: u64, codec: &Codec, corpus: &[&[u8]]) {
    let mut random = Rng::new(seed);
    let mut input = Vec::new();
    let (mut refused, mut taken, mut most) = (0_u32, 0_u32, 0);
    for round in 0..INPUTS {
        spoil(&mut random, corpus, &mut input);
        let (packets, violation, held) = read(codec.clone(), &input, usize::MAX);
        let allowed = input.len().cast_signed() + SLACK;
        assert!(held <= allowed, "seed {seed}, input {round}: {held} bytes for {input:02x?}");
        refused += u32::from(violation.is_some());
        taken += u32::from(!packets.is_empty());
        most = most.max(held);
        if random.next().is_multiple_of(CUT_ONE_IN) {
            let (in_pieces, cut_violation, _) = read(codec.clone(), &input, 1);
            let same = (in_pieces, cut_violation) == (packets, violation);
            assert!(same, "seed {seed}, input {round}: cutting changes {input:02x?}");
        }
    }
    println!(
        "struck: {INPUTS} inputs, {refused} refused, {taken} with a packet, {most} bytes held"
    );
    assert!(refused > INPUTS / 4 && taken > INPUTS / 20, "{refused} refused, {taken} taken");
}

fn connected(connect: &[u8]) -> Codec {
    let mut codec = Codec::new(Limits::default());
    let read = codec.decode(&mut BytesMut::from(connect));
    assert!(matches!(read, Ok(Some(Packet::Connect(_)))), "{read:?}");
    codec
}

#[test]
fn spoiled_connects_do_no_harm() {
    mutate(1, &Codec::new(Limits::default()), &[CONNECT_311, CONNECT_5]);
}

#[test]
fn spoiled_packets_of_version_3_1_1_do_no_harm() {
    let codec = connected(CONNECT_311);
    assert_eq!(codec.version(), Some(Version::V311));
    mutate(2, &codec, CORPUS_311);
}

#[test]
fn spoiled_packets_of_version_5_do_no_harm() {
    let codec = connected(CONNECT_5);
    assert_eq!(codec.version(), Some(Version::V5));
    for packet in CORPUS_5 {
        let read = codec.clone().decode(&mut BytesMut::from(*packet));
        assert!(matches!(read, Ok(Some(_))), "{packet:02x?}: {read:?}");
    }
    mutate(3, &codec, CORPUS_5);
}

#[test]
fn as_many_filters_as_fit_hold_no_more_than_is_allowed() {
    let mut body = vec![0, 1];
    for _ in 0..1_000 {
        body.extend_from_slice(b"\0\x01a\0");
    }
    let mut packet = vec![0x82, body.len() as u8 & 0x7F | 0x80, (body.len() >> 7) as u8];
    packet.extend(body);
    let (packets, violation, held) = read(connected(CONNECT_311), &packet, usize::MAX);
    assert_eq!((packets.len(), violation), (1, None));
    assert!(held <= packet.len().cast_signed() + SLACK, "{held} bytes for {}", packet.len());
}
