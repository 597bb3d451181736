//! Whenever the power goes, one whole image starts: on a part with small pages and words, and on
//! one with large pages and units that take one write.

use super::*;
use crate::chip::{Broken, Chip};
use core::cell::RefCell;
use embassy_embedded_hal::flash::partition::BlockingPartition;
use embassy_sync::blocking_mutex::Mutex;
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embedded_storage::nor_flash::ReadNorFlash;
use std::boxed::Box;
use std::vec;
use std::vec::Vec;

/// Pages of an image.
const PAGES: usize = 3;

type Part<const PAGE: usize, const UNIT: usize> =
    BlockingPartition<'static, NoopRawMutex, Chip<PAGE, UNIT>>;

/// A board with places in a part.
struct Board<const PAGE: usize, const UNIT: usize> {
    chip: Chip<PAGE, UNIT>,
}

/// An image: each page says whose it is and where it belongs.
fn image<const PAGE: usize>(name: u8) -> Vec<u8> {
    (0..PAGES * PAGE).map(|at| name ^ (at / PAGE) as u8 ^ (at % 251) as u8).collect()
}

impl<const PAGE: usize, const UNIT: usize> Board<PAGE, UNIT> {
    /// One that was made with the image `a`.
    fn new() -> Self {
        let chip = Chip::new(2 * PAGES + 1 + 2);
        chip.bytes.borrow_mut()[..PAGES * PAGE].copy_from_slice(&image::<PAGE>(b'a'));
        Self { chip }
    }

    /// The active place, the next and the state.
    fn parts(&self) -> [Part<PAGE, UNIT>; 3] {
        let flash = Box::leak(Box::new(Mutex::new(RefCell::new(self.chip.clone()))));
        [(0, PAGES), (PAGES, PAGES + 1), (2 * PAGES + 1, 2)].map(|(first, pages)| {
            BlockingPartition::new(flash, (first * PAGE) as u32, (pages * PAGE) as u32)
        })
    }

    fn places(&self) -> Result<Places<Part<PAGE, UNIT>>, ()> {
        let [active, next, state] = self.parts();
        Places::open("board", active.capacity() as u32, next, state).map_err(drop)
    }

    fn start(&self) -> Result<(), ()> {
        let [active, next, state] = self.parts();
        let mut buffer = AlignedBuffer([0; 64]);
        prepare(active, next, state, &mut buffer.0).map(drop).map_err(drop)
    }

    /// The image that the processor runs.
    fn runs(&self) -> u8 {
        let active = self.chip.bytes.borrow()[..PAGES * PAGE].to_vec();
        let whole = [b'a', b'b'].into_iter().find(|name| image::<PAGE>(*name) == active);
        whole.expect("a whole image is where the processor starts")
    }

    /// What firmware does: the image `b` is to be had, and is kept where it is any good.
    fn works(&self, is_good: bool, has_tried: &mut bool) -> Result<bool, ()> {
        let mut places = self.places()?;
        let stands = places.stands().map_err(drop)?;
        match (self.runs(), stands) {
            (b'b', State::Swap) if is_good => places.keep().map_err(drop)?,
            (b'b', State::Swap) => {}
            (b'a', State::Revert) => {
                *has_tried = true;
                places.keep().map_err(drop)?;
            }
            (b'a', _) if *has_tried => {}
            (b'a', _) => {
                for (at, bytes) in (0..).step_by(96).zip(image::<PAGE>(b'b').chunks(96)) {
                    places.write(at, bytes).map_err(drop)?;
                }
                places.swap().map_err(drop)?;
            }
            _ => {}
        }
        let stands = places.stands().map_err(drop)?;
        Ok(stands == State::Boot && (*has_tried || self.runs() == b'b'))
    }

    /// A life of starts, until the update is through or was taken back; whether the power stayed.
    fn lives(&self, is_good: bool, has_tried: &mut bool) -> Result<(), ()> {
        for _ in 0..20 {
            self.start()?;
            if self.works(is_good, has_tried)? {
                return Ok(());
            }
        }
        panic!("no end of starts: {} runs", self.runs());
    }
}

