//! The flash in a host's file keeps the rules of a flash, and a log lives in it.
//!
//! `file` names a file that is not there yet, `short` one of a hundred zeros.

#![no_std]
#![no_main]

use bsp_an385::arguments::Arguments;
use bsp_an385::flash::{Error, Flash, PAGE_BYTES};
use bsp_an385::{exit, panicked};
use core::panic::PanicInfo;
use cortex_m_rt::entry;
use cortex_m_semihosting::hprintln;
use embedded_storage::nor_flash::{NorFlash, ReadNorFlash};
use holdfast_core::reading::Text;
use holdfast_core::{Quality, Value};
use holdfast_firmware::Log;
use holdfast_firmware::record::Record;
use holdfast_firmware::samples::Look;

const PAGES: usize = 4;
const PAGE: u32 = PAGE_BYTES as u32;
const SAMPLES: u64 = 3_000;
/// Fewer than the flash has room for.
const WAITING: u64 = 100;

type Small = Flash<PAGES>;

#[entry]
fn main() -> ! {
    let arguments = Arguments::read().unwrap_or_else(|error| panic!("{error}"));
    let text = |key| arguments.text(key).unwrap_or_else(|error| panic!("{error}"));
    let (file, short) = (text("file"), text("short"));
    cells(file);
    torn(file);
    files(file, short);
    log(file);
    exit(true)
}

fn open(file: &str) -> Small {
    Small::open(file).unwrap_or_else(|error| panic!("{file}: {error:?}"))
}

fn word(flash: &mut Small, offset: u32) -> [u8; 4] {
    let mut word = [0; 4];
    flash.read(offset, &mut word).expect("it is within the flash");
    word
}

fn is_erased(flash: &mut Small, from: u32, to: u32) -> bool {
    for offset in (from..to).step_by(4) {
        if word(flash, offset) != [0xff; 4] {
            return false;
        }
    }
    true
}

/// Ones become zeros by writing and zeros become ones by erasing, in whole words and pages.
fn cells(file: &str) {
    let mut flash = open(file);
    assert!(is_erased(&mut flash, 0, PAGES as u32 * PAGE), "a new one is erased");
    for page in [0, 1, 2] {
        flash.write(page * PAGE, &[0x0f; 12]).expect("it is erased");
    }
    let words = [0x33, 0x33, 0x33, 0x33, 0x0f, 0x0f, 0x0f, 0x0f, 0x8f, 0x8f, 0x8f, 0x8f];
    let refused = flash.write(PAGE - 4, &words);
    assert_eq!(refused, Err(Error::NotErased { offset: PAGE + 4 }));
    assert!(is_erased(&mut flash, PAGE - 4, PAGE), "nothing of it is written");
    flash.write(PAGE + 4, &[0x05; 4]).expect("only ones become zeros");
    assert_eq!(word(&mut flash, PAGE + 4), [0x05; 4]);
    assert_eq!(word(&mut flash, PAGE + 8), [0x0f; 4]);

    let end = PAGES as u32 * PAGE;
    assert_eq!(flash.write(2, &[0; 4]), Err(Error::NotAligned));
    assert_eq!(flash.write(0, &[0; 3]), Err(Error::NotAligned));
    assert_eq!(flash.erase(0, 4), Err(Error::NotAligned));
    assert_eq!(flash.erase(PAGE, 0), Err(Error::OutOfBounds));
    assert_eq!(flash.erase(0, end + PAGE), Err(Error::OutOfBounds));
    assert_eq!(flash.write(end, &[0; 4]), Err(Error::OutOfBounds));
    assert_eq!(flash.read(end - 1, &mut [0; 2]), Err(Error::OutOfBounds));

    flash.erase(PAGE, 2 * PAGE).expect("it is a page");
    assert!(is_erased(&mut flash, 12, 2 * PAGE), "the page, and what was so before");
    for page in [0, 2] {
        assert_eq!(word(&mut flash, page * PAGE), [0x0f; 4], "its neighbours are as before");
    }
    assert_eq!(flash.erases(), &[0, 1, 0, 0]);
    flash.erase(0, end).expect("they are pages");
    assert_eq!(flash.erases(), &[1, 2, 1, 1]);
    hprintln!("cells are written, refused and erased");
}

/// A write that ended after some of its words is found so by the next one to open the flash.
fn torn(file: &str) {
    let mut flash = open(file);
    flash.write(PAGE, &[0x11; 8]).expect("it is erased");
    drop(flash);
    let mut flash = open(file);
    assert_eq!(word(&mut flash, PAGE + 4), [0x11; 4]);
    assert!(is_erased(&mut flash, PAGE + 8, PAGES as u32 * PAGE));
    flash.write(PAGE + 8, &[0x11; 8]).expect("what was left out can be written");
    flash.erase(PAGE, 2 * PAGE).expect("it is a page");
    hprintln!("a torn write is found as it was left");
}

/// A file that belongs to another flash is refused, a short one is filled up.
fn files(file: &str, short: &str) {
    assert_eq!(Flash::<{ PAGES - 1 }>::open(file).err(), Some(Error::OtherSize));
    assert_eq!(Small::open("no/such/folder").err(), Some(Error::CannotOpen));
    let mut flash = open(short);
    for offset in (0..100).step_by(4) {
        assert_eq!(word(&mut flash, offset), [0; 4]);
    }
    assert!(is_erased(&mut flash, 100, PAGES as u32 * PAGE));
    hprintln!("files of other sizes are refused or filled up");
}

fn record(sequence: u64) -> Record<'static> {
    let text = &"............................................"[..sequence as usize % 45];
    let value = Value::Text(Text::new(text).expect("it is short"));
    Record { boot: 1, sequence, uptime_ms: sequence, sensor: 1, quality: Quality::GOOD, value }
}

/// What is pushed comes out in its order, over many rounds of the flash and opened anew in between.
fn log(file: &str) {
    let open = || {
        let log = Log::open(open(file), 0..PAGES as u32 * PAGE);
        log.unwrap_or_else(|fault| panic!("{fault:?}"))
    };
    let mut log = open();
    for pushed in 1..=SAMPLES {
        log.push(&record(pushed)).expect("it has room");
        log.put(&[(100, &pushed.to_le_bytes())]).expect("it has room");
        if let Some(upto) = pushed.checked_sub(WAITING) {
            log.release((1, upto)).expect("they are there");
        }
        if pushed % 300 != 0 {
            continue;
        }
        log = open();
        let mut last = None;
        let look = |found: &Record<'_>| {
            assert_eq!(*found, record(found.sequence), "it is what was pushed");
            assert!(last.is_none_or(|last| found.sequence == last + 1), "in their order");
            last = Some(found.sequence);
            Look::On
        };
        log.look(look).expect("it is sound");
        assert_eq!(last, Some(pushed));
        assert_eq!(log.get(100).expect("it is sound"), Some(&pushed.to_le_bytes()[..]));
        assert_eq!(log.lost(), (0, 0));
    }
    hprintln!("{} samples went through a log", SAMPLES);
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    panicked(info)
}
