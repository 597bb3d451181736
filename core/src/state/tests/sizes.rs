//! How much room the types take, here and on a microcontroller.

use super::super::{Author, Concurrent};
use super::super::{
    CELL_MAX_BYTES, CausalSet, Cell, Counter, Deltas, LwwMap, MultiValue, Path, Policy, Register,
    Role, Union, Value, VersionVector, Writer,
};
use crate::hlc::Stamp;
use std::println;

/// What a device with 64 values of a realistic twin needs.
fn twin() -> LwwMap<4096> {
    let mut map = LwwMap::new();
    let writer = Writer {
        local: Stamp::new(1_700_000_000_000, 0),
        author: Author([7; 8]),
        role: Role::Device,
    };
    for n in 0..64 {
        let path = std::format!("ch{}/{}", n / 8, ["lo", "hi", "on", "gain"][n % 4])
            + &std::format!("{}", n % 8);
        let value = Value::float(n as f64 * 1.25).unwrap();
        map.put(Path::new(&path).unwrap(), value, writer).unwrap();
    }
    map
}

/// Bounds for a 64-bit host; those for a microcontroller are in `state/sizes.rs`, where the
/// compiler checks them.
#[test]
fn types_are_as_small_as_they_are_said_to_be() {
    let map = twin();
    println!("64 values of a twin             {:5} bytes", map.as_bytes().len());
    println!("cell, longest encoding          {CELL_MAX_BYTES:5} bytes");
    for (name, size, most) in [
        ("cell", size_of::<Cell<'_>>(), 48),
        ("cells of a path", size_of::<Concurrent<'_, '_>>(), 56),
        ("register of 8 bytes", size_of::<Register<u64>>(), 24),
        ("counter of 16 authors", size_of::<Counter<16>>(), 392),
        ("set of 64 numbers", size_of::<CausalSet<u32, 64>>(), 520),
        ("vector of 16 authors", size_of::<VersionVector<u32, 16>>(), 264),
        ("4 values of 8 bytes, 8 authors", size_of::<MultiValue<u32, u64, 4, 8>>(), 248),
        ("last 16 changes", size_of::<Deltas<u32, 16>>(), 288),
        ("union of sets", size_of::<Union<'_>>(), 1032),
        ("policy", size_of::<Policy<'_>>(), 16),
    ] {
        println!("{name:31} {size:5} bytes");
        assert!(size <= most, "{name}: {size} bytes, {most} at most");
    }
    assert!(map.as_bytes().len() <= 64 * 32, "{} bytes for 64 values", map.as_bytes().len());
}
