//! Workflows on a gateway: runs that are killed, cut off and taken up again.

mod finds;
mod kills;
mod receiver;

pub use finds::finds;
pub use kills::kills;
