//! Why the board started, and how to start it again.
//!
//! Memory keeps what was in it when the processor alone is reset. The last words of it are no
//! program's. Whoever asks for a start says so there; the loader finds that, or that somebody ran
//! who did not ask, or nothing because the power was away, and leaves there what it has found; who
//! runs then takes it.

use core::ptr;
use cortex_m::peripheral::SCB;

/// The words behind what programs have of the memory (`memory.x`).
const NOTE: *mut [u32; 2] = 0x2000_fff0 as *mut [u32; 2];
const MARK: u32 = 0x4846_6e01;

/// A program asked for the start that follows.
const ASKED: u32 = 1;
/// What the loader has found.
const BY_POWER: u32 = 2;
const BY_WATCHDOG: u32 = 3;
const BY_PROGRAM: u32 = 4;

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

fn noted() -> Option<u32> {
    // SAFETY: as for writing.
    let [mark, what] = unsafe { ptr::read_volatile(NOTE) };
    (mark == MARK).then_some(what)
}

/// Finds out why this start is: what the loader does, once.
pub fn look() {
    note(match noted() {
        Some(ASKED) => BY_PROGRAM,
        Some(_) => BY_WATCHDOG,
        None => BY_POWER,
    });
}

/// Why this start is, as the loader has found.
#[must_use]
pub fn reason() -> Reason {
    match noted() {
        Some(BY_PROGRAM) => Reason::Asked,
        Some(BY_WATCHDOG) => Reason::Watchdog,
        _ => Reason::Power,
    }
}

/// Starts the board again.
pub fn restart() -> ! {
    note(ASKED);
    SCB::sys_reset()
}
