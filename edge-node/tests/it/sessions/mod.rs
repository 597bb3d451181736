//! What a session does, packets in and packets out: the statements of the standard one by one, and
//! the whole under random operations against a model that is as simple as the standard tells it.
//!
//! The numbers of the statements are in `docs/mqtt-conformance.md`. `HOLDFAST_SEEDS=10000` runs
//! more seeds, `HOLDFAST_SEED=17` one.

mod page;
mod random;
pub mod simulation;
mod statements;
