//! What the board starts first: swaps the images in its flash where that was asked for, and starts
//! the one that is to run, under the watchdog.
//!
//! While there is none, or the flash does not keep what it is given, the red light blinks: the
//! board tries again each second.

#![no_std]
#![no_main]

use core::cell::RefCell;
use core::panic::PanicInfo;
use cortex_m_rt::{ExceptionFrame, entry, exception};
use embassy_stm32::gpio::{Level, Output, Speed};
use embassy_stm32::{Peripherals, pac};
use embassy_sync::blocking_mutex::Mutex;
use holdfast_firmware::boot::{AlignedBuffer, prepare};
use nucleo_h743::flash::Flash;
use nucleo_h743::places::{self, Places, Shared};
use nucleo_h743::reset;
use nucleo_h743::watchdog::Watchdog;
use static_cell::StaticCell;

/// What the processor counts in half a second, as it is after a reset.
const HALF_SECOND: u32 = 32_000_000;

#[entry]
fn main() -> ! {
    load();
    blink()
}

/// Starts the image; comes back when it cannot.
fn load() {
    static FLASH: StaticCell<Shared> = StaticCell::new();
    // SAFETY: nothing else runs.
    let parts = unsafe { Peripherals::steal() };
    let flash = FLASH.init(Mutex::new(RefCell::new(Flash::new(parts.FLASH))));
    let mut places = Places::of(flash);
    let mut buffer = AlignedBuffer([0; 4096]);
    let active = places.active.clone();
    // An erase takes longer than a watchdog should: it is on from here.
    if prepare(active, places.next, places.state, &mut buffer.0).is_ok() {
        let _ = Watchdog::start(parts.IWDG1);
        places::run(&mut places.active);
    }
}

/// Shows that there is nothing to start, and tries again.
fn blink() -> ! {
    pac::RCC.ahb4enr().modify(|clocks| clocks.set_gpioben(true));
    // The clock of a pin is there two of its cycles after it was asked for.
    cortex_m::asm::dsb();
    // SAFETY: nobody else has the pin.
    let red = unsafe { Peripherals::steal() }.PB14;
    let mut red = Output::new(red, Level::High, Speed::Low);
    cortex_m::asm::delay(HALF_SECOND);
    red.set_low();
    cortex_m::asm::delay(HALF_SECOND);
    reset::restart()
}

#[exception]
unsafe fn HardFault(_: &ExceptionFrame) -> ! {
    blink()
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    blink()
}
