//! The examples of the docs. MQTT from outside: what spoiled packets and payloads do to the codec
//! and the mappings, and what sessions do, statement by statement and under random operations.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod examples;
mod mapping;
mod mutations;
mod sessions;
mod simulate;
