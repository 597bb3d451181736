//! An update comes whole or not at all, runs when a gateway is heard, and goes again when not.

use super::*;
use crate::boot::{AlignedBuffer, prepare};
use crate::chip::{Broken, Outside};
use crate::published::{Published, WORKS, fleet};
use core::cell::RefCell;
use embassy_embedded_hal::flash::partition::{BlockingPartition, Error};
use embassy_sync::blocking_mutex::Mutex;
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embedded_storage::nor_flash::ReadNorFlash;
use std::boxed::Box;
use std::string::String;
use std::vec;
use std::vec::Vec;

const BOARD: &str = "board";
const PAGE: usize = 4096;
/// First page and pages of the log, of the active place, the next one and the state.
const PARTS: [(usize, usize); 4] = [(0, 4), (4, 3), (7, 4), (11, 2)];

type Part = BlockingPartition<'static, NoopRawMutex, Outside>;
type Faulty<T> = Result<T, Fault<Error<Broken>>>;

fn image(name: u8, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| name ^ (at / 256) as u8 ^ (at % 251) as u8).collect()
}

/// What the works makes for this board, `made_s` after another.
fn made(name: u8, made_s: i64) -> Published {
    Published::new("firmware", BOARD, made_s, &image(name, 9_001), WORKS)
}

/// A device between two starts.
struct Bench {
    chip: Outside,
}

/// One that has started.
struct Started {
    log: Log<Part>,
    update: Update<Part>,
    /// Pieces that it took.
    pieces: usize,
}

impl Bench {
    /// One that was made with the image `a`.
    fn new() -> Self {
        let chip = Outside::new(13);
        chip.bytes.borrow_mut()[4 * PAGE..][..9_001].copy_from_slice(&image(b'a', 9_001));
        Self { chip }
    }

    fn start(&self) -> Faulty<Started> {
        self.start_with(Some(fleet()))
    }

    fn start_with(&self, fleet: Option<FleetId>) -> Faulty<Started> {
        let flash = Box::leak(Box::new(Mutex::new(RefCell::new(self.chip.clone()))));
        let [log, active, next, state] = PARTS
            .map(|(first, pages)| Part::new(flash, (first * PAGE) as u32, (pages * PAGE) as u32));
        let mut buffer = AlignedBuffer([0; 256]);
        let prepared = prepare(active.clone(), next.clone(), state.clone(), &mut buffer.0);
        prepared.map_err(|_| Fault::State)?;
        let mut log = Log::open(log, 0..(4 * PAGE) as u32)?;
        let places = Places::open(BOARD, active.capacity() as u32, next, state)?;
        let update = Update::open(&mut log, places, fleet)?;
        Ok(Started { log, update, pieces: 0 })
    }

    /// The image that runs.
    fn runs(&self) -> char {
        let active = self.chip.bytes.borrow()[4 * PAGE..][..9_001].to_vec();
        let whole = "abc".chars().find(|name| image(*name as u8, 9_001) == active);
        whole.expect("a whole image runs")
    }
}

impl Started {
    fn want(&mut self, published: Option<&Published>) -> Faulty<bool> {
        self.update.want(&mut self.log, Wanted(published.map(|published| published.id)))
    }

    /// Fetches from a gateway that has it, until nothing is lacking.
    fn fetch(&mut self, published: &Published) -> Faulty<()> {
        self.want(Some(published))?;
        while let Some(of) = self.update.lacks() {
            self.pieces += 1;
            let bytes = published.part(of.part);
            self.update.take(&mut self.log, &Piece { of, bytes })?;
        }
        Ok(())
    }

    fn heard(&mut self) -> Faulty<bool> {
        self.update.heard(&mut self.log)
    }

    /// How it stands, in words.
    fn stands(&self) -> String {
        let update = self.update.said().update;
        update.map_or_else(String::new, |update| update.progress.words().into())
    }
}

