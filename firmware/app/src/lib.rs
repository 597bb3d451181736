//! A field device: it measures, keeps what it measured through power cuts, and hands it on to its
//! gateway when there is one.
//!
//! Nothing here knows a board. The flash is any [`embedded_storage::nor_flash`], the way to the
//! gateway any stream of bytes ([`uplink::Dial`]), the sensors a table and a way to ask them
//! ([`sensors::Sensors`]), what it moves [`actor::Actuators`], the time that of [`embassy_time`].
//! [`node`] is the whole, [`sampler`], [`actor`] and [`uplink`] are its tasks. [`log`] is what it
//! keeps in flash: [`samples`] and what the device must know, its [`memory`]. [`record`] is a
//! sample there, [`batch`] samples on their way, [`clock`] what it knows of the time, [`twin`] what
//! it should be and is, [`commands`] what it was told to do, [`flows`] the workflows that it runs
//! by itself, whose [`steps`] the gateway hears of, [`update`] its next firmware, which waits in
//! one of two places for images ([`boot`]); [`signature`] says whether a publisher has signed
//! either. A device that only measures may [`post`] its samples by HTTP. [`provision`] reads who it
//! is from a serial line, on boards that have one.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod actor;
pub mod batch;
pub mod boot;
pub mod clock;
pub mod commands;
pub mod flows;
pub mod log;
pub mod memory;
mod mqtt;
pub mod node;
pub mod post;
pub mod provision;
pub mod record;
pub mod sampler;
pub mod samples;
pub mod sensors;
pub mod signature;
pub mod steps;
pub mod twin;
pub mod update;
pub mod uplink;

#[cfg(test)]
mod chip;
#[cfg(test)]
mod published;

pub use log::Log;
pub use node::{About, Node};
