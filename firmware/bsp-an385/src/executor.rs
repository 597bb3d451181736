//! Runs tasks, and puts the processor to sleep while none has anything to do.
//!
//! `embassy-executor` has a loop of its own for this processor, which sleeps by WFE. QEMU takes
//! that for a hint and goes on, so an idle device would keep a core of the host busy. This loop
//! sleeps by WFI, with interrupts masked: one that comes between the last look at the flag and the
//! sleep is not handled yet but pending, which ends a WFI, so no wake is slept through.

use core::mem;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};
use cortex_m::asm;
use embassy_executor::{Spawner, raw};

/// Whether a task wants to be polled.
static PENDING: AtomicBool = AtomicBool::new(false);

/// Called by the executor whenever a task is woken, from tasks and from interrupts.
#[unsafe(export_name = "__pender")]
fn pend(_context: *mut ()) {
    PENDING.store(true, Ordering::Release);
}

/// Runs what `init` spawns, and what that spawns, for ever.
pub fn run(init: impl FnOnce(Spawner)) -> ! {
    let executor = raw::Executor::new(ptr::null_mut());
    // SAFETY: this function does not return and its panics do not unwind, so its values live for
    // as long as the program does.
    let executor = unsafe { mem::transmute::<&raw::Executor, &'static raw::Executor>(&executor) };
    init(executor.spawner());
    loop {
        PENDING.store(false, Ordering::Relaxed);
        // SAFETY: nothing else polls this executor, and `pend` does not.
        unsafe { executor.poll() };
        cortex_m::interrupt::disable();
        if !PENDING.load(Ordering::Acquire) {
            asm::dsb();
            asm::wfi();
        }
        // SAFETY: interrupts were enabled before they were disabled above, in no critical section.
        unsafe { cortex_m::interrupt::enable() };
    }
}
