//! Devices with our firmware, each on an emulated microcontroller, at a real gateway.
//!
//! A device says on its console what it has in flash for good; the gateway exports what it has.
//! Whatever is ended in between, both come to the same.

mod device;
pub(super) mod flows;
mod outages;
mod people;
mod post;
mod site;
mod update;

pub use device::{FIRMWARE_DIR, Mcu};
pub use flows::alone;
pub(super) use outages::exported;
pub use outages::outages;
pub use post::post;
pub use update::update;
