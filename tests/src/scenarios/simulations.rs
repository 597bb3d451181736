//! Simulations with their full number: of documents that are changed in many places at once, and of
//! MQTT sessions.
//!
//! They are those of `sync/tests/it/state` and `edge-node/tests/it/sessions`, which the test
//! command runs with the first of the same seeds.

use super::{Scale, tell};

#[path = "../../../sync/tests/it/state/simulation/mod.rs"]
#[allow(clippy::unwrap_used, reason = "a simulation fails by panicking, as its tests do")]
#[allow(dead_code, reason = "planted bugs and crash points are run by the tests only")]
mod simulation;

#[path = "../../../edge-node/tests/it/sessions/simulation/mod.rs"]
#[allow(clippy::unwrap_used, reason = "a simulation fails by panicking, as its tests do")]
#[allow(dead_code, reason = "what only its tests use")]
mod mqtt_sessions;

/// Simulations of a soak.
const SEEDS: u64 = 10_000;

/// Any writes, faults and clocks: all agree, and nothing is lost that any replica still had.
pub fn simulations(scale: Scale) {
    let count = scale.of(SEEDS, 500);
    let from = (scale.seed - 1) * SEEDS;
    simulation::campaign(from..from + count, |done| tell("simulations", done, count));
}

/// Any operations of any clients: what each gets is what the standard says, whatever is killed.
pub fn mqtt_sessions(scale: Scale) {
    let count = scale.of(SEEDS, 1_000);
    let from = (scale.seed - 1) * SEEDS;
    mqtt_sessions::campaign(from..from + count, |done| tell("mqtt-sessions", done, count));
}
