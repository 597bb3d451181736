//! What the types take on a microcontroller, checked whenever they are compiled for one.
//!
//! A change of a figure is a decision: a device keeps these in a few kilobytes beside its network
//! stack.

use super::{
    CausalSet, Cell, Concurrent, Counter, Deltas, LwwMap, MultiValue, Register, Union,
    VersionVector,
};

/// Fails to compile unless a type takes exactly so many bytes; the error names the figure found.
macro_rules! takes {
    ($($bytes:literal $type:ty;)*) => {
        $(const _: [(); $bytes] = [(); size_of::<$type>()];)*
    };
}

takes! {
    48 Cell<'static>;
    48 Concurrent<'static, 'static>;
    24 Register<u64>;
    2052 LwwMap<2048>;
    392 Counter<16>;
    516 CausalSet<u32, 64>;
    264 VersionVector<u32, 16>;
    240 MultiValue<u32, u64, 4, 8>;
    288 Deltas<u32, 16>;
    516 Union<'static>;
}
