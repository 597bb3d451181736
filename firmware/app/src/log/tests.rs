//! Power that goes at any instant: what is kept must be whole or not there, in its order, once.
//!
//! A run writes, reads and lets go until the power goes, then starts on
//! what is left, hundreds of times; beside it a plain list says what has to be there.

use super::{Fault, Log};
use crate::chip::{Broken, Chip, Draw, Outside};
use crate::memory::Identity;
use crate::node::{About, Node, Start};
use crate::record::Record;
use crate::samples::Look;
use embedded_storage::nor_flash::NorFlash;
use holdfast_core::device::flows::{Cause, Step};
use holdfast_core::device::health::Reason;
use holdfast_core::log::runs::RunId;
use holdfast_core::{Quality, Reject, Value};
use std::collections::VecDeque;
use std::vec;
use std::vec::Vec;

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

fn found<F: NorFlash<Error = Broken>>(log: &mut Log<F>) -> Vec<Name> {
    let mut all = Vec::new();
    let look = |found: &Record<'_>| {
        assert_eq!(*found, record(found.boot, found.sequence), "it is what was written");
        all.push(found.name());
        Look::On
    };
    log.look(look).expect("it can be read");
    all
}

/// What has to be there after a power cut.
#[derive(Default)]
struct Sure {
    kept: VecDeque<Name>,
    /// Any of these may be there or not: the power went while they came or went.
    doubtful: Vec<Name>,
    /// The value of each key, and the one that was being written.
    values: [u64; 8],
    next: Option<(usize, u64)>,
    pushed: u64,
}

/// A value of a key: of another length each time.
fn value(number: u64) -> Vec<u8> {
    vec![number as u8; 1 + (number % 150) as usize]
}

const FIRST_KEY: u8 = 64;

/// Goes on until the power goes.
fn work<F: NorFlash<Error = Broken>>(
    log: &mut Log<F>,
    boot: u64,
    draw: &mut Draw,
    sure: &mut Sure,
) -> Result<(), Fault<Broken>> {
    for sequence in 1.. {
        if draw.below(4) == 0 && !sure.kept.is_empty() {
            let upto = draw.below(sure.kept.len().min(40) as u64) as usize;
            let name = sure.kept[upto];
            // What was let go of last is not written down each time.
            sure.doubtful.extend(sure.kept.drain(..=upto));
            log.release(name)?;
        }
        if draw.below(6) == 0 {
            let (key, number) = (draw.below(7) as usize, draw.below(1 << 40));
            sure.next = Some((key, number));
            // Two keys, which change together or not at all.
            let values = [value(number), value(number + 1)];
            let keys = [FIRST_KEY + key as u8, FIRST_KEY + key as u8 + 1];
            log.put(&[(keys[0], &values[0]), (keys[1], &values[1])])?;
            (sure.values[key], sure.values[key + 1], sure.next) = (number, number + 1, None);
        }
        sure.doubtful.push((boot, sequence));
        log.push(&record(boot, sequence))?;
        sure.doubtful.pop();
        sure.kept.push_back((boot, sequence));
        sure.pushed += 1;
    }
    Ok(())
}

/// Cuts the power `cuts` times, between units or within one; how many samples were kept in all.
fn cut<const PAGE: usize, const UNIT: usize>(
    pages: usize,
    seed: u64,
    cuts: u64,
    tears: bool,
) -> u64 {
    let (mut draw, mut sure) = (Draw(seed), Sure::default());
    let part = Chip::<PAGE, UNIT>::new(pages);
    let values: Vec<_> = (0..8).map(|key| (FIRST_KEY + key, value(0))).collect();
    let mut log = part.open();
    for (key, value) in &values {
        log.put(&[(*key, value)]).unwrap();
    }
    for boot in 1..=cuts {
        // The power may go while the log is opened, too.
        part.left.set(draw.below(pages as u64 * (PAGE / UNIT) as u64));
        part.tears.set(tears);
        let end = part.try_open().and_then(|mut log| work(&mut log, boot, &mut draw, &mut sure));
        assert_eq!(end, Err(Fault::Flash(Broken::Power)), "seed {seed}, boot {boot}");
        part.left.set(u64::MAX);
        check(&mut part.open(), &mut sure, &std::format!("seed {seed}, boot {boot}"));
    }
    sure.pushed
}

