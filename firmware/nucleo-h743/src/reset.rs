//! Why the board started, and how to start it again.
//!
//! The processor says which of its resets it was. Whether software asked for one or broke down it
//! does not know, so software notes that in the last words of its memory, which keep what is in
//! them as long as there is power.

use crate::fault;
use core::ptr;
use cortex_m::peripheral::SCB;
use embassy_stm32::pac;
use holdfast_core::device::health::Reason;

/// The words behind what programs have of the memory (`memory.x`).
const NOTE: *mut [u32; 2] = 0x2407_fff0 as *mut [u32; 2];
const MARK: u32 = 0x4846_6e02;
const WORKS: u32 = 1;
const BROKE: u32 = 2;

fn note(what: u32) {
    // SAFETY: the words are in memory, aligned, and no variable's.
    unsafe { ptr::write_volatile(NOTE, [MARK, what]) };
}

/// Why; from now on the program works. To be asked once in a start.
#[must_use]
pub fn reason() -> Reason {
    let flags = pac::RCC.rsr().read();
    pac::RCC.rsr().modify(|clear| clear.set_rmvf(true));
    // SAFETY: as for writing; memory that was not written since power came may answer by a fault.
    let found = fault::passed_over(|| unsafe { ptr::read_volatile(NOTE) });
    note(WORKS);
    // Every reset but that of power pulls the pin as well, and power coming is a brown-out, too.
    if flags.iwdg1rstf() || flags.wwdg1rstf() {
        Reason::WATCHDOG
    } else if flags.porrstf() {
        Reason::POWER
    } else if flags.borrstf() {
        Reason::BROWN_OUT
    } else if flags.sftrstf() && found == [MARK, BROKE] {
        Reason::FAULT
    } else if flags.sftrstf() {
        Reason::SOFTWARE
    } else {
        Reason::UNKNOWN
    }
}

/// Starts the board again.
pub fn restart() -> ! {
    SCB::sys_reset()
}

/// Starts the board again after a breakdown.
pub fn broke() -> ! {
    note(BROKE);
    SCB::sys_reset()
}
