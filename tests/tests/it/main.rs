//! The harness tested on itself, before it is used to judge anything else.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

mod client;
mod gateway;
mod net;
mod powercut;
mod process;
mod waterworks;
