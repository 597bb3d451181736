//! Workflows on a gateway: runs that are killed, cut off and taken up again.

mod kills;
mod receiver;

pub use kills::kills;