#[test]
fn an_update_is_fetched_tried_and_kept() {
    let bench = Bench::new();
    let new = made(b'b', 1);
    let mut started = bench.start().unwrap();
    assert!(started.want(Some(&new)).unwrap() && !started.want(Some(&new)).unwrap());
    assert_eq!((started.stands(), bench.runs()), ("fetching".into(), 'a'));
    started.fetch(&new).unwrap();
    assert!(started.update.is_ready() && started.pieces == 12);
    let mut started = bench.start().unwrap();
    assert_eq!((started.stands(), bench.runs()), ("on trial".into(), 'b'));
    assert!(started.update.is_on_trial() && started.heard().unwrap() && !started.heard().unwrap());
    assert_eq!(started.update.said().runs, Some(new.id));
    for _ in 0..2 {
        let mut started = bench.start().unwrap();
        assert_eq!((started.stands(), bench.runs()), ("runs".into(), 'b'));
        started.fetch(&new).unwrap();
        assert_eq!(started.pieces, 0);
    }
    // And to the next, with the same two places.
    let newer = made(b'c', 2);
    bench.start().unwrap().fetch(&newer).unwrap();
    bench.start().unwrap().heard().unwrap();
    assert_eq!((bench.start().unwrap().stands(), bench.runs()), ("runs".into(), 'c'));
}

/// What a device does at a gateway that wants `new`; whether it runs and is kept, or fell back.
fn goes_on(bench: &Bench, new: &Published, pieces: &mut usize) -> Faulty<bool> {
    let mut started = bench.start()?;
    bench.runs();
    started.heard()?;
    let fetched = started.fetch(new);
    *pieces += started.pieces;
    fetched?;
    Ok(!started.update.is_on_trial() && !started.update.is_ready())
}

#[test]
fn whenever_the_power_goes_an_update_goes_on_and_one_image_runs() {
    let new = made(b'b', 1);
    let units = {
        let bench = Bench::new();
        let mut pieces = 0;
        while !goes_on(&bench, &new, &mut pieces).unwrap() {}
        assert_eq!((bench.runs(), pieces), ('b', 12));
        u64::MAX - bench.chip.left.get()
    };
    let (mut fell, mut most) = (0, 0);
    for cut in (0..units).step_by(83) {
        let bench = Bench::new();
        let mut pieces = 0;
        bench.chip.left.set(cut);
        while goes_on(&bench, &new, &mut pieces).is_ok_and(|is_over| !is_over) {}
        bench.chip.left.set(u64::MAX);
        while !goes_on(&bench, &new, &mut pieces).unwrap() {}
        let stands = bench.start().unwrap().stands();
        match bench.runs() {
            'b' => assert_eq!(stands, "runs", "cut {cut}"),
            _ => {
                assert!(stands.starts_with("fell back"), "cut {cut}: {stands}");
                fell += 1;
            }
        }
        most = most.max(pieces);
    }
    // A page's pieces again, and the one that was under way.
    assert!((13..=18).contains(&most), "{most}");
    assert!((1..=40).contains(&fell), "{fell}");
}

#[test]
fn what_no_gateway_hears_of_goes_again_and_is_not_tried_twice() {
    let bench = Bench::new();
    let new = made(b'b', 1);
    bench.start().unwrap().fetch(&new).unwrap();
    drop(bench.start().unwrap());
    assert_eq!(bench.runs(), 'b');
    for _ in 0..2 {
        let mut started = bench.start().unwrap();
        assert!(started.stands().starts_with("fell back"), "{}", started.stands());
        assert!(!started.update.is_on_trial());
        started.fetch(&new).unwrap();
        assert_eq!((started.pieces, bench.runs()), (0, 'a'));
    }
    // It was withdrawn, and is wanted again.
    let mut started = bench.start().unwrap();
    assert!(started.want(None).unwrap() && !started.want(None).unwrap());
    assert_eq!(started.update.said().update, None);
    started.fetch(&new).unwrap();
    bench.start().unwrap().heard().unwrap();
    assert_eq!((bench.start().unwrap().stands(), bench.runs()), ("runs".into(), 'b'));
}

#[test]
fn what_was_taken_back_while_it_was_kept_can_be_had_again() {
    let new = made(b'b', 1);
    let mut fell = 0;
    for cut in 0..60 {
        let bench = Bench::new();
        bench.start().unwrap().fetch(&new).unwrap();
        let mut started = bench.start().unwrap();
        bench.chip.left.set(cut);
        _ = started.heard();
        bench.chip.left.set(u64::MAX);
        let mut started = bench.start().unwrap();
        if bench.runs() == 'a' {
            fell += 1;
            started.want(None).unwrap();
            started.fetch(&new).unwrap();
            assert!(started.update.is_ready(), "cut {cut}");
        }
    }
    assert!(fell > 10, "{fell}");
}

