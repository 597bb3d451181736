//! Reads of memory that may have no answer.
//!
//! Flash whose error correction fits nothing, and memory that was never written since power came,
//! answer by a bus fault. Whoever expects that reads within [`passed_over`].

use core::arch::asm;
use cortex_m::asm::{dsb, isb};
use cortex_m::peripheral::SCB;

/// In `CCR`: bus faults of loads are passed over, where interrupts and faults are masked
/// (Armv7-M Architecture Reference Manual, B3.2.8, `BFHFNMIGN`).
const PASS_OVER: u32 = 1 << 8;

/// Does some reads, with no interrupt in between. What one reads that ends in a fault is undefined.
pub fn passed_over<T>(reads: impl FnOnce() -> T) -> T {
    // SAFETY: the register is the processor's own, and nobody else writes it between here and the
    // end, because nothing else runs.
    let ccr = unsafe { &(*SCB::PTR).ccr };
    // SAFETY: it masks interrupts and faults, up to the other one.
    unsafe { asm!("cpsid f", options(nostack, preserves_flags)) };
    // SAFETY: as above.
    unsafe { ccr.modify(|bits| bits | PASS_OVER) };
    dsb();
    isb();
    let done = reads();
    dsb();
    // SAFETY: as above.
    unsafe { ccr.modify(|bits| bits & !PASS_OVER) };
    dsb();
    // SAFETY: they were not masked so before, as nothing else here does that.
    unsafe { asm!("cpsie f", options(nostack, preserves_flags)) };
    isb();
    done
}
