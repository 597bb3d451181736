//! The cases of documents with what they show, on a Cortex-M3: the same lines, the same digests and
//! the same code as on a gateway and on a hub.
//!
//! It prints a line for each case that does not hold and one at the end, and leaves the emulator
//! with an exit code.

#![no_std]
#![no_main]

use core::panic::PanicInfo;
use cortex_m_rt::entry;
use cortex_m_semihosting::debug::{EXIT_FAILURE, EXIT_SUCCESS, exit};
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
    exit(if failed == 0 && held > 0 { EXIT_SUCCESS } else { EXIT_FAILURE });
    unreachable!("the emulator has ended")
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    hprintln!("{}", info);
    loop {
        exit(EXIT_FAILURE);
    }
}