#[test]
fn what_it_may_not_run_it_does_not() {
    let good = made(b'b', 1);
    let works = |kind, name, bytes: &[u8]| Published::new(kind, name, 1, bytes, WORKS);
    let mut other_content = good.clone();
    other_content.bytes[9_000] ^= 1;
    let mut other_manifest = good.clone();
    other_manifest.manifest[20] ^= 1;
    let large = image(b'b', 3 * PAGE + 1);
    let refused = [
        (Published::new("firmware", BOARD, 1, &good.bytes, 8), "refused: no publisher", 1),
        (other_manifest, "refused: it is not what", 1),
        (other_content, "refused: it is not what", 12),
        (works("firmware", "other", &good.bytes), "refused: it is for another board", 1),
        (works("flow", BOARD, &good.bytes), "refused: it is for another board", 1),
        (works("firmware", BOARD, &large), "refused: it is for another board", 1),
    ];
    for (number, (published, says, pieces)) in refused.iter().enumerate() {
        let bench = Bench::new();
        let mut started = bench.start().unwrap();
        started.fetch(published).unwrap();
        assert!(started.stands().starts_with(says), "{number}: {}", started.stands());
        assert!(started.pieces == *pieces && !started.update.is_ready(), "{number}");
        // Neither now nor after a start does it ask for it again; another one it takes.
        let mut started = bench.start().unwrap();
        started.fetch(published).unwrap();
        assert_eq!((started.pieces, bench.runs()), (0, 'a'), "{number}");
        if published.id != good.id {
            started.fetch(&good).unwrap();
            assert!(started.update.is_ready(), "{number}");
        }
    }
    let mut started = Bench::new().start_with(None).unwrap();
    started.fetch(&good).unwrap();
    assert!(started.stands().starts_with("refused: no publisher"));
}

#[test]
fn nobody_brings_an_old_image_back_who_cannot_sign_it_anew() {
    let bench = Bench::new();
    let (old, new) = (made(b'a', 0), made(b'b', 1));
    bench.start().unwrap().fetch(&new).unwrap();
    let mut started = bench.start().unwrap();
    started.heard().unwrap();
    started.fetch(&old).unwrap();
    assert!(started.stands().ends_with("made before what runs"), "{}", started.stands());
    // The wish for what runs is no update.
    started.want(Some(&new)).unwrap();
    assert_eq!((started.update.said().update, started.update.lacks()), (None, None));
    started.fetch(&made(b'a', 1)).unwrap();
    bench.start().unwrap().heard().unwrap();
    assert_eq!(bench.runs(), 'a');
}

#[test]
fn a_piece_that_is_not_the_next_one_changes_nothing() {
    let bench = Bench::new();
    let new = made(b'b', 1);
    let mut started = bench.start().unwrap();
    started.want(Some(&new)).unwrap();
    let of = |part| Fetch { id: new.id, part };
    let mut take = |part, bytes: &[u8]| {
        let taken = started.update.take(&mut started.log, &Piece { of: of(part), bytes });
        (taken, started.update.lacks())
    };
    assert_eq!(take(1, new.part(1)), (Ok(false), Some(of(0))));
    assert_eq!(take(0, new.part(0)), (Ok(false), Some(of(1))));
    assert_eq!(take(0, new.part(0)), (Ok(false), Some(of(1))));
    assert_eq!(take(2, new.part(2)), (Ok(false), Some(of(1))));
    assert_eq!(take(1, &new.part(1)[1..]), (Err(Reject::Malformed.into()), Some(of(1))));
    assert_eq!(take(1, new.part(1)), (Ok(false), Some(of(2))));
    // What the gateway does not have is asked for when it says again what it wants.
    assert_eq!(take(2, &[]), (Ok(false), None));
    started.want(Some(&new)).unwrap();
    assert_eq!(started.update.lacks(), Some(of(2)));
    started.fetch(&new).unwrap();
    assert!(started.update.is_ready());
}

#[test]
fn while_it_is_on_trial_nothing_else_is_fetched() {
    let bench = Bench::new();
    let (new, newer) = (made(b'b', 1), made(b'c', 2));
    bench.start().unwrap().fetch(&new).unwrap();
    let mut started = bench.start().unwrap();
    started.fetch(&newer).unwrap();
    assert_eq!((started.pieces, started.update.said().update.unwrap().id), (0, new.id));
    started.heard().unwrap();
    started.fetch(&newer).unwrap();
    assert!(started.update.is_ready());
    assert_eq!(vec![started.stands()], ["fetching"]);
}
