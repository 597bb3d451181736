//! The gateway: device endpoints, its routes and wiring.
//!
//! [`formats`] decodes what devices send, [`ingest`] admits it, [`routes`] answers over HTTP, to
//! clients of InfluxDB in the words of [`influx`], [`uplink`] remembers the fleet the node belongs
//! to, `steward` says who writes its documents, [`service`] wires all of it to the store, the
//! pipeline and the sync session; [`commands`] is the command line, [`devices`] its part on devices
//! and their tokens. `metrics` and [`status`] tell how it is, `lacks` what the hub lacks, `report`
//! all of it in words. [`files`] reads files of readings, which [`import`] posts to the running
//! node and [`simulate`] plays. [`mqtt`] is the broker of the site: readings come in through it
//! too.
#![forbid(unsafe_code)]

pub mod commands;
pub mod device_commands;
mod devices;
pub mod files;
pub mod formats;
pub mod import;
pub mod influx;
pub mod ingest;
mod lacks;
mod metrics;
pub mod mqtt;
mod report;
pub mod routes;
pub mod service;
pub mod settings;
pub mod simulate;
pub mod status;
mod steward;
mod traces;
pub mod uplink;
pub mod workflows;

/// The program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
