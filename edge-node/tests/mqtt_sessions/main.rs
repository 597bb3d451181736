//! What a session does, packets in and packets out: the statements of the standard one by one, and
//! the whole under random operations against a model that is as simple as the standard tells it.
//!
//! The numbers of the statements are in `docs/mqtt-conformance.md`. `HOLDFAST_SEEDS=10000` runs
//! more seeds, `HOLDFAST_SEED=17` one.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod page;
mod random;
mod simulation;
mod statements;
