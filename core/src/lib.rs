//! The rules of Holdfast, pure: time and entropy are arguments, there is no I/O and no allocation.
//!
//! What a device, a gateway and the hub must agree on lives here once and runs unchanged on all
//! three. [`reading`] says what a measurement is, [`id`] who wrote it, [`ranges`] which entries a
//! node holds, [`rollup`] and [`sketch`] how windows summarise, [`state`] how what several writers
//! change at once becomes one, [`log`] how entries become hash-chained commits, [`artefact`] what a
//! publisher has signed, [`envelope`] how records are framed, [`device`] what a microcontroller and
//! its gateway say to each other, [`condition`] when something is to be raised, [`hlc`] and
//! [`backoff`] when things happen.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "alloc"))]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod artefact;
pub mod backoff;
pub mod codec;
pub mod condition;
pub mod device;
pub mod envelope;
pub mod flow;
pub mod hlc;
pub mod id;
pub mod limits;
pub mod log;
pub mod number;
pub mod ranges;
pub mod reading;
pub mod reject;
pub mod rollup;
pub mod sketch;
pub mod state;
pub mod time;

pub use id::{ChainId, Incarnation, NodeId, Seq, Stream};
pub use reading::{Device, Metric, Quality, Reading, SeriesKey, Unit, Value};
pub use reject::Reject;
pub use time::Timestamp;
