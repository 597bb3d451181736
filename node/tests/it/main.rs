//! The pipeline and the queries over a real store, as the services use them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod alerts;
mod notify;
mod pipeline;
mod query;
mod runs;
mod triggers;
