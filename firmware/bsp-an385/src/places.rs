//! What lies where in the flash, and how an image comes into it and out of it.
//!
//! | pages | what |
//! |---|---|
//! | 0 to 135 | the log of the device |
//! | 136 to 179 | the image that runs |
//! | 180 to 224 | the next one, a page more |
//! | 225 and 226 | how far a swap of the two has come |
//!
//! Where a part runs programs from its flash, this board copies them: its processor has memory at
//! the address where they are linked, and the emulator fills none of it but the loader's.

use crate::flash::{Flash, PAGE_BYTES};
use crate::semihosting::File;
use core::cell::RefCell;
use embassy_embedded_hal::flash::partition::BlockingPartition;
use embassy_sync::blocking_mutex::Mutex;
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embedded_storage::nor_flash::{NorFlash, ReadNorFlash};

/// Pages of the flash: 1 MiB, as a small part beside a microcontroller has.
pub const PAGES: usize = 256;
/// What images for this board are called.
pub const BOARD: &str = "mps2-an385";
/// Bytes that an image may have.
pub const IMAGE_BYTES: usize = 44 * PAGE_BYTES;
/// Where an image is linked: behind the loader.
const LINKED: usize = 0x8000;
/// Memory in which its stack may begin.
const MEMORY: core::ops::RangeInclusive<u32> = 0x2000_0000..=0x2001_0000;

/// The flash, for those who share it.
pub type Shared = Mutex<NoopRawMutex, RefCell<Flash<PAGES>>>;
/// A part of it.
pub type Part = BlockingPartition<'static, NoopRawMutex, Flash<PAGES>>;

/// The parts.
pub struct Places {
    /// What a device keeps.
    pub log: Part,
    /// The image that runs.
    pub active: Part,
    /// The next one.
    pub next: Part,
    /// How far a swap has come.
    pub state: Part,
}

impl Places {
    /// Those of the flash.
    #[must_use]
    pub fn of(flash: &'static Shared) -> Self {
        let image = (IMAGE_BYTES / PAGE_BYTES) as u32;
        let part = |first: u32, pages: u32| {
            Part::new(flash, first * PAGE_BYTES as u32, pages * PAGE_BYTES as u32)
        };
        let active = 136;
        let next = active + image;
        let state = next + image + 1;
        Self {
            log: part(0, active),
            active: part(active, image),
            next: part(next, image + 1),
            state: part(state, 2),
        }
    }
}

/// Puts an image of the host's into the active place, as a programmer's cable does, if that is
/// empty or `anyway`; its first words last, so one that was not put there to its end leaves it
/// empty. Nothing when the file cannot be read, or is longer than the place.
pub fn program(places: &mut Places, name: &str, anyway: bool) -> Option<()> {
    const STRIDE: usize = 512;
    let place = &mut places.active;
    let mut bytes = [0xff; STRIDE];
    place.read(0, &mut bytes).ok()?;
    if bytes[..8] != [0xff; 8] && !anyway {
        return Some(());
    }
    // There is nothing to swap back to from now on.
    places.state.erase(0, places.state.size()).ok()?;
    let mut file = File::open(name)?;
    let length = file.length().filter(|length| *length <= place.capacity())?;
    place.erase(0, place.capacity() as u32).ok()?;
    for at in (0..length).step_by(STRIDE).rev() {
        let some = &mut bytes[..STRIDE.min(length - at)];
        file.seek(at)?;
        file.read(some)?;
        let whole = some.len().next_multiple_of(4);
        bytes[length.min(at + STRIDE) - at..whole].fill(0xff);
        if at > 0 {
            place.write(at as u32, &bytes[..whole]).ok()?;
            continue;
        }
        for word in (0..whole).step_by(4).rev() {
            place.write(word as u32, &bytes[word..word + 4]).ok()?;
        }
    }
    Some(())
}

/// Runs the image in a place; comes back where there is none.
pub fn run(place: &mut Part) {
    // SAFETY: it is memory behind the loader, which has no variable there.
    let image = unsafe { core::slice::from_raw_parts_mut(LINKED as *mut u8, IMAGE_BYTES) };
    if place.read(0, image).is_err() {
        return;
    }
    let word =
        |at: usize| u32::from_le_bytes([image[at], image[at + 1], image[at + 2], image[at + 3]]);
    let (stack, start) = (word(0), word(4));
    let code = LINKED as u32..(LINKED + IMAGE_BYTES) as u32;
    if !MEMORY.contains(&stack) || !code.contains(&start) || start % 2 == 0 {
        return;
    }
    // SAFETY: nothing else runs, and what begins there brings a table of its own.
    unsafe {
        (*cortex_m::peripheral::SCB::PTR).vtor.write(LINKED as u32);
        cortex_m::asm::bootload(LINKED as *const u32);
    }
}
