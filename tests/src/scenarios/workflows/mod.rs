//! Workflows on gateways and the hub: runs that are killed, cut off and taken
//! up again, and what the step machine does beside a reference.

mod finds;
mod fleet;
mod journal;
mod kills;
mod receiver;
mod reference;
mod twins;

pub use finds::finds;
pub use fleet::fleet;
pub use journal::journal;
pub use kills::kills;
pub use reference::reference;
pub use twins::twins;

use crate::process::Settings;

/// The service at the site takes as much as the runs of a scenario ask.
fn unguarded() -> Settings {
    Settings::default().env("HOLDFAST_WORKFLOWS_TARGET_RATE", "10000")
}
