//! A log in the flash, pushed to until the host kills the emulator.
//!
//! `file` is the flash. `least` is the last item that the host was told of before it killed the
//! program: it has to be there. `last=yes` ends the program after it has looked. Samples are
//! numbers in a row; as the log gets full, the oldest make room. The program says what it has
//! pushed, and when it is about to erase.

#![no_std]
#![no_main]

use bsp_an385::arguments::Arguments;
use bsp_an385::flash::{Error, Flash, PAGE_BYTES};
use bsp_an385::{exit, panicked};
use core::panic::PanicInfo;
use cortex_m_rt::entry;
use cortex_m_semihosting::hprintln;
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use holdfast_core::reading::Text;
use holdfast_core::{Quality, Value};
use holdfast_firmware::Log;
use holdfast_firmware::record::Record;
use holdfast_firmware::samples::Look;

const PAGES: usize = 4;
const PAGE: u32 = PAGE_BYTES as u32;
/// The key of the number of the sample that was pushed last.
const NEWEST: u8 = 100;

/// The flash, which says when it is about to erase.
struct Announced(Flash<PAGES>);

impl ErrorType for Announced {
    type Error = Error;
}

impl ReadNorFlash for Announced {
    const READ_SIZE: usize = Flash::<PAGES>::READ_SIZE;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Error> {
        self.0.read(offset, bytes)
    }

    fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

impl NorFlash for Announced {
    const WRITE_SIZE: usize = Flash::<PAGES>::WRITE_SIZE;
    const ERASE_SIZE: usize = Flash::<PAGES>::ERASE_SIZE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Error> {
        hprintln!("erasing");
        self.0.erase(from, to)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Error> {
        self.0.write(offset, bytes)
    }
}

#[entry]
fn main() -> ! {
    let arguments = Arguments::read().unwrap_or_else(|error| panic!("{error}"));
    let file = arguments.text("file").unwrap_or_else(|error| panic!("{error}"));
    let least: u32 = arguments.value("least").unwrap_or_else(|error| panic!("{error}"));
    let mut flash = Flash::open(file).unwrap_or_else(|error| panic!("{file}: {error:?}"));
    if has_torn_erase(&mut flash) {
        hprintln!("half erased");
    }
    let log = Log::open(Announced(flash), 0..PAGES as u32 * PAGE);
    let mut log = log.unwrap_or_else(|fault| panic!("open: {fault:?}"));
    let newest = newest(&mut log);
    assert!(newest >= least, "{newest} is there, but {least} was pushed");
    hprintln!("found {}", newest);
    if arguments.find("last") == Some("yes") {
        exit(true)
    }
    for number in newest + 1.. {
        let pushed = log.push(&record(number));
        pushed.unwrap_or_else(|fault| panic!("push: {fault:?}"));
        hprintln!("pushed {}", number);
        let put = log.put(&[(NEWEST, &number.to_le_bytes())]);
        put.unwrap_or_else(|fault| panic!("put: {fault:?}"));
    }
    exit(true)
}

/// Erasing goes from the front to the back, and a page that is in use is marked at its front.
fn has_torn_erase(flash: &mut Flash<PAGES>) -> bool {
    let mut is_erased = |at| {
        let mut word = [0; 4];
        flash.read(at, &mut word).expect("it is within the flash");
        word == [0xff; 4]
    };
    (0..PAGES as u32)
        .map(|page| page * PAGE)
        .any(|start| is_erased(start) && !(start..start + PAGE).step_by(4).all(&mut is_erased))
}

/// A sample of the length that its number says.
fn record(number: u32) -> Record<'static> {
    let text = &"............................................"[..number as usize * 37 % 45];
    let (value, sequence) = (Value::Text(Text::new(text).expect("it is short")), u64::from(number));
    Record { boot: 1, sequence, uptime_ms: sequence, sensor: 1, quality: Quality::GOOD, value }
}

/// Looks over all samples, which follow one another, and says the number of the newest. The one
/// that is kept as a value is that one, or the power went before it was written.
fn newest(log: &mut Log<Announced>) -> u32 {
    let mut newest = None;
    let look = |found: &Record<'_>| {
        let number = found.sequence as u32;
        assert_eq!(*found, record(number), "sample {number} is torn");
        let follows = newest.is_none_or(|newest| number == newest + 1);
        assert!(follows, "{number} follows {newest:?}");
        newest = Some(number);
        Look::On
    };
    log.look(look).unwrap_or_else(|fault| panic!("look: {fault:?}"));
    let newest = newest.unwrap_or(0);
    let value = log.get(NEWEST).unwrap_or_else(|fault| panic!("get: {fault:?}"));
    let value = value.and_then(|value| value.first_chunk()).map_or(0, |b| u32::from_le_bytes(*b));
    assert!(value == newest || value + 1 == newest, "{value} is kept, {newest} pushed");
    newest
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    panicked(info)
}
