//! The store, the session and the transport from outside, as the services use them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod damage;
mod documents;
mod exchange;
mod hostile;
mod net;
mod repair;
mod restart;
mod scrub;
mod seal;
mod session;
mod sim;
mod state;
mod store;
mod support;
mod verify;
