//! What the emulated board starts first: swaps the images in its flash where that was asked for,
//! copies the one that is to run to where it is linked, and starts it, under the watchdog.
//!
//! The emulator hands over `flash=FILE`; with `image=FILE` the image in that file is put where none
//! is yet, with `reflash=yes` in any case.

#![no_std]
#![no_main]

use bsp_an385::arguments::Arguments;
use bsp_an385::flash::Flash;
use bsp_an385::places::{self, Places, Shared};
use bsp_an385::uart::Console;
use bsp_an385::{crashed, exit, restart, watchdog};
use core::cell::RefCell;
use core::fmt::Write;
use core::panic::PanicInfo;
use cortex_m_rt::entry;
use embassy_sync::blocking_mutex::Mutex;
use holdfast_firmware::boot::{AlignedBuffer, prepare};
use static_cell::StaticCell;

#[entry]
fn main() -> ! {
    restart::look();
    let wrong = load();
    let _ = writeln!(Console::open(), "loader: {wrong}");
    exit(false)
}

/// Starts the image; why it does not.
fn load() -> &'static str {
    static FLASH: StaticCell<Shared> = StaticCell::new();
    let Ok(arguments) = Arguments::read() else { return "the arguments cannot be read" };
    let Some(flash) = arguments.find("flash") else { return "flash=FILE is missing" };
    let Ok(flash) = Flash::open(flash) else { return "the flash cannot be opened" };
    let mut parts = Places::of(FLASH.init(Mutex::new(RefCell::new(flash))));
    let mut buffer = AlignedBuffer([0; 256]);
    let (active, next, state) = (parts.active.clone(), parts.next.clone(), parts.state.clone());
    if prepare(active, next, state, &mut buffer.0).is_err() {
        return "the flash does not keep what it is given";
    }
    // Only now: in the middle of a swap the active place may look empty.
    let anyway = arguments.find("reflash") == Some("yes");
    if let Some(image) = arguments.find("image")
        && places::program(&mut parts, image, anyway).is_none()
    {
        return "the image is not there, or is larger than its place";
    }
    watchdog::start();
    places::run(&mut parts.active);
    "there is no firmware in the flash: image=FILE is missing"
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    crashed()
}
