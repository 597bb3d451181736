//! The broker in a real gateway: killed, cut from its power, crowded, on a bad disk, by a wrong
//! clock, and steering devices.

mod crowd;
mod devices;
mod disk;
mod firmware;
mod kills;
mod power;

pub use crowd::crowd;
pub use devices::{commands, twins};
pub use disk::disks;
pub use firmware::{orders, reports, sections};
pub use kills::kills;
pub use power::power_cuts;
