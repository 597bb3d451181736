//! What a device and its gateway say to each other, on a Cortex-M3: the same bytes, written and
//! read, as on a gateway.

#![no_std]
#![no_main]

use bsp_an385::{exit, panicked};
use core::panic::PanicInfo;
use cortex_m_rt::entry;
use cortex_m_semihosting::hprintln;
use holdfast_core::device::vectors::check;

#[entry]
fn main() -> ! {
    match check() {
        Ok(held) => hprintln!("{} messages are as they should be", held),
        Err((number, wrong)) => hprintln!("message {}: {:?}", number, wrong),
    }
    exit(check().is_ok_and(|held| held > 0))
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    panicked(info)
}
