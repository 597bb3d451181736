//! The board of the firmware's tests: QEMU's `mps2-an385`, a Cortex-M3 with timers, two serial
//! lines and Ethernet, and by its host a flash and arguments.
//!
//! Everything a device's program needs of a board is here, as the traits that drivers of real
//! boards implement as well, so the program itself does not know which one it runs on. A program
//! starts [`time`], makes the devices it wants, each once, and hands over to [`executor::run`].

#![no_std]

pub mod arguments;
mod copies;
pub mod ethernet;
pub mod executor;
pub mod flash;
mod interrupt;
pub mod places;
mod register;
pub mod restart;
mod semihosting;
pub mod time;
pub mod uart;
pub mod watchdog;

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

/// What the panic handler of a program does that has no room for the reasons: says from where it
/// was called, and ends the emulator. The addresses are those of a program with its symbols:
/// `addr2line -fie PROGRAM ADDRESS...`.
pub fn crashed() -> ! {
    hprintln!("panicked; called from");
    for address in callers().take(16) {
        hprintln!("{:#010x}", address);
    }
    exit(false)
}

/// What on the stack looks like an address to return to: it is in the code, odd as those of Thumb
/// are, and behind a call.
fn callers() -> impl Iterator<Item = u32> {
    unsafe extern "C" {
        static _stack_start: u32;
        static __stext: u32;
        static __etext: u32;
    }
    let (top, from) = (&raw const _stack_start, cortex_m::register::msp::read() as *const u32);
    let code = &raw const __stext as u32..&raw const __etext as u32;
    // SAFETY: the stack lies between where it is and where it began, in whole words.
    let stack =
        (0..(top as usize - from as usize) / 4).map(move |at| unsafe { from.add(at).read() });
    stack.filter(move |word| {
        let after = word.wrapping_sub(1);
        // SAFETY: it is an even address of the code, with four bytes of code before it.
        let is_call = || unsafe {
            let halves = (after - 4) as *const u16;
            let (first, second) = (halves.read(), halves.add(1).read());
            // BL, then BLX with a register (Armv7-M Architecture Reference Manual, A7.7.18 f.).
            (first & 0xf800 == 0xf000 && second & 0xd000 == 0xd000) || second & 0xff87 == 0x4780
        };
        after.is_multiple_of(2) && after >= code.start + 4 && code.contains(&after) && is_call()
    })
}

/// A fault would otherwise stand still, and a test would wait for it.
#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    hprintln!("a fault at {:#010x}", frame.pc());
    exit(false)
}
