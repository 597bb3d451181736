//! Power that goes at any instant: what is kept must be whole or not there, in its order, once.
//!
//! The flash is one in memory that behaves as a part does: words are written once or cleared, a
//! page is erased as a whole, and when the power goes in the middle of an erase some of the page is
//! cleared and some is not. A run writes, reads and lets go until the power goes, then starts on
//! what is left, hundreds of times; beside it a plain list says what has to be there.

use crate::memory::{Identity, Memory};
use crate::node::{About, Layout, Node};
use crate::part::{Flash, Part};
use crate::record::Record;
use crate::samples::{Fault, Look, Samples};
use core::cell::Cell;
use embassy_futures::block_on;
use embassy_sync::mutex::Mutex;
use embedded_storage_async::nor_flash::{
    ErrorType, MultiwriteNorFlash, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};
use holdfast_core::device::health::Reason;
use holdfast_core::{Quality, Value};
use std::collections::VecDeque;
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

const PAGE: usize = 4096;
const WORD: usize = 4;

/// Why an operation did not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    /// The power went.
    Power,
    /// A bit was to be set that only an erase sets.
    Set,
}

impl NorFlashError for Broken {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

/// A flash in memory.
#[derive(Clone)]
struct Chip {
    bytes: Vec<u8>,
    erased: Vec<u32>,
    /// Words that are written or erased until the power goes.
    left: Rc<Cell<u64>>,
}

impl Chip {
    fn new(pages: usize) -> Self {
        let (bytes, erased) = (vec![0xff; pages * PAGE], vec![0; pages]);
        Self { bytes, erased, left: Rc::new(Cell::new(u64::MAX)) }
    }