fn check<F: NorFlash<Error = Broken>>(log: &mut Log<F>, sure: &mut Sure, at: &str) {
    let there = found(log);
    let kept = |name: &Name| sure.kept.binary_search(name).is_ok();
    let extra: Vec<Name> = there.iter().copied().filter(|name| !kept(name)).collect();
    assert!(extra.iter().all(|name| sure.doubtful.contains(name)), "{at}: {extra:?} is too much");
    // Of what was let go of, less than 32 come again, beside those for which it was to be written
    // down when the power went, and the sample that was being written.
    assert!(extra.len() <= 31 + 40 + 1, "{at}: {extra:?}");
    let rest: Vec<Name> = there.iter().copied().filter(kept).collect();
    let (dropped, damaged) = log.lost();
    assert_eq!((dropped, damaged), (0, 0), "{at}");
    assert_eq!(rest, sure.kept.make_contiguous(), "{at}");
    assert!(there.is_sorted(), "{at}: in their order");
    sure.kept = there.into();
    sure.doubtful.clear();

    let mut held = |key: usize| log.get(FIRST_KEY + key as u8).unwrap().unwrap().to_vec();
    if let Some((key, number)) = sure.next.take() {
        let is_new = [held(key) == value(number), held(key + 1) == value(number + 1)];
        // Equal lengths and bytes may make the old one look like the new one.
        let is_old =
            [held(key) == value(sure.values[key]), held(key + 1) == value(sure.values[key + 1])];
        assert!(is_new == [true; 2] || is_old == [true; 2], "{at}: half of it");
        if is_new == [true; 2] {
            (sure.values[key], sure.values[key + 1]) = (number, number + 1);
        }
    }
    for (key, number) in sure.values.iter().enumerate() {
        assert_eq!(held(key), value(*number), "{at}: key {key}");
    }
}

#[test]
fn three_thousand_cuts_lose_tear_and_reorder_nothing() {
    let kept: u64 = (0..30).map(|seed| cut::<4096, 4>(6, seed, 100, false)).sum();
    assert!(kept > 100_000, "{kept}");
}

#[test]
fn nor_do_those_of_a_part_that_writes_thirty_two_bytes_at_once() {
    let kept: u64 = (0..30).map(|seed| cut::<8192, 32>(12, seed, 100, false)).sum();
    assert!(kept > 100_000, "{kept}");
}

/// As in the STM32H7, where the unit at which the power goes cannot be read any more.
#[test]
fn nor_do_those_within_a_unit_with_error_correction() {
    let kept: u64 = (0..30).map(|seed| cut::<8192, 32>(12, seed, 100, true)).sum();
    assert!(kept > 100_000, "{kept}");
}

/// From the erase of the page that is to be the new head to the last copy of a value: wherever the
/// power goes, and goes again at the next start, every value is there a round later.
#[test]
fn any_word_of_a_new_head_may_be_the_last() {
    let part = Outside::new(4);
    let mut log = part.open();
    let names = FIRST_KEY..FIRST_KEY + 20;
    for key in names.clone() {
        log.put(&[(key, &value(u64::from(key)))]).unwrap();
    }
    let mut sequence = 0;
    let mut fill = |log: &mut Log<Outside>, upto: fn(u32, u32) -> bool| {
        while upto(log.ring.head, log.end.at) {
            sequence += 1;
            log.push(&record(1, sequence)).unwrap();
        }
    };
    fill(&mut log, |head, end| head < 3 || end < 4096 - 40);
    let (before, mut went) = (part.bytes.borrow().clone(), 0);
    for left in (0..1_024).step_by(97).chain(1_024..1_600) {
        *part.bytes.borrow_mut() = before.clone();
        let mut log = part.open();
        part.left.set(left);
        went += u32::from((1..4).any(|sequence| log.push(&record(2, sequence)).is_err()));
        part.left.set(left % 1_400);
        went += u32::from(part.try_open().is_err());
        part.left.set(u64::MAX);
        let mut log = part.open();
        for sequence in 4..400 {
            log.push(&record(2, sequence)).unwrap();
        }
        let mut log = part.open();
        for key in names.clone() {
            let there = log.get(key).unwrap();
            assert_eq!(there, Some(&value(u64::from(key))[..]), "{left}, key {key}");
        }
    }
    assert!(went > 500, "the power went {went} times");
}

