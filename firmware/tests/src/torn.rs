//! A queue in the flash, pushed to until the host kills the emulator.
//!
//! `file` is the flash. `least` is the last item that the host was told of before it killed the
//! program: it has to be there. `last=yes` ends the program after it has looked. Items are numbers
//! in a row; as the queue gets full, the oldest make room. The program says what it has pushed, and
//! when it is about to erase.

#![no_std]
#![no_main]

use bsp_an385::arguments::Arguments;
use bsp_an385::flash::{Error, Flash, PAGE_BYTES};
use bsp_an385::{executor, exit, panicked};
use core::panic::PanicInfo;
use cortex_m_rt::entry;
use cortex_m_semihosting::hprintln;
use embedded_storage_async::nor_flash::{ErrorType, MultiwriteNorFlash, NorFlash, ReadNorFlash};
use sequential_storage::cache::{Cache, Uncached};
use sequential_storage::queue::{QueueConfig, QueueStorage};

const PAGES: usize = 4;
const PAGE: u32 = PAGE_BYTES as u32;
/// Of different lengths, so that they end in different places of a page.
const MIN_ITEM_BYTES: usize = 100;
const MAX_ITEM_BYTES: usize = 300;

type Queue = QueueStorage<Announced, Cache<Uncached, Uncached, Uncached>>;

/// The flash, which says when it is about to erase.
struct Announced(Flash<PAGES>);

impl ErrorType for Announced {
    type Error = Error;
}

impl ReadNorFlash for Announced {
    const READ_SIZE: usize = Flash::<PAGES>::READ_SIZE;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Error> {
        self.0.read(offset, bytes).await
    }

    fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

impl NorFlash for Announced {
    const WRITE_SIZE: usize = Flash::<PAGES>::WRITE_SIZE;
    const ERASE_SIZE: usize = Flash::<PAGES>::ERASE_SIZE;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), Error> {
        hprintln!("erasing");
        self.0.erase(from, to).await
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Error> {
        self.0.write(offset, bytes).await
    }
}

impl MultiwriteNorFlash for Announced {}

#[entry]
fn main() -> ! {
    executor::run(|spawner| spawner.spawn(all().expect("it is spawned once")))
}

#[embassy_executor::task]
async fn all() {
    let arguments = Arguments::read().unwrap_or_else(|error| panic!("{error}"));
    let file = arguments.text("file").unwrap_or_else(|error| panic!("{error}"));
    let least: u32 = arguments.value("least").unwrap_or_else(|error| panic!("{error}"));
    let mut flash = Flash::open(file).unwrap_or_else(|error| panic!("{file}: {error:?}"));
    if has_torn_erase(&mut flash).await {
        hprintln!("half erased");
    }
    let config = const { QueueConfig::new(0..PAGES as u32 * PAGE) };
    let mut queue = QueueStorage::new(Announced(flash), config, Cache::new_uncached());
    let newest = newest(&mut queue).await;
    assert!(newest >= least, "{newest} is there, but {least} was pushed");
    hprintln!("found {}", newest);
    if arguments.find("last") == Some("yes") {
        exit(true)
    }
    let mut buffer = [0; MAX_ITEM_BYTES];
    for number in newest + 1.. {
        let item = item(number, &mut buffer);
        queue.push(item, true).await.unwrap_or_else(|error| panic!("push: {error:?}"));
        hprintln!("pushed {}", number);
        if number.is_multiple_of(5) {
            let popped = queue.pop(&mut buffer).await;
            assert!(popped.is_ok_and(|item| item.is_some()), "some wait");
        }
    }
}

/// Erasing goes from the front to the back, and a page that is in use is marked at its front
/// first.
async fn has_torn_erase(flash: &mut Flash<PAGES>) -> bool {
    for page in 0..PAGES as u32 {
        let (mut first, mut last) = ([0; 4], [0; 4]);
        flash.read(page * PAGE, &mut first).await.expect("it is within the flash");
        flash.read((page + 1) * PAGE - 4, &mut last).await.expect("it is within the flash");
        if first == [0xff; 4] && last != [0xff; 4] {
            return true;
        }
    }
    false
}

/// An item of the length and the bytes that its number says.
fn item(number: u32, buffer: &mut [u8; MAX_ITEM_BYTES]) -> &[u8] {
    let length = MIN_ITEM_BYTES + number as usize * 37 % (MAX_ITEM_BYTES - MIN_ITEM_BYTES);
    let item = &mut buffer[..length];
    item.fill(number as u8);
    item[..4].copy_from_slice(&number.to_le_bytes());
    item
}

/// Looks over all items, which follow one another, and says the number of the newest.
async fn newest(queue: &mut Queue) -> u32 {
    let mut newest = None;
    let (mut buffer, mut right) = ([0; MAX_ITEM_BYTES], [0; MAX_ITEM_BYTES]);
    let mut items = queue.iter().await.unwrap_or_else(|error| panic!("iter: {error:?}"));
    loop {
        let next = items.next(&mut buffer).await;
        let Some(next) = next.unwrap_or_else(|error| panic!("next: {error:?}")) else {
            return newest.unwrap_or(0);
        };
        let number = next.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        assert_eq!(&next[..], item(number, &mut right), "item {number} is torn");
        let follows = newest.is_none_or(|newest| number == newest + 1);
        assert!(follows, "{number} follows {newest:?}");
        newest = Some(number);
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    panicked(info)
}