    fn spend(&self) -> Result<(), Broken> {
        let left = self.left.get().checked_sub(1).ok_or(Broken::Power)?;
        self.left.set(left);
        Ok(())
    }
}

impl ErrorType for Chip {
    type Error = Broken;
}

impl ReadNorFlash for Chip {
    const READ_SIZE: usize = 1;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Broken> {
        let at = offset as usize;
        bytes.copy_from_slice(&self.bytes[at..at + bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl NorFlash for Chip {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = PAGE;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), Broken> {
        for page in from as usize / PAGE..to as usize / PAGE {
            self.erased[page] += 1;
            // It goes through the page with large steps, so that what is left of a torn erase is
            // not simply its end.
            for step in 0..PAGE / WORD {
                self.spend()?;
                let at = page * PAGE + (step * 389 % (PAGE / WORD)) * WORD;
                self.bytes[at..at + WORD].fill(0xff);
            }
        }
        Ok(())
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Broken> {
        for (number, word) in bytes.chunks(WORD).enumerate() {
            self.spend()?;
            let at = offset as usize + number * WORD;
            for (there, new) in self.bytes[at..at + WORD].iter_mut().zip(word) {
                if *there & new != *new {
                    return Err(Broken::Set);
                }
                *there &= new;
            }
        }
        Ok(())
    }
}

impl MultiwriteNorFlash for Chip {}

/// A generator of numbers that is the same everywhere (Steele, Lea, Flood: SplitMix, 2014).
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % end
    }
}

fn record(boot: u64, sequence: u64) -> Record<'static> {
    Record {
        boot,
        sequence,
        uptime_ms: sequence * 1_000,
        sensor: (sequence % 3) as u8,
        quality: Quality::GOOD,
        value: Value::Int((boot * 1_000_003 + sequence) as i64),
    }
}

type Name = (u64, u64);

fn found(samples: &mut Samples<'_, Chip>) -> Vec<Name> {
    let mut all = Vec::new();
    let look = |found: &Record<'_>| {
        assert_eq!(*found, record(found.boot, found.sequence), "it is what was written");
        all.push((found.boot, found.sequence));
        Look::On
    };
    block_on(samples.look(look)).expect("it can be read");
    all
}

/// Goes on until the power goes: what is pushed is then in `kept`, what was let go of is not.
async fn work(
    samples: &mut Samples<'_, Chip>,
    boot: u64,
    draw: &mut Draw,
    kept: &mut VecDeque<Name>,
    doubtful: &mut Vec<Name>,
    pushed: &mut u64,
) -> Result<(), Fault<Broken>> {
    for sequence in 1.. {
        if draw.below(4) == 0 && !kept.is_empty() {
            let upto = draw.below(kept.len().min(40) as u64) as usize;
            let (of, last) = kept[upto];
            // Any of these may be gone already when the power goes in the middle.
            doubtful.extend(kept.drain(..=upto));
            samples.release(of, last).await?;
            doubtful.clear();
        }
        doubtful.push((boot, sequence));
        samples.push(&record(boot, sequence)).await?;
        doubtful.clear();
        kept.push_back((boot, sequence));
        *pushed += 1;
    }
    Ok(())
}

/// Cuts the power `cuts` times; how many samples were kept in all.
fn cut(seed: u64, cuts: u64) -> u64 {
    let mut draw = Draw(seed);
    let mut part = Chip::new(24);
    let mut kept: VecDeque<Name> = VecDeque::new();
    let mut count = 0;
    for boot in 1..=cuts {
        let left = Rc::clone(&part.left);
        let flash: Flash<Chip> = Mutex::new(part);
        let range = 0..24 * PAGE as u32;
        let mut samples = Samples::open(Part::new(&flash), range);
        let mut doubtful = Vec::new();
        left.set(1 + draw.below(30_000));
        let end =
            block_on(work(&mut samples, boot, &mut draw, &mut kept, &mut doubtful, &mut count));
        assert!(
            matches!(end, Err(Fault::Flash(sequential_storage::Error::Storage { value, .. }))
                if value == Broken::Power),
            "seed {seed}, boot {boot}: {end:?}"
        );
        left.set(u64::MAX);
        let mut samples = Samples::open(Part::new(&flash), 0..24 * PAGE as u32);
        let there = found(&mut samples);
        let sure: Vec<Name> = kept.iter().copied().collect();
        let extra: Vec<Name> = there.iter().copied().filter(|name| !sure.contains(name)).collect();
        assert!(
            extra.iter().all(|name| doubtful.contains(name)),
            "seed {seed}, boot {boot}: {extra:?} were let go of, or never kept"
        );
        let rest: Vec<Name> = there.iter().copied().filter(|name| sure.contains(name)).collect();
        assert_eq!(rest, sure, "seed {seed}, boot {boot}");
        assert!(there.is_sorted(), "seed {seed}, boot {boot}: in their order");
        kept = there.into();
        part = flash.into_inner();
    }
    count
}

#[test]
fn three_hundred_cuts_lose_tear_and_reorder_nothing() {
    let kept: u64 = (0..3).map(|seed| cut(seed, 100)).sum();
    assert!(kept > 100_000, "{kept}");
}

#[test]
fn a_full_flash_gives_up_the_oldest_and_counts_them() {
    let flash: Flash<Chip> = Mutex::new(Chip::new(4));
    let mut samples = Samples::open(Part::new(&flash), 0..4 * PAGE as u32);
    let pushed = 3_000;
    for sequence in 1..=pushed {
        block_on(samples.push(&record(1, sequence))).expect("there is always room");
    }
    let there = found(&mut samples);
    let (dropped, damaged) = samples.lost();
    assert_eq!((u64::from(dropped) + there.len() as u64, damaged), (pushed, 0));
    assert_eq!(there.last(), Some(&(1, pushed)));
    assert!(there.windows(2).all(|pair| pair[1].1 == pair[0].1 + 1), "without a gap");
    assert!(dropped > 1_000 && there.len() > 100, "{dropped} and {}", there.len());
    assert_eq!(samples.lost(), (0, 0));
}

#[test]
fn pages_wear_evenly() {
    let flash: Flash<Chip> = Mutex::new(Chip::new(16));
    let mut samples = Samples::open(Part::new(&flash), 0..16 * PAGE as u32);
    for sequence in 1..=200_000 {
        block_on(samples.push(&record(1, sequence))).expect("there is room");
        if sequence % 50 == 0 {
            block_on(samples.release(1, sequence)).expect("it can be let go of");
        }
    }
    let erased = flash.into_inner().erased;
    let (least, most) = (erased.iter().min().unwrap(), erased.iter().max().unwrap());
    assert!(*least > 50, "{erased:?}");
    assert!(f64::from(*most) <= f64::from(*least) * 1.2, "{erased:?}");
}

fn layout() -> Layout {
    Layout { memory: 0..4 * PAGE as u32, samples: 4 * PAGE as u32..8 * PAGE as u32 }
}

const ABOUT: About = About { firmware: "0.1.0", reason: Reason::POWER, tell: |_| () };

#[test]
fn a_start_counts_even_when_the_power_goes_in_it() {
    let told = Identity::new("ps-1", "hft_1", "10.0.2.2:1883").unwrap();
    let mut part = Chip::new(8);
    let mut last = 0;
    for cut in 1..300 {
        let left = Rc::clone(&part.left);
        left.set(cut * 7 % 400);
        let flash: Flash<Chip> = Mutex::new(part);
        let started = block_on(Node::start(&flash, &layout(), ABOUT, Some(told.clone())));
        if let Ok(node) = started {
            assert!(node.boot > last, "boot {} after {last}", node.boot);
            assert_eq!(node.identity, told);
            last = node.boot;
        }
        left.set(u64::MAX);
        part = flash.into_inner();
    }
    assert!(last > 100, "{last}");
}

#[test]
fn a_device_that_was_never_told_who_it_is_says_so_and_later_remembers() {
    let flash: Flash<Chip> = Mutex::new(Chip::new(8));
    let nobody = block_on(Node::start(&flash, &layout(), ABOUT, None));
    assert!(matches!(nobody, Err(crate::node::Start::Nobody)));
    let told = Identity::new("ps-1", "hft_1", "10.0.2.2:1883").unwrap();
    drop(nobody);
    block_on(Node::start(&flash, &layout(), ABOUT, Some(told.clone()))).ok().unwrap();
    let node = block_on(Node::start(&flash, &layout(), ABOUT, None)).ok().unwrap();
    assert_eq!((node.identity, node.boot), (told, 3));
}

#[test]
fn the_times_of_the_last_sixteen_starts_are_remembered() {
    let flash: Flash<Chip> = Mutex::new(Chip::new(8));
    let mut memory = Memory::open(Part::new(&flash), layout().memory);
    for boot in 1..=20_u64 {
        block_on(memory.set_anchor(boot, 1_000 * boot as i64)).unwrap();
    }
    let anchors: Vec<Option<i64>> =
        (3..=21).map(|boot| block_on(memory.anchor(boot)).unwrap()).collect();
    let expected = (3..=21).map(|boot| (5..=20).contains(&boot).then_some(1_000 * boot));
    assert_eq!(anchors, expected.collect::<Vec<_>>());
}