/// The page that is left out may be half erased, or a copy of a value damaged: what was written
/// behind the copies stays.
#[test]
fn a_page_whose_copies_are_done_is_not_begun_again() {
    let part = Outside::new(4);
    let mut log = part.open();
    for sequence in 1..400 {
        log.put(&[(FIRST_KEY, &value(sequence))]).unwrap();
    }
    log.put(&[(FIRST_KEY + 1, b"gone")]).unwrap();
    log.put(&[(FIRST_KEY + 1, b"")]).unwrap();
    let (page, at) = (log.ring.head, log.end.at as usize);
    let index = (page as usize - 1) % 4;
    // Nothing but other values until that page is left out; then what took the key away is erased.
    let mut last = 400;
    while log.ring.oldest <= page {
        log.put(&[(FIRST_KEY, &value(last))]).unwrap();
        last += 1;
    }
    part.bytes.borrow_mut()[index * 4096 + at - 12..(index + 1) * 4096].fill(0xff);
    let mut log = part.open();
    assert_eq!(log.get(FIRST_KEY).unwrap(), Some(&value(last - 1)[..]));
    assert_eq!(log.get(FIRST_KEY + 1), Ok(None));
}

#[test]
fn a_full_flash_gives_up_the_oldest_and_counts_them() {
    let mut log = Outside::new(4).open();
    let pushed = 3_000;
    for sequence in 1..=pushed {
        log.push(&record(1, sequence)).expect("there is always room");
    }
    let there = found(&mut log);
    let (dropped, damaged) = log.lost();
    assert_eq!((u64::from(dropped) + there.len() as u64, damaged), (pushed, 0));
    assert_eq!(there.last(), Some(&(1, pushed)));
    assert!(there.windows(2).all(|pair| pair[1].1 == pair[0].1 + 1), "without a gap");
    assert!(dropped > 1_000 && there.len() > 100, "{dropped} and {}", there.len());
    assert_eq!(log.lost(), (0, 0));
}

#[test]
fn what_became_damaged_is_counted_and_passed_over() {
    let chip = Outside::new(4);
    let mut log = chip.open();
    for sequence in 1..=20 {
        log.push(&record(1, sequence)).unwrap();
    }
    // A record has 20 bytes: the payload of the third, the length of the sixth.
    for at in [12 + 2 * 20 + 9, 12 + 5 * 20 + 4] {
        chip.bytes.borrow_mut()[at] ^= 1;
    }
    let mut log = chip.open();
    let expected: Vec<Name> = (1..=20).filter(|n| ![3, 6].contains(n)).map(|n| (1, n)).collect();
    assert_eq!(found(&mut log), expected);
    log.release((1, 20)).unwrap();
    assert_eq!(log.lost(), (0, 2));
}

/// Days of a year; the test command takes a twentieth.
const YEAR_DAYS: u64 = 365;
/// Erases that a page of a serial NOR flash is rated for, as their makers say.
const RATING: u32 = 100_000;

/// A device that measures once a second, has its samples let go of by the minute, reports something
/// each quarter of an hour and is started once a day. `HOLDFAST_WEAR_DAYS=365` takes a year.
#[test]
fn pages_wear_evenly_and_not_out() {
    let days = std::env::var("HOLDFAST_WEAR_DAYS").ok().and_then(|days| days.parse().ok());
    let days: u64 = days.unwrap_or(YEAR_DAYS / 20);
    let chip = Outside::new(136);
    for boot in 1..=days {
        let mut log = chip.open();
        assert_eq!(log.count_start(), Ok(boot));
        log.set_anchor(boot, boot as i64 * 86_400_000).unwrap();
        for sequence in 1..=86_400 {
            log.push(&record(boot, sequence)).expect("there is room");
            if sequence % 60 == 0 {
                log.release((boot, sequence)).expect("it can be let go of");
            }
            if sequence % 900 == 0 {
                log.put(&[(FIRST_KEY, &value(sequence))]).expect("there is room");
            }
        }
        assert_eq!(log.lost(), (0, 0));
    }
    let erased = chip.erased.borrow();
    let (least, most) = (erased.iter().min().unwrap(), erased.iter().max().unwrap());
    assert!(*least > 0 && most - least <= 1, "{erased:?}");
    let in_ten_years = u64::from(*most) * 10 * YEAR_DAYS / days;
    assert!(in_ten_years < RATING.into(), "{in_ten_years} erases of a page in ten years");
    std::println!("{days} days: {least} to {most} erases of a page, {in_ten_years} in ten years");
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let mut log = Outside::new(3).open();
    let long = [7; 1_500];
    for len in [1_021, 1_500] {
        let refused = log.put(&[(FIRST_KEY, b"x"), (FIRST_KEY + 1, &long[..len])]);
        assert_eq!(refused, Err(Fault::Reject(Reject::Full)), "{len}");
        assert_eq!(log.get(FIRST_KEY), Ok(None));
    }
    let put = |log: &mut Log<Outside>, key: u8| log.put(&[(FIRST_KEY + key, &long[..900])]);
    put(&mut log, 0).unwrap();
    put(&mut log, 1).unwrap();
    assert_eq!(put(&mut log, 2), Err(Fault::Reject(Reject::Full)), "not twice over");
    log.put(&[(FIRST_KEY, b"")]).unwrap();
    assert_eq!(log.get(FIRST_KEY), Ok(None));
    put(&mut log, 2).unwrap();
    for round in 0..100 {
        put(&mut log, 1 + round % 2).unwrap();
    }
    assert_eq!(log.get(FIRST_KEY + 1).unwrap().map(<[u8]>::len), Some(900));
}

