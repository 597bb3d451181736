//! The gateway: device endpoints, its routes and wiring.
#![forbid(unsafe_code)]

pub mod formats;
