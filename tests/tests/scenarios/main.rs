//! The scenarios at the size of the test command, with fixed seeds.

mod disks;
mod endpoints;