#[test]
fn golden_vector() {
    let chip = Chip::<256, 4>::new(4);
    let mut log = chip.open();
    log.put(&[(1, b"\x07"), (16, b"ab")]).unwrap();
    let value = Value::float(2.31).unwrap();
    let record = Record { sensor: 3, uptime_ms: 90_000, value, ..record(4, 9) };
    log.push(&record).unwrap();
    let (cause, memory) = (Cause::Time, &[1, 1, 0][..]);
    let step = Step { number: 7, run: RunId([3; 16]), count: 1, tag: 0x1234_5678, cause, memory };
    let mut encoded = heapless::Vec::<u8, 64>::new();
    step.encode(&mut encoded).unwrap();
    log.put_step((4, 90_000), &[(96, &encoded)]).unwrap();
    let bytes = chip.bytes.borrow();
    let golden = b"HFL1\x01\x00\x00\x00\x36\x7a\xe6\xe4\
        \xe1\xb0\x80\xb3\x07\x00\x02\x5f\x01\x01\x07\x10\x02\x61\x62\xff\
        \x31\xcd\xb1\xa2\x0b\x00\x01\x50\x01\x03\x00\x04\x09\x90\xbf\x05\x07\xce\x03\xff\
        \xcf\xa3\x14\x0e\x20\x00\x05\x7f\x04\x90\xbf\x05\x60\x1a\x07\x03\x03\x03\x03\x03\
        \x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x01\x78\x56\x34\x12\x01\x01\x01\x00";
    assert_eq!(&bytes[..golden.len()], golden);
    assert!(bytes[golden.len()..].iter().all(|byte| *byte == 0xff));
}

const ABOUT: About = About { firmware: "0.1.0", reason: Reason::POWER, sensors: &[], tell: |_| () };

#[test]
fn a_start_counts_even_when_the_power_goes_in_it() {
    let told = Identity::new("ps-1", "hft_1", "10.0.2.2:1883").unwrap();
    let (part, mut draw) = (Outside::new(3), Draw(7));
    let mut last = 0;
    for _ in 0..2_000 {
        part.left.set(draw.below(2 * 1_024));
        let started = part.try_open().map_err(Start::Fault);
        if let Ok(node) = started.and_then(|log| Node::start(log, ABOUT, Some(told.clone()), None))
        {
            assert!(node.boot > last, "boot {} after {last}", node.boot);
            assert_eq!(node.identity, told);
            last = node.boot;
        }
    }
    assert!(last > 500, "{last}");
}

#[test]
fn a_device_that_was_never_told_who_it_is_says_so_and_later_remembers() {
    let part = Outside::new(3);
    assert!(matches!(Node::start(part.open(), ABOUT, None, None), Err(Start::Nobody)));
    let told = Identity::new("ps-1", "hft_1", "10.0.2.2:1883").unwrap();
    Node::start(part.open(), ABOUT, Some(told.clone()), None).ok().unwrap();
    let node = Node::start(part.open(), ABOUT, None, None).ok().unwrap();
    assert_eq!((node.identity, node.boot), (told, 3));
}

#[test]
fn the_times_of_the_last_sixteen_starts_are_remembered() {
    let mut log = Outside::new(3).open();
    for boot in 1..=20_u64 {
        log.set_anchor(boot, 1_000 * boot as i64).unwrap();
    }
    log.set_anchor(20, 20_000).unwrap();
    let anchors: Vec<Option<i64>> = (3..=21).map(|boot| log.anchor(boot).unwrap()).collect();
    let expected = (3..=21).map(|boot| (5..=20).contains(&boot).then_some(1_000 * boot));
    assert_eq!(anchors, expected.collect::<Vec<_>>());
}
