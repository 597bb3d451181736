//! Copying and filling memory, at every place and length up to a few words: what is to change does,
//! and nothing beside it.
//!
//! The expected bytes are made one by one, volatile, so that the compiler makes no call of them.

#![no_std]
#![no_main]

use bsp_an385::{exit, panicked};
use core::hint::black_box;
use core::panic::PanicInfo;
use core::ptr;
use cortex_m_rt::entry;
use cortex_m_semihosting::hprintln;

const ALL: usize = 64;
/// Places and lengths that are tried.
const PLACES: usize = 24;

#[repr(align(8))]
#[derive(PartialEq)]
struct Bytes([u8; ALL]);

/// Bytes that differ.
fn fresh(bytes: &mut Bytes) {
    for (at, byte) in bytes.0.iter_mut().enumerate() {
        // SAFETY: it is a byte of its own.
        unsafe { ptr::write_volatile(byte, at as u8 ^ 0x5a) };
    }
}

fn put(bytes: &mut Bytes, at: usize, byte: u8) {
    // SAFETY: it is a byte of its own.
    unsafe { ptr::write_volatile(&raw mut bytes.0[at], byte) };
}

/// How many cases do not hold.
fn check() -> usize {
    let (mut there, mut expected) = (Bytes([0; ALL]), Bytes([0; ALL]));
    let mut failed = 0;
    for (to, from, len) in cases() {
        fresh(&mut there);
        fresh(&mut expected);
        for at in 0..len {
            put(&mut expected, to + at, (from + at) as u8 ^ 0x5a);
        }
        there.0.copy_within(black_box(from..from + len), black_box(to));
        failed += usize::from(there != expected);

        fresh(&mut there);
        fresh(&mut expected);
        for at in 0..len {
            put(&mut expected, to + at, from as u8 | 0x80);
        }
        there.0[black_box(to..to + len)].fill(black_box(from as u8 | 0x80));
        failed += usize::from(there != expected);
    }
    failed
}

fn cases() -> impl Iterator<Item = (usize, usize, usize)> {
    let pairs = (0..PLACES).flat_map(|to| (0..PLACES).map(move |from| (to, from)));
    pairs.flat_map(|(to, from)| (0..PLACES).map(move |len| (to, from, len)))
}

#[entry]
fn main() -> ! {
    let failed = check();
    hprintln!("{} copies and fills are not as they should be", failed);
    exit(failed == 0)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    panicked(info)
}
