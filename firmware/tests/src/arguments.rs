//! Arguments from the emulator: what is right is found, what is wrong is said.

#![no_std]
#![no_main]

use bsp_an385::arguments::{Arguments, Error, MAX_BYTES};
use bsp_an385::{exit, panicked};
use core::panic::PanicInfo;
use cortex_m_rt::entry;
use cortex_m_semihosting::hprintln;

#[entry]
fn main() -> ! {
    // Without arguments of its own, the emulator hands over the path of the image.
    let none = Arguments::read().expect("a path alone");
    assert_eq!(none.pairs().count(), 0);

    let some = Arguments::parse(b"fw port=1883 name=a=b empty=").expect("three pairs");
    assert!(some.pairs().eq([("port", "1883"), ("name", "a=b"), ("empty", "")]));
    assert_eq!(some.value("port"), Ok(1883u16));
    assert_eq!(some.text("empty"), Ok(""));
    assert_eq!(some.find("por"), None);
    assert_eq!(some.text("host"), Err(Error::Missing { key: "host" }));
    assert_eq!(some.value::<u16>("name"), Err(Error::Malformed { key: "name" }));
    assert_eq!(some.value::<u8>("port"), Err(Error::Malformed { key: "port" }));

    let wrong = |line: &[u8]| Arguments::parse(line).err();
    assert_eq!(wrong(b""), None);
    assert_eq!(wrong(b"fw a=1 b"), Some(Error::NotAPair { word: 2 }));
    assert_eq!(wrong(b"fw =1"), Some(Error::NotAPair { word: 1 }));
    assert_eq!(wrong(b"fw a=1 b=2 a=3"), Some(Error::Twice { word: 3 }));
    assert_eq!(wrong(b"fw a=\xff"), Some(Error::NotText));
    let mut long = [b'x'; MAX_BYTES + 1];
    long[..5].copy_from_slice(b"fw a=");
    assert_eq!(wrong(&long[..MAX_BYTES]), None);
    assert_eq!(wrong(&long), Some(Error::TooLong));
    hprintln!("arguments are read, and refused");
    exit(true)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    panicked(info)
}
