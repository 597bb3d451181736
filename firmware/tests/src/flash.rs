//! The flash in a host's file keeps the rules of a flash, and a queue lives in it.
//!
//! `file` names a file that is not there yet, `short` one of a hundred zeros.

#![no_std]
#![no_main]

use bsp_an385::arguments::Arguments;
use bsp_an385::flash::{Error, Flash, PAGE_BYTES};
use bsp_an385::{executor, exit, panicked};
use core::panic::PanicInfo;
use cortex_m_rt::entry;
use cortex_m_semihosting::hprintln;
use embedded_storage_async::nor_flash::{NorFlash, ReadNorFlash};
use sequential_storage::cache::{Cache, Uncached};
use sequential_storage::queue::{QueueConfig, QueueStorage};

const PAGES: usize = 4;
const PAGE: u32 = PAGE_BYTES as u32;
const ITEMS: u32 = 3_000;
/// Fewer than the flash has room for.
const WAITING: u32 = 100;

type Small = Flash<PAGES>;

#[entry]
fn main() -> ! {
    executor::run(|spawner| spawner.spawn(all().expect("it is spawned once")))
}

#[embassy_executor::task]
async fn all() {
    let arguments = Arguments::read().unwrap_or_else(|error| panic!("{error}"));
    let text = |key| arguments.text(key).unwrap_or_else(|error| panic!("{error}"));
    let (file, short) = (text("file"), text("short"));
    cells(file).await;
    torn(file).await;
    files(file, short).await;
    queue(file).await;
    exit(true)
}

fn open(file: &str) -> Small {
    Small::open(file).unwrap_or_else(|error| panic!("{file}: {error:?}"))
}

async fn word(flash: &mut Small, offset: u32) -> [u8; 4] {
    let mut word = [0; 4];
    flash.read(offset, &mut word).await.expect("it is within the flash");
    word
}

async fn is_erased(flash: &mut Small, from: u32, to: u32) -> bool {
    for offset in (from..to).step_by(4) {
        if word(flash, offset).await != [0xff; 4] {
            return false;
        }
    }
    true
}

/// Ones become zeros by writing and zeros become ones by erasing, in whole words and pages.
async fn cells(file: &str) {
    let mut flash = open(file);
    assert!(is_erased(&mut flash, 0, PAGES as u32 * PAGE).await, "a new one is erased");
    for page in [0, 1, 2] {
        flash.write(page * PAGE, &[0x0f; 12]).await.expect("it is erased");
    }
    let words = [0x33, 0x33, 0x33, 0x33, 0x0f, 0x0f, 0x0f, 0x0f, 0x8f, 0x8f, 0x8f, 0x8f];
    let refused = flash.write(PAGE - 4, &words).await;
    assert_eq!(refused, Err(Error::NotErased { offset: PAGE + 4 }));
    assert!(is_erased(&mut flash, PAGE - 4, PAGE).await, "nothing of it is written");
    flash.write(PAGE + 4, &[0x05; 4]).await.expect("only ones become zeros");
    assert_eq!(word(&mut flash, PAGE + 4).await, [0x05; 4]);
    assert_eq!(word(&mut flash, PAGE + 8).await, [0x0f; 4]);

    let end = PAGES as u32 * PAGE;
    assert_eq!(flash.write(2, &[0; 4]).await, Err(Error::NotAligned));
    assert_eq!(flash.write(0, &[0; 3]).await, Err(Error::NotAligned));
    assert_eq!(flash.erase(0, 4).await, Err(Error::NotAligned));
    assert_eq!(flash.erase(PAGE, 0).await, Err(Error::OutOfBounds));
    assert_eq!(flash.erase(0, end + PAGE).await, Err(Error::OutOfBounds));
    assert_eq!(flash.write(end, &[0; 4]).await, Err(Error::OutOfBounds));
    assert_eq!(flash.read(end - 1, &mut [0; 2]).await, Err(Error::OutOfBounds));

    flash.erase(PAGE, 2 * PAGE).await.expect("it is a page");
    assert!(is_erased(&mut flash, 12, 2 * PAGE).await, "the page, and what was so before");
    for page in [0, 2] {
        assert_eq!(word(&mut flash, page * PAGE).await, [0x0f; 4], "its neighbours are as before");
    }
    assert_eq!(flash.erases(), &[0, 1, 0, 0]);
    flash.erase(0, end).await.expect("they are pages");
    assert_eq!(flash.erases(), &[1, 2, 1, 1]);
    hprintln!("cells are written, refused and erased");
}

/// A write that ended after some of its words is found so by the next one to open the flash.
async fn torn(file: &str) {
    let mut flash = open(file);
    flash.write(PAGE, &[0x11; 8]).await.expect("it is erased");
    drop(flash);
    let mut flash = open(file);
    assert_eq!(word(&mut flash, PAGE + 4).await, [0x11; 4]);
    assert!(is_erased(&mut flash, PAGE + 8, PAGES as u32 * PAGE).await);
    flash.write(PAGE + 8, &[0x11; 8]).await.expect("what was left out can be written");
    flash.erase(PAGE, 2 * PAGE).await.expect("it is a page");
    hprintln!("a torn write is found as it was left");
}

/// A file that belongs to another flash is refused, a short one is filled up.
async fn files(file: &str, short: &str) {
    assert_eq!(Flash::<{ PAGES - 1 }>::open(file).err(), Some(Error::OtherSize));
    assert_eq!(Small::open("no/such/folder").err(), Some(Error::CannotOpen));
    let mut flash = open(short);
    for offset in (0..100).step_by(4) {
        assert_eq!(word(&mut flash, offset).await, [0; 4]);
    }
    assert!(is_erased(&mut flash, 100, PAGES as u32 * PAGE).await);
    hprintln!("files of other sizes are refused or filled up");
}

type Queue = QueueStorage<Small, Cache<Uncached, Uncached, Uncached>>;

fn queue_in(flash: Small) -> Queue {
    let config = const { QueueConfig::new(0..PAGES as u32 * PAGE) };
    QueueStorage::new(flash, config, Cache::new_uncached())
}

/// What is pushed comes out in its order, over many rounds of the flash and closed in between, and
/// no page is erased much more often than another.
async fn queue(file: &str) {
    let mut queue = queue_in(open(file));
    let mut wear = [0u32; PAGES];
    let mut buffer = [0; 64];
    for pushed in 0..ITEMS {
        let item = [pushed as u8; 60];
        let item = &item[..(pushed % 60) as usize + 1];
        queue.push(item, false).await.expect("it has room");
        if let Some(popped) = pushed.checked_sub(WAITING) {
            let out = queue.pop(&mut buffer).await.expect("it is sound").expect("some wait");
            assert_eq!(out.len(), (popped % 60) as usize + 1);
            assert!(out.iter().all(|byte| *byte == popped as u8));
        }
        if pushed % 300 == 299 {
            let (flash, _) = queue.destroy();
            add(&mut wear, flash.erases());
            drop(flash);
            queue = queue_in(open(file));
        }
    }
    let (flash, _) = queue.destroy();
    add(&mut wear, flash.erases());
    let (least, most) = (wear.iter().min(), wear.iter().max());
    assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1), "{wear:?}");
    hprintln!("{} items went through a queue, each page was erased {:?} times", ITEMS, wear);
}

fn add(wear: &mut [u32; PAGES], more: &[u32; PAGES]) {
    for (page, more) in wear.iter_mut().zip(more) {
        *page += more;
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    panicked(info)
}
