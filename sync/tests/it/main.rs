//! The store, the session and the transport from outside, as the services use them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod net;
mod sim;
mod store;
mod support;
