//! The board of the firmware's tests: QEMU's `mps2-an385`, a Cortex-M3 with timers, two serial
//! lines and Ethernet, and by its host a flash and arguments.
//!
//! Everything a device's program needs of a board is here, as the traits that drivers of real
//! boards implement as well, so the program itself does not know which one it runs on. A program
//! starts [`time`], makes the devices it wants, each once, and hands over to [`executor::run`].

#![no_std]

pub mod arguments;
pub mod ethernet;
pub mod executor;
pub mod flash;
mod interrupt;
mod register;
mod semihosting;
pub mod time;
pub mod uart;

use core::panic::PanicInfo;
use cortex_m_rt::{ExceptionFrame, exception};
use cortex_m_semihosting::debug::{self, EXIT_FAILURE, EXIT_SUCCESS};
use cortex_m_semihosting::hprintln;

/// Ends the emulator; its exit code says whether all is well.
pub fn exit(well: bool) -> ! {
    loop {
        debug::exit(if well { EXIT_SUCCESS } else { EXIT_FAILURE });
    }
}

/// What a program's panic handler does: says why, and ends the emulator.
pub fn panicked(info: &PanicInfo<'_>) -> ! {
    hprintln!("{}", info);
    exit(false)
}

/// A fault would otherwise stand still, and a test would wait for it.
#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    hprintln!("a fault at {:#010x}", frame.pc());
    exit(false)
}
