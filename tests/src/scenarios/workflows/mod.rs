//! Workflows on gateways and the hub: runs that are killed, cut off and taken up again.

mod finds;
mod fleet;
mod kills;
mod receiver;

pub use finds::finds;
pub use fleet::fleet;
pub use kills::kills;
