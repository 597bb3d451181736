//! Runs of a workflow on a Cortex-M3: the same image, the same inputs, and after every step the
//! same memory as on a gateway and on a hub, byte by byte.
//!
//! It prints a line for each run that does not come out the same and one at the end, and leaves the
//! emulator with an exit code.

#![no_std]
#![no_main]

use bsp_an385::{exit, panicked};
use core::panic::PanicInfo;
use cortex_m_rt::entry;
use cortex_m_semihosting::hprintln;
use holdfast_core::flow::vectors::{JOURNALS, check};

#[entry]
fn main() -> ! {
    let (mut same, mut other) = (0, 0);
    for line in JOURNALS.lines() {
        match check(line) {
            Ok(()) => same += 1,
            Err(wrong) => {
                other += 1;
                hprintln!("run {}: {:?}", line, wrong);
            }
        }
    }
    hprintln!("{} runs come out the same, {} do not", same, other);
    exit(other == 0 && same > 0)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    panicked(info)
}
