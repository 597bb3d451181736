//! The hub: where a fleet is seen, enrolled and queried.
//!
//! [`fleet`] keeps the members and decides who is let in, `steward` says whose documents are
//! whose, [`live`] knows how each of them is, [`routes`] answers over HTTP in the [`shapes`] of
//! answers, `metrics` tells how all is, `report` says it in words, [`service`] wires all of it to
//! the store, the pipeline and the sync sessions; [`commands`] is the command line.
#![forbid(unsafe_code)]

pub mod commands;
pub mod fleet;
pub mod live;
mod metrics;
mod publish;
mod report;
pub mod routes;
pub mod service;
pub mod settings;
pub mod shapes;
mod steward;
mod traces;
mod workflows;

/// The program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