/// Cuts the power after every unit that a life writes or erases, or within it, and lets the next
/// one go on.
fn at_every_unit<const PAGE: usize, const UNIT: usize>(is_good: bool, tears: bool) {
    let whole = Board::<PAGE, UNIT>::new();
    whole.chip.left.set(u64::MAX);
    whole.lives(is_good, &mut false).unwrap();
    let units = u64::MAX - whole.chip.left.get();
    assert!(units > 100, "{units}");
    assert_eq!(whole.runs(), if is_good { b'b' } else { b'a' });
    for cut in 0..units {
        let board = Board::<PAGE, UNIT>::new();
        let mut has_tried = false;
        board.chip.left.set(cut);
        board.chip.tears.set(tears);
        assert_eq!(board.lives(is_good, &mut has_tried), Err(()), "cut {cut}");
        // A second cut soon behind it finds what the first one left.
        board.chip.left.set(cut % 37);
        board.chip.tears.set(tears);
        let _ = board.lives(is_good, &mut has_tried);
        board.chip.left.set(u64::MAX);
        board.lives(is_good, &mut has_tried).unwrap();
        // The power may have gone while it was on trial.
        assert_eq!(board.runs(), if has_tried { b'a' } else { b'b' }, "cut {cut}");
    }
}

#[test]
fn an_update_gets_through_whenever_the_power_goes() {
    at_every_unit::<256, 4>(true, false);
    at_every_unit::<1024, 32>(true, false);
    at_every_unit::<1024, 32>(true, true);
}

#[test]
fn an_image_that_is_not_kept_goes_again_whenever_the_power_goes() {
    at_every_unit::<256, 4>(false, false);
    at_every_unit::<1024, 32>(false, false);
    at_every_unit::<1024, 32>(false, true);
}

#[test]
fn a_steady_place_is_erased_or_not() {
    let fresh = Chip::<256, 4>::new(2);
    let mut place = Steady::open(fresh.clone()).unwrap();
    let all = place.capacity() as u32;
    place.write(0, &[7; 64]).unwrap();
    let before = u64::MAX - fresh.left.get();
    place.erase(0, all).unwrap();
    let units = u64::MAX - fresh.left.get() - before;
    for cut in 0..units {
        let chip = Chip::<256, 4>::new(2);
        let mut place = Steady::open(chip.clone()).unwrap();
        place.write(0, &[7; 64]).unwrap();
        chip.left.set(cut);
        assert!(matches!(place.erase(0, all), Err(steady::Error::Flash(Broken::Power))));
        chip.left.set(u64::MAX);
        let mut bytes = vec![0; all as usize];
        Steady::open(chip).unwrap().read(0, &mut bytes).unwrap();
        assert!(bytes[..64] == [7; 64] && bytes[64..].iter().all(|byte| *byte == 0xff), "{cut}");
    }
    let mut bytes = vec![0; all as usize];
    place.read(0, &mut bytes).unwrap();
    assert!(bytes.iter().all(|byte| *byte == 0xff));
    assert!(matches!(place.erase(0, all - 4), Err(steady::Error::OutOfBounds)));
    assert!(matches!(place.read(1, &mut bytes), Err(steady::Error::OutOfBounds)));
}

#[test]
fn golden_vector() {
    let chip = Chip::<256, 4>::new(2);
    let mut place = Steady::open(chip.clone()).unwrap();
    let all = place.capacity() as u32;
    place.erase(0, all).unwrap();
    let mut places = Places::open("board", 0, chip.clone(), chip.clone()).unwrap();
    places.swap().unwrap();
    assert_eq!(places.stands(), Ok(State::Swap));
    let golden = [3, 0, 0, 0, 0xfc, 0xff, 0xff, 0xff, 0xf0, 0xf0, 0xf0, 0xf0, 0xff];
    assert_eq!(chip.bytes.borrow()[256..][..golden.len()], golden);
}

#[test]
fn what_is_there_already_is_not_written_again() {
    let mut place = Steady::open(Chip::<1024, 32>::new(2)).unwrap();
    place.write(64, &[1; 64]).unwrap();
    place.write(64, &[1; 64]).unwrap();
    assert!(matches!(place.write(64, &[0; 32]), Err(steady::Error::Flash(Broken::Twice))));
}
