//! The rules of Holdfast, pure: time and entropy are arguments, there is no I/O and no allocation.
//!
//! What a device, a gateway and the hub must agree on lives here once and runs unchanged on all
//! three: identifiers, clocks, readings, rollup windows, log frontiers and the wire formats.
#![no_std]
#![forbid(unsafe_code)]
