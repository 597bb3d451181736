//! The fleet harness: starts the real binaries, impairs links, cuts power, counts what survives.
//!
//! Everything here treats a node as its users do: a process with a configuration, a data
//! directory, sockets and a clock. Nothing reaches into it, so what holds here holds for what is
//! shipped; but for the simulated year, for which no process lives long enough. Each fault is drawn
//! from a seed, counted where it strikes ([`faults`]), and can be replayed.

pub mod bench;
pub mod client;
pub mod collector;
pub mod contract;
pub mod damage;
pub mod faults;
pub mod net;
pub mod powercut;
pub mod process;
pub mod rng;
pub mod scenarios;
pub mod tmpfs;
pub mod wait;
pub mod waterworks;
