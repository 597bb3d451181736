//! Why the board started, and how to start it again.
//!
//! Memory keeps what was in it when the processor alone is reset. The last words of it are no
//! program's: there a program says that it works, or that it asked for the start that follows. What
//! is found there is what happened, and where there is nothing the power was away.

use core::ptr;
use cortex_m::peripheral::SCB;

/// The words behind what programs have of the memory (`memory.x`).
const NOTE: *mut [u32; 2] = 0x2000_fff0 as *mut [u32; 2];
const MARK: u32 = 0x4846_6e01;
const WORKS: u32 = 1;
const ASKED: u32 = 2;

/// Why the board started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Power came.
    Power,
    /// A program hung, and the watchdog bit.
    Watchdog,
    /// A program asked for it.
    Asked,
}

fn note(what: u32) {
    // SAFETY: the words are in memory, aligned, and no variable's.
    unsafe { ptr::write_volatile(NOTE, [MARK, what]) };
}

/// Why; from now on the program works. To be asked once in a start, by what is to run on.
#[must_use]
pub fn reason() -> Reason {
    // SAFETY: as for writing.
    let found = unsafe { ptr::read_volatile(NOTE) };
    note(WORKS);
    match found {
        [MARK, ASKED] => Reason::Asked,
        [MARK, _] => Reason::Watchdog,
        _ => Reason::Power,
    }
}

/// Starts the board again.
pub fn restart() -> ! {
    note(ASKED);
    SCB::sys_reset()
}
