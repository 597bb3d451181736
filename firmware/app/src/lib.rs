//! A field device: it measures, keeps what it measured through power cuts, and hands it on to its
//! gateway when there is one.
//!
//! Nothing here knows a board. The flash is any [`embedded_storage_async::nor_flash`], the way to
//! the gateway any stream of bytes ([`uplink::Dial`]), the sensors a table and a way to ask them
//! ([`sensors::Sensors`]), the time that of [`embassy_time`]. [`node`] is the whole, [`sampler`]
//! and [`uplink`] are its two tasks, [`samples`] and [`memory`] what it keeps in flash through
//! [`part`], [`record`] a sample there, [`batch`] samples on their way, [`clock`] what it knows of
//! the time.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod batch;
pub mod clock;
pub mod memory;
pub mod node;
pub mod part;
pub mod record;
pub mod sampler;
pub mod samples;
pub mod sensors;
pub mod uplink;

#[cfg(test)]
mod power;

pub use node::{About, Layout, Node};
