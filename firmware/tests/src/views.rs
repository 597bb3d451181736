//! The cases of documents with what they show, on a Cortex-M3: the same lines, the same digests and
//! the same code as on a gateway and on a hub.
//!
//! It prints a line for each case that does not hold and one at the end, and leaves the emulator
//! with an exit code.

#![no_std]
#![no_main]

use bsp_an385::{exit, panicked};
use core::panic::PanicInfo;
use cortex_m_rt::entry;
use cortex_m_semihosting::hprintln;
use holdfast_core::state::vectors::{VIEWS, check};

#[entry]
fn main() -> ! {
    let (mut held, mut failed) = (0, 0);
    for (number, case) in VIEWS.lines().enumerate() {
        match check(case) {
            Ok(()) => held += 1,
            Err(wrong) => {
                failed += 1;
                hprintln!("case {}: {:?}", number, wrong);
            }
        }
    }
    hprintln!("{} cases hold, {} do not", held, failed);
    exit(failed == 0 && held > 0)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    panicked(info)
}
