//! What lies where in the flash, and how the image that is to run comes to run.
//!
//! | pages of 128 KiB | at | what |
//! |---|---|---|
//! | 0 | 0x0800_0000 | the loader |
//! | 1 and 2 | 0x0802_0000 | the image that runs |
//! | 3 to 5 | 0x0806_0000 | the next one, a page more |
//! | 6 and 7 | 0x080c_0000 | how far a swap of the two has come |
//! | 8 to 15 | 0x0810_0000 | the log of the device |
//!
//! The log has the second bank for itself: while a page of it is erased, for two seconds and four
//! at most, tasks wait, but interrupts run from the first bank. An erase in that stops them, too.

use crate::flash::{Flash, PAGE_BYTES};
use core::cell::RefCell;
use cortex_m::peripheral::SCB;
use embassy_embedded_hal::flash::partition::BlockingPartition;
use embassy_stm32::flash::FLASH_BASE;
use embassy_sync::blocking_mutex::Mutex;
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embedded_storage::nor_flash::ReadNorFlash;

/// What images for this board are called.
pub const BOARD: &str = "nucleo-h743";
/// Bytes that an image may have.
pub const IMAGE_BYTES: u32 = 2 * PAGE_BYTES;

const ACTIVE: u32 = PAGE_BYTES;
const NEXT: u32 = ACTIVE + IMAGE_BYTES;
const STATE: u32 = NEXT + IMAGE_BYTES + PAGE_BYTES;
const LOG: u32 = STATE + 2 * PAGE_BYTES;
const LOG_BYTES: u32 = 8 * PAGE_BYTES;
/// Where an image is linked.
const LINKED: u32 = FLASH_BASE as u32 + ACTIVE;
/// Memory in which its stack may begin.
const MEMORY: core::ops::RangeInclusive<u32> = 0x2400_0000..=0x2408_0000;

// What the linker is told in build.rs, and where the second bank begins.
const _: () = assert!(LINKED == 0x0802_0000 && IMAGE_BYTES == 0x4_0000 && LOG == 0x10_0000);

/// The flash, for those who share it.
pub type Shared = Mutex<NoopRawMutex, RefCell<Flash>>;
/// A part of it.
pub type Part = BlockingPartition<'static, NoopRawMutex, Flash>;

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
        Self {
            log: Part::new(flash, LOG, LOG_BYTES),
            active: Part::new(flash, ACTIVE, IMAGE_BYTES),
            next: Part::new(flash, NEXT, IMAGE_BYTES + PAGE_BYTES),
            state: Part::new(flash, STATE, 2 * PAGE_BYTES),
        }
    }
}

/// Runs the image in the active place; comes back where there is none.
pub fn run(active: &mut Part) {
    let mut words = [0; 8];
    if active.read(0, &mut words).is_err() {
        return;
    }
    let [stack, start] = [0, 4]
        .map(|at| u32::from_le_bytes([words[at], words[at + 1], words[at + 2], words[at + 3]]));
    let code = LINKED..LINKED + IMAGE_BYTES;
    if !MEMORY.contains(&stack) || !code.contains(&start) || start % 2 == 0 {
        return;
    }
    // SAFETY: no interrupt is on and nothing else runs; what begins there has a table of its own.
    unsafe {
        (*SCB::PTR).vtor.write(LINKED);
        cortex_m::asm::bootload(LINKED as *const u32);
    }
}
